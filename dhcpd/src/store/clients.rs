//! [`Clients`]: one worker's clients in little memory: a record of 96 octets each, found by who it is and by the address it is bound to, with its timers linked inside.
//!
//! It claims no addresses, writes no records and knows no reservations: that is [`super::table::Table`]'s.
//!
//! Sketch: 96 octets + two index entries of five octets at a load of 7/16 to 7/8, so 107 to 119 octets for a lease; records lie in chunks, so that a table that grows
//! neither copies them nor holds twice the memory.
//!
//! Invariants: a client is remembered only while it has a binding or an offer; an index leads to a record that answers to it; a record whose lease
//! is active or which has an offer has a timer for it, unless that never ends; a client is counted for its port only while it has an active binding or an offer.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::Ipv4Addr;
use std::sync::Arc;

use hashbrown::HashTable;
use reveille_config::MacAddr;

use super::journal::Sequence;
use super::list::{Link, Lists, NODES_MAX, Nodes};
use super::port::{Port, Ports};
use super::slab::Slab;
use super::wheel::{Timers, Wheel};
use crate::proto::identity::Identity;
use crate::proto::scope::{ClientKey, NetworkIndex, ScopeIndex};
use crate::proto::time::{Millis, UnixSecs};

/// What became of a binding in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its time runs.
    Active,
    /// Its time is over; the address is kept for the client until somebody needs it.
    Expired,
}

/// A binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) address: Ipv4Addr,
    pub(super) scope: ScopeIndex,
    /// The hardware address that its record names.
    pub(super) mac: MacAddr,
    pub(super) starts: UnixSecs,
    pub(super) ends: UnixSecs,
    /// The end by the monotonic clock: a wall clock that is set forward ends no lease early. [`Millis::MAX`]: never.
    pub(super) ends_at: Millis,
    pub(super) sequence: Sequence,
    /// [`hash_said`] of what its record says.
    pub(super) said: u32,
    pub(super) phase: Phase,
}

/// An address held for an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) address: Ipv4Addr,
    pub(super) until: Millis,
}

/// A timer that fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// The client's lease is over: it is expired now.
    Lease(ClientKey),
    /// The client's offer is over; it is still there.
    Offer(ClientKey),
}

/// Which part of a record is in use.
const ACTIVE: u8 = 1;
const EXPIRED: u8 = 2;
const OFFERED: u8 = 4;

/// A client's record; what is not in use says nothing.
#[derive(Debug, Clone)]
struct Record {
    identity: Identity,
    ends_at: Millis,
    sequence: Sequence,
    offered_until: Millis,
    /// In the wheel while the lease is active, in the list of its pool once it has expired.
    lease_link: Link,
    offer_link: Link,
    address: Ipv4Addr,
    offered: Ipv4Addr,
    starts: UnixSecs,
    ends: UnixSecs,
    said: u32,
    mac: MacAddr,
    network: NetworkIndex,
    scope: ScopeIndex,
    uses: u8,
    /// For which it is counted.
    port: Option<Port>,
}

const _: () = assert!(size_of::<Record>() == 96);

impl Record {
    fn key(&self) -> ClientKey {
        ClientKey { network: self.network, identity: self.identity }
    }

    fn bound(&self) -> Option<Bound> {
        let phase = match self.uses & (ACTIVE | EXPIRED) {
            ACTIVE => Phase::Active,
            EXPIRED => Phase::Expired,
            _ => return None,
        };
        let Self { address, scope, mac, starts, ends, ends_at, sequence, said, .. } = *self;
        Some(Bound { address, scope, mac, starts, ends, ends_at, sequence, said, phase })
    }

    fn is_served(&self) -> bool {
        self.uses & (ACTIVE | OFFERED) != 0
    }

    fn held(&self) -> Option<Held> {
        (self.uses & OFFERED != 0).then_some(Held { address: self.offered, until: self.offered_until })
    }
}

/// The records, by number. Their timers are nodes: twice the number for the lease, one more for the offer.
type Records = Slab<Record>;

impl Nodes for Records {
    fn link(&self, node: u32) -> Link {
        let record = self.get(node / 2);
        if node.is_multiple_of(2) { record.lease_link } else { record.offer_link }
    }

