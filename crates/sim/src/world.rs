//! Time passes. What the machine asks for is carried out as the shell would, late, wrongly or not at all; between any two
//! steps the node may die.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use stentor_delivery::{Attempt, AttemptKey, EndReason, Engine, Errand, Event, FetchKey, Now, Outcome, StateView};
use stentor_model::{Topic, WebhookId};

use crate::disk::Disk;
use crate::oracle::Oracle;
use crate::receiver::Mood;
use crate::setup::{Sabotage, Setup};

mod day;
mod shell;

/// Steps of one world. A machine that turns without getting anywhere ends here.
const STEPS_MAX: u64 = 200_000;

/// Virtual milliseconds in which everything has to come to rest once the faults are over.
const REST_MAX: u64 = 4 * 3600 * 1000;

/// The calendar at the beginning, in seconds.
const UNIX: u64 = 1_800_000_000;

/// What a world that kept all promises looked like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// Steps of the world.
    pub steps: u64,
    /// Requests that a receiver accepted.
    pub deliveries: u64,
    /// Publications given up.
    pub dead: u64,
    /// Deaths of the node.
    pub crashes: u64,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The world.
    pub seed: u64,
    /// The step.
    pub step: u64,
    /// What was broken.
    pub sentence: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, step, sentence } = self;
        write!(f, "seed {seed}, step {step}: {sentence}; replay it with `cargo xtask sim --seed {seed} --trace`")
    }
}

/// Lives the world of a seed.
///
/// # Errors
/// At the first broken promise.
pub fn run(seed: u64, sabotage: Sabotage) -> Result<Life, Failure> {
    World::new(seed, sabotage, None).live(seed)
}

/// The same, with a line for every step.
///
/// # Errors
/// At the first broken promise.
pub fn run_traced(seed: u64, sabotage: Sabotage, trace: &mut dyn FnMut(&str)) -> Result<Life, Failure> {
    World::new(seed, sabotage, Some(trace)).live(seed)
}

/// What is to come. Whatever belongs to one life of the node is void in the next.
#[derive(Debug)]
enum Happening {
    Publish,
    /// A subscriber or an operator does something.
    Act,
    /// A host, the store or the clock changes.
    Fault,
    Flush,
    Restart,
    /// An operator wants everything dead once more, and publishers go on.
    Resume,
    /// The store looks into the log.
    Read {
        life: u64,
        key: FetchKey,
        topic: u64,
        after: u64,
        limit: usize,
    },
    Tell {
        life: u64,
        event: Event,
    },
    /// The machine is told of a subscription or renewal, as it is written by then.
    TellRow {
        life: u64,
        webhook: u64,
    },
    Arrive {
        attempt: Attempt,
        is_accepted: bool,
    },
    Outcome {
        life: u64,
        key: AttemptKey,
        webhook: u64,
        outcome: Outcome,
        retry_after: Option<Duration>,
    },
    /// The store writes that a publication is given up.
    Record {
        life: u64,
        webhook: u64,
        offset: u64,
        errand: Errand,
        attempts: u32,
    },
    /// The shell removes an ended subscription.
    EndRow {
        life: u64,
        webhook: u64,
        reason: EndReason,
    },
}

struct World<'t> {
    setup: Setup,
    sabotage: Sabotage,
    dice: Rng,
    trace: Option<&'t mut dyn FnMut(&str)>,
    elapsed: u64,
    /// Milliseconds of the calendar at the beginning, jumps included.
    epoch: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    entries: u64,
    engine: Option<Engine>,
    life: u64,
    /// How late the next tick will be.
    lateness: u64,
    is_calm: bool,
    disk: Disk,
    oracle: Oracle,
    moods: Vec<Mood>,
    /// Whether the shell of this life knows where topics end when it tells of subscriptions.
    tells_tails: bool,
    /// Topics whose newest publication the machine was not told of in this life.
    untold: BTreeSet<u64>,
    /// What the shell keeps for replays of this life, by subscription and place.
    replays: BTreeSet<(u64, u64)>,
    /// Topic and host of every subscription that ever was.
    homes: BTreeMap<u64, (u64, u64)>,
    ended: Life,
}

impl<'t> World<'t> {
    fn new(seed: u64, sabotage: Sabotage, trace: Option<&'t mut dyn FnMut(&str)>) -> Self {
        let mut dice = Rng::with_seed(seed);
        let setup = Setup::draw(&mut dice);
        Self {
            sabotage,
            trace,
            elapsed: 0,
            epoch: UNIX * 1000,
            queue: BTreeMap::new(),
            entries: 0,
            engine: None,
            life: 0,
            lateness: 0,
            is_calm: false,
            disk: Disk::new(setup.topics),
            oracle: Oracle::new(setup.options.clone()),
            moods: (0..setup.hosts).map(|_| Mood::Healthy).collect(),
            tells_tails: false,
            untold: BTreeSet::new(),
            replays: BTreeSet::new(),
            homes: BTreeMap::new(),
            ended: Life::default(),
            setup,
            dice,
        }
    }

    fn live(mut self, seed: u64) -> Result<Life, Failure> {
        let verdict = self.days().and_then(|()| self.rest()).and_then(|()| self.leave());
        verdict.map(|()| self.ended).map_err(|sentence| Failure { seed, step: self.ended.steps, sentence })
    }

