//! What the store takes, each limit with the accident that it prevents.

use std::num::NonZeroU64;
use std::time::Duration;

/// Octets of the name of a hub. It is a word of the configuration, repeated in every answer of the console.
pub const HUB_BYTES_MAX: usize = 128;

/// Octets of a callback. Longer URLs are refused on the way by many servers.
pub const CALLBACK_BYTES_MAX: usize = 2048;

/// Octets of a content type, a secret (WebSub 5.1: less than 200), an identity or a reason.
pub const TEXT_BYTES_MAX: usize = 1024;

/// Octets of all names and values of the extras of one record, so that they stay small beside what they describe.
pub const EXTRAS_BYTES_MAX: usize = 16 * 1024;

/// Octets of one publication. Far below what SQLite can hold (1 GB), since a row is held in memory as a whole.
pub const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Octets of an `Idempotency-Key`; one is kept for each keyed publication of a day.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// How long a key is remembered: long enough for a client that was down over night.
pub const IDEMPOTENCY_WINDOW: Duration = Duration::from_secs(86_400);

/// Dead publications that are kept with their content. The oldest are forgotten first, and counted: they were given up, so
/// nothing that was promised is lost with them.
pub const DEAD_MAX: u64 = 10_000;

/// Readers that wait at the end of the log at one time. They are tasks of the server, one for each hub or stream; more of
/// them is a leak.
pub const FOLLOWERS_MAX: usize = 65_536;

/// Octets beside content that a publication costs in the log: its numbers and its entry in the index.
pub(crate) const RECORD_OVERHEAD_BYTES: u64 = 64;

/// What an operator may set. Reaching one of them refuses new publications (507); nothing that was promised is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of all publications that the log still holds. Keeps the disk from filling up behind a subscriber that has
    /// been down for days.
    pub log_bytes_max: u64,
    /// The same for one topic, so that one dead subscriber does not use up the room of all topics.
    pub topic_bytes_max: u64,
    /// How long a publication may wait for the slowest subscriber of its topic before the topic takes no more.
    pub backlog_age_max: Duration,
    /// Publications of a topic that are kept although every cursor has passed them, for readers that resume and for GET.
    /// At least one: the newest content of a topic is always there. Under pressure (three quarters of `log_bytes_max`)
    /// only the newest is kept.
    pub history_entries: NonZeroU64,
    /// Octets that the file of the store grows to at most, beside its write-ahead log of some tens of megabytes; reaching
    /// it is as a full disk is. Without one the disk is the limit. Subscriptions count too, so this should leave room above
    /// `log_bytes_max`.
    pub file_bytes_max: Option<NonZeroU64>,
    /// Commands that wait for the writer. More are refused as busy rather than kept in memory.
    pub queue_entries_max: usize,
    /// Octets of publications that wait for the writer.
    pub queue_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            log_bytes_max: 10 * 1024 * 1024 * 1024,
            topic_bytes_max: 2 * 1024 * 1024 * 1024,
            backlog_age_max: Duration::from_secs(10 * 86_400),
            history_entries: NonZeroU64::new(100).expect("a hundred is not zero"),
            file_bytes_max: None,
            queue_entries_max: 8192,
            queue_bytes_max: 256 * 1024 * 1024,
        }
    }
}
