//! Prefixes, of which every one that a URI begins with is found in one walk along the URI.
//!
//! For each *length* in use the URI's beginning of that length is looked up. Hashing each beginning by itself would take the
//! square of the URI's length where all lengths are in use, and it is clients who choose both. So a beginning is a polynomial
//! whose value goes on from that of the shorter one, and costs what it has more. The point at which they are evaluated is
//! random for each index, so that nobody can choose beginnings of equal value; and what is found by its value is compared
//! as text too.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

/// The prime modulo which polynomials are evaluated, 2^61 - 1. Two texts of 4096 octets are of equal value at fewer than one
/// point of 2^51.
const PRIME: u64 = (1 << 61) - 1;

/// Octets of a coefficient, which has to be less than the prime.
const BLOCK: usize = 7;

/// Prefixes and what they lead to.
#[derive(Debug)]
pub(crate) struct Prefixes<T> {
    /// By their keys.
    held: HashMap<u64, Held<T>, BuildHasherDefault<Itself>>,
    /// The lengths in use from short to long, and how many prefixes have each.
    lengths: Vec<(usize, usize)>,
    secret: Secret,
}

/// A prefix.
#[derive(Debug)]
struct Held<T> {
    text: Box<str>,
    value: T,
    /// Another one of the same key, which hardly anybody ever sees.
    next: Option<Box<Held<T>>>,
}

impl<T> Default for Prefixes<T> {
    fn default() -> Self {
        let random = RandomState::new();
        let secret = Secret { point: random.hash_one("point") % PRIME, spread: random.hash_one("spread") | 1 };
        Self { held: HashMap::default(), lengths: Vec::new(), secret }
    }
}

impl<T> Held<T> {
    fn is(&self, text: &str) -> bool {
        // An empty text, which is what a rule for everything has, stands nowhere, and comparing what stands nowhere is slow.
        self.text.len() == text.len() && (text.is_empty() || *self.text == *text)
    }

    fn find(&self, text: &str) -> Option<&T> {
        if self.is(text) { Some(&self.value) } else { self.find_behind(text) }
    }

    #[cold]
    fn find_behind(&self, text: &str) -> Option<&T> {
        self.next.as_ref()?.find(text)
    }

    fn find_mut(&mut self, text: &str) -> Option<&mut T> {
        if self.is(text) { Some(&mut self.value) } else { self.next.as_mut()?.find_mut(text) }
    }
}

impl<T> Prefixes<T> {
    fn key(&self, prefix: &str) -> u64 {
        Walk::new(self.secret, prefix.as_bytes()).key(prefix.len())
    }

    /// Puts `value` under a prefix and returns the one that stood there.
    pub(crate) fn insert(&mut self, prefix: &str, value: T) -> Option<T> {
        let key = self.key(prefix);
        if let Some(old) = self.held.get_mut(&key).and_then(|held| held.find_mut(prefix)) {
            return Some(std::mem::replace(old, value));
        }
        let next = self.held.remove(&key).map(Box::new);
        self.held.insert(key, Held { text: prefix.into(), value, next });
        match self.lengths.binary_search_by_key(&prefix.len(), |(length, _)| *length) {
            Ok(place) => self.lengths[place].1 += 1,
            Err(place) => self.lengths.insert(place, (prefix.len(), 1)),
        }
        None
    }

    /// Takes a prefix out.
    pub(crate) fn remove(&mut self, prefix: &str) -> Option<T> {
        let key = self.key(prefix);
        let mut rest = self.held.remove(&key).map(Box::new);
        let (mut others, mut gone) = (None, None);
        while let Some(mut held) = rest {
            rest = held.next.take();
            if held.is(prefix) {
                gone = Some(held.value);
            } else {
                held.next = others;
                others = Some(held);
            }
        }
        others.and_then(|others| self.held.insert(key, *others));
        let place = self.lengths.binary_search_by_key(&prefix.len(), |(length, _)| *length).ok()?;
        if gone.is_some() {
            self.lengths[place].1 -= 1;
        }
        if self.lengths[place].1 == 0 {
            self.lengths.remove(place);
        }
        gone
    }

