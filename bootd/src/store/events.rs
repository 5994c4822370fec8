//! [`Events`]: the last things that happened, with sequence numbers, for readers who may wait for the next.
//!
//! It is not durable: what must survive is in the stores of those who act on it. Sequences grow over restarts too (each run begins at the
//! wall clock's microsecond), so that a reader who kept one from an earlier run learns that it has missed something.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::{Gauge, gauge};
use reveille_config::MacAddr;
use reveille_config::dto::event::{Event, EventPage};
use reveille_config::limit::{EVENTS_MAX, EVENTS_WAIT_SECS_MAX, PAGE_MAX};
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::clock;

/// The ring of events.
#[derive(Debug)]
pub struct Events {
    ring: Mutex<VecDeque<Event>>,
    /// Sequence of the last event; readers wait on it.
    last: watch::Sender<u64>,
    /// The sequence before this run's first.
    origin: u64,
}

/// What a caller says of an event; the ring adds the sequence and the time.
#[derive(Debug, Clone, Default)]
pub struct NewEvent {
    /// A short fixed word.
    pub kind: &'static str,
    /// The machine, where known.
    pub mac: Option<MacAddr>,
    /// The node, where known.
    pub node: Option<String>,
    /// Plain words for people.
    pub message: String,
    /// More, by kind.
    pub detail: Map<String, Value>,
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl Events {
    /// An empty ring whose sequences follow those of earlier runs.
    pub fn new() -> Self {
        let origin = clock::unix_millis() * 1_000;
        Self { ring: Mutex::default(), last: watch::Sender::new(origin), origin }
    }

    /// Appends an event and wakes the readers; the oldest makes room.
    pub fn push(&self, new: NewEvent) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = *self.last.borrow() + 1;
        if ring.len() == EVENTS_MAX {
            ring.pop_front();
        }
        ring.push_back(Event {
            sequence,
            at_unix_millis: clock::unix_millis(),
            kind: new.kind.into(),
            mac: new.mac,
            node: new.node,
            message: new.message,
            detail: new.detail,
        });
        // Under the lock, so that sequences are published in their order.
        self.last.send_replace(sequence);
    }

    /// The events after `since`, at most `limit`; waits up to `wait_secs` while there are none.
    pub async fn page(&self, since: u64, limit: usize, wait_secs: u64) -> EventPage {
        let mut last = self.last.subscribe();
        let _waiting = Waiting::begin();
        let wait = Duration::from_secs(wait_secs.min(EVENTS_WAIT_SECS_MAX));
        // A timeout is an answer too: an empty page.
        let _ = tokio::time::timeout(wait, last.wait_for(|last| *last > since)).await;
        self.page_now(since, limit.clamp(1, PAGE_MAX))
    }

    fn page_now(&self, since: u64, limit: usize) -> EventPage {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let first = ring.front().map_or(self.origin + 1, |event| event.sequence);
        // A reader from the beginning (0) has lost something only where this run has dropped something.
        let lost = if since == 0 { first > self.origin + 1 } else { since + 1 < first };
        let start = ring.partition_point(|event| event.sequence <= since);
        let events: Vec<_> = ring.range(start..).take(limit).cloned().collect();
        let last = *self.last.borrow();
        EventPage {
            next: events.last().map_or(last.max(since.min(last)), |event| event.sequence),
            events,
            lost_before: lost.then_some(first),
        }
    }
}

/// A reader that waits, counted for as long as this lives: also one that goes away meanwhile.
struct Waiting(Gauge);

impl Waiting {
    fn begin() -> Self {
        let gauge = gauge!("reveille_bootd_event_readers");
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(events: &Events, n: usize) {
        (0..n).for_each(|_| events.push(NewEvent { kind: "test", ..NewEvent::default() }));
    }

    #[tokio::test]
    async fn pages_in_order_and_tells_what_was_lost() {
        let events = Events::new();
        push(&events, 5);
        let page = events.page(0, 3, 0).await;
        assert_eq!((page.events.len(), page.next, page.lost_before), (3, events.origin + 3, None));
        let page = events.page(page.next, 3, 0).await;
        assert_eq!((page.events.len(), page.lost_before), (2, None));
        assert_eq!(events.page(page.next, 3, 0).await.events.len(), 0);

        push(&events, EVENTS_MAX);
        let page = events.page(page.next - 4, 1, 0).await;
        assert_eq!(page.lost_before, Some(events.origin + 6), "five were dropped");
        assert_eq!(page.events[0].sequence, events.origin + 6);
        let earlier_run = events.page(events.origin - 100, 1, 0).await;
        assert_eq!(earlier_run.lost_before, Some(events.origin + 6));
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_the_next_event_or_the_end_of_the_wait() {
        let events = std::sync::Arc::new(Events::new());
        let waiting = tokio::spawn({
            let events = events.clone();
            async move { events.page(events.origin, 10, 30).await }
        });
        tokio::task::yield_now().await;
        push(&events, 1);
        assert_eq!(waiting.await.unwrap().events.len(), 1);
        let (page, began) = (events.page(events.origin + 1, 10, 999), tokio::time::Instant::now());
        assert_eq!(page.await.events.len(), 0);
        assert_eq!(began.elapsed().as_secs(), EVENTS_WAIT_SECS_MAX);
    }
}
