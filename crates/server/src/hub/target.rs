//! Where the webhooks of subscriptions go: those that were used last are in memory, the others with the store.
//!
//! A hub may have a million subscriptions of which most wait. What one of them needs to be sent to is two hundred octets and
//! more, and is read when it is its turn.

use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::RandomState;
use stentor_model::WebhookId;
use stentor_store::{Claim, StoreError};
use stentor_websub::signature::Signer;

use super::desk::Desk;
use super::door::spelling;

/// Subscriptions whose targets are in memory: some sixteen megabytes of them.
const TARGETS_MAX: usize = 65_536;

/// Where the webhooks of one subscription go.
#[derive(Debug)]
pub(super) struct Target {
    /// As the subscriber wrote it.
    pub(super) callback: Arc<str>,
    /// Signs with the subscription's secret, if it has one.
    pub(super) signer: Option<Box<Signer>>,
    /// The right to move its cursor.
    pub(super) claim: Claim,
}

/// The targets that are in memory.
#[derive(Debug, Default)]
pub(super) struct Targets {
    known: HashMap<WebhookId, Rc<Target>, RandomState>,
    /// In the order in which they came. One that was removed may still stand here, and is passed over.
    order: VecDeque<WebhookId>,
    /// Those that are being read. One that is not here any more when it was read has to be read once more.
    reading: HashSet<WebhookId, RandomState>,
}

impl Targets {
    pub(super) fn get(&self, id: WebhookId) -> Option<Rc<Target>> {
        self.known.get(&id).cloned()
    }

    fn keep(&mut self, id: WebhookId, target: Rc<Target>) {
        if self.known.insert(id, target).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > TARGETS_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            self.known.remove(&oldest);
        }
    }

    /// Its terms have changed, or it is over.
    pub(super) fn forget(&mut self, id: WebhookId) {
        self.known.remove(&id);
        self.reading.remove(&id);
    }
}

impl Desk {
    /// The target of a subscription; none when it is gone.
    pub(super) async fn target(&self, id: WebhookId) -> Result<Option<Rc<Target>>, StoreError> {
        if let Some(target) = self.targets.borrow().get(id) {
            return Ok(Some(target));
        }
        // Apart, so that a webhook whose target is known does not carry the room for reading it.
        Box::pin(self.read_target(id)).await
    }

    async fn read_target(&self, id: WebhookId) -> Result<Option<Rc<Target>>, StoreError> {
        loop {
            self.targets.borrow_mut().reading.insert(id);
            let read = self.read_target_once(id).await;
            let is_current = self.targets.borrow_mut().reading.remove(&id);
            let target = match read {
                // Its terms have changed meanwhile.
                Ok(Some(_)) if !is_current => continue,
                Ok(Some(target)) => Rc::new(target),
                Ok(None) => return Ok(None),
                Err(error) => return Err(error),
            };
            self.targets.borrow_mut().keep(id, Rc::clone(&target));
            return Ok(Some(target));
        }
    }

    async fn read_target_once(&self, id: WebhookId) -> Result<Option<Target>, StoreError> {
        let Some(stored) = self.hub.store().get(id).await? else { return Ok(None) };
        let pair = spelling::pair(stored.topic.topic.as_str(), &stored.callback, &stored.extras);
        let Some(pair) = pair else { return Ok(None) };
        let claim = self.claim(id).await?;
        let algorithm = self.options.websub.signature_algorithm;
        let signer = stored.secret.map(|secret| Box::new(Signer::new(algorithm, &secret)));
        Ok(Some(Target { callback: pair.callback.url().into(), signer, claim }))
    }

    /// The right to move a cursor: the one that is in use, so that it stays in use, or a new one.
    pub(super) async fn claim(&self, id: WebhookId) -> Result<Claim, StoreError> {
        let known = self.targets.borrow().get(id);
        match known {
            Some(target) => Ok(target.claim.clone()),
            None => self.hub.store().claim(id).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stentor_store::memory::Memory;
    use stentor_store::{Cursors as _, Hub, HubTopic, Limits, NewSubscription, Subscriptions as _, Timestamp};

    #[test]
    fn the_oldest_go_first() {
        let store = Memory::new(Limits::default());
        let new = NewSubscription {
            topic: HubTopic { hub: Hub::parse("h").unwrap(), topic: stentor_model::Topic::parse("http://t/").unwrap() },
            callback: "http://s/".into(),
            secret: None,
            identity: None,
            extras: Vec::new(),
            created: Timestamp(0),
            verified: None,
            lease_end: Timestamp(1),
            after: stentor_model::Offset::START,
        };
        let id = store.put(new).wait().unwrap().id();
        let claim = store.claim(id).wait().unwrap();
        let mut targets = Targets::default();
        for number in 0..TARGETS_MAX as u64 + 10 {
            let target = Target { callback: "http://s/".into(), signer: None, claim: claim.clone() };
            targets.keep(WebhookId(number), Rc::new(target));
        }
        assert_eq!((targets.known.len(), targets.order.len()), (TARGETS_MAX, TARGETS_MAX));
        assert!(targets.get(WebhookId(9)).is_none() && targets.get(WebhookId(10)).is_some());
        targets.forget(WebhookId(10));
        assert!(targets.get(WebhookId(10)).is_none());
    }
}
