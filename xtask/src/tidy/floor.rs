//! Imports go down only: between the crates by their manifests, between the rooms of the server by their `crate::`
//! paths.

use super::source::{identifier, line_of, mask, without_tests, words};
use super::{File, check, none, tree};

/// The folder of each crate, bottom up, and our own crates that it may depend on.
const CRATES: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("websocket", &["model"]),
    ("wamp", &["model"]),
    ("delivery", &["model"]),
    ("websub", &["model"]),
    ("store", &["model"]),
    ("server", &["model", "websocket", "wamp", "delivery", "websub", "store"]),
    ("sim", &["model", "delivery"]),
    ("bench", &[]),
    ("fuzz", &["model", "websocket", "websub", "wamp", "server"]),
    ("xtask", &[]),
];

/// Crates of others that these of ours do without, and why.
const WITHOUT: &[(&[&str], &[&str], &str)] = &[
    (&["model"], &["serde", "serde_json"], "renaming a field must not change a protocol"),
    (
        &["model", "websocket", "wamp", "delivery", "websub"],
        &["tokio", "hyper", "hyper-util", "tracing", "rustls", "socket2"],
        "a machine has no sockets, no runtime and no log",
    ),
];

/// The rooms (top-level modules) of the server, bottom up, and the rooms that each may import. A room may only name
/// rooms above itself in this list, so the list is the order of the floors; `floors_have_no_cycle` sees to that.
const ROOMS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("config", &[]),
    ("meter", &[]),
    ("courier", &["clock"]),
    ("process", &[]),
    ("pusher", &[]),
    ("fanout", &["clock", "meter"]),
    ("task", &["fanout"]),
    ("realm", &["fanout", "task"]),
    ("socket", &["fanout", "meter", "realm"]),
    ("sidecar", &["meter"]),
    ("hub", &["clock", "courier", "fanout", "meter", "realm", "sidecar", "task"]),
    ("http", &["clock", "fanout", "hub", "meter", "process", "pusher", "realm", "socket", "task"]),
    (
        "node",
        &[
            "clock", "config", "courier", "fanout", "http", "hub", "meter", "process", "pusher", "realm", "sidecar",
            "socket", "task",
        ],
    ),
    ("cli", &["clock", "config", "courier", "http", "node", "process", "pusher", "sidecar"]),
];

/// What the crate root of the server is allowed: `lib.rs` declares the rooms, `main.rs` starts the highest of them.
const ROOM_ROOT: &str = "crates/server/src/";

fn manifests(tree: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in tree.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        let folder = file.path.trim_end_matches("/Cargo.toml").trim_start_matches("crates/");
        let Some((_, allowed)) = CRATES.iter().find(|(name, _)| *name == folder) else {
            faults.push(format!("{}: on which floor does `{folder}` live? Say so in CRATES", file.path));
            continue;
        };
        for dependency in dependencies(&file.text) {
            let ours = dependency.strip_prefix("stentor-").or_else(|| (dependency == "xtask").then_some("xtask"));
            if ours.is_some_and(|name| !allowed.contains(&name)) {
                faults.push(format!("{}: `{folder}` may not depend on `{dependency}`", file.path));
            }
            for (crates, without, reason) in WITHOUT {
                if crates.contains(&folder) && without.contains(&dependency) {
                    faults.push(format!("{}: `{folder}` does without `{dependency}`: {reason}", file.path));
                }
            }
        }
    }
    faults
}

/// The names under `[dependencies]`, its development and build sisters, and those of single targets.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = section.ends_with("dependencies");
            // `[dependencies.name]`
            if let Some((_, name)) = section.split_once("dependencies.") {
                names.push(name.trim_matches('"'));
            }
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let end = line.find(|c: char| !c.is_alphanumeric() && c != '-' && c != '_').unwrap_or(line.len());
            names.push(&line[..end]);
        }
    }
    names
}

