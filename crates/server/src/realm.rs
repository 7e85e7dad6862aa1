//! One realm as the shell holds it: the router behind a lock, and the fan-out of what it says.
//!
//! Publishing takes the lock shared, so publishers do not wait for each other; everything that changes the tables takes it
//! alone. Frames are put into outboxes while the lock is held and written after it is released. That is what makes
//! SUBSCRIBED come before the first event and nothing come after UNSUBSCRIBED, whatever the threads do.

mod bridge;
mod perform;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use bridge::{Crosser, Crossing, Rule, Terms};

use stentor_model::{PublicationId, RequestId, SessionId};
use stentor_wamp::codec::Serializer;
use stentor_wamp::identity::{Identity, Member};
use stentor_wamp::message::{ClientMessage, Payload};
use stentor_wamp::publish_options::PublishOptions;
use stentor_wamp::router::{Context, Refusal, Router, Settings};
use stentor_wamp::session::{Admission, Realms, RequestIds};
use stentor_wamp::uri::reason;
use stentor_wamp::value::{Dict, Value};
use tokio::sync::oneshot;

use crate::fanout::peer::Peer;
use crate::fanout::shard::Shard;
use crate::task;
use perform::{Aftermath, acknowledge, deliver};

/// One realm.
#[derive(Debug)]
pub struct Realm {
    /// Its name.
    pub name: String,
    router: RwLock<Router<Peer>>,
    /// The URIs whose publications go to a log first. Set once, before anybody publishes.
    crossings: OnceLock<Vec<Crossing>>,
    aftermath: Aftermath,
}

/// Which way a publication went.
#[derive(Debug)]
pub enum Way {
    /// It is with its receivers.
    Direct(Published),
    /// It is on its way to a log, and this tells when it is durable.
    Logged(oneshot::Receiver<Result<PublicationId, Refusal>>),
}

impl Way {
    /// Waits until it is where it belongs.
    ///
    /// # Errors
    /// When the log does not take it.
    pub async fn arrived(self) -> Result<Published, Refusal> {
        match self {
            Self::Direct(published) => Ok(published),
            Self::Logged(answer) => {
                let closed =
                    |_| Refusal::new(reason::UNAVAILABLE, "the node is going down, so this may not be published");
                let publication = answer.await.map_err(closed)??;
                // Who gets it is found out when it comes back from the log.
                Ok(Published { publication, receivers: 0 })
            }
        }
    }
}

/// What became of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its id.
    pub publication: PublicationId,
    /// The sessions that will get it.
    pub receivers: usize,
}

/// What a message took beyond being read, in octets of messages that would take as long. It counts towards the turn of its
/// connection: the words "search all that is retained" are short, and the search is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effort(pub usize);

