//! Names that say nothing, and are therefore drawers for everything.

use super::source::{identifier, mask, words};
use super::{File, check, none, tree};

/// Not as the name of a crate, of a module or of a source file.
const FORBIDDEN: &[&str] = &["core", "common", "util", "utils", "helpers", "manager", "misc", "types"];

fn names(tree: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in tree.iter().filter(|file| file.is_in(&["crates", "xtask", "clients", "e2e"])) {
        let stem = |part: &str| part.split('.').next().unwrap_or_default().to_owned();
        if let Some(name) = file.path.split('/').map(stem).find(|name| FORBIDDEN.contains(&name.as_str())) {
            faults.push(format!("{}: nothing is called `{name}` here; name it after what it is for", file.path));
        }
        if !file.is_rust() {
            continue;
        }
        let code = mask(&file.text);
        for at in words(&code, "mod") {
            let name = identifier(&code[at..]);
            if FORBIDDEN.contains(&name) {
                faults.push(format!("{}: a module called `{name}`; name it after what it is for", file.path));
            }
        }
    }
    faults
}

#[test]
fn names_say_something() {
    none(&names(&tree()));
}

#[test]
fn empty_names_are_found() {
    check(names, "crates/core/src/lib.rs", "", &["`core`"]);
    check(names, "crates/a/src/utils.rs", "", &["`utils`"]);
    check(names, "crates/a/src/misc/b.rs", "", &["`misc`"]);
    check(names, "crates/a/src/lib.rs", "pub mod types;", &["`types`"]);
    check(names, "crates/a/src/lib.rs", "// mod types\nmod typeset; use core::fmt;", &[]);
}
