//! A configuration as written: values with the line they stand on, whichever of the two syntaxes they came from.
//!
//! Knows positions and plain value kinds. Deliberately does not know what any key means: that is the readers' work.

use serde_json::Number;

/// One value and the line (from 1) on which it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

/// The value kinds that JSON and the YAML core schema share.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Dict(Vec<Entry>),
}

/// One key of a dictionary. Entries keep the order of the file, and repeated keys stay visible so that they can be
/// reported instead of silently winning over each other.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) node: Node,
}

/// Why a text has no tree. Only the first is known: after it, everything would be guesswork.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) message: String,
}

/// Characters of a quoted value shown in a message. Enough to recognise it, too little to flood a terminal.
const QUOTE_CHARS_MAX: usize = 60;

impl Value {
    /// What stands there, in the words of a message: `"x"`, `12`, `true`, `a list`.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => quote(text),
            Self::List(_) => "a list".to_owned(),
            Self::Dict(_) => "a dictionary".to_owned(),
        }
    }

    /// The same value without positions, for services that hand it out again. A repeated key keeps its last value; the
    /// reader has reported the repetition by then.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(flag) => serde_json::Value::Bool(*flag),
            Self::Number(number) => serde_json::Value::Number(number.clone()),
            Self::Text(text) => serde_json::Value::String(text.clone()),
            Self::List(nodes) => nodes.iter().map(|node| node.value.to_json()).collect(),
            Self::Dict(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.node.value.to_json())).collect()
            }
        }
    }
}

/// A text in quotation marks, control characters escaped, cut to a length that fits a line.
pub(super) fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTE_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}
