//! The HTTP pusher: one POST becomes one publication, or a batch of them.
//!
//! The gate decides whether a request may be read and whether it is genuine, the router whether the role may publish. This
//! room reads the body and carries the answers.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use stentor_model::PublicationId;
use stentor_wamp::codec::Serializer;
use stentor_wamp::identity::Identity;
use stentor_wamp::message::Payload;
use tracing::info;

use super::BODY_BYTES_MAX;
use super::intake;
use super::reply::{self, Reply};
use super::serve::{Client, Remote};
use crate::fanout::shard::{Crowded, Shard};
use crate::fanout::turnstile::Spent;
use crate::pusher::answer::{self, Refusal, RefusalKind, ServiceName};
use crate::pusher::batch::{self, Posted, Read};
use crate::pusher::body::{self, Submission};
use crate::pusher::debug::{self, Ending, Report};
use crate::pusher::gate::{ContentType, Gate, GateOptions, Head, Memories};
use crate::pusher::media::Media;
use crate::realm::{Published, Realm, Way};
use crate::socket::reader::{LONG_BYTES, Reader};

/// The methods that the pusher and the caller take.
const METHODS: &str = "POST, PUT, OPTIONS";

/// Items of a batch that are published before other tasks of the thread have their turn.
const BATCH_TURN_ITEMS: usize = 64;

/// The same in octets: a small part of an outbox.
const BATCH_TURN_BYTES: usize = 256 * 1024;

/// Octets of an EVENT beside its payload, or a few more.
const EVENT_BYTES: usize = 256;

/// The same in effort: some tenths of a millisecond's worth.
const BATCH_TURN_EFFORT: usize = 64 * 1024;

/// Everything that the publishing and the calling service have in common.
#[derive(Debug)]
pub struct Submitter {
    conditions: RwLock<Arc<Conditions>>,
    /// The realm.
    pub realm: Arc<Realm>,
    /// Who the requests count as: the configured role.
    pub identity: Arc<Identity>,
    /// The path, for logs.
    pub path: String,
    memories: Arc<Memories>,
    /// Where long bodies are read.
    reader: Reader,
}

/// Who may post, and from which pages; what a reload may change.
#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) gate: Gate,
    /// The origins whose pages may use the service.
    cors: Vec<String>,
}

/// The pusher.
#[derive(Debug)]
pub struct PushService {
    /// Gate, realm and role.
    pub submitter: Submitter,
    /// The name that it was configured by.
    pub name: ServiceName,
}

/// A request as far as it was read, and what the gate says of it.
pub(super) struct Judged {
    /// The client, as the gate sees it through trusted proxies; the peer where the gate did not get that far.
    pub(super) client: Option<IpAddr>,
    /// Everything that came of the body; kept on a refusal too, for the line that explains it.
    pub(super) body: Bytes,
    /// How the body is to be read, if it may be.
    pub(super) outcome: Result<Media, Refusal>,
}

impl Conditions {
    pub(super) fn new((options, cors): (GateOptions, Vec<String>), memories: &Memories) -> Self {
        Self { gate: Gate::sharing(options, memories), cors }
    }

    /// The answer to a browser that asks before it posts; nothing for other requests.
    ///
    /// `methods` are those that the service takes.
    pub(super) fn preflight(&self, method: &Method, headers: &HeaderMap, methods: &'static str) -> Option<Reply> {
        if method != Method::OPTIONS {
            return None;
        }
        let mut reply = reply::json(204, Bytes::new());
        let out = reply.headers_mut();
        out.insert(header::ALLOW, HeaderValue::from_static(methods));
        if self.allowed_origin(headers).is_some() {
            out.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
            out.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Content-Type"));
        }
        Some(reply)
    }

