//! Whatever clients say in whatever order: the right receivers, one answer for each call, no panic, nothing left behind.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use stentor_model::SessionId;

use crate::codec::{self, Serializer};
use crate::router::Settings;
use crate::session::RequestIds;
use crate::transcript::{Setting, World, settings};
use crate::uri::Match;
use crate::value::Value;

const CLIENTS: usize = 4;
const TOPICS: [&str; 6] = ["a", "b", "a.a", "a.b", "b.a", "a.b.a"];
const PATTERNS: [(Match, &str); 10] = [
    (Match::Exact, "a"),
    (Match::Exact, "a.b"),
    (Match::Exact, "b.a"),
    (Match::Prefix, "a"),
    (Match::Prefix, "a."),
    (Match::Prefix, "b."),
    (Match::Wildcard, "a."),
    (Match::Wildcard, ".a"),
    (Match::Wildcard, ".b."),
    (Match::Wildcard, "."),
];
const ROLES: [&str; CLIENTS] = ["user", "other", "user", "other"];

fn world() -> World {
    let any = || Settings { request_ids: RequestIds::Any, ..settings() };
    World::new(Setting { settings: any, ..Setting::default() }, Serializer::Json)
}

/// A message as its values.
fn fields(text: &str) -> Vec<Value> {
    match codec::decode_value(Serializer::Json, text.as_bytes()) {
        Ok(Value::List(fields)) => fields,
        other => panic!("{text} is {other:?}"),
    }
}

fn number(field: &Value) -> u64 {
    field.as_u64().expect("this field is an id")
}

/// Clients that join and say well-formed things, and all that came back.
struct Crowd {
    world: World,
    names: [String; CLIENTS],
    request: u64,
}

impl Crowd {
    fn new() -> Self {
        Self { world: world(), names: std::array::from_fn(|at| format!("c{at}")), request: 0 }
    }

    fn session(&mut self, at: usize) -> Option<SessionId> {
        let place = self.world.place(&self.names[at]);
        self.world.session(place)
    }

    fn joined(&mut self, at: usize) -> bool {
        self.session(at).is_some()
    }

    fn join(&mut self, at: usize, features: &str) {
        let place = self.world.place(&self.names[at]);
        if self.world.session(place).is_none() {
            // Who has been killed comes back on another transport.
            self.world.lose(place);
            self.world.join(&self.names[at], &format!("{}{features}", ROLES[at])).unwrap();
        }
    }

    fn leave(&mut self, at: usize) {
        let place = self.world.place(&self.names[at]);
        self.world.lose(place);
    }

    /// Says `message` with `?` for a fresh request id, which it returns.
    fn say(&mut self, at: usize, message: &str) -> u64 {
        self.request += 1;
        let place = self.world.place(&self.names[at]);
        self.world.receive(place, message.replace('?', &self.request.to_string()).as_bytes());
        self.request
    }

    /// What the clients have got since the last time.
    fn take(&mut self) -> Vec<(usize, Vec<Value>)> {
        let taken = self.world.take();
        taken
            .into_iter()
            .map(|(place, text)| {
                let name = self.world.client(place);
                let at = self.names.iter().position(|one| one == name).unwrap();
                (at, fields(&text))
            })
            .collect()
    }
}

#[derive(Clone, Debug)]
enum PubSub {
    Join(usize),
    Leave(usize),
    Subscribe(usize, usize),
    Unsubscribe(usize, Index),
    Publish(Publish),
}

#[derive(Clone, Debug)]
struct Publish {
    by: usize,
    topic: &'static str,
    exclude_me: bool,
    exclude: Vec<usize>,
    eligible: Option<Vec<usize>>,
    role: Role,
}

