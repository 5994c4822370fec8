//! The wall clock, for what is persisted.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::proto::node::Millis;

/// Now, by the system's clock.
pub fn now() -> Millis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
