//! Who writes subscriptions down: one change after the other, in the order in which they were decided.
//!
//! A renewal and the end of the lease it renews may be decided within the same second, and an unsubscription may follow a
//! subscription at once. Each change therefore waits until the one before is durable; only those of one kind in a row go to
//! the store together, so that they share its commits. Thousands of leases may end in the same second, and whoever comes behind
//! them waits.
//!
//! What is decided counts from then on, however long the line is: a new subscription begins at the place where the log ended
//! when it was confirmed, and one that is over is sent nothing more.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use stentor_delivery::{EndReason, Enrolment, Event};
use stentor_model::{Topic, WebhookId};
use stentor_store::{HubTopic, NewSubscription, Pending, Pin, Placed, Recipient, Store, StoreError, Timestamp};
use stentor_websub::address::{Address, Pair};
use stentor_websub::subscription::Subscription;
use tokio::sync::{Notify, oneshot};
use tracing::{info, warn};

use super::admin::AdminFault;
use super::desk::Desk;
use super::door::{Reply, spelling};

/// Changes that go to the store together.
const TOGETHER_MAX: usize = 256;

/// Wait before a change is tried again that the store did not take. The subscriber was told that it is so.
const STORE_PATIENCE: Duration = Duration::from_secs(1);

/// Attempts between two lines in the log: a minute.
const WARN_ATTEMPTS: u32 = 60;

/// The changes that wait. They are numbered from one in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Clerk {
    changes: RefCell<VecDeque<Change>>,
    work: Notify,
    /// The number of the last change that was taken to be written.
    taken: Cell<u64>,
    /// Those who are over, with the number of the change that says so.
    over: RefCell<VecDeque<(u64, Over)>>,
    over_came: Notify,
    /// The machine was told of those who are over, up to the change of this number.
    called_off: Cell<u64>,
}

#[derive(Debug)]
enum Change {
    /// A subscription is in force.
    Put(Box<Wanted>),
    /// It is over: unsubscribed or denied.
    Remove(Pair),
    /// It is over: removed by the operator.
    RemoveById { id: WebhookId, reply: Reply<()> },
    /// The delivery machine ended it.
    End { id: WebhookId, reason: EndReason },
    /// Somebody wants to know when everything before is written.
    Mark(oneshot::Sender<()>),
}

/// A subscription as it was confirmed.
#[derive(Debug)]
struct Wanted {
    subscription: NewSubscription,
    /// What was published since then waits for it.
    _pin: Pin,
}

/// A subscription that is over and not yet written down as such.
#[derive(Clone, Debug)]
enum Over {
    Pair(Pair),
    Id(WebhookId),
}

/// What is written at once.
#[derive(Debug)]
enum Together {
    Puts(Vec<Wanted>),
    Removals(Vec<Pair>),
    Ends(Vec<(WebhookId, EndReason)>),
    Removal { id: WebhookId, reply: Reply<()>, is_called_off: bool },
    Mark(oneshot::Sender<()>),
}

impl Clerk {
    /// The number that the change has.
    fn push(&self, change: Change) -> u64 {
        let mut changes = self.changes.borrow_mut();
        changes.push_back(change);
        self.work.notify_one();
        self.taken.get() + changes.len() as u64
    }

    fn push_over(&self, change: Change, over: Over) {
        let number = self.push(change);
        self.over.borrow_mut().push_back((number, over));
        self.over_came.notify_one();
    }

    pub(super) fn put(&self, subscription: NewSubscription, pin: Pin) {
        self.push(Change::Put(Box::new(Wanted { subscription, _pin: pin })));
    }

    pub(super) fn remove(&self, pair: Pair) {
        self.push_over(Change::Remove(pair.clone()), Over::Pair(pair));
    }

    pub(super) fn remove_by_id(&self, id: WebhookId, reply: Reply<()>) {
        self.push_over(Change::RemoveById { id, reply }, Over::Id(id));
    }

