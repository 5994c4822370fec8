//! [`LeaseRows`]: what the API reads of leases, made from the journal's records alone: 40 octets a lease, and more only for what a client says of itself.
//!
//! The journal's replay and its reader's thread feed it, so it shows what the disk holds and nothing else; no packet waits for it. It is also what a snapshot is made of.
//!
//! Later records win, by address and by client, so that an address bound anew needs no record that ends the old binding (docs/journal-format.md, R8).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use hashbrown::HashTable;
use reveille_config::MacAddr;

use super::bitmap::AddressMap;
use super::by_address::ByAddress;
use super::clients::{hash_client_id, hash_key, hash_said};
use super::history::{History, PastChange, What};
use super::journal::Sequence;
use super::model::{LeaseRow, LeaseView, RowState};
use super::note::Note;
use super::port::Port;
use super::record::{BindRecord, Record, RecordError};
use super::slab::Slab;
use crate::proto::identity::{IdentifiedBy, Identity, IdentityKey};
use crate::proto::relay_agent::RelayAgent;
use crate::proto::scope::{ClientKey, NetworkIndex, ScopeIndex, Scopes};
use crate::proto::time::UnixSecs;

/// A lease.
#[derive(Debug)]
struct Row {
    sequence: Sequence,
    said: Option<Box<Said>>,
    address: Ipv4Addr,
    starts: UnixSecs,
    ends: UnixSecs,
    mac: MacAddr,
    scope: ScopeIndex,
    state: RowState,
    /// That its time is over has been told.
    expiry_told: bool,
    /// It is an address's; otherwise its number can be given again.
    in_use: bool,
}

const _: () = assert!(size_of::<Row>() == 40);

impl Row {
    fn client_id(&self) -> &[u8] {
        self.said.as_ref().map_or(&[], |said| &said.client_id)
    }
}

/// What a client and its relay said of it; kept only where there is something.
#[derive(Debug, Default)]
struct Said {
    client_id: Box<[u8]>,
    hostname: Box<str>,
    relay_agent: Box<[u8]>,
    latest: Option<Box<Latest>>,
}

impl Said {
    fn is_empty(&self) -> bool {
        self.client_id.is_empty() && self.hostname.is_empty() && self.relay_agent.is_empty() && self.latest.is_none()
    }

    /// Takes in what came with a message. A renewal goes past the relay, and some systems do not say their class: what was last received is kept.
    fn take(&mut self, relay_agent: &[u8], vendor_class: &[u8]) {
        if !relay_agent.is_empty() {
            put(&mut self.relay_agent, relay_agent);
        }
        if !vendor_class.is_empty() {
            put(&mut self.latest.get_or_insert_default().vendor_class, vendor_class);
        }
    }
}

/// What only lease queries ask for, since the lease was made or extended; kept only where somebody may ask.
#[derive(Debug, Default)]
struct Latest {
    vendor_class: Box<[u8]>,
    /// The last dealing, and its record.
    dealt: (UnixSecs, Sequence),
    /// The last dealing in which the client was told a lease time.
    told: UnixSecs,
}

fn put(into: &mut Box<[u8]>, octets: &[u8]) {
    if **into != *octets {
        *into = octets.into();
    }
}

/// The leases.
#[derive(Debug)]
pub(super) struct LeaseRows {
    rows: Slab<Row>,
    by_address: ByAddress,
    /// Bound and released rows; a quarantine is the address's, no longer its client's.
    by_client: HashTable<u32>,
    /// Rows whose client named itself, by its client identifier, of which there may be several.
    by_client_id: HashTable<u32>,
    /// Rows by hardware address, of which there may be several; empty where that is what all networks go by.
    by_mac: HashTable<u32>,
    /// Addresses whose row says that they are in quarantine, by scope: few of many, and who counts them must not look at all.
    resting: BTreeSet<(ScopeIndex, Ipv4Addr)>,
    /// Which addresses have a row, by scope, so that listings walk in order.
    listed: Vec<AddressMap>,
    /// What changed last.
    pub(super) history: History,
    /// For the subnets and networks, which stay the same.
    scopes: Arc<Scopes>,
    identity_key: IdentityKey,
    seed: u64,
}

