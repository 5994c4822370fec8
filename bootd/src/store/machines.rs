//! [`Machines`]: which machine has which address, as far as it has fetched its own script.
//!
//! It is a hint for events: a kernel's path does not say who fetches it. Losing it loses nothing else.

use std::net::IpAddr;

use dashmap::DashMap;
use reveille_config::MacAddr;
use reveille_config::limit::MACHINES_MAX;

/// The machine behind an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its MAC, where it is known.
    pub mac: Option<MacAddr>,
    /// Its node, where its intent named one.
    pub node: Option<String>,
}

/// Machines by address.
#[derive(Debug, Default)]
pub struct Machines(DashMap<IpAddr, Machine>);

impl Machines {
    /// The machine has just fetched its script from this address.
    pub fn learn(&self, address: IpAddr, machine: Machine) {
        if self.0.len() >= MACHINES_MAX && !self.0.contains_key(&address) {
            self.0.clear();
        }
        self.0.insert(address, machine);
    }

    /// The machine that had this address last.
    pub fn get(&self, address: IpAddr) -> Option<Machine> {
        self.0.get(&address).map(|machine| machine.clone())
    }
}
