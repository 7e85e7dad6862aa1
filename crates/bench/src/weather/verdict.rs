//! Whether what an attack has shown is good enough, and the table.

use super::record::{Record, Window};

/// How many times the calm latency the honest may wait during an attack.
const RATIO_MAX: f64 = 2.0;

/// What they may wait longer in any case: twice next to nothing is next to nothing.
const GRACE_MS: f64 = 2.0;

fn event(window: &Window) -> f64 {
    window.event_ms
}

fn answer(window: &Window) -> f64 {
    window.answer_ms
}

/// What is wrong; nothing when the attack was held.
pub(super) fn faults(record: &Record) -> Vec<String> {
    let mut faults = Vec::new();
    let is_measured = record.quiet() > 0;
    if !is_measured {
        faults.push("latencies not measured: the host took too much".to_owned());
    }
    for (name, figure) in [("events", event as fn(&Window) -> f64), ("answers", answer)] {
        let base = base(record, figure);
        let worst = worst(record, figure);
        if is_measured && worst > (RATIO_MAX * base).max(base + GRACE_MS) {
            faults.push(format!("{name} {worst:.1} ms after {base:.1}"));
        }
    }
    let grown = record.most(|round| round.memory.1.saturating_sub(round.memory.0));
    if grown > record.attack.bound() {
        faults.push(format!("{} of {} MiB", grown >> 20, record.attack.bound() >> 20));
    }
    let is_counted = |name: &&str| record.attack.reasons.contains(name);
    if !record.rounds.iter().all(|round| round.closed.keys().any(|name| is_counted(&name.as_str()))) {
        faults.push("no metric".to_owned());
    }
    let ends = record.sum(|round| &round.ends);
    for end in ["still there", "not begun"] {
        if let Some(left) = ends.get(end) {
            faults.push(format!("{left} {end}"));
        }
    }
    if record.rounds.iter().any(|round| round.ends.is_empty()) {
        faults.push("no culprit ended".to_owned());
    }
    let harm: u64 = record.rounds.iter().map(|round| round.harm).sum();
    if harm > 0 {
        faults.push(format!("{harm} honest events or sessions lost"));
    }
    faults
}

/// What the attack is held against: the larger of calm and control.
fn base(record: &Record, figure: fn(&Window) -> f64) -> f64 {
    let calm = record.median(|round| round.calm.quiet(figure));
    calm.max(record.median(|round| round.control?.quiet(figure)))
}

fn worst(record: &Record, figure: fn(&Window) -> f64) -> f64 {
    record.course(figure).into_iter().fold(0.0, f64::max)
}

/// A list such as "Close 1008 (20), EOF (3)", the most frequent first.
fn list(counts: impl IntoIterator<Item = (String, u64)>) -> String {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let words: Vec<String> = counts.into_iter().map(|(word, count)| format!("{word} ({count})")).collect();
    words.join(", ")
}

/// The table as Markdown. Latencies are medians of the rounds that the machine's host did not disturb, memory is the most of them, counts are their sums.
pub(super) fn render(records: &[Record]) -> String {
    let mut text =
        "| attack | rounds | calm | onset | later | ratio | answer calm | answer worst | control | CPU server \
                    | CPU attackers | MiB | bound | culprit ended by | metric | verdict |\n|---|"
            .to_owned();
    text += &"---:|".repeat(12);
    text += "---|---|---|\n";
    for record in records {
        let course = record.course(event);
        let (onset, later) = course
            .split_first()
            .map_or((0.0, 0.0), |(onset, later)| (*onset, later.iter().copied().fold(0.0, f64::max)));
        let ratio = worst(record, event) / base(record, event).max(0.001);
        let control = record.median(|round| round.control?.quiet(event));
        let control = if control > 0.0 { format!("{control:.1}") } else { String::new() };
        let mib = |octets: u64| octets.div_ceil(1 << 20);
        let mut closed = record.sum(|round| &round.closed);
        closed.retain(|name, _| record.attack.reasons.contains(&name.as_str()));
        let faults = faults(record);
        let verdict = if faults.is_empty() { "holds".to_owned() } else { faults.join("; ") };
        text += &format!(
            "| `{}` | {} of {} | {:.1} | {onset:.1} | {later:.1} | {ratio:.1} | {:.1} | {:.1} | {control} | {:.2} | {:.2} | {} | {} \
             | {} | {} | {verdict} |\n",
            record.attack.name,
            record.quiet(),
            record.rounds.len(),
            record.median(|round| round.calm.quiet(event)),
            record.median(|round| round.calm.quiet(answer)),
            worst(record, answer),
            worst(record, |window| window.server),
            worst(record, |window| window.attackers),
            mib(record.most(|round| round.memory.1.saturating_sub(round.memory.0))),
            mib(record.attack.bound()),
            list(record.sum(|round| &round.ends)),
            list(closed),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::Attack;
    use super::super::record::tests::round;
    use super::*;

    fn record() -> Record {
        Record { attack: Attack::find("silent").expect("listed"), rounds: vec![round()] }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut super::super::record::Round), expect: &[&str]) {
        let mut record = record();
        change(&mut record.rounds[0]);
        assert_eq!(faults(&record), expect);
    }

    #[test]
    fn storms_are_judged() {
        check(|_| {}, &[]);
        check(|round| round.windows[1].event_ms = 3.0, &[]);
        check(|round| round.windows[1].event_ms = 3.1, &["events 3.1 ms after 1.0"]);
        check(|round| round.windows[0].answer_ms = 9.0, &["answers 9.0 ms after 1.0"]);
        check(|round| (round.calm.event_ms, round.windows[0].event_ms) = (5.0, 9.9), &[]);
        check(
            |round| {
                round.windows[0].event_ms = 9.0;
                round.control = Some(Window { event_ms: 8.0, ..Window::default() });
            },
            &[],
        );
        check(|round| round.memory.1 = 80 << 20, &["70 of 37 MiB"]);
        check(|round| round.closed = [("idle".to_owned(), 3)].into(), &["no metric"]);
        check(|round| _ = round.ends.insert("still there".to_owned(), 2), &["2 still there"]);
        check(|round| round.calm.stolen = 0.5, &["latencies not measured: the host took too much"]);
        check(|round| round.harm = 1, &["1 honest events or sessions lost"]);
        assert!(render(&[record()]).contains("| `silent` | 1 of 1 | 1.0 |") && render(&[record()]).contains("holds"));
    }

    #[test]
    fn one_bad_round_of_three_is_the_machine_unless_memory_or_counts_say_otherwise() {
        let mut record = record();
        record.rounds = vec![round(); 3];
        record.rounds[1].windows[0].event_ms = 50.0;
        assert!(faults(&record).is_empty());
        record.rounds[2].memory.1 = 80 << 20;
        record.rounds[2].closed.clear();
        assert_eq!(faults(&record), ["70 of 37 MiB", "no metric"]);
    }
}
