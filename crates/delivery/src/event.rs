//! What the machine is told and what it says: closed lists, so that every case is answered and every run can be replayed.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use stentor_model::{Offset, Topic, WebhookId};

/// The time of an event, on two clocks.
///
/// Retries and breakers wait on the clock that never jumps. A lease is a promise about the calendar and outlives the
/// process, so it is compared with the calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Since the process started; never goes back.
    pub elapsed: Duration,
    /// Since 1970; may jump either way.
    pub unix: Duration,
}

/// A subscription as it enters the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The subscription.
    pub webhook: WebhookId,
    /// What it listens to.
    pub topic: Topic,
    /// Whom its callback belongs to, for limits and breaker: scheme, name and port.
    pub host: Arc<str>,
    /// The last publication that is done with.
    pub cursor: Offset,
    /// The newest publication of the topic. Everything after it will be announced by [`Event::Appended`] *after* this
    /// event; when that cannot be promised it is `None`, and the machine looks for itself.
    pub tail: Option<Offset>,
    /// When the lease ends, in seconds since 1970.
    pub lease_end: u64,
    /// Attempts in all before a publication is given up; `None` is without end.
    pub attempts_max: Option<NonZeroU32>,
}

/// Names one attempt. It is never used twice, so an outcome that comes twice or too late is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptKey {
    pub(crate) index: u32,
    pub(crate) serial: u32,
}

impl AttemptKey {
    /// Its two numbers, for logs and for tables of the shell.
    #[must_use]
    pub const fn parts(self) -> (u32, u32) {
        (self.index, self.serial)
    }
}

/// Names one read of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FetchKey {
    pub(crate) index: u32,
    pub(crate) serial: u32,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A subscription was verified or loaded. For one that is known already this is a renewal: it keeps its place.
    Subscribed(Enrolment),
    /// Its lease now ends at another time.
    Renewed {
        /// The subscription.
        webhook: WebhookId,
        /// Seconds since 1970.
        lease_end: u64,
    },
    /// It ended elsewhere (unsubscribed, denied, claimed by another node) and stops at once.
    Removed {
        /// The subscription.
        webhook: WebhookId,
    },
    /// There is something new in the log. A hint: several may be merged into the last of them.
    Appended {
        /// Where.
        topic: Topic,
        /// The newest place.
        offset: Offset,
    },
    /// The answer to [`Action::Fetch`]: the publications directly after the asked place, in order and without gaps. Empty
    /// only when there are none.
    Fetched {
        /// Of the read.
        key: FetchKey,
        /// Their places.
        offsets: Vec<Offset>,
        /// Whether there was more.
        reach: Reach,
    },
    /// The other answer to [`Action::Fetch`]: the store could not.
    FetchFailed {
        /// Of the read.
        key: FetchKey,
    },
    /// The answer to [`Action::Post`]. Each gets exactly one, canceled or not: until then its place is taken.
    Attempted {
        /// Of the attempt.
        key: AttemptKey,
        /// How it ended.
        outcome: Outcome,
        /// What the response's `Retry-After` asks for, from now.
        retry_after: Option<Duration>,
    },
    /// The answer to [`Action::Bury`]: it is recorded durably.
    Buried {
        /// The subscription.
        webhook: WebhookId,
        /// The publication.
        offset: Offset,
        /// What was given up: it in its turn, or once more.
        errand: Errand,
    },
    /// The other answer to [`Action::Bury`]: the store could not.
    BuryFailed {
        /// The subscription.
        webhook: WebhookId,
        /// The publication.
        offset: Offset,
        /// What was given up: it in its turn, or once more.
        errand: Errand,
    },
    /// An operator wants a dead publication sent once more. It goes beside those in order, which do not wait for it.
    Replay {
        /// The subscription.
        webhook: WebhookId,
        /// The publication.
        offset: Offset,
        /// Attempts in all before it is given up again, whatever its subscription has now: a replay never goes on for ever.
        attempts_max: NonZeroU32,
    },
    /// Nothing but that time went by.
    Tick,
    /// The node stops: no new requests and reads, those on their way may finish.
    Drain,
}

