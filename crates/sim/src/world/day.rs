//! What happens to the node from outside: publishers, subscribers, operators, and the weather.

use std::num::NonZeroU32;

use stentor_delivery::Event;
use stentor_model::{Offset, WebhookId};

use super::{Happening, World, topic_name};
use crate::disk::Row;
use crate::receiver::Mood;
use crate::setup::Sabotage;

/// Leases of the time of rest, in seconds: nobody leaves then.
const LONG_LEASE: u64 = 30 * 24 * 3600;

impl World<'_> {
    pub(super) fn publish(&mut self) {
        let wait = self.dice.u64(0..=2 * self.setup.publish_every);
        self.after(wait, Happening::Publish);
        if self.is_calm || (self.disk.is_bad && self.dice.bool()) {
            return;
        }
        let count = if self.dice.u8(0..4) == 0 { self.dice.u64(1..8) } else { 1 };
        self.publish_some(count);
    }

    fn publish_some(&mut self, count: u64) {
        for _ in 0..count {
            let (topic, gap) = (self.dice.u64(0..self.setup.topics), self.dice.u64(1..4));
            let octets = if self.dice.u8(0..4) == 0 { self.dice.u64(400..1500) } else { self.dice.u64(0..100) };
            let offset = self.disk.append(topic, gap, octets);
            if self.dice.u8(0..100) == 0 {
                self.disk.holes.insert(offset);
            }
            self.say(|| format!("publish {offset} on {topic}"));
            self.announce(topic);
        }
    }

    /// Says, soon, that something was appended; sometimes a later announcement has to say it too.
    fn announce(&mut self, topic: u64) {
        self.untold.insert(topic);
        if self.sabotage == Sabotage::LostHint || (!self.is_calm && self.dice.u8(0..5) == 0) {
            return;
        }
        self.untold.remove(&topic);
        let wait = if self.dice.u8(0..10) == 0 { self.dice.u64(0..5000) } else { self.dice.u64(0..20) };
        let offset = Offset::new(self.disk.tail(topic));
        let event = Event::Appended { topic: topic_name(topic), offset };
        self.after(wait, Happening::Tell { life: self.life, event });
    }

    fn lease(&mut self) -> u64 {
        let seconds = if self.is_calm { LONG_LEASE } else { self.setup.lease_min + self.dice.u64(0..300) };
        self.unix() / 1000 + seconds
    }

    /// A subscription is written; the machine is not told yet.
    pub(super) fn write_row(&mut self) -> u64 {
        let webhook = self.homes.len() as u64 + 1;
        let (topic, host) = (self.dice.u64(0..self.setup.topics), self.dice.u64(0..self.setup.hosts));
        let attempts_max = if self.dice.bool() { 0 } else { self.dice.u32(1..6) };
        let (cursor, lease_end) = (self.disk.tail(topic), self.lease());
        self.disk.rows.insert(webhook, Row { topic, host, cursor, lease_end, attempts_max });
        self.homes.insert(webhook, (topic, host));
        webhook
    }

    pub(super) fn act(&mut self) -> Result<(), String> {
        let wait = self.dice.u64(0..=2 * self.setup.act_every);
        self.after(wait, Happening::Act);
        if self.is_calm || (self.disk.is_bad && self.dice.bool()) {
            return Ok(());
        }
        let known: Vec<u64> = self.disk.rows.keys().copied().collect();
        let chosen = (!known.is_empty()).then(|| known[self.dice.usize(0..known.len())]);
        let soon = self.dice.u64(0..300);
        match (self.dice.u8(0..8), chosen) {
            (0..3, Some(webhook)) => self.renew(webhook, soon),
            (3, Some(webhook)) => {
                self.disk.rows.remove(&webhook);
                self.say(|| format!("unsubscribe {webhook}"));
                let event = Event::Removed { webhook: WebhookId(webhook) };
                self.after(soon, Happening::Tell { life: self.life, event });
            }
            (4..6, _) => self.replay()?,
            (6, _) if self.setup.drains => self.tell(Event::Drain)?,
            _ => {
                let webhook = self.write_row();
                self.after(soon, Happening::TellRow { life: self.life, webhook });
            }
        }
        Ok(())
    }

    /// An operator wants something dead sent once more.
    pub(super) fn replay(&mut self) -> Result<(), String> {
        let dead: Vec<(u64, u64)> = self.disk.dead.keys().copied().collect();
        match dead.get(self.dice.usize(0..=dead.len())) {
            Some(&(webhook, offset)) => self.tell_replay(webhook, offset),
            None => Ok(()),
        }
    }

    fn tell_replay(&mut self, webhook: u64, offset: u64) -> Result<(), String> {
        let attempts = self.disk.dead.get(&(webhook, offset)).copied().unwrap_or_default();
        let (webhook, offset) = (WebhookId(webhook), Offset::new(offset));
        let attempts_max = match self.setup.refuses_replays {
            true => NonZeroU32::MAX,
            false => NonZeroU32::new(attempts).unwrap_or(NonZeroU32::MIN),
        };
        self.tell(Event::Replay { webhook, offset, attempts_max })
    }

    /// Everything dead is to be sent once more, and something is published while it is.
    pub(super) fn resume(&mut self) -> Result<(), String> {
        let dead: Vec<(u64, u64)> = self.disk.dead.keys().copied().collect();
        for (webhook, offset) in dead {
            self.tell_replay(webhook, offset)?;
        }
        let count = self.dice.u64(0..8);
        self.publish_some(count);
        Ok(())
    }

    fn renew(&mut self, webhook: u64, soon: u64) {
        let lease_end = self.lease();
        if let Some(row) = self.disk.rows.get_mut(&webhook) {
            row.lease_end = lease_end;
        }
        self.say(|| format!("renew {webhook} until {lease_end}"));
        self.after(soon, Happening::TellRow { life: self.life, webhook });
    }

    pub(super) fn fault(&mut self) {
        let wait = self.dice.u64(0..=2 * self.setup.fault_every);
        self.after(wait, Happening::Fault);
        if self.is_calm {
            return;
        }
        match self.dice.u8(0..4) {
            0 if self.setup.store_faults => self.disk.is_bad = !self.disk.is_bad,
            1 if self.setup.jumps => {
                let jump = self.dice.u64(0..1_000_000);
                let back = self.dice.bool();
                self.epoch = if back { self.epoch - jump } else { self.epoch + jump };
                self.say(|| format!("the calendar jumps by {jump}, back: {back}"));
            }
            _ => {
                let (host, mood) = (self.dice.usize(0..self.moods.len()), Mood::draw(&mut self.dice));
                self.moods[host] = mood;
                self.say(|| format!("host {host} is {mood:?}"));
            }
        }
    }

    /// The faults are over, and everybody who is still subscribed stays.
    pub(super) fn calm_down(&mut self) {
        self.is_calm = true;
        self.say(|| "calm".to_owned());
        // Often with a new start: then nothing is announced any more, and everything has to be found in the log.
        if self.setup.crash_one_in > 0 && self.engine.is_some() && self.dice.bool() {
            let count = self.dice.u64(0..20);
            self.publish_some(count);
            self.crash();
        }
        self.disk.is_bad = false;
        self.moods.fill(Mood::Healthy);
        self.setup.odd_percent = 0;
        self.lateness = 0;
        let known: Vec<u64> = self.disk.rows.keys().copied().collect();
        for webhook in known {
            self.renew(webhook, 0);
        }
        // Nobody publishes any more: what was said is not said again.
        for topic in self.untold.clone() {
            self.announce(topic);
        }
        for _ in 0..self.dice.u8(0..4) {
            let wait = self.dice.u64(0..30_000);
            self.after(wait, Happening::Resume);
        }
    }
}
