//! When the patience with a client is over, as a machine: it is shown what a connection has done since the last look, and
//! says whether to wait on or why to end it.
//!
//! Looking now and then, instead of arming a timer for each step, keeps deadlines off the path of a request: serving one
//! costs a few counters. A deadline may therefore be noticed up to [`Limits::step`] late. This knows no sockets and no
//! clock.

use std::time::Duration;

/// Time in which a body must get going before its rate is judged, so that a congested start is no crime.
const RATE_GRACE: Duration = Duration::from_secs(5);

/// How long a connection that is being closed may go on sending what nobody wants (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(2);

/// The most patience with those who say nothing while the transport is nearly full.
const CROWDED: Duration = Duration::from_secs(1);

/// How long each step of a connection may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first octet of a head, or from the beginning of the connection, to the head's end. A TLS handshake has
    /// the same time.
    pub head: Duration,
    /// Silence between requests.
    pub idle: Duration,
    /// A whole body.
    pub body: Duration,
    /// Octets of a body for each second, on average; 0 for any.
    pub body_rate_min: u64,
    /// Time in which the client must take at least something of an answer.
    pub write: Duration,
}

impl Limits {
    /// The longest time between two looks: short enough for the shortest limit, and seldom enough for ten thousand
    /// connections.
    pub(super) fn step(&self) -> Duration {
        let shortest = self.head.min(self.idle).min(self.body).min(self.write);
        (shortest / 8).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The next request's head is awaited.
    Head,
    /// A body is awaited.
    Body,
    /// A service works; its own deadlines hold.
    Answer,
    /// The answer is out, and what the client still sends is thrown away.
    Linger,
}

/// Whether the client keeps the answers from being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlet {
    /// It does not.
    Free,
    /// The last write found no room.
    Blocked,
}

/// How full the transport is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crowd {
    /// There is room.
    Thin,
    /// Three quarters of the places are taken.
    Dense,
}

/// What a look at the connection shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) phase: Phase,
    /// Heads that were complete.
    pub(super) requests: u32,
    /// Octets read in this phase.
    pub(super) read: u64,
    /// Octets written at all.
    pub(super) written: u64,
    pub(super) outlet: Outlet,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing was ever said.
    Silent,
    /// No further request came.
    Idle,
    /// A head is not complete.
    Head,
    /// A body is not complete, or comes too slowly.
    Body,
    /// The client does not read.
    Write,
    /// It goes on sending.
    Linger,
}

/// What a look leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Look again after this time.
    Wait(Duration),
    /// The patience is over.
    Over(Fault),
}

/// The patience with one connection.
#[derive(Debug)]
pub(super) struct Patience {
    limits: Limits,
    seen: Sample,
    /// When the phase began, or the last octet of an answer went out.
    since: Duration,
    /// When the first octet of a head was seen.
    head_since: Option<Duration>,
    /// When writing was first seen to be stuck.
    stuck_since: Option<Duration>,
}

impl Patience {
    /// A connection that begins now.
    pub(super) const fn new(limits: Limits, now: Duration) -> Self {
        let seen = Sample { phase: Phase::Head, requests: 0, read: 0, written: 0, outlet: Outlet::Free };
        Self { limits, seen, since: now, head_since: None, stuck_since: None }
    }

    /// Judges what the connection has done since the last look.
    pub(super) fn look(&mut self, sample: Sample, crowd: Crowd, now: Duration) -> Verdict {
        let progress = sample.written != self.seen.written;
        if progress || (sample.phase, sample.requests) != (self.seen.phase, self.seen.requests) {
            // While an answer goes out, nothing is asked of the client but that it reads.
            (self.since, self.head_since) = (now, None);
        }
        self.seen = sample;
        if sample.outlet == Outlet::Free || progress {
            self.stuck_since = None;
        }
        if sample.outlet == Outlet::Blocked {
            let since = *self.stuck_since.get_or_insert(now);
            return self.until(since, self.limits.write, Fault::Write, now);
        }
        match sample.phase {
            Phase::Head => self.head(sample, crowd, now),
            Phase::Body => self.body(sample, now),
            Phase::Answer => Verdict::Wait(self.limits.step()),
            Phase::Linger => self.until(self.since, LINGER, Fault::Linger, now),
        }
    }

    fn head(&mut self, sample: Sample, crowd: Crowd, now: Duration) -> Verdict {
        let hurried = |limit: Duration| if crowd == Crowd::Dense { limit.min(CROWDED) } else { limit };
        match (sample.requests, sample.read) {
            // A first head has its time from the beginning of the connection.
            (0, 0) => self.until(self.since, hurried(self.limits.head), Fault::Silent, now),
            (0, _) => self.until(self.since, hurried(self.limits.head), Fault::Head, now),
            (_, 0) => self.until(self.since, hurried(self.limits.idle), Fault::Idle, now),
            (..) => {
                let since = *self.head_since.get_or_insert(now);
                self.until(since, hurried(self.limits.head), Fault::Head, now)
            }
        }
    }

    fn body(&self, sample: Sample, now: Duration) -> Verdict {
        let elapsed = now.saturating_sub(self.since);
        let due = u128::from(self.limits.body_rate_min) * elapsed.as_millis() / 1000;
        if elapsed >= RATE_GRACE && u128::from(sample.read) < due {
            return Verdict::Over(Fault::Body);
        }
        self.until(self.since, self.limits.body, Fault::Body, now)
    }

