//! Authenticator functions: the operator's Python, in processes beside the node.
//!
//! One [`Sidecar`] for each hub that has a function. It lives on a thread of its own, makes the virtual environment
//! (`environment`), keeps a crew of worker processes (`crew`, `worker`) that each run the function of the operator
//! (`source`) in the runner that the binary carries (`package`), and asks them over a private socket (`frame`, `speech`).
//! A worker that crashes, hangs or leaks is ended and another one hired; without a verdict in time nobody is
//! subscribed (I7).
//!
//! It knows no hub and no HTTP: it is asked a [`Question`] and says a `Verdict` of `stentor_websub::authenticator`. What
//! follows from that is decided there.

mod cache;
mod crew;
mod environment;
mod frame;
mod handle;
mod output;
mod package;
mod script;
mod source;
mod speech;
mod worker;

use std::path::PathBuf;
use std::time::Duration;

pub use environment::{Unused, unused};
pub use handle::{Condition, Sidecar};
pub use package::{READY, Ready};
pub use source::{CodeFault, Source, check};
pub use speech::{Fields, Question};

/// What one function needs to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The hub that asks; `context.node`.
    pub hub: String,
    /// `context.tenant`.
    pub tenant: String,
    /// Where the code is.
    pub source: Source,
    /// Specifiers as pip takes them, besides those of the runner and of the function itself.
    pub requirements: Vec<String>,
    /// `context.config`: a JSON object.
    pub config: serde_json::Value,
    /// From the question to the verdict.
    pub timeout: Duration,
    /// Worker processes.
    pub workers: usize,
    /// The interpreter that environments are made with.
    pub python: PathBuf,
    /// Address space of a worker in octets.
    pub memory_bytes_max: u64,
    /// Where environments and tables are kept.
    pub node_dir: PathBuf,
}
