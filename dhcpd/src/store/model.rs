//! [`Model`]: what the API reads. It answers no packet of a client, and none waits for it.
//!
//! Leases come from the journal's records once they are durable (see [`super::rows`]), so no worker takes a lock for them; reservations and sightings, which
//! change rarely, are put here by the workers.
//!
//! Invariants: when the journal's reader has read up to a sequence, the model shows every lease up to it; when a worker stands between two batches, the model shows
//! every reservation and sighting that the worker has appended. That is also what a snapshot is made of.

use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use dashmap::DashMap;
use reveille_config::MacAddr;
use reveille_config::dhcpd::ReservedFor;

use super::history::PastChange;
use super::journal::Sequence;
use super::rows::LeaseRows;
use crate::proto::circuit::Circuit;
use crate::proto::identity::IdentityKey;
use crate::proto::relay_agent::RelayAgent;
use crate::proto::scope::{ClientKey, Holder, Machine, Reservation, ScopeIndex, Scopes};
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
    /// Option 82 of its last message, for lease queries; empty where none came.
    pub relay_agent: Box<[u8]>,
    /// Option 60 of its last message that had one, where somebody may ask for it (lease queries).
    pub vendor_class: Box<[u8]>,
    /// When the client was told its lease time last; `starts`, or later where it was told what is left (known where somebody may ask for leases).
    pub told: UnixSecs,
    /// When the client dealt with the server about this address last, and the record that says so; no earlier than `told`.
    pub dealt: (UnixSecs, Sequence),
    /// That its time is over has been told.
    pub(super) expiry_told: bool,
}

impl LeaseRow {
    /// The same without a copy.
    pub fn view(&self, address: Ipv4Addr) -> LeaseView<'_> {
        let Self { scope, mac, state, starts, ends, sequence, .. } = *self;
        let (client_id, hostname, relay_agent) = (&*self.client_id, &*self.hostname, &*self.relay_agent);
        LeaseView { address, scope, mac, state, starts, ends, sequence, client_id, hostname, relay_agent }
    }

    /// See [`LeaseView::is_of_any`].
    pub fn is_of_any<'a>(&self, identities: impl Iterator<Item = &'a ReservedFor>) -> bool {
        self.view(Ipv4Addr::UNSPECIFIED).is_of_any(identities)
    }
}

/// What a listing reads of a lease, where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseView<'a> {
    /// Its address.
    pub address: Ipv4Addr,
    /// The scope that its address belongs to.
    pub scope: ScopeIndex,
    /// The hardware address that its client last used.
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
    pub client_id: &'a [u8],
    /// Option 12 as the client sent it; empty where it did not.
    pub hostname: &'a str,
    /// Option 82 of its last message; empty where none came.
    pub relay_agent: &'a [u8],
}

impl LeaseView<'_> {
    /// Whether a reservation for one of these identities is for the client of this lease, as far as its record tells.
    pub fn is_of_any<'a>(&self, mut identities: impl Iterator<Item = &'a ReservedFor>) -> bool {
        identities.any(|client| self.is_of(client))
    }

    fn is_of(&self, client: &ReservedFor) -> bool {
        match client {
            ReservedFor::Mac(mac) => self.mac == *mac,
            ReservedFor::ClientId(id) => *self.client_id == *id.as_slice(),
            ReservedFor::Circuit { .. } => {
                let mut named = RelayAgent::new(self.relay_agent).circuit().named();
                named.any(|port| Circuit::of(client) == Some(port))
            }
        }
    }
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
    leases: RwLock<LeaseRows>,
    reservations: Map<Holder, (Arc<Reservation>, Sequence)>,
    reserved: Map<Ipv4Addr, Arc<Reservation>>,
    sightings: Map<Machine, SightingRow>,
}

impl Model {
    /// An empty model of these scopes.
    pub(super) fn new(scopes: Arc<Scopes>, identity_key: IdentityKey, seed: u64) -> Self {
        Self {
            leases: RwLock::new(LeaseRows::new(scopes, identity_key, seed)),
            reservations: Map::default(),
            reserved: Map::default(),
            sightings: Map::default(),
        }
    }

