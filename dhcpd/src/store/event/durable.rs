//! [`Durable`]: the last durable events in blocks, one a commit, so that a reader takes them out from under the lock without copying and nobody waits for it.
//!
//! Invariants: sequences grow; a block is never empty and never changes; at most [`DURABLE_EVENTS_MAX`] events are kept, or one block.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reveille_config::dto::event::Lost;
use reveille_config::limit::DURABLE_EVENTS_MAX;

use super::RawEvent;
use crate::store::journal::Sequence;

/// Events that became durable together, in order.
pub type Block = Arc<[RawEvent]>;

/// Events that a replay puts into one block.
const REPLAYED_BLOCK: usize = 256;

/// The last durable events.
#[derive(Debug, Default)]
pub struct Durable(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    blocks: VecDeque<Block>,
    events: usize,
    /// Events up to here are no longer known.
    forgotten_through: Sequence,
    /// All events up to here are here, if they are known.
    told_through: Sequence,
}

/// What a reader has not seen yet.
#[derive(Debug, PartialEq, Eq)]
pub struct Unseen {
    /// Oldest first; the first may begin with events that the reader has seen.
    pub blocks: Vec<Block>,
    /// What was lost before them.
    pub lost: Option<Lost>,
    /// The reader has seen, once it has read these blocks, everything up to here.
    pub through: Sequence,
}

impl Durable {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Nothing in here panics half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last sequence whose event, if it has one, is here.
    pub fn told_through(&self) -> Sequence {
        self.ring().told_through
    }

    /// Adds what a commit tells; `through` is the commit's last sequence.
    pub(in crate::store) fn append(&self, events: &[RawEvent], through: Sequence) {
        self.ring().append(events, through);
    }

    /// Begins with what was known before a restart.
    pub(in crate::store) fn restore(&self, events: &[RawEvent], forgotten_through: Sequence, through: Sequence) {
        let mut ring = self.ring();
        ring.forgotten_through = forgotten_through;
        for block in events.chunks(REPLAYED_BLOCK) {
            ring.append(block, block.last().map_or(0, |event| event.journal_sequence));
        }
        ring.told_through = through;
    }

    /// All that is known, and up to where it is not.
    pub(in crate::store) fn all(&self) -> (Vec<Block>, Sequence) {
        let ring = self.ring();
        (ring.blocks.iter().cloned().collect(), ring.forgotten_through)
    }

    /// The blocks after `since`: as many as it takes for `enough` events. `since` 0 asks for whatever there is; one that was never reached is of another journal,
    /// whose reader has lost all that is not known here.
    pub fn after(&self, since: Sequence, enough: usize) -> Unseen {
        let ring = self.ring();
        let of_another = since > ring.told_through;
        let known = if of_another { 0 } else { since };
        let lost = (known < ring.forgotten_through && since != 0)
            .then(|| Lost { from: known + 1, to: ring.forgotten_through })
            .or(of_another.then_some(Lost { from: 1, to: ring.forgotten_through }));
        let first = ring.blocks.partition_point(|block| block[block.len() - 1].journal_sequence <= known);
        let mut found = 0;
        let blocks: Vec<Block> = ring
            .blocks
            .range(first..)
            .take_while(|block| {
                let more = found < enough;
                found += block.len();
                more
            })
            .cloned()
            .collect();
        let all = first + blocks.len() == ring.blocks.len();
        let through = match blocks.last() {
            Some(block) if !all => block[block.len() - 1].journal_sequence,
            _ => ring.told_through,
        };
        Unseen { blocks, lost, through }
    }
}

impl Ring {
    fn append(&mut self, events: &[RawEvent], through: Sequence) {
        if !events.is_empty() {
            self.events += events.len();
            self.blocks.push_back(events.into());
        }
        while self.events > DURABLE_EVENTS_MAX
            && self.blocks.len() > 1
            && let Some(block) = self.blocks.pop_front()
        {
            self.events -= block.len();
            self.forgotten_through = block[block.len() - 1].journal_sequence;
        }
        self.told_through = self.told_through.max(through);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::scope::ScopeIndex;
    use crate::store::event::EventKind;
    use reveille_config::MacAddr;

    fn event(journal_sequence: u64) -> RawEvent {
        RawEvent {
            at_unix_millis: 0,
            kind: EventKind::Bound,
            mac: MacAddr([2; 6]),
            scope: ScopeIndex(0),
            address: None,
            amount: 0,
            size: 0,
            reason: "",
            journal_sequence,
        }
    }

    fn sequences(unseen: &Unseen) -> Vec<u64> {
        unseen.blocks.iter().flat_map(|block| block.iter().map(|event| event.journal_sequence)).collect()
    }

    #[test]
    fn a_reader_resumes_and_knows_how_far_it_has_come() {
        let durable = Durable::default();
        assert_eq!(durable.after(0, 9), Unseen { blocks: vec![], lost: None, through: 0 });
        durable.append(&[event(1), event(3)], 4);
        durable.append(&[], 5);
        durable.append(&[event(6)], 6);
        let first = durable.after(0, 1);
        assert_eq!((sequences(&first), first.through), (vec![1, 3], 3));
        let rest = durable.after(first.through, 9);
        assert_eq!((sequences(&rest), rest.through, rest.lost), (vec![6], 6, None));
        let within = durable.after(2, 9);
        assert_eq!(sequences(&within), [1, 3, 6], "whole blocks; the reader skips what it has seen");
        durable.append(&[], 8);
        assert_eq!(durable.after(6, 9), Unseen { blocks: vec![], lost: None, through: 8 }, "records that tell nothing");
    }

    #[test]
    fn at_the_limit_the_oldest_go_and_who_lags_is_told_what_it_lost() {
        let durable = Durable::default();
        let most = DURABLE_EVENTS_MAX as u64;
        (1..=most + 10).for_each(|sequence| durable.append(&[event(sequence)], sequence));
        for (since, lost) in [
            (0, None),
            (1, Some(Lost { from: 2, to: 10 })),
            (9, Some(Lost { from: 10, to: 10 })),
            (10, None),
            (most + 10, None),
            (most + 11, Some(Lost { from: 1, to: 10 })),
        ] {
            let unseen = durable.after(since, 1);
            assert_eq!(unseen.lost, lost, "since {since}");
        }
        assert_eq!(durable.ring().events, DURABLE_EVENTS_MAX);
        let whole: Vec<_> = (0..2 * most).map(|n| event(most + 11 + n)).collect();
        durable.append(&whole, 4 * most);
        assert_eq!(durable.ring().blocks.len(), 1, "a block beyond the limit stands alone");
    }

    #[test]
    fn a_restart_goes_on_where_it_was() {
        let durable = Durable::default();
        durable.restore(&[event(7), event(9)], 5, 12);
        let unseen = durable.after(3, 9);
        assert_eq!((sequences(&unseen), unseen.lost, unseen.through), (vec![7, 9], Some(Lost { from: 4, to: 5 }), 12));
        assert_eq!(durable.after(8, 9).lost, None);
    }
}
