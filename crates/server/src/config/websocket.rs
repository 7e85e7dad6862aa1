//! WebSocket services, on a transport of their own or on a path: serializers, options, authentication.
//!
//! Knows every option of Crossbar.io's WebSocket transports and Stentor's own limits. Two defaults differ on purpose:
//! pings are on (dead connections would otherwise stay for ever), and no size is unlimited.

use super::auth::{self, AuthConfig};
use super::reader::{Cursor, Dict};
use super::realm::Roster;
use std::time::Duration;

/// A service that speaks WAMP over WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketConfig {
    /// The URL that clients use, where it differs from what the endpoint suggests.
    pub url: Option<String>,
    /// What is offered, in the order of preference.
    pub serializers: Vec<Serializer>,
    /// How connections behave.
    pub options: WebSocketOptions,
    /// How clients prove who they are.
    pub auth: AuthConfig,
}

/// A WAMP serialization as negotiated in the WebSocket subprotocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serializer {
    /// `wamp.2.json`
    Json,
    /// `wamp.2.json.batched`
    JsonBatched,
    /// `wamp.2.msgpack`
    Msgpack,
    /// `wamp.2.msgpack.batched`
    MsgpackBatched,
    /// `wamp.2.cbor`
    Cbor,
    /// `wamp.2.cbor.batched`
    CborBatched,
}

impl Serializer {
    /// All, in the order in which they are offered by default.
    pub const ALL: [Self; 6] =
        [Self::Json, Self::JsonBatched, Self::Msgpack, Self::MsgpackBatched, Self::Cbor, Self::CborBatched];

    /// The identifier registered for the WebSocket subprotocol.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "wamp.2.json",
            Self::JsonBatched => "wamp.2.json.batched",
            Self::Msgpack => "wamp.2.msgpack",
            Self::MsgpackBatched => "wamp.2.msgpack.batched",
            Self::Cbor => "wamp.2.cbor",
            Self::CborBatched => "wamp.2.cbor.batched",
        }
    }

    /// The name in a configuration: the subprotocol without its protocol and version.
    fn name(self) -> &'static str {
        &self.subprotocol()["wamp.2.".len()..]
    }
}

/// `options` of a WebSocket service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketOptions {
    /// The port that clients see, where something in front of the node maps it.
    pub external_port: Option<u16>,
    /// Answers a plain GET with a short page instead of an error.
    pub enable_webstatus: bool,
    /// Names the server's version on that page.
    pub show_server_version: bool,
    /// Time for the opening handshake.
    pub open_handshake_timeout: Duration,
    /// Time for the other side to answer our close frame.
    pub close_handshake_timeout: Duration,
    /// Checks that text frames are UTF-8.
    pub validate_utf8: bool,
    /// Refuses frames from clients that are not masked (RFC 6455 section 5.1).
    pub require_masked_client_frames: bool,
    /// Refuses clients that offer no subprotocol.
    pub require_websocket_subprotocol: bool,
    /// Octets of one frame from a client.
    pub max_frame_size: usize,
    /// Octets of one message from a client, decompressed.
    pub max_message_size: usize,
    /// Messages longer than this are sent in frames of this size. `None`: one frame each.
    pub auto_fragment_size: Option<usize>,
    /// On a protocol violation, drops the connection without a close frame.
    pub fail_by_drop: bool,
    /// Answers a close frame with the code and reason that came in it.
    pub echo_close_codereason: bool,
    /// Sends small frames at once (Nagle's algorithm off).
    pub tcp_nodelay: bool,
    /// permessage-deflate (RFC 7692), where it is offered.
    pub deflate: Option<DeflateConfig>,
    /// Patterns of `Origin` headers; `*` stands for anything.
    pub allowed_origins: Vec<String>,
    /// Lets pages from `file:` and sandboxes in, whose origin is `null`.
    pub allow_null_origin: bool,
    /// Time without a sign of life after which a ping is sent. `None`: no pings.
    pub auto_ping_interval: Option<Duration>,
    /// Time for the answer to a ping before the connection is dropped. `None`: for ever.
    pub auto_ping_timeout: Option<Duration>,
    /// Octets of a ping's payload.
    pub auto_ping_size: usize,
    /// Counts any traffic as a sign of life, not only pongs.
    pub auto_ping_restart_on_any_traffic: bool,
    /// Sessions at one time on the transport, over all its paths.
    pub max_sessions: usize,
    /// Subscriptions that one session may hold.
    pub max_subscriptions_per_session: usize,
    /// Octets waiting to be written to one session; a session that falls further behind is closed.
    pub outbox_bytes_max: usize,
}

