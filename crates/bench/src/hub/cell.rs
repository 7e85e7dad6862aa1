//! The cells of hubs: one figure of one hub in one round, taken from a fresh process.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::node::{HubServer, Maker, Programs, Signing};
use super::receiver::{Manner, Receivers};
use crate::cell::{CONNECTIONS, Figures, PAYLOAD};
use crate::fault::{Fault, io};
use crate::histogram::Histogram;
use crate::ledger::Tally;
use crate::machine;
use crate::process::cpu_of_threads;
use crate::publishers::{Audience, Pace, Publishers, Sent, Until};
use crate::subscribers::{Reading, Subscribers};
use crate::system::everybody;

/// How long the last deliveries may take after the last POST.
const DRAIN: Duration = Duration::from_secs(20);

/// Endpoints of the cells in which some of them are faulty.
const ENDPOINTS: usize = 50;

/// Publications a second in these cells.
const RATE: f64 = 100.0;

/// WAMP sessions, and publications a second to them, in the cells that look at what a busy hub does to them.
const SESSIONS: usize = 100;
const SESSION_RATE: f64 = 200.0;

/// Publications that have not reached all sessions yet, where they go as fast as they can.
const SESSION_WINDOW: u64 = 100;

/// What the threads of the server that serve sessions are called before their number.
const LOOPS: &str = "stentor-";

/// What a slow endpoint takes.
const SLOWNESS: Duration = Duration::from_millis(200);

/// Octets of a content where only the store is compared: what the store's own measurement has.
const STORED: usize = 200;

/// What is wrong with some endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Nothing.
    None,
    /// A tenth is slow, and a tenth answers with an error.
    Fifth,
    /// One never answers.
    Hanging,
    /// One answers with an error.
    Failing,
    /// One answers an octet a second.
    Dripping,
}

/// What WAMP sessions share the machine with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Neighbour {
    /// Nothing.
    None,
    /// A busy hub of another node.
    Other,
    /// A busy hub of their own node.
    Own,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HubCell {
    /// Full rate to so many endpoints.
    Deliver(usize, Signing),
    /// Publications that are taken from so many publishers, with nobody to deliver to.
    Accept(usize),
    /// 100 publications a second to 50 endpoints, some of them faulty.
    Faulty(Trouble),
    /// 200 WAMP publications a second to 100 sessions, beside a hub.
    Beside(Neighbour),
    /// WAMP publications to 100 sessions as fast as they go, beside a hub.
    Pressed(Neighbour),
    /// Memory and start with so many subscriptions that nobody publishes to.
    Idle(usize),
}

/// What a measurement needs to know.
#[derive(Clone, Debug)]
pub struct HubContext {
    /// The programs to start.
    pub programs: Programs,
    /// How long each run lasts.
    pub time: Duration,
    /// Where large files go, and stay for the next round.
    pub folder: PathBuf,
}

const WORDS: &[(&str, HubCell)] = &[
    ("healthy", HubCell::Faulty(Trouble::None)),
    ("fifth", HubCell::Faulty(Trouble::Fifth)),
    ("hanging", HubCell::Faulty(Trouble::Hanging)),
    ("failing", HubCell::Faulty(Trouble::Failing)),
    ("dripping", HubCell::Faulty(Trouble::Dripping)),
    ("wamp-alone", HubCell::Beside(Neighbour::None)),
    ("wamp-beside-other", HubCell::Beside(Neighbour::Other)),
    ("wamp-beside-own", HubCell::Beside(Neighbour::Own)),
    ("wamp-full-alone", HubCell::Pressed(Neighbour::None)),
    ("wamp-full-beside-other", HubCell::Pressed(Neighbour::Other)),
    ("wamp-full-beside-own", HubCell::Pressed(Neighbour::Own)),
];

