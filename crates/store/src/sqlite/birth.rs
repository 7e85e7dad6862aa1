//! The beginning of a file: it is made here and nowhere else, so that one which is there and has nothing in it is known for what it
//! is, a store that somebody or something has emptied.
//!
//! A file that this program was about to make when it was killed has a mark beside it. It is never taken for an emptied one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::fault::io as fault;
use crate::StoreError;

/// What is said of a file that could only be replaced, at a start and by a check.
pub(super) const NOTHING_IN_IT: &str =
    "the file is no store, for nothing is in it; put the right one in its place, or remove it to begin a new one";

/// Whether a file may be made into a store.
#[derive(Debug)]
pub(super) struct Birth {
    mark: PathBuf,
    is_marked: bool,
}

impl Birth {
    /// Makes the file if there is none.
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let mark = PathBuf::from(name);
        let is_marked = if path.try_exists().map_err(fault)? {
            mark.try_exists().map_err(fault)?
        } else {
            make(&mark).and_then(|()| sync_folder(&mark)).map_err(fault)?;
            true
        };
        let birth = Self { mark, is_marked };
        if is_marked {
            make(path).map_err(fault)?;
        } else {
            // Before SQLite sees it, which throws away the write-ahead log of an empty file.
            judge(path)?;
        }
        Ok(birth)
    }

    /// Whether the file may be without tables.
    pub(super) const fn is_under_way(&self) -> bool {
        self.is_marked
    }

    /// The file is a store from here on.
    pub(super) fn end(self) -> Result<(), StoreError> {
        if !self.is_marked {
            return Ok(());
        }
        match fs::remove_file(&self.mark) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(fault(error)),
            _ => Ok(()),
        }
    }
}

/// Refuses a file without octets.
pub(super) fn judge(path: &Path) -> Result<(), StoreError> {
    match fs::metadata(path) {
        Ok(data) if data.is_file() && data.len() == 0 => Err(StoreError::Unfit(NOTHING_IN_IT.into())),
        _ => Ok(()),
    }
}

/// Secrets of subscribers are in a store. The files beside it get the same permissions.
fn make(path: &Path) -> io::Result<()> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

/// Makes what was made or renamed there outlive a loss of power.
pub(super) fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
