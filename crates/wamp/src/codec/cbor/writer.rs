//! The writer: shortest heads, definite lengths, floats always double.

use crate::codec::error::TranscodeError;
use crate::codec::token::Kind;
use crate::codec::write::{Begun, Length, Write};

/// Appends CBOR to a buffer.
pub(in crate::codec) struct Writer<'o>(pub(in crate::codec) &'o mut Vec<u8>);

/// Major types, shifted to their place.
const UNSIGNED: u8 = 0 << 5;
const NEGATIVE: u8 = 1 << 5;
const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;
const LIST: u8 = 4 << 5;
const DICT: u8 = 5 << 5;

/// A head is at most nine octets.
struct Head {
    octets: [u8; 9],
    len: usize,
}

impl Head {
    fn new(major: u8, argument: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = argument.to_be_bytes();
        let (octets, len) = match argument {
            0..=23 => ([major | h, 0, 0, 0, 0, 0, 0, 0, 0], 1),
            24..=0xff => ([major | 24, h, 0, 0, 0, 0, 0, 0, 0], 2),
            0x100..=0xffff => ([major | 25, g, h, 0, 0, 0, 0, 0, 0], 3),
            0x1_0000..=0xffff_ffff => ([major | 26, e, f, g, h, 0, 0, 0, 0], 5),
            _ => ([major | 27, a, b, c, d, e, f, g, h], 9),
        };
        Self { octets, len }
    }

    fn octets(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

impl Writer<'_> {
    fn head(&mut self, major: u8, argument: u64) {
        self.0.extend_from_slice(Head::new(major, argument).octets());
    }

    fn begin(&mut self, major: u8, len: Option<usize>) -> Begun {
        let at = self.0.len();
        self.head(major, len.unwrap_or(0) as u64);
        Begun { at, length: if len.is_some() { Length::Settled } else { Length::Open } }
    }

    /// Most containers are short: their head is one octet, already in place. Others make room for theirs now.
    fn end(&mut self, major: u8, begun: Begun, count: usize) {
        if begun.length == Length::Open {
            let head = Head::new(major, count as u64);
            self.0.splice(begun.at..=begun.at, head.octets().iter().copied());
        }
    }
}

impl Write for Writer<'_> {
    fn null(&mut self) {
        self.0.push(0xf6);
    }

    fn bool(&mut self, value: bool) {
        self.0.push(if value { 0xf5 } else { 0xf4 });
    }

    fn int(&mut self, value: i64) {
        if value < 0 {
            // -1 minus the value is its complement.
            self.head(NEGATIVE, (!value).unsigned_abs());
        } else {
            self.uint(value.unsigned_abs());
        }
    }

    fn uint(&mut self, value: u64) {
        self.head(UNSIGNED, value);
    }

    fn float(&mut self, value: f64) -> Result<(), TranscodeError> {
        self.0.push(0xfb);
        self.0.extend_from_slice(&value.to_be_bytes());
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.head(TEXT, text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn bytes(&mut self, octets: &[u8]) {
        self.head(BYTES, octets.len() as u64);
        self.0.extend_from_slice(octets);
    }

    fn raw(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    fn begin_list(&mut self, len: Option<usize>) -> Begun {
        self.begin(LIST, len)
    }

    fn end_list(&mut self, begun: Begun, count: usize) {
        self.end(LIST, begun, count);
    }

    fn begin_dict(&mut self, len: Option<usize>) -> Begun {
        self.begin(DICT, len)
    }

    fn end_dict(&mut self, begun: Begun, count: usize) {
        self.end(DICT, begun, count);
    }

    fn separate(&mut self, _index: usize) {}

    fn assign(&mut self) {}

    fn takes_key(&self, kind: Kind) -> bool {
        !matches!(kind, Kind::List | Kind::Dict)
    }
}
