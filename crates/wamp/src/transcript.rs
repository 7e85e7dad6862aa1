//! Transcripts: what several clients send, and every message that they get back.
//!
//! A transcript drives [`Session`] and [`Router`] as the shell does and is the one way in which the tests of this crate
//! talk to them. One line is one event:
//!
//! ```text
//! + a user                a transport opens and its anonymous session joins with a role; features may follow
//! a > [32,1,{},"x"]       a client says this; the first thing that an unknown client says opens its transport
//! a < [33,1,1]            the client gets this, and everything it gets must be written down
//! a x                     the router closes the transport
//! - a                     the transport is lost
//! ! a shutdown            the router says GOODBYE on its own account
//! ```
//!
//! Sentences in ERROR and ABORT are written as `…`: nobody depends on their wording. `$a` stands for the session id of
//! client a, `@a` for its random authid, `#1` for the publication id that came up first. Every transcript runs once for
//! each serializer that clients may speak; what they get is always read as JSON.

use std::collections::VecDeque;
use std::sync::Arc;

use stentor_model::{PublicationId, SessionId};

use crate::auth::{AuthPolicy, Fresh};
use crate::broker::Fanout;
use crate::codec::{self, DecodeError, OwnedPayload, Serializer};
use crate::identity::Identity;
use crate::message::{ClientMessage, Payload, RequestKind, RouterMessage};
use crate::permission::{Permissions, Rule};
use crate::publish_options::PublishOptions;
use crate::router::{Action, Context, Refusal, Router, Settings};
use crate::session::{Admission, Realms, RequestIds, Session, Step};
use crate::uri::{Match, reason};
use crate::value::{Dict, Value};

/// What stands around the clients of a transcript.
#[derive(Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) settings: fn() -> Settings,
    pub(crate) policy: fn() -> AuthPolicy,
    pub(crate) subscriptions_max: usize,
}

impl Default for Setting {
    fn default() -> Self {
        Self { settings, policy: || AuthPolicy::anonymous("user"), subscriptions_max: 100 }
    }
}

/// Runs a transcript in the ordinary setting.
#[track_caller]
pub(crate) fn check(transcript: &str) {
    check_in(Setting::default(), transcript);
}

/// Runs a transcript in another setting.
#[track_caller]
pub(crate) fn check_in(setting: Setting, transcript: &str) {
    for serializer in Serializer::ALL {
        let mut world = World::new(setting, serializer);
        for (line, text) in transcript.lines().map(str::trim).enumerate() {
            if !text.is_empty() && !text.starts_with("//") {
                world.line(text).unwrap_or_else(|fault| panic!("{serializer:?}, line {line}, {text}\n  {fault}"));
            }
        }
        world.nothing_left().unwrap_or_else(|fault| panic!("{serializer:?}, at the end: {fault}"));
    }
}

/// A rule that allows or denies everything at once and discloses nobody.
pub(crate) fn rule(uri: &str, matching: Match, allowed: bool) -> Rule {
    Rule {
        uri: uri.into(),
        matching,
        publish: allowed,
        subscribe: allowed,
        call: allowed,
        register: allowed,
        disclose_publisher: false,
        disclose_caller: false,
    }
}

/// Roles for every test: `user` and `other` may do everything, killing sessions included, `open` also discloses itself, `nobody` may do nothing.
pub(crate) fn settings() -> Settings {
    let all = || Permissions::new([rule("", Match::Prefix, true), rule("wamp.", Match::Prefix, true)]);
    let open = Rule { disclose_publisher: true, disclose_caller: true, ..rule("", Match::Prefix, true) };
    Settings {
        roles: [
            ("user".into(), all()),
            ("other".into(), all()),
            ("open".into(), Permissions::new([open])),
            ("nobody".into(), Permissions::default()),
        ]
        .into(),
        ..Settings::default()
    }
}

struct Client {
    name: String,
    session: Session,
    joined: Option<Arc<Identity>>,
    open: bool,
}

/// The realm, its clients, and what they have got and not yet been asked about.
pub(crate) struct World {
    pub(crate) router: Router<usize>,
    setting: Setting,
    serializer: Serializer,
    policy: AuthPolicy,
    clients: Vec<Client>,
    got: VecDeque<(usize, String)>,
    publications: Vec<PublicationId>,
    names: Vec<(String, String)>,
}

struct OneRealm<'r>(&'r Router<usize>);

