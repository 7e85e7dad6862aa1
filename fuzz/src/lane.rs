//! The express lane of the pusher beside the way through hyper: the same octets, the same answers, however they are cut.
//!
//! A whole connection is served, from the stream to the realm, so that handing over between the two ways is looked at as
//! well. Time is the runtime's own and stands still while anything can go on: what follows a piece is sent when all that the
//! piece could cause has happened.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::json;
use stentor::clock::Clock;
use stentor::config::{self, NodeConfig, Surroundings, Syntax};
use stentor::fanout::shard::Shard;
use stentor::http::{Arrival, Ingress, Remote, serve};
use stentor::meter::Tally;
use stentor::node::hubs::Hubs;
use stentor::node::wiring::{Echo, directories, wire};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, LocalOptions};

/// Octets that fit into the stream between client and server: more than any input, and than all of its answers.
const STREAM_BYTES: usize = 1 << 20;

/// For as long as the server has something to do: this clock goes on when nobody has.
const UNTIL_IDLE: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// From the express lane on.
    Lane,
    /// Never on it.
    Hyper,
}

/// The first octet says how the others are cut.
pub(crate) fn both_ways(data: &[u8]) {
    let Some((&seed, octets)) = data.split_first() else { return };
    let pieces = cut(octets, seed);
    let [whole, parts] = [&[octets][..], &pieces].map(|pieces| {
        let express = converse(Way::Lane, pieces);
        assert_eq!(express, converse(Way::Hyper, pieces), "in {} pieces, by both ways", pieces.len());
        express
    });
    assert_eq!(parts.effects(), whole.effects(), "in {} pieces, and at once", pieces.len());
}

/// Pieces of some octet each up to a quarter of a kilobyte, in a row that only depends on `seed`.
fn cut(mut octets: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut state = u32::from(seed);
    let mut pieces = Vec::new();
    while !octets.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = 1 + (state >> 24) as usize;
        let (piece, rest) = octets.split_at(length.min(octets.len()));
        pieces.push(piece);
        octets = rest;
    }
    pieces
}

/// What a client has seen and the server has counted, without what depends on the moment.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// The lines of each answer, sorted: the order of headers says nothing.
    answers: Vec<Vec<String>>,
    numbers: Vec<u64>,
    closed: String,
    requests: String,
}

impl Outcome {
    /// What came of complete requests. Whether half a head is called malformed before its end depends on how it arrives:
    /// hyper waits for the end of a head that did not come at once.
    fn effects(&self) -> (&[Vec<String>], &[u64], &str) {
        let is_about_half =
            |answer: &Vec<String>| *answer == ["", "", "400 Bad Request", "connection: close", "content-length: 0"];
        let answers = match self.answers.split_last() {
            Some((last, before)) if is_about_half(last) => before,
            _ => &self.answers,
        };
        (answers, &self.numbers, &self.requests)
    }
}

/// A connection to a fresh server, over which these pieces are sent one after the other.
fn converse(way: Way, pieces: &[&[u8]]) -> Outcome {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build_local(LocalOptions::default());
    runtime.expect("a runtime without sockets needs nothing").block_on(async {
        let ingress = ingress(way);
        let shard = Shard::new(Arc::default(), Arc::new(Clock::default()), 7);
        let (near, mut far) = tokio::io::duplex(STREAM_BYTES);
        let place = ingress.crowd.enter(None).expect("nobody else is there");
        let remote = Remote { address: None, tls: false };
        let (_up, down) = tokio::sync::watch::channel(false);
        let arrival = Arrival::Owned(Box::new(near));
        let served = tokio::task::spawn_local(serve(arrival, remote, place, ingress, shard.clone(), down));
        for piece in pieces {
            if far.write_all(piece).await.is_err() {
                // The server has closed.
                break;
            }
            tokio::time::sleep(UNTIL_IDLE).await;
        }
        // A server that has closed already does not mind.
        let _ = far.shutdown().await;
        let mut answers = Vec::new();
        far.read_to_end(&mut answers).await.expect("a stream in memory has no faults");
        served.await.expect("nothing panics");
        Outcome {
            answers: lasting(&answers),
            numbers: shard.meters.numbers(),
            closed: format!("{:?}", shard.meters.closed),
            requests: format!("{:?}", shard.meters.requests),
        }
    })
}

