//! The memory of signed requests: each is accepted once.
//!
//! A request leaves two marks, one of its nonce and one of its signature. The nonce alone would not do: the signed parts
//! are joined without separators, so that whoever copied a request could move a digit between `seq` and `nonce` and come
//! back under a new nonce with the old signature. Nothing here knows whether a signature is right.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};

use ring::digest;

use super::signature::Tag;

/// Requests that services with the same key, secret and window remember. Without a window it is the number promised to operators; with a window it
/// bounds what a busy client can make the server hold (about 60 MB), a hundred thousand requests a second for ten seconds.
pub(super) const REPLAY_MEMORY_MAX: usize = 1_000_000;

/// Sixty-four bits of each of the two things that must not come twice. Against a full memory, one honest request in four
/// trillion is mistaken for a replay, and is signed anew; no replay is ever mistaken for a fresh request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Marks([u64; 2]);

impl Marks {
    /// The marks of a verified request; `nonce` in its canonical digits.
    pub(super) fn of(nonce: &[u8], tag: &Tag) -> Self {
        let nonce = digest::digest(&digest::SHA256, nonce);
        Self([nonce.as_ref(), tag].map(|hash| {
            let (head, _) = hash.split_first_chunk().expect("a SHA-256 has more than eight octets");
            u64::from_be_bytes(*head)
        }))
    }
}

/// What the memory says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recall {
    /// Never seen; it is remembered from now on.
    Fresh,
    /// Its nonce or its signature was seen.
    Seen,
    /// So old that it may have been forgotten.
    Forgotten,
}

/// The requests seen lately.
#[derive(Debug)]
pub(super) struct Memory {
    seen: HashSet<u64>,
    order: Order,
    capacity: usize,
}

#[derive(Debug)]
enum Order {
    /// No window: the oldest makes room for the newest.
    Arrival(VecDeque<Marks>),
    /// A window: what can no longer be accepted need not be remembered.
    Expiry {
        by_expiry: BinaryHeap<Reverse<(i64, Marks)>>,
        /// The latest expiry of anything that was forgotten. At or before it nothing can be told to be fresh, be it that
        /// the memory overflowed or that the clock went back.
        forgotten: i64,
    },
}

impl Memory {
    pub(super) fn of_the_last(capacity: usize) -> Self {
        Self { seen: HashSet::new(), order: Order::Arrival(VecDeque::new()), capacity }
    }

    pub(super) fn of_a_window(capacity: usize) -> Self {
        let order = Order::Expiry { by_expiry: BinaryHeap::new(), forgotten: i64::MIN };
        Self { seen: HashSet::new(), order, capacity }
    }

    /// Remembers a request, unless it was seen before. `expiry` is the last millisecond at which the window accepts its
    /// timestamp; without a window it does not matter.
    ///
    /// A full window forgets what expires first and thereby narrows: an old timestamp is then refused although the
    /// window would take it. So a replay is never accepted, and requests made just now always are.
    pub(super) fn record(&mut self, marks: Marks, expiry: i64, now: i64) -> Recall {
        let Self { seen, order, capacity } = self;
        if let Order::Expiry { by_expiry, forgotten } = order {
            while by_expiry.peek().is_some_and(|Reverse((expiry, _))| *expiry < now) {
                forget_first(by_expiry, seen, forgotten);
            }
        }
        if marks.0.iter().any(|mark| seen.contains(mark)) {
            return Recall::Seen;
        }
        match order {
            Order::Arrival(queue) => {
                if queue.len() == *capacity
                    && let Some(oldest) = queue.pop_front()
                {
                    forget(seen, oldest);
                }
                queue.push_back(marks);
            }
            Order::Expiry { by_expiry, forgotten } => {
                let full = by_expiry.len() == *capacity;
                let first = by_expiry.peek().map_or(i64::MIN, |Reverse((expiry, _))| *expiry);
                if expiry <= *forgotten || (full && expiry <= first) {
                    return Recall::Forgotten;
                }
                if full {
                    forget_first(by_expiry, seen, forgotten);
                }
                by_expiry.push(Reverse((expiry, marks)));
            }
        }
        seen.extend(marks.0);
        Recall::Fresh
    }
}

fn forget(seen: &mut HashSet<u64>, marks: Marks) {
    for mark in marks.0 {
        seen.remove(&mark);
    }
}

fn forget_first(by_expiry: &mut BinaryHeap<Reverse<(i64, Marks)>>, seen: &mut HashSet<u64>, forgotten: &mut i64) {
    if let Some(Reverse((expiry, marks))) = by_expiry.pop() {
        forget(seen, marks);
        *forgotten = (*forgotten).max(expiry);
    }
}

#[cfg(test)]
mod tests {
    use super::Recall::{Forgotten, Fresh, Seen};
    use super::*;

    fn marks(number: u64) -> Marks {
        Marks([number * 2, number * 2 + 1])
    }

    /// Rows of (request, expiry, now, answer).
    fn check(mut memory: Memory, rows: &[(u64, i64, i64, Recall)]) {
        for (index, (request, expiry, now, expect)) in rows.iter().enumerate() {
            assert_eq!(memory.record(marks(*request), *expiry, *now), *expect, "row {index}");
            assert!(memory.seen.len() <= 2 * memory.capacity);
        }
    }

    #[test]
    fn without_a_window_the_last_are_remembered() {
        let rows =
            [(1, 0, 0, Fresh), (1, 0, 0, Seen), (2, 0, 0, Fresh), (3, 0, 0, Fresh), (1, 0, 0, Fresh), (3, 0, 0, Seen)];
        check(Memory::of_the_last(2), &rows);
    }

    #[test]
    fn with_a_window_a_request_is_remembered_until_it_expires() {
        check(Memory::of_a_window(9), &[(1, 20, 10, Fresh), (1, 20, 20, Seen), (1, 20, 21, Forgotten)]);
        // Requests need not arrive in the order of their timestamps.
        check(Memory::of_a_window(9), &[(1, 20, 10, Fresh), (2, 15, 10, Fresh), (1, 20, 16, Seen), (3, 30, 16, Fresh)]);
    }

    #[test]
    fn a_clock_that_goes_back_brings_no_replay() {
        check(
            Memory::of_a_window(9),
            &[(1, 20, 10, Fresh), (2, 90, 80, Fresh), (1, 20, 10, Forgotten), (3, 21, 11, Fresh)],
        );
    }

    #[test]
    fn a_full_window_narrows_and_stays_safe() {
        let rows = [
            (1, 20, 10, Fresh),
            (2, 21, 11, Fresh),
            (3, 22, 12, Fresh),
            (1, 20, 12, Forgotten),
            (2, 21, 12, Seen),
            (4, 20, 12, Forgotten),
            (5, 21, 12, Forgotten),
            (6, 23, 13, Fresh),
        ];
        check(Memory::of_a_window(2), &rows);
    }

    #[test]
    fn either_mark_is_enough() {
        let mut memory = Memory::of_the_last(9);
        let (tag, other) = ([1; 32], [2; 32]);
        assert_eq!(memory.record(Marks::of(b"7", &tag), 0, 0), Fresh);
        assert_eq!(memory.record(Marks::of(b"7", &other), 0, 0), Seen);
        assert_eq!(memory.record(Marks::of(b"8", &tag), 0, 0), Seen);
        assert_eq!(memory.record(Marks::of(b"8", &other), 0, 0), Fresh);
    }
}
