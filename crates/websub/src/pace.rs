//! How fast requests may follow each other, for one client or for one callback host (item 66): a hub that asks whatever
//! host a stranger names, as often as he likes, is a tool against that host.
//!
//! A pace is kept as the time at which the next request would be right on time (the generic cell rate algorithm), so one
//! number per key is enough, and a key that has been quiet is forgotten.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Seconds' worth of requests that may come at once: somebody who starts renews what he has.
const BURST_SECONDS: u32 = 10;

/// Keys that are remembered. More are not slowed down but let through: whoever has so many addresses is not stopped by
/// counting them, and what waits is bounded elsewhere.
const KEYS_MAX: usize = 65_536;

/// The paces of many.
#[derive(Debug)]
pub struct Paces<K> {
    /// Nothing is no limit.
    interval: Option<Duration>,
    /// When the next request of each would be right on time.
    next: HashMap<K, Duration>,
    /// Those who were quiet are looked for at this time at the earliest.
    sweep_at: Duration,
}

/// Between two looks for those who were quiet: a look passes all keys.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

impl<K: Eq + Hash> Paces<K> {
    /// So many a second for each, ten seconds' worth at once; 0 is no limit.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let interval = (per_second > 0).then(|| Duration::from_secs(1) / per_second);
        Self { interval, next: HashMap::new(), sweep_at: Duration::ZERO }
    }

    /// How long a request of this key has to wait, on a clock that does not go back. It is taken as made after this wait.
    pub fn reserve(&mut self, key: K, now: Duration) -> Duration {
        let Some(interval) = self.interval else { return Duration::ZERO };
        let burst = interval * BURST_SECONDS * per_second(interval);
        if self.next.len() >= KEYS_MAX && !self.next.contains_key(&key) {
            if now >= self.sweep_at {
                self.next.retain(|_, next| *next > now);
                self.sweep_at = now + SWEEP_INTERVAL;
            }
            if self.next.len() >= KEYS_MAX {
                return Duration::ZERO;
            }
        }
        let next = self.next.entry(key).or_insert(now);
        let on_time = (*next).max(now);
        *next = on_time + interval;
        (on_time + interval).saturating_sub(now + burst)
    }

    /// Whether a request of this key may be made now. One that may not is not counted.
    pub fn admit(&mut self, key: K, now: Duration) -> bool
    where
        K: Clone,
    {
        let is_on_time = self.reserve(key.clone(), now).is_zero();
        if !is_on_time && let (Some(next), Some(interval)) = (self.next.get_mut(&key), self.interval) {
            *next -= interval;
        }
        is_on_time
    }
}

fn per_second(interval: Duration) -> u32 {
    u32::try_from(Duration::from_secs(1).as_nanos() / interval.as_nanos().max(1)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_burst_passes_and_the_rest_keeps_its_distance() {
        let mut paces = Paces::new(10);
        let start = ms(5000);
        let waits: Vec<Duration> = (0..103).map(|_| paces.reserve("a", start)).collect();
        assert!(waits[..100].iter().all(Duration::is_zero));
        assert_eq!(waits[100..], [ms(100), ms(200), ms(300)]);
        assert_eq!(paces.reserve("b", start), Duration::ZERO, "others are not slowed down");
        // Ten seconds later as much has come in as went out.
        assert_eq!(paces.reserve("a", start + ms(10_400)), Duration::ZERO);
    }

    #[test]
    fn who_is_too_fast_is_refused_and_not_punished() {
        let mut paces = Paces::new(10);
        assert!((0..100).all(|_| paces.admit("a", ms(0))));
        assert!((0..1000).all(|_| !paces.admit("a", ms(50))));
        assert!(paces.admit("a", ms(100)) && !paces.admit("a", ms(100)));
    }

    #[test]
    fn nothing_is_no_limit_and_keys_are_bounded() {
        let mut free = Paces::new(0);
        assert!((0..10_000).all(|_| free.admit("a", ms(0))));
        let mut paces = Paces::new(1);
        for key in 0..KEYS_MAX * 2 {
            assert_eq!(paces.reserve(key, ms(0)), Duration::ZERO);
        }
        assert_eq!(paces.next.len(), KEYS_MAX);
        assert_eq!(paces.reserve(usize::MAX, ms(60_000)), Duration::ZERO);
        assert_eq!(paces.next.len(), 1, "those who were quiet are forgotten");
    }
}
