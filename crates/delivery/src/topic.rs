//! One topic: who stands at its live end, who wants what of its past, and which places of it are known.
//!
//! The subscriptions at the live end share everything: an append costs one read of the log for all of them, and nothing
//! for those of other topics.

use std::collections::{BTreeMap, VecDeque};

use stentor_model::{Offset, Topic};

use crate::list::List;
use crate::slab::NONE;

#[derive(Debug)]
pub(crate) struct TopicEntry {
    pub(crate) name: Topic,
    /// Subscriptions for which there is nothing up to `live`. A cursor may stand before it (nothing of this topic lies
    /// between) or after it.
    pub(crate) idle: List,
    pub(crate) live: Offset,
    /// The newest place where something is known to be, announced or read. Before anything was announced, `live` may lie
    /// behind it: at a cursor.
    pub(crate) hint: Offset,
    /// A read ended at `hint` because it was full, so there may be more behind it. It is not known where: that the log ends
    /// there says nothing about what comes to stand behind it later.
    pub(crate) may_go_on: bool,
    /// The read for the live end, or [`NONE`].
    pub(crate) live_fetch: u32,
    pub(crate) webhooks: u32,
    /// Reads that are queued, on their way or resting after a failure.
    pub(crate) fetches: u32,
    /// Subscriptions behind the live end, by cursor. Each list has its read.
    pub(crate) wants: BTreeMap<Offset, List>,
    pub(crate) windows: Vec<Window>,
}

/// A run of places: exactly the publications of the topic after `after` up to the last of them.
#[derive(Debug)]
pub(crate) struct Window {
    after: Offset,
    offsets: VecDeque<Offset>,
}

impl Window {
    fn last(&self) -> Offset {
        self.offsets.back().copied().unwrap_or(self.after)
    }
}

impl TopicEntry {
    pub(crate) fn new(name: Topic) -> Self {
        Self {
            name,
            idle: List::default(),
            live: Offset::START,
            hint: Offset::START,
            may_go_on: false,
            live_fetch: NONE,
            webhooks: 0,
            fetches: 0,
            wants: BTreeMap::new(),
            windows: Vec::new(),
        }
    }

    /// Something is at `offset`. True when that is news.
    pub(crate) fn announced(&mut self, offset: Offset) -> bool {
        let is_news = offset > self.hint;
        if is_news {
            self.hint = offset;
            self.may_go_on = false;
        }
        is_news
    }

    /// A read brought all publications after `after` up to the last of them, and `is_full` when there may be more.
    pub(crate) fn was_read(&mut self, after: Offset, offsets: &[Offset], is_full: bool) {
        match offsets.last() {
            Some(&last) if last >= self.hint => {
                self.hint = last;
                self.may_go_on = is_full;
            }
            // Just there nothing more is. A read from further behind, for somebody who came with a later cursor, says nothing.
            None if after == self.hint => self.may_go_on = false,
            _ => {}
        }
    }

    /// Whether there is something after that place, as far as one can know without a read.
    pub(crate) fn goes_on_after(&self, place: Offset) -> bool {
        place < self.hint || place == self.hint && self.may_go_on
    }

    /// The publication after that place, when it is known.
    pub(crate) fn next(&self, after: Offset) -> Option<Offset> {
        let window = self.windows.iter().find(|window| window.after <= after && after < window.last())?;
        let at = window.offsets.partition_point(|&offset| offset <= after);
        window.offsets.get(at).copied()
    }

    /// Remembers what a read brought: `offsets` are all publications after `after` up to the last of them.
    pub(crate) fn remember(&mut self, after: Offset, offsets: &[Offset], windows_max: usize, offsets_max: usize) {
        let Some(&last) = offsets.last() else { return };
        let touching = self.windows.iter().position(|window| window.after <= after && after <= window.last());
        let window = match touching {
            Some(at) => &mut self.windows[at],
            // Whoever asked is served directly, so a single place is worth no window.
            None if offsets.len() == 1 => return,
            None => {
                if self.windows.len() >= windows_max {
                    self.windows.remove(0);
                }
                self.windows.push(Window { after, offsets: VecDeque::with_capacity(offsets.len()) });
                let newest = self.windows.len() - 1;
                &mut self.windows[newest]
            }
        };
        let known = window.last();
        if last > known {
            window.offsets.extend(offsets.iter().copied().filter(|&offset| offset > known));
        }
        while window.offsets.len() > offsets_max {
            window.after = window.offsets.pop_front().unwrap_or(window.after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(raw: &[u64]) -> Vec<Offset> {
        raw.iter().copied().map(Offset::new).collect()
    }

    #[test]
    fn windows_know_the_next_place_and_no_more() {
        let mut topic = TopicEntry::new(Topic::parse("t").unwrap());
        let check = |topic: &TopicEntry, after, expected: Option<u64>| {
            assert_eq!(topic.next(Offset::new(after)), expected.map(Offset::new), "after {after}");
        };
        topic.remember(Offset::new(10), &offsets(&[12, 15]), 2, 4);
        check(&topic, 9, None);
        check(&topic, 10, Some(12));
        check(&topic, 11, Some(12));
        check(&topic, 12, Some(15));
        check(&topic, 15, None);
        topic.remember(Offset::new(12), &offsets(&[15, 20, 21]), 2, 4);
        check(&topic, 15, Some(20));
        check(&topic, 21, None);
        topic.remember(Offset::new(21), &offsets(&[22]), 2, 4);
        check(&topic, 21, Some(22));
        check(&topic, 10, None);
        check(&topic, 12, Some(15));
        topic.remember(Offset::new(100), &offsets(&[101, 102]), 2, 4);
        topic.remember(Offset::new(200), &offsets(&[201]), 2, 4);
        check(&topic, 200, None);
        topic.remember(Offset::new(200), &offsets(&[201, 202]), 2, 4);
        check(&topic, 12, None);
        check(&topic, 101, Some(102));
        check(&topic, 201, Some(202));
    }
}
