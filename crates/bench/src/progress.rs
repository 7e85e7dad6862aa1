//! What subscribers and publishers tell each other: how much has arrived.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mio::Waker;

/// Nobody waits.
const NEVER: u64 = u64::MAX;

/// The number of events that have arrived, and who waits for it.
#[derive(Debug)]
pub struct Progress {
    arrived: AtomicU64,
    wake_at: AtomicU64,
    waker: Mutex<Option<Arc<Waker>>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { arrived: AtomicU64::new(0), wake_at: AtomicU64::new(NEVER), waker: Mutex::new(None) }
    }
}

impl Progress {
    /// Events that have arrived at all subscribers together.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::SeqCst)
    }

    /// Counts arrivals and wakes whoever waited for them. A wake is a system call, so it is made only when asked for.
    pub(crate) fn add(&self, events: u64) {
        let arrived = self.arrived.fetch_add(events, Ordering::SeqCst) + events;
        if arrived >= self.wake_at.load(Ordering::SeqCst) && self.wake_at.swap(NEVER, Ordering::SeqCst) != NEVER {
            let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
            // A publisher that is gone needs no waking.
            let _gone: Option<io::Result<()>> = waker.as_ref().map(|waker| waker.wake());
        }
    }

    /// Who is to be woken from now on.
    pub(crate) fn attach(&self, waker: Arc<Waker>) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
    }

    /// Asks to be woken once so many have arrived; `false` when they have already.
    pub(crate) fn wake_at(&self, arrived: u64) -> bool {
        self.wake_at.store(arrived, Ordering::SeqCst);
        if self.arrived() < arrived {
            return true;
        }
        self.wake_at.store(NEVER, Ordering::SeqCst);
        false
    }
}
