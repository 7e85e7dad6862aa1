//! Carrying out what the delivery machine says: reads of the log, webhooks, cursors, records of what was given up.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use foldhash::fast::RandomState;
use stentor_delivery::{Action, Attempt, AttemptKey, Errand, Event, FetchKey, Outcome, Reach, SendFault, WaitFault};
use stentor_model::{Offset, Topic, WebhookId};
use stentor_store::{Burial, DeadPublication, Entry, LastOutcome, ReadLimit, StoreError, Timestamp};
use stentor_websub::headers::{self, Delivery};
use tracing::{debug, error, warn};

use super::cache::Prepared;
use super::desk::Desk;
use super::runner::{IDLE_MAX, Runner};
use super::target::Target;
use crate::courier::{Notice, Return};

/// What is on its way, and what was dead and goes out once more.
#[derive(Debug, Default)]
pub(super) struct Flights {
    posts: HashMap<AttemptKey, Rc<Runner<Attempt>>, RandomState>,
    idle: Vec<Rc<Runner<Attempt>>>,
    pub(super) replays: HashMap<(WebhookId, Offset), DeadPublication>,
}

/// Topics that are kept in mind as unreadable. A file with more of them shows it with these.
const UNREADABLE_MAX: usize = 1000;

/// Topics that cannot be read, because the file is damaged there.
#[derive(Default)]
pub(super) struct Unreadable(HashMap<Topic, LastOutcome, RandomState>);

impl Unreadable {
    fn note(&mut self, topic: Topic, at: Timestamp, error: &StoreError) {
        // Anything else passes, and is tried again.
        if let StoreError::Corrupt(_) = error
            && (self.0.len() < UNREADABLE_MAX || self.0.contains_key(&topic))
        {
            self.0.insert(topic, LastOutcome { at, status: None, text: unreadable(error).into() });
        }
    }

    /// Why nobody gets what is next on this topic.
    pub(super) fn why(&self, topic: &Topic) -> Option<&LastOutcome> {
        self.0.get(topic)
    }
}

fn unreadable(error: &StoreError) -> String {
    format!("nothing was sent: the store cannot be read here: {error}")
}

/// Tells the machine how an attempt ended when it is dropped: exactly once, whatever becomes of its runner.
struct Report {
    desk: Rc<Desk>,
    key: AttemptKey,
    outcome: Outcome,
    retry_after: Option<std::time::Duration>,
}

impl Report {
    fn conclude(&mut self, outcome: Outcome, retry_after: Option<std::time::Duration>) {
        (self.outcome, self.retry_after) = (outcome, retry_after);
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        // Absent when it was called off, and that was told already.
        let is_open = self.desk.flights.borrow_mut().posts.remove(&self.key).is_some();
        if is_open {
            let (key, outcome, retry_after) = (self.key, self.outcome, self.retry_after);
            self.desk.feed(Event::Attempted { key, outcome, retry_after });
        }
    }
}

impl Desk {
    pub(super) fn carry_out(self: &Rc<Self>, action: Action) {
        match action {
            Action::Fetch { key, topic, after, limit } => self.read(key, topic, after, limit),
            Action::Post(attempt) => self.post(attempt),
            Action::Cancel { key, .. } => {
                // Out of the table first: its report looks into it.
                let runner = self.flights.borrow_mut().posts.remove(&key);
                if let Some(runner) = runner {
                    runner.call_off();
                    self.feed(Event::Attempted { key, outcome: Outcome::NotTried, retry_after: None });
                }
            }
            Action::Advance { webhook, offset } => self.advance(webhook, offset),
            Action::Bury { webhook, topic, offset, errand, attempts, last } => {
                let reason = format!("given up after {attempts} attempts; the last: {}", sentence(last));
                self.bury(
                    webhook,
                    errand,
                    Burial { offset, at: Timestamp(self.unix_millis()), attempts, reason: reason.into() },
                );
                warn!(hub = self.name(), topic = topic.as_str(), %webhook, %offset, attempts, "a publication is given up");
            }
            Action::Replayed { webhook, offset } => {
                let replayed = self.flights.borrow_mut().replays.remove(&(webhook, offset));
                if let Some(dead) = replayed {
                    drop(self.hub.store().forget_dead(dead.id));
                }
            }
            Action::ReplayEnded { webhook, offset } => {
                self.flights.borrow_mut().replays.remove(&(webhook, offset));
            }
            Action::End { webhook, reason } => {
                self.forget_target(webhook);
                self.clerk.end(webhook, reason);
            }
            Action::Drained => self.drained.notify_one(),
        }
    }

