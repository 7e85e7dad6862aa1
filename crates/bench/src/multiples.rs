//! Curves as text, and as small pictures side by side.

use crate::chart::{self, short};
use crate::curve::{Curve, Curves};

/// What a publication may cost more with ten thousand patterns that do not match than with none.
const PATTERNS_MOST_US: f64 = 2.0;

const COLUMNS: &[(&str, &str, usize)] = &[
    ("us/publication", "cpu_us_per_publication", 2),
    ("events/CPU-s", "events_per_cpu_s", 0),
    ("publ./s", "publications_per_s", 0),
    ("p50 ms", "p50_ms", 2),
    ("p99 ms", "p99_ms", 2),
    ("guests/s", "guests_per_s", 0),
    ("lost", "lost", 0),
];

/// All curves, then what went wrong.
#[must_use]
pub fn render(curves: &Curves) -> String {
    let mut text = String::new();
    for curve in curves.curves() {
        text += &format!("\n{}, server's processor time, one thread\n  {:<10}", curve.title(), "");
        COLUMNS.iter().for_each(|(heading, _, _)| text += &format!("{heading:>16}"));
        text.push('\n');
        for label in curves.labels(curve) {
            text += &format!("  {label:<10}");
            for (_, figure, digits) in COLUMNS {
                let value = curves.spread(curve, label, figure);
                text += &value.map_or_else(|| format!("{:>16}", "-"), |value| format!("{:>16.digits$}", value.median));
            }
            text.push('\n');
        }
        if curve == Curve::Patterns
            && let Some(growth) = curves.growth(curve)
        {
            let word = if growth < PATTERNS_MOST_US { "reached" } else { "NOT REACHED" };
            text += &format!("  {growth:.2} us more than with none, of {PATTERNS_MOST_US} us at most: {word}\n");
        }
    }
    let faults = curves.faults();
    text += if faults.is_empty() { "\nno losses, swaps or duplicates\n" } else { "\nFAULTS\n" };
    faults.iter().for_each(|fault| text += &format!("  {fault}\n"));
    text
}

const WIDTH: usize = 340;
const HEIGHT: usize = 190;
const MARGIN: usize = 24;
/// Room below the bars for their labels, and above for their figures.
const FOOT: usize = 36;
const HEAD: usize = 56;

/// The picture: one small chart for each curve, two beside each other.
#[must_use]
pub fn draw(curves: &Curves, caption: &str) -> String {
    let all = curves.curves();
    let height = all.len().div_ceil(2) * HEIGHT + 3 * MARGIN;
    let mut svg = chart::open(height, caption);
    for (at, curve) in all.into_iter().enumerate() {
        small(curves, curve, MARGIN + at % 2 * (WIDTH + MARGIN), MARGIN / 2 + at / 2 * HEIGHT, &mut svg);
    }
    let unit = "microseconds of the server's processor per publication";
    chart::text(&mut svg, MARGIN, height - MARGIN - 18, "quiet", unit);
    chart::text(&mut svg, MARGIN, height - MARGIN, "quiet", caption);
    svg + "</svg>\n"
}

/// Bars of the cost. Their scale is logarithmic where the largest is more than twenty times the smallest.
fn small(curves: &Curves, curve: Curve, left: usize, top: usize, svg: &mut String) {
    let cost = |label: &&str| curves.spread(curve, label, "cpu_us_per_publication").map(|spread| spread.median);
    let bars: Vec<(&str, f64)> =
        curves.labels(curve).into_iter().filter_map(|label| Some((label, cost(&label)?))).collect();
    let largest = bars.iter().map(|bar| bar.1).fold(f64::MIN_POSITIVE, f64::max);
    let smallest = bars.iter().map(|bar| bar.1).fold(largest, f64::min);
    let is_wide = largest > 20.0 * smallest;
    let share = |value: f64| {
        if is_wide { (value / smallest * 2.0).log10() / (largest / smallest * 2.0).log10() } else { value / largest }
    };
    let scale = if is_wide { " (logarithmic)" } else { "" };
    chart::text(svg, left, top + 20, "", &format!("{}{scale}", curve.title()));
    let room = (HEIGHT - HEAD - FOOT) as f64;
    let step = WIDTH / bars.len().max(1);
    let floor = top + HEIGHT - FOOT;
    for (at, (label, value)) in bars.iter().enumerate() {
        let (x, tall) = (left + at * step, (share(*value) * room).max(1.0));
        let y = floor as f64 - tall;
        let width = step.min(70) - 8;
        *svg +=
            &format!("<rect class=\"ours\" x=\"{x}\" y=\"{y:.1}\" width=\"{width}\" height=\"{tall:.1}\" rx=\"2\"/>\n");
        chart::text(svg, x, y as usize - 4, "quiet", &short(*value));
        chart::text(svg, x, floor + 16, "", label);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::tests::curves;

    #[test]
    fn patterns_are_judged() {
        for (cost, expect) in [(11.9, ": reached"), (12.1, "NOT REACHED")] {
            let text = render(&curves(Curve::Patterns, &[("0", 10.0), ("10000", cost)]));
            assert!(text.contains(expect), "{text}");
        }
    }

    #[test]
    fn pictures_have_a_bar_for_each_point() {
        let svg = draw(&curves(Curve::Subscribers, &[("1", 10.0), ("1000", 900.0)]), "here");
        assert_eq!(svg.matches("class=\"ours\" x").count(), 2);
        assert!(svg.contains("logarithmic") && svg.contains("900") && svg.contains("</svg>"));
    }
}
