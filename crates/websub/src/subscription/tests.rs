//! Requests under way, told as transcripts: what happens on the left, what is done about it on the right.

use super::*;
use crate::address::{AskedTopic, Callback};
use crate::authenticator::{Response, TopicVerdict};

const HOUR: Duration = Duration::from_secs(3600);

struct Desk {
    intents: Intents,
    now: Duration,
    /// The last challenge that went out for each request.
    challenges: BTreeMap<Ticket, String>,
}

fn desk_with(change: impl FnOnce(&mut HubOptions)) -> Desk {
    let mut options = HubOptions::new("https://hub.example/");
    change(&mut options);
    Desk { intents: Intents::new(&options, [7; 32]), now: HOUR, challenges: BTreeMap::new() }
}

fn desk() -> Desk {
    desk_with(|_| {})
}

fn pair(callback: &str) -> Pair {
    Pair { topic: AskedTopic::parse("http://t/").unwrap(), callback: Callback::parse(callback).unwrap() }
}

fn subscribe(secret: Option<&str>) -> Wish {
    Wish::Subscribe { lease_seconds: None, secret: secret.map(Secret::new) }
}

fn allowed() -> Verdict {
    Verdict::Authenticated { identity: Identity::new("ann"), topic: TopicVerdict::Allowed }
}

fn denied() -> Verdict {
    Verdict::Authenticated { identity: Identity::new("ann"), topic: TopicVerdict::Denied }
}

fn tell(action: &Action) -> String {
    match action {
        Action::AskAuthenticator { ticket, .. } => format!("{} judge", ticket.0),
        Action::Answer { ticket, answer } => format!("{} answer {answer:?}", ticket.0),
        Action::Verify { ticket, attempt, .. } => format!("{} verify {attempt}", ticket.0),
        Action::Deny { url } => format!("deny {}", url.as_str().split("&hub.reason=").nth(1).unwrap_or_default()),
        Action::Activate { ticket, subscription: Subscription { pair: _, secret, lease, identity } } => format!(
            "{} active {:?} {}+{} {}",
            ticket.0,
            secret.as_ref().map(Secret::expose),
            lease.start.as_secs(),
            lease.seconds,
            identity.as_ref().map(Identity::as_str).unwrap_or_default(),
        ),
        Action::Remove { cause, .. } => format!("remove {cause:?}"),
        Action::Drop { ticket, cause, .. } => format!("{} drop {cause:?}", ticket.0),
    }
}

impl Desk {
    #[track_caller]
    fn check(&mut self, event: Event, expected: &[&str]) {
        let actions = self.intents.handle(event, self.now);
        for action in &actions {
            if let Action::Verify { ticket, url, .. } = action {
                let challenge =
                    url.as_str().split("hub.challenge=").nth(1).unwrap().split('&').next().unwrap().to_owned();
                assert_ne!(self.challenges.insert(*ticket, challenge.clone()), Some(challenge), "used twice");
            }
        }
        assert_eq!(actions.iter().map(tell).collect::<Vec<_>>(), expected);
    }

    #[track_caller]
    fn receive(&mut self, wish: Wish, expected: &[&str]) {
        self.check(Event::Received(Arc::new(Intent { pair: pair("http://s/"), wish })), expected);
    }

    #[track_caller]
    fn judged(&mut self, ticket: u64, verdict: Verdict, expected: &[&str]) {
        self.check(Event::Judged { ticket: Ticket(ticket), verdict }, expected);
    }

    #[track_caller]
    fn asked(&mut self, ticket: u64, attempt: u32, echo: Echo, expected: &[&str]) {
        let sent = self.now - Duration::from_secs(1);
        self.check(Event::Asked { ticket: Ticket(ticket), attempt, sent, echo }, expected);
    }

    /// The callback confirms the last challenge.
    #[track_caller]
    fn confirm(&mut self, ticket: u64, attempt: u32, expected: &[&str]) {
        let body = self.challenges.get(&Ticket(ticket)).cloned().unwrap_or_default().into_bytes();
        self.asked(ticket, attempt, Echo::Answered { status: 200, body }, expected);
    }

    /// Nothing is left behind.
    #[track_caller]
    fn rest(&self) {
        let intents = &self.intents;
        let left = (intents.pending.len(), intents.by_pair.len(), intents.by_host.len(), intents.due.len());
        assert_eq!(left, (0, 0, 0, 0));
        assert!(intents.is_empty() && intents.next_deadline().is_none());
    }
}