    /// The leases, to be read.
    pub(super) fn leases(&self) -> RwLockReadGuard<'_, LeaseRows> {
        // A panic while a row is changed ends the process's journal too.
        self.leases.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The leases, to be changed.
    pub(super) fn leases_mut(&self) -> RwLockWriteGuard<'_, LeaseRows> {
        self.leases.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the journal's reader back for as long as the guard lives, also from others who would read a lease.
    #[cfg(test)]
    pub(crate) fn hold_leases(&self) -> impl Sized + '_ {
        self.leases()
    }

    /// The lease of an address.
    pub fn lease(&self, address: Ipv4Addr) -> Option<LeaseRow> {
        self.leases().get(address)
    }

    /// The lease of a client.
    pub fn lease_of(&self, client: ClientKey) -> Option<(Ipv4Addr, LeaseRow)> {
        self.leases().of_client(client)
    }

    /// The leases of a machine on all networks, in no particular order. Where a network goes by client identifiers, one machine may have several there.
    pub fn leases_of(&self, mac: MacAddr) -> Vec<(Ipv4Addr, LeaseRow)> {
        self.leases().of_machine(mac)
    }

    /// The leases of clients that sent this client identifier, on all networks, in no particular order.
    pub fn leases_of_client_id(&self, client_id: &[u8]) -> Vec<(Ipv4Addr, LeaseRow)> {
        self.leases().of_client_id(client_id)
    }

    /// The next lease of a scope in the order of addresses.
    pub fn next_lease(&self, scope: ScopeIndex, after: Option<Ipv4Addr>) -> Option<(Ipv4Addr, LeaseRow)> {
        self.leases().next(scope, after)
    }

    /// The next leases of a scope in the order of addresses, at most `most`. The journal's reader waits for this long.
    pub fn leases_after(&self, scope: ScopeIndex, after: Option<Ipv4Addr>, most: usize) -> Vec<(Ipv4Addr, LeaseRow)> {
        let leases = self.leases();
        let next = |at: Option<Ipv4Addr>| leases.next(scope, at);
        std::iter::successors(next(after), |(address, _)| next(Some(*address))).take(most).collect()
    }

    /// Looks at the next leases of a scope in the order of addresses, at most `most`, where they lie; says the address of the last. The journal's reader waits for this long.
    pub fn look_at_leases(
        &self,
        scope: ScopeIndex,
        after: Option<Ipv4Addr>,
        most: usize,
        look: impl FnMut(LeaseView<'_>),
    ) -> Option<Ipv4Addr> {
        self.leases().look_at(scope, after, most, look)
    }

    /// The last changes of an address, of a machine's leases or of both, the latest first.
    pub fn history(&self, address: Option<Ipv4Addr>, mac: Option<MacAddr>, most: usize) -> Vec<PastChange> {
        self.leases().history.of(address, mac, most)
    }

    /// Addresses of a scope in quarantine at `now`.
    pub fn declined(&self, scope: ScopeIndex, now: UnixSecs) -> u64 {
        self.leases().declined(scope, now)
    }

    /// Shows a reservation in the place of the client's former one.
    pub fn put_reservation(&self, reservation: Arc<Reservation>, sequence: Sequence) {
        let own = Arc::clone(&reservation);
        if let Some((former, _)) = self.reservations.insert(reservation.holder(), (reservation, sequence)) {
            self.reserved.remove_if(&former.address, |_, at| at.client == former.client);
        }
        self.reserved.insert(own.address, own);
    }

    /// Shows no reservation for `holder` any more.
    pub fn remove_reservation(&self, holder: &Holder) {
        if let Some((_, (former, _))) = self.reservations.remove(holder) {
            self.reserved.remove_if(&former.address, |_, at| at.client == former.client);
        }
    }

    /// A client's reservation and the sequence of its record (0 for the configuration's).
    pub fn reservation(&self, holder: &Holder) -> Option<(Arc<Reservation>, Sequence)> {
        self.reservations.get(holder).map(|entry| entry.clone())
    }

    /// The reservation of an address.
    pub fn reserved_at(&self, address: Ipv4Addr) -> Option<Arc<Reservation>> {
        self.reserved.get(&address).map(|own| Arc::clone(&own))
    }

    /// The reservation that a lease goes by: that of its address, where that is its client's.
    pub fn reservation_behind(&self, lease: LeaseView<'_>) -> Option<Arc<Reservation>> {
        self.reserved_at(lease.address).filter(|own| lease.is_of_any(own.identities()))
    }

    /// Whether any address is reserved.
    pub fn has_reservations(&self) -> bool {
        !self.reserved.is_empty()
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
