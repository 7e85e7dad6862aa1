//! One subscription: where it stands and what it waits for. A million of these are idle, so every octet is counted.

use std::num::NonZeroU32;

use stentor_model::{Offset, WebhookId};

use crate::event::{Errand, Outcome};
use crate::list::{Linked, Links};

/// The publication at the head of one of a subscription's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) offset: Offset,
    /// Failed attempts so far.
    pub(crate) failures: u32,
    pub(crate) errand: Errand,
    /// The receiver asked for patience (`Retry-After`) when it answered last.
    pub(crate) is_patient: bool,
}

impl Head {
    pub(crate) fn new(offset: Offset, errand: Errand) -> Self {
        Self { offset, failures: 0, errand, is_patient: false }
    }
}

/// A publication that waits for the time of its next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) head: Head,
    pub(crate) until: u64,
}

/// What a subscription waits for. Its one pair of links belongs to the list that the state names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// For a publication: it stands at the live end, in its topic's `idle`.
    Idle,
    /// For the log after its cursor, in one of its topic's `wants`.
    Fetch,
    /// For its turn, in its host's `ready`.
    Ready(Head),
    /// For the outcome of this flight, which holds the head.
    Flight(u32),
    /// For a time.
    Backoff(Backoff),
    /// For the record that the head, a publication in order, is given up.
    Burial { head: Head, last: Outcome },
}

#[derive(Debug)]
pub(crate) struct Webhook {
    pub(crate) id: WebhookId,
    pub(crate) cursor: Offset,
    pub(crate) state: State,
    pub(crate) topic: u32,
    pub(crate) host: u32,
    pub(crate) links: Links,
    /// Seconds since 1970; thirty-two bits reach to 2106.
    pub(crate) lease_end: u32,
    /// The time under which the lease stands in the table of leases: never later than `lease_end`.
    pub(crate) lease_mark: u32,
    /// Its entry in the table of replays, or [`NONE`](crate::slab::NONE).
    pub(crate) replays: u32,
    pub(crate) attempts_max: Option<NonZeroU32>,
    pub(crate) last: Option<Outcome>,
    /// Seconds since 1970.
    pub(crate) last_at: u32,
}

impl Linked for Webhook {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// One request on its way. It outlives its subscription when that one ends meanwhile.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) serial: u32,
    /// The subscription, or nobody.
    pub(crate) webhook: u32,
    pub(crate) host: u32,
    pub(crate) head: Head,
}
