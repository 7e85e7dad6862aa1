//! Which name may be asked for next: a machine without threads.
//!
//! Calls for names are limited, and a call for a name whose servers are silent keeps its place for ten seconds and more. Such
//! names come by the thousand, but their owner has to have a domain for them, so the places are shared by domains. A name's
//! *domain* is its last two labels and its *zone* the last three, since there are domains below which everybody may have one
//! (`co.uk`). It may be asked for while
//!
//! ```text
//! calls under way in its zone + calls under way in its domain < free places
//! ```
//!
//! So one domain gets half of all places, two get a third each, and however few there are, some are left for the next one: n
//! silent domains leave one in n + 1 free. Zones share the places of their domain by the same rule. The others wait, and
//! take turns: first the domains, then the zones of one, then the names of one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

/// Where a name stands in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn(u64);

/// Places for calls, and the names that wait for one. Each of them is wanted by a request under way, and hubs count those.
#[derive(Debug)]
pub(super) struct Line {
    free: usize,
    turns: u64,
    domains: Areas,
    zones: Areas,
    /// The domains in which names wait.
    waiting: BTreeMap<Turn, Arc<str>>,
}

type Areas = HashMap<Arc<str>, Area, RandomState>;

/// A domain or a zone, as long as something is under way or waits there.
#[derive(Debug, Default)]
struct Area {
    under_way: usize,
    /// Of a domain its zones in which names wait; of a zone the names.
    waiting: BTreeMap<Turn, Arc<str>>,
    /// Where this one stands in the line around it.
    turn: Option<Turn>,
}

impl Area {
    fn is_idle(&self) -> bool {
        self.under_way == 0 && self.waiting.is_empty()
    }
}

impl Line {
    pub(super) fn new(places: usize) -> Self {
        Self { free: places, turns: 0, domains: Areas::default(), zones: Areas::default(), waiting: BTreeMap::new() }
    }

    /// Gives the name a place, or lets it wait and says where it stands. Whoever may have a place at once overtakes nobody who
    /// may have one too, if [`next`](Self::next) was asked until it had nothing to say.
    pub(super) fn enter(&mut self, name: &Arc<str>) -> Option<Turn> {
        if self.may_begin(name) {
            self.begin(name);
            return None;
        }
        let turn = self.turn();
        let zone = self.zones.entry(zone(name).into()).or_default();
        zone.waiting.insert(turn, Arc::clone(name));
        self.line_up(name);
        Some(turn)
    }

    /// A name that waited is wanted no more.
    pub(super) fn leave(&mut self, name: &str, turn: Turn) {
        let zone = self.zones.get_mut(zone(name)).expect("names wait in it");
        zone.waiting.remove(&turn);
        self.line_up(name);
    }

    /// The next name whose turn it is, with its place.
    pub(super) fn next(&mut self) -> Option<Arc<str>> {
        let name = self.first()?;
        // Its domain and its zone go behind the others.
        let zone = self.zones.get_mut(zone(&name)).expect("the name waits in it");
        zone.waiting.pop_first();
        if let Some(turn) = zone.turn.take() {
            let domain = self.domains.get_mut(domain(&name)).expect("the zone waits in it");
            domain.waiting.remove(&turn);
            if let Some(turn) = domain.turn.take() {
                self.waiting.remove(&turn);
            }
        }
        self.begin(&name);
        self.line_up(&name);
        Some(name)
    }

    /// A call has returned.
    pub(super) fn end(&mut self, name: &str) {
        for (areas, key) in [(&mut self.domains, domain(name)), (&mut self.zones, zone(name))] {
            areas.get_mut(key).expect("a call is under way in it").under_way -= 1;
        }
        self.free += 1;
        self.forget(name);
    }

    /// Where a place is free, whoever is passed over here has a call under way, so that there are no more of them than places.
    fn first(&self) -> Option<Arc<str>> {
        if self.free == 0 {
            return None;
        }
        let is_open = |areas: &Areas, key: &str| areas[key].under_way < self.free;
        let domains = self.waiting.values().filter(|domain| is_open(&self.domains, domain));
        domains.flat_map(|domain| self.domains[domain].waiting.values()).find_map(|zone| {
            let name = self.zones[zone].waiting.values().next()?;
            self.may_begin(name).then(|| Arc::clone(name))
        })
    }