    fn link_mut(&mut self, node: u32) -> &mut Link {
        let record = self.get_mut(node / 2);
        if node.is_multiple_of(2) { &mut record.lease_link } else { &mut record.offer_link }
    }
}

impl Timers for Records {
    fn time(&self, node: u32) -> Millis {
        let record = self.get(node / 2);
        if node.is_multiple_of(2) { record.ends_at } else { record.offered_until }
    }
}

/// One worker's clients.
#[derive(Debug)]
pub(super) struct Clients {
    records: Records,
    by_key: HashTable<u32>,
    by_address: HashTable<u32>,
    wheel: Wheel,
    /// Expired bindings by pool, the one that ended longest ago first.
    expired: Lists,
    /// Nobody outside knows it, so nobody can choose addresses that fall together.
    seed: u64,
    ports: Arc<Ports>,
    /// What relay agents call the server, of those records whose client was told so (RFC 5107).
    called: HashMap<u32, Ipv4Addr, foldhash::fast::RandomState>,
}

impl Clients {
    /// No clients; expired leases are kept in `pools` lists.
    pub(super) fn new(now: Millis, pools: usize, seed: u64, ports: Arc<Ports>) -> Self {
        Self {
            records: Records::default(),
            by_key: HashTable::new(),
            by_address: HashTable::new(),
            wheel: Wheel::new(now),
            expired: Lists::new(pools),
            seed,
            ports,
            called: HashMap::default(),
        }
    }

    /// Makes room for so many more clients, each bound.
    pub(super) fn expect(&mut self, clients: usize) {
        let (seed, records) = (self.seed, &self.records);
        self.by_key.reserve(clients, |&at| hash_key(seed, records.get(at).key()));
        self.by_address.reserve(clients, |&at| hash_address(seed, records.get(at).address));
    }

    /// Whether the client holds an address that nobody else can have: it has an active binding or an offer.
    pub(super) fn is_served(&self, key: ClientKey) -> bool {
        self.find(key).is_some_and(|at| self.records.get(at).is_served())
    }

    /// Counts a client that is served for the port it is behind, and no longer for another; it is until it is no longer served.
    pub(super) fn count_port(&mut self, key: ClientKey, port: Port) {
        let Some(at) = self.find(key) else { return };
        let record = self.records.get_mut(at);
        if record.is_served() && record.port != Some(port) {
            if let Some(former) = record.port.take() {
                self.ports.remove(former);
            }
            record.port = self.ports.add(port).then_some(port);
        }
    }

    /// What the client was told that the server is called, where that is not its own name.
    pub(super) fn called(&self, key: ClientKey) -> Option<Ipv4Addr> {
        if self.called.is_empty() {
            return None;
        }
        self.called.get(&self.find(key)?).copied()
    }

    /// Remembers it, for as long as the client is remembered.
    pub(super) fn note_called(&mut self, key: ClientKey, called: Option<Ipv4Addr>) {
        if called.is_none() && self.called.is_empty() {
            return;
        }
        let Some(at) = self.find(key) else { return };
        match called {
            Some(called) => _ = self.called.insert(at, called),
            None => _ = self.called.remove(&at),
        }
    }

    /// The client's binding, active or expired.
    pub(super) fn bound(&self, key: ClientKey) -> Option<Bound> {
        self.records.get(self.find(key)?).bound()
    }

    /// Binding and offer in one.
    pub(super) fn get(&self, key: ClientKey) -> (Option<Bound>, Option<Held>) {
        self.find(key).map_or((None, None), |at| (self.records.get(at).bound(), self.records.get(at).held()))
    }

    /// Who is bound to `address`.
    pub(super) fn holder(&self, address: Ipv4Addr) -> Option<ClientKey> {
        let records = &self.records;
        let found = self.by_address.find(self.hash_address(address), |&at| records.get(at).address == address)?;
        Some(records.get(*found).key())
    }

