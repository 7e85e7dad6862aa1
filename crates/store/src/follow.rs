//! The end of the log, who waits for it to move, and who still needs what comes behind it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use stentor_model::Offset;

use crate::limit::FOLLOWERS_MAX;
use crate::{Completer, Pending, StoreError};

/// The place of the newest durable publication. It only moves forward, and after what it speaks of can be read.
#[derive(Debug)]
pub(crate) struct Follow {
    end: AtomicU64,
    is_closed: AtomicBool,
    /// `None` once the store is closed.
    waiting: Mutex<Option<Vec<Waiter>>>,
    pins: Arc<Pins>,
}

/// How many hold the log at which place.
#[derive(Debug, Default)]
struct Pins(Mutex<BTreeMap<Offset, usize>>);

/// A place in the log behind which nothing is cut as long as this lives.
#[derive(Debug)]
pub struct Pin {
    pins: Arc<Pins>,
    at: Offset,
}

impl Pin {
    /// The place.
    #[must_use]
    pub const fn offset(&self) -> Offset {
        self.at
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.pins.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = pins.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.at);
            }
        }
    }
}

/// Behind which place somebody waits for the end, and how to tell.
type Waiter = (Offset, Completer<Offset>);

impl Follow {
    pub(crate) fn new(end: Offset) -> Self {
        Self {
            end: AtomicU64::new(end.get()),
            is_closed: AtomicBool::new(false),
            waiting: Mutex::new(Some(Vec::new())),
            pins: Arc::default(),
        }
    }

    /// Holds the log at its end.
    pub(crate) fn pin(&self) -> Pin {
        let mut pins = self.pins.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that whoever cuts sees the pin or has looked at the end before.
        let at = self.end();
        *pins.entry(at).or_default() += 1;
        Pin { pins: Arc::clone(&self.pins), at }
    }

    /// Nothing behind this may be cut by whoever looks at the cursors afterwards: a cursor that he does not see stands here
    /// or farther on.
    pub(crate) fn cut_limit(&self) -> Offset {
        let end = self.end();
        let pins = self.pins.0.lock().unwrap_or_else(PoisonError::into_inner);
        pins.keys().next().map_or(end, |lowest| end.min(*lowest))
    }

    pub(crate) fn end(&self) -> Offset {
        Offset::new(self.end.load(Ordering::Acquire))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Answers at once if the end lies behind `after` already.
    pub(crate) fn beyond(&self, after: Offset) -> Pending<Offset> {
        let mut guard = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiting) = &mut *guard else { return Pending::ready(Err(StoreError::Closed)) };
        // Under the lock, so that the end cannot pass between the look and the wait.
        let end = self.end();
        if end > after {
            return Pending::ready(Ok(end));
        }
        if waiting.len() >= FOLLOWERS_MAX {
            return Pending::ready(Err(StoreError::Busy));
        }
        let (completer, pending) = Pending::new();
        waiting.push((after, completer));
        pending
    }

    /// To be called after what it speaks of can be read, and never before.
    pub(crate) fn set(&self, end: Offset) {
        let passed: Vec<_> = {
            let mut guard = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            self.end.fetch_max(end.get(), Ordering::Release);
            guard
                .as_mut()
                .map(|waiting| waiting.extract_if(.., |(after, _)| end > *after).collect())
                .unwrap_or_default()
        };
        for (_, completer) in passed {
            completer.complete(Ok(end));
        }
    }

    /// Answers all who wait, and whoever comes later, that there is no more to come.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        drop(self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
