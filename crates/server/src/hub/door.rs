//! What the threads that serve connections hold of a hub: its log, to append to, its requests for subscriptions, and a queue
//! to the hub's thread.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stentor_model::{Offset, Topic, WebhookId};
use stentor_store::{DeadId, Hub as HubName, Store, StoreError};
use stentor_websub::authenticator::Verdict;
use stentor_websub::message::{Content, Fetch, FetchFault};
use stentor_websub::options::HubOptions;
use stentor_websub::pace::Paces;
use stentor_websub::request::Intent;
use stentor_websub::subscription::{Action, Event, Intents};
use tokio::sync::{mpsc, oneshot, watch};

use super::admin::{AdminFault, DeadView, Numbers, SubscriptionView};
use super::bridge::Bridge;
use super::judge::Judge;
use super::line::Lines;
use super::publish::PublishFault;
use super::stream::Feeds;
use crate::meter::Counter;
use crate::realm::Rule;

/// Commands that wait for the hub's thread. Behind it, whoever asks waits in its connection.
pub(super) const COMMANDS_MAX: usize = 4096;

/// How one hub is to work.
#[derive(Debug)]
pub struct Options {
    /// Its name, by which the store knows what is its own.
    pub name: HubName,
    /// What W3C WebSub leaves to the operator.
    pub websub: HubOptions,
    /// Limits and delays of delivery.
    pub delivery: stentor_delivery::Options,
    /// Who says who may subscribe.
    pub judge: Arc<Judge>,
    /// The topics that may be pinged begin with one of these.
    pub pings: Vec<String>,
    /// For connecting, asking and reading of one delivery.
    pub delivery_timeout: Duration,
    /// For connecting alone.
    pub connect_timeout: Duration,
    /// Certificates that servers may show.
    pub roots: Arc<rustls::RootCertStore>,
    /// The realm that it shares topics with.
    pub bridge: Option<Bridge>,
}

/// A hub, for those who serve its requests. Cheap to share.
#[derive(Debug)]
pub struct Hub {
    name: HubName,
    /// The compartment of the store where pings are written down.
    ping_name: HubName,
    options: HubOptions,
    pings: Vec<String>,
    delivery_retries: Option<NonZeroU32>,
    store: Arc<dyn Store>,
    lines: Arc<Lines>,
    feeds: Feeds,
    judge: Arc<Judge>,
    /// Requests for subscriptions that are under way. A lock is held for one event of the machine.
    intents: Mutex<Intents>,
    /// How fast each client asks for subscriptions.
    clients: Mutex<Paces<String>>,
    tallies: Tallies,
    /// Which topics sessions of a realm have too.
    bridged: Vec<Rule>,
    /// Up to here they have them.
    handed_out: watch::Sender<Offset>,
    commands: mpsc::Sender<Command>,
}

/// What is counted of a hub.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    /// Publications that were appended.
    pub(super) accepted: Counter,
    /// Subscriptions that came into force or were renewed.
    pub(super) verified: Counter,
    /// Requests that came to nothing at the callback.
    pub(super) refuted: Counter,
}

/// A request for a subscription, as its authenticator sees it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The address of the client, or `-`.
    pub client: String,
    /// The header fields.
    pub headers: hyper::HeaderMap,
    /// The method.
    pub method: hyper::Method,
    /// Path and query.
    pub target: String,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The number of the protocol's version.
    pub http_version: &'static str,
    /// The form, as it came.
    pub body: bytes::Bytes,
}

/// What the hub's thread is asked for.
#[derive(Debug)]
pub(super) enum Command {
    /// What follows from a verdict.
    Execute { actions: Vec<Action> },
    /// The operator's endpoint, by the courier of the hub's thread.
    Consult { intent: Arc<Intent>, asked: Box<Asked>, reply: oneshot::Sender<Verdict> },
    /// Content that is elsewhere.
    Fetch { fetch: Box<Fetch>, reply: oneshot::Sender<Result<Content, FetchFault>> },
    /// Topics that have something new.
    Ping { topics: Vec<Topic>, reply: oneshot::Sender<Result<(), PublishFault>> },
    /// Figures.
    Numbers { reply: oneshot::Sender<Numbers> },
    /// Subscriptions behind this one.
    List { topic: Option<Topic>, after: WebhookId, limit: usize, reply: Reply<Vec<SubscriptionView>> },
    /// One subscription.
    Show { id: WebhookId, reply: Reply<SubscriptionView> },
    /// It ends, and its callback is told.
    Deny { id: WebhookId, reason: Option<String>, reply: Reply<()> },
    /// It ends.
    Remove { id: WebhookId, reply: Reply<()> },
    /// Publications that were given up.
    Dead { after: DeadId, limit: usize, reply: Reply<Vec<DeadView>> },
    /// One of them goes out once more.
    Replay { id: DeadId, reply: Reply<()> },
    /// One of them is not wanted any more.
    Forget { id: DeadId, reply: Reply<()> },
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, AdminFault>>;

/// The hub's thread has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed;

impl Hub {
    /// The handle, and what the hub's thread listens to.
    ///
    /// # Errors
    /// When the name is too long for the store.
    pub(super) fn new(
        options: &Options,
        store: Arc<dyn Store>,
        seed: [u8; 32],
    ) -> Result<(Arc<Self>, mpsc::Receiver<Command>), StoreError> {
        let (commands, orders) = mpsc::channel(COMMANDS_MAX);
        let hub = Self {
            name: options.name.clone(),
            ping_name: HubName::parse(&format!("{}?pings", options.name.as_str()))?,
            options: options.websub.clone(),
            pings: options.pings.clone(),
            delivery_retries: options.websub.delivery_retries,
            store,
            lines: Arc::default(),
            feeds: Feeds::default(),
            judge: Arc::clone(&options.judge),
            intents: Mutex::new(Intents::new(&options.websub, seed)),
            clients: Mutex::new(Paces::new(options.websub.limits.subscribe_rate_per_client_max)),
            tallies: Tallies::default(),
            bridged: options.bridge.as_ref().map(|bridge| bridge.rules.clone()).unwrap_or_default(),
            handed_out: watch::channel(Offset::START).0,
            commands,
        };
        Ok((Arc::new(hub), orders))
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &HubName {
        &self.name
    }

    /// What its operator decided.
    #[must_use]
    pub const fn options(&self) -> &HubOptions {
        &self.options
    }

    /// Whether pings for this topic are taken.
    #[must_use]
    pub fn takes_pings_for(&self, topic: &Topic) -> bool {
        self.pings.iter().any(|prefix| topic.as_str().starts_with(prefix.as_str()))
    }

    pub(super) const fn ping_name(&self) -> &HubName {
        &self.ping_name
    }

    pub(super) const fn delivery_retries(&self) -> Option<NonZeroU32> {
        self.delivery_retries
    }

    /// The store, for those who read.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(super) const fn lines(&self) -> &Arc<Lines> {
        &self.lines
    }

