//! The machine against a log in memory: rows for each rule, and properties over random lives.

mod reads;
mod replays;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use stentor_model::{Offset, Topic, WebhookId};

use super::*;
use crate::event::{Attempt, AttemptKey, Errand, FetchKey, Outcome, Reach, SendFault, WaitFault};

const UNIX: u64 = 1_800_000_000;
const LEASE: u64 = 100_000;

/// A machine with a log that answers at once, and receivers that answer when told.
struct Scene {
    engine: Engine,
    elapsed: Duration,
    logs: BTreeMap<String, Vec<u64>>,
    /// Requests on their way, oldest first.
    flights: Vec<Attempt>,
    /// Everything said but reads and requests.
    said: Vec<String>,
    is_store_down: bool,
    /// Records of giving up stay on their way.
    is_store_slow: bool,
    /// Where reads began.
    reads: Vec<u64>,
    out: Vec<Action>,
}

impl Scene {
    fn new(options: Options) -> Self {
        Self {
            engine: Engine::new(options, 7),
            elapsed: Duration::ZERO,
            logs: BTreeMap::new(),
            flights: Vec::new(),
            said: Vec::new(),
            is_store_down: false,
            is_store_slow: false,
            reads: Vec::new(),
            out: Vec::new(),
        }
    }

    fn tell(&mut self, event: Event) {
        let now = Now { elapsed: self.elapsed, unix: Duration::from_secs(UNIX) + self.elapsed };
        self.engine.handle(event, now, &mut self.out);
        for action in std::mem::take(&mut self.out) {
            match action {
                Action::Fetch { key, topic, after, limit } => self.read(key, &topic, after, limit),
                Action::Post(attempt) => self.flights.push(attempt),
                Action::Cancel { webhook, .. } => self.said.push(format!("cancel {webhook}")),
                Action::Advance { webhook, offset } => self.said.push(format!("{webhook} at {offset}")),
                Action::Bury { webhook, offset, errand, attempts, .. } => {
                    self.said.push(format!("bury {webhook} {offset} after {attempts}"));
                    if self.is_store_slow {
                        continue;
                    }
                    self.tell(if self.is_store_down {
                        Event::BuryFailed { webhook, offset, errand }
                    } else {
                        Event::Buried { webhook, offset, errand }
                    });
                }
                Action::Replayed { webhook, offset } => self.said.push(format!("replayed {webhook} {offset}")),
                Action::ReplayEnded { webhook, offset } => self.said.push(format!("not replayed {webhook} {offset}")),
                Action::End { webhook, reason } => self.said.push(format!("end {webhook} {reason:?}")),
                Action::Drained => self.said.push("drained".to_owned()),
            }
        }
    }

    fn read(&mut self, key: FetchKey, topic: &Topic, after: Offset, limit: usize) {
        self.reads.push(after.get());
        if self.is_store_down {
            return self.tell(Event::FetchFailed { key });
        }
        let log = self.logs.get(topic.as_str()).cloned().unwrap_or_default();
        let rest: Vec<Offset> = log.into_iter().filter(|&raw| raw > after.get()).map(Offset::new).collect();
        // A store that gave as much as it may does not know whether that was the end.
        let reach = if rest.len() >= limit { Reach::More } else { Reach::Tail };
        self.tell(Event::Fetched { key, offsets: rest.into_iter().take(limit).collect(), reach });
    }

    /// A subscription with a known tail of 0.
    fn subscribe(&mut self, id: u64, topic: &str, host: &str) {
        self.enrol(id, topic, host, 0, Some(0), None);
    }

    fn enrol(&mut self, id: u64, topic: &str, host: &str, cursor: u64, tail: Option<u64>, attempts_max: Option<u32>) {
        self.tell(Event::Subscribed(Enrolment {
            webhook: WebhookId(id),
            topic: Topic::parse(topic).unwrap(),
            host: host.into(),
            cursor: Offset::new(cursor),
            tail: tail.map(Offset::new),
            lease_end: UNIX + LEASE,
            attempts_max: attempts_max.and_then(NonZeroU32::new),
        }));
    }