/// A lease without what was said of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeaseFacts {
    pub(super) client: ClientKey,
    pub(super) address: Ipv4Addr,
    pub(super) scope: ScopeIndex,
    pub(super) mac: MacAddr,
    pub(super) state: RowState,
    pub(super) starts: UnixSecs,
    pub(super) ends: UnixSecs,
    pub(super) sequence: Sequence,
    /// [`hash_said`] of what the client said of itself.
    pub(super) said: u32,
    /// What its relay agent calls the server (RFC 5107).
    pub(super) called: Option<Ipv4Addr>,
    /// That its time is over has been told.
    pub(super) expiry_told: bool,
}

/// A record that was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    /// It was about a lease.
    Lease(Change),
    /// It was about something else.
    Other,
    /// Its scope is gone.
    Orphan,
}

/// What a record changed of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is new, or its time had run out.
    Bound,
    /// It was extended.
    Renewed,
    /// It is over, or its address rests.
    Ended,
    /// Nothing: it was another client's by then.
    Nothing,
}

impl LeaseRows {
    /// No leases.
    pub(super) fn new(scopes: Arc<Scopes>, identity_key: IdentityKey, seed: u64) -> Self {
        Self {
            rows: Slab::default(),
            by_address: ByAddress::default(),
            by_client: HashTable::new(),
            by_client_id: HashTable::new(),
            by_mac: HashTable::new(),
            resting: BTreeSet::new(),
            history: History::default(),
            listed: scopes.iter().map(|scope| AddressMap::new(scope.subnet)).collect(),
            scopes,
            identity_key,
            seed,
        }
    }

