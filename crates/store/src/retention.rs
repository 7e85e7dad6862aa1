//! What of a topic may be cut, and when a topic has waited for too long. Pure, so that both stores decide alike.

use crate::{Limits, Sequence};

/// How many of the newest publications of each topic stay although every cursor has passed them.
pub(crate) fn kept(limits: &Limits, log_bytes: u64) -> u64 {
    // History is a courtesy, room for what is promised is not: it goes first when room gets scarce.
    let scarce = log_bytes >= limits.log_bytes_max / 4 * 3;
    if scarce { 1 } else { limits.history_entries.get() }
}

/// The last number of a topic that may be cut, when all up to `passed` are done with and `last` is its newest.
pub(crate) fn cut_up_to(passed: Sequence, last: Sequence, kept: u64) -> Sequence {
    debug_assert!(kept >= 1, "the newest publication of a topic stays");
    passed.min(Sequence(last.0.saturating_sub(kept)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_cursor_and_the_history_both_hold() {
        let check = |passed, last, kept, expected| {
            assert_eq!(cut_up_to(Sequence(passed), Sequence(last), kept), Sequence(expected));
        };
        check(0, 10, 1, 0);
        check(5, 10, 1, 5);
        check(10, 10, 1, 9);
        check(10, 10, 4, 6);
        check(10, 10, 100, 0);
        check(0, 0, 1, 0);
    }

    #[test]
    fn history_goes_when_room_is_scarce() {
        let limits = Limits { log_bytes_max: 1000, ..Limits::default() };
        assert_eq!(kept(&limits, 749), 100);
        assert_eq!(kept(&limits, 750), 1);
    }
}