fn answered(status: u16) -> Echo {
    Echo::Answered { status, body: b"no".to_vec() }
}

const ACCEPTED: &str = "1 answer Accepted";

#[test]
fn a_subscription_is_verified_and_in_force() {
    // Items 7, 8, 28 and 33: 202 first, and the lease from the moment of sending.
    let mut desk = desk();
    desk.receive(subscribe(Some("s")), &["1 judge"]);
    desk.judged(1, allowed(), &[ACCEPTED, "1 verify 1"]);
    desk.confirm(1, 1, &["1 active Some(\"s\") 3599+864000 ann"]);
    desk.confirm(1, 1, &[]);
    desk.rest();
}

#[test]
fn the_granted_lease_is_told() {
    let mut desk = desk();
    let wish = Wish::Subscribe { lease_seconds: Some(1), secret: None };
    desk.receive(wish, &["1 judge"]);
    let actions = desk.intents.handle(Event::Judged { ticket: Ticket(1), verdict: allowed() }, HOUR);
    let Action::Verify { url, .. } = &actions[1] else { panic!() };
    assert!(url.as_str().starts_with("http://s/?hub.mode=subscribe&hub.topic=http%3A%2F%2Ft%2F&hub.challenge="));
    assert!(url.as_str().ends_with("&hub.lease_seconds=300"), "{url:?}");
}

#[test]
fn an_end_is_verified_too() {
    // Item 21: not judged by topic; only a confirmed end removes.
    let mut desk = desk();
    desk.receive(Wish::Unsubscribe, &["1 judge"]);
    desk.judged(1, denied(), &[ACCEPTED, "1 verify 1"]);
    desk.asked(1, 1, answered(404), &["1 drop Refuted(Status(404))"]);
    desk.receive(Wish::Unsubscribe, &["2 judge"]);
    desk.judged(2, Verdict::Nobody, &["2 answer Forbidden", "2 drop Refused"]);
    desk.receive(Wish::Unsubscribe, &["3 judge"]);
    desk.judged(3, denied(), &["3 answer Accepted", "3 verify 1"]);
    desk.confirm(3, 1, &["remove Unsubscribed"]);
    desk.rest();
}

#[test]
fn verdicts_are_carried_out() {
    let check = |verdict: Verdict, expected: &[&str]| {
        let mut desk = desk();
        desk.receive(subscribe(None), &["1 judge"]);
        desk.judged(1, verdict, expected);
        desk.rest();
    };
    // Items 24 and 26: a denial instead of a verification, and never after one.
    let topic = "deny you%20may%20not%20subscribe%20to%20this%20topic";
    check(denied(), &[ACCEPTED, topic, "1 drop Denied(Topic)"]);
    let nobody = "deny this%20hub%20does%20not%20accept%20this%20subscription";
    check(Verdict::Nobody, &[ACCEPTED, nobody, "1 drop Denied(Nobody)"]);
    check(Verdict::Unauthenticated, &["1 answer Forbidden", "1 drop Refused"]);
    check(Verdict::Failed, &["1 answer Failed", "1 drop Refused"]);
    check(Verdict::Unavailable, &["1 answer Unavailable", "1 drop Refused"]);
    let response = Response::new(402, Vec::new(), Vec::new()).unwrap();
    let dictated = format!("1 answer {:?}", Answer::Dictated(response.clone()));
    check(Verdict::Dictated(response), &[&dictated, "1 drop Refused"]);
}

#[test]
fn a_failed_verification_is_final_or_tried_again() {
    // Items 32 and 37.
    let check = |echo: Echo, expected: &[&str]| {
        let mut desk = desk();
        desk.receive(subscribe(None), &["1 judge"]);
        desk.judged(1, allowed(), &[ACCEPTED, "1 verify 1"]);
        desk.asked(1, 1, echo, expected);
        assert_eq!(desk.intents.next_deadline().is_some(), expected.is_empty());
    };
    check(answered(404), &["1 drop Refuted(Status(404))"]);
    check(answered(302), &["1 drop Refuted(Status(302))"]);
    check(answered(200), &["1 drop Refuted(Challenge)"]);
    check(Echo::Blocked, &["1 drop Refuted(Blocked)"]);
    check(answered(500), &[]);
    check(Echo::Silence, &[]);
}