    /// Takes in one record.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn apply(&mut self, sequence: Sequence, kind: u8, payload: &[u8]) -> Result<Applied, RecordError> {
        let applied = match kind {
            1 | 7 | 11 => {
                let bind = BindRecord::decode(kind, payload).ok_or(RecordError::Malformed(kind))?;
                self.bind(sequence, &bind)
            }
            2 | 3 => match Record::decode(kind, payload)? {
                Record::Release { address, mac, at } => self.release(sequence, address, mac, at),
                Record::Decline { address, mac, at, until } => self.decline(sequence, address, mac, at, until),
                _ => Some(Change::Nothing),
            },
            16 | 17 | 21 => match Note::decode(kind, payload)? {
                Note::Expired { address, mac, at } => self.expire(address, mac, at),
                Note::Conflict { address, mac, at, until, .. } if until > at => {
                    self.decline(sequence, address, mac, at, until)
                }
                Note::Dealt { address, mac, at, told, relay_agent, vendor_class } => {
                    self.dealt(sequence, address, mac, (at, told), relay_agent, vendor_class)
                }
                _ => Some(Change::Ended),
            },
            _ => return Ok(Applied::Other),
        };
        Ok(applied.map_or(Applied::Orphan, Applied::Lease))
    }

    /// The lease of an address.
    pub(super) fn get(&self, address: Ipv4Addr) -> Option<LeaseRow> {
        self.find(address).map(|at| self.show(self.rows.get(at)))
    }

    /// The lease of a client.
    pub(super) fn of_client(&self, client: ClientKey) -> Option<(Ipv4Addr, LeaseRow)> {
        let found = self.by_client.find(hash_key(self.seed, client), |&at| self.client(self.rows.get(at)) == client)?;
        let row = self.rows.get(*found);
        Some((row.address, self.show(row)))
    }

    /// The leases of a machine, in no particular order.
    pub(super) fn of_machine(&self, mac: MacAddr) -> Vec<(Ipv4Addr, LeaseRow)> {
        if self.scopes.all_identified_by_mac() {
            let identity = Identity::of_mac(mac);
            let clients = self.scopes.networks().iter().map(|network| ClientKey { network: network.index, identity });
            return clients.filter_map(|client| self.of_client(client)).collect();
        }
        let rows = self.by_mac.iter_hash(self.hash_mac(mac)).map(|&at| self.rows.get(at));
        rows.filter(|row| row.mac == mac).map(|row| (row.address, self.show(row))).collect()
    }

    /// The leases of clients that named themselves so, in no particular order.
    pub(super) fn of_client_id(&self, client_id: &[u8]) -> Vec<(Ipv4Addr, LeaseRow)> {
        let rows = self.by_client_id.iter_hash(hash_client_id(self.seed, client_id)).map(|&at| self.rows.get(at));
        rows.filter(|row| row.client_id() == client_id).map(|row| (row.address, self.show(row))).collect()
    }

    /// The next lease of a scope in the order of addresses.
    pub(super) fn next(&self, scope: ScopeIndex, after: Option<Ipv4Addr>) -> Option<(Ipv4Addr, LeaseRow)> {
        let address = self.listed.get(usize::from(scope.0))?.next_held(after)?;
        self.get(address).map(|row| (address, row))
    }

    /// Looks at the next leases of a scope in the order of addresses, at most `most`; says the address of the last.
    pub(super) fn look_at(
        &self,
        scope: ScopeIndex,
        after: Option<Ipv4Addr>,
        most: usize,
        mut look: impl FnMut(LeaseView<'_>),
    ) -> Option<Ipv4Addr> {
        let listed = self.listed.get(usize::from(scope.0))?;
        let mut last = None;
        for _ in 0..most {
            let Some(address) = listed.next_held(last.or(after)) else { break };
            last = Some(address);
            let Some(at) = self.find(address) else { continue };
            let row = self.rows.get(at);
            let &Row { sequence, starts, ends, mac, scope, state, .. } = row;
            let said = row.said.as_deref();
            let (client_id, hostname, relay_agent) =
                said.map_or((&[][..], "", &[][..]), |said| (&said.client_id, &said.hostname, &said.relay_agent));
            look(LeaseView { address, scope, mac, state, starts, ends, sequence, client_id, hostname, relay_agent });
        }
        last
    }

    /// All rows, in no particular order, but in that of memory.
    fn in_use(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().map(|(_, row)| row).filter(|row| row.in_use)
    }

    /// How many leases there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Makes room for so many records to come, each of which may be a new lease.
    pub(super) fn expect(&mut self, records: usize) {
        let mut by_client = std::mem::take(&mut self.by_client);
        by_client.reserve(records, |&at| hash_key(self.seed, self.client(self.rows.get(at))));
        self.by_client = by_client;
    }

    /// Gives back room that [`Self::expect`] made in vain.
    pub(super) fn settle(&mut self) {
        let mut by_client = std::mem::take(&mut self.by_client);
        if by_client.len() < by_client.capacity() / 4 {
            by_client.shrink_to(0, |&at| hash_key(self.seed, self.client(self.rows.get(at))));
        }
        self.by_client = by_client;
    }

    /// What a worker must know of every lease, in no particular order.
    pub(super) fn facts(&self) -> impl Iterator<Item = LeaseFacts> {
        self.in_use().map(|row| {
            let &Row { sequence, address, starts, ends, mac, scope, state, expiry_told, .. } = row;
            let said = row.said.as_deref();
            let called = said.and_then(|said| RelayAgent::new(&said.relay_agent).server_id_override());
            let said = said.map_or((&[][..], ""), |said| (&*said.client_id, &*said.hostname));
            let said = hash_said(self.seed, said.0, said.1, called);
            LeaseFacts {
                client: self.client(row),
                address,
                scope,
                mac,
                state,
                starts,
                ends,
                sequence,
                said,
                called,
                expiry_told,
            }
        })
    }

    /// The ports that clients of bound addresses of the pools are behind, where what those hold is limited.
    pub(super) fn ports(&self) -> impl Iterator<Item = (ClientKey, Port)> {
        let limited = self.scopes.limits.port_share_percent < 100;
        self.in_use().filter(move |row| limited && row.state == RowState::Bound).filter_map(|row| {
            let scope = self.scopes.get(row.scope).filter(|scope| scope.in_pools(row.address))?;
            let circuit = RelayAgent::new(&row.said.as_ref()?.relay_agent).circuit();
            Some((self.client(row), Port::of(self.seed, scope.network, self.scopes.limits.port_share_by, circuit)?))
        })
    }

    /// How many addresses of a scope are in quarantine at `now`.
    pub(super) fn declined(&self, scope: ScopeIndex, now: UnixSecs) -> u64 {
        let (first, last) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
        let resting = self.resting.range((scope, first)..=(scope, last)).filter_map(|(_, address)| self.find(*address));
        resting.filter(|at| self.rows.get(*at).ends > now).count() as u64
    }

    /// Forgets the quarantine of an address, if it is over at `now`.
    pub(super) fn end_rest(&mut self, address: Ipv4Addr, now: UnixSecs) {
        let row = self.find(address).map(|at| self.rows.get(at));
        if row.is_some_and(|row| row.state == RowState::Declined && row.ends <= now) {
            self.remove(address);
        }
    }

    /// Forgets the lease of an address.
    pub(super) fn remove(&mut self, address: Ipv4Addr) {
        let Some(at) = self.find(address) else { return };
        self.unindex_client(at);
        self.unindex_names(at);
        self.by_address.remove(address);
        let row = self.rows.get_mut(at);
        (row.said, row.in_use) = (None, false);
        if row.state == RowState::Declined {
            self.resting.remove(&(row.scope, address));
        }
        if let Some(listed) = self.listed.get(usize::from(row.scope.0)) {
            listed.release(address);
        }
        self.rows.free(at);
    }

    fn bind(&mut self, sequence: Sequence, bind: &BindRecord<'_>) -> Option<Change> {
        let BindRecord { address, mac, starts, ends, client_id, hostname, relay_agent, vendor_class } = *bind;
        let scope = self.scopes.of_address(address)?.index;
        let client = self.client_of(scope, mac, client_id);
        let former =
            self.by_client.find(hash_key(self.seed, client), |&at| self.client(self.rows.get(at)) == client).copied();
        if let Some(elsewhere) = former.map(|at| self.rows.get(at).address).filter(|at| *at != address) {
            self.remove(elsewhere);
        }
        // A renewal, most often: the client stands in the index already.
        let renewed = former.is_some_and(|at| self.rows.get(at).address == address);
        let at = self.row_at(address, scope, !renewed);
        self.unindex_names(at);
        let row = self.rows.get_mut(at);
        if row.state == RowState::Declined && !self.resting.is_empty() {
            self.resting.remove(&(scope, address));
        }
        let runs = renewed && row.state == RowState::Bound && !row.expiry_told && row.ends > starts;
        (row.mac, row.starts, row.ends, row.state, row.sequence) = (mac, starts, ends, RowState::Bound, sequence);
        row.expiry_told = false;
        row.said.take_if(|_| !renewed);
        let says = [client_id, hostname.as_bytes(), relay_agent, vendor_class].iter().any(|part| !part.is_empty());
        if says || row.said.is_some() {
            let said = row.said.get_or_insert_default();
            put(&mut said.client_id, client_id);
            if *said.hostname != *hostname {
                said.hostname = hostname.into();
            }
            said.take(relay_agent, vendor_class);
            // What was dealt before this binding is over.
            said.latest.take_if(|latest| latest.vendor_class.is_empty());
            if let Some(latest) = &mut said.latest {
                (latest.dealt, latest.told) = ((UnixSecs(0), 0), UnixSecs(0));
            }
            row.said.take_if(|said| said.is_empty());
        }
        if !renewed {
            self.index_client(at, client);
            self.history.add(PastChange { at: starts, what: What::Bound, address, mac, scope, ends, sequence });
        }
        self.index_names(at);
        Some(if runs { Change::Renewed } else { Change::Bound })
    }

    /// The client dealt with the server about its lease, which stays as it is.
    fn dealt(
        &mut self,
        sequence: Sequence,
        address: Ipv4Addr,
        mac: MacAddr,
        (at, told): (UnixSecs, bool),
        relay_agent: &[u8],
        vendor_class: &[u8],
    ) -> Option<Change> {
        self.scopes.of_address(address)?;
        let at_row = self.find(address).map(|found| self.rows.get_mut(found));
        if let Some(row) = at_row.filter(|row| row.mac == mac && row.state == RowState::Bound) {
            let said = row.said.get_or_insert_default();
            said.take(relay_agent, vendor_class);
            let latest = said.latest.get_or_insert_default();
            latest.dealt = (at, sequence);
            if told {
                latest.told = at;
            }
        }
        Some(Change::Nothing)
    }

    fn release(&mut self, sequence: Sequence, address: Ipv4Addr, mac: MacAddr, when: UnixSecs) -> Option<Change> {
        let scope = self.scopes.of_address(address)?.index;
        if let Some(at) = self.find(address) {
            let row = self.rows.get_mut(at);
            if row.mac == mac {
                if row.state == RowState::Declined {
                    self.resting.remove(&(scope, address));
                }
                let ends = row.ends.min(when);
                self.history.add(PastChange { at: when, what: What::Released, address, mac, scope, ends, sequence });
                (row.state, row.ends, row.sequence) = (RowState::Released, row.ends.min(when), sequence);
                return Some(Change::Ended);
            }
        }
        Some(Change::Nothing)
    }

    fn expire(&mut self, address: Ipv4Addr, mac: MacAddr, when: UnixSecs) -> Option<Change> {
        self.scopes.of_address(address)?;
        if let Some(at) = self.find(address) {
            let row = self.rows.get_mut(at);
            if row.mac == mac && row.state == RowState::Bound && row.ends <= when {
                row.expiry_told = true;
                return Some(Change::Ended);
            }
        }
        Some(Change::Nothing)
    }

    fn decline(
        &mut self,
        sequence: Sequence,
        address: Ipv4Addr,
        mac: MacAddr,
        starts: UnixSecs,
        ends: UnixSecs,
    ) -> Option<Change> {
        let scope = self.scopes.of_address(address)?.index;
        let at = self.row_at(address, scope, true);
        self.unindex_names(at);
        self.history.add(PastChange { at: starts, what: What::Declined, address, mac, scope, ends, sequence });
        let row = self.rows.get_mut(at);
        (row.mac, row.starts, row.ends, row.sequence) = (mac, starts, ends, sequence);
        (row.state, row.said) = (RowState::Declined, None);
        self.resting.insert((scope, address));
        Some(Change::Ended)
    }

    /// The row of an address, made if need be. With `anew` it is nobody's any more.
    fn row_at(&mut self, address: Ipv4Addr, scope: ScopeIndex, anew: bool) -> u32 {
        if let Some(at) = self.find(address) {
            if anew {
                self.unindex_client(at);
            }
            return at;
        }
        let (starts, ends, mac) = (UnixSecs(0), UnixSecs(0), MacAddr::default());
        let row = Row {
            sequence: 0,
            said: None,
            address,
            starts,
            ends,
            mac,
            scope,
            state: RowState::Declined,
            expiry_told: false,
            in_use: true,
        };
        let at = self.rows.add(row);
        self.by_address.insert(address, at);
        if let Some(listed) = self.listed.get(usize::from(scope.0)) {
            listed.claim(address);
        }
        at
    }

    fn index_client(&mut self, at: u32, client: ClientKey) {
        let mut by_client = std::mem::take(&mut self.by_client);
        let hash = |&at: &u32| hash_key(self.seed, self.client(self.rows.get(at)));
        by_client.insert_unique(hash_key(self.seed, client), at, hash);
        self.by_client = by_client;
    }

    fn unindex_client(&mut self, at: u32) {
        let row = self.rows.get(at);
        if row.state == RowState::Declined {
            return;
        }
        let hash = hash_key(self.seed, self.client(row));
        if let Ok(entry) = self.by_client.find_entry(hash, |&other| other == at) {
            entry.remove();
        }
    }

    /// Indexes a bound row by what else its client is known by.
    fn index_names(&mut self, at: u32) {
        let (seed, rows) = (self.seed, &self.rows);
        let row = rows.get(at);
        if !row.client_id().is_empty() {
            let hash = |row: &Row| hash_client_id(seed, row.client_id());
            self.by_client_id.insert_unique(hash(row), at, |&at| hash(rows.get(at)));
        }
        if !self.scopes.all_identified_by_mac() {
            let hash = |row: &Row| hash_key(seed, key_of_mac(row.mac));
            self.by_mac.insert_unique(hash(row), at, |&at| hash(rows.get(at)));
        }
    }

    /// Takes a row out of the indexes that [`Self::index_names`] put it in, before it changes.
    fn unindex_names(&mut self, at: u32) {
        let row = self.rows.get(at);
        if !row.client_id().is_empty()
            && let Ok(entry) = self.by_client_id.find_entry(hash_client_id(self.seed, row.client_id()), |&it| it == at)
        {
            entry.remove();
        }
        if !self.by_mac.is_empty()
            && let Ok(entry) = self.by_mac.find_entry(self.hash_mac(row.mac), |&it| it == at)
        {
            entry.remove();
        }
    }

    fn hash_mac(&self, mac: MacAddr) -> u64 {
        hash_key(self.seed, key_of_mac(mac))
    }

    fn find(&self, address: Ipv4Addr) -> Option<u32> {
        self.by_address.get(address)
    }

    fn client(&self, row: &Row) -> ClientKey {
        // Whose quarantine it is, is nobody's business but the worker's that will end it.
        self.client_of(row.scope, row.mac, row.said.as_ref().map_or(&[], |said| &said.client_id))
    }

    fn client_of(&self, scope: ScopeIndex, mac: MacAddr, client_id: &[u8]) -> ClientKey {
        let network = self.scopes.get(scope).and_then(|scope| self.scopes.network(scope.network));
        let by = network.map_or(IdentifiedBy::Mac, |network| network.identified_by);
        let network = network.map_or(NetworkIndex(0), |network| network.index);
        ClientKey { network, identity: Identity::of(by, self.identity_key, mac, client_id) }
    }

    fn show(&self, row: &Row) -> LeaseRow {
        let &Row { sequence, starts, ends, mac, scope, state, .. } = row;
        let said = row.said.as_deref();
        let latest = said.and_then(|said| said.latest.as_deref());
        LeaseRow {
            client: self.client(row),
            scope,
            mac,
            state,
            starts,
            ends,
            sequence,
            client_id: said.map(|said| said.client_id.clone()).unwrap_or_default(),
            hostname: said.map(|said| said.hostname.clone()).unwrap_or_default(),
            expiry_told: row.expiry_told,
            relay_agent: said.map(|said| said.relay_agent.clone()).unwrap_or_default(),
            vendor_class: latest.map(|latest| latest.vendor_class.clone()).unwrap_or_default(),
            told: latest.map_or(starts, |latest| latest.told.max(starts)),
            dealt: latest.map_or((starts, sequence), |latest| latest.dealt.max((starts, sequence))),
        }
    }
}

