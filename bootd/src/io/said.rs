//! [`is_due`]: whether the log should be told of a trouble again: once a minute for each cause. How often it happens is in the metrics.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// For so long a cause that was told is not told again, seconds.
const QUIET_SECS: u64 = 60;

/// What can trouble every machine of a hall at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Cause {
    /// A file may not be read.
    Forbidden,
    /// A file cannot be opened.
    CannotOpen,
    /// The disk fails while a file is read.
    Unreadable,
    /// A file cannot be sent.
    CannotSend,
    /// The upstream does not give a file.
    Upstream,
    /// The upstream breaks off, and is asked again.
    UpstreamBroke,
    /// The upstream cannot be asked whether a copy is its present file.
    UpstreamGone,
    /// A file cannot be written into the drop-box.
    DropBox,
    /// A connection cannot be accepted.
    Accept,
}

/// As many as there are causes.
const CAUSES: usize = Cause::Accept as usize + 1;

/// When each cause was told last: seconds since the first question, plus one; 0: never.
#[derive(Debug, Default)]
struct Said([AtomicU64; CAUSES]);

impl Said {
    fn is_due(&self, cause: Cause, now_secs: u64) -> bool {
        let last = &self.0[cause as usize];
        let told = last.load(Ordering::Relaxed);
        let due = told == 0 || now_secs + 1 >= told + QUIET_SECS;
        // One of those who ask at once tells it.
        due && last.compare_exchange(told, now_secs + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Whether this is to be logged now.
pub(crate) fn is_due(cause: Cause) -> bool {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    static SAID: LazyLock<Said> = LazyLock::new(Said::default);
    SAID.is_due(cause, BEGAN.elapsed().as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_a_minute_for_each_cause() {
        let said = Said::default();
        let asked = [
            (Cause::Unreadable, 0, true),
            (Cause::Unreadable, 0, false),
            (Cause::CannotOpen, 1, true),
            (Cause::Unreadable, 59, false),
            (Cause::Unreadable, 60, true),
            (Cause::Unreadable, 119, false),
            (Cause::CannotOpen, 119, true),
        ];
        for (cause, now_secs, due) in asked {
            assert_eq!(said.is_due(cause, now_secs), due, "{cause:?} at {now_secs}");
        }
    }
}
