//! The broker: which sessions want which topics, and the last event of topics that keep one.
//!
//! It knows nothing of permissions or of how an event is written. A subscription is one (topic, match) pair whatever the
//! number of its subscribers, so its EVENT can be encoded once for all of them.

mod retained;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use retained::RetainedTopics;
pub use retained::{RETAINED_BYTES_MAX, RETAINED_TOPICS_MAX, Retained, RetentionFull};
use stentor_model::{PublicationId, SessionId, SubscriptionId};

use crate::codec::OwnedPayload;
use crate::identity::Member;
use crate::message::Payload;
use crate::pattern::PatternIndex;
use crate::publish_options::{Filter, Sieve};
use crate::uri::Match;
use crate::value::Dict;

/// One (topic, match) pair that somebody subscribed to.
#[derive(Debug)]
pub struct Subscription<P> {
    /// Its id, the same for every subscriber.
    pub id: SubscriptionId,
    /// The topic or pattern.
    pub uri: Arc<str>,
    /// How it matches.
    pub matching: Match,
    /// When the first subscriber came, as the shell displays time.
    pub created: Arc<str>,
    members: Vec<Member<P>>,
    places: HashMap<SessionId, usize>,
}

impl<P> Subscription<P> {
    /// The subscribers.
    #[must_use]
    pub fn members(&self) -> &[Member<P>] {
        &self.members
    }

    /// Whether that session is one of them.
    #[must_use]
    pub fn has(&self, session: SessionId) -> bool {
        self.places.contains_key(&session)
    }

    fn add(&mut self, member: Member<P>) -> Joined {
        if self.places.contains_key(&member.session) {
            return Joined::Already;
        }
        self.places.insert(member.session, self.members.len());
        self.members.push(member);
        if self.members.len() == 1 { Joined::First } else { Joined::Further }
    }

    fn remove(&mut self, session: SessionId) -> bool {
        let Some(place) = self.places.remove(&session) else { return false };
        self.members.swap_remove(place);
        if let Some(moved) = self.members.get(place) {
            self.places.insert(moved.session, place);
        }
        true
    }
}

/// What a SUBSCRIBE changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// The subscription is new.
    First,
    /// One more subscriber.
    Further,
    /// Nothing: the session had it.
    Already,
}

/// What an UNSUBSCRIBE changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Others remain.
    OthersRemain,
    /// The subscription is gone.
    Last,
    /// Nothing: the session did not have it.
    NotHeld,
}

/// The broker of one realm.
#[derive(Debug)]
pub struct Broker<P> {
    index: PatternIndex<Subscription<P>>,
    places: HashMap<SubscriptionId, (Match, Arc<str>)>,
    next: SubscriptionId,
    retained: RetainedTopics,
}

impl<P> Default for Broker<P> {
    fn default() -> Self {
        Self {
            index: PatternIndex::default(),
            places: HashMap::new(),
            next: SubscriptionId::FIRST,
            retained: RetainedTopics::default(),
        }
    }
}

impl<P: Clone> Broker<P> {
    /// Adds a subscriber.
    pub fn subscribe(&mut self, member: &Member<P>, uri: &str, matching: Match, now: &str) -> (SubscriptionId, Joined) {
        if let Some(subscription) = self.index.get_mut(matching, uri) {
            return (subscription.id, subscription.add(member.clone()));
        }
        let id = self.next;
        self.next = id.next();
        let uri: Arc<str> = uri.into();
        let mut subscription = Subscription {
            id,
            uri: Arc::clone(&uri),
            matching,
            created: now.into(),
            members: Vec::new(),
            places: HashMap::new(),
        };
        let joined = subscription.add(member.clone());
        self.index.insert(matching, &uri, subscription);
        self.places.insert(id, (matching, uri));
        (id, joined)
    }

