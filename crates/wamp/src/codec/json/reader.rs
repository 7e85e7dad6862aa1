//! The pull reader.

use std::borrow::Cow;

use base64::Engine;

use super::BASE64;
use super::scan::{Form, Number, plain_until};
use crate::codec::error::{Syntax, SyntaxError};
use crate::codec::token::{DEPTH_MAX, Kind, Left, Open, Read, Token};

/// Reads JSON from a slice.
///
/// ```
/// use stentor_wamp::codec::{Read, json::Reader};
///
/// # fn main() -> Result<(), stentor_wamp::codec::SyntaxError> {
/// let mut reader = Reader::new(br#"{"topic": "com.example", "args": [1, {"a": 2}]}"#)?;
/// let (mut topic, mut args) = (None, None);
/// let mut body = reader.dict()?;
/// while let Some(key) = reader.text_key(&mut body)? {
///     match &*key {
///         "topic" => topic = Some(reader.text()?),
///         "args" => args = Some(reader.skip_list()?),
///         _ => drop(reader.skip()?),
///     }
/// }
/// reader.finish()?;
/// assert_eq!(topic.as_deref(), Some("com.example"));
/// assert_eq!(args, Some(&br#"[1, {"a": 2}]"#[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    text: &'a str,
    pub(super) at: usize,
    pub(super) depth: usize,
}

impl<'a> Reader<'a> {
    /// A reader of these octets, which must be UTF-8 from end to end and have no byte order mark.
    ///
    /// # Errors
    /// When they are not.
    pub fn new(octets: &'a [u8]) -> Result<Self, SyntaxError> {
        match simdutf8::basic::from_utf8(octets) {
            Ok(text) => Self::of_text(text),
            // The fast check does not tell where; nobody waits for the slow one.
            Err(_) => {
                let position = std::str::from_utf8(octets).map_or_else(|error| error.valid_up_to(), |text| text.len());
                Err(Syntax::Utf8.at(position))
            }
        }
    }

    /// A reader of this text.
    ///
    /// # Errors
    /// When it begins with a byte order mark (RFC 8259, section 8.1, leaves refusing it to the parser).
    pub fn of_text(text: &'a str) -> Result<Self, SyntaxError> {
        if text.starts_with('\u{feff}') {
            return Err(Syntax::ByteOrderMark.at(0));
        }
        Ok(Self { text, at: 0, depth: 0 })
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    pub(super) fn octet(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    /// Both ends stand beside ASCII, hence between characters.
    pub(super) fn text_between(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).expect("ends lie between characters")
    }

    pub(super) fn fault(&self, syntax: Syntax) -> SyntaxError {
        syntax.at(self.at)
    }

    /// `what` is missing here; at the end that is all there is to say.
    pub(super) fn expected(&self, what: &'static str) -> SyntaxError {
        self.fault(if self.at == self.text.len() { Syntax::End } else { Syntax::Expected(what) })
    }

    pub(super) fn whitespace(&mut self) {
        while self.octet().is_some_and(is_blank) {
            self.at += 1;
            // Where there are two, there may be many: a message that inflates to sixteen mebibytes of them must not hold up its
            // thread an octet at a time. No early end in a run, so that all of it is compared at once.
            while let Some(run) = self.bytes()[self.at..].first_chunk::<32>()
                && is_blank(run[0])
                && run.iter().fold(true, |all, octet| all & is_blank(*octet))
            {
                self.at += run.len();
            }
        }
    }

    pub(super) fn word(&mut self, word: &'static str) -> Result<(), SyntaxError> {
        if !self.bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.fault(Syntax::Expected("a value")));
        }
        self.at += word.len();
        Ok(())
    }

    pub(super) fn quote(&mut self) -> Result<(), SyntaxError> {
        if self.octet() != Some(b'"') {
            return Err(self.expected("a key"));
        }
        self.at += 1;
        Ok(())
    }

    pub(super) fn colon(&mut self) -> Result<(), SyntaxError> {
        self.whitespace();
        if self.octet() != Some(b':') {
            return Err(self.expected("a colon"));
        }
        self.at += 1;
        Ok(())
    }

    /// The rest of a string whose opening quote has been taken; borrowed unless it holds escapes.
    fn string(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        let start = self.at;
        let plain_end = plain_until(self.bytes(), start);
        let plain = self.text_between(start, plain_end);
        self.at = plain_end;
        if self.octet() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut meaning = plain.to_owned();
        self.string_rest(Some(&mut meaning))?;
        Ok(Cow::Owned(meaning))
    }

    fn open(&mut self) -> Result<Open, SyntaxError> {
        if self.depth == DEPTH_MAX {
            return Err(self.fault(Syntax::Depth));
        }
        self.at += 1;
        self.depth += 1;
        Ok(Open(Left::UntilMarkFirst))
    }

    /// Whether the container goes on; takes the comma or the closing bracket.
    fn goes_on(&mut self, open: &mut Open, close: u8, what: &'static str) -> Result<bool, SyntaxError> {
        self.whitespace();
        match self.octet() {
            Some(octet) if octet == close => {
                self.at += 1;
                self.depth -= 1;
                return Ok(false);
            }
            Some(b',') if open.0 == Left::UntilMark => self.at += 1,
            Some(_) if open.0 == Left::UntilMarkFirst => {}
            _ => return Err(self.expected(what)),
        }
        open.0 = Left::UntilMark;
        Ok(true)
    }
}

