//! [`Model`]: what the API reads. Workers keep it as they change their tables; it answers no packet.
//!
//! Invariant: when a worker stands between two batches, the model shows everything that the worker has appended to the journal. That is also what a snapshot is made of.

use std::net::Ipv4Addr;
use std::sync::Arc;

use dashmap::{DashMap, Entry};
use reveille_config::MacAddr;

use super::bitmap::AddressMap;
use super::journal::Sequence;
use crate::proto::scope::{ClientKey, Machine, Reservation, ScopeIndex, Scopes};
use crate::proto::time::UnixSecs;

/// What became of a lease. That it has expired is seen from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowState {
    /// Promised.
    Bound,
    /// Given back.
    Released,
    /// In quarantine until `ends`.
    Declined,
}

/// A lease as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// The client.
    pub client: ClientKey,
    /// The scope that its address belongs to.
    pub scope: ScopeIndex,
    /// The hardware address that it last used.
    pub mac: MacAddr,
    /// Its state.
    pub state: RowState,
    /// When bound or last renewed.
    pub starts: UnixSecs,
    /// When the promise (or the quarantine) ends.
    pub ends: UnixSecs,
    /// The record that says so.
    pub sequence: Sequence,
    /// Option 61.
    pub client_id: Box<[u8]>,
    /// Option 12 as the client sent it; empty where it did not.
    pub hostname: Box<str>,
    /// Option 82 of its last message, for lease queries; empty where none came, and after a restart until it asks again.
    pub relay_agent: Box<[u8]>,
}

/// A sighting as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SightingRow {
    /// First seen.
    pub first: UnixSecs,
    /// Last seen.
    pub last: UnixSecs,
    /// How often.
    pub count: u64,
    /// Option 60 as text; empty where there was none.
    pub vendor_class: Box<str>,
    /// Option 12 as text; empty where there was none.
    pub hostname: Box<str>,
}

/// A map with a hash that is quick for small keys, and keyed by chance, since clients choose their own.
type Map<K, V> = DashMap<K, V, foldhash::fast::RandomState>;

/// The read model.
#[derive(Debug)]
pub struct Model {
    leases: Map<Ipv4Addr, LeaseRow>,
    by_client: Map<ClientKey, Ipv4Addr>,
    /// Which addresses have a row, so that listings walk in order.
    listed: Vec<AddressMap>,
    reservations: DashMap<Machine, (Arc<Reservation>, Sequence)>,
    reserved: DashMap<Ipv4Addr, MacAddr>,
    sightings: DashMap<Machine, SightingRow>,
}

impl Model {
    /// An empty model of these scopes.
    pub fn new(scopes: &Scopes) -> Self {
        Self {
            leases: Map::default(),
            by_client: Map::default(),
            listed: scopes.iter().map(|scope| AddressMap::new(scope.subnet)).collect(),
            reservations: DashMap::new(),
            reserved: DashMap::new(),
            sightings: DashMap::new(),
        }
    }

    /// Shows a lease in the place of what was shown for its address and its client. `relay_agent` is option 82 of the message that led to it; where there is
    /// none (a renewal goes past the relay), what was last received is kept. Memory is taken only where it has changed.
    pub fn put_lease(&self, address: Ipv4Addr, mut row: LeaseRow, relay_agent: &[u8]) {
        let client = row.client;
        if row.state == RowState::Declined {
            // A quarantine is the address's, no longer its client's.
            self.by_client.remove_if(&client, |_, at| *at == address);
        } else if let Some(former) = self.by_client.insert(client, address).filter(|&former| former != address) {
            self.remove_lease(former, client);
        }
        if let Some(listed) = self.listed.get(usize::from(row.scope.0)) {
            listed.claim(address);
        }
        let former = match self.leases.entry(address) {
            Entry::Occupied(mut entry) => {
                let former = entry.get_mut();
                let same = relay_agent.is_empty() || *former.relay_agent == *relay_agent;
                if former.client == client && same {
                    row.relay_agent = std::mem::take(&mut former.relay_agent);
                } else {
                    row.relay_agent = relay_agent.into();
                }
                let former = former.client;
                entry.insert(row);
                Some(former)
            }
            Entry::Vacant(entry) => {
                row.relay_agent = relay_agent.into();
                entry.insert(row);
                None
            }
        };
        if let Some(former) = former.filter(|former| *former != client) {
            self.by_client.remove_if(&former, |_, at| *at == address);
        }
    }

