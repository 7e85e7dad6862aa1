//! Reading Rust without a parser: enough to count lines and to find paths, and no more.
//!
//! [`mask`] blanks what is not code, so that the rules can look for words and braces without being misled by strings
//! and comments. A real parser would be the largest dependency of the whole workspace's build, for four rules.

/// The same text with the insides of comments, strings and characters blanked; line breaks stay where they are.
pub(super) fn mask(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = token_end(bytes, at);
        if let Some(end) = end {
            blank(&mut out[at..end]);
            at = end;
        } else {
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The end of a comment or literal that starts here; nothing if this is code.
fn token_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let is_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => Some(at + rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())),
        [b'/', b'*', ..] => Some(at + block_comment(rest)),
        [b'"', ..] => Some(at + quoted(rest, b'"')),
        [b'r', b'"' | b'#', ..] if !is_word => raw_string(rest, 1).map(|length| at + length),
        [b'b', b'r', b'"' | b'#', ..] if !is_word => raw_string(rest, 2).map(|length| at + length),
        // A quote opens a character when it closes again at once or is escaped; otherwise it is a lifetime.
        [b'\'', b'\\', ..] => Some(at + quoted(rest, b'\'')),
        [b'\'', ..] => {
            let text = std::str::from_utf8(&rest[1..]).unwrap_or_default();
            let length = text.chars().next().map_or(0, char::len_utf8);
            (rest.get(1 + length) == Some(&b'\'')).then_some(at + length + 2)
        }
        _ => None,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string(rest: &[u8], prefix: usize) -> Option<usize> {
    let hashes = rest[prefix..].iter().take_while(|&&byte| byte == b'#').count();
    let open = prefix + hashes;
    // `r#name` is a raw identifier.
    (rest.get(open) == Some(&b'"')).then_some(())?;
    let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let end = rest[open + 1..].windows(close.len()).position(|window| window == close.as_slice());
    Some(end.map_or(rest.len(), |end| open + 1 + end + close.len()))
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

/// The masked text with everything under `#[cfg(test)]` blanked too.
pub(super) fn without_tests(masked: &str) -> String {
    let mut out = masked.as_bytes().to_vec();
    let mut from = 0;
    while let Some(found) = masked[from..].find("#[cfg(test)]") {
        let start = from + found;
        let end = item_end(masked, start);
        blank(&mut out[start..end]);
        from = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the item that starts here ends: at its semicolon, or at the brace that closes its first brace.
pub(super) fn item_end(masked: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    // Semicolons in brackets, as in the array type `[u8; 4]`, end nothing.
    let mut brackets = 0_usize;
    for (at, byte) in masked.bytes().enumerate().skip(start) {
        match byte {
            b'[' | b'(' => brackets += 1,
            b']' | b')' => brackets = brackets.saturating_sub(1),
            b';' if depth == 0 && brackets == 0 => return at + 1,
            b'{' => depth += 1,
            b'}' if depth <= 1 => return at + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    masked.len()
}

/// The places after each occurrence of `word` as a whole word.
pub(super) fn words<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    let is_part = |character: Option<char>| character.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word).filter_map(move |(at, _)| {
        let end = at + word.len();
        let whole = !is_part(text[..at].chars().next_back()) && !is_part(text[end..].chars().next());
        whole.then_some(end)
    })
}

/// The identifier that the text starts with, blanks apart.
pub(super) fn identifier(text: &str) -> &str {
    let text = text.trim_start();
    let text = text.strip_prefix("r#").unwrap_or(text);
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// The line, from 1, of a place in the text.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, expect: &str) {
        assert_eq!(mask(source).split_whitespace().collect::<Vec<_>>().join(" "), expect, "{source}");
        assert_eq!(mask(source).len(), source.len(), "{source}");
    }

    #[test]
    fn what_is_not_code_is_blanked() {
        check("a // {\nb", "a b");
        check("a /* { /* } */ { */ b", "a b");
        check(r#"f("{ \" }") g"#, "f( ) g");
        check("r\"{\\\" + x", "+ x");
        check("r#\"{\"}\"# + br##\"{\"##", "+");
        check("r#type + number", "r#type + number");
        check("'{' '\\'' 'é' <'a> &'static", "<'a> &'static");
        check("b'{' x", "b x");
    }

    #[test]
    fn tests_are_blanked() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { }\n}\nfn c() {}\n#[cfg(test)]\nmod d;\nfn e() {}";
        let left = without_tests(code);
        assert_eq!(left.split_whitespace().collect::<String>(), "fna(){}fnc(){}fne(){}");
        assert_eq!(left.lines().count(), code.lines().count());
    }

    #[test]
    fn items_end() {
        for (code, end) in [("fn a(x: [u8; 4]) { {} } ;", 23), ("fn a(); {", 7), ("fn a() {", 8)] {
            assert_eq!(item_end(code, 0), end, "{code}");
        }
    }

    #[test]
    fn whole_words() {
        assert_eq!(words("fn afn fn_ (fn)", "fn").collect::<Vec<_>>(), [2, 14]);
        assert_eq!(identifier(" r#mod::x"), "mod");
    }
}
