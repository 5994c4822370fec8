//! [`Table`]: the intents by MAC, and which MACs a UUID or a node's name stands for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use reveille_config::MacAddr;
use reveille_config::dto::bootd::Intent;

/// The intents in force.
#[derive(Debug, Default)]
pub(super) struct Table {
    by_mac: BTreeMap<MacAddr, Arc<Intent>>,
    /// In lower case.
    by_name: HashMap<String, BTreeSet<MacAddr>>,
}

/// What else a machine is known by.
fn names(intent: &Intent) -> impl Iterator<Item = String> {
    [&intent.uuid, &intent.node].into_iter().flatten().map(|name| name.to_ascii_lowercase())
}

impl Table {
    pub(super) fn get(&self, mac: MacAddr) -> Option<&Arc<Intent>> {
        self.by_mac.get(&mac)
    }

    /// Those of a machine, by its UUID or its node; in the order of the MACs.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = &Arc<Intent>> {
        let macs = self.by_name.get(&name.to_ascii_lowercase());
        macs.into_iter().flatten().filter_map(|mac| self.by_mac.get(mac))
    }

    pub(super) fn contains(&self, mac: MacAddr) -> bool {
        self.by_mac.contains_key(&mac)
    }

    pub(super) fn len(&self) -> usize {
        self.by_mac.len()
    }

    pub(super) fn after(&self, after: Option<MacAddr>) -> impl Iterator<Item = &Arc<Intent>> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_mac.range((start, Bound::Unbounded)).map(|(_, intent)| intent)
    }

    pub(super) fn insert(&mut self, intent: Arc<Intent>) {
        self.remove(intent.mac);
        for name in names(&intent) {
            self.by_name.entry(name).or_default().insert(intent.mac);
        }
        self.by_mac.insert(intent.mac, intent);
    }

    pub(super) fn remove(&mut self, mac: MacAddr) {
        let Some(old) = self.by_mac.remove(&mac) else { return };
        for name in names(&old) {
            if let Some(macs) = self.by_name.get_mut(&name) {
                macs.remove(&mac);
                if macs.is_empty() {
                    self.by_name.remove(&name);
                }
            }
        }
    }
}
