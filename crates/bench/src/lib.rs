//! The load generator of Stentor, the ceilings that it is compared with, and the benchmark made of both.
//!
//! [`subscribers`] and [`publishers`] are the generator, for whoever wants to press on a server; [`process`] and
//! [`system`] start servers; [`cell`], [`curve`] and [`rounds`] are the benchmark, [`table`], [`chart`] and [`multiples`] show
//! what came out, and [`report`] puts slices of it together. [`soak`] presses on a server for long and judges it, [`weather`]
//! with clients that mean no good. [`hub`] is the benchmark of hubs, [`functions`] that of authenticator functions. [`profile`] counts instructions instead of time.
//!
//! Everything is measured from outside, through sockets and `/proc`: this crate knows nothing of the server's insides, so
//! that every server is measured alike.

mod callgrind;
mod certificate;
mod frame;
mod inflate;
mod stub;

pub mod cell;
pub mod chart;
pub mod cli;
pub mod clock;
pub mod curve;
pub mod dialect;
pub mod fault;
pub mod functions;
pub mod histogram;
pub mod hub;
pub mod ledger;
pub mod machine;
pub mod multiples;
pub mod process;
pub mod profile;
pub mod progress;
pub mod publishers;
pub mod report;
pub mod request;
pub mod rounds;
pub mod session;
pub mod soak;
pub mod stamp;
pub mod subscribers;
pub mod swarm;
pub mod system;
pub mod table;
pub mod target;
pub mod weather;
pub mod wire;
