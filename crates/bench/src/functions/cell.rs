//! The cells of functions: one figure of one judge in one round, taken from fresh processes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::asker::Askers;
use super::node::{Judge, Server};
use crate::cell::Figures;
use crate::fault::Fault;

/// How the function is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `def`: in a thread. The topic comes from the query, because nothing can wait for the form.
    Plain,
    /// `async def`: in the event loop. The topic comes from the form.
    Async,
}

/// What is measured: a kind of function, and how many ask at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FunctionCell {
    /// The kind.
    pub kind: Kind,
    /// Connections, each with one request under way.
    pub askers: usize,
}

/// What a measurement needs to know.
#[derive(Clone, Debug)]
pub struct FunctionContext {
    /// `stentor`.
    pub stentor: PathBuf,
    /// How long each run lasts.
    pub time: Duration,
    /// Where the Python environment is made, and stays for the next time.
    pub folder: PathBuf,
}

impl FunctionCell {
    /// What is measured when nothing else is said.
    pub const ALL: [Self; 4] = [
        Self { kind: Kind::Plain, askers: 1 },
        Self { kind: Kind::Plain, askers: 32 },
        Self { kind: Kind::Async, askers: 1 },
        Self { kind: Kind::Async, askers: 32 },
    ];

    /// The name on the command line and in results.
    #[must_use]
    pub fn name(self) -> String {
        let kind = if self.kind == Kind::Plain { "def" } else { "async" };
        format!("{kind}{}", self.askers)
    }

    /// The cell of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (kind, count) = match (name.strip_prefix("def"), name.strip_prefix("async")) {
            (Some(count), _) => (Kind::Plain, count),
            (_, Some(count)) => (Kind::Async, count),
            _ => return None,
        };
        let askers = count.parse().ok().filter(|askers| (1..=1000).contains(askers))?;
        Some(Self { kind, askers })
    }

    /// Takes the figures once.
    ///
    /// # Errors
    /// When there are none.
    pub fn run(self, context: &FunctionContext, judge: Judge, python: &Path) -> Result<Figures, Fault> {
        let mut server = Server::start(context, judge, self.kind, python)?;
        let mut askers = Askers::connect(server.address, self.askers, server.question())?;
        askers.run(context.time / 4)?;
        let cpu = server.process.cpu();
        let asked = askers.run(context.time)?;
        let cpu = (server.process.cpu() - cpu) as f64 / 1e3;
        let verdicts = asked.waits.count() as f64;
        let milliseconds = |share| asked.waits.quantile(share) as f64 / 1e6;
        Ok(BTreeMap::from([
            ("verdicts_per_s", verdicts / asked.elapsed.as_secs_f64()),
            ("p50_ms", milliseconds(0.5)),
            ("p99_ms", milliseconds(0.99)),
            ("max_ms", asked.waits.max() as f64 / 1e6),
            ("cpu_us_per_verdict", cpu / verdicts),
        ]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_named() {
        for cell in FunctionCell::ALL {
            assert_eq!(FunctionCell::named(&cell.name()), Some(cell));
        }
        assert_eq!(FunctionCell::named("async7").map(|cell| cell.askers), Some(7));
        for name in ["def", "async0", "x1", "def-1"] {
            assert_eq!(FunctionCell::named(name), None, "{name}");
        }
    }
}
