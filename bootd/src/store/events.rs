//! [`Events`]: what bootd has done, with sequence numbers, for readers who may wait for the next.
//!
//! It is not durable: what must survive is in the stores of those who act on it. Sequences grow over restarts too (each run begins at the
//! wall clock's microsecond), so that a reader who kept one from an earlier run learns that it has missed something.

use reveille_config::MacAddr;
use reveille_config::dto::event::{Epoch, Event, EventPage, EventQuery};
use reveille_events::{Log, Ring};
use serde_json::{Map, Value};

use super::clock;

/// The events of this run.
#[derive(Debug)]
pub struct Events(Ring);

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
    /// None yet; their sequences follow those of earlier runs.
    pub fn new() -> Self {
        // Of no more use than to tell runs apart: without random numbers the clock does.
        let started = clock::unix_millis() * 1_000;
        let epoch = reveille_events::new_epoch().unwrap_or(Epoch(started));
        Self(Ring::after(epoch, started))
    }

    /// Appends an event and wakes the readers; the oldest makes room.
    pub fn push(&self, new: NewEvent) {
        let NewEvent { kind, mac, node, message, detail } = new;
        let at_unix_millis = clock::unix_millis();
        self.0.push(|sequence| Event { sequence, at_unix_millis, kind: kind.into(), mac, node, message, detail });
    }
}

impl Log for Events {
    fn epoch(&self) -> Epoch {
        self.0.epoch()
    }

    fn last(&self) -> u64 {
        self.0.last()
    }

    fn page_now(&self, since: u64, query: &EventQuery) -> EventPage {
        self.0.page_now(since, query)
    }

    fn grown(&self, since: u64) -> impl Future<Output = ()> + Send {
        self.0.grown(since)
    }
}
