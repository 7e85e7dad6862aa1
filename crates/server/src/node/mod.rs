//! A running node: threads, listeners, signals, and the wiring from the configuration to services.

mod descriptors;
pub mod hubs;
mod listen;
pub mod preflight;
mod run;
pub mod tls;
pub mod wiring;

pub(crate) use hubs::sidecar_options;
pub use run::{DRAIN_TIMEOUT, Open, Running, Settings, StartError, start};
