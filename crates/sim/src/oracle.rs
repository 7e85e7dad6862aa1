//! The promises, watched at every step. Nothing here knows how the machine keeps them: only what was said, what was
//! answered, and what is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stentor_delivery::{Attempt, AttemptKey, Errand, Options, Outcome};

use crate::disk::Disk;

/// A broken promise.
pub(crate) type Verdict = Result<(), String>;

/// What became of the head of one of a subscription's two lines.
#[derive(Debug, Default)]
struct Trial {
    failures: u32,
    /// No attempt before this time.
    not_before: u64,
    /// From this time on it is due, however the dice fell.
    due_at: u64,
    /// What is asked to be recorded as dead.
    burial: Option<u64>,
}

/// What one life of the node may know of a subscription.
#[derive(Debug)]
struct Course {
    topic: u64,
    host: u64,
    cursor: u64,
    /// Seconds, as the machine was last told.
    lease_end: u64,
    attempts_max: u32,
    flight: Option<(AttemptKey, u64, Errand)>,
    in_order: Trial,
    replay: Trial,
    /// The replay that was tried last.
    replay_head: u64,
    /// When the last attempt ended, and what it was for.
    last: Option<(u64, Errand)>,
    /// The receiver asked for patience until this time.
    pause: u64,
    /// What may now be said to be done, by success or record.
    settled: Option<(u64, Errand)>,
    /// The last that the receiver took in this life.
    received: u64,
    /// The receiver answered 410.
    is_gone: bool,
    /// What may be sent once more, and how often it may be tried.
    replays: BTreeMap<u64, u32>,
}

/// What all lives together did for a subscription.
#[derive(Debug, Default)]
struct Record {
    topic: u64,
    start: u64,
    /// Accepted by the receiver, or recorded as dead.
    done: BTreeSet<u64>,
    /// The newest that the receiver took.
    received: u64,
}

/// What this life did to a host.
#[derive(Debug, Default)]
struct Line {
    in_flight: usize,
    webhooks: usize,
    failures: u32,
    tripped_at: u64,
    shut_until: u64,
}

#[derive(Debug)]
struct Flight {
    host: u64,
    posted_at: u64,
}

#[derive(Debug)]
pub(crate) struct Oracle {
    options: Options,
    courses: BTreeMap<u64, Course>,
    records: BTreeMap<u64, Record>,
    lines: BTreeMap<u64, Line>,
    flights: BTreeMap<(u64, u64), Flight>,
}

fn ensure(holds: bool, sentence: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(sentence()) }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Course {
    fn trial(&mut self, errand: Errand) -> &mut Trial {
        match errand {
            Errand::InOrder => &mut self.in_order,
            Errand::Replay => &mut self.replay,
        }
    }

    /// Whether this replay is the next one and goes before nothing in order for longer than an attempt; how often it may
    /// be tried.
    fn may_replay(&mut self, webhook: u64, offset: u64) -> Result<u32, String> {
        let attempts_max = self.replays.get(&offset).copied();
        let attempts_max = attempts_max.ok_or_else(|| format!("a replay of {offset} that nobody asked for"))?;
        ensure(self.replay.failures == 0 || self.replay_head == offset, || {
            format!("{webhook} is sent {offset} again while {} has attempts left", self.replay_head)
        })?;
        self.replay_head = offset;
        let due_at = self.in_order.due_at.max(self.pause);
        let is_held = |(ended_at, errand)| errand == Errand::Replay && ended_at >= due_at;
        ensure(self.in_order.failures == 0 || !self.last.is_some_and(is_held), || {
            format!("a replay to {webhook} after another one, and what is in order was due at {due_at}")
        })?;
        Ok(attempts_max)
    }
}

impl Oracle {
    pub(crate) fn new(options: Options) -> Self {
        let (courses, records, lines) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { options, courses, records, lines, flights: BTreeMap::new() }
    }

    /// The machine is told of a subscription.
    pub(crate) fn subscribed(&mut self, webhook: u64, disk: &Disk, cursor: u64) {
        let Some(row) = disk.rows.get(&webhook) else { return };
        if let Some(course) = self.courses.get_mut(&webhook) {
            course.lease_end = row.lease_end;
            return;
        }
        self.records.entry(webhook).or_insert_with(|| Record {
            topic: row.topic,
            start: cursor,
            received: cursor,
            ..Record::default()
        });
        self.lines.entry(row.host).or_default().webhooks += 1;
        self.courses.insert(
            webhook,
            Course {
                topic: row.topic,
                host: row.host,
                cursor,
                lease_end: row.lease_end,
                attempts_max: row.attempts_max,
                flight: None,
                in_order: Trial::default(),
                replay: Trial::default(),
                replay_head: 0,
                last: None,
                pause: 0,
                settled: None,
                received: 0,
                is_gone: false,
                replays: BTreeMap::new(),
            },
        );
    }

