//! The tables, their versions, and how a connection is set up.
//!
//! One row for each publication in arrival order, so that appending touches the end of one tree only; the index leads from a
//! topic to its rows. What changes with each publication (`place`) and with each delivery (`cur`) stands in narrow tables of
//! its own, apart from the wide rows that hardly change.

use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};

use super::fault::fault;
use crate::StoreError;

/// `Sten` in the header of the file, so that another program's database is not taken for a store.
const APPLICATION: i64 = 0x5374_656e;

/// From version n to version n + 1, each in one transaction. Steps are only ever added: a step that was released is what some
/// file went through.
const STEPS: &[&str] = &[
    "
    CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO meta VALUES ('epoch', 0), ('generation', 0);
    CREATE TABLE hub(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE topic(id INTEGER PRIMARY KEY, hub INTEGER NOT NULL, url TEXT NOT NULL, UNIQUE (hub, url)) STRICT;
    CREATE TABLE place(
        topic INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,
        last_pub INTEGER NOT NULL, cut_pub INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
    CREATE TABLE pub(
        id INTEGER PRIMARY KEY, topic INTEGER NOT NULL, seq INTEGER NOT NULL, name INTEGER NOT NULL,
        at INTEGER NOT NULL, content_type TEXT NOT NULL, extras BLOB, body BLOB NOT NULL) STRICT;
    CREATE UNIQUE INDEX pub_topic_seq ON pub(topic, seq);
    CREATE TABLE key(
        id INTEGER PRIMARY KEY, hub INTEGER NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL,
        fingerprint INTEGER NOT NULL, name INTEGER NOT NULL, pub INTEGER NOT NULL, seq INTEGER NOT NULL,
        UNIQUE (hub, key)) STRICT;
    CREATE TABLE sub(
        id INTEGER PRIMARY KEY AUTOINCREMENT, topic INTEGER NOT NULL, callback TEXT NOT NULL, secret TEXT,
        identity TEXT, extras BLOB, created INTEGER NOT NULL, verified INTEGER, lease_end INTEGER NOT NULL,
        state INTEGER NOT NULL, reason TEXT, UNIQUE (topic, callback)) STRICT;
    CREATE TABLE cur(
        id INTEGER PRIMARY KEY, topic INTEGER NOT NULL, position INTEGER NOT NULL, holds INTEGER NOT NULL) STRICT;
    CREATE TABLE outcome(id INTEGER PRIMARY KEY, at INTEGER NOT NULL, status INTEGER, text TEXT NOT NULL) STRICT;
    CREATE TABLE dead(
        id INTEGER PRIMARY KEY AUTOINCREMENT, sub INTEGER NOT NULL, topic INTEGER NOT NULL, pub INTEGER NOT NULL,
        seq INTEGER NOT NULL, name INTEGER NOT NULL, at INTEGER NOT NULL, content_type TEXT NOT NULL, extras BLOB,
        body BLOB NOT NULL, buried INTEGER NOT NULL, attempts INTEGER NOT NULL, reason TEXT NOT NULL,
        UNIQUE (sub, pub)) STRICT;
    ",
    // Checksums, which `sum` knows. What was written before has none.
    "
    ALTER TABLE pub ADD COLUMN sum INTEGER;
    ALTER TABLE dead ADD COLUMN sum INTEGER;
    ",
];

const PAGE_BYTES: u64 = 4096;

/// The version that this program writes.
pub(super) const VERSION: i64 = STEPS.len() as i64;

/// The first version with checksums.
pub(super) const VERSION_OF_SUMS: i64 = 2;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The one that writes, and the octets that the file may grow to.
    Writer(Option<NonZeroU64>),
    /// One of those that read.
    Reader,
}

/// Opens the file. The settings hold for one connection each, and none is left to a default that a build could change.
pub(super) fn connect(path: &Path, role: Role) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fault)?;
    configure(&connection, role).map_err(fault)?;
    Ok(connection)
}