    fn replay(&mut self, id: u64, offset: u64, attempts_max: u32) {
        let attempts_max = NonZeroU32::new(attempts_max).expect("one at least");
        self.tell(Event::Replay { webhook: WebhookId(id), offset: Offset::new(offset), attempts_max });
    }

    fn append(&mut self, topic: &str, offset: u64) {
        self.logs.entry(topic.to_owned()).or_default().push(offset);
        self.tell(Event::Appended { topic: Topic::parse(topic).unwrap(), offset: Offset::new(offset) });
    }

    /// Ends the oldest attempt of a subscription.
    #[track_caller]
    fn answer(&mut self, id: u64, outcome: Outcome) {
        self.answer_after(id, outcome, None);
    }

    #[track_caller]
    fn answer_after(&mut self, id: u64, outcome: Outcome, retry_after: Option<u64>) {
        let at = self.flights.iter().position(|attempt| attempt.webhook.0 == id).expect("an attempt");
        let key = self.flights.remove(at).key;
        self.tell(Event::Attempted { key, outcome, retry_after: retry_after.map(Duration::from_secs) });
    }

    fn wait(&mut self, duration: Duration) {
        self.elapsed += duration;
        self.tell(Event::Tick);
    }

    /// Waits until the next deadline; how long that was.
    #[track_caller]
    fn wait_for_deadline(&mut self) -> Duration {
        let wait = self.engine.next_deadline().expect("a deadline") - self.elapsed;
        self.wait(wait);
        wait
    }

    /// What is on its way, as `webhook:offset#attempt`.
    #[track_caller]
    fn check_flights(&self, expected: &str) {
        let shown: Vec<String> =
            self.flights.iter().map(|a| format!("{}:{}#{}", a.webhook, a.offset, a.attempt)).collect();
        assert_eq!(shown.join(" "), expected);
    }

    /// What was said since the last check.
    #[track_caller]
    fn check_said(&mut self, expected: &str) {
        assert_eq!(std::mem::take(&mut self.said).join(", "), expected);
    }

    #[track_caller]
    fn view(&self, id: u64) -> WebhookView {
        self.engine.webhook(WebhookId(id)).expect("known")
    }
}

const OK: Outcome = Outcome::Answered(204);
const BROKEN: Outcome = Outcome::Answered(500);
const AWAY: Outcome = Outcome::NotSent(SendFault::Connect);

#[test]
fn one_after_the_other() {
    let mut scene = Scene::new(Options::default());
    scene.subscribe(1, "t", "h");
    scene.append("t", 10);
    scene.append("t", 12);
    scene.append("other", 13);
    scene.check_flights("1:10#1");
    scene.answer(1, OK);
    scene.check_flights("1:12#1");
    scene.check_said("1 at 10");
    scene.answer(1, OK);
    scene.check_flights("");
    scene.check_said("1 at 12");
    assert_eq!(scene.view(1).state, StateView::Idle);
    assert_eq!(scene.view(1).last, Some((OK, UNIX)));
}

#[test]
fn nothing_passes_a_failure() {
    for failure in [
        BROKEN,
        Outcome::Answered(302),
        Outcome::Answered(404),
        Outcome::Answered(100),
        AWAY,
        Outcome::NoAnswer(WaitFault::Timeout),
    ] {
        let mut scene = Scene::new(Options::default());
        scene.subscribe(1, "t", "h");
        scene.append("t", 1);
        scene.append("t", 2);
        for attempt in 2..10 {
            scene.answer(1, failure);
            scene.check_flights("");
            while scene.flights.is_empty() {
                scene.wait_for_deadline();
            }
            scene.check_flights(&format!("1:1#{attempt}"));
        }
        scene.check_said("");
        scene.answer(1, OK);
        scene.check_flights("1:2#1");
    }
}

