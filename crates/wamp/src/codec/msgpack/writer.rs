//! The writer: every head in its shortest form.

use crate::codec::error::TranscodeError;
use crate::codec::token::Kind;
use crate::codec::write::{Begun, Length, Write};

/// Appends MessagePack to a buffer.
pub(in crate::codec) struct Writer<'o>(pub(in crate::codec) &'o mut Vec<u8>);

/// The markers of one family of heads with a length.
#[derive(Clone, Copy)]
struct Family {
    /// Lengths below the limit live in the marker itself.
    fixed: u8,
    fixed_limit: usize,
    one: Option<u8>,
    two: u8,
    four: u8,
}

const TEXT: Family = Family { fixed: 0xa0, fixed_limit: 32, one: Some(0xd9), two: 0xda, four: 0xdb };
const BYTES: Family = Family { fixed: 0, fixed_limit: 0, one: Some(0xc4), two: 0xc5, four: 0xc6 };
const LIST: Family = Family { fixed: 0x90, fixed_limit: 16, one: None, two: 0xdc, four: 0xdd };
const DICT: Family = Family { fixed: 0x80, fixed_limit: 16, one: None, two: 0xde, four: 0xdf };

/// A head is at most five octets.
struct Head {
    octets: [u8; 5],
    len: usize,
}

impl Head {
    fn new(family: Family, len: usize) -> Self {
        let wide = u32::try_from(len).expect("messages are far smaller than 4 GiB");
        let [_, _, high, low] = wide.to_be_bytes();
        match (family.one, wide) {
            _ if len < family.fixed_limit => Self { octets: [family.fixed | low, 0, 0, 0, 0], len: 1 },
            (Some(one), 0..=0xff) => Self { octets: [one, low, 0, 0, 0], len: 2 },
            (_, 0..=0xffff) => Self { octets: [family.two, high, low, 0, 0], len: 3 },
            _ => {
                let [first, second, ..] = wide.to_be_bytes();
                Self { octets: [family.four, first, second, high, low], len: 5 }
            }
        }
    }

    fn octets(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

impl Writer<'_> {
    fn head(&mut self, family: Family, len: usize) {
        self.0.extend_from_slice(Head::new(family, len).octets());
    }

    fn marked<const N: usize>(&mut self, marker: u8, octets: [u8; N]) {
        self.0.push(marker);
        self.0.extend_from_slice(&octets);
    }

    fn begin(&mut self, family: Family, len: Option<usize>) -> Begun {
        let at = self.0.len();
        self.head(family, len.unwrap_or(0));
        Begun { at, length: if len.is_some() { Length::Settled } else { Length::Open } }
    }

    /// Most containers are short: their head is one octet, already in place. Others make room for theirs now.
    fn end(&mut self, family: Family, begun: Begun, count: usize) {
        if begun.length == Length::Open {
            let head = Head::new(family, count);
            self.0.splice(begun.at..=begun.at, head.octets().iter().copied());
        }
    }
}

impl Write for Writer<'_> {
    fn null(&mut self) {
        self.0.push(0xc0);
    }

    fn bool(&mut self, value: bool) {
        self.0.push(if value { 0xc3 } else { 0xc2 });
    }

    fn int(&mut self, value: i64) {
        if let Ok(value) = u64::try_from(value) {
            return self.uint(value);
        }
        if let Ok(value) = i8::try_from(value) {
            if value >= -32 {
                self.0.extend_from_slice(&value.to_be_bytes());
            } else {
                self.marked(0xd0, value.to_be_bytes());
            }
        } else if let Ok(value) = i16::try_from(value) {
            self.marked(0xd1, value.to_be_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            self.marked(0xd2, value.to_be_bytes());
        } else {
            self.marked(0xd3, value.to_be_bytes());
        }
    }

    fn uint(&mut self, value: u64) {
        if let Ok(value) = u8::try_from(value) {
            if value < 0x80 {
                self.0.push(value);
            } else {
                self.marked(0xcc, [value]);
            }
        } else if let Ok(value) = u16::try_from(value) {
            self.marked(0xcd, value.to_be_bytes());
        } else if let Ok(value) = u32::try_from(value) {
            self.marked(0xce, value.to_be_bytes());
        } else {
            self.marked(0xcf, value.to_be_bytes());
        }
    }

    fn float(&mut self, value: f64) -> Result<(), TranscodeError> {
        self.marked(0xcb, value.to_be_bytes());
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.head(TEXT, text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn bytes(&mut self, octets: &[u8]) {
        self.head(BYTES, octets.len());
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
