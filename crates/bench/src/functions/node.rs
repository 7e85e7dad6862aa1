//! Who is asked: a hub with a function, a hub without one, and a bare application under uvicorn.
//!
//! The environment that the node makes for the function is the one that the application runs in, so that both have the same
//! interpreter and the same packages.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::asker::{REFUSAL, status};
use super::cell::{FunctionContext, Kind};
use crate::fault::{Fault, io};
use crate::process::{Process, free_port};

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the environment may take: packages are fetched.
const SETUP_PATIENCE: Duration = Duration::from_secs(900);

/// What subscribers ask for, escaped.
const TOPIC: &str = "https%3A%2F%2Fexample.com%2Fa";

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Judge {
    /// A hub whose list of tokens refuses by itself: what a request costs without any function.
    Static,
    /// A hub that asks a function.
    Stentor,
    /// uvicorn with httptools and uvloop.
    UvicornUvloop,
    /// uvicorn with h11 and asyncio.
    UvicornAsyncio,
}

impl Judge {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Static, Self::Stentor, Self::UvicornUvloop, Self::UvicornAsyncio];

    /// The name on the command line and in results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Stentor => "stentor",
            Self::UvicornUvloop => "uvicorn-uvloop",
            Self::UvicornAsyncio => "uvicorn-asyncio",
        }
    }

    /// What its refusals say. A hub has other reasons to answer 403, for which it would ask nobody.
    const fn words(self) -> &'static str {
        match self {
            Self::Static | Self::Stentor => "the credentials of this request do not allow",
            Self::UvicornUvloop | Self::UvicornAsyncio => "the authenticator does not let",
        }
    }
}

/// One of them at work.
#[derive(Debug)]
pub struct Server {
    /// The process to watch, and with it those that it has started.
    pub process: Process,
    /// Where questions go.
    pub address: SocketAddr,
    /// Dropped last: the process works in it.
    _folder: TempDir,
}

/// Makes the environment unless it is there, and says which interpreter it has.
///
/// # Errors
/// When it is not made.
pub fn prepare(context: &FunctionContext) -> Result<PathBuf, Fault> {
    let environments = context.folder.join("functions-env");
    io(fs::create_dir_all(&environments), || format!("{} cannot be made", environments.display()))?;
    drop(Server::stentor(context, Judge::Stentor, Kind::Plain, SETUP_PATIENCE)?);
    let folders = io(fs::read_dir(&environments), || format!("{} cannot be read", environments.display()))?;
    let python = folders.flatten().map(|entry| entry.path().join("bin/python"));
    // Other benchmarks may have left other environments.
    let has_uvicorn = |python: &PathBuf| {
        let asked = Command::new(python).args(["-I", "-c", "import fastapi, httptools, uvicorn, uvloop"]).output();
        asked.is_ok_and(|output| output.status.success())
    };
    let found = python.filter(|python| python.exists()).find(has_uvicorn);
    found.ok_or_else(|| Fault::Setup(format!("{} has no environment with uvicorn", environments.display())))
}

