//! Which file a path means. The lock, the write-ahead log and whatever else stands beside a store are named after it, so there
//! must be one name only: whoever came by another would find no lock, and open the same file once more.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::fault::io as fault;
use crate::StoreError;

const LEADS_NOWHERE: &str =
    "it is a symbolic link to a file that is not there; put the file there, or remove the link to begin a new store";

/// The one path of the file, which need not be there yet. Nothing is opened.
///
/// # Errors
/// [`StoreError::Unfit`] for a symbolic link to nothing and for a file with several hard links, or what the file system says.
pub fn resolve(path: &Path) -> Result<PathBuf, StoreError> {
    match path.canonicalize() {
        Ok(real) => judge(&real).map(|()| real),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(fault(error)),
        Err(_) if path.is_symlink() => Err(StoreError::Unfit(LEADS_NOWHERE.into())),
        Err(_) => coming(path).map_err(fault),
    }
}

/// All names of a file are equal, so nobody can tell beside which of them its write-ahead log stands.
fn judge(file: &Path) -> Result<(), StoreError> {
    let data = file.metadata().map_err(fault)?;
    if data.is_file() && data.nlink() > 1 {
        let names = data.nlink();
        let said =
            format!("the file has {names} names (hard links), and what is newest stands beside one of them only");
        return Err(StoreError::Unfit(format!("{said}; remove the others, or put a copy in its place").into()));
    }
    Ok(())
}

/// The path of a file that is not there, in a folder that is.
fn coming(path: &Path) -> io::Result<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(ErrorKind::NotFound)?;
    fs::canonicalize(folder).map(|folder| folder.join(name))
}
