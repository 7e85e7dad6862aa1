//! The soak: half of what the server can do, for long, while sessions and connections come and go.
//!
//! Knows who presses on the server and what is watched meanwhile; `guest` are the sessions that come and go, `visitor` the
//! HTTP connections, and `rule` says what must hold at the end. Publishing is open loop: the rate does not yield when the
//! server is slow, so that whatever it cannot do in time piles up and shows.

mod guest;
mod rule;
mod visitor;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use self::guest::Visits;
pub use self::rule::Rule;
use self::rule::Sample;
use self::visitor::Calls;
use crate::cell::{CONNECTIONS, Load, PAYLOAD};
use crate::fault::Fault;
use crate::histogram::Histogram;
use crate::ledger::Tally;
use crate::process::Process;
use crate::publishers::{Audience, Pace, Publishers, Sent, Until};
use crate::request::Topics;
use crate::subscribers::{Reading, Subscribers};
use crate::system::{Programs, Server, Setup, System, TOPIC, everybody};

/// Publications under way while the full rate is measured.
const WINDOW: u64 = 100;

/// How long the full rate is measured, after as long again for warming up.
const FULL_RATE: Duration = Duration::from_secs(2);

/// Sessions that come and go at a time; with their time of stay that is 20 a second.
const GUESTS: u64 = 8;

/// HTTP connections that come and go at a time: some 18 a second each.
const VISITORS: u64 = 2;

/// Guests stop coming so long before the end, because they cannot leave when nothing comes any more.
const LAST_ORDERS: Duration = Duration::from_secs(2);

/// Between two looks at the process.
const LOOK: Duration = Duration::from_secs(1);

/// How long the last events, and the descriptors of those who went, may take.
const DRAIN: Duration = Duration::from_secs(20);

/// How long and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How long to publish at half of the full rate.
    pub time: Duration,
    /// Sessions that stay from the beginning to the end.
    pub subscribers: usize,
    /// What the dice of guests and visitors begin with.
    pub seed: u64,
}

/// What a soak has brought.
#[derive(Debug)]
pub struct Soaked {
    subscribers: usize,
    full_rate: f64,
    elapsed: Duration,
    sent: Sent,
    events: u64,
    latency: Histogram,
    tally: Tally,
    visits: Visits,
    calls: Calls,
    memory: Vec<Sample>,
    descriptors_max: u64,
    /// Before anybody came, and when everybody had gone.
    descriptors: (u64, u64),
    cpu: u64,
    metrics: String,
    faults: Vec<String>,
}

impl Soaked {
    /// What must hold, and whether it did.
    #[must_use]
    pub fn rules(&self) -> Vec<Rule> {
        rule::judge(self)
    }

    /// Figures and rules as text.
    #[must_use]
    pub fn render(&self) -> String {
        rule::render(self, &self.rules())
    }
}

/// Soaks the server.
///
/// # Errors
/// When there is nothing to judge: the server does not start, or publishing fails.
pub fn run(programs: &Programs, plan: Plan) -> Result<Soaked, Fault> {
    let mut server = System::Stentor.start(programs, Setup::default())?;
    let subscribers = Subscribers::open(&server.target, &everybody(plan.subscribers), Reading::of(CONNECTIONS))?;
    let template = server.template(&Topics::One(TOPIC.to_owned()), PAYLOAD);
    let mut publishers = Publishers::connect(server.address, CONNECTIONS, template)?;
    let full_rate = full_rate(&mut server, &subscribers, &mut publishers)?;
    let (base, cpu) = (subscribers.progress().arrived(), server.process.cpu());
    let before = server.process.descriptors();
    let pressed = press(&server, &subscribers, &mut publishers, full_rate / 2.0, plan)?;
    let expected = base + pressed.sent.publications * plan.subscribers as u64;
    // What is missing then is counted as lost.
    let _complete = subscribers.wait(expected, DRAIN);
    let after = settled(&server.process, before);
    Ok(Soaked {
        subscribers: plan.subscribers,
        full_rate,
        elapsed: pressed.sent.elapsed,
        sent: pressed.sent,
        events: subscribers.progress().arrived() - base,
        latency: subscribers.take_latency(),
        tally: subscribers.tally(&publishers.sent()),
        visits: pressed.visits,
        calls: pressed.calls,
        memory: pressed.seen.memory,
        descriptors_max: pressed.seen.descriptors_max,
        descriptors: (before as u64, after as u64),
        cpu: server.process.cpu() - cpu,
        metrics: visitor::get(server.address, "/metrics")?,
        faults: pressed.faults,
    })
}