#[test]
fn retry_after_is_honoured_within_limits() {
    let check = |asked: u64, least: u64, most: u64| {
        let mut scene = Scene::new(Options::default());
        scene.subscribe(1, "t", "h");
        scene.append("t", 1);
        scene.answer_after(1, Outcome::Answered(429), Some(asked));
        let StateView::Backoff { at, attempt: 2, .. } = scene.view(1).state else { panic!("no backoff") };
        assert!((least..=most).contains(&at.as_secs()), "{asked}: {at:?}");
    };
    check(0, 0, 1);
    check(30, 30, 30);
    check(1_000_000, 3600, 3600);
}

#[test]
fn giving_up_is_recorded_first() {
    let mut scene = Scene::new(Options::default());
    scene.enrol(1, "t", "h", 0, Some(0), Some(2));
    scene.append("t", 1);
    scene.append("t", 2);
    scene.answer(1, BROKEN);
    scene.wait_for_deadline();
    scene.is_store_down = true;
    scene.answer(1, BROKEN);
    scene.check_said("bury 1 1 after 2");
    assert_eq!(scene.view(1).state, StateView::Burial { offset: Offset::new(1), attempts: 2 });
    scene.wait_for_deadline();
    scene.check_said("bury 1 1 after 2");
    scene.is_store_down = false;
    scene.wait_for_deadline();
    scene.check_said("bury 1 1 after 2, 1 at 1");
    scene.check_flights("1:2#1");
    assert_eq!(scene.engine.counters().dead, 1);
}

#[test]
fn what_the_log_lost_is_dead() {
    let mut scene = Scene::new(Options::default());
    scene.subscribe(1, "t", "h");
    scene.append("t", 1);
    scene.append("t", 2);
    scene.answer(1, Outcome::Missing);
    scene.check_said("bury 1 1 after 0, 1 at 1");
    scene.check_flights("1:2#1");
}

#[test]
fn what_was_not_tried_does_not_count() {
    let mut scene = Scene::new(Options::default());
    scene.enrol(1, "t", "h", 0, Some(0), Some(1));
    scene.append("t", 1);
    scene.answer(1, Outcome::NotTried);
    scene.check_flights("");
    scene.wait_for_deadline();
    scene.check_flights("1:1#1");
    assert_eq!(scene.view(1).last, None);
}

#[test]
fn gone_ends() {
    let mut scene = Scene::new(Options::default());
    scene.subscribe(1, "t", "h");
    scene.append("t", 1);
    scene.append("t", 2);
    scene.answer(1, Outcome::Answered(410));
    scene.check_flights("");
    scene.check_said("end 1 Gone");
    let gauges = scene.engine.gauges();
    assert_eq!((gauges.webhooks, gauges.topics, gauges.hosts, gauges.in_flight), (0, 0, 0, 0));
}

#[test]
fn a_lease_ends_in_every_state() {
    let past = Duration::from_secs(LEASE + 1);
    let check = |name: &str, act: fn(&mut Scene), said: &str| {
        let mut scene = Scene::new(Options::default());
        scene.enrol(1, "t", "h", 0, Some(0), Some(2));
        act(&mut scene);
        scene.said.clear();
        scene.wait(past);
        assert_eq!(scene.said.join(", "), said, "{name}");
        assert_eq!(scene.engine.webhook(WebhookId(1)), None, "{name}");
        scene.append("t", 99);
        assert!(scene.flights.len() < 2, "{name}");
    };
    check("idle", |_| (), "end 1 LeaseEnded");
    check("in flight", |scene| scene.append("t", 1), "cancel 1, end 1 LeaseEnded");
    check(
        "backoff",
        |scene| {
            scene.append("t", 1);
            scene.answer_after(1, BROKEN, Some(3600));
        },
        "end 1 LeaseEnded",
    );
    check(
        "reading",
        |scene| {
            scene.is_store_down = true;
            scene.append("t", 1);
        },
        "end 1 LeaseEnded",
    );
    check(
        "burial",
        |scene| {
            scene.append("t", 1);
            scene.answer(1, BROKEN);
            scene.wait_for_deadline();
            scene.is_store_down = true;
            scene.answer(1, BROKEN);
        },
        "end 1 LeaseEnded",
    );
}

