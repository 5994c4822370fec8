//! [`Events`]: the last things that happened, with sequence numbers, for readers who may wait for the next.
//!
//! It is not durable: what must survive is in the stores of those who act on it. Sequences grow over restarts too (each run begins at the
//! wall clock's microsecond), so that a reader who kept one from an earlier run learns that it has missed something.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::{Gauge, gauge};
use reveille_config::MacAddr;
use reveille_config::dto::event::{Event, EventPage, EventQuery, Lost};
use reveille_config::limit::EVENTS_MAX;
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

    /// The sequence of the last event.
    pub fn last(&self) -> u64 {
        *self.last.borrow()
    }

    /// The events after `since` that the query asks for; waits up to its `wait_secs` while there are none.
    pub async fn page(&self, since: u64, query: &EventQuery) -> EventPage {
        let _waiting = Waiting::begin();
        let mut page = self.page_now(since, query);
        let wait = tokio::time::sleep(Duration::from_secs(query.wait_secs));
        let mut wait = std::pin::pin!(wait);
        while page.events.is_empty() && page.lost.is_none() {
            let seen = page.next;
            tokio::select! {
                () = &mut wait => break,
                () = self.grown(seen) => page = self.page_now(seen, query),
            }
        }
        page
    }

    /// Resolves when there are events after `since`.
    pub async fn grown(&self, since: u64) {
        // The sender lives as long as this.
        let _ = self.last.subscribe().wait_for(|last| *last > since).await;
    }

    /// What is there now after `since` of what the query asks for, at most its `limit`.
    pub fn page_now(&self, since: u64, query: &EventQuery) -> EventPage {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let last = *self.last.borrow();
        // Ahead of us: of a run when the clock went ahead.
        let since = if since > last { 1 } else { since };
        let first = ring.front().map_or(self.origin + 1, |event| event.sequence);
        // A reader from the beginning (0) has lost something only where this run has dropped something.
        let is_lost = if since == 0 { first > self.origin + 1 } else { since + 1 < first };
        let lost = is_lost.then(|| Lost { from: since + 1, to: first - 1 });
        let start = ring.partition_point(|event| event.sequence <= since);
        let mut events: Vec<Event> = Vec::new();
        for event in ring.range(start..).filter(|event| query.wants(event)) {
            if events.len() == query.limit {
                let next = events.last().map_or(since, |event| event.sequence);
                return EventPage { events, next, next_transient: None, lost };
            }
            events.push(event.clone());
        }
        EventPage { events, next: last, next_transient: None, lost }
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

    fn most(limit: usize) -> EventQuery {
        EventQuery { limit, ..EventQuery::default() }
    }

    #[test]
    fn pages_in_order_and_tells_what_was_lost() {
        let events = Events::new();
        push(&events, 5);
        let page = events.page_now(0, &most(3));
        assert_eq!((page.events.len(), page.next, page.lost), (3, events.origin + 3, None));
        let page = events.page_now(page.next, &most(3));
        assert_eq!((page.events.len(), page.lost), (2, None));
        assert_eq!(events.page_now(page.next, &most(3)).events.len(), 0);
        events.push(NewEvent { kind: "other", ..NewEvent::default() });
        let other = EventQuery { kinds: vec!["other".into()], ..most(3) };
        let found = events.page_now(0, &other);
        assert_eq!((found.events.len(), found.next), (1, events.origin + 6));

        push(&events, EVENTS_MAX - 1);
        let page = events.page_now(page.next - 4, &most(1));
        let lost = Lost { from: events.origin + 2, to: events.origin + 5 };
        assert_eq!(page.lost, Some(lost), "five were dropped, of which it had seen one");
        assert_eq!(page.events[0].sequence, events.origin + 6);
        for stranger in [events.origin - 100, events.last() + 1] {
            let page = events.page_now(stranger, &most(1));
            assert_eq!(page.lost.map(|lost| lost.to), Some(events.origin + 5), "of another run");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_the_next_event_it_asks_for_or_the_end_of_the_wait() {
        let events = std::sync::Arc::new(Events::new());
        let test = EventQuery { wait_secs: 30, kinds: vec!["test".into()], ..most(10) };
        let waiting = tokio::spawn({
            let (events, test) = (events.clone(), test.clone());
            async move { events.page(events.origin, &test).await }
        });
        tokio::task::yield_now().await;
        events.push(NewEvent { kind: "other", ..NewEvent::default() });
        tokio::task::yield_now().await;
        push(&events, 1);
        assert_eq!(waiting.await.unwrap().events.len(), 1);
        let (page, began) = (events.page(events.last(), &test), tokio::time::Instant::now());
        assert_eq!(page.await.events.len(), 0);
        assert_eq!(began.elapsed().as_secs(), 30);
    }
}
