//! Curves: how the cost of a publication grows with what surrounds it.
//!
//! Each point is a fresh server with one thread, loaded at full rate with a window, and what counts is the server's
//! processor time for each publication. What is on the x-axis differs; everything else stays as it is in the cells.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::cell::{CONNECTIONS, Context, Figures, Load, PAYLOAD};
use crate::dialect::{Dialect, Matching, Serializer, Subscription};
use crate::fault::Fault;
use crate::ledger::Check;
use crate::publishers::{Pace, Publishers, Until};
use crate::request::{Topics, numbered};
use crate::rounds::{Spread, undisturbed};
use crate::session::{self, Deflate, Target};
use crate::subscribers::{Reading, Subscribers};
use crate::system::{Security, Setup, System, TOPIC, everybody};

/// What numbered topics begin with.
const PREFIX: &str = "com.bench.t";

/// Sessions that share many subscriptions.
const HOLDERS: usize = 20;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Curve {
    /// Subscribers of one topic.
    Subscribers,
    /// Topics with one subscriber each; publications go to random ones.
    Topics,
    /// Prefix and wildcard subscriptions that do not match.
    Patterns,
    /// Octets of the payload.
    Payload,
    /// Subscribers in one serializer, and in all three.
    Serializers,
    /// Octets of the payload, with permessage-deflate.
    Deflate,
    /// Subscribers of one topic, over TLS.
    Tls,
    /// Sessions that join, subscribe and leave meanwhile.
    Churn,
}

/// One point: what differs from the others of its curve.
#[derive(Clone, Debug)]
struct Point {
    label: String,
    setup: Setup,
    /// Subscribers that get every publication, by serializer.
    everybody: Vec<(Serializer, usize)>,
    /// Topics with a subscriber each; 0: the one topic.
    topics: u32,
    patterns: usize,
    payload: usize,
    window: u64,
    guests: Guests,
}

/// How many sessions come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guests {
    None,
    PerSecond(u32),
}

/// Sessions that come together.
const PARTY: usize = 10;

/// One run of one point.
#[derive(Clone, Debug)]
pub struct CurveRun {
    /// What grows.
    pub curve: Curve,
    /// Where on the x-axis.
    pub label: String,
    /// Counted from 1.
    pub round: usize,
    /// The figures, or why there are none.
    pub result: Result<Figures, String>,
}

/// All runs of all curves.
#[derive(Clone, Debug, Default)]
pub struct Curves {
    /// In the order in which they were taken.
    pub runs: Vec<CurveRun>,
}

impl Curve {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Subscribers,
        Self::Topics,
        Self::Patterns,
        Self::Payload,
        Self::Serializers,
        Self::Deflate,
        Self::Tls,
        Self::Churn,
    ];

    /// What the curve shows, in one line.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Subscribers => "subscribers of one topic",
            Self::Topics => "topics with one subscriber each",
            Self::Patterns => "patterns that do not match",
            Self::Payload => "octets of payload, 10 subscribers",
            Self::Serializers => "serializers of 300 subscribers",
            Self::Deflate => "octets of payload, compressed, 10 subscribers",
            Self::Tls => "subscribers of one topic, over TLS",
            Self::Churn => "sessions that come and go each second, 100 subscribers",
        }
    }

    fn points(self) -> Vec<Point> {
        use Serializer::{Cbor, Json, MessagePack};
        let at = |label: &dyn ToString, everybody: Vec<(Serializer, usize)>| Point {
            label: label.to_string(),
            setup: Setup::default(),
            window: if everybody.iter().map(|(_, count)| count).sum::<usize>() > 100 { 20 } else { 100 },
            everybody,
            topics: 0,
            patterns: 0,
            payload: PAYLOAD,
            guests: Guests::None,
        };
        let json = |count| vec![(Json, count)];
        // One window for all, since events that wait for the same write share it: with a larger one for the few, the curve
        // would show the windows.
        let subscribers = |counts: &[usize], setup| -> Vec<Point> {
            counts.iter().map(|&count| Point { window: 20, setup, ..at(&count, json(count)) }).collect()
        };
        // A small window, so that what is under way fits into a processor's cache whatever the size, and the curve shows what
        // a publication costs and not where its octets lie.
        let payloads = |setup| -> Vec<Point> {
            [16, 128, 1024, 4096, 16_384, 65_536, 262_144]
                .map(|payload| Point { payload, window: 2, setup, ..at(&payload, json(10)) })
                .into()
        };
        match self {
            Self::Subscribers => subscribers(&[1, 10, 100, 1000, 5000], Setup::default()),
            Self::Topics => {
                [1, 10, 100, 1000, 10_000, 100_000].map(|topics| Point { topics, ..at(&topics, json(0)) }).into()
            }
            Self::Patterns => {
                [0, 10, 100, 1000, 10_000].map(|patterns| Point { patterns, ..at(&patterns, json(1)) }).into()
            }
            Self::Payload => payloads(Setup::default()),
            Self::Serializers => vec![
                at(&"json", json(300)),
                at(&"msgpack", vec![(MessagePack, 300)]),
                at(&"cbor", vec![(Cbor, 300)]),
                at(&"thirds", vec![(Json, 100), (MessagePack, 100), (Cbor, 100)]),
            ],
            Self::Deflate => payloads(Setup { deflate: Deflate::Offered, security: Security::Plain }),
            Self::Tls => subscribers(&[1, 10, 100, 1000], Setup { deflate: Deflate::Off, security: Security::Tls }),
            Self::Churn => {
                let guests = |rate| Point { guests: Guests::PerSecond(rate), ..at(&rate, json(100)) };
                [vec![at(&"none", json(100))], [100, 300, 1000].map(guests).into()].concat()
            }
        }
    }
}

