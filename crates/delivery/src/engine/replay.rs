//! Replays: beside the order, and never before it for longer than an attempt.
//!
//! A subscription has one request on its way, so its two lines take turns. While the head of one waits for its next
//! attempt or for its record, the other goes on; when the receiver asked for patience (`Retry-After`), both wait. Each head
//! counts its own failures.

use std::num::NonZeroU32;

use stentor_model::{Offset, WebhookId};

use crate::engine::Engine;
use crate::event::{Action, Errand, Outcome};
use crate::replays::{Kept, Replays, Stage};
use crate::slab::NONE;
use crate::timer::Alarm;
use crate::webhook::{Head, State};

impl Engine {
    pub(super) fn replay(
        &mut self,
        webhook: WebhookId,
        offset: Offset,
        attempts_max: NonZeroU32,
        out: &mut Vec<Action>,
    ) {
        let Some(&at) = self.webhook_by_id.get(&webhook) else {
            return out.push(Action::ReplayEnded { webhook, offset });
        };
        let index = self.webhooks[at].replays;
        if self.replays.get(index).is_some_and(|replays| replays.line.contains_key(&offset)) {
            // It waits already, and goes once.
            return;
        }
        if self.replays_waiting >= self.options.replays_max {
            return out.push(Action::ReplayEnded { webhook, offset });
        }
        self.replays_waiting += 1;
        if index == NONE {
            self.webhooks[at].replays = self.replays.insert(Replays::new(offset, attempts_max));
        } else {
            self.replays[index].insert(offset, attempts_max);
        }
        self.slip_in(at);
    }

    /// Forgets the replays of a subscription that ends.
    pub(super) fn drop_replays(&mut self, index: u32, webhook: WebhookId, out: &mut Vec<Action>) {
        let Some(replays) = self.replays.remove(index) else { return };
        self.backoffs -= replays.backoffs();
        self.replays_waiting -= replays.line.len();
        out.extend(replays.line.into_keys().map(|offset| Action::ReplayEnded { webhook, offset }));
    }

    /// What a subscription does when nothing of it is under way, and `kept` is what its line in order goes on with.
    pub(super) fn go_on(&mut self, at: u32, kept: Kept) {
        let Some(replays) = self.replays.get(self.webhooks[at].replays) else { return self.follow(at, kept) };
        let goes = replays.is_due()
            && match kept {
                Kept::Backoff(wait) if wait.until > self.elapsed => !wait.head.is_patient,
                _ => replays.turn == Errand::Replay,
            };
        if goes {
            self.send_replay(at, kept);
        } else {
            self.follow(at, kept);
        }
    }

    /// The line in order goes on with what was kept of it.
    fn follow(&mut self, at: u32, kept: Kept) {
        match kept {
            Kept::Nothing => self.proceed(at),
            Kept::Look => self.look(at),
            Kept::Backoff(wait) => {
                let until = wait.until.max(self.patience(at));
                if until <= self.elapsed {
                    self.backoffs -= 1;
                    self.line_up(at, wait.head);
                } else if until == wait.until {
                    // Its alarm is set.
                    self.webhooks[at].state = State::Backoff(wait);
                } else {
                    self.backoffs -= 1;
                    self.wait_until(at, wait.head, until);
                }
            }
        }
    }

    /// Up to when the receiver wants to hear nothing of this subscription, for what it answered to a replay.
    pub(super) fn patience(&self, at: u32) -> u64 {
        self.replays.get(self.webhooks[at].replays).map_or(0, Replays::patience)
    }

    /// A replay that is due goes now, if its subscription has nothing under way.
    pub(super) fn slip_in(&mut self, at: u32) {
        let webhook = &self.webhooks[at];
        let Some(replays) = self.replays.get(webhook.replays).filter(|replays| replays.is_due()) else { return };
        let topic = webhook.topic;
        match webhook.state {
            State::Idle => {
                self.topics[topic].idle.remove(&mut self.webhooks, at);
                self.send_replay(at, Kept::Nothing);
            }
            // Otherwise the look is the first, lest replays keep the subscription from it for ever.
            State::Fetch if replays.turn == Errand::Replay => {
                let cursor = webhook.cursor;
                if let Some(list) = self.topics[topic].wants.get_mut(&cursor) {
                    list.remove(&mut self.webhooks, at);
                }
                self.send_replay(at, Kept::Look);
            }
            State::Backoff(wait) if !wait.head.is_patient => self.send_replay(at, Kept::Backoff(wait)),
            State::Fetch | State::Backoff(_) | State::Ready(_) | State::Flight(_) | State::Burial { .. } => {}
        }
    }