    pub(super) const fn feeds(&self) -> &Feeds {
        &self.feeds
    }

    /// Ends the streams of all readers, before the node waits for its connections.
    pub fn end_streams(&self) {
        self.feeds.end();
    }

    /// Sessions have what the log has up to here.
    pub(super) fn set_handed_out(&self, up_to: Offset) {
        self.handed_out.send_if_modified(|known| up_to > std::mem::replace(known, up_to.max(*known)));
    }

    /// Waits until sessions have this publication, where they get those of its topic. Who publishes in a realm as soon as this
    /// one is acknowledged must not overtake it.
    pub(super) fn handed_out(&self, topic: &Topic, offset: Offset) -> Option<impl Future<Output = ()> + Send + use<>> {
        if *self.handed_out.borrow() >= offset || !self.bridged.iter().any(|rule| rule.uri(topic).is_some()) {
            return None;
        }
        let mut handed_out = self.handed_out.subscribe();
        // It ends with the hub only.
        Some(async move { drop(handed_out.wait_for(|up_to| *up_to >= offset).await) })
    }

    pub(super) const fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    pub(super) async fn order(&self, command: Command) -> Result<(), Closed> {
        self.commands.send(command).await.map_err(|_| Closed)
    }

    /// Whether a client may ask for another subscription already; `now` is on a clock that does not go back.
    #[must_use]
    pub fn admits(&self, client: &str, now: Duration) -> bool {
        // A table is whole after every change.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).admit(client.to_owned(), now)
    }

    /// Who says who may subscribe.
    pub(super) fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Requests for subscriptions that are under way.
    pub(super) fn intents(&self) -> MutexGuard<'_, Intents> {
        // The machine does not panic between two states of its tables.
        self.intents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the machine of those requests what happened; `now` is the time of the wall clock. What it says is to be carried
    /// out by the caller, in its order.
    pub(super) fn tell(&self, event: Event, now: Duration) -> Vec<Action> {
        self.intents().handle(event, now)
    }

    /// Asks the hub's thread for something of the administration.
    pub(super) async fn inquire<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, AdminFault> {
        let (reply, answer) = oneshot::channel();
        self.order(command(reply)).await.map_err(|_| AdminFault::Closing)?;
        answer.await.map_err(|_| AdminFault::Closing)?
    }
}

/// What is kept with a subscription beside what the store has a place for: the spellings of the subscriber, where they
/// differ from what identifies the subscription.
pub(super) mod spelling {
    use stentor_store::Extras;
    use stentor_websub::address::{AskedTopic, Callback, Pair};

    const CALLBACK: &str = "callback";
    const TOPIC: &str = "topic";

    /// The spellings of a pair.
    pub(in crate::hub) fn extras(pair: &Pair) -> Extras {
        let mut extras = Extras::new();
        if pair.callback.url() != pair.callback.key() {
            extras.push((CALLBACK.into(), pair.callback.url().into()));
        }
        if pair.topic.text() != pair.topic.topic().as_str() {
            extras.push((TOPIC.into(), pair.topic.text().into()));
        }
        extras
    }

    /// The callback of a subscription of the store as the subscriber wrote it.
    pub(in crate::hub) fn callback<'s>(callback: &'s str, extras: &'s Extras) -> &'s str {
        kept(extras, CALLBACK).unwrap_or(callback)
    }

    fn kept<'s>(extras: &'s Extras, wanted: &str) -> Option<&'s str> {
        extras.iter().find(|(name, _)| &**name == wanted).map(|(_, value)| &**value)
    }

    /// The pair of a subscription of the store; nothing where an earlier version kept what is no URL today.
    pub(in crate::hub) fn pair(topic: &str, callback: &str, extras: &Extras) -> Option<Pair> {
        Some(Pair {
            topic: AskedTopic::parse(kept(extras, TOPIC).unwrap_or(topic)).ok()?,
            callback: Callback::parse(self::callback(callback, extras)).ok()?,
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn spellings_are_kept() {
            let pair_of = |topic: &str, callback: &str| Pair {
                topic: AskedTopic::parse(topic).unwrap(),
                callback: Callback::parse(callback).unwrap(),
            };
            let given = pair_of("http://t/%7Ea", "http://s/%41?x=1");
            let kept = pair(given.topic.topic().as_str(), given.callback.key(), &extras(&given)).unwrap();
            assert_eq!((kept.topic.text(), kept.callback.url()), ("http://t/%7Ea", "http://s/%41?x=1"));
            assert!(extras(&pair_of("http://t/", "http://s/")).is_empty());
        }
    }
}
