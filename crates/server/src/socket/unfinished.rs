//! The memory of unfinished messages, which all WebSocket connections of a transport share.
//!
//! `max_message_size` bounds one session; without a bound over all of them, a hundred sessions that stop in the middle of a
//! large frame would take a hundred times as much. Little messages are not counted, so that ordinary traffic touches nothing
//! that threads share.

use std::sync::Arc;

use crate::meter::Gauge;

/// What one session may hold without asking: as much as a stranger may send anyhow.
const FREE_BYTES: u64 = 64 * 1024;

/// What is held by all sessions of a transport.
#[derive(Debug)]
pub struct Unfinished {
    held: Gauge,
    bytes_max: u64,
}

/// What one session holds of it.
#[derive(Debug, Default)]
pub(super) struct Share(u64);

/// A share that belongs to octets which are on their way somewhere. It is given back when they are freed.
#[derive(Debug)]
pub(super) struct Loan {
    of: Arc<Unfinished>,
    bytes: u64,
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.of.held.shrink(self.bytes);
    }
}

impl Unfinished {
    /// Nothing yet, and at most so many octets.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        Self { held: Gauge::default(), bytes_max }
    }

    /// What a session holds goes elsewhere, and the session holds nothing.
    pub(super) fn lend(self: &Arc<Self>, share: &mut Share) -> Loan {
        Loan { of: Arc::clone(self), bytes: std::mem::take(&mut share.0) }
    }

    /// A session now holds so many octets; `None` when there is no room for them.
    pub(super) fn settle(&self, share: &mut Share, bytes: usize) -> Option<()> {
        let bytes = Some(bytes as u64).filter(|bytes| *bytes > FREE_BYTES).unwrap_or_default();
        if bytes > share.0 && !self.held.grow_within(bytes - share.0, self.bytes_max) {
            return None;
        }
        if bytes < share.0 {
            self.held.shrink(share.0 - bytes);
        }
        share.0 = bytes;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_share_what_there_is() {
        let free = FREE_BYTES as usize;
        let all = Unfinished::new(FREE_BYTES * 4);
        let (mut one, mut two) = (Share::default(), Share::default());
        assert_eq!((all.settle(&mut one, free), all.held.get()), (Some(()), 0));
        assert_eq!((all.settle(&mut one, free * 3), all.settle(&mut two, free * 2)), (Some(()), None));
        assert_eq!((all.settle(&mut one, free * 2), all.settle(&mut two, free * 2)), (Some(()), Some(())));
        assert_eq!((all.settle(&mut one, free), all.held.get()), (Some(()), FREE_BYTES * 2));
        assert_eq!((all.settle(&mut two, 0), all.held.get()), (Some(()), 0));
    }

    #[test]
    fn what_is_lent_counts_until_it_is_given_back() {
        let all = Arc::new(Unfinished::new(FREE_BYTES * 4));
        let mut share = Share::default();
        assert_eq!(all.settle(&mut share, FREE_BYTES as usize * 3), Some(()));
        let loan = all.lend(&mut share);
        assert_eq!((all.settle(&mut share, FREE_BYTES as usize * 2), all.held.get()), (None, FREE_BYTES * 3));
        drop(loan);
        assert_eq!((all.settle(&mut share, FREE_BYTES as usize * 2), all.held.get()), (Some(()), FREE_BYTES * 2));
    }
}
