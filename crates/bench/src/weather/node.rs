//! The server that is attacked: its configuration, and what it says and costs.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fault::{Fault, io};
use crate::process::{Process, free_port};
use crate::system::REALM;

/// A server that runs.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) process: Process,
    pub(super) address: SocketAddr,
    _folder: TempDir,
}

impl Node {
    /// Starts it, with one configuration for all attacks.
    pub(super) fn start(program: &Path) -> Result<Self, Fault> {
        let folder = io(TempDir::new(), || "there is no temporary folder".to_owned())?;
        let address = free_port()?;
        let cbdir = folder.path().join(".stentor");
        let text = configuration(address).to_string();
        let written = fs::create_dir_all(&cbdir).and_then(|()| fs::write(cbdir.join("config.json"), text));
        io(written, || "no configuration for the node".to_owned())?;
        // It starts in a folder of its own, where a relative name leads nowhere.
        let program = io(std::path::absolute(program), || "the server's program has no name".to_owned())?;
        let mut command = Command::new(program);
        command.args(["start", "--loglevel", "warn", "--cbdir"]).arg(cbdir).current_dir(folder.path());
        let mut process = Process::start(&mut command)?;
        process.wait_for_http(address, "/", Duration::from_secs(20))?;
        Ok(Self { process, address, _folder: folder })
    }

    /// How many connections it closed or refused, by reason.
    pub(super) fn closed(&self) -> Result<BTreeMap<String, u64>, Fault> {
        let page = io(self.metrics(), || "the metrics cannot be read".to_owned())?;
        let line = |line: &str| {
            let (reason, count) = line.strip_prefix("stentor_closed_total{reason=\"")?.split_once("\"} ")?;
            Some((reason.to_owned(), count.trim().parse().ok()?))
        };
        Ok(page.lines().filter_map(line).collect())
    }

    fn metrics(&self) -> std::io::Result<String> {
        let mut tcp = TcpStream::connect(self.address)?;
        tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
        tcp.write_all(
            format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address).as_bytes(),
        )?;
        let mut page = String::new();
        tcp.read_to_string(&mut page)?;
        Ok(page)
    }

    /// Resident memory now, and the most there ever was, in octets. Reading `status` costs the process next to nothing.
    pub(super) fn memory(&self) -> (u64, u64) {
        let text = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
        };
        (field("VmRSS:").unwrap_or_default(), field("VmHWM:").unwrap_or_default())
    }
}

/// The defaults, with compression, without which there are no bombs, and with a shorter `write_timeout`, without which one
/// attack takes more than a minute.
fn configuration(at: SocketAddr) -> Value {
    let allow = json!({"publish": true, "subscribe": true, "call": false, "register": false});
    let permission = json!({"uri": "", "match": "prefix", "allow": allow});
    let realm = json!({"name": REALM, "roles": [{"name": "anonymous", "permissions": [permission]}]});
    let endpoint = json!({"type": "tcp", "port": at.port(), "interface": "127.0.0.1", "backlog": 4096});
    let paths = json!({
        "/": {"type": "json", "value": {}},
        "ws": {"type": "websocket", "options": {"compression": {"deflate": {}}}},
        "push": {"type": "pusher", "realm": REALM, "role": "anonymous"},
        "big": {"type": "json", "value": "x".repeat(64 << 10)},
    });
    let transport = json!({"type": "web", "endpoint": endpoint, "limits": {"write_timeout": 10_000}, "paths": paths});
    json!({"version": 2, "workers": [{"type": "router", "realms": [realm], "transports": [transport]}]})
}