    /// Changes the lease of `client` at `address` if it is still shown.
    pub fn change_lease(&self, address: Ipv4Addr, client: ClientKey, change: impl FnOnce(&mut LeaseRow)) {
        if let Some(mut row) = self.leases.get_mut(&address).filter(|row| row.client == client) {
            change(&mut row);
        }
    }

    /// Shows nothing for `client` at `address` any more.
    pub fn remove_lease(&self, address: Ipv4Addr, client: ClientKey) {
        if let Some((_, row)) = self.leases.remove_if(&address, |_, row| row.client == client)
            && let Some(listed) = self.listed.get(usize::from(row.scope.0))
        {
            listed.release(address);
        }
        self.by_client.remove_if(&client, |_, at| *at == address);
    }

    /// The lease of an address.
    pub fn lease(&self, address: Ipv4Addr) -> Option<LeaseRow> {
        self.leases.get(&address).map(|row| row.clone())
    }

    /// The lease of a client.
    pub fn lease_of(&self, client: ClientKey) -> Option<(Ipv4Addr, LeaseRow)> {
        let address = *self.by_client.get(&client)?;
        self.lease(address).filter(|row| row.client == client).map(|row| (address, row))
    }

    /// The next lease of a scope in the order of addresses.
    pub fn next_lease(&self, scope: ScopeIndex, after: Option<Ipv4Addr>) -> Option<(Ipv4Addr, LeaseRow)> {
        let listed = self.listed.get(usize::from(scope.0))?;
        let mut at = after;
        loop {
            let address = listed.next_held(at)?;
            if let Some(row) = self.lease(address) {
                return Some((address, row));
            }
            at = Some(address);
        }
    }

    /// Addresses of a scope in quarantine at `now`.
    pub fn declined(&self, scope: ScopeIndex, now: UnixSecs) -> u64 {
        let count =
            self.leases.iter().filter(|row| row.scope == scope && row.state == RowState::Declined && row.ends > now);
        count.count() as u64
    }

    /// Shows a reservation by hardware address in the place of the machine's former one.
    pub fn put_reservation(&self, reservation: Arc<Reservation>, sequence: Sequence) {
        let Some(mac) = reservation.mac else { return };
        let (key, address) = (Machine { scope: reservation.scope, mac }, reservation.address);
        if let Some((former, _)) = self.reservations.insert(key, (reservation, sequence)) {
            self.reserved.remove_if(&former.address, |_, holder| *holder == mac);
        }
        self.reserved.insert(address, mac);
    }

    /// Shows no reservation for `machine` any more.
    pub fn remove_reservation(&self, machine: Machine) {
        if let Some((_, (former, _))) = self.reservations.remove(&machine) {
            self.reserved.remove_if(&former.address, |_, holder| *holder == machine.mac);
        }
    }

    /// A machine's reservation and the sequence of its record (0 for the configuration's).
    pub fn reservation(&self, machine: Machine) -> Option<(Arc<Reservation>, Sequence)> {
        self.reservations.get(&machine).map(|entry| entry.clone())
    }

    /// For whom an address is reserved.
    pub fn reserved_for(&self, address: Ipv4Addr) -> Option<MacAddr> {
        self.reserved.get(&address).map(|mac| *mac)
    }

    /// All reservations, in no particular order.
    pub fn reservations(&self) -> Vec<(Arc<Reservation>, Sequence)> {
        self.reservations.iter().map(|entry| entry.value().clone()).collect()
    }

    /// Shows a sighting.
    pub fn put_sighting(&self, machine: Machine, row: SightingRow) {
        self.sightings.insert(machine, row);
    }

    /// Changes a sighting that is shown.
    pub fn change_sighting(&self, machine: Machine, change: impl FnOnce(&mut SightingRow)) {
        if let Some(mut row) = self.sightings.get_mut(&machine) {
            change(&mut row);
        }
    }

    /// Shows no sighting of `machine` any more.
    pub fn remove_sighting(&self, machine: Machine) {
        self.sightings.remove(&machine);
    }

    /// All sightings (bounded by `limit::SIGHTINGS_MAX` per scope), in no particular order.
    pub fn sightings(&self) -> Vec<(Machine, SightingRow)> {
        self.sightings.iter().map(|entry| (*entry.key(), entry.value().clone())).collect()
    }
}
