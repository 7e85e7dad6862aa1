//! The shell of the simulated node: what happens reaches the machine, what the machine says is carried out, and the node
//! dies and starts again.

use std::time::Duration;

use stentor_delivery::{
    Action, Attempt, EndReason, Engine, Enrolment, Errand, Event, FetchKey, Outcome, Reach, StateView,
};
use stentor_model::{Offset, WebhookId};

use super::{Happening, World, topic_name, topic_number};
use crate::disk::PAGE_OCTETS_MAX;
use crate::receiver::Fate;
use crate::setup::Sabotage;

impl World<'_> {
    pub(super) fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Publish => self.publish(),
            Happening::Act => self.act()?,
            Happening::Fault => self.fault(),
            Happening::Flush => {
                self.after(self.setup.flush_every, Happening::Flush);
                if !self.disk.is_bad {
                    self.disk.flush();
                }
            }
            Happening::Restart => self.restart()?,
            Happening::Resume => self.resume()?,
            Happening::Arrive { attempt, is_accepted } => {
                self.say(|| format!("{} receives {}, accepted: {is_accepted}", attempt.webhook, attempt.offset));
                self.ended.deliveries += u64::from(is_accepted);
                self.oracle.received(&attempt, is_accepted, &self.disk)?;
            }
            Happening::Read { life, key, topic, after, limit } if life == self.life => {
                self.read(key, topic, after, limit);
            }
            Happening::Tell { life, event } if life == self.life => self.tell(event)?,
            Happening::TellRow { life, webhook } if life == self.life => self.tell_row(webhook)?,
            Happening::Outcome { life, key, webhook, outcome, retry_after } if life == self.life => {
                self.oracle.attempted(key, webhook, outcome, retry_after, self.elapsed);
                self.tell(Event::Attempted { key, outcome, retry_after })?;
            }
            Happening::Record { life, webhook, offset, errand, attempts } if life == self.life => {
                let (id, place) = (WebhookId(webhook), Offset::new(offset));
                let event = if self.disk.is_bad && self.dice.bool() {
                    Event::BuryFailed { webhook: id, offset: place, errand }
                } else {
                    self.record(webhook, offset, attempts);
                    Event::Buried { webhook: id, offset: place, errand }
                };
                let wait = self.dice.u64(0..50);
                self.after(wait, Happening::Tell { life, event });
            }
            Happening::EndRow { life, webhook, reason } if life == self.life => self.end_row(webhook, reason)?,
            // Of a life that is over.
            _ => {}
        }
        Ok(())
    }

    fn record(&mut self, webhook: u64, offset: u64, attempts: u32) {
        let is_new = !self.disk.dead.contains_key(&(webhook, offset));
        if self.sabotage != Sabotage::UnwrittenRecord && is_new {
            self.disk.dead.insert((webhook, offset), attempts);
            self.oracle.recorded(webhook, offset);
            self.ended.dead += 1;
        }
    }

    /// The log is looked into now or when the answer leaves: an append may fall between.
    fn read(&mut self, key: FetchKey, topic: u64, after: u64, limit: usize) {
        let wait = if self.dice.u8(0..10) == 0 { self.dice.u64(0..2000) } else { self.dice.u64(0..10) };
        let waits = self.engine.as_ref().is_some_and(|engine| engine.gauges().replays > 0);
        let is_held = waits && self.sabotage == Sabotage::HeldByReplay;
        let event = if is_held || self.disk.is_bad && self.dice.bool() {
            Event::FetchFailed { key }
        } else {
            let (page, has_more) = self.disk.page(topic, after, limit);
            let is_short = page.len() < limit && self.disk.octets(page) < PAGE_OCTETS_MAX / 2;
            let is_tail = !has_more || self.sabotage == Sabotage::GuessedTail && is_short;
            let reach = if is_tail { Reach::Tail } else { Reach::More };
            Event::Fetched { key, offsets: page.iter().copied().map(Offset::new).collect(), reach }
        };
        self.after(wait, Happening::Tell { life: self.life, event });
    }

    /// Nothing in order waits longer than it has to, least of all for a replay.
    pub(super) fn check_backoffs(&self) -> Result<(), String> {
        let Some(engine) = self.engine.as_ref().filter(|_| self.sabotage == Sabotage::None) else { return Ok(()) };
        for (webhook, due_at) in self.oracle.in_order_due() {
            let state = engine.webhook(WebhookId(webhook)).map(|view| view.state);
            if let Some(StateView::Backoff { offset, at, .. }) = state
                && at > due_at
            {
                return Err(format!("{offset} waits until {at:?} for {webhook}, and was due at {due_at:?}"));
            }
        }
        Ok(())
    }

    /// The oracle hears what the machine is about to hear.
    pub(super) fn foresee(&mut self, event: &Event) {
        match event {
            Event::Removed { webhook } => self.oracle.removed(webhook.0),
            Event::Renewed { webhook, lease_end } => self.oracle.renewed(webhook.0, *lease_end),
            Event::Subscribed(enrolment) => {
                self.oracle.subscribed(enrolment.webhook.0, &self.disk, enrolment.cursor.get());
            }
            Event::Buried { webhook, offset, errand } => self.oracle.buried(webhook.0, offset.get(), *errand),
            Event::Replay { webhook, offset, attempts_max } => {
                self.oracle.replay_asked(webhook.0, offset.get(), attempts_max.get());
                self.replays.insert((webhook.0, offset.get()));
            }
            _ => {}
        }
    }

    /// Tells of a subscription what is written by now: as a renewal when it is known, otherwise as a new one.
    fn tell_row(&mut self, webhook: u64) -> Result<(), String> {
        let Some(row) = self.disk.rows.get(&webhook).cloned() else { return Ok(()) };
        let id = WebhookId(webhook);
        let is_known = self.engine.as_ref().is_some_and(|engine| engine.webhook(id).is_some());
        let tail = self.disk.tail(row.topic);
        if is_known && self.sabotage == Sabotage::RenewalLosesPlace {
            self.oracle.renewed(webhook, row.lease_end);
            return self.forget_place(webhook, &row, tail);
        }
        if is_known && self.dice.bool() {
            return self.tell(Event::Renewed { webhook: id, lease_end: row.lease_end });
        }
        // A renewal may come as a subscription; its cursor is then as good as none.
        let cursor = if is_known { tail } else { self.disk.cursor(webhook) };
        let tail = self.tells_tails.then_some(tail);
        let enrolment = self.enrolment(webhook, &row, cursor, tail);
        self.tell(Event::Subscribed(enrolment))
    }

    fn enrolment(&self, webhook: u64, row: &crate::disk::Row, cursor: u64, tail: Option<u64>) -> Enrolment {
        Enrolment {
            webhook: WebhookId(webhook),
            topic: topic_name(row.topic),
            host: format!("https://host-{}", row.host).into(),
            cursor: Offset::new(cursor),
            tail: tail.map(Offset::new),
            lease_end: row.lease_end,
            attempts_max: std::num::NonZeroU32::new(row.attempts_max),
        }
    }

    fn forget_place(&mut self, webhook: u64, row: &crate::disk::Row, tail: u64) -> Result<(), String> {
        let enrolment = self.enrolment(webhook, row, tail, Some(tail));
        let now = self.now();
        if let Some(engine) = &mut self.engine {
            engine.handle(Event::Removed { webhook: WebhookId(webhook) }, now, &mut Vec::new());
            engine.handle(Event::Subscribed(enrolment), now, &mut Vec::new());
        }
        Ok(())
    }

    pub(super) fn carry_out(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Fetch { key, topic, after, limit } => {
                let wait = self.dice.u64(0..10);
                let (topic, after) = (topic_number(&topic), after.get());
                self.after(wait, Happening::Read { life: self.life, key, topic, after, limit });
            }
            Action::Post(attempt) => {
                if self.sabotage == Sabotage::TwoInFlight {
                    self.post(attempt.clone())?;
                }
                self.post(attempt)?;
            }
            Action::Cancel { key, webhook } => {
                if self.dice.bool() {
                    let (life, webhook, outcome) = (self.life, webhook.0, Outcome::NotTried);
                    let wait = self.dice.u64(0..50);
                    self.after(wait, Happening::Outcome { life, key, webhook, outcome, retry_after: None });
                }
            }
            Action::Advance { webhook, offset } => {
                self.oracle.advanced(webhook.0, offset.get())?;
                self.disk.unflushed.insert(webhook.0, offset.get());
            }
            Action::Bury { webhook, offset, errand, attempts, .. } => {
                self.oracle.burial_asked(webhook.0, offset.get(), errand)?;
                let wait = self.dice.u64(0..300);
                let (webhook, offset) = (webhook.0, offset.get());
                self.after(wait, Happening::Record { life: self.life, webhook, offset, errand, attempts });
            }
            Action::Replayed { webhook, offset } => {
                self.oracle.replayed(webhook.0, offset.get())?;
                self.replays.remove(&(webhook.0, offset.get()));
                self.disk.dead.remove(&(webhook.0, offset.get()));
            }
            Action::ReplayEnded { webhook, offset } => {
                self.oracle.replay_ended(webhook.0, offset.get());
                if !self.replays.remove(&(webhook.0, offset.get())) {
                    return Err(format!("the replay of {offset} to {webhook} ends, which nobody asked for"));
                }
            }
            Action::End { webhook, reason } => self.end(webhook.0, reason)?,
            Action::Drained => {
                self.check_drained()?;
                if !self.disk.is_bad {
                    self.disk.flush();
                }
                self.crash();
            }
        }
        Ok(())
    }

    /// What is being recorded moves cursors, so a node that goes down in order waits for it.
    fn check_drained(&self) -> Result<(), String> {
        let is_record = |happening: &Happening| match happening {
            Happening::Record { life, .. } => *life == self.life,
            Happening::Tell { life, event } => {
                *life == self.life && matches!(event, Event::Buried { .. } | Event::BuryFailed { .. })
            }
            _ => false,
        };
        match self.queue.values().find(|happening| is_record(happening)) {
            Some(happening) => Err(format!("drained before {happening:?}")),
            None => Ok(()),
        }
    }

    fn post(&mut self, mut attempt: Attempt) -> Result<(), String> {
        let (webhook, key) = (attempt.webhook.0, attempt.key);
        let (topic, host) = self.homes.get(&webhook).copied().unwrap_or_default();
        if self.sabotage == Sabotage::Swap
            && let Some(&later) = self.disk.after(topic, attempt.offset.get()).first()
        {
            attempt.offset = Offset::new(later);
        }
        if self.sabotage == Sabotage::EagerCursor {
            self.disk.unflushed.insert(webhook, attempt.offset.get());
        }
        if topic_number(&attempt.topic) != topic {
            return Err(format!("{webhook} is sent {}, which is not its topic", attempt.topic));
        }
        self.oracle.posted(&attempt, &self.disk, self.elapsed, self.unix())?;
        let mood = self.moods[usize::try_from(host).expect("a handful of hosts")];
        let mut fate = Fate::draw(mood, self.setup.odd_percent, &mut self.dice);
        if attempt.errand == Errand::Replay && self.setup.refuses_replays {
            fate = fate.refused();
        }
        if self.disk.holes.contains(&attempt.offset.get()) {
            fate = Fate { arrives: None, outcome: Outcome::Missing, is_accepted: false, ..fate };
        }
        if let Some(wait) = fate.arrives {
            self.after(wait, Happening::Arrive { attempt, is_accepted: fate.is_accepted });
        }
        let retry_after = fate.retry_after.map(Duration::from_secs);
        let (life, outcome) = (self.life, fate.outcome);
        self.after(fate.ends, Happening::Outcome { life, key, webhook, outcome, retry_after });
        Ok(())
    }

    fn end(&mut self, webhook: u64, reason: EndReason) -> Result<(), String> {
        match reason {
            EndReason::LeaseEnded => self.oracle.lease_ended(webhook, self.unix())?,
            EndReason::Gone => self.oracle.gone(webhook)?,
        }
        self.oracle.removed(webhook);
        let wait = self.dice.u64(0..500);
        self.after(wait, Happening::EndRow { life: self.life, webhook, reason });
        Ok(())
    }

    /// The shell removes what the machine ended, unless a renewal was written meanwhile.
    fn end_row(&mut self, webhook: u64, reason: EndReason) -> Result<(), String> {
        let now = self.unix() / 1000;
        let is_renewed = self.disk.rows.get(&webhook).is_some_and(|row| row.lease_end > now);
        if is_renewed && reason == EndReason::LeaseEnded {
            return self.tell_row(webhook);
        }
        self.disk.rows.remove(&webhook);
        // A renewal on its way may have brought it back.
        self.tell(Event::Removed { webhook: WebhookId(webhook) })
    }

    /// The node dies. Of what was on its way to others or to the disk, some arrives.
    pub(super) fn crash(&mut self) {
        self.say(|| "the node dies".to_owned());
        self.ended.crashes += 1;
        self.engine = None;
        self.replays.clear();
        self.oracle.crashed();
        self.disk.crash();
        let queue = std::mem::take(&mut self.queue);
        for ((at, entry), happening) in queue {
            let is_through = self.dice.bool();
            match happening {
                Happening::Arrive { .. } if is_through => {
                    self.queue.insert((self.elapsed, entry), happening);
                }
                Happening::Record { webhook, offset, attempts, .. } if is_through => {
                    self.record(webhook, offset, attempts)
                }
                Happening::Publish
                | Happening::Act
                | Happening::Fault
                | Happening::Flush
                | Happening::Restart
                | Happening::Resume => {
                    self.queue.insert((at, entry), happening);
                }
                _ => {}
            }
        }
        let wait = self.dice.u64(1..5000);
        self.after(wait, Happening::Restart);
    }

    /// The node starts with other limits than those under which something died.
    fn change_options(&mut self) {
        for row in self.disk.rows.values_mut() {
            row.attempts_max = if self.dice.bool() { 0 } else { self.dice.u32(1..6) };
        }
    }

    /// The node starts and loads what is written.
    fn restart(&mut self) -> Result<(), String> {
        self.life += 1;
        let life = self.life;
        self.say(|| format!("the node starts its life {life}"));
        self.engine = Some(Engine::new(self.setup.options.clone(), self.dice.u64(..)));
        self.tells_tails = self.dice.bool();
        // The machine looks for itself.
        self.untold.clear();
        if self.dice.u8(0..4) == 0 {
            self.change_options();
        }
        let known: Vec<u64> = self.disk.rows.keys().copied().collect();
        for webhook in known {
            if self.life == life && self.engine.is_some() {
                self.tell_row(webhook)?;
            }
        }
        // An operator who waited for the start, while subscriptions still look into the log.
        if self.life == life && self.dice.u8(0..4) == 0 { self.replay() } else { Ok(()) }
    }
}
