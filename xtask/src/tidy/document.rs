//! Documents in step with the code: opening words of modules, decision notes, links, the map of the house.

use std::path::{Component, Path, PathBuf};

use super::{File, check, none, root, tree};

const DECISIONS: &str = "docs/decisions/";

fn openings(tree: &[File]) -> Vec<String> {
    let sources = tree.iter().filter(|file| file.is_rust() && file.is_in(&["crates", "xtask"]));
    let silent = sources.filter(|file| !file.text.starts_with("//!"));
    silent
        .map(|file| format!("{}: opens without `//!`: what is it for, and what does it not know?", file.path))
        .collect()
}

/// Decision notes are called `0007-what-was-decided.md`, without gaps, and open with a title.
fn decisions(tree: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    let notes = tree.iter().filter_map(|file| Some((file, file.path.strip_prefix(DECISIONS)?)));
    for (at, (file, name)) in notes.filter(|(_, name)| *name != "README.md").enumerate() {
        let number = format!("{:04}-", at + 1);
        let slug = name.strip_prefix(&number).and_then(|rest| rest.strip_suffix(".md")).unwrap_or_default();
        if slug.is_empty() || !slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            faults.push(format!("{}: the next note is called `{number}what-was-decided.md`", file.path));
        }
        if !file.text.starts_with("# ") {
            faults.push(format!("{}: opens without a title", file.path));
        }
    }
    faults
}

/// Relative links of all Markdown files lead somewhere.
fn links(tree: &[File], exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    for file in tree.iter().filter(|file| file.path.ends_with(".md")) {
        for target in targets(&file.text) {
            let goal = resolve(&file.path, target);
            if !exists(&goal) {
                faults.push(format!("{}: the link `{target}` leads nowhere", file.path));
            }
        }
    }
    faults
}

/// What stands in `](…)` outside of code, without anchors; addresses elsewhere and anchors in the same file left out.
fn targets(markdown: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut is_code = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let rest = &line[at + 2..];
            let target = rest[..rest.find([')', ' ']).unwrap_or(rest.len())].split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains(':') {
                found.push(target);
            }
        }
    }
    found
}

fn resolve(from: &str, target: &str) -> PathBuf {
    let base = Path::new(from).parent().unwrap_or(Path::new(""));
    let mut path = PathBuf::new();
    for part in base.join(target).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}

/// `ARCHITECTURE.md` has a word on every crate.
fn map(tree: &[File]) -> Vec<String> {
    let Some(map) = tree.iter().find(|file| file.path == "ARCHITECTURE.md") else {
        return vec!["ARCHITECTURE.md is missing".to_owned()];
    };
    let folders = tree.iter().filter_map(|file| file.path.strip_suffix("/Cargo.toml"));
    let missing = folders.filter(|folder| !map.text.contains(folder) && !map.text.contains(&backticked(folder)));
    missing.map(|folder| format!("ARCHITECTURE.md has no word on `{folder}`")).collect()
}

fn backticked(folder: &str) -> String {
    format!("`{}`", folder.trim_start_matches("crates/"))
}

#[test]
fn modules_open_with_their_purpose() {
    none(&openings(&tree()));
}

#[test]
fn decisions_are_numbered() {
    none(&decisions(&tree()));
}

#[test]
fn links_lead_somewhere() {
    let root = root();
    none(&links(&tree(), |path| root.join(path).exists()));
}

#[test]
fn the_map_shows_every_crate() {
    none(&map(&tree()));
}

#[test]
fn silent_modules_are_found() {
    check(openings, "crates/a/src/lib.rs", "//! What for.", &[]);
    check(openings, "crates/a/src/lib.rs", "use a;", &["opens without"]);
}

#[test]
fn unnumbered_decisions_are_found() {
    check(decisions, "docs/decisions/0001-one-log.md", "# One log", &[]);
    check(decisions, "docs/decisions/0002-two.md", "# Two", &["`0001-"]);
    check(decisions, "docs/decisions/one-log.md", "One log", &["`0001-", "without a title"]);
}

#[test]
fn dead_links_are_found() {
    let rule = |tree: &[File]| links(tree, |path| path == Path::new("docs/there.md"));
    check(rule, "docs/a.md", "[a](there.md#x) [b](../docs/there.md) [c](https://example.com) [d](#e)", &[]);
    check(rule, "docs/a.md", "[a](gone.md)", &["`gone.md`"]);
    check(rule, "docs/a.md", "```\n[a](gone.md)\n```", &[]);
}

#[test]
fn crates_off_the_map_are_found() {
    let tree = |text| [File::new("ARCHITECTURE.md", text), File::new("crates/wamp/Cargo.toml", "")];
    none(&map(&tree("`wamp` speaks WAMP")));
    none(&map(&tree("`crates/wamp/` speaks WAMP")));
    assert_eq!(map(&tree("nothing")).len(), 1);
}