fn configure(connection: &Connection, role: Role) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "page_size", PAGE_BYTES.cast_signed())?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "mmap_size", 0)?;
    // A damaged cell is an error where it is read, not a value to go on with.
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    let Role::Writer(file_bytes_max) = role else {
        // Two MiB: the system keeps the file in memory anyway, and what a reader has once read in passing it would keep for ever.
        connection.pragma_update(None, "cache_size", -2048)?;
        return connection.pragma_update(None, "query_only", true);
    };
    if let Some(most) = file_bytes_max {
        let pages = (most.get() / PAGE_BYTES).max(1).cast_signed();
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    connection.pragma_update(None, "cache_size", -65536)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    debug_assert_eq!(mode, "wal", "a local file can always have a write-ahead log");
    // Each commit waits for the disk; that is what an acknowledgement means.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Short and frequent: a checkpoint runs inside a commit, and everybody waits for it.
    connection.pragma_update(None, "wal_autocheckpoint", 1000)?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)
}

/// Brings the file to this program's version.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    migrate_by(connection, STEPS)
}

fn migrate_by(connection: &mut Connection, steps: &[&str]) -> Result<(), StoreError> {
    let found = version(connection)?;
    let known = steps.len();
    let done = usize::try_from(found).ok().filter(|done| *done <= known).ok_or_else(|| {
        StoreError::Unfit(
            format!("the store has version {found}, this program knows up to {known}: use a newer one").into(),
        )
    })?;
    for (at, step) in steps.iter().enumerate().skip(done) {
        let transaction = connection.transaction().map_err(fault)?;
        transaction.execute_batch(step).map_err(fault)?;
        transaction.pragma_update(None, "application_id", APPLICATION).map_err(fault)?;
        transaction.pragma_update(None, "user_version", (at + 1) as i64).map_err(fault)?;
        transaction.commit().map_err(fault)?;
    }
    Ok(())
}

/// The version of a store; 0 for an empty file.
///
/// # Errors
/// When the file belongs to another program.
pub(super) fn version(connection: &Connection) -> Result<i64, StoreError> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(fault);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fault)?;
    let application = number("application_id")?;
    if application != APPLICATION && (tables > 0 || application != 0) {
        return Err(StoreError::Unfit("the file is a database of another program".into()));
    }
    number("user_version")
}

/// A number that is kept in `meta`.
pub(super) fn meta(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.query_row("SELECT value FROM meta WHERE name = ?", [name], |row| row.get(0))
}

