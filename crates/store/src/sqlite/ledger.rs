//! The writing side of the file: one transaction at a time, and what the writer remembers of the file between them.
//!
//! The ledger does not know who waits for what. A refusal concerns one change; any failure of SQLite concerns the whole
//! transaction, since nobody knows what it left.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, OptionalExtension, params};
use stentor_model::Offset;

use super::fault::fault;
use super::schema::{self, Role};
use super::shared::Shared;
use super::sum;
use crate::cursor::TopicNumber;
use crate::{Draft, Entry, Freshness, HubTopic, Limit, Receipt, Sequence, StoreError};

/// Topics that the writer remembers. When there are more it forgets all of them, which costs one look-up each.
const TOPICS_MAX: usize = 50_000;

/// Why a change was not made.
#[derive(Debug)]
pub(super) enum Fault {
    /// This one is not possible. The others of its transaction are.
    Refused(StoreError),
    /// The transaction is lost.
    Broken(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Broken(error)
    }
}

/// A row of `place`, and what leads to it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) topic: TopicNumber,
    pub(super) hub: i64,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) last_pub: u64,
    pub(super) cut_pub: u64,
    pub(super) bytes: u64,
    pub(super) dirty: bool,
}

/// The file, for writing.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) connection: Connection,
    pub(super) shared: Arc<Shared>,
    places: HashMap<HubTopic, Place>,
    dirty: Vec<HubTopic>,
    /// Appended in this transaction.
    fresh: Vec<Entry>,
    pub(super) end: u64,
    pub(super) log_bytes: u64,
    /// Dead publications in the file.
    pub(super) dead: u64,
    pub(super) dead_forgotten: u64,
}

impl Ledger {
    /// Takes the end of the log and its octets from what was loaded.
    pub(super) fn new(connection: Connection, shared: Arc<Shared>) -> Result<Self, StoreError> {
        let dead = count_dead(&connection).map_err(fault)?;
        let (end, log_bytes) = (shared.follow.end().get(), shared.log_bytes.load(Ordering::Relaxed));
        let (places, dirty, fresh) = Default::default();
        Ok(Self { connection, shared, places, dirty, fresh, end, log_bytes, dead, dead_forgotten: 0 })
    }

    /// A new connection, after the file system failed. What is in the write-ahead log is brought into the file and synced
    /// anew: pages whose sync has failed once may be clean in the cache of the system and not on the disk.
    pub(super) fn reopen(&mut self, path: &Path) -> Result<(), StoreError> {
        let connection = schema::connect(path, Role::Writer(self.shared.limits.file_bytes_max))?;
        let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(fault)?;
        if busy != 0 {
            return Err(StoreError::ReadOnly("the write-ahead log could not be written back".into()));
        }
        let (end, log_bytes) = extent(&connection).map_err(fault)?;
        self.connection = connection;
        self.shared.log_bytes.store(log_bytes, Ordering::Relaxed);
        self.shared.follow.set(Offset::new(end));
        self.forget();
        Ok(())
    }

    /// Whether the file may grow, or has pages that nobody needs.
    pub(super) fn has_room(&self) -> rusqlite::Result<bool> {
        let number = |name| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        Ok(number("page_count")? < number("max_page_count")? || number("freelist_count")? > 0)
    }

    /// Goes back to what is durable.
    fn forget(&mut self) {
        self.places.clear();
        self.dirty.clear();
        self.fresh.clear();
        self.end = self.shared.follow.end().get();
        self.log_bytes = self.shared.log_bytes.load(Ordering::Relaxed);
        self.dead_forgotten = 0;
    }

    /// IMMEDIATE, so that a transaction cannot find out half way that another process writes.
    pub(super) fn begin(&mut self) -> rusqlite::Result<()> {
        if self.places.len() > TOPICS_MAX {
            self.places.clear();
        }
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(drop)
    }

