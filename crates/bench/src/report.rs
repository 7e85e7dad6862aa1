//! Results as a file, and files read back: slices of a benchmark that were taken one after the other become one.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::cell::{Cell, Figures};
use crate::curve::{Curve, CurveRun, Curves};
use crate::fault::Fault;
use crate::functions::{self, FunctionCell, FunctionResults, FunctionRun, Judge};
use crate::hub::{self, HubCell, HubResults, HubRun, Maker};
use crate::rounds::{Results, Run};
use crate::system::System;
use crate::{chart, machine, multiples, table};

/// Some runs, and where they were taken.
#[derive(Clone, Debug)]
pub struct Slice {
    commit: String,
    machine: Value,
    /// As in the file: what it was, the round, the seconds that it took, and the figures.
    runs: Vec<Value>,
}

/// What a file is about.
#[derive(Clone, Debug)]
pub enum Content {
    /// Systems beside each other.
    Cells(Results),
    /// One system whose surroundings grow.
    Curves(Curves),
    /// Hubs beside each other.
    Hubs(HubResults),
    /// Authenticator functions beside applications.
    Functions(FunctionResults),
}

impl Slice {
    /// What this machine has measured just now.
    #[must_use]
    pub fn new(commit: &str, seconds: f64, runs: &Value) -> Self {
        let mut runs = runs.as_array().cloned().unwrap_or_default();
        runs.iter_mut().for_each(|run| run["seconds"] = json!(seconds));
        Self { commit: commit.to_owned(), machine: machine::describe(), runs }
    }

    /// Puts files together. Rounds are counted on, so that a cell may have some of its rounds in each file.
    ///
    /// # Errors
    /// When they are not of one build and one machine.
    pub fn merge(files: Vec<Value>) -> Result<Self, Fault> {
        let first = files.first().cloned().unwrap_or_default();
        let alike = |file: &Value| {
            let same_machine =
                ["cores", "cpu", "kernel"].iter().all(|name| file["machine"][name] == first["machine"][name]);
            same_machine && file["commit"] == first["commit"]
        };
        if !files.iter().all(alike) {
            return Err(Fault::Setup("the files are not of one commit and one machine".to_owned()));
        }
        let mut rounds: HashMap<String, u64> = HashMap::new();
        let mut runs: Vec<Value> = files.iter().filter_map(|file| file["runs"].as_array()).flatten().cloned().collect();
        for run in &mut runs {
            let round = rounds.entry(place(run)).or_default();
            *round += 1;
            run["round"] = json!(*round);
        }
        Ok(Self { commit: text(&first["commit"]), machine: first["machine"].clone(), runs })
    }

    /// The file.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({"commit": self.commit, "machine": self.machine, "runs": self.runs})
    }

    /// One line below a picture.
    #[must_use]
    pub fn caption(&self) -> String {
        let word = |name: &str| text(&self.machine[name]);
        let commit = self.commit.get(..12).unwrap_or(&self.commit);
        format!("{} cores of {}, {}, commit {commit}", word("cores"), word("cpu"), word("date"))
    }

    /// What the runs are.
    ///
    /// # Errors
    /// When they are nothing that this program has written.
    pub fn content(&self) -> Result<Content, Fault> {
        let strange = |run: &Value| Fault::Setup(format!("no run of this benchmark: {run}"));
        if self.runs.iter().all(|run| run["curve"].is_string()) {
            let runs = self.runs.iter().map(|run| curve_run(run).ok_or_else(|| strange(run)));
            return Ok(Content::Curves(Curves { runs: runs.collect::<Result<_, _>>()? }));
        }
        if self.runs.iter().all(|run| run["hub"].is_string()) {
            let runs = self.runs.iter().map(|run| hub_run(run).ok_or_else(|| strange(run)));
            return Ok(Content::Hubs(HubResults { runs: runs.collect::<Result<_, _>>()? }));
        }
        if self.runs.iter().all(|run| run["function"].is_string()) {
            let runs = self.runs.iter().map(|run| function_run(run).ok_or_else(|| strange(run)));
            return Ok(Content::Functions(FunctionResults { runs: runs.collect::<Result<_, _>>()? }));
        }
        let runs = self.runs.iter().map(|run| cell_run(run).ok_or_else(|| strange(run)));
        Ok(Content::Cells(Results { runs: runs.collect::<Result<_, _>>()? }))
    }
}