/// How far a read of the log came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To the end, as it was when the store read.
    Tail,
    /// To the asked number, or to what one read may bring; there was more.
    More,
}

/// How an attempt ended. What follows from it is the machine's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver answered with this status.
    Answered(u16),
    /// No octet of the request reached the receiver.
    NotSent(SendFault),
    /// The request went out, no answer came back.
    NoAnswer(WaitFault),
    /// It was not tried, for a reason of our own (canceled, store unreadable): no attempt of the receiver's account.
    NotTried,
    /// The publication is no longer in the log, so it can never be sent.
    Missing,
}

/// Why nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendFault {
    /// The name has no address.
    Dns,
    /// The address is not one that we may connect to.
    Address,
    /// No connection, or not in time.
    Connect,
    /// No agreement on TLS, or a certificate that is not the host's.
    Tls,
}

/// Why no answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFault {
    /// Not in time.
    Timeout,
    /// The connection ended before the answer.
    Reset,
    /// What came is not HTTP.
    Malformed,
}

/// One request to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// For its outcome.
    pub key: AttemptKey,
    /// Whose.
    pub webhook: WebhookId,
    /// The topic of the publication.
    pub topic: Topic,
    /// Its place, for the request's header too.
    pub offset: Offset,
    /// Counted from 1, for the request's header too. A restart of the node begins anew.
    pub attempt: u32,
    /// In its turn, or once more by hand.
    pub errand: Errand,
}

/// Why a publication is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// It is the next one after the cursor.
    InOrder,
    /// It was dead and an operator asked for it: the cursor does not move.
    Replay,
}

/// Why the machine ends a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The receiver answered 410 (W3C WebSub, section 7).
    Gone,
    /// The lease ran out (section 5.3: leases are enforced).
    LeaseEnded,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read the log and answer with [`Event::Fetched`] or [`Event::FetchFailed`].
    Fetch {
        /// For the answer.
        key: FetchKey,
        /// What to read.
        topic: Topic,
        /// The publications after this place.
        after: Offset,
        /// At most so many.
        limit: usize,
    },
    /// Send a request and answer with [`Event::Attempted`].
    Post(Attempt),
    /// Break that request off if you can; answer with [`Event::Attempted`] all the same.
    Cancel {
        /// Of the attempt.
        key: AttemptKey,
        /// Whose it was.
        webhook: WebhookId,
    },
    /// The publication is done with: move the cursor in memory, write it when convenient. A crash before that sends
    /// again what was sent already, and nothing else.
    Advance {
        /// The subscription.
        webhook: WebhookId,
        /// Its new cursor.
        offset: Offset,
    },
    /// Record durably that this publication is given up, and answer with [`Event::Buried`] or [`Event::BuryFailed`], once
    /// each time: a node that goes down waits for it. May be asked for again for the same publication; the record is the same then.
    Bury {
        /// The subscription.
        webhook: WebhookId,
        /// The topic of the publication.
        topic: Topic,
        /// Its place.
        offset: Offset,
        /// In its turn or once more, for the answer. After a crash both can be asked for the same publication.
        errand: Errand,
        /// How often it was tried.
        attempts: u32,
        /// How the last attempt ended.
        last: Outcome,
    },
    /// A dead publication arrived after all: its record may go.
    Replayed {
        /// The subscription.
        webhook: WebhookId,
        /// The publication.
        offset: Offset,
    },
    /// A dead publication is not sent once more after all, and its record stays: too many wait already, it failed as often
    /// as it may, or its subscription is not there any more. Each replay that is asked for ends with this or with
    /// [`Action::Replayed`], once.
    ReplayEnded {
        /// The subscription.
        webhook: WebhookId,
        /// The publication.
        offset: Offset,
    },
    /// The subscription is over: remove it. The machine has forgotten it.
    ///
    /// When a renewal was written meanwhile, the lease is not over after all: tell of it with [`Event::Subscribed`] again.
    End {
        /// The subscription.
        webhook: WebhookId,
        /// Why.
        reason: EndReason,
    },
    /// After [`Event::Drain`]: nothing is on its way any more, neither to receivers nor, of what moves cursors, to the store.
    Drained,
}
