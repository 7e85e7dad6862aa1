//! The Python that the binary carries: the runner, the modules for those who write functions, and functions that are ready.
//!
//! Written into the node directory under the hash of its contents, so that two versions of the server never share a file.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ring::digest;

/// A function of the library.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Its code.
    pub code: &'static str,
}

macro_rules! python {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../python/", $name)))
    };
}

macro_rules! ready {
    ($name:literal, $about:literal) => {
        Ready { name: $name, about: $about, code: include_str!(concat!("../../../../python/functions/", $name, ".py")) }
    };
}

/// The functions of the library.
pub const READY: [Ready; 3] = [
    ready!("basic", "HTTP Basic: users with hashed passwords in the configuration"),
    ready!("bearer", "bearer tokens: their hashes in the configuration or in the table"),
    ready!("jwt", "JSON Web Tokens, checked with the keys of a JWKS file"),
];

const FILES: [(&str, &str); 12] = [
    python!("stentor_runner/__init__.py"),
    python!("stentor_runner/limits.py"),
    python!("stentor_runner/asked.py"),
    python!("stentor_runner/serve.py"),
    python!("stentor_runner/source.py"),
    python!("stentor_runner/table.py"),
    python!("stentor_runner/verdict.py"),
    python!("stentor_runner/wire.py"),
    python!("stentor_context/__init__.py"),
    python!("stentor_context/py.typed"),
    python!("echostream_function_context/__init__.py"),
    python!("echostream_function_context/py.typed"),
];

/// What runs the check of a function by itself.
pub(super) const CHECK: &str = python!("stentor_runner/source.py").1;

/// The first characters of a hash, for names of folders.
pub(super) fn short_hash<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in parts {
        // With lengths, so that two lists of parts never run into one.
        hash.update(&part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finish().as_ref()[..10].iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Whether a name is what [`short_hash`] gives.
pub(super) fn is_short_hash(name: &str) -> bool {
    name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What the names of unpacked packages begin with.
pub(super) const PREFIX: &str = "runner-";

/// The folder of this package.
pub(super) fn folder_name() -> String {
    let hash = short_hash(FILES.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]));
    format!("{PREFIX}{hash}")
}

/// A folder that nobody else may look into.
pub(super) fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes the package below `dir`, unless it is there, and says where.
pub(super) fn unpack(dir: &Path) -> io::Result<PathBuf> {
    let name = folder_name();
    let goal = dir.join(&name);
    if goal.is_dir() {
        return Ok(goal);
    }
    private_dir(dir)?;
    // Under another name first: a node that is killed meanwhile leaves no half of a package.
    let draft = dir.join(format!("{name}.{}", std::process::id()));
    for (name, text) in FILES {
        let path = draft.join(name);
        private_dir(path.parent().expect("every file of the package lies in a folder"))?;
        fs::write(path, text)?;
    }
    match fs::rename(&draft, &goal) {
        Ok(()) => Ok(goal),
        // Another hub of this node was faster.
        Err(_) if goal.is_dir() => fs::remove_dir_all(&draft).map(|()| goal),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_whole_and_written_once() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python");
        for package in ["stentor_runner", "stentor_context", "echostream_function_context"] {
            for entry in fs::read_dir(folder.join(package)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(&folder).unwrap().to_str().unwrap();
                assert!(path.is_dir() || FILES.iter().any(|(known, _)| *known == name), "{name} is not carried");
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let first = unpack(dir.path()).unwrap();
        assert_eq!(unpack(dir.path()).unwrap(), first);
        assert_eq!(fs::read_to_string(first.join("stentor_runner/source.py")).unwrap(), CHECK);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
