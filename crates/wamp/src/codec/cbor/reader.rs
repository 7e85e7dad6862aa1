//! The pull reader.

use std::borrow::Cow;

use super::head::{BREAK, Extent, Head, bignum, negative};
use crate::codec::error::{Syntax, SyntaxError};
use crate::codec::token::{DEPTH_MAX, Kind, Left, Open, Read, Token};

/// Reads CBOR from a slice.
#[derive(Clone, Debug)]
pub(in crate::codec) struct Reader<'a> {
    octets: &'a [u8],
    pub(super) at: usize,
    depth: usize,
}

/// The major type of the chunks of a string of indefinite length.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chunks {
    Bytes = 2,
    Text = 3,
}

impl<'a> Reader<'a> {
    pub(in crate::codec) const fn new(octets: &'a [u8]) -> Self {
        Self { octets, at: 0, depth: 0 }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], SyntaxError> {
        let rest = self.octets.get(self.at..).and_then(|rest| rest.get(..len));
        let taken = rest.ok_or_else(|| Syntax::End.at(self.octets.len()))?;
        self.at += len;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], SyntaxError> {
        Ok(*self.take(N)?.first_chunk().expect("so many octets were taken"))
    }

    pub(super) fn u8(&mut self) -> Result<u8, SyntaxError> {
        self.array::<1>().map(|[octet]| octet)
    }

    pub(super) fn reserved(&self, at: usize) -> SyntaxError {
        Syntax::Reserved(self.octets[at]).at(at)
    }

    /// Takes the break, if it stands here.
    fn at_break(&mut self) -> bool {
        let found = self.octets.get(self.at) == Some(&BREAK);
        self.at += usize::from(found);
        found
    }

    fn text_of(&mut self, len: usize) -> Result<&'a str, SyntaxError> {
        let start = self.at;
        simdutf8::basic::from_utf8(self.take(len)?).map_err(|_| Syntax::Utf8.at(start))
    }

    /// The next chunk of a string of indefinite length, or nothing at its end. Every chunk is a whole string of its own
    /// (RFC 8949, section 3.2.3), so no character straddles two of them.
    fn chunk(&mut self, chunks: Chunks) -> Result<Option<&'a [u8]>, SyntaxError> {
        if self.at_break() {
            return Ok(None);
        }
        let start = self.at;
        match (self.octets.get(start).map(|initial| initial >> 5), self.head()?, chunks) {
            (Some(2), Head::Bytes(Extent::Definite(len)), Chunks::Bytes) => self.take(len).map(Some),
            (Some(3), Head::Text(Extent::Definite(len)), Chunks::Text) => {
                self.text_of(len).map(|text| Some(text.as_bytes()))
            }
            _ => Err(Syntax::Chunk.at(start)),
        }
    }

    fn bytes_of(&mut self, extent: Extent) -> Result<Cow<'a, [u8]>, SyntaxError> {
        match extent {
            Extent::Definite(len) => self.take(len).map(Cow::Borrowed),
            Extent::Indefinite => {
                let mut whole = Vec::new();
                while let Some(chunk) = self.chunk(Chunks::Bytes)? {
                    whole.extend_from_slice(chunk);
                }
                Ok(Cow::Owned(whole))
            }
        }
    }

    fn string_of(&mut self, extent: Extent) -> Result<Cow<'a, str>, SyntaxError> {
        match extent {
            Extent::Definite(len) => self.text_of(len).map(Cow::Borrowed),
            Extent::Indefinite => {
                let mut whole = Vec::new();
                while let Some(chunk) = self.chunk(Chunks::Text)? {
                    whole.extend_from_slice(chunk);
                }
                Ok(Cow::Owned(String::from_utf8(whole).expect("every chunk was checked")))
            }
        }
    }

    fn skip_chunks(&mut self, extent: Extent, chunks: Chunks) -> Result<(), SyntaxError> {
        match (extent, chunks) {
            (Extent::Definite(len), Chunks::Bytes) => self.take(len).map(drop),
            (Extent::Definite(len), Chunks::Text) => self.text_of(len).map(drop),
            (Extent::Indefinite, _) => {
                while self.chunk(chunks)?.is_some() {}
                Ok(())
            }
        }
    }

    /// A container that promises more than there are octets is refused before anything is done for it.
    fn open(&mut self, start: usize, extent: Extent) -> Result<Open, SyntaxError> {
        if self.depth == DEPTH_MAX {
            return Err(Syntax::Depth.at(start));
        }
        let left = match extent {
            Extent::Definite(len) if len > self.octets.len() - self.at => {
                return Err(Syntax::End.at(self.octets.len()));
            }
            Extent::Definite(len) => Left::Counted(len),
            Extent::Indefinite => Left::UntilMark,
        };
        self.depth += 1;
        Ok(Open(left))
    }

    fn goes_on(&mut self, open: &mut Open) -> bool {
        let goes_on = match &mut open.0 {
            Left::Counted(left) => {
                let any = *left > 0;
                *left = left.saturating_sub(1);
                any
            }
            Left::UntilMark | Left::UntilMarkFirst => !self.at_break(),
        };
        self.depth -= usize::from(!goes_on);
        goes_on
    }

    /// Walks over one value; recursion goes no deeper than `DEPTH_MAX`.
    fn walk(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        match self.head()? {
            Head::Null | Head::Bool(_) | Head::Unsigned(_) | Head::Negative(_) | Head::Float(_) => Ok(()),
            Head::Text(extent) => self.skip_chunks(extent, Chunks::Text),
            Head::Bytes(extent) | Head::Bignum(_, extent) => self.skip_chunks(extent, Chunks::Bytes),
            Head::List(extent) => {
                let mut open = self.open(start, extent)?;
                while self.goes_on(&mut open) {
                    self.walk()?;
                }
                Ok(())
            }
            Head::Dict(extent) => {
                let mut open = self.open(start, extent)?;
                while self.goes_on(&mut open) {
                    self.walk()?;
                    self.walk()?;
                }
                Ok(())
            }
        }
    }
}

