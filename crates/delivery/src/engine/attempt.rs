//! What the outcome of an attempt means: for the cursor, for the next attempt, for the host.

use std::time::Duration;

use stentor_model::{Offset, WebhookId};

use crate::engine::{Engine, Rest};
use crate::event::{Action, AttemptKey, EndReason, Errand, Outcome};
use crate::host::Breaker;
use crate::retry;
use crate::slab::NONE;
use crate::timer::Alarm;
use crate::webhook::{Head, State};

impl Engine {
    pub(super) fn attempted(
        &mut self,
        key: AttemptKey,
        outcome: Outcome,
        retry_after: Option<Duration>,
        out: &mut Vec<Action>,
    ) {
        if self.flights.get(key.index).is_none_or(|flight| flight.serial != key.serial) {
            self.counters.outcomes_unknown += 1;
            return;
        }
        let Some(flight) = self.flights.remove(key.index) else { return };
        self.hosts[flight.host].in_flight -= 1;
        self.note(flight.host, outcome);
        if flight.webhook != NONE {
            self.settle(flight.webhook, flight.head, outcome, retry_after, out);
        }
        // The subscription may have been the host's last, and the flight what kept it.
        if self.hosts.get(flight.host).is_some() {
            self.place(flight.host);
            self.tidy_host(flight.host);
        }
    }

    fn settle(&mut self, at: u32, head: Head, outcome: Outcome, retry_after: Option<Duration>, out: &mut Vec<Action>) {
        let webhook = &mut self.webhooks[at];
        if outcome != Outcome::NotTried {
            webhook.last = Some(outcome);
            webhook.last_at = u32::try_from(self.unix / 1000).unwrap_or(u32::MAX);
        }
        // From here on it stands in no list, as `remove` must know.
        webhook.state = State::Burial { head, last: outcome };
        match outcome {
            Outcome::Answered(200..=299) => {
                self.counters.delivered += 1;
                if head.errand == Errand::Replay {
                    out.push(Action::Replayed { webhook: webhook.id, offset: head.offset });
                }
                self.done(at, head, out);
            }
            // W3C WebSub, section 7: the subscription may be terminated.
            Outcome::Answered(410) => self.end(at, EndReason::Gone, out),
            Outcome::Missing => self.bury(at, out),
            Outcome::NotTried => self.back_off(at, head, self.options.store_retry_delay),
            Outcome::Answered(_) | Outcome::NotSent(_) | Outcome::NoAnswer(_) => {
                self.counters.failed += 1;
                let failures = head.failures.saturating_add(1);
                let head = Head { failures, ..head };
                let webhook = &mut self.webhooks[at];
                if webhook.attempts_max.is_some_and(|most| failures >= most.get()) {
                    webhook.state = State::Burial { head, last: outcome };
                    self.bury(at, out);
                } else {
                    let delay = retry::delay(&self.options, failures, retry_after, &mut self.dice);
                    self.back_off(at, head, delay);
                }
            }
        }
    }

    /// The head is done with, by success or by record: on with the next. A replay does not move the cursor.
    fn done(&mut self, at: u32, head: Head, out: &mut Vec<Action>) {
        let webhook = &mut self.webhooks[at];
        match head.errand {
            Errand::InOrder => {
                webhook.cursor = head.offset;
                out.push(Action::Advance { webhook: webhook.id, offset: head.offset });
            }
            Errand::Replay => {
                let (id, cursor, topic) = (webhook.id, webhook.cursor, webhook.topic);
                self.replays.remove(&(id, head.offset));
                // It may have gone before a look into the log, which nobody has had since: after a start, nothing else says
                // what lies behind the cursor.
                if self.next_replay(id).is_none() && self.topics[topic].next(cursor).is_none() {
                    return self.want(at);
                }
            }
        }
        self.proceed(at);
    }

    fn back_off(&mut self, at: u32, head: Head, delay: Duration) {
        let until = self.elapsed.saturating_add(retry::millis(delay));
        self.webhooks[at].state = State::Backoff { head, until };
        self.backoffs += 1;
        self.alarms.set(until, Alarm::Retry(at));
    }

