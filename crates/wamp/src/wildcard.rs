//! Wildcard patterns, looked through with a word operation for 64 of them at each component of a URI.
//!
//! A tree of components looks natural and is a trap: wherever a URI's component is named in one pattern and left open in
//! another, both branches have to be followed, and ten thousand patterns made for it cost a publication milliseconds. Here
//! each pattern has a place in rows of bits: one row for each component says who leaves it open, and one for each word
//! who names it. What is in one of the two at each component matches. The cost depends on how many patterns there are, and
//! hardly on what they are.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::pattern::Table;

/// Patterns that name the same word at the same component are a list up to this length, or up to a part of all patterns.
const LIST_MAX: usize = 64;

/// Above this part of all patterns a row of bits is looked through in less time than a list, and takes eight times the memory of
/// it at the most.
const ROW_PART: usize = 128;

/// Below this part a row is a list again.
const LIST_PART: usize = 512;

/// All wildcard patterns of an index.
#[derive(Debug)]
pub(crate) struct Wildcards<T> {
    /// By number of components.
    groups: HashMap<usize, Group<T>, RandomState>,
}

impl<T> Default for Wildcards<T> {
    fn default() -> Self {
        Self { groups: HashMap::default() }
    }
}

/// The patterns of one number of components.
#[derive(Debug)]
struct Group<T> {
    /// Every pattern has one; what is `None` is in `free`.
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    by_pattern: Table<u32>,
    components: Vec<Component>,
}

/// What the patterns of a group have at one place.
#[derive(Debug, Default)]
struct Component {
    /// Who leaves it open.
    open: Row,
    /// Who names it, by the word.
    named: Table<Who>,
}

/// A bit for each slot.
#[derive(Debug, Default)]
struct Row(Vec<u64>);

impl Row {
    fn set(&mut self, slot: u32) {
        let word = slot as usize / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (slot % 64);
    }

    fn clear(&mut self, slot: u32) {
        if let Some(word) = self.0.get_mut(slot as usize / 64) {
            *word &= !(1 << (slot % 64));
        }
    }

    fn word(&self, at: usize) -> u64 {
        self.0.get(at).copied().unwrap_or_default()
    }

    /// Leaves in `fitting` who is in this row or in what `named` gives word by word. False when that is nobody.
    fn sift(&self, fitting: &mut [u64], mut named: impl FnMut(usize) -> u64) -> bool {
        let mut some = 0;
        for (at, fitting) in fitting.iter_mut().enumerate() {
            *fitting &= self.word(at) | named(at);
            some |= *fitting;
        }
        some != 0
    }

    fn slots(&self) -> impl Iterator<Item = u32> {
        self.0.iter().zip(0_u32..).flat_map(|(&word, at)| Bits(word).map(move |bit| at * 64 + bit))
    }
}

/// The places of a word's ones.
pub(crate) struct Bits(pub(crate) u64);

impl Iterator for Bits {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let bit = self.0.trailing_zeros();
        self.0 &= self.0.checked_sub(1)?;
        Some(bit)
    }
}

/// Some of the slots.
#[derive(Debug)]
enum Who {
    /// The only one, which is what most words of long patterns have.
    One(u32),
    /// In their order.
    List(Vec<u32>),
    Row {
        row: Row,
        count: usize,
    },
}

impl Who {
    fn insert(&mut self, slot: u32, all: usize) {
        match self {
            Self::One(other) => *self = Self::List(vec![slot.min(*other), slot.max(*other)]),
            Self::List(list) => {
                list.insert(list.partition_point(|&other| other < slot), slot);
                if list.len() > LIST_MAX.max(all / ROW_PART) {
                    let (mut row, count) = (Row::default(), list.len());
                    list.iter().for_each(|&slot| row.set(slot));
                    *self = Self::Row { row, count };
                }
            }
            Self::Row { row, count } => {
                row.set(slot);
                *count += 1;
                self.shorten(all);
            }
        }
    }

    /// True when nobody is left.
    fn remove(&mut self, slot: u32, all: usize) -> bool {
        match self {
            Self::One(_) => true,
            Self::List(list) => {
                list.retain(|other| *other != slot);
                if let [one] = list[..] {
                    *self = Self::One(one);
                }
                false
            }
            Self::Row { row, count } => {
                row.clear(slot);
                *count -= 1;
                self.shorten(all);
                false
            }
        }
    }

