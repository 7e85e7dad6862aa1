//! JSON as RFC 8259 defines it, read strictly and written compactly.
//!
//! Octets travel as strings that begin with U+0000 and go on in Base64 (WAMP, section "Binary support in JSON"). A string
//! that begins with U+0000 without valid Base64 behind it stays a string. Integers beyond 64 bits are read as floats.

mod reader;
mod scan;
mod writer;

use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

pub use reader::Reader;
pub(super) use writer::Writer;

/// Senders disagree on padding; there is nothing to gain from refusing either.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
