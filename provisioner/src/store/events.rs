//! [`Events`]: the history of all nodes as one stream, bounded.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use reveille_config::dto::event::{Event, EventPage};
use reveille_config::limit::{EVENTS_MAX, PAGE_MAX};
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
        }
        self.newest.send_replace(last.sequence);
    }

    /// Events after `since`, at most `limit`; waits up to `wait` for the first.
    pub async fn after(&self, since: u64, limit: usize, wait: Duration) -> EventPage {
        let mut newest = self.newest.subscribe();
        // Time out or not, what is there is answered.
        let _ = tokio::time::timeout(wait, newest.wait_for(|newest| *newest > since)).await;
        let ring = self.ring.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let from = ring.partition_point(|event| event.sequence <= since);
        let events: Vec<Event> = ring.range(from..).take(limit.clamp(1, PAGE_MAX)).cloned().collect();
        let first = ring.front().map_or(*newest.borrow() + 1, |event| event.sequence);
        let next = events.last().map_or(since, |event| event.sequence);
        // The first sequence ever is 1.
        EventPage { events, next, lost_before: (since + 1 < first).then_some(first) }
    }
}