    /// A retry that was noted for that time. The subscription may have moved on, or be another by now.
    pub(super) fn retry(&mut self, at: u32, time: u64) {
        let state = self.webhooks.get(at).map(|webhook| webhook.state);
        if let Some(State::Backoff { head, until }) = state
            && until == time
        {
            self.backoffs -= 1;
            self.line_up(at, head);
        }
    }

    /// Asks for the record that the head is given up.
    pub(super) fn bury(&mut self, at: u32, out: &mut Vec<Action>) {
        let Some(webhook) = self.webhooks.get(at) else { return };
        if let State::Burial { head, last } = webhook.state {
            let topic = self.topics[webhook.topic].name.clone();
            self.burials_asked += 1;
            out.push(Action::Bury { webhook: webhook.id, topic, offset: head.offset, attempts: head.failures, last });
        }
    }

    /// The subscription that waits for the record of that publication.
    fn mourner(&self, webhook: WebhookId, offset: Offset) -> Option<(u32, Head)> {
        let at = *self.webhook_by_id.get(&webhook)?;
        match self.webhooks[at].state {
            State::Burial { head, .. } if head.offset == offset => Some((at, head)),
            _ => None,
        }
    }

    pub(super) fn buried(&mut self, webhook: WebhookId, offset: Offset, out: &mut Vec<Action>) {
        self.burials_asked = self.burials_asked.saturating_sub(1);
        let Some((at, head)) = self.mourner(webhook, offset) else { return };
        self.counters.dead += 1;
        if head.errand == Errand::Replay {
            out.push(Action::ReplayEnded { webhook, offset });
        }
        self.done(at, head, out);
    }

    pub(super) fn bury_failed(&mut self, webhook: WebhookId, offset: Offset) {
        self.burials_asked = self.burials_asked.saturating_sub(1);
        if let Some((at, _)) = self.mourner(webhook, offset) {
            self.rest(Rest::Burial(at));
        }
    }

    /// What an outcome says about the host: can it be reached? A status, even a bad one, says yes. So does silence after
    /// the request went out: that is one receiver's trouble, and others may live at the same address.
    fn note(&mut self, at: u32, outcome: Outcome) {
        let host = &mut self.hosts[at];
        match (outcome, host.breaker) {
            (Outcome::Answered(_) | Outcome::NoAnswer(_), before) => {
                if let Breaker::Open { .. } = before {
                    self.breakers_open -= 1;
                }
                host.breaker = Breaker::Closed { failures: 0 };
            }
            (Outcome::NotSent(_), Breaker::Closed { failures }) if failures + 1 < self.options.breaker_failures_max => {
                host.breaker = Breaker::Closed { failures: failures + 1 };
            }
            (Outcome::NotSent(_), Breaker::Closed { .. }) => self.trip(at, 1),
            (Outcome::NotSent(_), Breaker::HalfOpen { trips }) => self.trip(at, trips.saturating_add(1)),
            (Outcome::NotSent(_), Breaker::Open { .. }) | (Outcome::NotTried | Outcome::Missing, _) => {}
        }
    }

    fn trip(&mut self, at: u32, trips: u32) {
        let delay = retry::breaker(&self.options, trips, &mut self.dice);
        let until = self.elapsed.saturating_add(retry::millis(delay));
        self.hosts[at].breaker = Breaker::Open { until, trips };
        self.breakers_open += 1;
        self.counters.breaker_trips += 1;
        self.alarms.set(until, Alarm::Probe(at));
    }

    /// The breaker of this host was to half open at that time.
    pub(super) fn probe(&mut self, at: u32, time: u64) {
        let breaker = self.hosts.get(at).map(|host| host.breaker);
        if let Some(Breaker::Open { until, trips }) = breaker
            && until == time
        {
            self.breakers_open -= 1;
            self.hosts[at].breaker = Breaker::HalfOpen { trips };
            self.place(at);
        }
    }
}
