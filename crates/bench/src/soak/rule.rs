//! What must hold after a soak, and how it is told.

use std::fmt::Write;
use std::time::Duration;

use super::Soaked;
use super::guest::Visits;

/// What memory may grow by beside the share: the allocator's pages come in pieces.
const MEMORY_SPARE: u64 = 2 * 1024 * 1024;

/// The share that memory may grow by, in hundredths.
const MEMORY_SHARE: u64 = 5;

/// From when on memory must not grow any more.
const WARM_UP: Duration = Duration::from_secs(60);

/// A figure of the server at some time after the beginning.
pub(super) type Sample = (Duration, u64);

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it says.
    pub name: &'static str,
    /// What was found.
    pub found: String,
    /// Whether it held.
    pub held: bool,
}

/// The largest memory of the time of reference and of the last third. The time of reference is the second minute, and the
/// second third of a soak that is too short for that.
fn memory(samples: &[Sample], total: Duration) -> Option<(u64, u64)> {
    let warm_up = WARM_UP.min(total / 3);
    let largest = |from: Duration, to: Duration| {
        samples.iter().filter(|(at, _)| (from..to).contains(at)).map(|&(_, memory)| memory).max()
    };
    largest(warm_up, 2 * warm_up).zip(largest(total * 2 / 3, Duration::MAX))
}

/// Whether that is growth.
const fn grew((before, after): (u64, u64)) -> bool {
    after > before + before * MEMORY_SHARE / 100 + MEMORY_SPARE
}

/// The number of a metric, summed over its labels.
fn metric(page: &str, name: &str, label: &str) -> f64 {
    let of_it = |line: &&str| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with([' ', '{']) && rest.contains(label))
    };
    let numbers = page.lines().filter(of_it).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    numbers.sum()
}

/// The reasons for which the server closed something, with their numbers. That it takes a head which breaks off for
/// malformed is expected, as often as that was done.
fn closed(page: &str, cut: u64) -> Vec<(&str, u64)> {
    let lines = page.lines().filter_map(|line| line.strip_prefix("stentor_closed_total{reason=\"")?.split_once("\"} "));
    let numbers = lines.filter_map(|(reason, number)| Some((reason, number.parse().ok()?)));
    numbers.filter(|&(reason, number)| number > if reason == "malformed" { cut } else { 0 }).collect()
}

/// All rules, held against what was seen.
pub(super) fn judge(soaked: &Soaked) -> Vec<Rule> {
    let rule = |name, held, found| Rule { name, found, held };
    let stayed = soaked.tally;
    let Visits { tally: came, strays, .. } = soaked.visits;
    let page = &soaked.metrics;
    let panicked = metric(page, "stentor_tasks_panicked_total", "");
    let failed = metric(page, "stentor_http_requests_total", "5xx");
    let sessions = metric(page, "stentor_sessions", "");
    let closed = closed(page, soaked.calls.cut);
    let memory = memory(&soaked.memory, soaked.elapsed);
    let mib = |octets: u64| octets as f64 / 1_048_576.0;
    let (before, after) = soaked.descriptors;
    let mut rules = vec![
        rule("those who stayed have everything, once and in order", stayed.is_clean(), format!("{stayed:?}")),
        rule(
            "those who came have what they were owed, and no more",
            came.is_clean() && strays == 0,
            format!("{came:?}, {strays} astray"),
        ),
        rule(
            "memory does not grow after the first minute, or third",
            memory.is_some_and(|memory| !grew(memory)),
            memory.map_or_else(
                || "too short to tell".to_owned(),
                |(before, after)| format!("{:.1} MiB, then {:.1} MiB", mib(before), mib(after)),
            ),
        ),
        rule("no file descriptor is left behind", after <= before, format!("{before} before, {after} after")),
        rule("no session is left behind", sessions == soaked.subscribers as f64, format!("{sessions} are there")),
        rule("no task has panicked", panicked == 0.0, format!("{panicked}")),
        rule("no request failed on the server's side", failed == 0.0, format!("{failed}")),
        rule("the server closed nobody without need", closed.is_empty(), format!("{closed:?}")),
    ];
    rules.extend(soaked.faults.iter().map(|fault| rule("everybody came through", false, fault.clone())));
    rules
}