impl<'a> Read<'a> for Reader<'a> {
    fn kind(&mut self) -> Result<Kind, SyntaxError> {
        let mut ahead = self.clone();
        Ok(match ahead.head()? {
            Head::Null => Kind::Null,
            Head::Bool(_) => Kind::Bool,
            Head::Unsigned(_) => Kind::Integer,
            Head::Negative(magnitude) => negative(magnitude).kind(),
            Head::Float(_) => Kind::Float,
            Head::Text(_) => Kind::Text,
            Head::Bytes(_) => Kind::Bytes,
            Head::List(_) => Kind::List,
            Head::Dict(_) => Kind::Dict,
            Head::Bignum(sign, extent) => bignum(sign, &ahead.bytes_of(extent)?).kind(),
        })
    }

    fn token(&mut self) -> Result<Token<'a>, SyntaxError> {
        let start = self.at;
        Ok(match self.head()? {
            Head::Null => Token::Null,
            Head::Bool(value) => Token::Bool(value),
            Head::Unsigned(value) => Token::from(value),
            Head::Negative(magnitude) => negative(magnitude),
            Head::Float(value) => Token::Float(value),
            Head::Text(extent) => Token::Text(self.string_of(extent)?),
            Head::Bytes(extent) => Token::Bytes(self.bytes_of(extent)?),
            Head::List(extent) => Token::List(self.open(start, extent)?),
            Head::Dict(extent) => Token::Dict(self.open(start, extent)?),
            Head::Bignum(sign, extent) => bignum(sign, &self.bytes_of(extent)?),
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
        if self.at < self.octets.len() { Err(Syntax::Trailing.at(self.at)) } else { Ok(()) }
    }

    fn text(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        let start = self.at;
        match self.token()? {
            Token::Text(text) => Ok(text),
            other => Err(Syntax::Kind { expected: Kind::Text, found: other.kind() }.at(start)),
        }
    }
}
