//! What Stentor has to reach, and whether it does.

use crate::cell::Cell;
use crate::rounds::Results;
use crate::system::System;

/// What a figure is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    /// At least this share of another system's.
    ShareOf(System, f64),
    /// At most this many times another system's.
    TimesOf(System, f64),
    /// At most this.
    Most(f64),
}

/// One line of the list.
#[derive(Clone, Copy, Debug)]
struct Target {
    cell: Cell,
    figure: &'static str,
    words: &'static str,
    bound: Bound,
}

const TARGETS: &[Target] = &[
    Target {
        cell: Cell::Fanout(1),
        figure: "events_per_cpu_s",
        words: "1 subscriber, of coalesced ceiling",
        bound: Bound::ShareOf(System::Coalesce, 0.6),
    },
    Target {
        cell: Cell::Fanout(100),
        figure: "events_per_cpu_s",
        words: "100 subscribers, of coalesced ceiling",
        bound: Bound::ShareOf(System::Coalesce, 0.6),
    },
    Target {
        cell: Cell::Fanout(1000),
        figure: "events_per_cpu_s",
        words: "1000 subscribers, of coalesced ceiling",
        bound: Bound::ShareOf(System::Coalesce, 0.5),
    },
    Target {
        cell: Cell::Rate(1000),
        figure: "p99_ms",
        words: "p99 at 50/s to 1000, times direct ceiling",
        bound: Bound::TimesOf(System::Direct, 1.3),
    },
    Target {
        cell: Cell::Memory(1000),
        figure: "octets_per_session",
        words: "octets per session, of 1000",
        bound: Bound::Most(10_240.0),
    },
    Target {
        cell: Cell::Memory(10_000),
        figure: "octets_per_session",
        words: "octets per session, of 10000",
        bound: Bound::Most(10_240.0),
    },
    Target { cell: Cell::Start, figure: "idle_mib", words: "MiB at rest", bound: Bound::Most(15.0) },
    Target { cell: Cell::Start, figure: "start_ms", words: "ms to the first answer", bound: Bound::Most(100.0) },
];

/// A target, and what came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Whose figure it is.
    pub system: System,
    /// What the figure is.
    pub words: &'static str,
    /// The figure as it is compared.
    pub value: f64,
    /// What it is compared with.
    pub limit: f64,
    /// Whether it is good enough.
    pub reached: bool,
}

/// All targets whose figures were measured.
#[must_use]
pub fn verdicts(results: &Results) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for target in TARGETS {
        for system in [System::Stentor, System::StentorOne] {
            let &Target { cell, figure, words, bound } = target;
            let (value, limit) = match bound {
                Bound::ShareOf(other, limit) | Bound::TimesOf(other, limit) => {
                    (results.ratio(cell, system, other, figure), limit)
                }
                Bound::Most(limit) => (results.spread(cell, system, figure).map(|spread| spread.median), limit),
            };
            let Some(value) = value else { continue };
            let reached = if matches!(bound, Bound::ShareOf(..)) { value >= limit } else { value <= limit };
            verdicts.push(Verdict { system, words, value, limit, reached });
        }
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounds::tests::results;

    #[track_caller]
    fn check(rows: &[(Cell, System, &'static str, &[f64])], expect: &[(f64, bool)]) {
        let verdicts = verdicts(&results(rows));
        assert_eq!(verdicts.iter().map(|verdict| (verdict.value, verdict.reached)).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn targets_are_judged() {
        let (fanout, rate) = (Cell::Fanout(100), Cell::Rate(1000));
        let ceiling: (_, _, _, &[f64]) = (fanout, System::Coalesce, "events_per_cpu_s", &[100.0]);
        check(&[(fanout, System::Stentor, "events_per_cpu_s", &[60.0]), ceiling], &[(0.6, true)]);
        check(&[(fanout, System::Stentor, "events_per_cpu_s", &[59.0]), ceiling], &[(0.59, false)]);
        let direct: (_, _, _, &[f64]) = (rate, System::Direct, "p99_ms", &[10.0]);
        check(&[(rate, System::StentorOne, "p99_ms", &[14.0]), direct], &[(1.4, false)]);
        check(&[(Cell::Start, System::Stentor, "start_ms", &[20.0])], &[(20.0, true)]);
        check(&[(Cell::Start, System::Direct, "start_ms", &[20.0])], &[]);
    }
}
