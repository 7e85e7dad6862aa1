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

pub use self::cell::{FunctionCell, FunctionContext, Kind};
pub use self::node::Judge;
use crate::fault::Fault;
use crate::rounds::{Contender, Measured, Results, Run, take_turns};

/// One run of one cell.
pub type FunctionRun = Run<FunctionCell, Judge>;

/// All runs of a benchmark of functions.
pub type FunctionResults = Results<FunctionCell, Judge>;

impl Measured for FunctionCell {
    const KEY: &'static str = "function";

    fn label(self) -> String {
        self.name()
    }
}

impl Contender for Judge {
    const EVERYBODY: &'static [Self] = &Self::ALL;

    fn label(self) -> &'static str {
        self.name()
    }
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
    let turn = |cell: FunctionCell, judge| cell.run(context, judge, &python);
    Ok(take_turns(cells, judges, rounds, |_, _| true, turn, tell))
}