    pub(super) fn end(&self, id: WebhookId, reason: EndReason) {
        self.push(Change::End { id, reason });
    }

    /// Waits until everything that was decided is written.
    pub(super) async fn settled(&self) {
        let (sender, receiver) = oneshot::channel();
        self.push(Change::Mark(sender));
        // Dropped only with the whole desk.
        drop(receiver.await);
    }

    /// The head of the line: changes of one kind, each pair once.
    fn next(&self) -> Option<Together> {
        let mut together = match self.pop_if(|_| true)? {
            Change::Put(wanted) => Together::Puts(vec![*wanted]),
            Change::Remove(pair) => Together::Removals(vec![pair]),
            Change::End { id, reason } => Together::Ends(vec![(id, reason)]),
            Change::RemoveById { id, reply } => {
                let is_called_off = self.taken.get() <= self.called_off.get();
                return Some(Together::Removal { id, reply, is_called_off });
            }
            Change::Mark(reply) => return Some(Together::Mark(reply)),
        };
        while together.len() < TOGETHER_MAX {
            match (self.pop_if(|next| together.takes(next)), &mut together) {
                (Some(Change::Put(wanted)), Together::Puts(puts)) => puts.push(*wanted),
                (Some(Change::Remove(pair)), Together::Removals(pairs)) => pairs.push(pair),
                (Some(Change::End { id, reason }), Together::Ends(ends)) => ends.push((id, reason)),
                _ => break,
            }
        }
        Some(together)
    }

    fn pop_if(&self, is_wanted: impl Fn(&Change) -> bool) -> Option<Change> {
        let mut changes = self.changes.borrow_mut();
        if !changes.front().is_some_and(is_wanted) {
            return None;
        }
        self.taken.update(|taken| taken + 1);
        changes.pop_front()
    }

    /// The next who is over and has to wait to be written down.
    fn next_to_call_off(&self) -> Option<(u64, Over)> {
        let mut over = self.over.borrow_mut();
        while let Some((number, who)) = over.pop_front() {
            if self.waits(number) {
                self.called_off.set(number);
                return Some((number, who));
            }
        }
        None
    }

    fn waits(&self, number: u64) -> bool {
        number > self.taken.get()
    }

    /// A renewal that is not yet written saves a subscription from the end of its lease.
    fn is_about_to_renew(&self, topic: &Topic, callback: &str) -> bool {
        self.changes.borrow().iter().any(|change| {
            matches!(change, Change::Put(one) if one.subscription.topic.topic == *topic && *one.subscription.callback == *callback)
        })
    }

    /// The machine has dropped it already, and a change that waits decides what becomes of it. Until then nothing is sent:
    /// it ended while it was being written.
    fn is_about_to_end(&self, id: WebhookId, topic: &Topic, callback: &str) -> bool {
        let (changes, first) = (self.changes.borrow(), self.taken.get() + 1);
        (first..).zip(changes.iter()).any(|(number, change)| match change {
            Change::End { id: ended, .. } => *ended == id,
            Change::RemoveById { id: ended, .. } => *ended == id && number <= self.called_off.get(),
            Change::Remove(pair) => is_same(pair, topic, callback) && number <= self.called_off.get(),
            Change::Put(_) | Change::Mark(_) => false,
        })
    }
}

impl Together {
    fn len(&self) -> usize {
        match self {
            Self::Puts(puts) => puts.len(),
            Self::Removals(pairs) => pairs.len(),
            Self::Ends(ends) => ends.len(),
            Self::Removal { .. } | Self::Mark(_) => 1,
        }
    }

    /// Whether it may be written with the others.
    fn takes(&self, next: &Change) -> bool {
        match (self, next) {
            (Self::Puts(puts), Change::Put(next)) => puts.iter().all(|one| !is_same_place(one, next)),
            (Self::Removals(pairs), Change::Remove(next)) => pairs.iter().all(|one| one != next),
            (Self::Ends(ends), Change::End { id, .. }) => ends.iter().all(|(one, _)| one != id),
            _ => false,
        }
    }
}

