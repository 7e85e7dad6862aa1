//! The last events of topics, and how those are found that a subscription covers.
//!
//! It knows nothing of subscribers. Topics stand in their order, so an exact one is a look-up and a prefix is a range. A
//! wildcard pattern takes the range of the components that it begins with, and looks at each topic there: whoever leaves the
//! first component open has all [`RETAINED_TOPICS_MAX`] of them looked at. That is the worst case, and it is kept small:
//! of most topics only their [`Shape`] is read, 36 octets that lie in the tree itself, so that a hundred thousand of them
//! take a millisecond or two. What a search took is told, so that others can have their turn after it.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::ops::{Bound, ControlFlow};

use foldhash::fast::RandomState;
use stentor_model::PublicationId;

use crate::codec::OwnedPayload;
use crate::identity::Identity;
use crate::pattern::WILDCARD_COMPONENTS_MAX;
use crate::publish_options::Filter;
use crate::uri::Match;
use crate::value::Dict;

/// Topics with a retained event. Publishers choose topics freely, so without a bound they could fill the memory.
pub const RETAINED_TOPICS_MAX: usize = 100_000;

/// Octets of all retained events together: topics, payloads and lists of receivers. For the same reason.
pub const RETAINED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What looking at the shape of a topic counts for, in octets of messages that would take as long to read.
pub const LOOK_BYTES: usize = 16;

/// What an event counts for at least that is found.
pub const FOUND_BYTES_MIN: usize = 512;

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

/// Octets of one word of a shape.
const WORD: usize = size_of::<u64>();

/// Words of a shape: an octet for each component that a pattern may have.
const WORDS: usize = WILDCARD_COMPONENTS_MAX / WORD;

/// What is seen of a topic without reading it: how many components it has, and eight bits of the hash of each.
#[derive(Clone, Copy, Debug)]
struct Shape {
    components: u32,
    tags: [u64; WORDS],
}

/// The shapes of the topics that a wildcard pattern may match.
struct Outline {
    shape: Shape,
    /// Ones where the pattern names a component.
    named: [u64; WORDS],
}

impl Shape {
    /// The shape of a topic. What stands behind the last component with a tag is told apart by comparing only.
    fn of(topic: &str, hash: &RandomState) -> Self {
        let mut shape = Self { components: 0, tags: [0; WORDS] };
        for (place, part) in topic.split('.').enumerate() {
            shape.components += 1;
            if let Some(word) = shape.tags.get_mut(place / WORD) {
                *word |= (hash.hash_one(part) & 0xff) << (place % WORD * 8);
            }
        }
        shape
    }
}

impl Outline {
    fn of(pattern: &str, hash: &RandomState) -> Self {
        let mut named = [0; WORDS];
        for (place, part) in pattern.split('.').enumerate() {
            if let Some(word) = named.get_mut(place / WORD).filter(|_| !part.is_empty()) {
                *word |= 0xff << (place % WORD * 8);
            }
        }
        Self { shape: Shape::of(pattern, hash), named }
    }

    /// Whether a topic of that shape may match; one in 256 components that differ is not noticed.
    fn fits(&self, other: &Shape) -> bool {
        let differ = |at: usize| (self.shape.tags[at] ^ other.tags[at]) & self.named[at];
        self.shape.components == other.components && (0..WORDS).fold(0, |all, at| all | differ(at)) == 0
    }
}

/// A topic's event, and what is seen of the topic beside it.
#[derive(Debug)]
struct Kept {
    shape: Shape,
    /// Apart, so that a search passes over many topics in little memory.
    event: Box<Retained>,
}

/// The retained events of a realm.
#[derive(Debug, Default)]
pub(super) struct RetainedTopics {
    topics: BTreeMap<Box<str>, Kept>,
    bytes: usize,
    /// Seeded, so that nobody can choose names that look alike.
    hash: RandomState,
}

impl RetainedTopics {
    /// Keeps an event as the last one of its topic, unless that would pass a limit.
    pub(super) fn retain(&mut self, topic: &str, event: Retained) -> Result<(), RetentionFull> {
        let old = self.topics.get(topic).map(|old| old.event.bytes(topic));
        let bytes = self.bytes - old.unwrap_or(0) + event.bytes(topic);
        if bytes > RETAINED_BYTES_MAX || (old.is_none() && self.topics.len() >= RETAINED_TOPICS_MAX) {
            return Err(RetentionFull);
        }
        self.bytes = bytes;
        let kept = Kept { shape: Shape::of(topic, &self.hash), event: Box::new(event) };
        self.topics.insert(topic.into(), kept);
        Ok(())
    }

    /// Keeps nothing for a topic any more.
    pub(super) fn forget(&mut self, topic: &str) {
        if let Some(old) = self.topics.remove(topic) {
            self.bytes -= old.event.bytes(topic);
        }
    }

