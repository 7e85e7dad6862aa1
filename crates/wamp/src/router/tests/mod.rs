//! The router, rule by rule, and against naive routers.

mod broker;
mod dealer;
mod meta;
mod permissions;
mod properties;
