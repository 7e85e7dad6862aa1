//! Latencies in fixed buckets: recording costs one addition, and the error is below 1.6 %.

/// Buckets for each power of two.
const STEPS: u64 = 64;

/// Buckets in all, up to the largest number that there is.
const BUCKETS: usize = 64 * 60;

/// Nanoseconds, counted.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS].into_boxed_slice(), count: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one value.
    pub fn record(&mut self, nanoseconds: u64) {
        self.buckets[bucket(nanoseconds)] += 1;
        self.count += 1;
        self.max = self.max.max(nanoseconds);
    }

    /// How many values there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The largest value, exactly.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// The value that this share of all values, from 0 to 1, does not exceed; 0 when there is none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = (share * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return highest(at).min(self.max);
            }
        }
        self.max
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, others) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += others;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }
}

fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    // The six bits behind the leading one choose among the buckets of its power of two.
    let shift = value.ilog2() - STEPS.ilog2();
    (u64::from(shift) * STEPS + (value >> shift)) as usize
}

/// The largest value of a bucket.
const fn highest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    let lowest = (STEPS + bucket % STEPS) << shift;
    lowest | ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near() {
        let mut histogram = Histogram::default();
        for value in 1..=100_000_u64 {
            histogram.record(value * 1000);
        }
        for (share, exact) in [(0.5, 50e6), (0.99, 99e6), (0.999, 99.9e6), (1.0, 100e6)] {
            let found = histogram.quantile(share) as f64;
            assert!((found / exact - 1.0).abs() < 0.016, "{share}: {found} for {exact}");
        }
        assert_eq!((histogram.count(), histogram.max()), (100_000, 100_000_000));
    }

    #[test]
    fn extremes_have_a_bucket() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), 0);
        for value in [0, 1, 63, 64, 65, u64::MAX] {
            histogram.record(value);
        }
        assert_eq!(histogram.quantile(0.0), 0);
        assert_eq!(histogram.quantile(1.0), u64::MAX);
        let mut sum = Histogram::default();
        sum.merge(&histogram);
        assert_eq!(sum.count(), 6);
    }
}