    /// What stands under exactly this prefix.
    pub(crate) fn get(&self, prefix: &str) -> Option<&T> {
        self.held.get(&self.key(prefix))?.find(prefix)
    }

    /// The same, to be changed in place.
    pub(crate) fn get_mut(&mut self, prefix: &str) -> Option<&mut T> {
        let key = self.key(prefix);
        self.held.get_mut(&key)?.find_mut(prefix)
    }

    /// Calls `found` for every prefix that `uri` begins with, from short to long.
    pub(crate) fn each_match<'a>(&'a self, uri: &str, found: &mut impl FnMut(&'a T)) {
        let mut walk = Walk::new(self.secret, uri.as_bytes());
        for &(length, _) in self.lengths.iter().take_while(|(length, _)| *length <= uri.len()) {
            if let Some(held) = self.held.get(&walk.key(length))
                && let Some(value) = uri.get(..length).and_then(|start| held.find(start))
            {
                found(value);
            }
        }
    }

    /// Every value, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        let chain = |first| std::iter::successors(Some(first), |held: &&Held<T>| held.next.as_deref());
        self.held.values().flat_map(chain).map(|held| &held.value)
    }

    /// Whether nothing is left.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.lengths.is_empty()
    }
}

/// What makes the keys of one index unpredictable.
#[derive(Clone, Copy, Debug)]
struct Secret {
    /// Where polynomials are evaluated.
    point: u64,
    /// By what values are multiplied to be spread over all bits of a key.
    spread: u64,
}

/// A way along a text, which gives the key of one beginning after the other.
struct Walk<'a> {
    secret: Secret,
    octets: &'a [u8],
    /// Octets of the blocks that are behind.
    behind: usize,
    /// The value of their polynomial, times the point. It begins with a one so that it tells how many they are.
    sum: u64,
}

impl<'a> Walk<'a> {
    const fn new(secret: Secret, octets: &'a [u8]) -> Self {
        Self { secret, octets, behind: 0, sum: secret.point }
    }

    /// The key of the beginning of this length, which is no less than those before.
    fn key(&mut self, length: usize) -> u64 {
        while self.behind + BLOCK <= length {
            let product = u128::from(self.sum + self.block(BLOCK)) * u128::from(self.secret.point);
            self.sum = reduced(product);
            self.behind += BLOCK;
        }
        let rest = length - self.behind;
        // A one above what is left of the last block tells how much that is.
        let value = self.sum + (self.block(rest) | 1 << (8 * rest));
        let value = if value >= PRIME { value - PRIME } else { value };
        let product = u128::from(value) * u128::from(self.secret.spread);
        (product >> 64) as u64 ^ product as u64
    }

    /// So many of the next octets, at most [`BLOCK`].
    fn block(&self, octets: usize) -> u64 {
        let next = &self.octets[self.behind..];
        let word = match (next.first_chunk(), self.octets.last_chunk()) {
            (Some(chunk), _) => u64::from_le_bytes(*chunk),
            // What is above is behind already.
            (None, Some(chunk)) => {
                let above = 8 * (size_of::<u64>() - next.len()) as u32;
                u64::from_le_bytes(*chunk).checked_shr(above).unwrap_or_default()
            }
            (None, None) => next.iter().rev().fold(0, |word, &octet| word << 8 | u64::from(octet)),
        };
        word & ((1 << (8 * octets)) - 1)
    }
}

/// A product of numbers below 2^62 and 2^61 modulo the prime.
const fn reduced(product: u128) -> u64 {
    let sum = (product as u64 & PRIME) + (product >> 61) as u64;
    let sum = (sum & PRIME) + (sum >> 61);
    if sum == PRIME { 0 } else { sum }
}

