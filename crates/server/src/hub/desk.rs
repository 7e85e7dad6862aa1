//! One hub on the hubs' thread: its machines, what they are told, and who carries out what they say.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stentor_delivery::{Action, Engine, Event, Now};
use stentor_model::{PublicationId, Topic, WebhookId};
use stentor_store::{Content, Draft, Entry, HubTopic, Timestamp};
use stentor_websub::headers;
use stentor_websub::message::{self, Fetch, FetchFault, Settlement};
use stentor_websub::pace::Paces;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::bridge::Outlet;
use super::cache::Cache;
use super::clerk::Clerk;
use super::deliver::{Flights, Unreadable};
use super::door::{Hub, Options};
use super::ping::Pings;
use super::target::Targets;
use crate::clock::Clock;
use crate::courier::{self, Courier, SystemResolver};
use crate::fanout::shard::Shard;
use crate::task;

/// Fetches of content at once for publishers that wait for them. Each may hold a body of `fetch_bytes_max` octets.
const FETCHES_MAX: usize = 16;

/// Fetches of pinged topics at once. Apart from the others: who pings shows no key, and must not keep those waiting who do.
const PING_FETCHES_MAX: usize = 8;

/// How long a connection to a host is kept for the next webhook. Servers rarely wait for longer than a minute.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// A hub at work. Lives on one thread; a borrow of its cells never lasts across an `await`.
pub(super) struct Desk {
    pub(super) hub: Arc<Hub>,
    pub(super) options: Options,
    pub(super) shard: Rc<Shard>,
    clock: Arc<Clock>,
    /// Goes to callbacks.
    pub(super) courier: Courier,
    /// Goes where content is.
    fetcher: Courier,
    /// Goes where the operator wrote: to his own authenticator.
    pub(super) messenger: Courier,
    pub(super) engine: RefCell<Engine>,
    events: RefCell<VecDeque<Event>>,
    feeding: Cell<bool>,
    deadline: Cell<Option<Duration>>,
    alarm: Notify,
    pub(super) intents_alarm: Notify,
    /// How fast the callbacks of each host are asked.
    pub(super) hosts: RefCell<Paces<String>>,
    pub(super) targets: RefCell<Targets>,
    pub(super) cache: RefCell<Cache>,
    pub(super) flights: RefCell<Flights>,
    /// Topics whose part of the log was damaged where it was read last.
    pub(super) unreadable: RefCell<Unreadable>,
    pub(super) clerk: Clerk,
    pub(super) pings: RefCell<Pings>,
    pub(super) fetches: Semaphore,
    pub(super) ping_fetches: Semaphore,
    pub(super) drained: Notify,
    /// Cursors that are about to be moved, by tasks that have yet to claim them.
    pub(super) moves: Cell<usize>,
    pub(super) move_ended: Notify,
    pub(super) outlet: Option<Outlet>,
    /// Subscriptions that ended while those of the store were read, of which some may have been read before that; none once
    /// all are here.
    ended: RefCell<Option<HashSet<WebhookId>>>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("hub", &self.hub.name()).finish_non_exhaustive()
    }
}

impl Desk {
    pub(super) fn new(
        hub: Arc<Hub>,
        options: Options,
        outlet: Option<Outlet>,
        shard: Rc<Shard>,
        clock: Arc<Clock>,
        names: &SystemResolver,
        dice: u64,
    ) -> Rc<Self> {
        let websub = &options.websub;
        let courier = |guard: &stentor_websub::guard::Guard| {
            let options = courier::Options {
                guard: guard.clone(),
                connect_timeout: options.connect_timeout,
                user_agent: headers::user_agent(env!("CARGO_PKG_VERSION"), &websub.hub_url),
                roots: Arc::clone(&options.roots),
                idle_timeout: IDLE_TIMEOUT,
                idle_per_host_max: options.delivery.in_flight_per_host_max,
            };
            Courier::with_resolver(options, Box::new(names.clone()))
        };
        let everywhere = stentor_websub::guard::Guard {
            allow: ["0.0.0.0/0", "::/0"].map(|net| net.parse().expect("all addresses are a network")).into(),
            ports: (1..1024).collect(),
            ..Default::default()
        };
        Rc::new(Self {
            courier: courier(&websub.callback_guard),
            fetcher: courier(&websub.fetch_guard),
            messenger: courier(&everywhere),
            engine: RefCell::new(Engine::new(options.delivery.clone(), dice)),
            events: RefCell::default(),
            feeding: Cell::new(false),
            deadline: Cell::new(None),
            alarm: Notify::new(),
            intents_alarm: Notify::new(),
            hosts: RefCell::new(Paces::new(websub.limits.verify_rate_per_host_max)),
            targets: RefCell::default(),
            cache: RefCell::default(),
            flights: RefCell::default(),
            unreadable: RefCell::default(),
            clerk: Clerk::default(),
            pings: RefCell::default(),
            fetches: Semaphore::new(FETCHES_MAX),
            ping_fetches: Semaphore::new(PING_FETCHES_MAX),
            drained: Notify::new(),
            moves: Cell::new(0),
            move_ended: Notify::new(),
            outlet,
            ended: RefCell::new(Some(HashSet::new())),
            hub,
            options,
            shard,
            clock,
        })
    }