    fn shorten(&mut self, all: usize) {
        if let Self::Row { row, count } = self
            && *count <= (LIST_MAX / 2).max(all / LIST_PART)
        {
            *self = Self::List(row.slots().collect());
        }
    }
}

impl Component {
    fn insert(&mut self, word: &str, slot: u32, all: usize) {
        if word.is_empty() {
            self.open.set(slot);
        } else if let Some(who) = self.named.get_mut(word) {
            who.insert(slot, all);
        } else {
            self.named.insert(word.into(), Who::One(slot));
        }
    }

    fn remove(&mut self, word: &str, slot: u32, all: usize) {
        if word.is_empty() {
            self.open.clear(slot);
        } else if self.named.get_mut(word).is_some_and(|who| who.remove(slot, all)) {
            self.named.remove(word);
        }
    }

    /// Leaves in `fitting` who fits this word too. False when that is nobody.
    fn sift(&self, word: &str, fitting: &mut [u64]) -> bool {
        let mut list = match self.named.get(word) {
            None => return self.open.sift(fitting, |_| 0),
            Some(Who::Row { row, .. }) => return self.open.sift(fitting, |at| row.word(at)),
            Some(Who::One(slot)) => std::slice::from_ref(slot),
            Some(Who::List(list)) => list,
        };
        self.open.sift(fitting, |at| {
            let mut named = 0;
            while let Some((slot, rest)) = list.split_first().filter(|(slot, _)| **slot as usize / 64 == at) {
                named |= 1 << (slot % 64);
                list = rest;
            }
            named
        })
    }
}

impl<T> Group<T> {
    fn new(components: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_pattern: Table::default(),
            components: std::iter::repeat_with(Component::default).take(components).collect(),
        }
    }

    fn insert(&mut self, pattern: &str, value: T) -> Option<T> {
        if let Some(&slot) = self.by_pattern.get(pattern) {
            return self.slots[slot as usize].replace(value);
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                u32::try_from(self.slots.len() - 1).expect("memory ends before four billion patterns")
            }
        };
        self.slots[slot as usize] = Some(value);
        self.by_pattern.insert(pattern.into(), slot);
        for (component, word) in self.components.iter_mut().zip(pattern.split('.')) {
            component.insert(word, slot, self.slots.len());
        }
        None
    }

    fn remove(&mut self, pattern: &str) -> Option<T> {
        let slot = self.by_pattern.remove(pattern)?;
        for (component, word) in self.components.iter_mut().zip(pattern.split('.')) {
            component.remove(word, slot, self.slots.len());
        }
        self.free.push(slot);
        self.slots[slot as usize].take()
    }

    fn each_match<'a>(&'a self, uri: &str, found: &mut impl FnMut(&'a T)) {
        let words = self.slots.len().div_ceil(64);
        // Whoever has few patterns, which is nearly everybody, needs no memory for it.
        let (mut few, mut many) = ([u64::MAX; 8], Vec::new());
        let fitting = if words <= few.len() {
            &mut few[..words]
        } else {
            many.resize(words, u64::MAX);
            &mut many[..]
        };
        for (component, word) in self.components.iter().zip(uri.split('.')) {
            if !component.sift(word, fitting) {
                return;
            }
        }
        for (&word, at) in fitting.iter().zip(0_usize..) {
            for bit in Bits(word) {
                // A slot without a pattern is in no row and no list.
                self.slots[at * 64 + bit as usize].iter().for_each(&mut *found);
            }
        }
    }
}

impl<T> Wildcards<T> {
    /// Puts `value` under a pattern and returns the one that stood there.
    pub(crate) fn insert(&mut self, pattern: &str, value: T) -> Option<T> {
        let components = components(pattern);
        self.groups.entry(components).or_insert_with(|| Group::new(components)).insert(pattern, value)
    }

    /// Takes a pattern out.
    pub(crate) fn remove(&mut self, pattern: &str) -> Option<T> {
        let components = components(pattern);
        let group = self.groups.get_mut(&components)?;
        let value = group.remove(pattern)?;
        if group.by_pattern.is_empty() {
            self.groups.remove(&components);
        }
        Some(value)
    }

