//! Random operations against the plain structure that this one replaces: a map of clients and ordered sets of ends.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use reveille_config::dhcpd::PortShareBy;

use super::*;
use crate::proto::circuit::Circuit;

const POOLS: usize = 3;

fn key(n: u8) -> ClientKey {
    let identity = if n.is_multiple_of(2) {
        Identity::of_mac(MacAddr([2, 0, 0, 0, 0, n]))
    } else {
        Identity::of_client_id(Default::default(), &[n])
    };
    ClientKey { network: NetworkIndex(u16::from(n % 3)), identity }
}

fn address(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, n)
}

fn port(n: u8) -> Port {
    Port::of(7, NetworkIndex(0), PortShareBy::Port, Circuit { circuit_id: &[n], remote_id: &[] }).unwrap()
}

fn pool(_: ScopeIndex, address: Ipv4Addr) -> usize {
    usize::from(address.octets()[3]) % POOLS
}

#[derive(Debug, Clone)]
enum Step {
    Bind(u8, u8, u16),
    BindForEver(u8, u8),
    BindExpired(u8, u8),
    Unbind(u8),
    Offer(u8, u8, u16),
    ForgetOffer(u8),
    CountPort(u8, u8),
    Advance(u16),
    SortExpired,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let c = || 0u8..24;
    let a = || 0u8..200;
    let step = prop_oneof![
        6 => (c(), a(), 1u16..5_000).prop_map(|(c, a, secs)| Step::Bind(c, a, secs)),
        1 => (c(), a()).prop_map(|(c, a)| Step::BindForEver(c, a)),
        1 => (c(), a()).prop_map(|(c, a)| Step::BindExpired(c, a)),
        2 => c().prop_map(Step::Unbind),
        4 => (c(), a(), 1u16..100).prop_map(|(c, a, secs)| Step::Offer(c, a, secs)),
        2 => c().prop_map(Step::ForgetOffer),
        4 => (c(), 0u8..4).prop_map(|(c, port)| Step::CountPort(c, port)),
        4 => (0u16..3_000).prop_map(Step::Advance),
        1 => Just(Step::SortExpired),
    ];
    proptest::collection::vec(step, 1..150)
}

/// The plain structure.
#[derive(Default)]
struct Plain {
    bound: BTreeMap<ClientKey, Bound>,
    offers: BTreeMap<ClientKey, Held>,
    /// In the order of their ends; those of the same second in no particular one.
    expired: BTreeSet<(Millis, ClientKey)>,
    ports: BTreeMap<ClientKey, u8>,
}

impl Plain {
    fn bind(&mut self, key: ClientKey, bound: Bound) -> Option<Bound> {
        let former = self.unbind(key);
        self.bound.insert(key, bound);
        if bound.phase == Phase::Expired {
            self.expired.insert((bound.ends_at, key));
        }
        former
    }

    fn unbind(&mut self, key: ClientKey) -> Option<Bound> {
        let former = self.bound.remove(&key)?;
        self.expired.remove(&(former.ends_at, key));
        Some(former)
    }

    fn advance(&mut self, now: Millis) -> BTreeSet<String> {
        let mut due = BTreeSet::new();
        self.offers.retain(|key, held| {
            let over = held.until <= now;
            over.then(|| due.insert(format!("{:?}", Due::Offer(*key))));
            !over
        });
        for (key, bound) in &mut self.bound {
            if bound.phase == Phase::Active && bound.ends_at <= now {
                bound.phase = Phase::Expired;
                self.expired.insert((bound.ends_at, *key));
                due.insert(format!("{:?}", Due::Lease(*key)));
            }
        }
        due
    }

    fn is_served(&self, key: ClientKey) -> bool {
        self.offers.contains_key(&key) || self.bound.get(&key).is_some_and(|bound| bound.phase == Phase::Active)
    }

    fn oldest_expired(&self, wanted: usize) -> Option<Millis> {
        let in_pool = |key| pool(ScopeIndex(0), self.bound[key].address) == wanted;
        self.expired.iter().find(|(_, key)| in_pool(key)).map(|(at, _)| *at)
    }
}

