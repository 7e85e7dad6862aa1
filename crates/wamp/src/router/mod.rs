//! One realm: its sessions, broker and dealer, and the permissions between them.
//!
//! [`Router::handle`] takes what an established session asks for and says what is to be sent. Publishing stands apart as
//! [`Router::publish`], because it changes nothing and therefore runs on a shared reference: many publishers at a time.
//! The router never sees a socket, a serializer or a clock; `P` is whatever the shell reaches a session by.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use stentor_model::{InvocationId, PublicationId, RegistrationId, RequestId, SessionId, SubscriptionId};

pub use meta::Ended;

use crate::broker::{self, Broker, Fanout, Joined, Left, Matched, OwnEvent};
use crate::dealer::Dealer;
use crate::identity::{Identity, Member};
use crate::message::{ClientMessage, Payload, RequestKind, RouterMessage};
use crate::pattern::WILDCARD_COMPONENTS_MAX;
use crate::permission::{Deed, Grant, Permissions};
use crate::publish_options::{Filter, OptionFault, PublishOptions, flag};
use crate::session::{Admission, RequestIds};
use crate::uri::{self, Match, Rule, reason};
use crate::value::{Dict, Value};

mod holdings;
mod meta;
mod rpc;
#[cfg(test)]
mod tests;
mod welcome;

use holdings::Holdings;
use rpc::Reply;

/// Subscriptions of one session, unless the transport says otherwise.
pub const SUBSCRIPTIONS_PER_SESSION_MAX: usize = 10_000;

/// Registrations of one session.
pub const REGISTRATIONS_PER_SESSION_MAX: usize = 10_000;

/// What a realm is configured to be.
#[derive(Debug, Default)]
pub struct Settings {
    /// The permissions of each role. They are few, and a sorted table of few needs no hash.
    pub roles: BTreeMap<Box<str>, Permissions>,
    /// The rule for URIs.
    pub uri_rule: Rule,
    /// How request ids count.
    pub request_ids: RequestIds,
    /// Whether the procedures and events below `wamp.` are there.
    pub meta_api: MetaApi,
}

/// Whether a realm answers questions about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetaApi {
    /// It does.
    #[default]
    On,
    /// It does not.
    Off,
}

/// What the shell has to do, in this order.
#[derive(Debug)]
pub enum Action<'a, P> {
    /// Send a message.
    Send {
        /// To whom.
        to: P,
        /// What.
        message: RouterMessage<'a>,
    },
    /// Send an INVOCATION. When its payload has no equal in the callee's serializer, [`Router::undeliverable`] must be told.
    Invoke {
        /// The callee.
        to: Member<P>,
        /// The invocation.
        invocation: InvocationId,
        /// What.
        message: RouterMessage<'a>,
    },
    /// Send an ERROR with one sentence.
    Refuse {
        /// To whom.
        to: P,
        /// The kind of the refused request.
        kind: RequestKind,
        /// The refused request.
        request: RequestId,
        /// Why.
        refusal: Refusal,
    },
    /// Send a RESULT with one value.
    Result {
        /// To whom.
        to: P,
        /// The call.
        request: RequestId,
        /// The value.
        value: Value,
        /// What looking for it took, in octets of messages that would take as long.
        effort: usize,
    },
    /// Send retained events to one new subscriber; see [`Router::retained`].
    Retained {
        /// To whom.
        to: Member<P>,
        /// Its subscription.
        subscription: SubscriptionId,
    },
    /// Tell a caller that the callee left before it answered, if the caller is [still there](Router::is_joined).
    Orphaned {
        /// Whom.
        to: Member<P>,
        /// The call.
        request: RequestId,
    },
    /// Fan out an event of the router's own; see [`Router::own_event`].
    Publish(OwnEvent),
    /// Fan out that the subscriptions of a session have ended; see [`Router::next_ended`].
    Ended(Ended),
    /// Say GOODBYE to a session that is out of the realm already, and close it.
    Kill {
        /// Whom.
        to: P,
        /// The reason of the GOODBYE.
        reason: String,
    },
    /// The sender broke the protocol.
    Violation(String),
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The error URI.
    pub error: &'static str,
    /// One sentence.
    pub message: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with this error, for this reason.
    #[must_use]
    pub fn new(error: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { error, message: message.into() }
    }

    /// Nobody is left who could answer a call.
    #[must_use]
    pub const fn orphaned() -> Self {
        Self { error: reason::CANCELED, message: Cow::Borrowed("the callee left before it answered") }
    }

    /// The arguments of a call have no equal in the callee's serializer.
    #[must_use]
    pub const fn unencodable_arguments() -> Self {
        let message = Cow::Borrowed("the arguments have no equal in the callee's serializer");
        Self { error: reason::INVALID_ARGUMENT, message }
    }

    /// The answer to a call has no equal in the caller's serializer.
    #[must_use]
    pub const fn unencodable_answer() -> Self {
        let message = Cow::Borrowed("the callee's answer has no equal in the caller's serializer");
        Self { error: reason::RUNTIME_ERROR, message }
    }
}

