//! Services on the paths of a web transport.
//!
//! Knows the service types of both generations (`pusher` and `publisher` are one service with two manners) and Stentor's
//! own `demo`. Those of Crossbar.io that are missing are faults by name: their path would otherwise answer 404.

use super::endpoint::EndpointConfig;
use super::endpoint::Sort;
use super::gate::{self, GateOptions};
use super::hub::{self, Census, HubConfig};
use super::reader::{Cursor, Dict, shown};
use super::realm::Roster;
use super::websocket::{self, WebSocketConfig};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use stentor_model::Secret;

/// What answers on one path.
#[derive(Debug, Clone, PartialEq)]
pub enum PathConfig {
    /// Files from a directory.
    Static {
        /// Resolved against the node directory.
        directory: PathBuf,
        /// How they are served.
        options: StaticOptions,
    },
    /// WAMP over WebSocket.
    WebSocket(WebSocketConfig),
    /// HTTP POST in, events out.
    Publisher {
        /// Which of Crossbar.io's two generations to sound like.
        dialect: PublisherKind,
        /// Where events are published.
        realm: String,
        /// As whom.
        role: String,
        /// Who may send requests.
        options: GateOptions,
    },
    /// HTTP POST in, the result of a call out.
    Caller {
        /// Where procedures are called.
        realm: String,
        /// As whom.
        role: String,
        /// Who may send requests.
        options: GateOptions,
    },
    /// Sends browsers elsewhere.
    Redirect {
        /// Absolute, or relative to this server.
        url: String,
    },
    /// One JSON document.
    Json {
        /// The document.
        value: serde_json::Value,
        /// How it is served.
        options: JsonOptions,
    },
    /// A page about this node.
    NodeInfo,
    /// Further paths below this one.
    Nested {
        /// The services by path segment.
        paths: Vec<(String, PathConfig)>,
    },
    /// Sends every WebSocket message back, for testing connections.
    Echo(WebSocketConfig),
    /// The built-in page that shows events, with the WAMP client it uses.
    Demo,
    /// Numbers for Prometheus.
    Metrics {
        /// What has to be shown for them.
        token: Option<Secret>,
    },
    /// Whether the node lives, and whether it is ready.
    Health {
        /// What has to be shown for it.
        token: Option<Secret>,
    },
    /// A WebSub hub.
    WebSubHub(Box<HubConfig>),
    /// What looks after all hubs of the node.
    HubAdmin {
        /// What has to be shown for it.
        token: Secret,
    },
    /// The newest content of a hub's topics, with the links of discovery.
    WebSubTopic {
        /// The name of the hub.
        hub: String,
        /// A topic is this, which ends with a slash, and what follows the path and its slash in a request.
        base_url: String,
        /// Whether `base_url` was made from a loopback endpoint; without its port, if the system is to choose that.
        base_url_derived: bool,
    },
    /// The publications of a hub's topics as server-sent events.
    Sse {
        /// The name of the hub.
        hub: String,
    },
}

/// The generation whose statuses a publisher answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublisherKind {
    /// Type `pusher` (2014): success is 202.
    Pusher,
    /// Type `publisher`: success is 200.
    Publisher,
}

/// `options` of a `static` service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticOptions {
    /// Lists the files of directories without a default file.
    pub enable_directory_listing: bool,
    /// What is served for a directory.
    pub default_file: String,
    /// How long clients may keep a file without asking again. `None`: they always ask.
    pub cache_timeout: Option<Duration>,
    /// Content types by file extension (with its dot), beside the well-known ones.
    pub mime_types: BTreeMap<String, String>,
}

impl Default for StaticOptions {
    fn default() -> Self {
        Self {
            enable_directory_listing: false,
            default_file: "index.html".to_owned(),
            cache_timeout: None,
            mime_types: BTreeMap::new(),
        }
    }
}

/// `options` of a `json` service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonOptions {
    /// Indents the document.
    pub prettify: bool,
    /// Lets pages from everywhere read it.
    pub allow_cross_origin: bool,
    /// Tells clients not to keep it.
    pub discourage_caching: bool,
}

impl Default for JsonOptions {
    fn default() -> Self {
        Self { prettify: false, allow_cross_origin: true, discourage_caching: false }
    }
}

/// What the services of one transport have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'s, 'a> {
    pub(super) roster: &'s Roster,
    /// The hubs of the whole node.
    pub(super) census: &'s Census<'a>,
    /// Unless it has a fault.
    pub(super) endpoint: Option<&'s EndpointConfig>,
    pub(super) tls: bool,
    /// The path of the service itself, without slashes at its ends.
    pub(super) above: &'s str,
}

const PATH_TYPES: Sort<'static> = Sort {
    noun: "path type",
    known: &[
        "static",
        "websocket",
        "pusher",
        "publisher",
        "caller",
        "redirect",
        "json",
        "path",
        "nodeinfo",
        "echo",
        "demo",
        "metrics",
        "health",
        "websub-hub",
        "hub-admin",
        "websub-topic",
        "sse",
    ],
    unsupported: &[
        "webhook",
        "cgi",
        "wsgi",
        "longpoll",
        "schemadoc",
        "upload",
        "resource",
        "reverseproxy",
        "websocket-reverseproxy",
        "archive",
        "wap",
        "catalog",
        "none",
    ],
};

/// Octets of one path segment: enough for a name, and a bound on what the router of requests compares.
const SEGMENT_BYTES_MAX: usize = 128;