    /// What stands under exactly this pattern.
    pub(crate) fn get(&self, pattern: &str) -> Option<&T> {
        let group = self.groups.get(&components(pattern))?;
        group.slots[*group.by_pattern.get(pattern)? as usize].as_ref()
    }

    /// The same, to be changed in place.
    pub(crate) fn get_mut(&mut self, pattern: &str) -> Option<&mut T> {
        let group = self.groups.get_mut(&components(pattern))?;
        group.slots[*group.by_pattern.get(pattern)? as usize].as_mut()
    }

    /// Calls `found` for every pattern that matches `uri`.
    pub(crate) fn each_match<'a>(&'a self, uri: &str, found: &mut impl FnMut(&'a T)) {
        if !self.groups.is_empty()
            && let Some(group) = self.groups.get(&components(uri))
        {
            group.each_match(uri, found);
        }
    }

    /// Every value, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.groups.values().flat_map(|group| group.slots.iter().flatten())
    }

    /// Whether nothing is left.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

fn components(uri: &str) -> usize {
    uri.bytes().filter(|octet| *octet == b'.').count() + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::uri::Match;

    /// The patterns that match, by the index and one by one.
    fn check(index: &Wildcards<String>, uri: &str) {
        let mut found: Vec<&str> = Vec::new();
        index.each_match(uri, &mut |pattern| found.push(pattern));
        let mut expected: Vec<&str> =
            index.values().map(String::as_str).filter(|pattern| Match::Wildcard.matches(pattern, uri)).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{uri}");
    }

    /// Patterns of eight components, each open or one of a few words: lists become rows, and lists again.
    #[test]
    fn rows_and_lists_find_the_same() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut index = Wildcards::default();
        let mut patterns: Vec<String> = Vec::new();
        let words = ["", "a", "b", "c", "", "rare"];
        let mut text = |count: usize| -> String {
            let parts: Vec<&str> =
                (0..8).map(|_| if rng.u32(..1000) == 0 { "rare" } else { words[rng.usize(..count)] }).collect();
            parts.join(".")
        };
        for _ in 0..5000 {
            let pattern = text(5);
            if index.insert(&pattern, pattern.clone()).is_none() {
                patterns.push(pattern);
            }
        }
        for pattern in ["only.......", "only.a......"].map(str::to_owned) {
            index.insert(&pattern, pattern.clone());
            check(&index, "only.a.1.2.3.4.5.6");
        }
        assert!(index.remove("only.a......").is_some());
        patterns.push("only.......".into());
        let group = &index.groups[&8];
        let is_row = |word: &str| matches!(group.components[0].named[word], Who::Row { .. });
        assert!(is_row("a") && !is_row("rare"), "both kinds are there");
        let is_one = |word: &str| matches!(group.components[0].named[word], Who::One(_));
        assert!(is_one("only") && !is_one("rare"), "and the third");
        let uris: Vec<String> = (0..50).map(|_| text(4).replace("..", ".x.")).collect();
        uris.iter().for_each(|uri| check(&index, uri));
        for at in (0..patterns.len()).rev() {
            assert_eq!(index.remove(&patterns[at]).as_deref(), Some(&*patterns[at]));
            assert_eq!(index.remove(&patterns[at]), None);
            if at % 500 == 40 {
                uris.iter().for_each(|uri| check(&index, uri));
            }
            if at == 3000 {
                // What is free is used again.
                let slots = index.groups[&8].slots.len();
                index.insert("x.......", "x.......".into());
                assert_eq!(index.groups[&8].slots.len(), slots);
                check(&index, "x.1.2.3.4.5.6.7");
                index.remove("x.......");
            }
        }
        assert!(index.is_empty());
    }

    proptest! {
        #[test]
        fn matches_are_those_of_each_pattern(
            patterns in proptest::collection::vec("([ab]?\\.){0,3}[ab]?", 0..200),
            uris in proptest::collection::vec("([abc]?\\.){0,3}[abc]?", 1..10),
        ) {
            let mut index = Wildcards::default();
            for pattern in patterns {
                index.insert(&pattern, pattern.clone());
            }
            for uri in uris {
                check(&index, &uri);
            }
        }
    }
}