#[test]
fn attempts_are_bounded_and_further_and_further_apart() {
    // Item 66.
    let mut desk = desk();
    desk.receive(subscribe(None), &["1 judge"]);
    desk.judged(1, allowed(), &[ACCEPTED, "1 verify 1"]);
    for attempt in 1..5_u32 {
        desk.asked(1, attempt, Echo::Silence, &[]);
        let wait = desk.intents.next_deadline().unwrap() - desk.now;
        let least = Duration::from_secs(30 << (attempt - 1));
        assert!(wait >= least && wait <= least * 5 / 4, "{wait:?}");
        desk.now += wait - Duration::from_nanos(1);
        desk.check(Event::Tick, &[]);
        desk.now += Duration::from_nanos(1);
        let again = format!("1 verify {}", attempt + 1);
        desk.check(Event::Tick, &[&again]);
        // An answer to the attempt before comes late and says nothing.
        desk.asked(1, attempt, answered(404), &[]);
    }
    desk.asked(1, 5, Echo::Silence, &["1 drop Exhausted(Silence)"]);
    desk.rest();
}

#[test]
fn a_later_attempt_confirms_with_its_own_challenge() {
    // Item 30: a challenge is used once.
    let mut desk = desk();
    desk.receive(subscribe(None), &["1 judge"]);
    desk.judged(1, allowed(), &[ACCEPTED, "1 verify 1"]);
    let first = desk.challenges[&Ticket(1)].clone();
    desk.asked(1, 1, answered(503), &[]);
    desk.now += HOUR;
    desk.check(Event::Tick, &["1 verify 2"]);
    let stale = Echo::Answered { status: 200, body: first.into_bytes() };
    let mut other = desk_with(|_| {});
    other.receive(subscribe(None), &["1 judge"]);
    other.judged(1, allowed(), &[ACCEPTED, "1 verify 1"]);
    desk.confirm(1, 2, &["1 active None 7199+864000 ann"]);
    other.asked(1, 1, answered(503), &[]);
    other.now += HOUR;
    other.check(Event::Tick, &["1 verify 2"]);
    other.asked(1, 2, stale, &["1 drop Refuted(Challenge)"]);
}

#[test]
fn the_newest_request_wins() {
    // Items 16 to 19: nothing is in force before it was verified, and a stale verification never is.
    let mut desk = desk();
    desk.receive(subscribe(Some("old")), &["1 judge"]);
    desk.judged(1, allowed(), &[ACCEPTED, "1 verify 1"]);
    desk.receive(subscribe(None), &["2 judge"]);
    desk.judged(2, allowed(), &["2 answer Accepted", "1 drop Superseded", "2 verify 1"]);
    desk.confirm(1, 1, &[]);
    desk.confirm(2, 1, &["2 active None 3599+864000 ann"]);
    desk.rest();
}

#[test]
fn the_newest_request_wins_whatever_the_authenticator_says_first() {
    let mut desk = desk();
    desk.receive(Wish::Unsubscribe, &["1 judge"]);
    desk.receive(subscribe(Some("new")), &["2 judge"]);
    desk.judged(2, allowed(), &["2 answer Accepted", "2 verify 1"]);
    desk.confirm(2, 1, &["2 active Some(\"new\") 3599+864000 ann"]);
    desk.judged(1, allowed(), &[ACCEPTED, "1 drop Superseded"]);
    desk.rest();
}

#[test]
fn who_is_not_let_in_calls_nothing_off() {
    let mut desk = desk();
    desk.receive(subscribe(Some("mine")), &["1 judge"]);
    desk.judged(1, allowed(), &[ACCEPTED, "1 verify 1"]);
    for (ticket, verdict) in [(2, Verdict::Unauthenticated), (3, denied()), (4, Verdict::Nobody)] {
        desk.receive(subscribe(None), &[&format!("{ticket} judge")]);
        let _ = desk.intents.handle(Event::Judged { ticket: Ticket(ticket), verdict }, desk.now);
    }
    desk.confirm(1, 1, &["1 active Some(\"mine\") 3599+864000 ann"]);
    desk.rest();
}

