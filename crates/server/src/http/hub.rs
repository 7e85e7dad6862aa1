//! The HTTP face of a hub: one URL that takes subscriptions, publications and pings (WebSub 5.1 and 6).
//!
//! Anybody may ask for a subscription; who gets one is decided behind it. Publishing passes a gate like the pusher's, and is
//! closed where none is configured. Errors are one plain sentence (WebSub 5.1.1).

use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request};
use stentor_model::Topic;
use stentor_store::{Freshness, IdempotencyKey, Receipt, StoreError, Timestamp};
use stentor_websub::authenticator::Answer;
use stentor_websub::message::{self, FetchFault, Message};
use stentor_websub::message::{Refusal, RefusalClass};

use stentor_websub::request::{self, Kind};

use super::intake;
use super::push::{Conditions, head, visible};
use super::reply::{self, Reply, empty};
use super::serve::Client;
use crate::fanout::shard::Shard;
use crate::hub::{Appending, Asked, Hub, Publish, PublishFault};
use crate::pusher::gate::{ContentType, Gate, GateOptions, Head, Memories};

/// Header fields of a request that its authenticator gets to see: far more than a request needs.
const FIELDS_MAX: usize = 128;

/// What may be asked for with which method.
const METHODS: &str = "POST, OPTIONS";

/// A hub on a path.
#[derive(Debug)]
pub struct HubService {
    /// The hub.
    pub hub: Arc<Hub>,
    /// Who may publish; nothing lets nobody.
    conditions: RwLock<Option<Arc<Conditions>>>,
    memories: Arc<Memories>,
}

/// A request that is not served: a status and one sentence.
#[derive(Debug)]
pub(super) struct Denial {
    status: u16,
    sentence: String,
    field: Option<(header::HeaderName, &'static str)>,
}

impl Denial {
    pub(super) fn new(status: u16, sentence: impl Into<String>) -> Self {
        let field = match status {
            405 => Some((header::ALLOW, "POST")),
            429 | 503 => Some((header::RETRY_AFTER, "5")),
            _ => None,
        };
        Self { status, sentence: sentence.into(), field }
    }

    /// Its header, for those who write answers themselves.
    pub(super) fn field(&self) -> Option<(&str, &str)> {
        self.field.as_ref().map(|(name, value)| (name.as_str(), *value))
    }

    /// Status and sentence, for those who write answers themselves.
    pub(super) const fn status(&self) -> u16 {
        self.status
    }

    /// The sentence, a line.
    pub(super) fn line(&self) -> String {
        format!("{}\n", self.sentence)
    }

    pub(super) fn reply(self) -> Reply {
        let mut reply = reply::text(self.status, self.sentence);
        if let Some((name, value)) = self.field {
            reply.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        reply
    }
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.class() {
            RefusalClass::Malformed => 400,
            RefusalClass::Policy => 403,
            RefusalClass::TooLong => 413,
            RefusalClass::BodyType => 415,
        };
        Self::new(status, refusal.to_string())
    }
}

impl From<crate::pusher::answer::Refusal> for Denial {
    fn from(refusal: crate::pusher::answer::Refusal) -> Self {
        let mut denial = Self::new(refusal.status(), refusal.error());
        if let Some(field) = refusal.field() {
            denial.sentence = format!("{field}: {}", denial.sentence);
        }
        if refusal.status() == 401 {
            denial.field = Some((header::WWW_AUTHENTICATE, "HMAC-SHA256"));
        }
        denial
    }
}

impl From<PublishFault> for Denial {
    /// The one table from faults of publishing to statuses. An internal detail never reaches the body.
    fn from(fault: PublishFault) -> Self {
        let status = match &fault {
            PublishFault::Fetch(FetchFault::Blocked) => 403,
            PublishFault::Fetch(FetchFault::TooLong) => 413,
            PublishFault::Fetch(FetchFault::Broken | FetchFault::Malformed) => 502,
            PublishFault::Fetch(FetchFault::Silence) => 504,
            PublishFault::Fetch(_) => 422,
            PublishFault::Store(error) => match error {
                StoreError::Full(_) => 507,
                StoreError::TooLarge(_) => 413,
                StoreError::KeyReused => 422,
                _ => 503,
            },
            PublishFault::Crowded | PublishFault::Closing => 503,
        };
        Self::new(status, fault.to_string())
    }
}

impl HubService {
    /// A hub whose publishers pass this gate.
    #[must_use]
    pub fn new(hub: Arc<Hub>, publish: Option<(GateOptions, Vec<String>)>, memories: Arc<Memories>) -> Self {
        let service = Self { hub, conditions: RwLock::default(), memories };
        service.set_conditions(publish);
        service
    }

