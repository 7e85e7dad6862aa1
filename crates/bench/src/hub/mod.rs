//! The benchmark of hubs: what a delivery costs, what publishers wait for, and whom faulty subscribers hurt.
//!
//! [`cell`] takes the figures, [`node`] starts hubs, [`receiver`] is everybody's endpoint, and [`table`] shows what came out.
//! As everywhere in this crate, hubs are only known from outside: what is about the store alone is measured by an example
//! program of the store, which is told to print a number.

pub mod cell;
pub mod node;
pub mod receiver;
pub mod table;

use serde_json::{Value, json};

pub use self::cell::{HubCell, HubContext};
pub use self::node::{Maker, Programs, SECRET, Signing};
pub use self::receiver::address;
use crate::cell::Figures;
use crate::rounds::{Spread, rounded};

/// One run of one cell.
#[derive(Clone, Debug)]
pub struct HubRun {
    /// What was measured.
    pub cell: HubCell,
    /// Whose figure it is.
    pub maker: Maker,
    /// Counted from 1.
    pub round: usize,
    /// The figures, or why there are none.
    pub result: Result<Figures, String>,
}

/// All runs of a benchmark.
#[derive(Clone, Debug, Default)]
pub struct HubResults {
    /// In the order in which they were taken.
    pub runs: Vec<HubRun>,
}

/// Runs all cells, every hub in turn; `tell` hears of each run as it ends.
pub fn run(
    context: &HubContext,
    cells: &[HubCell],
    makers: &[Maker],
    rounds: usize,
    tell: &mut dyn FnMut(&HubRun),
) -> HubResults {
    let mut results = HubResults::default();
    for &cell in cells {
        for round in 1..=rounds {
            for &maker in makers.iter().filter(|&&maker| cell.suits(maker)) {
                let result = cell.run(context, maker).map_err(|fault| fault.to_string());
                let run = HubRun { cell, maker, round, result };
                tell(&run);
                results.runs.push(run);
            }
        }
    }
    results
}

impl HubResults {
    /// The cells that were measured, in order.
    #[must_use]
    pub fn cells(&self) -> Vec<HubCell> {
        let mut cells = Vec::new();
        for run in &self.runs {
            if !cells.contains(&run.cell) {
                cells.push(run.cell);
            }
        }
        cells
    }

    /// The hubs that have a figure in this cell, in order.
    #[must_use]
    pub fn makers(&self, cell: HubCell) -> Vec<Maker> {
        let has = |&maker: &Maker| self.of(cell, maker).any(|run| run.result.is_ok());
        Maker::ALL.into_iter().filter(has).collect()
    }

    /// The runs of one hub in one cell.
    pub fn of(&self, cell: HubCell, maker: Maker) -> impl Iterator<Item = &HubRun> {
        self.runs.iter().filter(move |run| run.cell == cell && run.maker == maker)
    }

    /// One figure over all rounds.
    #[must_use]
    pub fn spread(&self, cell: HubCell, maker: Maker, figure: &str) -> Option<Spread> {
        let figures = self.of(cell, maker).filter_map(|run| run.result.as_ref().ok());
        Spread::of(figures.filter_map(|figures| figures.get(figure).copied()).collect())
    }

    /// How the median compares with that of another one.
    #[must_use]
    pub fn ratio(&self, cell: HubCell, maker: Maker, other: Maker, figure: &str) -> Option<f64> {
        let (mine, others) = (self.spread(cell, maker, figure)?, self.spread(cell, other, figure)?);
        (others.median > 0.0).then(|| mine.median / others.median)
    }

    /// Everything that went wrong, one sentence each.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for run in &self.runs {
            let place = format!("{} {} round {}", run.cell.name(), run.maker.name(), run.round);
            match &run.result {
                Err(words) => faults.push(format!("{place}: {words}")),
                Ok(figures) => {
                    let wrong = ["lost", "swapped", "duplicated", "closed"];
                    let count = |name: &str| figures.get(name).copied().unwrap_or_default();
                    faults.extend(
                        wrong
                            .iter()
                            .filter(|name| count(name) > 0.0)
                            .map(|name| format!("{place}: {} {name}", count(name))),
                    );
                }
            }
        }
        faults
    }

    /// All raw figures.
    #[must_use]
    pub fn json(&self) -> Value {
        let runs = self.runs.iter().map(|run| {
            let mut value = json!({"hub": run.cell.name(), "system": run.maker.name(), "round": run.round});
            match &run.result {
                Ok(figures) => value["figures"] = json!(rounded(figures)),
                Err(words) => value["fault"] = json!(words),
            }
            value
        });
        runs.collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Results with one figure in each of some rounds.
    pub(crate) fn results(rows: &[(HubCell, Maker, &'static str, &[f64])]) -> HubResults {
        let mut results = HubResults::default();
        for &(cell, maker, figure, values) in rows {
            for (at, &value) in values.iter().enumerate() {
                results.runs.push(HubRun { cell, maker, round: at + 1, result: Ok(Figures::from([(figure, value)])) });
            }
        }
        results
    }

    #[test]
    fn losses_are_faults() {
        let cell = HubCell::Deliver(1, Signing::Plain);
        let results = results(&[(cell, Maker::Sqlite, "lost", &[0.0, 2.0])]);
        assert_eq!(results.faults(), ["deliver1 sqlite round 2: 2 lost"]);
    }
}
