//! [`Complaints`]: what goes wrong a thousand times a second is counted each time and written to the log once a minute.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A cause is not named again for so long.
const QUIET: Duration = Duration::from_secs(60);

/// When each cause was last named.
#[derive(Debug, Default)]
pub(super) struct Complaints(HashMap<&'static str, Instant>);

impl Complaints {
    /// Whether this cause should be named now. Causes are fixed words, so that there are few.
    pub(super) fn are_due(&mut self, cause: &'static str, now: Instant) -> bool {
        if self.0.get(cause).is_some_and(|named| now.saturating_duration_since(*named) < QUIET) {
            return false;
        }
        self.0.insert(cause, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_named_once_a_minute() {
        let (mut complaints, now) = (Complaints::default(), Instant::now());
        assert!(complaints.are_due("one", now) && complaints.are_due("other", now));
        assert!(!complaints.are_due("one", now + QUIET / 2));
        assert!(complaints.are_due("one", now + QUIET));
    }
}