    /// What is in memory already is told at once; the log is read for the rest.
    fn read(self: &Rc<Self>, key: FetchKey, topic: Topic, after: Offset, limit: usize) {
        let known = self.cache.borrow().behind(&topic, after, limit);
        if let Some(stretch) = known {
            let reach = if stretch.has_more { Reach::More } else { Reach::Tail };
            return self.feed(Event::Fetched { key, offsets: stretch.offsets, reach });
        }
        let page =
            self.hub.store().read(&self.of_store(&topic), after, ReadLimit { entries: limit, ..Default::default() });
        let desk = Rc::clone(self);
        self.spawn(async move {
            let page = match page.await {
                Ok(page) => page,
                Err(error) => {
                    warn!(hub = desk.name(), %error, "the log cannot be read");
                    desk.unreadable.borrow_mut().note(topic, Timestamp(desk.unix_millis()), &error);
                    return desk.feed(Event::FetchFailed { key });
                }
            };
            desk.unreadable.borrow_mut().0.remove(&topic);
            if let Some(gap) = page.gap {
                error!(hub = desk.name(), topic = topic.as_str(), %after, %gap, "the log was cut before a subscriber had it");
            }
            for entry in &page.entries {
                let prepared = Rc::new(desk.prepare(entry));
                desk.cache.borrow_mut().was_read(&topic, entry.offset, prepared);
            }
            let offsets: Vec<_> = page.entries.iter().map(|entry| entry.offset).collect();
            let reach = if page.has_more { Reach::More } else { Reach::Tail };
            desk.feed(Event::Fetched { key, offsets, reach });
        });
    }

    /// What is the same in all deliveries of a publication.
    pub(super) fn prepare(&self, entry: &Entry) -> Prepared {
        let topic = &entry.topic.topic;
        // The publication before it on the topic has the same.
        let known = self.cache.borrow().link(topic);
        let link = match &known {
            Some(link) => Cow::Borrowed(std::str::from_utf8(link).unwrap_or_default()),
            None => Cow::Owned(headers::link(&self.options.websub.hub_url, topic)),
        };
        let fields = headers::delivery(&Delivery {
            link: &link,
            content_type: &entry.content.content_type,
            publication: entry.publication,
            sequence: entry.sequence.0,
            epoch: self.hub.store().epoch(),
            offset: entry.offset,
            content_length: entry.content.body.len(),
        });
        let start = headers::LINK_START;
        Prepared { fields: fields.into(), link: start..start + link.len(), body: entry.content.body.clone() }
    }

    fn post(self: &Rc<Self>, attempt: Attempt) {
        let key = attempt.key;
        let idle = self.flights.borrow_mut().idle.pop();
        let runner = match idle {
            Some(runner) => {
                runner.give(attempt);
                runner
            }
            None => {
                let runner = Rc::new(Runner::new(attempt));
                tokio::task::spawn_local(Rc::clone(self).run(Rc::clone(&runner)));
                runner
            }
        };
        self.flights.borrow_mut().posts.insert(key, runner);
    }

