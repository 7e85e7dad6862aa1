//! The WebSub hub: requests and publications in, webhooks out, in order and never lost.
//!
//! Everything that decides is elsewhere: `stentor-websub` reads requests and knows what verifies a subscription,
//! `stentor-delivery` when the next webhook may go, `stentor-store` where the order lives. This room carries out what they
//! say. All hubs of a node live on one thread of their own ([`Works`]), so that neither a busy hub nor its store's waits
//! are felt by WAMP sessions; the threads that serve connections hold a [`Hub`], which appends to the log itself and asks
//! that thread for everything else.
//!
//! It does not know HTTP requests or statuses: that is `http`'s. It does not know the configuration's syntax either.

mod admin;
mod admission;
mod bridge;
mod cache;
mod clerk;
mod deliver;
mod desk;
mod door;
mod judge;
mod line;
mod ping;
mod publish;
mod runner;
mod stream;
mod target;
mod verify;
mod works;

pub use admin::{AdminFault, DeadView, DeliveryView, Numbers, SubscriptionView};
pub use bridge::{Bridge, CROSSERS_MAX};
pub use door::{Asked, Hub, Options};
pub use judge::Judge;
pub(crate) use publish::Appending;
pub use publish::{Publish, PublishFault};
pub use stream::{Next, Reader, Since};
pub use works::{Settings, StartFault, Works};
