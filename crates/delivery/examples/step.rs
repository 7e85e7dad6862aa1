//! What a delivery costs the machine, and what an idle subscription weighs: `cargo run --release --example step`.

use std::io::Write as _;
use std::time::{Duration, Instant};

use stentor_delivery::{Action, Engine, Enrolment, Event, Now, Options, Outcome, Reach};
use stentor_model::{Offset, Topic, WebhookId};

const UNIX: u64 = 1_800_000_000;

fn main() {
    for (name, webhooks, topics, hosts, publications) in [
        ("50 topics of one subscription", 50, 50, 50, 20_000),
        ("one topic of 1000 subscriptions", 1000, 1, 50, 1000),
        ("1000 topics of one subscription", 1000, 1000, 1000, 1000),
        ("one topic of 100 000 subscriptions", 100_000, 1, 1000, 10),
    ] {
        let least = (0..5).map(|_| run(webhooks, topics, hosts, publications)).min().unwrap_or_default();
        let deliveries =
            webhooks * publications * u64::from(topics == 1) + publications * topics * u64::from(topics > 1);
        say(&format!("{name}: {} ns a delivery", least.as_nanos() / u128::from(deliveries)));
    }
    idle();
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock; the machine does not")]
fn clock() -> Instant {
    Instant::now()
}

fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

fn name(number: u64) -> Topic {
    Topic::parse(&format!("https://example.com/topic/{number}")).expect("a topic")
}

fn enrol(engine: &mut Engine, webhook: u64, topic: Topic, host: u64, out: &mut Vec<Action>) {
    let enrolment = Enrolment {
        webhook: WebhookId(webhook),
        topic,
        host: format!("https://receiver-{host}.example").into(),
        cursor: Offset::START,
        tail: Some(Offset::START),
        lease_end: UNIX + 864_000 + webhook % 1000,
        attempts_max: None,
    };
    engine.handle(Event::Subscribed(enrolment), now(0), out);
}

fn now(millis: u64) -> Now {
    let elapsed = Duration::from_millis(millis);
    Now { elapsed, unix: Duration::from_secs(UNIX) + elapsed }
}

/// Publishes to all topics in rounds of ten, and answers everything at once with 204.
fn run(webhooks: u64, topics: u64, hosts: u64, publications: u64) -> Duration {
    let mut engine = Engine::new(Options::default(), 1);
    let mut out = Vec::new();
    let names: Vec<Topic> = (0..topics).map(name).collect();
    for webhook in 0..webhooks {
        let topic = names[usize::try_from(webhook % topics).expect("small")].clone();
        enrol(&mut engine, webhook, topic, webhook % hosts, &mut out);
    }
    let (mut newest, mut events) = (0, Vec::new());
    let start = clock();
    for round in 0..publications.div_ceil(10) {
        newest += 10;
        for topic in &names {
            events.push(Event::Appended { topic: topic.clone(), offset: Offset::new(newest) });
        }
        while let Some(event) = events.pop() {
            engine.handle(event, now(round), &mut out);
            for action in out.drain(..) {
                match action {
                    Action::Fetch { key, after, .. } => {
                        let offsets = (after.get() + 1..=newest).map(Offset::new).collect();
                        events.push(Event::Fetched { key, offsets, reach: Reach::Tail });
                    }
                    Action::Post(attempt) => events.push(Event::Attempted {
                        key: attempt.key,
                        outcome: Outcome::Answered(204),
                        retry_after: None,
                    }),
                    _ => {}
                }
            }
        }
    }
    let took = start.elapsed();
    assert_eq!(engine.counters().delivered, newest * webhooks, "everything was delivered");
    took
}

fn idle() {
    let many = 1_000_000;
    for (text, topics, hosts) in
        [("1000 topics, 10 000 hosts", 1000, 10_000), ("a topic and a host for each", many, many)]
    {
        let before = resident();
        let mut engine = Engine::new(Options::default(), 1);
        let mut out = Vec::new();
        let names: Vec<Topic> = if topics < many { (0..topics).map(name).collect() } else { Vec::new() };
        let start = clock();
        for webhook in 0..many {
            let at = usize::try_from(webhook % topics).expect("small");
            let topic = names.get(at).cloned().unwrap_or_else(|| name(webhook));
            enrol(&mut engine, webhook, topic, webhook % hosts, &mut out);
        }
        let took = start.elapsed();
        let (tables, resident) = (engine.gauges().table_bytes as u64 / many, (resident() - before) / many);
        say(&format!(
            "a million idle, {text}: {tables} octets each in tables, {resident} resident, loaded in {took:?}"
        ));
    }
}

/// Octets of this process in memory, where the system tells.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
}
