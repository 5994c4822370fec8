//! [`PoolLevels`]: which scopes' pools are above their mark, as the journal's records say, and the record of a change.
//!
//! It looks only when asked to (once a second); an address bitmap is counted, no worker is asked.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use reveille_config::limit::SCOPES_MAX;

use super::journal::Pending;
use super::note::Note;
use super::{Shared, Store};
use crate::proto::scope::{Scope, ScopeIndex};
use crate::proto::time::UnixSecs;

/// Who is above, by scope.
#[derive(Debug)]
pub(super) struct PoolLevels(Box<[AtomicBool]>);

impl PoolLevels {
    /// Nobody is above.
    pub(super) fn new(scopes: usize) -> Self {
        Self((0..scopes.min(SCOPES_MAX)).map(|_| AtomicBool::new(false)).collect())
    }

    pub(super) fn set(&self, scope: ScopeIndex, above: bool) {
        if let Some(level) = self.0.get(usize::from(scope.0)) {
            level.store(above, Ordering::Relaxed);
        }
    }

    pub(super) fn is_above(&self, scope: ScopeIndex) -> bool {
        self.0.get(usize::from(scope.0)).is_some_and(|level| level.load(Ordering::Relaxed))
    }
}

/// Whether pools of which `used` addresses of `size` are in use have come from the one side to the other.
fn crosses(scope: &Scope, above: bool, used: u64, size: u64) -> bool {
    if above {
        used * 100 <= size * u64::from(scope.pool_below_percent)
    } else {
        size > 0 && used * 100 >= size * u64::from(scope.pool_above_percent)
    }
}

impl Shared {
    /// Addresses of a scope's pools that nobody else can get: bound, held for an offer, resting or reserved, also where nobody has come for a reserved one yet.
    pub fn in_use(&self, scope: &Scope) -> u64 {
        let index = usize::from(scope.index.0);
        let Some(map) = self.maps.get(index) else { return 0 };
        let kept = self.kept.get(index).and_then(OnceLock::get);
        scope.pools.iter().map(|pool| map.count_with(*pool, kept)).sum()
    }
}

impl Store {
    /// Writes down which scopes' pools have come to their upper mark, or back to their lower one, since the last time. Where the journal refuses, the next call does it.
    pub fn note_pool_levels(&self, now: UnixSecs) {
        let scopes = self.shared.scopes.load();
        let mut payload = Vec::new();
        for scope in scopes.iter().filter(|scope| !scope.pools.is_empty()) {
            let used = self.shared.in_use(scope);
            let size = scope.pool_size();
            let above = self.shared.pool_levels.is_above(scope.index);
            if !crosses(scope, above, used, size) {
                continue;
            }
            let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
            let note =
                Note::Pool { scope: &scope.name, above: !above, used: number(used), size: number(size), at: now };
            let kind = note.encode(&mut payload);
            let pending: Result<Pending<()>, _> = self.journal.appender().append(kind, &payload, ());
            if pending.is_ok() {
                self.shared.pool_levels.set(scope.index, !above);
            }
        }
    }
}