impl HubCell {
    /// What is measured when nothing else is said.
    pub const ALL: [Self; 21] = [
        Self::Deliver(1, Signing::Plain),
        Self::Deliver(50, Signing::Plain),
        Self::Deliver(1000, Signing::Plain),
        Self::Deliver(1, Signing::Signed),
        Self::Deliver(50, Signing::Signed),
        Self::Deliver(1000, Signing::Signed),
        Self::Accept(1),
        Self::Accept(64),
        Self::Faulty(Trouble::None),
        Self::Faulty(Trouble::Fifth),
        Self::Faulty(Trouble::Hanging),
        Self::Faulty(Trouble::Failing),
        Self::Faulty(Trouble::Dripping),
        Self::Beside(Neighbour::None),
        Self::Beside(Neighbour::Other),
        Self::Beside(Neighbour::Own),
        Self::Pressed(Neighbour::None),
        Self::Pressed(Neighbour::Other),
        Self::Pressed(Neighbour::Own),
        Self::Idle(100_000),
        Self::Idle(1_000_000),
    ];

    /// The name on the command line and in results.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Deliver(count, Signing::Plain) => format!("deliver{count}"),
            Self::Deliver(count, Signing::Signed) => format!("signed{count}"),
            Self::Accept(count) => format!("accept{count}"),
            Self::Idle(count) => format!("idle{count}"),
            other => {
                WORDS.iter().find(|(_, cell)| *cell == other).map(|(name, _)| (*name).to_owned()).unwrap_or_default()
            }
        }
    }

    /// The cell of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if let Some((_, cell)) = WORDS.iter().find(|(word, _)| *word == name) {
            return Some(*cell);
        }
        let digits = name.find(|c: char| c.is_ascii_digit())?;
        let count: usize = name[digits..].parse().ok().filter(|&count| count > 0)?;
        match &name[..digits] {
            "deliver" => Some(Self::Deliver(count, Signing::Plain)),
            "signed" => Some(Self::Deliver(count, Signing::Signed)),
            "accept" => Some(Self::Accept(count)),
            "idle" => Some(Self::Idle(count)),
            _ => None,
        }
    }

    /// Who takes part.
    #[must_use]
    pub const fn suits(self, maker: Maker) -> bool {
        match self {
            Self::Deliver(..) => matches!(maker, Maker::Ceiling | Maker::Memory | Maker::Sqlite),
            Self::Accept(_) => !matches!(maker, Maker::Ceiling),
            Self::Faulty(_) | Self::Beside(_) | Self::Pressed(_) | Self::Idle(_) => matches!(maker, Maker::Sqlite),
        }
    }

    /// Takes the figures once.
    ///
    /// # Errors
    /// When there are none.
    pub fn run(self, context: &HubContext, maker: Maker) -> Result<Figures, Fault> {
        match (self, maker) {
            (Self::Deliver(count, signing), _) => deliver(context, maker, count, signing),
            (Self::Accept(count), Maker::Store | Maker::Bare) => stored(context, maker, count),
            (Self::Accept(count), _) => accept(context, maker, count),
            (Self::Faulty(trouble), _) => faulty(context, maker, trouble),
            (Self::Beside(neighbour), _) => beside(context, maker, neighbour, Pace::Rate(SESSION_RATE)),
            (Self::Pressed(neighbour), _) => beside(context, maker, neighbour, Pace::Window(SESSION_WINDOW)),
            (Self::Idle(count), _) => idle(context, maker, count),
        }
    }
}

fn deliver(context: &HubContext, maker: Maker, count: usize, signing: Signing) -> Result<Figures, Fault> {
    machine::allows(count)?;
    let receivers = Receivers::start(count, &[], CONNECTIONS)?;
    let mut server = match maker {
        Maker::Ceiling => HubServer::ceiling(&context.programs, &receivers, signing)?,
        _ => HubServer::stentor(&context.programs, maker, None)?,
    };
    if maker != Maker::Ceiling {
        server.subscribe(&receivers, signing)?;
    }
    // As many as subscribers of WebSockets have under way in the other benchmark.
    let window = if count == 1 {
        32
    } else if count <= 100 {
        100
    } else {
        20
    };
    let mut publishers = Publishers::connect(server.address, CONNECTIONS, server.template(PAYLOAD))?;
    let mut load = Load { server: &mut server, receivers: &receivers, publishers: &mut publishers };
    load.run(Pace::Window(window), Until::Elapsed(context.time / 4))?;
    let outcome = load.run(Pace::Window(window), Until::Elapsed(context.time))?;
    let mut figures = outcome.figures();
    figures.insert("connections", receivers.traffic().0 as f64);
    Ok(figures)
}

