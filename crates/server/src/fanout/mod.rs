//! From a publication to the sockets: frames built once, outboxes that share them, and one flush for each turn of a thread.

pub mod frames;
pub mod outbox;
pub mod peer;
pub mod shard;
pub mod turnstile;
