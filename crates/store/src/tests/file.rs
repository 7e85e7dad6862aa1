//! What only a file can go through: a second process, other versions, copies, damage, and a disk that is full.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::sqlite::{Sqlite, backup, check};
use crate::{
    Burial, Content, Cursors, DeadPublications, Draft, Health, Hub, HubTopic, Limit, Limits, Log, NewSubscription,
    Page, ReadLimit, Receipt, Store, StoreError, Subscriptions, Timestamp,
};
use rusqlite::Connection;
use stentor_model::{Offset, PublicationId, Secret, Topic};
use tempfile::TempDir;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    (folder, path)
}

fn open(path: &Path) -> Sqlite {
    Sqlite::open(path, Limits::default()).unwrap()
}

fn topic(name: &str) -> HubTopic {
    HubTopic { hub: Hub::parse("main").unwrap(), topic: Topic::parse(name).unwrap() }
}

fn draft(name: &str, octets: usize) -> Draft {
    Draft {
        topic: topic(name),
        publication: PublicationId::FIRST,
        at: Timestamp(1),
        content: Content { content_type: "text/plain".into(), extras: Vec::new(), body: vec![b'x'; octets].into() },
        idempotency: None,
    }
}

fn append(store: &Sqlite, name: &str, octets: usize) -> Result<Receipt, StoreError> {
    store.append(draft(name, octets)).wait()
}

fn subscription(name: &str) -> NewSubscription {
    NewSubscription {
        topic: topic(name),
        callback: "https://example.org/hook".into(),
        secret: Some(Secret::new("s")),
        identity: None,
        extras: Vec::new(),
        created: Timestamp(1),
        verified: None,
        lease_end: Timestamp(2),
        after: Offset::START,
    }
}

/// A store with something in every table that matters.
fn sample(path: &Path) -> Sqlite {
    let store = open(path);
    for number in 0..50 {
        append(&store, if number % 3 == 0 { "a" } else { "b" }, 2000).unwrap();
    }
    store.put(subscription("a")).wait().unwrap();
    store
}

fn all(store: &Sqlite) -> usize {
    store.tail(Offset::START, ReadLimit { entries: 1000, bytes: u64::MAX }).wait().unwrap().entries.len()
}

#[test]
fn one_process_holds_it() {
    let (_folder, path) = folder();
    let store = open(&path);
    assert!(matches!(Sqlite::open(&path, Limits::default()), Err(StoreError::Locked)));
    drop(store);
    open(&path);
}

#[test]
fn another_path_to_it_finds_the_same_lock() {
    let (folder, path) = folder();
    let (link, inner) = (folder.path().join("link.db"), folder.path().join("inner"));
    symlink(folder.path(), &inner).unwrap();
    symlink("store.db", &link).unwrap();
    let store = sample(&path);
    for other in [&link, &inner.join("store.db"), &inner.join("link.db")] {
        assert!(matches!(Sqlite::open(other, Limits::default()), Err(StoreError::Locked)), "{other:?}");
        assert_eq!(check(other).unwrap().publications, 50);
    }
    drop(store);
    let store = open(&link);
    assert!(matches!(Sqlite::open(&path, Limits::default()), Err(StoreError::Locked)));
    assert_eq!(all(&store), 50);
    assert!(!folder.path().join("link.db.lock").exists(), "what belongs to the file is named after the file");
    // Whoever starts next would come to another file.
    fs::remove_file(&link).unwrap();
    assert!(matches!(append(&store, "a", 1), Err(StoreError::ReadOnly(_))));
}

/// What everybody says who is to open the store.
fn check_unfit(path: &Path, expected: &str) {
    let copy = path.with_file_name("copy.db");
    let opened = [Sqlite::open(path, Limits::default()).map(drop), check(path).map(drop), backup(path, &copy)];
    for refused in opened {
        let refused = refused.unwrap_err();
        assert!(matches!(&refused, StoreError::Unfit(said) if said.contains(expected)), "{refused}");
    }
    assert!(!copy.exists());
}

