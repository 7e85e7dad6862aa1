//! YAML 1.2 (core schema) into the same tree as JSON.
//!
//! Knows scalars, anchors and aliases. Deliberately refuses what a node configuration has no use for: several
//! documents, merge keys, tags of one's own, keys that are not scalars.

use super::tree::{Entry, Node, SyntaxError, Value};
use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::Number;
use std::collections::BTreeMap;
use stentor_model::limit::NESTING_DEPTH_MAX;

/// Nodes of one file with its aliases expanded. An alias of an alias doubles; a dozen such lines would fill the memory.
const NODES_MAX: usize = 100_000;

/// Reads a whole text as one YAML document. An empty one is null.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| SyntaxError {
            line: error.marker().line(),
            message: format!("invalid YAML: {}", error.info()),
        })?;
        builder.event(event, span.start.line())?;
    }
    Ok(builder.root.unwrap_or(Node { line: 1, value: Value::Null }))
}

/// A collection that has begun and not ended.
enum Open {
    List(Vec<Node>),
    Dict { entries: Vec<Entry>, key: Option<(String, usize)> },
}

/// Turns events into a tree with a stack of its own, so that no input can exhaust the thread's.
#[derive(Default)]
struct Builder {
    open: Vec<(Open, usize, usize)>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<(), SyntaxError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                // A key stays text, whatever it looks like: `8080:` and `true:` are names there.
                let value = if self.wants_key() {
                    Value::Text(text.into_owned())
                } else {
                    scalar(&text, style, tag.as_deref()).map_err(|message| SyntaxError { line, message })?
                };
                self.complete(Node { line, value }, anchor)
            }
            Event::SequenceStart(anchor, tag) => self.begin(Open::List(Vec::new()), anchor, tag.as_deref(), line),
            Event::MappingStart(anchor, tag) => {
                self.begin(Open::Dict { entries: Vec::new(), key: None }, anchor, tag.as_deref(), line)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some((open, anchor, line)) = self.open.pop() else { return Ok(()) };
                let value = match open {
                    Open::List(nodes) => Value::List(nodes),
                    Open::Dict { entries, .. } => Value::Dict(entries),
                };
                self.complete(Node { line, value }, anchor)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => {
                    // The copy keeps the line of the original: that is where a fault in it has to be mended.
                    let node = node.clone();
                    self.nodes += count(&node);
                    if self.open.len() + depth(&node) > NESTING_DEPTH_MAX {
                        return Err(too_deep(line));
                    }
                    self.complete(node, 0)
                }
                None => Err(SyntaxError { line, message: "invalid YAML: an alias inside its own anchor".to_owned() }),
            },
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(SyntaxError { line, message: "a second YAML document; a node has one configuration".to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Whether the next node is a key: a dictionary is open and holds no key yet that waits for its value.
    fn wants_key(&self) -> bool {
        matches!(self.open.last(), Some((Open::Dict { key: None, .. }, ..)))
    }

    /// Opens a collection. Its anchor is kept until it ends; an alias inside it finds nothing, so cycles cannot arise.
    fn begin(&mut self, open: Open, anchor: usize, tag: Option<&Tag>, line: usize) -> Result<(), SyntaxError> {
        if self.wants_key() {
            return Err(SyntaxError { line, message: "a key must be a plain name".to_owned() });
        }
        if let Some(tag) = tag.filter(|tag| !(tag.is_yaml_core_schema() && matches!(&*tag.suffix, "map" | "seq"))) {
            return Err(SyntaxError { line, message: format!("the YAML tag '{tag}' is not supported") });
        }
        if self.open.len() >= NESTING_DEPTH_MAX {
            return Err(too_deep(line));
        }
        self.open.push((open, anchor, line));
        Ok(())
    }

    /// Puts a finished node where it belongs: into the root, a list, or a dictionary as key or value.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        let line = node.line;
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(SyntaxError { line, message: format!("more than {NODES_MAX} values, aliases expanded") });
        }
        if anchor != 0 {
            self.nodes += count(&node);
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some((Open::List(nodes), ..)) => nodes.push(node),
            Some((Open::Dict { entries, key }, ..)) => match key.take() {
                Some((key, line)) => entries.push(Entry { key, line, node }),
                None => *key = Some(key_of(node)?),
            },
        }
        Ok(())
    }
}

/// A node as a key. Merge keys are refused by name, because taken literally they would be an unknown key.
fn key_of(node: Node) -> Result<(String, usize), SyntaxError> {
    let line = node.line;
    match node.value {
        Value::Text(text) if text == "<<" => Err(SyntaxError {
            line,
            message: "YAML merge keys ('<<') are not supported; write the keys out".to_owned(),
        }),
        Value::Text(text) => Ok((text, line)),
        _ => Err(SyntaxError { line, message: "a key must be a plain name".to_owned() }),
    }
}

fn too_deep(line: usize) -> SyntaxError {
    SyntaxError { line, message: format!("nested more than {NESTING_DEPTH_MAX} deep") }
}

/// Nodes in a tree, itself included.
fn count(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(nodes) => nodes.iter().map(count).sum(),
        Value::Dict(entries) => entries.iter().map(|entry| count(&entry.node)).sum::<usize>(),
        _ => 0,
    }
}

/// Containers within containers.
fn depth(node: &Node) -> usize {
    match &node.value {
        Value::List(nodes) => 1 + nodes.iter().map(depth).max().unwrap_or(0),
        Value::Dict(entries) => 1 + entries.iter().map(|entry| depth(&entry.node)).max().unwrap_or(0),
        _ => 0,
    }
}

/// Section 10.3.2 of YAML 1.2.2: what a plain scalar means. Quoted ones are always text.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => return Ok(Value::Text(text.to_owned())),
        Some(tag) if !(tag.is_yaml_core_schema() && matches!(&*tag.suffix, "int" | "float" | "bool" | "null")) => {
            return Err(format!("the YAML tag '{tag}' is not supported"));
        }
        None if style != ScalarStyle::Plain => return Ok(Value::Text(text.to_owned())),
        _ => {}
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::Text(text.to_owned()), Value::Number),
    })
}

/// The numbers of the core schema. Infinities and NaN have no place in a configuration and stay text.
fn number(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().map(Number::from);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8).ok().map(Number::from);
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(Number::from(whole));
    }
    if let Ok(whole) = text.parse::<u64>() {
        return Some(Number::from(whole));
    }
    text.parse::<f64>().ok().and_then(Number::from_f64)
}
