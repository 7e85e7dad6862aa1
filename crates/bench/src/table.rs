//! Results as text.

use crate::cell::{CONNECTIONS, Cell, PAYLOAD};
use crate::rounds::Results;
use crate::system::System;
use crate::target::verdicts;

/// A column: its heading, its figure, and the digits behind the point.
type Column = (&'static str, &'static str, usize);

/// The first column is the one that is compared.
const EVENTS: &[Column] = &[
    ("events/CPU-s", "events_per_cpu_s", 0),
    ("events/s", "events_per_s", 0),
    ("p50 ms", "p50_ms", 2),
    ("p99 ms", "p99_ms", 2),
    ("p99.9 ms", "p999_ms", 2),
    ("lost", "lost", 0),
    ("swapped", "swapped", 0),
    ("twice", "duplicated", 0),
    ("stolen s", "stolen_s", 1),
];

const RATE: &[Column] = &[
    ("p99 ms", "p99_ms", 2),
    ("p50 ms", "p50_ms", 2),
    ("p99.9 ms", "p999_ms", 2),
    ("events/CPU-s", "events_per_cpu_s", 0),
    ("events/s", "events_per_s", 0),
    ("lost", "lost", 0),
    ("swapped", "swapped", 0),
    ("twice", "duplicated", 0),
    ("stolen s", "stolen_s", 1),
];

const MEMORY: &[Column] =
    &[("octets/session", "octets_per_session", 0), ("MiB before", "before_mib", 1), ("MiB after", "after_mib", 1)];

const START: &[Column] = &[("ms to answer", "start_ms", 1), ("MiB at rest", "idle_mib", 1)];

const SESSIONS: &[Column] = &[
    ("last ms", "last_ms", 1),
    ("octets/session", "octets_per_session", 0),
    ("events/CPU-s", "events_per_cpu_s", 0),
    ("lost", "lost", 0),
    ("swapped", "swapped", 0),
    ("twice", "duplicated", 0),
];

const fn columns(cell: Cell) -> &'static [Column] {
    match cell {
        Cell::Fanout(_) => EVENTS,
        Cell::Rate(_) => RATE,
        Cell::Memory(_) => MEMORY,
        Cell::Start => START,
        Cell::Sessions(_) => SESSIONS,
    }
}

/// The figure of a cell that is compared, and its heading.
#[must_use]
pub fn headline(cell: Cell) -> (&'static str, &'static str) {
    (columns(cell)[0].0, columns(cell)[0].1)
}

/// What a cell measures, in one line.
#[must_use]
pub fn title(cell: Cell) -> String {
    match cell {
        Cell::Fanout(count) => format!(
            "full rate to {count} subscriber{}: window {}, {CONNECTIONS} connections, {PAYLOAD} octets",
            if count == 1 { "" } else { "s" },
            cell.window()
        ),
        Cell::Rate(count) => format!("50 publications/s to {count} subscribers: {PAYLOAD} octets"),
        Cell::Memory(count) => format!("memory of {count} idle sessions"),
        Cell::Start => "start, from the program's start to its first answer".to_owned(),
        Cell::Sessions(count) => format!("from POST until the last of {count} sessions has the event"),
    }
}

/// All cells, then the targets, then what went wrong.
#[must_use]
pub fn render(results: &Results) -> String {
    let mut text = String::new();
    for cell in results.cells() {
        section(results, cell, &mut text);
    }
    targets(results, &mut text);
    text
}

fn section(results: &Results, cell: Cell, text: &mut String) {
    let columns = columns(cell);
    let (first, rest) = columns.split_first().expect("every cell has a figure");
    line(text, &format!("\n{} ({})", title(cell), cell.name()));
    let mut head = format!("  {:<10}{:>15}{:>24}{:>9}{:>11}", "", first.0, "min..max", "x direct", "x coalesce");
    for (heading, _, _) in rest {
        head += &format!("{heading:>15}");
    }
    line(text, &head);
    for system in System::ALL {
        let Some(spread) = results.spread(cell, system, first.1) else {
            if let Some(words) = results.of(cell, system).find_map(|run| run.result.as_ref().err()) {
                line(text, &format!("  {:<10}{words}", system.name()));
            }
            continue;
        };
        let number = |value: f64, digits: usize| format!("{value:.digits$}");
        let range = format!("{}..{}", number(spread.min, first.2), number(spread.max, first.2));
        let mut row = format!("  {:<10}{:>15}{range:>24}", system.name(), number(spread.median, first.2));
        for (ceiling, width) in [(System::Direct, 9), (System::Coalesce, 11)] {
            let ratio = results.ratio(cell, system, ceiling, first.1);
            row += &format!("{:>width$}", ratio.map_or_else(|| "-".to_owned(), |ratio| number(ratio, 2)));
        }
        for (_, figure, digits) in rest {
            let value = results.spread(cell, system, figure);
            row += &format!("{:>15}", value.map_or_else(|| "-".to_owned(), |spread| number(spread.median, *digits)));
        }
        line(text, &row);
    }
}

fn targets(results: &Results, text: &mut String) {
    let verdicts = verdicts(results);
    if !verdicts.is_empty() {
        line(text, "\ntargets");
    }
    for verdict in verdicts {
        let word = if verdict.reached { "reached" } else { "NOT REACHED" };
        let (name, words) = (verdict.system.name(), verdict.words);
        line(text, &format!("  {name:<10}{words:<44}{:>10.2} of {:<9}{word}", verdict.value, verdict.limit));
    }
    let faults = results.faults();
    line(text, if faults.is_empty() { "\nno losses, swaps or duplicates" } else { "\nFAULTS" });
    faults.iter().for_each(|fault| line(text, &format!("  {fault}")));
}

fn line(text: &mut String, line: &str) {
    *text += line;
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounds::tests::results;

    #[test]
    fn a_table_has_ratios_and_verdicts() {
        let cell = Cell::Fanout(100);
        let name = "events_per_cpu_s";
        let rows: &[(_, _, _, &[f64])] =
            &[(cell, System::Stentor, name, &[45.0, 55.0, 50.0]), (cell, System::Coalesce, name, &[100.0])];
        let text = render(&results(rows));
        for part in ["45..55", "0.50", "window 100", "NOT REACHED", "no losses"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }
}