impl Publish {
    /// As the publisher says it; who is not there is said to be session 1.
    fn options(&self, crowd: &mut Crowd) -> String {
        let mut list = |clients: &[usize]| {
            let mut id = |at: usize| crowd.session(at).map_or(1, SessionId::get).to_string();
            clients.iter().map(|&at| id(at)).collect::<Vec<_>>().join(",")
        };
        let exclude = list(&self.exclude);
        let mut options = format!(r#""acknowledge":true,"exclude_me":{},"exclude":[{exclude}]"#, self.exclude_me);
        if let Some(eligible) = &self.eligible {
            options += &format!(r#","eligible":[{}]"#, list(eligible));
        }
        match self.role {
            Role::Whichever => {}
            Role::Only(role) => options += &format!(r#","eligible_authrole":["{role}"]"#),
            Role::Not(role) => options += &format!(r#","exclude_authrole":["{role}"]"#),
        }
        options
    }

    fn reaches(&self, at: usize, (matching, uri): (Match, &str)) -> bool {
        matching.matches(uri, self.topic)
            && !(self.exclude_me && at == self.by)
            && !self.exclude.contains(&at)
            && self.eligible.as_ref().is_none_or(|eligible| eligible.contains(&at))
            && self.role.admits(at)
    }
}

#[derive(Clone, Copy, Debug)]
enum Role {
    Whichever,
    Only(&'static str),
    Not(&'static str),
}

impl Role {
    fn admits(self, at: usize) -> bool {
        match self {
            Self::Whichever => true,
            Self::Only(role) => ROLES[at] == role,
            Self::Not(role) => ROLES[at] != role,
        }
    }
}

fn pub_sub() -> impl Strategy<Value = PubSub> {
    let who = || 0..CLIENTS;
    let role = prop_oneof![
        4 => Just(Role::Whichever),
        1 => select(&["user", "other"][..]).prop_map(Role::Only),
        1 => select(&["user", "other"][..]).prop_map(Role::Not),
    ];
    let lists = (proptest::collection::vec(who(), 0..2), proptest::option::of(proptest::collection::vec(who(), 0..4)));
    let publish = (who(), select(&TOPICS[..]), any::<bool>(), lists, role).prop_map(
        |(by, topic, exclude_me, (exclude, eligible), role)| {
            PubSub::Publish(Publish { by, topic, exclude_me, exclude, eligible, role })
        },
    );
    prop_oneof![
        2 => who().prop_map(PubSub::Join),
        1 => who().prop_map(PubSub::Leave),
        6 => (who(), 0..PATTERNS.len()).prop_map(|(at, pattern)| PubSub::Subscribe(at, pattern)),
        3 => (who(), any::<Index>()).prop_map(|(at, which)| PubSub::Unsubscribe(at, which)),
        6 => publish,
    ]
}

/// Who holds which pattern under which subscription id.
#[derive(Default)]
struct NaiveBroker(BTreeSet<(usize, usize, u64)>);

impl NaiveBroker {
    fn step(&mut self, crowd: &mut Crowd, step: PubSub) {
        match step {
            PubSub::Join(at) => crowd.join(at, ""),
            PubSub::Leave(at) => {
                crowd.leave(at);
                self.0.retain(|(holder, ..)| *holder != at);
            }
            PubSub::Subscribe(at, _) | PubSub::Unsubscribe(at, _) | PubSub::Publish(Publish { by: at, .. })
                if !crowd.joined(at) => {}
            PubSub::Subscribe(at, pattern) => {
                let (matching, uri) = PATTERNS[pattern];
                crowd.say(at, &format!(r#"[32,?,{{"match":"{}"}},"{uri}"]"#, matching.name()));
                let got = crowd.take();
                assert_eq!(got.len(), 1);
                assert_eq!(number(&got[0].1[0]), 33);
                let id = number(&got[0].1[2]);
                // One id for one pattern, another for another.
                assert!(self.0.iter().all(|(_, other, theirs)| (*other == pattern) == (*theirs == id)));
                self.0.insert((at, pattern, id));
            }
            PubSub::Unsubscribe(at, which) => {
                let ids: Vec<_> = self.0.iter().map(|(.., id)| *id).collect();
                let id = if ids.is_empty() { 99 } else { ids[which.index(ids.len())] };
                let held = self.0.iter().any(|(holder, _, theirs)| *holder == at && *theirs == id);
                crowd.say(at, &format!("[34,?,{id}]"));
                let got = crowd.take();
                assert_eq!(got.len(), 1);
                assert_eq!(number(&got[0].1[0]), if held { 35 } else { 8 });
                self.0.retain(|(holder, _, theirs)| *holder != at || *theirs != id);
            }
            PubSub::Publish(publish) => self.publish(crowd, &publish),
        }
    }

    fn publish(&self, crowd: &mut Crowd, publish: &Publish) {
        let options = publish.options(crowd);
        crowd.say(publish.by, &format!(r#"[16,?,{{{options}}},"{}"]"#, publish.topic));
        let mut got = crowd.take();
        let (_, published) = got.pop().expect("it was acknowledged");
        assert_eq!(number(&published[0]), 17);
        let mut events: Vec<_> = got
            .into_iter()
            .map(|(at, event)| {
                assert_eq!(event[2], published[2], "one publication id for all");
                (at, number(&event[1]))
            })
            .collect();
        let expected = self.0.iter().filter(|(at, pattern, _)| publish.reaches(*at, PATTERNS[*pattern]));
        let mut expected: Vec<_> = expected.map(|(at, _, id)| (*at, *id)).collect();
        events.sort_unstable();
        expected.sort_unstable();
        assert_eq!(events, expected, "{} {options}", publish.topic);
    }
}

#[derive(Clone, Copy, Debug)]
enum Rpc {
    Join(usize),
    Leave(usize),
    Register(usize, usize),
    Unregister(usize, u64),
    Call { by: usize, procedure: usize, progress: bool },
    Yield { by: usize, invocation: u64, piece: bool },
    Error { by: usize, invocation: u64 },
    Cancel { by: usize, which: usize, mode: &'static str },
}

fn rpc() -> impl Strategy<Value = Rpc> {
    let who = || 0..CLIENTS;
    let modes = select(&["skip", "kill", "killnowait"][..]);
    prop_oneof![
        2 => who().prop_map(Rpc::Join),
        1 => who().prop_map(Rpc::Leave),
        3 => (who(), 0..3_usize).prop_map(|(at, procedure)| Rpc::Register(at, procedure)),
        1 => (who(), 1..6_u64).prop_map(|(at, id)| Rpc::Unregister(at, id)),
        8 => (who(), 0..3_usize, any::<bool>()).prop_map(|(by, procedure, progress)| Rpc::Call { by, procedure, progress }),
        5 => (who(), 1..12_u64, any::<bool>()).prop_map(|(by, invocation, piece)| Rpc::Yield { by, invocation, piece }),
        2 => (who(), 1..12_u64).prop_map(|(by, invocation)| Rpc::Error { by, invocation }),
        3 => (who(), 0..4_usize, modes).prop_map(|(by, which, mode)| Rpc::Cancel { by, which, mode }),
    ]
}

/// The calls that wait for their last word, and the invocations that each callee has been given.
#[derive(Default)]
struct NaiveDealer {
    open: BTreeMap<(usize, u64), bool>,
    given: HashMap<usize, u64>,
}

impl NaiveDealer {
    fn step(&mut self, crowd: &mut Crowd, step: Rpc) {
        match step {
            // Every second client can be interrupted.
            Rpc::Join(at) => crowd.join(at, if at % 2 == 0 { " canceling progressive" } else { "" }),
            Rpc::Leave(at) => {
                crowd.leave(at);
                self.open.retain(|(caller, _), _| *caller != at);
                self.given.remove(&at);
            }
            Rpc::Register(at, _)
            | Rpc::Unregister(at, _)
            | Rpc::Call { by: at, .. }
            | Rpc::Yield { by: at, .. }
            | Rpc::Error { by: at, .. }
            | Rpc::Cancel { by: at, .. }
                if !crowd.joined(at) => {}
            Rpc::Register(at, procedure) => drop(crowd.say(at, &format!(r#"[64,?,{{}},"p{procedure}"]"#))),
            Rpc::Unregister(at, id) => drop(crowd.say(at, &format!("[66,?,{id}]"))),
            Rpc::Call { by, procedure, progress } => {
                self.open.insert((by, crowd.request + 1), progress);
                crowd.say(by, &format!(r#"[48,?,{{"receive_progress":{progress}}},"p{procedure}"]"#));
            }
            Rpc::Yield { by, invocation, piece } if invocation <= self.given_to(by) => {
                crowd.say(by, &format!(r#"[70,{invocation},{{"progress":{piece}}}]"#));
            }
            Rpc::Error { by, invocation } if invocation <= self.given_to(by) => {
                crowd.say(by, &format!(r#"[8,68,{invocation},{{}},"x.y"]"#));
            }
            // Answering what was never asked ends the session; other tests look at that.
            Rpc::Yield { .. } | Rpc::Error { .. } => {}
            Rpc::Cancel { by, which, mode } => {
                let open = self.open.keys().filter(|(caller, _)| *caller == by).nth(which);
                if let Some((_, request)) = open {
                    crowd.say(by, &format!(r#"[49,{request},{{"mode":"{mode}"}}]"#));
                }
            }
        }
        self.settle(crowd);
    }

    fn given_to(&self, callee: usize) -> u64 {
        self.given.get(&callee).copied().unwrap_or(0)
    }

    /// Takes what came back: each call may have pieces, when it wants them, and one last word.
    fn settle(&mut self, crowd: &mut Crowd) {
        for (at, fields) in crowd.take() {
            let last = match number(&fields[0]) {
                68 => {
                    assert_eq!(number(&fields[1]), self.given_to(at) + 1, "invocations count from 1 by 1");
                    *self.given.entry(at).or_default() += 1;
                    continue;
                }
                50 => (number(&fields[1]), fields[2].as_dict().unwrap().get("progress").is_none()),
                8 if number(&fields[1]) == 48 => (number(&fields[2]), true),
                _ => continue,
            };
            let (request, last) = last;
            let progress = *self.open.get(&(at, request)).expect("an answer to a call that waits for none");
            if last {
                self.open.remove(&(at, request));
            } else {
                assert!(progress, "a piece for a caller who wants the whole");
            }
        }
    }
}

/// Messages of every type with ids and URIs from a small world, some with one field replaced by nonsense.
fn messages() -> impl Strategy<Value = String> {
    let code = select(&[1, 3, 5, 6, 8, 16, 32, 34, 48, 49, 64, 66, 70, 2, 36, 99][..]);
    let id = || 0..6_u64;
    let uri = select(
        &[
            "a",
            "a.b",
            "a.",
            "",
            "a b",
            "wamp.session.kill_all",
            "wamp.session.list",
            "wamp.session.count",
            "wamp.subscription.list",
            "wamp.subscription.get",
            "wamp.session.on_leave",
            "wamp.subscription.on_create",
        ][..],
    );
    let options = select(
        &[
            "{}",
            r#"{"match":"prefix"}"#,
            r#"{"match":"wildcard","get_retained":true}"#,
            r#"{"acknowledge":true,"retain":true}"#,
            r#"{"mode":"kill"}"#,
            r#"{"mode":"skip"}"#,
            r#"{"progress":true,"receive_progress":true}"#,
            r#"{"roles":{"caller":{}}}"#,
            "[]",
        ][..],
    );
    let payload = select(&["", "", ",[1]", ",[[]],{}", ",[],{\"reason\":\"a.b\"}", ",{}"][..]);
    (code, id(), id(), options, uri, payload).prop_map(|(code, one, two, options, uri, payload)| match code {
        1 => format!(r#"[1,"realm1",{options}]"#),
        3 | 6 => format!(r#"[{code},{options},"{uri}"]"#),
        5 => format!(r#"[5,"{uri}",{options}]"#),
        8 => format!(r#"[8,68,{one},{options},"{uri}"{payload}]"#),
        34 | 66 => format!("[{code},{one},{two}]"),
        49 => format!("[49,{one},{options}]"),
        70 => format!("[70,{one},{options}{payload}]"),
        _ => format!(r#"[{code},{one},{options},"{uri}"{payload}]"#),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_broker_finds_the_receivers_that_a_naive_one_finds(steps in proptest::collection::vec(pub_sub(), 1..60)) {
        let (mut crowd, mut naive) = (Crowd::new(), NaiveBroker::default());
        for step in steps {
            naive.step(&mut crowd, step);
        }
        (0..CLIENTS).for_each(|at| crowd.leave(at));
        prop_assert!(crowd.world.router.is_empty());
    }

    #[test]
    fn every_call_gets_one_last_word(steps in proptest::collection::vec(rpc(), 1..80)) {
        let (mut crowd, mut naive) = (Crowd::new(), NaiveDealer::default());
        for step in steps {
            naive.step(&mut crowd, step);
        }
        // Once all callees have spoken, nobody waits.
        for by in 0..CLIENTS {
            for invocation in 1..=naive.given_to(by) {
                naive.step(&mut crowd, Rpc::Yield { by, invocation, piece: false });
            }
        }
        prop_assert!(naive.open.is_empty(), "these wait in vain: {:?}", naive.open);
        (0..CLIENTS).for_each(|at| crowd.leave(at));
        prop_assert!(crowd.world.router.is_empty());
    }

    #[test]
    fn whatever_is_said_nothing_is_left_behind(said in proptest::collection::vec((0..CLIENTS, messages(), any::<bool>()), 1..60)) {
        let mut crowd = Crowd::new();
        for (at, message, joins) in said {
            if joins {
                crowd.join(at, " canceling");
            }
            let place = crowd.world.place(&crowd.names[at]);
            crowd.world.receive(place, message.as_bytes());
            crowd.world.take();
        }
        (0..CLIENTS).for_each(|at| crowd.leave(at));
        prop_assert!(crowd.world.router.is_empty());
    }
}
