//! The limits and delays of delivery. Each has a name, a default, and the reason for it.

use std::time::Duration;

/// What an [`Engine`](crate::Engine) may do at a time, and how long it waits.
///
/// A limit of zero would mean that nothing ever goes out, so zero counts as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Requests on their way in all: each is a socket and a body in memory. At 50 ms an answer, 1024 make 20 000
    /// deliveries a second.
    pub in_flight_max: usize,
    /// Requests on their way to one host: enough to keep it busy, too few to knock it over when it comes back, and few
    /// enough that one hanging host leaves the others their share.
    pub in_flight_per_host_max: usize,
    /// Reads of the log on their way: a start with a million cursors must not become a million reads at once.
    pub fetches_max: usize,
    /// Publications asked for in one read. The shell holds them until they are sent, and a hundred rows a page is where
    /// a store reads about as fast as it can.
    pub page_publications_max: usize,
    /// Places of one topic remembered from reads, so that subscriptions a little behind one another share them.
    pub window_offsets_max: usize,
    /// Such runs of places for one topic: the live end, and a few groups of stragglers.
    pub windows_max: usize,
    /// The first retry comes at a random time up to this, each further one up to twice as much. Most failures are
    /// restarts of a receiver and over in seconds.
    pub retry_delay_base: Duration,
    /// No retry waits longer: what a receiver that came back has to be patient for.
    pub retry_delay_max: Duration,
    /// No retry comes earlier, so that a draw near zero does not hammer.
    pub retry_delay_min: Duration,
    /// `Retry-After` is honoured up to this: a receiver may ask for patience, not switch itself off for ever by a mistake.
    pub retry_after_max: Duration,
    /// Wait after the store failed to read or to record; stores fail for reasons that pass or that need a human.
    pub store_retry_delay: Duration,
    /// Requests in a row that never reached a host (name, connection, TLS) until its breaker opens.
    pub breaker_failures_max: u32,
    /// How long a breaker stays open the first time; twice as long each further time.
    pub breaker_delay_base: Duration,
    /// No breaker stays open longer: one probe in this time costs nothing.
    pub breaker_delay_max: Duration,
    /// Dead publications waiting to be sent once more, in all: an operator may ask for a whole outage again.
    pub replays_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            in_flight_max: 1024,
            in_flight_per_host_max: 16,
            fetches_max: 32,
            page_publications_max: 100,
            window_offsets_max: 400,
            windows_max: 4,
            retry_delay_base: Duration::from_secs(1),
            retry_delay_max: Duration::from_secs(600),
            retry_delay_min: Duration::from_millis(100),
            retry_after_max: Duration::from_secs(3600),
            store_retry_delay: Duration::from_secs(1),
            breaker_failures_max: 5,
            breaker_delay_base: Duration::from_secs(5),
            breaker_delay_max: Duration::from_secs(120),
            replays_max: 10_000,
        }
    }
}

impl Options {
    /// The same with every zero among the limits raised to one.
    pub(crate) fn sane(mut self) -> Self {
        for limit in [
            &mut self.in_flight_max,
            &mut self.in_flight_per_host_max,
            &mut self.fetches_max,
            &mut self.page_publications_max,
            &mut self.window_offsets_max,
            &mut self.windows_max,
        ] {
            *limit = (*limit).max(1);
        }
        self.breaker_failures_max = self.breaker_failures_max.max(1);
        self
    }

    /// The last places among the requests on their way, kept for hosts that have none. Otherwise a few dozen hanging
    /// hosts with many subscriptions each would take them all.
    pub(crate) fn in_flight_reserve(&self) -> usize {
        self.in_flight_max / 4
    }
}
