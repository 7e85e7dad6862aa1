//! Stentor: one HTTP POST in, every listener reached.
//!
//! This crate is the shell around the machines (`stentor_wamp`, `stentor_websocket`, `stentor_websub`,
//! `stentor_delivery`) and the store: sockets, clocks, threads, files
//! and signals are here, and as little policy as possible. `ARCHITECTURE.md` walks through the rooms.

pub mod cli;
pub mod clock;
pub mod config;
pub mod courier;
pub mod fanout;
pub mod http;
pub mod hub;
pub mod meter;
pub mod node;
pub mod process;
pub mod pusher;
pub mod realm;
pub mod sidecar;
pub mod socket;
mod task;
