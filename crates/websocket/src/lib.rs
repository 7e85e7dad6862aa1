//! What RFC 6455 (WebSocket) and RFC 7692 (permessage-deflate) say, without IO.
//!
//! - [`handshake`] judges an upgrade request and computes the answer,
//! - [`decoder`] turns octets into messages, whatever way the network cuts them,
//! - [`frame`] builds complete frames as shared bytes, once for all readers,
//! - [`deflate`] negotiates compression and holds the compressors, one per thread,
//! - [`keepalive`] says when to ping a silent peer and when to give it up,
//! - [`closing`] walks through the closing handshake,
//! - [`close`] knows the close codes.
//!
//! There are no sockets here, no clock, no runtime and no dice: masks are passed in, and who waits for what is up to the
//! server. The crate answers nothing by itself; pongs and Close echoes are frames that the caller sends.
//!
//! ```
//! use std::ops::ControlFlow;
//! use stentor_websocket::decoder::{Decoder, Event, MaskRule, Options, Role, Utf8Rule};
//! use stentor_websocket::{deflate::Inflater, frame};
//!
//! let mut decoder = Decoder::new(Options {
//!     role: Role::Server,
//!     frame_bytes_max: 1024,
//!     message_bytes_max: 1024,
//!     compression: None,
//!     mask: MaskRule::Required,
//!     validate_utf8: Utf8Rule::Strict,
//! });
//! let mut inflater = Inflater::new();
//!
//! // A client's frame arrives in two reads.
//! let mut input = frame::masked(frame::Opcode::Text, b"Hello", [1, 2, 3, 4]).to_vec();
//! let mut replies = Vec::new();
//! for part in input.chunks_mut(7) {
//!     decoder.feed(part, &mut inflater, |event| {
//!         if let Event::Text(text) = event {
//!             replies.push(frame::text(text));
//!         }
//!         ControlFlow::Continue(())
//!     })?;
//! }
//! assert_eq!(replies, [b"\x81\x05Hello".as_slice()]);
//! # Ok::<(), stentor_websocket::decoder::Violation>(())
//! ```

pub mod close;
pub mod closing;
pub mod decoder;
pub mod deflate;
pub mod frame;
pub mod handshake;
pub mod keepalive;
mod mask;
