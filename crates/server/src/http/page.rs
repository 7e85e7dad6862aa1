//! Fixed pages: JSON values, what this node is, the demo, and what a browser sees on a WebSocket path.

use bytes::Bytes;
use hyper::header::{self, HeaderValue};

use super::reply::{self, Reply};

/// The version that the node tells.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The demo page; the pusher template has the same.
pub const DEMO_PAGE: &str = include_str!("../../web/index.html");

/// The browser client; the pusher template has the same.
pub const DEMO_CLIENT: &str = include_str!("../../web/wamp.js");

/// A fixed JSON value.
#[derive(Clone, Debug)]
pub struct JsonPage {
    /// The text.
    pub text: Bytes,
    /// Pages of other origins may read it.
    pub cross_origin: CrossOrigin,
    /// Whether it may be kept on the way.
    pub caching: Caching,
}

/// Whether pages of other origins may read a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrossOrigin {
    /// They may.
    Allowed,
    /// They may not.
    Denied,
}

/// Whether a value may be kept on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// It may.
    Normal,
    /// It may not.
    Discouraged,
}

impl JsonPage {
    pub(crate) fn reply(&self) -> Reply {
        let mut reply = match self.caching {
            Caching::Discouraged => reply::json(200, self.text.clone()),
            Caching::Normal => reply::with_body(200, "application/json; charset=UTF-8", self.text.clone()),
        };
        if self.cross_origin == CrossOrigin::Allowed {
            reply.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        reply
    }
}

/// What this node is.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// The realms of its router.
    pub realms: Vec<String>,
}

impl NodeInfo {
    pub(crate) fn reply(&self, uptime: std::time::Duration) -> Reply {
        let value = serde_json::json!({
            "server": "Stentor",
            "version": VERSION,
            "realms": self.realms,
            "uptime_seconds": uptime.as_secs(),
        });
        reply::json(200, value.to_string())
    }
}

/// The demo: the page and its client.
pub(crate) fn demo(rest: &str) -> Reply {
    match rest {
        "" | "index.html" => reply::with_body(200, "text/html; charset=utf-8", DEMO_PAGE),
        "wamp.js" => reply::with_body(200, "text/javascript; charset=utf-8", DEMO_CLIENT),
        _ => reply::text(404, "There is nothing here"),
    }
}

/// What a browser sees that opens a WebSocket address as a page.
pub(crate) fn socket_status(show_version: bool) -> Reply {
    let server = if show_version { format!("Stentor {VERSION}") } else { "Stentor".to_owned() };
    let page = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{server}</title></head><body>\
         <h1>{server}</h1><p>This is a WebSocket endpoint for WAMP. Connect to it with a WAMP client; a browser \
         window shows nothing more.</p></body></html>"
    );
    reply::with_body(200, "text/html; charset=utf-8", page)
}
