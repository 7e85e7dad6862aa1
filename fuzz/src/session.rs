//! Sessions and a realm: three clients say what they like, one of each serializer.
//!
//! The input is text. A line is a client (`a`, `b`, `c`) and a message in JSON, which reaches the machine in the client's
//! own serializer; `-` instead of a message loses the transport, and `!` is a GOODBYE of the router's own. Nothing may be
//! said to a client that is gone, everything that is said can be written, and in the end nobody is left.

use std::ops::ControlFlow;
use std::sync::Arc;

use stentor_model::{PublicationId, Secret};
use stentor_wamp::auth::{AuthPolicy, Fresh, TicketPrincipal};
use stentor_wamp::broker::Fanout;
use stentor_wamp::codec::{self, OwnedPayload, Serializer, decode_value};
use stentor_wamp::identity::Identity;
use stentor_wamp::message::{ClientMessage, Payload, RequestKind, RouterMessage};
use stentor_wamp::permission::{Permissions, Rule};
use stentor_wamp::publish_options::PublishOptions;
use stentor_wamp::router::{Action, Context, Refusal, Router, Settings};
use stentor_wamp::session::{Realms, RequestIds, Session, Step};
use stentor_wamp::uri::{Match, reason};
use stentor_wamp::value::{Dict, Value};

/// More lines than this only make an input slow.
const LINES_MAX: usize = 200;

const FRESH: Fresh<'static> = Fresh { nonce: "n0", timestamp: "2026-01-01T00:00:00.000Z", session: 7 };

pub(crate) fn lines(data: &[u8]) {
    let mut world = World::new();
    for line in data.split(|octet| *octet == b'\n').take(LINES_MAX) {
        let [client @ b'a'..=b'c', rest @ ..] = line else { continue };
        let place = usize::from(client - b'a');
        match rest.trim_ascii() {
            b"-" => world.lose(place),
            b"!" => world.goodbye(place),
            octets => world.receive(place, octets),
        }
    }
    (0..Serializer::ALL.len()).for_each(|place| world.lose(place));
    assert_eq!(world.router.session_count(), 0);
}

struct Client {
    session: Session,
    joined: Option<Arc<Identity>>,
}

struct World {
    router: Router<usize>,
    policy: AuthPolicy,
    clients: [Option<Client>; 3],
    publications: u64,
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

fn settings() -> Settings {
    let all = |uri: &str| Rule {
        uri: uri.into(),
        matching: Match::Prefix,
        publish: true,
        subscribe: true,
        call: true,
        register: true,
        disclose_publisher: true,
        disclose_caller: true,
    };
    let roles = [("user".into(), Permissions::new([all(""), all("wamp.")]))].into();
    // Without an order of ids, one changed octet leaves most of an input as deep as it was.
    Settings { roles, request_ids: RequestIds::Any, ..Settings::default() }
}

impl World {
    fn new() -> Self {
        let principal = TicketPrincipal { ticket: Secret::new("t"), role: "user".to_owned() };
        let ticket = Some([("joe".to_owned(), principal)].into());
        let policy = AuthPolicy { ticket, ..AuthPolicy::anonymous("user") };
        Self { router: Router::new(settings(), 11), policy, clients: [None, None, None], publications: 0 }
    }

    fn receive(&mut self, place: usize, json: &[u8]) {
        let serializer = Serializer::ALL[place];
        match codec::decode(Serializer::Json, json) {
            Ok(message) => {
                let mut octets = Vec::new();
                codec::encode_client(serializer, &message, &mut octets).expect("every JSON can be written");
                self.take(place, codec::decode(serializer, &octets));
            }
            Err(error) => self.take(place, Err(error)),
        }
    }

    fn take(&mut self, place: usize, message: Result<ClientMessage<'_>, codec::DecodeError>) {
        let realms = OneRealm(&self.router);
        let client = self.clients[place].get_or_insert_with(|| Client { session: Session::default(), joined: None });
        let step = client.session.receive(message, &self.policy, &realms, &FRESH);
        assert!(client.joined.is_some() || !matches!(step, Step::Route(_)), "only who is in a realm may ask it");
        self.step(place, step);
    }