/// A hardware address on whatever network.
fn key_of_mac(mac: MacAddr) -> ClientKey {
    ClientKey { network: NetworkIndex(0), identity: Identity::of_mac(mac) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::{config, ip};

    #[test]
    fn room_that_was_made_in_vain_is_given_back_and_every_lease_is_found() {
        let scopes = Arc::new(Scopes::compile(&config(&[])));
        let mut rows = LeaseRows::new(scopes, IdentityKey::new([1, 2]), 3);
        rows.expect(100_000);
        let mut payload = Vec::new();
        for last in 100..110 {
            let record = Record::Bind {
                address: ip(2, last),
                mac: MacAddr([2, 0, 0, 0, 0, last]),
                starts: UnixSecs(10),
                ends: UnixSecs(20),
                client_id: Box::default(),
                hostname: Box::default(),
                relay_agent: Box::default(),
                vendor_class: Box::default(),
            };
            let kind = record.encode(&mut payload);
            assert_eq!(rows.apply(last.into(), kind, &payload), Ok(Applied::Lease(Change::Bound)));
        }
        rows.remove(ip(2, 104));
        assert!(rows.by_client.capacity() >= 100_000);
        rows.settle();
        assert!(rows.by_client.capacity() < 100);
        let addresses: Vec<_> = rows.facts().map(|lease| lease.address.octets()[3]).collect();
        assert_eq!((addresses, rows.len()), ([100, 101, 102, 103, 105, 106, 107, 108, 109].to_vec(), 9));
        for lease in rows.facts() {
            assert_eq!(rows.of_client(lease.client).map(|(address, _)| address), Some(lease.address));
        }
    }
}