    fn may_begin(&self, name: &str) -> bool {
        let under_way = |areas: &Areas, key| areas.get(key).map_or(0, |area: &Area| area.under_way);
        under_way(&self.zones, zone(name)) + under_way(&self.domains, domain(name)) < self.free
    }

    fn begin(&mut self, name: &str) {
        for (areas, key) in [(&mut self.domains, domain(name)), (&mut self.zones, zone(name))] {
            areas.entry(key.into()).or_default().under_way += 1;
        }
        self.free -= 1;
    }

    /// Puts the zone and the domain of a name into the lines around them, or takes them out.
    fn line_up(&mut self, name: &str) {
        let turn = self.turn();
        let (zone_name, domain_name) = (zone(name), domain(name));
        let domain = self.domains.entry(domain_name.into()).or_default();
        if let Some(zone) = self.zones.get_mut(zone_name) {
            stand(zone, &mut domain.waiting, zone_name, turn);
        }
        stand(domain, &mut self.waiting, domain_name, turn);
        self.forget(name);
    }

    fn forget(&mut self, name: &str) {
        for (areas, key) in [(&mut self.domains, domain(name)), (&mut self.zones, zone(name))] {
            if areas.get(key).is_some_and(Area::is_idle) {
                areas.remove(key);
            }
        }
    }

    fn turn(&mut self) -> Turn {
        self.turns += 1;
        Turn(self.turns)
    }
}

fn stand(area: &mut Area, around: &mut BTreeMap<Turn, Arc<str>>, name: &str, turn: Turn) {
    match area.turn {
        None if !area.waiting.is_empty() => {
            area.turn = Some(turn);
            around.insert(turn, name.into());
        }
        Some(turn) if area.waiting.is_empty() => {
            area.turn = None;
            around.remove(&turn);
        }
        _ => {}
    }
}

fn domain(name: &str) -> &str {
    last_labels(name, 2)
}

fn zone(name: &str) -> &str {
    last_labels(name, 3)
}

