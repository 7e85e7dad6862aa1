//! Who writes subscriptions down: one change after the other, in the order in which they were decided.
//!
//! A renewal and the end of the lease it renews may be decided within the same second, and an unsubscription may follow a
//! subscription at once. Each change therefore waits until the one before is durable; only subscriptions in a row go to
//! the store together, so that they share its commits.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use stentor_delivery::{EndReason, Enrolment, Event};
use stentor_model::{Topic, WebhookId};
use stentor_store::{NewSubscription, Placed, Recipient, StoreError, Timestamp};
use stentor_websub::address::{Address, Pair};
use stentor_websub::subscription::Subscription;
use tokio::sync::{Notify, oneshot};
use tracing::{info, warn};

use super::admin::AdminFault;
use super::desk::Desk;
use super::door::{Reply, spelling};

/// Subscriptions that go to the store together.
const TOGETHER_MAX: usize = 256;

/// Wait before a change is tried again that the store did not take. The subscriber was told that it is so.
const STORE_PATIENCE: Duration = Duration::from_secs(1);

/// Attempts between two lines in the log: a minute.
const WARN_ATTEMPTS: u32 = 60;

/// The changes that wait.
#[derive(Debug, Default)]
pub(super) struct Clerk {
    changes: RefCell<VecDeque<Change>>,
    work: Notify,
}

#[derive(Debug)]
enum Change {
    /// A subscription is in force.
    Put(Box<Subscription>),
    /// It is over: unsubscribed or denied. The machine may have been told before it is written down.
    Remove { pair: Pair, is_called_off: bool },
    /// It is over: removed by the operator.
    RemoveById { id: WebhookId, reply: Reply<()>, is_called_off: bool },
    /// The delivery machine ended it.
    End { id: WebhookId, reason: EndReason },
    /// Somebody wants to know when everything before is written.
    Mark(oneshot::Sender<()>),
}

/// A subscription that is over and not yet written down as such.
enum Over {
    Pair(Pair),
    Id(WebhookId),
}

impl Clerk {
    fn push(&self, change: Change) {
        self.changes.borrow_mut().push_back(change);
        self.work.notify_one();
    }

    pub(super) fn put(&self, subscription: Subscription) {
        self.push(Change::Put(Box::new(subscription)));
    }

    pub(super) fn remove(&self, pair: Pair) {
        self.push(Change::Remove { pair, is_called_off: false });
    }

