//! The gate of a service: which requests may come in.
//!
//! Two steps, so that a stranger's body is never read: [`Gate::admit`] judges address, TLS, method, content type and the
//! announced length; [`Gate::verify`] judges the query fields and the signature once the body is there. The gate does
//! not look into the body and does not know what the request is for.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;

use super::address::{among, client, normal_network};
use super::answer::{Refusal, RefusalKind, quote};
use super::media::{self, Media};
use super::query::{self, Fields};
use super::replay::{Marks, Memory, REPLAY_MEMORY_MAX, Recall};
use super::signature::{Credentials, SignedParts, Signer, decode, hint};

/// What the operator asks of requests. The default asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateOptions {
    /// When given, every request has to be signed.
    pub credentials: Option<Credentials>,
    /// Octets that a body may have, inclusive. Nothing, or 0: whatever the transport lets through.
    pub post_body_limit: Option<usize>,
    /// How far a timestamp may be from the server's clock, in either direction, inclusive. Nothing, or zero: any.
    pub timestamp_delta_limit: Option<Duration>,
    /// The networks that clients have to be in. Nothing: all clients. An empty list lets nobody in.
    pub require_ip: Option<Vec<IpNet>>,
    /// The networks whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether only requests over TLS are served.
    pub require_tls: bool,
    /// Whether each request is told in the log by one line.
    pub debug: bool,
}

/// The head of a request, as much as is judged before the body is read. Header values are octets as they came.
#[derive(Clone, Debug, Default)]
pub struct Head<'a> {
    /// In the capitals of the wire.
    pub method: &'a str,
    /// The values of `Content-Type`.
    pub content_type: ContentType<'a>,
    /// Whether there is an `Origin`: browsers send it with what a page posts, programs do not.
    pub from_page: bool,
    /// The announced length of the body; nothing where it comes in chunks.
    pub content_length: Option<u64>,
    /// The other end of the connection, where it has an address.
    pub peer: Option<IpAddr>,
    /// Whether the connection itself is encrypted.
    pub tls: bool,
    /// All values of `Forwarded`, in order. These three may be left empty when [`Gate::trusts_proxies`] says no.
    pub forwarded: Vec<&'a [u8]>,
    /// All values of `X-Forwarded-For`, in order.
    pub x_forwarded_for: Vec<&'a [u8]>,
    /// All values of `X-Forwarded-Proto`, in order.
    pub x_forwarded_proto: Vec<&'a [u8]>,
}

/// How often a request names its content type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContentType<'a> {
    /// Not at all.
    #[default]
    Absent,
    /// As it should.
    Once(&'a [u8]),
    /// More than once.
    Repeated,
}

/// A request whose body may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The client, where it has an address.
    pub client: Option<IpAddr>,
    /// How the body is to be read.
    pub media: Media,
    /// Octets after which reading a body in chunks can stop: one more is too much.
    pub body_limit: Option<usize>,
}

/// A request that passed the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No signature was asked for.
    Unsigned,
    /// The signature is right and was not used before.
    Signed,
}

/// The gate of one service. It is shared between threads; only the memory of signed requests is behind a lock.
#[derive(Debug)]
pub struct Gate {
    options: GateOptions,
    signing: Option<Signing>,
}

#[derive(Debug)]
struct Signing {
    key: Box<[u8]>,
    signer: Signer,
    memory: Arc<Mutex<Memory>>,
}

/// The memories of signed requests that the gates of one node share. One that no gate uses any more is given up.
#[derive(Debug, Default)]
pub struct Memories(Mutex<Vec<Shared>>);

#[derive(Debug)]
struct Shared {
    credentials: Credentials,
    window: Option<Duration>,
    memory: Weak<Mutex<Memory>>,
}

impl Memories {
    fn get(&self, credentials: &Credentials, window: Option<Duration>, capacity: usize) -> Arc<Mutex<Memory>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|one| one.memory.strong_count() > 0);
        let same = known.iter().find(|one| one.credentials == *credentials && one.window == window);
        if let Some(memory) = same.and_then(|one| one.memory.upgrade()) {
            return memory;
        }
        let memory = Arc::new(Mutex::new(match window {
            Some(_) => Memory::of_a_window(capacity),
            None => Memory::of_the_last(capacity),
        }));
        known.push(Shared { credentials: credentials.clone(), window, memory: Arc::downgrade(&memory) });
        memory
    }
}

