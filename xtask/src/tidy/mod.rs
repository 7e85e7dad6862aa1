//! The shape of the house, checked as ordinary tests.
//!
//! Each room of this folder holds one kind of rule: a function from the committed files to a list of faults, a test
//! that this repository has none, and tests that the rule still bites. The tables of what is allowed stand at the top
//! of each file, because they are what changes.

use std::path::PathBuf;
use std::process::Command;

use crate::place::Place;

mod document;
mod floor;
mod name;
mod size;
mod source;
mod text;

/// A committed file, with its path from the root in forward slashes.
struct File {
    path: String,
    text: String,
}

impl File {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Does the path lie under one of these folders (or is it one of these files)?
    fn is_in(&self, places: &[&str]) -> bool {
        places
            .iter()
            .any(|place| self.path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }
}

/// The text files of the repository: those committed, and those that a commit of everything would add.
fn tree() -> Vec<File> {
    let root = Place::find(Vec::new()).root;
    let list = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .expect("git is needed to know which files belong to the repository");
    assert!(list.status.success(), "git ls-files: {}", String::from_utf8_lossy(&list.stderr));
    let names = String::from_utf8(list.stdout).expect("file names in the repository are UTF-8");
    let mut paths: Vec<&str> = names.split('\0').filter(|name| !name.is_empty()).collect();
    paths.sort_unstable();
    paths.dedup();
    // A file deleted but not yet committed is still listed, and pictures have no text: both are passed over.
    paths
        .into_iter()
        .filter_map(|path| Some(File::new(path, &std::fs::read_to_string(root.join(path)).ok()?)))
        .collect()
}

/// The root, for rules that ask whether something exists.
fn root() -> PathBuf {
    Place::find(Vec::new()).root
}

/// Fails with all faults at once, one a line.
#[track_caller]
fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{} fault(s):\n  {}", faults.len(), faults.join("\n  "));
}

/// One expectation of a rule: the faults of one made-up file, each recognised by a part of its text.
#[track_caller]
fn check(rule: fn(&[File]) -> Vec<String>, path: &str, text: &str, expect: &[&str]) {
    let faults = rule(&[File::new(path, text)]);
    assert_eq!(faults.len(), expect.len(), "{path}: {faults:?}");
    for (fault, part) in faults.iter().zip(expect) {
        assert!(fault.contains(part), "{fault:?} does not say {part:?}");
    }
}
