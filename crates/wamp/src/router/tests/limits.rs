//! Every table of a realm has its limit, and reaching it harms nobody but the one who reaches it.

use std::sync::Arc;

use bytes::Bytes;
use stentor_model::limit::URI_BYTES_MAX;
use stentor_model::{PublicationId, RequestId, SessionId};

use crate::broker::{Broker, RETAINED_BYTES_MAX, RETAINED_TOPICS_MAX, Retained, RetentionFull};
use crate::codec::{OwnedPayload, Serializer};
use crate::dealer::{Answer, CALLS_PER_CALLEE_MAX, CALLS_PER_SESSION_MAX, CallRefusal, Dealer, Destination, Progress};
use crate::identity::{Features, Identity, Member};
use crate::pattern::WILDCARD_COMPONENTS_MAX;
use crate::publish_options::Filter;
use crate::router::holdings::{COMPONENT_BYTES, URI_BYTES_MIN, uri_bytes_max};
use crate::router::{REGISTRATIONS_PER_SESSION_MAX, SUBSCRIPTIONS_PER_SESSION_MAX};
use crate::transcript::{Setting, World, check};
use crate::value::Dict;

pub(super) fn member(session: u64, authrole: &str) -> Member<usize> {
    let session = SessionId::new(session).unwrap();
    let identity = Identity {
        session,
        authid: "outside".into(),
        authrole: authrole.into(),
        authmethod: "anonymous",
        authprovider: "anonymous",
        features: Features::default(),
    };
    Member { session, identity: Arc::new(identity), peer: 0 }
}

fn event(payload: Bytes) -> Retained {
    Retained {
        publication: PublicationId::FIRST,
        details: Dict::new(),
        payload: OwnedPayload { serializer: Serializer::Json, args: Some(payload), kwargs: None },
        filter: None,
    }
}

#[test]
fn retained_topics() {
    let mut broker = Broker::<usize>::default();
    for topic in 0..RETAINED_TOPICS_MAX {
        assert_eq!(broker.retain(&format!("t{topic}"), event(Bytes::new())), Ok(()));
    }
    assert_eq!(broker.retain("more", event(Bytes::new())), Err(RetentionFull));
    assert_eq!(broker.retain("t7", event(Bytes::from_static(b"[7]"))), Ok(()), "another event of the same topic");
}

#[test]
fn retained_octets() {
    let mut broker = Broker::<usize>::default();
    // One octet of each half is the topic's.
    let half = Bytes::from(vec![0; RETAINED_BYTES_MAX / 2 - 1]);
    let check = |broker: &mut Broker<usize>, topic: &str, payload: &Bytes, expected| {
        assert_eq!(broker.retain(topic, event(payload.clone())), expected, "{topic} {}", payload.len());
    };
    check(&mut broker, "a", &half, Ok(()));
    check(&mut broker, "b", &half, Ok(()));
    check(&mut broker, "c", &Bytes::from_static(b"1"), Err(RetentionFull));
    // What takes the place of another counts only for the difference.
    check(&mut broker, "b", &half, Ok(()));
    broker.forget("b");
    check(&mut broker, "c", &half, Ok(()));
    // Lists of receivers count too.
    broker.forget("a");
    let filter = Filter { exclude: vec![SessionId::FIRST; RETAINED_BYTES_MAX / 16], ..Filter::default() };
    let listed = Retained { filter: Some(Box::new(filter)), ..event(Bytes::new()) };
    assert_eq!(broker.retain("a", listed), Err(RetentionFull));
}

#[test]
fn calls_of_one_session() {
    let (callee, caller, other) = (member(1, "user"), member(2, "user"), member(3, "user"));
    let mut dealer = Dealer::default();
    dealer.register(&callee, "p").unwrap();
    let request = |at: usize| RequestId::new(at as u64).unwrap();
    let call =
        |dealer: &mut Dealer<usize>, by: &Member<usize>, at| dealer.call(by, request(at), "p", Progress::Unwanted);
    let first = call(&mut dealer, &caller, 1).unwrap();
    for at in 2..=CALLS_PER_SESSION_MAX {
        call(&mut dealer, &caller, at).unwrap();
    }
    assert_eq!(call(&mut dealer, &caller, CALLS_PER_SESSION_MAX + 1).unwrap_err(), CallRefusal::TooMany);
    assert!(call(&mut dealer, &other, 1).is_ok(), "another session has a budget of its own");
    assert!(
        matches!(dealer.answer(callee.session, first.id, Answer::Final), Destination::Caller(_, at) if at == request(1))
    );
    assert!(call(&mut dealer, &caller, 1).is_ok(), "an answered call makes room");

    let many = (10..).map(|session| member(session, "user"));
    for (caller, at) in many.flat_map(|caller| (1..=CALLS_PER_SESSION_MAX).map(move |at| (caller.clone(), at))) {
        match call(&mut dealer, &caller, at) {
            Ok(invocation) => assert!(invocation.id.get() <= CALLS_PER_CALLEE_MAX as u64 + 1),
            Err(refusal) => {
                assert_eq!(refusal, CallRefusal::Busy);
                break;
            }
        }
    }
    dealer.drop_call(other.session, request(1));
    assert!(call(&mut dealer, &other, 2).is_ok(), "a call that has ended makes room");
}