    /// Puts other conditions in force, from the next request on: the gate, and the origins of pages that may post.
    pub fn set_conditions(&self, publish: Option<(GateOptions, Vec<String>)>) {
        let conditions = publish.map(|publish| Arc::new(Conditions::new(publish, &self.memories)));
        *self.conditions.write().unwrap_or_else(PoisonError::into_inner) = conditions;
    }

    fn conditions(&self) -> Option<Arc<Conditions>> {
        self.conditions.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) async fn answer(&self, request: &mut Request<Incoming>, client: &Client, shard: &Shard) -> Reply {
        let conditions = self.conditions();
        let conditions = conditions.as_deref();
        let origin = conditions.and_then(|one| one.origin_to_share(request.headers()));
        let preflight = conditions.and_then(|one| one.preflight(request.method(), request.headers(), METHODS));
        let outcome = match (preflight, &origin, foreign_origin(request.headers())) {
            (Some(reply), ..) => Ok(reply),
            // A form, or a text with its topic in the query, is posted by any page without asking; it must not act in the
            // name of whoever looks at the page, from his machine or within his network.
            (None, None, Some(foreign)) => Err(Denial::new(
                403,
                format!(
                    "Origin: pages of {foreign} may not post here; the option cors of publish lists those that may"
                ),
            )),
            (None, ..) => self.serve(request, conditions.map(|one| &one.gate), client, shard).await,
        };
        let mut reply = outcome.unwrap_or_else(|denial| {
            shard.meters.submissions_refused.increment();
            denial.reply()
        });
        if let Some(conditions) = conditions {
            conditions.share(origin, &mut reply);
        }
        reply
    }

    async fn serve(
        &self,
        request: &mut Request<Incoming>,
        gate: Option<&Gate>,
        client: &Client,
        shard: &Shard,
    ) -> Result<Reply, Denial> {
        if request.method() != Method::POST {
            let sentence = "this is a WebSub hub: it takes POST requests that subscribe, unsubscribe or publish";
            return Err(Denial::new(405, sentence));
        }
        let content_type = content_type(request.headers())?;
        if request.headers().get_all(header::CONTENT_ENCODING).iter().any(|value| value != "identity") {
            // What is distributed is what came, and nobody would be told how it is packed.
            return Err(Denial::new(415, "Content-Encoding is not taken: send the content as it is"));
        }
        match Kind::of(content_type.as_deref(), request.uri().query())? {
            Kind::Form => self.form(content_type.as_deref(), request, gate, client, shard).await,
            Kind::Message => {
                let body = self.admitted(request, gate, client, shard).await?;
                let message = message::parse(&body, self.hub.options().limits.message_bytes_max)?;
                self.publish(message, request.headers(), shard).await
            }
            Kind::Raw(topic) => {
                let body = self.admitted(request, gate, client, shard).await?;
                let bytes_max = self.hub.options().limits.message_bytes_max;
                let message = message::raw(topic, content_type.as_deref(), body.into(), bytes_max)?;
                self.publish(message, request.headers(), shard).await
            }
        }
    }

