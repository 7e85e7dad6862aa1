//! The cursors in memory: claims, positions, and what is not yet flushed. Both stores use this table; where it is written
//! to is theirs.
//!
//! Some fifty octets for each subscription. The table is cut into shards, so that looking through all of it (for the
//! slowest cursors) never holds up a delivery for longer than one shard takes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use stentor_model::{IdMap, Offset, WebhookId};

use crate::{LastOutcome, StoreError};

const SHARDS: usize = 64;

/// The right to move one cursor, until somebody else claims it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    id: WebhookId,
    fence: u64,
    position: Offset,
}

impl Claim {
    /// The subscription.
    #[must_use]
    pub const fn id(&self) -> WebhookId {
        self.id
    }

    /// Where the cursor stood when it was claimed.
    #[must_use]
    pub const fn position(&self) -> Offset {
        self.position
    }
}

/// The number of a topic in a store.
pub(crate) type TopicNumber = u64;

/// One cursor, as it is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    pub(crate) topic: TopicNumber,
    pub(crate) position: Offset,
    /// Whether it keeps the log from being cut.
    pub(crate) holds: bool,
}

#[derive(Debug)]
struct Slot {
    position: Offset,
    /// What a crash would go back to. The log is cut behind this, never behind the position.
    durable: Offset,
    fence: u64,
    topic: u32,
    holds: bool,
    /// It stands in the list of its shard already.
    dirty: bool,
}

#[derive(Debug, Default)]
struct Shard {
    slots: IdMap<u64, Slot>,
    dirty: Vec<u64>,
    outcomes: HashMap<u64, LastOutcome>,
}

/// All cursors.
#[derive(Debug)]
pub(crate) struct Cursors {
    shards: Box<[Mutex<Shard>]>,
    /// Grows with each claim. It starts above everything that an earlier life of the store handed out.
    fence: AtomicU64,
}

/// What a flush has to write: sorted by identifier, since neighbours share pages.
#[derive(Debug, Default)]
pub(crate) struct Unflushed {
    /// Whose position moved. The position itself is read when it is written, since a subscription may have been revived
    /// elsewhere in between.
    pub(crate) moved: Vec<WebhookId>,
    pub(crate) outcomes: Vec<(WebhookId, LastOutcome)>,
}

