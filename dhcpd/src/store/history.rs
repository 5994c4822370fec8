//! [`History`]: the last changes of leases, renewals aside, as the journal's records told them. Bounded; in memory only, so after a restart it begins with what the log still holds.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use reveille_config::MacAddr;
use reveille_config::limit::LEASE_HISTORY_MAX;

use super::journal::Sequence;
use crate::proto::scope::ScopeIndex;
use crate::proto::time::UnixSecs;

/// What became of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Promised to the machine.
    Bound,
    /// Given back by it.
    Released,
    /// Found in use by it.
    Declined,
}

impl What {
    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Released => "released",
            Self::Declined => "declined",
        }
    }
}

/// A change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastChange {
    /// When.
    pub at: UnixSecs,
    /// What.
    pub what: What,
    /// The address.
    pub address: Ipv4Addr,
    /// The machine.
    pub mac: MacAddr,
    /// The scope.
    pub scope: ScopeIndex,
    /// When the promise or the quarantine was to end then.
    pub ends: UnixSecs,
    /// The record that says so.
    pub sequence: Sequence,
}

/// The last changes, the oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    changes: VecDeque<PastChange>,
}

impl History {
    /// Adds a change; at the limit the oldest goes.
    pub(super) fn add(&mut self, change: PastChange) {
        if self.changes.len() == LEASE_HISTORY_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }

    /// At most `most` changes of an address, of a machine or of both, the latest first.
    pub(super) fn of(&self, address: Option<Ipv4Addr>, mac: Option<MacAddr>, most: usize) -> Vec<PastChange> {
        let meant = |change: &&PastChange| {
            address.is_none_or(|address| address == change.address) && mac.is_none_or(|mac| mac == change.mac)
        };
        self.changes.iter().rev().filter(meant).take(most).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_limit_the_oldest_goes() {
        let mut history = History::default();
        let (address, mac) = (Ipv4Addr::new(10, 0, 0, 1), MacAddr([2; 6]));
        let change = |sequence| PastChange {
            at: UnixSecs(1),
            what: What::Bound,
            address,
            mac,
            scope: ScopeIndex(0),
            ends: UnixSecs(2),
            sequence,
        };
        (0..=LEASE_HISTORY_MAX as u64).for_each(|sequence| history.add(change(sequence)));
        let all = history.of(Some(address), Some(mac), usize::MAX);
        assert_eq!(all.len(), LEASE_HISTORY_MAX);
        assert_eq!((all[0].sequence, all[all.len() - 1].sequence), (LEASE_HISTORY_MAX as u64, 1));
        assert_eq!(history.of(None, Some(MacAddr([4; 6])), 9), []);
        assert_eq!(history.of(Some(address), None, 2).len(), 2);
    }
}
