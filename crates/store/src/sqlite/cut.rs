//! Cutting the log behind the slowest cursors: planned by a reader, done by the writer in small pieces between commits.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;

use rusqlite::{Connection, params};
use stentor_model::Offset;

use super::ledger::Ledger;
use super::query::{self, Extent};
use super::shared::Shared;
use crate::cursor::TopicNumber;
use crate::limit::RECORD_OVERHEAD_BYTES;
use crate::{HubTopic, IDEMPOTENCY_WINDOW, Sequence, Timestamp, Trimmed, retention};

/// Rows that one transaction deletes. Larger pieces are faster in all, but everybody who publishes waits for them.
const ROWS: u64 = 400;

/// Topics that one plan names; the next trim goes on with the others.
const TOPICS_MAX: usize = 10_000;

/// What may go.
#[derive(Debug)]
pub(super) struct Plan {
    /// The plan is void when [`Shared::plan`] has moved on.
    version: u64,
    cuts: VecDeque<(HubTopic, Sequence)>,
    /// Keys from before this are forgotten.
    keys_before: Timestamp,
    keys_done: bool,
    done: Trimmed,
}

/// Looks at every topic that has more than its newest publication.
pub(super) fn plan(connection: &Connection, shared: &Shared, now: Timestamp) -> rusqlite::Result<Plan> {
    Held::look(shared).plan(connection, shared, now)
}

/// What somebody still needs.
struct Held {
    version: u64,
    limit: Offset,
    slowest: HashMap<TopicNumber, Offset>,
}

impl Held {
    fn look(shared: &Shared) -> Self {
        // The version first: a cursor that is entered before the end while we look must make the plan void. One that is
        // entered at the end after its shard was looked at does not, and what is published meanwhile is its own: so the end
        // is looked at before the cursors.
        let version = shared.plan.load(Ordering::Acquire);
        let limit = shared.follow.cut_limit();
        Self { version, limit, slowest: shared.cursors.slowest() }
    }

    fn plan(self, connection: &Connection, shared: &Shared, now: Timestamp) -> rusqlite::Result<Plan> {
        let Self { version, limit, slowest } = self;
        let kept = retention::kept(&shared.limits, shared.log_bytes.load(Ordering::Relaxed));
        let mut cuts = VecDeque::new();
        let mut overdue = std::collections::HashSet::new();
        let mut statement = connection.prepare_cached(
            "SELECT topic, first_seq, last_seq, last_pub, cut_pub FROM place WHERE last_seq >= first_seq",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let extent = Extent::of(row)?;
            let after = slowest.get(&extent.topic).copied().unwrap_or(Offset::new(extent.last_pub));
            let passed = query::sequence_at(connection, extent, after)?;
            if passed.0 < extent.last_seq
                && let Some(at) = query::arrival(connection, extent.topic, passed.0 + 1)?
                && now.since(at) > shared.limits.backlog_age_max
            {
                overdue.insert(extent.topic);
            }
            let passed = if limit < after { query::sequence_at(connection, extent, limit)? } else { passed };
            let up_to = retention::cut_up_to(passed, Sequence(extent.last_seq), kept);
            if up_to.0 >= extent.first_seq && cuts.len() < TOPICS_MAX {
                cuts.push_back((query::topic(connection, extent.topic)?, up_to));
            }
        }
        let done = Trimmed { topics_overdue: overdue.len(), ..Trimmed::default() };
        *shared.overdue.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = overdue;
        let window = u64::try_from(IDEMPOTENCY_WINDOW.as_millis()).expect("a day has few milliseconds");
        Ok(Plan { version, cuts, keys_before: Timestamp(now.0.saturating_sub(window)), keys_done: false, done })
    }
}

impl Plan {
    /// Everything is done, or must not be.
    pub(super) fn is_over(&self, shared: &Shared) -> bool {
        let void = self.version != shared.plan.load(Ordering::Acquire);
        (void || self.cuts.is_empty()) && self.keys_done
    }

    /// What was cut by the steps so far.
    pub(super) fn done(&self) -> Trimmed {
        self.done
    }

