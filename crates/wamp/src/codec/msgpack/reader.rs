//! The pull reader.

use std::borrow::Cow;

use crate::codec::error::{Syntax, SyntaxError};
use crate::codec::token::{DEPTH_MAX, Kind, Left, Open, Read, Token};

/// Reads MessagePack from a slice.
#[derive(Clone, Debug)]
pub(in crate::codec) struct Reader<'a> {
    octets: &'a [u8],
    at: usize,
    depth: usize,
}

/// The first octets of a value, up to its contents.
enum Head {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(usize),
    Bytes(usize),
    List(usize),
    Dict(usize),
    Extension(usize),
}

impl<'a> Reader<'a> {
    pub(in crate::codec) const fn new(octets: &'a [u8]) -> Self {
        Self { octets, at: 0, depth: 0 }
    }

    fn fault(&self, syntax: Syntax) -> SyntaxError {
        syntax.at(self.at)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], SyntaxError> {
        let rest = self.octets.get(self.at..).and_then(|rest| rest.get(..len));
        let taken = rest.ok_or_else(|| Syntax::End.at(self.octets.len()))?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SyntaxError> {
        Ok(*self.take(N)?.first_chunk().expect("so many octets were taken"))
    }

    fn u8(&mut self) -> Result<u8, SyntaxError> {
        self.array::<1>().map(|[octet]| octet)
    }

    /// A length field of so many octets.
    fn len<const N: usize>(&mut self) -> Result<usize, SyntaxError> {
        let octets = self.array::<N>()?;
        Ok(octets.iter().fold(0, |len, octet| len << 8 | usize::from(*octet)))
    }

    fn head(&mut self) -> Result<Head, SyntaxError> {
        let start = self.at;
        let marker = self.u8()?;
        Ok(match marker {
            0x00..=0x7f => Head::Unsigned(marker.into()),
            0x80..=0x8f => Head::Dict((marker & 0x0f).into()),
            0x90..=0x9f => Head::List((marker & 0x0f).into()),
            0xa0..=0xbf => Head::Text((marker & 0x1f).into()),
            0xc0 => Head::Null,
            0xc1 => return Err(Syntax::Reserved(marker).at(start)),
            0xc2 => Head::Bool(false),
            0xc3 => Head::Bool(true),
            0xc4 => Head::Bytes(self.len::<1>()?),
            0xc5 => Head::Bytes(self.len::<2>()?),
            0xc6 => Head::Bytes(self.len::<4>()?),
            0xc7 => Head::Extension(self.len::<1>()?),
            0xc8 => Head::Extension(self.len::<2>()?),
            0xc9 => Head::Extension(self.len::<4>()?),
            0xca => Head::Float(f32::from_be_bytes(self.array()?).into()),
            0xcb => Head::Float(f64::from_be_bytes(self.array()?)),
            0xcc => Head::Unsigned(u8::from_be_bytes(self.array()?).into()),
            0xcd => Head::Unsigned(u16::from_be_bytes(self.array()?).into()),
            0xce => Head::Unsigned(u32::from_be_bytes(self.array()?).into()),
            0xcf => Head::Unsigned(u64::from_be_bytes(self.array()?)),
            0xd0 => Head::Signed(i8::from_be_bytes(self.array()?).into()),
            0xd1 => Head::Signed(i16::from_be_bytes(self.array()?).into()),
            0xd2 => Head::Signed(i32::from_be_bytes(self.array()?).into()),
            0xd3 => Head::Signed(i64::from_be_bytes(self.array()?)),
            // JavaScript's encoders write `undefined` as the extension of type 0 with one zero octet; that is no value.
            0xd4 if self.octets.get(self.at..self.at + 2) == Some(&[0, 0]) => {
                self.at += 2;
                Head::Null
            }
            0xd4..=0xd8 => Head::Extension(1 << (marker - 0xd4)),
            0xd9 => Head::Text(self.len::<1>()?),
            0xda => Head::Text(self.len::<2>()?),
            0xdb => Head::Text(self.len::<4>()?),
            0xdc => Head::List(self.len::<2>()?),
            0xdd => Head::List(self.len::<4>()?),
            0xde => Head::Dict(self.len::<2>()?),
            0xdf => Head::Dict(self.len::<4>()?),
            0xe0..=0xff => Head::Signed(i8::from_be_bytes([marker]).into()),
        })
    }

    fn text_of(&mut self, len: usize) -> Result<&'a str, SyntaxError> {
        let start = self.at;
        simdutf8::basic::from_utf8(self.take(len)?).map_err(|_| Syntax::Utf8.at(start))
    }

