//! The store in one SQLite file: one thread writes, some read, and a lock file keeps a second process away.
//!
//! This module starts the threads and hands them what is asked for. `ledger` and `register` know what is written,
//! `query` how it is read back, `writer` when it is committed.

mod backup;
mod birth;
mod check;
mod command;
mod cut;
mod fault;
mod ledger;
mod path;
mod presence;
mod query;
mod reader;
mod recent;
mod register;
mod reserve;
mod schema;
mod shared;
mod sum;
mod writer;

use std::cell::RefCell;
use std::fs::{File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, ErrorCode};
use stentor_model::{Epoch, Offset, WebhookId};

pub use backup::backup;
pub use check::{Report, check};
pub use path::resolve;

use birth::Birth;
use command::{Command, Read, Write};
use fault::{fault, io};
use ledger::Ledger;
use presence::Presence;
use reader::Reader;
use reserve::Reserve;
use schema::Role;
use shared::Shared;
use writer::{Places, Writer};

use crate::cursor::{self, Cursor};
use crate::follow::Follow;
use crate::{
    Burial, Capabilities, Claim, Completer, Cursors, DeadId, DeadPublication, DeadPublications, Draft, Entry, Health,
    Hub, HubTopic, IdempotencyKey, LastOutcome, Limit, Limits, Log, NewSubscription, Page, Pending, Pin, Placed,
    ReadLimit, Receipt, Recipient, Scope, State, Status, Store, StoreError, Subscription, Subscriptions, Timestamp,
    Trimmed,
};

/// Threads that read. One can be held up by a page that has to come from the disk; two keep the other readers going.
const READERS: usize = 2;

/// Reads that wait for a thread. They come from bounded numbers of deliveries and streams; more is refused as busy.
const READ_QUEUE_MAX: usize = 4096;

/// A store in a file.
///
/// Dropping it ends its threads after what was asked for, without flushing the cursors, as a crash would. [`Store::close`]
/// flushes.
#[derive(Debug)]
pub struct Sqlite {
    /// As [`resolve`] gives it.
    path: PathBuf,
    shared: Arc<Shared>,
    /// `None` only while it is dropped.
    writer: Option<SyncSender<Command>>,
    reader: Option<SyncSender<Read>>,
    threads: Vec<JoinHandle<()>>,
    /// Held until the threads have ended.
    _lock: File,
}

