//! Changes of subscriptions and of dead publications, within a transaction of the [`Ledger`].

use rusqlite::{OptionalExtension, params};
use stentor_model::{Offset, WebhookId};

use super::ledger::{Fault, Ledger};
use crate::cursor::Cursor;
use crate::subscription::clipped;
use crate::{Burial, DEAD_MAX, DeadId, NewSubscription, Placed, State, StoreError};

/// What a change means for the cursors in memory. Drawn after the commit: a cursor that was not written does not exist.
#[derive(Debug)]
pub(super) enum Effect {
    Insert(WebhookId, Cursor),
    Hold(WebhookId),
    Release(WebhookId),
    Remove(WebhookId),
}

/// The numbers of [`State`] in the file.
pub(super) const ACTIVE: i64 = 0;
pub(super) const DENIED: i64 = 1;
pub(super) const GONE: i64 = 2;

impl Ledger {
    /// Enters a subscription, or renews the one that this callback has to this topic.
    pub(super) fn put(&mut self, wanted: &NewSubscription) -> Result<(Placed, Vec<Effect>), Fault> {
        let topic = self.place(&wanted.topic)?.topic;
        let found = self
            .connection
            .prepare_cached("SELECT id, state FROM sub WHERE topic = ? AND callback = ?")?
            .query_row(params![topic.cast_signed(), &*wanted.callback], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            })
            .optional()?;
        // A cursor never stands behind the end, where offsets have yet to be given.
        let position = wanted.after.min(Offset::new(self.end));
        let cursor = Cursor { topic, position, holds: true };
        let id = |raw: i64| WebhookId(raw.cast_unsigned());
        match found {
            None => {
                let raw = self.insert(wanted, topic.cast_signed())?;
                self.set_cursor(raw, cursor)?;
                Ok((Placed::New(id(raw)), vec![Effect::Insert(id(raw), cursor)]))
            }
            Some((raw, ACTIVE)) => {
                self.renew(wanted, raw)?;
                Ok((Placed::Renewed(id(raw)), Vec::new()))
            }
            Some((raw, _)) => {
                self.renew(wanted, raw)?;
                self.set_cursor(raw, cursor)?;
                Ok((Placed::Revived(id(raw)), vec![Effect::Insert(id(raw), cursor)]))
            }
        }
    }

    /// The identifier is the one that SQLite draws; AUTOINCREMENT sees to it that none comes twice.
    fn insert(&self, wanted: &NewSubscription, topic: i64) -> rusqlite::Result<i64> {
        self.connection
            .prepare_cached(
                "INSERT INTO sub(topic, callback, secret, identity, extras, created, verified, lease_end, state)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                topic,
                &*wanted.callback,
                wanted.secret.as_ref().map(|secret| secret.expose()),
                wanted.identity.as_deref(),
                crate::extras::encode(&wanted.extras),
                wanted.created.0.cast_signed(),
                wanted.verified.map(|at| at.0.cast_signed()),
                wanted.lease_end.0.cast_signed(),
                ACTIVE,
            ])?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Everything but whose it is, when it was created, and where it stands.
    fn renew(&self, wanted: &NewSubscription, id: i64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "UPDATE sub SET secret = ?, identity = ?, extras = ?, verified = ?, lease_end = ?, state = ?, reason = NULL
                 WHERE id = ?",
            )?
            .execute(params![
                wanted.secret.as_ref().map(|secret| secret.expose()),
                wanted.identity.as_deref(),
                crate::extras::encode(&wanted.extras),
                wanted.verified.map(|at| at.0.cast_signed()),
                wanted.lease_end.0.cast_signed(),
                ACTIVE,
                id,
            ])
            .map(drop)
    }

    /// Puts a cursor where it is told to, backwards too. Only for subscriptions that begin.
    fn set_cursor(&self, id: i64, cursor: Cursor) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO cur(id, topic, position, holds) VALUES (?, ?, ?, ?)")?
            .execute(params![id, cursor.topic.cast_signed(), cursor.position.get().cast_signed(), cursor.holds])
            .map(drop)
    }

    /// Only an active subscription holds the log. That stands beside the cursor as well, so that a start reads the narrow
    /// table alone.
    pub(super) fn set_state(&self, id: WebhookId, state: &State) -> Result<Effect, Fault> {
        let raw = id.0.cast_signed();
        let (number, reason) = match state {
            State::Active => (ACTIVE, None),
            State::Denied { reason } => (DENIED, Some(clipped(reason))),
            State::Gone { reason } => (GONE, Some(clipped(reason))),
        };
        let mut change = self.connection.prepare_cached("UPDATE sub SET state = ?, reason = ? WHERE id = ?")?;
        if change.execute(params![number, reason, raw])? == 0 {
            return Err(Fault::Refused(StoreError::Unknown(id)));
        }
        let holds = number == ACTIVE;
        self.connection.prepare_cached("UPDATE cur SET holds = ? WHERE id = ?")?.execute(params![holds, raw])?;
        Ok(if holds { Effect::Hold(id) } else { Effect::Release(id) })
    }

    /// Its dead publications stay: they are what somebody may still want to look at.
    pub(super) fn remove(&self, id: WebhookId) -> rusqlite::Result<Effect> {
        for sql in ["DELETE FROM sub WHERE id = ?", "DELETE FROM cur WHERE id = ?", "DELETE FROM outcome WHERE id = ?"]
        {
            self.connection.prepare_cached(sql)?.execute([id.0.cast_signed()])?;
        }
        Ok(Effect::Remove(id))
    }

    /// Copies the publication within the file, so that its content never passes through this process.
    pub(super) fn bury(&mut self, id: WebhookId, burial: &Burial) -> Result<DeadId, Fault> {
        let (sub, offset) = (id.0.cast_signed(), burial.offset.get().cast_signed());
        let entered = self
            .connection
            .prepare_cached(
                "INSERT INTO dead(sub, topic, pub, seq, name, at, content_type, extras, body, buried, attempts, reason, sum)
                 SELECT ?1, topic, id, seq, name, at, content_type, extras, body, ?3, ?4, ?5, sum FROM pub WHERE id = ?2
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![sub, offset, burial.at.0.cast_signed(), burial.attempts, clipped(&burial.reason)])?;
        let found = self
            .connection
            .prepare_cached("SELECT id FROM dead WHERE sub = ? AND pub = ?")?
            .query_row([sub, offset], |row| row.get::<_, i64>(0))
            .optional()?;
        let found = found.ok_or(Fault::Refused(StoreError::Missing(burial.offset)))?;
        self.dead += entered as u64;
        if self.dead > DEAD_MAX {
            let mut forget =
                self.connection.prepare_cached("DELETE FROM dead WHERE id = (SELECT min(id) FROM dead)")?;
            let gone = forget.execute([])? as u64;
            (self.dead, self.dead_forgotten) = (self.dead - gone, self.dead_forgotten + gone);
        }
        Ok(DeadId(found.cast_unsigned()))
    }

    /// Nothing, if it is not there.
    pub(super) fn forget_dead(&mut self, id: DeadId) -> rusqlite::Result<()> {
        let mut forget = self.connection.prepare_cached("DELETE FROM dead WHERE id = ?")?;
        self.dead -= forget.execute([id.0.cast_signed()])? as u64;
        Ok(())
    }
}

impl Effect {
    /// Draws it. Answers whether a plan for cutting that was made before may be wrong now.
    pub(super) fn apply(self, ledger: &Ledger) -> bool {
        let cursors = &ledger.shared.cursors;
        match self {
            Self::Insert(id, cursor) => {
                cursors.insert(id, cursor);
                cursor.position.get() < ledger.end
            }
            Self::Hold(id) => {
                cursors.set_holds(id, true);
                true
            }
            Self::Release(id) => {
                cursors.set_holds(id, false);
                false
            }
            Self::Remove(id) => {
                cursors.remove(id);
                false
            }
        }
    }
}