#[test]
fn a_link_to_nothing_is_no_new_store() {
    let (folder, path) = folder();
    let link = folder.path().join("link.db");
    symlink(&path, &link).unwrap();
    check_unfit(&link, "symbolic link to a file that is not there");
    assert!(!path.exists());
    drop(sample(&path));
    assert_eq!(all(&open(&link)), 50);
}

#[test]
fn a_file_with_two_names_is_refused() {
    let (folder, path) = folder();
    let other = folder.path().join("other.db");
    let store = sample(&path);
    fs::hard_link(&path, &other).unwrap();
    check_unfit(&other, "2 names");
    check_unfit(&path, "2 names");
    assert!(append(&store, "a", 1).is_ok(), "whoever has it open goes on");
    drop(store);
    fs::remove_file(&other).unwrap();
    assert_eq!(all(&open(&path)), 51);
}

#[test]
fn nobody_else_may_read_it() {
    let (folder, path) = folder();
    let store = sample(&path);
    store.backup(&folder.path().join("copy.db")).unwrap();
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.path());
    }
}

#[test]
fn closing_flushes_the_cursors_and_dropping_does_not() {
    let (_folder, path) = folder();
    let store = open(&path);
    let id = store.put(subscription("a")).wait().unwrap().id();
    let places = [1, 2].map(|octets| append(&store, "a", octets).unwrap().offset);
    let position = |store: &Sqlite| store.get(id).wait().unwrap().unwrap().position;
    store.advance(&store.claim(id).wait().unwrap(), places[0]).unwrap();
    drop(store);
    let store = open(&path);
    assert_eq!(position(&store), Offset::START);
    store.advance(&store.claim(id).wait().unwrap(), places[1]).unwrap();
    store.close().wait().unwrap();
    drop(store);
    assert_eq!(position(&open(&path)), places[1]);
}

#[test]
fn what_was_asked_for_before_a_drop_is_done() {
    let (_folder, path) = folder();
    let store = open(&path);
    let pending: Vec<_> = (0..500).map(|_| store.append(draft("a", 10))).collect();
    drop(store);
    assert!(pending.into_iter().all(|pending| pending.wait().is_ok()));
    assert_eq!(all(&open(&path)), 500);
}

#[test]
fn foreign_files_are_left_alone() {
    let (_folder, path) = folder();
    let check_refused = |expected: &str| {
        let refused = Sqlite::open(&path, Limits::default()).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    };
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs(x)").unwrap();
    check_refused("another program");
    fs::write(&path, "this is no database, and long enough to be looked at as one".repeat(20)).unwrap();
    check_refused("not a database");
    fs::remove_file(&path).unwrap();
    drop(open(&path));
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    check_refused("version 99");
}

#[test]
fn an_emptied_file_is_not_begun_anew() {
    let check_refused = |empty: fn(&Path)| {
        let (_folder, path) = folder();
        drop(sample(&path));
        empty(&path);
        let octets = fs::metadata(&path).unwrap().len();
        for refused in [Sqlite::open(&path, Limits::default()).map(drop), check(&path).map(drop)] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.starts_with("the file is no store"), "{refused}");
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), octets);
        fs::remove_file(&path).unwrap();
        assert_eq!(all(&open(&path)), 0);
    };
    check_refused(|path| fs::write(path, "").unwrap());
    // The head of a file, as a copy that was made without the write-ahead log beside it may be.
    check_refused(|path| {
        fs::remove_file(path).unwrap();
        let young = Connection::open(path).unwrap();
        young.pragma_update(None, "journal_mode", "WAL").unwrap();
    });
}

#[test]
fn a_log_beside_an_emptied_file_is_left() {
    let (folder, path) = folder();
    let store = sample(&path);
    let kept = folder.path().join("kept");
    fs::create_dir(&kept).unwrap();
    let (copy, log) = (kept.join("store.db"), kept.join("store.db-wal"));
    fs::copy(folder.path().join("store.db-wal"), &log).unwrap();
    fs::write(&copy, "").unwrap();
    drop(store);
    let octets = fs::read(&log).unwrap();
    assert!(Sqlite::open(&copy, Limits::default()).is_err() && check(&copy).is_err());
    assert!(fs::read(&log).is_ok_and(|found| found == octets));
}