    fn allowed_origin<'h>(&self, headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
        if self.cors.is_empty() {
            return None;
        }
        let origin = headers.get(header::ORIGIN)?;
        self.cors.iter().any(|one| one == "*" || one.as_bytes() == origin.as_bytes()).then_some(origin)
    }

    /// Lets the page of an allowed origin read the answer. Never with credentials.
    pub(super) fn share(&self, origin: Option<HeaderValue>, reply: &mut Reply) {
        if self.cors.is_empty() {
            return;
        }
        reply.headers_mut().insert(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = origin {
            reply.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
    }

    /// Whether a request whose head holds nothing unusual needs nothing unusual here.
    pub(super) fn admits_plain(&self, head: &Head<'_>) -> bool {
        let plain = self.cors.is_empty() && !self.gate.options().debug && !self.gate.trusts_proxies();
        plain && self.gate.admit(head).is_ok_and(|admitted| admitted.media == Media::Json)
    }

    pub(super) fn origin_to_share(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        self.allowed_origin(headers).cloned()
    }
}

impl Submitter {
    /// A service with these conditions; signed requests are remembered in `memories`.
    #[must_use]
    pub fn new(
        (options, cors): (GateOptions, Vec<String>),
        memories: Arc<Memories>,
        realm: Arc<Realm>,
        identity: Arc<Identity>,
        path: String,
        reader: Reader,
    ) -> Self {
        let conditions = Arc::new(Conditions::new((options, cors), &memories));
        Self { conditions: RwLock::new(conditions), realm, identity, path, memories, reader }
    }

    /// What is in force now.
    fn conditions(&self) -> Arc<Conditions> {
        Arc::clone(&self.conditions.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other conditions in force, from the next request on.
    pub fn set_conditions(&self, options: GateOptions, cors: Vec<String>) {
        let fresh = Arc::new(Conditions::new((options, cors), &self.memories));
        *self.conditions.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    }

    /// Answers a browser that asks before it posts, and hands everything else to `post`.
    ///
    /// Here and below the request is lent, not given away: each future would keep a copy of its own.
    pub(super) async fn answer(
        &self,
        request: &mut Request<Incoming>,
        post: impl AsyncFnOnce(&Arc<Conditions>, &mut Request<Incoming>) -> Reply,
    ) -> Reply {
        let conditions = self.conditions();
        let origin = conditions.origin_to_share(request.headers());
        let mut reply = match conditions.preflight(request.method(), request.headers(), METHODS) {
            Some(reply) => reply,
            None => post(&conditions, request).await,
        };
        conditions.share(origin, &mut reply);
        reply
    }

    /// Has something done that is long because the body is: here, or where long bodies are read.
    pub(super) async fn read_aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let crowded = || Refusal::new(RefusalKind::Unavailable, "too many long bodies wait to be read; try again");
        let broken = |_| Refusal::new(RefusalKind::Unavailable, "the server could not read this body");
        self.reader.run(work).ok_or_else(crowded)?.await.map_err(broken)
    }

    /// Head, body, signature.
    pub(super) async fn judge(
        &self,
        conditions: &Arc<Conditions>,
        request: &mut Request<Incoming>,
        client: &Client,
        shard: &Shard,
    ) -> Judged {
        let gate = &conditions.gate;
        let refused = |client, body, refusal| Judged { client, body, outcome: Err(refusal) };
        let admitted = match gate.admit(&head(gate, request, client.remote)) {
            Ok(admitted) => admitted,
            Err(refusal) => return refused(client.remote.address, Bytes::new(), refusal),
        };
        let address = admitted.client;
        let limit = admitted.body_limit.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX);
        let body = match intake::read(request.body_mut(), limit, client).await {
            Ok(body) => body,
            Err(refusal) => return refused(address, Bytes::new(), refusal),
        };
        let now = shard.clock.timestamp();
        let now = now.ok_or_else(|| Refusal::new(RefusalKind::Unavailable, "the server's clock is wrong"));
        let query = request.uri().query().unwrap_or_default();
        let verified = match now {
            Ok(now) if body.len() > LONG_BYTES => {
                let (conditions, query, octets) = (Arc::clone(conditions), query.to_owned(), body.clone());
                let verify = move || conditions.gate.verify(&query, &octets, now);
                Box::pin(self.read_aside(verify)).await.flatten()
            }
            Ok(now) => gate.verify(query, &body, now),
            Err(refusal) => Err(refusal),
        };
        Judged { client: address, body, outcome: verified.map(|_| admitted.media) }
    }
}

pub(super) fn head<'r>(gate: &Gate, request: &'r Request<Incoming>, remote: Remote) -> Head<'r> {
    let headers = request.headers();
    let mut types = headers.get_all(header::CONTENT_TYPE).iter().map(HeaderValue::as_bytes);
    let content_type = match (types.next(), types.next()) {
        (None, _) => ContentType::Absent,
        (Some(one), None) => ContentType::Once(one),
        (Some(_), Some(_)) => ContentType::Repeated,
    };
    let all = |name| match gate.trusts_proxies() {
        true => headers.get_all::<HeaderName>(name).iter().map(HeaderValue::as_bytes).collect(),
        false => Vec::new(),
    };
    Head {
        method: request.method().as_str(),
        content_type,
        from_page: headers.contains_key(header::ORIGIN),
        content_length: headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse().ok()),
        peer: remote.address,
        tls: remote.tls,
        forwarded: all(header::FORWARDED),
        x_forwarded_for: all(HeaderName::from_static("x-forwarded-for")),
        x_forwarded_proto: all(HeaderName::from_static("x-forwarded-proto")),
    }
}

