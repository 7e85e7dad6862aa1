//! What a function says about itself in a comment, as scripts do (PEP 723):
//!
//! ```text
//! # /// script
//! # dependencies = ["pyjwt[crypto]"]
//! # ///
//! ```
//!
//! Reads as much of TOML as stands before its first table: that is where `dependencies` has to be. What Python is needed
//! (`requires-python`) is not judged here: the interpreter is the operator's choice.

/// Octets of one specifier; the same as in the configuration.
const SPECIFIER_BYTES_MAX: usize = 1000;

/// Lists within lists.
const DEPTH_MAX: usize = 32;

/// The specifiers that a function names by itself.
///
/// # Errors
/// A sentence without a full stop when there is a block that cannot be read.
pub(super) fn dependencies(code: &str) -> Result<Vec<String>, String> {
    let Some(text) = block(code)? else { return Ok(Vec::new()) };
    let mut toml = Toml { rest: &text };
    let found = toml.dependencies();
    let fault = |reason: &str| format!("the comment '# /// script' of the function is at fault: {reason}");
    let found = found.map_err(|reason| fault(&format!("{reason} at '{}'", toml.rest.lines().next().unwrap_or(""))))?;
    match found.iter().find(|text| !is_specifier(text)) {
        Some(text) => Err(fault(&format!("'{text}' is no requirement such as 'psycopg[binary] >= 3.2'"))),
        None => Ok(found),
    }
}

/// Options of pip would do more than install what they stand beside.
fn is_specifier(text: &str) -> bool {
    let is_one = text.len() <= SPECIFIER_BYTES_MAX && !text.chars().any(char::is_control);
    is_one && !text.trim().is_empty() && !text.trim_start().starts_with(['-', '#'])
}

/// The content of the block, without its marks of comments. A block without an end is none; two are a mistake.
fn block(code: &str) -> Result<Option<String>, String> {
    let lines: Vec<&str> = code.lines().map(str::trim_end).collect();
    let mut found = None;
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        at += 1;
        if *line != "# /// script" {
            continue;
        }
        let is_content = |line: &&&str| **line == "#" || line.starts_with("# ");
        let content: Vec<&str> = lines[at..].iter().take_while(is_content).copied().collect();
        // The last of these lines that could end it does.
        let Some(end) = content.iter().rposition(|line| *line == "# ///") else { continue };
        if found.is_some() {
            return Err("the function has two comments '# /// script'".to_owned());
        }
        let strip = |line: &&str| line.get(2..).unwrap_or_default().to_owned();
        found = Some(content[..end].iter().map(strip).collect::<Vec<_>>().join("\n"));
        at += end;
    }
    Ok(found)
}

/// What is left to read.
struct Toml<'t> {
    rest: &'t str,
}

/// A value, as far as anybody here wants to know.
enum Value {
    Text(String),
    List(Vec<Value>),
    Other,
}

type Read<T> = Result<T, &'static str>;

impl<'t> Toml<'t> {
    fn dependencies(&mut self) -> Read<Vec<String>> {
        let mut found = None;
        loop {
            self.skip(Lines::Skipped);
            if self.rest.is_empty() || self.rest.starts_with('[') {
                return Ok(found.unwrap_or_default());
            }
            let key = self.key()?;
            if !self.take('=') {
                return Err("there is no '=' behind a key");
            }
            let value = self.value(0)?;
            self.skip(Lines::Kept);
            if !self.rest.is_empty() && !self.rest.starts_with(['\n', '\r']) {
                return Err("something stands behind a value");
            }
            if key != "dependencies" {
                continue;
            }
            let Value::List(items) = value else { return Err("dependencies has to be a list of texts") };
            let texts: Option<Vec<String>> = items.into_iter().map(Value::text).collect();
            let texts = texts.ok_or("dependencies has to be a list of texts")?;
            if found.replace(texts).is_some() {
                return Err("dependencies is there twice");
            }
        }
    }