/// Takes all points of these curves in turn, round by round; `tell` hears of each run as it ends.
pub fn run(context: &Context, curves: &[Curve], rounds: usize, tell: &mut dyn FnMut(&CurveRun)) -> Curves {
    let mut all = Curves::default();
    for &curve in curves {
        for round in 1..=rounds {
            for point in curve.points() {
                let result = undisturbed(&|| point.run(context)).map_err(|fault| fault.to_string());
                let run = CurveRun { curve, label: point.label, round, result };
                tell(&run);
                all.runs.push(run);
            }
        }
    }
    all
}

impl Point {
    fn run(&self, context: &Context) -> Result<Figures, Fault> {
        let mut server = System::StentorOne.start(&context.programs, self.setup)?;
        let check = if self.topics > 0 { Check::Rising } else { Check::Dense };
        let reading = Reading { check, ..Reading::of(CONNECTIONS) };
        let mut subscribers = Subscribers::none();
        let mut per_publication = 0;
        for &(serializer, count) in self.everybody.iter().filter(|(_, count)| *count > 0) {
            let target = Target { dialect: Dialect::Wamp(serializer), ..server.target.clone() };
            subscribers.add(&target, &everybody(count), reading)?;
            per_publication += count as u64;
        }
        let mut topics = Topics::One(TOPIC.to_owned());
        if self.topics > 0 {
            topics = Topics::Numbered(PREFIX.to_owned(), self.topics);
            per_publication += 1;
            let exact = |number| Subscription::exact(numbered(PREFIX, number));
            subscribers.add(&server.target, &shared((0..self.topics).map(exact)), reading)?;
        }
        // Nothing ever arrives at these, so nobody counts what is missing there.
        let _holders = session::open(&server.target, &shared((0..self.patterns).map(unmatched)), 10_000)?;
        let template = server.template(&topics, self.payload);
        let mut publishers = Publishers::connect(server.address, CONNECTIONS, template)?;
        let target = server.target.clone();
        let mut load =
            Load { server: &mut server, subscribers: &subscribers, publishers: &mut publishers, per_publication };
        let pace = Pace::Window(self.window);
        load.run(pace, Until::Elapsed(context.time / 4))?;
        let (outcome, guests) = match self.guests {
            Guests::None => (load.run(pace, Until::Elapsed(context.time))?, 0),
            Guests::PerSecond(rate) => beside(&target, rate, || load.run(pace, Until::Elapsed(context.time)))?,
        };
        let mut figures = outcome.figures();
        figures.insert("guests_per_s", guests as f64 / outcome.sent.elapsed.as_secs_f64());
        let expected = outcome.sent.publications * per_publication;
        figures.insert("lost", (outcome.tally.lost as f64).max(expected.saturating_sub(outcome.events) as f64));
        Ok(figures)
    }
}

