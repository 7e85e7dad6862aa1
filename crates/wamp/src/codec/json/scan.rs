//! Finding where things end in JSON text: strings, numbers, whole values.

use super::reader::Reader;
use crate::codec::error::{Syntax, SyntaxError};
use crate::codec::token::DEPTH_MAX;

/// Above this many octets even a number without an exponent may exceed the range of a double.
const DIGITS_SAFE: usize = 300;

/// A number's text, and whether it is a plain integer.
pub(super) struct Number<'a> {
    pub(super) text: &'a str,
    pub(super) form: Form,
}

/// How a number is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Digits and perhaps a sign.
    Integer,
    /// With a fraction or an exponent.
    Real,
}

/// Where the first octet at or after `from` stands that is a quote, a backslash or a control character.
///
/// Eight octets at a time: each of the three tests borrows into the high bit of an octet exactly when it holds for it or,
/// harmlessly, for one before it; the lowest hit is always true, and only that one is used.
pub(super) fn plain_until(bytes: &[u8], from: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    let equal = |word: u64, octet: u8| below(word ^ (ONES * u64::from(octet)), 1);

    let mut at = from;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let hits = (below(word, 0x20) | equal(word, b'"') | equal(word, b'\\')) & HIGH;
        if hits != 0 {
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while let Some(&octet) = bytes.get(at) {
        if octet < 0x20 || octet == b'"' || octet == b'\\' {
            break;
        }
        at += 1;
    }
    at
}

impl<'a> Reader<'a> {
    /// Walks over the rest of a string, from the first octet that may end it to behind the closing quote. With a
    /// buffer, what the string means from here on is appended to it.
    pub(super) fn string_rest(&mut self, mut meaning: Option<&mut String>) -> Result<(), SyntaxError> {
        loop {
            let start = self.at;
            self.at = plain_until(self.bytes(), start);
            if let Some(meaning) = meaning.as_deref_mut() {
                meaning.push_str(self.text_between(start, self.at));
            }
            match self.octet() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    let meant = self.escape()?;
                    if let Some(meaning) = meaning.as_deref_mut() {
                        meaning.push(meant);
                    }
                }
                Some(_) => return Err(self.fault(Syntax::Control)),
                None => return Err(self.fault(Syntax::End)),
            }
        }
    }

    /// Reads one escape, both halves of a surrogate pair included.
    fn escape(&mut self) -> Result<char, SyntaxError> {
        let start = self.at;
        self.at += 1;
        let Some(octet) = self.octet() else { return Err(self.fault(Syntax::End)) };
        self.at += 1;
        Ok(match octet {
            b'"' | b'\\' | b'/' => char::from(octet),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.code_unit()?;
                let scalar = match unit {
                    0xd800..=0xdbff if self.bytes()[self.at..].starts_with(b"\\u") => {
                        self.at += 2;
                        match self.code_unit()? {
                            low @ 0xdc00..=0xdfff => 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00),
                            _ => unit,
                        }
                    }
                    _ => unit,
                };
                // Only halves of surrogate pairs are no characters.
                char::from_u32(scalar).ok_or(Syntax::Surrogate.at(start))?
            }
            _ => return Err(Syntax::Escape.at(start)),
        })
    }

    /// Four hexadecimal digits.
    fn code_unit(&mut self) -> Result<u32, SyntaxError> {
        let mut unit = 0;
        for _ in 0..4 {
            let Some(octet) = self.octet() else { return Err(self.fault(Syntax::End)) };
            let Some(digit) = char::from(octet).to_digit(16) else { return Err(self.fault(Syntax::Escape)) };
            unit = unit << 4 | digit;
            self.at += 1;
        }
        Ok(unit)
    }

    /// Walks over a number (RFC 8259, section 6), which must not exceed the range of a double: the other serializers
    /// could not express it.
    pub(super) fn number(&mut self) -> Result<Number<'a>, SyntaxError> {
        let start = self.at;
        let mut form = Form::Integer;
        if self.octet() == Some(b'-') {
            self.at += 1;
        }
        if self.octet() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.octet() == Some(b'.') {
            form = Form::Real;
            self.at += 1;
            self.digits()?;
        }
        let has_exponent = matches!(self.octet(), Some(b'e' | b'E'));
        if has_exponent {
            form = Form::Real;
            self.at += 1;
            if matches!(self.octet(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = self.text_between(start, self.at);
        if (has_exponent || text.len() > DIGITS_SAFE) && !text.parse::<f64>().is_ok_and(f64::is_finite) {
            return Err(Syntax::Range.at(start));
        }
        Ok(Number { text, form })
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        while self.octet().is_some_and(|octet| octet.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.expected("a digit")) }
    }

    /// Walks over one whole value without recursion. `DEPTH_MAX` bits tell what is open.
    pub(super) fn walk(&mut self) -> Result<(), SyntaxError> {
        let mut nest = Nest::default();
        loop {
            self.whitespace();
            match self.octet() {
                Some(b'{') => {
                    self.enter(nest.depth)?;
                    nest.push(Container::Dict);
                    self.whitespace();
                    if self.octet() != Some(b'}') {
                        self.walk_key()?;
                        continue;
                    }
                    self.at += 1;
                    nest.depth -= 1;
                }
                Some(b'[') => {
                    self.enter(nest.depth)?;
                    nest.push(Container::List);
                    self.whitespace();
                    if self.octet() != Some(b']') {
                        continue;
                    }
                    self.at += 1;
                    nest.depth -= 1;
                }
                Some(b'"') => {
                    self.at += 1;
                    self.string_rest(None)?;
                }
                Some(b'-' | b'0'..=b'9') => {
                    self.number()?;
                }
                Some(b't') => self.word("true")?,
                Some(b'f') => self.word("false")?,
                Some(b'n') => self.word("null")?,
                _ => return Err(self.expected("a value")),
            }
            if !self.walk_on(&mut nest)? {
                return Ok(());
            }
        }
    }

    /// Goes from the end of a value to the next one; leaves what ends here. Says whether there is a next one.
    fn walk_on(&mut self, nest: &mut Nest) -> Result<bool, SyntaxError> {
        while nest.depth > 0 {
            self.whitespace();
            match (self.octet(), nest.top()) {
                (Some(b','), Container::List) => {
                    self.at += 1;
                    return Ok(true);
                }
                (Some(b','), Container::Dict) => {
                    self.at += 1;
                    self.whitespace();
                    self.walk_key()?;
                    return Ok(true);
                }
                (Some(b']'), Container::List) | (Some(b'}'), Container::Dict) => {
                    self.at += 1;
                    nest.depth -= 1;
                }
                (_, Container::List) => return Err(self.expected("a comma or the end of the list")),
                (_, Container::Dict) => return Err(self.expected("a comma or the end of the dictionary")),
            }
        }
        Ok(false)
    }

    /// A key and the colon behind it.
    fn walk_key(&mut self) -> Result<(), SyntaxError> {
        self.quote()?;
        self.string_rest(None)?;
        self.colon()
    }

    /// Takes an opening bracket when one more container may be open.
    fn enter(&mut self, inner: usize) -> Result<(), SyntaxError> {
        if self.depth + inner >= DEPTH_MAX {
            return Err(self.fault(Syntax::Depth));
        }
        self.at += 1;
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Container {
    List,
    Dict,
}

/// Which containers are open, one bit each.
#[derive(Default)]
struct Nest {
    dicts: [u64; DEPTH_MAX.div_ceil(64)],
    depth: usize,
}

impl Nest {
    fn push(&mut self, container: Container) {
        let (word, bit) = (self.depth / 64, 1 << (self.depth % 64));
        match container {
            Container::List => self.dicts[word] &= !bit,
            Container::Dict => self.dicts[word] |= bit,
        }
        self.depth += 1;
    }

    fn top(&self) -> Container {
        let last = self.depth - 1;
        if self.dicts[last / 64] >> (last % 64) & 1 == 1 { Container::Dict } else { Container::List }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_octets_end_where_the_slow_way_says() {
        let slow =
            |bytes: &[u8]| bytes.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\').unwrap_or(bytes.len());
        for octet in 0..=255u8 {
            for place in 0..20 {
                for filler in [b'a', b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
                    let mut bytes = vec![filler; 20];
                    bytes[place] = octet;
                    assert_eq!(plain_until(&bytes, 0), slow(&bytes), "{octet} at {place} among {filler}");
                }
            }
        }
    }
}