    /// The bad days.
    fn days(&mut self) -> Result<(), String> {
        for _ in 0..self.setup.webhooks {
            self.write_row();
        }
        for happening in [Happening::Restart, Happening::Publish, Happening::Act, Happening::Fault, Happening::Flush] {
            self.after(0, happening);
        }
        while self.elapsed < self.setup.span {
            self.step()?;
        }
        Ok(())
    }

    /// The faults are over: everything has to be delivered now.
    fn rest(&mut self) -> Result<(), String> {
        self.calm_down();
        let end = self.elapsed + REST_MAX;
        while self.elapsed < end {
            self.step()?;
            if self.is_at_rest() {
                self.disk.flush();
                return self.oracle.rested(&self.disk);
            }
        }
        let stuck: Vec<String> = self
            .homes
            .keys()
            .filter_map(|&id| Some(format!("{id} {:?}", self.engine.as_ref()?.webhook(WebhookId(id))?)))
            .collect();
        Err(format!("no rest: {}", stuck.join("; ")))
    }

    fn is_at_rest(&self) -> bool {
        let Some(engine) = &self.engine else { return false };
        let periodic = |happening: &Happening| {
            matches!(happening, Happening::Flush | Happening::Publish | Happening::Act | Happening::Fault)
        };
        self.queue.values().all(periodic)
            && (engine.gauges().replays == 0 || self.setup.refuses_replays)
            && self
                .homes
                .keys()
                .all(|&id| engine.webhook(WebhookId(id)).is_none_or(|view| view.state == StateView::Idle))
    }

    /// Everybody unsubscribes: nothing may be left behind.
    fn leave(&mut self) -> Result<(), String> {
        let webhooks: Vec<u64> = self.homes.keys().copied().collect();
        for webhook in webhooks {
            self.tell(Event::Removed { webhook: WebhookId(webhook) })?;
        }
        // A read that rests after a failure of the store notices when it wakes that nobody waits for it any more.
        self.elapsed += u64::try_from(self.setup.options.store_retry_delay.as_millis()).unwrap_or(u64::MAX) + 1;
        self.tell(Event::Tick)?;
        let gauges = self.engine.as_ref().map(Engine::gauges).unwrap_or_default();
        let left = [gauges.webhooks, gauges.topics, gauges.hosts, gauges.in_flight, gauges.fetches, gauges.backoffs];
        let left = left.into_iter().chain([gauges.breakers_open, gauges.replays]).sum::<usize>();
        if left == 0 { Ok(()) } else { Err(format!("something is left behind: {gauges:?}")) }
    }

    fn unix(&self) -> u64 {
        self.epoch + self.elapsed
    }

    /// The time as the machine is told.
    fn now(&self) -> Now {
        let speed = if self.sabotage == Sabotage::FastClock { 2 } else { 1 };
        Now { elapsed: Duration::from_millis(self.elapsed * speed), unix: Duration::from_millis(self.unix()) }
    }

    /// What comes next: the first of the queue, or the machine's deadline.
    fn step(&mut self) -> Result<(), String> {
        self.ended.steps += 1;
        if self.ended.steps > STEPS_MAX {
            return Err("it goes on for ever".to_owned());
        }
        let deadline = self.engine.as_ref().and_then(Engine::next_deadline).map(|deadline| {
            let deadline = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
            deadline.saturating_add(self.lateness).max(self.elapsed)
        });
        let first = self.queue.first_key_value().map(|(&(at, _), _)| at);
        match (deadline, first) {
            (Some(deadline), first) if first.is_none_or(|first| deadline < first) => {
                self.elapsed = deadline;
                // A busy node is late sometimes.
                let is_late = !self.is_calm && self.dice.u8(0..8) == 0;
                self.lateness = if is_late { self.dice.u64(0..3000) } else { 0 };
                self.tell(Event::Tick)
            }
            _ => {
                let Some(((at, _), happening)) = self.queue.pop_first() else {
                    return Err("nothing is to come".into());
                };
                self.elapsed = self.elapsed.max(at);
                self.happen(happening)
            }
        }
    }

    fn after(&mut self, wait: u64, happening: Happening) {
        self.entries += 1;
        self.queue.insert((self.elapsed + wait, self.entries), happening);
    }

    fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace(&format!("{:>8} {}", self.elapsed, line()));
        }
    }

    /// Tells the machine and carries out what it says; the node may die on the way.
    fn tell(&mut self, event: Event) -> Result<(), String> {
        if self.engine.is_none() {
            return Ok(());
        }
        self.say(|| format!("tell {event:?}"));
        self.foresee(&event);
        let (now, mut out) = (self.now(), Vec::new());
        if let (Some(event), Some(engine)) = (self.sabotage.event(event), &mut self.engine) {
            engine.handle(event, now, &mut out);
        }
        for action in out {
            if !self.is_calm && self.setup.crash_one_in > 0 && self.dice.u32(0..self.setup.crash_one_in) == 0 {
                self.crash();
                return Ok(());
            }
            self.say(|| format!("  {action:?}"));
            self.carry_out(action)?;
        }
        let Some(engine) = &self.engine else { return Ok(()) };
        let (kept, waiting) = (self.replays.len(), engine.gauges().replays);
        if kept != waiting {
            return Err(format!("the content of {kept} replays is kept, and {waiting} are to come"));
        }
        self.check_backoffs()?;
        self.oracle.ticked(self.unix())
    }
}

fn topic_name(topic: u64) -> Topic {
    Topic::parse(&format!("https://example.com/{topic}")).expect("short and printable")
}

fn topic_number(topic: &Topic) -> u64 {
    topic.as_str().rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}
