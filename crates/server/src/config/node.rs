//! The node: its version, its workers, and what of Crossbar.io's process model has no counterpart here.
//!
//! Stentor is one process. Routers are read; containers, guests and settings of processes are named as ignored.

use super::endpoint::{EndpointConfig, Sort};
use super::hub::Census;
use super::reader::{Context, Cursor, Dict};
use super::realm::{self, Era, RealmConfig};
use super::store::{self, StoreConfig};
use super::transport::{self, TransportConfig};
use super::tree::Node;

/// A whole node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeConfig {
    /// The workers of type `router`, in the order of the file.
    pub routers: Vec<RouterConfig>,
    /// Where the order of its hubs lives.
    pub store: StoreConfig,
}

/// One router: realms, and the transports through which clients reach them.
#[derive(Debug, Clone, PartialEq)]
pub struct RouterConfig {
    /// Its index among the workers of the file.
    pub place: usize,
    /// As configured, or `worker001` and so on by its place.
    pub id: String,
    /// What clients can join.
    pub realms: Vec<RealmConfig>,
    /// Where they come in.
    pub transports: Vec<TransportConfig>,
}

const WORKER_TYPES: Sort<'static> = Sort { noun: "worker type", known: &["router"], unsupported: &[] };

/// Worker types of Crossbar.io that run something beside the router.
const WORKERS_IGNORED: [&str; 9] = [
    "container",
    "guest",
    "proxy",
    "websocket-testee",
    "hostmonitor",
    "marketplace",
    "xbrmm",
    "hyperbridge",
    "realmstore",
];

/// Reads a whole configuration. `None` only together with a fault.
pub(super) fn read(tree: &Node, cx: &Context<'_>) -> Option<NodeConfig> {
    let mut dict = Cursor::root(tree, cx).dict()?;
    let era = match dict.take("version") {
        Some(version) => {
            version_is_known(&version);
            Era::Second
        }
        None => Era::First,
    };
    // For editors; it changes nothing.
    dict.take("$schema");
    if let Some(controller) = dict.dict("controller") {
        read_controller(controller);
    }
    let store = store::read(&mut dict);
    let (mut listening, census) = (Listening::default(), Census::default());
    let workers = dict.need("workers");
    let cursors = workers.as_ref().and_then(Cursor::list);
    let mut routers = Vec::new();
    for (place, cursor) in cursors.iter().flatten().enumerate() {
        routers.extend(worker(cursor, place + 1, era, &mut listening, &census));
    }
    if cursors.is_some_and(|cursors| cursors.len() == listening.ignored) {
        workers?.fault("must hold at least one worker of type 'router'");
    }
    census.settle();
    dict.finish();
    Some(NodeConfig { routers, store })
}

/// Crossbar.io's second generation is `2`; its first has no version at all. Both are read, so the number only has to be
/// one that we know.
fn version_is_known(cursor: &Cursor<'_>) {
    if cursor.node.value != super::tree::Value::Number(2.into()) {
        cursor.must("2 (leave it out for a configuration in the 2014 form)");
    }
}

/// Crossbar.io's parent process. Its settings have nothing to act upon here; misspelt ones are still faults.
fn read_controller(mut dict: Dict<'_>) {
    dict.take("id");
    dict.take("realm");
    dict.take("options");
    for key in ["manhole", "transport", "connections", "keyring", "fabric", "cdc"] {
        dict.ignore(key, "Stentor has no controller process");
    }
    dict.finish();
}

/// The names and endpoints taken so far, over all routers.
#[derive(Default)]
struct Listening {
    workers: Vec<String>,
    transports: Vec<(TransportConfig, String)>,
    count: usize,
    /// Workers passed over with a warning.
    ignored: usize,
}

/// Reads one worker; `place` counts from 1. `None` with a warning where it is of a type that we do not run, or with a
/// fault. Realms are read before transports, whose services refer to them.
fn worker<'a>(
    cursor: &Cursor<'a>,
    place: usize,
    era: Era,
    listening: &mut Listening,
    census: &Census<'a>,
) -> Option<RouterConfig> {
    let mut dict = cursor.dict()?;
    let kind = dict.need("type")?;
    let name = kind.name()?;
    if WORKERS_IGNORED.contains(&name) {
        listening.ignored += 1;
        cursor.warn(format!("ignored: worker type '{name}' of Crossbar.io is not supported by Stentor"));
        return None;
    }
    if !WORKER_TYPES.known.contains(&name) {
        kind.fault(WORKER_TYPES.refusal(name));
        return None;
    }
    let id = dict.take("id").and_then(|id| {
        let name = id.name()?;
        if listening.workers.iter().any(|known| known == name) {
            id.fault(format!("a second worker with the id '{name}'"));
        }
        listening.workers.push(name.to_owned());
        Some(name.to_owned())
    });
    if let Some(options) = dict.dict("options") {
        process_options(options);
    }
    for key in ["components", "connections", "links"] {
        dict.ignore(key, &format!("'{key}' of Crossbar.io are not supported by Stentor"));
    }
    dict.ignore("manhole", "'manhole' of Crossbar.io is not supported by Stentor");
    let (realms, roster) = realm::read_all(dict.list("realms"), era);
    let mut transports = Vec::new();
    let cursors = dict.list("transports");
    if cursors.is_empty() {
        dict.advise("has no transports, so nobody can reach it");
    }
    for cursor in cursors {
        listening.count += 1;
        let Some(transport) = transport::read(&cursor, listening.count, &roster, census) else { continue };
        listening.add(&cursor, &transport);
        transports.push(transport);
    }
    dict.finish();
    let id = id.unwrap_or_else(|| format!("worker{place:03}"));
    Some(RouterConfig { place: place - 1, id, realms, transports })
}

impl Listening {
    /// Adds a transport, unless a name or a socket is taken; two of one port would fail at start only.
    fn add(&mut self, cursor: &Cursor<'_>, transport: &TransportConfig) {
        for (known, path) in &self.transports {
            if known.id == transport.id {
                cursor.fault(format!("has the id '{}' of {path}", known.id));
            }
            if known.endpoint.collides(&transport.endpoint) {
                let place = match &transport.endpoint {
                    EndpointConfig::Tcp { port, .. } => format!("port {port}"),
                    EndpointConfig::Unix { path, .. } => format!("socket '{}'", path.display()),
                };
                cursor.fault(format!("listens on {place} like {path}"));
            }
        }
        self.transports.push((transport.clone(), cursor.path.clone()));
    }
}

/// Settings of the operating system process that a worker is in Crossbar.io.
fn process_options(mut dict: Dict<'_>) {
    let keys = [
        "title",
        "python",
        "pythonpath",
        "cpu_affinity",
        "env",
        "reactor",
        "expose_controller",
        "expose_shared",
        "shutdown",
        "disabled",
    ];
    for key in keys {
        dict.ignore(key, "Stentor has no worker processes");
    }
    dict.finish();
}