#[test]
fn components_of_a_wildcard() {
    let subscribe = |components: usize, answer: &str| {
        let pattern = ".".repeat(components - 1);
        check(&format!("+ a user\na > [32,1,{{\"match\":\"wildcard\"}},\"{pattern}\"]\na < {answer}"));
    };
    subscribe(WILDCARD_COMPONENTS_MAX, "[33,1,1]");
    subscribe(WILDCARD_COMPONENTS_MAX + 1, r#"[8,32,1,{},"wamp.error.invalid_uri",["…"]]"#);
}

#[test]
fn registrations_of_one_session() {
    let mut world = World::new(Setting::default(), Serializer::Json);
    world.join("a", "user").unwrap();
    let place = world.place("a");
    let mut register = |request: usize| {
        world.receive(place, format!(r#"[64,{request},{{}},"p{request}"]"#).as_bytes());
        let got = world.take();
        assert_eq!(got.len(), 1);
        got[0].1.clone()
    };
    for request in 1..=REGISTRATIONS_PER_SESSION_MAX {
        assert_eq!(register(request), format!("[65,{request},{request}]"));
    }
    let request = REGISTRATIONS_PER_SESSION_MAX + 1;
    assert_eq!(register(request), format!(r#"[8,64,{request},{{}},"wamp.error.unavailable",["…"]]"#));
}

/// One session that says something under one request id after the other.
struct Speaker {
    world: World,
    request: usize,
}

impl Speaker {
    fn new() -> Self {
        let mut world = World::new(Setting::default(), Serializer::Json);
        world.join("a", "user").unwrap();
        Self { world, request: 0 }
    }

    /// Says `[kind,request,fields]` and expects one answer, which begins so; `?` stands for the request id.
    #[track_caller]
    fn check(&mut self, kind: u64, fields: &str, answer: &str) {
        self.request += 1;
        let place = self.world.place("a");
        self.world.receive(place, format!("[{kind},{},{fields}]", self.request).as_bytes());
        let got = self.world.take();
        assert_eq!(got.len(), 1);
        let start = answer.replace('?', &self.request.to_string());
        assert!(got[0].1.starts_with(&start), "{} is not {start}", got[0].1);
    }
}

#[test]
fn octets_of_uris_per_session() {
    assert_eq!(uri_bytes_max(SUBSCRIPTIONS_PER_SESSION_MAX), 1_000_000);
    assert_eq!(uri_bytes_max(1), URI_BYTES_MIN);
    assert_eq!(uri_bytes_max(usize::MAX), usize::MAX);
    // Of subscribers a transcript's setting allows a hundred.
    for ((ask, done), (give_back, given), bytes_max) in [
        ((32, 33), (34, 35), uri_bytes_max(Setting::default().subscriptions_max)),
        ((64, 65), (66, 67), uri_bytes_max(REGISTRATIONS_PER_SESSION_MAX)),
    ] {
        let (done, given) = (format!("[{done},?,"), format!("[{given},?]"));
        let refusal = format!(r#"[8,{ask},?,{{}},"wamp.error.unavailable""#);
        let mut speaker = Speaker::new();
        let uri = |n: usize, length: usize| format!(r#"{{}},"{n:0length$}""#);
        let full = bytes_max / URI_BYTES_MAX;
        for n in 1..=full {
            speaker.check(ask, &uri(n, URI_BYTES_MAX), &done);
        }
        // What is refused changes nothing.
        let rest = bytes_max % URI_BYTES_MAX;
        speaker.check(ask, &uri(0, rest + 1), &refusal);
        if rest > 0 {
            speaker.check(ask, &uri(0, rest), &done);
        }
        speaker.check(ask, &uri(0, 1), &refusal);
        speaker.check(give_back, "7", &given);
        speaker.check(ask, &uri(full + 1, URI_BYTES_MAX), &done);
        speaker.check(ask, &uri(0, 1), &refusal);
        if ask == 32 {
            speaker.check(ask, &uri(1, URI_BYTES_MAX), &done);
            // Nor is what is held already counted twice when it goes.
            speaker.check(give_back, "1", &given);
            speaker.check(ask, &uri(1, URI_BYTES_MAX), &done);
            speaker.check(ask, &uri(0, 1), &refusal);
        }
    }
}

/// Components weigh more than their octets, and as much when they are given back as when they were taken.
#[test]
fn components_of_wildcards_per_session() {
    let bytes_max = uri_bytes_max(Setting::default().subscriptions_max);
    // As many components as a pattern may have, and so long that 32 of them fill everything.
    let open = ".".repeat(WILDCARD_COMPONENTS_MAX - 1);
    let each = bytes_max / 32;
    let word = each - COMPONENT_BYTES * WILDCARD_COMPONENTS_MAX - open.len();
    let subscribe = |matching: &str, uri: &str| format!(r#"{{"match":"{matching}"}},"{uri}""#);
    let wildcard = |n: usize| subscribe("wildcard", &format!("{n:0word$}{open}"));
    let refusal = r#"[8,32,?,{},"wamp.error.unavailable""#;
    let mut speaker = Speaker::new();
    for n in 0..32 {
        speaker.check(32, &wildcard(n), "[33,?,");
    }
    for (matching, uri) in [("exact", "x"), ("prefix", "x"), ("wildcard", "x."), ("wildcard", ".")] {
        speaker.check(32, &subscribe(matching, uri), refusal);
    }
    speaker.check(34, "7", "[35,?]");
    // As many octets fit as were given back: those of the same components, or of one text without any.
    for (matching, uri, fits) in [
        ("exact", "x".repeat(each + 1), false),
        ("wildcard", format!("x{:0word$}{open}", 7), false),
        ("wildcard", "y".repeat(each - COMPONENT_BYTES + 1), false),
        ("wildcard", "y".repeat(each - COMPONENT_BYTES), true),
    ] {
        speaker.check(32, &subscribe(matching, &uri), if fits { "[33,?," } else { refusal });
    }
    speaker.check(32, &subscribe("exact", "x"), refusal);
}