    /// The hub's name, for logs.
    pub(super) fn name(&self) -> &str {
        self.hub.name().as_str()
    }

    /// A topic of this hub, as the store names it.
    pub(super) fn of_store(&self, topic: &Topic) -> HubTopic {
        HubTopic { hub: self.hub.name().clone(), topic: topic.clone() }
    }

    pub(super) fn now(&self) -> Now {
        Now { elapsed: self.clock.uptime(), unix: self.clock.unix() }
    }

    pub(super) fn unix_millis(&self) -> u64 {
        u64::try_from(self.clock.unix().as_millis()).unwrap_or(u64::MAX)
    }

    /// Starts a task of this hub.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        task::spawn(&self.shard, future);
    }

    /// Tells the delivery machine what happened, and carries out what it says. What happens meanwhile waits its turn.
    pub(super) fn feed(self: &Rc<Self>, event: Event) {
        self.events.borrow_mut().push_back(event);
        if self.feeding.replace(true) {
            return;
        }
        let mut actions: Vec<Action> = Vec::new();
        loop {
            let Some(event) = self.events.borrow_mut().pop_front() else { break };
            self.engine.borrow_mut().handle(event, self.now(), &mut actions);
            for action in actions.drain(..) {
                self.carry_out(action);
            }
        }
        self.feeding.set(false);
        let deadline = self.engine.borrow().next_deadline();
        let before = self.deadline.replace(deadline);
        if deadline.is_some_and(|new| before.is_none_or(|old| new < old)) {
            self.alarm.notify_one();
        }
    }

    /// Wakes the delivery machine when it wants to be woken, for ever.
    pub(super) async fn ring(self: Rc<Self>) {
        loop {
            let Some(deadline) = self.deadline.get() else {
                self.alarm.notified().await;
                continue;
            };
            let wait = deadline.saturating_sub(self.clock.uptime());
            if wait.is_zero() {
                self.feed(Event::Tick);
                // A machine that wants to be called at once, again and again, must not keep everybody else from working.
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep_until(Instant::now() + wait) => {}
                () = self.alarm.notified() => {}
            }
        }
    }

    /// Something new in the log, in its order; `before` is the place of the log's publication before it.
    pub(super) fn appended(self: &Rc<Self>, before: stentor_model::Offset, entry: &Entry) {
        self.bridge(entry);
        self.hub.feeds().appended(entry);
        let topic = &entry.topic.topic;
        let prepared = self.prepare(entry);
        self.cache.borrow_mut().arrived(topic, before, entry.offset, Rc::new(prepared));
        self.feed(Event::Appended { topic: topic.clone(), offset: entry.offset });
    }

    /// Whether the delivery machine knows a subscription.
    pub(super) fn is_enrolled(&self, id: WebhookId) -> bool {
        self.engine.borrow().knows(id)
    }

    /// A subscription is over: nothing is sent to it any more.
    pub(super) fn forget_target(&self, id: WebhookId) {
        self.targets.borrow_mut().forget(id);
        if let Some(ended) = &mut *self.ended.borrow_mut() {
            ended.insert(id);
        }
    }

    /// Whether a subscription ended since the store began to be read.
    pub(super) fn has_ended(&self, id: WebhookId) -> bool {
        self.ended.borrow().as_ref().is_some_and(|ended| ended.contains(&id))
    }

    /// All subscriptions of the store are here.
    pub(super) fn all_read(&self) {
        *self.ended.borrow_mut() = None;
    }

    /// A draft of content that the hub fetched itself.
    pub(super) fn draft(&self, topic: &Topic, content: message::Content) -> Draft {
        Draft {
            topic: self.of_store(topic),
            publication: PublicationId::from_random(self.shard.random()),
            at: Timestamp(self.unix_millis()),
            content: Content {
                content_type: content.content_type.as_str().into(),
                extras: Vec::new(),
                body: Bytes::from(content.body),
            },
            idempotency: None,
        }
    }

    /// Gets content from elsewhere, in as many attempts as the operator allows.
    pub(super) async fn fetch(&self, fetch: &Fetch) -> Result<message::Content, FetchFault> {
        let options = &self.options.websub.fetch;
        let mut attempt = 1;
        loop {
            let outcome = courier::fetch(&self.fetcher, fetch, options).await;
            match fetch.settle(outcome, attempt, options) {
                Settlement::Content(content) => return Ok(content),
                Settlement::Dead(fault) => return Err(fault),
                Settlement::Retry(delay) => tokio::time::sleep(delay).await,
            }
            attempt += 1;
        }
    }
}
