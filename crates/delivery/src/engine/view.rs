//! What an operator may see: the state of a subscription and of a host, counters and gauges.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use stentor_model::{Offset, Topic, WebhookId};

use crate::engine::Engine;
use crate::event::Outcome;
use crate::host::Breaker;
use crate::slab::NONE;
use crate::webhook::{Backoff, State};

/// One subscription, as a console shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookView {
    /// What it listens to.
    pub topic: Topic,
    /// Whom its callback belongs to.
    pub host: Arc<str>,
    /// The last publication that is done with.
    pub cursor: Offset,
    /// The newest announced place of its topic. Offsets are not contiguous: how many lie between, the store knows.
    pub newest: Offset,
    /// Seconds since 1970.
    pub lease_end: u64,
    /// What it waits for.
    pub state: StateView,
    /// How its last attempt ended, and when, in seconds since 1970.
    pub last: Option<(Outcome, u64)>,
    /// Whether its host's breaker holds it back.
    pub breaker: BreakerView,
}

/// What a subscription waits for. Attempts count from 1; times are those of [`Now::elapsed`](crate::Now::elapsed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateView {
    /// A publication.
    Idle,
    /// The log.
    Reading,
    /// Its turn.
    Queued {
        /// The publication.
        offset: Offset,
        /// The attempt to come.
        attempt: u32,
    },
    /// An answer.
    InFlight {
        /// The publication.
        offset: Offset,
        /// This attempt.
        attempt: u32,
    },
    /// The time of its next attempt.
    Backoff {
        /// The publication.
        offset: Offset,
        /// The attempt to come.
        attempt: u32,
        /// When.
        at: Duration,
    },
    /// The record that a publication is given up.
    Burial {
        /// The publication.
        offset: Offset,
        /// How often it was tried.
        attempts: u32,
    },
}

/// Whether requests go to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerView {
    /// They do.
    Closed,
    /// They do not, until that time of [`Now::elapsed`](crate::Now::elapsed).
    Open {
        /// When one will go again, to see.
        until: Duration,
    },
    /// One may go, to see.
    HalfOpen,
}

/// One host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostView {
    /// Its name.
    pub name: Arc<str>,
    /// Requests on their way to it.
    pub in_flight: u32,
    /// Subscriptions that wait for a turn.
    pub queued: u32,
    /// Subscriptions in all.
    pub webhooks: u32,
    /// Whether requests go there.
    pub breaker: BreakerView,
}

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests asked for.
    pub posts: u64,
    /// Attempts answered with 2xx.
    pub delivered: u64,
    /// Attempts that failed otherwise than by 410.
    pub failed: u64,
    /// Publications given up and recorded.
    pub dead: u64,
    /// Subscriptions ended by 410.
    pub gone: u64,
    /// Subscriptions ended with their lease.
    pub leases_ended: u64,
    /// Reads of the log asked for.
    pub fetches: u64,
    /// Reads that failed.
    pub fetches_failed: u64,
    /// Breakers opened.
    pub breaker_trips: u64,
    /// Outcomes of attempts that nobody knows: twice reported, that is.
    pub outcomes_unknown: u64,
}

/// How things stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Subscriptions.
    pub webhooks: usize,
    /// Topics with subscriptions.
    pub topics: usize,
    /// Hosts with subscriptions.
    pub hosts: usize,
    /// Requests on their way.
    pub in_flight: usize,
    /// Reads on their way.
    pub fetches: usize,
    /// Publications that wait for the time of a retry; of a subscription one in order and one replay at most.
    pub backoffs: usize,
    /// Hosts to which nothing goes.
    pub breakers_open: usize,
    /// Dead publications waiting to be sent once more.
    pub replays: usize,
    /// Octets of the machine's tables, without the names of topics and hosts.
    pub table_bytes: usize,
}

impl From<Breaker> for BreakerView {
    fn from(breaker: Breaker) -> Self {
        match breaker {
            Breaker::Closed { .. } => Self::Closed,
            Breaker::Open { until, .. } => Self::Open { until: Duration::from_millis(until) },
            Breaker::HalfOpen { .. } => Self::HalfOpen,
        }
    }
}

impl Engine {
    /// Whether there is such a subscription.
    #[must_use]
    pub fn knows(&self, id: WebhookId) -> bool {
        self.webhook_by_id.contains_key(&id)
    }

    /// How a subscription stands.
    #[must_use]
    pub fn webhook(&self, id: WebhookId) -> Option<WebhookView> {
        let webhook = &self.webhooks[*self.webhook_by_id.get(&id)?];
        let (topic, host) = (&self.topics[webhook.topic], &self.hosts[webhook.host]);
        let state = match webhook.state {
            State::Idle if topic.live_fetch == NONE => StateView::Idle,
            State::Idle | State::Fetch => StateView::Reading,
            State::Ready(head) => StateView::Queued { offset: head.offset, attempt: head.failures + 1 },
            State::Flight(index) => {
                let head = self.flights[index].head;
                StateView::InFlight { offset: head.offset, attempt: head.failures + 1 }
            }
            State::Backoff(Backoff { head, until }) => {
                let at = Duration::from_millis(until);
                StateView::Backoff { offset: head.offset, attempt: head.failures + 1, at }
            }
            State::Burial { head, .. } => StateView::Burial { offset: head.offset, attempts: head.failures },
        };
        Some(WebhookView {
            topic: topic.name.clone(),
            host: host.name.clone(),
            cursor: webhook.cursor,
            newest: topic.hint,
            lease_end: u64::from(webhook.lease_end),
            state,
            last: webhook.last.map(|outcome| (outcome, u64::from(webhook.last_at))),
            breaker: host.breaker.into(),
        })
    }

    /// Every host with subscriptions, in no promised order.
    pub fn hosts(&self) -> impl Iterator<Item = HostView> {
        self.hosts.iter().map(|host| HostView {
            name: host.name.clone(),
            in_flight: host.in_flight,
            queued: host.ready.len(),
            webhooks: host.webhooks,
            breaker: host.breaker.into(),
        })
    }

    /// What has happened since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How things stand. Counts nothing anew, so it may be asked for often.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges {
            webhooks: self.webhooks.len(),
            topics: self.topics.len(),
            hosts: self.hosts.len(),
            in_flight: self.flights.len(),
            fetches: self.fetches_asked,
            backoffs: self.backoffs,
            breakers_open: self.breakers_open,
            replays: self.replays_waiting,
            table_bytes: self.table_bytes(),
        }
    }

    fn table_bytes(&self) -> usize {
        let slabs = self.webhooks.bytes() + self.topics.bytes() + self.hosts.bytes();
        let ways = self.flights.bytes()
            + self.fetches.bytes()
            + self.replays.bytes()
            + self.alarms.bytes()
            + self.leases.bytes();
        let maps = map_bytes(&self.webhook_by_id) + map_bytes(&self.topic_by_name) + map_bytes(&self.host_by_name);
        slabs + ways + maps
    }
}

/// Octets of a hash map: a power of two of places, seven eighths of which may be taken, and one octet of control each.
fn map_bytes<K, V, S>(map: &HashMap<K, V, S>) -> usize {
    (map.capacity() * 8 / 7).next_power_of_two() * (size_of::<(K, V)>() + 1)
}