/// Everything that a run needs, from rest to rest.
struct Load<'a> {
    server: &'a mut HubServer,
    receivers: &'a Receivers,
    publishers: &'a mut Publishers,
}

/// What a run has brought.
struct Outcome {
    sent: Sent,
    deliveries: u64,
    cpu: u64,
    latency: Histogram,
    tally: Tally,
    stolen: u64,
}

impl Load<'_> {
    fn run(&mut self, pace: Pace, until: Until) -> Result<Outcome, Fault> {
        let progress = self.receivers.progress();
        let per_publication = self.receivers.prompt() as u64;
        let audience = Audience { progress: Arc::clone(progress), events_per_publication: per_publication };
        let (base, cpu, stolen) = (progress.arrived(), self.server.process.cpu(), machine::stolen());
        let sent = self.publishers.run(pace, until, &audience)?;
        // What is missing then is counted as lost.
        let _complete = self.receivers.wait(base + sent.publications * per_publication, DRAIN);
        Ok(Outcome {
            sent,
            deliveries: progress.arrived() - base,
            cpu: self.server.process.cpu() - cpu,
            latency: self.receivers.take_latency(),
            tally: self.receivers.tally(&self.publishers.sent()),
            stolen: machine::stolen() - stolen,
        })
    }
}

impl Outcome {
    fn figures(&self) -> Figures {
        let cpu = self.cpu as f64 / 1e9;
        let seconds = self.sent.elapsed.as_secs_f64();
        let mut figures = BTreeMap::from([
            ("publications", self.sent.publications as f64),
            ("publications_per_s", self.sent.publications as f64 / seconds),
            ("deliveries", self.deliveries as f64),
            ("deliveries_per_s", self.deliveries as f64 / seconds),
            ("deliveries_per_cpu_s", self.deliveries as f64 / cpu),
            ("cpu_us_per_delivery", cpu * 1e6 / self.deliveries.max(1) as f64),
            ("cpu_s", cpu),
            ("late", self.sent.late as f64),
            ("stolen_s", self.stolen as f64 / 1e9),
        ]);
        latencies(&mut figures, &self.latency);
        faults(&mut figures, &self.tally);
        figures
    }
}

fn latencies(figures: &mut Figures, latency: &Histogram) {
    let milliseconds = |share| latency.quantile(share) as f64 / 1e6;
    figures.extend([("p50_ms", milliseconds(0.5)), ("p99_ms", milliseconds(0.99)), ("p999_ms", milliseconds(0.999))]);
    figures.insert("max_ms", latency.max() as f64 / 1e6);
}

fn faults(figures: &mut Figures, tally: &Tally) {
    let counts =
        [("lost", tally.lost), ("swapped", tally.swapped), ("duplicated", tally.duplicated), ("closed", tally.closed)];
    figures.extend(counts.map(|(name, count)| (name, count as f64)));
}

/// Publications that nobody has subscribed to: what is left is taking them and keeping them.
fn accept(context: &HubContext, maker: Maker, count: usize) -> Result<Figures, Fault> {
    let mut server = HubServer::stentor(&context.programs, maker, None)?;
    let mut publishers = Publishers::connect(server.address, count, server.template(STORED))?;
    let nobody = Audience { progress: Arc::default(), events_per_publication: 0 };
    let mut run = |time| publishers.run(Pace::Window(u64::MAX), Until::Elapsed(time), &nobody);
    run(context.time / 4)?;
    let cpu = server.process.cpu();
    let sent = run(context.time)?;
    let cpu = (server.process.cpu() - cpu) as f64 / 1e9;
    let answers = publishers.take_answers();
    let mut figures = BTreeMap::from([
        ("publications_per_s", sent.publications as f64 / sent.elapsed.as_secs_f64()),
        ("publications_per_cpu_s", sent.publications as f64 / cpu),
    ]);
    latencies(&mut figures, &answers);
    Ok(figures)
}

