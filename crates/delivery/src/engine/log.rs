//! What to read of the log, and for whom.
//!
//! Everybody who needs the log after one place shares one read, and the live end of a topic is one place. An announcement
//! is only a hint: what is sent is what a read brought.

use stentor_model::{Offset, Topic};

use crate::engine::{Engine, Mode, Rest};
use crate::event::{Action, Errand, FetchKey, Reach};
use crate::list::List;
use crate::slab::NONE;
use crate::webhook::{Head, State};

/// A read of the log, from the wish to the answer.
#[derive(Debug)]
pub(super) struct Fetch {
    serial: u32,
    topic: u32,
    goal: Goal,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Goal {
    /// For all that stand at the live end.
    Live,
    /// For those with this cursor.
    After(Offset),
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Queued or resting.
    Waiting,
    /// On its way: from where, and what had been announced by then. The answer tells about at least that much.
    Asked { after: Offset, hint: Offset },
}

impl Engine {
    pub(super) fn appended(&mut self, topic: &Topic, offset: Offset) {
        if let Some(&at) = self.topic_by_name.get(topic) {
            self.announce(at, offset);
        }
    }

    /// There is something at `offset`.
    pub(super) fn announce(&mut self, topic: u32, offset: Offset) {
        if self.topics[topic].announced(offset) {
            self.rouse(topic);
        }
    }

    /// Sees to it that the live end is read when there may be something and somebody waits there.
    fn rouse(&mut self, topic: u32) {
        let entry = &self.topics[topic];
        if !entry.idle.is_empty() && entry.goes_on_after(entry.live) && entry.live_fetch == NONE {
            let fetch = self.queue_fetch(topic, Goal::Live);
            self.topics[topic].live_fetch = fetch;
        }
    }

    /// What comes next in order: a publication, a look into the log, or rest at the live end.
    pub(super) fn proceed(&mut self, at: u32) {
        let webhook = &self.webhooks[at];
        let topic = &self.topics[webhook.topic];
        if let Some(offset) = topic.next(webhook.cursor) {
            self.begin(at, offset);
        } else if topic.goes_on_after(webhook.cursor) {
            self.want(at);
        } else {
            self.idle(at);
        }
    }

    /// What lies behind the cursor is known, or looked for.
    pub(super) fn look(&mut self, at: u32) {
        let webhook = &self.webhooks[at];
        match self.topics[webhook.topic].next(webhook.cursor) {
            Some(offset) => self.begin(at, offset),
            None => self.want(at),
        }
    }

    /// This publication is the next one in order.
    fn begin(&mut self, at: u32, offset: Offset) {
        let head = Head::new(offset, Errand::InOrder);
        let patience = self.patience(at);
        if patience > self.elapsed {
            self.wait_until(at, head, patience);
        } else {
            self.line_up(at, head);
        }
    }

    /// There is nothing for this subscription up to the topic's `hint`.
    fn idle(&mut self, at: u32) {
        let topic = self.webhooks[at].topic;
        self.webhooks[at].state = State::Idle;
        let cursor = self.webhooks[at].cursor;
        let entry = &mut self.topics[topic];
        // Nothing lies between its cursor and the hint, and whatever lies before its cursor is done with.
        let known = cursor.max(entry.hint);
        if entry.live_fetch == NONE {
            // Nobody else stands here, or there was nothing new for them: `rouse` sees to that. After a start nothing was
            // announced yet, and reading from the hint would read the whole log of the topic again.
            entry.live = if entry.idle.is_empty() { known } else { known.min(entry.live.max(entry.hint)) };
        }
        entry.idle.push_back(&mut self.webhooks, at);
        self.rouse(topic);
        self.slip_in(at);
        self.tidy_topic(topic);
    }

    /// This subscription needs the log after its cursor.
    pub(super) fn want(&mut self, at: u32) {
        let webhook = &mut self.webhooks[at];
        webhook.state = State::Fetch;
        let (topic, cursor) = (webhook.topic, webhook.cursor);
        if !self.topics[topic].wants.contains_key(&cursor) {
            self.queue_fetch(topic, Goal::After(cursor));
        }
        self.topics[topic].wants.entry(cursor).or_default().push_back(&mut self.webhooks, at);
    }

    fn queue_fetch(&mut self, topic: u32, goal: Goal) -> u32 {
        let fetch = self.fetches.insert(Fetch { serial: 0, topic, goal, stage: Stage::Waiting });
        self.topics[topic].fetches += 1;
        self.fetch_queue.push_back(fetch);
        fetch
    }