/// RFC 8259 section 2.
const fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\n' | b'\r' | b'\t')
}

/// What a number means.
fn number_token<'a>(number: &Number<'_>) -> Token<'a> {
    if number.form == Form::Integer {
        if let Ok(value) = number.text.parse::<i64>() {
            return Token::Int(value);
        }
        if let Ok(value) = number.text.parse::<u64>() {
            return Token::Uint(value);
        }
    }
    Token::Float(number.text.parse().expect("the grammar of JSON numbers is part of that of Rust"))
}

/// Text, or the octets that it encodes.
fn text_token(text: Cow<'_, str>) -> Token<'_> {
    match text.strip_prefix('\0').map(|encoded| BASE64.decode(encoded)) {
        Some(Ok(octets)) => Token::Bytes(Cow::Owned(octets)),
        _ => Token::Text(text),
    }
}

impl<'a> Read<'a> for Reader<'a> {
    fn kind(&mut self) -> Result<Kind, SyntaxError> {
        self.whitespace();
        Ok(match self.octet() {
            Some(b'{') => Kind::Dict,
            Some(b'[') => Kind::List,
            Some(b'"') => Kind::Text,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            Some(b'-' | b'0'..=b'9') => {
                let rest = self.bytes()[self.at..].iter().skip(1);
                match rest.copied().find(|octet| !octet.is_ascii_digit()) {
                    Some(b'.' | b'e' | b'E') => Kind::Float,
                    _ => Kind::Integer,
                }
            }
            _ => return Err(self.expected("a value")),
        })
    }

    fn token(&mut self) -> Result<Token<'a>, SyntaxError> {
        self.whitespace();
        Ok(match self.octet() {
            Some(b'{') => Token::Dict(self.open()?),
            Some(b'[') => Token::List(self.open()?),
            Some(b'"') => {
                self.at += 1;
                text_token(self.string()?)
            }
            Some(b't') => self.word("true").map(|()| Token::Bool(true))?,
            Some(b'f') => self.word("false").map(|()| Token::Bool(false))?,
            Some(b'n') => self.word("null").map(|()| Token::Null)?,
            Some(b'-' | b'0'..=b'9') => number_token(&self.number()?),
            _ => return Err(self.expected("a value")),
        })
    }

    fn more(&mut self, list: &mut Open) -> Result<bool, SyntaxError> {
        self.goes_on(list, b']', "a comma or the end of the list")
    }

    fn key(&mut self, dict: &mut Open) -> Result<Option<Token<'a>>, SyntaxError> {
        if !self.goes_on(dict, b'}', "a comma or the end of the dictionary")? {
            return Ok(None);
        }
        self.whitespace();
        self.quote()?;
        let key = self.string()?;
        self.colon()?;
        Ok(Some(Token::Text(key)))
    }

    fn skip(&mut self) -> Result<&'a [u8], SyntaxError> {
        self.whitespace();
        let start = self.at;
        self.walk()?;
        Ok(self.since(start))
    }

    fn position(&self) -> usize {
        self.at
    }

    fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes()[start..self.at]
    }

    fn finish(&mut self) -> Result<(), SyntaxError> {
        self.whitespace();
        if self.at < self.text.len() { Err(self.fault(Syntax::Trailing)) } else { Ok(()) }
    }

    fn text(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        match self.kind()? {
            Kind::Text => {
                self.at += 1;
                self.string()
            }
            found => Err(self.fault(Syntax::Kind { expected: Kind::Text, found })),
        }
    }
}
