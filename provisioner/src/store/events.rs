//! [`Events`]: the history of all nodes as one stream, bounded.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use reveille_config::dto::event::{Event, EventPage, EventQuery, Lost};
use reveille_config::limit::EVENTS_MAX;
use tokio::sync::watch;

use super::Entry;

/// The last [`EVENTS_MAX`] events; a reader that lags further is told from where it lost.
pub struct Events {
    ring: Mutex<VecDeque<Event>>,
    newest: watch::Sender<u64>,
}

impl From<&Entry> for Event {
    fn from(entry: &Entry) -> Self {
        let mut detail = serde_json::Map::new();
        if entry.severity == crate::proto::node::Severity::Error {
            detail.insert("severity".into(), "ERROR".into());
        }
        Self {
            sequence: entry.sequence,
            at_unix_millis: entry.at.0,
            kind: entry.kind.clone(),
            mac: entry.mac,
            node: Some(entry.node.to_string()),
            message: entry.text.clone(),
            detail,
        }
    }
}

impl Events {
    /// The stream as it stood: `entries` by sequence, the next one to come being `next_sequence`.
    pub(super) fn new(entries: Vec<Entry>, next_sequence: u64) -> Self {
        let ring = entries.iter().map(Event::from).collect();
        Self { ring: Mutex::new(ring), newest: watch::Sender::new(next_sequence - 1) }
    }

    pub(super) fn publish(&self, entries: &[Entry]) {
        let Some(last) = entries.last() else { return };
        {
            let mut ring = self.ring.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            ring.extend(entries.iter().map(Event::from));
            let surplus = ring.len().saturating_sub(EVENTS_MAX);
            ring.drain(..surplus);
            // Under the lock, so that a reader sees both or neither.
            self.newest.send_replace(last.sequence);
        }
    }

    /// The sequence of the last event.
    pub fn last(&self) -> u64 {
        *self.newest.borrow()
    }

    /// Resolves when there are events after `since`.
    pub async fn grown(&self, since: u64) {
        // The sender lives as long as this.
        let _ = self.newest.subscribe().wait_for(|newest| *newest > since).await;
    }

    /// The events after `since` that the query asks for; waits up to its `wait_secs` while there are none.
    pub async fn page(&self, since: u64, query: &EventQuery) -> EventPage {
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

    /// What is there now after `since` of what the query asks for, at most its `limit`.
    pub fn page_now(&self, since: u64, query: &EventQuery) -> EventPage {
        let ring = self.ring.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let newest = *self.newest.borrow();
        // Ahead of us: of another database.
        let since = if since > newest { 0 } else { since };
        // The first sequence ever is 1.
        let first = ring.front().map_or(newest + 1, |event| event.sequence);
        let lost = (since + 1 < first).then(|| Lost { from: since + 1, to: first - 1 });
        let from = ring.partition_point(|event| event.sequence <= since);
        let mut events: Vec<Event> = Vec::new();
        for event in ring.range(from..).filter(|event| query.wants(event)) {
            if events.len() == query.limit {
                let next = events.last().map_or(since, |event| event.sequence);
                return EventPage { events, next, next_transient: None, lost };
            }
            events.push(event.clone());
        }
        EventPage { events, next: newest, next_transient: None, lost }
    }
}