/// An answer with the refusal's status, headers and body.
pub(super) fn refused(refusal: &Refusal) -> Reply {
    let mut reply = reply::json(refusal.status(), refusal.body());
    if let Some((name, value)) = refusal.header()
        && let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
    {
        reply.headers_mut().insert(name, value);
    }
    reply
}

impl PushService {
    pub(super) async fn answer(&self, request: &mut Request<Incoming>, client: &Client, shard: &Rc<Shard>) -> Reply {
        self.submitter
            .answer(request, async |conditions, request| self.post(conditions, request, client, shard).await)
            .await
    }

    async fn post(
        &self,
        conditions: &Arc<Conditions>,
        request: &mut Request<Incoming>,
        client: &Client,
        shard: &Rc<Shard>,
    ) -> Reply {
        let gate = &conditions.gate;
        let query = gate.options().debug.then(|| request.uri().query().unwrap_or_default().to_owned());
        let Judged { client, body, outcome } = self.submitter.judge(conditions, request, client, shard).await;
        let outcome = match outcome {
            Ok(media) => match idempotency(request.headers()) {
                Ok(key) => self.publish_all(media, &body, key, shard).await,
                Err(refusal) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        };
        let (status, reply) = match &outcome {
            Ok(Outcome::One(published)) => {
                let status = self.name.success_status();
                (status, reply::json(status, answer::published(published.publication)))
            }
            Ok(Outcome::Batch { status, body, .. }) => (*status, reply::json(*status, body.clone())),
            Err(refusal) => {
                shard.meters.submissions_refused.increment();
                (refusal.status(), refused(refusal))
            }
        };
        if let Some(query) = query {
            let signed = gate.signed_parts(&query, &body);
            let report = Report { ending: ending(&outcome), status, client, signed: signed.as_ref() };
            info!(target: "pusher", path = %self.submitter.path, "{}", debug::line(&report));
        }
        reply
    }

    /// Whether a plain request that the express lane has read the head of is one that [`Self::publish_plain`] can take.
    pub(super) fn admits_plain(&self, head: &Head<'_>) -> bool {
        let conditions = self.submitter.conditions.read().unwrap_or_else(PoisonError::into_inner);
        conditions.admits_plain(head)
    }

    /// Publishes a plain request, and gives status and body of the answer. Nothing where it takes more than that; nothing
    /// has happened then.
    pub(super) fn publish_plain(
        &self,
        head: &Head<'_>,
        query: &str,
        body: &[u8],
        shard: &Rc<Shard>,
    ) -> Option<Result<(u16, Vec<u8>), Refusal>> {
        let conditions = self.submitter.conditions.read().unwrap_or_else(PoisonError::into_inner);
        if !conditions.admits_plain(head) || body.trim_ascii_start().first() == Some(&b'[') {
            return None;
        }
        let submitter = &self.submitter;
        let submission = body::parse_publish(body);
        if submission.as_ref().is_ok_and(|submission| submitter.realm.is_logged(&submission.topic)) {
            return None;
        }
        // Whoever is refused has left no trace, so that the long way finds the same and says why.
        conditions.gate.verify(query, body, shard.clock.timestamp()?).ok()?;
        drop(conditions);
        let published = submission.and_then(|Submission { topic, args, kwargs, options }| {
            let payload = Payload { serializer: Serializer::Json, args, kwargs };
            let published = submitter.realm.publish(shard, &submitter.identity, &topic, &options, payload);
            published.map_err(|refusal| router_refusal(&refusal))
        });
        if published.is_err() {
            shard.meters.submissions_refused.increment();
        }
        Some(published.map(|published| (self.name.success_status(), answer::published(published.publication))))
    }

    async fn publish_all(
        &self,
        media: Media,
        body: &Bytes,
        key: Option<&str>,
        shard: &Rc<Shard>,
    ) -> Result<Outcome, Refusal> {
        if body.len() > LONG_BYTES {
            return Box::pin(self.publish_long(media, body, key, shard)).await;
        }
        match batch::split(media, body)? {
            Posted::Single(item) => self.publish_one(body::parse_publish(item)?, key, shard).await,
            // Boxed, so that a single publication does not carry its state around.
            Posted::Batch(batch) => Box::pin(self.publish_batch(batch.submissions(), key, shard)).await,
        }
    }

    async fn publish_long(
        &self,
        media: Media,
        body: &Bytes,
        key: Option<&str>,
        shard: &Rc<Shard>,
    ) -> Result<Outcome, Refusal> {
        let octets = body.clone();
        match self.submitter.read_aside(move || batch::read(media, &octets)).await.flatten()? {
            Read::Single(item) => self.publish_one(item?.lend(body), key, shard).await,
            Read::Batch(items) => {
                let items = items.into_iter().map(|item| item.map(|submission| submission.lend(body)));
                self.publish_batch(items, key, shard).await
            }
        }
    }

    async fn publish_one(
        &self,
        submission: Submission<'_>,
        key: Option<&str>,
        shard: &Rc<Shard>,
    ) -> Result<Outcome, Refusal> {
        match self.publish(submission, key, shard)? {
            Way::Direct(published) => Ok(Outcome::One(published)),
            // Boxed, so that a publication that goes straight through does not carry this state around.
            logged => {
                let published = Box::pin(logged.arrived()).await;
                published.map(Outcome::One).map_err(|refusal| router_refusal(&refusal))
            }
        }
    }

    async fn publish_batch<'b>(
        &self,
        batch: impl Iterator<Item = Result<Submission<'b>, Refusal>>,
        key: Option<&str>,
        shard: &Rc<Shard>,
    ) -> Result<Outcome, Refusal> {
        if key.is_some() {
            let refusal = Refusal::new(RefusalKind::Malformed, "cannot stand for several publications at once");
            return Err(refusal.at("Idempotency-Key"));
        }
        let (mut items, mut crowded) = (Items::default(), Crowded::new());
        let (mut count, mut octets, mut begun) = (0, 0, shard.effort());
        for item in batch {
            let effort = shard.effort().wrapping_sub(begun);
            let next = item.as_ref().map_or(0, Submission::octets);
            // Readers have their turn, so that a large batch fills no outbox of somebody who reads.
            let is_over = count == BATCH_TURN_ITEMS || octets >= BATCH_TURN_BYTES || effort >= BATCH_TURN_EFFORT;
            if is_over || crowded.is_any() {
                crowded.note(octets);
                shard.wait_for_readers(&mut crowded, next + EVENT_BYTES).await;
                if effort >= BATCH_TURN_EFFORT {
                    shard.turnstile.spend(effort);
                    shard.turnstile.pass(Spent::All).await;
                }
                (count, octets, begun) = (0, 0, shard.effort());
            }
            count += 1;
            octets += next;
            // What goes past the log must not overtake what goes through it.
            if item.as_ref().is_ok_and(|submission| !self.submitter.realm.is_logged(&submission.topic)) {
                items.settle().await;
            }
            let publish = || item.and_then(|submission| self.publish(submission, None, shard));
            items.under_way.push(shard.watching_readers(&mut crowded, publish));
        }
        items.settle().await;
        let Items { settled: items, receivers, .. } = items;
        let refused = items.iter().filter(|item| item.is_err()).count();
        shard.meters.submissions_refused.add(refused as u64);
        let published = items.len() - refused;
        let (status, body) = answer::batch(self.name, &items);
        Ok(Outcome::Batch { status, body: body.into(), published, refused, receivers })
    }