#[test]
fn a_file_that_was_being_made_is_made() {
    let (_folder, path) = folder();
    let mark = path.with_file_name("store.db.new");
    // Killed before there was a table.
    for file in [&path, &mark] {
        fs::write(file, "").unwrap();
    }
    drop(sample(&path));
    assert!(!mark.exists());
    // Killed before the mark was taken away.
    fs::write(&mark, "").unwrap();
    assert_eq!(all(&open(&path)), 50);
    assert!(!mark.exists());
}

#[test]
fn a_backup_is_taken_while_publishers_go_on() {
    let (folder, path) = folder();
    let store = sample(&path);
    let copy = folder.path().join("copy.db");
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            for _ in 0..200 {
                append(&store, "c", 500).unwrap();
            }
        });
        store.backup(&copy).unwrap();
        publisher.join().unwrap();
    });
    assert!(store.backup(&copy).is_err(), "a copy is never written over");
    assert_eq!(check(&copy).unwrap().faults, Vec::<String>::new());
    let copied = open(&copy);
    assert!((50..=250).contains(&all(&copied)));
    assert_eq!(all(&store), 250);
    assert_ne!(copied.epoch(), store.epoch(), "offsets of a copy are another history");
    drop(copied);
    let epoch = open(&copy).epoch();
    assert_eq!(open(&copy).epoch(), epoch);
    assert!(backup(Path::new("/nowhere/store.db"), &folder.path().join("none.db")).is_err());
}

#[test]
fn a_sound_store_passes_the_check_while_it_is_open() {
    let (_folder, path) = folder();
    let store = sample(&path);
    let claim = store.claim(stentor_model::WebhookId(1)).wait().unwrap();
    store.advance(&claim, store.end()).unwrap();
    store.flush().wait().unwrap();
    store.trim(Timestamp(1)).wait().unwrap();
    let report = check(&path).unwrap();
    assert_eq!((report.faults, report.publications, report.subscriptions, report.version), (vec![], 50, 1, 2));
}

#[test]
fn the_check_finds_what_does_not_fit() {
    let check_finds = |damage: &str, expected: &str| {
        let (_folder, path) = folder();
        drop(sample(&path));
        Connection::open(&path).unwrap().execute_batch(damage).unwrap();
        let faults = check(&path).unwrap().faults;
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{damage}: {faults:?}");
    };
    check_finds("DELETE FROM pub WHERE topic = 1 AND seq = 5", "not dense");
    check_finds("DELETE FROM pub WHERE id = 50", "first and last");
    check_finds("UPDATE place SET bytes = bytes + 1", "miscounted");
    check_finds("DELETE FROM place WHERE topic = 1", "without a place");
    check_finds("UPDATE cur SET position = 51", "behind the end");
    check_finds("DELETE FROM cur", "has no cursor");
    check_finds("DELETE FROM sub", "belongs to no subscription");
    check_finds("UPDATE sub SET state = 2", "differ in topic or state");
    check_finds("DELETE FROM hub", "belongs to no hub");
    check_finds("DELETE FROM topic", "belongs to no topic");
    check_finds("UPDATE pub SET seq = -seq", "smaller number");
}

