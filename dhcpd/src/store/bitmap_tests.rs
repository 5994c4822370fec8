//! The address bitmap, tested beside its file, which `tests/bitmap_loom.rs` compiles over the atomics of a model checker.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use reveille_config::AddressRange;

use super::bitmap::AddressMap;
use crate::proto::pool::AddressMask;

fn range(first: &str, last: &str) -> AddressRange {
    AddressRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap()
}

#[test]
fn gives_every_address_of_all_pools_once_from_any_start() {
    let pools = [range("10.0.0.10", "10.0.0.12"), range("10.0.0.60", "10.0.0.200"), range("10.0.1.0", "10.0.1.0")];
    for hash in [0, 1, 3, 77, 144, u64::MAX] {
        let map = AddressMap::new("10.0.0.0/23".parse().unwrap());
        let kept = AddressMask::new("10.0.0.0/23".parse().unwrap(), [range("10.0.0.63", "10.0.0.65")]);
        let also_kept = AddressMap::new("10.0.0.0/23".parse().unwrap());
        assert!(also_kept.claim("10.0.0.11".parse().unwrap()));
        let claim = || map.claim_any(pools.into_iter(), hash, &kept, Some(&also_kept));
        let mut given: HashSet<_> = std::iter::from_fn(claim).collect();
        assert_eq!(given.len(), 2 + 138 + 1, "hash {hash}, what is kept aside");
        given.extend(std::iter::from_fn(|| map.claim_any(pools.into_iter(), hash, &AddressMask::default(), None)));
        assert_eq!(given.len(), 3 + 141 + 1, "hash {hash}");
        assert!(given.iter().all(|address| pools.iter().any(|pool| pool.contains(*address))));
        let counted: u64 = pools.iter().map(|pool| map.count(*pool)).sum();
        assert_eq!(counted, 145);
    }
}

#[test]
fn a_held_address_is_refused_until_it_is_released() {
    let map = AddressMap::new("10.0.0.0/30".parse().unwrap());
    let address = "10.0.0.2".parse().unwrap();
    assert!(map.claim(address) && !map.claim(address) && map.is_held(address));
    map.release(address);
    assert!(map.claim(address));
    assert!(!map.claim("10.0.0.4".parse().unwrap()), "outside the subnet");
    assert!(!map.claim("9.255.255.255".parse().unwrap()), "outside the subnet");
}

#[test]
fn walks_what_is_held_in_order() {
    let map = AddressMap::new("10.0.0.0/24".parse().unwrap());
    let held = ["10.0.0.0", "10.0.0.63", "10.0.0.64", "10.0.0.255"].map(|a| a.parse::<Ipv4Addr>().unwrap());
    assert!(held.iter().all(|&address| map.claim(address)));
    let mut at = None;
    let walked: Vec<_> = std::iter::from_fn(|| {
        at = map.next_held(at);
        at
    })
    .take(9)
    .collect();
    assert_eq!(walked, held);
}

#[test]
fn the_whole_address_space_fits() {
    let map = AddressMap::new("0.0.0.0/8".parse().unwrap());
    assert_eq!(
        map.claim_any([range("0.255.255.255", "0.255.255.255")].into_iter(), 9, &AddressMask::default(), None),
        Some("0.255.255.255".parse().unwrap())
    );
    assert!(AddressMap::new("255.255.255.255/32".parse().unwrap()).claim(Ipv4Addr::BROADCAST));
}

#[test]
fn threads_never_get_the_same_address() {
    let map = AddressMap::new("10.0.0.0/24".parse().unwrap());
    let pools = [range("10.0.0.0", "10.0.0.255")];
    let given = std::sync::Mutex::new(HashSet::new());
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (map, pools, given) = (&map, &pools, &given);
            scope.spawn(move || {
                for i in 0..2_000u64 {
                    if let Some(address) =
                        map.claim_any(pools.iter().copied(), i * 31 + thread, &AddressMask::default(), None)
                    {
                        assert!(given.lock().unwrap().insert(address), "{address} given twice");
                        if i % 3 != 0 {
                            assert!(given.lock().unwrap().remove(&address));
                            map.release(address);
                        }
                    }
                }
            });
        }
    });
    assert_eq!(given.into_inner().unwrap().len() as u64, map.count(pools[0]));
}
