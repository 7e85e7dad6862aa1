//! Signals while everybody publishes: what has been acknowledged has arrived, whatever the moment.
//!
//! The moments are random, and counted in acknowledgements instead of time.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cli::{Process, configure, home};
use crate::client::{Client, Offer};
use crate::endpoints::{certificate, tls};
use crate::house::{pusher, soon, web};
use crate::http::{Http, Stream};

/// Publishers by POST, and as many by sessions.
const PUBLISHERS: usize = 3;

/// Each publisher is a source for each of the topics.
const SOURCES: usize = 2 * PUBLISHERS * TOPICS.len();

const SUBSCRIBERS: usize = 4;

/// The second one is for the reload.
const TOPICS: [&str; 2] = ["com.load.kept", "com.load.lost"];

/// PUBLISH messages that a session has under way.
const PIPELINE: u64 = 4;

/// How to reach the node.
#[derive(Clone)]
struct Way {
    address: SocketAddr,
    /// Where the certificate is, for TLS.
    secured: Option<Arc<Path>>,
}

impl Way {
    async fn stream(&self) -> Box<dyn Stream> {
        match &self.secured {
            Some(dir) => Box::new(tls(self.address, dir).await),
            None => Box::new(TcpStream::connect(self.address).await.unwrap()),
        }
    }

    async fn join(&self) -> Client {
        let mut client = Client::open(self.stream().await, Offer::default()).await.unwrap();
        client.join("realm1").await;
        client
    }
}

/// What publishers have been promised.
struct Promises {
    /// The last number of each source that was acknowledged; all before it were too.
    last: [AtomicU64; SOURCES],
    /// The last number of each source that was refused.
    refused: [AtomicU64; SOURCES],
    total: watch::Sender<u64>,
    /// Publishers go on as long as this is not set.
    enough: watch::Sender<bool>,
}

impl Promises {
    fn new() -> Arc<Self> {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        let (total, enough) = (watch::channel(0).0, watch::channel(false).0);
        Arc::new(Self { last: zeros(), refused: zeros(), total, enough })
    }

    /// A publication was acknowledged. Whoever was refused once is not let through again.
    fn acknowledged(&self, source: usize, number: u64) {
        assert_eq!(self.refused[source].load(Ordering::SeqCst), 0, "source {source}, {number}");
        assert_eq!(self.last[source].swap(number, Ordering::SeqCst), number - 1, "source {source}");
        self.total.send_modify(|total| *total += 1);
    }

    fn refused(&self, source: usize, number: u64) {
        self.refused[source].store(number, Ordering::SeqCst);
        self.total.send_modify(|total| *total += 1);
    }

    /// Waits until so many more have been answered.
    async fn wait_for(&self, more: u64) {
        let mut total = self.total.subscribe();
        let wanted = *total.borrow() + more;
        soon("acknowledgements", total.wait_for(|total| *total >= wanted)).await.unwrap();
    }

    fn promised(&self) -> Vec<u64> {
        self.last.iter().map(|last| last.load(Ordering::SeqCst)).collect()
    }
}

/// POSTs to the topics in turn until it is enough or the node hangs up.
async fn post(mut http: Http, publisher: usize, topics: usize, promises: Arc<Promises>) {
    for number in 1.. {
        for (at, topic) in TOPICS.iter().enumerate().take(topics) {
            let source = publisher * TOPICS.len() + at;
            let body = json!({"topic": topic, "args": [source, number]}).to_string();
            http.send_unless_refused(&crate::http::post("/push", &[], body.as_bytes())).await;
            if *promises.enough.borrow() || http.is_closed().await {
                return;
            }
            let reply = http.reply().await;
            match reply.status {
                202 => promises.acknowledged(source, number),
                403 => promises.refused(source, number),
                // The node goes down and says so.
                503 => return,
                other => panic!("{other} {}", reply.text()),
            }
        }
    }
}