    /// Sends the reads that wait, as many as may be on their way.
    pub(super) fn ask(&mut self, out: &mut Vec<Action>) {
        while self.mode == Mode::Open && self.fetches_asked < self.options.fetches_max {
            let Some(index) = self.fetch_queue.pop_front() else { return };
            let topic = self.fetches[index].topic;
            let entry = &self.topics[topic];
            let after = match self.fetches[index].goal {
                Goal::Live => (!entry.idle.is_empty()).then_some(entry.live),
                Goal::After(after) => entry.wants.get(&after).and_then(|list| (!list.is_empty()).then_some(after)),
            };
            let Some(after) = after else {
                self.finish_fetch(index);
                self.tidy_topic(topic);
                continue;
            };
            let (hint, name) = (entry.hint, entry.name.clone());
            let serial = self.next_serial();
            let fetch = &mut self.fetches[index];
            fetch.serial = serial;
            fetch.stage = Stage::Asked { after, hint };
            self.fetches_asked += 1;
            self.counters.fetches += 1;
            let limit = self.options.page_publications_max;
            out.push(Action::Fetch { key: FetchKey { index, serial }, topic: name, after, limit });
        }
    }

    /// Takes a read out of the tables; gives those who waited for it, when they had a list of their own.
    fn finish_fetch(&mut self, index: u32) -> Option<List> {
        let fetch = self.fetches.remove(index)?;
        let topic = &mut self.topics[fetch.topic];
        topic.fetches -= 1;
        match fetch.goal {
            Goal::Live => {
                topic.live_fetch = NONE;
                None
            }
            Goal::After(after) => topic.wants.remove(&after),
        }
    }

    /// The topic of a read that is on its way under that key, from where it reads, and what was announced before.
    fn asked(&self, key: FetchKey) -> Option<(u32, Offset, Offset)> {
        let fetch = self.fetches.get(key.index).filter(|fetch| fetch.serial == key.serial)?;
        match fetch.stage {
            Stage::Asked { after, hint } => Some((fetch.topic, after, hint)),
            Stage::Waiting => None,
        }
    }

    pub(super) fn fetched(&mut self, key: FetchKey, offsets: &[Offset], mut reach: Reach) {
        let Some((topic, after, asked_hint)) = self.asked(key) else { return };
        debug_assert!(offsets.first().is_none_or(|&first| first > after), "a read gives what lies after its place");
        debug_assert!(offsets.is_sorted_by(|a, b| a < b), "a read gives the order of the log");
        if offsets.last().copied().unwrap_or(after) < asked_hint {
            // What was announced before the store was asked is not there, so this is not the end, whatever is said: to take
            // it for one would pass over what was announced.
            if offsets.is_empty() {
                return self.fetch_failed(key);
            }
            reach = Reach::More;
        }
        self.fetches_asked -= 1;
        let list = self.finish_fetch(key.index);
        let (windows_max, offsets_max) = (self.options.windows_max, self.options.window_offsets_max);
        let entry = &mut self.topics[topic];
        entry.was_read(after, offsets, reach == Reach::More);
        entry.remember(after, offsets, windows_max, offsets_max);
        match list {
            None => self.serve_live(topic, offsets, reach, asked_hint),
            Some(list) => self.serve(topic, list, offsets, asked_hint),
        }
        self.rouse(topic);
        self.tidy_topic(topic);
    }

    /// Serves those at the live end. Somebody may have come after the read was asked for; who came knew of nothing up to
    /// a later hint, so the answer is as good for them.
    fn serve_live(&mut self, topic: u32, offsets: &[Offset], reach: Reach, asked_hint: Offset) {
        for _ in 0..self.topics[topic].idle.len() {
            let Some(at) = self.topics[topic].idle.pop_front(&mut self.webhooks) else { break };
            let cursor = self.webhooks[at].cursor;
            match offsets.get(offsets.partition_point(|&offset| offset <= cursor)) {
                Some(&offset) => self.begin(at, offset),
                None => self.topics[topic].idle.push_back(&mut self.webhooks, at),
            }
        }
        let seen = offsets.last().copied().unwrap_or(Offset::START).max(match reach {
            Reach::Tail => asked_hint,
            Reach::More => Offset::START,
        });
        let entry = &mut self.topics[topic];
        entry.live = entry.live.max(seen);
    }

    /// Serves those with one cursor.
    fn serve(&mut self, topic: u32, mut list: List, offsets: &[Offset], asked_hint: Offset) {
        while let Some(at) = list.pop_front(&mut self.webhooks) {
            match offsets.first() {
                Some(&offset) => self.begin(at, offset),
                // Something was announced while the store read: it may have looked too early.
                None if self.topics[topic].hint > asked_hint => self.want(at),
                None => self.idle(at),
            }
        }
    }

    pub(super) fn fetch_failed(&mut self, key: FetchKey) {
        if self.asked(key).is_some() {
            self.fetches_asked -= 1;
            self.counters.fetches_failed += 1;
            self.fetches[key.index].stage = Stage::Waiting;
            self.rest(Rest::Fetch(key.index));
        }
    }
}
