//! permessage-deflate (RFC 7692): the agreement on it, the compressor and the decompressor.
//!
//! Both sides always forgo context takeover. That is what lets one [`Deflater`] and one [`Inflater`] per thread serve
//! every session, and what lets a compressed frame be shared by all readers whose window is large enough. A compressor
//! per session would cost some 300 KiB each.
//!
//! Does not know frames; RSV1 is set and read by the neighbours.

mod inflation;
mod offer;
mod stream;

pub(crate) use inflation::{Fault, Inflated, Inflation, Sort};
pub use offer::{Agreed, ClientWindow, Offer, Policy, Window, negotiate};
pub use stream::{Deflater, InflateError, Inflater};