fn rooms(tree: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in tree.iter().filter(|file| file.is_rust()) {
        let Some(inside) = file.path.strip_prefix(ROOM_ROOT) else { continue };
        if matches!(inside, "lib.rs" | "main.rs") {
            continue;
        }
        let room = inside.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            faults.push(format!("{}: on which floor is the room `{room}`? Say so in ROOMS", file.path));
            continue;
        };
        let code = without_tests(&mask(&file.text));
        for (at, other) in imports(&code) {
            if other != room && !allowed.contains(&other) {
                let line = line_of(&code, at);
                faults.push(format!("{}:{line}: the room `{room}` may not import `{other}`", file.path));
            }
        }
        // `super` may not leave the room: another room is named by its full path, so that this rule sees it.
        let depth = inside.matches('/').count() + usize::from(!inside.ends_with("/mod.rs"));
        if let Some(at) = code.find(&"super::".repeat(depth)) {
            faults.push(format!("{}:{}: say `crate::` to leave the room", file.path, line_of(&code, at)));
        }
    }
    faults
}

/// The rooms that a file names: `crate::room` and `crate::{room, other::{..}}`.
fn imports(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for at in words(code, "crate") {
        // `pub(crate)` and `crate` in attributes name nothing.
        let Some(rest) = code[at..].trim_start().strip_prefix("::") else { continue };
        match rest.trim_start().strip_prefix('{') {
            None => found.push((at, identifier(rest))),
            Some(group) => found.extend(group_names(group).into_iter().map(|name| (at, name))),
        }
    }
    found
}

/// The first identifier of each branch of a `{a, b::c, d::{e, f}}` group, its opening brace taken off.
fn group_names(group: &str) -> Vec<&str> {
    let mut names = vec![identifier(group)];
    let mut depth = 0_usize;
    for (at, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => break,
            b'}' => depth -= 1,
            b',' if depth == 0 => names.push(identifier(&group[at + 1..])),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn crates_import_down() {
    none(&manifests(&tree()));
}

#[test]
fn rooms_import_down() {
    none(&rooms(&tree()));
}

#[test]
fn floors_have_no_cycle() {
    for table in [CRATES, ROOMS] {
        for (at, (name, allowed)) in table.iter().enumerate() {
            for below in *allowed {
                let is_below = table[..at].iter().any(|(other, _)| other == below);
                assert!(is_below, "`{name}` may import `{below}`, which must therefore stand before it in the table");
            }
        }
    }
}

#[test]
fn imports_upwards_are_found() {
    check(manifests, "crates/model/Cargo.toml", "[dependencies]\nbytes = \"1\"\n", &[]);
    check(manifests, "crates/model/Cargo.toml", "[dependencies]\nserde.workspace = true\n", &["does without `serde`"]);
    check(manifests, "crates/wamp/Cargo.toml", "[dev-dependencies]\nstentor-websocket = { }\n", &["stentor-websocket"]);
    check(manifests, "crates/wamp/Cargo.toml", "[dependencies.stentor-server]\n", &["stentor-server"]);
    check(manifests, "crates/wamp/Cargo.toml", "[target.'cfg(unix)'.dependencies]\ntokio = \"1\"", &["`tokio`"]);
    check(manifests, "crates/server/Cargo.toml", "[build-dependencies]\nxtask.path = \"..\"\n", &["`xtask`"]);
    check(manifests, "crates/new/Cargo.toml", "", &["on which floor"]);
}

#[test]
fn rooms_upwards_are_found() {
    let socket = "crates/server/src/socket/talk.rs";
    check(rooms, socket, "use crate::realm::Realm; use crate::{meter, fanout::{self, node}};", &[]);
    check(
        rooms,
        socket,
        "pub(crate) fn a() { crate::node::start() }",
        &["talk.rs:1: the room `socket` may not import `node`"],
    );
    check(rooms, socket, "use crate::{\n meter::{a, b},\n node,\n};", &["`node`"]);
    check(rooms, socket, "// crate::node\n#[cfg(test)]\nmod tests { use crate::node; }", &[]);
    check(rooms, socket, "use super::Request;", &[]);
    check(rooms, socket, "use super::super::node;", &["say `crate::`"]);
    check(rooms, "crates/server/src/meter.rs", "use super::node;", &["say `crate::`"]);
    check(rooms, "crates/server/src/cellar.rs", "", &["on which floor"]);
    check(rooms, "crates/server/src/lib.rs", "pub use crate::node::Node;", &[]);
}
