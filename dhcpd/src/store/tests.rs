//! What a [`Table`] does for networks of several scopes, clients that go by their identifier, and reservations that are not by hardware address.

use std::net::Ipv4Addr;
use std::sync::Arc;

use reveille_config::dhcpd::ReservedFor;
use reveille_config::{AddressRange, MacAddr, Octets};

use super::journal::{CrashDisk, JournalOptions};
use super::reservation::{Change, PutError, ReservationDraft};
use super::table::ClientFacts;
use super::*;
use crate::proto::circuit::Circuit;
use crate::proto::decide::{Bind, Offer};
use crate::proto::identity::IdentifiedBy;
use crate::proto::option::OptionBlock;
use crate::proto::pool::{AddressMask, PoolSet};
use crate::proto::reason::{ChosenBy, DropReason};
use crate::proto::scope::Holder;
use crate::proto::testing::{config, ip, reservation_for};
use crate::proto::time::{Millis, UnixSecs};

const PROV: ScopeIndex = ScopeIndex(1);
const NOW: Now = Now { unix: UnixSecs(1_000_000), unix_millis: 1_000_000_000, monotonic: Millis(10_000_000) };

fn mac(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 1, 0, n])
}

fn range(first: u8, last: u8) -> AddressRange {
    AddressRange::new(ip(2, first), ip(2, last)).unwrap()
}

/// One worker's table over the test configuration (`prov`: 10.77.2.0/24, pool .100 to .109) after `change`.
struct Desk {
    store: Store,
    table: Table,
}

impl Desk {
    fn new(change: impl FnOnce(&mut [Network], &mut [crate::proto::scope::Scope])) -> Self {
        let mut scopes = Scopes::compile(&config(&[]));
        let (networks, all) = scopes.parts_mut();
        change(networks, all);
        let options = JournalOptions { segment_bytes: 256 << 10, ring_bytes: 64 << 10, ..JournalOptions::default() };
        let storage = CrashDisk::new().storage();
        let (store, mut parts) = Store::open(storage, options, Arc::new(scopes), 1, NOW).unwrap();
        Self { store, table: parts.remove(0).table }
    }

    fn key(&self, n: u8, client_id: &[u8]) -> ClientKey {
        let network = self.store.shared.scopes.load().get(PROV).unwrap().network;
        self.store.shared.client_on(network, mac(n), client_id)
    }

    fn reserved(&mut self, n: u8, client_id: &[u8], circuit: Circuit<'_>) -> Option<(Ipv4Addr, bool)> {
        let key = self.key(n, client_id);
        let own = self.table.reservation_for(key, mac(n), client_id, circuit)?;
        Some((own.address, self.table.client(NOW, key, Some(&own), &ClientFacts::default()).reserved_available))
    }

    fn offer(
        &mut self,
        n: u8,
        client_id: &[u8],
        wish: Option<Ipv4Addr>,
        pools: PoolSet,
    ) -> Result<Ipv4Addr, DropReason> {
        let (scopes, key) = (self.store.shared.scopes.load_full(), self.key(n, client_id));
        let candidates = [wish.map(|address| (address, ChosenBy::Requested)), None, None, None];
        let offer = Offer { candidates, from_pools: true, remaining_secs: None, commit: None };
        self.table.offer(NOW, scopes.get(PROV).unwrap(), key, mac(n), &offer, pools).map(|(address, _)| address)
    }

    /// Binds whoever the rules would allow it: the bitmap decides.
    fn bind(&mut self, n: u8, client_id: &[u8], address: Ipv4Addr, ends: UnixSecs) -> bool {
        let key = self.key(n, client_id);
        let bind = Bind { address, chosen_by: ChosenBy::Reservation, lease_secs: 600, ends };
        let facts = ClientFacts { mac: mac(n), client_id, hostname: "", ..ClientFacts::default() };
        let Ok(pending) = self.table.bind(NOW, key, &bind, facts, ()) else { return false };
        self.store.journal.wait_followed(pending.sequence()).unwrap();
        true
    }

    fn put(&mut self, n: u8, address: Option<Ipv4Addr>) -> Result<Ipv4Addr, PutError> {
        self.put_for(mac(n).into(), address)
    }