    fn step(&mut self, place: usize, step: Step<'_>) {
        match step {
            Step::Ignore => {}
            Step::Send(message) => self.put(place, &message),
            Step::Join(admission) => {
                assert_eq!((&*admission.realm, &*admission.authrole), ("realm1", "user"));
                let mut out = Vec::new();
                let identity = self.router.join(admission, |_| place, &mut out);
                self.client(place).joined = Some(identity);
                assert_eq!(self.perform(out), None);
            }
            Step::Route(message) => {
                if let Some(sentence) = self.route(place, message) {
                    let step = self.client(place).session.violate(sentence);
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
                self.clients[place] = None;
            }
            Step::Close => self.lose(place),
        }
    }

    fn client(&mut self, place: usize) -> &mut Client {
        self.clients[place].as_mut().expect("a client that is there")
    }

    fn leave(&mut self, place: usize) {
        if let Some(identity) = self.clients[place].as_mut().and_then(|client| client.joined.take()) {
            let mut out = Vec::new();
            self.router.leave(identity.session, &mut out);
            assert_eq!(self.perform(out), None);
        }
    }

    fn lose(&mut self, place: usize) {
        self.leave(place);
        self.clients[place] = None;
    }

    fn goodbye(&mut self, place: usize) {
        if self.clients[place].as_ref().is_some_and(|client| client.joined.is_some()) {
            self.leave(place);
            self.client(place).session.closing();
            self.put(place, &RouterMessage::Goodbye { reason: reason::SYSTEM_SHUTDOWN.into() });
        }
    }

    /// What an established session asks for; a sentence when it broke the protocol.
    fn route(&mut self, place: usize, message: ClientMessage<'_>) -> Option<String> {
        let identity = Arc::clone(self.client(place).joined.as_ref().expect("only joined sessions route"));
        if let ClientMessage::Publish { request, options, topic, payload } = message {
            self.publish(place, &identity, &topic, &options, payload, request);
            return None;
        }
        let context = Context { now: "2026-01-01", subscriptions_max: 20 };
        let mut out = Vec::new();
        self.router.handle(identity.session, message, context, &mut out);
        self.perform(out)
    }

    fn publish(
        &mut self,
        place: usize,
        by: &Identity,
        topic: &str,
        options: &Dict,
        payload: Payload<'_>,
        request: stentor_model::RequestId,
    ) {
        self.publications += 1;
        let publication = PublicationId::new(self.publications).expect("a small number");
        let acknowledge = options.get("acknowledge").and_then(Value::as_bool) == Some(true);
        let outcome = PublishOptions::from_dict(options).map_err(Into::into).and_then(|options| {
            if options.retain {
                self.router.retain(by, topic, &options, publication, &payload)?;
            }
            let fanout = self.router.publish(by, topic, &options, publication)?;
            let events = events(&fanout, payload);
            events.iter().for_each(|(to, octets)| self.said(*to, octets));
            Ok(())
        });
        match outcome {
            _ if !acknowledge => {}
            Ok(()) => self.put(place, &RouterMessage::Published { request, publication }),
            Err(refusal) => self.refuse(place, RequestKind::Publish, request, &refusal),
        }
    }

    fn perform(&mut self, actions: Vec<Action<'_, usize>>) -> Option<String> {
        let mut violation = None;
        for action in actions {
            match action {
                Action::Send { to, message } => self.put(to, &message),
                Action::Invoke { to, message, .. } => self.put(to.peer, &message),
                Action::Refuse { to, kind, request, refusal } => self.refuse(to, kind, request, &refusal),
                Action::Orphaned { to, request } => {
                    self.refuse(to.peer, RequestKind::Call, request, &Refusal::orphaned());
                }
                Action::Result { to, request, value, .. } => {
                    let payload = OwnedPayload::from_values(Serializer::Json, &[value], &Dict::new())
                        .expect("what the router says has finite numbers");
                    let payload = payload.as_payload();
                    self.put(to, &RouterMessage::Result { request, details: Dict::new(), payload });
                }
                Action::Retained { to, subscription } => {
                    let mut events = Vec::new();
                    self.router.retained(&to, subscription, &mut |event| {
                        events.push(octets(to.peer, &event));
                        ControlFlow::Continue(())
                    });
                    events.iter().for_each(|octets| self.said(to.peer, octets));
                }
                Action::Publish(event) => {
                    let fanout = self.router.own_event(&event);
                    let events = events(&fanout, event.payload.as_payload());
                    events.iter().for_each(|(to, octets)| self.said(*to, octets));
                }
                Action::Ended(mut ended) => {
                    let mut events = Vec::new();
                    while self.router.next_ended(&mut ended, &mut events) {}
                    violation = self.perform(events).or(violation);
                }
                Action::Kill { to, reason } => {
                    let client = self.client(to);
                    client.session.closing();
                    client.joined = None;
                    self.put(to, &RouterMessage::Goodbye { reason: reason.into() });
                }
                Action::Violation(sentence) => violation = Some(sentence),
            }
        }
        violation
    }

    fn refuse(&self, to: usize, kind: RequestKind, request: stentor_model::RequestId, refusal: &Refusal) {
        assert!(!refusal.message.is_empty() && !refusal.error.is_empty());
        let payload = Payload::none(Serializer::Json);
        self.put(
            to,
            &RouterMessage::Error { kind, request, details: Dict::new(), error: refusal.error.into(), payload },
        );
    }

    fn put(&self, to: usize, message: &RouterMessage<'_>) {
        self.said(to, &octets(to, message));
    }

    fn said(&self, to: usize, octets: &[u8]) {
        assert!(self.clients[to].is_some(), "{to} is told something after its end");
        let list = decode_value(Serializer::ALL[to], octets).expect("what is sent can be read");
        assert!(list.as_list().is_some_and(|fields| fields.len() > 1));
    }
}

/// An EVENT for each receiver, as it gets it.
fn events(fanout: &Fanout<'_, usize>, payload: Payload<'_>) -> Vec<(usize, Vec<u8>)> {
    let mut events = Vec::new();
    for matched in &fanout.matched {
        let (publication, subscription) = (fanout.publication, matched.subscription);
        let event = RouterMessage::Event { subscription, publication, details: &matched.details, payload };
        events.extend(fanout.receivers(matched).map(|&to| (to, octets(to, &event))));
    }
    events
}

/// A message as this client gets it. All of them said it in JSON, and that can be written in every serializer.
fn octets(to: usize, message: &RouterMessage<'_>) -> Vec<u8> {
    let mut octets = Vec::new();
    codec::encode(Serializer::ALL[to], message, &mut octets).expect("every JSON can be written");
    octets
}
