//! What the threads of one store have in common.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use stentor_model::Epoch;

use super::recent::Recent;
use crate::cursor::{Cursors, TopicNumber};
use crate::follow::Follow;
use crate::{Health, Limits, StoreError};

/// State beside the file. Everything here can be read back from the file, save what was advanced since the latest flush.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) epoch: Epoch,
    pub(super) cursors: Cursors,
    pub(super) follow: Follow,
    pub(super) recent: Recent,
    pub(super) log_bytes: AtomicU64,
    pub(super) queue_entries: AtomicUsize,
    pub(super) queue_bytes: AtomicU64,
    pub(super) dead_forgotten: AtomicU64,
    /// Topics in which something has waited for too long, as the latest trim found.
    pub(super) overdue: Mutex<HashSet<TopicNumber>>,
    /// Counts what can make a plan for cutting wrong: cursors that were put behind the end of the log.
    pub(super) plan: AtomicU64,
    pub(super) closed: AtomicBool,
    health: Mutex<Health>,
}

impl Shared {
    pub(super) fn new(limits: Limits, epoch: Epoch, cursors: Cursors, follow: Follow, log_bytes: u64) -> Self {
        Self {
            limits,
            epoch,
            cursors,
            follow,
            recent: Recent::default(),
            log_bytes: AtomicU64::new(log_bytes),
            queue_entries: AtomicUsize::new(0),
            queue_bytes: AtomicU64::new(0),
            dead_forgotten: AtomicU64::new(0),
            overdue: Mutex::default(),
            plan: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            health: Mutex::new(Health::Well),
        }
    }

    /// For whoever looks.
    pub(super) fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a write may be asked for.
    pub(super) fn writable(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) { Err(StoreError::Closed) } else { self.trusted() }
    }

    /// Whether the file may be written. What was asked for before the store was closed still is.
    pub(super) fn trusted(&self) -> Result<(), StoreError> {
        match &*self.health.lock().unwrap_or_else(PoisonError::into_inner) {
            Health::ReadOnly(reason) => Err(StoreError::ReadOnly(reason.clone())),
            Health::Well | Health::DiskFull => Ok(()),
        }
    }

    /// Draws the consequence of an error: a full disk is tried again, a damaged or lost file is not written any more.
    pub(super) fn observe(&self, error: &StoreError) {
        match error {
            StoreError::Full(crate::Limit::Disk) => self.set_health(Health::DiskFull),
            StoreError::Corrupt(what) | StoreError::ReadOnly(what) => self.set_health(Health::ReadOnly(what.clone())),
            _ => {}
        }
    }

    /// Nothing leads back from read-only: a file that was damaged once has to be looked at.
    pub(super) fn set_health(&self, health: Health) {
        let mut current = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*current, Health::ReadOnly(_)) {
            *current = health;
        }
    }

    /// Whether the latest trim found that something in the topic has waited for too long.
    pub(super) fn is_overdue(&self, topic: TopicNumber) -> bool {
        self.overdue.lock().unwrap_or_else(PoisonError::into_inner).contains(&topic)
    }
}
