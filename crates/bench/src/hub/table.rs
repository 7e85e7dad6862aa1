//! Results of hubs as text and as a picture.

use super::{HubCell, HubResults, Maker, Signing};
use crate::cell::{CONNECTIONS, PAYLOAD};
use crate::chart::{self, short};
use crate::hub::cell::{Neighbour, Trouble};

/// A column: its heading, its figure, and the digits behind the point.
type Column = (&'static str, &'static str, usize);

const FAULTS: [Column; 3] = [("lost", "lost", 0), ("swapped", "swapped", 0), ("twice", "duplicated", 0)];

/// The first column is the one that is compared.
const DELIVER: &[Column] = &[
    ("deliveries/CPU-s", "deliveries_per_cpu_s", 0),
    ("deliveries/s", "deliveries_per_s", 0),
    ("p50 ms", "p50_ms", 2),
    ("p99 ms", "p99_ms", 2),
    ("connections", "connections", 0),
    FAULTS[0],
    FAULTS[1],
    FAULTS[2],
    ("stolen s", "stolen_s", 1),
];

const ACCEPT: &[Column] = &[
    ("publications/s", "publications_per_s", 0),
    ("of CPU-s", "publications_per_cpu_s", 0),
    ("p50 ms", "p50_ms", 2),
    ("p99 ms", "p99_ms", 2),
];

const LATENCY: &[Column] = &[
    ("p99 ms", "p99_ms", 2),
    ("p50 ms", "p50_ms", 2),
    ("p99.9 ms", "p999_ms", 2),
    ("max ms", "max_ms", 1),
    ("deliveries/s", "deliveries_per_s", 0),
    FAULTS[0],
    FAULTS[1],
    FAULTS[2],
    ("stolen s", "stolen_s", 1),
];

const PRESSED: &[Column] = &[
    ("events/own CPU-s", "events_per_own_cpu_s", 0),
    ("events/s", "events_per_s", 0),
    ("deliveries/s", "deliveries_per_s", 0),
    FAULTS[0],
    FAULTS[1],
    FAULTS[2],
    ("stolen s", "stolen_s", 1),
];

const IDLE: &[Column] = &[
    ("octets each", "octets_per_subscription", 0),
    ("start ms", "start_ms", 0),
    ("loaded ms", "loaded_ms", 0),
    ("MiB after", "after_mib", 1),
    ("file octets", "file_octets_per_subscription", 0),
];

const fn columns(cell: HubCell) -> &'static [Column] {
    match cell {
        HubCell::Deliver(..) => DELIVER,
        HubCell::Accept(_) => ACCEPT,
        HubCell::Faulty(_) | HubCell::Beside(_) => LATENCY,
        HubCell::Pressed(_) => PRESSED,
        HubCell::Idle(_) => IDLE,
    }
}

/// The figure of a cell that is compared, and its heading.
#[must_use]
pub fn headline(cell: HubCell) -> (&'static str, &'static str) {
    (columns(cell)[0].0, columns(cell)[0].1)
}

/// What a cell measures, in one line.
#[must_use]
pub fn title(cell: HubCell) -> String {
    match cell {
        HubCell::Deliver(count, signing) => format!(
            "full rate to {count} endpoint{}{}, {CONNECTIONS} publishers, {PAYLOAD} octets",
            if count == 1 { "" } else { "s" },
            if signing == Signing::Signed { ", signed" } else { "" },
        ),
        HubCell::Accept(count) => {
            format!("taken from {count} publisher{}, 200 octets", if count == 1 { "" } else { "s" })
        }
        HubCell::Faulty(trouble) => {
            let words = match trouble {
                Trouble::None => "all of them healthy",
                Trouble::Fifth => "a tenth slow (200 ms), a tenth failing",
                Trouble::Hanging => "one never answers",
                Trouble::Failing => "one answers 500",
                Trouble::Dripping => "one answers an octet a second",
            };
            format!("100 publications/s to 50 endpoints, {words}; the healthy ones' latency")
        }
        HubCell::Beside(neighbour) => format!("200 WAMP publications/s to 100 sessions, {}", company(neighbour)),
        HubCell::Pressed(neighbour) => {
            format!("WAMP publications at full rate to 100 sessions, {}", company(neighbour))
        }
        HubCell::Idle(count) => format!("{count} subscriptions that nobody publishes to"),
    }
}

const fn company(neighbour: Neighbour) -> &'static str {
    match neighbour {
        Neighbour::None => "alone",
        Neighbour::Other => "beside a busy hub of another node",
        Neighbour::Own => "beside a busy hub of the same node",
    }
}

/// All cells, then what went wrong.
#[must_use]
pub fn render(results: &HubResults) -> String {
    let mut text = String::new();
    for cell in results.cells() {
        section(results, cell, &mut text);
    }
    let faults = results.faults();
    line(&mut text, if faults.is_empty() { "\nno losses, swaps or duplicates" } else { "\nFAULTS" });
    faults.iter().for_each(|fault| line(&mut text, &format!("  {fault}")));
    text
}