impl Gate {
    /// Opens a gate with these conditions.
    #[must_use]
    pub fn new(options: GateOptions) -> Self {
        Self::sharing(options, &Memories::default())
    }

    /// Opens a gate that remembers together with the other gates of the same key, secret and window: the signature covers
    /// no path, so a request that one of them has accepted must be a replay at all of them, and after a reload too.
    #[must_use]
    pub fn sharing(options: GateOptions, memories: &Memories) -> Self {
        Self::with_capacity(options, memories, REPLAY_MEMORY_MAX)
    }

    fn with_capacity(mut options: GateOptions, memories: &Memories, capacity: usize) -> Self {
        options.post_body_limit = options.post_body_limit.filter(|limit| *limit > 0);
        options.timestamp_delta_limit = options.timestamp_delta_limit.filter(|limit| !limit.is_zero());
        for network in options.require_ip.iter_mut().flatten().chain(&mut options.trusted_proxies) {
            *network = normal_network(*network);
        }
        let signing = options.credentials.as_ref().map(|credentials| Signing {
            key: credentials.key.as_bytes().into(),
            signer: Signer::new(&credentials.secret),
            memory: memories.get(credentials, options.timestamp_delta_limit, capacity),
        });
        Self { options, signing }
    }

    /// The conditions of this gate.
    #[must_use]
    pub const fn options(&self) -> &GateOptions {
        &self.options
    }

    /// Whether forwarding headers can make a difference.
    #[must_use]
    pub const fn trusts_proxies(&self) -> bool {
        !self.options.trusted_proxies.is_empty()
    }

    /// Judges the head of a request, before its body is read.
    ///
    /// # Errors
    ///
    /// The first condition that the head does not meet: address, TLS, method, content type, length.
    pub fn admit(&self, head: &Head<'_>) -> Result<Admitted, Refusal> {
        let client = client(head, &self.options.trusted_proxies)?;
        let listed = |networks: &[IpNet]| client.address.is_some_and(|address| among(address, networks));
        if self.options.require_ip.as_deref().is_some_and(|networks| !listed(networks)) {
            let sentence = match client.address {
                Some(address) => format!("the client address {address} is not among those that this service accepts"),
                None => "this service accepts certain addresses only, and the client's cannot be told".to_owned(),
            };
            return Err(Refusal::new(RefusalKind::Address, sentence));
        }
        if self.options.require_tls && !client.tls {
            return Err(Refusal::new(RefusalKind::Tls, "this service accepts requests over TLS (https) only"));
        }
        if !matches!(head.method, "POST" | "PUT") {
            let sentence = format!("the method has to be POST or PUT, not {}", quote(head.method.as_bytes()));
            return Err(Refusal::new(RefusalKind::Method, sentence));
        }
        // A page of any origin can post without a content type and is not asked before; with one, the browser asks.
        if head.from_page && head.content_type == ContentType::Absent {
            let sentence = "a web page has to name the content type application/json";
            return Err(Refusal::new(RefusalKind::MediaType, sentence).at("Content-Type"));
        }
        let media = media::parse(head.content_type)?;
        let body_limit = self.options.post_body_limit;
        if let (Some(limit), Some(length)) = (body_limit, head.content_length) {
            fits(length, limit)?;
        }
        Ok(Admitted { client: client.address, media, body_limit })
    }

    /// Judges the query and the body of an admitted request, and remembers it if it was signed.
    ///
    /// `query` is the raw text behind the question mark. What is refused leaves no trace: only a request whose
    /// signature is right uses up its nonce, whatever becomes of it afterwards.
    ///
    /// # Errors
    ///
    /// 413 for the length, 400 for a field that is missing or not what it has to be, 401 for the key, the signature
    /// or a replay, 503 for a request so old that the memory cannot tell whether it is a replay.
    pub fn verify(&self, query: &str, body: &[u8], now: Timestamp) -> Result<Standing, Refusal> {
        if let Some(limit) = self.options.post_body_limit {
            fits(body.len() as u64, limit)?;
        }
        let fields = Fields::parse(query);
        self.present(fields.key.as_ref(), "key")?;
        let timestamp = match self.present(fields.timestamp.as_ref(), "timestamp")? {
            Some(raw) => self.timely(raw, now)?,
            None => now,
        };
        if let Some(raw) = self.present(fields.seq.as_ref(), "seq")? {
            integer(raw, "seq")?;
        }
        let nonce = self.present(fields.nonce.as_ref(), "nonce")?.map(|raw| integer(raw, "nonce")).transpose()?;
        let signature = self.present(fields.signature.as_ref(), "signature")?;
        let (Some(signing), Some(nonce), Some(signature)) = (&self.signing, nonce, signature) else {
            return Ok(Standing::Unsigned);
        };
        let [key, ..] = fields.signed();
        if key != &*signing.key {
            let sentence = format!("the key {} is not known to this service", quote(key));
            return Err(Refusal::new(RefusalKind::UnknownKey, sentence).at("key"));
        }
        let tag = signing.signer.sign(fields.signed(), body);
        if !decode(signature).is_some_and(|received| signing.signer.same(&tag, &received)) {
            let sentence = format!("the signature does not belong to this request{}", hint(signature));
            return Err(Refusal::new(RefusalKind::WrongSignature, sentence).at("signature"));
        }
        self.remember(signing, Marks::of(&nonce, &tag), timestamp, now)
    }

