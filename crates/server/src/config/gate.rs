//! The gate in front of a path that takes requests from applications: who may come in, and how much they may bring.
//!
//! Knows the options shared by publisher and caller services. Deliberately does not check signatures.

use super::network;
use super::reader::{Cursor, Dict};
use ipnet::IpNet;
use std::time::Duration;

use stentor_model::Secret;

/// Reads a secret. A value of the wrong type is not repeated in the fault, it may be the secret itself.
pub(super) fn secret(cursor: &Cursor<'_>) -> Option<Secret> {
    match &cursor.node.value {
        super::tree::Value::Text(text) if !text.is_empty() => Some(Secret::new(text.as_str())),
        super::tree::Value::Text(_) => {
            cursor.fault("must not be empty");
            None
        }
        _ => {
            cursor.fault("must be a string (in quotation marks)");
            None
        }
    }
}

/// Options of `pusher`, `publisher` and `caller` services. Everything is open by default, as in Crossbar.io.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GateOptions {
    /// With `secret`: requests have to be signed, and this is the key that they name.
    pub key: Option<String>,
    /// With `key`: what signatures are computed with.
    pub secret: Option<Secret>,
    /// Octets of a request body; 0 leaves it to the server's own ceiling. At most 2^20.
    pub post_body_limit: usize,
    /// How far a signature's timestamp may be from now, in either direction. `None` (written 0): any divergence.
    pub timestamp_delta_limit: Option<Duration>,
    /// The networks that requests may come from. `None`: all. An empty list lets nobody in.
    pub require_ip: Option<Vec<IpNet>>,
    /// Only requests that came over TLS are taken.
    pub require_tls: bool,
    /// Proxies whose `Forwarded` and `X-Forwarded-For` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Logs one line for each request: outcome, reason, receivers.
    pub debug: bool,
    /// Origins (`https://example.com`, or `*`) whose pages may send requests. Empty: no CORS headers at all.
    pub cors: Vec<String>,
}

/// Octets that `post_body_limit` may allow: Crossbar's range.
const POST_BODY_LIMIT_MAX: u64 = 1 << 20;

/// Seconds that `timestamp_delta_limit` may allow: a day, Crossbar's range.
const TIMESTAMP_DELTA_LIMIT_MAX: u64 = 86_400;

/// Reads the options of a path; `tls` says whether the transport has TLS of its own.
pub(super) fn options(parent: &mut Dict<'_>, tls: bool) -> GateOptions {
    parent.dict("options").map_or_else(GateOptions::default, |dict| read(dict, tls))
}

/// Reads a gate wherever it stands.
pub(super) fn read(mut dict: Dict<'_>, tls: bool) -> GateOptions {
    let mut gate = GateOptions::default();
    let key = dict.take("key");
    let secret_cursor = dict.take("secret");
    match (&key, &secret_cursor) {
        (Some(key), None) => key.fault("a 'key' needs a 'secret' beside it; without one nothing would be checked"),
        (None, Some(secret)) => secret.fault("a 'secret' needs a 'key' beside it, which requests have to name"),
        _ => {}
    }
    gate.key = key.and_then(|cursor| cursor.name().map(str::to_owned));
    gate.secret = secret_cursor.as_ref().and_then(secret);
    dict.integer("post_body_limit", 0..=POST_BODY_LIMIT_MAX, &mut gate.post_body_limit);
    let mut seconds = 0;
    dict.integer("timestamp_delta_limit", 0..=TIMESTAMP_DELTA_LIMIT_MAX, &mut seconds);
    gate.timestamp_delta_limit = (seconds > 0).then(|| Duration::from_secs(seconds));
    gate.require_ip = dict.take("require_ip").map(|cursor| networks(&cursor));
    dict.flag("require_tls", &mut gate.require_tls);
    gate.trusted_proxies = dict.take("trusted_proxies").map(|cursor| networks(&cursor)).unwrap_or_default();
    dict.flag("debug", &mut gate.debug);
    gate.cors = dict.list("cors").iter().filter_map(origin).collect();
    if let Some(secret) = secret_cursor.filter(|_| seconds == 0) {
        secret.advise("set 'timestamp_delta_limit' (such as 10) too, so that an old signed request cannot be replayed");
    }
    if gate.require_tls && !tls && gate.trusted_proxies.is_empty() {
        dict.advise("'require_tls' without TLS on this transport or 'trusted_proxies' refuses every request");
    }
    dict.finish();
    gate
}

pub(super) fn networks(cursor: &Cursor<'_>) -> Vec<IpNet> {
    let read = |item: Cursor<'_>| match network::parse(item.text()?) {
        Ok(network) => Some(network),
        Err(error) => {
            item.must(&error.to_string());
            None
        }
    };
    cursor.list().unwrap_or_default().into_iter().filter_map(read).collect()
}

/// An origin as RFC 6454 section 6.2 serialises it, so that it can be compared with the header octet by octet.
fn origin(cursor: &Cursor<'_>) -> Option<String> {
    let text = cursor.name()?;
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = |host: &str| !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/?#@*".contains(c));
    if text != "*" && !host.is_some_and(plain) {
        cursor.must("'*' or an origin such as 'https://example.com'");
        return None;
    }
    Some(text.to_owned())
}
