//! The promises, watched at every step. Nothing here knows how the machine keeps them: only what was said, what was
//! answered, and what is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stentor_delivery::{Attempt, AttemptKey, Errand, Options, Outcome};

use crate::disk::Disk;

/// A broken promise.
pub(crate) type Verdict = Result<(), String>;

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
    /// Failures of the publication at the head.
    failures: u32,
    /// No attempt before this time.
    not_before: u64,
    /// What may now be said to be done, by success or record.
    settled: Option<(u64, Errand)>,
    /// What is asked to be recorded as dead.
    burial: Option<(u64, Errand)>,
    /// The last that the receiver took in this life.
    received: u64,
    /// The receiver answered 410.
    is_gone: bool,
    replays: BTreeSet<u64>,
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
                failures: 0,
                not_before: 0,
                settled: None,
                burial: None,
                received: 0,
                is_gone: false,
                replays: BTreeSet::new(),
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

    pub(crate) fn replay_asked(&mut self, webhook: u64, offset: u64) {
        if let Some(course) = self.courses.get_mut(&webhook) {
            course.replays.insert(offset);
        }
    }

    pub(crate) fn posted(&mut self, attempt: &Attempt, disk: &Disk, elapsed: u64, unix: u64) -> Verdict {
        let (webhook, offset) = (attempt.webhook.0, attempt.offset.get());
        let Some(course) = self.courses.get_mut(&webhook) else {
            return Err(format!("a request for {webhook}, which is not subscribed"));
        };
        ensure(course.flight.is_none(), || format!("two requests of {webhook} on their way"))?;
        ensure(course.lease_end > unix / 1000, || format!("a request for {webhook} after its lease"))?;
        ensure(elapsed >= course.not_before, || {
            format!("{webhook} tried at {elapsed}, not before {} was due", course.not_before)
        })?;
        ensure(course.burial.is_none(), || format!("{webhook} goes on before its record is written"))?;
        ensure(course.settled.is_none(), || format!("{webhook} goes on before its cursor"))?;
        match attempt.errand {
            Errand::InOrder => {
                let next = disk.after(course.topic, course.cursor).first().copied();
                ensure(next == Some(offset), || {
                    format!("{webhook} at {} gets {offset}, the next is {next:?}", course.cursor)
                })?;
            }
            Errand::Replay => {
                ensure(course.replays.contains(&offset), || format!("a replay of {offset} that nobody asked for"))?;
            }
        }
        ensure(attempt.attempt == course.failures + 1, || {
            format!("{webhook} {offset}: attempt {} after {} failures", attempt.attempt, course.failures)
        })?;
        ensure(course.attempts_max == 0 || attempt.attempt <= course.attempts_max, || {
            format!("{webhook} {offset}: attempt {} of {}", attempt.attempt, course.attempts_max)
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

    /// Whether this attempt is the one that the subscription waits for.
    pub(crate) fn awaits(&self, webhook: u64, key: AttemptKey) -> bool {
        self.courses.get(&webhook).and_then(|course| course.flight).is_some_and(|(flying, ..)| flying == key)
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
        match outcome {
            Outcome::Answered(200..=299) => {
                course.settled = Some((offset, errand));
                course.failures = 0;
                course.not_before = 0;
            }
            Outcome::Answered(410) => course.is_gone = true,
            Outcome::NotTried => course.not_before = elapsed + millis(options.store_retry_delay),
            Outcome::Missing => course.burial = Some((offset, errand)),
            Outcome::Answered(_) | Outcome::NotSent(_) | Outcome::NoAnswer(_) => {
                course.failures += 1;
                if course.failures == course.attempts_max {
                    course.burial = Some((offset, errand));
                }
                let asked = retry_after.unwrap_or_default().min(options.retry_after_max);
                course.not_before = elapsed + millis(asked.max(options.retry_delay_min));
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

    pub(crate) fn burial_asked(&mut self, webhook: u64, offset: u64) -> Verdict {
        let burial = self.courses.get(&webhook).and_then(|course| course.burial);
        ensure(burial.is_some_and(|(place, _)| place == offset), || {
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
    pub(crate) fn buried(&mut self, webhook: u64, offset: u64) {
        if let Some(course) = self.courses.get_mut(&webhook)
            && let Some((_, errand)) = course.burial.take_if(|(place, _)| *place == offset)
        {
            (course.failures, course.not_before) = (0, 0);
            if errand == Errand::InOrder {
                course.settled = Some((offset, errand));
            } else {
                course.replays.remove(&offset);
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
