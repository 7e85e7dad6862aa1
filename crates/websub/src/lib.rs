//! What W3C WebSub says of a hub, without IO: requests, verification of intent, leases, denial, links, signatures.
//!
//! - [`request`] reads what a POST to the hub asks for, and refuses with a sentence that names the field,
//! - [`authenticator`] says what follows from the verdict of whoever knows the subscribers,
//! - [`subscription`] is the machine from a request to a subscription in force,
//! - [`callback`] makes the URLs of verifications and denials, and judges what comes back,
//! - [`lease`], [`signature`] and [`headers`] are what a subscription and a delivery consist of,
//! - [`message`] reads what is published, and judges content that was fetched,
//! - [`pace`] says how fast requests may follow each other,
//! - [`guard`] says which addresses a hub talks to, and [`address`] what a URL means,
//! - [`options`] is what an operator decides.
//!
//! There are no sockets here, no clock, no runtime and no dice: the time and a seed are passed in. Which subscriptions are
//! in force is the store's knowledge, when the next delivery goes is `stentor-delivery`'s, and which refusal is which status
//! is the server's. Nor is there a parser of feeds: a hub is content-unaware, and discovery is the subscriber's work.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use stentor_websub::authenticator::{Identity, TopicVerdict, Verdict};
//! use stentor_websub::callback::Echo;
//! use stentor_websub::options::HubOptions;
//! use stentor_websub::request::{self, Request};
//! use stentor_websub::subscription::{Action, Event, Intents};
//!
//! let options = HubOptions::new("https://hub.example/");
//! let mut intents = Intents::new(&options, [7; 32]);
//! let now = Duration::from_secs(1_700_000_000);
//!
//! // A form comes in, and the authenticator is asked.
//! let form = b"hub.mode=subscribe&hub.topic=https://t.example/&hub.callback=https://s.example/%3Fid=1";
//! let Request::Intent(intent) = request::parse(Some("application/x-www-form-urlencoded"), form, &options)? else { panic!() };
//! let actions = intents.handle(Event::Received(Arc::new(intent)), now);
//! let [Action::AskAuthenticator { ticket, .. }] = actions[..] else { panic!() };
//!
//! // It agrees: the request is answered, then the callback is asked.
//! let verdict = Verdict::Authenticated { identity: Identity::new("ann"), topic: TopicVerdict::Allowed };
//! let actions = intents.handle(Event::Judged { ticket, verdict }, now);
//! let [Action::Answer { .. }, Action::Verify { url, attempt, .. }] = &actions[..] else { panic!() };
//! let url = url.as_str();
//! assert!(url.starts_with("https://s.example/?id=1&hub.mode=subscribe&"));
//!
//! // The callback echoes the challenge: the subscription is in force.
//! let challenge = url.split("hub.challenge=").nth(1).and_then(|rest| rest.split('&').next()).unwrap_or_default();
//! let echo = Echo::Answered { status: 200, body: challenge.into() };
//! let actions = intents.handle(Event::Asked { ticket, attempt: *attempt, sent: now, echo }, now);
//! let [Action::Activate { subscription, .. }] = &actions[..] else { panic!() };
//! assert_eq!(subscription.lease.seconds, 864_000);
//! # Ok::<(), request::Refusal>(())
//! ```

pub mod address;
pub mod authenticator;
pub mod callback;
#[cfg(test)]
mod clauses;
pub mod guard;
pub mod headers;
pub mod lease;
pub mod message;
pub mod options;
pub mod pace;
mod refusal;
pub mod request;
pub mod signature;
pub mod subscription;
