//! From a journal's record to the event that it tells: the same for a record that has just become durable and for one that is replayed.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use reveille_config::MacAddr;
use reveille_config::limit::DURABLE_EVENTS_MAX;

use super::{Durable, EventKind, RawEvent};
use crate::proto::scope::{ScopeIndex, Scopes};
use crate::proto::time::UnixSecs;
use crate::store::journal::Sequence;
use crate::store::note::Note;
use crate::store::record::{BindRecord, Record};
use crate::store::rows::{Applied, Change};

/// The event of a record, which has been applied. `unix_millis` says when it is read; the event's time stays within the record's second, or is that time where the record has none.
pub(in crate::store) fn tell(
    scopes: &Scopes,
    unix_millis: u64,
    sequence: Sequence,
    (kind, payload): (u8, &[u8]),
    applied: Applied,
) -> Option<RawEvent> {
    let event = |kind, scope, mac, address: Ipv4Addr, at: Option<UnixSecs>| RawEvent {
        at_unix_millis: at.map_or(unix_millis, |at| within(at, unix_millis)),
        kind,
        mac,
        scope,
        address: (!address.is_unspecified()).then_some(address),
        amount: 0,
        size: 0,
        reason: "",
        journal_sequence: sequence,
    };
    let scope_of = |address| scopes.of_address(address).map(|scope| scope.index);
    match applied {
        Applied::Orphan | Applied::Lease(Change::Nothing) => None,
        Applied::Lease(change @ (Change::Bound | Change::Renewed)) => {
            let BindRecord { address, mac, starts, ends, .. } = BindRecord::decode(kind, payload)?;
            let kind = if change == Change::Bound { EventKind::Bound } else { EventKind::Renewed };
            let amount = if ends == UnixSecs::NEVER { u32::MAX } else { ends.since(starts) };
            Some(RawEvent { amount, ..event(kind, scope_of(address)?, mac, address, Some(starts)) })
        }
        Applied::Lease(Change::Ended) | Applied::Other if !crate::store::note::KINDS.contains(&kind) => {
            // A part of a batch is written when all of the batch has been checked: it is told with its own sequence, not with the batch's end.
            let record = match Record::decode(kind, payload).ok()? {
                Record::BatchPart { part, .. } => *part,
                record => record,
            };
            match record {
                Record::Release { address, mac, at } => {
                    Some(event(EventKind::Released, scope_of(address)?, mac, address, Some(at)))
                }
                Record::Decline { address, mac, at, .. } => {
                    Some(event(EventKind::Declined, scope_of(address)?, mac, address, Some(at)))
                }
                Record::Reserve { client, address, .. } => {
                    let mac = client.mac().unwrap_or_default();
                    Some(event(EventKind::Reserved, scope_of(address)?, mac, address, None))
                }
                Record::Unreserve { client, address } => {
                    let mac = client.mac().unwrap_or_default();
                    Some(event(EventKind::Unreserved, scope_of(address)?, mac, address, None))
                }
                // A sighting is told when it is seen.
                Record::Sighting { .. } | Record::Bind { .. } | Record::BatchPart { .. } | Record::BatchEnd { .. } => {
                    None
                }
            }
        }
        Applied::Lease(Change::Ended) | Applied::Other => match Note::decode(kind, payload).ok()? {
            Note::Expired { address, mac, at } => {
                Some(event(EventKind::Expired, scope_of(address)?, mac, address, Some(at)))
            }
            Note::Conflict { address, holder, at, .. } => {
                Some(event(EventKind::Conflict, scope_of(address)?, holder, address, Some(at)))
            }
            Note::Pool { scope, above, used, size, at } => {
                let kind = if above { EventKind::PoolAbove } else { EventKind::PoolBelow };
                let scope = scopes.by_name(scope)?.index;
                let event = event(kind, scope, MacAddr::default(), Ipv4Addr::UNSPECIFIED, Some(at));
                Some(RawEvent { amount: used, size, ..event })
            }
            Note::Told { .. } | Note::Forgotten { .. } | Note::Dealt { .. } => None,
        },
    }
}