    /// What a request signed, or should have: lengths and the beginning of a hash, for [`super::debug::line`].
    ///
    /// Nothing where no signature is asked for.
    #[must_use]
    pub fn signed_parts(&self, query: &str, body: &[u8]) -> Option<SignedParts> {
        self.signing.as_ref().map(|_| SignedParts::of(Fields::parse(query).signed(), body))
    }

    /// A field that a secret makes mandatory.
    fn present<'f>(&self, field: Option<&'f Cow<'_, [u8]>>, name: &'static str) -> Result<Option<&'f [u8]>, Refusal> {
        if field.is_none() && self.signing.is_some() {
            let sentence =
                format!("this service accepts signed requests only, and the query field '{name}' is missing");
            return Err(Refusal::malformed(sentence).at(name));
        }
        Ok(field.map(|field| &**field))
    }

    /// A timestamp inside of the window. It is judged on unsigned requests too, if it is there.
    fn timely(&self, raw: &[u8], now: Timestamp) -> Result<Timestamp, Refusal> {
        let Some(timestamp) = query::timestamp(raw) else {
            let sentence =
                format!("the timestamp {} is not ISO 8601 in UTC, like 2011-10-14T16:59:51.123Z", quote(raw));
            return Err(Refusal::malformed(sentence).at("timestamp"));
        };
        let Some(limit) = self.options.timestamp_delta_limit else { return Ok(timestamp) };
        let delta = now.as_nanosecond().abs_diff(timestamp.as_nanosecond());
        if delta > limit.as_nanos() {
            let sentence = format!(
                "the request has expired: its timestamp {timestamp} and the server's clock {now} are {:.3} seconds \
                 apart, and at most {} are allowed",
                Duration::from_nanos(u64::try_from(delta).unwrap_or(u64::MAX)).as_secs_f64(),
                limit.as_secs_f64(),
            );
            return Err(Refusal::new(RefusalKind::Expired, sentence).at("timestamp"));
        }
        Ok(timestamp)
    }

    fn remember(
        &self,
        signing: &Signing,
        marks: Marks,
        timestamp: Timestamp,
        now: Timestamp,
    ) -> Result<Standing, Refusal> {
        let window = self.options.timestamp_delta_limit.unwrap_or_default();
        let window = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        // Both roundings are upwards: nothing is forgotten while the window may still accept it.
        let expiry = timestamp.as_millisecond().saturating_add(2).saturating_add(window);
        // The memory is whole after every call, so that a panic of another thread cannot have broken it.
        let mut memory = signing.memory.lock().unwrap_or_else(PoisonError::into_inner);
        match memory.record(marks, expiry, now.as_millisecond()) {
            Recall::Fresh => Ok(Standing::Signed),
            Recall::Seen => {
                let sentence = "this nonce, or this very request, has been used before; sign each request anew";
                Err(Refusal::new(RefusalKind::Replayed, sentence).at("nonce"))
            }
            Recall::Forgotten => {
                let sentence =
                    "so many requests came that this older one cannot be told from a repetition; sign it anew";
                Err(Refusal::new(RefusalKind::Unavailable, sentence).at("timestamp"))
            }
        }
    }
}

fn fits(length: u64, limit: usize) -> Result<(), Refusal> {
    if length > limit as u64 { Err(Refusal::too_large_at(length, limit)) } else { Ok(()) }
}

fn integer(raw: &[u8], name: &'static str) -> Result<Vec<u8>, Refusal> {
    query::integer(raw)
        .ok_or_else(|| Refusal::malformed(format!("the {name} {} is not an integer", quote(raw))).at(name))
}

#[cfg(test)]
mod tests;