#[test]
fn the_calendar_may_jump() {
    let mut scene = Scene::new(Options::default());
    scene.subscribe(1, "t", "h");
    let now = |elapsed, unix| Now { elapsed: Duration::from_secs(elapsed), unix: Duration::from_secs(unix) };
    scene.engine.handle(Event::Tick, now(1, UNIX - LEASE), &mut scene.out);
    assert_eq!(scene.engine.next_deadline(), Some(Duration::from_secs(61)), "it looks again before long");
    scene.engine.handle(Event::Tick, now(61, UNIX + LEASE), &mut scene.out);
    assert_eq!(scene.out, [Action::End { webhook: WebhookId(1), reason: EndReason::LeaseEnded }]);
}

#[test]
fn a_renewal_keeps_the_place() {
    let mut scene = Scene::new(Options::default());
    scene.subscribe(1, "t", "h");
    for offset in 1..=3 {
        scene.append("t", offset);
    }
    scene.answer(1, OK);
    scene.check_flights("1:2#1");
    scene.enrol(1, "t", "h", 3, None, None);
    scene.tell(Event::Renewed { webhook: WebhookId(1), lease_end: UNIX + 2 * LEASE });
    scene.check_flights("1:2#1");
    scene.wait(Duration::from_secs(LEASE + 1));
    scene.answer(1, OK);
    scene.check_flights("1:3#1");
    scene.check_said("1 at 1, 1 at 2");
    scene.tell(Event::Renewed { webhook: WebhookId(1), lease_end: UNIX + LEASE + 10 });
    scene.wait(Duration::from_secs(10));
    scene.check_said("cancel 1, end 1 LeaseEnded");
}

#[test]
fn removal_stops_at_once_and_frees_its_place_with_the_outcome() {
    let mut scene = Scene::new(Options { in_flight_max: 1, ..Options::default() });
    scene.subscribe(1, "t", "h");
    scene.subscribe(2, "t", "h");
    scene.append("t", 1);
    scene.check_flights("1:1#1");
    scene.tell(Event::Removed { webhook: WebhookId(1) });
    scene.check_said("cancel 1");
    scene.check_flights("1:1#1");
    scene.answer(1, OK);
    scene.check_said("");
    scene.check_flights("2:1#1");
    let key = scene.flights[0].key;
    scene.answer(2, OK);
    scene.tell(Event::Attempted { key, outcome: OK, retry_after: None });
    scene.check_said("2 at 1");
    assert_eq!(scene.engine.counters().outcomes_unknown, 1);
}

#[test]
fn an_outcome_of_an_earlier_life_means_nothing() {
    let mut scene = Scene::new(Options::default());
    scene.subscribe(1, "t", "h");
    scene.append("t", 1);
    let AttemptKey { index, serial } = scene.flights[0].key;
    scene.answer(1, BROKEN);
    while scene.flights.is_empty() {
        scene.wait_for_deadline();
    }
    assert_eq!(scene.flights[0].key.index, index, "the place is used again");
    scene.tell(Event::Attempted { key: AttemptKey { index, serial }, outcome: OK, retry_after: None });
    scene.check_said("");
    scene.check_flights("1:1#2");
}