/// Publishes to the topics in turn, several at a time, until it is enough or the node says GOODBYE.
async fn publish(mut session: Client, publisher: usize, topics: usize, promises: Arc<Promises>) {
    let mut number = 0;
    while !*promises.enough.borrow() {
        let mut requests = Vec::new();
        for _ in 0..PIPELINE {
            number += 1;
            for (at, topic) in TOPICS.iter().enumerate().take(topics) {
                let source = publisher * TOPICS.len() + at;
                let request = session.request();
                session.send(json!([16, request, {"acknowledge": true}, topic, [source, number]])).await;
                requests.push((request, source, number));
            }
        }
        for (request, source, number) in requests {
            let answer = session.message().await;
            match answer[0].as_u64() {
                Some(17) => {
                    assert_eq!(answer[1], request);
                    promises.acknowledged(source, number);
                }
                Some(8) => {
                    // The second word is said by a node that goes down.
                    let words = ["wamp.error.not_authorized", "wamp.error.unavailable"];
                    assert!(answer[2] == request && words.iter().any(|word| answer[4] == *word), "{answer}");
                    promises.refused(source, number);
                }
                Some(6) => return leave(session).await,
                _ => panic!("{answer}"),
            }
        }
    }
    // A session that goes away early would end the test's own promise that nobody is dropped.
    session.publish("com.load.end", json!([])).await;
}

/// Answers a GOODBYE; nothing but Close may follow.
async fn leave(mut session: Client) {
    session.send(json!([6, {}, "wamp.close.goodbye_and_out"])).await;
    session.expect_close(1000).await;
}

/// Subscribes to all topics.
async fn audience(way: &Way) -> Vec<Client> {
    let mut sessions = Vec::new();
    for _ in 0..SUBSCRIBERS {
        let mut session = way.join().await;
        for topic in TOPICS {
            session.subscribe(topic).await;
        }
        sessions.push(session);
    }
    sessions
}

/// The last number of each source that a subscriber has.
#[derive(Default)]
struct Heard([u64; SOURCES]);

impl Heard {
    /// Takes the next message; `false` for GOODBYE. Every source's events come in order and without a hole.
    fn take(&mut self, message: &Value) -> bool {
        if message[0] == 6 {
            assert_eq!(message[2], "wamp.close.system_shutdown");
            return false;
        }
        assert_eq!(message[0], 36, "{message}");
        let source = usize::try_from(message[4][0].as_u64().unwrap()).unwrap();
        let number = message[4][1].as_u64().unwrap();
        assert_eq!(number, self.0[source] + 1, "source {source}");
        self.0[source] = number;
        true
    }

    /// Nothing that was promised is missing.
    fn check(&self, promised: &[u64], words: &str) {
        for (source, (heard, promised)) in self.0.iter().zip(promised).enumerate() {
            assert!(heard >= promised, "{words}: source {source} was promised {promised}, heard {heard}");
        }
    }
}

/// Reads up to GOODBYE, and leaves.
async fn listen(mut session: Client) -> Heard {
    let mut heard = Heard::default();
    while heard.take(&session.message().await) {}
    leave(session).await;
    heard
}

/// Publishers at work. All of them are connected and joined by then: whoever is still joining has no GOODBYE to wait for.
async fn crowd(way: &Way, topics: usize, promises: &Arc<Promises>) -> Vec<JoinHandle<()>> {
    let mut connections = Vec::new();
    for _ in 0..PUBLISHERS {
        connections.push((Http::over(way.stream().await), way.join().await));
    }
    let mut publishers = Vec::new();
    for (at, (http, session)) in connections.into_iter().enumerate() {
        publishers.push(tokio::spawn(post(http, at, topics, Arc::clone(promises))));
        publishers.push(tokio::spawn(publish(session, PUBLISHERS + at, topics, Arc::clone(promises))));
    }
    publishers
}

/// A node whose anonymous role may publish to the second topic, or not any more.
fn config(second: bool) -> Value {
    let mut config = web(json!({"push": pusher(json!({}))}));
    let all = |publish: bool| json!({"publish": publish, "subscribe": true});
    config["workers"][0]["realms"][0]["roles"][0]["permissions"] = json!([
        {"uri": "com.load.", "match": "prefix", "allow": all(true)},
        {"uri": TOPICS[1], "match": "exact", "allow": all(second)},
    ]);
    config
}

