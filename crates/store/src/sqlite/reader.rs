//! The threads that read: each has a connection of its own, and none waits for the writer.
//!
//! A read is short, one page, and ends its statement: an open one would keep the write-ahead log from being reset.

use std::cell::RefCell;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use stentor_model::{Offset, WebhookId};

use super::command::{Command, Read};
use super::cut;
use super::fault::fault;
use super::query::{self, Extent, Names};
use super::register::ACTIVE;
use super::shared::Shared;
use crate::{
    DeadId, DeadPublication, Entry, Hub, HubTopic, Page, ReadLimit, Recipient, Scope, StoreError, Subscription, Trimmed,
};

/// Rows that a listing looks at while it holds a statement, when most of them belong to others.
const LIST_ENTRIES_MAX: usize = 10_000;

/// One thread's state.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) connection: Connection,
    /// Only this thread looks at them; the cell is there because a read borrows the connection meanwhile.
    pub(super) names: RefCell<Names>,
    pub(super) shared: Arc<Shared>,
    pub(super) commands: Arc<Mutex<Receiver<Read>>>,
    /// Where plans for cutting go.
    pub(super) writer: SyncSender<Command>,
}

impl Reader {
    /// Works until the store is dropped.
    pub(super) fn run(mut self) {
        loop {
            // The lock is held while waiting: the others wait for the lock instead, which is the same.
            let command = self.commands.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(command) = command else { return };
            self.serve(command);
        }
    }

    /// Each answer goes straight to who asked. One who has gone meanwhile costs the read and no more.
    fn serve(&mut self, command: Read) {
        match command {
            Read::Topic(topic, after, limit, answer) => answer.complete(self.judged(self.topic(&topic, after, limit))),
            Read::Tail(after, limit, answer) => answer.complete(self.judged(self.tail(after, limit))),
            Read::Newest(topic, answer) => answer.complete(self.judged(self.newest(&topic))),
            Read::Keyed(hub, key, now, answer) => {
                let found = self.judged(query::keyed(&self.connection, &hub, key.as_str()));
                answer.complete(found.and_then(|found| match (found, key.likeness()) {
                    (Some(kept), Some(likeness)) => kept.judge(likeness, now),
                    _ => Ok(None),
                }));
            }
            Read::Get(id, answer) => {
                let found = self.subscriptions("WHERE s.id = ?1", params![id.0.cast_signed()]);
                answer.complete(self.judged(found.map(|mut found| found.pop())));
            }
            Read::Find(topic, callback, answer) => answer.complete(self.judged(self.find(&topic, &callback))),
            Read::List(scope, after, entries, answer) => {
                answer.complete(self.judged(self.list(&scope, after, entries)));
            }
            Read::Recipients(hub, after, entries, answer) => {
                answer.complete(self.judged(self.recipients(&hub, after, entries)));
            }
            Read::ListDead(scope, after, entries, answer) => {
                answer.complete(self.judged(self.list_dead(&scope, after, entries)));
            }
            Read::Dead(id, answer) => answer.complete(self.judged(self.dead(id))),
            Read::Plan(now, answer) => match self.judged(cut::plan(&self.connection, &self.shared, now)) {
                Ok(plan) => self.hand_over(plan, answer),
                Err(error) => answer.complete(Err(error)),
            },
        }
    }

    /// The plan goes to the end of the writer's queue, like everything else that changes the file.
    fn hand_over(&self, plan: cut::Plan, answer: crate::Completer<Trimmed>) {
        self.shared.queue_entries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let Err(error) = self.writer.try_send(Command::Cut(plan, answer)) else { return };
        self.shared.queue_entries.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        if let TrySendError::Full(Command::Cut(_, answer)) = error {
            answer.complete(Err(StoreError::Busy));
        }
    }

    fn judged<T>(&self, result: rusqlite::Result<T>) -> Result<T, StoreError> {
        result.map_err(fault).inspect_err(|error| self.observe(error))
    }

    /// A file that is damaged where it is read must not be written any more.
    fn observe(&self, error: &StoreError) {
        if matches!(error, StoreError::Corrupt(_)) {
            self.shared.observe(error);
        }
    }

