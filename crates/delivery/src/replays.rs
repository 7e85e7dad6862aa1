//! What of one subscription is sent once more: a line of its own, beside that of the log, and what the latter does while a
//! replay is under way. Few subscriptions have any, so this is a table apart.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use stentor_model::Offset;

use crate::event::{Errand, Outcome};
use crate::webhook::{Backoff, Head};

/// Where the head of the replays stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It may go when it is its turn.
    Due,
    /// It waits for a time, which an alarm was set for. The receiver asked for patience up to another one, not later.
    Backoff { until: u64, patience: u64 },
    /// The subscription is in line with it, or waits for its outcome.
    Away { kept: Kept },
    /// It waits for the record that it is given up once more.
    Burial { last: Outcome },
}

/// What the subscription's line in order goes on with when a replay is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Whatever is next.
    Nothing,
    /// A look into the log, which a replay was put before: nothing else may say what lies behind the cursor.
    Look,
    /// A publication that waits for its next attempt.
    Backoff(Backoff),
}

#[derive(Debug)]
pub(crate) struct Replays {
    /// All of them in the order of the log, the head included, and how many attempts each has.
    pub(crate) line: BTreeMap<Offset, NonZeroU32>,
    pub(crate) head: Head,
    pub(crate) stage: Stage,
    /// Which line goes first when both may: each attempt gives the turn to the other one.
    pub(crate) turn: Errand,
}

impl Replays {
    pub(crate) fn new(offset: Offset, attempts_max: NonZeroU32) -> Self {
        let line = BTreeMap::from([(offset, attempts_max)]);
        Self { line, head: Head::new(offset, Errand::Replay), stage: Stage::Due, turn: Errand::Replay }
    }

    pub(crate) fn insert(&mut self, offset: Offset, attempts_max: NonZeroU32) {
        self.line.insert(offset, attempts_max);
        // What was not tried yet gives way to what comes before it.
        if self.stage == Stage::Due && self.head.failures == 0 && offset < self.head.offset {
            self.head = Head::new(offset, Errand::Replay);
        }
    }

    /// Takes the head out of its line; whether another one follows.
    pub(crate) fn finish_head(&mut self) -> bool {
        self.line.remove(&self.head.offset);
        let next = self.line.first_key_value().map(|(&offset, _)| offset);
        if let Some(next) = next {
            self.head = Head::new(next, Errand::Replay);
            self.stage = Stage::Due;
        }
        next.is_some()
    }

    /// How often the head may be tried.
    pub(crate) fn attempts_max(&self) -> NonZeroU32 {
        self.line.get(&self.head.offset).copied().unwrap_or(NonZeroU32::MIN)
    }

    pub(crate) fn is_due(&self) -> bool {
        self.stage == Stage::Due
    }

    /// The time up to which the receiver asked for patience when it answered a replay last.
    pub(crate) fn patience(&self) -> u64 {
        match self.stage {
            Stage::Backoff { patience, .. } => patience,
            _ => 0,
        }
    }

    /// Alarms that are set for what is in here.
    pub(crate) fn backoffs(&self) -> usize {
        match self.stage {
            Stage::Backoff { .. } | Stage::Away { kept: Kept::Backoff(_) } => 1,
            Stage::Due | Stage::Away { .. } | Stage::Burial { .. } => 0,
        }
    }
}