#[test]
fn a_resting_request_is_superseded_without_a_trace() {
    let mut desk = desk();
    desk.receive(subscribe(None), &["1 judge"]);
    desk.judged(1, allowed(), &[ACCEPTED, "1 verify 1"]);
    desk.asked(1, 1, Echo::Silence, &[]);
    desk.receive(Wish::Unsubscribe, &["2 judge"]);
    desk.judged(2, allowed(), &["2 answer Accepted", "1 drop Superseded", "2 verify 1"]);
    assert_eq!(desk.intents.next_deadline(), None);
    desk.confirm(2, 1, &["remove Unsubscribed"]);
    desk.rest();
}

#[test]
fn an_operator_ends_subscriptions() {
    // Item 25.
    let mut desk = desk();
    let cancel = |reason: Option<&str>| Event::Cancel { pair: pair("http://s/"), reason: reason.map(str::to_owned) };
    desk.check(cancel(Some("moved")), &["remove Cancelled", "deny moved"]);
    desk.receive(subscribe(None), &["1 judge"]);
    desk.judged(1, allowed(), &[ACCEPTED, "1 verify 1"]);
    desk.check(cancel(None), &["1 drop Cancelled", "remove Cancelled", "deny "]);
    desk.confirm(1, 1, &[]);
    desk.rest();
}

#[test]
fn what_waits_is_bounded() {
    // Item 66.
    let mut desk = desk_with(|options| options.limits.pending_max = 1);
    desk.receive(subscribe(None), &["1 judge"]);
    desk.receive(subscribe(None), &["2 answer Busy"]);
    desk.judged(1, Verdict::Failed, &["1 answer Failed", "1 drop Refused"]);
    desk.receive(subscribe(None), &["3 judge"]);

    let mut desk = desk_with(|options| options.limits.pending_per_host_max = 1);
    desk.receive(subscribe(None), &["1 judge"]);
    desk.judged(1, allowed(), &[ACCEPTED, "1 verify 1"]);
    let other = |callback: &str| Event::Received(Arc::new(Intent { pair: pair(callback), wish: subscribe(None) }));
    desk.check(other("http://s:8080/x"), &["2 judge"]);
    desk.judged(2, allowed(), &["2 answer Busy", "2 drop Refused"]);
    desk.check(other("http://elsewhere/"), &["3 judge"]);
    desk.judged(3, allowed(), &["3 answer Accepted", "3 verify 1"]);
}

#[test]
fn two_spellings_of_a_callback_are_one() {
    // Item 13, and the URL as it was written last.
    let mut desk = desk();
    let received = |callback: &str| Event::Received(Arc::new(Intent { pair: pair(callback), wish: subscribe(None) }));
    desk.check(received("http://s/%7Ex"), &["1 judge"]);
    desk.judged(1, allowed(), &[ACCEPTED, "1 verify 1"]);
    desk.check(received("http://s/~x"), &["2 judge"]);
    desk.judged(2, allowed(), &["2 answer Accepted", "1 drop Superseded", "2 verify 1"]);
    // Another callback is another subscription (item 16).
    desk.check(received("http://s/~x?"), &["3 judge"]);
    desk.judged(3, allowed(), &["3 answer Accepted", "3 verify 1"]);
}

#[test]
fn strangers_events_do_nothing() {
    let mut desk = desk();
    desk.judged(9, allowed(), &[]);
    desk.asked(9, 1, Echo::Silence, &[]);
    desk.check(Event::Tick, &[]);
    desk.receive(subscribe(None), &["1 judge"]);
    desk.asked(1, 1, Echo::Silence, &[]);
    desk.judged(1, allowed(), &[ACCEPTED, "1 verify 1"]);
    desk.judged(1, denied(), &[]);
    desk.asked(1, 2, answered(404), &[]);
    desk.confirm(1, 1, &["1 active None 3599+864000 ann"]);
}

#[test]
fn challenges_do_not_show() {
    let mut desk = desk();
    desk.receive(subscribe(Some("hunter2")), &["1 judge"]);
    desk.judged(1, allowed(), &[ACCEPTED, "1 verify 1"]);
    let challenge = desk.challenges[&Ticket(1)].clone();
    let url = crate::callback::verification_url(&pair("http://s/"), &Wish::Unsubscribe, &challenge, 0);
    let action = Action::Verify { ticket: Ticket(1), attempt: 1, url };
    let echo = Echo::Answered { status: 200, body: challenge.into_bytes() };
    let shown = format!("{:?} {action:?} {echo:?}", desk.intents);
    assert!(!shown.contains("hunter2") && !shown.contains(&desk.challenges[&Ticket(1)]));
}

