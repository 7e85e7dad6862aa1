//! Results as a picture: bars for each cell, drawn as SVG.
//!
//! Colours come from style rules with a variant for dark pages. Bars of one cell start at zero and share a scale; cells
//! have scales of their own, because their figures have nothing to do with each other.

use crate::cell::Cell;
use crate::rounds::{Results, Spread};
use crate::system::System;
use crate::table::{headline, title};

const WIDTH: usize = 760;
const BAR: usize = 20;
const LABEL: usize = 100;
/// Room for the figure behind the longest bar.
const FIGURE: usize = 190;
const HEADING: usize = 46;
const MARGIN: usize = 16;

/// Opens a picture of this height.
#[must_use]
pub fn open(height: usize, about: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<title>{}</title>\n<style>\n\
         .back {{ fill: #ffffff }} text {{ fill: #1f2328 }} .quiet {{ fill: #59636e }} .ours {{ fill: #0969da }}\n\
         .ceiling {{ fill: #818b98 }} .peer {{ fill: #bc4c00 }} .line {{ stroke: #59636e; fill: none }}\n\
         @media (prefers-color-scheme: dark) {{\n\
         .back {{ fill: #0d1117 }} text {{ fill: #f0f6fc }} .quiet {{ fill: #9198a1 }} .ours {{ fill: #4493f8 }}\n\
         .ceiling {{ fill: #656c76 }} .peer {{ fill: #db6d28 }} .line {{ stroke: #9198a1 }}\n}}\n</style>\n\
         <rect class=\"back\" width=\"100%\" height=\"100%\"/>\n",
        escaped(about)
    )
}

/// The picture of all cells.
#[must_use]
pub fn render(results: &Results, caption: &str) -> String {
    let cells = results.cells();
    let height = cells.iter().map(|&cell| HEADING + BAR * results.systems(cell).len()).sum::<usize>() + 3 * MARGIN;
    let mut svg = open(height, caption);
    let mut y = MARGIN;
    for cell in cells {
        bars(results, cell, y, &mut svg);
        y += HEADING + BAR * results.systems(cell).len();
    }
    text(&mut svg, MARGIN, y + MARGIN + 6, "quiet", caption);
    svg + "</svg>\n"
}

fn bars(results: &Results, cell: Cell, top: usize, svg: &mut String) {
    let (heading, figure) = headline(cell);
    text(svg, MARGIN, top + 26, "", &format!("{heading}: {}", title(cell)));
    let spreads: Vec<(System, Spread)> = results
        .systems(cell)
        .into_iter()
        .filter_map(|system| Some((system, results.spread(cell, system, figure)?)))
        .collect();
    let longest = spreads.iter().map(|(_, spread)| spread.max).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LABEL - FIGURE - MARGIN) as f64 / longest;
    for (at, (system, spread)) in spreads.iter().enumerate() {
        let y = top + HEADING - 12 + at * BAR;
        let class = class(*system);
        text(svg, MARGIN, y + 14, "", system.name());
        let x = LABEL as f64;
        *svg += &format!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" rx=\"2\"/>\n",
            y + 3,
            (spread.median * scale).max(1.0),
            BAR - 6
        );
        // From the worst to the best round.
        let (from, to, middle) = (x + spread.min * scale, x + spread.max * scale, y + BAR / 2);
        *svg += &format!("<path class=\"line\" d=\"M{from:.1} {middle}H{to:.1}\"/>\n");
        let share = results.ratio(cell, *system, System::Coalesce, figure);
        let share = share.map(|share| format!(" ({share:.2} of coalesce)")).unwrap_or_default();
        text(svg, to as usize + 6, y + 14, "quiet", &format!("{}{share}", short(spread.median)));
    }
}

const fn class(system: System) -> &'static str {
    match system {
        System::Direct | System::Coalesce => "ceiling",
        System::Stentor | System::StentorOne => "ours",
        System::Nchan | System::Crossbar => "peer",
    }
}

/// A piece of text at a place.
pub fn text(svg: &mut String, x: usize, y: usize, class: &str, words: &str) {
    *svg += &format!("<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{}</text>\n", escaped(words));
}

/// A number as people read it.
#[must_use]
pub fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.2} M", value / 1e6),
        value if value >= 1e4 => format!("{:.0} k", value / 1e3),
        value if value >= 100.0 => format!("{value:.0}"),
        value => format!("{value:.2}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounds::tests::results;

    #[test]
    fn bars_are_drawn() {
        let cell = Cell::Fanout(1);
        let name = "events_per_cpu_s";
        let rows: &[(_, _, _, &[f64])] =
            &[(cell, System::Stentor, name, &[50_000.0]), (cell, System::Coalesce, name, &[100_000.0])];
        let svg = render(&results(rows), "a < b");
        assert_eq!(svg.matches("<rect class=\"ours\"").count(), 1);
        assert_eq!(svg.matches("<rect class=\"ceiling\"").count(), 1);
        for part in ["50 k (0.50 of coalesce)", "a &lt; b", "prefers-color-scheme: dark", "</svg>"] {
            assert!(svg.contains(part), "{part} is missing in {svg}");
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, expect) in [(2_220_000.0, "2.22 M"), (50_400.0, "50 k"), (9999.0, "9999"), (1.304, "1.30")] {
            assert_eq!(short(value), expect);
        }
    }
}
