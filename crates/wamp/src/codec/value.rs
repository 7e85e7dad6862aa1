//! Whole values from and to octets: for tests, small documents and what the router itself says. Payloads do not go this way.

use super::error::{SyntaxError, TranscodeError};
use super::token::Read;
use super::write::Write;
use super::{Serializer, cbor, json, msgpack};
use crate::value::Value;

/// Decodes one value that fills the octets.
///
/// # Errors
/// When they are malformed, nest too deep, or a dictionary in them has keys other than text.
pub fn decode_value(serializer: Serializer, octets: &[u8]) -> Result<Value, SyntaxError> {
    fn whole<'a>(mut reader: impl Read<'a>) -> Result<Value, SyntaxError> {
        let value = reader.value()?;
        reader.finish()?;
        Ok(value)
    }
    match serializer {
        Serializer::Json => whole(json::Reader::new(octets)?),
        Serializer::Msgpack => whole(msgpack::Reader::new(octets)),
        Serializer::Cbor => whole(cbor::Reader::new(octets)),
    }
}

/// Appends one value.
///
/// # Errors
/// When the value holds a number that JSON cannot express; the buffer is then as it was.
pub fn encode_value(serializer: Serializer, value: &Value, out: &mut Vec<u8>) -> Result<(), TranscodeError> {
    let start = out.len();
    let written = match serializer {
        Serializer::Json => json::Writer(out).value(value),
        Serializer::Msgpack => msgpack::Writer(out).value(value),
        Serializer::Cbor => cbor::Writer(out).value(value),
    };
    if written.is_err() {
        out.truncate(start);
    }
    written
}