    /// Whitespace and comments.
    fn skip(&mut self, lines: Lines) {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t']);
            if self.rest.starts_with('#') {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.rest = &self.rest[end..];
            } else if lines == Lines::Skipped && self.rest.starts_with(['\n', '\r']) {
                self.rest = &self.rest[1..];
            } else {
                return;
            }
        }
    }

    fn take(&mut self, letter: char) -> bool {
        self.rest.strip_prefix(letter).map(|rest| self.rest = rest).is_some()
    }

    /// A key, with dots where it has several parts.
    fn key(&mut self) -> Read<String> {
        let mut whole = String::new();
        loop {
            self.skip(Lines::Kept);
            if self.rest.starts_with(['"', '\'']) {
                whole.push_str(&self.text()?);
            } else {
                let is_bare = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
                let end = self.rest.find(|letter| !is_bare(letter)).unwrap_or(self.rest.len());
                if end == 0 {
                    return Err("there is no key");
                }
                whole.push_str(&self.rest[..end]);
                self.rest = &self.rest[end..];
            }
            self.skip(Lines::Kept);
            if !self.take('.') {
                return Ok(whole);
            }
            whole.push('.');
        }
    }

    fn value(&mut self, depth: usize) -> Read<Value> {
        self.skip(Lines::Kept);
        match self.rest.chars().next() {
            _ if depth > DEPTH_MAX => Err("there are too many lists in one another"),
            Some('"' | '\'') => self.text().map(Value::Text),
            Some('[') => self.list(depth).map(Value::List),
            Some('{') => self.table(depth).map(|()| Value::Other),
            _ => {
                let end = self.rest.find([',', ']', '}', '#', '\n']).unwrap_or(self.rest.len());
                if self.rest[..end].trim().is_empty() {
                    return Err("there is no value");
                }
                self.rest = &self.rest[end..];
                Ok(Value::Other)
            }
        }
    }

    fn list(&mut self, depth: usize) -> Read<Vec<Value>> {
        self.rest = &self.rest[1..];
        let mut items = Vec::new();
        loop {
            self.skip(Lines::Skipped);
            if self.take(']') {
                return Ok(items);
            }
            items.push(self.value(depth + 1)?);
            self.skip(Lines::Skipped);
            if !self.take(',') && !self.rest.starts_with(']') {
                return Err("a list has no end");
            }
        }
    }

    fn table(&mut self, depth: usize) -> Read<()> {
        self.rest = &self.rest[1..];
        loop {
            self.skip(Lines::Skipped);
            if self.take('}') {
                return Ok(());
            }
            self.key()?;
            if !self.take('=') {
                return Err("there is no '=' behind a key");
            }
            self.value(depth + 1)?;
            self.skip(Lines::Skipped);
            if !self.take(',') && !self.rest.starts_with('}') {
                return Err("a table has no end");
            }
        }
    }

    fn text(&mut self) -> Read<String> {
        let quote = &self.rest[..1];
        let tripled = quote.repeat(3);
        let quote = if self.rest.starts_with(&tripled) { &*tripled } else { quote };
        self.rest = &self.rest[quote.len()..];
        let mut text = String::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix(quote) {
                self.rest = rest;
                return Ok(text);
            }
            let letter = self.rest.chars().next().ok_or("a text has no end")?;
            self.rest = &self.rest[letter.len_utf8()..];
            match letter {
                '\n' if quote.len() == 1 => return Err("a text has no end"),
                '\\' if quote.starts_with('"') => text.push(self.escaped()?),
                _ => text.push(letter),
            }
        }
    }

    /// What stands behind a backslash.
    fn escaped(&mut self) -> Read<char> {
        let letter = self.rest.chars().next().ok_or("a text has no end")?;
        self.rest = &self.rest[letter.len_utf8()..];
        let length = match letter {
            '"' | '\\' => return Ok(letter),
            'n' => return Ok('\n'),
            't' => return Ok('\t'),
            'r' => return Ok('\r'),
            'u' => 4,
            'U' => 8,
            _ => return Err("a backslash stands before something that it means nothing with"),
        };
        let found = self.rest.get(..length).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let found = found.and_then(char::from_u32).ok_or("a backslash names no character")?;
        self.rest = &self.rest[length..];
        Ok(found)
    }
}

impl Value {
    fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::List(_) | Self::Other => None,
        }
    }
}

/// What becomes of the ends of lines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    Kept,
    Skipped,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(lines: &str) -> String {
        let lines: String = lines.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect();
        format!("\"\"\"text\"\"\"\n# /// script\n{lines}# ///\ndef f(): pass\n")
    }

    #[test]
    fn functions_name_what_they_need() {
        let check =
            |lines: &str, expected: &[&str]| assert_eq!(dependencies(&script(lines)).unwrap(), expected, "{lines}");
        check("dependencies = [\"pyjwt[crypto]\", 'httpx>=0.2']", &["pyjwt[crypto]", "httpx>=0.2"]);
        check("dependencies = [\n  \"a\",\n\n]", &["a"]);
        check("dependencies = [\n#  \"no\",\n  'a', # 'neither'\n]", &["a"]);
        check("#dependencies = ['no']\nrequires-python = '>=3.9' # x\ndependencies=['a']", &["a"]);
        check("about = \"dependencies = ['no']\"\n\"dependencies\" = [\"a\\u0062\"]", &["ab"]);
        check("about = '''\ndependencies = ['no']\n'''\nx = {a = [1], 'b'.c = 2}\ndependencies = []", &[]);
        check("x.dependencies = ['no']\nmy-dependencies = ['no']\ny = 1979-05-27", &[]);
        check("[tool.x]\ndependencies = ['no']", &[]);
        check("", &[]);
    }

    #[test]
    fn a_block_begins_and_ends_as_written() {
        let check = |code: &str, expected: &[&str]| assert_eq!(dependencies(code).unwrap(), expected, "{code}");
        check("# dependencies = [\"a\"]\n", &[]);
        check("# /// script\n# ///\n# dependencies = [\"a\"]\n", &[]);
        check("# /// script\n# dependencies = [\"a\"]\n", &[]);
        check("# /// script\n# dependencies = [\"a\"]\nx = 1\n# ///\n", &[]);
        check("# /// other\n# dependencies = [\"a\"]\n# ///\n", &[]);
        check("# /// script\r\n# dependencies = [\"a\"]\r\n# ///\r\n", &["a"]);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let check = |lines: &str, part: &str| {
            let sentence = dependencies(&script(lines)).unwrap_err();
            assert!(sentence.contains(part), "{lines}: {sentence}");
        };
        check("dependencies = ['--no-index']", "'--no-index' is no requirement");
        check("dependencies = [' -r other.txt']", "is no requirement");
        check("dependencies = ['']", "is no requirement");
        check("dependencies = 'a'", "list of texts");
        check("dependencies = [1]", "list of texts");
        check("dependencies = ['a'", "no end");
        check("dependencies = ['a]", "no end");
        check("dependencies = ['a'] 'b'", "behind a value");
        check("dependencies = []\ndependencies = []", "twice");
        check("dependencies", "no '='");
        check("= 1", "no key");
        check(&format!("a = {}", "[".repeat(100)), "too many lists");
        let twice = script("dependencies = []").repeat(2);
        assert!(dependencies(&twice).unwrap_err().contains("two comments"));
    }
}
