//! A copy of a store that goes on working.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::Connection;

use super::fault::{fault, io};
use super::{birth, schema};
use crate::StoreError;

/// Copies the store at `from` into the new file `to`: one view of it, packed, and on the disk when this returns. The store may
/// be open, in this process or in another.
///
/// The copy begins a new epoch when it is opened, since the original goes on giving offsets that the copy does not know.
///
/// # Errors
/// When `to` is there already, when `from` is no store, or what the file system says.
pub fn backup(from: &Path, to: &Path) -> Result<(), StoreError> {
    let source = super::check::inspect(from)?;
    // Under another name until it is whole, so that a copy that was cut short is not taken for one.
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    let part = Path::new(&name);
    // The name is taken first, so that of two copies at one time the second is refused, and nobody else can read either.
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(to).map_err(io)?;
    let copied = copy(&source, part).and_then(|()| fs::rename(part, to).map_err(io));
    if copied.is_err() {
        let _ = fs::remove_file(part);
        let _ = fs::remove_file(to);
    }
    copied?;
    birth::sync_folder(to).map_err(io)
}

fn copy(source: &Connection, part: &Path) -> Result<(), StoreError> {
    // An empty file is what SQLite takes as a target, with the permissions that it has.
    OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(part).map_err(io)?;
    let name = part.to_str().ok_or_else(|| StoreError::Unfit("the name of the copy is not UTF-8".into()))?;
    source.execute("VACUUM INTO ?", [name]).map_err(fault)?;
    let copy = Connection::open(part).map_err(fault)?;
    schema::set_meta(&copy, "epoch", 0).map_err(fault)?;
    drop(copy);
    File::open(part).and_then(|file| file.sync_all()).map_err(io)
}
