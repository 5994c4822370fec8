//! [`Table`]: the intents by what they are kept under, and which of them a UUID or a node's name stands for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use reveille_config::dto::bootd::Intent;

use crate::proto::machine_id::MachineId;

/// The intents in force.
#[derive(Debug, Default)]
pub(super) struct Table {
    by_id: BTreeMap<MachineId, Arc<Intent>>,
    /// In lower case.
    by_name: HashMap<String, BTreeSet<MachineId>>,
}

/// What a machine is known by beside a MAC.
fn names(machine: &MachineId, intent: &Intent) -> impl Iterator<Item = String> {
    let own = machine.mac().is_none().then(|| machine.to_string());
    let told = [&intent.uuid, &intent.node].into_iter().flatten().map(|name| name.to_ascii_lowercase());
    own.into_iter().chain(told)
}

impl Table {
    pub(super) fn get(&self, machine: &MachineId) -> Option<&Arc<Intent>> {
        self.by_id.get(machine)
    }

    /// Those of a machine, by its UUID or its node; interfaces first.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = (&MachineId, &Arc<Intent>)> {
        let machines = self.by_name.get(&name.to_ascii_lowercase());
        machines.into_iter().flatten().filter_map(|machine| self.by_id.get_key_value(machine))
    }

    pub(super) fn contains(&self, machine: &MachineId) -> bool {
        self.by_id.contains_key(machine)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn after(&self, after: Option<&MachineId>) -> impl Iterator<Item = (&MachineId, &Arc<Intent>)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_id.range((start, Bound::Unbounded))
    }

    pub(super) fn insert(&mut self, machine: MachineId, intent: Arc<Intent>) {
        self.remove(&machine);
        for name in names(&machine, &intent) {
            self.by_name.entry(name).or_default().insert(machine.clone());
        }
        self.by_id.insert(machine, intent);
    }

    pub(super) fn remove(&mut self, machine: &MachineId) {
        let Some(old) = self.by_id.remove(machine) else { return };
        for name in names(machine, &old) {
            if let Some(machines) = self.by_name.get_mut(&name) {
                machines.remove(machine);
                if machines.is_empty() {
                    self.by_name.remove(&name);
                }
            }
        }
    }
}