    fn put_for(&mut self, client: ReservedFor, address: Option<Ipv4Addr>) -> Result<Ipv4Addr, PutError> {
        let holder = Holder { scope: PROV, client };
        let draft = ReservationDraft {
            pools: PoolSet::ALL,
            holder: holder.clone(),
            also: Box::default(),
            address,
            hostname: None,
            boot_file: None,
            options: OptionBlock::default(),
            options_given: "".into(),
            node: None,
            pools_named: false,
            boot: None,
            terms: Default::default(),
            expected: Default::default(),
        };
        match self.table.put_reservation(draft)? {
            Change::Pending(pending) => _ = pending.sequence(),
            Change::Unchanged(_) => {}
        }
        Ok(self.store.shared.model.reservation(&holder).unwrap().0.address)
    }
}

const PORT: Circuit<'static> = Circuit { circuit_id: b"ge-0/0/1", remote_id: b"tor-7" };

/// `.100` for the client identifier `node-1`, `.101` for a port.
fn with_fixed(_: &mut [Network], scopes: &mut [crate::proto::scope::Scope]) {
    let prov = &mut scopes[1];
    let port =
        ReservedFor::Circuit { circuit_id: Octets(PORT.circuit_id.into()), remote_id: Octets(PORT.remote_id.into()) };
    prov.reservations.push(reservation_for(ReservedFor::ClientId(Octets(b"node-1".to_vec())), ip(2, 100)));
    prov.reservations.push(reservation_for(port, ip(2, 101)));
    prov.kept = AddressMask::new(prov.subnet, [range(100, 101), range(109, 109)]);
}

#[test]
fn a_reservation_is_found_by_mac_then_by_client_identifier_then_by_port() {
    let mut desk = Desk::new(with_fixed);
    desk.put(1, Some(ip(2, 60))).unwrap();
    let none = Circuit::default();
    for (why, n, id, circuit, expected) in [
        ("all three: the MAC's", 1, &b"node-1"[..], PORT, Some(ip(2, 60))),
        ("identifier and port", 2, b"node-1", PORT, Some(ip(2, 100))),
        ("the port alone", 2, b"node-2", PORT, Some(ip(2, 101))),
        ("another switch", 2, b"", Circuit { remote_id: b"tor-8", ..PORT }, None),
        ("no port", 2, b"", none, None),
    ] {
        assert_eq!(desk.reserved(n, id, circuit), expected.map(|address| (address, true)), "{why}");
    }
}

#[test]
fn what_is_reserved_or_excluded_is_never_taken_from_the_pools() {
    let mut desk = Desk::new(with_fixed);
    let given: Vec<_> = (1..=8).map(|n| desk.offer(n, b"", None, PoolSet::ALL)).collect();
    let mut addresses: Vec<_> = given.iter().flatten().map(|address| address.octets()[3]).collect();
    addresses.sort_unstable();
    assert_eq!(addresses, [102, 103, 104, 105, 106, 107, 108]);
    assert_eq!(given.iter().filter(|offer| **offer == Err(DropReason::PoolExhausted)).count(), 1);
}

#[test]
fn a_reserved_address_that_somebody_uses_is_not_given() {
    let mut desk = Desk::new(with_fixed);
    let late = NOW.unix.plus(600);
    assert!(desk.bind(5, b"", ip(2, 100), late), "bound before it was reserved");
    assert_eq!(desk.reserved(2, b"node-1", Circuit::default()), Some((ip(2, 100), false)));
    assert!(!desk.bind(2, b"node-1", ip(2, 100), late));
    let key = desk.key(5, b"");
    desk.table.release(NOW, key, ip(2, 100), ()).map(drop).unwrap();
    assert_eq!(desk.reserved(2, b"node-1", Circuit::default()), Some((ip(2, 100), true)));
    assert!(desk.bind(2, b"node-1", ip(2, 100), late));
    assert_eq!(desk.reserved(2, b"node-1", Circuit::default()), Some((ip(2, 100), true)), "its own");
}