/// Keeps a number in `meta`.
pub(super) fn set_meta(connection: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    connection.execute("UPDATE meta SET value = ? WHERE name = ?", params![value, name]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_taken_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        let steps =
            ["CREATE TABLE a(x); INSERT INTO a VALUES (1)", "ALTER TABLE a ADD COLUMN y; UPDATE a SET y = x + 1"];
        migrate_by(&mut connection, &steps[..1]).unwrap();
        assert_eq!(version(&connection).unwrap(), 1);
        migrate_by(&mut connection, &steps).unwrap();
        migrate_by(&mut connection, &steps).unwrap();
        assert_eq!(version(&connection).unwrap(), 2);
        assert_eq!(
            connection.query_row("SELECT count(*), y FROM a", [], |row| Ok((row.get(0)?, row.get(1)?))),
            Ok((1, 2))
        );
    }

    #[test]
    fn a_file_of_version_1_is_taken_over() {
        use crate::sqlite::{Sqlite, backup, check};
        use crate::{Content, Draft, Hub, HubTopic, Limits, Log, ReadLimit, StoreError, Timestamp};
        use stentor_model::{Offset, PublicationId, Topic};

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        std::fs::write(&path, []).unwrap();
        let mut old = connect(&path, Role::Writer(None)).unwrap();
        migrate_by(&mut old, &STEPS[..1]).unwrap();
        old.execute_batch(
            "INSERT INTO hub VALUES (1, 'main'); INSERT INTO topic VALUES (1, 1, 'a');
             INSERT INTO pub VALUES (1, 1, 1, 11, 1, 'a/b', NULL, x'6f6e65'), (2, 1, 2, 12, 1, 'a/b', NULL, x'74776f');
             INSERT INTO place VALUES (1, 1, 2, 2, 0, 140);
             INSERT INTO dead SELECT 1, 1, topic, id, seq, name, at, content_type, extras, body, 1, 1, 'no' FROM pub WHERE id = 1",
        )
        .unwrap();
        drop(old);
        let copy = folder.path().join("copy.db");
        backup(&path, &copy).unwrap();
        for file in [&path, &copy] {
            let report = check(file).unwrap();
            assert_eq!((report.faults, report.publications, report.version), (Vec::new(), 2, 1));
        }
        let topic = HubTopic { hub: Hub::parse("main").unwrap(), topic: Topic::parse("a").unwrap() };
        let content = Content { content_type: "a/b".into(), extras: Vec::new(), body: "three".into() };
        let (publication, at) = (PublicationId::FIRST, Timestamp(1));
        let store = Sqlite::open(&path, Limits::default()).unwrap();
        let draft = Draft { topic: topic.clone(), publication, at, content, idempotency: None };
        assert_eq!(store.append(draft).wait().unwrap().sequence.0, 3);
        drop(store);
        let bodies = |store: &Sqlite| {
            let page = store.read(&topic, Offset::START, ReadLimit::default()).wait().unwrap();
            let bodies: Vec<_> = page.entries.iter().map(|entry| entry.content.body.to_vec()).collect();
            (bodies, page.has_more)
        };
        let store = Sqlite::open(&path, Limits::default()).unwrap();
        assert_eq!(bodies(&store), (vec![b"one".to_vec(), b"two".to_vec(), b"three".to_vec()], false));
        let dead = crate::DeadPublications::dead(&store, crate::DeadId(1)).wait().unwrap().unwrap();
        assert_eq!((&dead.entry.content.body[..], &*dead.burial.reason), (&b"one"[..], "no"));
        drop(store);
        let report = check(&path).unwrap();
        assert_eq!((report.faults, report.publications, report.version), (Vec::new(), 3, VERSION));
        // Only what was written since has a checksum.
        Connection::open(&path).unwrap().execute_batch("UPDATE pub SET body = x'787878' WHERE id = 1").unwrap();
        assert_eq!(check(&path).unwrap().faults, Vec::<String>::new());
        Connection::open(&path).unwrap().execute_batch("UPDATE pub SET body = x'7878787878' WHERE id = 3").unwrap();
        assert_eq!(check(&path).unwrap().faults.len(), 1);
        let store = Sqlite::open(&path, Limits::default()).unwrap();
        assert_eq!(bodies(&store), (vec![b"xxx".to_vec(), b"two".to_vec()], true));
        let after = store.read(&topic, Offset::new(2), ReadLimit::default()).wait();
        assert!(matches!(after, Err(StoreError::Corrupt(_))), "{after:?}");
    }

    #[test]
    fn a_step_that_fails_leaves_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(migrate_by(&mut connection, &["CREATE TABLE a(x)", "CREATE TABLE b(x); nonsense"]).is_err());
        assert_eq!(version(&connection).unwrap(), 1);
        assert!(connection.query_row("SELECT 1 FROM b", [], |_| Ok(())).is_err());
    }

    #[test]
    fn newer_and_foreign_files_are_left_alone() {
        let check = |setup: &str, expected: &str| {
            let mut connection = Connection::open_in_memory().unwrap();
            connection.execute_batch(setup).unwrap();
            let refused = migrate(&mut connection).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        };
        check("PRAGMA application_id = 0x5374656e; PRAGMA user_version = 99; CREATE TABLE a(x)", "version 99");
        check("CREATE TABLE a(x)", "another program");
        check("PRAGMA application_id = 7", "another program");
    }
}