impl From<OptionFault> for Refusal {
    fn from(fault: OptionFault) -> Self {
        Self::new(reason::INVALID_ARGUMENT, fault.to_string())
    }
}

#[derive(Debug)]
struct Attached<P> {
    member: Member<P>,
    subscriptions: Holdings<SubscriptionId>,
    registrations: Holdings<RegistrationId>,
}

/// One realm.
#[derive(Debug)]
pub struct Router<P> {
    settings: Settings,
    stage: Stage,
    sessions: HashMap<SessionId, Attached<P>>,
    broker: Broker<P>,
    dealer: Dealer<P>,
    rng: fastrand::Rng,
}

/// Where a realm is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    Draining,
}

/// What [`Router::handle`] is told beside the message.
#[derive(Clone, Copy, Debug)]
pub struct Context<'c> {
    /// The time as the meta API displays it.
    pub now: &'c str,
    /// Subscriptions that the session may hold.
    pub subscriptions_max: usize,
}

impl<P: Clone> Router<P> {
    /// A realm without sessions; `seed` feeds its random identifiers.
    #[must_use]
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings,
            stage: Stage::Open,
            sessions: HashMap::new(),
            broker: Broker::default(),
            dealer: Dealer::default(),
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// How request ids count.
    #[must_use]
    pub const fn request_ids(&self) -> RequestIds {
        self.settings.request_ids
    }

