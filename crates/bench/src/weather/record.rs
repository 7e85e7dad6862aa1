//! What was seen of one attack in several rounds, and its form in files.
//!
//! A round is a fresh server in calm and then under attack, so that calm and attack take turns and whatever the machine does
//! meanwhile meets both. Judging is the concern of `verdict`.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::attack::Attack;
use crate::fault::{Fault, io};

/// The part of the processors' time that a host may take from a window: of five seconds on two processors a twentieth of one. Five
/// publications in a window make its 99th percentile.
const THEFT_MAX: f64 = 0.005;

/// The honest clients' experience of a while: 99th percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Window {
    /// From the start of a POST to the arrival of its event.
    pub(super) event_ms: f64,
    /// From the start of a POST to its answer.
    pub(super) answer_ms: f64,
    /// Processor time of the server, in processors.
    pub(super) server: f64,
    /// Processor time of the attackers, in processors.
    pub(super) attackers: f64,
    /// Publications that began late because answers were outstanding, or the generator had no processor.
    pub(super) late: u64,
    /// The part of the processors' time that the machine's host took.
    pub(super) stolen: f64,
}

/// One round.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Round {
    pub(super) calm: Window,
    /// The onset first.
    pub(super) windows: Vec<Window>,
    /// The same load with a process that burns as much time as the attackers did.
    pub(super) control: Option<Window>,
    /// Octets before, and at most.
    pub(super) memory: (u64, u64),
    pub(super) ends: BTreeMap<String, u64>,
    /// What the server counted meanwhile.
    pub(super) closed: BTreeMap<String, u64>,
    /// Losses, swaps and duplicates among the honest, and honest sessions that were closed.
    pub(super) harm: u64,
}

/// One attack; there is one round at the least.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) attack: &'static Attack,
    pub(super) rounds: Vec<Round>,
}

impl Record {
    /// The median of what each round says; 0 where none does.
    pub(super) fn median(&self, figure: impl Fn(&Round) -> Option<f64>) -> f64 {
        let mut figures: Vec<f64> = self.rounds.iter().filter_map(figure).collect();
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        match figures.len() {
            0 => 0.0,
            count if count % 2 == 0 => f64::midpoint(figures[middle - 1], figures[middle]),
            _ => figures[middle],
        }
    }

    /// The median of each window of the attack, the onset first: a limit that runs out shows in the same window of each round.
    pub(super) fn course(&self, figure: fn(&Window) -> f64) -> Vec<f64> {
        (0..self.longest()).map(|at| self.median(|round| round.windows.get(at)?.quiet(figure))).collect()
    }

    fn longest(&self) -> usize {
        self.rounds.iter().map(|round| round.windows.len()).max().unwrap_or_default()
    }

    /// In how many rounds each of the windows was undisturbed, at least.
    pub(super) fn quiet(&self) -> usize {
        let count = |window: &dyn Fn(&Round) -> Option<&Window>| {
            self.rounds.iter().filter(|round| window(round).is_some_and(Window::is_quiet)).count()
        };
        let windows = (0..self.longest()).map(|at| count(&|round| round.windows.get(at)));
        // A control is made only where attackers took much.
        let controls = self.rounds.iter().any(|round| round.control.is_some());
        let control = controls.then(|| count(&|round| round.control.as_ref()));
        windows.chain(control).fold(count(&|round| Some(&round.calm)), usize::min)
    }

    /// The most that a round has shown.
    pub(super) fn most(&self, figure: impl Fn(&Round) -> u64) -> u64 {
        self.rounds.iter().map(figure).max().unwrap_or_default()
    }

    /// Counts of all rounds together.
    pub(super) fn sum(&self, counts: fn(&Round) -> &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
        let mut sum = BTreeMap::new();
        for (name, count) in self.rounds.iter().flat_map(counts) {
            *sum.entry(name.clone()).or_default() += count;
        }
        sum
    }

    /// Everything, for machines.
    pub(super) fn json(&self) -> Value {
        let rounds: Vec<Value> = self.rounds.iter().map(Round::json).collect();
        json!({
            "attack": self.attack.name,
            "words": self.attack.words,
            "memory_bound": self.attack.bound(),
            "memory_why": self.attack.why,
            "rounds": rounds,
        })
    }
}

/// The records of files, those of one attack joined, in the order of the list of attacks.
///
/// # Errors
/// When a file cannot be read or is something else.
pub(super) fn read(files: &[impl AsRef<Path>]) -> Result<Vec<Record>, Fault> {
    let mut records: Vec<Record> = Vec::new();
    for file in files.iter().map(AsRef::as_ref) {
        let text = io(std::fs::read_to_string(file), || format!("{} cannot be read", file.display()))?;
        let other = || Fault::Setup(format!("{} does not hold figures of attacks", file.display()));
        let value: Value = serde_json::from_str(&text).map_err(|_| other())?;
        for entry in value["attacks"].as_array().ok_or_else(other)? {
            let attack = entry["attack"].as_str().and_then(Attack::find).ok_or_else(other)?;
            let rounds = entry["rounds"].as_array().ok_or_else(other)?.iter().map(Round::of_json);
            let rounds = rounds.collect::<Option<Vec<_>>>().ok_or_else(other)?;
            match records.iter_mut().find(|record| record.attack.name == attack.name) {
                Some(record) => record.rounds.extend(rounds),
                None => records.push(Record { attack, rounds }),
            }
        }
    }
    records.sort_by_key(|record| super::ATTACKS.iter().position(|attack| attack.name == record.attack.name));
    Ok(records)
}