/// Reads a `paths` dictionary.
pub(super) fn read_all<'a>(cursor: &Cursor<'a>, scope: Scope<'_, 'a>) -> Vec<(String, PathConfig)> {
    let mut paths = Vec::new();
    for (name, cursor) in cursor.named() {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if name != "/" && (name.is_empty() || name.len() > SEGMENT_BYTES_MAX || !name.bytes().all(letter)) {
            let hint = if name.contains('/') { "; for paths below paths there is the type 'path'" } else { "" };
            cursor.fault(format!(
                "the path name '{}' must be '/' or 1 to {SEGMENT_BYTES_MAX} letters, digits, '_' and '-'{hint}",
                shown(name)
            ));
        }
        let above = format!("{}/{name}", scope.above);
        if let Some(path) = read(&cursor, Scope { above: above.trim_matches('/'), ..scope }) {
            paths.push((name.to_owned(), path));
        }
    }
    paths
}

fn read<'a>(cursor: &Cursor<'a>, scope: Scope<'_, 'a>) -> Option<PathConfig> {
    let mut dict = cursor.dict()?;
    let kind = dict.need("type")?;
    let path = match kind.name()? {
        "static" => files(&mut dict),
        "websocket" => Some(PathConfig::WebSocket(websocket::read(&mut dict, scope.roster))),
        "echo" => {
            kind.advise("'echo' is for tests: the node starts with it only by `stentor start --enable-echo`");
            Some(PathConfig::Echo(websocket::read(&mut dict, scope.roster)))
        }
        "pusher" => publisher(&mut dict, scope, PublisherKind::Pusher),
        "publisher" => publisher(&mut dict, scope, PublisherKind::Publisher),
        "caller" => {
            let names = scope.roster.realm_and_role(&mut dict);
            let options = gate::options(&mut dict, scope.tls);
            names.map(|(realm, role)| PathConfig::Caller { realm, role, options })
        }
        "redirect" => dict.need_name("url").map(|url| PathConfig::Redirect { url }),
        "json" => json(&mut dict),
        "nodeinfo" => Some(PathConfig::NodeInfo),
        "demo" => Some(PathConfig::Demo),
        "metrics" => token(&mut dict).map(|token| PathConfig::Metrics { token }),
        "health" => token(&mut dict).map(|token| PathConfig::Health { token }),
        "websub-hub" => return hub::read(cursor, dict, scope).map(|hub| PathConfig::WebSubHub(Box::new(hub))),
        "hub-admin" => hub::admin_token(cursor, &mut dict, scope.census).map(|token| PathConfig::HubAdmin { token }),
        "websub-topic" => {
            dict = dict.in_both_spellings();
            let (hub, base_url) = (hub::belongs(&mut dict, scope.census), hub::base_url(&mut dict, scope));
            let parts = hub.zip(base_url);
            parts.map(|(hub, (base_url, base_url_derived))| PathConfig::WebSubTopic { hub, base_url, base_url_derived })
        }
        "sse" => hub::belongs(&mut dict, scope.census).map(|hub| PathConfig::Sse { hub }),
        "path" => dict.need("paths").map(|cursor| PathConfig::Nested { paths: read_all(&cursor, scope) }),
        other => {
            // The keys of a service that is not known cannot be judged.
            kind.fault(PATH_TYPES.refusal(other));
            return None;
        }
    };
    dict.finish();
    path
}

fn publisher(dict: &mut Dict<'_>, scope: Scope<'_, '_>, dialect: PublisherKind) -> Option<PathConfig> {
    let names = scope.roster.realm_and_role(dict);
    let options = gate::options(dict, scope.tls);
    names.map(|(realm, role)| PathConfig::Publisher { dialect, realm, role, options })
}

fn files(dict: &mut Dict<'_>) -> Option<PathConfig> {
    dict.refuse("package");
    dict.refuse("resource");
    let directory = dict.need("directory").and_then(|cursor| cursor.existing("directory"));
    let mut options = StaticOptions::default();
    if let Some(mut dict) = dict.dict("options") {
        dict.flag("enable_directory_listing", &mut options.enable_directory_listing);
        if let Some(name) = dict.take("default_file").as_ref().and_then(Cursor::name) {
            name.clone_into(&mut options.default_file);
        }
        let seconds = dict.take("cache_timeout").and_then(|cursor| cursor.integer(0..=u64::from(u32::MAX)));
        options.cache_timeout = seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs);
        for (extension, cursor) in dict.take("mime_types").map(|cursor| cursor.named()).unwrap_or_default() {
            if extension.len() < 2 || !extension.starts_with('.') {
                cursor.fault(format!("the extension '{}' must begin with a dot, such as '.md'", shown(extension)));
            }
            if let Some(kind) = cursor.name() {
                options.mime_types.insert(extension.to_owned(), kind.to_owned());
            }
        }
        dict.ignore("allow_cross_origin", "files are served without CORS headers");
        dict.finish();
    }
    Some(PathConfig::Static { directory: directory?, options })
}

/// An optional token. One with a fault in it must not turn into a path for everybody.
fn token(dict: &mut Dict<'_>) -> Option<Option<Secret>> {
    dict.take("token").map_or(Some(None), |cursor| gate::secret(&cursor).map(Some))
}

fn json(dict: &mut Dict<'_>) -> Option<PathConfig> {
    // `null` is a document like any other.
    let value = dict.take_even_null("value");
    if value.is_none() {
        dict.fault("missing required key 'value'");
    }
    let mut options = JsonOptions::default();
    if let Some(mut dict) = dict.dict("options") {
        dict.flag("prettify", &mut options.prettify);
        dict.flag("allow_cross_origin", &mut options.allow_cross_origin);
        dict.flag("discourage_caching", &mut options.discourage_caching);
        dict.finish();
    }
    let value = value?;
    value.check_repetitions();
    Some(PathConfig::Json { value: value.node.value.to_json(), options })
}