    /// Sends one webhook after the other.
    async fn run(self: Rc<Self>, runner: Rc<Runner<Attempt>>) {
        loop {
            let attempt = runner.next().await;
            let desk = Rc::clone(&self);
            let mut report = Report { desk, key: attempt.key, outcome: Outcome::NotTried, retry_after: None };
            if let Some((outcome, retry_after)) = runner.unless_called_off(self.send(&attempt)).await {
                self.note(&attempt, outcome);
                report.conclude(outcome, retry_after);
            }
            // Before the machine hears of the end, so that it can be given what the machine says then.
            let goes_on = self.rests(&runner);
            drop(report);
            if !goes_on {
                return;
            }
        }
    }

    /// Whether this runner is wanted for what comes.
    fn rests(&self, runner: &Rc<Runner<Attempt>>) -> bool {
        runner.rest();
        let mut flights = self.flights.borrow_mut();
        let goes_on = flights.idle.len() < IDLE_MAX;
        if goes_on {
            flights.idle.push(Rc::clone(runner));
        }
        goes_on
    }

    async fn send(self: &Rc<Self>, attempt: &Attempt) -> (Outcome, Option<std::time::Duration>) {
        let known = match attempt.errand {
            Errand::InOrder => self.cache.borrow().get(&attempt.topic, attempt.offset),
            Errand::Replay => None,
        };
        let content = match known {
            Some(prepared) => Ok(Some(prepared)),
            // Apart, so that a webhook whose content is in memory does not carry the room for reading it.
            None => Box::pin(self.content(attempt)).await,
        };
        let prepared = match content {
            Ok(Some(prepared)) => prepared,
            Ok(None) => return (Outcome::Missing, None),
            Err(error) => {
                warn!(hub = self.name(), %error, "a publication cannot be read");
                if let StoreError::Corrupt(_) = error
                    && let Ok(Some(target)) = self.target(attempt.webhook).await
                {
                    self.keep(&target, None, unreadable(&error));
                }
                return (Outcome::NotTried, None);
            }
        };
        let target = match self.target(attempt.webhook).await {
            Ok(Some(target)) => target,
            // It is over, and the machine is about to hear of it.
            Ok(None) => return (Outcome::NotTried, None),
            Err(error) => {
                warn!(hub = self.name(), %error, "a subscription cannot be read");
                return (Outcome::NotTried, None);
            }
        };
        let notice = self.notice(attempt, &prepared, &target);
        match self.courier.notify(notice).await {
            Return::Answered(answer) => (Outcome::Answered(answer.status), answer.retry_after),
            Return::NotSent(fault) => (Outcome::NotSent(fault), None),
            Return::NoAnswer(fault) => (Outcome::NoAnswer(fault), None),
            // Only whole answers can be too long, and a delivery's is thrown away.
            Return::TooLong => (Outcome::NoAnswer(WaitFault::Malformed), None),
        }
    }

    async fn content(&self, attempt: &Attempt) -> Result<Option<Rc<Prepared>>, StoreError> {
        if attempt.errand == Errand::Replay {
            let flights = self.flights.borrow();
            let dead = flights.replays.get(&(attempt.webhook, attempt.offset));
            return Ok(dead.map(|dead| Rc::new(self.prepare(&dead.entry))));
        }
        let before = Offset::new(attempt.offset.get().saturating_sub(1));
        let limit = ReadLimit { entries: 1, ..Default::default() };
        let page = self.hub.store().read(&self.of_store(&attempt.topic), before, limit).await?;
        let entry = page.entries.into_iter().find(|entry| entry.offset == attempt.offset);
        Ok(entry.map(|entry| Rc::new(self.prepare(&entry))))
    }

    fn notice(&self, attempt: &Attempt, prepared: &Prepared, target: &Target) -> Notice {
        let signature = target.signer.as_ref().map(|signer| signer.sign(&prepared.body));
        Notice {
            url: std::sync::Arc::clone(&target.callback),
            shared_fields: prepared.fields.clone(),
            own_fields: headers::attempt(attempt.attempt, signature.as_deref()),
            body: prepared.body.clone(),
            timeout: self.options.delivery_timeout,
        }
    }

