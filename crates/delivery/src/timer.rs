//! What is to happen at a time. Entries are never searched: one that lost its meaning is recognised when it comes up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What a time was noted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// The retry of this subscription.
    Retry(u32),
    /// The next attempt of a replay to this subscription.
    Replay(u32),
    /// The probe of this host.
    Probe(u32),
}

/// Times in milliseconds of the clock that never jumps.
#[derive(Debug, Default)]
pub(crate) struct Alarms(BinaryHeap<Reverse<(u64, Alarm)>>);

/// Entries below which stale ones are not worth a sweep.
const SWEEP_MIN: usize = 256;

impl Alarms {
    pub(crate) fn set(&mut self, at: u64, alarm: Alarm) {
        self.0.push(Reverse((at, alarm)));
    }

    pub(crate) fn first(&self) -> Option<u64> {
        self.0.peek().map(|&Reverse((at, _))| at)
    }

    pub(crate) fn due(&mut self, now: u64) -> Option<(u64, Alarm)> {
        if self.first()? > now {
            return None;
        }
        self.0.pop().map(|Reverse(entry)| entry)
    }

    /// Whether more entries are stale than not, given how many can be alive. Subscriptions that come and go in backoff
    /// would otherwise leave entries for as long as the longest wait.
    pub(crate) fn is_stale(&self, alive: usize) -> bool {
        self.0.len() > SWEEP_MIN && self.0.len() > 2 * alive
    }

    pub(crate) fn sweep(&mut self, mut is_alive: impl FnMut(u64, Alarm) -> bool) {
        self.0.retain(|&Reverse((at, alarm))| is_alive(at, alarm));
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Reverse<(u64, Alarm)>>()
    }
}

/// The ends of leases: eight octets for each subscription.
///
/// A renewal writes nothing here: the old entry comes up first and is put where the lease ends by then.
#[derive(Debug, Default)]
pub(crate) struct Leases(BinaryHeap<Reverse<(u32, u32)>>);

impl Leases {
    pub(crate) fn set(&mut self, end: u32, webhook: u32) {
        self.0.push(Reverse((end, webhook)));
    }

    /// In seconds since 1970.
    pub(crate) fn first(&self) -> Option<u32> {
        self.0.peek().map(|&Reverse((end, _))| end)
    }

    pub(crate) fn due(&mut self, unix_seconds: u64) -> Option<(u32, u32)> {
        if u64::from(self.first()?) > unix_seconds {
            return None;
        }
        self.0.pop().map(|Reverse(entry)| entry)
    }

    pub(crate) fn is_stale(&self, alive: usize) -> bool {
        self.0.len() > SWEEP_MIN && self.0.len() > 2 * alive
    }

    pub(crate) fn sweep(&mut self, mut is_alive: impl FnMut(u32, u32) -> bool) {
        self.0.retain(|&Reverse((end, webhook))| is_alive(end, webhook));
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Reverse<(u32, u32)>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_come_in_order_and_not_early() {
        let mut alarms = Alarms::default();
        for at in [30, 10, 20] {
            alarms.set(at, Alarm::Retry(1));
        }
        assert_eq!(alarms.due(9), None);
        assert_eq!(alarms.due(25), Some((10, Alarm::Retry(1))));
        assert_eq!(alarms.due(25), Some((20, Alarm::Retry(1))));
        assert_eq!((alarms.due(25), alarms.first()), (None, Some(30)));
        alarms.sweep(|at, _| at != 30);
        assert_eq!(alarms.first(), None);
    }
}
