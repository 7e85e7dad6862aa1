//! The one thread that writes.
//!
//! It takes whatever waits, makes one transaction of it, commits, and answers all: one wait for the disk serves everybody who
//! asked meanwhile. Cursors and cutting take turns of their own in between, in pieces, so that no publisher waits for long.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvError, TryRecvError};

use rusqlite::params;
use stentor_model::{Offset, WebhookId};

use super::command::{Command, Reply, Write};
use super::cut::Plan;
use super::fault::fault;
use super::ledger::{Fault, Ledger};
use super::presence::Presence;
use super::register::Effect;
use super::reserve::Reserve;
use super::shared::Shared;
use crate::cursor::Unflushed;
use crate::{Completer, Health, StoreError, Trimmed};

/// Changes of one transaction. More would not be faster, and the first would wait for the last.
const BATCH_ENTRIES_MAX: usize = 1024;

/// Octets of one transaction, which stand in memory twice meanwhile.
const BATCH_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Cursors of one turn: some ten milliseconds.
const FLUSH_ENTRIES: usize = 5000;

/// Cutting sits out while more changes than this arrive with each turn, but not more often than that.
const BUSY_ENTRIES: usize = 256;
const CUT_TURNS_SKIPPED_MAX: u32 = 8;

/// Work that is done in pieces.
#[derive(Debug)]
enum Chore {
    /// What is unflushed is taken with the first turn, when a flush before it has ended well or put everything back.
    Flush {
        unflushed: Option<Unflushed>,
        done: usize,
        answer: Completer<usize>,
    },
    Cut {
        plan: Plan,
        answer: Completer<Trimmed>,
        skipped: u32,
    },
}

/// The file, and what belongs to it.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) path: PathBuf,
    pub(super) presence: Presence,
    pub(super) reserve: Reserve,
}

/// The thread's state.
#[derive(Debug)]
pub(super) struct Writer {
    ledger: Ledger,
    shared: Arc<Shared>,
    places: Places,
    commands: Receiver<Command>,
    chores: VecDeque<Chore>,
    closing: Vec<Completer<()>>,
}

impl Writer {
    pub(super) fn new(ledger: Ledger, places: Places, commands: Receiver<Command>) -> Self {
        let shared = Arc::clone(&ledger.shared);
        Self { ledger, shared, places, commands, chores: VecDeque::new(), closing: Vec::new() }
    }

    /// Works until the store is closed or dropped.
    pub(super) fn run(mut self) {
        while self.closing.is_empty() {
            let Ok(batch) = self.next_batch() else { return self.shared.follow.close() };
            let entries = batch.len();
            self.write(batch);
            self.next_chore(entries);
        }
        self.close();
    }

