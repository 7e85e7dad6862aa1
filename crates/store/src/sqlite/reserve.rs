//! A little room on the disk, held back for the day when it is full.
//!
//! A store in use survives a full disk, but opening one needs room: SQLite makes an index of its write-ahead log. Whoever
//! opens gives this room up when it comes to that, so that what is stored already can go out; the room is taken again when
//! there is some.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// An index of 32 KiB, some pages of the log, and as much again for whoever else is in need.
const RESERVE_BYTES: usize = 256 * 1024;

/// A file beside the store that says nothing.
#[derive(Debug)]
pub(super) struct Reserve(PathBuf);

impl Reserve {
    pub(super) fn beside(store: &Path) -> Self {
        let mut name = store.as_os_str().to_owned();
        name.push(".reserve");
        Self(name.into())
    }

    /// Takes the room, unless it is taken. Where that fails nothing is left behind.
    pub(super) fn take(&self) -> io::Result<()> {
        let is_taken = fs::metadata(&self.0).is_ok_and(|data| data.len() == RESERVE_BYTES as u64);
        if is_taken {
            return Ok(());
        }
        occupy(&self.0)
    }

    /// Whether there is as much room again beside it.
    pub(super) fn has_room(&self) -> bool {
        let mut name = self.0.clone().into_os_string();
        name.push(".more");
        let more = PathBuf::from(name);
        let is_there = self.take().is_ok() && occupy(&more).is_ok();
        // It is there only where it could be written.
        let _ = fs::remove_file(more);
        is_there
    }

    /// Gives the room up, if it was taken.
    pub(super) fn give(&self) -> bool {
        fs::remove_file(&self.0).is_ok()
    }
}

fn occupy(path: &Path) -> io::Result<()> {
    // Octets that a file system cannot leave out.
    let octets: Vec<u8> = (0..=250_u8).cycle().take(RESERVE_BYTES).collect();
    let open = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path);
    let taken = open.and_then(|mut file| file.write_all(&octets).and_then(|()| file.sync_all()));
    taken.inspect_err(|_| drop(fs::remove_file(path)))
}