    /// Makes the transaction durable, and then visible to those who ask for the end.
    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        let mut write = self.connection.prepare_cached(
            "INSERT INTO place VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (topic) DO UPDATE SET
             first_seq = ?2, last_seq = ?3, last_pub = ?4, cut_pub = ?5, bytes = ?6",
        )?;
        for topic in self.dirty.drain(..) {
            let Some(place) = self.places.get_mut(&topic) else { continue };
            let Place { topic, first_seq, last_seq, last_pub, cut_pub, bytes, .. } = *place;
            write.execute([topic, first_seq, last_seq, last_pub, cut_pub, bytes].map(u64::cast_signed))?;
            place.dirty = false;
        }
        drop(write);
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        self.shared.log_bytes.store(self.log_bytes, Ordering::Relaxed);
        self.shared.dead_forgotten.fetch_add(std::mem::take(&mut self.dead_forgotten), Ordering::Relaxed);
        self.shared.recent.extend(self.fresh.drain(..));
        self.shared.follow.set(Offset::new(self.end));
        Ok(())
    }

    /// Takes everything back since `begin`. SQLite may have done so by itself.
    pub(super) fn roll_back(&mut self) -> rusqlite::Result<()> {
        self.forget();
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        self.dead = count_dead(&self.connection)?;
        Ok(())
    }

    /// The place of a topic, which is entered if it is new.
    pub(super) fn place(&mut self, topic: &HubTopic) -> rusqlite::Result<&mut Place> {
        // Asked twice, since the borrow checker does not let a found reference leave the first branch.
        if !self.places.contains_key(topic) {
            let place = find_place(&self.connection, topic)?;
            self.places.insert(topic.clone(), place);
        }
        Ok(self.places.get_mut(topic).expect("it was entered just now"))
    }

    /// Has the place of the topic written with the transaction.
    pub(super) fn touch(&mut self, topic: &HubTopic) {
        let Some(place) = self.places.get_mut(topic) else { return };
        if !std::mem::replace(&mut place.dirty, true) {
            self.dirty.push(topic.clone());
        }
    }

    /// One row, one place.
    pub(super) fn append(&mut self, draft: &Draft) -> Result<Receipt, Fault> {
        let (cost, limits) = (draft.cost(), self.shared.limits.clone());
        let place = self.place(&draft.topic)?;
        let (topic, hub, bytes, seq) = (place.topic, place.hub, place.bytes, place.last_seq + 1);
        if let Some(receipt) = self.repeated(draft, hub)? {
            return Ok(receipt);
        }
        let full = |limit| Err(Fault::Refused(StoreError::Full(limit)));
        if self.log_bytes + cost > limits.log_bytes_max {
            return full(Limit::LogBytes);
        } else if bytes + cost > limits.topic_bytes_max {
            return full(Limit::TopicBytes);
        } else if self.shared.is_overdue(topic) {
            return full(Limit::BacklogAge);
        }
        let id = self.end + 1;
        let content = &draft.content;
        let numbers = [id, topic, seq, draft.publication.get(), draft.at.0].map(u64::cast_signed);
        let extras = crate::extras::encode(&content.extras);
        let sum = sum::of(numbers, content.content_type.as_bytes(), extras.as_deref(), &content.body);
        self.connection.prepare_cached("INSERT INTO pub VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?.execute(params![
            numbers[0],
            numbers[1],
            numbers[2],
            numbers[3],
            numbers[4],
            &*content.content_type,
            extras,
            &*content.body,
            sum,
        ])?;
        let place = self.place(&draft.topic)?;
        (place.last_seq, place.last_pub, place.bytes) = (seq, id, bytes + cost);
        self.touch(&draft.topic);
        (self.end, self.log_bytes) = (id, self.log_bytes + cost);
        let receipt = Receipt {
            publication: draft.publication,
            offset: Offset::new(id),
            sequence: Sequence(seq),
            freshness: Freshness::New,
        };
        let Draft { topic, publication, at, content, .. } = draft.clone();
        self.fresh.push(Entry { offset: receipt.offset, sequence: receipt.sequence, topic, publication, at, content });
        self.remember_key(draft, hub, receipt)?;
        Ok(receipt)
    }

    /// The publication that the key of the draft stands for already.
    fn repeated(&self, draft: &Draft, hub: i64) -> Result<Option<Receipt>, Fault> {
        let Some(key) = &draft.idempotency else { return Ok(None) };
        let kept = super::query::keyed_by_number(&self.connection, hub, key.as_str())?;
        kept.map_or(Ok(None), |kept| kept.judge(draft.fingerprint(), draft.at).map_err(Fault::Refused))
    }

    /// The key is durable together with its publication, or neither is.
    fn remember_key(&self, draft: &Draft, hub: i64, receipt: Receipt) -> rusqlite::Result<()> {
        let Some(key) = &draft.idempotency else { return Ok(()) };
        // An old row goes first, so that the rows stay in order of their age and the oldest can be found by number.
        let mut forget = self.connection.prepare_cached("DELETE FROM key WHERE hub = ? AND key = ?")?;
        forget.execute(params![hub, key.as_str()])?;
        self.connection
            .prepare_cached("INSERT INTO key(hub, key, at, fingerprint, name, pub, seq) VALUES (?, ?, ?, ?, ?, ?, ?)")?
            .execute(params![
                hub,
                key.as_str(),
                draft.at.0.cast_signed(),
                draft.fingerprint().cast_signed(),
                receipt.publication.get().cast_signed(),
                receipt.offset.get().cast_signed(),
                receipt.sequence.0.cast_signed(),
            ])
            .map(drop)
    }
}

/// The newest place of the log and its octets. The newest publication of each topic is never cut, so neither is the newest of
/// all, and its number can never be given to another.
pub(super) fn extent(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned);
    Ok((number("SELECT coalesce(max(id), 0) FROM pub")?, number("SELECT coalesce(sum(bytes), 0) FROM place")?))
}

