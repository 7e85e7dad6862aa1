//! How long to wait after a failure: exponential backoff with full jitter, and `Retry-After` within limits.

use std::time::Duration;

use crate::Options;

/// `base` doubled with every failure after the first, up to `max`.
pub(crate) fn ceiling(base: Duration, max: Duration, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    base.saturating_mul(1 << doublings).min(max)
}

/// The wait before the next attempt, after so many failed ones.
///
/// Full jitter, the whole span from nothing to the ceiling: a thousand subscriptions that failed together come back one
/// by one. A receiver that asks for more patience gets it, up to the limit.
pub(crate) fn delay(
    options: &Options,
    failures: u32,
    retry_after: Option<Duration>,
    dice: &mut fastrand::Rng,
) -> Duration {
    let ceiling = ceiling(options.retry_delay_base, options.retry_delay_max, failures);
    let drawn = Duration::from_millis(dice.u64(0..=millis(ceiling))).max(options.retry_delay_min);
    retry_after.map_or(drawn, |asked| drawn.max(asked.min(options.retry_after_max)))
}

/// How long a breaker stays open the `trips`-th time in a row: half of it fixed, half drawn, so that probes are spread
/// and never come at once.
pub(crate) fn breaker(options: &Options, trips: u32, dice: &mut fastrand::Rng) -> Duration {
    let half = millis(ceiling(options.breaker_delay_base, options.breaker_delay_max, trips)) / 2;
    Duration::from_millis(half + dice.u64(0..=half))
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ceilings_double_up_to_the_limit() {
        let check = |failures, seconds| {
            let ceiling = ceiling(Duration::from_secs(1), Duration::from_secs(600), failures);
            assert_eq!(ceiling, Duration::from_secs(seconds), "{failures}");
        };
        check(0, 1);
        check(1, 1);
        check(2, 2);
        check(10, 512);
        check(11, 600);
        check(u32::MAX, 600);
    }

    proptest! {
        #[test]
        fn delays_are_bounded_and_ceilings_monotone(
            seed: u64,
            failures in 1_u32..200,
            asked in proptest::option::of(0_u64..100_000),
        ) {
            let options = Options::default();
            let asked = asked.map(Duration::from_secs);
            let wait = delay(&options, failures, asked, &mut fastrand::Rng::with_seed(seed));
            let (base, max) = (options.retry_delay_base, options.retry_delay_max);
            let most = ceiling(base, max, failures);
            let granted = asked.unwrap_or_default().min(options.retry_after_max);
            prop_assert!(wait >= options.retry_delay_min && wait >= granted);
            prop_assert!(wait <= most.max(granted).max(options.retry_delay_min));
            prop_assert!(most <= ceiling(base, max, failures + 1));
            prop_assert_eq!(wait, delay(&options, failures, asked, &mut fastrand::Rng::with_seed(seed)));
            let open = breaker(&options, failures, &mut fastrand::Rng::with_seed(seed));
            prop_assert!(open >= options.breaker_delay_base / 2 && open <= options.breaker_delay_max);
        }
    }
}