impl Sqlite {
    /// Opens the store, or creates it. The folder must be there and on a local disk.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::Unfit`], or what the file system says.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, StoreError> {
        // Whoever starts the node next comes by the path as it is written, so that one is watched.
        let name = path;
        let path = &resolve(name)?;
        let lock = lock(path)?;
        let birth = Birth::of(path)?;
        let reserve = Reserve::beside(path);
        let ledger = match prepare(path, &limits, &birth) {
            // A disk without any room shows itself in many ways.
            Err(StoreError::Full(Limit::Disk) | StoreError::Failed(_)) if reserve.give() => {
                prepare(path, &limits, &birth)?
            }
            other => other?,
        };
        birth.end()?;
        let presence = Presence::of(name).map_err(io)?;
        Self::start(ledger, Places { path: path.clone(), presence, reserve }, lock)
    }

    /// The connections are opened here and not by their threads, so that whoever opens the store hears of a failure.
    fn start(ledger: Ledger, places: Places, lock: File) -> Result<Self, StoreError> {
        let path = places.path.clone();
        let shared = Arc::clone(&ledger.shared);
        let (writer, commands) = mpsc::sync_channel(shared.limits.queue_entries_max);
        let (reader, reads) = mpsc::sync_channel(READ_QUEUE_MAX);
        let reads = Arc::new(Mutex::new(reads));
        let mut threads = Vec::new();
        for _ in 0..READERS {
            let connection = schema::connect(&path, Role::Reader)?;
            let (shared, commands, writer) = (Arc::clone(&shared), Arc::clone(&reads), writer.clone());
            let reader = Reader { connection, names: RefCell::default(), shared, commands, writer };
            threads.push(spawn("store-reader", move || reader.run())?);
        }
        if places.reserve.take().is_err_and(|error| matches!(io(error), StoreError::Full(Limit::Disk))) {
            shared.set_health(Health::DiskFull);
        }
        let work = Writer::new(ledger, places, commands);
        threads.push(spawn("store-writer", move || work.run())?);
        Ok(Self { path, shared, writer: Some(writer), reader: Some(reader), threads, _lock: lock })
    }

    /// Copies the store into a new file while it works on. See [`backup()`].
    ///
    /// # Errors
    /// When the file is there already, or cannot be written.
    pub fn backup(&self, to: &Path) -> Result<(), StoreError> {
        backup(&self.path, to)
    }

    /// Hands the writer a command, or answers it at once when the writer cannot take it. It never blocks.
    fn order(&self, command: Command) {
        let Some(writer) = &self.writer else { return };
        self.shared.queue_entries.fetch_add(1, Ordering::Relaxed);
        let Err(refused) = writer.try_send(command) else { return };
        self.shared.queue_entries.fetch_sub(1, Ordering::Relaxed);
        let (command, error) = match refused {
            TrySendError::Full(command) => (command, StoreError::Busy),
            TrySendError::Disconnected(command) => (command, StoreError::Closed),
        };
        match command {
            Command::Write(write) => {
                self.shared.queue_bytes.fetch_sub(write.weight(), Ordering::Relaxed);
                write.answer(Err(error));
            }
            Command::Flush(answer) => answer.complete(Err(error)),
            Command::Cut(_, answer) => answer.complete(Err(error)),
            Command::Close(answer) => answer.complete(Err(error)),
        }
    }

    /// Counts the octets before they wait: a queue that is bounded in entries alone could hold gigabytes.
    fn write<T>(&self, write: impl FnOnce(Completer<T>) -> Write) -> Pending<T> {
        if let Err(error) = self.shared.writable() {
            return Pending::ready(Err(error));
        }
        let (completer, pending) = Pending::new();
        let write = write(completer);
        let weight = write.weight();
        if self.shared.queue_bytes.fetch_add(weight, Ordering::Relaxed) + weight > self.shared.limits.queue_bytes_max {
            self.shared.queue_bytes.fetch_sub(weight, Ordering::Relaxed);
            write.answer(Err(StoreError::Busy));
        } else {
            self.order(Command::Write(write));
        }
        pending
    }

    /// Hands the readers a command, or answers it at once.
    fn query<T>(&self, read: impl FnOnce(Completer<T>) -> Read) -> Pending<T> {
        let (completer, pending) = Pending::new();
        let read = read(completer);
        let Some(reader) = self.reader.as_ref().filter(|_| !self.shared.closed.load(Ordering::Acquire)) else {
            reader::refuse(read, StoreError::Closed);
            return pending;
        };
        match reader.try_send(read) {
            Ok(()) => {}
            Err(TrySendError::Full(read)) => reader::refuse(read, StoreError::Busy),
            Err(TrySendError::Disconnected(read)) => reader::refuse(read, StoreError::Closed),
        }
        pending
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        // The readers hand plans to the writer, so it ends when they and we have let go of it.
        (self.reader, self.writer) = (None, None);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so, and its callers were answered that the store is closed.
            let _ = thread.join();
        }
    }
}

/// The lock of a path that was resolved. It stands beside the file and not on it: SQLite has locks of its own there, which closing
/// another handle of the same process would release.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(name).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

/// The connection that writes, and what the file says.
fn prepare(path: &Path, limits: &Limits, birth: &Birth) -> Result<Ledger, StoreError> {
    let mut connection = schema::connect(path, Role::Writer(limits.file_bytes_max))?;
    if !birth.is_under_way() && schema::version(&connection)? == 0 {
        return Err(StoreError::Unfit(birth::NOTHING_IN_IT.into()));
    }
    schema::migrate(&mut connection)?;
    let shared = Arc::new(load(&mut connection, limits.clone()).map_err(fault)?);
    Ledger::new(connection, shared)
}

