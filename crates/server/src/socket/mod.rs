//! WebSocket connections: what an upgraded stream becomes.

pub mod connection;
pub mod io;
mod long;
pub mod reader;
mod talk;
pub mod unfinished;

use std::sync::{Arc, PoisonError, RwLock};

use stentor_wamp::auth::AuthPolicy;
use stentor_wamp::codec::Format;
use stentor_websocket::closing::Failure;
use stentor_websocket::decoder;
use stentor_websocket::deflate::{Agreed, Policy};
use stentor_websocket::handshake::Origins;
use stentor_websocket::keepalive;

use crate::realm::Directory;
use unfinished::Unfinished;

/// What one path or port offers to WebSocket clients.
#[derive(Debug)]
pub struct SocketService {
    /// What is spoken on it.
    pub speech: Speech,
    /// Limits and habits.
    pub habits: Habits,
    /// Whose pages may connect.
    pub origins: Origins,
    /// The serializers on offer.
    pub formats: Vec<Format>,
    /// Compression, where it is configured.
    pub compression: Option<Policy>,
    /// What is held of unfinished messages on the transport.
    pub unfinished: Arc<Unfinished>,
    /// Where long messages are read.
    pub reader: reader::Reader,
    /// WebSocket connections that are open on the transport.
    pub open: Arc<crate::meter::Gauge>,
}

/// What is spoken on a WebSocket service.
#[derive(Debug)]
pub enum Speech {
    /// WAMP, in these realms, with these ways to prove who one is.
    Wamp {
        /// The realms.
        directory: Arc<Directory>,
        /// Who gets in.
        policy: RwLock<Arc<AuthPolicy>>,
    },
    /// Every message comes back. For conformance suites only.
    Echo,
}

impl SocketService {
    /// Whether messages just come back.
    #[must_use]
    pub const fn is_echo(&self) -> bool {
        matches!(self.speech, Speech::Echo)
    }

    /// Who gets in now.
    #[must_use]
    pub fn policy(&self) -> Arc<AuthPolicy> {
        match &self.speech {
            Speech::Wamp { policy, .. } => Arc::clone(&policy.read().unwrap_or_else(PoisonError::into_inner)),
            Speech::Echo => Arc::default(),
        }
    }

    /// Lets others in from now on.
    pub fn set_policy(&self, fresh: Arc<AuthPolicy>) {
        if let Speech::Wamp { policy, .. } = &self.speech {
            *policy.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
    }
}

/// Limits and habits of the connections of one service.
#[derive(Clone, Debug)]
pub struct Habits {
    /// Octets of one frame.
    pub frame_bytes_max: usize,
    /// Octets of one message.
    pub message_bytes_max: usize,
    /// Octets of the frames that we send; 0 for whole messages.
    pub fragment_bytes: usize,
    /// Octets that may wait for one connection.
    pub outbox_bytes_max: usize,
    /// Subscriptions of one session.
    pub subscriptions_max: usize,
    /// Connections of the transport.
    pub connections_max: usize,
    /// Ticks until HELLO must have been accepted.
    pub open_ticks: u32,
    /// Ticks until the peer must have answered a Close.
    pub close_ticks: u32,
    /// Silence.
    pub keepalive: keepalive::Policy,
    /// Octets of a ping.
    pub ping_bytes: usize,
    /// Whether client frames must be masked.
    pub mask: decoder::MaskRule,
    /// Whether text is checked.
    pub utf8: decoder::Utf8Rule,
    /// How a violation ends a connection.
    pub failure: Failure,
    /// What a Close is answered with.
    pub close_echo: CloseEcho,
    /// Whether a client without a subprotocol is refused.
    pub subprotocol: SubprotocolRule,
    /// Whether small writes leave at once.
    pub nodelay: bool,
}

/// What a peer's Close is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseEcho {
    /// Its code.
    Code,
    /// Its code and reason.
    CodeAndReason,
}

/// Whether a client must name a subprotocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubprotocolRule {
    /// It must.
    Required,
    /// One that names none speaks JSON.
    Optional,
}

impl Habits {
    /// What the decoder of one connection enforces.
    #[must_use]
    pub fn decoder(&self, compression: Option<Agreed>) -> decoder::Options {
        decoder::Options {
            role: decoder::Role::Server,
            frame_bytes_max: self.frame_bytes_max,
            message_bytes_max: self.message_bytes_max,
            compression,
            mask: self.mask,
            validate_utf8: self.utf8,
        }
    }
}
