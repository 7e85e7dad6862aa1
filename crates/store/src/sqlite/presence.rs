//! Whether the file still stands under its name.
//!
//! SQLite goes on writing to a file that somebody has deleted or replaced, as every program does that has it open. What is
//! committed there is gone with the process, so it must not be acknowledged.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::StoreError;

/// A file as it was when the store was opened.
#[derive(Debug)]
pub(super) struct Presence {
    path: PathBuf,
    /// Device and inode.
    place: (u64, u64),
}

impl Presence {
    /// By the name that a start comes by, which may lead over symbolic links.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), place: place(path)? })
    }

    /// Whether the name still leads to the same file; it costs a hundredth of what waiting for the disk does.
    pub(super) fn judge(&self) -> Result<(), StoreError> {
        match place(&self.path) {
            Ok(place) if place == self.place => Ok(()),
            Ok(_) => Err(self.lost("was replaced by another one")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.lost("was deleted")),
            // Whoever may not look may still write what is open, and hears of a real fault when it does.
            Err(_) => Ok(()),
        }
    }

    fn lost(&self, how: &str) -> StoreError {
        let path = self.path.display();
        StoreError::ReadOnly(
            format!("the file {path} {how} while it was in use; put it back and restart the node").into(),
        )
    }
}

fn place(path: &Path) -> io::Result<(u64, u64)> {
    path.metadata().map(|data| (data.dev(), data.ino()))
}