/// A key is as good as its hash.
#[derive(Debug, Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are integers");
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uri::Match;

    /// An index in which every text of more than a block has the key of any other that ends alike.
    fn alike() -> Prefixes<String> {
        Prefixes { secret: Secret { point: 0, spread: 1 }, ..Prefixes::default() }
    }

    /// The prefixes that are found, and those that a look at each finds.
    #[track_caller]
    fn check(index: &Prefixes<String>, uri: &str) -> usize {
        let mut found = Vec::new();
        index.each_match(uri, &mut |prefix| found.push(prefix.as_str()));
        let mut expected: Vec<&str> =
            index.values().map(String::as_str).filter(|prefix| Match::Prefix.matches(prefix, uri)).collect();
        expected.sort_unstable_by_key(|prefix| prefix.len());
        assert_eq!(found, expected, "{uri}");
        for prefix in expected {
            assert_eq!(index.get(prefix).map(String::as_str), Some(prefix));
        }
        found.len()
    }

    #[test]
    fn beginnings_of_all_lengths_are_found() {
        let uri: String = (0..40).map(|n| char::from(b'a' + n % 26)).chain("äö€ü\u{10000}z".chars()).collect();
        for mut index in [Prefixes::default(), alike()] {
            // In no order, with a sibling for each that differs at the beginning and one that differs at the end.
            let ends: Vec<usize> = (0..=uri.len()).filter(|&end| uri.is_char_boundary(end)).collect();
            for at in 0..ends.len() {
                let start = &uri[..ends[at * 7 % ends.len()]];
                for prefix in [start.to_owned(), format!("{start}-"), start.replacen('a', "-", 1)] {
                    let before = index.get(&prefix).cloned();
                    assert_eq!(index.insert(&prefix, prefix.clone()), before);
                }
            }
            assert_eq!(check(&index, &uri), ends.len());
            assert_eq!(check(&index, &uri.replacen('a', "-", 1)), ends.len());
            // Octets that are no text's end, and a text that is shorter than a block.
            for uri in ["", "abc", "abcdefg", "abcdefghijklmn\0", "äöü€"] {
                check(&index, uri);
            }
            for (at, &end) in ends.iter().enumerate() {
                let prefix = &uri[..end];
                *index.get_mut(prefix).unwrap() += "";
                assert_eq!(index.remove(prefix).as_deref(), Some(prefix));
                assert_eq!(index.remove(prefix), None);
                assert_eq!(check(&index, &uri), ends.len() - at - 1);
            }
            let rest: Vec<String> = index.values().cloned().collect();
            rest.iter().for_each(|prefix| assert_eq!(index.remove(prefix).as_ref(), Some(prefix)));
            assert!(index.is_empty());
        }
    }

    #[test]
    fn keys_tell_lengths_and_places_apart() {
        let secret = Prefixes::<()>::default().secret;
        let texts = ["", "\0", "\0\0", "\u{1}", "\0\u{1}", "\0\0\0\0\0\0", "\0\0\0\0\0\0\0", "\0\0\0\0\0\0\0\0"];
        let key = |text: &str| Walk::new(secret, text.as_bytes()).key(text.len());
        for (at, text) in texts.iter().enumerate() {
            assert!(texts[..at].iter().all(|other| key(other) != key(text)), "{text:?}");
        }
        // A walk on costs what a walk from the start gives.
        let uri = "com.example.topic.of.some.length";
        let mut walk = Walk::new(secret, uri.as_bytes());
        for length in 0..=uri.len() {
            assert_eq!(walk.key(length), key(&uri[..length]), "{length}");
            assert!(walk.sum < PRIME);
        }
    }

    #[test]
    fn remainders() {
        for product in [0, 1, PRIME - 1, PRIME, PRIME + 1, 2 * PRIME, u64::MAX].map(u128::from).into_iter().chain([
            u128::from(PRIME) * u128::from(PRIME),
            u128::from(PRIME - 1) * u128::from(PRIME - 1),
            u128::from(2 * PRIME) * u128::from(PRIME - 1),
        ]) {
            assert_eq!(u128::from(reduced(product)), product % u128::from(PRIME), "{product}");
        }
    }
}