fn is_same_place(one: &Wanted, other: &Wanted) -> bool {
    let (one, other) = (&one.subscription, &other.subscription);
    one.callback == other.callback && one.topic == other.topic
}

fn is_same(pair: &Pair, topic: &Topic, callback: &str) -> bool {
    pair.topic.topic() == topic && pair.callback.key() == callback
}

/// Writes changes, for ever.
pub(super) async fn work(desk: Rc<Desk>) {
    loop {
        match desk.clerk.next() {
            None => desk.clerk.work.notified().await,
            Some(Together::Puts(puts)) => put_all(&desk, puts).await,
            Some(Together::Removals(pairs)) => remove_all(&desk, &pairs).await,
            Some(Together::Ends(ends)) => end_all(&desk, &ends).await,
            Some(Together::Removal { id, reply, is_called_off }) => {
                drop(reply.send(remove_by_id(&desk, id, is_called_off).await));
            }
            Some(Together::Mark(reply)) => drop(reply.send(())),
        }
    }
}

async fn remove_all(desk: &Rc<Desk>, pairs: &[Pair]) {
    let found = patiently_all(desk, pairs, |pair| {
        desk.hub.store().find(&desk.of_store(pair.topic.topic()), pair.callback.key())
    });
    let ids: Vec<_> = found.await.into_iter().flatten().map(|found| found.id).collect();
    forget_all(desk, &ids).await;
}

async fn remove_by_id(desk: &Rc<Desk>, id: WebhookId, is_called_off: bool) -> Result<(), AdminFault> {
    let found = match is_called_off {
        // The machine has been told, so there is no way back.
        true => patiently(desk, || desk.hub.store().get(id)).await,
        false => desk.hub.store().get(id).await.map_err(AdminFault::Store)?,
    };
    let is_ours = found.is_some_and(|found| found.topic.hub == *desk.hub.name());
    if !is_ours {
        return Err(AdminFault::UnknownSubscription);
    }
    forget_all(desk, &[id]).await;
    Ok(())
}

fn send_no_more(desk: &Rc<Desk>, id: WebhookId) {
    desk.feed(Event::Removed { webhook: id });
    desk.forget_target(id);
}

/// The machine forgets them first, so that nothing more is sent.
async fn forget_all(desk: &Rc<Desk>, ids: &[WebhookId]) {
    ids.iter().for_each(|id| send_no_more(desk, *id));
    patiently_all(desk, ids, |id| desk.hub.store().remove(*id)).await;
}

async fn end_all(desk: &Rc<Desk>, ends: &[(WebhookId, EndReason)]) {
    let found = patiently_all(desk, ends, |(id, _)| desk.hub.store().get(*id)).await;
    let mut over = Vec::new();
    for (subscription, (id, reason)) in found.into_iter().zip(ends) {
        let Some(subscription) = subscription else { continue };
        let is_over = subscription.lease_end.0 <= desk.unix_millis();
        if *reason == EndReason::LeaseEnded && !is_over {
            enrol(desk, subscription).await;
            continue;
        }
        let (topic, callback) = (&subscription.topic.topic, &subscription.callback);
        // After an answer of 410 it begins anew instead, at the end of the log, as one that comes a little later would.
        if *reason == EndReason::LeaseEnded && desk.clerk.is_about_to_renew(topic, callback) {
            continue;
        }
        info!(hub = desk.name(), topic = topic.as_str(), webhook = %id, ?reason, "a subscription ended");
        over.push(*id);
    }
    // The machine ended them; a renewal that was being written at that moment may have brought one back.
    forget_all(desk, &over).await;
}

