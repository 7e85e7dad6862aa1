//! The router, rule by rule, and against naive routers.

mod broker;
mod dealer;
mod limits;
mod meta;
mod outside;
mod permissions;
mod properties;