/// Counted once for each start and each failure; in between the ledger keeps count.
fn count_dead(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT count(*) FROM dead", [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

/// Reads a place, and enters hub and topic if they are new. A place itself is written with its first publication.
fn find_place(connection: &Connection, topic: &HubTopic) -> rusqlite::Result<Place> {
    let hub = number_of(
        connection,
        ("SELECT id FROM hub WHERE name = ?1", "INSERT INTO hub(name) VALUES (?1)"),
        params![topic.hub.as_str()],
    )?;
    let number = number_of(
        connection,
        ("SELECT id FROM topic WHERE hub = ?1 AND url = ?2", "INSERT INTO topic(hub, url) VALUES (?1, ?2)"),
        params![hub, topic.topic.as_str()],
    )?;
    let [first_seq, last_seq, last_pub, cut_pub, bytes] = connection
        .prepare_cached("SELECT first_seq, last_seq, last_pub, cut_pub, bytes FROM place WHERE topic = ?")?
        .query_row([number], |row| {
            let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
            Ok([number(0)?, number(1)?, number(2)?, number(3)?, number(4)?])
        })
        .optional()?
        .unwrap_or([1, 0, 0, 0, 0]);
    let topic = number.cast_unsigned();
    Ok(Place { topic, hub, first_seq, last_seq, last_pub, cut_pub, bytes, dirty: false })
}

/// Looks first: that is what happens all the time, and a failed insert would use up a number.
fn number_of(
    connection: &Connection,
    (find, enter): (&str, &str),
    values: &[&dyn rusqlite::ToSql],
) -> rusqlite::Result<i64> {
    let found = connection.prepare_cached(find)?.query_row(values, |row| row.get(0)).optional()?;
    if let Some(found) = found {
        return Ok(found);
    }
    connection.prepare_cached(enter)?.execute(values)?;
    Ok(connection.last_insert_rowid())
}

#[cfg(test)]
mod tests {
    use stentor_model::{PublicationId, Topic};

    use super::*;
    use crate::Timestamp;
    use crate::{Content, Hub, Limits};

    fn draft() -> Draft {
        Draft {
            topic: HubTopic { hub: Hub::parse("main").unwrap(), topic: Topic::parse("a").unwrap() },
            publication: PublicationId::FIRST,
            at: Timestamp(1),
            content: Content { content_type: "text/plain".into(), extras: Vec::new(), body: "x".into() },
            idempotency: None,
        }
    }

    /// A file and a ledger with one publication in it.
    fn ledger() -> (tempfile::TempDir, std::path::PathBuf, Ledger) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        std::fs::write(&path, []).unwrap();
        let mut connection = schema::connect(&path, Role::Writer(None)).unwrap();
        schema::migrate(&mut connection).unwrap();
        let shared = Arc::new(super::super::load(&mut connection, Limits::default()).unwrap());
        let mut ledger = Ledger::new(connection, shared).unwrap();
        ledger.begin().unwrap();
        ledger.append(&draft()).unwrap();
        ledger.commit().unwrap();
        (folder, path, ledger)
    }

    #[test]
    fn what_was_rolled_back_took_no_place() {
        let (_folder, _path, mut ledger) = ledger();
        ledger.begin().unwrap();
        assert_eq!(ledger.append(&draft()).unwrap().offset, Offset::new(2));
        ledger.roll_back().unwrap();
        ledger.begin().unwrap();
        let receipt = ledger.append(&draft()).unwrap();
        assert_eq!((receipt.offset, receipt.sequence), (Offset::new(2), Sequence(2)));
        assert_eq!(ledger.shared.follow.end(), Offset::new(1), "not yet durable");
        ledger.commit().unwrap();
        assert_eq!(ledger.shared.follow.end(), Offset::new(2));
    }

    #[test]
    fn a_new_connection_goes_on_from_the_file() {
        let (_folder, path, mut ledger) = ledger();
        ledger.begin().unwrap();
        ledger.append(&draft()).unwrap();
        // A commit whose answer was lost: the file has it, and the ledger does not know.
        ledger
            .connection
            .execute_batch("UPDATE place SET last_seq = 2, last_pub = 2, bytes = 2 * bytes; COMMIT")
            .unwrap();
        ledger.reopen(&path).unwrap();
        assert_eq!(ledger.shared.follow.end(), Offset::new(2));
        ledger.begin().unwrap();
        assert_eq!(ledger.append(&draft()).unwrap().offset, Offset::new(3));
        ledger.commit().unwrap();
    }

    #[test]
    fn places_are_found_from_any_offset() {
        let (_folder, _path, mut ledger) = ledger();
        ledger.begin().unwrap();
        for number in 0..40 {
            let topic = Topic::parse(if number % 7 < 3 { "a" } else { "b" }).unwrap();
            let hub = draft().topic.hub;
            ledger.append(&Draft { topic: HubTopic { hub, topic }, ..draft() }).unwrap();
        }
        ledger.commit().unwrap();
        let connection = &ledger.connection;
        let extent = super::super::query::Extent::find(connection, &draft().topic).unwrap().unwrap();
        for offset in 0..=ledger.end + 1 {
            let found = super::super::query::sequence_at(connection, extent, Offset::new(offset)).unwrap();
            let sql = "SELECT ifnull(max(seq), 0) FROM pub WHERE topic = 1 AND id <= ?";
            let expected: i64 = connection.query_row(sql, [offset.cast_signed()], |row| row.get(0)).unwrap();
            assert_eq!(found.0.cast_signed(), expected, "{offset}");
        }
    }
}
