//! Rounds: every system in turn, again and again, so that a machine that slows down slows all of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cell::{Cell, Context, Figures};
use crate::fault::Fault;
use crate::machine::Theft;
use crate::system::System;

/// The part of the processors' time beyond which a measurement says more about the host's other guests.
const THEFT_MAX: f64 = 0.01;

/// How often a turn is taken again that the machine's host has disturbed.
const AGAIN_MAX: u32 = 4;

/// Figures that have to be nothing.
const FAULTS: [&str; 4] = ["lost", "swapped", "duplicated", "closed"];

/// What benchmarks measure, as results name it.
pub trait Measured: Copy + PartialEq {
    /// What a cell is called in a file of results.
    const KEY: &'static str;

    /// The name in results.
    fn label(self) -> String;
}

/// Who is measured, as results name them.
pub trait Contender: Copy + PartialEq + 'static {
    /// All of them, in the order in which they are shown.
    const EVERYBODY: &'static [Self];

    /// The name in results.
    fn label(self) -> &'static str;

    /// Whether what goes wrong is our fault.
    fn is_ours(self) -> bool {
        true
    }
}

/// One run of one cell.
#[derive(Clone, Debug)]
pub struct Run<C = Cell, S = System> {
    /// What was measured.
    pub cell: C,
    /// Whose figure it is.
    pub system: S,
    /// Counted from 1.
    pub round: usize,
    /// The figures, or why there are none.
    pub result: Result<Figures, String>,
}

/// All runs of a benchmark.
#[derive(Clone, Debug)]
pub struct Results<C = Cell, S = System> {
    /// In the order in which they were taken.
    pub runs: Vec<Run<C, S>>,
}

impl<C, S> Default for Results<C, S> {
    fn default() -> Self {
        Self { runs: Vec::new() }
    }
}

impl Measured for Cell {
    const KEY: &'static str = "cell";

    fn label(self) -> String {
        self.name()
    }
}

impl Contender for System {
    const EVERYBODY: &'static [Self] = &Self::ALL;

    fn label(self) -> &'static str {
        self.name()
    }

    fn is_ours(self) -> bool {
        Self::is_ours(self)
    }
}

/// The middle and the ends of what the rounds gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Half of the rounds were not above it.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// Runs all cells; `tell` hears of each run as it ends.
pub fn run(
    context: &Context,
    cells: &[Cell],
    systems: &[System],
    rounds: usize,
    tell: &mut dyn FnMut(&Run),
) -> Results {
    take_turns(cells, systems, rounds, Cell::suits, |cell, system| cell.run(context, system), tell)
}

/// Everybody whom a cell suits in turn, cell by cell and round by round.
pub(crate) fn take_turns<C: Measured, S: Contender>(
    cells: &[C],
    systems: &[S],
    rounds: usize,
    suits: impl Fn(C, S) -> bool,
    turn: impl Fn(C, S) -> Result<Figures, Fault>,
    tell: &mut dyn FnMut(&Run<C, S>),
) -> Results<C, S> {
    let mut results = Results::default();
    for &cell in cells {
        for round in 1..=rounds {
            for &system in systems {
                if !suits(cell, system) {
                    continue;
                }
                let result = undisturbed(&|| turn(cell, system));
                let run = Run { cell, system, round, result: result.map_err(|fault| fault.to_string()) };
                tell(&run);
                results.runs.push(run);
            }
        }
    }
    results
}

/// A turn of which the machine's host took no noticeable part, or the last of some. What went wrong is never thrown away.
pub(crate) fn undisturbed(turn: &dyn Fn() -> Result<Figures, Fault>) -> Result<Figures, Fault> {
    let mut disturbed = 0;
    loop {
        let theft = Theft::begin();
        let mut figures = turn()?;
        figures.insert("disturbed_before", f64::from(disturbed));
        let is_well = FAULTS.iter().all(|name| figures.get(name).is_none_or(|&count| count <= 0.0));
        if !is_well || theft.share() <= THEFT_MAX || disturbed == AGAIN_MAX {
            return Ok(figures);
        }
        disturbed += 1;
    }
}

impl<C: Measured, S: Contender> Results<C, S> {
    /// The cells that were measured, in order.
    #[must_use]
    pub fn cells(&self) -> Vec<C> {
        let mut cells = Vec::new();
        for run in &self.runs {
            if !cells.contains(&run.cell) {
                cells.push(run.cell);
            }
        }
        cells
    }

    /// The systems that have a figure in this cell, in order.
    #[must_use]
    pub fn systems(&self, cell: C) -> Vec<S> {
        let has = |system: &S| self.of(cell, *system).any(|run| run.result.is_ok());
        S::EVERYBODY.iter().copied().filter(has).collect()
    }

