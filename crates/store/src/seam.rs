//! What every store promises.
//!
//! No method has a default: a store that forgot one must not compile. What a store can do beyond the promises it declares in
//! [`Capabilities`]. `contract` checks each promise on each store.
//!
//! A method that may touch the disk answers with a [`Pending`]; what it asks for is under way when the method returns.

use std::fmt::Debug;

use stentor_model::{Epoch, Offset, WebhookId};

use crate::{
    Burial, Claim, DeadId, DeadPublication, Draft, Entry, Hub, HubTopic, IdempotencyKey, LastOutcome, NewSubscription,
    Page, Pending, Pin, Placed, ReadLimit, Receipt, Recipient, Scope, State, StoreError, Subscription, Timestamp,
};

/// The one ordered log.
///
/// - **Durable first.** [`append`](Log::append) answers after the publication is durable. Otherwise an acknowledged
///   publication could vanish in a crash (I1).
/// - **One order.** Every publication has one offset; offsets grow in the order of appending, and every reader sees this
///   order. Appends that one thread starts one after the other get their places in that order.
/// - **Nothing appears behind a reader.** When a publication can be read, every publication with a smaller offset that will
///   ever exist can be read as well. Otherwise a reader that advanced past it would lose it.
/// - **Dense topics.** The [`Sequence`](crate::Sequence) of a topic grows by one, across restarts too. Receivers tell gaps
///   by it.
/// - **Pages say whether they are the last.** [`Page::has_more`] is true when the limit or damage kept something back, and only
///   then. Otherwise a reader would take the end of a page for the end of the log, and wait there.
/// - **Damage hides nothing before it.** A page ends before what cannot be read, and only a read that begins there fails.
///   Otherwise sound publications would wait behind a damaged one that comes after them.
/// - **Visible loss.** What was cut shows as [`Page::gap`], and a log that lost its past has another [`Epoch`].
/// - **No empty topics.** The newest publication of a topic is never cut.
pub trait Log: Debug + Send + Sync {
    /// Appends a publication, or finds the one that its idempotency key stands for.
    fn append(&self, draft: Draft) -> Pending<Receipt>;

    /// The publication that a key of [`IdempotencyKey::of_request`] stands for already, so that its content need not be had
    /// once more; a day is counted back from `now`.
    ///
    /// [`StoreError::KeyReused`] when it stands for another request.
    fn keyed(&self, hub: &Hub, key: &IdempotencyKey, now: Timestamp) -> Pending<Option<Receipt>>;

    /// Publications of one topic behind `after`. A topic that nobody has published on is empty, not an error.
    fn read(&self, topic: &HubTopic, after: Offset, limit: ReadLimit) -> Pending<Page>;

    /// Publications of all topics behind `after`.
    fn tail(&self, after: Offset, limit: ReadLimit) -> Pending<Page>;

    /// The newest publication of a topic.
    fn newest(&self, topic: &HubTopic) -> Pending<Option<Entry>>;

    /// The place of the newest durable publication of all.
    fn end(&self) -> Offset;

    /// Answers with [`end`](Log::end) once it lies behind `after`.
    fn beyond(&self, after: Offset) -> Pending<Offset>;

    /// Holds the log at its [`end`](Log::end): for a subscription that is decided and not yet put, which is to begin there.
    fn pin(&self) -> Pin;

    /// The life of this log.
    fn epoch(&self) -> Epoch;

    /// Cuts what every durable cursor has passed, forgets old idempotency keys, and judges which topics have waited for too
    /// long. To be called every minute or so. It never cuts what a cursor would have to read again after a crash.
    fn trim(&self, now: Timestamp) -> Pending<Trimmed>;
}

/// The webhook subscriptions.
///
/// - **A write that was answered survives a crash.** Otherwise a verified subscriber would be forgotten.
/// - **One for each (topic, callback).** Putting it again renews it and keeps its identifier and its cursor.
/// - **Identifiers are never used twice**, so that a late outcome cannot hit somebody else.
/// - An active subscription keeps what lies behind its cursor in the log.
pub trait Subscriptions: Debug + Send + Sync {
    /// Creates or renews a subscription. Renewing makes it active again.
    fn put(&self, wanted: NewSubscription) -> Pending<Placed>;

    /// Changes whether it receives.
    fn set_state(&self, id: WebhookId, state: State) -> Pending<()>;

    /// Forgets it and its cursor. Forgetting one that is not there is no error: the end is the same.
    fn remove(&self, id: WebhookId) -> Pending<()>;

    /// The subscription.
    fn get(&self, id: WebhookId) -> Pending<Option<Subscription>>;

    /// The subscription of this callback to this topic.
    fn find(&self, topic: &HubTopic, callback: &str) -> Pending<Option<Subscription>>;

