//! Where things are: the repository, the target directory, the programs that the steps call.
//!
//! Knows paths only. It installs and starts nothing.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The places that the steps share.
pub(crate) struct Place {
    /// The root of the repository.
    pub(crate) root: PathBuf,
    /// Where cargo builds, and where everything else that is made here goes.
    pub(crate) target: PathBuf,
    /// Only test files whose name contains this are run end to end.
    pub(crate) filter: Option<String>,
}

impl Place {
    /// Finds the repository from this crate's manifest.
    pub(crate) fn find(filter: Option<String>) -> Self {
        // Cargo sets the variable for `cargo run` as well; the value compiled in belongs to another checkout when
        // several share one target directory.
        let manifest = env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
        let root = Path::new(&manifest).parent().expect("the crate lives in a folder of the repository").to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            // Cargo takes a relative one from the working directory; the steps work in the root.
            Some(path) => env::current_dir().unwrap_or_else(|_| root.clone()).join(path),
            None => root.join("target"),
        };
        Self { root, target, filter }
    }

    /// A command that works in the root of the repository.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// Cargo, the one that runs us, with the given words.
    pub(crate) fn cargo(&self, words: &str) -> Command {
        let mut command = self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(words.split_whitespace()).env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// The folder of the end-to-end tests.
    pub(crate) fn e2e(&self) -> PathBuf {
        self.root.join("e2e")
    }

    /// The virtual environment of the Python tests.
    pub(crate) fn venv(&self) -> PathBuf {
        self.target.join("e2e-venv")
    }

    /// The Python of that environment.
    pub(crate) fn python(&self) -> PathBuf {
        self.venv().join("bin").join("python")
    }

    /// The server as `cargo build` leaves it.
    pub(crate) fn server(&self) -> PathBuf {
        self.target.join("debug").join(format!("stentor{}", env::consts::EXE_SUFFIX))
    }

    /// The server as `cargo build --release` leaves it.
    pub(crate) fn release_server(&self) -> PathBuf {
        self.target.join("release").join(format!("stentor{}", env::consts::EXE_SUFFIX))
    }

    /// Files in `folder` (relative to the root) whose name starts and ends so, in order of their names.
    pub(crate) fn files(&self, folder: &str, prefix: &str, suffix: &str) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.root.join(folder)) else { return Vec::new() };
        let fits = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
                let wanted = self.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
                wanted && name.starts_with(prefix) && name.ends_with(suffix)
            })
        };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(fits).collect();
        files.sort();
        files
    }
}

/// The first of these programs that is there: a path is taken as it is, a bare name is looked for in PATH.
pub(crate) fn program(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    names.iter().find_map(|name| {
        if name.contains('/') {
            let file = PathBuf::from(name);
            return file.is_file().then_some(file);
        }
        env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
    })
}

/// The browser: the one that E2E_CHROMIUM names, else Debian's.
pub(crate) fn chromium() -> Option<PathBuf> {
    match env::var("E2E_CHROMIUM") {
        Ok(name) => program(&[&name]),
        Err(_) => program(&["/usr/bin/chromium", "chromium", "chromium-browser"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name_and_by_path() {
        assert!(program(&["no-such-program-here", "sh"]).is_some_and(|path| path.ends_with("sh")));
        assert_eq!(program(&["no-such-program-here", "/no/such/file"]), None);
    }

    #[test]
    fn the_root_is_the_repository() {
        let place = Place::find(None);
        assert!(place.root.join("Cargo.toml").is_file());
        assert_eq!(place.files("xtask/src", "pl", ".rs").len(), 1);
        assert!(Place::find(Some("nothing-is-called-so".to_owned())).files("xtask/src", "", ".rs").is_empty());
    }
}
