//! Hostile weather: what happens to honest clients, to memory and to the culprits while somebody misbehaves.
//!
//! For each round of an attack a fresh server gets an honest load at a fixed rate, and is measured in calm, at the attack's onset and
//! while it lasts. The attackers are a process of their own, which runs at the same priority as everything else. Where it
//! takes more than a small part of a processor, a control shows what the same load suffers from a process that merely
//! burns as much: that part is not the server's doing. Neither is what a host takes from its guest: windows in which that
//! was noticeable count for nothing, and more rounds are made instead.

mod attack;
mod culprit;
mod node;
mod record;
mod script;
mod storm;
mod verdict;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

pub use attack::{ATTACKS, Attack};

use crate::dialect::{Dialect, Serializer};
use crate::fault::{Fault, io};
use crate::machine::{self, Theft};
use crate::process::Process;
use crate::publishers::{Audience, Pace, Publishers, Until};
use crate::request::{Body, Template, Topics};
use crate::session::{Deflate, Target};
use crate::subscribers::{Reading, Subscribers};
use crate::system::{REALM, TOPIC, everybody};
use attack::Also;
use node::Node;
use record::{Record, Round, Window};

/// Honest subscribers.
const SUBSCRIBERS: usize = 100;

/// Honest publications each second, and the connections that they come over: enough that a server which hangs for a
/// quarter of a second does not slow them down.
const RATE: f64 = 100.0;
const SOURCES: usize = 32;

/// One window of measuring.
const WINDOW: Duration = Duration::from_secs(5);

/// Rounds that are made for each one that is wanted, while the machine's host disturbs them.
const ATTEMPTS_MAX: usize = 3;

/// Processors that attackers may take before a control is measured.
const CONTROL_FROM: f64 = 0.1;

/// How long the attackers' process may take to end after its time.
const PATIENCE: Duration = Duration::from_secs(35);

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server's program.
    pub server: PathBuf,
    /// The attacks; none for all.
    pub only: Vec<&'static Attack>,
    /// How often each attack is made, on a fresh server each time.
    pub rounds: usize,
    /// Seconds that each attack lasts; never less than its limits need to show.
    pub seconds: Option<u64>,
    /// Where the raw figures go.
    pub json: Option<PathBuf>,
}

/// Measures, and writes the table by `say` and what happens meanwhile by `complain`.
///
/// # Errors
/// When a measurement cannot be made.
pub fn run(options: &Options, say: &dyn Fn(&str), complain: &dyn Fn(&str)) -> Result<ExitCode, Fault> {
    machine::is_fresh(&options.server)?;
    let wanted: Vec<&'static Attack> =
        if options.only.is_empty() { ATTACKS.iter().collect() } else { options.only.clone() };
    let mut records = Vec::new();
    for attack in wanted {
        complain(&format!("{}: {}", attack.name, attack.words));
        let mut record = Record { attack, rounds: Vec::new() };
        let enough = options.rounds.max(1);
        while record.quiet() < enough && record.rounds.len() < enough * ATTEMPTS_MAX {
            record.rounds.push(suffer(attack, options)?);
        }
        records.push(record);
    }
    if let Some(file) = &options.json {
        let attacks: Vec<_> = records.iter().map(Record::json).collect();
        let text = format!("{:#}\n", json!({"machine": machine::describe(), "attacks": attacks}));
        io(std::fs::write(file, text), || format!("{} cannot be written", file.display()))?;
    }
    Ok(judge(&records, say))
}

/// Puts together what runs with `--json` have seen, and judges it.
///
/// # Errors
/// When a file cannot be read.
pub fn report(files: &[PathBuf], say: &dyn Fn(&str)) -> Result<ExitCode, Fault> {
    Ok(judge(&record::read(files)?, say))
}

