//! An index from URI patterns to values that finds every match of one URI without looking at the others.
//!
//! Exact patterns are one look-up. Prefixes are one look-up for each *length* in use, so ten thousand prefixes of three
//! lengths cost three, and one walk along the URI. Wildcards are rows of bits. The broker and the permissions both stand on it.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::prefix::Prefixes;
use crate::uri::Match;
use crate::wildcard::Wildcards;

/// Components of a wildcard pattern that a client subscribes to. Each may cost a table of its own, so that without a limit
/// a pattern of a few thousand dots would take some hundred times the memory of the message that brought it.
pub const WILDCARD_COMPONENTS_MAX: usize = 32;

/// A table by text. Every publication looks into some of them, and the standard library's hash would cost more than the rest
/// of a look-up. This one is seeded for each table too, and no answer tells anybody how long a look-up took.
pub(crate) type Table<T> = HashMap<Box<str>, T, RandomState>;

/// Patterns and what they lead to.
#[derive(Debug)]
pub struct PatternIndex<T> {
    exact: Table<T>,
    prefix: Prefixes<T>,
    wildcard: Wildcards<T>,
}

impl<T> Default for PatternIndex<T> {
    fn default() -> Self {
        Self { exact: Table::default(), prefix: Prefixes::default(), wildcard: Wildcards::default() }
    }
}

impl<T> PatternIndex<T> {
    /// Puts `value` under a pattern and returns the one that stood there.
    pub fn insert(&mut self, matching: Match, pattern: &str, value: T) -> Option<T> {
        match matching {
            Match::Exact => self.exact.insert(pattern.into(), value),
            Match::Prefix => self.prefix.insert(pattern, value),
            Match::Wildcard => self.wildcard.insert(pattern, value),
        }
    }

    /// Takes a pattern out.
    pub fn remove(&mut self, matching: Match, pattern: &str) -> Option<T> {
        match matching {
            Match::Exact => self.exact.remove(pattern),
            Match::Prefix => self.prefix.remove(pattern),
            Match::Wildcard => self.wildcard.remove(pattern),
        }
    }

    /// What stands under exactly this pattern.
    #[must_use]
    pub fn get(&self, matching: Match, pattern: &str) -> Option<&T> {
        match matching {
            Match::Exact => self.exact.get(pattern),
            Match::Prefix => self.prefix.get(pattern),
            Match::Wildcard => self.wildcard.get(pattern),
        }
    }

    /// The same, to be changed in place.
    pub fn get_mut(&mut self, matching: Match, pattern: &str) -> Option<&mut T> {
        match matching {
            Match::Exact => self.exact.get_mut(pattern),
            Match::Prefix => self.prefix.get_mut(pattern),
            Match::Wildcard => self.wildcard.get_mut(pattern),
        }
    }

    /// Calls `found` for every pattern that matches `uri`: the exact one, prefixes from short to long, then wildcards.
    pub fn each_match<'a>(&'a self, uri: &str, found: &mut impl FnMut(Match, &'a T)) {
        if let Some(value) = self.exact.get(uri) {
            found(Match::Exact, value);
        }
        self.prefix.each_match(uri, &mut |value| found(Match::Prefix, value));
        self.wildcard.each_match(uri, &mut |value| found(Match::Wildcard, value));
    }

    /// Whether nothing is left, not even a bare branch.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefix.is_empty() && self.wildcard.is_empty()
    }

    /// Every value, in no order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.exact.values().chain(self.prefix.values()).chain(self.wildcard.values())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(index: &PatternIndex<u32>, uri: &str) -> Vec<u32> {
        let mut all = Vec::new();
        index.each_match(uri, &mut |_, value| all.push(*value));
        all.sort_unstable();
        all
    }

    #[test]
    fn removal_leaves_nothing() {
        let mut index = PatternIndex::default();
        for (value, (matching, pattern)) in
            [(Match::Wildcard, "a..c"), (Match::Wildcard, "a.."), (Match::Prefix, "a"), (Match::Exact, "a.b.c")]
                .into_iter()
                .enumerate()
        {
            assert_eq!(index.insert(matching, pattern, value as u32), None);
        }
        assert_eq!(matches(&index, "a.b.c"), [0, 1, 2, 3]);
        assert_eq!(index.remove(Match::Wildcard, "a..c"), Some(0));
        assert_eq!(index.remove(Match::Wildcard, "a..c"), None);
        assert_eq!(index.remove(Match::Wildcard, "a.."), Some(1));
        assert!(index.wildcard.is_empty());
        assert_eq!(index.remove(Match::Prefix, "a"), Some(2));
        assert!(index.prefix.is_empty());
        assert_eq!(matches(&index, "a.b.c"), [3]);
    }

    fn uris() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop_oneof!["[ab]{1,2}", Just(String::new())], 1..4).prop_map(|parts| parts.join("."))
    }

    proptest! {
        #[test]
        fn finds_what_a_naive_list_finds(
            patterns in proptest::collection::vec((0..3_u8, uris()), 0..20),
            gone in proptest::collection::vec(any::<proptest::sample::Index>(), 0..5),
            topic in uris(),
        ) {
            let matching = |n: u8| [Match::Exact, Match::Prefix, Match::Wildcard][usize::from(n)];
            let mut index = PatternIndex::default();
            let mut naive: Vec<(Match, String, u32)> = Vec::new();
            for (value, (n, pattern)) in (0..).zip(&patterns) {
                index.insert(matching(*n), pattern, value);
                naive.retain(|(m, p, _)| (*m, p) != (matching(*n), pattern));
                naive.push((matching(*n), pattern.clone(), value));
            }
            for at in gone {
                if naive.is_empty() { break }
                let (m, p, value) = naive.remove(at.index(naive.len()));
                prop_assert_eq!(index.remove(m, &p), Some(value));
            }
            let mut expected: Vec<u32> =
                naive.iter().filter(|(m, p, _)| m.matches(p, &topic)).map(|(_, _, value)| *value).collect();
            expected.sort_unstable();
            prop_assert_eq!(matches(&index, &topic), expected);
            prop_assert_eq!(index.values().count(), naive.len());
        }
    }
}