    /// Calls `found` for the events of the topics that a pattern covers, until it breaks. Returns what that took, in octets.
    pub(super) fn each_match<'a>(
        &'a self,
        pattern: &str,
        matching: Match,
        found: &mut impl FnMut(&'a str, &'a Retained) -> ControlFlow<()>,
    ) -> usize {
        let mut took = LOOK_BYTES;
        let mut found = |topic: &'a str, kept: &'a Kept| {
            took += kept.event.bytes(topic).max(FOUND_BYTES_MIN);
            found(topic, &kept.event)
        };
        match matching {
            Match::Exact => {
                // Whether more is wanted means nothing: there is no more.
                let _ = self.topics.get_key_value(pattern).map(|(topic, kept)| found(topic, kept));
            }
            Match::Prefix => {
                let from = (Bound::Included(pattern), Bound::Unbounded);
                let all = self.topics.range::<str, _>(from).take_while(|(topic, _)| topic.starts_with(pattern));
                let _ = all.into_iter().try_for_each(|(topic, kept)| found(topic, kept));
            }
            Match::Wildcard => {
                let mut looked = 0;
                let _ = self.each_candidate(pattern, &mut looked, &mut found);
                took += looked;
            }
        }
        took
    }

    fn each_candidate<'a>(
        &'a self,
        pattern: &str,
        looked: &mut usize,
        found: &mut impl FnMut(&'a str, &'a Kept) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let outline = Outline::of(pattern, &self.hash);
        let start = leading(pattern);
        // Its last octet is a dot: what follows the dot ends the range.
        let end = start.strip_suffix('.').map(|named| format!("{named}/"));
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        for (topic, kept) in self.topics.range::<str, _>((Bound::Included(start), end)) {
            *looked += LOOK_BYTES;
            if outline.fits(&kept.shape) {
                *looked += topic.len();
                if Match::Wildcard.matches(pattern, topic) {
                    found(topic, kept)?;
                }
            }
        }
        ControlFlow::Continue(())
    }
}

/// What every match of a wildcard pattern begins with: the components before the first that stands for any, with their dots.
fn leading(pattern: &str) -> &str {
    let mut length = 0;
    for part in pattern.split_inclusive('.') {
        if part == "." || !part.ends_with('.') {
            break;
        }
        length += part.len();
    }
    &pattern[..length]
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
        // A slash comes right after the dot, and what begins with a component is not always below it.
        let part = prop_oneof![3 => "[ab/-]{1,2}", 1 => Just(String::new()), 1 => Just("\u{10ffff}".to_owned())];
        let few = proptest::collection::vec(part.clone(), 1..4);
        let many = proptest::collection::vec(part, 30..36);
        prop_oneof![8 => few, 1 => many].prop_map(|parts| parts.join("."))
    }

    proptest! {
        #[test]
        fn finds_what_a_naive_list_finds(
            topics in proptest::collection::btree_set(uris(), 0..40),
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
                let (found, took) = search(&kept, pattern, matching);
                prop_assert_eq!(found.iter().collect::<Vec<_>>(), expected);
                prop_assert!(took >= found.len() * FOUND_BYTES_MIN);
            }
        }
    }

    #[test]
    fn a_search_takes_what_it_looks_at() {
        let kept = kept((0..1000).map(|n| format!("com.a{n}.x")).chain(["org.b.x".to_owned()]));
        // One in 256 topics may look alike and is compared, and longer ones than these are not there.
        let compared = 200 * "com.a100.x".len();
        let check = |pattern: &str, matching: Match, found: usize, looked: usize| {
            let (topics, took) = search(&kept, pattern, matching);
            assert_eq!(topics.len(), found, "{matching:?} {pattern}");
            let least = looked * LOOK_BYTES + found * FOUND_BYTES_MIN;
            let compared = if matching == Match::Wildcard { compared } else { 0 };
            assert!((least..=least + compared + LOOK_BYTES).contains(&took), "{matching:?} {pattern} took {took}");
        };
        check("com.a7.x", Match::Exact, 1, 1);
        check("com.b", Match::Prefix, 0, 1);
        check("com.a7", Match::Prefix, 111, 1);
        check("org..x", Match::Wildcard, 1, 1);
        check("org..y", Match::Wildcard, 0, 1);
        check("com.a7.", Match::Wildcard, 1, 1);
        check("net..x", Match::Wildcard, 0, 0);
        check("com..y", Match::Wildcard, 0, 1000);
        check("..y", Match::Wildcard, 0, 1001);
        check("...", Match::Wildcard, 0, 1001);
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
            assert_eq!((found, took < 2 * FOUND_BYTES_MIN), (1, true));
        }
    }

    #[test]
    fn what_a_pattern_begins_with() {
        for (pattern, expected) in [
            ("", ""),
            (".", ""),
            ("a", ""),
            ("a.", "a."),
            ("a.b", "a."),
            ("a..c.", "a."),
            ("a.b..", "a.b."),
            (".a.", ""),
        ] {
            assert_eq!(leading(pattern), expected, "{pattern}");
        }
    }
}
