//! WebSocket subprotocols: which serializer, and whether messages travel in batches.

use super::Serializer;

/// How many messages one WebSocket message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Batching {
    /// Exactly one.
    Single,
    /// One or more, framed as [`super::batch`] says.
    Batched,
}

/// What a WebSocket subprotocol stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Format {
    /// How a message is written.
    pub serializer: Serializer,
    /// How many of them come together.
    pub batched: Batching,
}

impl Format {
    /// Every format, unbatched first.
    pub const ALL: [Self; 6] = [
        Self::new(Serializer::Json, Batching::Single),
        Self::new(Serializer::Msgpack, Batching::Single),
        Self::new(Serializer::Cbor, Batching::Single),
        Self::new(Serializer::Json, Batching::Batched),
        Self::new(Serializer::Msgpack, Batching::Batched),
        Self::new(Serializer::Cbor, Batching::Batched),
    ];

    /// The format of these two choices.
    #[must_use]
    pub const fn new(serializer: Serializer, batched: Batching) -> Self {
        Self { serializer, batched }
    }

    /// The format that `name` means in `Sec-WebSocket-Protocol`.
    #[must_use]
    pub fn from_subprotocol(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.subprotocol() == name)
    }

    /// The name to answer with in `Sec-WebSocket-Protocol`.
    #[must_use]
    pub const fn subprotocol(self) -> &'static str {
        match (self.serializer, self.batched) {
            (Serializer::Json, Batching::Single) => "wamp.2.json",
            (Serializer::Msgpack, Batching::Single) => "wamp.2.msgpack",
            (Serializer::Cbor, Batching::Single) => "wamp.2.cbor",
            (Serializer::Json, Batching::Batched) => "wamp.2.json.batched",
            (Serializer::Msgpack, Batching::Batched) => "wamp.2.msgpack.batched",
            (Serializer::Cbor, Batching::Batched) => "wamp.2.cbor.batched",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_formats() {
        for format in Format::ALL {
            assert_eq!(Format::from_subprotocol(format.subprotocol()), Some(format));
        }
        for name in ["", "wamp", "wamp.2.ubjson", "wamp.2.JSON", "wamp.2.json.batched.", "echo"] {
            assert_eq!(Format::from_subprotocol(name), None, "{name}");
        }
    }
}