impl Realms for OneRealm<'_> {
    fn request_ids(&self, realm: &str) -> Option<RequestIds> {
        (realm == "realm1").then(|| self.0.request_ids())
    }

    fn has_role(&self, _: &str, role: &str) -> bool {
        self.0.has_role(role)
    }
}

/// What every challenge of a transcript is made of.
pub(crate) const FRESH: Fresh<'static> = Fresh { nonce: "n0", timestamp: "2026-01-01T00:00:00.000Z", session: 7 };

impl World {
    pub(crate) fn new(setting: Setting, serializer: Serializer) -> Self {
        Self {
            router: Router::new((setting.settings)(), 11),
            setting,
            serializer,
            policy: (setting.policy)(),
            clients: Vec::new(),
            got: VecDeque::new(),
            publications: Vec::new(),
            names: Vec::new(),
        }
    }

    fn line(&mut self, text: &str) -> Result<(), String> {
        let mut words = text.splitn(3, ' ');
        let (first, second, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
        match (first, second) {
            (name, "<") => return self.expect(name, rest),
            (name, "x") => return self.expect(name, "closed"),
            _ => self.nothing_left()?,
        }
        match (first, second) {
            ("+", name) => self.join(name, rest),
            ("-", name) => {
                let place = self.place(name);
                self.lose(place);
                Ok(())
            }
            ("!", name) => {
                let place = self.place(name);
                self.clients[place].session.closing();
                self.leave(place);
                self.put(place, &RouterMessage::Goodbye { reason: reason::SYSTEM_SHUTDOWN.into() });
                Ok(())
            }
            (name, ">") => {
                let place = self.place(name);
                let octets = self.real(rest);
                self.receive(place, octets.as_bytes());
                Ok(())
            }
            _ => panic!("'{text}' is no line of a transcript"),
        }
    }

    fn expect(&mut self, name: &str, expected: &str) -> Result<(), String> {
        let place = self.place(name);
        let Some(at) = self.got.iter().position(|(to, _)| *to == place) else {
            return Err(format!("{name} got nothing"));
        };
        let (_, got) = self.got.remove(at).unwrap();
        if got == expected { Ok(()) } else { Err(format!("{name} got {got}")) }
    }

    pub(crate) fn nothing_left(&self) -> Result<(), String> {
        let left: Vec<_> = self.got.iter().map(|(to, text)| format!("{} < {text}", self.clients[*to].name)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("before this, unexpected: {}", left.join("\n  "))) }
    }

    pub(crate) fn place(&mut self, name: &str) -> usize {
        self.clients.iter().rposition(|client| client.name == name && client.open).unwrap_or_else(|| {
            if let Some(place) = self.clients.iter().rposition(|client| client.name == name)
                && self.got.iter().any(|(to, _)| *to == place)
            {
                return place;
            }
            let client = Client { name: name.to_owned(), session: Session::default(), joined: None, open: true };
            self.clients.push(client);
            self.clients.len() - 1
        })
    }

    /// `+ name role [canceling] [progressive]`, with the WELCOME left out of the transcript.
    pub(crate) fn join(&mut self, name: &str, rest: &str) -> Result<(), String> {
        let place = self.place(name);
        let mut words = rest.split(' ');
        let policy = AuthPolicy::anonymous(words.next().unwrap());
        let mut features = Dict::new();
        for word in words {
            let feature = if word == "canceling" { "call_canceling" } else { "progressive_call_results" };
            features.set(feature, true);
        }
        let callee = Dict::new().with("features", features);
        let details = Dict::new().with("roles", Dict::new().with("callee", callee));
        let hello = ClientMessage::Hello { realm: "realm1".into(), details };
        let old = std::mem::replace(&mut self.policy, policy);
        self.receive_message(place, Ok(hello));
        self.policy = old;
        match self.got.iter().position(|(to, text)| *to == place && text.starts_with("[2,")) {
            Some(at) => drop(self.got.remove(at)),
            None => return Err("there was no WELCOME".to_owned()),
        }
        Ok(())
    }

    /// The octets of one message, which travel in the serializer of the run.
    pub(crate) fn receive(&mut self, place: usize, json: &[u8]) {
        match codec::decode(Serializer::Json, json) {
            Ok(message) => {
                let mut octets = Vec::new();
                codec::encode_client(self.serializer, &message, &mut octets).unwrap();
                self.receive_message(place, codec::decode(self.serializer, &octets));
            }
            Err(error) => self.receive_message(place, Err(error)),
        }
    }

