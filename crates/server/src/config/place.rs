//! Where in a file the value at a path stands, for faults that are found when the file has been read and forgotten.
//!
//! Knows paths as faults show them, and that keys may stand in camelCase and in `options`. Deliberately does not know which
//! keys there are.

use super::reader::camel_case;
use super::tree::{Node, Value, quote};
use super::{Syntax, grow};

/// The line (from 1) of the value at this path, or of the nearest section around it that is written there. 0 for none.
#[must_use]
pub fn line_of(text: &str, syntax: Syntax, path: &str) -> usize {
    let Ok(root) = grow(text, syntax) else { return 0 };
    let (mut node, mut rest, mut line) = (&root, path, 0);
    while let Some((found, behind)) = step(node, rest) {
        (node, rest, line) = (found, behind, found.line);
    }
    line
}

/// One step along a path, and what is left of it.
fn step<'t, 'p>(node: &'t Node, path: &'p str) -> Option<(&'t Node, &'p str)> {
    match &node.value {
        Value::List(items) => {
            let (index, behind) = path.strip_prefix('[')?.split_once(']')?;
            Some((items.get(index.parse::<usize>().ok()?)?, behind))
        }
        Value::Dict(entries) => {
            let path = path.strip_prefix('.').unwrap_or(path);
            let name = &path[..path.find(['.', '[']).unwrap_or(path.len())];
            let camel = camel_case(name);
            let found = entries.iter().find_map(|entry| {
                if !name.is_empty() {
                    return (entry.key == name || entry.key == camel).then_some((&entry.node, &path[name.len()..]));
                }
                // A key that the user has chosen.
                path.strip_prefix(&format!("[{}]", quote(&entry.key))).map(|behind| (&entry.node, behind))
            });
            let options = entries.iter().find(|entry| entry.key == "options" && !name.is_empty() && name != "options");
            found.or_else(|| step(&options?.node, path))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_lines() {
        let text = r#"workers:
  - type: router
    transports:
      - type: web
        paths:
          "a.b [\"c":
            type: websub-hub
            options:
              certificateAuthorities: x
          d: {type: static,
            directory: y}
store:
  path: z
"#;
        for (path, line) in [
            ("store.path", 13),
            ("store.type", 13),
            (r#"workers[0].transports[0].paths["a.b [\"c"].certificate_authorities"#, 9),
            (r#"workers[0].transports[0].paths["a.b [\"c"].options.certificate_authorities"#, 9),
            (r#"workers[0].transports[0].paths["d"].directory"#, 11),
            (r#"workers[0].transports[0].paths["e"].directory"#, 6),
            ("controller.id", 0),
            ("", 0),
        ] {
            assert_eq!(line_of(text, Syntax::Yaml, path), line, "{path}");
        }
        assert_eq!(line_of("{", Syntax::Json, "store.path"), 0);
    }
}
