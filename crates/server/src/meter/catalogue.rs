//! Every metric there is, and the reference page about them.

use std::fmt::Write;

use super::{Meters, Metric, Reason, sampled};

/// What stands above the tables of the reference page.
const PREFACE: &str = "\
# Metrics

`/metrics` tells these numbers in the text format of Prometheus (0.0.4). Who may ask, and how to mount it elsewhere, is in
[Configuration](configuration.md#observability). Counters begin at 0 when the process starts.

This page is generated from the code: `UPDATE_DOCS=1 cargo test -p stentor-server --lib catalogue` writes it, and the same
test without the variable compares.

";

/// All metrics, in the order of the page.
pub fn catalogue() -> impl Iterator<Item = &'static Metric> {
    Meters::METRICS.iter().chain(sampled::ALL)
}

/// `docs/metrics.md`.
#[must_use]
pub fn reference_page() -> String {
    let mut page = PREFACE.to_owned();
    page.push_str("| name | type | label | meaning |\n|---|---|---|---|\n");
    for Metric { name, kind, label, help } in catalogue() {
        let label = label.map_or_else(String::new, |label| format!("`{label}`"));
        writeln!(page, "| `{name}` | {} | {label} | {help} |", kind.name()).expect("a String takes every text");
    }
    page.push_str("\n## Reasons\n\nThe values of the label `reason` of `stentor_closed_total`. All of them are always there, at 0 ");
    page.push_str("if need be, so that an alert can\nbe written before the first case.\n\n| reason | what happened |\n|---|---|\n");
    for reason in Reason::ALL {
        writeln!(page, "| `{}` | {} |", reason.label(), reason.help()).expect("a String takes every text");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let all: Vec<_> = catalogue().collect();
        for (place, metric) in all.iter().enumerate() {
            let name = metric.name;
            assert!(name.starts_with("stentor_") || name.starts_with("process_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert!(metric.help.ends_with('.') && !metric.help.contains(['\\', '\n']), "{name}");
            assert!(all[..place].iter().all(|other| other.name != name), "{name} is there twice");
        }
    }

    #[test]
    fn the_reference_page_is_the_catalogue() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, reference_page()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(written, reference_page(), "run again with UPDATE_DOCS=1");
    }
}
