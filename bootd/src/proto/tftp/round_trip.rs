//! [`RoundTrip`]: how long to wait for an ACK, from the round trips measured so far (RFC 6298's estimator).
//!
//! It holds no timers. Samples of retransmitted windows are never fed in (Karn's rule; the caller sees to it).

use std::time::Duration;

/// Before the first sample (RFC 6298 section 2.1).
const INITIAL: Duration = Duration::from_secs(1);
/// The least wait: firmware that writes a window to flash is slower than the wire.
const TIMEOUT_MIN: Duration = Duration::from_millis(200);
/// The most, whatever the back-off and whatever `timeout` the client asked for.
const TIMEOUT_MAX: Duration = Duration::from_secs(8);

/// The estimator and the back-off of one transfer.
#[derive(Debug, Clone)]
pub(super) struct RoundTrip {
    smoothed: Option<Duration>,
    variation: Duration,
    backoff: u32,
    timeout_max: Duration,
}

impl RoundTrip {
    /// `asked_secs` is the option `timeout` (RFC 2349): the wait is never longer than the client asked for.
    pub(super) fn new(asked_secs: Option<u8>) -> Self {
        let timeout_max = asked_secs.map_or(TIMEOUT_MAX, |secs| Duration::from_secs(secs.into()).min(TIMEOUT_MAX));
        Self { smoothed: None, variation: Duration::ZERO, backoff: 0, timeout_max }
    }

    /// RFC 6298 sections 2.2 and 2.3; a sample also ends the back-off (section 5).
    pub(super) fn sample(&mut self, measured: Duration) {
        self.backoff = 0;
        match self.smoothed {
            None => {
                self.smoothed = Some(measured);
                self.variation = measured / 2;
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(measured)) / 4;
                self.smoothed = Some((smoothed * 7 + measured) / 8);
            }
        }
    }

    /// A timeout has passed: twice as long the next time (section 5.5).
    pub(super) fn back_off(&mut self) {
        self.backoff = (self.backoff + 1).min(16);
    }

    /// The wait before the next retransmission.
    pub(super) fn timeout(&self) -> Duration {
        let base = self.smoothed.map_or(INITIAL, |smoothed| smoothed + self.variation * 4).max(TIMEOUT_MIN);
        base.saturating_mul(1 << self.backoff).min(self.timeout_max)
    }

    /// Something was acknowledged, though it says nothing about the round trip. RFC 6298 would keep the back-off until the next sample;
    /// on a lossy link every window of a transfer may have been repeated, and none is a sample.
    pub(super) fn end_back_off(&mut self) {
        self.backoff = 0;
    }

    /// The round trip to expect.
    pub(super) fn expected(&self) -> Duration {
        self.smoothed.unwrap_or(INITIAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_adapt_back_off_and_are_capped() {
        let ms = Duration::from_millis;
        let mut rtt = RoundTrip::new(None);
        assert_eq!(rtt.timeout(), ms(1_000));
        rtt.sample(ms(100));
        assert_eq!(rtt.timeout(), ms(300));
        (0..100).for_each(|_| rtt.sample(ms(100)));
        assert_eq!(rtt.timeout(), TIMEOUT_MIN);
        (0..3).for_each(|_| rtt.back_off());
        assert_eq!(rtt.timeout(), TIMEOUT_MIN * 8);
        (0..60).for_each(|_| rtt.back_off());
        assert_eq!(rtt.timeout(), TIMEOUT_MAX);
        rtt.sample(ms(100));
        assert_eq!(rtt.timeout(), TIMEOUT_MIN);
        assert_eq!(RoundTrip::new(Some(1)).timeout(), ms(1_000));
        let mut asked = RoundTrip::new(Some(1));
        (0..9).for_each(|_| asked.back_off());
        assert_eq!(asked.timeout(), ms(1_000));
    }
}
