//! The systems that are measured: how each is configured, started and spoken to.
//!
//! Nothing is taken from this machine's configuration. Every server runs in a folder of its own with a configuration
//! written for the measurement, on a port of the loopback interface, and is ended when its measurement is over.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::certificate;
use crate::dialect::{Dialect, Serializer, Subscription};
use crate::fault::{Fault, io};
use crate::process::{Process, free_port};
use crate::publishers::{Audience, Pace, Publishers, Until};
use crate::request::{Body, Template, Topics};
use crate::session::{self, Deflate, Target};

/// The topic of all measurements that need only one.
pub const TOPIC: &str = "com.bench.topic";

/// The realm of those that have realms.
pub(crate) const REALM: &str = "realm1";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum System {
    /// The ceiling with one write for each event and socket.
    Direct,
    /// The ceiling with a queue for each socket.
    Coalesce,
    /// Stentor as users start it.
    Stentor,
    /// Stentor with one thread.
    #[value(name = "stentor-1")]
    StentorOne,
    /// nginx with the nchan module and one worker.
    Nchan,
    /// Crossbar.io.
    Crossbar,
}

/// The programs that the systems are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `stentor`.
    pub stentor: PathBuf,
    /// `stentor-bench`, which holds the ceilings.
    pub bench: PathBuf,
    /// `nginx` and its module.
    pub nchan: Option<(PathBuf, PathBuf)>,
    /// `crossbar`.
    pub crossbar: Option<PathBuf>,
}

/// What a measurement wants to be different.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// Whether subscribers and server compress.
    pub deflate: Deflate,
    /// How subscribers connect.
    pub security: Security,
}

/// How subscribers connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// `ws`.
    #[default]
    Plain,
    /// `wss`, with a certificate made for the occasion.
    Tls,
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    /// The process to watch.
    pub process: Process,
    /// From the start of the program to its first answer.
    pub startup: Duration,
    /// Where subscribers go.
    pub target: Target,
    /// Where POSTs go.
    pub address: SocketAddr,
    path: &'static str,
    body: Body,
    /// Dropped last: the process works in it.
    _folder: TempDir,
}

impl System {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Direct, Self::Coalesce, Self::Stentor, Self::StentorOne, Self::Nchan, Self::Crossbar];

    /// The name on the command line and in results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Coalesce => "coalesce",
            Self::Stentor => "stentor",
            Self::StentorOne => "stentor-1",
            Self::Nchan => "nchan",
            Self::Crossbar => "crossbar",
        }
    }

    /// Whether faults of its are ours.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        !matches!(self, Self::Nchan | Self::Crossbar)
    }

    /// Starts it with these programs.
    ///
    /// # Errors
    /// When it is not installed or does not come up.
    pub fn start(self, programs: &Programs, setup: Setup) -> Result<Server, Fault> {
        self.start_as(programs, setup, |command| command)
    }

    /// The same, with a command that is made of the usual one, such as a debugger that starts it.
    ///
    /// # Errors
    /// When it is not installed or does not come up.
    pub fn start_as(
        self,
        programs: &Programs,
        setup: Setup,
        wrap: impl FnOnce(Command) -> Command,
    ) -> Result<Server, Fault> {
        let folder = io(TempDir::new(), || "there is no temporary folder".to_owned())?;
        let address = free_port()?;
        let mut target = Target {
            address,
            path: "/ws".to_owned(),
            realm: REALM.to_owned(),
            dialect: if self == Self::Nchan { Dialect::Plain } else { Dialect::Wamp(Serializer::Json) },
            deflate: setup.deflate,
            tls: None,
        };
        if setup.security == Security::Tls {
            target.address = free_port()?;
            target.tls = Some(certificate::make(folder.path())?);
        }
        let mut command = wrap(self.command(programs, folder.path(), address, &target)?);
        command.current_dir(folder.path());
        let begin = Instant::now();
        let mut process = Process::start(&mut command)?;
        let patience = Duration::from_secs(if self == Self::Crossbar { 90 } else { 20 });
        process.wait_for_http(address, "/", patience)?;
        let startup = begin.elapsed();
        let body = if self == Self::Nchan { Body::Raw } else { Body::Json };
        let server = Server { process, startup, target, address, path: "/push", body, _folder: folder };
        if self == Self::Crossbar {
            server.wait_for_paths(patience)?;
        }
        Ok(server)
    }

    fn command(self, all: &Programs, folder: &Path, at: SocketAddr, target: &Target) -> Result<Command, Fault> {
        match self {
            Self::Direct | Self::Coalesce => {
                let mut command = Command::new(&all.bench);
                command.args(["ceiling", "--mode", self.name(), "--listen", &at.to_string()]);
                Ok(command)
            }
            Self::Stentor | Self::StentorOne => {
                let cbdir = write_node(folder, &node(at, target))?;
                let mut command = Command::new(&all.stentor);
                command.args(["start", "--loglevel", "warn", "--cbdir"]).arg(cbdir);
                if self == Self::StentorOne {
                    command.args(["--threads", "1"]);
                }
                Ok(command)
            }
            Self::Nchan => {
                let (nginx, module) = all.nchan.as_ref().ok_or_else(|| absent("nginx with nchan"))?;
                let file = folder.join("nginx.conf");
                io(fs::write(&file, nchan(folder, module, at)), || "no configuration for nginx".to_owned())?;
                let mut command = Command::new(nginx);
                command.arg("-p").arg(folder).arg("-c").arg(file).arg("-e").arg(folder.join("error.log"));
                Ok(command)
            }
            Self::Crossbar => {
                let crossbar = all.crossbar.as_ref().ok_or_else(|| absent("Crossbar.io"))?;
                let cbdir = write_node(folder, &node(at, target))?;
                let mut command = Command::new(crossbar);
                command.args(["start", "--loglevel", "warn", "--cbdir"]).arg(cbdir);
                Ok(command)
            }
        }
    }
}