    /// Keeps for the operator how a delivery failed. What went well shows in the cursor.
    fn note(&self, attempt: &Attempt, outcome: Outcome) {
        let status = match outcome {
            Outcome::Answered(200..=299) | Outcome::NotTried => return,
            Outcome::Answered(status) => Some(status),
            _ => None,
        };
        let text = format!("attempt {} at offset {}: {}", attempt.attempt, attempt.offset, sentence(outcome));
        debug!(hub = self.name(), webhook = %attempt.webhook, "{text}");
        let target = self.targets.borrow().get(attempt.webhook);
        if let Some(target) = target {
            self.keep(&target, status, text);
        }
    }

    fn keep(&self, target: &Target, status: Option<u16>, text: String) {
        let noted = LastOutcome { at: Timestamp(self.unix_millis()), status, text: text.into() };
        if let Err(error) = self.hub.store().note(&target.claim, noted) {
            debug!(hub = self.name(), %error, "an outcome was not noted");
        }
    }

    fn advance(self: &Rc<Self>, webhook: WebhookId, offset: Offset) {
        let target = self.targets.borrow().get(webhook);
        match target {
            Some(target) => self.moved(webhook, self.hub.store().advance(&target.claim, offset)),
            // So many others were sent to meanwhile that it is no longer in memory.
            None => {
                let desk = Rc::clone(self);
                self.moves.update(|moves| moves + 1);
                self.spawn(async move {
                    let claim = desk.claim(webhook).await;
                    desk.moved(webhook, claim.and_then(|claim| desk.hub.store().advance(&claim, offset)));
                    desk.moves.update(|moves| moves - 1);
                    desk.move_ended.notify_one();
                });
            }
        }
    }

    /// Waits until every cursor that was to be moved has been.
    pub(super) async fn cursors_settled(&self) {
        while self.moves.get() > 0 {
            self.move_ended.notified().await;
        }
    }

    fn moved(&self, webhook: WebhookId, outcome: Result<(), StoreError>) {
        if let Err(error) = outcome {
            debug!(hub = self.name(), %webhook, %error, "a cursor was not moved");
        }
    }

    fn bury(self: &Rc<Self>, webhook: WebhookId, errand: Errand, burial: Burial) {
        let offset = burial.offset;
        let desk = Rc::clone(self);
        self.spawn(async move {
            let outcome = match desk.claim(webhook).await {
                Ok(claim) => desk.hub.store().bury(&claim, burial).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(_) => desk.feed(Event::Buried { webhook, offset, errand }),
                // Not in the log any more: there is nothing to record, and nothing that could ever be sent.
                Err(StoreError::Missing(_)) => desk.feed(Event::Buried { webhook, offset, errand }),
                Err(error) => {
                    warn!(hub = desk.name(), %webhook, %error, "what is given up cannot be recorded");
                    desk.feed(Event::BuryFailed { webhook, offset, errand });
                }
            }
        });
    }
}

/// How an attempt ended, for people.
pub(super) fn sentence(outcome: Outcome) -> String {
    let words = match outcome {
        Outcome::Answered(status) => return format!("the callback answered with status {status}"),
        Outcome::NotSent(SendFault::Dns) => "the callback's name has no address",
        Outcome::NotSent(SendFault::Address) => "the callback's address is not one that this hub talks to",
        Outcome::NotSent(SendFault::Connect) => "no connection to the callback",
        Outcome::NotSent(SendFault::Tls) => "no TLS with the callback: its certificate is not valid for it",
        Outcome::NoAnswer(WaitFault::Timeout) => "the callback did not answer in time",
        Outcome::NoAnswer(WaitFault::Reset) => "the connection ended before the callback answered",
        Outcome::NoAnswer(WaitFault::Malformed) => "the callback's answer is not HTTP",
        Outcome::NotTried => "it was not tried",
        Outcome::Missing => "the publication is no longer in the log",
    };
    words.to_owned()
}