#[test]
fn a_dead_host_is_left_alone_and_probed() {
    let mut scene = Scene::new(Options::default());
    for id in 1..=8 {
        scene.subscribe(id, "t", "h");
    }
    scene.append("t", 1);
    for id in 1..=5 {
        scene.answer(id, AWAY);
    }
    assert!(matches!(scene.view(1).breaker, BreakerView::Open { .. }));
    for id in 6..=8 {
        scene.answer(id, AWAY);
    }
    let mut probes = 0;
    while scene.elapsed < Duration::from_secs(1000) {
        scene.wait_for_deadline();
        assert!(scene.flights.len() <= 1, "one probe at a time");
        if let Some(attempt) = scene.flights.first() {
            probes += 1;
            let id = attempt.webhook.0;
            scene.answer(id, AWAY);
        }
    }
    assert!((8..=25).contains(&probes), "5 s doubled up to 120 s: {probes}");
    while scene.flights.is_empty() {
        scene.wait_for_deadline();
    }
    let id = scene.flights[0].webhook.0;
    scene.answer(id, BROKEN);
    assert_eq!(scene.view(1).breaker, BreakerView::Closed, "a status, even a bad one, shows that somebody is there");
    assert!(scene.flights.len() > 1);
}

#[test]
fn limits_hold() {
    let mut scene = Scene::new(Options { in_flight_max: 8, in_flight_per_host_max: 3, ..Options::default() });
    for id in 0..100 {
        scene.subscribe(id, "t", &format!("h{}", id % 10));
    }
    scene.append("t", 1);
    for _ in 0..100 {
        assert!(scene.flights.len() <= 8);
        for host in scene.engine.hosts() {
            assert!(host.in_flight <= 3);
        }
        if let Some(attempt) = scene.flights.first() {
            let id = attempt.webhook.0;
            scene.answer(id, OK);
        }
    }
    assert_eq!(scene.engine.counters().delivered, 100);
}

/// The promise of `turn`: a host with work gets a turn after at most two of each other host, however many subscriptions
/// those have.
#[test]
fn turns_are_fair_between_hosts() {
    let hosts = 10_u64;
    let mut scene = Scene::new(Options { in_flight_max: 8, in_flight_per_host_max: 4, ..Options::default() });
    for id in 0..1000 {
        scene.subscribe(id, "busy", &format!("h{}", id % hosts));
    }
    scene.subscribe(5000, "quiet", "quiet");
    scene.append("busy", 1);
    for _ in 0..50 {
        let id = scene.flights[0].webhook.0;
        scene.answer(id, OK);
    }
    scene.append("quiet", 2);
    let mut turns = 0;
    while scene.flights.iter().all(|attempt| attempt.webhook.0 != 5000) {
        let id = scene.flights[0].webhook.0;
        scene.answer(id, OK);
        turns += 1;
    }
    assert!(turns <= 2 * hosts, "{turns} turns");
}

#[test]
fn a_thousand_stuck_subscriptions_of_one_host_delay_nobody() {
    let mut scene = Scene::new(Options { in_flight_max: 64, ..Options::default() });
    for id in 0..1000 {
        scene.subscribe(id, "t", "stuck");
    }
    scene.subscribe(5000, "t", "healthy");
    scene.append("t", 1);
    assert_eq!(scene.flights.iter().filter(|attempt| attempt.webhook.0 == 5000).count(), 1, "in the very first turns");
    for offset in 2..100 {
        scene.answer(5000, OK);
        scene.append("t", offset);
        assert!(scene.flights.iter().any(|attempt| attempt.webhook.0 == 5000), "never waits for the stuck ones");
    }
}

#[test]
fn hanging_hosts_leave_a_quarter_to_the_others() {
    let mut scene = Scene::new(Options { in_flight_max: 16, in_flight_per_host_max: 8, ..Options::default() });
    for id in 0..100 {
        scene.subscribe(id, "t", &format!("hang{}", id % 2));
    }
    scene.append("t", 1);
    assert_eq!(scene.flights.len(), 12);
    scene.subscribe(5000, "u", "healthy");
    scene.append("u", 2);
    assert_eq!(scene.flights.len(), 13);
}

