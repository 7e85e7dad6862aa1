//! A hub that is killed while everybody publishes, again and again: what has been acknowledged reaches every subscriber, in
//! order, and what comes again comes under the same id.
//!
//! The moments are random, and counted in acknowledgements instead of time. `STENTOR_KILLS` says how often.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cli::{Process, home};
use crate::house::soon;
use crate::http::{Http, request};
use crate::hub::hub;

/// Some twenty seconds of them.
const KILLS: u64 = 50;

const TOPICS: usize = 4;

const SUBSCRIBERS: usize = 4;

/// This one fails now and then.
const UNRELIABLE: usize = 3;

/// Half of them send again, under the same key, what they got no answer to.
const PUBLISHERS: usize = 6;

/// Acknowledgements between two kills at most.
const LIFE_MAX: u64 = 300;

fn topic(at: usize) -> String {
    format!("https://example.com/kill/{at}")
}

/// A delivery as it arrived.
#[derive(Debug)]
struct Delivery {
    /// Which life of the hub sent it: its URL, whose port the system chose anew for each.
    life: String,
    sequence: u64,
    publication: u64,
    text: String,
    accepted: bool,
}

/// What a receiver does with a delivery.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Accept,
    Fail,
    /// The connection ends without an answer.
    Reset,
    /// The answer never comes.
    Hang,
}

/// One publication, as its publisher knows it.
#[derive(Debug)]
struct Promise {
    topic: usize,
    publication: u64,
    sequence: u64,
    text: String,
}

/// What everybody in the test has seen so far.
struct Witness {
    /// By subscriber and topic.
    deliveries: Mutex<HashMap<(usize, usize), Vec<Delivery>>>,
    promises: Mutex<Vec<Promise>>,
    acknowledged: watch::Sender<u64>,
    /// Changes with every delivery that was accepted.
    accepted: watch::Sender<u64>,
    posts: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Witness {
    fn new() -> Arc<Self> {
        let zero = || watch::channel(0).0;
        let (acknowledged, accepted) = (zero(), zero());
        Arc::new(Self {
            deliveries: Mutex::default(),
            promises: Mutex::default(),
            acknowledged,
            accepted,
            posts: AtomicUsize::new(0),
        })
    }

    fn manner(&self, subscriber: usize) -> Manner {
        let count = self.posts.fetch_add(1, Ordering::Relaxed);
        match subscriber {
            UNRELIABLE if count.is_multiple_of(499) => Manner::Hang,
            UNRELIABLE if count.is_multiple_of(31) => Manner::Reset,
            UNRELIABLE if count.is_multiple_of(7) => Manner::Fail,
            _ => Manner::Accept,
        }
    }

    /// Answers one request: a question with its challenge, a delivery by its receiver's manner.
    async fn answer(&self, asked: Request<Incoming>) -> Result<Response<Full<Bytes>>, &'static str> {
        let (head, body) = asked.into_parts();
        let challenge =
            head.uri.query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("hub.challenge=")));
        if let Some(challenge) = challenge {
            return Ok(Response::new(Full::from(challenge.to_owned())));
        }
        let body = body.collect().await.map_err(|_| "the hub was killed")?.to_bytes();
        let mut numbers = head.uri.path().split('/').skip(1).map(|number| number.parse::<usize>().unwrap());
        let place @ (subscriber, _) = (numbers.next().unwrap(), numbers.next().unwrap());
        let manner = self.manner(subscriber);
        let field = |name: &str| head.headers.get(name).unwrap().to_str().unwrap().to_owned();
        let number = |name: &str| field(name).parse().unwrap();
        lock(&self.deliveries).entry(place).or_default().push(Delivery {
            life: field("link").split('>').next().unwrap().to_owned(),
            sequence: number("stentor-sequence"),
            publication: number("stentor-publication"),
            text: String::from_utf8(body.to_vec()).unwrap(),
            accepted: manner == Manner::Accept,
        });
        let mut response = Response::new(Full::default());
        match manner {
            Manner::Accept => self.accepted.send_modify(|count| *count += 1),
            Manner::Fail => *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR,
            Manner::Reset => return Err("on purpose"),
            Manner::Hang => std::future::pending().await,
        }
        Ok(response)
    }

    /// Serves all subscribers; gives the address.
    async fn receive(self: &Arc<Self>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let witness = Arc::clone(self);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let witness = Arc::clone(&witness);
                tokio::spawn(async move {
                    let service = service_fn(|asked| witness.answer(asked));
                    drop(
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await,
                    );
                });
            }
        });
        address
    }

    /// Waits until so many more publications have been acknowledged.
    async fn wait_for(&self, more: u64) {
        let mut acknowledged = self.acknowledged.subscribe();
        let wanted = *acknowledged.borrow() + more;
        soon("acknowledgements", acknowledged.wait_for(|count| *count >= wanted)).await.unwrap();
    }

    /// Whether all of this has been accepted everywhere.
    fn is_complete(&self) -> bool {
        let mut ends = [0; TOPICS];
        lock(&self.promises).iter().for_each(|promise| ends[promise.topic] = promise.sequence.max(ends[promise.topic]));
        let deliveries = lock(&self.deliveries);
        let reached = |place: &(usize, usize)| {
            let accepted = deliveries.get(place).into_iter().flatten().filter(|one| one.accepted);
            accepted.map(|one| one.sequence).max().unwrap_or(0)
        };
        (0..SUBSCRIBERS).all(|subscriber| (0..TOPICS).all(|topic| reached(&(subscriber, topic)) >= ends[topic]))
    }

    /// How much was checked, for whoever asks for the output of a test that passed.
    #[expect(clippy::print_stdout, reason = "the runner shows it to whoever asks")]
    fn tell(&self) {
        let (deliveries, promises) = (lock(&self.deliveries), lock(&self.promises).len());
        let all = || deliveries.values().flatten();
        let accepted = all().filter(|delivery| delivery.accepted).count();
        let distinct: usize = deliveries.values().map(|arrived| distinct(arrived)).sum();
        println!(
            "{promises} acknowledged; {} deliveries, {accepted} accepted, {} of them again",
            all().count(),
            accepted - distinct
        );
    }

    /// Everything that the test is about.
    fn check(&self) {
        let (deliveries, promises) = (lock(&self.deliveries), lock(&self.promises));
        let mut log: HashMap<(usize, u64), (u64, &str)> = HashMap::new();
        for ((subscriber, topic), arrived) in &*deliveries {
            let place = format!("subscriber {subscriber}, topic {topic}");
            check_order(arrived, &place);
            for delivery in arrived {
                let is = (delivery.publication, delivery.text.as_str());
                let was = *log.entry((*topic, delivery.sequence)).or_insert(is);
                assert_eq!(is, was, "{place}: sequence {} has become another publication", delivery.sequence);
            }
        }
        for promise in &*promises {
            let is = log.get(&(promise.topic, promise.sequence));
            assert_eq!(is, Some(&(promise.publication, promise.text.as_str())), "{promise:?}");
        }
        // What was sent again under its key has one place, and a publisher's own order is the order of its topic.
        let mut last: HashMap<(usize, &str), (u64, u64)> = HashMap::new();
        let mut places: Vec<_> = log.iter().collect();
        places.sort_unstable();
        for ((topic, sequence), (_, text)) in places {
            let (publisher, number) = text.split_once(' ').unwrap();
            let number = number.parse().unwrap();
            let before = last.insert((*topic, publisher), (number, *sequence)).unwrap_or_default();
            assert!(number > before.0, "topic {topic}: {text} at {sequence} came after {before:?}");
        }
    }
}

