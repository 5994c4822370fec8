//! [`Throttle`]: one log line a minute for all workers together; what it is about is counted each time.

use super::atomic::{AtomicU64, Ordering};
use crate::proto::time::Millis;

const MINUTE_MILLIS: u64 = 60_000;

/// When the next line may be written, by the monotonic clock.
#[derive(Debug)]
pub struct Throttle(AtomicU64);

impl Default for Throttle {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Throttle {
    /// Whether a line is due; the minute to the next begins then.
    pub fn is_due(&self, now: Millis) -> bool {
        let next = self.0.load(Ordering::Relaxed);
        let later = now.0 + MINUTE_MILLIS;
        now.0 >= next && self.0.compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// What the log says of one scope once a minute at most.
#[derive(Debug, Default)]
pub struct Complaints {
    /// Its pools are exhausted.
    pub exhausted: Throttle,
    /// A port has its share of the pools.
    pub port_share: Throttle,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_a_minute() {
        let throttle = Throttle::default();
        let due = [5, 6, 60_004, 60_005, 60_006, 500_000, 559_999, 560_000].map(|at| throttle.is_due(Millis(at)));
        assert_eq!(due, [true, false, false, true, false, true, false, true]);
    }
}