async fn put_all(desk: &Rc<Desk>, wanted: Vec<Wanted>) {
    let puts: Vec<_> = wanted.iter().map(|wanted| desk.hub.store().put(wanted.subscription.clone())).collect();
    for (put, Wanted { subscription: wanted, _pin }) in puts.into_iter().zip(wanted) {
        let placed = match put.await {
            Ok(placed) => placed,
            Err(error @ StoreError::TooLarge(_)) => {
                warn!(hub = desk.name(), %error, "a subscription cannot be stored");
                // What is stored stays in force, also when its end was put off for this renewal.
                let found = patiently(desk, || desk.hub.store().find(&wanted.topic, &wanted.callback)).await;
                bring_back(desk, found).await;
                continue;
            }
            Err(error) => {
                warn!(hub = desk.name(), %error, "a subscription waits for the store");
                patiently(desk, || desk.hub.store().put(wanted.clone())).await
            }
        };
        in_force(desk, placed, &wanted).await;
    }
}

/// A subscription was confirmed just now, and begins here.
pub(super) fn confirmed(desk: &Desk, subscription: &Subscription) {
    let topic = desk.of_store(subscription.pair.topic.topic());
    let (wanted, pin) = wanted(desk.hub.store(), topic, subscription, Timestamp(desk.unix_millis()));
    desk.clerk.put(wanted, pin);
}

/// As it is put. It begins where the log ends now, whenever that will be.
fn wanted(
    store: &dyn Store,
    topic: HubTopic,
    subscription: &Subscription,
    verified: Timestamp,
) -> (NewSubscription, Pin) {
    let pin = store.pin();
    let Subscription { pair, secret, lease, identity } = subscription;
    let millis = |at: Duration| Timestamp(u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
    let wanted = NewSubscription {
        topic,
        callback: pair.callback.key().into(),
        secret: secret.clone(),
        identity: identity.as_ref().map(|identity| identity.as_str().into()),
        extras: spelling::extras(pair),
        created: verified,
        verified: Some(verified),
        lease_end: millis(lease.start.saturating_add(Duration::from_secs(lease.seconds))),
        after: pin.offset(),
    };
    (wanted, pin)
}

async fn in_force(desk: &Rc<Desk>, placed: Placed, wanted: &NewSubscription) {
    let id = placed.id();
    desk.hub.tallies().verified.increment();
    // It is read anew, with the new secret and spelling.
    desk.targets.borrow_mut().forget(id);
    if matches!(placed, Placed::Renewed(_)) && desk.is_enrolled(id) {
        return desk.feed(Event::Renewed { webhook: id, lease_end: wanted.lease_end.0.div_ceil(1000) });
    }
    let found = patiently(desk, || desk.hub.store().get(id)).await;
    if let Some(found) = &found
        && desk.is_enrolled(id)
    {
        // It was taken in meanwhile, as it had been read before.
        return desk.feed(Event::Renewed { webhook: id, lease_end: found.lease_end.0.div_ceil(1000) });
    }
    bring_back(desk, found).await;
}

/// Takes a subscription of the store into the delivery machine, unless it is there or is about to end.
async fn bring_back(desk: &Rc<Desk>, found: Option<stentor_store::Subscription>) {
    if let Some(found) = found
        && !desk.is_enrolled(found.id)
        && !desk.clerk.is_about_to_end(found.id, &found.topic.topic, &found.callback)
    {
        enrol(desk, found).await;
    }
}

/// Takes a subscription of the store into the delivery machine.
pub(super) async fn enrol(desk: &Rc<Desk>, subscription: stentor_store::Subscription) {
    match desk.claim(subscription.id).await {
        Ok(claim) => enrol_at(desk, Recipient { position: claim.position(), ..subscription.into() }),
        Err(error) => warn!(hub = desk.name(), webhook = %subscription.id, %error, "a subscription cannot be claimed"),
    }
}

/// The same for one that nobody has moved since it was read.
pub(super) fn enrol_at(desk: &Rc<Desk>, recipient: Recipient) {
    let Recipient { id, topic, callback, extras, lease_end, position } = recipient;
    let Ok(origin) = Address::origin(spelling::callback(&callback, &extras)) else {
        return warn!(hub = desk.name(), webhook = %id, "a stored subscription has a callback that is no URL");
    };
    let enrolment = Enrolment {
        webhook: id,
        topic: topic.topic,
        host: origin.into(),
        cursor: position,
        tail: None,
        lease_end: lease_end.0.div_ceil(1000),
        attempts_max: desk.hub.delivery_retries(),
    };
    desk.feed(Event::Subscribed(enrolment));
}

/// Asks the store until it answers; a store that fails does so for reasons that pass or that need a human.
async fn patiently<T>(desk: &Rc<Desk>, ask: impl Fn() -> Pending<T>) -> T {
    let mut attempts = 0_u32;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) if attempts.is_multiple_of(WARN_ATTEMPTS) => {
                warn!(hub = desk.name(), %error, "changes of subscriptions wait for the store");
            }
            Err(_) => {}
        }
        attempts += 1;
        tokio::time::sleep(STORE_PATIENCE).await;
    }
}

