//! Transports of a router: a WebSocket endpoint, or a web server with services on its paths.

use super::endpoint::{self, EndpointConfig, Sort};
use super::hub::Census;
use super::limits::{self, LimitsConfig};
use super::path::{self, PathConfig};
use super::reader::{Cursor, Dict};
use super::realm::Roster;
use super::websocket::{self, WebSocketConfig};
use std::time::Duration;

/// One listening transport.
#[derive(Debug, Clone, PartialEq)]
pub struct TransportConfig {
    /// As configured, or `transport001` and so on by its place.
    pub id: String,
    /// What is served.
    pub kind: TransportKind,
    /// Where.
    pub endpoint: EndpointConfig,
    /// How much clients may take.
    pub limits: LimitsConfig,
}

/// What a transport serves.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a node has a handful of transports; a box would only be in the way")]
pub enum TransportKind {
    /// WAMP over WebSocket, on any request path.
    WebSocket(WebSocketConfig),
    /// HTTP with services on paths.
    Web {
        /// The services by first path segment; `/` serves the root and whatever has no service of its own.
        paths: Vec<(String, PathConfig)>,
        /// How the web server behaves.
        options: WebOptions,
    },
}

/// `options` of a web transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebOptions {
    /// Logs one line for each request.
    pub access_log: bool,
    /// Sends `Strict-Transport-Security`; of use with TLS only.
    pub hsts: bool,
    /// How long browsers remember it.
    pub hsts_max_age: Duration,
    /// Time that a connection may be silent between requests.
    pub client_timeout: Duration,
    /// Tells programs on the same machine about the node, where the endpoint is for them alone.
    pub observability: bool,
}

impl Default for WebOptions {
    fn default() -> Self {
        Self {
            access_log: false,
            hsts: false,
            hsts_max_age: Duration::from_secs(31_536_000),
            // Crossbar.io waits for ever, so that anybody can hold all its connections.
            client_timeout: Duration::from_secs(75),
            observability: true,
        }
    }
}

const TRANSPORT_TYPES: Sort<'static> = Sort {
    noun: "transport type",
    known: &["websocket", "web"],
    unsupported: &[
        "rawsocket",
        "universal",
        "flashpolicy",
        "mqtt",
        "websocket.testee",
        "stream.testee",
        "memory",
        "onion",
    ],
};

/// Reads one transport; `place` counts from 1 over the whole node.
pub(super) fn read<'a>(
    cursor: &Cursor<'a>,
    place: usize,
    roster: &Roster,
    census: &Census<'a>,
) -> Option<TransportConfig> {
    let mut dict = cursor.dict()?;
    let id = dict.take("id").and_then(|cursor| cursor.name().map(str::to_owned));
    let endpoint = dict.need("endpoint");
    let kind = dict.need("type")?;
    let name = kind.name()?;
    if !TRANSPORT_TYPES.known.contains(&name) {
        // The keys of a transport that is not known cannot be judged.
        kind.fault(TRANSPORT_TYPES.refusal(name));
        return None;
    }
    let endpoint = endpoint.and_then(|cursor| endpoint::read(&cursor));
    let tls = endpoint.as_ref().is_some_and(EndpointConfig::has_tls);
    let limits = limits::read(&mut dict);
    let kind = if name == "web" {
        let scope = path::Scope { roster, census, endpoint: endpoint.as_ref(), tls, above: "" };
        let paths = dict.need("paths").map(|cursor| path::read_all(&cursor, scope));
        let options = options(&mut dict, tls);
        TransportKind::Web { paths: paths.unwrap_or_default(), options }
    } else {
        TransportKind::WebSocket(websocket::read(&mut dict, roster))
    };
    dict.finish();
    let id = id.unwrap_or_else(|| format!("transport{place:03}"));
    Some(TransportConfig { id, kind, endpoint: endpoint?, limits })
}

fn options(parent: &mut Dict<'_>, tls: bool) -> WebOptions {
    let mut options = WebOptions::default();
    let Some(mut dict) = parent.dict("options") else { return options };
    dict.flag("access_log", &mut options.access_log);
    dict.flag("hsts", &mut options.hsts);
    let seconds = |dict: &mut Dict<'_>, key, range, into: &mut Duration| {
        if let Some(seconds) = dict.take(key).and_then(|cursor| cursor.integer(range)) {
            *into = Duration::from_secs(seconds);
        }
    };
    seconds(&mut dict, "hsts_max_age", 0..=u64::from(u32::MAX), &mut options.hsts_max_age);
    seconds(&mut dict, "client_timeout", 1..=86_400, &mut options.client_timeout);
    dict.flag("observability", &mut options.observability);
    dict.ignore("display_tracebacks", "internal details are never shown");
    dict.ignore("hixie76_aware", "RFC 6455 is spoken, and nothing older");
    if options.hsts && !tls {
        dict.advise("browsers heed 'hsts' only where the node's transport, or a proxy in front of it, has TLS");
    }
    dict.finish();
    options
}
