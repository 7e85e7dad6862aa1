//! WAMP version 2 without IO: messages, serializers, session, broker and dealer machines.
//!
//! Octets become messages in [`codec`]; [`session`] decides what a message means in the state that its session is in;
//! [`router`] holds one realm and says what is to be sent. There is no socket, clock, runtime or random source in this
//! crate: what they give is passed in, so the same inputs always lead to the same outputs.
//!
//! ```
//! use stentor_wamp::codec::{Serializer, decode};
//! use stentor_wamp::message::ClientMessage;
//!
//! let octets = br#"[16,1,{},"com.myapp.topic1",["Hello, world"]]"#;
//! let Ok(ClientMessage::Publish { topic, payload, .. }) = decode(Serializer::Json, octets) else { panic!() };
//! assert_eq!(topic, "com.myapp.topic1");
//! assert_eq!(payload.args, Some(&br#"["Hello, world"]"#[..]));
//! ```

pub mod auth;
pub mod broker;
pub mod codec;
pub mod dealer;
pub mod identity;
pub mod message;
pub mod pattern;
pub mod permission;
mod prefix;
pub mod publish_options;
pub mod router;
pub mod session;
#[cfg(test)]
mod transcript;
pub mod uri;
pub mod value;
mod wildcard;