    /// Puts a binding in the place of the client's former one, which comes back. One that has expired goes to the end of list `pool`.
    pub(super) fn bind(&mut self, key: ClientKey, bound: Bound, pool: usize) -> Option<Bound> {
        let at = self.find_or_add(key);
        let former = self.unbind_at(at);
        let record = self.records.get_mut(at);
        let Bound { address, scope, mac, starts, ends, ends_at, sequence, said, phase } = bound;
        (record.address, record.scope, record.mac, record.said) = (address, scope, mac, said);
        (record.starts, record.ends, record.ends_at, record.sequence) = (starts, ends, ends_at, sequence);
        match phase {
            Phase::Active => {
                record.uses |= ACTIVE;
                if ends_at != Millis::MAX {
                    self.wheel.insert(&mut self.records, at * 2);
                }
            }
            Phase::Expired => {
                record.uses |= EXPIRED;
                self.expired.push_back(&mut self.records, pool, at * 2);
            }
        }
        let (hash, seed, records) = (self.hash_address(address), self.seed, &self.records);
        self.by_address.insert_unique(hash, at, |&at| hash_address(seed, records.get(at).address));
        self.let_port_go_if_unserved(at);
        former
    }

    /// Forgets the client's binding, which comes back.
    pub(super) fn unbind(&mut self, key: ClientKey) -> Option<Bound> {
        let at = self.find(key)?;
        let former = self.unbind_at(at);
        self.remove_if_unused(at);
        former
    }

    /// Remembers what is offered to the client, in the place of an earlier offer, which comes back.
    pub(super) fn offer(&mut self, key: ClientKey, held: Held) -> Option<Held> {
        let at = self.find_or_add(key);
        let former = self.take_offer(at);
        let record = self.records.get_mut(at);
        (record.offered, record.offered_until) = (held.address, held.until);
        record.uses |= OFFERED;
        self.wheel.insert(&mut self.records, at * 2 + 1);
        former
    }

    /// Forgets what was offered to the client; it comes back.
    pub(super) fn forget_offer(&mut self, key: ClientKey) -> Option<Held> {
        let at = self.find(key)?;
        let former = self.take_offer(at);
        self.remove_if_unused(at);
        former
    }

    /// Lets time pass up to `now`: [`Self::pop_due`] then says what is over.
    pub(super) fn advance(&mut self, now: Millis) {
        self.wheel.advance(&mut self.records, now);
    }

    /// The next that is over. `pool` says into which list an expired lease of this address goes.
    pub(super) fn pop_due(&mut self, pool: impl FnOnce(ScopeIndex, Ipv4Addr) -> usize) -> Option<Due> {
        let node = self.wheel.pop(&mut self.records)?;
        let record = self.records.get_mut(node / 2);
        let key = record.key();
        if !node.is_multiple_of(2) {
            return Some(Due::Offer(key));
        }
        record.uses ^= ACTIVE | EXPIRED;
        let pool = pool(record.scope, record.address);
        self.expired.push_back(&mut self.records, pool, node);
        self.let_port_go_if_unserved(node / 2);
        Some(Due::Lease(key))
    }

    /// When [`Self::advance`] may have something to do.
    pub(super) fn next_due(&self) -> Option<Millis> {
        self.wheel.next()
    }

    /// The expired binding of list `pool` that ended longest ago and passes `wanted`.
    pub(super) fn oldest_expired(&self, pool: usize, wanted: impl Fn(Ipv4Addr) -> bool) -> Option<(ClientKey, Bound)> {
        let first = self.expired.first(pool);
        let mut nodes = std::iter::successors(first, |&node| self.expired.after(&self.records, node));
        let node = nodes.find(|&node| wanted(self.records.get(node / 2).address))?;
        let record = self.records.get(node / 2);
        record.bound().map(|bound| (record.key(), bound))
    }

    /// Puts all expired bindings into the lists of pools that have changed, `pools` in number.
    pub(super) fn sort_expired(&mut self, pools: usize, pool: impl Fn(ScopeIndex, Ipv4Addr) -> usize) {
        // A freed record has no use.
        let expired = self.records.iter().filter(|(_, record)| record.uses & EXPIRED != 0);
        let mut all: Vec<u32> = expired.map(|(at, _)| at).collect();
        all.sort_unstable_by_key(|&at| self.records.get(at).ends_at);
        self.expired = Lists::new(pools);
        for at in all {
            let record = self.records.get_mut(at);
            record.lease_link = Link::NONE;
            let pool = pool(record.scope, record.address);
            self.expired.push_back(&mut self.records, pool, at * 2);
        }
    }