/// Does something while so many sessions each second join, subscribe, and leave, or fewer where one thread cannot make so many;
/// gives their number.
fn beside<T>(target: &Target, rate: u32, work: impl FnOnce() -> Result<T, Fault>) -> Result<(T, u64), Fault> {
    let (stop, guests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let thread = {
        let (stop, guests, target) = (Arc::clone(&stop), Arc::clone(&guests), target.clone());
        std::thread::spawn(move || -> Result<(), Fault> {
            let begin = Instant::now();
            while !stop.load(Ordering::SeqCst) {
                session::open(&target, &everybody(PARTY), 0)?;
                let came = guests.fetch_add(PARTY as u64, Ordering::SeqCst) + PARTY as u64;
                let due = Duration::from_secs_f64(came as f64 / f64::from(rate));
                std::thread::sleep(due.saturating_sub(begin.elapsed()));
            }
            Ok(())
        })
    };
    let done = work();
    stop.store(true, Ordering::SeqCst);
    thread.join().map_err(|_| Fault::Setup("the guests' thread has failed".to_owned()))??;
    Ok((done?, guests.load(Ordering::SeqCst)))
}

/// Spreads subscriptions over some sessions.
pub(crate) fn shared(subscriptions: impl Iterator<Item = Subscription>) -> Vec<Vec<Subscription>> {
    let mut lists = vec![Vec::new(); HOLDERS];
    subscriptions.enumerate().for_each(|(at, subscription)| lists[at % HOLDERS].push(subscription));
    lists.retain(|list| !list.is_empty());
    lists
}

/// A pattern that looks at the topic as long as it can and then does not match: prefixes and wildcards in turn. Prefixes have
/// many lengths, none above the topic's, since a router may leave out what is too long.
pub(crate) fn unmatched(number: usize) -> Subscription {
    let (name, matching) = match number % 2 {
        0 => (format!("c{:05}{:.*}", number % 100_000, number / 2 % (TOPIC.len() - 5), "xxxxxxxxxx"), Matching::Prefix),
        _ => (format!("com..topic{number:06}"), Matching::Wildcard),
    };
    Subscription { uri: name, matching }
}

impl Curves {
    /// The curves that were taken, in order.
    #[must_use]
    pub fn curves(&self) -> Vec<Curve> {
        Curve::ALL.into_iter().filter(|&curve| self.runs.iter().any(|run| run.curve == curve)).collect()
    }

    /// The places on the x-axis, in order.
    #[must_use]
    pub fn labels(&self, curve: Curve) -> Vec<&str> {
        let first = self.runs.iter().filter(|run| run.curve == curve && run.round == 1);
        first.map(|run| run.label.as_str()).collect()
    }

    /// One figure over all rounds.
    #[must_use]
    pub fn spread(&self, curve: Curve, label: &str, figure: &str) -> Option<Spread> {
        let here = self.runs.iter().filter(|run| run.curve == curve && run.label == label);
        Spread::of(here.filter_map(|run| run.result.as_ref().ok()?.get(figure).copied()).collect())
    }

    /// What a publication costs more at the last place than at the first, in microseconds.
    #[must_use]
    pub fn growth(&self, curve: Curve) -> Option<f64> {
        let labels = self.labels(curve);
        let cost = |label: &str| self.spread(curve, label, "cpu_us_per_publication").map(|spread| spread.median);
        Some(cost(labels.last()?)? - cost(labels.first()?)?)
    }

    /// Everything that went wrong, one sentence each.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for run in &self.runs {
            let place = format!("{:?} {} round {}", run.curve, run.label, run.round);
            match &run.result {
                Err(words) => faults.push(format!("{place}: {words}")),
                Ok(figures) => {
                    let wrong =
                        ["lost", "swapped", "duplicated", "closed"].into_iter().filter(|&name| figures[name] > 0.0);
                    faults.extend(wrong.map(|name| format!("{place}: {} {name}", figures[name])));
                }
            }
        }
        faults
    }

    /// All raw figures.
    #[must_use]
    pub fn json(&self) -> Value {
        let runs = self.runs.iter().map(|run| {
            let mut value = json!({"curve": format!("{:?}", run.curve), "at": run.label, "round": run.round});
            match &run.result {
                Ok(figures) => value["figures"] = json!(BTreeMap::clone(figures)),
                Err(words) => value["fault"] = json!(words),
            }
            value
        });
        runs.collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One curve with the cost of each place.
    pub(crate) fn curves(curve: Curve, costs: &[(&str, f64)]) -> Curves {
        let run = |&(label, cost): &(&str, f64)| {
            let mut figures = Figures::from(["lost", "swapped", "duplicated", "closed"].map(|name| (name, 0.0)));
            figures.insert("cpu_us_per_publication", cost);
            CurveRun { curve, label: label.to_owned(), round: 1, result: Ok(figures) }
        };
        Curves { runs: costs.iter().map(run).collect() }
    }

    #[test]
    fn growth_is_from_first_to_last() {
        let curves = curves(Curve::Patterns, &[("0", 10.0), ("10", 10.5), ("10000", 11.5)]);
        assert_eq!(curves.growth(Curve::Patterns), Some(1.5));
        assert_eq!(curves.growth(Curve::Tls), None);
        assert!(curves.faults().is_empty());
    }

    #[test]
    fn patterns_do_not_match() {
        let topic: Vec<&str> = TOPIC.split('.').collect();
        for number in 0..200 {
            let pattern = unmatched(number);
            assert!(pattern.uri.len() <= TOPIC.len() || matches!(pattern.matching, Matching::Wildcard), "{pattern:?}");
            let matches = match pattern.matching {
                Matching::Prefix => TOPIC.starts_with(&pattern.uri),
                _ => pattern.uri.split('.').zip(&topic).all(|(part, &word)| part.is_empty() || part == word),
            };
            assert!(!matches, "{pattern:?}");
        }
    }

    #[test]
    fn every_curve_has_points_to_compare() {
        for curve in Curve::ALL {
            let points = curve.points();
            assert!(points.len() >= 2, "{curve:?}");
            assert!(points.iter().all(|point| point.window * point.payload as u64 <= 4 << 20), "{curve:?}");
        }
    }

    #[test]
    fn subscriptions_are_shared_out() {
        let lists = shared((0..45).map(unmatched));
        assert_eq!(lists.len(), HOLDERS);
        assert_eq!(lists.iter().map(Vec::len).sum::<usize>(), 45);
        assert_eq!(shared((0..3).map(unmatched)).len(), 3);
    }
}