/// Where each request is logged there is one way only, and nobody listens to the log here.
fn config(way: Way) -> NodeConfig {
    let allow = json!({"publish": true, "subscribe": true, "call": true, "register": true});
    let role =
        |name: &str, uri: &str| json!({"name": name, "permissions": [{"uri": uri, "match": "prefix", "allow": allow}]});
    let service =
        |kind: &str, role: &str, options| json!({"type": kind, "realm": "realm1", "role": role, "options": options});
    let text = json!({"version": 2, "workers": [{
        "type": "router",
        "realms": [{"name": "realm1", "roles": [role("open", ""), role("narrow", "com.")]}],
        "transports": [{
            "type": "web",
            "endpoint": {"type": "tcp", "port": 0, "interface": "127.0.0.1"},
            "options": {"access_log": way == Way::Hyper},
            "paths": {
                "/": {"type": "json", "value": {}},
                "push": service("pusher", "open", json!({"post_body_limit": 300})),
                "publish": service("publisher", "narrow", json!({})),
                "signed": service("pusher", "open", json!({"key": "foobar", "secret": SECRET})),
            },
        }],
    }]})
    .to_string();
    let surroundings = Surroundings { node_dir: "/".as_ref(), env: &|_| None, exists: &|_| true };
    let report = config::parse(&text, Syntax::Json, "fuzz", &surroundings);
    report.config.unwrap_or_else(|| panic!("{:?}", report.faults))
}

/// A realm and a transport that nobody has used. Reading the configuration takes longer than all that follows.
fn ingress(way: Way) -> Arc<Ingress> {
    static CONFIGS: LazyLock<[NodeConfig; 2]> = LazyLock::new(|| [Way::Lane, Way::Hyper].map(config));
    let config = &CONFIGS[way as usize];
    let shared = (&Tally::new(1), &Arc::new(Clock::default()));
    let realms = directories(config, &mut || 7);
    let wiring = wire(config, Echo::Refused, shared, (&Hubs::default(), &[], realms), &mut || 7);
    Arc::clone(&wiring.expect("the configuration above is sound").routers[0].fronts[0])
}

fn lasting(answers: &[u8]) -> Vec<Vec<String>> {
    let text = String::from_utf8_lossy(answers);
    let lines = |answer: &str| {
        let mut lines: Vec<_> =
            answer.split("\r\n").filter(|line| !line.starts_with("date: ")).map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    text.split("HTTP/1.1 ").map(lines).collect()
}

const SECRET: &str = "secret";

/// Connections that are worth beginning with.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    const JSON: &str = "Content-Type: application/json\r\n";
    let body = r#"{"topic":"com.a","args":[1]}"#;
    let post = |target: &str, headers: &str, body: &str| {
        let length = body.len();
        format!("POST {target} HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
    };
    let plain = post("/push", JSON, body);
    let usual = "Connection: keep-alive\r\nAccept: */*\r\nUser-Agent: x\r\nX-Request-Id: 7\r\n";
    let signed = {
        let query = "key=foobar&timestamp=2011-10-14T16:59:51.123Z&seq=1&nonce=2";
        let text = ["foobar", "2011-10-14T16:59:51.123Z", "1", "2", body].concat();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), text.as_bytes());
        post(&format!("/signed?{query}&signature={}", URL_SAFE_NO_PAD.encode(tag)), JSON, body)
    };
    let chunked = format!(
        "POST /push HTTP/1.1\r\nHost: a\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let seeds = [
        ("plain", plain.clone()),
        ("pipelined", plain.repeat(3)),
        ("usual", post("/push", &format!("{JSON}{usual}"), body)),
        ("publisher", post("/publish?a=b", "", body)),
        ("forbidden", post("/publish", JSON, r#"{"topic":"org.a"}"#)),
        ("signed", signed.clone()),
        ("signed-twice", signed.repeat(2)),
        ("unsigned", post("/signed", JSON, body)),
        ("too-large", post("/push", JSON, &" ".repeat(301))),
        ("nonsense", post("/push", JSON, "nonsense")),
        ("empty", post("/push", JSON, "")),
        ("batch", [&*plain, &post("/push", JSON, &format!("[{body}]")), &plain].concat()),
        ("elsewhere", [&plain, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", &plain].concat()),
        ("text", post("/push", "Content-Type: text/plain\r\n", body)),
        ("twice", post("/push", &JSON.repeat(2), body)),
        ("two-hosts", post("/push", &format!("{JSON}Host: b\r\n"), body)),
        ("two-lengths", post("/push", &format!("{JSON}Content-Length: 3\r\n"), body)),
        ("chunked", [&*chunked, &plain].concat()),
        ("expect", post("/push", &format!("{JSON}Expect: 100-continue\r\n"), body)),
        ("close", post("/push", &format!("{JSON}Connection: close\r\n"), body)),
        ("old", plain.replace("HTTP/1.1", "HTTP/1.0")),
        ("line-feeds", plain.replace("\r\n", "\n")),
        ("escaped", post("/%70ush", JSON, body)),
        ("options", post("/push", JSON, r#"{"topic":"com.a","options":{"acknowledge":true,"exclude_me":7}}"#)),
        ("half", plain[..plain.len() - 5].to_owned()),
        ("garbage-behind", plain + "\x07garbage\r\n\r\n"),
    ];
    seeds.map(|(name, text)| (name, [b"*", text.as_bytes()].concat())).to_vec()
}
