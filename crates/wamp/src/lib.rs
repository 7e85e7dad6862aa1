//! WAMP version 2 without IO: messages, serializers, session and broker machines.

pub mod codec;
pub mod message;
pub mod value;
