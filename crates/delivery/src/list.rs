//! Lists threaded through the entries of a [`Slab`]: a million subscriptions stand in lists without one allocation.
//!
//! An entry has one pair of links, so it stands in one list at a time; whoever takes it out must know in which.

use crate::slab::{NONE, Slab};

/// The neighbours of an entry in its list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    prev: u32,
    next: u32,
}

impl Links {
    pub(crate) const OUT: Self = Self { prev: NONE, next: NONE };
}

pub(crate) trait Linked {
    fn links(&mut self) -> &mut Links;
}

#[derive(Debug)]
pub(crate) struct List {
    head: u32,
    tail: u32,
    len: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, len: 0 }
    }
}

impl List {
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push_back<T: Linked>(&mut self, slab: &mut Slab<T>, at: u32) {
        *slab[at].links() = Links { prev: self.tail, next: NONE };
        match self.tail {
            NONE => self.head = at,
            tail => slab[tail].links().next = at,
        }
        self.tail = at;
        self.len += 1;
    }

    pub(crate) fn pop_front<T: Linked>(&mut self, slab: &mut Slab<T>) -> Option<u32> {
        let at = self.head;
        if at == NONE {
            return None;
        }
        self.remove(slab, at);
        Some(at)
    }

    /// `at` must stand in this list.
    pub(crate) fn remove<T: Linked>(&mut self, slab: &mut Slab<T>, at: u32) {
        let Links { prev, next } = std::mem::replace(slab[at].links(), Links::OUT);
        match prev {
            NONE => self.head = next,
            prev => slab[prev].links().next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => slab[next].links().prev = prev,
        }
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bead(Links);

    impl Linked for Bead {
        fn links(&mut self) -> &mut Links {
            &mut self.0
        }
    }

    #[test]
    fn order_survives_removals() {
        let check = |removed: &[u32], expected: &[u32]| {
            let mut slab = Slab::default();
            let mut list = List::default();
            for _ in 0..4 {
                let at = slab.insert(Bead(Links::OUT));
                list.push_back(&mut slab, at);
            }
            for &at in removed {
                list.remove(&mut slab, at);
            }
            assert_eq!(list.len() as usize, expected.len());
            let rest: Vec<u32> = std::iter::from_fn(|| list.pop_front(&mut slab)).collect();
            assert_eq!(rest, expected);
        };
        check(&[], &[0, 1, 2, 3]);
        check(&[0], &[1, 2, 3]);
        check(&[3, 1], &[0, 2]);
        check(&[1, 2, 0, 3], &[]);
    }
}
