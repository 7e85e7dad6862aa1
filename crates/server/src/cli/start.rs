//! `stentor start`: from the configuration to a running node, and its signals.

use std::num::NonZero;
use std::path::{Path, PathBuf};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{debug, error, info, warn};

use super::node_dir::{self, Claim, ClaimError, NodeDir, Source};
use super::{LogFormat, Outcome, StartArgs, check, complain, log, say};
use crate::config::{NodeConfig, Report};
use crate::node::wiring::Echo;
use crate::node::{self, Running, Settings};
use crate::process;

pub(super) fn run(args: &StartArgs) -> Outcome {
    let dir = node_dir::resolve(&args.place.cbdir);
    let source = match node_dir::find_config(&dir, &args.place) {
        Ok(source) => source,
        Err(sentence) => {
            complain(&format!("Error: {sentence}"));
            return Outcome::Misused;
        }
    };
    let log = log::set_up(args.loglevel, args.log_format);
    let report = check::read(&source, &dir.path);
    match args.log_format {
        LogFormat::Human => check::tell(&report),
        // Whoever collects lines of JSON wants nothing else among them.
        LogFormat::Json => check::log(&report),
    }
    let Some(config) = report.config else {
        complain("Error: the node does not start with this configuration.");
        return Outcome::Misused;
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("Error: the node's runtime cannot be set up: {error}"));
            return Outcome::Failed;
        }
    };
    // Signals are caught before anybody can know whom to send them to.
    let signals = match runtime.block_on(async { Signals::new() }) {
        Ok(signals) => signals,
        Err(error) => {
            complain(&format!("Error: signals cannot be caught: {error}"));
            return Outcome::Failed;
        }
    };
    let claim = match claim(&source, &dir) {
        Ok(claim) => claim,
        Err(sentence) => {
            complain(&format!("Error: {sentence}"));
            return Outcome::Failed;
        }
    };
    let outcome = runtime.block_on(serve(config, signals, &source, &dir.path, args));
    drop(claim);
    drop(log);
    outcome
}

fn claim(source: &Source, dir: &NodeDir) -> Result<Option<Claim>, String> {
    if matches!(source, Source::Embedded) || !dir.path.is_dir() {
        return Ok(None);
    }
    match node_dir::claim(&dir.path) {
        Ok(claim) => Ok(Some(claim)),
        Err(ClaimError::Running(pid)) => {
            let pid = pid.map_or_else(String::new, |pid| format!(" (PID {pid})"));
            Err(format!("a node is already running in {}{pid}", dir.path.display()))
        }
        Err(ClaimError::Io(error)) => {
            Err(format!("{} cannot be written: {error}", dir.path.join("node.pid").display()))
        }
    }
}

async fn serve(config: NodeConfig, mut signals: Signals, source: &Source, dir: &Path, args: &StartArgs) -> Outcome {
    let threads =
        args.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get), usize::from);
    let echo = if args.enable_echo { Echo::Enabled } else { Echo::Refused };
    make_room_for_connections();
    let mut running = match node::start(config, Settings { threads, echo }) {
        Ok(running) => running,
        Err(node::StartError(sentences)) => {
            for sentence in sentences {
                error!("{sentence}");
            }
            return Outcome::Failed;
        }
    };
    if matches!(source, Source::Embedded) {
        introduce(&running);
    }
    info!(pid = std::process::id(), threads, "started");
    while let Wish::Reload = signals.next().await {
        if let Wish::Stop = reload(&mut running, &mut signals, source, dir).await {
            break;
        }
    }
    info!("going down");
    tokio::select! {
        () = running.stop() => info!("stopped"),
        () = signals.stop() => {
            // Whoever asks twice does not want to wait for the drain.
            warn!("stopped without waiting");
            std::process::exit(1);
        }
    }
    Outcome::Fine
}

/// File descriptors below which the log says how few there are: fewer connections than many a default for servers.
const OPEN_FILES_WISH: u64 = 65_536;

/// Each connection takes a file descriptor, and what shells and service managers grant at first is often 1024.
fn make_room_for_connections() {
    match process::raise_open_files() {
        Some(open_files) if open_files < OPEN_FILES_WISH => info!(
            open_files,
            "the hard limit of file descriptors bounds the connections; raise it for more (LimitNOFILE, ulimit -Hn)"
        ),
        open_files => debug!(open_files, "the limit of file descriptors"),
    }
}

/// What a person sees who starts the node for the first time.
fn introduce(running: &Running) {
    let Some(web) = running.open.first() else { return };
    let url = &web.url;
    say("Stentor runs the embedded default node: there is no configuration here.\n");
    say(&format!("  Page       {url}/"));
    say(&format!("  WebSocket  {}/ws    realm \"realm1\"", url.replacen("http", "ws", 1)));
    say(&format!("  Pusher     {url}/push\n"));
    say("Open the page in a browser, then paste this:\n");
    say(&format!(
        "  curl -H \"Content-Type: application/json\" \\\n     -d '{{\"topic\": \"com.myapp.topic1\", \"args\": [\"Hello, \
         world\"]}}' \\\n     {url}/push\n"
    ));
    say("`stentor init --template pusher` makes a node of your own. Ctrl-C stops this one.\n");
}

/// Reads the configuration anew, as often as somebody asks for it meanwhile, and puts it in force. Who wants the node to stop
/// does not wait for that.
async fn reload(running: &mut Running, signals: &mut Signals, source: &Source, dir: &Path) -> Wish {
    let mut is_asked = true;
    while std::mem::take(&mut is_asked) {
        let mut reading = read_aside(source.clone(), dir.to_owned());
        let report = loop {
            tokio::select! {
                report = &mut reading => break report,
                wish = signals.next() => match wish {
                    Wish::Stop => return Wish::Stop,
                    // What is being read may be older than what this one is about.
                    Wish::Reload => is_asked = true,
                },
            }
        };
        match report {
            Ok(report) => put_in_force(running, report),
            Err(_) => error!("the configuration cannot be read, so the old one stays in force"),
        }
    }
    Wish::Reload
}

/// Reads the configuration beside everything else, on a thread that nobody waits for at the end: a file system may hang, and
/// so may the look-up of a name.
fn read_aside(source: Source, dir: PathBuf) -> oneshot::Receiver<Report> {
    let (tell, report) = oneshot::channel();
    let read = move || drop(tell.send(check::read(&source, &dir)));
    if let Err(error) = std::thread::Builder::new().name("stentor-reload".to_owned()).spawn(read) {
        error!(%error, "there is no thread to read the configuration");
    }
    report
}

fn put_in_force(running: &mut Running, report: Report) {
    for fault in &report.faults {
        error!("{fault}");
    }
    match report.config {
        None => error!("the new configuration is at fault, so the old one stays in force"),
        Some(config) => match running.reload(config) {
            Ok(()) => info!("permissions, principals and pusher keys reloaded"),
            Err(sentence) => error!("{sentence}; the old configuration stays in force"),
        },
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

enum Wish {
    Stop,
    Reload,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        // A file that may not grow any further is a disk that is full, and not a reason to die.
        drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.hangup.recv() => Wish::Reload,
        }
    }

    async fn stop(&mut self) {
        while let Wish::Reload = self.next().await {}
    }
}
