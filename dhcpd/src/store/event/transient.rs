//! [`Transient`]: what is told only to whoever listens, numbered within this life of the process.
//!
//! Workers push without a lock into a queue; readers move it into the ring. At the limit the oldest events go, and a reader that lags is told how many it missed.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crossbeam::queue::ArrayQueue;
use reveille_config::limit::EVENTS_MAX;

use super::RawEvent;
use crate::store::atomic::{AtomicU64, Ordering};

/// A page of the ring.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// Number and event, oldest first.
    pub events: Vec<(u64, RawEvent)>,
    /// What to ask for next.
    pub next: u64,
    /// How many after the number asked for are no longer known.
    pub missed: u64,
}

/// The last transient events.
#[derive(Debug)]
pub struct Transient {
    incoming: ArrayQueue<RawEvent>,
    overwritten: AtomicU64,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<(u64, RawEvent)>,
    /// Everything up to here is gone.
    lost_through: u64,
    /// The number of the last event.
    last: u64,
}

impl Default for Transient {
    fn default() -> Self {
        Self { incoming: ArrayQueue::new(EVENTS_MAX), overwritten: AtomicU64::new(0), ring: Mutex::default() }
    }
}

impl Transient {
    /// Adds an event; never blocks.
    pub(super) fn push(&self, event: RawEvent) {
        if self.incoming.force_push(event).is_some() {
            self.overwritten.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The number of the last event: who asks for what is after it is told what happens from now on.
    pub fn last(&self) -> u64 {
        self.after(u64::MAX, 0).next
    }

    /// The events after number `after` (1, 2, 3 … from the start of the process), at most `limit`.
    pub fn after(&self, after: u64, limit: usize) -> Page {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.take_in(&self.incoming, self.overwritten.swap(0, Ordering::Relaxed));
        let from = ring.events.partition_point(|&(number, _)| number <= after);
        let events: Vec<_> = ring.events.range(from..).take(limit).copied().collect();
        let next = events.last().map_or(ring.last, |&(number, _)| number);
        Page { events, next, missed: ring.lost_through.saturating_sub(after) }
    }
}

impl Ring {
    fn take_in(&mut self, incoming: &ArrayQueue<RawEvent>, overwritten: u64) {
        if overwritten > 0 {
            // What was overwritten is newer than all that is here.
            self.events.clear();
            self.last += overwritten;
            self.lost_through = self.last;
        }
        // Bounded, so that a busy worker cannot keep a reader here for ever.
        for event in (0..EVENTS_MAX).map_while(|_| incoming.pop()) {
            if self.events.len() == EVENTS_MAX
                && let Some((number, _)) = self.events.pop_front()
            {
                self.lost_through = number;
            }
            self.last += 1;
            self.events.push_back((self.last, event));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::scope::ScopeIndex;
    use crate::store::event::EventKind;
    use reveille_config::MacAddr;

    fn event(at_unix_millis: u64) -> RawEvent {
        RawEvent {
            at_unix_millis,
            kind: EventKind::Offered,
            mac: MacAddr([2; 6]),
            scope: ScopeIndex(0),
            address: None,
            amount: 0,
            size: 0,
            reason: "",
            journal_sequence: 0,
        }
    }

    fn numbers(page: &Page) -> Vec<u64> {
        page.events.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn who_listens_is_told_in_order_and_who_comes_later_is_not() {
        let transient = Transient::default();
        (0..5).for_each(|i| transient.push(event(i)));
        let late = transient.last();
        assert_eq!(transient.after(late, 9), Page { events: vec![], next: 5, missed: 0 });
        let first = transient.after(0, 3);
        assert_eq!(numbers(&first), [1, 2, 3]);
        assert_eq!(numbers(&transient.after(first.next, 9)), [4, 5]);
        transient.push(event(5));
        assert_eq!(numbers(&transient.after(late, 9)), [6]);
    }

    #[test]
    fn at_the_limit_the_oldest_go_and_readers_are_told_how_many() {
        let most = EVENTS_MAX as u64;
        for read_between in [true, false] {
            let transient = Transient::default();
            for i in 0..most + 10 {
                transient.push(event(i));
                if read_between && i % 1_000 == 0 {
                    transient.last();
                }
            }
            let page = transient.after(5, EVENTS_MAX);
            assert_eq!((page.missed, page.events.len() as u64), (5, most));
            assert_eq!(page.events[0].1.at_unix_millis, 10, "the oldest ten are gone");
        }
    }
}
