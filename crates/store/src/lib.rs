//! Where the order lives: one ordered log, many cursors.
//!
//! A publication is appended once, and that act gives it its place. A subscription is a cursor into the log, not a copy of
//! it. [`seam`] says what every store promises, [`sqlite`] keeps the promises in one file, [`memory`] for as long as the
//! process lives, and `contract` is the suite that both have to pass.
//!
//! The crate knows threads and files, but no runtime and no clock: every answer is a [`Pending`], which can be awaited under
//! any runtime or waited for without one, and the time is passed in. It does not know HTTP, and it does not decide when a
//! webhook is sent.
//!
//! ```
//! use stentor_model::{Offset, PublicationId, Topic};
//! use stentor_store::memory::Memory;
//! use stentor_store::{Content, Draft, Hub, HubTopic, Limits, Log, ReadLimit, Timestamp};
//!
//! let store = Memory::new(Limits::default());
//! let topic = HubTopic { hub: Hub::parse("main").unwrap(), topic: Topic::parse("https://example.com/feed").unwrap() };
//! let receipt = store.append(Draft {
//!     topic: topic.clone(),
//!     publication: PublicationId::FIRST,
//!     at: Timestamp(0),
//!     content: Content { content_type: "text/plain".into(), extras: Vec::new(), body: "hello".into() },
//!     idempotency: None,
//! });
//! let offset = receipt.wait().unwrap().offset;
//! let page = store.read(&topic, Offset::START, ReadLimit::default()).wait().unwrap();
//! assert_eq!(page.entries[0].offset, offset);
//! ```

#[cfg(test)]
mod contract;
mod cursor;
mod error;
mod extras;
mod follow;
mod limit;
pub mod memory;
mod pending;
mod publication;
mod retention;
pub mod seam;
pub mod sqlite;
mod subscription;
#[cfg(test)]
mod tests;

pub use cursor::Claim;
pub use error::{Limit, StoreError};
pub use extras::Extras;
pub use follow::Pin;
pub use limit::{
    CALLBACK_BYTES_MAX, DEAD_MAX, EXTRAS_BYTES_MAX, FOLLOWERS_MAX, HUB_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX,
    IDEMPOTENCY_WINDOW, Limits, RECORD_BYTES_MAX, TEXT_BYTES_MAX,
};
pub use pending::{Completer, Pending};
pub use publication::{
    Content, Draft, Entry, Freshness, Hub, HubTopic, IdempotencyKey, Page, ReadLimit, Receipt, Sequence, Timestamp,
};
pub use seam::{Capabilities, Cursors, DeadPublications, Health, Log, Status, Store, Subscriptions, Trimmed};
pub use subscription::{
    Burial, DeadId, DeadPublication, LastOutcome, NewSubscription, Placed, Recipient, Scope, State, Subscription,
};
