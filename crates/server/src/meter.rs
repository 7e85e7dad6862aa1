//! What the node counts. Plain atomic counters, passed to whoever counts; nobody reads them through a global.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of one node.
#[derive(Debug, Default)]
pub struct Meters {
    /// WebSocket connections that are open.
    pub connections_open: Gauge,
    /// Publications that were accepted, by HTTP or by a session.
    pub publications: Counter,
    /// Events that were put into an outbox.
    pub events: Counter,
    /// Events that could not be written in the subscriber's serializer.
    pub events_unencodable: Counter,
    /// HTTP submissions that were refused.
    pub submissions_refused: Counter,
    /// Connections closed because their outbox was full.
    pub closed_outbox_full: Counter,
    /// Connections closed because they answered no ping.
    pub closed_ping_timeout: Counter,
    /// Connections closed because they did not join, or did not close, in time.
    pub closed_handshake_timeout: Counter,
    /// Connections closed because they broke WebSocket or WAMP.
    pub closed_violation: Counter,
    /// Connections refused because the transport is full.
    pub refused_full: Counter,
    /// Tasks that panicked; the others went on.
    pub tasks_panicked: Counter,
    /// Connections refused because the transport, or the process, can have no more.
    pub refused_connections_full: Counter,
    /// Connections refused because their address has as many as it may.
    pub refused_address_full: Counter,
    /// Connections refused because every thread had too many waiting.
    pub refused_threads_busy: Counter,
    /// Bodies refused because too many large ones were being read.
    pub refused_bodies_full: Counter,
    /// Connections closed because nothing was ever said on them.
    pub closed_silent: Counter,
    /// Connections closed because no further request came; what becomes of most that are kept alive.
    pub closed_idle: Counter,
    /// Connections closed because a request's head took too long.
    pub closed_head_timeout: Counter,
    /// Connections closed because a request's head was too large.
    pub closed_head_too_large: Counter,
    /// Connections closed because a body took too long or came too slowly.
    pub closed_body_timeout: Counter,
    /// Connections closed because a body was too large.
    pub closed_body_too_large: Counter,
    /// Connections closed because what came was not HTTP.
    pub closed_malformed: Counter,
    /// Connections closed because the client did not read its answers.
    pub closed_write_timeout: Counter,
    /// Connections closed because a TLS handshake took too long.
    pub closed_tls_timeout: Counter,
    /// Connections closed because a TLS handshake failed.
    pub closed_tls_failed: Counter,
    /// Times that no connection could be accepted, because something had run out.
    pub accept_exhausted: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// One more.
    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One more, unless it is at this limit; threads that ask at the same time cannot pass it together.
    pub fn increment_below(&self, limit: u64) -> bool {
        let next = |number| (number < limit).then_some(number + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// So many more, unless that passes this limit.
    pub fn grow_within(&self, more: u64, limit: u64) -> bool {
        let next = |number: u64| number.checked_add(more).filter(|grown| *grown <= limit);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// So many less.
    pub fn shrink(&self, less: u64) {
        self.0.fetch_sub(less, Ordering::Relaxed);
    }

    /// One less.
    pub fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
