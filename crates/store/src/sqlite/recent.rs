//! The youngest publications in memory, for those who follow the log: what was written a moment ago need not be read back
//! from the file.
//!
//! Only what is durable stands here, without a hole, and only as much as the limits let; whoever is further behind reads the
//! file.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use stentor_model::Offset;

use crate::{Entry, ReadLimit};

/// Publications that are kept: what arrives at full speed while a follower takes its breath.
const ENTRIES_MAX: usize = 1024;

/// Octets of their contents.
const BYTES_MAX: u64 = 1024 * 1024;

/// The end of the log, as far back as it is kept.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Entry>,
    bytes: u64,
}

impl Recent {
    /// Enters what has become durable, in its order and before anybody hears of it.
    pub(super) fn extend(&self, fresh: impl Iterator<Item = Entry>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in fresh {
            if kept.entries.back().is_some_and(|newest| newest.offset.get() + 1 != entry.offset.get()) {
                *kept = Kept::default();
            }
            kept.bytes += entry.content.cost();
            kept.entries.push_back(entry);
        }
        while kept.entries.len() > ENTRIES_MAX || kept.bytes > BYTES_MAX {
            let Some(oldest) = kept.entries.pop_front() else { break };
            kept.bytes -= oldest.content.cost();
        }
    }

    /// Forgets all of it: what was cut from the file, or may not be in it, must not be read here.
    pub(super) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Kept::default();
    }

    /// What lies behind `after`, and whether the limit kept something back; nothing where the file has to be asked.
    pub(super) fn behind(&self, after: Offset, limit: ReadLimit) -> Option<(Vec<Entry>, bool)> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = kept.entries.front()?.offset.get();
        let skipped = usize::try_from((after.get() + 1).checked_sub(first)?).ok()?;
        let mut bytes = 0;
        let mut found = Vec::new();
        let rest = kept.entries.range(skipped.min(kept.entries.len())..);
        let left = rest.len();
        for entry in rest.take(limit.entries) {
            bytes += entry.content.body.len() as u64;
            if bytes > limit.bytes && !found.is_empty() {
                break;
            }
            found.push(entry.clone());
        }
        let has_more = found.len() < left;
        // What is new behind the newest may have come from elsewhere, such as a commit whose answer was lost.
        (!found.is_empty()).then_some((found, has_more))
    }
}

#[cfg(test)]
mod tests {
    use stentor_model::{PublicationId, Topic};

    use super::*;
    use crate::{Content, Hub, HubTopic, Sequence, Timestamp};

    fn entry(offset: u64, body: &[u8]) -> Entry {
        Entry {
            offset: Offset::new(offset),
            topic: HubTopic { hub: Hub::parse("main").unwrap(), topic: Topic::parse("a").unwrap() },
            sequence: Sequence(offset),
            publication: PublicationId::FIRST,
            at: Timestamp(1),
            content: Content { content_type: "a/b".into(), extras: Vec::new(), body: body.to_vec().into() },
        }
    }

    fn check(recent: &Recent, after: u64, (entries, bytes): (usize, u64), expected: Option<&[u64]>) {
        let found = recent.behind(Offset::new(after), ReadLimit { entries, bytes });
        let newest = recent.0.lock().unwrap().entries.back().map(|entry| entry.offset.get());
        let found = found.map(|(found, has_more)| {
            let found: Vec<_> = found.iter().map(|entry| entry.offset.get()).collect();
            assert_eq!(has_more, found.last().copied() < newest, "behind {after}, {entries} entries, {bytes} octets");
            found
        });
        assert_eq!(found.as_deref(), expected, "behind {after}, {entries} entries, {bytes} octets");
    }

    #[test]
    fn the_end_of_the_log_is_known() {
        let (recent, all) = (Recent::default(), (100, 100));
        check(&recent, 0, all, None);
        recent.extend((5..8).map(|offset| entry(offset, b"ten octets")));
        for (after, expected) in [(3, None), (4, Some(&[5, 6, 7][..])), (6, Some(&[7])), (7, None), (9, None)] {
            check(&recent, after, all, expected);
        }
        check(&recent, 4, (2, 100), Some(&[5, 6]));
        check(&recent, 4, (2, 15), Some(&[5]));
        check(&recent, 4, (2, 1), Some(&[5]));
        recent.extend([entry(9, b"")].into_iter());
        check(&recent, 6, all, None);
        check(&recent, 8, all, Some(&[9]));
        recent.clear();
        check(&recent, 8, all, None);
    }

    #[test]
    fn it_is_bounded() {
        let recent = Recent::default();
        recent.extend((1..=2000).map(|offset| entry(offset, b"")));
        check(&recent, 2000 - ENTRIES_MAX as u64 - 1, (1, 1), None);
        check(&recent, 2000 - ENTRIES_MAX as u64, (1, 1), Some(&[2001 - ENTRIES_MAX as u64]));
        recent.extend([entry(2001, &vec![0; BYTES_MAX as usize + 1])].into_iter());
        check(&recent, 2000, (1, 1), None);
        assert_eq!(recent.0.lock().unwrap().bytes, 0);
    }
}