    fn receive_message(&mut self, place: usize, message: Result<ClientMessage<'_>, DecodeError>) {
        let realms = OneRealm(&self.router);
        let step = self.clients[place].session.receive(message, &self.policy, &realms, &FRESH);
        self.step(place, step);
    }

    fn step(&mut self, place: usize, step: Step<'_>) {
        match step {
            Step::Ignore => {}
            Step::Send(message) => self.put(place, &message),
            Step::Join(admission) => self.admit(place, admission),
            Step::Route(message) => {
                if let Err(sentence) = self.route(place, message) {
                    let step = self.clients[place].session.violate(sentence);
                    self.step(place, step);
                }
            }
            Step::Leave(goodbye) => {
                self.leave(place);
                self.put(place, &goodbye);
            }
            Step::Abort(message) => {
                self.leave(place);
                self.put(place, &message);
                self.close(place);
            }
            Step::Close => {
                self.leave(place);
                self.close(place);
            }
        }
    }

    fn close(&mut self, place: usize) {
        self.clients[place].open = false;
        self.got.push_back((place, "closed".to_owned()));
    }

    pub(crate) fn lose(&mut self, place: usize) {
        self.leave(place);
        self.clients[place].open = false;
    }

    fn admit(&mut self, place: usize, admission: Admission) {
        assert_eq!(admission.realm, "realm1");
        let mut out = Vec::new();
        let identity = self.router.join(admission, |_| place, &mut out);
        let name = &self.clients[place].name;
        let (session, authid) = (format!("${name}"), format!("@{name}"));
        self.names.retain(|(_, name)| *name != session && *name != authid);
        self.names.push((identity.session.to_string(), session));
        if identity.authmethod == "anonymous" {
            self.names.push((identity.authid.to_string(), authid));
        }
        self.clients[place].joined = Some(identity);
        assert_eq!(self.perform(out), Ok(()));
    }

    fn leave(&mut self, place: usize) {
        if let Some(identity) = self.clients[place].joined.take() {
            let mut out = Vec::new();
            self.router.leave(identity.session, &mut out);
            assert_eq!(self.perform(out), Ok(()));
        }
    }

    fn route(&mut self, place: usize, message: ClientMessage<'_>) -> Result<(), String> {
        let identity = Arc::clone(self.clients[place].joined.as_ref().expect("only joined sessions route"));
        if let ClientMessage::Publish { request, options, topic, payload } = message {
            let outcome = self.publish(&identity, &options, &topic, payload);
            if options.get("acknowledge").and_then(Value::as_bool) == Some(true) {
                match outcome {
                    Ok(publication) => self.put(place, &RouterMessage::Published { request, publication }),
                    Err(refusal) => self.refuse(place, RequestKind::Publish, request, &refusal),
                }
            }
            return Ok(());
        }
        let context = Context { now: "2026-01-01", subscriptions_max: self.setting.subscriptions_max };
        let mut out = Vec::new();
        self.router.handle(identity.session, message, context, &mut out);
        self.perform(out)
    }

    fn publish(
        &mut self,
        by: &Identity,
        options: &Dict,
        topic: &str,
        payload: Payload<'_>,
    ) -> Result<PublicationId, Refusal> {
        let options = PublishOptions::from_dict(options)?;
        // Far above all counters, so that the text of a message can be searched for it.
        let publication = PublicationId::new((1 << 52) + self.publications.len() as u64).unwrap();
        if options.retain {
            self.router.retain(by, topic, &options, publication, &payload)?;
        }
        let fanout = self.router.publish(by, topic, &options, publication)?;
        let events = events(&fanout, payload);
        self.name(publication);
        self.deliver(events);
        Ok(publication)
    }

    fn name(&mut self, publication: PublicationId) {
        self.publications.push(publication);
        self.names.push((publication.to_string(), format!("#{}", self.publications.len())));
    }

    fn deliver(&mut self, events: Vec<(usize, String)>) {
        for (place, text) in events {
            self.got_text(place, text);
        }
    }

