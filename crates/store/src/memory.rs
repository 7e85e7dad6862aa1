//! A store for as long as the process lives: for tests, for the simulation, and for whoever wants nothing kept.
//!
//! It keeps the same promises as the one on disk, with the end of the process in the place of the end of the disk.
//! [`Memory::crash`] is what a crash would be: cursors go back to the latest flush, and the handles of before are dead.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use stentor_model::{Epoch, Offset, WebhookId};

use crate::cursor::{self, Cursor};
use crate::follow::Follow;
use crate::subscription::clipped;
use crate::{
    Burial, Capabilities, Claim, Cursors, DEAD_MAX, DeadId, DeadPublication, DeadPublications, Draft, Entry, Freshness,
    Health, Hub, HubTopic, IDEMPOTENCY_WINDOW, IdempotencyKey, LastOutcome, Limit, Limits, Log, NewSubscription, Page,
    Pending, Pin, Placed, ReadLimit, Receipt, Recipient, Scope, Sequence, State, Status, Store, StoreError,
    Subscription, Subscriptions, Timestamp, Trimmed, retention,
};

/// The store. What it is asked is done when the call returns; every [`Pending`] is ready but that of
/// [`beyond`](Log::beyond).
#[derive(Debug)]
pub struct Memory {
    limits: Limits,
    cursors: cursor::Cursors,
    follow: Follow,
    /// `None` after it was closed or has crashed.
    kept: Mutex<Option<Kept>>,
}

/// What outlives a crash.
#[derive(Debug)]
struct Kept {
    epoch: Epoch,
    generation: u32,
    log: BTreeMap<u64, Arc<Entry>>,
    topics: HashMap<HubTopic, Topic, RandomState>,
    keys: HashMap<(Hub, Box<str>), Known>,
    log_bytes: u64,
    overdue: HashSet<u64>,
    subscriptions: BTreeMap<WebhookId, Subscription>,
    callbacks: HashMap<(HubTopic, Box<str>), WebhookId>,
    subscription_last: u64,
    dead: BTreeMap<DeadId, DeadPublication>,
    dead_last: u64,
    dead_forgotten: u64,
}

#[derive(Debug)]
struct Topic {
    number: u64,
    /// The offsets of its publications.
    places: VecDeque<Offset>,
    /// The number of the newest of them within the topic; those before it count down.
    last: u64,
    cut: Offset,
    bytes: u64,
}

#[derive(Debug)]
struct Known {
    at: Timestamp,
    fingerprint: u64,
    receipt: Receipt,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self::with_epoch(limits, Epoch(1))
    }

    /// An empty store whose log has this epoch.
    #[must_use]
    pub fn with_epoch(limits: Limits, epoch: Epoch) -> Self {
        let kept = Kept {
            epoch,
            generation: 1,
            log: BTreeMap::new(),
            topics: HashMap::default(),
            keys: HashMap::new(),
            log_bytes: 0,
            overdue: HashSet::new(),
            subscriptions: BTreeMap::new(),
            callbacks: HashMap::new(),
            subscription_last: 0,
            dead: BTreeMap::new(),
            dead_last: 0,
            dead_forgotten: 0,
        };
        Self::of(kept, limits)
    }

    /// The store as it would be found after a crash. This handle is dead afterwards: it answers
    /// [`StoreError::Closed`], and its claims are fenced off.
    #[must_use]
    pub fn crash(&self) -> Self {
        let kept = self.lock().take();
        self.follow.close();
        let mut kept = kept.expect("a store crashes once, and not after it was closed");
        kept.generation += 1;
        // What it had judged is judged anew.
        kept.overdue.clear();
        Self::of(kept, self.limits.clone())
    }

    /// The cursors and the end are read back from what was kept, as a store on disk does when it opens.
    fn of(kept: Kept, limits: Limits) -> Self {
        let cursors = cursor::Cursors::new(kept.generation);
        for (id, subscription) in &kept.subscriptions {
            let topic = kept.topics[&subscription.topic].number;
            let holds = subscription.state == State::Active;
            cursors.insert(*id, Cursor { topic, position: subscription.position, holds });
        }
        let follow = Follow::new(kept.end());
        Self { limits, cursors, follow, kept: Mutex::new(Some(kept)) }
    }

    /// A panic in one caller leaves nothing half done that the next could trip over: each change checks before it writes.
    fn lock(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the work under the lock, so that every answer is of one moment.
    fn with<T>(&self, work: impl FnOnce(&mut Kept) -> Result<T, StoreError>) -> Pending<T> {
        Pending::ready(self.lock().as_mut().ok_or(StoreError::Closed).and_then(work))
    }

    /// A subscription with what only the cursors know.
    fn current(&self, kept: &Subscription) -> Subscription {
        let mut subscription = kept.clone();
        if let Some((position, outcome)) = self.cursors.look(kept.id) {
            subscription.position = position;
            subscription.outcome = outcome.or(subscription.outcome);
        }
        subscription
    }
}

