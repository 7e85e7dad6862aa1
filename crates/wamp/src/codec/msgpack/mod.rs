//! MessagePack, read strictly and written in the shortest form.
//!
//! Octets are `bin`. Extensions, timestamps among them, pass from one MessagePack client to another and nowhere else.

mod reader;
mod writer;

pub(super) use reader::Reader;
pub(super) use writer::Writer;
