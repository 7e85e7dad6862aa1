//! Limits that hold for every room, each with the accident or the attack that it prevents.

/// Containers within containers in a payload. A body nested eighty thousand deep has killed other routers through the
/// stack; no application needs more than a few dozen.
pub const NESTING_DEPTH_MAX: usize = 128;

/// Octets of a URI (topic, procedure, realm). Bounds what one subscription can make the router remember.
pub const URI_BYTES_MAX: usize = 4096;

/// Octets of the options or details of one message, so that bookkeeping never outweighs the payload.
pub const OPTIONS_BYTES_MAX: usize = 64 * 1024;

/// Octets of any text that stands in the head of a message (a reason, a signature). Heads are looked at by the threads
/// that serve, and a text of sixteen mebioctets would hold them up.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;
