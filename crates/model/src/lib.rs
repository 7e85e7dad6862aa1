//! The nouns that every other room speaks: identifiers, limits and secrets.
//!
//! Nothing here knows a wire format, a clock or a socket. There is no serde in this crate, so that renaming a field can
//! never change a protocol.

pub mod hash;
pub mod id;
pub mod limit;
pub mod log;
pub mod secret;

pub use hash::IdMap;
pub use id::{InvocationId, PublicationId, RegistrationId, RequestId, SessionId, SubscriptionId};
pub use log::{Epoch, Offset, Topic, WebhookId};
pub use secret::Secret;
