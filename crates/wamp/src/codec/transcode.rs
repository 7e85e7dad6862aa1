//! Payloads from one serializer to another, token by token and without a tree.
//!
//! What changes on the way: octets become strings in JSON and come back as octets; JSON integers beyond 64 bits become
//! floats; CBOR tags are dropped, except that bignums become integers or, beyond 64 bits, floats; CBOR's undefined becomes
//! null; floats of any width become doubles. What cannot cross: NaN and infinities towards JSON, MessagePack extensions,
//! and dictionary keys that the receiver's serializer does not know.

use super::error::{SyntaxError, TranscodeError};
use super::token::{Open, Read, Token};
use super::write::Write;
use super::{Serializer, cbor, json, msgpack};

/// Appends one value that fills the octets.
///
/// # Errors
/// When the octets are malformed or hold what `to` cannot express; the buffer is then as it was.
pub fn transcode(from: Serializer, to: Serializer, octets: &[u8], out: &mut Vec<u8>) -> Result<(), TranscodeError> {
    let start = out.len();
    let written = match to {
        _ if from == to => check(from, octets).map(|()| out.extend_from_slice(octets)).map_err(Into::into),
        Serializer::Json => into(from, octets, &mut json::Writer(out)),
        Serializer::Msgpack => into(from, octets, &mut msgpack::Writer(out)),
        Serializer::Cbor => into(from, octets, &mut cbor::Writer(out)),
    };
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// Writes one value that fills the octets.
pub(super) fn into<W: Write>(from: Serializer, octets: &[u8], writer: &mut W) -> Result<(), TranscodeError> {
    fn whole<'a>(mut reader: impl Read<'a>, writer: &mut impl Write) -> Result<(), TranscodeError> {
        value(&mut reader, writer)?;
        Ok(reader.finish()?)
    }
    match from {
        Serializer::Json => whole(json::Reader::new(octets)?, writer),
        Serializer::Msgpack => whole(msgpack::Reader::new(octets), writer),
        Serializer::Cbor => whole(cbor::Reader::new(octets), writer),
    }
}

fn check(serializer: Serializer, octets: &[u8]) -> Result<(), SyntaxError> {
    fn whole<'a>(mut reader: impl Read<'a>) -> Result<(), SyntaxError> {
        reader.skip()?;
        reader.finish()
    }
    match serializer {
        Serializer::Json => whole(json::Reader::new(octets)?),
        Serializer::Msgpack => whole(msgpack::Reader::new(octets)),
        Serializer::Cbor => whole(cbor::Reader::new(octets)),
    }
}

/// Recursion is bounded: readers refuse what nests too deep.
fn value<'a, R: Read<'a>, W: Write>(reader: &mut R, writer: &mut W) -> Result<(), TranscodeError> {
    match reader.token()? {
        Token::List(open) => list(reader, open, writer),
        Token::Dict(open) => dict(reader, open, writer),
        scalar => self::scalar(&scalar, writer),
    }
}

fn list<'a, R: Read<'a>, W: Write>(reader: &mut R, mut open: Open, writer: &mut W) -> Result<(), TranscodeError> {
    let begun = writer.begin_list(open.len_ahead());
    let mut count = 0;
    while reader.more(&mut open)? {
        writer.separate(count);
        value(reader, writer)?;
        count += 1;
    }
    writer.end_list(begun, count);
    Ok(())
}

fn dict<'a, R: Read<'a>, W: Write>(reader: &mut R, mut open: Open, writer: &mut W) -> Result<(), TranscodeError> {
    let begun = writer.begin_dict(open.len_ahead());
    let mut count = 0;
    while let Some(key) = reader.key(&mut open)? {
        if !writer.takes_key(key.kind()) {
            return Err(TranscodeError::Key(key.kind()));
        }
        writer.separate(count);
        scalar(&key, writer)?;
        writer.assign();
        value(reader, writer)?;
        count += 1;
    }
    writer.end_dict(begun, count);
    Ok(())
}

fn scalar<W: Write>(token: &Token<'_>, writer: &mut W) -> Result<(), TranscodeError> {
    match token {
        Token::Null => writer.null(),
        Token::Bool(value) => writer.bool(*value),
        Token::Int(value) => writer.int(*value),
        Token::Uint(value) => writer.uint(*value),
        Token::Float(value) => writer.float(*value)?,
        Token::Text(text) => writer.text(text),
        Token::Bytes(octets) => writer.bytes(octets),
        Token::List(_) | Token::Dict(_) => return Err(TranscodeError::Key(token.kind())),
    }
    Ok(())
}

/// Whether these octets, which have been checked before, are a list or a dictionary without contents.
pub(super) fn is_empty_container(serializer: Serializer, octets: &[u8]) -> bool {
    fn open<'a>(mut reader: impl Read<'a>) -> bool {
        match reader.token() {
            Ok(Token::List(mut list)) => matches!(reader.more(&mut list), Ok(false)),
            Ok(Token::Dict(mut dict)) => matches!(reader.key(&mut dict), Ok(None)),
            _ => false,
        }
    }
    match serializer {
        // Without a reader, which would check all the text anew.
        Serializer::Json => {
            let inner = octets.iter().skip(1).find(|octet| !octet.is_ascii_whitespace());
            matches!(inner, Some(b']' | b'}'))
        }
        Serializer::Msgpack => open(msgpack::Reader::new(octets)),
        Serializer::Cbor => open(cbor::Reader::new(octets)),
    }
}