/// The same by the store's own measurement, in a process of its own.
fn stored(context: &HubContext, maker: Maker, count: usize) -> Result<Figures, Fault> {
    let seconds = context.time.as_secs_f64().to_string();
    let words = ["rate", maker.name(), &count.to_string(), &STORED.to_string(), &seconds];
    let said = ask_store(context, &words)?;
    let rate = said.trim().parse::<f64>().map_err(|_| Fault::Protocol(format!("the store's example said {said:?}")))?;
    Ok(BTreeMap::from([("publications_per_s", rate)]))
}

/// Runs the store's example with a folder and these words, and gives what it says.
fn ask_store(context: &HubContext, words: &[&str]) -> Result<String, Fault> {
    let program = context.programs.store.as_ref();
    let program = program.ok_or_else(|| Fault::Setup("--store-example names no program".to_owned()))?;
    let (first, rest) = words.split_first().expect("there is a subcommand");
    let output = Command::new(program).arg(first).arg(&context.folder).args(rest).output();
    let output = io(output, || format!("{} cannot be started", program.display()))?;
    if !output.status.success() {
        return Err(Fault::Setup(format!("the store's example failed: {}", String::from_utf8_lossy(&output.stderr))));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Trouble {
    /// The endpoints that are not good ones.
    fn others(self) -> Vec<Manner> {
        match self {
            Self::None => Vec::new(),
            Self::Fifth => {
                let each = ENDPOINTS / 10;
                [vec![Manner::Slow(SLOWNESS); each], vec![Manner::Failing; each]].concat()
            }
            Self::Hanging => vec![Manner::Hanging],
            Self::Failing => vec![Manner::Failing],
            Self::Dripping => vec![Manner::Dripping],
        }
    }
}

fn faulty(context: &HubContext, maker: Maker, trouble: Trouble) -> Result<Figures, Fault> {
    let others = trouble.others();
    let receivers = Receivers::start(ENDPOINTS - others.len(), &others, CONNECTIONS)?;
    let mut server = HubServer::stentor(&context.programs, maker, None)?;
    server.subscribe(&receivers, Signing::Plain)?;
    let mut publishers = Publishers::connect(server.address, CONNECTIONS, server.template(PAYLOAD))?;
    let mut load = Load { server: &mut server, receivers: &receivers, publishers: &mut publishers };
    load.run(Pace::Rate(RATE), Until::Elapsed(context.time / 4))?;
    let outcome = load.run(Pace::Rate(RATE), Until::Elapsed(context.time))?;
    let mut figures = outcome.figures();
    figures.insert("elsewhere", receivers.traffic().1 as f64);
    Ok(figures)
}

/// Sessions at this pace, while a hub of their own node, of another one, or none has all the work that it can do.
fn beside(context: &HubContext, maker: Maker, neighbour: Neighbour, pace: Pace) -> Result<Figures, Fault> {
    let mut server = HubServer::stentor(&context.programs, maker, None)?;
    let connections = if matches!(pace, Pace::Rate(_)) { 1 } else { CONNECTIONS };
    let subscribers = Subscribers::open(&server.sessions(), &everybody(SESSIONS), Reading::of(connections))?;
    let mut publishers = Publishers::connect(server.address, connections, server.push(PAYLOAD))?;
    let audience = Audience { progress: Arc::clone(subscribers.progress()), events_per_publication: SESSIONS as u64 };
    let mut run = |time| publishers.run(pace, Until::Elapsed(time), &audience);
    let (pid, own) = (server.process.id(), Cell::new(0));
    let mut measure = || {
        run(context.time / 4)?;
        let _warm = subscribers.take_latency();
        let before = cpu_of_threads(pid, LOOPS);
        let sent = run(context.time)?;
        own.set(cpu_of_threads(pid, LOOPS) - before);
        Ok(sent)
    };
    let (measured, deliveries) = match neighbour {
        Neighbour::None => (measure()?, 0.0),
        Neighbour::Own => busy(&server, context, &mut measure)?,
        Neighbour::Other => busy(&HubServer::stentor(&context.programs, maker, None)?, context, &mut measure)?,
    };
    let sent: u64 = publishers.sent().iter().map(|&count| u64::from(count)).sum();
    let _complete = subscribers.wait(sent * SESSIONS as u64, DRAIN);
    let events = (measured.publications * SESSIONS as u64) as f64;
    let mut figures = Figures::from([
        ("deliveries_per_s", deliveries),
        ("events_per_s", events / measured.elapsed.as_secs_f64()),
        ("events_per_own_cpu_s", events / (own.get().max(1) as f64 / 1e9)),
        ("cpu_s", server.process.cpu() as f64 / 1e9),
    ]);
    latencies(&mut figures, &subscribers.take_latency());
    faults(&mut figures, &subscribers.tally(&publishers.sent()));
    Ok(figures)
}

/// Does something while this hub delivers as much as it can; gives the deliveries a second too.
fn busy(
    hub: &HubServer,
    context: &HubContext,
    work: &mut dyn FnMut() -> Result<Sent, Fault>,
) -> Result<(Sent, f64), Fault> {
    let receivers = Receivers::start(ENDPOINTS, &[], CONNECTIONS)?;
    hub.subscribe(&receivers, Signing::Plain)?;
    let mut publishers = Publishers::connect(hub.address, CONNECTIONS, hub.template(PAYLOAD))?;
    let audience = Audience { progress: Arc::clone(receivers.progress()), events_per_publication: ENDPOINTS as u64 };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let presser = scope.spawn(|| -> Result<f64, Fault> {
            let mut rates = Vec::new();
            while !over.load(Ordering::SeqCst) {
                let sent = publishers.run(Pace::Window(20), Until::Elapsed(context.time / 8), &audience)?;
                rates.push((sent.publications * ENDPOINTS as u64) as f64 / sent.elapsed.as_secs_f64());
            }
            Ok(rates.iter().sum::<f64>() / rates.len().max(1) as f64)
        });
        let done = work();
        over.store(true, Ordering::SeqCst);
        let rate = presser.join().map_err(|_| Fault::Setup("the hub's publishers have failed".to_owned()))?;
        Ok((done?, rate?))
    })
}