    /// Subscriptions behind `after` in order of their identifiers, `entries` at most. Fewer are no sign of the end; none is.
    fn list(&self, scope: &Scope, after: WebhookId, entries: usize) -> Pending<Vec<Subscription>>;

    /// The same for the active ones of a hub, with what a start has to know of them and no more: there may be a million.
    fn recipients(&self, hub: &Hub, after: WebhookId, entries: usize) -> Pending<Vec<Recipient>>;
}

/// How far each subscription got.
///
/// - **One claim at a time, fenced.** A new claim ends the one before: it moves nothing any more, also when it was handed out
///   before a crash. Otherwise two deliverers could swap the order of one subscriber (I2).
/// - **A position never goes back**, save by a crash, to the latest flush. A crash may repeat a webhook, never lose or swap
///   one (I6).
/// - What [`flush`](Cursors::flush) was called for survives a crash once it has answered.
pub trait Cursors: Debug + Send + Sync {
    /// Takes the right to move the cursor, with its position.
    fn claim(&self, id: WebhookId) -> Pending<Claim>;

    /// Everything up to `to` is done with. Not durable before the next flush. A place before the position moves nothing.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the claim is not the newest, [`StoreError::Unknown`] when the subscription is gone.
    fn advance(&self, claim: &Claim, to: Offset) -> Result<(), StoreError>;

    /// Notes how a delivery ended, for display. Durable with the next flush; only the latest is kept.
    ///
    /// # Errors
    /// As [`advance`](Cursors::advance).
    fn note(&self, claim: &Claim, outcome: LastOutcome) -> Result<(), StoreError>;

    /// Makes durable what was advanced and noted before the call, all together. Answers how many cursors that were. To be
    /// called every second or so.
    fn flush(&self) -> Pending<usize>;
}

/// Publications that were given up.
///
/// - A burial is durable when it is answered, content included, whatever is cut from the log later. The cursor is advanced
///   by the caller afterwards: a crash in between repeats the delivery, and burying the same publication again for the same
///   subscription is the same dead publication.
/// - At most [`DEAD_MAX`](crate::DEAD_MAX) are kept; the oldest are forgotten, and counted in [`Status::dead_forgotten`].
pub trait DeadPublications: Debug + Send + Sync {
    /// Records that a publication was given up for the subscription of this claim.
    fn bury(&self, claim: &Claim, burial: Burial) -> Pending<DeadId>;

    /// Dead publications behind `after` in order of their identifiers, `entries` at most. Fewer are no sign of the end; none
    /// is.
    fn list_dead(&self, scope: &Scope, after: DeadId, entries: usize) -> Pending<Vec<DeadPublication>>;

    /// The dead publication, to be replayed.
    fn dead(&self, id: DeadId) -> Pending<Option<DeadPublication>>;

    /// Forgets it, when it was replayed or is not wanted any more.
    fn forget_dead(&self, id: DeadId) -> Pending<()>;
}

/// All that a hub needs.
pub trait Store: Log + Subscriptions + Cursors + DeadPublications {
    /// What this store can do beyond the promises.
    fn capabilities(&self) -> Capabilities;

    /// How the store is.
    fn status(&self) -> Status;

    /// [`Status::health`] alone, for whoever asks often: it looks at no cursors and no log.
    fn health(&self) -> Health;

    /// Flushes, finishes what was asked for, and takes nothing more. What is asked afterwards is answered with
    /// [`StoreError::Closed`].
    fn close(&self) -> Pending<()>;
}

/// What stores differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// "Durable" means that it survives the end of the process. Otherwise it lasts as long as the process.
    pub survives_process: bool,
    /// Other nodes read the same log.
    pub shared: bool,
}

/// Whether the store takes writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Well,
    /// The latest write found no room on the disk. Each new one tries again.
    DiskFull,
    /// It does not, and why. Reads go on.
    ReadOnly(std::sync::Arc<str>),
}

/// Figures for metrics and for whoever looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether it takes writes.
    pub health: Health,
    /// Octets of the publications in the log.
    pub log_bytes: u64,
    /// The place of the newest publication.
    pub end: Offset,
    /// Subscriptions, whatever their state.
    pub subscriptions: usize,
    /// Cursors that were moved since the latest flush.
    pub cursors_unflushed: usize,
    /// Dead publications that were forgotten because there were too many, since the store was opened.
    pub dead_forgotten: u64,
    /// Commands that wait for the writer.
    pub queue_entries: usize,
}

/// What a trim did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Publications that were cut.
    pub publications: u64,
    /// The octets that they had.
    pub bytes: u64,
    /// Topics that take no publications because one has waited for longer than `backlog_age_max`.
    pub topics_overdue: usize,
}
