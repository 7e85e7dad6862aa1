//! The codec as a whole: octets from the specifications, refusals, and properties of all serializers together.

mod properties;
mod refusals;
mod transcoding;
mod vectors;

use super::Serializer;

/// Octets from hexadecimal digits; spaces are for the reader.
fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u32> = digits.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

/// The octets that a row of a table means: JSON as text, the others in hexadecimal digits.
fn octets(serializer: Serializer, written: &str) -> Vec<u8> {
    match serializer {
        Serializer::Json => written.as_bytes().to_vec(),
        Serializer::Msgpack | Serializer::Cbor => hex(written),
    }
}
