//! [`Timers`]: which session is due when. Entries are not withdrawn; a session knows which of its entries still counts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// A heap of due times.
#[derive(Debug)]
pub(super) struct Timers<K: Ord>(BinaryHeap<Reverse<(Instant, K)>>);

impl<K: Ord> Default for Timers<K> {
    fn default() -> Self {
        Self(BinaryHeap::new())
    }
}

impl<K: Ord + Copy> Timers<K> {
    pub(super) fn push(&mut self, due: Instant, key: K) {
        self.0.push(Reverse((due, key)));
    }

    /// The earliest entry's time.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes the earliest entry that is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(K, Instant)> {
        let Reverse((due, key)) = *self.0.peek().filter(|Reverse((due, _))| *due <= now)?;
        self.0.pop();
        Some((key, due))
    }
}