/// Something that happens, to one of the last three requests.
#[derive(Clone, Copy, Debug)]
enum Step {
    Receive { callback: usize, is_end: bool },
    Judge { back: u64, is_allowed: bool },
    Echo { back: u64, is_confirmed: bool },
    Later,
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    use proptest::prelude::*;
    // Mostly what leads further, and mostly one subscription, so that runs get to where requests cross each other.
    let step = prop_oneof![
        4 => (prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(is_other, is_end)| Step::Receive { callback: usize::from(is_other), is_end }),
        4 => (0..3_u64, prop::bool::weighted(0.9)).prop_map(|(back, is_allowed)| Step::Judge { back, is_allowed }),
        4 => (0..3_u64, prop::bool::weighted(0.8)).prop_map(|(back, is_confirmed)| Step::Echo { back, is_confirmed }),
        1 => Just(Step::Later),
    ];
    proptest::collection::vec(step, 0..60)
}

/// What has to be true of the actions of any run.
#[derive(Default)]
struct Law {
    answered: BTreeSet<Ticket>,
    asked: BTreeMap<Ticket, (u32, String)>,
    /// The last request that changed something, for each subscription.
    settled: BTreeMap<Pair, Ticket>,
}

impl Law {
    fn watch(&mut self, event: &Event, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Answer { ticket, .. } => assert!(self.answered.insert(*ticket), "answered twice"),
                Action::Verify { ticket, attempt, url } => {
                    assert!(self.answered.contains(ticket), "verified before it was answered");
                    let challenge = url.as_str().split("hub.challenge=").nth(1).unwrap().split('&').next().unwrap();
                    self.asked.insert(*ticket, (*attempt, challenge.to_owned()));
                }
                Action::Activate { .. } | Action::Remove { .. } => {
                    let Event::Asked { ticket, .. } = event else { panic!("changed without a confirmation") };
                    let (Action::Activate { subscription: Subscription { pair, .. }, .. }
                    | Action::Remove { pair, .. }) = action
                    else {
                        unreachable!("matched above")
                    };
                    let former = self.settled.insert(pair.clone(), *ticket);
                    assert!(former < Some(*ticket), "a stale request changed what a later one had settled");
                }
                Action::AskAuthenticator { .. } | Action::Deny { .. } | Action::Drop { .. } => {}
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_order_of_events_lets_a_stale_request_win(steps in steps()) {
        let (mut desk, mut law) = (desk(), Law::default());
        let mut last = 0;
        for step in steps {
            let back = |back: u64| Ticket(u64::saturating_sub(last, back));
            let event = match step {
                Step::Receive { callback, is_end } => {
                    last += 1;
                    let wish = if is_end { Wish::Unsubscribe } else { subscribe(None) };
                    Event::Received(Arc::new(Intent { pair: pair(["http://s/", "http://r/"][callback]), wish }))
                }
                Step::Judge { back: n, is_allowed } => {
                    Event::Judged { ticket: back(n), verdict: if is_allowed { allowed() } else { Verdict::Failed } }
                }
                Step::Echo { back: n, is_confirmed } => {
                    let (attempt, challenge) = law.asked.get(&back(n)).cloned().unwrap_or_default();
                    let body = challenge.into_bytes();
                    let echo = if is_confirmed { Echo::Answered { status: 200, body } } else { Echo::Silence };
                    Event::Asked { ticket: back(n), attempt, sent: desk.now, echo }
                }
                Step::Later => {
                    desk.now += HOUR;
                    Event::Tick
                }
            };
            let actions = desk.intents.handle(event.clone(), desk.now);
            law.watch(&event, &actions);
        }
        // Whatever is still under way ends by itself once everybody has spoken and fallen silent.
        for ticket in (1..=last).map(Ticket) {
            let event = Event::Judged { ticket, verdict: Verdict::Failed };
            law.watch(&event, &desk.intents.handle(event.clone(), desk.now));
        }
        while let Some((&ticket, _)) = desk.intents.pending.first_key_value() {
            desk.now += HOUR;
            law.watch(&Event::Tick, &desk.intents.handle(Event::Tick, desk.now));
            let attempt = law.asked[&ticket].0;
            let event = Event::Asked { ticket, attempt, sent: desk.now, echo: Echo::Silence };
            law.watch(&event, &desk.intents.handle(event.clone(), desk.now));
        }
        assert_eq!(law.answered.len() as u64, last);
        desk.rest();
    }
}
