//! What must not stand in a committed file: addresses of somebody's machine, other people's minified code.

use super::{File, check, none, tree};

/// Parts of paths and host names that are true on one machine or in one network only. They are put together here so
/// that this file does not trip over itself.
const MACHINES: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("registry.npm", "js.org"),
    concat!("files.python", "hosted.org"),
    concat!("pypi", ".org/simple"),
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("deb.debian", ".org"),
];

/// A line of written code is never longer; a minified one always is.
const LINE_CHARACTERS_MAX: usize = 1000;

/// Our own browser files that carry the name that users' pages ask for.
const MINIFIED_EXCEPTIONS: &[&str] = &[];

fn machines(tree: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in tree {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(machine) = MACHINES.iter().find(|machine| names(line, machine)) {
                faults.push(format!("{}:{}: names `{machine}`, which is one machine's own", file.path, number + 1));
            }
        }
    }
    faults
}

/// A path counts where it starts, not in the middle of `example.com/…` or `docs/…`.
fn names(line: &str, machine: &str) -> bool {
    line.match_indices(machine).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !machine.starts_with('/') || before.is_none_or(|c| !c.is_alphanumeric() && !"./_-}~".contains(c))
    })
}

fn lock(tree: &[File]) -> Vec<String> {
    let locks = tree.iter().filter(|file| file.path.ends_with("package-lock.json"));
    let resolved = locks.filter(|file| file.text.contains("\"resolved\""));
    resolved.map(|file| format!("{}: has `resolved` entries; .npmrc leaves them out", file.path)).collect()
}

fn minified(tree: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    let is_script = |path: &str| [".js", ".mjs", ".cjs"].iter().any(|end| path.ends_with(end));
    for file in tree.iter().filter(|file| is_script(&file.path)) {
        let name = file.path.contains(".min.") && !MINIFIED_EXCEPTIONS.contains(&file.path.as_str());
        if name || file.text.lines().any(|line| line.chars().count() > LINE_CHARACTERS_MAX) {
            faults.push(format!("{}: minified code belongs to a package manager, not to a repository", file.path));
        }
    }
    faults
}

#[test]
fn no_file_names_a_machine() {
    none(&machines(&tree()));
}

#[test]
fn lock_files_name_no_host() {
    none(&lock(&tree()));
}

#[test]
fn no_file_is_minified() {
    none(&minified(&tree()));
}

#[test]
fn machines_are_found() {
    check(machines, "a.md", concat!("cd /wo", "rk/x"), &["a.md:1"]);
    check(machines, "a.md", concat!("ok\n\"https://registry.npm", "js.org/x\""), &["a.md:2"]);
    check(machines, "a.md", concat!("https://example.com/wo", "rk/x, $PWD/ho", "me/x"), &[]);
    check(lock, "e2e/package-lock.json", "{\"resolved\": \"x\"}", &["e2e/package-lock.json"]);
}

#[test]
fn minified_files_are_found() {
    check(minified, "web/a.min.js", "a", &["minified"]);
    check(minified, "web/a.js", &"a;".repeat(600), &["minified"]);
    check(minified, "web/a.js", "a;\nb;", &[]);
}
