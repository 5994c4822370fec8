//! Reads the two clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::proto::time::{Millis, Now, UnixSecs};

/// The system's clocks; monotonic time counts from when it was made.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock {
    /// Both clocks, read once.
    pub fn now(&self) -> Now {
        // A clock before 1970 reads as 1970.
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            unix: UnixSecs(unix.as_secs().try_into().unwrap_or(u32::MAX)),
            unix_millis: unix.as_millis() as u64,
            monotonic: Millis(MONOTONIC_START + self.start.elapsed().as_millis() as u64),
        }
    }
}

/// The clock does not begin at 0, so that "so long before the start" (of leases that expired while dhcpd was down) is a time too: 30 years.
const MONOTONIC_START: u64 = 30 * 365 * 86_400_000;