/// The same for several questions that are asked together.
async fn patiently_all<Q, T>(desk: &Rc<Desk>, questions: &[Q], ask: impl Fn(&Q) -> Pending<T>) -> Vec<T> {
    let asked: Vec<_> = questions.iter().map(&ask).collect();
    let mut answers = Vec::with_capacity(asked.len());
    for (pending, question) in asked.into_iter().zip(questions) {
        answers.push(match pending.await {
            Ok(answer) => answer,
            Err(_) => patiently(desk, || ask(question)).await,
        });
    }
    answers
}

/// Tells the machine of those that are over and have to wait until they are written down, for ever: an unsubscription stops
/// at once, whatever stands before it in the line and whatever the disk says.
pub(super) async fn call_off(desk: Rc<Desk>) {
    loop {
        desk.clerk.over_came.notified().await;
        // Mostly there is no line, and nobody has to be looked for.
        tokio::task::yield_now().await;
        while let Some((number, over)) = desk.clerk.next_to_call_off() {
            let id = match over {
                Over::Id(id) => Some(id),
                Over::Pair(pair) => {
                    let topic = desk.of_store(pair.topic.topic());
                    // One that cannot be found now is found when it is its turn.
                    let found = desk.hub.store().find(&topic, pair.callback.key()).await;
                    // If its turn has come meanwhile, what was found may be a subscription that came behind it.
                    found.ok().flatten().filter(|_| desk.clerk.waits(number)).map(|found| found.id)
                }
            };
            // An operator may name one of another hub.
            if let Some(id) = id.filter(|id| desk.is_enrolled(*id)) {
                send_no_more(&desk, id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use stentor_model::PublicationId;
    use stentor_store::memory::Memory;
    use stentor_store::{Content, Draft, Hub, Limits, Log as _, ReadLimit, Subscriptions as _};
    use stentor_websub::lease::Lease;

    use super::*;

    const TOPIC: &str = "http://t/";

    fn pair(number: u32) -> Pair {
        spelling::pair(TOPIC, &format!("http://s/{number}"), &Vec::new()).unwrap()
    }

    fn topic() -> HubTopic {
        HubTopic { hub: Hub::parse("h").unwrap(), topic: Topic::parse(TOPIC).unwrap() }
    }

    fn subscription(number: u32) -> Subscription {
        let lease = Lease { start: Duration::ZERO, seconds: 60 };
        Subscription { pair: pair(number), secret: None, lease, identity: None }
    }

    fn append(store: &Memory, number: u64) {
        let content = Content { content_type: "text/plain".into(), extras: Vec::new(), body: "x".into() };
        let publication = PublicationId::new(number).unwrap();
        let draft = Draft { topic: topic(), publication, at: Timestamp(number), content, idempotency: None };
        store.append(draft).wait().unwrap();
    }

    fn put(clerk: &Clerk, store: &Memory, number: u32) {
        let (wanted, pin) = wanted(store, topic(), &subscription(number), Timestamp(1));
        clerk.put(wanted, pin);
    }

    fn keys(together: &Together) -> String {
        let name = |key: &str| key.rsplit('/').next().unwrap_or_default().to_owned();
        let list = |names: Vec<String>| names.join(" ");
        match together {
            Together::Puts(puts) => {
                format!("put {}", list(puts.iter().map(|one| name(&one.subscription.callback)).collect()))
            }
            Together::Removals(pairs) => {
                format!("remove {}", list(pairs.iter().map(|one| name(one.callback.key())).collect()))
            }
            Together::Ends(ends) => format!("end {}", list(ends.iter().map(|(id, _)| id.0.to_string()).collect())),
            Together::Removal { id, is_called_off, .. } => format!("remove id {} {is_called_off}", id.0),
            Together::Mark(_) => "mark".to_owned(),
        }
    }

    #[test]
    fn a_place_is_taken_when_it_is_decided_and_kept_until_it_is_written() {
        let store = Memory::new(Limits { history_entries: NonZeroU64::MIN, ..Limits::default() });
        let clerk = Clerk::default();
        append(&store, 1);
        put(&clerk, &store, 1);
        (2..=4).for_each(|number| append(&store, number));
        store.trim(Timestamp(5)).wait().unwrap();
        let Some(Together::Puts(puts)) = clerk.next() else { panic!("one waits") };
        let id = store.put(puts[0].subscription.clone()).wait().unwrap().id();
        drop(puts);
        store.trim(Timestamp(5)).wait().unwrap();
        let after = store.get(id).wait().unwrap().unwrap().position;
        let page = store.read(&topic(), after, ReadLimit::default()).wait().unwrap();
        assert_eq!((page.entries.len(), page.gap), (3, None));
    }

    #[test]
    fn changes_of_a_kind_go_together_and_none_passes_another() {
        let (store, clerk) = (Memory::new(Limits::default()), Clerk::default());
        for number in [1, 2, 1] {
            put(&clerk, &store, number);
        }
        [2, 3, 3].into_iter().for_each(|number| clerk.remove(pair(number)));
        [7, 8, 7].into_iter().for_each(|id| clerk.end(WebhookId(id), EndReason::LeaseEnded));
        clerk.remove_by_id(WebhookId(9), oneshot::channel().0);
        put(&clerk, &store, 4);
        let written: Vec<_> = std::iter::from_fn(|| clerk.next()).map(|one| keys(&one)).collect();
        assert_eq!(
            written,
            ["put 1 2", "put 1", "remove 2 3", "remove 3", "end 7 8", "end 7", "remove id 9 false", "put 4"]
        );
    }

    #[test]
    fn who_is_over_is_called_off_while_others_are_written_and_not_later() {
        let (store, clerk) = (Memory::new(Limits::default()), Clerk::default());
        let ends = |clerk: &Clerk, id| clerk.is_about_to_end(WebhookId(id), &topic().topic, pair(1).callback.key());
        clerk.end(WebhookId(5), EndReason::Gone);
        clerk.remove(pair(1));
        clerk.remove_by_id(WebhookId(6), oneshot::channel().0);
        clerk.remove(pair(2));
        put(&clerk, &store, 1);
        assert!(ends(&clerk, 5) && !ends(&clerk, 1) && !ends(&clerk, 6), "the machine knows nothing of the removals");

        let Some((number, Over::Pair(over))) = clerk.next_to_call_off() else { panic!("a pair is first") };
        assert!(over == pair(1) && clerk.waits(number) && ends(&clerk, 1));
        let Some((_, Over::Id(WebhookId(6)))) = clerk.next_to_call_off() else { panic!("an identifier is next") };
        assert!(ends(&clerk, 6));

        let written: Vec<_> = (0..4).map_while(|_| clerk.next()).map(|one| keys(&one)).collect();
        assert_eq!(written, ["end 5", "remove 1", "remove id 6 true", "remove 2"]);
        assert!(!clerk.waits(number) && clerk.next_to_call_off().is_none(), "it is written, or being written");
        assert!(!ends(&clerk, 1) && clerk.is_about_to_renew(&topic().topic, pair(1).callback.key()));
    }
}
