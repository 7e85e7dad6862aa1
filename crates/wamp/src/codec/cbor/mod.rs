//! CBOR as RFC 8949 defines it: everything well-formed is read, preferred serialization is written.
//!
//! Octets are byte strings. Tags are passed over, since WAMP gives them no meaning; only bignums (tags 2 and 3) are
//! understood, as integers or, beyond 64 bits, as floats. Undefined is read as null. Simple values without a meaning are
//! refused, for nobody could pass them on.

mod head;
mod reader;
mod writer;

pub(super) use reader::Reader;
pub(super) use writer::Writer;