/// Overwrites the pages of the file that hold this text.
fn damage(path: &Path, text: &[u8]) {
    let mut file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut octets = Vec::new();
    file.read_to_end(&mut octets).unwrap();
    let at = octets.windows(text.len()).position(|window| window == text).unwrap();
    file.seek(SeekFrom::Start(at as u64 / 4096 * 4096)).unwrap();
    file.write_all(&[0x5a; 4096]).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn a_damaged_file_is_read_where_it_can_be_and_not_written() {
    let (_folder, path) = folder();
    let store = open(&path);
    append(&store, "a", 100).unwrap();
    for _ in 0..200 {
        append(&store, "b", 1000).unwrap();
    }
    let body = Content { body: "the one that is hit".into(), ..draft("c", 0).content };
    store.append(Draft { content: body, ..draft("c", 0) }).wait().unwrap();
    for _ in 0..200 {
        append(&store, "d", 1000).unwrap();
    }
    store.close().wait().unwrap();
    drop(store);
    damage(&path, b"the one that is hit");
    assert!(!check(&path).unwrap().faults.is_empty());
    let store = open(&path);
    let read = |name| store.read(&topic(name), Offset::START, ReadLimit::default()).wait();
    assert_eq!(read("a").unwrap().entries.len(), 1);
    assert!(matches!(read("c"), Err(StoreError::Corrupt(_))));
    assert!(matches!(store.status().health, Health::ReadOnly(_)));
    assert!(matches!(append(&store, "a", 1), Err(StoreError::ReadOnly(_))));
    assert!(matches!(store.put(subscription("a")).wait(), Err(StoreError::ReadOnly(_))));
    assert_eq!(read("a").unwrap().entries.len(), 1, "reads go on");
    let late = Offset::new(store.end().get() - 50);
    assert_eq!(store.read(&topic("d"), late, ReadLimit::default()).wait().unwrap().entries.len(), 50);
}

/// The newest offset that can be read from one end of the log to the other, by pages of this size.
fn read_up_to_damage(read: impl Fn(Offset, ReadLimit) -> Result<Page, StoreError>, entries: usize) -> Offset {
    let mut at = Offset::START;
    loop {
        match read(at, ReadLimit { entries, bytes: u64::MAX }) {
            Ok(page) => {
                assert!(page.has_more, "this is not the end: {at}");
                at = page.entries.last().unwrap().offset;
            }
            Err(error) => {
                assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
                return at;
            }
        }
    }
}

#[test]
fn damage_hides_nothing_that_lies_before_it() {
    let (_folder, path) = folder();
    let store = open(&path);
    let publish = |name, text: &str| {
        let content = Content { body: format!("{text:x<1000}").into(), ..draft(name, 0).content };
        store.append(Draft { content, ..draft(name, 0) }).wait().unwrap().offset
    };
    let places: Vec<_> = (0..200)
        .map(|number| publish(if number % 2 == 0 { "a" } else { "b" }, &format!("number {number:03}")))
        .collect();
    store.close().wait().unwrap();
    drop(store);
    damage(&path, b"number 120");
    // A page has three of them, so one or two before this one are hit as well.
    let hit = places[118].get() - 2..=places[120].get();
    for entries in [1, 7, 100, 1000] {
        let store = open(&path);
        let last = read_up_to_damage(|after, limit| store.tail(after, limit).wait(), entries);
        assert!(hit.contains(&last.get()), "{last}");
        let last = read_up_to_damage(|after, limit| store.read(&topic("a"), after, limit).wait(), entries);
        assert!(hit.contains(&last.get()), "{last}");
        assert!(matches!(store.status().health, Health::ReadOnly(_)));
    }
    let store = open(&path);
    let first = store.tail(Offset::START, ReadLimit { entries: 1000, bytes: u64::MAX }).wait().unwrap();
    assert!(first.has_more && first.gap.is_none());
    assert!(matches!(append(&store, "b", 1), Err(StoreError::ReadOnly(_))), "found damage is not written on");
    // Who has the last of those that are damaged gets what lies behind, in a page of the file that is sound.
    let behind = (places[120].get()..).map(Offset::new).find(|at| store.tail(*at, ReadLimit::default()).wait().is_ok());
    let behind = behind.unwrap();
    let name = if behind.get() % 2 == 1 { "a" } else { "b" };
    let page = store.read(&topic(name), behind, ReadLimit::default()).wait().unwrap();
    assert_eq!(page.entries.first().unwrap().offset.get(), behind.get() + 2);
}

#[test]
fn one_octet_that_changed_is_noticed() {
    let (_folder, path) = folder();
    let store = sample(&path);
    let content = Content { body: "amount=1000".into(), ..draft("a", 0).content };
    let hit = store.append(Draft { content, ..draft("a", 0) }).wait().unwrap().offset;
    store.close().wait().unwrap();
    drop(store);
    let mut octets = fs::read(&path).unwrap();
    let at = octets.windows(11).position(|window| window == b"amount=1000").unwrap();
    octets[at + 7] = b'9';
    fs::write(&path, octets).unwrap();
    let said = format!("the publication at offset {hit} of a is not the one that was written");
    assert_eq!(check(&path).unwrap().faults, [said.as_str()]);
    let store = open(&path);
    let before = Offset::new(hit.get() - 1);
    let found = store.tail(Offset::START, ReadLimit { entries: 1000, bytes: u64::MAX }).wait().unwrap();
    assert_eq!((found.entries.last().unwrap().offset, found.has_more), (before, true));
    let reads = [
        store.tail(before, ReadLimit::default()).wait().map(drop),
        store.read(&topic("a"), before, ReadLimit::default()).wait().map(drop),
        store.newest(&topic("a")).wait().map(drop),
    ];
    for read in reads {
        let refused = read.unwrap_err();
        assert!(matches!(&refused, StoreError::Corrupt(what) if **what == said), "{refused}");
    }
    assert!(matches!(append(&store, "b", 1), Err(StoreError::ReadOnly(_))));
}

#[test]
fn every_column_of_a_publication_is_compared() {
    let check_finds = |damage: &str, expected: &str| {
        let (_folder, path) = folder();
        let store = sample(&path);
        let claim = store.claim(stentor_model::WebhookId(1)).wait().unwrap();
        let burial = Burial { offset: Offset::new(1), at: Timestamp(1), attempts: 1, reason: "tired".into() };
        let dead = store.bury(&claim, burial).wait().unwrap();
        store.close().wait().unwrap();
        drop(store);
        assert_eq!(check(&path).unwrap().faults, Vec::<String>::new());
        Connection::open(&path).unwrap().execute_batch(damage).unwrap();
        let faults = check(&path).unwrap().faults;
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{damage}: {faults:?}");
        let store = open(&path);
        let is_dead = damage.contains("dead");
        assert_eq!(matches!(store.dead(dead).wait(), Err(StoreError::Corrupt(_))), is_dead, "{damage}");
        let read = store.tail(Offset::START, ReadLimit { entries: 1000, bytes: u64::MAX }).wait();
        assert_eq!(!is_dead, read.is_err() || read.is_ok_and(|page| page.has_more), "{damage}");
    };
    let log = "the publication at offset 1 of a is not";
    for damage in ["seq = -1", "name = 7", "at = 2", "content_type = 'text/html'", "extras = x'01'", "body = x'00'"] {
        check_finds(&format!("UPDATE pub SET {damage} WHERE id = 1"), log);
        check_finds(&format!("UPDATE dead SET {damage}"), &format!("among the dead publications, {log}"));
    }
    check_finds("UPDATE pub SET id = 60 WHERE id = 1", "the publication at offset 60 of a is not");
    check_finds("UPDATE pub SET topic = 2, seq = 90 WHERE id = 1", "the publication at offset 1 of b is not");
    check_finds("UPDATE pub SET topic = 9 WHERE id = 1", "the publication at offset 1 of topic 9 is not");
}

#[test]
fn damage_that_the_writer_meets_stops_it() {
    let (_folder, path) = folder();
    drop(sample(&path));
    // A row where the next one would have to go.
    Connection::open(&path).unwrap().execute_batch("UPDATE place SET last_seq = 3 WHERE topic = 1").unwrap();
    let store = open(&path);
    assert!(matches!(append(&store, "a", 1), Err(StoreError::Corrupt(_))));
    assert!(matches!(append(&store, "b", 1), Err(StoreError::ReadOnly(_))));
    assert_eq!(all(&store), 50);
}

#[test]
fn a_full_queue_is_busy() {
    let (_folder, path) = folder();
    let store =
        Sqlite::open(&path, Limits { queue_entries_max: 4, queue_bytes_max: 5000, ..Limits::default() }).unwrap();
    assert!(matches!(append(&store, "a", 5000), Err(StoreError::Busy)), "more than all that may wait");
    // Whoever holds the file's lock holds up the writer.
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut pending: Vec<_> = (0..2000).map(|_| store.append(draft("a", 1))).collect();
    let refused = pending.pop().unwrap().wait();
    assert!(matches!(refused, Err(StoreError::Busy)), "{refused:?}");
    other.execute_batch("COMMIT").unwrap();
    let accepted = pending.into_iter().filter_map(|pending| pending.wait().ok()).count();
    assert!(accepted > 0);
    assert_eq!(store.end().get(), accepted as u64);
    assert_eq!(store.status().queue_entries, 0);
    append(&store, "a", 4000).unwrap();
}

#[test]
fn a_full_disk_refuses_and_is_survived() {
    let (_folder, path) = folder();
    let limits =
        Limits { history_entries: NonZeroU64::MIN, file_bytes_max: NonZeroU64::new(150 * 4096), ..Limits::default() };
    let store = Sqlite::open(&path, limits).unwrap();
    let mut accepted = 0;
    let refusal = loop {
        match append(&store, "a", 3000) {
            Ok(_) => accepted += 1,
            Err(refusal) => break refusal,
        }
    };
    assert!(matches!(refusal, StoreError::Full(Limit::Disk)), "{refusal:?}");
    assert!(accepted > 20);
    assert_eq!((all(&store), store.status().health), (accepted, Health::DiskFull));
    let trimmed = store.trim(Timestamp(1)).wait().unwrap();
    assert_eq!(trimmed.publications, accepted as u64 - 1);
    let next = append(&store, "a", 3000).unwrap();
    assert_eq!(next.sequence.0, accepted as u64 + 1, "a refused publication takes no place");
    assert_eq!(store.status().health, Health::Well);
    drop(store);
    assert_eq!(check(&path).unwrap().faults, Vec::<String>::new());
}

/// Needs a file system of its own, of a few megabytes: `STENTOR_SMALL_FOLDER=/mnt/small`.
#[test]
#[ignore = "needs a small file system"]
fn a_small_file_system_is_survived() {
    let folder = tempfile::tempdir_in(std::env::var_os("STENTOR_SMALL_FOLDER").unwrap()).unwrap();
    let path = folder.path().join("store.db");
    let store = Sqlite::open(&path, Limits { history_entries: NonZeroU64::MIN, ..Limits::default() }).unwrap();
    let ballast = folder.path().join("ballast");
    fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let mut accepted = 0;
    let refusal = loop {
        match append(&store, "a", 3000) {
            Ok(_) => accepted += 1,
            Err(refusal) => break refusal,
        }
    };
    assert!(matches!(refusal, StoreError::Full(Limit::Disk)), "{refusal:?}");
    assert_eq!((all(&store), store.status().health), (accepted, Health::DiskFull));
    assert!(append(&store, "a", 3000).is_err());
    fs::remove_file(ballast).unwrap();
    assert_eq!(append(&store, "a", 3000).unwrap().sequence.0, accepted as u64 + 1);
    assert_eq!(store.status().health, Health::Well);
    store.close().wait().unwrap();
    drop(store);
    assert_eq!(check(&path).unwrap().faults, Vec::<String>::new());
    assert_eq!(all(&open(&path)), accepted + 1);
}

#[test]
fn a_file_that_is_gone_takes_nothing() {
    let check = |lose: fn(&Path), said: &str| {
        let (_folder, path) = folder();
        let store = sample(&path);
        lose(&path);
        let Err(StoreError::ReadOnly(reason)) = append(&store, "a", 1) else { panic!("it was taken: {said}") };
        assert!(reason.contains(said), "{reason}");
        assert!(matches!(store.status().health, Health::ReadOnly(_)));
        assert!(matches!(store.put(subscription("b")).wait(), Err(StoreError::ReadOnly(_))));
        assert_eq!(all(&store), 50, "reads go on");
    };
    check(|path| fs::remove_file(path).unwrap(), "was deleted");
    check(
        |path| {
            fs::remove_file(path).unwrap();
            fs::write(path, "something else").unwrap();
        },
        "was replaced",
    );
}

#[test]
fn room_is_held_in_reserve() {
    let (_folder, path) = folder();
    let reserve = path.with_file_name("store.db.reserve");
    drop(sample(&path));
    assert_eq!(fs::metadata(&reserve).unwrap().len(), 256 * 1024);
    // A start that fails gives it up for a second attempt, whatever comes of that.
    fs::write(&path, "not a store at all, but long enough to look like one".repeat(100)).unwrap();
    assert!(Sqlite::open(&path, Limits::default()).is_err());
    fs::remove_file(&path).unwrap();
    drop(open(&path));
    assert!(reserve.exists(), "it is taken again");
}