/// The sender of a message broke the protocol; the sentence says how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl Realm {
    /// A realm without sessions.
    #[must_use]
    pub fn new(name: String, settings: Settings, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            name,
            router: RwLock::new(Router::new(settings, seed)),
            crossings: OnceLock::new(),
            aftermath: Aftermath::default(),
        })
    }

    /// Sends publications on some URIs to a log from now on. Works once.
    pub fn bridge(&self, crossings: Vec<Crossing>) {
        let set = self.crossings.set(crossings);
        debug_assert!(set.is_ok(), "a realm is bridged once, when it is made");
    }

    fn read(&self) -> RwLockReadGuard<'_, Router<Peer>> {
        // The router's tables are whole between any two of its statements that can panic; serving on is right.
        self.router.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Router<Peer>> {
        self.router.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts other permissions in force.
    pub fn reconfigure(&self, settings: Settings) {
        self.write().reconfigure(settings);
    }

    /// Refuses publications from now on. Whatever was accepted before is in the outboxes of all its receivers.
    pub fn drain(&self) {
        self.write().drain();
    }

    /// How many sessions are joined.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.read().session_count()
    }

    /// How many topics and patterns somebody is subscribed to.
    #[must_use]
    pub fn subscription_count(&self) -> usize {
        self.read().subscription_count()
    }

    fn crossing(&self, topic: &str) -> Option<&Crossing> {
        self.crossings.get()?.iter().find(|one| one.rule.matches(topic))
    }

    /// Whether publications on a topic go by way of a log.
    #[must_use]
    pub fn is_logged(&self, topic: &str) -> bool {
        self.crossing(topic).is_some()
    }

    /// Publishes, by way of a log where the URI is bridged to one.
    ///
    /// # Errors
    /// When the router refuses the topic, the role or the options.
    pub fn submit(
        &self,
        shard: &Shard,
        by: &Identity,
        topic: &str,
        options: &PublishOptions,
        payload: Payload<'_>,
        idempotency: Option<&str>,
    ) -> Result<Way, Refusal> {
        let Some(crossing) = self.crossing(topic) else {
            return self.publish(shard, by, topic, options, payload).map(Way::Direct);
        };
        let details = self.read().judge(by, topic, options)?;
        // Published past the log it would reach sessions and no webhook, and nobody would know.
        let unnamed = "this URI is bridged to a hub, and no URL of a topic can be made of it";
        let logged = crossing.rule.topic(topic).ok_or_else(|| Refusal::new(reason::INVALID_ARGUMENT, unnamed))?;
        if options.filter.as_ref().is_some_and(|filter| filter.is_selective()) {
            let sentence = "options eligible, eligible_authid and eligible_authrole cannot hold on this topic: its \
                            publications go to webhooks and streams too";
            return Err(Refusal::new(reason::INVALID_ARGUMENT, sentence));
        }
        let unwritable =
            |_| Refusal::new(reason::INVALID_ARGUMENT, "the payload cannot be written in JSON, as a log keeps it");
        let payload = payload.transcoded(Serializer::Json).map_err(unwritable)?;
        let terms = Terms {
            details,
            without: options.exclude_me.then_some(by.session),
            filter: options.filter.clone(),
            retain: options.retain,
        };
        let (reply, answer) = oneshot::channel();
        let crosser = Crosser {
            uri: topic.to_owned(),
            topic: logged,
            publication: shard.publication_id(),
            terms,
            payload,
            idempotency: idempotency.map(str::to_owned),
            reply,
        };
        let full =
            |_| Refusal::new(reason::UNAVAILABLE, "too many publications wait for the log of this topic; try again");
        crossing.queue.try_send(crosser).map_err(full)?;
        Ok(Way::Logged(answer))
    }

    /// Hands out a publication that was judged when it came. It is not counted here: whoever took it in knows whether that was done.
    pub fn distribute(
        &self,
        shard: &Shard,
        publication: PublicationId,
        topic: &str,
        terms: &Terms,
        payload: Payload<'_>,
    ) -> usize {
        let filter = terms.filter.as_deref();
        if terms.retain {
            let kept = self.write().retain_judged(topic, terms.details.clone(), filter, publication, &payload);
            if let Err(refusal) = kept {
                tracing::warn!(topic, reason = %refusal.message, "a logged event is not retained");
            }
        }
        let router = self.read();
        deliver(&router.distribute(publication, topic, &terms.details, terms.without, filter), payload, shard).0
    }

    /// Publishes something that has its name already, as [`distribute`](Self::distribute) does.
    ///
    /// # Errors
    /// As [`Realm::publish`].
    pub fn announce(
        &self,
        shard: &Shard,
        by: &Identity,
        topic: &str,
        publication: PublicationId,
        payload: Payload<'_>,
    ) -> Result<usize, Refusal> {
        let details = self.read().judge(by, topic, &PublishOptions::default())?;
        let terms = Terms { details, ..Terms::default() };
        Ok(self.distribute(shard, publication, topic, &terms, payload))
    }

    /// Publishes to everybody who listens.
    ///
    /// # Errors
    /// When the router refuses the topic, the role or the options.
    pub fn publish(
        &self,
        shard: &Shard,
        by: &Identity,
        topic: &str,
        options: &PublishOptions,
        payload: Payload<'_>,
    ) -> Result<Published, Refusal> {
        let publication = shard.publication_id();
        let (receivers, _) = if options.retain {
            let mut router = self.write();
            router.retain(by, topic, options, publication, &payload)?;
            deliver(&router.publish(by, topic, options, publication)?, payload, shard)
        } else {
            deliver(&self.read().publish(by, topic, options, publication)?, payload, shard)
        };
        shard.meters.publications.increment();
        Ok(Published { publication, receivers })
    }

    /// Lets a session in and welcomes it.
    pub fn join(self: &Arc<Self>, admission: Admission, peer: &Peer, shard: &Rc<Shard>) -> Arc<Identity> {
        let mut out = Vec::new();
        let mut router = self.write();
        let identity = router.join(admission, |_| peer.clone(), &mut out);
        shard.meters.sessions_joined.increment();
        // Nobody can break the protocol by joining.
        drop(self.perform(&mut router, out, shard));
        identity
    }

    /// Takes a session out, whatever it held.
    pub fn leave(self: &Arc<Self>, session: SessionId, shard: &Rc<Shard>) {
        let mut out = Vec::new();
        let mut router = self.write();
        router.leave(session, &mut out);
        drop(self.perform(&mut router, out, shard));
    }

    /// Takes what an established session asks for.
    ///
    /// # Errors
    /// When the message breaks the protocol.
    pub fn handle(
        self: &Arc<Self>,
        from: &Member<Peer>,
        message: ClientMessage<'_>,
        subscriptions_max: usize,
        shard: &Rc<Shard>,
    ) -> Result<Effort, Violation> {
        if let ClientMessage::Publish { request, options, topic, payload } = message {
            let before = shard.effort();
            self.handle_publish(from, request, &options, &topic, payload, shard);
            return Ok(Effort(shard.effort().wrapping_sub(before)));
        }
        let now = match &message {
            ClientMessage::Subscribe { .. } => shard.clock.display(),
            _ => String::new(),
        };
        let mut out = Vec::new();
        let mut router = self.write();
        router.handle(from.session, message, Context { now: &now, subscriptions_max }, &mut out);
        self.perform(&mut router, out, shard)
    }

    fn handle_publish(
        &self,
        from: &Member<Peer>,
        request: RequestId,
        options: &Dict,
        topic: &str,
        payload: Payload<'_>,
        shard: &Rc<Shard>,
    ) {
        let asked = options.get("acknowledge").and_then(Value::as_bool).unwrap_or(false);
        let outcome = PublishOptions::from_dict(options)
            .map_err(Refusal::from)
            .and_then(|options| self.submit(shard, &from.identity, topic, &options, payload, None));
        if !asked {
            return;
        }
        match outcome {
            Ok(Way::Direct(published)) => acknowledge(&from.peer, request, Ok(published), shard),
            Ok(way @ Way::Logged(_)) => {
                let (peer, shard_of_task) = (from.peer.clone(), Rc::clone(shard));
                task::spawn(shard, async move {
                    let outcome = way.arrived().await;
                    acknowledge(&peer, request, outcome, &shard_of_task);
                });
            }
            Err(refusal) => acknowledge(&from.peer, request, Err(refusal), shard),
        }
    }

    /// Calls a procedure for somebody who has not joined, and says what that took.
    pub fn call(
        self: &Arc<Self>,
        caller: &Member<Peer>,
        procedure: &str,
        payload: Payload<'_>,
        shard: &Rc<Shard>,
    ) -> Effort {
        let mut out = Vec::new();
        let mut router = self.write();
        router.call(caller, RequestId::FIRST, &Dict::new(), procedure, payload, &mut out);
        // Nor can a call that has no session.
        self.perform(&mut router, out, shard).unwrap_or_default()
    }

    /// Ends the call of somebody who has not joined.
    pub fn hang_up(self: &Arc<Self>, caller: SessionId, shard: &Rc<Shard>) {
        let mut out = Vec::new();
        let mut router = self.write();
        router.end_calls(caller, &[], &mut out);
        drop(self.perform(&mut router, out, shard));
    }
}

/// The realms that one transport leads to.
#[derive(Debug, Default)]
pub struct Directory(pub HashMap<String, Arc<Realm>>);

impl Directory {
    /// The realm of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Realm>> {
        self.0.get(name)
    }
}

impl Realms for Directory {
    fn request_ids(&self, realm: &str) -> Option<RequestIds> {
        self.get(realm).map(|realm| realm.read().request_ids())
    }

    fn has_role(&self, realm: &str, role: &str) -> bool {
        self.get(realm).is_some_and(|realm| realm.read().has_role(role))
    }
}
