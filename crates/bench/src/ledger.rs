//! Who got what: losses, swaps and duplicates for each subscriber and each source.
//!
//! A source has one request under way at a time, so its numbers must reach each subscriber in order and without a hole.
//! Between sources there is no order to hold.

use std::collections::{BTreeSet, HashMap};

/// How strictly numbers are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// Every subscriber gets everything: a hole is a loss.
    #[default]
    Dense,
    /// Subscribers get a part each: numbers must rise, and the sum is for the caller to compare.
    Rising,
}

/// What went wrong, summed over all subscribers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Never came.
    pub lost: u64,
    /// Came after a later one.
    pub swapped: u64,
    /// Came twice.
    pub duplicated: u64,
    /// Sessions that the server ended.
    pub closed: u64,
}

impl Tally {
    /// Nothing went wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }

    /// Adds another one.
    pub const fn add(&mut self, other: &Self) {
        self.lost += other.lost;
        self.swapped += other.swapped;
        self.duplicated += other.duplicated;
        self.closed += other.closed;
    }
}

/// Holes that are remembered one by one; beyond, something is broken so badly that it does not matter what.
const HOLES_MAX: u32 = 100_000;

/// The last number of each source at each subscriber, and the holes before it.
#[derive(Debug)]
pub(crate) struct Ledger {
    sources: usize,
    check: Check,
    last: Vec<u32>,
    holes: HashMap<usize, BTreeSet<u32>>,
    tally: Tally,
}

impl Ledger {
    pub(crate) fn new(sessions: usize, sources: usize, check: Check) -> Self {
        let last = vec![0; sessions * sources];
        Self { sources, check, last, holes: HashMap::new(), tally: Tally::default() }
    }

    /// Notes an arrival.
    pub(crate) fn arrived(&mut self, session: usize, source: u8, sequence: u32) {
        let slot = session * self.sources + usize::from(source);
        let Some(last) = self.last.get_mut(slot) else { return };
        if sequence == *last + 1 || (self.check == Check::Rising && sequence > *last) {
            *last = sequence;
            return;
        }
        let last = std::mem::replace(last, sequence.max(*last));
        self.out_of_order(slot, last, sequence);
    }

    #[cold]
    fn out_of_order(&mut self, slot: usize, last: u32, sequence: u32) {
        let holes = self.holes.entry(slot).or_default();
        if sequence > last {
            let first = sequence.saturating_sub(HOLES_MAX).max(last + 1);
            self.tally.lost += u64::from(first - last - 1);
            holes.extend(first..sequence);
        } else if self.check == Check::Rising || holes.remove(&sequence) {
            self.tally.swapped += 1;
        } else {
            self.tally.duplicated += 1;
        }
    }

    /// The sum, given the last number of each source.
    pub(crate) fn tally(&self, sent: &[u32]) -> Tally {
        let mut tally = self.tally;
        if self.check == Check::Rising {
            return tally;
        }
        tally.lost += self.holes.values().map(|holes| holes.len() as u64).sum::<u64>();
        for session in self.last.chunks(self.sources) {
            let missing = session.iter().zip(sent).map(|(last, sent)| u64::from(sent.saturating_sub(*last)));
            tally.lost += missing.sum::<u64>();
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(check: Check, arrivals: &[u32], sent: u32, expect: (u64, u64, u64)) {
        let mut ledger = Ledger::new(2, 2, check);
        for &sequence in arrivals {
            ledger.arrived(1, 1, sequence);
            ledger.arrived(0, 0, sequence);
        }
        // Source 1 sent nothing to subscriber 0 here, nor source 0 to subscriber 1.
        let tally = ledger.tally(&[0, 0]);
        let late = 2 * u64::from(sent - arrivals.iter().copied().max().unwrap_or(0));
        assert_eq!((tally.lost + late, tally.swapped, tally.duplicated), expect, "{arrivals:?}");
    }

    #[test]
    fn faults_are_told_apart() {
        check(Check::Dense, &[1, 2, 3], 3, (0, 0, 0));
        check(Check::Dense, &[1, 3], 3, (2, 0, 0));
        check(Check::Dense, &[1, 3, 2], 3, (0, 2, 0));
        check(Check::Dense, &[1, 3, 2, 2], 3, (0, 2, 2));
        check(Check::Dense, &[1, 1, 2], 2, (0, 0, 2));
        check(Check::Dense, &[200_001], 200_001, (400_000, 0, 0));
        check(Check::Rising, &[2, 5, 9], 9, (0, 0, 0));
        check(Check::Rising, &[2, 9, 5], 9, (0, 2, 0));
    }

    #[test]
    fn what_never_came_is_lost() {
        let mut ledger = Ledger::new(3, 1, Check::Dense);
        ledger.arrived(0, 0, 1);
        ledger.arrived(1, 0, 1);
        assert_eq!(ledger.tally(&[2]).lost, 1 + 1 + 2);
        // A source that nobody announced is not ours.
        ledger.arrived(2, 9, 1);
    }
}
