//! Where the node directory is, and whether a node runs in it.
//!
//! A running node holds a lock on `node.pid`, so a number that is left over from a killed node misleads nobody.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{Cbdir, Place};
use crate::config;

/// The file that holds the number of the running process.
const PID_FILE: &str = "node.pid";

/// The directory that a command means.
#[derive(Debug)]
pub(super) struct NodeDir {
    pub(super) path: PathBuf,
    /// Somebody named it, so it must be there.
    pub(super) named: bool,
}

pub(super) fn resolve(cbdir: &Cbdir) -> NodeDir {
    let environment = || ["STENTOR_DIR", "CROSSBAR_DIR"].into_iter().find_map(std::env::var_os).map(PathBuf::from);
    if let Some(path) = cbdir.cbdir.clone().or_else(environment) {
        return NodeDir { path, named: true };
    }
    let own = PathBuf::from(".stentor");
    let theirs = PathBuf::from(".crossbar");
    let path = if !own.is_dir() && theirs.is_dir() { theirs } else { own };
    NodeDir { path, named: false }
}

/// Where the configuration of a command comes from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    File(PathBuf),
    /// No configuration anywhere: the embedded default.
    Embedded,
}

/// Finds the configuration.
///
/// # Errors
/// A sentence when a file or directory that somebody named is not there.
pub(super) fn find_config(dir: &NodeDir, place: &Place) -> Result<Source, String> {
    if let Some(named) = &place.config {
        // As with Crossbar.io, a relative name is looked for in the node directory too.
        let candidates = [named.clone(), dir.path.join(named)];
        return candidates
            .into_iter()
            .find(|path| path.is_file())
            .map(Source::File)
            .ok_or_else(|| format!("there is no configuration file {}", named.display()));
    }
    match config::find(&dir.path) {
        Some(path) => Ok(Source::File(path)),
        None if dir.named || dir.path.is_dir() => Err(format!(
            "there is no configuration in {}: looked for config.json, config.yaml and config.yml",
            dir.path.display()
        )),
        None => Ok(Source::Embedded),
    }
}

/// The claim of a running node on its directory. Dropping it gives the directory free.
#[derive(Debug)]
pub(super) struct Claim {
    file: File,
}

/// Why a directory cannot be claimed.
#[derive(Debug)]
pub(super) enum ClaimError {
    /// A node runs there.
    Running(Option<u32>),
    /// The file system refuses.
    Io(std::io::Error),
}

pub(super) fn claim(dir: &Path) -> Result<Claim, ClaimError> {
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(dir.join(PID_FILE))
        .map_err(ClaimError::Io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(ClaimError::Running(read_pid(&mut file))),
        Err(TryLockError::Error(error)) => return Err(ClaimError::Io(error)),
    }
    let text = format!("{{\"pid\": {}}}\n", std::process::id());
    file.set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| file.write_all(text.as_bytes()))
        .map_err(ClaimError::Io)?;
    Ok(Claim { file })
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The lock is what counts; an old number without a lock is ignored.
        drop(self.file.set_len(0));
    }
}

/// The process that runs in a directory.
pub(super) fn running(dir: &Path) -> Option<u32> {
    let mut file = File::options().read(true).write(true).open(dir.join(PID_FILE)).ok()?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => read_pid(&mut file),
        _ => None,
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    let value: serde_json::Value = serde_json::from_str(&text).ok()?;
    value.get("pid")?.as_u64()?.try_into().ok()
}