/// The time `unix_millis`, kept within the second `at`.
fn within(at: UnixSecs, unix_millis: u64) -> u64 {
    let second = u64::from(at.0) * 1_000;
    unix_millis.clamp(second, second + 999)
}

/// What a snapshot keeps of an event; `None` for a transient one or where its scope is gone.
pub(in crate::store) fn kept<'a>(scopes: &'a Scopes, event: &RawEvent) -> Option<Note<'a>> {
    Some(Note::Told {
        sequence: event.journal_sequence,
        at_unix_millis: event.at_unix_millis,
        code: event.kind.code()?,
        mac: event.mac,
        address: event.address.unwrap_or(Ipv4Addr::UNSPECIFIED),
        amount: event.amount,
        size: event.size,
        scope: &scopes.get(event.scope)?.name,
    })
}

/// The events that a replay finds: those that the snapshot kept, then what the log's records tell.
#[derive(Debug, Default)]
pub(in crate::store) struct Replayed {
    kept: BTreeMap<Sequence, RawEvent>,
    told: VecDeque<RawEvent>,
    forgotten_through: Option<Sequence>,
    /// The time of the last one, for records that say none.
    unix_millis: u64,
}

impl Replayed {
    /// Takes in a record that has been applied. Those of the snapshot are told too, with the sequence that it covers, and left out by [`Self::finish`].
    pub(in crate::store) fn take(
        &mut self,
        scopes: &Scopes,
        sequence: Sequence,
        record: (u8, &[u8]),
        applied: Applied,
    ) {
        // Replayed in order, so a time earlier than the second of the record is lifted to its beginning.
        let Some(event) = tell(scopes, self.unix_millis, sequence, record, applied) else { return };
        let second = event.at_unix_millis / 1_000 * 1_000;
        let at_unix_millis = if event.at_unix_millis > self.unix_millis { second } else { event.at_unix_millis };
        self.unix_millis = self.unix_millis.max(at_unix_millis);
        // Only the records of a snapshot share a sequence.
        if self.told.back().is_some_and(|before| before.journal_sequence == sequence) {
            self.told.pop_back();
        }
        if self.told.len() == DURABLE_EVENTS_MAX {
            self.kept.clear();
            self.forgotten_through = self.told.pop_front().map(|event| event.journal_sequence);
        }
        self.told.push_back(RawEvent { at_unix_millis, ..event });
    }

    /// Takes in what a snapshot kept.
    pub(in crate::store) fn keep(&mut self, scopes: &Scopes, note: Note<'_>) {
        match note {
            Note::Told { sequence, at_unix_millis, code, mac, address, amount, size, scope } => {
                let scope: Option<ScopeIndex> = scopes.by_name(scope).map(|scope| scope.index);
                if let (Some(kind), Some(scope)) = (EventKind::of_code(code), scope) {
                    let address = (!address.is_unspecified()).then_some(address);
                    let (reason, journal_sequence) = ("", sequence);
                    let event =
                        RawEvent { at_unix_millis, kind, mac, scope, address, amount, size, reason, journal_sequence };
                    self.unix_millis = self.unix_millis.max(at_unix_millis);
                    self.kept.insert(sequence, event);
                }
            }
            Note::Forgotten { through } => self.forgotten_through = Some(through),
            Note::Expired { .. } | Note::Conflict { .. } | Note::Pool { .. } | Note::Dealt { .. } => {}
        }
    }

    /// Puts what was found where readers find it. `covered` is the sequence of the snapshot, if there was one.
    pub(in crate::store) fn finish(self, durable: &Durable, covered: Option<Sequence>, through: Sequence) {
        let covered = covered.unwrap_or(0);
        let mut events = self.kept;
        for event in self.told.into_iter().filter(|event| event.journal_sequence > covered) {
            // What a snapshot kept was told as it happened; what the same record tells now may know what came later.
            events.entry(event.journal_sequence).or_insert(event);
        }
        let events: Vec<RawEvent> = events.into_values().collect();
        durable.restore(&events, self.forgotten_through.unwrap_or(covered), through);
    }
}
