//! stub

pub mod pusher;
