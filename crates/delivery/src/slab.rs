//! A table that gives small numbers to what it holds and uses them again.
//!
//! It grows by pages, so that the millionth entry does not copy the others, and knows nothing of what is inside.

use std::ops::{Index, IndexMut};

/// Entries of a page: small enough for an idle node, large enough that a million entries are a short list of pages.
const PAGE: usize = 1024;

/// No entry.
pub(crate) const NONE: u32 = u32::MAX;

#[derive(Debug)]
enum Entry<T> {
    Full(T),
    Free(u32),
}

#[derive(Debug)]
pub(crate) struct Slab<T> {
    pages: Vec<Vec<Entry<T>>>,
    free: u32,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), free: NONE, len: 0 }
    }
}

impl<T> Slab<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        let at = self.free;
        if at != NONE {
            let entry = &mut self.pages[at as usize / PAGE][at as usize % PAGE];
            let Entry::Free(next) = *entry else { unreachable!("the list of free entries holds free entries") };
            self.free = next;
            *entry = Entry::Full(value);
            return at;
        }
        if self.pages.last().is_none_or(|page| page.len() == PAGE) {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        let page = self.pages.len() - 1;
        let entries = &mut self.pages[page];
        entries.push(Entry::Full(value));
        u32::try_from(page * PAGE + entries.len() - 1).expect("four billion entries do not fit in memory")
    }

    pub(crate) fn get(&self, at: u32) -> Option<&T> {
        match self.pages.get(at as usize / PAGE)?.get(at as usize % PAGE)? {
            Entry::Full(value) => Some(value),
            Entry::Free(_) => None,
        }
    }

    pub(crate) fn remove(&mut self, at: u32) -> Option<T> {
        let entry = self.pages.get_mut(at as usize / PAGE)?.get_mut(at as usize % PAGE)?;
        if let Entry::Free(_) = entry {
            return None;
        }
        let Entry::Full(value) = std::mem::replace(entry, Entry::Free(self.free)) else { return None };
        self.free = at;
        self.len -= 1;
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten().filter_map(|entry| match entry {
            Entry::Full(value) => Some(value),
            Entry::Free(_) => None,
        })
    }

    /// Octets of the pages.
    pub(crate) fn bytes(&self) -> usize {
        self.pages.len() * PAGE * size_of::<Entry<T>>()
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, at: u32) -> &T {
        match &self.pages[at as usize / PAGE][at as usize % PAGE] {
            Entry::Full(value) => value,
            Entry::Free(_) => unreachable!("an index is kept no longer than its entry"),
        }
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, at: u32) -> &mut T {
        match &mut self.pages[at as usize / PAGE][at as usize % PAGE] {
            Entry::Full(value) => value,
            Entry::Free(_) => unreachable!("an index is kept no longer than its entry"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_and_go() {
        let mut slab = Slab::default();
        let indices: Vec<u32> = (0..3000).map(|value| slab.insert(value)).collect();
        assert_eq!(slab.remove(indices[1500]), Some(1500));
        assert_eq!((slab.remove(indices[1500]), slab.get(indices[1500]), slab.len()), (None, None, 2999));
        assert_eq!(slab.insert(7), indices[1500]);
        assert_eq!((slab[indices[1500]], slab[indices[2999]], slab.iter().count()), (7, 2999, 3000));
        assert_eq!(slab.get(NONE), None);
    }
}
