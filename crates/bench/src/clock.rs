//! The clock that stamps publications and times arrivals.
//!
//! It counts from one origin for all processes of the machine, so that a generator in another process can tell how old
//! a publication is. `Instant` does not show its origin.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the machine's monotonic clock.
#[must_use]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}