impl Default for WebSocketOptions {
    fn default() -> Self {
        Self {
            external_port: None,
            enable_webstatus: true,
            show_server_version: true,
            open_handshake_timeout: Duration::from_secs(10),
            close_handshake_timeout: Duration::from_secs(5),
            validate_utf8: true,
            require_masked_client_frames: true,
            require_websocket_subprotocol: true,
            // Browsers send every message as one frame, so the two limits are one.
            max_frame_size: 16 << 20,
            max_message_size: 16 << 20,
            auto_fragment_size: None,
            fail_by_drop: false,
            echo_close_codereason: false,
            tcp_nodelay: true,
            deflate: None,
            allowed_origins: vec!["*".to_owned()],
            allow_null_origin: true,
            auto_ping_interval: Some(Duration::from_secs(10)),
            auto_ping_timeout: Some(Duration::from_secs(10)),
            auto_ping_size: 12,
            auto_ping_restart_on_any_traffic: true,
            max_sessions: 100_000,
            max_subscriptions_per_session: 10_000,
            // A single message of any size is taken by an empty outbox, so this only bounds how far a reader may lag.
            outbox_bytes_max: 4 << 20,
        }
    }
}

/// permessage-deflate parameters (RFC 7692 section 7.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeflateConfig {
    /// Asks clients to forget their window after each message.
    pub request_no_context_takeover: bool,
    /// Asks clients for a window of at most 2 to this power.
    pub request_max_window_bits: Option<u8>,
    /// Forgets our window after each message.
    pub no_context_takeover: bool,
    /// Our window is at most 2 to this power.
    pub max_window_bits: Option<u8>,
    /// Memory that compression may use, 1 to 9.
    pub memory_level: Option<u8>,
}

impl Default for DeflateConfig {
    fn default() -> Self {
        Self {
            // One compressor serves all sessions of a thread, so a window cannot outlive its message.
            request_no_context_takeover: true,
            request_max_window_bits: None,
            no_context_takeover: true,
            max_window_bits: None,
            memory_level: None,
        }
    }
}

/// Octets that a frame, message or outbox limit may allow: past this, one client could exhaust a small machine.
const SIZE_MAX: u64 = 1 << 30;

/// Milliseconds that a timeout may last: an hour.
const TIMEOUT_MS_MAX: u64 = 3_600_000;

/// Reads what a WebSocket transport and a WebSocket path have in common.
pub(super) fn read(dict: &mut Dict<'_>, roster: &Roster) -> WebSocketConfig {
    let url = dict.take("url").inspect(without_effect).and_then(|cursor| url(&cursor));
    let serializers = dict.take("serializers").map_or_else(|| Serializer::ALL.to_vec(), |cursor| serializers(&cursor));
    let options = dict.take("options").map(|cursor| options(&cursor)).unwrap_or_default();
    let auth = auth::read(dict, roster);
    dict.ignore("debug", "the log level decides what is logged");
    dict.ignore("cookie", "clients are not tracked");
    WebSocketConfig { url, serializers, options, auth }
}

/// For what is read because Crossbar.io has it, checked, and then not used.
fn without_effect(cursor: &Cursor<'_>) {
    cursor.warn("has no effect: the node answers on its endpoint, whatever name or port clients see");
}

fn url(cursor: &Cursor<'_>) -> Option<String> {
    let url = cursor.name()?;
    if !["ws://", "wss://"].iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty())) {
        cursor.must("a URL that begins with ws:// or wss://");
        return None;
    }
    Some(url.to_owned())
}

/// A plain name offers the batched form too, as it does in Crossbar.io.
fn serializers(cursor: &Cursor<'_>) -> Vec<Serializer> {
    let items = cursor.list().unwrap_or_default();
    if items.is_empty() && cursor.node.value == super::tree::Value::List(Vec::new()) {
        cursor.fault("must name at least one serializer");
    }
    let mut chosen = Vec::new();
    for item in items {
        let Some(name) = item.name() else { continue };
        let named = Serializer::ALL
            .iter()
            .filter(|serializer| serializer.name() == name || serializer.name().strip_suffix(".batched") == Some(name));
        let before = chosen.len();
        chosen.extend(named);
        if chosen.len() == before {
            let known = Serializer::ALL.map(Serializer::name);
            let sort =
                super::endpoint::Sort { noun: "serializer", known: &known, unsupported: &["ubjson", "flatbuffers"] };
            item.fault(sort.refusal(name));
        }
    }
    let mut seen = Vec::new();
    chosen.retain(|serializer| {
        !seen.contains(serializer) && {
            seen.push(*serializer);
            true
        }
    });
    chosen
}

