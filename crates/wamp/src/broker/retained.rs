//! The last events of topics, and how those are found that a subscription covers.
//!
//! It knows nothing of subscribers. Topics stand in their order, so an exact one is a look-up and a prefix is a range. A
//! wildcard pattern has all topics looked at, in columns: eight bits of the hash of the first component of each topic stand
//! one after the other, then those of the second, and so on. 64 of them are compared at once, and only where all named components
//! agree is a topic read. The worst case is a pattern of [`WILDCARD_COMPONENTS_MAX`] components of which only the last differs:
//! for [`RETAINED_TOPICS_MAX`] topics that is 3.3 megaoctets in a row, two milliseconds; for most patterns it is a tenth
//! of that. Whatever is found costs more, as an event does. What a search took is told, so that others can have their turn
//! after it.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use foldhash::fast::RandomState;
use stentor_model::PublicationId;

use crate::codec::OwnedPayload;
use crate::identity::Identity;
use crate::pattern::WILDCARD_COMPONENTS_MAX;
use crate::publish_options::Filter;
use crate::uri::Match;
use crate::value::Dict;
use crate::wildcard::Bits;

/// Topics with a retained event. Publishers choose topics freely, so without a bound they could fill the memory.
pub const RETAINED_TOPICS_MAX: usize = 100_000;

/// Octets of all retained events together: topics, payloads and lists of receivers. For the same reason.
pub const RETAINED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What comparing a row of one column counts for, in octets of messages that would take as long to read.
const ROW_BYTES: usize = 4;

/// What reading a topic counts for beside its octets, which are rarely at hand.
const READ_BYTES: usize = 128;

/// What an event counts for at least that is found.
const FOUND_BYTES_MIN: usize = 512;

/// The last event of a topic.
#[derive(Debug)]
pub struct Retained {
    /// Its publication.
    pub publication: PublicationId,
    /// Its details, without those that depend on the subscription.
    pub details: Dict,
    /// Its payload.
    pub payload: OwnedPayload,
    /// Who may receive it.
    pub filter: Option<Box<Filter>>,
}

impl Retained {
    /// Whether a new subscriber may have it.
    #[must_use]
    pub fn admits(&self, who: &Identity) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.admits(who))
    }

    /// What keeping the event takes, as far as a publisher can drive it.
    fn bytes(&self, topic: &str) -> usize {
        let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        let payload = self.payload.as_payload();
        let filter = self.filter.as_ref().map_or(0, |filter| filter.bytes());
        topic.len() + length(payload.args) + length(payload.kwargs) + filter
    }
}

/// Why an event is not retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionFull;

/// Topics that are compared at once.
const ROW: usize = u64::BITS as usize;

/// A topic and its event.
#[derive(Debug)]
struct Kept {
    topic: Arc<str>,
    event: Box<Retained>,
}

/// The retained events of a realm.
#[derive(Debug, Default)]
pub(super) struct RetainedTopics {
    /// Where each topic stands among those kept.
    places: BTreeMap<Arc<str>, usize>,
    kept: Vec<Kept>,
    columns: Columns,
    bytes: usize,
}

impl RetainedTopics {
    /// Keeps an event as the last one of its topic, unless that would pass a limit.
    pub(super) fn retain(&mut self, topic: &str, event: Retained) -> Result<(), RetentionFull> {
        let old = self.places.get(topic).copied();
        let bytes = self.bytes - old.map_or(0, |place| self.kept[place].event.bytes(topic)) + event.bytes(topic);
        if bytes > RETAINED_BYTES_MAX || (old.is_none() && self.kept.len() >= RETAINED_TOPICS_MAX) {
            return Err(RetentionFull);
        }
        self.bytes = bytes;
        if let Some(place) = old {
            *self.kept[place].event = event;
            return Ok(());
        }
        let topic: Arc<str> = topic.into();
        self.columns.push(&topic);
        self.places.insert(Arc::clone(&topic), self.kept.len());
        self.kept.push(Kept { topic, event: Box::new(event) });
        Ok(())
    }

    /// Keeps nothing for a topic any more.
    pub(super) fn forget(&mut self, topic: &str) {
        let Some(place) = self.places.remove(topic) else { return };
        self.columns.swap_remove(place);
        let old = self.kept.swap_remove(place);
        self.bytes -= old.event.bytes(topic);
        if let Some(moved) = self.kept.get(place) {
            self.places.insert(Arc::clone(&moved.topic), place);
        }
    }

