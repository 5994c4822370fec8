//! [`Pace`]: how long to wait after failures.

use std::time::Duration;

/// A pause that doubles with each failure in a row, up to a bound, less up to a half by chance: the receivers of many hosts are not asked all at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// After the first failure; default 1 s.
    pub first: Duration,
    /// At most; default 5 minutes.
    pub most: Duration,
    /// At most where the receiver says when to come back (`Retry-After`); default 1 hour.
    pub asked_most: Duration,
    /// How often it is written down how far a receiver has come: what was delivered since is delivered again after a crash. Default 1 s.
    pub save_every: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            most: Duration::from_secs(300),
            asked_most: Duration::from_secs(3_600),
            save_every: Duration::from_secs(1),
        }
    }
}

impl Pace {
    /// The pause after the `failures`-th failure in a row; `chance` is any number.
    pub(super) fn pause(&self, failures: u32, asked: Option<Duration>, chance: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(self.most);
        let pause = doubled.mul_f64(1.0 - f64::from(chance) / f64::from(u32::MAX) / 2.0);
        asked.map_or(pause, |asked| asked.min(self.asked_most).max(pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_hold_what_the_receiver_asks_for() {
        let pace = Pace::default();
        let secs = Duration::from_secs;
        for (failures, asked, chance, expected) in [
            (1, None, 0, secs(1)),
            (1, None, u32::MAX, Duration::from_millis(500)),
            (2, None, 0, secs(2)),
            (9, None, 0, secs(256)),
            (10, None, 0, secs(300)),
            (u32::MAX, None, 0, secs(300)),
            (u32::MAX, None, u32::MAX, secs(150)),
            (1, Some(secs(120)), 0, secs(120)),
            (1, Some(secs(1_000_000)), 0, secs(3_600)),
            (8, Some(secs(1)), 0, secs(128)),
        ] {
            assert_eq!(pace.pause(failures, asked, chance), expected, "{failures} {asked:?} {chance}");
        }
    }
}
