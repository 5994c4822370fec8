//! [`Ring`]: the last events in memory. It writes nothing down: what is to survive is its owner's.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use reveille_config::dto::event::{Epoch, Event, EventPage, EventQuery, Lost};
use reveille_config::limit::EVENTS_MAX;
use tokio::sync::watch;

use crate::Log;

/// The last [`EVENTS_MAX`] events; the oldest makes room.
#[derive(Debug)]
pub struct Ring {
    epoch: Epoch,
    kept: Mutex<Kept>,
    /// Sequence of the last event; readers wait on it.
    last: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Event>,
    /// Some event up to here is not here.
    forgotten_through: u64,
}

impl Ring {
    /// An empty one, whose first event comes after `sequence`: what came before is not known.
    pub fn after(epoch: Epoch, sequence: u64) -> Self {
        Self::restored(epoch, [], sequence)
    }

    /// One with events that are known from before, by sequence, `last` being the last sequence given. What is not there is forgotten.
    pub fn restored(epoch: Epoch, events: impl IntoIterator<Item = Event>, last: u64) -> Self {
        let events: VecDeque<Event> = events.into_iter().collect();
        let mut whole_from = last + 1;
        for event in events.iter().rev() {
            if event.sequence + 1 != whole_from {
                break;
            }
            whole_from = event.sequence;
        }
        let kept = Mutex::new(Kept { events, forgotten_through: whole_from - 1 });
        Self { epoch, kept, last: watch::Sender::new(last) }
    }

    /// Appends the event that `make` makes of the next sequence, and wakes the readers.
    pub fn push(&self, make: impl FnOnce(u64) -> Event) {
        let mut kept = self.kept();
        let next = *self.last.borrow() + 1;
        self.append(&mut kept, [make(next)]);
    }

    /// Appends events that have their sequences, and wakes the readers.
    pub fn extend(&self, new: impl IntoIterator<Item = Event>) {
        self.append(&mut self.kept(), new);
    }

    fn append(&self, kept: &mut Kept, new: impl IntoIterator<Item = Event>) {
        for event in new {
            if kept.events.len() == EVENTS_MAX
                && let Some(oldest) = kept.events.pop_front()
            {
                kept.forgotten_through = kept.forgotten_through.max(oldest.sequence);
            }
            kept.events.push_back(event);
        }
        if let Some(event) = kept.events.back() {
            // Under the lock, so that sequences are published in their order.
            self.last.send_replace(event.sequence);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing in here leaves it half done.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for Ring {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn last(&self) -> u64 {
        *self.last.borrow()
    }

    async fn grown(&self, since: u64) {
        // The sender lives as long as this.
        let _ = self.last.subscribe().wait_for(|last| *last > since).await;
    }

    fn page_now(&self, since: u64, query: &EventQuery) -> EventPage {
        let kept = self.kept();
        let last = *self.last.borrow();
        let forgotten = kept.forgotten_through;
        // A sequence ahead of us is of another log: its reader knows nothing of this one. 0 asks for whatever there is.
        let (known, is_lost) = if since > last { (0, true) } else { (since, since != 0 && since < forgotten) };
        let lost = is_lost.then_some(Lost { from: known + 1, to: forgotten });
        let start = kept.events.partition_point(|event| event.sequence <= known);
        let mut events: Vec<Event> = Vec::new();
        for event in kept.events.range(start..).filter(|event| query.wants(event)) {
            if events.len() == query.limit {
                let next = events.last().map_or(known, |event| event.sequence);
                return EventPage { events, next, epoch: Some(self.epoch), next_transient: None, lost };
            }
            events.push(event.clone());
        }
        EventPage { events, next: last, epoch: Some(self.epoch), next_transient: None, lost }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Appends `n` events of a kind.
    pub(crate) fn push(ring: &Ring, kind: &str, n: usize) {
        for _ in 0..n {
            ring.push(|sequence| Event {
                sequence,
                at_unix_millis: 5,
                kind: kind.into(),
                mac: None,
                node: None,
                message: "something happened".into(),
                detail: Default::default(),
            });
        }
    }

    fn most(limit: usize) -> EventQuery {
        EventQuery { limit, ..EventQuery::default() }
    }

    #[test]
    fn pages_in_order_as_asked() {
        let ring = Ring::after(Epoch(1), 100);
        push(&ring, "test", 5);
        let page = ring.page_now(0, &most(3));
        assert_eq!((page.events.len(), page.next, page.lost), (3, 103, None));
        let page = ring.page_now(page.next, &most(3));
        assert_eq!((page.events.len(), page.next, page.lost), (2, 105, None));
        assert_eq!(ring.page_now(page.next, &most(3)).events.len(), 0);
        push(&ring, "other", 1);
        let found = ring.page_now(0, &EventQuery { kinds: vec!["other".into()], ..most(3) });
        assert_eq!((found.events.len(), found.next), (1, 106));
    }

    #[test]
    fn who_lags_or_comes_from_another_log_is_told_what_it_lost() {
        let ring = Ring::after(Epoch(1), 100);
        let lost = |since| ring.page_now(since, &most(1)).lost;
        for (since, expected) in [
            (0, None),
            (7, Some(Lost { from: 8, to: 100 })),
            (100, None),
            // Of a log that was ahead.
            (101, Some(Lost { from: 1, to: 100 })),
        ] {
            assert_eq!(lost(since), expected, "since {since}, of a ring without events");
        }
        push(&ring, "test", EVENTS_MAX + 5);
        let last = ring.last();
        for (since, expected) in [
            (0, None),
            (7, Some(Lost { from: 8, to: 105 })),
            (102, Some(Lost { from: 103, to: 105 })),
            (105, None),
            (last, None),
            (last + 1, Some(Lost { from: 1, to: 105 })),
        ] {
            assert_eq!(lost(since), expected, "since {since}");
        }
        assert_eq!(ring.page_now(last + 1, &most(1)).events[0].sequence, 106, "it begins with what is known");
    }

    #[test]
    fn what_is_missing_between_restored_events_is_told() {
        let all = Ring::after(Epoch(1), 100);
        push(&all, "test", 9);
        let of = |sequences: &[u64]| {
            let events = all.page_now(0, &most(9)).events;
            events.into_iter().filter(|event| sequences.contains(&event.sequence)).collect::<Vec<_>>()
        };
        for (kept, since, expected) in [
            (&[101, 102, 105, 106][..], 102, Some(Lost { from: 103, to: 104 })),
            (&[101, 102, 105, 106], 103, Some(Lost { from: 104, to: 104 })),
            (&[101, 102, 105, 106], 104, None),
            (&[101, 102], 100, Some(Lost { from: 101, to: 106 })),
            (&[], 105, Some(Lost { from: 106, to: 106 })),
            (&[], 106, None),
        ] {
            let ring = Ring::restored(Epoch(1), of(kept), 106);
            assert_eq!(ring.page_now(since, &most(9)).lost, expected, "since {since} with {kept:?}");
        }
    }
}