#[test]
fn a_class_gets_addresses_and_expired_leases_of_its_own_pools_alone() {
    let two_pools = |_: &mut [Network], scopes: &mut [crate::proto::scope::Scope]| {
        scopes[1].pools = vec![range(100, 101), range(110, 111)];
    };
    let mut desk = Desk::new(two_pools);
    let (first, second) = (PoolSet::of([0]), PoolSet::of([1]));
    // The oldest of all lies in the second pool.
    for (n, last, secs) in [(1, 110, 10), (2, 111, 40), (3, 100, 30), (4, 101, 20)] {
        assert!(desk.bind(n, b"", ip(2, last), NOW.unix.plus(secs)));
    }
    let later = Now { unix: NOW.unix.plus(100), monotonic: NOW.monotonic.plus_secs(100), ..NOW };
    desk.table.tick(later);
    assert_eq!(desk.offer(10, b"", None, first), Ok(ip(2, 101)), "the longest expired of the first pool");
    assert_eq!(desk.offer(11, b"", None, first), Ok(ip(2, 100)));
    assert_eq!(desk.offer(12, b"", None, first), Err(DropReason::PoolExhausted), "the second pool is not for it");
    assert_eq!(desk.offer(12, b"", None, second), Ok(ip(2, 110)));
    assert_eq!(desk.offer(13, b"", None, PoolSet::NONE), Err(DropReason::PoolExhausted));
}

#[test]
fn a_client_of_a_shared_network_has_one_binding_in_whichever_scope() {
    let shared = |networks: &mut [Network], scopes: &mut [crate::proto::scope::Scope]| {
        networks[0].scopes = [ScopeIndex(0), PROV].into();
        scopes[1].network = NetworkIndex(0);
    };
    let mut desk = Desk::new(shared);
    let late = NOW.unix.plus(600);
    assert_eq!(desk.offer(1, b"", Some(ip(1, 30)), PoolSet::NONE), Ok(ip(1, 30)), "a candidate of the other scope");
    assert!(desk.bind(1, b"", ip(1, 30), late));
    let model = &desk.store.shared.model;
    assert_eq!(model.lease(ip(1, 30)).map(|row| row.scope), Some(ScopeIndex(0)));
    assert!(desk.bind(1, b"", ip(2, 100), late));
    let model = &desk.store.shared.model;
    assert!(model.lease(ip(1, 30)).is_none() && model.lease(ip(2, 100)).is_some());
    assert!(!desk.store.shared.maps[0].is_held(ip(1, 30)), "the former address is free again");
    assert!(!desk.bind(2, b"", ip(9, 9), late), "an address of no scope of the network");
}

fn by_client_id(networks: &mut [Network], _: &mut [crate::proto::scope::Scope]) {
    networks.iter_mut().for_each(|network| network.identified_by = IdentifiedBy::ClientId);
}

#[test]
fn where_clients_go_by_their_identifier_one_machine_has_a_lease_for_each() {
    let mut desk = Desk::new(by_client_id);
    let late = NOW.unix.plus(600);
    assert!(desk.bind(1, b"rom", ip(2, 100), late) && desk.bind(1, b"os", ip(2, 101), late));
    assert!(desk.bind(2, b"rom", ip(2, 100), late), "the same client behind another card");
    assert!(!desk.bind(3, b"", ip(2, 100), late));
}

#[test]
fn where_clients_go_by_their_identifier_a_machines_reservation_is_kept_for_it() {
    let mut desk = Desk::new(by_client_id);
    let late = NOW.unix.plus(600);
    assert_eq!(desk.put(1, Some(ip(2, 104))), Ok(ip(2, 104)));
    for n in 2..=10 {
        assert_ne!(desk.offer(n, b"x", None, PoolSet::ALL), Ok(ip(2, 104)));
        assert!(desk.offer(n, &[n; 4], None, PoolSet::ALL) != Ok(ip(2, 104)));
    }
    assert_eq!(desk.reserved(1, b"whoever", Circuit::default()), Some((ip(2, 104), true)));
    assert!(desk.bind(1, b"whoever", ip(2, 104), late));
    assert_eq!(desk.put(2, Some(ip(2, 104))), Err(PutError::Taken(ip(2, 104))), "it is another's");
    assert_eq!(desk.put(1, Some(ip(2, 104))), Ok(ip(2, 104)), "the same again, while it is in use by the machine");
    assert_eq!(desk.put(1, Some(ip(2, 60))), Ok(ip(2, 60)));
    assert!(desk.store.shared.maps[1].is_held(ip(2, 104)), "the lease goes on");
    assert!(!desk.store.shared.maps[1].is_held(ip(2, 60)), "kept, not held");
}
