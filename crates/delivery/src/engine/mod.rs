//! The machine: events in, actions out.
//!
//! This file knows how subscriptions enter and leave and what time does to them; [`log`] what to read, [`attempt`] what an
//! outcome means, [`replay`] what is sent once more, [`turn`] whose turn it is, [`view`] what an operator may see. None of them knows how any of it is carried out.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use stentor_model::{IdMap, Topic, WebhookId};

use crate::event::{Action, EndReason, Enrolment, Event, Now};
use crate::host::{Breaker, Host, Ring};
use crate::list::{Links, List};
use crate::options::Options;
use crate::replays::{Kept, Replays, Stage};
use crate::retry::millis;
use crate::slab::{NONE, Slab};
use crate::timer::{Alarm, Alarms, Leases};
use crate::topic::TopicEntry;
use crate::webhook::{Backoff, Flight, State, Webhook};

mod attempt;
mod log;
mod replay;
#[cfg(test)]
mod tests;
mod turn;
mod view;

use log::Fetch;
pub use view::{BreakerView, Counters, Gauges, HostView, StateView, WebhookView};

/// Times that come up in one turn. A million leases may end in one second, and the events between must not wait for all.
const ALARMS_PER_TURN_MAX: usize = 1024;

/// A lease is looked at this often at least, because the calendar may jump and no clock rings then.
const LEASE_LOOK: Duration = Duration::from_secs(60);

/// The ordered delivery machine. See the crate's front page.
///
/// Promises, whatever the order of events: at most one attempt of a subscription is on its way; its publications are tried
/// in the order of the log; [`Action::Advance`] comes only after an answer of 2xx or after [`Event::Buried`]; nothing is
/// sent for a subscription that was removed or whose lease is over.
#[derive(Debug)]
pub struct Engine {
    options: Options,
    dice: fastrand::Rng,
    /// Milliseconds since the start.
    elapsed: u64,
    /// Milliseconds since 1970.
    unix: u64,
    mode: Mode,
    webhooks: Slab<Webhook>,
    webhook_by_id: IdMap<WebhookId, u32>,
    topics: Slab<TopicEntry>,
    topic_by_name: HashMap<Topic, u32, RandomState>,
    hosts: Slab<Host>,
    host_by_name: HashMap<Arc<str>, u32, RandomState>,
    flights: Slab<Flight>,
    fetches: Slab<Fetch>,
    /// Reads that wait for one of the places on the way.
    fetch_queue: VecDeque<u32>,
    fetches_asked: usize,
    /// Records of giving up that are on their way.
    burials_asked: usize,
    fresh: List,
    busy: List,
    /// The queue that has the next turn.
    next_ring: Ring,
    alarms: Alarms,
    leases: Leases,
    /// What rests after a failure of the store. Every rest is equally long, so the first to come is the first to go.
    rests: VecDeque<(u64, Rest)>,
    /// Of the subscriptions that have any.
    replays: Slab<Replays>,
    /// Dead publications to be sent once more, of all subscriptions.
    replays_waiting: usize,
    serial: u32,
    /// Publications that wait for the time of a retry, replays included. Each has an alarm.
    backoffs: usize,
    breakers_open: usize,
    counters: Counters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Open,
    Draining,
    Drained,
}

#[derive(Clone, Copy, Debug)]
enum Rest {
    Fetch(u32),
    Burial(u32),
    ReplayBurial(u32),
}

impl Engine {
    /// An engine without subscriptions. The seed decides all draws of jitter.
    #[must_use]
    pub fn new(options: Options, seed: u64) -> Self {
        Self {
            options: options.sane(),
            dice: fastrand::Rng::with_seed(seed),
            elapsed: 0,
            unix: 0,
            mode: Mode::Open,
            webhooks: Slab::default(),
            webhook_by_id: IdMap::default(),
            topics: Slab::default(),
            topic_by_name: HashMap::default(),
            hosts: Slab::default(),
            host_by_name: HashMap::default(),
            flights: Slab::default(),
            fetches: Slab::default(),
            fetch_queue: VecDeque::new(),
            fetches_asked: 0,
            burials_asked: 0,
            fresh: List::default(),
            busy: List::default(),
            next_ring: Ring::Fresh,
            alarms: Alarms::default(),
            leases: Leases::default(),
            rests: VecDeque::new(),
            replays: Slab::default(),
            replays_waiting: 0,
            serial: 0,
            backoffs: 0,
            breakers_open: 0,
            counters: Counters::default(),
        }
    }

    /// Takes one event and appends what is to be done, in this order, to `out`.
    pub fn handle(&mut self, event: Event, now: Now, out: &mut Vec<Action>) {
        // A clock that promised not to go back is held to it.
        self.elapsed = self.elapsed.max(millis(now.elapsed));
        self.unix = millis(now.unix);
        // The event first: a renewal saves the lease that ends in this moment, and a removal leaves nothing to end.
        self.apply(event, out);
        self.wake(out);
        self.take_turns(out);
        self.ask(out);
        if self.mode == Mode::Draining && self.flights.len() == 0 && self.burials_asked == 0 {
            self.mode = Mode::Drained;
            out.push(Action::Drained);
        }
    }

