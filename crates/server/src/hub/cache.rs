//! Publications that are in memory, prepared for sending: those that came last, and those that were read for somebody who
//! is behind.
//!
//! The newest publications of a topic are a *run*: nothing is missing in it, so who is not further behind than its
//! beginning needs no read of the log at all. Both kinds are bounded by octets, and the oldest go first; what is no longer
//! here is read again.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use stentor_model::{Offset, Topic};

/// Octets of the newest publications. Subscribers that keep up never ask for others.
const RUN_BYTES_MAX: usize = 64 << 20;

/// Octets of publications that were read for those who are behind.
const READ_BYTES_MAX: usize = 64 << 20;

/// Octets that a publication costs beside its content: its header fields and its places in these tables.
const OVERHEAD_BYTES: usize = 1024;

/// A publication, ready to be sent to any subscriber.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The fields that are the same in all its deliveries, ready for the wire.
    pub(super) fields: Bytes,
    /// Among them, what stands in `Link`: the same for all publications of the topic.
    pub(super) link: Range<usize>,
    /// The content.
    pub(super) body: Bytes,
}

impl Prepared {
    fn cost(&self) -> usize {
        self.body.len() + OVERHEAD_BYTES
    }
}

/// The publications of one hub that are in memory.
#[derive(Debug, Default)]
pub(super) struct Cache {
    runs: HashMap<Topic, Run, RandomState>,
    /// Of all runs, in the order of arrival.
    arrivals: VecDeque<(Topic, usize)>,
    run_bytes: usize,
    read: HashMap<(Topic, Offset), Rc<Prepared>, RandomState>,
    reads: VecDeque<(Topic, Offset)>,
    read_bytes: usize,
}

#[derive(Debug)]
struct Run {
    /// Everything of the topic behind this place is here.
    after: Offset,
    entries: VecDeque<(Offset, Rc<Prepared>)>,
}

/// What a run knows about the publications behind a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) offsets: Vec<Offset>,
    /// There are more than were asked for.
    pub(super) has_more: bool,
}

impl Cache {
    /// Takes the newest publication of a topic; `before` is the place of the log's publication just before it, whatever
    /// its topic.
    pub(super) fn arrived(&mut self, topic: &Topic, before: Offset, offset: Offset, prepared: Rc<Prepared>) {
        let cost = prepared.cost();
        let run = self.runs.entry(topic.clone()).or_insert_with(|| Run { after: before, entries: VecDeque::new() });
        run.entries.push_back((offset, prepared));
        self.arrivals.push_back((topic.clone(), cost));
        self.run_bytes += cost;
        while self.run_bytes > RUN_BYTES_MAX && self.arrivals.len() > 1 {
            let Some((topic, cost)) = self.arrivals.pop_front() else { break };
            self.run_bytes -= cost;
            self.shorten(&topic);
        }
    }

    fn shorten(&mut self, topic: &Topic) {
        let Some(run) = self.runs.get_mut(topic) else { return };
        if let Some((offset, _)) = run.entries.pop_front() {
            run.after = offset;
        }
        if run.entries.is_empty() {
            self.runs.remove(topic);
        }
    }

    /// Takes a publication that was read.
    pub(super) fn was_read(&mut self, topic: &Topic, offset: Offset, prepared: Rc<Prepared>) {
        let cost = prepared.cost();
        if self.read.insert((topic.clone(), offset), prepared).is_none() {
            self.reads.push_back((topic.clone(), offset));
            self.read_bytes += cost;
        }
        while self.read_bytes > READ_BYTES_MAX && self.reads.len() > 1 {
            let Some(key) = self.reads.pop_front() else { break };
            if let Some(prepared) = self.read.remove(&key) {
                self.read_bytes -= prepared.cost();
            }
        }
    }

    /// The publications of a topic behind a place, if all of them are here.
    pub(super) fn behind(&self, topic: &Topic, after: Offset, limit: usize) -> Option<Stretch> {
        let run = self.runs.get(topic).filter(|run| run.after <= after)?;
        let first = run.entries.partition_point(|(offset, _)| *offset <= after);
        let rest = run.entries.len() - first;
        let offsets = run.entries.iter().skip(first).take(limit).map(|(offset, _)| *offset).collect();
        Some(Stretch { offsets, has_more: rest > limit })
    }

    /// The `Link` of a topic, if a publication of it is here.
    pub(super) fn link(&self, topic: &Topic) -> Option<Bytes> {
        let (_, newest) = self.runs.get(topic)?.entries.back()?;
        Some(newest.fields.slice(newest.link.clone()))
    }

    /// The publication, if it is here.
    pub(super) fn get(&self, topic: &Topic, offset: Offset) -> Option<Rc<Prepared>> {
        let of_run = self.runs.get(topic).and_then(|run| {
            let at = run.entries.binary_search_by_key(&offset, |(offset, _)| *offset).ok()?;
            Some(Rc::clone(&run.entries[at].1))
        });
        of_run.or_else(|| self.read.get(&(topic.clone(), offset)).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(octets: usize) -> Rc<Prepared> {
        Rc::new(Prepared {
            fields: Bytes::from_static(b"link: <http://h/>\r\n"),
            link: 6..17,
            body: Bytes::from(vec![0; octets]),
        })
    }

    #[test]
    fn a_run_knows_what_it_has_and_nothing_before() {
        let (a, b) = (Topic::parse("http://a/").unwrap(), Topic::parse("http://b/").unwrap());
        let mut cache = Cache::default();
        for (topic, before, offset) in [(&a, 10, 11), (&b, 11, 12), (&a, 12, 13), (&a, 13, 14)] {
            cache.arrived(topic, Offset::new(before), Offset::new(offset), prepared(1));
        }
        let check = |topic, after, limit, expected: Option<(&[u64], bool)>| {
            let found = cache.behind(topic, Offset::new(after), limit);
            let expected = expected.map(|(offsets, has_more)| Stretch {
                offsets: offsets.iter().copied().map(Offset::new).collect(),
                has_more,
            });
            assert_eq!(found, expected, "after {after}");
        };
        check(&a, 9, 10, None);
        check(&a, 10, 10, Some((&[11, 13, 14], false)));
        check(&a, 11, 10, Some((&[13, 14], false)));
        check(&a, 12, 1, Some((&[13], true)));
        check(&a, 14, 10, Some((&[], false)));
        check(&b, 11, 10, Some((&[12], false)));
        assert!(cache.get(&a, Offset::new(13)).is_some() && cache.get(&a, Offset::new(12)).is_none());
        let elsewhere = Topic::parse("http://c/").unwrap();
        assert!(cache.link(&a).is_some_and(|link| link == "<http://h/>") && cache.link(&elsewhere).is_none());
    }

    #[test]
    fn both_kinds_are_bounded() {
        let topic = Topic::parse("http://a/").unwrap();
        let mut cache = Cache::default();
        for offset in 1..=100 {
            cache.arrived(&topic, Offset::new(offset - 1), Offset::new(offset), prepared(1 << 20));
            cache.was_read(&topic, Offset::new(1000 + offset), prepared(1 << 20));
        }
        assert!(cache.run_bytes <= RUN_BYTES_MAX && cache.read_bytes <= READ_BYTES_MAX);
        assert!(cache.get(&topic, Offset::new(1)).is_none() && cache.get(&topic, Offset::new(1001)).is_none());
        assert!(cache.get(&topic, Offset::new(100)).is_some() && cache.get(&topic, Offset::new(1100)).is_some());
        assert!(cache.behind(&topic, Offset::new(1), 10).is_none());
    }
}