fn section(results: &HubResults, cell: HubCell, text: &mut String) {
    let (first, rest) = columns(cell).split_first().expect("every cell has a figure");
    let reference = reference(cell);
    line(text, &format!("\n{} ({})", title(cell), cell.name()));
    let of = reference.map_or_else(String::new, |reference| format!("x {}", reference.name()));
    let mut head = format!("  {:<10}{:>18}{:>22}{of:>11}", "", first.0, "min..max");
    rest.iter().for_each(|(heading, ..)| head += &format!("{heading:>15}"));
    line(text, &head);
    for maker in results.systems(cell) {
        let Some(spread) = results.spread(cell, maker, first.1) else { continue };
        let number = |value: f64, digits: usize| format!("{value:.digits$}");
        let range = format!("{}..{}", number(spread.min, first.2), number(spread.max, first.2));
        let mut row = format!("  {:<10}{:>18}{range:>22}", maker.name(), number(spread.median, first.2));
        let ratio = reference.and_then(|reference| results.ratio(cell, maker, reference, first.1));
        row += &format!("{:>11}", ratio.map(|ratio| number(ratio, 2)).unwrap_or_default());
        for (_, figure, digits) in rest {
            let value = results.spread(cell, maker, figure);
            row += &format!("{:>15}", value.map_or_else(|| "-".to_owned(), |spread| number(spread.median, *digits)));
        }
        line(text, &row);
    }
}

/// Who the others are compared with.
const fn reference(cell: HubCell) -> Option<Maker> {
    match cell {
        HubCell::Deliver(..) => Some(Maker::Ceiling),
        HubCell::Accept(_) => Some(Maker::Bare),
        _ => None,
    }
}

fn line(text: &mut String, line: &str) {
    *text += line;
    text.push('\n');
}

const BAR: usize = 20;
const LABEL: usize = 100;
const HEADING: usize = 46;
const MARGIN: usize = 16;
/// Room between the margins for the longest bar; its figure stands behind it.
const LENGTH: f64 = 460.0;

/// The cells that have somebody to be compared with, as bars.
#[must_use]
pub fn draw(results: &HubResults, caption: &str) -> String {
    let cells: Vec<_> = results.cells().into_iter().filter(|&cell| reference(cell).is_some()).collect();
    let height = cells.iter().map(|&cell| HEADING + BAR * results.systems(cell).len()).sum::<usize>() + 3 * MARGIN;
    let mut svg = chart::open(height, caption);
    let mut y = MARGIN;
    for cell in cells {
        bars(results, cell, y, &mut svg);
        y += HEADING + BAR * results.systems(cell).len();
    }
    chart::text(&mut svg, MARGIN, y + MARGIN + 6, "quiet", caption);
    svg + "</svg>\n"
}

fn bars(results: &HubResults, cell: HubCell, top: usize, svg: &mut String) {
    let (heading, figure) = headline(cell);
    chart::text(svg, MARGIN, top + 26, "", &format!("{heading}: {}", title(cell)));
    let spread = |maker| Some((maker, results.spread(cell, maker, figure)?));
    let spreads: Vec<_> = results.systems(cell).into_iter().filter_map(spread).collect();
    let longest = spreads.iter().map(|(_, spread)| spread.max).fold(f64::MIN_POSITIVE, f64::max);
    for (at, (maker, spread)) in spreads.iter().enumerate() {
        let (y, x, scale) = (top + HEADING - 12 + at * BAR, LABEL as f64, LENGTH / longest);
        let class = match maker {
            Maker::Ceiling | Maker::Bare => "ceiling",
            Maker::Memory | Maker::Sqlite | Maker::Store => "ours",
        };
        chart::text(svg, MARGIN, y + 14, "", maker.name());
        let (width, thickness) = ((spread.median * scale).max(1.0), BAR - 6);
        *svg += &format!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"{width:.1}\" height=\"{thickness}\" rx=\"2\"/>\n",
            y + 3
        );
        // From the worst to the best round.
        let (from, to, middle) = (x + spread.min * scale, x + spread.max * scale, y + BAR / 2);
        *svg += &format!("<path class=\"line\" d=\"M{from:.1} {middle}H{to:.1}\"/>\n");
        let ratio =
            reference(cell).and_then(|reference| results.ratio(cell, *maker, reference, figure).zip(Some(reference)));
        let ratio =
            ratio.map(|(ratio, reference)| format!(" ({ratio:.2} of {})", reference.name())).unwrap_or_default();
        chart::text(svg, to as usize + 6, y + 14, "quiet", &format!("{}{ratio}", short(spread.median)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounds::tests::results;

    #[test]
    fn tables_and_pictures_compare_with_the_ceiling() {
        let (cell, name) = (HubCell::Deliver(50, Signing::Signed), "deliveries_per_cpu_s");
        let rows: &[(_, _, _, &[f64])] =
            &[(cell, Maker::Ceiling, name, &[60_000.0]), (cell, Maker::Sqlite, name, &[28_000.0, 30_000.0, 33_000.0])];
        let text = render(&results(rows));
        for part in ["28000..33000", "0.50", "signed50", "no losses"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        let svg = draw(&results(rows), "here");
        assert!(svg.contains("30 k (0.50 of ceiling)") && svg.contains("</svg>"), "{svg}");
    }
}
