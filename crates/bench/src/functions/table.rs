//! Results of functions as text and as a picture.

use super::{FunctionCell, FunctionResults, Judge, Kind};
use crate::chart::{self, short};

/// A column: its heading, its figure, and the digits behind the point.
const COLUMNS: [(&str, &str, usize); 4] = [
    ("p50 ms", "p50_ms", 3),
    ("p99 ms", "p99_ms", 3),
    ("max ms", "max_ms", 2),
    ("CPU us/verdict", "cpu_us_per_verdict", 0),
];

/// The figure that is compared.
pub(crate) const RATE: &str = "verdicts_per_s";

/// What a cell measures, in one line.
#[must_use]
pub fn title(cell: FunctionCell) -> String {
    let kind = if cell.kind == Kind::Plain { "plain" } else { "async" };
    format!("{kind} function, {} at once", cell.askers)
}

/// All cells, then what went wrong.
#[must_use]
pub fn render(results: &FunctionResults) -> String {
    let mut text = String::new();
    for cell in results.cells() {
        text += &format!("\n{} ({})\n  {:<16}{:>12}{:>18}", title(cell), cell.name(), "", "verdicts/s", "min..max");
        COLUMNS.iter().for_each(|(heading, ..)| text += &format!("{heading:>16}"));
        text += &format!("{:>16}{:>16}\n", "p50 added ms", "p99 added ms");
        for judge in results.systems(cell) {
            row(results, cell, judge, &mut text);
        }
        text += &format!("  {}\n", comparison(results, cell));
    }
    let faults = results.faults();
    text += if faults.is_empty() { "" } else { "\nFAULTS\n" };
    faults.iter().for_each(|fault| text += &format!("  {fault}\n"));
    text
}

fn row(results: &FunctionResults, cell: FunctionCell, judge: Judge, text: &mut String) {
    let Some(rate) = results.spread(cell, judge, RATE) else { return };
    let range = format!("{:.0}..{:.0}", rate.min, rate.max);
    *text += &format!("  {:<16}{:>12.0}{range:>18}", judge.name(), rate.median);
    let median = |judge, figure| results.spread(cell, judge, figure).map(|spread| spread.median);
    for (_, figure, digits) in COLUMNS {
        let value = median(judge, figure).map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"));
        *text += &format!("{value:>16}");
    }
    for figure in ["p50_ms", "p99_ms"] {
        // Only the hub with a function has a hub without one to be held against.
        let added = (judge == Judge::Stentor).then(|| Some(median(judge, figure)? - median(Judge::Static, figure)?));
        *text += &added.flatten().map_or_else(|| format!("{:>16}", ""), |added| format!("{added:>16.3}"));
    }
    text.push('\n');
}

/// Whether the function is slower than the faster one of the applications, in any figure.
fn comparison(results: &FunctionResults, cell: FunctionCell) -> String {
    let median = |judge, figure: &str| results.spread(cell, judge, figure).map(|spread| spread.median);
    let ratio = |judge: Judge, figure: &str| Some(median(Judge::Stentor, figure)? / median(judge, figure)?);
    let words = [Judge::UvicornUvloop, Judge::UvicornAsyncio].into_iter().filter_map(|judge| {
        let (rate, p50, p99) = (ratio(judge, RATE)?, ratio(judge, "p50_ms")?, ratio(judge, "p99_ms")?);
        let verdict = if rate >= 1.0 && p50 <= 1.0 && p99 <= 1.0 { "not slower" } else { "SLOWER" };
        Some(format!("{verdict} than {}: {rate:.2} x its rate, {p50:.2} x its p50, {p99:.2} x its p99", judge.name()))
    });
    words.collect::<Vec<_>>().join("\n  ")
}

const BAR: usize = 20;
const LABEL: usize = 140;
const HEADING: usize = 46;
const MARGIN: usize = 16;
/// Room between the margins for the longest bar; its figure stands behind it.
const LENGTH: f64 = 440.0;

/// Verdicts a second as bars.
#[must_use]
pub fn draw(results: &FunctionResults, caption: &str) -> String {
    let cells = results.cells();
    let height = cells.iter().map(|&cell| HEADING + BAR * results.systems(cell).len()).sum::<usize>() + 3 * MARGIN;
    let mut svg = chart::open(height, caption);
    let mut top = MARGIN;
    for cell in cells {
        chart::text(&mut svg, MARGIN, top + 26, "", &format!("verdicts/s: {}", title(cell)));
        let spreads: Vec<_> = results.systems(cell).into_iter().filter(|judge| *judge != Judge::Static).collect();
        let rate = |judge: &Judge| results.spread(cell, *judge, RATE).map_or(0.0, |spread| spread.median);
        let longest = spreads.iter().map(rate).fold(f64::MIN_POSITIVE, f64::max);
        for (at, judge) in spreads.iter().enumerate() {
            let y = top + HEADING - 12 + at * BAR;
            let class = if *judge == Judge::Stentor { "ours" } else { "ceiling" };
            let width = (rate(judge) / longest * LENGTH).max(1.0);
            chart::text(&mut svg, MARGIN, y + 14, "", judge.name());
            svg += &format!(
                "<rect class=\"{class}\" x=\"{LABEL}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\" rx=\"2\"/>\n",
                y + 3,
                BAR - 6
            );
            chart::text(&mut svg, LABEL + width as usize + 6, y + 14, "quiet", &short(rate(judge)));
        }
        top += HEADING + BAR * spreads.len();
    }
    chart::text(&mut svg, MARGIN, top + MARGIN + 6, "quiet", caption);
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounds::tests::results;

    #[test]
    fn tables_say_who_is_slower() {
        let cell = FunctionCell::ALL[2];
        let check = |ours: f64, expected: &str| {
            let mut rows = Vec::new();
            for judge in Judge::ALL {
                let rate: &[f64] = if judge == Judge::Stentor { &[5000.0] } else { &[4000.0] };
                rows.push((cell, judge, RATE, rate));
            }
            let mut found = results(&rows);
            for (run, wait) in found.runs.iter_mut().zip([0.1, ours, 0.3, 0.4]) {
                run.result.as_mut().expect("figures").extend([("p50_ms", wait), ("p99_ms", wait)]);
            }
            let text = render(&found);
            assert!(text.contains(expected), "{text}");
            assert!(draw(&found, "here").contains("</svg>"));
        };
        check(0.2, "not slower than uvicorn-uvloop: 1.25 x its rate, 0.67 x its p50");
        check(0.35, "SLOWER than uvicorn-uvloop");
    }
}
