//! The three serializers: messages in, messages out, and payloads from one to another.
//!
//! Everything is read by pulling tokens from a slice ([`Read`]) and written straight into a buffer. What a message
//! carries for the application is checked and kept as a slice; no tree is built of it, neither for routing nor for
//! transcoding. Nothing here knows what a session may send when: that is the session machine's concern.

pub mod batch;
mod cbor;
mod decode;
mod encode;
mod error;
mod format;
pub mod json;
mod lasting;
mod msgpack;
mod payload;
mod token;
mod transcode;
mod value;
mod write;

#[cfg(test)]
mod tests;

pub use decode::{decode, decode_text};
pub use encode::{encode, encode_client};
pub use error::{DecodeError, Expected, MessageType, Syntax, SyntaxError, TranscodeError};
pub use format::{Batching, Format};
pub use lasting::Lasting;
pub use payload::OwnedPayload;
pub use token::{Kind, Open, Read, Token};
pub use transcode::transcode;
pub use value::{decode_value, encode_value};

/// How messages are written on one transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Serializer {
    /// `wamp.2.json`: text frames.
    Json,
    /// `wamp.2.msgpack`: binary frames.
    Msgpack,
    /// `wamp.2.cbor`: binary frames.
    Cbor,
}

impl Serializer {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Json, Self::Msgpack, Self::Cbor];

    /// The name as people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Msgpack => "MessagePack",
            Self::Cbor => "CBOR",
        }
    }
}
