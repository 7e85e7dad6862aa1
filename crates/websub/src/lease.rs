//! How long a subscription lasts (WebSub 5.1 and 5.3): the hub decides, and never grants forever.
//!
//! Times are the wall clock since 1970, because a lease has to outlive the process. Who keeps the leases and looks for
//! those that are over is not known here.

use std::time::Duration;

use crate::options::OptionFault;

/// Ten years. A longer lease is a perpetual one, which WebSub 5.3 forbids.
const SECONDS_MAX: u64 = 10 * 365 * 24 * 3600;

/// What leases a hub grants, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseBounds {
    /// For requests that say nothing.
    pub default: u64,
    /// Shorter wishes get this. Leases of a second would make the hub ask a callback without end.
    pub min: u64,
    /// Longer wishes get this.
    pub max: u64,
}

impl Default for LeaseBounds {
    /// Ten days, which WebSub suggests, and five minutes, the least that the reference allows.
    fn default() -> Self {
        Self { default: 864_000, min: 300, max: 864_000 }
    }
}

impl LeaseBounds {
    pub(crate) const fn check(&self) -> Result<(), OptionFault> {
        let Self { default, min, max } = *self;
        if min < 1 || min > SECONDS_MAX {
            Err(OptionFault::Lease { name: "min_lease_seconds", at_least: 1, at_most: SECONDS_MAX })
        } else if max < min || max > SECONDS_MAX {
            Err(OptionFault::Lease { name: "max_lease_seconds", at_least: min, at_most: SECONDS_MAX })
        } else if default < min || default > max {
            Err(OptionFault::Lease { name: "default_lease_seconds", at_least: min, at_most: max })
        } else {
            Ok(())
        }
    }

    /// The seconds granted to somebody who wishes for so many.
    #[must_use]
    pub fn grant(&self, wish: Option<u64>) -> u64 {
        wish.map_or(self.default, |wish| wish.max(self.min).min(self.max))
    }
}

/// Reads `hub.lease_seconds`: a positive decimal number. An empty field is as good as none; a number beyond all bounds is
/// a long lease, not a fault.
///
/// # Errors
/// When it is zero, negative, or no decimal number.
pub fn parse_seconds(text: &str) -> Result<Option<u64>, NotALease> {
    if text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(NotALease);
    }
    // Only digits, so the one thing that can go wrong is size.
    match text.parse().unwrap_or(u64::MAX) {
        0 => Err(NotALease),
        seconds => Ok(Some(seconds)),
    }
}

/// The text is no positive decimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotALease;

/// A lease that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// When the request for verification was sent, since 1970. WebSub 5.3 counts from there, so that the subscriber, who
    /// counts from its arrival, renews no later than the hub forgets.
    pub start: Duration,
    /// Seconds granted, as the subscriber was told.
    pub seconds: u64,
}

impl Lease {
    /// When it ends, since 1970.
    #[must_use]
    pub const fn end(&self) -> Duration {
        self.start.saturating_add(Duration::from_secs(self.seconds))
    }

    /// Whether it has ended. Nothing is delivered from the very moment of its end.
    #[must_use]
    pub fn is_over(&self, now: Duration) -> bool {
        now >= self.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read() {
        let check = |text: &str, expected| assert_eq!(parse_seconds(text), expected, "{text}");
        // WebSub 5.1: a positive decimal integer. Item 4: no overflow.
        check("1", Ok(Some(1)));
        check("0864000", Ok(Some(864_000)));
        check("18446744073709551616", Ok(Some(u64::MAX)));
        check(&"9".repeat(1000), Ok(Some(u64::MAX)));
        check("", Ok(None));
        for garbage in ["0", "00", "-1", "+5", "1.5", "1e3", "ten", " 5", "0x10", "٣"] {
            check(garbage, Err(NotALease));
        }
    }

    #[test]
    fn wishes_are_bounded() {
        let bounds = LeaseBounds { default: 1000, min: 300, max: 5000 };
        let check = |wish, expected| assert_eq!(bounds.grant(wish), expected);
        check(None, 1000);
        check(Some(1), 300);
        check(Some(300), 300);
        check(Some(4999), 4999);
        check(Some(5001), 5000);
        check(Some(u64::MAX), 5000);
    }

    #[test]
    fn leases_end() {
        // Item 33: from the moment of sending, never perpetual.
        let lease = Lease { start: Duration::from_secs(100), seconds: 300 };
        assert!(!lease.is_over(Duration::from_millis(399_999)));
        assert!(lease.is_over(Duration::from_secs(400)));
        // Item 20: a renewal begins with its own verification, which lies before the end of the old lease.
        let renewed = Lease { start: Duration::from_secs(399), seconds: 300 };
        assert!(renewed.start < lease.end() && renewed.end() > lease.end());
        let endless = Lease { start: Duration::MAX, seconds: u64::MAX };
        assert_eq!(endless.end(), Duration::MAX);
    }
}
