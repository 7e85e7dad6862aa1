//! Stores that can crash.

use std::fs;
use std::path::{Path, PathBuf};

use crate::contract::Bed;
use crate::memory::Memory;
use crate::sqlite::Sqlite;
use crate::{Limits, Store};
use tempfile::TempDir;

pub(super) struct Ram(Memory);

impl Ram {
    pub(super) fn new(limits: Limits) -> Self {
        Self(Memory::new(limits))
    }
}

impl Bed for Ram {
    fn store(&self) -> &dyn Store {
        &self.0
    }

    fn crash(&mut self) {
        self.0 = self.0.crash();
    }
}

pub(super) struct Disk {
    store: Option<Sqlite>,
    limits: Limits,
    folder: TempDir,
    crashes: u32,
}

impl Disk {
    pub(super) fn new(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&folder.path().join("0.db"), limits.clone()).unwrap();
        Self { store: Some(store), limits, folder, crashes: 0 }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join(format!("{}.db", self.crashes))
    }
}

impl Bed for Disk {
    fn store(&self) -> &dyn Store {
        self.store.as_ref().unwrap()
    }

    /// What a kill leaves is the file and its write-ahead log as they are at that moment; a store that is dropped would still
    /// tidy them up. So both are copied from under the store, and the copy is opened.
    fn crash(&mut self) {
        let before = self.path();
        self.crashes += 1;
        copy(&before, &self.path());
        self.store = Some(Sqlite::open(&self.path(), self.limits.clone()).unwrap());
    }
}

pub(super) fn copy(from: &Path, to: &Path) {
    for end in ["", "-wal"] {
        let name = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
        if name(from).exists() {
            fs::copy(name(from), name(to)).unwrap();
        }
    }
}
