//! The stores from outside: the contract on both, and what only a file can go through.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod bed;
mod contract;
mod file;