    /// Calls `found` for the events of the topics that a pattern covers, until it breaks. Returns what that took, in octets.
    pub(super) fn each_match<'a>(
        &'a self,
        pattern: &str,
        matching: Match,
        found: &mut impl FnMut(&'a str, &'a Retained) -> ControlFlow<()>,
    ) -> usize {
        let mut took = 0;
        let mut found = |kept: &'a Kept| {
            took += kept.event.bytes(&kept.topic).max(FOUND_BYTES_MIN);
            found(&kept.topic, &kept.event)
        };
        // Whether it broke means nothing here: nothing comes after the last one either.
        match matching {
            Match::Exact => {
                let _ = self.places.get(pattern).map(|&place| found(&self.kept[place]));
                took
            }
            Match::Prefix => {
                let from = self.places.range::<str, _>((Bound::Included(pattern), Bound::Unbounded));
                let mut all = from.take_while(|(topic, _)| topic.starts_with(pattern));
                let _ = all.try_for_each(|(_, &place)| found(&self.kept[place]));
                took
            }
            Match::Wildcard => {
                let mut read = 0;
                let compared = self.columns.each_alike(pattern, &mut |place| {
                    let kept = &self.kept[place];
                    read += READ_BYTES + kept.topic.len();
                    if matching.matches(pattern, &kept.topic) { found(kept) } else { ControlFlow::Continue(()) }
                });
                took + read + compared
            }
        }
    }
}

/// What is seen of all topics without reading them.
#[derive(Debug, Default)]
struct Columns {
    /// How many components each has, as far as an octet goes.
    counts: Vec<u8>,
    /// The tag of the component at each place, for as many as any topic has. Nothing is known of those behind the last
    /// one that a client's pattern can name.
    tags: Vec<Vec<u8>>,
    /// Seeded, so that nobody can choose names that look alike.
    hash: RandomState,
}

impl Columns {
    /// Never 0, which stands where a topic has no such component.
    fn tag(&self, part: &str) -> u8 {
        u8::try_from(self.hash.hash_one(part) % u64::from(u8::MAX)).map_or(1, |tag| tag + 1)
    }

    fn push(&mut self, topic: &str) {
        let before = self.counts.len();
        let mut count = 0_u8;
        for (place, part) in topic.split('.').enumerate() {
            count = count.saturating_add(1);
            if place == WILDCARD_COMPONENTS_MAX {
                // The others are only counted.
                count = u8::try_from(topic.split('.').count()).unwrap_or(u8::MAX);
                break;
            }
            if place == self.tags.len() {
                self.tags.push(vec![0; before]);
            }
            let tag = self.tag(part);
            self.tags[place].push(tag);
        }
        self.counts.push(count);
        self.tags.iter_mut().for_each(|column| column.resize(before + 1, 0));
    }

    fn swap_remove(&mut self, place: usize) {
        self.counts.swap_remove(place);
        for column in &mut self.tags {
            column.swap_remove(place);
        }
    }

    /// Calls `alike` with the place of every topic that may match a wildcard pattern, until it breaks: all that do, and one in
    /// 255 of those of which one component does not. Returns what that took, in octets.
    fn each_alike(&self, pattern: &str, alike: &mut impl FnMut(usize) -> ControlFlow<()>) -> usize {
        let mut wanted = vec![(&*self.counts, 0)];
        for (place, part) in pattern.split('.').enumerate() {
            wanted[0].1 = u8::try_from(place + 1).unwrap_or(u8::MAX);
            match self.tags.get(place) {
                Some(column) if !part.is_empty() => wanted.push((column, self.tag(part))),
                _ => {}
            }
        }
        let mut compared = 0;
        for start in (0..self.counts.len()).step_by(ROW) {
            let mut same = u64::MAX;
            for (column, tag) in &wanted {
                same &= equal(&column[start..], *tag);
                compared += ROW_BYTES;
                if same == 0 {
                    break;
                }
            }
            if Bits(same).try_for_each(|bit| alike(start + bit as usize)).is_break() {
                return compared;
            }
        }
        compared
    }
}