    /// One piece, within a transaction. What it counts is only true once the transaction is durable.
    pub(super) fn step(&mut self, ledger: &mut Ledger) -> rusqlite::Result<()> {
        if self.version != ledger.shared.plan.load(Ordering::Acquire) {
            self.cuts.clear();
        }
        let mut rows = ROWS;
        while rows > 0
            && let Some((topic, up_to)) = self.cuts.pop_front()
        {
            let first = ledger.place(&topic)?.first_seq;
            let last = up_to.0.min((first + rows).saturating_sub(1));
            if last < first {
                continue;
            }
            let cut = cut(ledger, &topic, (first, last))?;
            (self.done.publications, self.done.bytes) = (self.done.publications + cut.0, self.done.bytes + cut.1);
            rows -= (last - first + 1).min(rows);
            if last < up_to.0 {
                self.cuts.push_front((topic, up_to));
            }
        }
        if !self.keys_done {
            // Only the oldest are looked at, since the rows are in order of their age.
            let gone = ledger.connection.prepare_cached(
                "DELETE FROM key WHERE id IN (SELECT id FROM (SELECT id, at FROM key ORDER BY id LIMIT ?) WHERE at <= ?)",
            )?
            .execute([ROWS.cast_signed(), self.keys_before.0.cast_signed()])?;
            self.keys_done = (gone as u64) < ROWS;
        }
        Ok(())
    }
}

/// Deletes numbers `first` to `last` of a topic. Answers how many rows and octets that were.
fn cut(ledger: &mut Ledger, topic: &HubTopic, (first, last): (u64, u64)) -> rusqlite::Result<(u64, u64)> {
    let number = ledger.place(topic)?.topic;
    let range = params![number.cast_signed(), first.cast_signed(), last.cast_signed()];
    let (count, octets, newest) = ledger
        .connection
        .prepare_cached(
            "SELECT count(*), coalesce(sum(length(body) + octet_length(content_type) + size), 0), coalesce(max(id), 0)
             FROM (SELECT id, body, content_type, CASE WHEN extras IS NULL THEN 0 ELSE length(extras) END AS size
                   FROM pub WHERE topic = ? AND seq BETWEEN ? AND ?)",
        )?
        .query_row(range, |row| {
            let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
            Ok((number(0)?, number(1)?, number(2)?))
        })?;
    ledger.shared.recent.clear();
    ledger.connection.prepare_cached("DELETE FROM pub WHERE topic = ? AND seq BETWEEN ? AND ?")?.execute(range)?;
    let bytes = octets + count * RECORD_OVERHEAD_BYTES;
    let place = ledger.place(topic)?;
    let bytes = bytes.min(place.bytes);
    (place.first_seq, place.bytes, place.cut_pub) = (last + 1, place.bytes - bytes, newest.max(place.cut_pub));
    ledger.touch(topic);
    ledger.log_bytes = ledger.log_bytes.saturating_sub(bytes);
    Ok((count, bytes))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use stentor_model::{PublicationId, Topic};

    use super::*;
    use crate::sqlite::Sqlite;
    use crate::{Content, Draft, Hub, Limits, Log as _, NewSubscription, ReadLimit, Subscriptions as _};

    fn topic() -> HubTopic {
        HubTopic { hub: Hub::parse("h").unwrap(), topic: Topic::parse("http://t/").unwrap() }
    }

    fn append(store: &Sqlite, number: u64) {
        let content = Content { content_type: "text/plain".into(), extras: Vec::new(), body: "x".into() };
        let publication = PublicationId::new(number).unwrap();
        let draft = Draft { topic: topic(), publication, at: Timestamp(number), content, idempotency: None };
        store.append(draft).wait().unwrap();
    }

    /// Looking through a million cursors takes half a second, and meanwhile somebody subscribes and somebody publishes.
    #[test]
    fn who_comes_while_cursors_are_looked_at_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let limits = Limits { history_entries: NonZeroU64::MIN, ..Limits::default() };
        let store = Sqlite::open(&path, limits).unwrap();
        append(&store, 1);
        let held = Held::look(&store.shared);
        let after = store.end();
        let wanted = NewSubscription {
            topic: topic(),
            callback: "http://s/".into(),
            secret: None,
            identity: None,
            extras: Vec::new(),
            created: Timestamp(0),
            verified: None,
            lease_end: Timestamp(1),
            after,
        };
        store.put(wanted).wait().unwrap();
        (2..=4).for_each(|number| append(&store, number));
        let connection = Connection::open(&path).unwrap();
        let plan = held.plan(&connection, &store.shared, Timestamp(5)).unwrap();
        assert_eq!(plan.version, store.shared.plan.load(Ordering::Acquire), "the plan is carried out");
        assert!(plan.cuts.iter().all(|(_, up_to)| *up_to <= Sequence(1)), "{:?}", plan.cuts);
        let page = store.read(&topic(), after, ReadLimit::default()).wait().unwrap();
        assert_eq!((page.entries.len(), page.gap), (3, None));
    }
}