    /// A container that promises more than there are octets is refused before anything is done for it.
    fn open(&mut self, start: usize, len: usize) -> Result<Open, SyntaxError> {
        if self.depth == DEPTH_MAX {
            return Err(Syntax::Depth.at(start));
        }
        if len > self.octets.len() - self.at {
            return Err(Syntax::End.at(self.octets.len()));
        }
        self.depth += 1;
        Ok(Open(Left::Counted(len)))
    }

    fn goes_on(&mut self, open: &mut Open) -> bool {
        match &mut open.0 {
            Left::Counted(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => {
                self.depth -= 1;
                false
            }
        }
    }

    /// Walks over one value; recursion goes no deeper than `DEPTH_MAX`.
    fn walk(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        let values = match self.head()? {
            Head::Null | Head::Bool(_) | Head::Unsigned(_) | Head::Signed(_) | Head::Float(_) => return Ok(()),
            Head::Text(len) => return self.text_of(len).map(drop),
            Head::Bytes(len) => return self.take(len).map(drop),
            // One more octet tells the extension's type.
            Head::Extension(len) => return self.take(len.saturating_add(1)).map(drop),
            Head::List(len) => len,
            Head::Dict(len) => len.saturating_mul(2),
        };
        self.open(start, values)?;
        for _ in 0..values {
            self.walk()?;
        }
        self.depth -= 1;
        Ok(())
    }
}

impl<'a> Read<'a> for Reader<'a> {
    fn kind(&mut self) -> Result<Kind, SyntaxError> {
        Ok(match self.clone().head()? {
            Head::Null => Kind::Null,
            Head::Bool(_) => Kind::Bool,
            Head::Unsigned(_) | Head::Signed(_) => Kind::Integer,
            Head::Float(_) => Kind::Float,
            Head::Text(_) => Kind::Text,
            Head::Bytes(_) => Kind::Bytes,
            Head::List(_) => Kind::List,
            Head::Dict(_) => Kind::Dict,
            Head::Extension(_) => Kind::Extension,
        })
    }

    fn token(&mut self) -> Result<Token<'a>, SyntaxError> {
        let start = self.at;
        Ok(match self.head()? {
            Head::Null => Token::Null,
            Head::Bool(value) => Token::Bool(value),
            Head::Unsigned(value) => Token::from(value),
            Head::Signed(value) => Token::Int(value),
            Head::Float(value) => Token::Float(value),
            Head::Text(len) => Token::Text(Cow::Borrowed(self.text_of(len)?)),
            Head::Bytes(len) => Token::Bytes(Cow::Borrowed(self.take(len)?)),
            Head::List(len) => Token::List(self.open(start, len)?),
            Head::Dict(len) => Token::Dict(self.open(start, len)?),
            Head::Extension(_) => return Err(Syntax::Extension.at(start)),
        })
    }

    fn more(&mut self, list: &mut Open) -> Result<bool, SyntaxError> {
        Ok(self.goes_on(list))
    }

    fn key(&mut self, dict: &mut Open) -> Result<Option<Token<'a>>, SyntaxError> {
        if self.goes_on(dict) { self.token().map(Some) } else { Ok(None) }
    }

    fn skip(&mut self) -> Result<&'a [u8], SyntaxError> {
        let start = self.at;
        self.walk()?;
        Ok(self.since(start))
    }

    fn position(&self) -> usize {
        self.at
    }

    fn since(&self, start: usize) -> &'a [u8] {
        &self.octets[start..self.at]
    }

    fn finish(&mut self) -> Result<(), SyntaxError> {
        if self.at < self.octets.len() { Err(self.fault(Syntax::Trailing)) } else { Ok(()) }
    }

    fn text(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        let start = self.at;
        match self.token()? {
            Token::Text(text) => Ok(text),
            other => Err(Syntax::Kind { expected: Kind::Text, found: other.kind() }.at(start)),
        }
    }
}