fn run(steps: Vec<Step>) {
    let mut now = Millis(1_000_000);
    let mut clients = Clients::new(now, POOLS, 77, Arc::new(Ports::new(16)));
    let mut plain = Plain::default();

    for step in steps {
        match step {
            Step::Bind(c, a, _) | Step::BindForEver(c, a) | Step::BindExpired(c, a) => {
                let holder = clients.holder(address(a));
                let expected = plain.bound.iter().find(|(_, bound)| bound.address == address(a)).map(|(key, _)| *key);
                assert_eq!(holder, expected);
                if holder.is_some_and(|holder| holder != key(c)) {
                    continue;
                }
                let (phase, ends_at) = match step {
                    Step::Bind(_, _, secs) => (Phase::Active, now.plus_secs(secs.into())),
                    Step::BindForEver(..) => (Phase::Active, Millis::MAX),
                    // Adopted in the order of their ends, so not before one that has expired already.
                    _ => (Phase::Expired, now),
                };

                let (scope, mac, starts, ends) = (ScopeIndex(c.into()), MacAddr([c; 6]), UnixSecs(1), UnixSecs(2));
                let bound =
                    Bound { address: address(a), scope, mac, starts, ends, ends_at, sequence: 9, said: 7, phase };
                let former = clients.bind(key(c), bound, pool(scope, address(a)));
                assert_eq!(former, plain.bind(key(c), bound));
            }
            Step::Unbind(c) => assert_eq!(clients.unbind(key(c)), plain.unbind(key(c))),
            Step::Offer(c, a, secs) => {
                let held = Held { address: address(a), until: now.plus_secs(secs.into()) };
                assert_eq!(clients.offer(key(c), held), plain.offers.insert(key(c), held));
            }
            Step::ForgetOffer(c) => assert_eq!(clients.forget_offer(key(c)), plain.offers.remove(&key(c))),
            Step::CountPort(c, number) => {
                clients.count_port(key(c), port(number));
                if plain.is_served(key(c)) {
                    plain.ports.insert(key(c), number);
                }
            }
            Step::Advance(secs) => {
                now = now.plus_secs(secs.into());
                clients.advance(now);
                let mut due = BTreeSet::new();
                while let Some(one) = clients.pop_due(pool) {
                    if let Due::Offer(key) = one {
                        assert!(clients.forget_offer(key).is_some_and(|held| held.until <= now));
                    }
                    due.insert(format!("{one:?}"));
                }
                assert_eq!(due, plain.advance(now));
            }
            Step::SortExpired => clients.sort_expired(POOLS, pool),
        }
        for c in 0..24 {
            assert_eq!(clients.get(key(c)), (plain.bound.get(&key(c)).copied(), plain.offers.get(&key(c)).copied()));
        }
        let mut counted = std::mem::take(&mut plain.ports);
        counted.retain(|&key, _| plain.is_served(key));
        plain.ports = counted;
        for number in 0..4 {
            let expected = plain.ports.values().filter(|&&of| of == number).count() as u64;
            assert_eq!(clients.ports.count(port(number)), expected, "port {number}");
        }
        for list in 0..POOLS {
            let oldest = clients.oldest_expired(list, |_| true).map(|(_, bound)| bound.ends_at);
            assert_eq!(oldest, plain.oldest_expired(list), "pool {list}");
        }
        let first = plain.bound.values().filter(|bound| bound.phase == Phase::Active && bound.ends_at != Millis::MAX);
        let first = first.map(|bound| bound.ends_at).chain(plain.offers.values().map(|held| held.until)).min();
        assert!(first.is_none() || clients.next_due() <= first, "{:?} {first:?}", clients.next_due());
        let remembered: BTreeSet<_> = plain.bound.keys().chain(plain.offers.keys()).collect();
        assert_eq!(clients.by_key.len(), remembered.len(), "nobody is remembered for nothing");
        assert_eq!(clients.by_address.len(), plain.bound.len());
    }
}

proptest! {
    #[test]
    fn does_as_the_plain_structure_does(steps in steps()) {
        run(steps);
    }
}