impl Cursors {
    /// `generation` counts the lives of the store, so that claims of an earlier one are told from those of this.
    pub(crate) fn new(generation: u32) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, fence: AtomicU64::new(u64::from(generation) << 32) }
    }

    /// Neighbouring identifiers lie in different shards, so that those who came together do not meet at one lock.
    fn shard(&self, id: WebhookId) -> MutexGuard<'_, Shard> {
        let at = usize::try_from(id.0 % SHARDS as u64).expect("a number below SHARDS");
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a cursor as the disk has it. The claims on one that was there before end.
    pub(crate) fn insert(&self, id: WebhookId, cursor: Cursor) {
        let topic = u32::try_from(cursor.topic).expect("four billion topics do not fit a disk");
        let Cursor { position, holds, .. } = cursor;
        let slot = Slot { position, durable: position, fence: 0, topic, holds, dirty: false };
        self.shard(id).slots.insert(id.0, slot);
    }

    /// Whether it keeps the log from being cut from now on.
    pub(crate) fn set_holds(&self, id: WebhookId, holds: bool) {
        if let Some(slot) = self.shard(id).slots.get_mut(&id.0) {
            slot.holds = holds;
        }
    }

    /// Claims on it end with it: whoever holds one is told that it is unknown.
    pub(crate) fn remove(&self, id: WebhookId) {
        let mut shard = self.shard(id);
        shard.slots.remove(&id.0);
        shard.outcomes.remove(&id.0);
    }

    pub(crate) fn position(&self, id: WebhookId) -> Option<Offset> {
        self.shard(id).slots.get(&id.0).map(|slot| slot.position)
    }

    /// The position, and the outcome that the disk does not have yet.
    pub(crate) fn look(&self, id: WebhookId) -> Option<(Offset, Option<LastOutcome>)> {
        let shard = self.shard(id);
        let slot = shard.slots.get(&id.0)?;
        Some((slot.position, shard.outcomes.get(&id.0).cloned()))
    }

    pub(crate) fn claim(&self, id: WebhookId) -> Result<Claim, StoreError> {
        let fence = self.fence.fetch_add(1, Ordering::Relaxed) + 1;
        let mut shard = self.shard(id);
        let slot = shard.slots.get_mut(&id.0).ok_or(StoreError::Unknown(id))?;
        slot.fence = fence;
        Ok(Claim { id, fence, position: slot.position })
    }

    /// Whether the claim is the newest of its cursor.
    pub(crate) fn judge(&self, claim: &Claim) -> Result<(), StoreError> {
        held(&mut self.shard(claim.id), claim).map(drop)
    }

    pub(crate) fn advance(&self, claim: &Claim, to: Offset) -> Result<(), StoreError> {
        let mut shard = self.shard(claim.id);
        let slot = held(&mut shard, claim)?;
        if to <= slot.position {
            return Ok(());
        }
        slot.position = to;
        if !std::mem::replace(&mut slot.dirty, true) {
            shard.dirty.push(claim.id.0);
        }
        Ok(())
    }

    pub(crate) fn note(&self, claim: &Claim, outcome: LastOutcome) -> Result<(), StoreError> {
        let mut shard = self.shard(claim.id);
        held(&mut shard, claim)?;
        shard.outcomes.insert(claim.id.0, outcome);
        Ok(())
    }

    /// Takes what has to be written. If it is not, it goes back with [`put_back`](Cursors::put_back).
    pub(crate) fn take_unflushed(&self) -> Unflushed {
        let mut unflushed = Unflushed::default();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for id in std::mem::take(&mut shard.dirty) {
                if let Some(slot) = shard.slots.get_mut(&id) {
                    slot.dirty = false;
                    unflushed.moved.push(WebhookId(id));
                }
            }
            let outcomes = std::mem::take(&mut shard.outcomes);
            unflushed.outcomes.extend(outcomes.into_iter().map(|(id, outcome)| (WebhookId(id), outcome)));
        }
        unflushed.moved.sort_unstable();
        unflushed.outcomes.sort_unstable_by_key(|(id, _)| *id);
        unflushed
    }

    pub(crate) fn put_back(&self, unflushed: Unflushed) {
        for id in unflushed.moved {
            let mut shard = self.shard(id);
            let Some(slot) = shard.slots.get_mut(&id.0) else { continue };
            if !std::mem::replace(&mut slot.dirty, true) {
                shard.dirty.push(id.0);
            }
        }
        for (id, outcome) in unflushed.outcomes {
            // A later outcome may have been noted meanwhile.
            self.shard(id).outcomes.entry(id.0).or_insert(outcome);
        }
    }

    /// These positions are durable now.
    pub(crate) fn flushed(&self, positions: &[(WebhookId, Offset)]) {
        for (id, position) in positions {
            if let Some(slot) = self.shard(*id).slots.get_mut(&id.0) {
                slot.durable = slot.durable.max(*position);
            }
        }
    }

    /// The slowest durable cursor of each topic that has one which holds the log.
    pub(crate) fn slowest(&self) -> HashMap<TopicNumber, Offset> {
        let mut slowest = HashMap::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for slot in shard.slots.values().filter(|slot| slot.holds) {
                let place = slowest.entry(u64::from(slot.topic)).or_insert(slot.durable);
                *place = slot.durable.min(*place);
            }
        }
        slowest
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).slots.len()).sum()
    }

    pub(crate) fn unflushed(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).dirty.len()).sum()
    }
}

/// The slot, if the claim is the newest of it.
fn held<'a>(shard: &'a mut Shard, claim: &Claim) -> Result<&'a mut Slot, StoreError> {
    let slot = shard.slots.get_mut(&claim.id.0).ok_or(StoreError::Unknown(claim.id))?;
    if slot.fence == claim.fence { Ok(slot) } else { Err(StoreError::Fenced) }
}
