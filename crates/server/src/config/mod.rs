//! The configuration of a node: from a JSON or YAML file to plain typed data, or to a list of everything wrong with it.
//!
//! Both generations of Crossbar.io's node configuration are read (the 2014 form and `"version": 2`), and old and new
//! names of one thing become one thing. What Crossbar.io has and Stentor lacks is named as such: a fault where leaving
//! it out would change what the node serves or whom it lets in, a warning where only process settings are concerned.
//!
//! Knows the file format, its defaults and its limits. Deliberately does not open sockets, read certificates or look at
//! the environment on its own: those who start the node pass in what is needed, and each room receives its own part.

mod auth;
mod endpoint;
mod gate;
mod hub;
mod json;
mod limits;
pub mod network;
mod node;
mod path;
mod place;
mod reader;
mod realm;
mod store;
mod transport;
mod tree;
mod websocket;
mod yaml;

#[cfg(test)]
mod tests;

pub use auth::{AuthConfig, SaltConfig, TicketPrincipal, WampCraUser};
pub use endpoint::{BACKLOG_DEFAULT, EndpointConfig, IpVersion, TlsConfig};
pub use gate::GateOptions;
pub use hub::{
    AuthenticatorConfig, BridgeConfig, BridgeRule, FunctionCode, FunctionConfig, HubConfig, is_function_name,
};
pub use limits::LimitsConfig;
pub use node::{NodeConfig, RouterConfig};
pub use path::{JsonOptions, PathConfig, PublisherKind, StaticOptions};
pub use place::line_of;
pub use realm::{Match, PermissionConfig, RealmConfig, RealmOptions, RequestIds, RoleConfig, UriCheck};
pub use store::{StoreConfig, StoreKind};
pub use transport::{TransportConfig, TransportKind, WebOptions};
pub use websocket::{DeflateConfig, Serializer, WebSocketConfig, WebSocketOptions};

use std::fmt;
use std::path::{Path, PathBuf};

/// Octets of a configuration file. A thousand realms fit; a file given by mistake (a log, an image) does not.
pub const CONFIG_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The two ways to write a configuration down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// RFC 8259, without comments.
    Json,
    /// YAML 1.2, core schema.
    Yaml,
}

impl Syntax {
    /// The syntax that a file's extension promises: `.yaml` and `.yml` are YAML, all others JSON.
    pub fn of(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml" | "yml") => Self::Yaml,
            _ => Self::Json,
        }
    }
}

/// What a configuration may refer to outside of itself.
pub struct Surroundings<'a> {
    /// Relative directories and files start here.
    pub node_dir: &'a Path,
    /// Looks up an environment variable (`"port": "$PORT"`).
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Whether a directory or file named in the configuration is there.
    pub exists: &'a dyn Fn(&Path) -> bool,
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("node_dir", &self.node_dir).finish_non_exhaustive()
    }
}

/// One thing worth mending, with its place. Displayed as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file as it was named to us.
    pub file: String,
    /// From 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// Such as `workers[0].transports[1].paths["push"].options.key`; empty for the root.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        if !self.path.is_empty() {
            write!(f, " {}:", self.path)?;
        }
        write!(f, " {}", self.message)
    }
}

/// Everything that reading a configuration has to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// There if and only if `faults` is empty.
    pub config: Option<NodeConfig>,
    /// What keeps the node from starting, in the order of the file.
    pub faults: Vec<Fault>,
    /// What is read and has no effect.
    pub warnings: Vec<Fault>,
    /// What works and is probably not meant.
    pub advice: Vec<Fault>,
}

/// Reads a configuration file.
pub fn load(path: &Path, node_dir: &Path, env: &dyn Fn(&str) -> Option<String>) -> Report {
    let file = path.display().to_string();
    match read(path) {
        Ok(text) => {
            let surroundings = Surroundings { node_dir, env, exists: &|path| path.exists() };
            parse(&text, Syntax::of(path), &file, &surroundings)
        }
        Err((line, message)) => Report {
            config: None,
            faults: vec![Fault { file, line, path: String::new(), message }],
            warnings: Vec::new(),
            advice: Vec::new(),
        },
    }
}

fn read(path: &Path) -> Result<String, (usize, String)> {
    let unreadable = |error: std::io::Error| (0, format!("cannot be read: {error}"));
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > CONFIG_BYTES_MAX {
        return Err((0, format!("has {size} octets; a configuration has at most {CONFIG_BYTES_MAX}")));
    }
    String::from_utf8(std::fs::read(path).map_err(unreadable)?).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        (1 + before.iter().filter(|byte| **byte == b'\n').count(), "is not UTF-8 text here".to_owned())
    })
}

/// Reads a configuration text; `file` is only the name that faults carry.
pub fn parse(text: &str, syntax: Syntax, file: &str, surroundings: &Surroundings<'_>) -> Report {
    let cx = reader::Context::new(surroundings, file);
    let config = interpret(text, syntax, &cx);
    let mut found = cx.found.into_inner();
    for list in [&mut found.faults, &mut found.warnings, &mut found.advice] {
        list.sort_by_key(|fault| fault.line);
    }
    let config = config.filter(|_| found.faults.is_empty());
    debug_assert!(config.is_some() || !found.faults.is_empty(), "a configuration vanished without a fault");
    Report { config, faults: found.faults, warnings: found.warnings, advice: found.advice }
}

fn grow(text: &str, syntax: Syntax) -> Result<tree::Node, tree::SyntaxError> {
    match syntax {
        Syntax::Json => json::parse(text),
        Syntax::Yaml => yaml::parse(text),
    }
}

fn interpret(text: &str, syntax: Syntax, cx: &reader::Context<'_>) -> Option<NodeConfig> {
    match grow(text, syntax) {
        // The tree lives only here; what comes out owns its data.
        Ok(tree) => node::read(&tree, cx),
        Err(error) => {
            cx.fault(error.line, "", error.message);
            None
        }
    }
}

/// The configuration file of a node directory, if it has one. JSON goes first, as with Crossbar.io.
pub fn find(node_dir: &Path) -> Option<PathBuf> {
    ["config.json", "config.yaml", "config.yml"].iter().map(|name| node_dir.join(name)).find(|path| path.is_file())
}

/// The node that runs where no configuration is: also the reference of every key, its default, unit and limits.
pub fn embedded_default() -> &'static str {
    include_str!("../../../../config.default.yaml")
}
