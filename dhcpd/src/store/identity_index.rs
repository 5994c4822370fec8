//! [`IdentityIndex`]: reservations whose client may come to any worker, found without a lock by all of them.
//!
//! A worker owns its clients by the network's identity. A reservation by anything else (a client identifier where clients go by their hardware address, a port, or a
//! hardware address where they go by their identifier) cannot lie in the table of the one worker that owns its client, since nobody knows which one that is. So it lies here: in small
//! parts behind arc-swap, each replaced as a whole. The worker that keeps a reservation ([`super::Shared::keeper_of`]) puts it here before anybody is told that it is in force.
//!
//! A reservation for several identities lies here under each of them. Which reservation an identity belongs to is settled before that, by [`IdentityIndex::claim`]: two workers
//! may be asked for two reservations with the same client identifier at the same moment, and one of them is refused.
//!
//! Nothing here says who has an address: the bitmap does, and reserved addresses are kept out of the pools (`Shared::kept`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use reveille_config::MacAddr;

use super::clients::hash_key;
use crate::proto::circuit::Circuit;
use crate::proto::identity::{Identity, IdentityKey};
use crate::proto::scope::{ClientKey, NetworkIndex, Reservation};

/// Parts; a change copies one of them, which has 25 of 100,000 reservations.
const PARTS: usize = 4_096;

type Part = std::collections::HashMap<ClientKey, Arc<Reservation>, foldhash::fast::RandomState>;

/// The reservations by network and identity.
#[derive(Debug)]
pub struct IdentityIndex {
    parts: Box<[ArcSwap<Part>]>,
    /// The reservation, by its first identity, that an identity belongs to. Those by hardware address need no entry: it is their first identity.
    claimed: DashMap<ClientKey, ClientKey, foldhash::fast::RandomState>,
    /// How many there are: mostly none, and then nothing is hashed for a packet.
    count: AtomicUsize,
    key: IdentityKey,
    seed: u64,
}

impl IdentityIndex {
    /// An empty index of identities that are hashed with `key`.
    pub fn new(key: IdentityKey, seed: u64) -> Self {
        let empty = Arc::new(Part::default());
        let parts = (0..PARTS).map(|_| ArcSwap::new(Arc::clone(&empty))).collect();
        Self { parts, claimed: DashMap::default(), count: AtomicUsize::new(0), key, seed }
    }

    /// Claims an identity for the reservation of `owner`; `false` where it belongs to another.
    pub fn claim(&self, identity: ClientKey, owner: ClientKey) -> bool {
        *self.claimed.entry(identity).or_insert(owner) == owner
    }

    /// The same, whoever had it.
    pub fn take(&self, identity: ClientKey, owner: ClientKey) {
        self.claimed.insert(identity, owner);
    }

    /// Whether an identity belongs to the reservation of `owner`.
    pub fn belongs_to(&self, identity: ClientKey, owner: ClientKey) -> bool {
        self.claimed.get(&identity).is_some_and(|of| *of == owner)
    }

    /// Lets go of an identity, if it belongs to the reservation of `owner`.
    pub fn let_go(&self, identity: ClientKey, owner: ClientKey) {
        self.claimed.remove_if(&identity, |_, of| *of == owner);
    }

    /// Puts a reservation in the place of the client's former one.
    pub fn put(&self, client: ClientKey, reservation: &Arc<Reservation>) {
        let new = self.change(client, |part| part.insert(client, Arc::clone(reservation)).is_none());
        self.count.fetch_add(usize::from(new), Ordering::Release);
    }

    /// Removes the client's reservation, if it is the one that is known by the same first identity as `former`.
    pub fn remove(&self, client: ClientKey, former: &Reservation) {
        let same = |part: &Part| part.get(&client).is_some_and(|own| own.client == former.client);
        let gone = self.change(client, |part| same(part) && part.remove(&client).is_some());
        self.count.fetch_sub(usize::from(gone), Ordering::Release);
    }

    /// The client's reservation.
    pub fn of(&self, client: ClientKey) -> Option<Arc<Reservation>> {
        self.part(client).load().get(&client).cloned()
    }

    /// The reservation for a machine.
    pub fn of_mac(&self, network: NetworkIndex, mac: MacAddr) -> Option<Arc<Reservation>> {
        if self.is_empty() {
            return None;
        }
        self.get(network, Identity::of_mac(mac))
    }

    /// The reservation for a client identifier, else for the port, of which a reservation may name both ids or one.
    pub fn find(&self, network: NetworkIndex, client_id: &[u8], circuit: Circuit<'_>) -> Option<Arc<Reservation>> {
        if self.is_empty() {
            return None;
        }
        let by_id = (!client_id.is_empty()).then(|| self.get(network, Identity::of_client_id(self.key, client_id)));
        let by_port = || circuit.named().find_map(|port| self.get(network, Identity::of_port(self.key, port)));
        by_id.flatten().or_else(by_port)
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    fn get(&self, network: NetworkIndex, identity: Identity) -> Option<Arc<Reservation>> {
        self.of(ClientKey { network, identity })
    }

    /// Replaces the client's part by a changed copy. Another worker may be at the same part: then it is copied again.
    fn change(&self, client: ClientKey, change: impl Fn(&mut Part) -> bool) -> bool {
        let mut changed = false;
        self.part(client).rcu(|part| {
            let mut part = Part::clone(part);
            changed = change(&mut part);
            part
        });
        changed
    }

    fn part(&self, client: ClientKey) -> &ArcSwap<Part> {
        &self.parts[hash_key(self.seed, client) as usize % PARTS]
    }
}

#[cfg(test)]
mod tests {
    use reveille_config::Octets;
    use reveille_config::dhcpd::ReservedFor;