    /// The publications of a topic behind an offset.
    fn topic(&self, topic: &HubTopic, after: Offset, limit: ReadLimit) -> rusqlite::Result<Page> {
        // One view for both statements: between them something could be cut.
        let view = self.connection.unchecked_transaction()?;
        let mut page = Page { entries: Vec::new(), gap: None, has_more: false, epoch: self.shared.epoch };
        let Some(extent) = Extent::find(&view, topic)? else { return Ok(page) };
        let passed = query::sequence_at(&view, extent, after)?;
        let sql = "SELECT * FROM pub WHERE topic = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
        (page.entries, page.has_more) = self.entries(&view, sql, (extent.topic.cast_signed(), passed.0), limit)?;
        page.gap = (after.get() < extent.cut_pub).then_some(Offset::new(extent.cut_pub));
        Ok(page)
    }

    /// The publications of all topics behind an offset, in the order of the file itself.
    fn tail(&self, after: Offset, limit: ReadLimit) -> rusqlite::Result<Page> {
        let view = self.connection.unchecked_transaction()?;
        let sql = "SELECT * FROM pub WHERE id > ?2 AND ?1 = 0 ORDER BY id LIMIT ?3";
        let (entries, has_more) = self.entries(&view, sql, (0, after.get()), limit)?;
        // Every number was given, so the ones that are missing were cut.
        let mut expected = after.get();
        let mut gap = None;
        for entry in &entries {
            if entry.offset.get() != expected + 1 {
                gap = Some(Offset::new(entry.offset.get() - 1));
            }
            expected = entry.offset.get();
        }
        Ok(Page { entries, gap, has_more, epoch: self.shared.epoch })
    }

    /// The newest publication of a topic, which is there as soon as anything was published.
    fn newest(&self, topic: &HubTopic) -> rusqlite::Result<Option<Entry>> {
        let view = self.connection.unchecked_transaction()?;
        let Some(extent) = Extent::find(&view, topic)? else { return Ok(None) };
        let sql = "SELECT * FROM pub WHERE topic = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3";
        let limit = ReadLimit { entries: 1, bytes: u64::MAX };
        self.entries(&view, sql, (extent.topic.cast_signed(), extent.last_seq), limit).map(|(mut found, _)| found.pop())
    }

    /// What can be read of what a statement finds, and whether there is more. See [`query::entries`].
    fn entries(
        &self,
        view: &Connection,
        sql: &str,
        from: (i64, u64),
        limit: ReadLimit,
    ) -> rusqlite::Result<(Vec<Entry>, bool)> {
        let found = query::entries(view, sql, from, limit, &mut self.names.borrow_mut())?;
        if let Some(error) = found.fault {
            self.observe(&fault(error));
        }
        Ok((found.entries, found.has_more))
    }

    /// The subscriptions that a condition finds. What has moved since the latest flush is in memory only, so it is asked first.
    fn subscriptions(&self, condition: &str, values: &[&dyn rusqlite::ToSql]) -> rusqlite::Result<Vec<Subscription>> {
        self.subscriptions_of(condition, values, |_| true).map(|(found, _)| found)
    }

    /// The same, without those of topics that are not wanted; and the last that was looked at.
    fn subscriptions_of(
        &self,
        condition: &str,
        values: &[&dyn rusqlite::ToSql],
        is_wanted: impl Fn(&HubTopic) -> bool,
    ) -> rusqlite::Result<(Vec<Subscription>, Option<WebhookId>)> {
        let mut names = self.names.borrow_mut();
        let (mut found, mut last) = (Vec::new(), None);
        let mut statement = self.connection.prepare_cached(&format!("{} {condition}", query::SUBSCRIPTION))?;
        let mut rows = statement.query(values)?;
        while let Some(row) = rows.next()? {
            let id = WebhookId(query::number(row, 0)?);
            last = Some(id);
            let topic = names.get(&self.connection, query::number(row, 1)?)?;
            if !is_wanted(&topic) {
                continue;
            }
            // Removed while we read.
            let Some((position, outcome)) = self.shared.cursors.look(id) else { continue };
            let mut subscription = query::subscription(row, topic, position)?;
            if outcome.is_some() {
                subscription.outcome = outcome;
            }
            found.push(subscription);
        }
        Ok((found, last))
    }

    /// The index on (topic, callback) leads here; no other row is looked at.
    fn find(&self, topic: &HubTopic, callback: &str) -> rusqlite::Result<Option<Subscription>> {
        let Some(number) = self.number(topic)? else { return Ok(None) };
        let found = self.subscriptions("WHERE s.topic = ?1 AND callback = ?2", params![number, callback])?;
        Ok(found.into_iter().next())
    }