/// A bit for each of the first 64 octets that is the wanted one.
fn equal(column: &[u8], wanted: u8) -> u64 {
    let bits = |octets: &[u8]| octets.iter().rev().fold(0, |bits, &octet| bits << 1 | u64::from(octet == wanted));
    let Some(row) = column.first_chunk::<ROW>() else { return bits(column) };
    // Most rows have none, which is found out many octets at a time.
    if row.iter().fold(false, |any, &octet| any | (octet == wanted)) { bits(row) } else { 0 }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Serializer;

    const POLICIES: [Match; 3] = [Match::Exact, Match::Prefix, Match::Wildcard];

    fn event() -> Retained {
        let payload = OwnedPayload { serializer: Serializer::Json, args: Some(Bytes::new()), kwargs: None };
        Retained { publication: PublicationId::FIRST, details: Dict::new(), payload, filter: None }
    }

    fn kept(topics: impl IntoIterator<Item = String>) -> RetainedTopics {
        let mut kept = RetainedTopics::default();
        topics.into_iter().for_each(|topic| kept.retain(&topic, event()).unwrap());
        kept
    }

    /// The topics found, and what the search took.
    fn search(kept: &RetainedTopics, pattern: &str, matching: Match) -> (Vec<String>, usize) {
        let mut topics = Vec::new();
        let took = kept.each_match(pattern, matching, &mut |topic, _| {
            topics.push(topic.to_owned());
            ControlFlow::Continue(())
        });
        (topics, took)
    }

    fn uris() -> impl Strategy<Value = String> {
        let part = prop_oneof![3 => "[ab]{1,2}", 1 => Just(String::new()), 1 => Just("\u{10ffff}".to_owned())];
        let few = proptest::collection::vec(part.clone(), 1..4);
        let many = proptest::collection::vec(part, 30..36);
        prop_oneof![8 => few, 1 => many].prop_map(|parts| parts.join("."))
    }

    proptest! {
        #[test]
        fn finds_what_a_naive_list_finds(
            topics in proptest::collection::btree_set(uris(), 0..200),
            gone in proptest::collection::vec(any::<proptest::sample::Index>(), 0..5),
            pattern in uris(),
            open in proptest::collection::vec(any::<proptest::sample::Index>(), 0..3),
        ) {
            let mut kept = kept(topics.iter().cloned());
            let mut naive: Vec<String> = topics.into_iter().collect();
            for at in gone {
                if naive.is_empty() { break }
                kept.forget(&naive.remove(at.index(naive.len())));
            }
            // Patterns made of topics that are there, too.
            let mut patterns = vec![pattern];
            for at in open {
                if naive.is_empty() { break }
                let mut parts: Vec<&str> = naive[at.index(naive.len())].split('.').collect();
                let place = at.index(parts.len());
                parts[place] = "";
                patterns.push(parts.join("."));
            }
            for (pattern, matching) in patterns.iter().flat_map(|one| POLICIES.map(|matching| (one, matching))) {
                let expected: Vec<&String> = naive.iter().filter(|topic| matching.matches(pattern, topic)).collect();
                let (mut found, took) = search(&kept, pattern, matching);
                found.sort_unstable();
                prop_assert_eq!(found.iter().collect::<Vec<_>>(), expected);
                prop_assert!(took >= found.len() * FOUND_BYTES_MIN);
            }
        }
    }

    #[test]
    fn a_search_takes_what_it_looks_at() {
        let kept = kept((0..1000).map(|n| format!("com.a{n}.x")).chain(["org.b.x".to_owned()]));
        let rows = 1001_usize.div_ceil(ROW) * ROW_BYTES;
        // Some differ and look alike.
        let unlucky = 100 * (READ_BYTES + "com.a100.x".len());
        let check = |pattern: &str, matching: Match, found: usize, compared: usize| {
            let (topics, took) = search(&kept, pattern, matching);
            assert_eq!(topics.len(), found, "{matching:?} {pattern}");
            let read = if matching == Match::Wildcard { READ_BYTES } else { 0 };
            let least = found * (FOUND_BYTES_MIN + read) + compared;
            assert!((least..=least + unlucky).contains(&took), "{matching:?} {pattern} took {took}");
        };
        check("com.a7.x", Match::Exact, 1, 0);
        check("com.b", Match::Prefix, 0, 0);
        check("com.a7", Match::Prefix, 111, 0);
        check("org..x", Match::Wildcard, 1, 2 * rows);
        check("com.a7.", Match::Wildcard, 1, 2 * rows);
        check("com..y", Match::Wildcard, 0, 2 * rows);
        check("..y", Match::Wildcard, 0, 2 * rows);
        check("..", Match::Wildcard, 1001, rows);
        check("...", Match::Wildcard, 0, rows);
    }

    #[test]
    fn nothing_is_looked_at_when_no_more_is_wanted() {
        let kept = kept((0..1000).map(|n| format!("a.{n}")));
        for (pattern, matching) in [("a.", Match::Prefix), (".", Match::Wildcard)] {
            let mut found = 0;
            let took = kept.each_match(pattern, matching, &mut |_, _| {
                found += 1;
                ControlFlow::Break(())
            });
            assert_eq!((found, took < 2 * FOUND_BYTES_MIN), (1, true), "{matching:?}");
        }
    }
}