/// The epoch of the log, and which life of the store this is.
fn begin_life(connection: &mut Connection) -> rusqlite::Result<(i64, i64)> {
    let known = schema::meta(connection, "epoch")?;
    let generation = schema::meta(connection, "generation")? + 1;
    // A new file, or a copy that was made by `backup`.
    let epoch = if known == 0 { RandomState::new().build_hasher().finish().max(1).cast_signed() } else { known };
    let written = connection.transaction().and_then(|transaction| {
        schema::set_meta(&transaction, "epoch", epoch)?;
        schema::set_meta(&transaction, "generation", generation)?;
        transaction.commit()
    });
    match written {
        // Claims are told apart by it, and no claim outlives its process: a log that is known can be read on a full disk.
        Err(error) if known != 0 && error.sqlite_error_code() == Some(ErrorCode::DiskFull) => Ok((known, generation)),
        other => other.map(|()| (epoch, generation)),
    }
}

/// What the file says about where the log ends and how far the cursors got.
fn load(connection: &mut Connection, limits: Limits) -> rusqlite::Result<Shared> {
    let (epoch, generation) = begin_life(connection)?;
    let (end, log_bytes) = ledger::extent(connection)?;
    // Four billion starts; after them the claims of the first life could be mistaken for those of this one.
    let cursors = cursor::Cursors::new(generation as u32);
    let mut statement = connection.prepare("SELECT id, topic, position, holds FROM cur")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let position = Offset::new(query::number(row, 2)?);
        let cursor = Cursor { topic: query::number(row, 1)?, position, holds: row.get(3)? };
        cursors.insert(WebhookId(query::number(row, 0)?), cursor);
    }
    let follow = Follow::new(Offset::new(end));
    Ok(Shared::new(limits, Epoch(epoch.cast_unsigned()), cursors, follow, log_bytes))
}

/// Named, so that the threads can be told apart in what the system shows.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(io)
}

impl Log for Sqlite {
    fn append(&self, draft: Draft) -> Pending<Receipt> {
        match draft.judge() {
            Err(error) => Pending::ready(Err(error)),
            Ok(()) => self.write(|answer| Write::Append(Box::new(draft), answer)),
        }
    }

    fn keyed(&self, hub: &Hub, key: &IdempotencyKey, now: Timestamp) -> Pending<Option<Receipt>> {
        self.query(|answer| Read::Keyed(hub.clone(), key.clone(), now, answer))
    }

    fn read(&self, topic: &HubTopic, after: Offset, limit: ReadLimit) -> Pending<Page> {
        self.query(|answer| Read::Topic(topic.clone(), after, limit, answer))
    }

    fn tail(&self, after: Offset, limit: ReadLimit) -> Pending<Page> {
        let is_open = !self.shared.closed.load(Ordering::Acquire);
        match self.shared.recent.behind(after, limit).filter(|_| is_open) {
            Some((entries, has_more)) => Pending::ready(Ok(Page { entries, gap: None, has_more, epoch: self.epoch() })),
            None => self.query(|answer| Read::Tail(after, limit, answer)),
        }
    }

    fn newest(&self, topic: &HubTopic) -> Pending<Option<Entry>> {
        self.query(|answer| Read::Newest(topic.clone(), answer))
    }

    fn end(&self) -> Offset {
        self.shared.follow.end()
    }

    fn pin(&self) -> Pin {
        self.shared.follow.pin()
    }

    fn beyond(&self, after: Offset) -> Pending<Offset> {
        self.shared.follow.beyond(after)
    }

    fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    fn trim(&self, now: Timestamp) -> Pending<Trimmed> {
        match self.shared.writable() {
            Err(error) => Pending::ready(Err(error)),
            Ok(()) => self.query(|answer| Read::Plan(now, answer)),
        }
    }
}

