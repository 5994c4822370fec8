//! [`Pace`]: how long one BMC takes to answer, and how long the next answer is therefore waited for.
//!
//! The estimator of RFC 6298 with Karn's rule (RFC 6298, section 3): what was sent twice tells nothing. It only ever lengthens
//! the waits that are configured, because a BMC that is asked again too early may have begun the key exchange anew.

use std::time::Duration;

/// However slow a BMC has been, it is asked again after this time.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The round trips of one BMC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    smoothed: Option<Duration>,
    variation: Duration,
}

impl Pace {
    /// Takes note of an answer that came `took` after the one time its request was sent.
    pub fn heard_after(&mut self, took: Duration) {
        match self.smoothed {
            None => {
                self.smoothed = Some(took);
                self.variation = took / 2;
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(took)) / 4;
                self.smoothed = Some((smoothed * 7 + took) / 8);
            }
        }
    }

    /// How long to wait before asking again, where `configured` is meant for a BMC of usual speed.
    pub fn wait(&self, configured: Duration) -> Duration {
        let own = self.smoothed.map_or(Duration::ZERO, |smoothed| smoothed + self.variation * 4);
        configured.max(own.min(WAIT_MAX))
    }

    /// The smoothed round trip, once there was one.
    pub fn round_trip(&self) -> Option<Duration> {
        self.smoothed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_bmc_is_given_time_and_a_quick_one_no_less_than_configured() {
        let second = Duration::from_secs(1);
        let after = |millis: &[u64]| {
            let mut pace = Pace::default();
            millis.iter().for_each(|millis| pace.heard_after(Duration::from_millis(*millis)));
            pace.wait(second).as_millis()
        };
        let cases: [(&str, &[u64], u128); 5] = [
            ("nothing known", &[], 1000),
            ("quick", &[2, 3, 2, 4], 1000),
            ("slow, first answer", &[900], 2700),
            ("slow and steady", &[900; 40], 1000),
            ("absurdly slow", &[60_000], 10_000),
        ];
        for (name, millis, wait) in cases {
            assert_eq!(after(millis), wait, "{name}");
        }
    }
}