/// Publications that were accepted, each counted once.
fn distinct(arrived: &[Delivery]) -> usize {
    let accepted = arrived.iter().filter(|delivery| delivery.accepted);
    accepted.map(|delivery| delivery.sequence).collect::<HashSet<_>>().len()
}

/// Nothing is left out, nothing overtakes, and within one life of the hub nothing goes back.
fn check_order(arrived: &[Delivery], place: &str) {
    let mut accepted = 0;
    let mut lives: HashMap<&str, (u64, bool)> = HashMap::new();
    for delivery in arrived {
        let sequence = delivery.sequence;
        assert!(sequence <= accepted + 1, "{place}: {sequence} came when {accepted} was the last one accepted");
        if let Some(&(last, done)) = lives.get(delivery.life.as_str()) {
            let follows = sequence == last || (done && sequence == last + 1);
            assert!(follows, "{place}: {sequence} after {last} (accepted: {done}) within one life");
        }
        lives.insert(&delivery.life, (sequence, delivery.accepted));
        if delivery.accepted {
            accepted = sequence.max(accepted);
        }
    }
}

/// Publishes for ever, to the topics in turn, to whichever life of the hub there is.
async fn publish(publisher: usize, witness: Arc<Witness>, mut node: watch::Receiver<Option<SocketAddr>>) -> Infallible {
    let is_keyed = publisher.is_multiple_of(2);
    let (mut number, mut connection) = (1_u64, None);
    loop {
        if connection.is_none() {
            let address = node.wait_for(Option::is_some).await.unwrap().expect("just waited for");
            connection = TcpStream::connect(address).await.ok().map(Http::over);
        }
        let Some(http) = connection.as_mut() else {
            tokio::task::yield_now().await;
            continue;
        };
        let at = number as usize % TOPICS;
        let (text, key) = (format!("{publisher} {number}"), format!("{publisher}-{number}"));
        let target = format!("/hub?topic={}", utf8_percent_encode(&topic(at), NON_ALPHANUMERIC));
        let mut headers = vec![("Content-Type", "text/plain")];
        headers.extend(is_keyed.then_some(("Idempotency-Key", key.as_str())));
        http.send_unless_refused(&request("POST", &target, &headers, text.as_bytes())).await;
        let Some(reply) = http.reply_unless_closed().await else {
            connection = None;
            // Whether it is in the log nobody knows; with a key it can be said again.
            number += u64::from(!is_keyed);
            continue;
        };
        assert_eq!(reply.status, 202, "{}", reply.text());
        let reply = reply.json();
        let field = |name: &str| reply[name].as_u64().unwrap();
        lock(&witness.promises).push(Promise {
            topic: at,
            publication: field("id"),
            sequence: field("sequence"),
            text,
        });
        witness.acknowledged.send_modify(|count| *count += 1);
        number += 1;
    }
}