impl Kept {
    /// The newest publication of all is never cut, so the last key is the end.
    fn end(&self) -> Offset {
        self.log.last_key_value().map_or(Offset::START, |(offset, _)| Offset::new(*offset))
    }

    /// Topics are never forgotten: their numbers and their counts of publications must not begin anew.
    fn topic(&mut self, topic: &HubTopic) -> &mut Topic {
        let number = self.topics.len() as u64 + 1;
        let new = || Topic { number, places: VecDeque::new(), last: 0, cut: Offset::START, bytes: 0 };
        self.topics.entry(topic.clone()).or_insert_with(new)
    }

    /// The same checks in the same order as on disk: a repetition is answered before any limit is looked at.
    fn append(&mut self, draft: Draft, limits: &Limits) -> Result<Receipt, StoreError> {
        let name = draft.idempotency.as_ref().map(|key| (draft.topic.hub.clone(), Box::from(key.as_str())));
        if let Some(name) = &name
            && let Some(repeated) = self.keyed(name, draft.fingerprint(), draft.at)?
        {
            return Ok(repeated);
        }
        let (cost, end, log_bytes) = (draft.cost(), self.end(), self.log_bytes);
        let topic = self.topic(&draft.topic);
        let (number, topic_bytes) = (topic.number, topic.bytes);
        if log_bytes + cost > limits.log_bytes_max {
            return Err(StoreError::Full(Limit::LogBytes));
        } else if topic_bytes + cost > limits.topic_bytes_max {
            return Err(StoreError::Full(Limit::TopicBytes));
        } else if self.overdue.contains(&number) {
            return Err(StoreError::Full(Limit::BacklogAge));
        }
        let offset = Offset::new(end.get() + 1);
        let topic = self.topic(&draft.topic);
        topic.last += 1;
        let sequence = Sequence(topic.last);
        topic.places.push_back(offset);
        topic.bytes += cost;
        self.log_bytes += cost;
        let receipt = Receipt { publication: draft.publication, offset, sequence, freshness: Freshness::New };
        if let Some(name) = name {
            self.keys.insert(name, Known { at: draft.at, fingerprint: draft.fingerprint(), receipt });
        }
        let Draft { topic, publication, at, content, .. } = draft;
        self.log.insert(offset.get(), Arc::new(Entry { offset, sequence, topic, publication, at, content }));
        Ok(receipt)
    }

    fn keyed(&self, name: &(Hub, Box<str>), fingerprint: u64, now: Timestamp) -> Result<Option<Receipt>, StoreError> {
        let known = self.keys.get(name).filter(|known| now.since(known.at) < IDEMPOTENCY_WINDOW);
        match known {
            None => Ok(None),
            Some(known) if known.fingerprint != fingerprint => Err(StoreError::KeyReused),
            Some(known) => Ok(Some(Receipt { freshness: Freshness::Repeated, ..known.receipt })),
        }
    }

    /// As many as the limit lets in, and one at least; and whether it kept something back.
    fn page(&self, offsets: impl Iterator<Item = Offset>, limit: ReadLimit) -> (Vec<Entry>, bool) {
        let mut bytes = 0;
        let mut entries = Vec::new();
        for offset in offsets {
            let Some(entry) = self.log.get(&offset.get()) else { continue };
            bytes += entry.content.body.len() as u64;
            if entries.len() >= limit.entries || bytes > limit.bytes && !entries.is_empty() {
                return (entries, true);
            }
            entries.push(Entry::clone(entry));
        }
        (entries, false)
    }

