//! Does ordered delivery survive bad days? A seed makes a world: a store, receivers, an operator, and everything that goes
//! wrong with them, in virtual time. The delivery machine lives in it and is watched at every step.
//!
//! `setup` draws what kind of world it is, `world` lets time pass and carries out actions as the shell would, `disk`
//! is the store, `receiver` the callbacks, and `oracle` knows the promises and nothing of how they are kept. The same
//! seed is always the same life, so a failure is its seed.
//!
//! The promises are those that ARCHITECTURE.md numbers: nothing is sent before it is durable (I1), one delivery in flight (I2),
//! a cursor moves only on success or recorded giving up (I3), nobody pays for others beyond the limits (I4), a crash
//! duplicates but never loses or swaps (I6). The handover from history to live (I5) is the same path here. Sessions (the
//! other half of I4) and the sidecar (I7) are not in this world.
//!
//! ```
//! let life = stentor_sim::run(7, stentor_sim::Sabotage::None).unwrap();
//! assert!(life.deliveries > 0);
//! ```

mod disk;
mod oracle;
mod receiver;
mod setup;
mod world;

pub use setup::Sabotage;
pub use world::{Failure, Life, run, run_traced};