    fn find(&self, key: ClientKey) -> Option<u32> {
        let records = &self.records;
        self.by_key.find(hash_key(self.seed, key), |&at| records.get(at).key() == key).copied()
    }

    fn find_or_add(&mut self, key: ClientKey) -> u32 {
        if let Some(at) = self.find(key) {
            return at;
        }
        let at = self.records.add(Record {
            identity: key.identity,
            ends_at: Millis(0),
            sequence: 0,
            offered_until: Millis(0),
            lease_link: Link::NONE,
            offer_link: Link::NONE,
            address: Ipv4Addr::UNSPECIFIED,
            offered: Ipv4Addr::UNSPECIFIED,
            starts: UnixSecs(0),
            ends: UnixSecs(0),
            said: 0,
            mac: MacAddr::default(),
            network: key.network,
            scope: ScopeIndex(0),
            uses: 0,
            port: None,
        });
        assert!(at < NODES_MAX / 2, "the scopes together have fewer addresses than there are numbers");
        let (seed, records) = (self.seed, &self.records);
        self.by_key.insert_unique(hash_key(seed, key), at, |&at| hash_key(seed, records.get(at).key()));
        at
    }

    fn unbind_at(&mut self, at: u32) -> Option<Bound> {
        let former = self.records.get(at).bound()?;
        match former.phase {
            Phase::Active => self.wheel.remove(&mut self.records, at * 2),
            Phase::Expired => self.expired.remove(&mut self.records, at * 2),
        }
        self.records.get_mut(at).uses &= !(ACTIVE | EXPIRED);
        if let Ok(entry) = self.by_address.find_entry(self.hash_address(former.address), |&other| other == at) {
            entry.remove();
        }
        Some(former)
    }

    fn take_offer(&mut self, at: u32) -> Option<Held> {
        let former = self.records.get(at).held()?;
        self.wheel.remove(&mut self.records, at * 2 + 1);
        self.records.get_mut(at).uses &= !OFFERED;
        Some(former)
    }

    fn let_port_go_if_unserved(&mut self, at: u32) {
        let record = self.records.get_mut(at);
        if !record.is_served()
            && let Some(port) = record.port.take()
        {
            self.ports.remove(port);
        }
    }

    fn remove_if_unused(&mut self, at: u32) {
        self.let_port_go_if_unserved(at);
        let record = self.records.get(at);
        if record.uses == 0 {
            let key = record.key();
            if let Ok(entry) = self.by_key.find_entry(hash_key(self.seed, key), |&other| other == at) {
                entry.remove();
            }
            self.called.remove(&at);
            self.records.free(at);
        }
    }

    fn hash_address(&self, address: Ipv4Addr) -> u64 {
        hash_address(self.seed, address)
    }
}

pub(super) fn hash_key(seed: u64, key: ClientKey) -> u64 {
    let (upper, lower) = key.identity.halves();
    mix(mix(lower ^ seed) ^ upper ^ u64::from(key.network.0))
}

fn hash_address(seed: u64, address: Ipv4Addr) -> u64 {
    mix(seed ^ u64::from(u32::from(address)))
}

/// What a client says of itself, as a number that is the same as long as it says the same: its client identifier, its host name, and what its relay agent calls the server.
pub(super) fn hash_said(seed: u64, client_id: &[u8], hostname: &str, called: Option<Ipv4Addr>) -> u32 {
    if client_id.is_empty() && hostname.is_empty() && called.is_none() {
        // Most clients, each time they speak.
        return 0;
    }
    foldhash::fast::FixedState::with_seed(seed).hash_one((client_id, hostname, called)) as u32
}

/// A client identifier as a number.
pub(super) fn hash_client_id(seed: u64, client_id: &[u8]) -> u64 {
    foldhash::fast::FixedState::with_seed(seed).hash_one(client_id)
}

/// The finaliser of SplitMix64.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
