//! What the node counts. No globals: each thread has its own [`Meters`], so that counting never passes a cache line from
//! thread to thread, and a [`Tally`] adds them up when somebody asks.
//!
//! Knows names and help texts, and the text format. Deliberately does not know where a number comes from.

mod catalogue;
mod metric;
mod reason;
pub mod text;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use catalogue::{catalogue, reference_page};
pub use metric::{Kind, Metric, sampled};
pub use reason::Reason;

/// Declares [`Meters`]: a documented field, whose documentation is the help text, and the name that it is told by.
macro_rules! meters {
    (
        counters { $(#[doc = $counter_help:literal] $counter:ident = $counter_name:literal,)* }
        gauges { $(#[doc = $gauge_help:literal] $gauge:ident = $gauge_name:literal,)* }
    ) => {
        /// What one thread counts, or the sum over all.
        #[derive(Debug, Default)]
        // Two lines of cache, because processors fetch them in pairs: what one thread counts is nobody else's business.
        #[repr(align(128))]
        pub struct Meters {
            $(#[doc = $counter_help] pub $counter: Counter,)*
            $(#[doc = $gauge_help] pub $gauge: Gauge,)*
            /// Connections closed and connections or requests refused, by reason.
            pub closed: ByReason,
            /// HTTP requests that were answered, by the class of the status.
            pub requests: ByClass,
        }

        impl Meters {
            /// Everything that has one number, in the order of the reference page.
            pub const METRICS: &'static [Metric] = &[
                $(Metric { name: $counter_name, kind: Kind::Counter, label: None, help: $counter_help.trim_ascii() },)*
                $(Metric { name: $gauge_name, kind: Kind::Gauge, label: None, help: $gauge_help.trim_ascii() },)*
            ];

            /// The numbers, in the order of [`Self::METRICS`].
            #[must_use]
            pub fn numbers(&self) -> Vec<u64> {
                vec![$(self.$counter.get(),)* $(self.$gauge.get(),)*]
            }

            /// Adds what another thread counted.
            fn absorb(&self, other: &Self) {
                $(self.$counter.add(other.$counter.get());)*
                $(self.$gauge.add(other.$gauge.get());)*
                self.closed.absorb(&other.closed);
                self.requests.absorb(&other.requests);
            }
        }
    };
}

meters! {
    counters {
        /// Publications that were accepted, by HTTP or by a session.
        publications = "stentor_publications_total",
        /// Events that were put into an outbox.
        events = "stentor_events_total",
        /// Events that could not be written in the subscriber's serializer.
        events_unencodable = "stentor_events_unencodable_total",
        /// HTTP submissions that were refused.
        submissions_refused = "stentor_submissions_refused_total",
        /// Sessions that joined a realm.
        sessions_joined = "stentor_sessions_joined_total",
        /// Messages of sessions that were long and were read beside the threads that serve.
        long_messages = "stentor_long_messages_total",
        /// Times that no connection could be accepted, because something had run out.
        accept_exhausted = "stentor_accept_exhausted_total",
        /// Tasks that panicked; the others went on.
        tasks_panicked = "stentor_tasks_panicked_total",
        /// Requests for subscriptions that an authenticator function was asked about.
        function_questions = "stentor_function_questions_total",
        /// Those that ended in an exception of the function, or in a result that is not allowed.
        function_failures = "stentor_function_failures_total",
        /// Those that had no verdict in time, or nobody to give one.
        function_silences = "stentor_function_silences_total",
        /// Worker processes of authenticator functions that crashed, hung or were replaced.
        function_workers_ended = "stentor_function_workers_ended_total",
    }
    gauges {
        /// WebSocket connections that are open.
        connections_open = "stentor_websocket_connections",
        /// Long messages that wait to be read or carried out.
        long_messages_waiting = "stentor_long_messages_waiting",
        /// HTTP connections that are open, those that became WebSockets left out.
        http_connections = "stentor_http_connections",
        /// Octets that wait in the outboxes of all WebSocket connections, a quarter of a second old at the most.
        outbox_bytes = "stentor_outbox_bytes",
    }
}

/// The meters of all threads of a node.
#[derive(Clone, Debug)]
pub struct Tally {
    serving: Arc<[Arc<Meters>]>,
    accepting: Arc<Meters>,
    hubs: Arc<Meters>,
}

impl Tally {
    /// Meters for so many threads that serve, for the one that accepts connections, and for that of the hubs.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let serving = (0..threads).map(|_| Arc::default()).collect();
        Self { serving, accepting: Arc::default(), hubs: Arc::default() }
    }

    /// The meters of each thread that serves.
    pub fn serving(&self) -> impl ExactSizeIterator<Item = &Arc<Meters>> {
        self.serving.iter()
    }

    /// The meters of the thread that accepts.
    #[must_use]
    pub const fn accepting(&self) -> &Arc<Meters> {
        &self.accepting
    }

    /// The meters of the hubs' thread.
    #[must_use]
    pub const fn hubs(&self) -> &Arc<Meters> {
        &self.hubs
    }

    /// The sum over all threads.
    #[must_use]
    pub fn sum(&self) -> Meters {
        let sum = Meters::default();
        self.serving.iter().chain([&self.accepting, &self.hubs]).for_each(|part| sum.absorb(part));
        sum
    }
}

/// One counter for each [`Reason`].
#[derive(Debug)]
pub struct ByReason([Counter; Reason::ALL.len()]);

impl Default for ByReason {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl ByReason {
    /// One more.
    pub fn count(&self, reason: Reason) {
        self.0[reason as usize].increment();
    }

    /// How many there were.
    #[must_use]
    pub fn get(&self, reason: Reason) -> u64 {
        self.0[reason as usize].get()
    }

    /// How many there were for all reasons together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }

    fn absorb(&self, other: &Self) {
        self.0.iter().zip(&other.0).for_each(|(sum, part)| sum.add(part.get()));
    }
}

/// One counter for each class of HTTP statuses.
#[derive(Debug, Default)]
pub struct ByClass([Counter; 5]);

impl ByClass {
    /// The classes, as labels.
    pub const CLASSES: [&'static str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

    /// One more with that status.
    pub fn count(&self, status: u16) {
        if let Some(counter) = usize::from(status / 100).checked_sub(1).and_then(|class| self.0.get(class)) {
            counter.increment();
        }
    }

    /// The number of each class.
    pub fn numbers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::CLASSES.into_iter().zip(self.0.iter().map(Counter::get))
    }

    fn absorb(&self, other: &Self) {
        self.0.iter().zip(&other.0).for_each(|(sum, part)| sum.add(part.get()));
    }
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

/// A number that goes up and down. It wraps, so that the sum over all threads is right even where one thread takes back
/// what another has added.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
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

    /// Puts another number in its place.
    pub fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_added_up() {
        let tally = Tally::new(2);
        for (count, part) in (1..).zip(tally.serving()) {
            part.events.add(count * 10);
            part.closed.count(Reason::OutboxFull);
            part.requests.count(204);
            part.requests.count(999);
        }
        tally.serving[0].connections_open.increment();
        tally.accepting().connections_open.decrement();
        let sum = tally.sum();
        assert_eq!((sum.events.get(), sum.connections_open.get()), (30, 0));
        assert_eq!((sum.closed.get(Reason::OutboxFull), sum.closed.get(Reason::PingTimeout)), (2, 0));
        assert_eq!(sum.requests.numbers().collect::<Vec<_>>()[..2], [("1xx", 0), ("2xx", 2)]);
    }
}
