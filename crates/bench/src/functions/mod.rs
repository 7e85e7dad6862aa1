//! The benchmark of authenticator functions: what a verdict costs, beside the same work in a bare application.
//!
//! [`node`] starts who is asked, [`asker`] asks over HTTP as subscribers do, [`cell`] takes the figures, and [`table`] shows
//! them. Everybody gets the same request, runs the same Python in one process of the same interpreter, and answers 403: a
//! refusal ends a request, so that nothing but the verdict is measured. `function.py` is the function, `application.py` the
//! application.

pub mod asker;
pub mod cell;
pub mod node;
pub mod table;

use serde_json::{Value, json};

pub use self::cell::{FunctionCell, FunctionContext, Kind};
pub use self::node::Judge;
use crate::cell::Figures;
use crate::fault::Fault;
use crate::rounds::{Spread, rounded};

/// One run of one cell.
#[derive(Clone, Debug)]
pub struct FunctionRun {
    /// What was measured.
    pub cell: FunctionCell,
    /// Whose figure it is.
    pub judge: Judge,
    /// Counted from 1.
    pub round: usize,
    /// The figures, or why there are none.
    pub result: Result<Figures, String>,
}

/// All runs of a benchmark.
#[derive(Clone, Debug, Default)]
pub struct FunctionResults {
    /// In the order in which they were taken.
    pub runs: Vec<FunctionRun>,
}

/// Makes the Python environment if need be, and runs all cells, everybody in turn; `tell` hears of each run as it ends.
///
/// # Errors
/// When there is no environment.
pub fn run(
    context: &FunctionContext,
    cells: &[FunctionCell],
    judges: &[Judge],
    rounds: usize,
    tell: &mut dyn FnMut(&FunctionRun),
) -> Result<FunctionResults, Fault> {
    let python = node::prepare(context)?;
    let mut results = FunctionResults::default();
    for &cell in cells {
        for round in 1..=rounds {
            for &judge in judges {
                let result = cell.run(context, judge, &python).map_err(|fault| fault.to_string());
                let run = FunctionRun { cell, judge, round, result };
                tell(&run);
                results.runs.push(run);
            }
        }
    }
    Ok(results)
}

impl FunctionResults {
    /// The cells that were measured, in order.
    #[must_use]
    pub fn cells(&self) -> Vec<FunctionCell> {
        let mut cells = Vec::new();
        for run in &self.runs {
            if !cells.contains(&run.cell) {
                cells.push(run.cell);
            }
        }
        cells
    }

    /// Who has a figure in this cell, in order.
    #[must_use]
    pub fn judges(&self, cell: FunctionCell) -> Vec<Judge> {
        let has = |&judge: &Judge| self.of(cell, judge).any(|run| run.result.is_ok());
        Judge::ALL.into_iter().filter(has).collect()
    }

    fn of(&self, cell: FunctionCell, judge: Judge) -> impl Iterator<Item = &FunctionRun> {
        self.runs.iter().filter(move |run| run.cell == cell && run.judge == judge)
    }

    /// One figure over all rounds.
    #[must_use]
    pub fn spread(&self, cell: FunctionCell, judge: Judge, figure: &str) -> Option<Spread> {
        let figures = self.of(cell, judge).filter_map(|run| run.result.as_ref().ok());
        Spread::of(figures.filter_map(|figures| figures.get(figure).copied()).collect())
    }

    /// Everything that went wrong, one sentence each.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let fault = |run: &FunctionRun| {
            let words = run.result.as_ref().err()?;
            Some(format!("{} {} round {}: {words}", run.cell.name(), run.judge.name(), run.round))
        };
        self.runs.iter().filter_map(fault).collect()
    }

    /// All raw figures.
    #[must_use]
    pub fn json(&self) -> Value {
        let runs = self.runs.iter().map(|run| {
            let mut value = json!({"function": run.cell.name(), "system": run.judge.name(), "round": run.round});
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
    pub(crate) fn results(rows: &[(FunctionCell, Judge, &'static str, &[f64])]) -> FunctionResults {
        let mut results = FunctionResults::default();
        for &(cell, judge, figure, values) in rows {
            for (at, &value) in values.iter().enumerate() {
                let result = Ok(Figures::from([(figure, value)]));
                results.runs.push(FunctionRun { cell, judge, round: at + 1, result });
            }
        }
        results
    }
}