    /// What waits, at least one change if there is no chore to do meanwhile.
    fn next_batch(&mut self) -> Result<Vec<Write>, RecvError> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH_ENTRIES_MAX && bytes < BATCH_BYTES_MAX {
            let idle = batch.is_empty() && self.chores.is_empty() && self.closing.is_empty();
            let command = if idle {
                self.commands.recv()?
            } else {
                match self.commands.try_recv() {
                    Ok(command) => command,
                    Err(TryRecvError::Empty) => break,
                    // What was taken is still done; the next turn comes back here without.
                    Err(TryRecvError::Disconnected) if batch.is_empty() && self.closing.is_empty() => {
                        return Err(RecvError);
                    }
                    Err(TryRecvError::Disconnected) => break,
                }
            };
            self.shared.queue_entries.fetch_sub(1, Ordering::Relaxed);
            match command {
                Command::Write(write) => {
                    bytes += write.weight();
                    batch.push(write);
                }
                Command::Flush(answer) => {
                    self.chores.push_back(Chore::Flush { unflushed: None, done: 0, answer });
                }
                Command::Cut(plan, answer) => self.chores.push_back(Chore::Cut { plan, answer, skipped: 0 }),
                Command::Close(answer) => self.closing.push(answer),
            }
        }
        Ok(batch)
    }

    /// One transaction for all of them.
    fn write(&mut self, batch: Vec<Write>) {
        if batch.is_empty() {
            return;
        }
        let bytes = batch.iter().map(Write::weight).sum();
        let result = self.shared.trusted().and_then(|()| self.present()).and_then(|()| self.transact(&batch));
        self.shared.queue_bytes.fetch_sub(bytes, Ordering::Relaxed);
        match result {
            Ok(replies) => {
                for (write, reply) in batch.into_iter().zip(replies) {
                    write.answer(reply);
                }
            }
            Err(error) => {
                for write in batch {
                    write.answer(Err(error.clone()));
                }
            }
        }
    }

    fn present(&self) -> Result<(), StoreError> {
        self.places.presence.judge().inspect_err(|error| self.shared.observe(error))
    }

    /// All of the batch or nothing of it. A refusal is part of "all": it changed nothing.
    fn transact(&mut self, batch: &[Write]) -> Result<Vec<Result<Reply, StoreError>>, StoreError> {
        let (mut replies, mut effects) = (Vec::with_capacity(batch.len()), Vec::new());
        let ledger = &mut self.ledger;
        let result = ledger.begin().and_then(|()| {
            for write in batch {
                match apply(ledger, write, &mut effects) {
                    Ok(reply) => replies.push(Ok(reply)),
                    Err(Fault::Refused(error)) => replies.push(Err(error)),
                    Err(Fault::Broken(error)) => return Err(error),
                }
            }
            ledger.commit()
        });
        self.settle(result)?;
        for effect in effects {
            if effect.apply(&self.ledger) {
                self.shared.plan.fetch_add(1, Ordering::AcqRel);
            }
        }
        Ok(replies)
    }

    /// After a transaction: what its failure means for those to come. Nobody of a failed one is acknowledged, and none is
    /// tried again here, since what a failed sync left on the disk is not known.
    fn settle(&mut self, result: rusqlite::Result<()>) -> Result<(), StoreError> {
        let Err(error) = result else {
            self.shared.set_health(Health::Well);
            return Ok(());
        };
        let error = fault(error);
        self.shared.observe(&error);
        let undone = self.ledger.roll_back();
        if matches!(error, StoreError::Failed(_)) || undone.is_err() {
            self.recover();
        }
        Err(error)
    }

    /// After this the store either goes on from what the disk has, or is read-only.
    fn recover(&mut self) {
        if let Err(error) = self.ledger.reopen(&self.places.path) {
            self.shared.set_health(Health::ReadOnly(format!("the file could not be opened again: {error}").into()));
        }
    }

    /// A piece of the first chore.
    fn next_chore(&mut self, entries: usize) {
        match self.chores.pop_front() {
            None => {}
            Some(Chore::Flush { unflushed, done, answer }) => {
                let unflushed = unflushed.unwrap_or_else(|| self.shared.cursors.take_unflushed());
                self.flush(unflushed, done, answer);
            }
            Some(Chore::Cut { plan, answer, skipped }) if entries > BUSY_ENTRIES && skipped < CUT_TURNS_SKIPPED_MAX => {
                // Behind the others, so that a flush need not wait for a quiet moment.
                self.chores.push_back(Chore::Cut { plan, answer, skipped: skipped + 1 });
            }
            Some(Chore::Cut { mut plan, answer, .. }) => {
                let result = self.ledger.begin().and_then(|()| plan.step(&mut self.ledger));
                let result = result.and_then(|()| self.ledger.commit());
                match self.settle(result) {
                    Err(error) => answer.complete(Err(error)),
                    Ok(()) if plan.is_over(&self.shared) => answer.complete(Ok(plan.done())),
                    Ok(()) => self.chores.push_back(Chore::Cut { plan, answer, skipped: 0 }),
                }
            }
        }
    }

    /// A run of neighbouring cursors, then the outcomes in the same way.
    fn flush(&mut self, mut unflushed: Unflushed, done: usize, answer: Completer<usize>) {
        let run = unflushed.moved.len().saturating_sub(FLUSH_ENTRIES);
        let positions: Vec<_> =
            unflushed.moved[run..].iter().filter_map(|id| Some((*id, self.shared.cursors.position(*id)?))).collect();
        let outcomes =
            if run == 0 { unflushed.outcomes.len().saturating_sub(FLUSH_ENTRIES) } else { unflushed.outcomes.len() };
        if positions.is_empty() && unflushed.outcomes[outcomes..].is_empty() && run == 0 {
            if done == 0 && self.shared.health() == Health::DiskFull {
                self.look_for_room();
            }
            return answer.complete(Ok(done));
        }
        let result = self.shared.trusted().and_then(|()| {
            let result = self.write_cursors(&positions, &unflushed.outcomes[outcomes..]);
            self.settle(result)
        });
        if let Err(error) = result {
            self.shared.cursors.put_back(unflushed);
            return answer.complete(Err(error));
        }
        self.shared.cursors.flushed(&positions);
        unflushed.moved.truncate(run);
        unflushed.outcomes.truncate(outcomes);
        let unflushed = Some(unflushed);
        self.chores.push_front(Chore::Flush { unflushed, done: done + positions.len(), answer });
    }

    /// Where nothing else is written, nobody would notice that the disk has room again.
    fn look_for_room(&mut self) {
        if self.places.reserve.has_room() && self.ledger.has_room().unwrap_or(false) {
            self.shared.set_health(Health::Well);
        }
    }

    /// One transaction. An outcome of a subscription that was removed meanwhile is dropped with it.
    fn write_cursors(
        &mut self,
        positions: &[(WebhookId, Offset)],
        outcomes: &[(WebhookId, crate::LastOutcome)],
    ) -> rusqlite::Result<()> {
        self.ledger.begin()?;
        let connection = &self.ledger.connection;
        let mut update = connection.prepare_cached("UPDATE cur SET position = ? WHERE id = ?")?;
        for (id, position) in positions {
            update.execute([position.get().cast_signed(), id.0.cast_signed()])?;
        }
        let mut note = connection.prepare_cached(
            "INSERT OR REPLACE INTO outcome SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM cur WHERE id = ?1)",
        )?;
        for (id, outcome) in outcomes {
            let text = crate::subscription::clipped(&outcome.text);
            note.execute(params![id.0.cast_signed(), outcome.at.0.cast_signed(), outcome.status, text])?;
        }
        drop((update, note));
        self.ledger.commit()
    }

    /// Everything that was asked for, then the cursors, then the write-ahead log into the file.
    fn close(mut self) {
        while let Ok(batch) = self.next_batch()
            && !batch.is_empty()
        {
            self.write(batch);
        }
        let (answer, _) = crate::Pending::new();
        self.chores.push_back(Chore::Flush { unflushed: None, done: 0, answer });
        while !self.chores.is_empty() {
            self.next_chore(0);
        }
        let result = match self.shared.cursors.unflushed() {
            0 => Ok(()),
            _ => Err(StoreError::ReadOnly("cursors could not be flushed".into())),
        };
        // Only saves time at the next start: what is committed is durable either way.
        let _ = self.ledger.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        self.shared.follow.close();
        drop(self.ledger);
        for answer in self.closing {
            answer.complete(result.clone());
        }
    }
}

/// From what is asked to what the ledger does.
fn apply(ledger: &mut Ledger, write: &Write, effects: &mut Vec<Effect>) -> Result<Reply, Fault> {
    Ok(match write {
        Write::Append(draft, _) => Reply::Receipt(ledger.append(draft)?),
        Write::Put(wanted, _) => {
            let (placed, drawn) = ledger.put(wanted)?;
            effects.extend(drawn);
            Reply::Placed(placed)
        }
        Write::SetState(id, state, _) => {
            effects.push(ledger.set_state(*id, state)?);
            Reply::Done
        }
        Write::Remove(id, _) => {
            effects.push(ledger.remove(*id)?);
            Reply::Done
        }
        Write::Bury(id, burial, _) => Reply::Dead(ledger.bury(*id, burial)?),
        Write::ForgetDead(id, _) => {
            ledger.forget_dead(*id)?;
            Reply::Done
        }
    })
}
