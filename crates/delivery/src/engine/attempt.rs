//! What the outcome of an attempt means: for the cursor, for the next attempt, for the host.

use std::num::NonZeroU32;
use std::time::Duration;

use stentor_model::{Offset, WebhookId};

use crate::engine::{Engine, Rest};
use crate::event::{Action, AttemptKey, EndReason, Errand, Outcome};
use crate::host::Breaker;
use crate::replays::Kept;
use crate::retry;
use crate::slab::NONE;
use crate::timer::Alarm;
use crate::webhook::{Backoff, Head, State};

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
        let index = webhook.replays;
        if index != NONE {
            self.replays[index].turn = match head.errand {
                Errand::InOrder => Errand::Replay,
                Errand::Replay => Errand::InOrder,
            };
        }
        match outcome {
            Outcome::Answered(200..=299) => {
                self.counters.delivered += 1;
                match head.errand {
                    Errand::InOrder => self.done(at, head.offset, out),
                    Errand::Replay => self.replayed(at, head.offset, out),
                }
            }
            // W3C WebSub, section 7: the subscription may be terminated.
            Outcome::Answered(410) => self.end(at, EndReason::Gone, out),
            Outcome::Missing => self.give_up(at, head, outcome, out),
            Outcome::NotTried => {
                self.back_off(at, Head { is_patient: false, ..head }, self.options.store_retry_delay, None);
            }
            Outcome::Answered(_) | Outcome::NotSent(_) | Outcome::NoAnswer(_) => {
                self.counters.failed += 1;
                let failures = head.failures.saturating_add(1);
                let head = Head { failures, is_patient: retry_after.is_some(), ..head };
                if self.attempts_max(at, head.errand).is_some_and(|most| failures >= most.get()) {
                    self.give_up(at, head, outcome, out);
                } else {
                    let delay = retry::delay(&self.options, failures, retry_after, &mut self.dice);
                    self.back_off(at, head, delay, retry_after);
                }
            }
        }
    }

    fn attempts_max(&self, at: u32, errand: Errand) -> Option<NonZeroU32> {
        let webhook = &self.webhooks[at];
        match errand {
            Errand::InOrder => webhook.attempts_max,
            Errand::Replay => Some(self.replays[webhook.replays].attempts_max()),
        }
    }

    /// The publication in order is done with, by success or by record: on with the next.
    fn done(&mut self, at: u32, offset: Offset, out: &mut Vec<Action>) {
        let webhook = &mut self.webhooks[at];
        webhook.cursor = offset;
        out.push(Action::Advance { webhook: webhook.id, offset });
        self.go_on(at, Kept::Nothing);
    }

    fn give_up(&mut self, at: u32, head: Head, last: Outcome, out: &mut Vec<Action>) {
        match head.errand {
            Errand::InOrder => {
                self.webhooks[at].state = State::Burial { head, last };
                self.bury(at, out);
            }
            Errand::Replay => self.give_up_replay(at, head, last, out),
        }
    }

    fn back_off(&mut self, at: u32, head: Head, delay: Duration, retry_after: Option<Duration>) {
        let until = self.elapsed.saturating_add(retry::millis(delay));
        match head.errand {
            Errand::InOrder => {
                self.wait_until(at, head, until);
                self.slip_in(at);
            }
            Errand::Replay => {
                let asked = retry_after.unwrap_or_default().min(self.options.retry_after_max);
                let patience = self.elapsed.saturating_add(retry::millis(asked));
                self.put_off_replay(at, head, until, patience);
            }
        }
    }

    /// The publication in order waits for that time.
    pub(super) fn wait_until(&mut self, at: u32, head: Head, until: u64) {
        self.webhooks[at].state = State::Backoff(Backoff { head, until });
        self.backoffs += 1;
        self.alarms.set(until, Alarm::Retry(at));
    }

    /// A retry that was noted for that time. The subscription may have moved on, or be another by now.
    pub(super) fn retry(&mut self, at: u32, time: u64) {
        if let Some(State::Backoff(wait)) = self.webhooks.get(at).map(|webhook| webhook.state)
            && wait.until == time
        {
            self.go_on(at, Kept::Backoff(wait));
        }
    }

    /// Asks for the record that the head is given up.
    pub(super) fn bury(&mut self, at: u32, out: &mut Vec<Action>) {
        let Some(webhook) = self.webhooks.get(at) else { return };
        if let State::Burial { head, last } = webhook.state {
            let topic = self.topics[webhook.topic].name.clone();
            self.burials_asked += 1;
            let Head { offset, failures: attempts, errand, .. } = head;
            out.push(Action::Bury { webhook: webhook.id, topic, offset, errand, attempts, last });
        }
    }

    /// Whether the subscription waits for the record of that publication.
    fn mourns(&self, at: u32, offset: Offset) -> bool {
        matches!(self.webhooks[at].state, State::Burial { head, .. } if head.offset == offset)
    }

    pub(super) fn buried(&mut self, webhook: WebhookId, offset: Offset, errand: Errand, out: &mut Vec<Action>) {
        self.burials_asked = self.burials_asked.saturating_sub(1);
        let Some(&at) = self.webhook_by_id.get(&webhook) else { return };
        match errand {
            Errand::InOrder if self.mourns(at, offset) => {
                self.counters.dead += 1;
                self.done(at, offset, out);
            }
            Errand::Replay if self.mourns_replay(at, offset) => {
                self.counters.dead += 1;
                self.replay_buried(at, offset, out);
            }
            Errand::InOrder | Errand::Replay => {}
        }
    }

    pub(super) fn bury_failed(&mut self, webhook: WebhookId, offset: Offset, errand: Errand) {
        self.burials_asked = self.burials_asked.saturating_sub(1);
        let Some(&at) = self.webhook_by_id.get(&webhook) else { return };
        match errand {
            Errand::InOrder if self.mourns(at, offset) => self.rest(Rest::Burial(at)),
            Errand::Replay if self.mourns_replay(at, offset) => self.rest(Rest::ReplayBurial(at)),
            Errand::InOrder | Errand::Replay => {}
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