    /// Whether a plain request that the express lane has read the head of is one that [`Self::begin_plain`] can take.
    pub(super) fn admits_plain(&self, head: &Head<'_>) -> bool {
        let limit = self.hub.options().limits.message_bytes_max as u64;
        let is_short = head.content_length.is_some_and(|length| length <= limit);
        is_short && self.conditions().is_some_and(|conditions| conditions.admits_plain(&of_publication(head.clone())))
    }

    /// Begins to publish a plain request. Nothing where it takes more than that; nothing has happened then, and the long way
    /// finds the same and says why.
    pub(super) fn begin_plain(
        &self,
        head: &Head<'_>,
        query: &str,
        body: &[u8],
        shard: &Shard,
    ) -> Option<PlainPublication> {
        let conditions = self.conditions()?;
        if !conditions.admits_plain(&of_publication(head.clone())) {
            return None;
        }
        let content_type = match head.content_type {
            ContentType::Once(octets) => Some(std::str::from_utf8(octets).ok().filter(|text| text.is_ascii())?),
            _ => None,
        };
        let bytes_max = self.hub.options().limits.message_bytes_max;
        let Message { topic, source } = match Kind::of(content_type, Some(query)).ok()? {
            Kind::Form => return None,
            Kind::Message => message::parse(body, bytes_max).ok()?,
            Kind::Raw(topic) => message::raw(topic, content_type, body.to_vec(), bytes_max).ok()?,
        };
        let message::Source::Content(content) = source else { return None };
        if self.hub.has_line(&topic) {
            return None;
        }
        conditions.gate.verify(query, body, shard.clock.timestamp()?).ok()?;
        let appending = self.hub.begin_publish((topic.clone(), content), shard.publication_id(), now(shard));
        Some(PlainPublication { topic, appending })
    }

    async fn form(
        &self,
        content_type: Option<&str>,
        request: &mut Request<Incoming>,
        gate: Option<&Gate>,
        client: &Client,
        shard: &Shard,
    ) -> Result<Reply, Denial> {
        let options = self.hub.options();
        let body = intake::read(request.body_mut(), options.limits.request_bytes_max, client).await?;
        match request::parse(content_type, &body, options)? {
            request::Request::Intent(intent) => {
                let asked = asked(request, body.clone(), client)?;
                if !self.hub.admits(&asked.client, shard.clock.uptime()) {
                    let sentence = "too many requests for subscriptions come from this address; try again later";
                    return Err(Denial::new(429, sentence));
                }
                Ok(subscribed(self.hub.subscribe(intent, asked, &client.shard).await))
            }
            request::Request::Ping(topics) => {
                if let Some(gate) = gate {
                    judge_ping(gate, request, client)?;
                }
                if let Some(topic) = topics.iter().find(|topic| !self.hub.takes_pings_for(topic)) {
                    return Err(Denial::new(403, format!("this hub takes no pings for the topic {topic}")));
                }
                // Each topic is a request of the hub's own, like a question to a callback.
                let address = client.remote.address.map_or_else(|| "-".to_owned(), |address| address.to_string());
                if !topics.iter().all(|_| self.hub.admits(&address, shard.clock.uptime())) {
                    return Err(Denial::new(429, "too many pings come from this address; try again later"));
                }
                self.hub.ping(topics).await?;
                Ok(empty(204))
            }
        }
    }

    /// The body of a publication that may be made.
    async fn admitted(
        &self,
        request: &mut Request<Incoming>,
        gate: Option<&Gate>,
        client: &Client,
        shard: &Shard,
    ) -> Result<Bytes, Denial> {
        let sentence = "nobody may publish at this hub by HTTP: it is configured without publish";
        let gate = gate.ok_or_else(|| Denial::new(403, sentence))?;
        let admitted = gate.admit(&of_publication(head(gate, request, client.remote)))?;
        let bytes_max = self.hub.options().limits.message_bytes_max;
        let limit = admitted.body_limit.unwrap_or(bytes_max).min(bytes_max);
        let body = intake::read(request.body_mut(), limit, client).await?;
        let now = shard.clock.timestamp().ok_or_else(|| Denial::new(503, "the server's clock is wrong"))?;
        gate.verify(request.uri().query().unwrap_or_default(), &body, now)?;
        Ok(body)
    }

