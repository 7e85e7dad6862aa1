//! The writer: compact, ASCII only where JSON demands it.

use std::io::Write as _;

use base64::Engine;

use super::BASE64;
use super::scan::plain_until;
use crate::codec::error::TranscodeError;
use crate::codec::token::Kind;
use crate::codec::write::{Begun, Length, Write};

/// Appends JSON to a buffer.
pub(in crate::codec) struct Writer<'o>(pub(in crate::codec) &'o mut Vec<u8>);

impl Writer<'_> {
    fn begin(&mut self, bracket: u8) -> Begun {
        self.0.push(bracket);
        Begun { at: self.0.len(), length: Length::Settled }
    }
}

/// The digits of every number below a hundred.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

const WRITES: &str = "writing to memory cannot fail";

impl Write for Writer<'_> {
    fn null(&mut self) {
        self.0.extend_from_slice(b"null");
    }

    fn bool(&mut self, value: bool) {
        self.0.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn int(&mut self, value: i64) {
        if value < 0 {
            self.0.push(b'-');
        }
        self.uint(value.unsigned_abs());
    }

    /// Digits from the last to the first, two at a time: message heads are mostly numbers, the ids have sixteen digits, and
    /// the formatting machinery is slow.
    fn uint(&mut self, mut value: u64) {
        let mut digits = [0; 20];
        let mut start = digits.len();
        while value >= 10 {
            start -= 2;
            digits[start..start + 2].copy_from_slice(&PAIRS[(value % 100) as usize]);
            value /= 100;
        }
        // The first of an odd number of digits; of an even number nothing is left.
        if value > 0 || start == digits.len() {
            start -= 1;
            digits[start] = b'0' + value as u8;
        }
        self.0.extend_from_slice(&digits[start..]);
    }

    /// The shortest digits that mean the same number, always with a fraction or an exponent so that it stays a float.
    fn float(&mut self, value: f64) -> Result<(), TranscodeError> {
        if !value.is_finite() {
            return Err(TranscodeError::NotFinite);
        }
        write!(self.0, "{value:?}").expect(WRITES);
        Ok(())
    }

    fn text(&mut self, text: &str) {
        let bytes = text.as_bytes();
        self.0.push(b'"');
        let mut at = 0;
        loop {
            let end = plain_until(bytes, at);
            self.0.extend_from_slice(&bytes[at..end]);
            let Some(&octet) = bytes.get(end) else { break };
            match octet {
                b'"' => self.0.extend_from_slice(b"\\\""),
                b'\\' => self.0.extend_from_slice(b"\\\\"),
                b'\n' => self.0.extend_from_slice(b"\\n"),
                b'\r' => self.0.extend_from_slice(b"\\r"),
                b'\t' => self.0.extend_from_slice(b"\\t"),
                control => write!(self.0, "\\u{control:04x}").expect(WRITES),
            }
            at = end + 1;
        }
        self.0.push(b'"');
    }

    fn bytes(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(b"\"\\u0000");
        let start = self.0.len();
        self.0.resize(start + octets.len().div_ceil(3) * 4, 0);
        BASE64.encode_slice(octets, &mut self.0[start..]).expect("Base64 makes four of every three octets begun");
        self.0.push(b'"');
    }

    fn raw(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    fn begin_list(&mut self, _len: Option<usize>) -> Begun {
        self.begin(b'[')
    }

    fn end_list(&mut self, _begun: Begun, _count: usize) {
        self.0.push(b']');
    }

    fn begin_dict(&mut self, _len: Option<usize>) -> Begun {
        self.begin(b'{')
    }

    fn end_dict(&mut self, _begun: Begun, _count: usize) {
        self.0.push(b'}');
    }

    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.0.push(b',');
        }
    }

    fn assign(&mut self) {
        self.0.push(b':');
    }

    fn takes_key(&self, kind: Kind) -> bool {
        kind == Kind::Text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_they_have() {
        let powers = (0..20).map(|power| 10_u64.pow(power));
        let around = powers.flat_map(|power| [power - 1, power, power + 1, power.saturating_mul(7), power / 3]);
        for value in (0..2000).chain(around).chain([u64::MAX, u64::MAX - 1]) {
            let mut out = Vec::new();
            Writer(&mut out).uint(value);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }
}
