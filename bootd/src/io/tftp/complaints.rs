//! [`Complaints`]: what goes wrong a thousand times a second is counted each time and written to the log once a minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A cause is not named again for so long.
const QUIET: Duration = Duration::from_secs(60);

/// When each cause was last named; shared by the threads of an address.
#[derive(Debug, Default, Clone)]
pub(super) struct Complaints(Arc<Mutex<HashMap<&'static str, Instant>>>);

impl Complaints {
    /// Whether this cause should be named now. Causes are fixed words, so that there are few.
    pub(super) fn are_due(&self, cause: &'static str, now: Instant) -> bool {
        let mut named_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if named_at.get(cause).is_some_and(|named| now.saturating_duration_since(*named) < QUIET) {
            return false;
        }
        named_at.insert(cause, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_named_once_a_minute() {
        let (complaints, now) = (Complaints::default(), Instant::now());
        assert!(complaints.are_due("one", now) && complaints.are_due("other", now));
        assert!(!complaints.are_due("one", now + QUIET / 2));
        assert!(complaints.are_due("one", now + QUIET));
    }
}