/// A running node, and how to reach it.
fn start(dir: &TempDir, threads: usize, secured: Option<Arc<Path>>) -> (Process, Way) {
    let process = Process::with_threads(dir.path(), threads);
    let address = process.address();
    (process, Way { address, secured })
}

/// SIGTERM after a random number of acknowledgements, so many times.
async fn check_drain(threads: usize, secured: bool, rounds: u32) {
    let files = tempfile::tempdir().unwrap();
    let mut config = config(true);
    if secured {
        config["workers"][0]["transports"][0]["endpoint"]["tls"] = certificate(files.path());
    }
    let dir = home(&config);
    for round in 0..rounds {
        let (mut process, way) = start(&dir, threads, secured.then(|| files.path().into()));
        let promises = Promises::new();
        let listeners: Vec<_> = audience(&way).await.into_iter().map(|one| tokio::spawn(listen(one))).collect();
        let publishers = crowd(&way, 1, &promises).await;
        let moment = RandomState::new().hash_one(round) % 400;
        promises.wait_for(moment).await;
        let before = promises.promised();
        process.signal(Signal::TERM);
        for publisher in publishers {
            soon("a publisher's end", publisher).await.unwrap();
        }
        for listener in listeners {
            let heard = soon("a subscriber's end", listener).await.unwrap();
            heard.check(&before, &format!("before the signal at {moment}"));
            heard.check(&promises.promised(), &format!("after the signal at {moment}"));
        }
        let lines = process.wait_for("stopped");
        // Everybody answered, so nobody had to be given up when the time for it was over.
        assert!(!lines.iter().any(|line| line.contains("did not answer")), "{lines:#?}");
        assert_eq!(process.exit_code(), Some(0));
    }
}

#[tokio::test]
async fn sigterm_loses_nothing_acknowledged_on_one_thread() {
    check_drain(1, false, 10).await;
}

#[tokio::test]
async fn sigterm_loses_nothing_acknowledged_on_two_threads() {
    check_drain(2, false, 10).await;
}

#[tokio::test]
async fn sigterm_loses_nothing_acknowledged_over_tls() {
    check_drain(1, true, 3).await;
    check_drain(2, true, 5).await;
}

#[tokio::test]
async fn sighup_changes_permissions_under_load_and_drops_nobody() {
    for threads in [1, 2] {
        let dir = home(&config(true));
        let (mut process, way) = start(&dir, threads, None);
        let promises = Promises::new();
        let mut subscribers = audience(&way).await;
        let publishers = crowd(&way, TOPICS.len(), &promises).await;
        promises.wait_for(100).await;
        configure(dir.path(), &config(false));
        process.signal(Signal::HUP);
        process.wait_for("reloaded");
        let reloaded = promises.promised();
        promises.wait_for(200).await;
        promises.enough.send_replace(true);
        for publisher in publishers {
            soon("a publisher's end", publisher).await.unwrap();
        }
        let promised = promises.promised();
        for publisher in 0..2 * PUBLISHERS {
            let (kept, lost) = (publisher * TOPICS.len(), publisher * TOPICS.len() + 1);
            assert!(promised[kept] > reloaded[kept], "publisher {publisher} was held up");
            assert!(promises.refused[lost].load(Ordering::SeqCst) > 0, "publisher {publisher} was not refused");
            // What was under way at the reload may still have been let through.
            assert!(promised[lost] <= reloaded[lost] + PIPELINE, "publisher {publisher} was let through");
        }
        for session in &mut subscribers {
            let mut heard = Heard::default();
            while heard.0.iter().zip(&promised).any(|(heard, promised)| heard < promised) {
                assert!(heard.take(&session.message().await));
            }
        }
        process.signal(Signal::TERM);
        for session in subscribers {
            listen_to_the_rest(session).await;
        }
        assert_eq!(process.exit_code(), Some(0));
    }
}

/// A POST that nobody waited for may have come through; then GOODBYE.
async fn listen_to_the_rest(mut session: Client) {
    while session.message().await[0] == 36 {}
    leave(session).await;
}