fn absent(what: &str) -> Fault {
    Fault::Setup(format!("{what} is not installed"))
}

impl Server {
    /// Crossbar.io listens before it has put its services on their paths.
    fn wait_for_paths(&self, patience: Duration) -> Result<(), Fault> {
        let deadline = Instant::now() + patience;
        let nobody = Audience { progress: Arc::default(), events_per_publication: 0 };
        loop {
            let template = self.template(&Topics::One(TOPIC.to_owned()), 0);
            let tried = session::open(&self.target, &everybody(1), 0)
                .and_then(|_| Publishers::connect(self.address, 1, template))
                .and_then(|mut publishers| publishers.run(Pace::Window(1), Until::Published(1), &nobody));
            match tried {
                Ok(_) => return Ok(()),
                Err(fault) if Instant::now() > deadline => return Err(fault),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// The request that publishes so many octets to these topics.
    #[must_use]
    pub fn template(&self, topics: &Topics, payload: usize) -> Template {
        Template::new(self.address, self.path, self.body, topics, payload)
    }
}

/// One list with one subscription for each of so many sessions.
#[must_use]
pub fn everybody(sessions: usize) -> Vec<Vec<Subscription>> {
    vec![vec![Subscription::exact(TOPIC)]; sessions]
}

/// One configuration for Stentor and Crossbar.io, which read the same form.
fn node(at: SocketAddr, target: &Target) -> Value {
    let allow = json!({"publish": true, "subscribe": true, "call": false, "register": false});
    let permission = json!({"uri": "", "match": "prefix", "allow": allow});
    let realm = json!({"name": REALM, "roles": [{"name": "anonymous", "permissions": [permission]}]});
    let endpoint =
        |at: SocketAddr| json!({"type": "tcp", "port": at.port(), "interface": "127.0.0.1", "backlog": 4096});
    let mut socket = json!({"type": "websocket"});
    if target.deflate == Deflate::Offered {
        let words = json!({"no_context_takeover": true, "request_no_context_takeover": true});
        socket["options"] = json!({"compression": {"deflate": words}});
    }
    let push = json!({"type": "publisher", "realm": REALM, "role": "anonymous"});
    // Crossbar.io's other root services answer for all paths below them.
    let root = json!({"type": "static", "directory": "."});
    let paths = json!({"/": root, "ws": socket, "push": push});
    let mut transports = vec![json!({"type": "web", "endpoint": endpoint(at), "paths": paths})];
    if target.tls.is_some() {
        let mut endpoint = endpoint(target.address);
        endpoint["tls"] = json!({"key": certificate::KEY, "certificate": certificate::CERTIFICATE});
        transports.push(json!({"type": "web", "endpoint": endpoint, "paths": {"/": root, "ws": socket}}));
    }
    json!({"version": 2, "workers": [{"type": "router", "realms": [realm], "transports": transports}]})
}

fn write_node(folder: &Path, node: &Value) -> Result<PathBuf, Fault> {
    let cbdir = folder.join(".crossbar");
    let written = fs::create_dir_all(&cbdir).and_then(|()| fs::write(cbdir.join("config.json"), node.to_string()));
    io(written, || "no configuration for the node".to_owned())?;
    Ok(cbdir)
}

fn nchan(folder: &Path, module: &Path, at: SocketAddr) -> String {
    let folder = folder.display();
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {folder}/{name};\n"))
        .concat();
    format!(
        "load_module {};\n{user}daemon off;\nworker_processes 1;\nworker_rlimit_nofile {};\npid {folder}/nginx.pid;\n\
         error_log {folder}/error.log crit;\nevents {{ worker_connections 60000; }}\nhttp {{\n  access_log off;\n{temporary}\
         \x20 server {{\n    listen {at} backlog=4096;\n    keepalive_requests 1000000000;\n    tcp_nodelay on;\n\
         \x20   location / {{ return 200; }}\n\
         \x20   location = /push {{ nchan_publisher; nchan_channel_id bench; nchan_message_buffer_length 100; }}\n\
         \x20   location = /ws {{ nchan_subscriber websocket; nchan_channel_id bench; nchan_subscriber_first_message newest; }}\n\
         \x20 }}\n}}\n",
        module.display(),
        crate::machine::descriptors(),
    )
}