    /// In one piece: nobody waits for a disk here.
    fn trim(&mut self, limit: Offset, slowest: &HashMap<u64, Offset>, limits: &Limits, now: Timestamp) -> Trimmed {
        let mut done = Trimmed::default();
        let kept = retention::kept(limits, self.log_bytes);
        self.overdue.clear();
        for topic in self.topics.values_mut() {
            let Some(newest) = topic.places.back() else { continue };
            let after = slowest.get(&topic.number).copied().unwrap_or(*newest);
            let passed = topic.places.partition_point(|offset| *offset <= after);
            let before = topic.last - topic.places.len() as u64;
            if let Some(offset) = topic.places.get(passed)
                && now.since(self.log[&offset.get()].at) > limits.backlog_age_max
            {
                self.overdue.insert(topic.number);
            }
            let passed = topic.places.partition_point(|offset| *offset <= after.min(limit));
            let up_to = retention::cut_up_to(Sequence(before + passed as u64), Sequence(topic.last), kept);
            while topic.last - (topic.places.len() as u64) < up_to.0 {
                let offset = topic.places.pop_front().expect("what is cut lies before the newest, which stays");
                let cost = self.log.remove(&offset.get()).map_or(0, |entry| entry.content.cost());
                (topic.cut, topic.bytes) = (offset, topic.bytes - cost);
                self.log_bytes -= cost;
                (done.publications, done.bytes) = (done.publications + 1, done.bytes + cost);
            }
        }
        self.keys.retain(|_, known| now.since(known.at) < IDEMPOTENCY_WINDOW);
        done.topics_overdue = self.overdue.len();
        done
    }

    /// Answers the cursor that has to be entered, which a renewal has already.
    fn put(&mut self, wanted: NewSubscription) -> (Placed, Option<Cursor>) {
        let topic = self.topic(&wanted.topic).number;
        let cursor = Cursor { topic, position: wanted.after.min(self.end()), holds: true };
        let name = (wanted.topic.clone(), wanted.callback.clone());
        let known = self.callbacks.get(&name).and_then(|id| self.subscriptions.get(id));
        let (placed, position, created, outcome) = match known {
            None => {
                self.subscription_last += 1;
                (Placed::New(WebhookId(self.subscription_last)), cursor.position, wanted.created, None)
            }
            Some(old) if old.state == State::Active => {
                (Placed::Renewed(old.id), old.position, old.created, old.outcome.clone())
            }
            Some(old) => (Placed::Revived(old.id), cursor.position, old.created, old.outcome.clone()),
        };
        let id = placed.id();
        let NewSubscription { topic, callback, secret, identity, extras, verified, lease_end, .. } = wanted;
        let state = State::Active;
        let subscription = Subscription {
            id,
            topic,
            callback,
            secret,
            identity,
            extras,
            created,
            verified,
            lease_end,
            state,
            outcome,
            position,
        };
        self.subscriptions.insert(id, subscription);
        self.callbacks.insert(name, id);
        (placed, (!matches!(placed, Placed::Renewed(_))).then_some(cursor))
    }

    /// The same publication for the same subscription is the same dead one.
    fn bury(&mut self, id: WebhookId, burial: Burial) -> Result<DeadId, StoreError> {
        let same = |dead: &&DeadPublication| dead.subscription == id && dead.burial.offset == burial.offset;
        if let Some(dead) = self.dead.values().find(same) {
            return Ok(dead.id);
        }
        let entry = self.log.get(&burial.offset.get()).ok_or(StoreError::Missing(burial.offset))?;
        let entry = Entry::clone(entry);
        self.dead_last += 1;
        let dead = DeadId(self.dead_last);
        let burial = Burial { reason: clipped(&burial.reason).into(), ..burial };
        self.dead.insert(dead, DeadPublication { id: dead, subscription: id, burial, entry });
        if self.dead.len() as u64 > DEAD_MAX {
            self.dead.pop_first();
            self.dead_forgotten += 1;
        }
        Ok(dead)
    }
}

impl Log for Memory {
    fn append(&self, draft: Draft) -> Pending<Receipt> {
        self.with(|kept| {
            draft.judge()?;
            let receipt = kept.append(draft, &self.limits)?;
            // Under the lock, so that the end is never before what can be read.
            self.follow.set(kept.end());
            Ok(receipt)
        })
    }

