//! The one place that reads the clock. Everything else is told the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds of one tick, the grain of deadlines and pings.
pub const TICK_MILLIS: u32 = 100;

/// The clock of a node.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock {
    /// Ticks since the node started, for waiting. Thirty-two bits last for thirteen years.
    #[must_use]
    pub fn ticks(&self) -> u32 {
        u32::try_from(self.start.elapsed().as_millis() / u128::from(TICK_MILLIS)).unwrap_or(u32::MAX)
    }

    /// How long the node has been up.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    /// The wall clock, since 1970.
    #[must_use]
    pub fn unix(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// The wall clock as a timestamp; nothing when it stands outside of the years that one can say.
    #[must_use]
    pub fn timestamp(&self) -> Option<jiff::Timestamp> {
        let now = self.unix();
        let seconds = i64::try_from(now.as_secs()).ok()?;
        jiff::Timestamp::new(seconds, now.subsec_nanos().cast_signed()).ok()
    }

    /// The wall clock as ISO 8601 with milliseconds, for display.
    #[must_use]
    pub fn display(&self) -> String {
        self.timestamp().map(|now| format!("{now:.3}")).unwrap_or_default()
    }
}

/// A duration in ticks, rounded up; at least one.
#[must_use]
pub fn ticks_of(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().div_ceil(u128::from(TICK_MILLIS))).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_displayed_with_milliseconds_in_utc() {
        let shown = Clock::default().display();
        assert_eq!((shown.len(), &shown[19..20], &shown[23..]), (24, ".", "Z"), "{shown}");
    }

    #[test]
    fn ticks_are_rounded_up() {
        assert_eq!(ticks_of(Duration::ZERO), 1);
        assert_eq!(ticks_of(Duration::from_millis(101)), 2);
        assert_eq!(ticks_of(Duration::from_secs(1)), 10);
    }
}