    use super::*;
    use crate::proto::testing::{ip, reservation_for};

    const KEY: IdentityKey = IdentityKey::new([1, 2]);
    const HERE: NetworkIndex = NetworkIndex(0);

    fn put(index: &IdentityIndex, client: ReservedFor, last: u8) {
        let key = ClientKey { network: HERE, identity: Identity::of_reserved(KEY, &client) };
        index.put(key, &reservation_for(client, ip(2, last)));
    }

    fn port(circuit_id: &[u8], remote_id: &[u8]) -> ReservedFor {
        ReservedFor::Circuit { circuit_id: Octets(circuit_id.to_vec()), remote_id: Octets(remote_id.to_vec()) }
    }

    #[test]
    fn a_client_is_found_by_its_identifier_then_by_its_port() {
        let index = IdentityIndex::new(KEY, 7);
        let id = ReservedFor::ClientId(Octets(vec![1, 2]));
        assert!(index.find(HERE, &[1, 2], Circuit::default()).is_none());
        for (client, last) in [
            (id.clone(), 1),
            (port(b"eth1", b"sw"), 2),
            (port(b"eth2", b""), 3),
            (port(b"", b"sw"), 4),
            (MacAddr([2, 0, 0, 0, 0, 1]).into(), 5),
        ] {
            put(&index, client, last);
        }
        for (id, circuit_id, remote_id, expected) in [
            (&b"\x01\x02"[..], &b""[..], &b""[..], Some(1)),
            (b"\x01\x02", b"eth1", b"sw", Some(1)),
            (b"\x09", b"eth1", b"sw", Some(2)),
            (b"", b"eth1", b"other", None),
            (b"", b"eth1s", b"w", None),
            (b"", b"eth2", b"any", Some(3)),
            (b"", b"eth9", b"sw", Some(4)),
            (b"", b"", b"", None),
        ] {
            let found = index.find(HERE, id, Circuit { circuit_id, remote_id });
            assert_eq!(
                found.map(|own| own.address),
                expected.map(|last| ip(2, last)),
                "{id:?} {circuit_id:?} {remote_id:?}"
            );
        }
        assert_eq!(index.find(NetworkIndex(1), &[1, 2], Circuit::default()), None, "on another network");
        assert_eq!(index.of_mac(HERE, MacAddr([2, 0, 0, 0, 0, 1])).map(|own| own.address), Some(ip(2, 5)));
        put(&index, id.clone(), 9);
        assert_eq!(index.find(HERE, &[1, 2], Circuit::default()).map(|own| own.address), Some(ip(2, 9)), "replaced");
        let key = ClientKey { network: HERE, identity: Identity::of_reserved(KEY, &id) };
        index.remove(key, &reservation_for(port(b"eth1", b"sw"), ip(2, 9)));
        assert!(index.of(key).is_some(), "it belongs to another reservation");
        (0..2).for_each(|_| index.remove(key, &reservation_for(id.clone(), ip(2, 1))));
        assert_eq!(index.find(HERE, &[1, 2], Circuit::default()), None);
        assert_eq!(index.count.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn an_identity_belongs_to_one_reservation_at_a_time() {
        let index = IdentityIndex::new(KEY, 7);
        let key = |octet| ClientKey { network: HERE, identity: Identity::of_mac(MacAddr([2, 0, 0, 0, 0, octet])) };
        let (id, one, other) = (key(9), key(1), key(2));
        for (owner, claimed) in [(one, true), (one, true), (other, false)] {
            assert_eq!(index.claim(id, owner), claimed);
        }
        index.let_go(id, other);
        assert!(index.belongs_to(id, one) && !index.claim(id, other));
        index.let_go(id, one);
        assert!(index.claim(id, other));
        index.take(id, one);
        assert!(index.belongs_to(id, one));
    }

    #[test]
    fn what_many_workers_put_at_once_is_all_there() {
        let index = IdentityIndex::new(KEY, 7);
        let id = |worker: u8, n: u16| [worker, (n >> 8) as u8, n as u8];
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let index = &index;
                scope.spawn(move || {
                    for n in 0..1_500 {
                        put(index, ReservedFor::ClientId(Octets(id(worker, n).to_vec())), worker);
                    }
                });
            }
        });
        assert_eq!(index.count.load(Ordering::Relaxed), 6_000);
        for (worker, n) in (0..4).flat_map(|worker| (0..1_500).map(move |n| (worker, n))) {
            let own = index.find(HERE, &id(worker, n), Circuit::default());
            assert_eq!(own.map(|own| own.address), Some(ip(2, worker)));
        }
    }
}