    fn publish(&self, submission: Submission<'_>, key: Option<&str>, shard: &Rc<Shard>) -> Result<Way, Refusal> {
        let payload = Payload { serializer: Serializer::Json, args: submission.args, kwargs: submission.kwargs };
        self.submitter
            .realm
            .submit(shard, &self.submitter.identity, &submission.topic, &submission.options, payload, key)
            .map_err(|refusal| router_refusal(&refusal))
    }
}

/// The `Idempotency-Key`, which means something on logged topics only.
fn idempotency(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = visible(value).filter(|text| !text.is_empty() && text.len() <= 255);
    let refusal = || Refusal::new(RefusalKind::Malformed, "must have 1 to 255 visible ASCII characters");
    text.map(Some).ok_or_else(|| refusal().at("Idempotency-Key"))
}

/// The value of a field that has nothing but visible ASCII characters: no blank and no tab, which some clients would cut off.
pub(super) fn visible(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().filter(|text| text.bytes().all(|octet| octet.is_ascii_graphic()))
}

fn ending(outcome: &Result<Outcome, Refusal>) -> Ending<'_> {
    match outcome {
        Ok(Outcome::One(published)) => Ending::Published { id: published.publication, receivers: published.receivers },
        Ok(Outcome::Batch { published, refused, receivers, .. }) => {
            Ending::Batch { published: *published, refused: *refused, receivers: *receivers }
        }
        Err(refusal) => Ending::Refused(refusal),
    }
}

/// The items of a batch.
#[derive(Default)]
struct Items {
    /// All of these are on their way before the first is waited for, so that a log takes them together.
    under_way: Vec<Result<Way, Refusal>>,
    settled: Vec<Result<PublicationId, Refusal>>,
    receivers: usize,
}

impl Items {
    /// Waits for those that are under way.
    async fn settle(&mut self) {
        for item in self.under_way.drain(..) {
            self.settled.push(match item {
                Ok(way) => way.arrived().await.map_err(|refusal| router_refusal(&refusal)).map(|published| {
                    self.receivers += published.receivers;
                    published.publication
                }),
                Err(refusal) => Err(refusal),
            });
        }
    }
}

enum Outcome {
    One(Published),
    Batch { status: u16, body: Bytes, published: usize, refused: usize, receivers: usize },
}

/// A refusal of the router as HTTP tells it.
pub(super) fn router_refusal(refusal: &stentor_wamp::router::Refusal) -> Refusal {
    let args = serde_json::json!([refusal.message]).to_string();
    Refusal::wamp(refusal.error, Some(args.as_bytes()), None)
}