    /// Whether the realm has that role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.settings.roles.contains_key(role)
    }

    /// Puts other permissions in force, from the next request on. Sessions stay.
    pub fn reconfigure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Accepts no publication any more: while sessions leave one after the other, an accepted one would reach only those
    /// who are still there. What was accepted before has its receivers already.
    pub fn drain(&mut self) {
        self.stage = Stage::Draining;
    }

    /// Whether this session is joined.
    #[must_use]
    pub fn is_joined(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// How many sessions are joined.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// How many topics and patterns somebody is subscribed to.
    #[must_use]
    pub fn subscription_count(&self) -> usize {
        self.broker.subscription_count()
    }

    /// Whether no table holds anything of any session.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.broker.is_empty() && self.dealer.is_empty()
    }

    /// Lets a session in: its identity and the details of its WELCOME.
    pub fn join<'a>(
        &mut self,
        admission: Admission,
        make_peer: impl FnOnce(&Arc<Identity>) -> P,
        out: &mut Vec<Action<'a, P>>,
    ) -> Arc<Identity> {
        let session = loop {
            let candidate = SessionId::from_random(self.rng.u64(..));
            if !self.sessions.contains_key(&candidate) {
                break candidate;
            }
        };
        let identity = Arc::new(Identity {
            session,
            authid: admission.authid.unwrap_or_else(|| self.random_name()),
            authrole: admission.authrole,
            authmethod: admission.authmethod,
            authprovider: if admission.authmethod == "anonymous" { "anonymous" } else { "static" },
            features: admission.features,
        });
        let peer = make_peer(&identity);
        let member = Member { session, identity: Arc::clone(&identity), peer: peer.clone() };
        let details = self.welcome(&admission.realm, &identity);
        out.push(Action::Send { to: peer, message: RouterMessage::Welcome { session, details } });
        self.sessions.insert(
            session,
            Attached { member, subscriptions: Holdings::default(), registrations: Holdings::default() },
        );
        self.tell_joined(&identity, out);
        identity
    }

    fn random_name(&mut self) -> Box<str> {
        (0..20).map(|_| self.rng.alphanumeric()).collect::<String>().into()
    }

    /// Takes a session out, whatever it held.
    pub fn leave<'a>(&mut self, session: SessionId, out: &mut Vec<Action<'a, P>>) {
        let Some(gone) = self.sessions.remove(&session) else { return };
        let ended = gone.subscriptions.ids().iter().filter_map(|&id| Some((id, self.end_subscription(session, id)?)));
        let ended = Ended { session, subscriptions: ended.collect() };
        if !ended.subscriptions.is_empty() && self.hears_endings() {
            out.push(Action::Ended(ended));
        }
        self.end_calls(session, gone.registrations.ids(), out);
        self.tell_left(&gone.member.identity, out);
    }

    /// Takes what an established session asks for, except PUBLISH.
    pub fn handle<'a>(
        &mut self,
        from: SessionId,
        message: ClientMessage<'a>,
        context: Context<'_>,
        out: &mut Vec<Action<'a, P>>,
    ) {
        let Some(attached) = self.sessions.get(&from) else { return };
        let member = attached.member.clone();
        match message {
            ClientMessage::Subscribe { request, options, topic } => {
                self.subscribe(&member, request, &options, &topic, context, out);
            }
            ClientMessage::Unsubscribe { request, subscription } => {
                self.unsubscribe(&member, request, subscription, out);
            }
            ClientMessage::Register { request, options, procedure } => {
                self.register(&member, request, &options, &procedure, out);
            }
            ClientMessage::Unregister { request, registration } => {
                self.unregister(&member, request, registration, out);
            }
            ClientMessage::Call { request, .. } if self.dealer.callee_of(from, request).is_some() => {
                // Only realms that let request ids repeat come here. Two answers under one id could not be told apart.
                out.push(Action::Violation(format!("CALL.Request {request} is that of a call under way")));
            }
            ClientMessage::Call { request, options, procedure, payload } => {
                self.call(&member, request, &options, &procedure, payload, out);
            }
            ClientMessage::Cancel { request, options } => self.cancel(&member, request, &options, out),
            ClientMessage::Yield { invocation, options, payload } => {
                self.answer(from, invocation, Reply::Yield(&options), payload, out);
            }
            ClientMessage::Error { invocation, details, error, payload } => {
                self.answer(from, invocation, Reply::Error(details, error), payload, out);
            }
            ClientMessage::Publish { .. }
            | ClientMessage::Hello { .. }
            | ClientMessage::Abort { .. }
            | ClientMessage::Authenticate { .. }
            | ClientMessage::Goodbye { .. } => {
                out.push(Action::Violation("this message does not belong to an established session".to_owned()));
            }
        }
    }

    fn authorize(&self, who: &Identity, deed: Deed, uri: &str) -> Result<Grant, Refusal> {
        self.settings.roles.get(&who.authrole).and_then(|role| role.check(deed, uri)).ok_or_else(|| {
            Refusal::new(reason::NOT_AUTHORIZED, format!("session not authorized to {} '{uri}'", deed.phrase()))
        })
    }

    fn well_formed(&self, what: &str, uri: &str, matching: Match) -> Result<(), Refusal> {
        uri::check(uri, matching, self.settings.uri_rule)
            .map_err(|fault| Refusal::new(reason::INVALID_URI, format!("{what} '{}' {fault}", shortened(uri))))?;
        if matching == Match::Wildcard && uri.split('.').nth(WILDCARD_COMPONENTS_MAX).is_some() {
            return Err(Refusal::new(
                reason::INVALID_URI,
                format!("a wildcard pattern may have {WILDCARD_COMPONENTS_MAX} components"),
            ));
        }
        Ok(())
    }

    /// The receivers of a publication.
    ///
    /// # Errors
    /// When the topic is malformed or reserved, or the role may not publish on it.
    pub fn publish<'r>(
        &'r self,
        by: &Identity,
        topic: &str,
        options: &'r PublishOptions,
        publication: PublicationId,
    ) -> Result<Fanout<'r, P>, Refusal> {
        let details = self.judge(by, topic, options)?;
        let without = options.exclude_me.then_some(by.session);
        Ok(self.distribute(publication, topic, &details, without, options.filter.as_deref()))
    }

    /// Whether a publication may be made, and the details of its events. Whoever keeps it in a log first distributes it later
    /// with [`Self::distribute`].
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub fn judge(&self, by: &Identity, topic: &str, options: &PublishOptions) -> Result<Dict, Refusal> {
        self.well_formed("topic", topic, Match::Exact)?;
        if uri::is_reserved(topic) {
            return Err(Refusal::new(
                reason::INVALID_URI,
                format!("topic '{topic}' is reserved for the router, as is all that begins with 'wamp.'"),
            ));
        }
        let grant = self.authorize(by, Deed::Publish, topic)?;
        if self.stage == Stage::Draining {
            return Err(Refusal::new(reason::UNAVAILABLE, "the node is going down, so this was not published"));
        }
        if options.disclose_me && !grant.disclose_publisher {
            return Err(Refusal::new(
                reason::DISCLOSE_ME_DISALLOWED,
                format!("role '{}' may not disclose the publisher on topic '{topic}'", by.authrole),
            ));
        }
        let mut details = Dict::new();
        if grant.disclose_publisher {
            details.set("publisher", by.session.get());
            if !by.authid.is_empty() {
                details.set("publisher_authid", &*by.authid);
            }
            details.set("publisher_authrole", &*by.authrole);
        }
        Ok(details)
    }

    /// Keeps a publication as the last one of its topic, or takes the last one away when this one has no payload. The shell calls this before [`Self::publish`] when the options
    /// ask for it.
    ///
    /// # Errors
    /// As [`Self::publish`]; and when the room for retained events is used up.
    pub fn retain(
        &mut self,
        by: &Identity,
        topic: &str,
        options: &PublishOptions,
        publication: PublicationId,
        payload: &Payload<'_>,
    ) -> Result<(), Refusal> {
        let details = self.judge(by, topic, options)?;
        self.retain_judged(topic, details, options.filter.as_deref(), publication, payload)
    }

    /// The same for a publication that was judged before.
    ///
    /// # Errors
    /// When the room for retained events is used up.
    pub fn retain_judged(
        &mut self,
        topic: &str,
        details: Dict,
        filter: Option<&Filter>,
        publication: PublicationId,
        payload: &Payload<'_>,
    ) -> Result<(), Refusal> {
        // An event without a payload takes the last one away, or a topic once used would be kept for ever.
        if payload.args.is_none() && payload.kwargs.is_none() {
            self.broker.forget(topic);
            return Ok(());
        }
        let event = broker::retained(publication, details, payload, filter);
        self.broker.retain(topic, event).map_err(|broker::RetentionFull| {
            Refusal::new(reason::UNAVAILABLE, "the room for retained events is used up")
        })
    }

    /// The receivers of an event of the router's own.
    pub fn own_event(&mut self, event: &OwnEvent) -> Fanout<'_, P> {
        let publication = PublicationId::from_random(self.rng.u64(..));
        self.distribute(publication, event.topic, &Dict::new(), event.about, None)
    }

    /// The receivers of a publication that was judged before.
    pub fn distribute<'r>(
        &'r self,
        publication: PublicationId,
        topic: &str,
        details: &Dict,
        without: Option<SessionId>,
        filter: Option<&'r Filter>,
    ) -> Fanout<'r, P> {
        let mut matched = Vec::new();
        self.broker.each_match(topic, &mut |subscription| {
            let mut details = details.clone();
            if subscription.matching != Match::Exact {
                details.set("topic", topic);
            }
            matched.push(Matched { subscription: subscription.id, details, members: subscription.members() });
        });
        // Nobody has to be looked up in lists where nobody listens.
        let filter = filter.filter(|_| !matched.is_empty()).map(Filter::sieve);
        Fanout { publication, without, filter, matched }
    }

    /// Calls `send` with the EVENT of each retained publication that a new subscriber may have, until it breaks. Returns what
    /// that took, in octets of messages that would take as long: a search may look at every retained topic of the realm.
    pub fn retained(
        &self,
        to: &Member<P>,
        subscription: SubscriptionId,
        send: &mut impl FnMut(RouterMessage<'_>) -> ControlFlow<()>,
    ) -> usize {
        let Some(held) = self.broker.get(subscription) else { return 0 };
        self.broker.each_retained(&held.uri, held.matching, &mut |topic, event| {
            if !event.admits(&to.identity) {
                return ControlFlow::Continue(());
            }
            let mut details = event.details.clone();
            if held.matching != Match::Exact {
                details.set("topic", topic);
            }
            details.set("retained", true);
            send(RouterMessage::Event {
                subscription,
                publication: event.publication,
                details: &details,
                payload: event.payload.as_payload(),
            })
        })
    }

    fn subscribe<'a>(
        &mut self,
        member: &Member<P>,
        request: RequestId,
        options: &Dict,
        topic: &str,
        context: Context<'_>,
        out: &mut Vec<Action<'a, P>>,
    ) {
        let kind = RequestKind::Subscribe;
        let matching = match self.may_subscribe(member, options, topic, context) {
            Ok(matching) => matching,
            Err(refusal) => return out.push(Action::Refuse { to: member.peer.clone(), kind, request, refusal }),
        };
        let get_retained = match options.get("get_retained").map_or(Ok(false), |value| flag("get_retained", value)) {
            Ok(wanted) => wanted,
            Err(fault) => {
                return out.push(Action::Refuse { to: member.peer.clone(), kind, request, refusal: fault.into() });
            }
        };
        let (subscription, joined) = self.broker.subscribe(member, topic, matching, context.now);
        if joined != Joined::Already
            && let Some(attached) = self.sessions.get_mut(&member.session)
        {
            attached.subscriptions.add(subscription, topic, matching);
        }
        out.push(Action::Send {
            to: member.peer.clone(),
            message: RouterMessage::Subscribed { request, subscription },
        });
        if get_retained {
            out.push(Action::Retained { to: member.clone(), subscription });
        }
        self.tell_subscribed(member.session, subscription, joined, out);
    }

    fn may_subscribe(
        &self,
        member: &Member<P>,
        options: &Dict,
        topic: &str,
        context: Context<'_>,
    ) -> Result<Match, Refusal> {
        let matching = match options.get("match") {
            None => Match::Exact,
            Some(value) => value.as_str().and_then(Match::parse).ok_or_else(|| {
                Refusal::new(reason::INVALID_ARGUMENT, "option 'match' must be \"exact\", \"prefix\" or \"wildcard\"")
            })?,
        };
        self.well_formed("topic", topic, matching)?;
        self.authorize(&member.identity, Deed::Subscribe, topic)?;
        let role = self.settings.roles.get(&member.identity.authrole);
        if !role.is_some_and(|role| role.check_pattern(topic, matching)) {
            return Err(Refusal::new(
                reason::NOT_AUTHORIZED,
                format!("session not authorized to subscribe to all that the {} '{topic}' covers", matching.name()),
            ));
        }
        let refused = self.sessions.get(&member.session).and_then(|attached| {
            attached.subscriptions.refusal(topic, matching, context.subscriptions_max, "subscriptions")
        });
        match refused {
            // What a session holds already takes nothing more.
            Some(refusal) if !self.broker.lookup(topic, matching).is_some_and(|one| one.has(member.session)) => {
                Err(refusal)
            }
            _ => Ok(matching),
        }
    }

    fn unsubscribe<'a>(
        &mut self,
        member: &Member<P>,
        request: RequestId,
        subscription: SubscriptionId,
        out: &mut Vec<Action<'a, P>>,
    ) {
        let attached = self.sessions.get_mut(&member.session);
        let held = attached
            .zip(self.broker.get(subscription))
            .is_some_and(|(attached, held)| attached.subscriptions.take(subscription, &held.uri, held.matching));
        if !held {
            let refusal = Refusal::new(
                reason::NO_SUCH_SUBSCRIPTION,
                format!("this session does not hold subscription {subscription}"),
            );
            let kind = RequestKind::Unsubscribe;
            return out.push(Action::Refuse { to: member.peer.clone(), kind, request, refusal });
        }
        out.push(Action::Send { to: member.peer.clone(), message: RouterMessage::Unsubscribed { request } });
        if let Some(left) = self.end_subscription(member.session, subscription) {
            self.tell_unsubscribed(member.session, subscription, left, out);
        }
    }

    /// Says what is left, if somebody is to be told.
    fn end_subscription(&mut self, session: SessionId, id: SubscriptionId) -> Option<Left> {
        let told = self.broker.get(id).is_some_and(|subscription| !uri::is_reserved(&subscription.uri));
        let left = self.broker.unsubscribe(session, id);
        (told && left != Left::NotHeld).then_some(left)
    }
}

/// Enough of a URI to know it by. One that is refused may be as long as a message.
fn shortened(uri: &str) -> &str {
    const SHOWN_MAX: usize = 100;
    uri.char_indices().nth(SHOWN_MAX).map_or(uri, |(end, _)| &uri[..end])
}
