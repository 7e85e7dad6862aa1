//! Ordered delivery of webhooks without IO: when may the next one go?
//!
//! A webhook subscription is a cursor into a log. [`Engine`] is told what happened ([`Event`]) and says what is to be done
//! ([`Action`]): read the log, send a request, move a cursor, record that a publication was given up, end a subscription.
//! At most one request of a subscription is on its way, the next publication waits until it succeeded or was recorded as
//! dead, and a slow or dead receiver costs the others nothing.
//!
//! What it does not know: HTTP, addresses, secrets, bodies, how a store keeps things, what time it is. Time and seed are
//! passed in, so the same events always lead to the same actions.
//!
//! ```
//! use std::time::Duration;
//! use stentor_delivery::{Action, Engine, Enrolment, Event, Now, Options, Outcome, Reach};
//! use stentor_model::{Offset, Topic, WebhookId};
//!
//! let mut engine = Engine::new(Options::default(), 1);
//! let mut out = Vec::new();
//! let now = Now { elapsed: Duration::ZERO, unix: Duration::from_secs(1_800_000_000) };
//! let topic = Topic::parse("https://example.com/feed").unwrap();
//! engine.handle(
//!     Event::Subscribed(Enrolment {
//!         webhook: WebhookId(1),
//!         topic: topic.clone(),
//!         host: "https://receiver.example".into(),
//!         cursor: Offset::START,
//!         tail: Some(Offset::START),
//!         lease_end: 1_800_864_000,
//!         attempts_max: None,
//!     }),
//!     now,
//!     &mut out,
//! );
//! engine.handle(Event::Appended { topic, offset: Offset::new(7) }, now, &mut out);
//! let Some(Action::Fetch { key, .. }) = out.pop() else { panic!() };
//! engine.handle(Event::Fetched { key, offsets: vec![Offset::new(7)], reach: Reach::Tail }, now, &mut out);
//! let Some(Action::Post(attempt)) = out.pop() else { panic!() };
//! engine.handle(
//!     Event::Attempted { key: attempt.key, outcome: Outcome::Answered(204), retry_after: None },
//!     now,
//!     &mut out,
//! );
//! assert_eq!(out, [Action::Advance { webhook: WebhookId(1), offset: Offset::new(7) }]);
//! ```

mod engine;
mod event;
mod host;
mod list;
mod options;
mod replays;
mod retry;
mod slab;
mod timer;
mod topic;
mod webhook;

pub use engine::{BreakerView, Counters, Engine, Gauges, HostView, StateView, WebhookView};
pub use event::{
    Action, Attempt, AttemptKey, EndReason, Enrolment, Errand, Event, FetchKey, Now, Outcome, Reach, SendFault,
    WaitFault,
};
pub use options::Options;
