//! JSON (RFC 8259) into a tree with line numbers.
//!
//! Knows the grammar and the mistakes people make by hand in it (comments, trailing commas). Strings and numbers are
//! delegated to `serde_json` once their extent is known, so that escapes have one implementation.

use super::tree::{Entry, Node, SyntaxError, Value};
use stentor_model::limit::NESTING_DEPTH_MAX;

/// Reads a whole text as one JSON value.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    // Editors on some systems put a byte order mark in front; RFC 8259 section 8.1 lets a parser ignore it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut scanner = Scanner { text, at: 0, line: 1 };
    let node = scanner.value(0)?;
    scanner.skip_blanks();
    match scanner.peek() {
        None => Ok(node),
        Some(_) => Err(scanner.unexpected("the end of the file")),
    }
}

/// A place in the text. `line` counts the line feeds passed, which only blanks can contain: a string that runs over the
/// end of its line is an error.
struct Scanner<'t> {
    text: &'t str,
    at: usize,
    line: usize,
}

impl<'t> Scanner<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while let Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) = self.peek() {
            self.line += usize::from(byte == b'\n');
            self.at += 1;
        }
    }

    fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError { line: self.line, message: message.into() }
    }

    /// The error for whatever stands here instead of what was wanted, with a word of help for the usual slips.
    fn unexpected(&self, wanted: &str) -> SyntaxError {
        let rest = &self.text[self.at..];
        match rest.chars().next() {
            None => self.error(format!("invalid JSON: expected {wanted}, but the file ends")),
            Some('/' | '#') => self.error("invalid JSON: comments are not allowed (they are in config.yaml)"),
            Some('.') if rest.starts_with("...") => {
                self.error("invalid JSON: '...' stands for something left out; write it in full")
            }
            Some('\'') => self.error(format!("invalid JSON: expected {wanted}; strings take double quotes")),
            Some(found) => self.error(format!("invalid JSON: expected {wanted}, not {found:?}")),
        }
    }

    /// Any value. Recursion is bounded here and nowhere else, since every container comes through.
    fn value(&mut self, depth: usize) -> Result<Node, SyntaxError> {
        if depth > NESTING_DEPTH_MAX {
            return Err(self.error(format!("nested more than {NESTING_DEPTH_MAX} deep")));
        }
        self.skip_blanks();
        let line = self.line;
        let value = match self.peek() {
            Some(b'{') => self.dict(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Value::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b'a'..=b'z' | b'A'..=b'Z') => self.word()?,
            _ => return Err(self.unexpected("a value")),
        };
        Ok(Node { line, value })
    }

    /// An object (RFC 8259 section 4). Repeated names stay in the tree; section 4 leaves their meaning open.
    fn dict(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        self.at += 1;
        let mut entries = Vec::new();
        self.skip_blanks();
        if self.eat(b'}') {
            return Ok(Value::Dict(entries));
        }
        loop {
            self.skip_blanks();
            let line = self.line;
            match self.peek() {
                Some(b'"') => {}
                Some(b'}') => return Err(self.error("invalid JSON: no comma is allowed before '}'")),
                _ => return Err(self.unexpected("a key in double quotes")),
            }
            let key = self.string()?;
            self.skip_blanks();
            if !self.eat(b':') {
                return Err(self.unexpected("':'"));
            }
            let node = self.value(depth + 1)?;
            entries.push(Entry { key, line, node });
            self.skip_blanks();
            if self.eat(b'}') {
                return Ok(Value::Dict(entries));
            }
            if !self.eat(b',') {
                return Err(self.unexpected("',' or '}'"));
            }
        }
    }

    /// An array (section 5).
    fn list(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        self.at += 1;
        let mut nodes = Vec::new();
        self.skip_blanks();
        if self.eat(b']') {
            return Ok(Value::List(nodes));
        }
        loop {
            self.skip_blanks();
            if self.peek() == Some(b']') {
                return Err(self.error("invalid JSON: no comma is allowed before ']'"));
            }
            nodes.push(self.value(depth + 1)?);
            self.skip_blanks();
            if self.eat(b']') {
                return Ok(Value::List(nodes));
            }
            if !self.eat(b',') {
                return Err(self.unexpected("',' or ']'"));
            }
        }
    }

    /// Steps over one octet if it is the one named.
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// A string (section 7): only its end is looked for here, escapes and control characters are judged by the delegate.
    fn string(&mut self) -> Result<String, SyntaxError> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(b'\n') | None => return Err(self.error("invalid JSON: a string is not closed on its line")),
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        self.delegate(start)
    }

    /// A number (section 6): everything that could belong to one is taken, so that `1.2.3` is one wrong number and not two.
    fn number(&mut self) -> Result<Value, SyntaxError> {
        let start = self.at;
        while let Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.delegate(start).map(Value::Number)
    }

    /// Has `serde_json` read what lies between `start` and here.
    fn delegate<T: serde::de::DeserializeOwned>(&self, start: usize) -> Result<T, SyntaxError> {
        // A backslash may have stepped over half of a longer character or over the end: `get` refuses both.
        let raw = self.text.get(start..self.at).ok_or_else(|| self.error("invalid JSON: broken escape in a string"))?;
        serde_json::from_str(raw).map_err(|error| {
            let text = error.to_string();
            let reason = text.split(" at line ").next().unwrap_or_default();
            self.error(format!("invalid JSON: {reason}"))
        })
    }

    /// One of the three literal names (section 3), which are lower-case.
    fn word(&mut self) -> Result<Value, SyntaxError> {
        let rest: &'t str = &self.text[self.at..];
        let end = rest.bytes().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let value = match &rest[..end] {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            _ => return Err(self.unexpected("a value")),
        };
        self.at += end;
        Ok(value)
    }
}
