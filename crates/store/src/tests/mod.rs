//! The stores from outside: the contract on both, and what only a file can go through.

mod bed;
mod contract;
mod file;