fn options(cursor: &Cursor<'_>) -> WebSocketOptions {
    let mut options = WebSocketOptions::default();
    let Some(mut dict) = cursor.dict() else { return options };
    options.external_port = dict
        .take("external_port")
        .inspect(without_effect)
        .and_then(|cursor| cursor.integer(1..=65_535))
        .and_then(|port| port.try_into().ok());
    dict.flag("enable_webstatus", &mut options.enable_webstatus);
    dict.flag("show_server_version", &mut options.show_server_version);
    dict.deadline_ms("open_handshake_timeout", 0..=TIMEOUT_MS_MAX, &mut options.open_handshake_timeout);
    dict.deadline_ms("close_handshake_timeout", 0..=TIMEOUT_MS_MAX, &mut options.close_handshake_timeout);
    dict.flag("validate_utf8", &mut options.validate_utf8);
    dict.flag("require_masked_client_frames", &mut options.require_masked_client_frames);
    dict.flag("require_websocket_subprotocol", &mut options.require_websocket_subprotocol);
    dict.size("max_frame_size", 0..=SIZE_MAX, &mut options.max_frame_size);
    dict.size("max_message_size", 0..=SIZE_MAX, &mut options.max_message_size);
    let mut fragment = 0;
    dict.integer("auto_fragment_size", 0..=SIZE_MAX, &mut fragment);
    options.auto_fragment_size = (fragment > 0).then_some(fragment);
    dict.flag("fail_by_drop", &mut options.fail_by_drop);
    dict.flag("echo_close_codereason", &mut options.echo_close_codereason);
    dict.flag("tcp_nodelay", &mut options.tcp_nodelay);
    options.deflate = dict.dict("compression").and_then(compression);
    if let Some(origins) = dict.take("allowed_origins") {
        let names = |item: &Cursor<'_>| item.name().map(str::to_owned);
        options.allowed_origins = origins.list().unwrap_or_default().iter().filter_map(names).collect();
    }
    dict.flag("allow_null_origin", &mut options.allow_null_origin);
    pings(&mut dict, &mut options);
    dict.integer("max_sessions", 1..=10_000_000, &mut options.max_sessions);
    dict.integer("max_subscriptions_per_session", 1..=10_000_000, &mut options.max_subscriptions_per_session);
    dict.integer("outbox_bytes_max", 1024..=SIZE_MAX, &mut options.outbox_bytes_max);
    for key in ["enable_hixie76", "enable_hybi10", "enable_rfc6455"] {
        dict.ignore(key, "RFC 6455 is spoken, and nothing older");
    }
    dict.ignore("mask_server_frames", "RFC 6455 forbids masking by servers");
    dict.ignore("apply_mask", "masked frames are always unmasked");
    dict.ignore("enable_flash_policy", "Flash is gone");
    dict.ignore("flash_policy", "Flash is gone");
    dict.finish();
    options
}

fn pings(dict: &mut Dict<'_>, options: &mut WebSocketOptions) {
    for (key, field) in
        [("auto_ping_interval", &mut options.auto_ping_interval), ("auto_ping_timeout", &mut options.auto_ping_timeout)]
    {
        let Some(cursor) = dict.take(key) else { continue };
        match cursor.node.value {
            super::tree::Value::Number(ref number) if number.as_u64() == Some(0) => *field = None,
            super::tree::Value::Number(ref number)
                if number.as_u64().is_some_and(|ms| (1000..=TIMEOUT_MS_MAX).contains(&ms)) =>
            {
                *field = number.as_u64().map(Duration::from_millis);
            }
            _ => cursor.must(&format!("0 or an integer from 1000 to {TIMEOUT_MS_MAX} (milliseconds)")),
        }
    }
    dict.integer("auto_ping_size", 12..=125, &mut options.auto_ping_size);
    dict.flag("auto_ping_restart_on_any_traffic", &mut options.auto_ping_restart_on_any_traffic);
}

fn compression(mut dict: Dict<'_>) -> Option<DeflateConfig> {
    let deflate = dict.dict("deflate").map(|mut dict| {
        let mut deflate = DeflateConfig::default();
        for (key, field) in [
            ("request_no_context_takeover", &mut deflate.request_no_context_takeover),
            ("no_context_takeover", &mut deflate.no_context_takeover),
        ] {
            let Some(cursor) = dict.take(key) else { continue };
            if cursor.flag() == Some(false) {
                cursor.warn("has no effect: no session keeps a window of its own, so this is always on");
            }
            *field = true;
        }
        for (key, least, most, field) in [
            ("request_max_window_bits", 9, 15, &mut deflate.request_max_window_bits),
            ("max_window_bits", 9, 15, &mut deflate.max_window_bits),
            ("memory_level", 1, 9, &mut deflate.memory_level),
        ] {
            let found = dict.take(key).and_then(|cursor| {
                if key == "memory_level" {
                    cursor.warn("has no effect: all sessions of a thread share one compressor");
                }
                cursor.integer(least..=most)
            });
            *field = found.and_then(|found| found.try_into().ok());
        }
        dict.finish();
        deflate
    });
    for method in ["bzip2", "snappy", "brotli"] {
        if let Some(cursor) = dict.take_unasked(method) {
            cursor.warn(format!("ignored: compression '{method}' of Crossbar.io is not supported by Stentor"));
        }
    }
    dict.finish();
    deflate
}
