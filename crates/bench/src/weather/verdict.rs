//! What a storm has shown, and whether that is good enough.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::attack::Attack;

/// How many times the calm latency the honest may wait during an attack.
const RATIO_MAX: f64 = 2.0;

/// What they may wait longer in any case: twice next to nothing is next to nothing.
const GRACE_MS: f64 = 2.0;

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
}

/// Everything that was seen of one attack.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) attack: &'static Attack,
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

/// What is wrong; nothing when the attack was held.
pub(super) fn faults(record: &Record) -> Vec<String> {
    let mut faults = Vec::new();
    let event = |window: &Window| window.event_ms;
    let answer = |window: &Window| window.answer_ms;
    for (name, figure) in [("events", event as fn(&Window) -> f64), ("answers", answer)] {
        let base = base(record, figure);
        let worst = worst(record, figure);
        if worst > (RATIO_MAX * base).max(base + GRACE_MS) {
            faults.push(format!("{name} {worst:.1} ms after {base:.1}"));
        }
    }
    let grown = record.memory.1.saturating_sub(record.memory.0);
    if grown > record.attack.bound() {
        faults.push(format!("{} of {} MiB", grown >> 20, record.attack.bound() >> 20));
    }
    let counted: u64 = reasons(record).map(|(_, count)| count).sum();
    if counted == 0 {
        faults.push("no metric".to_owned());
    }
    if let Some(left) = record.ends.get("still there") {
        faults.push(format!("{left} still there"));
    }
    if record.ends.is_empty() {
        faults.push("no culprit ended".to_owned());
    }
    if record.harm > 0 {
        faults.push(format!("{} honest events or sessions lost", record.harm));
    }
    faults
}

fn base(record: &Record, figure: fn(&Window) -> f64) -> f64 {
    figure(&record.calm).max(record.control.as_ref().map_or(0.0, figure))
}

fn worst(record: &Record, figure: fn(&Window) -> f64) -> f64 {
    record.windows.iter().map(figure).fold(0.0, f64::max)
}

fn reasons(record: &Record) -> impl Iterator<Item = (&'static str, u64)> + '_ {
    let count = |&reason: &&'static str| record.closed.get(reason).copied().unwrap_or_default();
    record.attack.reasons.iter().map(move |reason| (*reason, count(reason))).filter(|(_, count)| *count > 0)
}

/// A list such as "Close 1008 (20), EOF (3)", the most frequent first.
fn list<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> String {
    let mut counts: Vec<_> = counts.collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let words: Vec<String> = counts.into_iter().map(|(word, count)| format!("{word} ({count})")).collect();
    words.join(", ")
}

/// The table as Markdown.
pub(super) fn render(records: &[Record]) -> String {
    let mut text =
        "| attack | calm | onset | steady | ratio | answer calm | answer worst | CPU server | CPU attackers | control \
                    | memory | bound | culprit ended by | metric | verdict |\n|---|"
            .to_owned();
    text += &"---:|".repeat(11);
    text += "---|---|---|\n";
    for record in records {
        let (onset, steady) = record.windows.split_first().map_or((0.0, 0.0), |(onset, steady)| {
            (onset.event_ms, steady.iter().map(|window| window.event_ms).fold(0.0, f64::max))
        });
        let event = |window: &Window| window.event_ms;
        let ratio = worst(record, event) / base(record, event).max(0.001);
        let answer = worst(record, |window| window.answer_ms);
        let control = record.control.map_or("-".to_owned(), |window| format!("{:.1}", window.event_ms));
        let mib = |octets: u64| octets.div_ceil(1 << 20);
        let faults = faults(record);
        let verdict = if faults.is_empty() { "holds".to_owned() } else { faults.join("; ") };
        text += &format!(
            "| {} | {:.1} | {onset:.1} | {steady:.1} | {ratio:.1} | {:.1} | {answer:.1} | {:.2} | {:.2} | {control} | {} | {} | {} \
             | {} | {verdict} |\n",
            record.attack.name,
            record.calm.event_ms,
            record.calm.answer_ms,
            worst(record, |window| window.server),
            worst(record, |window| window.attackers),
            mib(record.memory.1.saturating_sub(record.memory.0)),
            mib(record.attack.bound()),
            list(record.ends.iter().map(|(word, count)| (word.as_str(), *count))),
            list(reasons(record)),
        );
    }
    text
}

/// Everything, for machines.
pub(super) fn json(record: &Record) -> Value {
    let window = |window: &Window| {
        json!({"event_p99_ms": window.event_ms, "answer_p99_ms": window.answer_ms, "server_cpus": window.server,
               "attacker_cpus": window.attackers, "late": window.late})
    };
    json!({
        "attack": record.attack.name,
        "words": record.attack.words,
        "calm": window(&record.calm),
        "windows": record.windows.iter().map(window).collect::<Vec<_>>(),
        "control": record.control.as_ref().map(window),
        "memory_before": record.memory.0,
        "memory_peak": record.memory.1,
        "memory_bound": record.attack.bound(),
        "memory_why": record.attack.why,
        "ends": record.ends,
        "closed": record.closed,
        "faults": faults(record),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let attack = Attack::find("silent").expect("listed");
        let window = Window { event_ms: 1.0, answer_ms: 1.0, ..Window::default() };
        Record {
            attack,
            calm: window,
            windows: vec![window, window],
            control: None,
            memory: (10 << 20, 20 << 20),
            ends: [("EOF".to_owned(), 10_000)].into(),
            closed: [("silent".to_owned(), 10_000)].into(),
            harm: 0,
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Record), expect: &[&str]) {
        let mut record = record();
        change(&mut record);
        assert_eq!(faults(&record), expect);
    }

    #[test]
    fn storms_are_judged() {
        check(|_| {}, &[]);
        check(|record| record.windows[1].event_ms = 3.0, &[]);
        check(|record| record.windows[1].event_ms = 3.1, &["events 3.1 ms after 1.0"]);
        check(|record| record.windows[0].answer_ms = 9.0, &["answers 9.0 ms after 1.0"]);
        check(|record| (record.calm.event_ms, record.windows[0].event_ms) = (5.0, 9.9), &[]);
        check(
            |record| {
                record.windows[0].event_ms = 9.0;
                record.control = Some(Window { event_ms: 8.0, ..Window::default() });
            },
            &[],
        );
        check(|record| record.memory.1 = 80 << 20, &["70 of 37 MiB"]);
        check(|record| record.closed = [("idle".to_owned(), 3)].into(), &["no metric"]);
        check(|record| _ = record.ends.insert("still there".to_owned(), 2), &["2 still there"]);
        check(|record| record.harm = 1, &["1 honest events or sessions lost"]);
        assert!(render(&[record()]).contains("| silent | 1.0 |") && render(&[record()]).contains("holds"));
    }
}
