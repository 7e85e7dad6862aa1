//! The benchmark of hubs: what a delivery costs, what publishers wait for, and whom faulty subscribers hurt.
//!
//! [`cell`] takes the figures, [`node`] starts hubs, [`receiver`] is everybody's endpoint, and [`table`] shows what came out.
//! As everywhere in this crate, hubs are only known from outside: what is about the store alone is measured by an example
//! program of the store, which is told to print a number.

pub mod cell;
pub mod node;
pub mod receiver;
pub mod table;

pub use self::cell::{HubCell, HubContext};
pub use self::node::{Maker, Programs, SECRET, Signing};
pub use self::receiver::address;
use crate::rounds::{Contender, Measured, Results, Run, take_turns};

/// One run of one cell.
pub type HubRun = Run<HubCell, Maker>;

/// All runs of a benchmark of hubs.
pub type HubResults = Results<HubCell, Maker>;

impl Measured for HubCell {
    const KEY: &'static str = "hub";

    fn label(self) -> String {
        self.name()
    }
}

impl Contender for Maker {
    const EVERYBODY: &'static [Self] = &Self::ALL;

    fn label(self) -> &'static str {
        self.name()
    }
}

/// Runs all cells, every hub in turn; `tell` hears of each run as it ends.
pub fn run(
    context: &HubContext,
    cells: &[HubCell],
    makers: &[Maker],
    rounds: usize,
    tell: &mut dyn FnMut(&HubRun),
) -> HubResults {
    take_turns(cells, makers, rounds, HubCell::suits, |cell, maker| cell.run(context, maker), tell)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounds::tests::results;

    #[test]
    fn losses_are_faults() {
        let cell = HubCell::Deliver(1, Signing::Plain);
        let results = results(&[(cell, Maker::Sqlite, "lost", &[0.0, 2.0])]);
        assert_eq!(results.faults(), ["deliver1 sqlite round 2: 2 lost"]);
    }
}
