//! [`InRush`]: so that hundreds of machines that are to be powered on do not trip a breaker.
//!
//! Machines with the same label (a rack, a power distribution unit) are powered on at most so many per second, evenly apart.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Labels remembered; at the limit those whose time has passed are forgotten, and if there are none all share one.
const LABELS_MAX: usize = 16_384;

/// When the next machine of each label may be powered on.
#[derive(Debug, Default)]
pub struct InRush {
    free_at: HashMap<String, Instant>,
}

impl InRush {
    /// How long the next machine of this label has to wait; it is then taken as powered on. `per_sec` 0: no limit.
    pub fn admit(&mut self, now: Instant, label: &str, per_sec: u32) -> Duration {
        if per_sec == 0 {
            return Duration::ZERO;
        }
        if self.free_at.len() >= LABELS_MAX && !self.free_at.contains_key(label) {
            self.free_at.retain(|_, free_at| *free_at > now);
        }
        let label = if self.free_at.len() >= LABELS_MAX { "" } else { label };
        let at = self.free_at.get(label).copied().unwrap_or(now).max(now);
        self.free_at.insert(label.to_owned(), at + Duration::from_secs(1) / per_sec);
        at - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_label_has_its_own_pace() {
        let now = Instant::now();
        let mut inrush = InRush::default();
        let waits = |inrush: &mut InRush, at, label, count| -> Vec<u128> {
            (0..count).map(|_| inrush.admit(at, label, 4).as_millis()).collect()
        };
        assert_eq!(waits(&mut inrush, now, "rack1", 5), [0, 250, 500, 750, 1000]);
        assert_eq!(waits(&mut inrush, now, "rack2", 2), [0, 250], "another rack");
        let later = now + Duration::from_millis(1100);
        assert_eq!(waits(&mut inrush, later, "rack1", 2), [150, 400], "those before are still to come");
        assert_eq!(waits(&mut inrush, now + Duration::from_secs(60), "rack1", 2), [0, 250], "nothing is saved up");
        assert_eq!(inrush.admit(now, "rack1", 0), Duration::ZERO);
    }

    #[test]
    fn labels_are_bounded() {
        let now = Instant::now();
        let mut inrush = InRush::default();
        (0..LABELS_MAX + 10).for_each(|n| _ = inrush.admit(now, &n.to_string(), 1));
        assert!(inrush.free_at.len() <= LABELS_MAX + 1);
        let later = now + Duration::from_secs(100);
        assert_eq!(inrush.admit(later, "new", 1), Duration::ZERO);
        assert!(inrush.free_at.len() < 10, "those whose time has passed are gone");
    }
}