    pub(crate) fn renewed(&mut self, webhook: u64, lease_end: u64) {
        if let Some(course) = self.courses.get_mut(&webhook) {
            course.lease_end = lease_end;
        }
    }

    pub(crate) fn removed(&mut self, webhook: u64) {
        if let Some(course) = self.courses.remove(&webhook) {
            if let Some(line) = self.lines.get_mut(&course.host) {
                line.webhooks -= 1;
            }
            self.forget_host(course.host);
        }
    }

    /// Whoever has no subscription left and nothing on its way is a stranger when it comes back.
    fn forget_host(&mut self, host: u64) {
        if self.lines.get(&host).is_some_and(|line| line.webhooks == 0 && line.in_flight == 0) {
            self.lines.remove(&host);
        }
    }

    /// The node is gone, and all that it knew.
    pub(crate) fn crashed(&mut self) {
        self.courses.clear();
        self.lines.clear();
        self.flights.clear();
    }

    pub(crate) fn replay_asked(&mut self, webhook: u64, offset: u64, attempts_max: u32) {
        if let Some(course) = self.courses.get_mut(&webhook) {
            course.replays.entry(offset).or_insert(attempts_max);
        }
    }

    pub(crate) fn replay_ended(&mut self, webhook: u64, offset: u64) {
        if let Some(course) = self.courses.get_mut(&webhook) {
            course.replays.remove(&offset);
        }
    }

    /// When what is in order is due at the latest, for each subscription.
    pub(crate) fn in_order_due(&self) -> impl Iterator<Item = (u64, Duration)> {
        let due = |course: &Course| Duration::from_millis(course.in_order.due_at.max(course.pause));
        self.courses.iter().map(move |(&webhook, course)| (webhook, due(course)))
    }

    pub(crate) fn posted(&mut self, attempt: &Attempt, disk: &Disk, elapsed: u64, unix: u64) -> Verdict {
        let (webhook, offset) = (attempt.webhook.0, attempt.offset.get());
        let Some(course) = self.courses.get_mut(&webhook) else {
            return Err(format!("a request for {webhook}, which is not subscribed"));
        };
        ensure(course.flight.is_none(), || format!("two requests of {webhook} on their way"))?;
        ensure(course.lease_end > unix / 1000, || format!("a request for {webhook} after its lease"))?;
        ensure(elapsed >= course.pause, || {
            format!("{webhook} tried at {elapsed}, its receiver asked for patience until {}", course.pause)
        })?;
        ensure(course.settled.is_none(), || format!("{webhook} goes on before its cursor"))?;
        let attempts_max = match attempt.errand {
            Errand::InOrder => {
                let next = disk.after(course.topic, course.cursor).first().copied();
                ensure(next == Some(offset), || {
                    format!("{webhook} at {} gets {offset}, the next is {next:?}", course.cursor)
                })?;
                course.attempts_max
            }
            Errand::Replay => course.may_replay(webhook, offset)?,
        };
        let trial = course.trial(attempt.errand);
        ensure(trial.burial.is_none(), || format!("{webhook} goes on before its record is written"))?;
        ensure(elapsed >= trial.not_before, || {
            format!("{webhook} tried at {elapsed}, not before {} was due", trial.not_before)
        })?;
        ensure(attempt.attempt == trial.failures + 1, || {
            format!("{webhook} {offset}: attempt {} after {} failures", attempt.attempt, trial.failures)
        })?;
        ensure(attempts_max == 0 || attempt.attempt <= attempts_max, || {
            format!("{webhook} {offset}: attempt {} of {attempts_max}", attempt.attempt)
        })?;
        course.flight = Some((attempt.key, offset, attempt.errand));
        let host = course.host;
        self.departs(attempt.key, host, elapsed)
    }