    /// When the machine wants to be called again at the latest, on the clock of [`Now::elapsed`]. With nothing else to
    /// tell, call it with [`Event::Tick`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.mode != Mode::Open {
            return None;
        }
        let lease = self.leases.first().map(|end| {
            let left = (u64::from(end) * 1000).saturating_sub(self.unix);
            self.elapsed + left.min(millis(LEASE_LOOK))
        });
        let rest = self.rests.front().map(|&(at, _)| at);
        [self.alarms.first(), rest, lease].into_iter().flatten().min().map(Duration::from_millis)
    }

    fn apply(&mut self, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Subscribed(enrolment) => self.enrol(enrolment),
            Event::Renewed { webhook, lease_end } => {
                if let Some(&at) = self.webhook_by_id.get(&webhook) {
                    self.renew(at, lease_end);
                }
            }
            Event::Removed { webhook } => {
                if let Some(&at) = self.webhook_by_id.get(&webhook) {
                    self.remove(at, out);
                }
            }
            Event::Appended { topic, offset } => self.appended(&topic, offset),
            Event::Fetched { key, offsets, reach } => self.fetched(key, &offsets, reach),
            Event::FetchFailed { key } => self.fetch_failed(key),
            Event::Attempted { key, outcome, retry_after } => self.attempted(key, outcome, retry_after, out),
            Event::Buried { webhook, offset, errand } => self.buried(webhook, offset, errand, out),
            Event::BuryFailed { webhook, offset, errand } => self.bury_failed(webhook, offset, errand),
            Event::Replay { webhook, offset, attempts_max } => self.replay(webhook, offset, attempts_max, out),
            Event::Tick => {}
            Event::Drain => {
                if self.mode == Mode::Open {
                    self.mode = Mode::Draining;
                }
            }
        }
    }

    fn enrol(&mut self, enrolment: Enrolment) {
        let Enrolment { webhook: id, topic, host, cursor, tail, lease_end, attempts_max } = enrolment;
        if let Some(&at) = self.webhook_by_id.get(&id) {
            return self.renew(at, lease_end);
        }
        let topic = self.intern_topic(topic);
        let host = self.intern_host(host);
        let lease_end = u32::try_from(lease_end).unwrap_or(u32::MAX);
        let at = self.webhooks.insert(Webhook {
            id,
            cursor,
            state: State::Idle,
            topic,
            host,
            links: Links::OUT,
            lease_end,
            lease_mark: lease_end,
            replays: NONE,
            attempts_max,
            last: None,
            last_at: 0,
        });
        self.webhook_by_id.insert(id, at);
        self.topics[topic].webhooks += 1;
        self.hosts[host].webhooks += 1;
        self.leases.set(lease_end, at);
        match tail {
            None => self.want(at),
            Some(tail) => {
                self.announce(topic, tail);
                self.proceed(at);
            }
        }
    }

    fn renew(&mut self, at: u32, lease_end: u64) {
        let webhook = &mut self.webhooks[at];
        webhook.lease_end = u32::try_from(lease_end).unwrap_or(u32::MAX);
        if webhook.lease_end < webhook.lease_mark {
            webhook.lease_mark = webhook.lease_end;
            self.leases.set(webhook.lease_end, at);
        }
    }

    /// Ends a subscription for a reason of the machine's own.
    fn end(&mut self, at: u32, reason: EndReason, out: &mut Vec<Action>) {
        let webhook = self.webhooks[at].id;
        self.remove(at, out);
        match reason {
            EndReason::Gone => self.counters.gone += 1,
            EndReason::LeaseEnded => self.counters.leases_ended += 1,
        }
        out.push(Action::End { webhook, reason });
    }

    /// Forgets a subscription, whatever it waits for.
    fn remove(&mut self, at: u32, out: &mut Vec<Action>) {
        self.unlink(at, out);
        let Some(webhook) = self.webhooks.remove(at) else { return };
        self.webhook_by_id.remove(&webhook.id);
        self.drop_replays(webhook.replays, webhook.id, out);
        self.topics[webhook.topic].webhooks -= 1;
        self.tidy_topic(webhook.topic);
        self.hosts[webhook.host].webhooks -= 1;
        self.place(webhook.host);
        self.tidy_host(webhook.host);
        if self.leases.is_stale(self.webhooks.len()) {
            let webhooks = &self.webhooks;
            self.leases.sweep(|end, at| webhooks.get(at).is_some_and(|webhook| webhook.lease_mark == end));
        }
    }

    /// Takes a subscription out of the list or table that its state names.
    fn unlink(&mut self, at: u32, out: &mut Vec<Action>) {
        let Webhook { id, cursor, state, topic, host, .. } = self.webhooks[at];
        match state {
            State::Idle => self.topics[topic].idle.remove(&mut self.webhooks, at),
            State::Fetch => {
                if let Some(list) = self.topics[topic].wants.get_mut(&cursor) {
                    list.remove(&mut self.webhooks, at);
                }
            }
            State::Ready(_) => self.hosts[host].ready.remove(&mut self.webhooks, at),
            State::Flight(index) => {
                let flight = &mut self.flights[index];
                flight.webhook = NONE;
                out.push(Action::Cancel { key: flight.key(index), webhook: id });
            }
            State::Backoff(_) => self.backoffs -= 1,
            State::Burial { .. } => {}
        }
    }

    /// Does what was noted for a time that has come.
    fn wake(&mut self, out: &mut Vec<Action>) {
        for _ in 0..ALARMS_PER_TURN_MAX {
            let Some((end, at)) = self.leases.due(self.unix / 1000) else { break };
            let Some(webhook) = self.webhooks.get(at).filter(|webhook| webhook.lease_mark == end) else { continue };
            if webhook.lease_end > end {
                let later = webhook.lease_end;
                self.webhooks[at].lease_mark = later;
                self.leases.set(later, at);
            } else {
                self.end(at, EndReason::LeaseEnded, out);
            }
        }
        for _ in 0..ALARMS_PER_TURN_MAX {
            let Some((time, alarm)) = self.alarms.due(self.elapsed) else { break };
            match alarm {
                Alarm::Retry(at) => self.retry(at, time),
                Alarm::Replay(at) => self.replay_due(at, time),
                Alarm::Probe(host) => self.probe(host, time),
            }
        }
        for _ in 0..ALARMS_PER_TURN_MAX {
            let Some(&(at, rest)) = self.rests.front() else { break };
            if at > self.elapsed {
                break;
            }
            self.rests.pop_front();
            match rest {
                Rest::Fetch(index) => self.fetch_queue.push_back(index),
                Rest::Burial(at) => self.bury(at, out),
                Rest::ReplayBurial(at) => self.bury_replay(at, out),
            }
        }
        if self.alarms.is_stale(self.backoffs + self.breakers_open) {
            self.sweep_alarms();
        }
    }

    fn sweep_alarms(&mut self) {
        let (webhooks, replays, hosts) = (&self.webhooks, &self.replays, &self.hosts);
        let stage = |at| webhooks.get(at).and_then(|webhook| replays.get(webhook.replays)).map(|replays| replays.stage);
        self.alarms.sweep(|time, alarm| match alarm {
            Alarm::Retry(at) => {
                let waits = webhooks.get(at).is_some_and(
                    |webhook| matches!(webhook.state, State::Backoff(Backoff { until, .. }) if until == time),
                );
                let is_kept = |stage| matches!(stage, Stage::Away { kept: Kept::Backoff(wait) } if wait.until == time);
                waits || stage(at).is_some_and(is_kept)
            }
            Alarm::Replay(at) => {
                stage(at).is_some_and(|stage| matches!(stage, Stage::Backoff { until, .. } if until == time))
            }
            Alarm::Probe(host) => {
                hosts.get(host).is_some_and(|host| matches!(host.breaker, Breaker::Open { until, .. } if until == time))
            }
        });
    }

    fn rest(&mut self, rest: Rest) {
        let until = self.elapsed.saturating_add(millis(self.options.store_retry_delay));
        self.rests.push_back((until, rest));
    }

    fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    fn intern_topic(&mut self, topic: Topic) -> u32 {
        if let Some(&at) = self.topic_by_name.get(&topic) {
            return at;
        }
        let at = self.topics.insert(TopicEntry::new(topic.clone()));
        self.topic_by_name.insert(topic, at);
        at
    }

    fn intern_host(&mut self, name: Arc<str>) -> u32 {
        if let Some(&at) = self.host_by_name.get(&name) {
            return at;
        }
        let at = self.hosts.insert(Host::new(name.clone()));
        self.host_by_name.insert(name, at);
        at
    }

    /// Forgets a topic without subscriptions, and the places of one where nobody is behind.
    fn tidy_topic(&mut self, at: u32) {
        let topic = &mut self.topics[at];
        if topic.webhooks == 0 && topic.fetches == 0 {
            if let Some(topic) = self.topics.remove(at) {
                self.topic_by_name.remove(&topic.name);
            }
        } else if topic.idle.len() == topic.webhooks && !topic.windows.is_empty() {
            topic.windows = Vec::new();
        }
    }

    /// Forgets a host without subscriptions when nothing is on its way to it any more.
    fn tidy_host(&mut self, at: u32) {
        let host = &self.hosts[at];
        if host.webhooks > 0 || host.in_flight > 0 {
            return;
        }
        if let Breaker::Open { .. } = host.breaker {
            self.breakers_open -= 1;
        }
        if let Some(host) = self.hosts.remove(at) {
            self.host_by_name.remove(&host.name);
        }
    }
}