impl Server {
    /// Starts it, and waits for its first refusal.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(context: &FunctionContext, judge: Judge, kind: Kind, python: &Path) -> Result<Self, Fault> {
        match judge {
            Judge::Static | Judge::Stentor => Self::stentor(context, judge, kind, PATIENCE),
            Judge::UvicornUvloop => Self::uvicorn(kind, python, ["httptools", "uvloop"]),
            Judge::UvicornAsyncio => Self::uvicorn(kind, python, ["h11", "asyncio"]),
        }
    }

    fn stentor(context: &FunctionContext, judge: Judge, kind: Kind, patience: Duration) -> Result<Self, Fault> {
        let (folder, address) = (folder()?, free_port()?);
        let cbdir = folder.path().join(".stentor");
        let written = fs::create_dir_all(&cbdir)
            .and_then(|()| {
                std::os::unix::fs::symlink(context.folder.join("functions-env"), cbdir.join("functions-env"))
            })
            .and_then(|()| fs::write(cbdir.join("config.json"), node(address, judge, kind).to_string()));
        io(written, || "no configuration for the node".to_owned())?;
        let mut command = Command::new(&context.stentor);
        command.args(["start", "--loglevel", "error", "--cbdir"]).arg(cbdir);
        Self::ready(&mut command, address, folder, judge.words(), patience)
    }

    fn uvicorn(kind: Kind, python: &Path, [http, event_loop]: [&str; 2]) -> Result<Self, Fault> {
        let (folder, address) = (folder()?, free_port()?);
        let code = written(include_str!("application.py"), kind);
        io(fs::write(folder.path().join("application.py"), code), || "the application cannot be written".to_owned())?;
        let mut command = Command::new(python);
        command.args(["-m", "uvicorn", "application:app", "--no-access-log", "--log-level", "error"]);
        command.args(["--port", &address.port().to_string(), "--http", http, "--loop", event_loop]);
        Self::ready(&mut command, address, folder, Judge::UvicornUvloop.words(), PATIENCE)
    }

    fn ready(
        command: &mut Command,
        address: SocketAddr,
        folder: TempDir,
        words: &str,
        patience: Duration,
    ) -> Result<Self, Fault> {
        let mut process = Process::start(command.current_dir(folder.path()))?;
        process.wait_for_http(address, "/", PATIENCE)?;
        let server = Self { process, address, _folder: folder };
        let deadline = Instant::now() + patience;
        loop {
            let answer = io(server.ask_once(), || "the first question got no answer".to_owned())?;
            let text = String::from_utf8_lossy(&answer);
            match status(&answer) {
                Some(REFUSAL) if text.contains(words) => return Ok(server),
                // The environment is being made, or the function is starting.
                Some(503) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                _ => return Err(Fault::Protocol(text.into_owned())),
            }
        }
    }

    /// The request of all subscribers.
    #[must_use]
    pub fn question(&self) -> Vec<u8> {
        question(self.address, "keep-alive")
    }

    fn ask_once(&self) -> std::io::Result<Vec<u8>> {
        let mut tcp = TcpStream::connect(self.address)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.write_all(&question(self.address, "close"))?;
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

fn folder() -> Result<TempDir, Fault> {
    io(TempDir::new(), || "there is no temporary folder".to_owned())
}

fn question(to: SocketAddr, connection: &str) -> Vec<u8> {
    let body = format!(
        "hub.mode=subscribe&hub.topic={TOPIC}&hub.callback=http%3A%2F%2F127.0.0.1%3A9%2Fcallback&hub.secret=a-secret"
    );
    let length = body.len();
    let head = format!(
        "POST /hub?for={TOPIC} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: subscriber/1.0\r\nAccept: */*\r\n\
         Authorization: Bearer right\r\nContent-Type: application/x-www-form-urlencoded\r\nConnection: {connection}\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    (head + &body).into_bytes()
}

/// The code for this kind of function.
fn written(code: &str, kind: Kind) -> String {
    let (def, topic) = match kind {
        Kind::Plain => ("def", "request.query_params[\"for\"]"),
        Kind::Async => ("async def", "(await request.form())[\"hub.topic\"]"),
    };
    code.replace("KIND ", &format!("{def} ")).replace("TOPIC\n", &format!("{topic}\n"))
}

fn node(at: SocketAddr, judge: Judge, kind: Kind) -> Value {
    let scopes = [r"https://elsewhere\.example/.*", r"https://example\.net/.*"];
    let authenticator = match judge {
        Judge::Static => json!({"type": "static", "tokens": [
            {"token": "another token that is long enough", "identity": "foobar", "scopes": ["https://elsewhere.example/.*"]},
        ]}),
        _ => json!({
            "type": "function",
            "inline": written(include_str!("function.py"), kind),
            "requirements": ["uvicorn[standard]"],
            "config": {"tokens": {"right": {"name": "foobar", "scopes": scopes}}},
            "workers": 1,
        }),
    };
    let options = json!({"allow_private_networks": true, "subscribe_rate_per_client_max": 1_000_000});
    let hub = json!({"type": "websub-hub", "name": "main", "authenticator": authenticator, "options": options});
    let paths = json!({"/": {"type": "static", "directory": "."}, "hub": hub});
    let endpoint = json!({"type": "tcp", "port": at.port(), "interface": "127.0.0.1"});
    let transport = json!({"type": "web", "endpoint": endpoint, "paths": paths});
    json!({"version": 2, "store": {"type": "memory"}, "workers": [{"type": "router", "transports": [transport]}]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_written() {
        for (kind, def, topic) in [(Kind::Plain, "\ndef ", "query_params"), (Kind::Async, "\nasync def ", "await")] {
            for code in [include_str!("function.py"), include_str!("application.py")] {
                let code = format!("\n{}", written(code, kind));
                assert!(code.contains(def) && code.contains(topic), "{code}");
                assert!(!code.contains("KIND") && !code.contains("= TOPIC"), "{code}");
            }
        }
    }
}