    async fn publish(&self, message: Message, headers: &HeaderMap, shard: &Shard) -> Result<Reply, Denial> {
        let idempotency = idempotency(headers)?;
        let topic = message.topic.clone();
        let publish = Publish { message, idempotency, publication: shard.publication_id(), at: now(shard) };
        let receipt = self.hub.publish(publish).await?;
        count(&receipt, shard);
        Ok(reply::json(202, published(topic.as_str(), &receipt)))
    }
}

/// A plain publication on its way into the log.
#[derive(Debug)]
pub(super) struct PlainPublication {
    topic: Topic,
    appending: Appending,
}

impl PlainPublication {
    /// Status, media type, header and body of the answer, once it is durable or cannot be made so.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>, shard: &Shard) -> Poll<PlainAnswer> {
        Poll::Ready(match ready!(Pin::new(&mut self.appending).poll(cx)) {
            Ok(receipt) => {
                count(&receipt, shard);
                Ok(published(self.topic.as_str(), &receipt))
            }
            Err(fault) => {
                shard.meters.submissions_refused.increment();
                Err(Denial::from(fault))
            }
        })
    }
}

/// The body of an answer with 202, or why there is none.
pub(super) type PlainAnswer = Result<Vec<u8>, Denial>;

/// A publication counts once, however often it is asked for.
fn count(receipt: &Receipt, shard: &Shard) {
    if receipt.freshness == Freshness::New {
        shard.meters.publications.increment();
    }
}

fn now(shard: &Shard) -> Timestamp {
    Timestamp(u64::try_from(shard.clock.unix().as_millis()).unwrap_or(u64::MAX))
}

/// Content is of any type; the gate knows those of the pusher. A page still has to name one, so that it is asked for.
fn of_publication(mut head: Head<'_>) -> Head<'_> {
    if !matches!(head.content_type, ContentType::Absent) {
        head.content_type = ContentType::Once(b"application/json");
    }
    head
}

/// A ping brings no content: what it names is fetched, from where the operator allows. So it needs no signature, which
/// publishers of that kind could not make; address and TLS are judged.
fn judge_ping(gate: &Gate, request: &Request<Incoming>, client: &Client) -> Result<(), Denial> {
    let mut head = head(gate, request, client.remote);
    head.content_type = ContentType::Once(b"application/json");
    gate.admit(&head).map(drop).map_err(Denial::from)
}

fn published(topic: &str, receipt: &Receipt) -> Vec<u8> {
    /// In the order in which it is written.
    #[derive(serde::Serialize)]
    struct Published<'a> {
        id: u64,
        topic: &'a str,
        sequence: u64,
        offset: u64,
        repeated: bool,
    }
    let published = Published {
        id: receipt.publication.get(),
        topic,
        sequence: receipt.sequence.0,
        offset: receipt.offset.get(),
        repeated: receipt.freshness == Freshness::Repeated,
    };
    serde_json::to_vec(&published).expect("numbers and text are always JSON")
}

fn idempotency(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Denial> {
    let mut values = headers.get_all("idempotency-key").iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Denial::new(400, "Idempotency-Key is given twice"));
    }
    let Some(value) = first else { return Ok(None) };
    let key = visible(value).and_then(|text| IdempotencyKey::parse(text).ok());
    let sentence = "Idempotency-Key has to have 1 to 255 visible ASCII characters";
    key.map(Some).ok_or_else(|| Denial::new(400, sentence))
}

/// The content type, if there is one; two would mean different things to different readers.
fn content_type(headers: &HeaderMap) -> Result<Option<String>, Denial> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(Denial::new(400, "Content-Type is given twice")),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(Denial::new(400, "Content-Type has octets that a media type has not")),
        },
    }
}

