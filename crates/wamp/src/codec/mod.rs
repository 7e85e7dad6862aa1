//! The three serializers.

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
