//! The hubs that are measured: how each is configured, started, and given its subscribers.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::receiver::Receivers;
use crate::dialect::{Dialect, Serializer};
use crate::fault::{Fault, io};
use crate::process::{Process, free_port};
use crate::request::{self, Answer, Body, Template, Topics};
use crate::session::{Deflate, Target};
use crate::system::REALM;

/// The topic of all deliveries.
const TOPIC: &str = "https://example.com/topic";

/// What subscriptions are signed with.
pub const SECRET: &str = "a secret of forty letters, which is usual";

/// For the administration of the hub.
const TOKEN: &str = "a-token-of-the-benchmark";

/// How long a server may take to start, and to have its subscriptions.
const PATIENCE: Duration = Duration::from_secs(100);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum Maker {
    /// The ceiling: a hub of one topic in memory that does nothing but hand on.
    Ceiling,
    /// Stentor whose store is in memory.
    Memory,
    /// Stentor as users start it, whose store is a file.
    Sqlite,
    /// The store alone, without a hub or HTTP.
    Store,
    /// A loop over SQLite that does as much as the store.
    Bare,
}

impl Maker {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ceiling, Self::Memory, Self::Sqlite, Self::Store, Self::Bare];

    /// The name on the command line and in results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ceiling => "ceiling",
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Store => "store",
            Self::Bare => "bare",
        }
    }
}

/// Whether deliveries are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Signing {
    /// They are not.
    Plain,
    /// HMAC-SHA256.
    Signed,
}

/// The programs that are needed.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `stentor`.
    pub stentor: PathBuf,
    /// `stentor-bench`, which holds the ceiling.
    pub bench: PathBuf,
    /// The example `bench` of `stentor-store`, for what is about the store alone.
    pub store: Option<PathBuf>,
}

/// A hub that runs.
#[derive(Debug)]
pub struct HubServer {
    /// The process to watch.
    pub process: Process,
    /// Where publications go.
    pub address: SocketAddr,
    /// From the start of the program to its first answer.
    pub startup: Duration,
    began: Instant,
    /// Dropped last: the process works in it.
    _folder: TempDir,
}