/// Subscribes everybody to everything, and waits until that is in force.
async fn subscribe_all(node: SocketAddr, receivers: SocketAddr) {
    let mut http = Http::over(TcpStream::connect(node).await.unwrap());
    for subscriber in 0..SUBSCRIBERS {
        for at in 0..TOPICS {
            let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let callback = escaped(&format!("http://{receivers}/{subscriber}/{at}"));
            let body = format!("hub.mode=subscribe&hub.topic={}&hub.callback={callback}", escaped(&topic(at)));
            http.send(request("POST", "/hub", &[FORM], body.as_bytes())).await;
            assert_eq!(http.reply().await.status, 202);
        }
    }
    let listed = async {
        let ask = request("GET", "/admin/hubs/hub/subscriptions?limit=1000", &[ADMIN], b"");
        loop {
            http.send(&ask).await;
            let count = http.reply().await.json()["subscriptions"].as_array().unwrap().len();
            if count == SUBSCRIBERS * TOPICS {
                return;
            }
        }
    };
    soon("all subscriptions", listed).await;
}

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const ADMIN: (&str, &str) = ("Authorization", "Bearer a-token-of-the-administration");

/// A node directory whose hub keeps everything in its file, and gives up soon on who does not answer.
fn house() -> TempDir {
    let mut config = hub(json!({"delivery_timeout": 2000}));
    config.as_object_mut().unwrap().remove("store");
    home(&config)
}

fn kills() -> u64 {
    std::env::var("STENTOR_KILLS").map_or(KILLS, |number| number.parse().expect("STENTOR_KILLS is a number"))
}

#[tokio::test]
async fn what_a_killed_hub_has_acknowledged_arrives_everywhere() {
    let (dir, witness) = (house(), Witness::new());
    let receivers = witness.receive().await;
    let (node, seen) = watch::channel(None);
    let publishers: Vec<JoinHandle<Infallible>> =
        (0..PUBLISHERS).map(|at| tokio::spawn(publish(at, Arc::clone(&witness), seen.clone()))).collect();
    let start = async || {
        let process = Process::start(dir.path());
        // Reading the log blocks, and the receivers have to go on meanwhile.
        tokio::task::spawn_blocking(move || (process.address(), process)).await.unwrap()
    };
    for kill in 0..kills() {
        let dice = RandomState::new().hash_one(kill);
        let (address, mut process) = start().await;
        if kill == 0 {
            subscribe_all(address, receivers).await;
        }
        node.send_replace(Some(address));
        witness.wait_for(dice % LIFE_MAX).await;
        process.signal(Signal::KILL);
        process.child.wait().unwrap();
        node.send_replace(None);
        if dice % 5 == 0 {
            // Killed once more, somewhere on its way up.
            let mut process = Process::start(dir.path());
            process.wait_for_line();
            process.signal(Signal::KILL);
            process.child.wait().unwrap();
        }
        assert!(publishers.iter().all(|publisher| !publisher.is_finished()), "a publisher failed in life {kill}");
    }
    publishers.iter().for_each(JoinHandle::abort);
    let (_, mut process) = start().await;
    // As long as something arrives, the machine is only slow.
    let mut accepted = witness.accepted.subscribe();
    while !witness.is_complete() {
        soon("another delivery", accepted.changed()).await.unwrap();
    }
    witness.check();
    witness.tell();
    process.signal(Signal::TERM);
    assert_eq!(process.exit_code(), Some(0));
}

#[test]
fn disorder_would_be_seen() {
    let deliver = |life: &str, sequence, accepted| Delivery {
        life: life.to_owned(),
        sequence,
        publication: sequence,
        text: String::new(),
        accepted,
    };
    let check = |arrived: &[(&str, u64, bool)]| {
        let arrived: Vec<_> =
            arrived.iter().map(|&(life, sequence, accepted)| deliver(life, sequence, accepted)).collect();
        std::panic::catch_unwind(|| check_order(&arrived, "here")).is_ok()
    };
    assert!(check(&[("a", 1, true), ("a", 2, false), ("a", 2, true), ("b", 1, true), ("b", 2, true), ("b", 3, true)]));
    assert!(!check(&[("a", 1, true), ("a", 3, true)]));
    assert!(!check(&[("a", 1, false), ("a", 2, true)]));
    assert!(!check(&[("a", 1, true), ("a", 2, true), ("a", 1, true)]));
    assert!(!check(&[("a", 1, true), ("b", 3, true)]));
}