    /// The runs of one system in one cell.
    pub fn of(&self, cell: C, system: S) -> impl Iterator<Item = &Run<C, S>> {
        self.runs.iter().filter(move |run| run.cell == cell && run.system == system)
    }

    /// One figure over all rounds.
    #[must_use]
    pub fn spread(&self, cell: C, system: S, figure: &str) -> Option<Spread> {
        let figures = self.of(cell, system).filter_map(|run| run.result.as_ref().ok());
        Spread::of(figures.filter_map(|figures| figures.get(figure).copied()).collect())
    }

    /// How the median compares with that of another system.
    #[must_use]
    pub fn ratio(&self, cell: C, system: S, other: S, figure: &str) -> Option<f64> {
        let (mine, others) = (self.spread(cell, system, figure)?, self.spread(cell, other, figure)?);
        (others.median > 0.0).then(|| mine.median / others.median)
    }

    /// Everything that is our fault, one sentence each: losses, swaps, duplicates, sessions ended, runs without result.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for run in self.runs.iter().filter(|run| run.system.is_ours()) {
            let place = format!("{} {} round {}", run.cell.label(), run.system.label(), run.round);
            match &run.result {
                Err(words) => faults.push(format!("{place}: {words}")),
                Ok(figures) => {
                    for name in FAULTS {
                        let count = figures.get(name).copied().unwrap_or_default();
                        if count > 0.0 {
                            faults.push(format!("{place}: {count} {name}"));
                        }
                    }
                }
            }
        }
        faults
    }

    /// All raw figures.
    #[must_use]
    pub fn json(&self) -> Value {
        let runs = self.runs.iter().map(|run| {
            let mut value = json!({C::KEY: run.cell.label(), "system": run.system.label(), "round": run.round});
            match &run.result {
                Ok(figures) => value["figures"] = json!(rounded(figures)),
                Err(words) => value["fault"] = json!(words),
            }
            value
        });
        runs.collect()
    }
}

/// Five figures are more than any of these measurements is worth.
pub(crate) fn rounded(figures: &Figures) -> BTreeMap<&'static str, f64> {
    let round = |value: f64| if value.abs() < 1.0 { (value * 1e6).round() / 1e6 } else { (value * 1e3).round() / 1e3 };
    figures.iter().map(|(&name, &value)| (name, round(value))).collect()
}

impl Spread {
    /// Of some values; nothing of none.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let half = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) };
        Some(Self { median, min, max })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Results with one figure in each of some rounds.
    pub(crate) fn results<C: Measured, S: Contender>(rows: &[(C, S, &'static str, &[f64])]) -> Results<C, S> {
        let mut results = Results::default();
        for &(cell, system, figure, values) in rows {
            for (at, &value) in values.iter().enumerate() {
                let result = Ok(Figures::from([(figure, value)]));
                results.runs.push(Run { cell, system, round: at + 1, result });
            }
        }
        results
    }

    #[test]
    fn spreads_have_a_middle() {
        for (values, median, min, max) in
            [(vec![3.0, 1.0, 2.0], 2.0, 1.0, 3.0), (vec![4.0, 1.0], 2.5, 1.0, 4.0), (vec![7.0], 7.0, 7.0, 7.0)]
        {
            assert_eq!(Spread::of(values), Some(Spread { median, min, max }));
        }
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn medians_are_compared() {
        let cell = Cell::Fanout(100);
        let name = "events_per_cpu_s";
        let results = results(&[
            (cell, System::Stentor, name, &[10.0, 60.0, 50.0]),
            (cell, System::Coalesce, name, &[100.0, 90.0, 110.0]),
        ]);
        assert_eq!(results.ratio(cell, System::Stentor, System::Coalesce, name), Some(0.5));
        assert_eq!(results.ratio(cell, System::Stentor, System::Nchan, name), None);
        assert_eq!(results.systems(cell), [System::Coalesce, System::Stentor]);
    }

    #[test]
    fn faults_are_not_taken_again() {
        let count = std::cell::Cell::new(0);
        let turn = || {
            count.set(count.get() + 1);
            Ok(Figures::from([("lost", 1.0)]))
        };
        let figures = undisturbed(&turn).expect("figures");
        assert_eq!((count.get(), figures["lost"] > 0.0), (1, true));
        let fails = || Err(Fault::Setup("nothing".to_owned()));
        assert!(undisturbed(&fails).is_err());
    }

    #[test]
    fn only_our_faults_count() {
        let cell = Cell::Fanout(1);
        let rows: &[(_, _, _, &[f64])] =
            &[(cell, System::Stentor, "lost", &[0.0, 2.0]), (cell, System::Nchan, "lost", &[9.0])];
        assert_eq!(results(rows).faults(), ["fanout1 stentor round 2: 2 lost"]);
    }
}