    fn perform(&mut self, actions: Vec<Action<'_, usize>>) -> Result<(), String> {
        let mut outcome = Ok(());
        for action in actions {
            match action {
                Action::Send { to, message } => self.put(to, &message),
                Action::Invoke { to, message, .. } => self.put(to.peer, &message),
                Action::Refuse { to, kind, request, refusal } => self.refuse(to, kind, request, &refusal),
                Action::Orphaned { to, request } => {
                    self.refuse(to.peer, RequestKind::Call, request, &Refusal::orphaned());
                }
                Action::Result { to, request, value, effort: _ } => {
                    let payload = OwnedPayload::from_values(Serializer::Json, &[value], &Dict::new()).unwrap();
                    let payload = payload.as_payload();
                    self.put(to, &RouterMessage::Result { request, details: Dict::new(), payload });
                }
                Action::Retained { to, subscription } => {
                    let mut events = Vec::new();
                    self.router.retained(&to, subscription, &mut |event| {
                        events.push(json(&event));
                        std::ops::ControlFlow::Continue(())
                    });
                    // Retained events of several topics come in no order.
                    events.sort();
                    events.into_iter().for_each(|event| self.got_text(to.peer, event));
                }
                Action::Publish(event) => {
                    let fanout = self.router.own_event(&event);
                    let (publication, events) = (fanout.publication, events(&fanout, event.payload.as_payload()));
                    // Nobody gets to see the id of an event without receivers.
                    if !events.is_empty() {
                        self.name(publication);
                    }
                    self.deliver(events);
                }
                Action::Ended(mut ended) => {
                    let mut events = Vec::new();
                    while self.router.next_ended(&mut ended, &mut events) {}
                    outcome = outcome.and(self.perform(events));
                }
                Action::Kill { to, reason } => {
                    self.clients[to].session.closing();
                    self.clients[to].joined = None;
                    self.put(to, &RouterMessage::Goodbye { reason: reason.into() });
                }
                Action::Violation(sentence) => outcome = Err(sentence),
            }
        }
        outcome
    }

    fn refuse(&mut self, to: usize, kind: RequestKind, request: stentor_model::RequestId, refusal: &Refusal) {
        assert!(!refusal.message.is_empty());
        let payload = Payload { serializer: Serializer::Json, args: Some("[\"…\"]".as_bytes()), kwargs: None };
        let details = Dict::new();
        self.put(to, &RouterMessage::Error { kind, request, details, error: refusal.error.into(), payload });
    }

    fn put(&mut self, to: usize, message: &RouterMessage<'_>) {
        let text = match message {
            RouterMessage::Abort { message, reason } => {
                assert!(!message.is_empty());
                json(&RouterMessage::Abort { message: "…".into(), reason })
            }
            message => json(message),
        };
        self.got_text(to, text);
    }

    fn got_text(&mut self, to: usize, text: String) {
        assert!(self.clients[to].open, "{} got {text} after its end", self.clients[to].name);
        let text = self.names.iter().fold(text, |text, (real, name)| text.replace(real, name));
        self.got.push_back((to, text));
    }

    /// The name of a client.
    pub(crate) fn client(&self, place: usize) -> &str {
        &self.clients[place].name
    }

    /// The session of a client, where it is in the realm.
    pub(crate) fn session(&self, place: usize) -> Option<SessionId> {
        self.clients[place].joined.as_ref().map(|identity| identity.session)
    }

    /// Takes all that the clients have got, as it stands on the wire.
    pub(crate) fn take(&mut self) -> Vec<(usize, String)> {
        let got = std::mem::take(&mut self.got);
        got.into_iter().map(|(place, text)| (place, self.real(&text))).collect()
    }

    /// A text with what its names stand for.
    fn real(&self, text: &str) -> String {
        // The latest first, so that #10 is not taken for #1.
        self.names.iter().rev().fold(text.to_owned(), |text, (real, name)| text.replace(name, real))
    }
}

fn json(message: &RouterMessage<'_>) -> String {
    let mut octets = Vec::new();
    codec::encode(Serializer::Json, message, &mut octets).unwrap();
    String::from_utf8(octets).unwrap()
}

fn events(fanout: &Fanout<'_, usize>, payload: Payload<'_>) -> Vec<(usize, String)> {
    let mut events = Vec::new();
    for matched in &fanout.matched {
        let message = RouterMessage::Event {
            subscription: matched.subscription,
            publication: fanout.publication,
            details: &matched.details,
            payload,
        };
        events.extend(fanout.receivers(matched).map(|&to| (to, json(&message))));
    }
    events
}