    fn keyed(&self, hub: &Hub, key: &IdempotencyKey, now: Timestamp) -> Pending<Option<Receipt>> {
        let name = (hub.clone(), Box::from(key.as_str()));
        self.with(|kept| key.likeness().map_or(Ok(None), |likeness| kept.keyed(&name, likeness, now)))
    }

    fn read(&self, topic: &HubTopic, after: Offset, limit: ReadLimit) -> Pending<Page> {
        self.with(|kept| {
            let mut page = Page { entries: Vec::new(), gap: None, has_more: false, epoch: kept.epoch };
            if let Some(topic) = kept.topics.get(topic) {
                let passed = topic.places.partition_point(|offset| *offset <= after);
                (page.entries, page.has_more) = kept.page(topic.places.range(passed..).copied(), limit);
                page.gap = (after < topic.cut).then_some(topic.cut);
            }
            Ok(page)
        })
    }

    fn tail(&self, after: Offset, limit: ReadLimit) -> Pending<Page> {
        self.with(|kept| {
            let behind = kept.log.range(after.get().saturating_add(1)..).map(|(offset, _)| Offset::new(*offset));
            let (entries, has_more) = kept.page(behind, limit);
            let before = std::iter::once(after).chain(entries.iter().map(|entry| entry.offset));
            let missing = before.zip(&entries).filter(|(before, entry)| entry.offset.get() > before.get() + 1);
            let gap = missing.map(|(_, entry)| Offset::new(entry.offset.get() - 1)).last();
            Ok(Page { entries, gap, has_more, epoch: kept.epoch })
        })
    }

    fn newest(&self, topic: &HubTopic) -> Pending<Option<Entry>> {
        self.with(|kept| {
            let newest = kept.topics.get(topic).and_then(|topic| topic.places.back());
            Ok(newest.and_then(|offset| kept.log.get(&offset.get())).map(|entry| Entry::clone(entry)))
        })
    }

    fn end(&self) -> Offset {
        self.follow.end()
    }

    fn pin(&self) -> Pin {
        self.follow.pin()
    }

    fn beyond(&self, after: Offset) -> Pending<Offset> {
        self.follow.beyond(after)
    }

    fn epoch(&self) -> Epoch {
        self.lock().as_ref().map_or(Epoch(0), |kept| kept.epoch)
    }

    fn trim(&self, now: Timestamp) -> Pending<Trimmed> {
        self.with(|kept| Ok(kept.trim(self.follow.cut_limit(), &self.cursors.slowest(), &self.limits, now)))
    }
}

impl Subscriptions for Memory {
    fn put(&self, wanted: NewSubscription) -> Pending<Placed> {
        self.with(|kept| {
            wanted.judge()?;
            let (placed, cursor) = kept.put(wanted);
            if let Some(cursor) = cursor {
                self.cursors.insert(placed.id(), cursor);
            }
            Ok(placed)
        })
    }

    fn set_state(&self, id: WebhookId, state: State) -> Pending<()> {
        self.with(|kept| {
            let subscription = kept.subscriptions.get_mut(&id).ok_or(StoreError::Unknown(id))?;
            self.cursors.set_holds(id, state == State::Active);
            subscription.state = match state {
                State::Active => State::Active,
                State::Denied { reason } => State::Denied { reason: clipped(&reason).into() },
                State::Gone { reason } => State::Gone { reason: clipped(&reason).into() },
            };
            Ok(())
        })
    }

    fn remove(&self, id: WebhookId) -> Pending<()> {
        self.with(|kept| {
            if let Some(gone) = kept.subscriptions.remove(&id) {
                kept.callbacks.remove(&(gone.topic, gone.callback));
            }
            self.cursors.remove(id);
            Ok(())
        })
    }

    fn get(&self, id: WebhookId) -> Pending<Option<Subscription>> {
        self.with(|kept| Ok(kept.subscriptions.get(&id).map(|found| self.current(found))))
    }

    fn find(&self, topic: &HubTopic, callback: &str) -> Pending<Option<Subscription>> {
        self.with(|kept| {
            let id = kept.callbacks.get(&(topic.clone(), callback.into()));
            Ok(id.and_then(|id| kept.subscriptions.get(id)).map(|found| self.current(found)))
        })
    }