    /// The number of a topic, if anybody has published on it or subscribed to it.
    fn number(&self, topic: &HubTopic) -> rusqlite::Result<Option<i64>> {
        self.connection
            .prepare_cached("SELECT topic.id FROM hub JOIN topic ON topic.hub = hub.id WHERE name = ? AND url = ?")?
            .query_row([topic.hub.as_str(), topic.topic.as_str()], |row| row.get(0))
            .optional()
    }

    fn list(&self, scope: &Scope, after: WebhookId, entries: usize) -> rusqlite::Result<Vec<Subscription>> {
        let limit = entries.min(LIST_ENTRIES_MAX).cast_signed() as i64;
        let mut after = after.0.cast_signed();
        let all = "WHERE s.id > ?1 ORDER BY s.id LIMIT ?2";
        match scope {
            Scope::All => self.subscriptions(all, params![after, limit]),
            // Judged row by row: a condition would look up the topic of each, and few stores have more than one hub.
            Scope::Hub(hub) => loop {
                let is_wanted = |topic: &HubTopic| topic.hub == *hub;
                match self.subscriptions_of(all, params![after, limit], is_wanted)? {
                    (found, Some(last)) if found.is_empty() => after = last.0.cast_signed(),
                    (found, _) => return Ok(found),
                }
            },
            Scope::Topic(topic) => {
                let Some(number) = self.number(topic)? else { return Ok(Vec::new()) };
                let condition = "WHERE s.id > ?1 AND s.topic = ?3 ORDER BY s.id LIMIT ?2";
                self.subscriptions(condition, params![after, limit, number])
            }
        }
    }

    /// Pages of those of all hubs, of which at least one row is this hub's, or the last page.
    fn recipients(&self, hub: &Hub, after: WebhookId, entries: usize) -> rusqlite::Result<Vec<Recipient>> {
        let limit = entries.min(LIST_ENTRIES_MAX);
        let mut names = self.names.borrow_mut();
        let mut found = Vec::with_capacity(limit);
        let mut after = after.0.cast_signed();
        let mut statement = self.connection.prepare_cached(query::RECIPIENT)?;
        loop {
            let (mut rows, mut count) = (statement.query(params![after, limit.cast_signed() as i64, ACTIVE])?, 0);
            while let Some(row) = rows.next()? {
                count += 1;
                let id = WebhookId(query::number(row, 0)?);
                after = id.0.cast_signed();
                let topic = names.get(&self.connection, query::number(row, 1)?)?;
                if topic.hub == *hub
                    // Otherwise removed while we read.
                    && let Some(position) = self.shared.cursors.position(id)
                {
                    found.push(query::recipient(row, id, topic, position)?);
                }
            }
            if count == 0 || !found.is_empty() {
                return Ok(found);
            }
        }
    }

    /// There are DEAD_MAX of them at most, so the scope is judged row by row.
    fn list_dead(&self, scope: &Scope, after: DeadId, entries: usize) -> rusqlite::Result<Vec<DeadPublication>> {
        let mut names = self.names.borrow_mut();
        let mut found = Vec::new();
        let mut statement = self.connection.prepare_cached(&format!("{} WHERE id > ? ORDER BY id", query::DEAD))?;
        let mut rows = statement.query([after.0.cast_signed()])?;
        while found.len() < entries
            && let Some(row) = rows.next()?
        {
            let topic = names.get(&self.connection, query::number(row, 1)?)?;
            if scope.has(&topic) {
                found.push(query::dead(row, topic)?);
            }
        }
        Ok(found)
    }

    fn dead(&self, id: DeadId) -> rusqlite::Result<Option<DeadPublication>> {
        let mut statement = self.connection.prepare_cached(&format!("{} WHERE id = ?", query::DEAD))?;
        let mut rows = statement.query([id.0.cast_signed()])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let topic = query::topic(&self.connection, query::number(row, 1)?)?;
        query::dead(row, topic).map(Some)
    }
}

/// Answers a read that no reader takes.
pub(super) fn refuse(command: Read, error: StoreError) {
    match command {
        Read::Topic(.., answer) | Read::Tail(.., answer) => answer.complete(Err(error)),
        Read::Newest(_, answer) => answer.complete(Err(error)),
        Read::Keyed(.., answer) => answer.complete(Err(error)),
        Read::Get(_, answer) | Read::Find(.., answer) => answer.complete(Err(error)),
        Read::List(.., answer) => answer.complete(Err(error)),
        Read::Recipients(.., answer) => answer.complete(Err(error)),
        Read::ListDead(.., answer) => answer.complete(Err(error)),
        Read::Dead(_, answer) => answer.complete(Err(error)),
        Read::Plan(_, answer) => answer.complete(Err(error)),
    }
}
