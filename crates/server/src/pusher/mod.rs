//! The policy of the HTTP publisher (`pusher`) and caller services: who may post, what a body means, what is answered.
//!
//! Everything here is a machine: it is given plain data and the time, and hands back data. It knows the query fields,
//! the signature, the body and the statuses. It deliberately does not know sockets, the HTTP library, the router or the
//! clock, so that every refusal can be tested as one row of a table.
//!
//! The walk of one request: [`Gate::admit`] judges the head before the body is read, [`Gate::verify`] judges the query
//! and the body together, [`batch::split`] and [`body`] say what is to be published, and [`answer`] words the outcome.

pub mod address;
pub mod answer;
pub mod batch;
pub mod body;
pub mod debug;
pub mod gate;
pub mod media;
mod query;
mod replay;
pub mod signature;

pub use answer::{Refusal, RefusalKind};
pub use gate::{Admitted, Gate, GateOptions, Head, Standing};
pub use media::Media;
pub use signature::Credentials;