fn judge(records: &[Record], say: &dyn Fn(&str)) -> ExitCode {
    say(&verdict::render(records));
    let held = records.iter().all(|record| verdict::faults(record).is_empty());
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Attacks, as the process that does nothing else.
///
/// # Errors
/// When the report cannot be written.
pub fn storm(attack: &'static Attack, to: SocketAddr, seconds: u64, report: &Path) -> Result<(), Fault> {
    storm::run(attack, to, Duration::from_secs(seconds), report)
}

/// Burns this share of a processor, in pieces of a few milliseconds, until it is ended.
pub fn burn(share: f64) {
    const TURN: Duration = Duration::from_millis(5);
    loop {
        let begin = Instant::now();
        while begin.elapsed() < TURN.mul_f64(share.min(1.0)) {
            std::hint::spin_loop();
        }
        std::thread::sleep(TURN.saturating_sub(begin.elapsed()));
    }
}

/// The honest: subscribers and publishers.
struct Honest {
    subscribers: Subscribers,
    publishers: Publishers,
}

impl Honest {
    fn arrive(at: SocketAddr) -> Result<Self, Fault> {
        let target = Target {
            address: at,
            path: "/ws".to_owned(),
            realm: REALM.to_owned(),
            dialect: Dialect::Wamp(Serializer::Json),
            deflate: Deflate::Off,
            tls: None,
        };
        let subscribers = Subscribers::open(&target, &everybody(SUBSCRIBERS), Reading::of(SOURCES))?;
        let template = Template::new(at, "/push", Body::Json, &Topics::One(TOPIC.to_owned()), 128);
        Ok(Self { subscribers, publishers: Publishers::connect(at, SOURCES, template)? })
    }

    /// Publishes for a window, and measures what comes of it and what processes cost meanwhile.
    fn window(&mut self, server: &mut Process, attackers: Option<&mut Process>) -> Result<Window, Fault> {
        let audience = Audience {
            progress: std::sync::Arc::clone(self.subscribers.progress()),
            events_per_publication: SUBSCRIBERS as u64,
        };
        let (begin, theft, mut attackers) = (Instant::now(), Theft::begin(), attackers);
        let mut spent = |server: &mut Process| [server.cpu(), attackers.as_mut().map_or(0, |process| process.cpu())];
        let before = spent(server);
        let sent = self.publishers.run(Pace::Rate(RATE), Until::Elapsed(WINDOW), &audience)?;
        // The last events are on their way still; what does not come is found in the end, by its number.
        std::thread::sleep(Duration::from_millis(5));
        let cpus = |at: usize, after: u64| after.saturating_sub(before[at]) as f64 / begin.elapsed().as_nanos() as f64;
        let after = spent(server);
        let p99 = |histogram: crate::histogram::Histogram| histogram.quantile(0.99) as f64 / 1e6;
        Ok(Window {
            event_ms: p99(self.subscribers.take_latency()),
            answer_ms: p99(self.publishers.take_answers()),
            server: cpus(0, after[0]),
            attackers: cpus(1, after[1]),
            late: sent.late,
            stolen: theft.share(),
        })
    }

    /// Losses, swaps, duplicates and closed sessions, once everything has had time to arrive.
    fn harm(&self) -> u64 {
        let sent = self.publishers.sent();
        let expected = sent.iter().map(|&count| u64::from(count)).sum::<u64>() * SUBSCRIBERS as u64;
        let _all = self.subscribers.wait(expected, Duration::from_secs(10));
        let tally = self.subscribers.tally(&sent);
        tally.lost + tally.swapped + tally.duplicated + tally.closed
    }
}

fn suffer(attack: &'static Attack, options: &Options) -> Result<Round, Fault> {
    let folder = io(TempDir::new(), || "there is no temporary folder".to_owned())?;
    let report = folder.path().join("report.json");
    let mut node = Node::start(&options.server)?;
    let mut honest = Honest::arrive(node.address)?;
    // The first window warms up.
    honest.window(&mut node.process, None)?;
    let calm = honest.window(&mut node.process, None)?;
    let (before, closed_before) = (node.memory().0, node.closed()?);

    let seconds = options.seconds.unwrap_or_default().max(attack.seconds);
    let mut command = own_program()?;
    command.args(["storm", "--attack", attack.name, "--seconds", &seconds.to_string()]);
    command.args(["--address", &node.address.to_string(), "--report"]).arg(&report);
    let mut attackers = Process::start(&mut command)?;
    let begin = Instant::now();
    let mut windows = Vec::new();
    while begin.elapsed() + WINDOW / 2 < Duration::from_secs(seconds) {
        windows.push(honest.window(&mut node.process, Some(&mut attackers))?);
        if attack.also == Also::Freeze && windows.len() == 1 {
            signal(&attackers, Signal::STOP);
        }
    }
    if attack.also == Also::Freeze {
        signal(&attackers, Signal::CONT);
    }
    while !report.exists() && begin.elapsed() < Duration::from_secs(seconds) + PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
    attackers.stop();
    let text = std::fs::read_to_string(&report).unwrap_or_default();
    let ends: BTreeMap<String, u64> = serde_json::from_str(&text).unwrap_or_default();

    let peak = node.memory().1;
    let mut closed = node.closed()?;
    closed.iter_mut().for_each(|(reason, count)| *count -= closed_before.get(reason).copied().unwrap_or_default());
    closed.retain(|_, count| *count > 0);
    let share = windows.iter().map(|window| window.attackers).fold(0.0, f64::max);
    let control = if share > CONTROL_FROM { Some(control(&mut honest, &mut node, share)?) } else { None };
    let harm = honest.harm();
    Ok(Round { calm, windows, control, memory: (before, peak), ends, closed, harm })
}

fn control(honest: &mut Honest, node: &mut Node, share: f64) -> Result<Window, Fault> {
    let mut command = own_program()?;
    command.args(["burn", "--share", &share.to_string()]);
    let mut burner = Process::start(&mut command)?;
    let window = honest.window(&mut node.process, Some(&mut burner));
    burner.stop();
    window
}

fn own_program() -> Result<Command, Fault> {
    Ok(Command::new(io(std::env::current_exe(), || "this program does not know where it is".to_owned())?))
}

fn signal(process: &Process, signal: Signal) {
    let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
    // If it has ended, the missing report says so.
    let _gone = pid.map(|pid| kill_process(pid, signal));
}
