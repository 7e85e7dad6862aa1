//! A node inside the test process, on ports that the system chooses.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use stentor::config::{self, Surroundings, Syntax};
use stentor::node::wiring::Echo;
use stentor::node::{Running, Settings};
use tokio::net::TcpStream;

use crate::client::{Client, Offer};
use crate::http::{Http, Reply};

/// Longer than anything takes on a busy machine; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that has to come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// A running node.
pub(crate) struct Node {
    pub(crate) running: Running,
}

/// Reads a configuration that has to be without fault.
pub(crate) fn configured(value: &Value) -> config::NodeConfig {
    read(&value.to_string(), Syntax::Json)
}

/// Reads a text that has to be without fault.
pub(crate) fn read(text: &str, syntax: Syntax) -> config::NodeConfig {
    let surroundings = Surroundings { node_dir: Path::new("/"), env: &|_| None, exists: &|path| path.exists() };
    let report = config::parse(text, syntax, "test", &surroundings);
    assert!(report.faults.is_empty(), "{:#?}", report.faults);
    report.config.unwrap()
}

/// Starts a node with one thread; must be called inside a runtime.
pub(crate) fn start(config: &Value) -> Node {
    start_with(configured(config), 1)
}

pub(crate) fn start_with(config: config::NodeConfig, threads: usize) -> Node {
    let settings = Settings { threads, echo: Echo::Enabled };
    Node { running: stentor::node::start(config, settings).unwrap() }
}

impl Node {
    /// The address of a transport, counted from 0.
    pub(crate) fn address(&self, transport: usize) -> SocketAddr {
        self.running.open[transport].address.parse().unwrap()
    }

    /// A connection to the first transport.
    pub(crate) async fn tcp(&self) -> TcpStream {
        soon("a connection", TcpStream::connect(self.address(0))).await.unwrap()
    }

    /// An HTTP connection to the first transport.
    pub(crate) async fn http(&self) -> Http {
        Http::over(self.tcp().await)
    }

    /// One POST on a connection of its own.
    pub(crate) async fn post(&self, target: &str, body: &str) -> Reply {
        self.http().await.post(target, &[], body.as_bytes()).await
    }

    /// A WebSocket on path `/ws` of the first transport.
    pub(crate) async fn socket(&self, offer: Offer<'_>) -> Client {
        Client::open(self.tcp().await, offer).await.unwrap()
    }

    /// A session that speaks JSON in `realm1`.
    pub(crate) async fn session(&self) -> Client {
        self.session_in("wamp.2.json").await
    }

    /// A session in `realm1` with any serializer.
    pub(crate) async fn session_in(&self, subprotocol: &str) -> Client {
        let mut client = self.socket(Offer { subprotocols: subprotocol, ..Offer::default() }).await;
        client.join("realm1").await;
        client
    }
}

/// A node with one web transport, the usual roles in `realm1`, and a WebSocket on `/ws` beside `paths`.
pub(crate) fn web(paths: Value) -> Value {
    web_with(paths, json!({}))
}

/// The same with options for the WebSocket.
pub(crate) fn web_with(paths: Value, socket_options: Value) -> Value {
    let mut all = json!({"ws": {"type": "websocket", "options": socket_options}});
    all.as_object_mut().unwrap().extend(paths.as_object().unwrap().clone());
    router(json!([{"type": "web", "endpoint": loopback(), "paths": all}]))
}

/// Some port of this machine.
pub(crate) fn loopback() -> Value {
    json!({"type": "tcp", "port": 0, "interface": "127.0.0.1"})
}

/// A node with these transports.
pub(crate) fn router(transports: Value) -> Value {
    json!({"version": 2, "workers": [{"type": "router", "realms": [realm()], "transports": transports}]})
}

fn realm() -> Value {
    let all = json!({"publish": true, "subscribe": true, "call": true, "register": true});
    json!({"name": "realm1", "roles": [
        {"name": "anonymous", "permissions": [
            {"uri": "", "match": "prefix", "allow": all},
            {"uri": "wamp.session.kill", "match": "prefix", "allow": all},
        ]},
        {"name": "member", "permissions": [{"uri": "", "match": "prefix", "allow": all}]},
        {"name": "open", "permissions": [
            {"uri": "", "match": "prefix", "allow": all, "disclose": {"publisher": true, "caller": true}},
        ]},
        {"name": "narrow", "permissions": [
            {"uri": "com.yes.", "match": "prefix", "allow": {"publish": true, "call": true}},
        ]},
    ]})
}

/// A pusher in `realm1` with these options.
pub(crate) fn pusher(options: Value) -> Value {
    json!({"type": "pusher", "realm": "realm1", "role": "anonymous", "options": options})
}

/// A publisher in `realm1` with these options.
pub(crate) fn publisher(options: Value) -> Value {
    json!({"type": "publisher", "realm": "realm1", "role": "anonymous", "options": options})
}