/// The origin of the page that a request comes from, unless it was served by this very host.
fn foreign_origin(headers: &HeaderMap) -> Option<String> {
    let origin = headers.get(header::ORIGIN)?;
    let text = String::from_utf8_lossy(origin.as_bytes());
    let authority = text.split_once("://").map(|(_, authority)| authority);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let is_own = authority.is_some_and(|authority| host.is_some_and(|host| host.eq_ignore_ascii_case(authority)));
    // It is repeated in a line of text.
    (!is_own).then(|| text.chars().filter(|c| !c.is_control()).take(200).collect())
}

fn asked<B>(request: &Request<B>, body: Bytes, client: &Client) -> Result<Asked, Denial> {
    let headers = request.headers();
    if headers.len() > FIELDS_MAX {
        return Err(Denial::new(431, format!("the request has more than {FIELDS_MAX} header fields")));
    }
    Ok(Asked {
        client: client.remote.address.map_or_else(|| "-".to_owned(), |address| address.to_string()),
        headers: headers.clone(),
        method: request.method().clone(),
        target: request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        scheme: if client.remote.tls { "https" } else { "http" },
        http_version: match request.version() {
            hyper::Version::HTTP_10 => "1.0",
            hyper::Version::HTTP_2 => "2",
            _ => "1.1",
        },
        body,
    })
}

fn subscribed(answer: Answer) -> Reply {
    let sentence = answer.sentence();
    let say = |status: u16| Denial::new(status, sentence.unwrap_or_default()).reply();
    match answer {
        Answer::Accepted => empty(202),
        Answer::Forbidden => say(403),
        Answer::Failed => say(500),
        Answer::Unavailable | Answer::Busy | Answer::NoStore => say(503),
        Answer::Dictated(response) => {
            let mut reply = empty(response.status);
            *reply.body_mut() = reply::Octets::Whole(http_body_util::Full::new(Bytes::from(response.body)));
            for (name, value) in response.headers {
                // Anything beyond an octet is refused where the response is made.
                let octets: Vec<u8> = value.chars().filter_map(|letter| u8::try_from(letter).ok()).collect();
                if let (Ok(name), Ok(value)) = (header::HeaderName::try_from(name), HeaderValue::try_from(octets)) {
                    reply.headers_mut().append(name, value);
                }
            }
            reply
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stentor_store::Limit;

    #[test]
    fn faults_have_their_statuses() {
        let check = |denial: Denial, expected: u16| assert_eq!(denial.status, expected, "{}", denial.sentence);
        check(Refusal::Mode.into(), 400);
        check(Refusal::BodyType.into(), 415);
        check(Refusal::BodyTooLong { bytes_max: 1 }.into(), 413);
        check(Refusal::NeedsHttps.into(), 403);
        check(PublishFault::Store(StoreError::Full(Limit::Disk)).into(), 507);
        check(PublishFault::Store(StoreError::Full(Limit::LogBytes)).into(), 507);
        check(PublishFault::Store(StoreError::ReadOnly("/secret/path is damaged".into())).into(), 503);
        check(PublishFault::Store(StoreError::KeyReused).into(), 422);
        check(PublishFault::Store(StoreError::TooLarge("the content")).into(), 413);
        check(PublishFault::Fetch(FetchFault::Blocked).into(), 403);
        check(PublishFault::Fetch(FetchFault::Status(404)).into(), 422);
        check(PublishFault::Fetch(FetchFault::Broken).into(), 502);
        check(PublishFault::Fetch(FetchFault::Malformed).into(), 502);
        check(PublishFault::Fetch(FetchFault::Silence).into(), 504);
        assert!(Denial::from(PublishFault::Fetch(FetchFault::TooLong)).sentence.starts_with("contentUrl "));
        let hidden = Denial::from(PublishFault::Store(StoreError::ReadOnly("/secret/path is damaged".into())));
        assert!(!hidden.sentence.contains("secret"), "{}", hidden.sentence);
    }
}