/// What the server can do when nobody comes or goes, in publications a second.
fn full_rate(server: &mut Server, subscribers: &Subscribers, publishers: &mut Publishers) -> Result<f64, Fault> {
    let per_publication = subscribers.count() as u64;
    let mut load = Load { server, subscribers, publishers, per_publication };
    load.run(Pace::Window(WINDOW), Until::Elapsed(FULL_RATE))?;
    let run = load.run(Pace::Window(WINDOW), Until::Elapsed(FULL_RATE))?;
    Ok(run.sent.publications as f64 / run.sent.elapsed.as_secs_f64())
}

struct Pressed {
    sent: Sent,
    visits: Visits,
    calls: Calls,
    seen: Seen,
    faults: Vec<String>,
}

fn press(
    server: &Server,
    subscribers: &Subscribers,
    publishers: &mut Publishers,
    rate: f64,
    plan: Plan,
) -> Result<Pressed, Fault> {
    let until = Instant::now() + plan.time.saturating_sub(LAST_ORDERS);
    let marks = publishers.marks().clone();
    let progress = subscribers.progress().clone();
    let audience = Audience { progress, events_per_publication: plan.subscribers as u64 };
    let (over, marks) = (AtomicBool::new(false), &*marks);
    std::thread::scope(|scope| {
        let guests: Vec<_> = (0..GUESTS)
            .map(|at| scope.spawn(move || guest::keep_coming(&server.target, marks, until, plan.seed + at)))
            .collect();
        let visitors: Vec<_> = (0..VISITORS)
            .map(|at| scope.spawn(move || visitor::keep_coming(server.address, until, plan.seed + GUESTS + at)))
            .collect();
        let watch = look(scope, &server.process, &over);
        let sent = publishers.run(Pace::Rate(rate), Until::Elapsed(plan.time), &audience);
        over.store(true, Ordering::SeqCst);
        let mut faults = Vec::new();
        let mut visits = Visits::default();
        ended(guests, &mut faults).iter().for_each(|one| visits.add(one));
        let mut calls = Calls::default();
        for one in ended(visitors, &mut faults) {
            calls.count += one.count;
            calls.cut += one.cut;
        }
        let seen = watch.join().unwrap_or_default();
        Ok(Pressed { sent: sent?, visits, calls, seen, faults })
    })
}

/// What those brought who came through; the others' words go to the faults.
fn ended<T>(threads: Vec<ScopedJoinHandle<'_, Result<T, Fault>>>, faults: &mut Vec<String>) -> Vec<T> {
    let mut all = Vec::new();
    for thread in threads {
        match thread.join() {
            Ok(Ok(one)) => all.push(one),
            Ok(Err(fault)) => faults.push(fault.to_string()),
            Err(_) => faults.push("a thread of the generator panicked".to_owned()),
        }
    }
    all
}

#[derive(Debug, Default)]
struct Seen {
    memory: Vec<Sample>,
    descriptors_max: u64,
}

/// Looks at the process once a second.
fn look<'s>(scope: &'s Scope<'s, '_>, process: &'s Process, over: &'s AtomicBool) -> ScopedJoinHandle<'s, Seen> {
    scope.spawn(move || {
        let begin = Instant::now();
        let mut seen = Seen::default();
        while !over.load(Ordering::SeqCst) {
            seen.memory.push((begin.elapsed(), process.memory()));
            seen.descriptors_max = seen.descriptors_max.max(process.descriptors() as u64);
            std::thread::sleep(LOOK);
        }
        seen
    })
}

/// The descriptors that are left when everybody has gone.
fn settled(process: &Process, before: usize) -> usize {
    let deadline = Instant::now() + DRAIN;
    loop {
        let after = process.descriptors();
        if after <= before || Instant::now() > deadline {
            return after;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