    /// Takes a subscriber away.
    pub fn unsubscribe(&mut self, session: SessionId, id: SubscriptionId) -> Left {
        let Some((matching, uri)) = self.places.get(&id) else { return Left::NotHeld };
        let Some(subscription) = self.index.get_mut(*matching, uri) else { return Left::NotHeld };
        if !subscription.remove(session) {
            return Left::NotHeld;
        }
        if !subscription.members.is_empty() {
            return Left::OthersRemain;
        }
        self.index.remove(*matching, uri);
        self.places.remove(&id);
        Left::Last
    }

    /// Calls `found` for every subscription that `topic` belongs to.
    pub fn each_match<'a>(&'a self, topic: &str, found: &mut impl FnMut(&'a Subscription<P>)) {
        self.index.each_match(topic, &mut |_, subscription| found(subscription));
    }

    /// The subscription of an id.
    #[must_use]
    pub fn get(&self, id: SubscriptionId) -> Option<&Subscription<P>> {
        let (matching, uri) = self.places.get(&id)?;
        self.index.get(*matching, uri)
    }

    /// The subscription on exactly this pattern.
    #[must_use]
    pub fn lookup(&self, uri: &str, matching: Match) -> Option<&Subscription<P>> {
        self.index.get(matching, uri)
    }

    /// All subscriptions, in no order.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Subscription<P>> {
        self.index.values()
    }

    /// How many subscriptions there are.
    #[must_use]
    pub fn subscription_count(&self) -> usize {
        self.places.len()
    }

    /// Whether no subscription is left; retained events stay without subscribers.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty() && self.places.is_empty()
    }

    /// Keeps an event as the last one of its topic.
    ///
    /// # Errors
    /// When [`RETAINED_TOPICS_MAX`] or [`RETAINED_BYTES_MAX`] would be passed; nothing changes then.
    pub fn retain(&mut self, topic: &str, event: Retained) -> Result<(), RetentionFull> {
        self.retained.retain(topic, event)
    }

    /// Keeps nothing for a topic any more.
    pub fn forget(&mut self, topic: &str) {
        self.retained.forget(topic);
    }

    /// Calls `found` for the retained events of the topics that a subscription covers, until it breaks. Returns what that
    /// took, in octets of messages that would take as long.
    pub fn each_retained<'a>(
        &'a self,
        uri: &str,
        matching: Match,
        found: &mut impl FnMut(&'a str, &'a Retained) -> ControlFlow<()>,
    ) -> usize {
        self.retained.each_match(uri, matching, found)
    }
}

/// An event that the router itself publishes.
#[derive(Debug)]
pub struct OwnEvent {
    /// Its topic, below `wamp.`.
    pub topic: &'static str,
    /// Its payload.
    pub payload: OwnedPayload,
    /// The session that it is about and that does not receive it.
    pub about: Option<SessionId>,
}

/// What one publication means for one subscription.
#[derive(Debug)]
pub struct Matched<'r, P> {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// The details of its EVENT.
    pub details: Dict,
    /// Its subscribers.
    pub members: &'r [Member<P>],
}

/// A publication on its way to everybody who listens.
#[derive(Debug)]
pub struct Fanout<'r, P> {
    /// The publication.
    pub publication: PublicationId,
    /// The session that does not receive it.
    pub without: Option<SessionId>,
    /// Who else does not.
    pub filter: Option<Sieve<'r>>,
    /// The matching subscriptions.
    pub matched: Vec<Matched<'r, P>>,
}

impl<P> Fanout<'_, P> {
    /// The subscribers of one match that may receive the event.
    pub fn receivers<'a>(&'a self, matched: &'a Matched<'_, P>) -> impl Iterator<Item = &'a P> {
        matched
            .members
            .iter()
            .filter(|member| {
                Some(member.session) != self.without
                    && self.filter.as_ref().is_none_or(|filter| filter.admits(&member.identity))
            })
            .map(|member| &member.peer)
    }
}

/// Copies what is needed to keep an event.
#[must_use]
pub fn retained(publication: PublicationId, details: Dict, payload: &Payload<'_>, filter: Option<&Filter>) -> Retained {
    Retained {
        publication,
        details,
        payload: payload.to_owned(),
        filter: filter.map(|filter| Box::new(filter.clone())),
    }
}
