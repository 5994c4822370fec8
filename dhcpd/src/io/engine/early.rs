//! Packets that are dropped before it is known whose job they are: no scope, no message, too many. Each is counted; one a second for each reason is an event and a
//! line of the debug log, so that who sends too much or sends rubbish does not push other events out of their ring.

use reveille_config::MacAddr;

use super::Desk;
use crate::proto::reason::DropReason;
use crate::proto::scope::ScopeIndex;
use crate::proto::time::{Millis, Now};
use crate::store::event::{EventKind, RawEvent};

/// A reason that was told is not told again for so long.
const TOLD_MILLIS: u64 = 1_000;

/// When each reason may be told next.
#[derive(Debug)]
pub(super) struct Early([Millis; DropReason::ALL.len()]);

impl Default for Early {
    fn default() -> Self {
        Self([Millis(0); DropReason::ALL.len()])
    }
}

impl Early {
    fn is_due(&mut self, now: Millis, reason: DropReason) -> bool {
        let next = &mut self.0[reason as usize];
        let due = *next <= now;
        if due {
            *next = Millis(now.0 + TOLD_MILLIS);
        }
        due
    }
}

impl Desk {
    /// Counts a packet that is dropped without a scope, and tells of it. `mac` is all zeros where the packet does not say.
    pub(super) fn dropped_early(&mut self, now: Now, reason: DropReason, mac: MacAddr, link: usize) {
        self.counters.dropped(reason);
        if !self.early.is_due(now.monotonic, reason) {
            return;
        }
        let interface = self.links.get(link).map_or("", |name| name);
        tracing::debug!(interface, %mac, reason = reason.as_str(), "not answered; for a second others are only counted");
        self.event(RawEvent {
            at_unix_millis: now.unix_millis,
            kind: EventKind::Dropped,
            mac,
            scope: ScopeIndex::NONE,
            address: None,
            amount: 0,
            size: 0,
            reason: reason.as_str(),
            journal_sequence: 0,
        });
    }
}

/// `chaddr` of what may be no message.
pub(super) fn chaddr(octets: &[u8]) -> MacAddr {
    octets.get(28..34).and_then(|octets| octets.try_into().ok()).map(MacAddr).unwrap_or_default()
}