    pub(super) fn remove_by_id(&self, id: WebhookId, reply: Reply<()>) {
        self.push(Change::RemoveById { id, reply, is_called_off: false });
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

    /// The subscriptions at the head of the line, each pair once; nothing when another change comes first.
    fn subscriptions(&self) -> Vec<Subscription> {
        let mut changes = self.changes.borrow_mut();
        let mut together: Vec<Subscription> = Vec::new();
        while together.len() < TOGETHER_MAX {
            let is_next =
                matches!(changes.front(), Some(Change::Put(next)) if together.iter().all(|one| one.pair != next.pair));
            if !is_next {
                break;
            }
            let Some(Change::Put(next)) = changes.pop_front() else { break };
            together.push(*next);
        }
        together
    }

    fn next_to_call_off(&self) -> Option<Over> {
        let mut changes = self.changes.borrow_mut();
        changes.iter_mut().find_map(|change| match change {
            Change::Remove { pair, is_called_off } if !*is_called_off => {
                *is_called_off = true;
                Some(Over::Pair(pair.clone()))
            }
            Change::RemoveById { id, is_called_off, .. } if !*is_called_off => {
                *is_called_off = true;
                Some(Over::Id(*id))
            }
            _ => None,
        })
    }

    /// A renewal that is not yet written saves a subscription from the end of its lease.
    fn is_about_to_renew(&self, topic: &Topic, callback: &str) -> bool {
        let is_about_it = |change: &Change| matches!(change, Change::Put(one) if is_same(&one.pair, topic, callback));
        self.changes.borrow().iter().any(is_about_it)
    }

    /// The machine has dropped it already, and a change that waits decides what becomes of it. Until then nothing is sent:
    /// it ended while it was being written.
    fn is_about_to_end(&self, id: WebhookId, topic: &Topic, callback: &str) -> bool {
        self.changes.borrow().iter().any(|change| match change {
            Change::End { id: ended, .. } | Change::RemoveById { id: ended, is_called_off: true, .. } => *ended == id,
            Change::Remove { pair, is_called_off: true } => is_same(pair, topic, callback),
            _ => false,
        })
    }
}

fn is_same(pair: &Pair, topic: &Topic, callback: &str) -> bool {
    pair.topic.topic() == topic && pair.callback.key() == callback
}

/// Writes changes, for ever.
pub(super) async fn work(desk: Rc<Desk>) {
    loop {
        let together = desk.clerk.subscriptions();
        if !together.is_empty() {
            put_all(&desk, &together).await;
            continue;
        }
        let next = desk.clerk.changes.borrow_mut().pop_front();
        match next {
            None => desk.clerk.work.notified().await,
            Some(change) => write(&desk, change).await,
        }
    }
}

async fn write(desk: &Rc<Desk>, change: Change) {
    match change {
        Change::Put(_) => unreachable!("subscriptions are taken together"),
        Change::Remove { pair, .. } => {
            let topic = desk.of_store(pair.topic.topic());
            let found = patiently(desk, || desk.hub.store().find(&topic, pair.callback.key())).await;
            if let Some(subscription) = found {
                forget(desk, subscription.id).await;
            }
        }
        Change::RemoveById { id, reply, is_called_off } => {
            let found = match is_called_off {
                // The machine has been told, so there is no way back.
                true => Ok(patiently(desk, || desk.hub.store().get(id)).await),
                false => desk.hub.store().get(id).await,
            };
            let outcome = match found {
                Ok(Some(subscription)) if subscription.topic.hub == *desk.hub.name() => {
                    forget(desk, id).await;
                    Ok(())
                }
                Ok(_) => Err(AdminFault::UnknownSubscription),
                Err(error) => Err(AdminFault::Store(error)),
            };
            drop(reply.send(outcome));
        }
        Change::End { id, reason } => end(desk, id, reason).await,
        Change::Mark(reply) => drop(reply.send(())),
    }
}

fn send_no_more(desk: &Rc<Desk>, id: WebhookId) {
    desk.feed(Event::Removed { webhook: id });
    desk.forget_target(id);
}

/// The machine forgets it first, so that nothing more is sent.
async fn forget(desk: &Rc<Desk>, id: WebhookId) {
    send_no_more(desk, id);
    patiently(desk, || desk.hub.store().remove(id)).await;
}

async fn end(desk: &Rc<Desk>, id: WebhookId, reason: EndReason) {
    let Some(subscription) = patiently(desk, || desk.hub.store().get(id)).await else { return };
    let is_over = subscription.lease_end.0 <= desk.unix_millis();
    if reason == EndReason::LeaseEnded && !is_over {
        return enrol(desk, subscription).await;
    }
    // After an answer of 410 it begins anew instead, at the end of the log, as one that comes a little later would.
    if reason == EndReason::LeaseEnded
        && desk.clerk.is_about_to_renew(&subscription.topic.topic, &subscription.callback)
    {
        return;
    }
    info!(hub = desk.name(), topic = subscription.topic.topic.as_str(), webhook = %id, ?reason, "a subscription ended");
    // The machine ended it; a renewal that was being written at that moment may have brought it back.
    forget(desk, id).await;
}

async fn put_all(desk: &Rc<Desk>, subscriptions: &[Subscription]) {
    let wanted: Vec<_> = subscriptions.iter().map(|one| new_subscription(desk, one)).collect();
    let puts: Vec<_> = wanted.iter().map(|wanted| desk.hub.store().put(wanted.clone())).collect();
    for (put, wanted) in puts.into_iter().zip(wanted) {
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

fn new_subscription(desk: &Desk, subscription: &Subscription) -> NewSubscription {
    let Subscription { pair, secret, lease, identity } = subscription;
    let millis = |at: Duration| Timestamp(u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
    let verified = Timestamp(desk.unix_millis());
    NewSubscription {
        topic: desk.of_store(pair.topic.topic()),
        callback: pair.callback.key().into(),
        secret: secret.clone(),
        identity: identity.as_ref().map(|identity| identity.as_str().into()),
        extras: spelling::extras(pair),
        created: verified,
        verified: Some(verified),
        lease_end: millis(lease.start.saturating_add(Duration::from_secs(lease.seconds))),
        after: desk.hub.store().end(),
    }
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
async fn patiently<T>(desk: &Rc<Desk>, ask: impl Fn() -> stentor_store::Pending<T>) -> T {
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
        call_off(desk).await;
        tokio::time::sleep(STORE_PATIENCE).await;
    }
}

/// Tells the machine of those that are over and cannot be written down yet: an unsubscription stops at once, whatever the
/// disk says. No change is written meanwhile, so that what is found is what they are about.
async fn call_off(desk: &Rc<Desk>) {
    while let Some(over) = desk.clerk.next_to_call_off() {
        let id = match over {
            Over::Id(id) => Some(id),
            Over::Pair(pair) => {
                let topic = desk.of_store(pair.topic.topic());
                // One that cannot be found now is found when it is its turn.
                let found = desk.hub.store().find(&topic, pair.callback.key()).await;
                found.ok().flatten().map(|found| found.id)
            }
        };
        // An operator may name one of another hub.
        if let Some(id) = id.filter(|id| desk.is_enrolled(*id)) {
            send_no_more(desk, id);
        }
    }
}
