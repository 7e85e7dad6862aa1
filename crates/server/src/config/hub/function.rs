//! `authenticator: {type: function}` of a hub: Python that says who may subscribe.
//!
//! Knows what may be written. Whether the code is a function is asked where Python is, by those who start the node.

use super::super::reader::{Cursor, Dict};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An authenticator function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionConfig {
    /// Where its code is.
    pub code: FunctionCode,
    /// What pip is to install for it.
    pub requirements: Vec<String>,
    /// `context.config`, an object.
    pub config: Value,
    /// How long one verdict may take; after that the request is refused.
    pub timeout: Duration,
    /// Worker processes.
    pub workers: usize,
    /// The interpreter of the environment: a path, or a command.
    pub python: PathBuf,
    /// Address space of a worker.
    pub memory_bytes_max: u64,
    /// The node directory, where functions, environments and tables are.
    pub node_dir: PathBuf,
}

/// Where the code of a function is, and the line of the configuration that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FunctionCode {
    /// In the configuration.
    Inline {
        /// The code.
        code: String,
        /// Where it begins.
        line: usize,
    },
    /// A file of the node directory, or a function of the library.
    Named {
        /// Its name.
        name: String,
        /// Where it is named.
        line: usize,
    },
}

impl FunctionConfig {
    /// A function with a name, about which nothing else is said.
    #[must_use]
    pub fn bare(name: &str, node_dir: &Path) -> Self {
        Self {
            code: FunctionCode::Named { name: name.to_owned(), line: 0 },
            requirements: Vec::new(),
            config: Value::Object(serde_json::Map::new()),
            timeout: TIMEOUT,
            workers: WORKERS,
            python: PathBuf::from("python3"),
            memory_bytes_max: MEMORY_BYTES_MAX,
            node_dir: node_dir.to_owned(),
        }
    }
}

impl FunctionCode {
    /// The line of the configuration.
    #[must_use]
    pub const fn line(&self) -> usize {
        match self {
            Self::Inline { line, .. } | Self::Named { line, .. } => *line,
        }
    }

    /// Makes it equal to the same code elsewhere in the file.
    pub fn forget_line(&mut self) {
        match self {
            Self::Inline { line, .. } | Self::Named { line, .. } => *line = 0,
        }
    }
}

/// The subscriber waits meanwhile, and a function that asks a database needs far less.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Milliseconds that a verdict may take: five minutes, after which no HTTP client waits any more.
const TIMEOUT_MS_MAX: u64 = 300_000;

/// One works while the other is replaced.
const WORKERS: usize = 2;
const WORKERS_MAX: u64 = 64;

/// Python, FastAPI and its threads take a third of this; the limit is for what leaks.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// Below it, Python itself does not start; above, a slip of the finger.
const MEMORY_BYTES: std::ops::RangeInclusive<u64> = 512 << 20..=1 << 40;

/// Characters of a function's name and of a requirement.
const NAME_CHARS_MAX: usize = 80;
const REQUIREMENT_CHARS_MAX: usize = 1000;

/// Requirements of one function.
const REQUIREMENTS_MAX: usize = 200;

/// Reads the rest of an `authenticator` of type `function`.
pub(super) fn read(dict: &mut Dict<'_>) -> Option<FunctionConfig> {
    let (inline, name) = (dict.take("inline"), dict.take("name"));
    if inline.is_none() && name.is_none() {
        dict.fault("an authenticator function needs 'inline' (its code) or 'name' (of a file in functions/)");
    }
    let code = code(inline, name);
    let (requirements, config) = (requirements(dict.take("requirements")), settings(dict.take("config")));
    let mut function = FunctionConfig {
        requirements,
        config,
        code: code.unwrap_or(FunctionCode::Named { name: String::new(), line: 0 }),
        ..standard(dict)
    };
    dict.milliseconds("timeout", 1..=TIMEOUT_MS_MAX, &mut function.timeout);
    dict.integer("workers", 1..=WORKERS_MAX, &mut function.workers);
    dict.integer("memory_bytes_max", MEMORY_BYTES, &mut function.memory_bytes_max);
    if let Some(python) = dict.take("python").and_then(|cursor| cursor.name()) {
        // A command is looked for in PATH, a path begins at the node directory.
        let is_path = python.contains('/');
        function.python = if is_path { function.node_dir.join(python) } else { PathBuf::from(python) };
    }
    // Without code there is a fault already.
    let is_whole = !matches!(&function.code, FunctionCode::Named { name, .. } if name.is_empty());
    is_whole.then_some(function)
}

/// Reads a function from the options by which a hosted hub knows it, if it is there. `None` in the inner place with a
/// fault.
pub(super) fn read_beside(dict: &mut Dict<'_>) -> Option<Option<FunctionConfig>> {
    let (inline, name) = (dict.take("inline_api_authenticator"), dict.take("managed_api_authenticator"));
    let needed = dict.take("requirements");
    if inline.is_none() && name.is_none() {
        if let Some(cursor) = needed {
            cursor
                .fault("belongs to a function; there is no 'inline_api_authenticator' or 'managed_api_authenticator'");
        }
        return None;
    }
    let (code, requirements) = (code(inline, name), requirements(needed));
    Some(code.map(|code| FunctionConfig { code, requirements, ..standard(dict) }))
}

fn standard(dict: &Dict<'_>) -> FunctionConfig {
    FunctionConfig::bare("", dict.cx.surroundings.node_dir)
}

/// Whether a function can have this name, which is that of a file as well.
#[must_use]
pub fn is_function_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=NAME_CHARS_MAX).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(letter)
}

fn code(inline: Option<Cursor<'_>>, name: Option<Cursor<'_>>) -> Option<FunctionCode> {
    match (inline, name) {
        (Some(inline), Some(_)) => {
            inline.fault("stands beside the name of a function; write one of them");
            None
        }
        (Some(inline), None) => {
            let code = inline.name()?.to_owned();
            Some(FunctionCode::Inline { code, line: inline.node.line })
        }
        (None, Some(cursor)) => {
            let name = cursor.name()?.to_owned();
            if !is_function_name(&name) {
                cursor.must(&format!("1 to {NAME_CHARS_MAX} letters, digits, '_', '-' and '.', without '.py' behind"));
                return None;
            }
            Some(FunctionCode::Named { name, line: cursor.node.line })
        }
        (None, None) => None,
    }
}

fn requirements(cursor: Option<Cursor<'_>>) -> Vec<String> {
    let items = cursor.as_ref().and_then(Cursor::list).unwrap_or_default();
    if let Some(cursor) = cursor.filter(|_| items.len() > REQUIREMENTS_MAX) {
        cursor.must(&format!("at most {REQUIREMENTS_MAX} requirements"));
    }
    items.iter().filter_map(requirement).collect()
}

/// One specifier. Options of pip would do more than install what they stand beside.
fn requirement(cursor: &Cursor<'_>) -> Option<String> {
    let text = cursor.name()?.trim();
    let is_one = text.len() <= REQUIREMENT_CHARS_MAX && !text.chars().any(char::is_control);
    if !is_one || text.is_empty() || text.starts_with(['-', '#']) {
        cursor.must("a requirement as pip takes it, such as 'psycopg[binary] >= 3.2'");
        return None;
    }
    Some(text.to_owned())
}

fn settings(cursor: Option<Cursor<'_>>) -> Value {
    let empty = || Value::Object(serde_json::Map::new());
    let Some(cursor) = cursor else { return empty() };
    cursor.check_repetitions();
    match cursor.node.value.to_json() {
        value @ Value::Object(_) => value,
        _ => {
            cursor.must("a dictionary");
            empty()
        }
    }
}