/// What a run is a round of.
fn place(run: &Value) -> String {
    ["cell", "system", "curve", "at", "hub", "function"].map(|name| text(&run[name])).join("/")
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn cell_run(run: &Value) -> Option<Run> {
    let system = System::ALL.into_iter().find(|system| Some(system.name()) == run["system"].as_str())?;
    Some(Run { cell: Cell::named(run["cell"].as_str()?)?, system, round: round(run)?, result: result(run)? })
}

fn curve_run(run: &Value) -> Option<CurveRun> {
    let curve = Curve::ALL.into_iter().find(|curve| run["curve"].as_str() == Some(&format!("{curve:?}")))?;
    Some(CurveRun { curve, label: run["at"].as_str()?.to_owned(), round: round(run)?, result: result(run)? })
}

fn hub_run(run: &Value) -> Option<HubRun> {
    let maker = Maker::ALL.into_iter().find(|maker| Some(maker.name()) == run["system"].as_str())?;
    Some(HubRun {
        cell: HubCell::named(run["hub"].as_str()?)?,
        system: maker,
        round: round(run)?,
        result: result(run)?,
    })
}

fn function_run(run: &Value) -> Option<FunctionRun> {
    let judge = Judge::ALL.into_iter().find(|judge| Some(judge.name()) == run["system"].as_str())?;
    let cell = FunctionCell::named(run["function"].as_str()?)?;
    Some(FunctionRun { cell, system: judge, round: round(run)?, result: result(run)? })
}

fn round(run: &Value) -> Option<usize> {
    usize::try_from(run["round"].as_u64()?).ok()
}

fn result(run: &Value) -> Option<Result<Figures, String>> {
    if let Some(fault) = run["fault"].as_str() {
        return Some(Err(fault.to_owned()));
    }
    // Names live as long as the program, as those written in it do; there are some twenty different ones.
    let mut known: HashMap<&str, &'static str> = HashMap::new();
    let mut figures = Figures::new();
    for (name, value) in run["figures"].as_object()? {
        let name = *known.entry(name).or_insert_with(|| name.clone().leak());
        figures.insert(name, value.as_f64()?);
    }
    Some(Ok(figures))
}

impl Content {
    /// As text.
    #[must_use]
    pub fn table(&self) -> String {
        match self {
            Self::Cells(results) => table::render(results),
            Self::Curves(curves) => multiples::render(curves),
            Self::Hubs(results) => hub::table::render(results),
            Self::Functions(results) => functions::table::render(results),
        }
    }

    /// As SVG.
    #[must_use]
    pub fn picture(&self, caption: &str) -> String {
        match self {
            Self::Cells(results) => chart::render(results, caption),
            Self::Curves(curves) => multiples::draw(curves, caption),
            Self::Hubs(results) => hub::table::draw(results, caption),
            Self::Functions(results) => functions::table::draw(results, caption),
        }
    }

    /// The names of its two files in docs/bench.
    #[must_use]
    pub const fn names(&self) -> [&'static str; 2] {
        match self {
            Self::Cells(_) => ["latest.json", "fanout.svg"],
            Self::Curves(_) => ["curves.json", "curves.svg"],
            Self::Hubs(_) => ["hub.json", "hub.svg"],
            Self::Functions(_) => ["functions.json", "functions.svg"],
        }
    }

    /// Everything that went wrong.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        match self {
            Self::Cells(results) => results.faults(),
            Self::Curves(curves) => curves.faults(),
            Self::Hubs(results) => results.faults(),
            Self::Functions(results) => results.faults(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounds::tests::results;

    fn file(cell: Cell, values: &[f64]) -> Value {
        let results = results(&[(cell, System::Stentor, "events_per_cpu_s", values)]);
        Slice { machine: json!({"cores": 2}), ..Slice::new("abc", 2.0, &results.json()) }.json()
    }

    #[test]
    fn slices_become_one() {
        let (one, hundred) = (Cell::Fanout(1), Cell::Fanout(100));
        let files = vec![file(one, &[3.0]), file(hundred, &[7.0]), file(one, &[1.0, 2.0])];
        let slice = Slice::merge(files).expect("alike");
        let Ok(Content::Cells(results)) = slice.content() else { panic!("these are cells") };
        assert_eq!(results.cells(), [one, hundred]);
        let spread = results.spread(one, System::Stentor, "events_per_cpu_s").expect("three rounds");
        assert_eq!((spread.median, spread.min, spread.max), (2.0, 1.0, 3.0));
        assert_eq!(slice.json()["runs"][3]["round"], json!(3));
    }

    #[test]
    fn strangers_are_not_mixed() {
        let mut other = file(Cell::Fanout(1), &[1.0]);
        other["commit"] = json!("def");
        let words = Slice::merge(vec![file(Cell::Fanout(1), &[1.0]), other]).expect_err("two commits").to_string();
        assert!(words.contains("one commit"), "{words}");
    }
}