    fn until(&self, since: Duration, limit: Duration, fault: Fault, now: Duration) -> Verdict {
        match (since + limit).checked_sub(now).filter(|left| !left.is_zero()) {
            None => Verdict::Over(fault),
            Some(left) => Verdict::Wait(left.min(self.limits.step())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(75),
        body: Duration::from_secs(30),
        body_rate_min: 100,
        write: Duration::from_secs(40),
    };

    const fn sample(phase: Phase, requests: u32, read: u64, written: u64) -> Sample {
        Sample { phase, requests, read, written, outlet: Outlet::Free }
    }

    const fn blocked(phase: Phase, requests: u32, written: u64) -> Sample {
        Sample { outlet: Outlet::Blocked, ..sample(phase, requests, 0, written) }
    }

    /// Shows one connection at these seconds; only the last look may end it, and must if a fault is expected.
    #[track_caller]
    fn check(crowd: Crowd, looks: &[(u64, Sample)], expected: Option<Fault>) {
        let mut patience = Patience::new(LIMITS, Duration::ZERO);
        let last = looks.len() - 1;
        for (place, (second, sample)) in looks.iter().enumerate() {
            let verdict = patience.look(*sample, crowd, Duration::from_secs(*second));
            match (verdict, expected) {
                (Verdict::Over(fault), Some(expected)) if place == last => assert_eq!(fault, expected),
                (Verdict::Wait(step), None) => assert!(!step.is_zero() && step <= LIMITS.step()),
                (Verdict::Wait(_), Some(_)) if place < last => {}
                _ => panic!("{looks:?} at {second}: {verdict:?}"),
            }
        }
    }

    #[test]
    fn whoever_says_nothing_or_trickles_a_head_has_the_time_of_a_head() {
        use Phase::Head;
        let (thin, dense) = (Crowd::Thin, Crowd::Dense);
        check(thin, &[(9, sample(Head, 0, 0, 0))], None);
        check(thin, &[(9, sample(Head, 0, 0, 0)), (10, sample(Head, 0, 0, 0))], Some(Fault::Silent));
        check(thin, &[(5, sample(Head, 0, 5, 0)), (10, sample(Head, 0, 10, 0))], Some(Fault::Head));
        check(dense, &[(0, sample(Head, 0, 0, 0)), (1, sample(Head, 0, 0, 0))], Some(Fault::Silent));
        check(dense, &[(0, sample(Head, 0, 0, 0)), (1, sample(Head, 0, 1, 0))], Some(Fault::Head));
        // A kept connection has it from the octet with which its next head begins.
        let kept = [(1, sample(Head, 1, 0, 9)), (61, sample(Head, 1, 1, 9)), (70, sample(Head, 1, 9, 9))];
        check(thin, &kept, None);
        check(thin, &[kept[0], kept[1], kept[2], (71, sample(Head, 1, 10, 9))], Some(Fault::Head));
    }

    #[test]
    fn between_requests_one_may_be_silent_for_longer() {
        use Phase::Head;
        let looks = [(1, sample(Head, 1, 0, 9)), (75, sample(Head, 1, 0, 9)), (76, sample(Head, 1, 0, 9))];
        check(Crowd::Thin, &looks[..2], None);
        check(Crowd::Thin, &looks, Some(Fault::Idle));
        check(Crowd::Dense, &[looks[0], (2, sample(Head, 1, 0, 9))], Some(Fault::Idle));
        // Another request starts it anew.
        check(Crowd::Thin, &[looks[0], (75, sample(Head, 2, 0, 9)), (149, sample(Head, 2, 0, 9))], None);
    }

    #[test]
    fn bodies_have_a_deadline_and_a_rate() {
        use Phase::Body;
        let steady = |second| (second, sample(Body, 1, second * 100, 0));
        check(Crowd::Dense, &[steady(1), steady(6), steady(30)], None);
        check(Crowd::Thin, &[steady(1), steady(6), steady(31)], Some(Fault::Body));
        check(Crowd::Thin, &[steady(0), (4, sample(Body, 1, 4, 0)), (6, sample(Body, 1, 6, 0))], Some(Fault::Body));
        // Each body has its own time.
        check(Crowd::Thin, &[steady(1), (20, sample(Body, 2, 100, 0)), (49, sample(Body, 2, 9000, 0))], None);
    }

    #[test]
    fn whoever_does_not_read_is_given_up_and_whoever_reads_slowly_is_not() {
        use Phase::{Answer, Head};
        check(Crowd::Dense, &[(1, blocked(Head, 1, 9)), (41, blocked(Head, 1, 9))], Some(Fault::Write));
        check(Crowd::Thin, &[(1, blocked(Answer, 1, 9)), (41, blocked(Answer, 2, 9))], Some(Fault::Write));
        check(Crowd::Thin, &[(1, blocked(Head, 1, 9)), (40, blocked(Head, 1, 10)), (79, blocked(Head, 1, 10))], None);
        // Whatever the client sends during a long answer does not count as a slow head.
        let download = |second| (second, sample(Head, 1, 5, second));
        check(Crowd::Dense, &[download(1), download(2), download(50), download(100)], None);
    }

    #[test]
    fn services_take_their_time_and_farewells_do_not() {
        check(Crowd::Dense, &[(1, sample(Phase::Answer, 1, 0, 0)), (3600, sample(Phase::Answer, 1, 0, 0))], None);
        let linger = |second| (second, sample(Phase::Linger, 1, second * 1000, 0));
        check(Crowd::Thin, &[linger(1), linger(2), linger(3)], Some(Fault::Linger));
    }
}