    /// Limits and breaker, when a request goes to a host.
    fn departs(&mut self, key: AttemptKey, host: u64, elapsed: u64) -> Verdict {
        let line = self.lines.entry(host).or_default();
        line.in_flight += 1;
        let (most, all) = (self.options.in_flight_per_host_max, self.options.in_flight_max);
        ensure(line.in_flight <= most, || format!("{} requests to host {host}", line.in_flight))?;
        ensure(elapsed >= line.shut_until, || format!("a request to host {host} through its open breaker"))?;
        ensure(line.failures < self.options.breaker_failures_max || line.in_flight == 1, || {
            format!("more than a probe to host {host}")
        })?;
        self.flights.insert(Self::number(key), Flight { host, posted_at: elapsed });
        ensure(self.flights.len() <= all, || format!("{} requests on their way", self.flights.len()))
    }

    fn number(key: AttemptKey) -> (u64, u64) {
        let (index, serial) = key.parts();
        (u64::from(index), u64::from(serial))
    }

    /// The receiver of a subscription took a request, perhaps one of a life that is over.
    pub(crate) fn received(&mut self, attempt: &Attempt, is_accepted: bool, disk: &Disk) -> Verdict {
        let (webhook, offset) = (attempt.webhook.0, attempt.offset.get());
        let Some(record) = self.records.get_mut(&webhook) else { return Ok(()) };
        if attempt.errand == Errand::InOrder {
            if offset > record.received {
                let before = disk.before(record.topic, offset).filter(|&before| before > record.start);
                ensure(before.is_none_or(|before| record.done.contains(&before)), || {
                    format!("{webhook} received {offset} and never {before:?}")
                })?;
                record.received = offset;
            }
            if let Some(course) = self.courses.get_mut(&webhook)
                && course.flight.is_some_and(|(key, ..)| key == attempt.key)
            {
                ensure(offset >= course.received, || {
                    format!("{webhook} received {offset} after {} in one life", course.received)
                })?;
                course.received = offset;
            }
        }
        if is_accepted {
            record.done.insert(offset);
        }
        Ok(())
    }

    /// The machine is told how an attempt ended.
    pub(crate) fn attempted(
        &mut self,
        key: AttemptKey,
        webhook: u64,
        outcome: Outcome,
        retry_after: Option<Duration>,
        elapsed: u64,
    ) {
        let Some(flight) = self.flights.remove(&Self::number(key)) else { return };
        self.note_host(&flight, outcome, elapsed);
        self.forget_host(flight.host);
        let options = &self.options;
        let Some(course) = self.courses.get_mut(&webhook) else { return };
        let Some((_, offset, errand)) = course.flight.take_if(|(flying, ..)| *flying == key) else { return };
        course.last = Some((elapsed, errand));
        let attempts_max = match errand {
            Errand::InOrder => course.attempts_max,
            Errand::Replay => course.replays.get(&offset).copied().unwrap_or_default(),
        };
        let trial = course.trial(errand);
        match outcome {
            Outcome::Answered(200..=299) => {
                *trial = Trial::default();
                course.settled = Some((offset, errand));
            }
            Outcome::Answered(410) => course.is_gone = true,
            Outcome::NotTried => {
                trial.not_before = elapsed + millis(options.store_retry_delay);
                trial.due_at = trial.not_before;
            }
            Outcome::Missing => trial.burial = Some(offset),
            Outcome::Answered(_) | Outcome::NotSent(_) | Outcome::NoAnswer(_) => {
                trial.failures += 1;
                let asked = retry_after.unwrap_or_default().min(options.retry_after_max);
                trial.not_before = elapsed + millis(asked.max(options.retry_delay_min));
                trial.due_at = elapsed + millis(asked.max(options.retry_delay_min).max(options.retry_delay_max));
                if trial.failures == attempts_max {
                    trial.burial = Some(offset);
                } else {
                    course.pause = course.pause.max(elapsed + millis(asked));
                }
            }
        }
    }

    fn note_host(&mut self, flight: &Flight, outcome: Outcome, elapsed: u64) {
        let shortest = millis(self.options.breaker_delay_base.min(self.options.breaker_delay_max)) / 2;
        let Some(line) = self.lines.get_mut(&flight.host) else { return };
        line.in_flight -= 1;
        match outcome {
            Outcome::Answered(_) | Outcome::NoAnswer(_) => {
                (line.failures, line.shut_until) = (0, 0);
            }
            // What left before the breaker opened says nothing new.
            Outcome::NotSent(_)
                if line.failures < self.options.breaker_failures_max || flight.posted_at > line.tripped_at =>
            {
                line.failures += 1;
                if line.failures >= self.options.breaker_failures_max {
                    line.tripped_at = elapsed;
                    line.shut_until = elapsed + shortest;
                }
            }
            Outcome::NotSent(_) | Outcome::NotTried | Outcome::Missing => {}
        }
    }

