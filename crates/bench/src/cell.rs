//! Cells: one figure of one system in one round, taken from a fresh process.
//!
//! What counts is what the server's processors did, because the generator shares them: events for each second of the
//! server's processor time. Each run goes from rest to rest, so that no event is half counted.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fault::Fault;
use crate::histogram::Histogram;
use crate::ledger::Tally;
use crate::machine;
use crate::publishers::{Audience, Pace, Publishers, Sent, Until};
use crate::request::Topics;
use crate::subscribers::{Reading, Subscribers};
use crate::swarm::Swarm;
use crate::system::{Programs, Server, Setup, System, TOPIC, everybody};

/// Octets of each publication's payload.
pub const PAYLOAD: usize = 128;

/// Connections that publish. The same for all systems.
pub const CONNECTIONS: usize = 32;

/// How long the last events may take after the last POST.
const DRAIN: Duration = Duration::from_secs(20);

/// Publications of the cell that times sessions one publication at a time.
const TIMED_PUBLICATIONS: u64 = 20;

/// Named figures of one run.
pub type Figures = BTreeMap<&'static str, f64>;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    /// Full rate to so many subscribers.
    Fanout(usize),
    /// 50 publications each second to so many subscribers.
    Rate(usize),
    /// Memory of so many idle sessions.
    Memory(usize),
    /// Time to the first answer, and memory at rest.
    Start,
    /// Time until the last of so many sessions holds an event.
    Sessions(usize),
}

/// What a measurement needs to know.
#[derive(Clone, Debug)]
pub struct Context {
    /// The programs to start.
    pub programs: Programs,
    /// How long each run lasts.
    pub time: Duration,
}

impl Cell {
    /// The name on the command line and in results.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Fanout(count) => format!("fanout{count}"),
            Self::Rate(count) => format!("rate{count}"),
            Self::Memory(count) => format!("memory{count}"),
            Self::Start => "start".to_owned(),
            Self::Sessions(count) => format!("sessions{count}"),
        }
    }

    /// The cell of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let digits = name.find(|c: char| c.is_ascii_digit()).unwrap_or(name.len());
        let count: Option<usize> = name[digits..].parse().ok().filter(|&count| count > 0);
        match (&name[..digits], count) {
            ("fanout", Some(count)) => Some(Self::Fanout(count)),
            ("rate", Some(count)) => Some(Self::Rate(count)),
            ("memory", Some(count)) => Some(Self::Memory(count)),
            ("sessions", Some(count)) => Some(Self::Sessions(count)),
            ("start", None) => Some(Self::Start),
            _ => None,
        }
    }

    /// Publications that may be under way. The same for all systems.
    #[must_use]
    pub const fn window(self) -> u64 {
        match self {
            Self::Fanout(1) => 32,
            Self::Fanout(count) if count <= 100 => 100,
            _ => 20,
        }
    }

    /// Whether the system takes part. Crossbar.io would need minutes for what others do in seconds, and nchan gets stuck
    /// when a channel has more than 32 768 messages within a second.
    #[must_use]
    pub const fn suits(self, system: System) -> bool {
        match (system, self) {
            (System::Crossbar, Self::Fanout(count) | Self::Rate(count) | Self::Memory(count)) => count <= 1000,
            (System::Crossbar, Self::Sessions(_)) => false,
            _ => true,
        }
    }

    /// Takes the figures once.
    ///
    /// # Errors
    /// When there are none.
    pub fn run(self, context: &Context, system: System) -> Result<Figures, Fault> {
        match self {
            Self::Fanout(count) | Self::Rate(count) | Self::Memory(count) | Self::Sessions(count) => {
                machine::allows(count)?;
            }
            Self::Start => {}
        }
        let mut server = system.start(&context.programs, Setup::default())?;
        match self {
            Self::Fanout(count) => events(&mut server, count, Pace::Window(self.window()), context.time),
            Self::Rate(count) => events(&mut server, count, Pace::Rate(50.0), context.time),
            Self::Memory(count) => memory(&server, count),
            Self::Start => Ok(start(&server)),
            Self::Sessions(count) => sessions(&mut server, context, count),
        }
    }
}

fn events(server: &mut Server, count: usize, pace: Pace, time: Duration) -> Result<Figures, Fault> {
    let subscribers = Subscribers::open(&server.target, &everybody(count), Reading::of(CONNECTIONS))?;
    let template = server.template(&Topics::One(TOPIC.to_owned()), PAYLOAD);
    let mut publishers = Publishers::connect(server.address, CONNECTIONS, template)?;
    let mut load =
        Load { server, subscribers: &subscribers, publishers: &mut publishers, per_publication: count as u64 };
    load.run(pace, Until::Elapsed(time / 4))?;
    let run = load.run(pace, Until::Elapsed(time))?;
    Ok(run.figures())
}

/// Everything that a run needs, from rest to rest.
#[derive(Debug)]
pub struct Load<'a> {
    /// The server, for its processor time.
    pub server: &'a mut Server,
    /// Who listens.
    pub subscribers: &'a Subscribers,
    /// Who publishes.
    pub publishers: &'a mut Publishers,
    /// Events that each publication causes.
    pub per_publication: u64,
}