/// All of the name when it has no more. A dot at its end ends no label.
fn last_labels(name: &str, count: usize) -> &str {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.rmatch_indices('.').nth(count - 1).map_or(name, |(at, _)| &name[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets so many names of a family enter, and says how many of them have a place at once.
    fn enter(line: &mut Line, family: &str, count: usize) -> usize {
        (0..count).filter(|number| line.enter(&family.replace('N', &number.to_string()).into()).is_none()).count()
    }

    fn is_idle(line: &Line) -> bool {
        line.waiting.is_empty() && line.domains.is_empty() && line.zones.is_empty()
    }

    #[test]
    fn names_belong_to_their_last_labels() {
        let check = |name, expected| assert_eq!((domain(name), zone(name)), expected);
        check("localhost", ("localhost", "localhost"));
        check("example.com", ("example.com", "example.com"));
        check("a.example.com", ("example.com", "a.example.com"));
        check("b.a.example.com", ("example.com", "a.example.com"));
        check("b.a.example.com.", ("example.com", "a.example.com"));
        check(".", ("", ""));
        check("", ("", ""));
    }

    #[test]
    fn silent_domains_leave_places_for_the_next_one() {
        let mut line = Line::new(128);
        assert_eq!(enter(&mut line, "hN.one.test", 900), 64);
        assert_eq!(enter(&mut line, "hN.two.test", 900), 32);
        assert_eq!(enter(&mut line, "hN.three.test", 900), 16);
        assert_eq!(line.free, 16);
        // As places come back, all get the same, save one at most, and as much stays free.
        for number in 0..64 {
            line.end(&format!("h{number}.one.test"));
            while line.next().is_some() {}
        }
        let shares = ["one.test", "two.test", "three.test"].map(|domain| line.domains[domain].under_way);
        assert_eq!((shares, line.free), ([32, 33, 32], 31));
    }

    #[test]
    fn silent_zones_leave_places_of_their_domain_for_the_next_one() {
        let mut line = Line::new(128);
        assert_eq!(enter(&mut line, "hN.evil.co.uk", 900), 43);
        assert_eq!(enter(&mut line, "hN.fine.co.uk", 900), 14);
        assert_eq!(enter(&mut line, "hN.else.co.uk", 900), 5);
        assert_eq!(enter(&mut line, "hN.good.example", 900), 33);
    }

    #[test]
    fn whoever_waits_gets_a_turn_before_those_who_had_one() {
        let mut line = Line::new(4);
        let family = ["a.x.test", "b.x.test", "c.x.test", "d.x.test", "a.y.test", "a.z.test", "b.z.test"];
        let begun: Vec<_> = family.iter().filter(|name| line.enter(&Arc::from(**name)).is_none()).collect();
        assert_eq!(begun, [&"a.x.test", &"b.x.test", &"a.y.test", &"a.z.test"]);
        let mut order = Vec::new();
        for ended in ["a.y.test", "a.x.test", "a.z.test", "b.x.test", "c.x.test", "b.z.test", "d.x.test"] {
            line.end(ended);
            order.extend(std::iter::from_fn(|| line.next()));
        }
        assert_eq!(order.iter().map(|name| &**name).collect::<Vec<_>>(), ["c.x.test", "b.z.test", "d.x.test"]);
        assert!(is_idle(&line) && line.free == 4, "{line:?}");
    }

    #[test]
    fn who_leaves_is_passed_over_and_areas_are_forgotten() {
        let mut line = Line::new(2);
        let names = ["a.b.x.test", "c.b.x.test", "d.b.x.test", "e.f.x.test"].map(Arc::<str>::from);
        let turns = names.each_ref().map(|name| line.enter(name));
        assert!(turns[0].is_none());
        for at in [1, 3, 2] {
            line.leave(&names[at], turns[at].unwrap());
        }
        assert!(line.waiting.is_empty() && line.zones.len() == 1 && line.domains.len() == 1);
        line.end(&names[0]);
        assert_eq!(line.next(), None);
        assert!(is_idle(&line));
    }

    #[test]
    fn whatever_happens_nobody_who_may_begin_waits() {
        let mut dice = 7_u64;
        let mut roll = |sides: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from((dice >> 33) % sides).unwrap()
        };
        let mut line = Line::new(12);
        let mut waiting: Vec<(Arc<str>, Turn)> = Vec::new();
        let mut under_way: Vec<Arc<str>> = Vec::new();
        for round in 0..20_000 {
            match roll(4) {
                0 | 1 if waiting.len() < 60 => {
                    let name: Arc<str> = format!("h{round}.z{}.d{}", roll(3), roll(4)).into();
                    let name: Arc<str> = if roll(2) == 0 { format!("{name}.test").into() } else { name };
                    match line.enter(&name) {
                        None => under_way.push(name),
                        Some(turn) => waiting.push((name, turn)),
                    }
                }
                2 if !waiting.is_empty() => {
                    let (name, turn) = waiting.swap_remove(roll(waiting.len() as u64));
                    line.leave(&name, turn);
                }
                _ if !under_way.is_empty() => {
                    line.end(&under_way.swap_remove(roll(under_way.len() as u64)));
                    while let Some(name) = line.next() {
                        waiting.retain(|(other, _)| *other != name);
                        under_way.push(name);
                    }
                }
                _ => {}
            }
            assert_eq!(line.free + under_way.len(), 12);
            assert!(waiting.iter().all(|(name, _)| !line.may_begin(name)));
            assert_eq!(line.zones.values().map(|zone| zone.under_way).sum::<usize>(), under_way.len());
        }
        waiting.iter().for_each(|(name, turn)| line.leave(name, *turn));
        under_way.iter().for_each(|name| line.end(name));
        assert!(is_idle(&line) && line.free == 12, "{line:?}");
    }
}