    /// The head of the replays may go, when its host's turn comes. The subscription stands in no list.
    fn send_replay(&mut self, at: u32, kept: Kept) {
        let index = self.webhooks[at].replays;
        let replays = &mut self.replays[index];
        replays.stage = Stage::Away { kept };
        let head = replays.head;
        self.line_up(at, head);
    }

    /// The time came for which the next attempt of a replay was noted.
    pub(super) fn replay_due(&mut self, at: u32, time: u64) {
        let Some(index) = self.webhooks.get(at).map(|webhook| webhook.replays) else { return };
        if index == NONE || !matches!(self.replays[index].stage, Stage::Backoff { until, .. } if until == time) {
            return;
        }
        self.backoffs -= 1;
        self.replays[index].stage = Stage::Due;
        self.slip_in(at);
    }

    /// What the line in order goes on with, now that the replay is back.
    fn kept(&self, at: u32) -> Kept {
        match self.replays.get(self.webhooks[at].replays).map(|replays| replays.stage) {
            Some(Stage::Away { kept }) => kept,
            _ => Kept::Nothing,
        }
    }

    /// The head of the replays arrived after all.
    pub(super) fn replayed(&mut self, at: u32, offset: Offset, out: &mut Vec<Action>) {
        out.push(Action::Replayed { webhook: self.webhooks[at].id, offset });
        let kept = self.kept(at);
        self.finish_replay(at);
        self.go_on(at, kept);
    }

    fn finish_replay(&mut self, at: u32) {
        let index = self.webhooks[at].replays;
        self.replays_waiting -= 1;
        if !self.replays[index].finish_head() {
            self.replays.remove(index);
            self.webhooks[at].replays = NONE;
        }
    }

    /// The head of the replays is tried again after a while.
    pub(super) fn put_off_replay(&mut self, at: u32, head: Head, until: u64, patience: u64) {
        let kept = self.kept(at);
        let index = self.webhooks[at].replays;
        let replays = &mut self.replays[index];
        replays.head = head;
        replays.stage = Stage::Backoff { until, patience };
        self.backoffs += 1;
        self.alarms.set(until, Alarm::Replay(at));
        self.go_on(at, kept);
    }

    /// The head of the replays is given up once more. The line in order does not wait for that record: it has one already.
    pub(super) fn give_up_replay(&mut self, at: u32, head: Head, last: Outcome, out: &mut Vec<Action>) {
        let kept = self.kept(at);
        let index = self.webhooks[at].replays;
        let replays = &mut self.replays[index];
        replays.head = head;
        replays.stage = Stage::Burial { last };
        self.bury_replay(at, out);
        self.go_on(at, kept);
    }

    /// Asks for the record that the head of the replays is given up.
    pub(super) fn bury_replay(&mut self, at: u32, out: &mut Vec<Action>) {
        let Some(webhook) = self.webhooks.get(at) else { return };
        let Some(&Replays { head, stage: Stage::Burial { last }, .. }) = self.replays.get(webhook.replays) else {
            return;
        };
        let topic = self.topics[webhook.topic].name.clone();
        self.burials_asked += 1;
        let Head { offset, failures: attempts, errand, .. } = head;
        out.push(Action::Bury { webhook: webhook.id, topic, offset, errand, attempts, last });
    }

    /// Whether a replay of that publication waits for its record.
    pub(super) fn mourns_replay(&self, at: u32, offset: Offset) -> bool {
        let replays = self.replays.get(self.webhooks[at].replays);
        replays.is_some_and(|one| matches!(one.stage, Stage::Burial { .. }) && one.head.offset == offset)
    }

    /// The record of the head of the replays is written.
    pub(super) fn replay_buried(&mut self, at: u32, offset: Offset, out: &mut Vec<Action>) {
        out.push(Action::ReplayEnded { webhook: self.webhooks[at].id, offset });
        self.finish_replay(at);
        self.slip_in(at);
    }
}