    fn list(&self, scope: &Scope, after: WebhookId, entries: usize) -> Pending<Vec<Subscription>> {
        self.with(|kept| {
            let behind = kept.subscriptions.range(WebhookId(after.0.saturating_add(1))..).map(|(_, found)| found);
            let within = behind.filter(|found| scope.has(&found.topic)).take(entries);
            Ok(within.map(|found| self.current(found)).collect())
        })
    }

    fn recipients(&self, hub: &Hub, after: WebhookId, entries: usize) -> Pending<Vec<Recipient>> {
        self.with(|kept| {
            let behind = kept.subscriptions.range(WebhookId(after.0.saturating_add(1))..).map(|(_, found)| found);
            let active = behind.filter(|found| found.topic.hub == *hub && found.state == State::Active).take(entries);
            Ok(active.map(|found| self.current(found).into()).collect())
        })
    }
}

impl Cursors for Memory {
    fn claim(&self, id: WebhookId) -> Pending<Claim> {
        self.with(|_| self.cursors.claim(id))
    }

    fn advance(&self, claim: &Claim, to: Offset) -> Result<(), StoreError> {
        if self.follow.is_closed() {
            return Err(StoreError::Closed);
        }
        // Without the lock of the log: this is called for each delivery, and publishers wait for that one.
        self.cursors.advance(claim, to.min(self.end()))
    }

    fn note(&self, claim: &Claim, outcome: LastOutcome) -> Result<(), StoreError> {
        self.with(|_| self.cursors.note(claim, outcome)).wait()
    }

    fn flush(&self) -> Pending<usize> {
        self.with(|kept| {
            let unflushed = self.cursors.take_unflushed();
            let mut positions = Vec::new();
            for id in unflushed.moved {
                let Some(position) = self.cursors.position(id) else { continue };
                let Some(subscription) = kept.subscriptions.get_mut(&id) else { continue };
                subscription.position = position;
                positions.push((id, position));
            }
            for (id, outcome) in unflushed.outcomes {
                if let Some(subscription) = kept.subscriptions.get_mut(&id) {
                    let text = clipped(&outcome.text).into();
                    subscription.outcome = Some(LastOutcome { text, ..outcome });
                }
            }
            self.cursors.flushed(&positions);
            Ok(positions.len())
        })
    }
}

impl DeadPublications for Memory {
    fn bury(&self, claim: &Claim, burial: Burial) -> Pending<DeadId> {
        self.with(|kept| {
            self.cursors.judge(claim)?;
            kept.bury(claim.id(), burial)
        })
    }

    fn list_dead(&self, scope: &Scope, after: DeadId, entries: usize) -> Pending<Vec<DeadPublication>> {
        self.with(|kept| {
            let behind = kept.dead.range(DeadId(after.0.saturating_add(1))..).map(|(_, dead)| dead);
            Ok(behind.filter(|dead| scope.has(&dead.entry.topic)).take(entries).cloned().collect())
        })
    }

    fn dead(&self, id: DeadId) -> Pending<Option<DeadPublication>> {
        self.with(|kept| Ok(kept.dead.get(&id).cloned()))
    }

    fn forget_dead(&self, id: DeadId) -> Pending<()> {
        self.with(|kept| {
            kept.dead.remove(&id);
            Ok(())
        })
    }
}

impl Store for Memory {
    fn capabilities(&self) -> Capabilities {
        Capabilities { survives_process: false, shared: false }
    }

    fn status(&self) -> Status {
        let guard = self.lock();
        Status {
            health: self.health(),
            log_bytes: guard.as_ref().map_or(0, |kept| kept.log_bytes),
            end: self.follow.end(),
            subscriptions: self.cursors.len(),
            cursors_unflushed: self.cursors.unflushed(),
            dead_forgotten: guard.as_ref().map_or(0, |kept| kept.dead_forgotten),
            queue_entries: 0,
        }
    }

    fn health(&self) -> Health {
        Health::Well
    }

    fn close(&self) -> Pending<()> {
        let answer = if self.lock().take().is_some() { Ok(()) } else { Err(StoreError::Closed) };
        self.follow.close();
        Pending::ready(answer)
    }
}
