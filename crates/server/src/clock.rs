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

    /// The wall clock as ISO 8601 with milliseconds, for display.
    #[must_use]
    pub fn display(&self) -> String {
        let now = self.unix();
        jiff::Timestamp::new(i64::try_from(now.as_secs()).unwrap_or(i64::MAX), 0)
            .map(|stamp| format!("{}.{:03}Z", stamp.strftime("%Y-%m-%dT%H:%M:%S"), now.subsec_millis()))
            .unwrap_or_default()
    }
}

/// A duration in ticks, rounded up; at least one.
#[must_use]
pub fn ticks_of(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().div_ceil(u128::from(TICK_MILLIS))).unwrap_or(u32::MAX).max(1)
}