impl Round {
    fn json(&self) -> Value {
        json!({
            "calm": self.calm.json(),
            "windows": self.windows.iter().map(Window::json).collect::<Vec<_>>(),
            "control": self.control.as_ref().map(Window::json),
            "memory_before": self.memory.0,
            "memory_peak": self.memory.1,
            "ends": self.ends,
            "closed": self.closed,
            "harm": self.harm,
        })
    }

    fn of_json(value: &Value) -> Option<Self> {
        let counts = |name: &str| -> Option<BTreeMap<String, u64>> {
            value[name].as_object()?.iter().map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect()
        };
        let control = &value["control"];
        Some(Self {
            calm: Window::of_json(&value["calm"])?,
            windows: value["windows"].as_array()?.iter().map(Window::of_json).collect::<Option<_>>()?,
            control: if control.is_null() { None } else { Some(Window::of_json(control)?) },
            memory: (value["memory_before"].as_u64()?, value["memory_peak"].as_u64()?),
            ends: counts("ends")?,
            closed: counts("closed")?,
            harm: value["harm"].as_u64()?,
        })
    }
}

impl Window {
    fn is_quiet(&self) -> bool {
        self.stolen <= THEFT_MAX
    }

    /// A figure, unless the machine's host has disturbed it.
    pub(super) fn quiet(&self, figure: fn(&Self) -> f64) -> Option<f64> {
        self.is_quiet().then(|| figure(self))
    }

    fn json(&self) -> Value {
        json!({"event_p99_ms": self.event_ms, "answer_p99_ms": self.answer_ms, "server_cpus": self.server,
               "attacker_cpus": self.attackers, "late": self.late, "stolen_share": self.stolen})
    }

    fn of_json(value: &Value) -> Option<Self> {
        let figure = |name: &str| value[name].as_f64();
        Some(Self {
            event_ms: figure("event_p99_ms")?,
            answer_ms: figure("answer_p99_ms")?,
            server: figure("server_cpus")?,
            attackers: figure("attacker_cpus")?,
            late: value["late"].as_u64()?,
            stolen: figure("stolen_share")?,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::weather) fn round() -> Round {
        let window = Window { event_ms: 1.0, answer_ms: 1.0, ..Window::default() };
        Round {
            calm: window,
            windows: vec![window, window],
            control: None,
            memory: (10 << 20, 20 << 20),
            ends: [("EOF".to_owned(), 10_000)].into(),
            closed: [("silent".to_owned(), 10_000)].into(),
            harm: 0,
        }
    }

    #[test]
    fn rounds_have_a_median_and_a_course() {
        let mut record = Record { attack: &super::super::ATTACKS[0], rounds: vec![round(); 3] };
        record.rounds[0].windows[1].event_ms = 9.0;
        assert_eq!(record.course(|window| window.event_ms), [1.0, 1.0]);
        record.rounds[2].windows[1].event_ms = 7.0;
        record.rounds[2].windows.push(Window { event_ms: 2.0, ..Window::default() });
        assert_eq!(record.course(|window| window.event_ms), [1.0, 7.0, 2.0]);
        assert_eq!(record.median(|round| round.control.map(|window| window.event_ms)).to_bits(), 0.0_f64.to_bits());
        record.rounds.pop();
        assert_eq!(record.course(|window| window.event_ms), [1.0, 5.0]);
        record.rounds[0].windows[1].stolen = 0.03;
        assert_eq!((record.course(|window| window.event_ms), record.quiet()), (vec![1.0, 1.0], 1));
        record.rounds[1].windows[1].stolen = 0.03;
        assert_eq!(record.quiet(), 0);
        assert_eq!(record.sum(|round| &round.ends)["EOF"], 20_000);
    }

    #[test]
    fn files_are_joined_by_attack() {
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        let mut other = round();
        other.control = Some(other.calm);
        let write = |name: &str, rounds: &[(usize, Round)]| {
            let record = |(at, round): &(usize, Round)| Record {
                attack: &super::super::ATTACKS[*at],
                rounds: vec![round.clone()],
            };
            let attacks: Vec<_> = rounds.iter().map(|entry| record(entry).json()).collect();
            let file = folder.path().join(name);
            std::fs::write(&file, json!({"attacks": attacks}).to_string()).expect("a file");
            file
        };
        let files = [write("a", &[(2, round()), (0, round())]), write("b", &[(2, other.clone())])];
        let records = read(&files).expect("figures");
        let found: Vec<_> = records.iter().map(|record| (record.attack.name, record.rounds.clone())).collect();
        let name = |at: usize| super::super::ATTACKS[at].name;
        assert_eq!(found, [(name(0), vec![round()]), (name(2), vec![round(), other])]);
        assert!(read(&[folder.path().join("c")]).is_err());
    }
}