/// What a run from rest to rest has brought.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was published.
    pub sent: Sent,
    /// Events that arrived.
    pub events: u64,
    /// The server's processor time in nanoseconds.
    pub cpu: u64,
    /// From POST to arrival.
    pub latency: Histogram,
    /// What went wrong since the sessions were opened.
    pub tally: Tally,
    /// What the hypervisor took meanwhile, in nanoseconds.
    pub stolen: u64,
}

impl Load<'_> {
    /// Publishes, and waits until everything has arrived.
    ///
    /// # Errors
    /// When publishing fails. What does not arrive is in the tally.
    pub fn run(&mut self, pace: Pace, until: Until) -> Result<Outcome, Fault> {
        let progress = self.subscribers.progress();
        let audience = Audience { progress: progress.clone(), events_per_publication: self.per_publication };
        let (base, cpu, stolen) = (progress.arrived(), self.server.process.cpu(), machine::stolen());
        let sent = self.publishers.run(pace, until, &audience)?;
        let expected = base + sent.publications * self.per_publication;
        // What is missing then is counted as lost.
        let _complete = self.subscribers.wait(expected, DRAIN);
        Ok(Outcome {
            sent,
            events: progress.arrived() - base,
            cpu: self.server.process.cpu() - cpu,
            latency: self.subscribers.take_latency(),
            tally: self.subscribers.tally(&self.publishers.sent()),
            stolen: machine::stolen() - stolen,
        })
    }
}

impl Outcome {
    /// The figures by name.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let cpu = self.cpu as f64 / 1e9;
        let seconds = self.sent.elapsed.as_secs_f64();
        let milliseconds = |share| self.latency.quantile(share) as f64 / 1e6;
        BTreeMap::from([
            ("publications", self.sent.publications as f64),
            ("publications_per_s", self.sent.publications as f64 / seconds),
            ("events", self.events as f64),
            ("events_per_s", self.events as f64 / seconds),
            ("events_per_cpu_s", self.events as f64 / cpu),
            ("cpu_us_per_publication", cpu * 1e6 / self.sent.publications.max(1) as f64),
            ("cpu_s", cpu),
            ("p50_ms", milliseconds(0.5)),
            ("p99_ms", milliseconds(0.99)),
            ("p999_ms", milliseconds(0.999)),
            ("max_ms", self.latency.max() as f64 / 1e6),
            ("late", self.sent.late as f64),
            ("lost", self.tally.lost as f64),
            ("swapped", self.tally.swapped as f64),
            ("duplicated", self.tally.duplicated as f64),
            ("closed", self.tally.closed as f64),
            ("stolen_s", self.stolen as f64 / 1e9),
        ])
    }
}

fn memory(server: &Server, count: usize) -> Result<Figures, Fault> {
    let before = server.process.memory();
    let subscribers = Subscribers::open(&server.target, &everybody(count), Reading::of(1))?;
    // What the server does after its last answer, such as giving buffers back, is over by then.
    std::thread::sleep(Duration::from_millis(300));
    let after = server.process.memory();
    let closed = subscribers.tally(&[0]).closed;
    Ok(BTreeMap::from([
        ("octets_per_session", after.saturating_sub(before) as f64 / count as f64),
        ("before_mib", before as f64 / 1_048_576.0),
        ("after_mib", after as f64 / 1_048_576.0),
        ("closed", closed as f64),
    ]))
}

fn start(server: &Server) -> Figures {
    let startup = server.startup.as_secs_f64() * 1e3;
    std::thread::sleep(Duration::from_millis(300));
    BTreeMap::from([("start_ms", startup), ("idle_mib", server.process.memory() as f64 / 1_048_576.0)])
}

/// One publication after the other, each timed until the last session has it.
fn sessions(server: &mut Server, context: &Context, count: usize) -> Result<Figures, Fault> {
    let before = server.process.memory();
    let mut swarm = Swarm::start(&context.programs.bench, &server.target, count, 1)?;
    let template = server.template(&Topics::One(TOPIC.to_owned()), PAYLOAD);
    let mut publishers = Publishers::connect(server.address, 1, template)?;
    let memory = server.process.memory().saturating_sub(before);
    let nobody = Audience { progress: Subscribers::none().progress().clone(), events_per_publication: 0 };
    let mut last = Vec::new();
    let cpu = server.process.cpu();
    for _ in 0..TIMED_PUBLICATIONS {
        publishers.run(Pace::Window(1), Until::Published(1), &nobody)?;
        last.push(swarm.slowest()? as f64 / 1e6);
    }
    let cpu = (server.process.cpu() - cpu) as f64 / 1e9;
    last.sort_by(f64::total_cmp);
    let tally = swarm.finish(&publishers.sent())?;
    Ok(BTreeMap::from([
        ("last_ms", last[last.len() / 2]),
        ("last_min_ms", last[0]),
        ("last_max_ms", last[last.len() - 1]),
        ("events_per_cpu_s", (TIMED_PUBLICATIONS * count as u64) as f64 / cpu),
        ("octets_per_session", memory as f64 / count as f64),
        ("lost", tally.lost as f64),
        ("swapped", tally.swapped as f64),
        ("duplicated", tally.duplicated as f64),
        ("closed", tally.closed as f64),
    ]))
}
