//! The wall clock, for what people and other programs read; timers use the monotonic one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Unix milliseconds.
pub(super) fn unix_millis() -> u64 {
    u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX)
}

/// Unix seconds.
pub(super) fn unix_secs() -> u64 {
    since_epoch().as_secs()
}
