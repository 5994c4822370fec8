//! Latencies in buckets whose width grows with the value, so that a figure is right to 1.6 % at any size and a million cost nothing.

/// Buckets per doubling: the error is at most half of one part in this.
const STEPS: usize = 32;

/// Counts of nanosecond values.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u32>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; STEPS * 60], total: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one value.
    pub fn add(&mut self, nanos: u64) {
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.max = self.max.max(nanos);
    }

    /// Counts all that another has counted.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(own, other)| *own += other);
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// The value that `share` (0 to 1) of all values do not exceed, microseconds; 0 if there are none.
    pub fn micros_at(&self, share: f64) -> f64 {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return (upper_bound(at).min(self.max)) as f64 / 1e3;
            }
        }
        0.0
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < STEPS as u64 {
        return nanos as usize;
    }
    let doublings = nanos.ilog2() - STEPS.ilog2();
    (doublings as usize * STEPS + (nanos >> doublings) as usize).min(STEPS * 60 - 1)
}

fn upper_bound(bucket: usize) -> u64 {
    if bucket < 2 * STEPS {
        return bucket as u64;
    }
    let doublings = bucket / STEPS - 1;
    (((bucket - doublings * STEPS) as u64 + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_a_thirtysecond() {
        for scale in [1_u64, 37, 1_000, 1_000_000] {
            let mut histogram = Histogram::default();
            (1..=1_000).for_each(|value| histogram.add(value * scale));
            for (share, exact) in [(0.5, 500), (0.99, 990), (0.999, 999), (1.0, 1_000)] {
                let (got, exact) = (histogram.micros_at(share), (exact * scale) as f64 / 1e3);
                assert!((exact..=exact * 1.033).contains(&got), "{share} of ×{scale}: {got} for {exact}");
            }
        }
        assert_eq!(Histogram::default().micros_at(0.99), 0.0);
    }

    #[test]
    fn two_halves_are_the_whole() {
        let (mut whole, mut halves) = (Histogram::default(), [Histogram::default(), Histogram::default()]);
        for value in 1..1_000 {
            whole.add(value);
            halves[value as usize % 2].add(value);
        }
        let [mut one, other] = halves;
        one.merge(&other);
        for share in [0.01, 0.5, 0.99, 1.0] {
            assert_eq!(one.micros_at(share), whole.micros_at(share));
        }
    }
}