/// Memory beside a hub without subscriptions, and the time until all of them are there.
fn idle(context: &HubContext, maker: Maker, count: usize) -> Result<Figures, Fault> {
    let file = context.folder.join(format!("idle-{count}.db"));
    if !file.exists() {
        ask_store(context, &["enter", &count.to_string()])?;
    }
    let settled = |server: &HubServer| {
        // What the server does after it has all of them, such as giving buffers back, is over by then.
        std::thread::sleep(Duration::from_millis(500));
        server.process.memory() as f64
    };
    let mut empty = HubServer::stentor(&context.programs, maker, None)?;
    let before = settled(&empty);
    empty.process.stop();
    let mut server = HubServer::stentor(&context.programs, maker, Some(&file))?;
    let loaded = server.wait_for(count)?;
    let after = settled(&server);
    let cpu = server.process.cpu() as f64 / 1e9;
    let size = fs::metadata(&file).map_or(0, |data| data.len());
    Ok(BTreeMap::from([
        ("octets_per_subscription", (after - before) / count as f64),
        ("start_ms", server.startup.as_secs_f64() * 1e3),
        ("loaded_ms", loaded.as_secs_f64() * 1e3),
        ("cpu_s", cpu),
        ("before_mib", before / 1_048_576.0),
        ("after_mib", after / 1_048_576.0),
        ("file_octets_per_subscription", size as f64 / count as f64),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_named() {
        for cell in HubCell::ALL {
            assert_eq!(HubCell::named(&cell.name()), Some(cell));
            assert!(Maker::ALL.into_iter().any(|maker| cell.suits(maker)), "{cell:?}");
        }
        for name in ["deliver", "deliver0", "x", "wamp", "idle1x"] {
            assert_eq!(HubCell::named(name), None, "{name}");
        }
    }
}
