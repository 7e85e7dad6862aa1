//! What every store has to pass, crashes and fencing included. A backend gives a [`Bed`], and [`run`] does the rest.

#![allow(clippy::unwrap_used, reason = "these are tests, though others call them")]

mod cursor;
mod dead;
mod log;
mod subscription;
mod trim;

use std::panic::{self, AssertUnwindSafe};

use stentor_model::{Offset, PublicationId, Topic, WebhookId};

use crate::{
    Claim, Content, Draft, Entry, Hub, HubTopic, Limits, NewSubscription, Page, Placed, ReadLimit, Receipt, Store,
    StoreError, Timestamp,
};

/// A store that can crash.
pub(crate) trait Bed {
    /// The store as it runs now.
    fn store(&self) -> &dyn Store;

    /// Ends the store as a killed process would, and opens what is left.
    fn crash(&mut self);
}

type Case<B> = (&'static str, fn(&mut B), fn(&mut Limits));

/// Runs all cases, each on a new bed, and panics with the names of those that failed.
///
/// # Panics
/// When the store does not keep a promise.
pub(crate) fn run<B: Bed>(new: impl Fn(Limits) -> B) {
    let cases = [log::cases::<B>(), trim::cases(), subscription::cases(), cursor::cases(), dead::cases()].concat();
    let mut failed = Vec::new();
    for (name, case, set) in cases {
        let mut limits = Limits::default();
        set(&mut limits);
        let mut bed = new(limits);
        if panic::catch_unwind(AssertUnwindSafe(|| case(&mut bed))).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "the store does not keep these promises: {failed:?}");
}

/// A table of cases with the limits as they are.
macro_rules! cases {
    ($($name:ident $(with $set:expr)?),* $(,)?) => {
        pub(super) fn cases<B: Bed>() -> Vec<super::Case<B>> {
            vec![$((stringify!($name), $name::<B>, cases!(@set $($set)?))),*]
        }
    };
    (@set) => { |_| {} };
    (@set $set:expr) => { $set };
}
use cases;

/// The topic of that name of the hub `main`.
fn topic(name: &str) -> HubTopic {
    topic_of("main", name)
}

fn topic_of(hub: &str, name: &str) -> HubTopic {
    let url = format!("https://example.com/{name}");
    HubTopic { hub: Hub::parse(hub).unwrap(), topic: Topic::parse(&url).unwrap() }
}

/// A publication whose name and body tell `number`.
fn draft(name: &str, number: u64) -> Draft {
    let body = format!("{name} {number}").into();
    Draft {
        topic: topic(name),
        publication: PublicationId::new(number).unwrap(),
        at: Timestamp(number),
        content: Content { content_type: "text/plain".into(), extras: Vec::new(), body },
        idempotency: None,
    }
}

fn append(store: &dyn Store, name: &str, number: u64) -> Receipt {
    store.append(draft(name, number)).wait().unwrap()
}

/// Appends publications 1 to `count` and answers their places.
fn fill(store: &dyn Store, name: &str, count: u64) -> Vec<Offset> {
    (1..=count).map(|number| append(store, name, number).offset).collect()
}

fn read(store: &dyn Store, name: &str, after: Offset) -> Page {
    store.read(&topic(name), after, ReadLimit { entries: 10_000, bytes: u64::MAX }).wait().unwrap()
}

fn offsets(entries: &[Entry]) -> Vec<Offset> {
    entries.iter().map(|entry| entry.offset).collect()
}

fn wish(name: &str, callback: &str, after: Offset) -> NewSubscription {
    NewSubscription {
        topic: topic(name),
        callback: callback.into(),
        secret: None,
        identity: None,
        extras: Vec::new(),
        created: Timestamp(1),
        verified: Some(Timestamp(2)),
        lease_end: Timestamp(1_000_000),
        after,
    }
}

fn subscribe(store: &dyn Store, name: &str, callback: &str, after: Offset) -> WebhookId {
    match store.put(wish(name, callback, after)).wait().unwrap() {
        Placed::New(id) => id,
        other => panic!("{callback} was there already: {other:?}"),
    }
}

fn claim(store: &dyn Store, id: WebhookId) -> Claim {
    store.claim(id).wait().unwrap()
}

fn position(store: &dyn Store, id: WebhookId) -> Offset {
    store.get(id).wait().unwrap().unwrap().position
}

fn refused<T: std::fmt::Debug>(answer: Result<T, StoreError>, expected: &str) {
    let error = format!("{:?}", answer.expect_err(expected));
    assert!(error.starts_with(expected), "{error} instead of {expected}");
}
