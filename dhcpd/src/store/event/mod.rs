//! What happened, for `GET /v1/events`: durable events that bear the journal's sequence, and transient ones that are told to whoever listens.
//!
//! *Durable*: made from the journal's records once they are on disk, in their order, by the journal's reader and by replay alike, so a reader resumes with `since`
//! over restarts too ([`durable`], [`tell`]). *Transient*: offers, refusals, drops, sightings; pushed by the workers, numbered within this life, never
//! written down and never replayed to one that comes later ([`transient`]).
//!
//! Invariants: no worker and no commit waits for a reader; each ring is bounded, and one that lags is told from where to where it lost.

pub mod durable;
pub(super) mod tell;
pub mod transient;

use std::net::Ipv4Addr;

use reveille_config::MacAddr;
use tokio::sync::Notify;

use self::durable::Durable;
use self::transient::Transient;
use super::journal::Sequence;
use crate::proto::scope::ScopeIndex;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A client was bound.
    Bound,
    /// A binding was extended.
    Renewed,
    /// A client gave its address back.
    Released,
    /// A lease's time is over.
    Expired,
    /// A client found its address in use.
    Declined,
    /// An address that was about to be offered is in use by a machine without a lease.
    Conflict,
    /// A reservation was put in force.
    Reserved,
    /// A reservation was removed.
    Unreserved,
    /// A scope's pools have come to its upper mark.
    PoolAbove,
    /// A scope's pools have come back to its lower mark.
    PoolBelow,
    /// An address was offered; transient.
    Offered,
    /// A client was told what is left of its lease, from the disk; transient.
    Recalled,
    /// A DHCPNAK was sent; transient.
    Refused,
    /// A client could not be served; transient.
    Dropped,
    /// An unknown machine asked for the first time on a static scope; transient.
    Sighting,
    /// A DHCP server that is not ours answers on a link; transient.
    ForeignServer,
}

impl EventKind {
    /// All kinds, the durable ones first.
    pub const ALL: [Self; 16] = [
        Self::Bound,
        Self::Renewed,
        Self::Released,
        Self::Expired,
        Self::Declined,
        Self::Conflict,
        Self::Reserved,
        Self::Unreserved,
        Self::PoolAbove,
        Self::PoolBelow,
        Self::Offered,
        Self::Recalled,
        Self::Refused,
        Self::Dropped,
        Self::Sighting,
        Self::ForeignServer,
    ];

    /// The fixed word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Renewed => "renewed",
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Declined => "declined",
            Self::Conflict => "conflict",
            Self::Reserved => "reserved",
            Self::Unreserved => "unreserved",
            Self::PoolAbove => "pool-above",
            Self::PoolBelow => "pool-below",
            Self::Offered => "offered",
            Self::Recalled => "recalled",
            Self::Refused => "refused",
            Self::Dropped => "dropped",
            Self::Sighting => "sighting",
            Self::ForeignServer => "foreign-server",
        }
    }

    /// Whether it is only for those who ask for it, and lost on those who come later.
    pub const fn is_transient(self) -> bool {
        self.code().is_none()
    }

    /// The number that a snapshot knows a durable kind by; never given to another.
    pub(super) const fn code(self) -> Option<u8> {
        Some(match self {
            Self::Bound => 1,
            Self::Renewed => 2,
            Self::Released => 3,
            Self::Expired => 4,
            Self::Declined => 5,
            Self::Conflict => 6,
            Self::Reserved => 7,
            Self::Unreserved => 8,
            Self::PoolAbove => 9,
            Self::PoolBelow => 10,
            _ => return None,
        })
    }

    fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == Some(code))
    }
}

/// One event, as small as it is produced; texts are made when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawEvent {
    /// When, Unix milliseconds; of a durable one that was replayed, its second.
    pub at_unix_millis: u64,
    /// What.
    pub kind: EventKind,
    /// The machine; all zeros where none is meant.
    pub mac: MacAddr,
    /// The scope; [`ScopeIndex::NONE`] of a packet that was dropped before it had one.
    pub scope: ScopeIndex,
    /// The address, where one is meant.
    pub address: Option<Ipv4Addr>,
    /// The lease time told, seconds, 0 where none was; of a pool, the addresses in use.
    pub amount: u32,
    /// The addresses of a pool; 0 where none is meant.
    pub size: u32,
    /// The word of a transient event's reason (`ChosenBy`, `NakReason`, `DropReason`), or nothing.
    pub reason: &'static str,
    /// The journal's sequence; 0 for transient events.
    pub journal_sequence: Sequence,
}

/// Both streams.
#[derive(Debug)]
pub struct Events {
    /// The durable ones.
    pub durable: Durable,
    /// The transient ones.
    pub transient: Transient,
    grown: Notify,
}

impl Events {
    /// Nothing has happened yet.
    pub(super) fn new() -> Self {
        Self { durable: Durable::default(), transient: Transient::default(), grown: Notify::new() }
    }

    /// Adds a transient event; never blocks. Call [`Self::wake`] after a batch of them.
    pub fn push(&self, event: RawEvent) {
        self.transient.push(event);
    }

    /// Wakes those who wait for events.
    pub fn wake(&self) {
        self.grown.notify_waiters();
    }

    /// Resolves at the next [`Self::wake`] after the future was enabled.
    pub fn grown(&self) -> tokio::sync::futures::Notified<'_> {
        self.grown.notified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_knows_the_durable_kinds() {
        let durable = EventKind::ALL.into_iter().filter(|kind| !kind.is_transient());
        assert!(durable.map(EventKind::as_str).eq(reveille_config::dto::event::DHCPD_KINDS));
    }
}