/// The figures, then the rules.
pub(super) fn render(soaked: &Soaked, rules: &[Rule]) -> String {
    let mut text = String::new();
    let seconds = soaked.elapsed.as_secs_f64();
    let latency = |share| soaked.latency.quantile(share) as f64 / 1e6;
    let mib =
        |samples: &[Sample]| samples.iter().map(|&(_, octets)| octets).max().unwrap_or_default() as f64 / 1_048_576.0;
    let rows = [
        ("seconds", format!("{seconds:.0}")),
        ("full rate, publications/s", format!("{:.0}", soaked.full_rate)),
        ("published at half of it", format!("{}", soaked.sent.publications)),
        ("publications/s", format!("{:.0}", soaked.sent.publications as f64 / seconds)),
        ("begun late", format!("{}", soaked.sent.late)),
        ("events to those who stayed", format!("{}", soaked.events)),
        ("events to those who came", format!("{}", soaked.visits.events)),
        (
            "sessions that came and went",
            format!("{} ({:.1}/s)", soaked.visits.count, soaked.visits.count as f64 / seconds),
        ),
        ("HTTP connections that came and went", format!("{}", soaked.calls.count)),
        (
            "p50, p99, p99.9, max ms",
            format!(
                "{:.2}, {:.2}, {:.2}, {:.2}",
                latency(0.5),
                latency(0.99),
                latency(0.999),
                soaked.latency.max() as f64 / 1e6
            ),
        ),
        ("largest memory, MiB", format!("{:.1}", mib(&soaked.memory))),
        ("largest number of descriptors", format!("{}", soaked.descriptors_max)),
        ("server's processor time, s", format!("{:.1}", soaked.cpu as f64 / 1e9)),
    ];
    for (name, value) in rows {
        // Writing into a text does not fail.
        let _written = writeln!(text, "  {name:<40}{value}");
    }
    for Rule { name, found, held } in rules {
        let word = if *held { "held" } else { "VIOLATED" };
        let _written = writeln!(text, "  {word:<9}{name}: {found}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(total: u64, memory_at: impl Fn(u64) -> u64, expect: Option<bool>) {
        let samples: Vec<_> = (0..total).map(|at| (Duration::from_secs(at), memory_at(at) << 20)).collect();
        assert_eq!(memory(&samples, Duration::from_secs(total)).map(grew), expect);
    }

    #[test]
    fn growth_is_told_from_warming_up() {
        check(600, |_| 30, Some(false));
        check(600, |at| if at < 60 { at } else { 60 }, Some(false));
        check(600, |at| 30 + at / 60, Some(true));
        // Five hundredths and two MiB.
        check(600, |at| if at < 300 { 40 } else { 44 }, Some(false));
        check(600, |at| if at < 300 { 40 } else { 45 }, Some(true));
        check(60, |at| if at < 20 { at } else { 20 }, Some(false));
        check(60, |at| 20 + at / 5, Some(true));
        check(0, |_| 1, None);
    }

    #[test]
    fn metrics_are_read() {
        let page = "# HELP a b\nstentor_a 3\nstentor_ab 4\nstentor_b{x=\"1\"} 1\nstentor_b{x=\"2\"} 2\n\
                    stentor_closed_total{reason=\"idle\"} 0\nstentor_closed_total{reason=\"silent\"} 10\n\
                    stentor_closed_total{reason=\"malformed\"} 7\n";
        assert_eq!(metric(page, "stentor_a", ""), 3.0);
        assert_eq!(metric(page, "stentor_b", ""), 3.0);
        assert_eq!(metric(page, "stentor_b", "\"2\""), 2.0);
        assert_eq!(closed(page, 7), [("silent", 10)]);
        assert_eq!(closed(page, 6), [("silent", 10), ("malformed", 7)]);
    }
}
