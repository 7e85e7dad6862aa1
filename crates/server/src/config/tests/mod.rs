//! What configurations become, and what is said about bad ones.

mod accepted;
mod default;
mod faults;
mod hub;
mod robust;

use super::{Report, Surroundings, Syntax, parse};
use std::path::Path;

/// Reads a text in a node directory `/node` where every file exists, and where `PORT` is 9123 and `WORD` is a word.
fn read(text: &str, syntax: Syntax) -> Report {
    read_with(text, syntax, &|_| true)
}

fn read_with(text: &str, syntax: Syntax, exists: &dyn Fn(&Path) -> bool) -> Report {
    let env = |name: &str| match name {
        "PORT" => Some("9123".to_owned()),
        "WORD" => Some("eighty".to_owned()),
        _ => None,
    };
    let surroundings = Surroundings { node_dir: Path::new("/node"), env: &env, exists };
    parse(text, syntax, "config.json", &surroundings)
}

/// A sound web transport node with something inserted: realm keys, transport keys and paths.
fn node(worker: &str, transport: &str, paths: &str) -> String {
    format!(
        r#"{{"workers": [{{"type": "router", {worker}
"realms": [{{"name": "realm1", "roles": [{{"name": "anonymous"}}]}}],
"transports": [{{"type": "web", "endpoint": {{"type": "tcp", "port": 8080}}, {transport}
"paths": {{"/": {{"type": "demo"}}{paths}
}}}}]}}]}}"#
    )
}