#[test]
fn subscriptions_of_a_host_take_turns() {
    let mut scene = Scene::new(Options { in_flight_per_host_max: 1, ..Options::default() });
    for id in 1..=3 {
        scene.subscribe(id, "t", "h");
    }
    for offset in 1..=2 {
        scene.append("t", offset);
    }
    for expected in ["1:1#1", "2:1#1", "3:1#1", "1:2#1", "2:2#1", "3:2#1"] {
        scene.check_flights(expected);
        let id = scene.flights[0].webhook.0;
        scene.answer(id, OK);
    }
}

#[test]
fn draining_finishes_what_is_on_its_way() {
    let mut scene = Scene::new(Options::default());
    scene.subscribe(1, "t", "h");
    scene.append("t", 1);
    scene.append("t", 2);
    scene.tell(Event::Drain);
    scene.check_said("");
    scene.answer(1, OK);
    scene.check_said("1 at 1, drained");
    scene.append("t", 3);
    scene.wait(Duration::from_secs(100));
    scene.check_flights("");
    scene.check_said("");
    assert_eq!(scene.engine.next_deadline(), None);
}

#[test]
fn draining_waits_for_records() {
    for is_written in [true, false] {
        let mut scene = Scene::new(Options::default());
        scene.enrol(1, "t", "h", 0, Some(0), Some(1));
        scene.enrol(2, "t", "h", 0, Some(0), Some(1));
        scene.append("t", 1);
        scene.is_store_slow = true;
        scene.answer(1, BROKEN);
        scene.tell(Event::Drain);
        scene.answer(2, BROKEN);
        scene.check_said("bury 1 1 after 1, bury 2 1 after 1");
        // One that is over by then moves nothing, and is waited for all the same.
        scene.tell(Event::Removed { webhook: WebhookId(2) });
        let (first, second) = (WebhookId(1), WebhookId(2));
        let (offset, errand) = (Offset::new(1), Errand::InOrder);
        scene.tell(Event::Buried { webhook: second, offset, errand });
        scene.check_said("");
        scene.tell(match is_written {
            true => Event::Buried { webhook: first, offset, errand },
            false => Event::BuryFailed { webhook: first, offset, errand },
        });
        scene.check_said(if is_written { "1 at 1, drained" } else { "drained" });
    }
}

#[test]
fn an_idle_subscription_is_small() {
    let many: u32 = 100_000;
    let check = |name: &str, topics: u32, hosts: u32, most: usize| {
        let mut scene = Scene::new(Options::default());
        for id in 0..many {
            let (topic, host) = (format!("https://example.com/{}", id % topics), format!("https://h{}", id % hosts));
            scene.enrol(u64::from(id), &topic, &host, 0, Some(0), None);
        }
        let each = scene.engine.gauges().table_bytes / many as usize;
        assert!(each <= most, "{name}: {each} octets for each subscription");
    };
    assert!(size_of::<Webhook>() <= 96, "{}", size_of::<Webhook>());
    check("few topics and hosts", 100, 1000, 140);
    check("a host for each", 100, many, 290);
    check("a topic and a host for each", many, many, 470);
}

#[test]
fn churn_leaves_nothing_behind() {
    let mut scene = Scene::new(Options::default());
    scene.append("t", 1);
    for id in 0..5000 {
        scene.enrol(id, "t", &format!("h{id}"), 0, Some(1), None);
        scene.answer_after(id, BROKEN, Some(3600));
        scene.tell(Event::Removed { webhook: WebhookId(id) });
    }
    let gauges = scene.engine.gauges();
    assert_eq!((gauges.webhooks, gauges.topics, gauges.hosts, gauges.backoffs), (0, 0, 0, 0));
    assert!(gauges.table_bytes < 1_000_000, "{}", gauges.table_bytes);
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Answer(usize, u8),
    Wait(u64),
    Remove(u64),
    Subscribe(u64),
    Replay(u64, u64),
    Store(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..3).prop_map(Step::Append),
        8 => (0_usize..20, 0_u8..10).prop_map(|(at, kind)| Step::Answer(at, kind)),
        4 => (0_u64..20_000).prop_map(Step::Wait),
        1 => (0_u64..12).prop_map(Step::Remove),
        2 => (0_u64..12).prop_map(Step::Subscribe),
        1 => (0_u64..12, 1_u64..30).prop_map(|(id, offset)| Step::Replay(id, offset)),
        1 => any::<bool>().prop_map(Step::Store),
    ]
}