impl Subscriptions for Sqlite {
    fn put(&self, wanted: NewSubscription) -> Pending<Placed> {
        match wanted.judge() {
            Err(error) => Pending::ready(Err(error)),
            Ok(()) => self.write(|answer| Write::Put(Box::new(wanted), answer)),
        }
    }

    fn set_state(&self, id: WebhookId, state: State) -> Pending<()> {
        self.write(|answer| Write::SetState(id, state, answer))
    }

    fn remove(&self, id: WebhookId) -> Pending<()> {
        self.write(|answer| Write::Remove(id, answer))
    }

    fn get(&self, id: WebhookId) -> Pending<Option<Subscription>> {
        self.query(|answer| Read::Get(id, answer))
    }

    fn find(&self, topic: &HubTopic, callback: &str) -> Pending<Option<Subscription>> {
        self.query(|answer| Read::Find(topic.clone(), callback.into(), answer))
    }

    fn list(&self, scope: &Scope, after: WebhookId, entries: usize) -> Pending<Vec<Subscription>> {
        self.query(|answer| Read::List(scope.clone(), after, entries, answer))
    }

    fn recipients(&self, hub: &Hub, after: WebhookId, entries: usize) -> Pending<Vec<Recipient>> {
        self.query(|answer| Read::Recipients(hub.clone(), after, entries, answer))
    }
}

impl Cursors for Sqlite {
    fn claim(&self, id: WebhookId) -> Pending<Claim> {
        Pending::ready(self.shared.cursors.claim(id))
    }

    fn advance(&self, claim: &Claim, to: Offset) -> Result<(), StoreError> {
        // A cursor behind the end would skip what has yet to come.
        self.shared.cursors.advance(claim, to.min(self.end()))
    }

    fn note(&self, claim: &Claim, outcome: LastOutcome) -> Result<(), StoreError> {
        self.shared.cursors.note(claim, outcome)
    }

    fn flush(&self) -> Pending<usize> {
        if let Err(error) = self.shared.writable() {
            return Pending::ready(Err(error));
        }
        let (completer, pending) = Pending::new();
        self.order(Command::Flush(completer));
        pending
    }
}

impl DeadPublications for Sqlite {
    fn bury(&self, claim: &Claim, burial: Burial) -> Pending<DeadId> {
        match self.shared.cursors.judge(claim) {
            Err(error) => Pending::ready(Err(error)),
            Ok(()) => self.write(|answer| Write::Bury(claim.id(), burial, answer)),
        }
    }

    fn list_dead(&self, scope: &Scope, after: DeadId, entries: usize) -> Pending<Vec<DeadPublication>> {
        self.query(|answer| Read::ListDead(scope.clone(), after, entries, answer))
    }

    fn dead(&self, id: DeadId) -> Pending<Option<DeadPublication>> {
        self.query(|answer| Read::Dead(id, answer))
    }

    fn forget_dead(&self, id: DeadId) -> Pending<()> {
        self.write(|answer| Write::ForgetDead(id, answer))
    }
}

impl Store for Sqlite {
    fn capabilities(&self) -> Capabilities {
        Capabilities { survives_process: true, shared: false }
    }

    fn status(&self) -> Status {
        Status {
            health: self.health(),
            log_bytes: self.shared.log_bytes.load(Ordering::Relaxed),
            end: self.end(),
            subscriptions: self.shared.cursors.len(),
            cursors_unflushed: self.shared.cursors.unflushed(),
            dead_forgotten: self.shared.dead_forgotten.load(Ordering::Relaxed),
            queue_entries: self.shared.queue_entries.load(Ordering::Relaxed),
        }
    }

    fn health(&self) -> Health {
        self.shared.health()
    }

    fn close(&self) -> Pending<()> {
        if self.shared.closed.swap(true, Ordering::AcqRel) {
            return Pending::ready(Err(StoreError::Closed));
        }
        let (completer, pending) = Pending::new();
        self.order(Command::Close(completer));
        pending
    }
}
