//! File descriptors: how many connections the process can have.

use crate::process;

/// Descriptors that are not for connections: listeners, event queues, files being served, and one to refuse with.
const RESERVED_MIN: u64 = 64;

/// Raises the process's limit as far as it may go, and says how many connections fit under it. Refusing a connection
/// needs a descriptor too, so a node that stops short of the limit can still say why.
pub(super) fn for_connections() -> u64 {
    // Where raising is forbidden, what there is has to do.
    let current = process::raise_open_files().unwrap_or(u64::MAX);
    current.saturating_sub(RESERVED_MIN.max(current / 16)).max(1)
}