proptest! {
    /// However a life goes: one on its way for each, each tried in the order of the log, and the cursor at what was
    /// delivered or buried.
    #[test]
    fn lives_are_orderly(steps in prop::collection::vec(step(), 1..200), seed: u64) {
        let options = Options { in_flight_max: 5, in_flight_per_host_max: 2, page_publications_max: 3,
            window_offsets_max: 4, windows_max: 2, fetches_max: 2, ..Options::default() };
        let mut scene = Scene::new(options.clone());
        scene.engine = Engine::new(options, seed);
        let (mut next, mut fresh) = (0, 100);
        let mut names: BTreeMap<u64, u64> = (0..12).map(|name| (name, name)).collect();
        for name in 0..12_u64 {
            scene.enrol(name, &format!("t{}", name % 3), &format!("h{}", name % 4), 0, Some(0), NonZeroU32::new(3).filter(|_| name % 2 == 0).map(NonZeroU32::get));
        }
        for step in steps {
            match step {
                Step::Append(topic) => {
                    next += 1;
                    scene.append(&format!("t{topic}"), next);
                }
                Step::Answer(at, kind) if !scene.flights.is_empty() => {
                    let at = at % scene.flights.len();
                    let outcome = [OK, OK, OK, OK, BROKEN, BROKEN, AWAY, AWAY, Outcome::NotTried, Outcome::Missing][usize::from(kind)];
                    let key = scene.flights.remove(at).key;
                    scene.tell(Event::Attempted { key, outcome, retry_after: None });
                }
                Step::Answer(..) => {}
                Step::Wait(millis) => scene.wait(Duration::from_millis(millis)),
                Step::Remove(name) => scene.tell(Event::Removed { webhook: WebhookId(names[&name]) }),
                Step::Subscribe(name) => {
                    if scene.engine.webhook(WebhookId(names[&name])).is_none() {
                        fresh += 1;
                        names.insert(name, fresh);
                        scene.enrol(fresh, &format!("t{}", name % 3), "h", 0, None, None);
                    }
                }
                Step::Replay(name, offset) => scene.replay(names[&name], offset, 2),
                Step::Store(is_down) => scene.is_store_down = is_down,
            }
            let alive: Vec<WebhookId> = scene.flights.iter().map(|attempt| attempt.webhook)
                .filter(|&id| scene.engine.webhook(id).is_some()).collect();
            prop_assert_eq!(alive.iter().collect::<BTreeSet<_>>().len(), alive.len(), "two on their way");
        }
        scene.is_store_down = false;
        // At rest, everybody has everything.
        for _ in 0..20_000 {
            if let Some(attempt) = scene.flights.pop() {
                scene.tell(Event::Attempted { key: attempt.key, outcome: OK, retry_after: None });
            } else if scene.engine.gauges().replays == 0 && names.values().all(|&id| scene.engine.webhook(WebhookId(id)).is_none_or(|view| view.state == StateView::Idle)) {
                break;
            } else {
                scene.wait_for_deadline();
            }
        }
        for (name, id) in names {
            let log = scene.logs.get(&format!("t{}", name % 3)).cloned().unwrap_or_default();
            let Some(view) = scene.engine.webhook(WebhookId(id)) else { continue };
            prop_assert_eq!(view.state, StateView::Idle);
            let moved: Vec<u64> = scene.said.iter().filter_map(|line| line.strip_prefix(&format!("{id} at "))?.parse().ok()).collect();
            prop_assert_eq!(moved, log, "webhook {}", id);
        }
    }
}
