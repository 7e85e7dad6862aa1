//! What kind of world a seed makes. Each world has some faults and lacks others: rare things meet more often when not
//! everything happens at once.

use std::num::NonZeroU32;
use std::time::Duration;

use fastrand::Rng;
use stentor_delivery::{Event, Options, Outcome};

/// What the tests of the simulation break on purpose between machine and world, to see that the oracle notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Nothing.
    None,
    /// Reads swap two neighbours.
    Swap,
    /// Reads leave out a publication.
    Skip,
    /// A failure is reported as a success.
    FailureAsSuccess,
    /// A request is sent twice.
    TwoInFlight,
    /// A renewal starts at the tail.
    RenewalLosesPlace,
    /// A cursor is written before its publication was sent.
    EagerCursor,
    /// A page that is short of octets is taken for the end of the log, though the next publication was too large for it.
    GuessedTail,
    /// Announcements are lost.
    LostHint,
    /// Removals are not told.
    LostRemoval,
    /// The clock of the machine runs ahead, so that retries come early.
    FastClock,
    /// A record of giving up is confirmed and not written.
    UnwrittenRecord,
    /// A replay goes on until it arrives.
    EndlessReplay,
    /// Nothing is read while a replay waits.
    HeldByReplay,
}

impl Sabotage {
    /// What the machine hears of an event.
    pub(crate) fn event(self, event: Event) -> Option<Event> {
        match (self, event) {
            (Self::Skip, Event::Fetched { key, mut offsets, reach }) if offsets.len() > 1 => {
                offsets.remove(0);
                Some(Event::Fetched { key, offsets, reach })
            }
            (Self::FailureAsSuccess, Event::Attempted { key, outcome: Outcome::Answered(500), retry_after }) => {
                Some(Event::Attempted { key, outcome: Outcome::Answered(200), retry_after })
            }
            (Self::LostRemoval, Event::Removed { .. }) => None,
            (Self::EndlessReplay, Event::Replay { webhook, offset, .. }) => {
                Some(Event::Replay { webhook, offset, attempts_max: NonZeroU32::MAX })
            }
            (_, event) => Some(event),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) options: Options,
    pub(crate) topics: u64,
    pub(crate) hosts: u64,
    pub(crate) webhooks: u64,
    /// Milliseconds of bad days before the rest.
    pub(crate) span: u64,
    /// Mean milliseconds between two publications.
    pub(crate) publish_every: u64,
    /// Mean milliseconds between two acts of subscribers and operators.
    pub(crate) act_every: u64,
    /// Mean milliseconds between two changes of hosts and store.
    pub(crate) fault_every: u64,
    /// One in so many steps ends in a crash; 0 for never.
    pub(crate) crash_one_in: u32,
    pub(crate) store_faults: bool,
    pub(crate) jumps: bool,
    pub(crate) drains: bool,
    /// Of a hundred answers of a healthy host, so many are odd.
    pub(crate) odd_percent: u32,
    /// Seconds of the shortest lease.
    pub(crate) lease_min: u64,
    pub(crate) flush_every: u64,
    /// Receivers refuse whatever is sent once more, and it has attempts without end: nothing else may wait for it.
    pub(crate) refuses_replays: bool,
}

impl Setup {
    pub(crate) fn draw(dice: &mut Rng) -> Self {
        let millis = |range: std::ops::Range<u64>, dice: &mut Rng| Duration::from_millis(dice.u64(range));
        let options = Options {
            in_flight_max: dice.usize(1..12),
            in_flight_per_host_max: dice.usize(1..5),
            fetches_max: dice.usize(1..4),
            page_publications_max: dice.usize(1..6),
            window_offsets_max: dice.usize(1..12),
            windows_max: dice.usize(1..4),
            retry_delay_base: millis(50..2000, dice),
            retry_delay_max: millis(1000..120_000, dice),
            retry_delay_min: millis(1..50, dice),
            retry_after_max: millis(1000..300_000, dice),
            store_retry_delay: millis(10..2000, dice),
            breaker_failures_max: dice.u32(1..6),
            breaker_delay_base: millis(100..5000, dice),
            breaker_delay_max: millis(5000..60_000, dice),
            replays_max: dice.usize(0..5),
        };
        let span = dice.u64(10_000..300_000);
        Self {
            options,
            topics: dice.u64(1..4),
            hosts: dice.u64(1..5),
            webhooks: dice.u64(1..12),
            span,
            publish_every: span / dice.u64(5..60),
            act_every: span / dice.u64(2..30),
            fault_every: span / dice.u64(2..30),
            crash_one_in: if dice.bool() { dice.u32(50..1000) } else { 0 },
            store_faults: dice.bool(),
            jumps: dice.u8(0..4) == 0,
            drains: dice.u8(0..3) == 0,
            odd_percent: dice.u32(0..60),
            lease_min: dice.u64(1..400),
            flush_every: dice.u64(500..10_000),
            refuses_replays: dice.u8(0..3) == 0,
        }
    }
}