    pub(crate) fn advanced(&mut self, webhook: u64, offset: u64) -> Verdict {
        let Some(course) = self.courses.get_mut(&webhook) else {
            return Err(format!("the cursor of {webhook} moves, which is not subscribed"));
        };
        ensure(course.settled.take() == Some((offset, Errand::InOrder)), || {
            format!("the cursor of {webhook} moves to {offset}, which is not done with")
        })?;
        ensure(offset > course.cursor, || format!("the cursor of {webhook} goes back to {offset}"))?;
        course.cursor = offset;
        Ok(())
    }

    pub(crate) fn replayed(&mut self, webhook: u64, offset: u64) -> Verdict {
        let Some(course) = self.courses.get_mut(&webhook) else {
            return Err(format!("a replay of {webhook}, which is not subscribed"));
        };
        course.replays.remove(&offset);
        ensure(course.settled.take() == Some((offset, Errand::Replay)), || {
            format!("the replay of {offset} to {webhook} did not arrive")
        })
    }

    pub(crate) fn burial_asked(&mut self, webhook: u64, offset: u64, errand: Errand) -> Verdict {
        let is_over = |course: &mut Course| course.trial(errand).burial == Some(offset);
        ensure(self.courses.get_mut(&webhook).is_some_and(is_over), || {
            format!("{webhook} gives {offset} up, which has attempts left")
        })
    }

    /// A record of giving up is durable.
    pub(crate) fn recorded(&mut self, webhook: u64, offset: u64) {
        if let Some(record) = self.records.get_mut(&webhook) {
            record.done.insert(offset);
        }
    }

    /// The machine is told that a record of giving up is durable.
    pub(crate) fn buried(&mut self, webhook: u64, offset: u64, errand: Errand) {
        let Some(course) = self.courses.get_mut(&webhook) else { return };
        if course.trial(errand).burial == Some(offset) {
            *course.trial(errand) = Trial::default();
            match errand {
                Errand::InOrder => course.settled = Some((offset, errand)),
                Errand::Replay => drop(course.replays.remove(&offset)),
            }
        }
    }

    /// The machine ends a subscription because the lease is over.
    pub(crate) fn lease_ended(&mut self, webhook: u64, unix: u64) -> Verdict {
        let Some(course) = self.courses.get(&webhook) else {
            return Err(format!("{webhook} ends, which is not subscribed"));
        };
        ensure(course.lease_end <= unix / 1000, || format!("the lease of {webhook} ends before its time"))
    }

    /// The machine ends a subscription because the receiver is gone.
    pub(crate) fn gone(&self, webhook: u64) -> Verdict {
        ensure(self.courses.get(&webhook).is_some_and(|course| course.is_gone), || {
            format!("{webhook} ends, and its receiver did not say so")
        })
    }

    /// After the machine was told the time: nobody outlives the lease.
    pub(crate) fn ticked(&self, unix: u64) -> Verdict {
        for (webhook, course) in &self.courses {
            ensure(course.lease_end > unix / 1000, || format!("{webhook} outlives its lease"))?;
        }
        Ok(())
    }

    /// At rest: whoever is still subscribed has everything, and every cursor tells the truth.
    pub(crate) fn rested(&self, disk: &Disk) -> Verdict {
        for (webhook, course) in &self.courses {
            let tail = disk.tail(course.topic);
            let reached = disk.after(course.topic, course.cursor).is_empty();
            ensure(reached, || format!("{webhook} rests at {}, the log ends at {tail}", course.cursor))?;
        }
        for (webhook, row) in &disk.rows {
            let known = self.courses.contains_key(webhook);
            ensure(known, || format!("{webhook} is durable and forgotten"))?;
            let Some(record) = self.records.get(webhook) else { continue };
            for &offset in disk.after(record.topic, record.start) {
                ensure(offset > row.cursor || record.done.contains(&offset), || {
                    format!("{webhook} lost {offset}: neither accepted nor recorded as dead")
                })?;
            }
        }
        Ok(())
    }
}
