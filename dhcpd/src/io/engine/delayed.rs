//! [`Delayed`]: replies held back for firmware that misses an instant one (`reply_delay_millis`).
//!
//! At the limit a reply leaves at once: an early answer may be missed and asked for again, a lost one surely is.

use std::collections::BTreeMap;

use reveille_config::limit::DELAYED_REPLIES_MAX;

use super::Outgoing;
use crate::proto::time::Millis;

/// The replies of one worker that wait for their time.
#[derive(Debug, Default)]
pub(super) struct Delayed {
    /// By when they are due, then in the order in which they came.
    waiting: BTreeMap<(Millis, u64), Outgoing>,
    count: u64,
}

impl Delayed {
    /// Takes a reply that is due later; gives back one that is to leave now.
    pub(super) fn hold(&mut self, due: Millis, outgoing: Outgoing) -> Option<Outgoing> {
        if due == Millis(0) || self.waiting.len() >= DELAYED_REPLIES_MAX {
            return Some(outgoing);
        }
        self.count += 1;
        self.waiting.insert((due, self.count), outgoing);
        None
    }

    /// The next reply whose time has come.
    pub(super) fn due(&mut self, now: Millis) -> Option<Outgoing> {
        let first = self.waiting.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Millis> {
        self.waiting.first_key_value().map(|((due, _), _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::reply::{Destination, Reply};
    use crate::proto::scope::ScopeIndex;

    fn outgoing(n: u8) -> Outgoing {
        Outgoing { scope: ScopeIndex(0), reply: Reply { octets: vec![n], destination: Destination::Broadcast } }
    }

    #[test]
    fn replies_leave_when_they_are_due_in_order() {
        let mut delayed = Delayed::default();
        assert_eq!(delayed.hold(Millis(0), outgoing(0)), Some(outgoing(0)), "without a delay it leaves at once");
        for (due, n) in [(30, 3), (10, 1), (10, 2)] {
            assert_eq!(delayed.hold(Millis(due), outgoing(n)), None);
        }
        assert_eq!(delayed.next(), Some(Millis(10)));
        assert_eq!(delayed.due(Millis(9)), None);
        let left: Vec<_> = std::iter::from_fn(|| delayed.due(Millis(30))).map(|out| out.reply.octets[0]).collect();
        assert_eq!((left, delayed.next()), (vec![1, 2, 3], None));
    }

    #[test]
    fn at_the_limit_a_reply_leaves_at_once() {
        let mut delayed = Delayed::default();
        for _ in 0..DELAYED_REPLIES_MAX {
            assert_eq!(delayed.hold(Millis(1), outgoing(0)), None);
        }
        assert_eq!(delayed.hold(Millis(1), outgoing(9)), Some(outgoing(9)));
    }
}