impl HubServer {
    /// Starts the ceiling with these endpoints.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn ceiling(programs: &Programs, receivers: &Receivers, signing: Signing) -> Result<Self, Fault> {
        let address = free_port()?;
        let mut command = Command::new(&programs.bench);
        command.args(["ceiling-of-hubs", "--listen", &address.to_string()]);
        command.args(["--endpoints", &receivers.count().to_string(), "--port", &receivers.port().to_string()]);
        command.args(["--signing", if signing == Signing::Signed { "signed" } else { "plain" }]);
        Self::start(command, address, folder()?)
    }

    /// Starts Stentor with a store in memory, in a file of its own, or in this file.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn stentor(programs: &Programs, maker: Maker, file: Option<&Path>) -> Result<Self, Fault> {
        let (folder, address) = (folder()?, free_port()?);
        let mut store = json!({"type": if maker == Maker::Memory { "memory" } else { "sqlite" }});
        if let Some(file) = file {
            store["path"] = json!(file);
        }
        let cbdir = folder.path().join(".stentor");
        let written = fs::create_dir_all(&cbdir)
            .and_then(|()| fs::write(cbdir.join("config.json"), node(address, &store).to_string()));
        io(written, || "no configuration for the node".to_owned())?;
        let mut command = Command::new(&programs.stentor);
        command.args(["start", "--loglevel", "warn", "--cbdir"]).arg(cbdir);
        Self::start(command, address, folder)
    }

    fn start(mut command: Command, address: SocketAddr, folder: TempDir) -> Result<Self, Fault> {
        command.current_dir(folder.path());
        let began = Instant::now();
        let mut process = Process::start(&mut command)?;
        process.wait_for_http(address, "/", PATIENCE)?;
        Ok(Self { process, address, startup: began.elapsed(), began, _folder: folder })
    }

    /// Subscribes every endpoint, and waits until all of that is in force.
    ///
    /// # Errors
    /// When the hub refuses, or takes too long.
    pub fn subscribe(&self, receivers: &Receivers, signing: Signing) -> Result<(), Fault> {
        let mut line = Line::open(self.address)?;
        for endpoint in 0..receivers.count() {
            let escaped = receivers.callback(endpoint).replace(':', "%3A").replace('/', "%2F");
            let secret = match signing {
                Signing::Plain => String::new(),
                Signing::Signed => format!("&hub.secret={}", SECRET.replace(' ', "+").replace(',', "%2C")),
            };
            let body = format!("hub.mode=subscribe&hub.topic={TOPIC}&hub.callback={escaped}{secret}");
            line.ask("POST", "/hub", "Content-Type: application/x-www-form-urlencoded\r\n", &body)?;
        }
        self.wait_for(receivers.count()).map(drop)
    }

    /// Waits until the hub has so many subscriptions, and gives the time from the start of the program.
    ///
    /// # Errors
    /// When that takes too long.
    pub fn wait_for(&self, subscriptions: usize) -> Result<Duration, Fault> {
        let mut line = Line::open(self.address)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = line.ask("GET", "/admin/hubs", &format!("Authorization: Bearer {TOKEN}\r\n"), "")?;
            let hubs: Value = serde_json::from_str(&answer).unwrap_or_default();
            let found = hubs["hubs"][0]["subscriptions"].as_u64().unwrap_or_default();
            if found == subscriptions as u64 {
                return Ok(self.began.elapsed());
            }
            if Instant::now() > deadline {
                return Err(Fault::Stalled(format!("{found} of {subscriptions} subscriptions after {PATIENCE:?}")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The request that publishes so many octets.
    #[must_use]
    pub fn template(&self, payload: usize) -> Template {
        Template::new(self.address, "/hub", Body::Hub, &Topics::One(TOPIC.to_owned()), payload)
    }

    /// Where WAMP sessions go, in a node that has a hub too.
    #[must_use]
    pub fn sessions(&self) -> Target {
        Target {
            address: self.address,
            path: "/ws".to_owned(),
            realm: REALM.to_owned(),
            dialect: Dialect::Wamp(Serializer::Json),
            deflate: Deflate::Off,
            tls: None,
        }
    }

    /// The request that publishes so many octets to WAMP sessions.
    #[must_use]
    pub fn push(&self, payload: usize) -> Template {
        Template::new(self.address, "/push", Body::Json, &Topics::One(crate::system::TOPIC.to_owned()), payload)
    }
}

fn folder() -> Result<TempDir, Fault> {
    io(TempDir::new(), || "there is no temporary folder".to_owned())
}

/// A node with everything on one transport.
fn node(at: SocketAddr, store: &Value) -> Value {
    let allow = json!({"publish": true, "subscribe": true, "call": false, "register": false});
    let permission = json!({"uri": "", "match": "prefix", "allow": allow});
    let realm = json!({"name": REALM, "roles": [{"name": "anonymous", "permissions": [permission]}]});
    let options = json!({"allow_private_networks": true, "signature_algorithm": "sha256"});
    let hub = json!({
        "type": "websub-hub", "name": "main", "authenticator": {"type": "allow-all"}, "publish": {}, "options": options,
    });
    let paths = json!({
        "/": {"type": "static", "directory": "."},
        "ws": {"type": "websocket"},
        "push": {"type": "publisher", "realm": REALM, "role": "anonymous"},
        "hub": hub,
        "admin": {"type": "hub-admin", "token": TOKEN},
    });
    let endpoint = json!({"type": "tcp", "port": at.port(), "interface": "127.0.0.1", "backlog": 4096});
    let transport = json!({"type": "web", "endpoint": endpoint, "paths": paths});
    let worker = json!({"type": "router", "realms": [realm], "transports": [transport]});
    json!({"version": 2, "store": store, "workers": [worker]})
}

/// A connection that asks and waits.
struct Line {
    tcp: TcpStream,
    to: SocketAddr,
    input: Vec<u8>,
}

impl Line {
    fn open(to: SocketAddr) -> Result<Self, Fault> {
        let tcp = io(TcpStream::connect(to), || format!("no connection to {to}"))?;
        let set = tcp.set_nodelay(true).and_then(|()| tcp.set_read_timeout(Some(PATIENCE)));
        io(set, || "a socket cannot be set up".to_owned())?;
        Ok(Self { tcp, to, input: Vec::new() })
    }

    /// One request; the body of its answer.
    fn ask(&mut self, method: &str, target: &str, headers: &str, body: &str) -> Result<String, Fault> {
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\n{headers}Content-Length: {length}\r\n\r\n{body}",
            self.to
        );
        io(self.tcp.write_all(request.as_bytes()), || format!("{target} cannot be asked"))?;
        let mut buffer = [0; 16 * 1024];
        loop {
            match request::answer(&self.input) {
                Answer::Incomplete => {}
                Answer::Success(end) => {
                    let answer = String::from_utf8_lossy(&self.input[..end]).into_owned();
                    self.input.drain(..end);
                    return Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default());
                }
                Answer::Refusal(words) => return Err(Fault::Protocol(format!("{target} was refused: {words}"))),
            }
            match io(self.tcp.read(&mut buffer), || format!("{target} got no answer"))? {
                0 => return Err(Fault::Protocol(format!("{target}: the server hung up"))),
                count => self.input.extend_from_slice(&buffer[..count]),
            }
        }
    }
}
