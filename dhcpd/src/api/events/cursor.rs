//! [`Cursor`]: one reader's place in the rings, and what it wants to see of them.

use reveille_config::MacAddr;
use reveille_config::dto::event::{Event, EventQuery, Lost};

use super::show::show;
use crate::api::problem::ApiError;
use crate::api::{ApiState, page};
use crate::proto::scope::ScopeIndex;
use crate::store::event::{EventKind, RawEvent};

/// A reader's place.
#[derive(Debug)]
pub(super) struct Cursor {
    since: u64,
    /// Where it is in the ring of transient events, if it wants them.
    transient: Option<u64>,
    wanted: Wanted,
}

/// What a reader is to see; an empty list is no condition.
#[derive(Debug)]
struct Wanted {
    kinds: Vec<EventKind>,
    scopes: Vec<ScopeIndex>,
    macs: Vec<MacAddr>,
}

impl Wanted {
    fn wants(&self, event: &RawEvent) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && (self.scopes.is_empty() || self.scopes.contains(&event.scope))
            && (self.macs.is_empty() || self.macs.binary_search(&event.mac).is_ok())
    }
}

/// What a reader found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// As wanted, oldest first.
    pub(super) events: Vec<Event>,
    /// What was lost before them.
    pub(super) lost: Option<Lost>,
    /// How many transient ones were lost before them.
    pub(super) missed: u64,
    /// Whether there may be more at once.
    pub(super) more: bool,
}

impl Cursor {
    /// A reader that begins where the query says.
    ///
    /// # Errors
    /// 400 for a kind that there is not, 404 for a scope.
    pub(super) fn new(state: &ApiState, query: &EventQuery) -> Result<Self, ApiError> {
        let events = &state.store.shared.events;
        let kinds: Vec<EventKind> = query.kinds.iter().map(|word| kind(word)).collect::<Result<_, _>>()?;
        let scopes = query.scopes.iter().map(|name| page::scope_named(state, name)).collect::<Result<_, _>>()?;
        let mut macs = query.macs.clone();
        macs.sort_unstable();
        // Whoever names a transient kind asks for it.
        let transient = query.transient || kinds.iter().any(|kind| kind.is_transient());
        let since = query.since.in_log(state.epoch(), events.durable.told_through());
        let transient = transient.then(|| query.transient_since.unwrap_or_else(|| events.transient.last()));
        Ok(Self { since, transient, wanted: Wanted { kinds, scopes, macs } })
    }

    /// How far it has come: in the durable events, and in the transient ones where it wants them.
    pub(super) fn position(&self) -> (u64, Option<u64>) {
        (self.since, self.transient)
    }

    /// Goes to where another reader of the same events has come.
    pub(super) fn go_to(&mut self, since: u64) {
        self.since = since;
    }

    /// Takes what is next, at most `limit` of it (twice that with transient ones).
    pub(super) fn take(&mut self, state: &ApiState, limit: usize) -> Found {
        let events = &state.store.shared.events;
        let mut found = Found::default();
        let unseen = events.durable.after(self.since, limit);
        if let Some(lost) = unseen.lost {
            found.lost = Some(lost);
            // Also where it was ahead, with the sequence of another journal.
            self.since = lost.to;
        }
        let mut through = unseen.through;
        for event in unseen.blocks.iter().flat_map(|block| block.iter()) {
            if event.journal_sequence <= self.since || !self.wanted.wants(event) {
                continue;
            }
            if found.events.len() == limit {
                found.more = true;
                break;
            }
            through = event.journal_sequence;
            found.events.push(show(state, event));
        }
        if !found.more {
            through = unseen.through;
            found.more = through < events.durable.told_through();
        }
        self.since = through;
        if let Some(after) = &mut self.transient {
            let page = events.transient.after(*after, limit);
            found.missed = page.missed;
            found.more |= page.events.len() == limit;
            *after = page.next;
            let wanted = page.events.iter().map(|(_, event)| event).filter(|event| self.wanted.wants(event));
            let before = found.events.len();
            found.events.extend(wanted.map(|event| show(state, event)));
            if before > 0 && found.events.len() > before {
                // An offer comes before what it leads to in the same millisecond.
                found.events.sort_by_key(|event| (event.at_unix_millis, event.sequence));
            }
        }
        found
    }
}

fn kind(word: &str) -> Result<EventKind, ApiError> {
    EventKind::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or_else(|| {
        let words: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        ApiError::malformed(Some("kind"), format!("no kind is called `{word}`; there are: {}", words.join(", ")))
    })
}
