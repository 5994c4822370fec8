//! The address bitmap's claim and release under every interleaving of two or three threads, explored by loom.
//!
//! It compiles the very file of the store over loom's atomics, which take the place of the standard library's in `store::atomic`.
#![allow(dead_code, missing_docs)]

#[path = "../src/store/bitmap.rs"]
mod bitmap;
#[path = "../src/proto/pool.rs"]
mod pool;

mod atomic {
    pub use loom::sync::atomic::{AtomicU64, Ordering};
}

mod proto {
    pub(crate) use crate::pool;
}

use std::net::Ipv4Addr;

use bitmap::AddressMap;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use pool::{AddressMask, PoolSet};
use reveille_config::AddressRange;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fn map() -> Arc<AddressMap> {
    Arc::new(AddressMap::new("10.0.0.0/30".parse().unwrap()))
}

fn claim_any(map: &AddressMap, last: u8, hash: u64) -> Option<Ipv4Addr> {
    let pool = AddressRange::new(ADDRESS, Ipv4Addr::new(10, 0, 0, last)).unwrap();
    map.claim_any([pool].into_iter(), hash, &AddressMask::default(), None)
}

#[test]
fn of_several_claims_of_an_address_one_succeeds() {
    loom::model(|| {
        let map = map();
        let others: Vec<_> = (0..2)
            .map(|_| {
                let map = Arc::clone(&map);
                thread::spawn(move || map.claim(ADDRESS))
            })
            .collect();
        let mut won = usize::from(map.claim(ADDRESS));
        won += others.into_iter().map(|other| other.join().unwrap()).filter(|won| *won).count();
        assert_eq!(won, 1);
    });
}

#[test]
fn searches_of_a_pool_find_different_addresses_and_the_last_finds_none() {
    loom::model(|| {
        let map = map();
        let other = {
            let map = Arc::clone(&map);
            thread::spawn(move || [claim_any(&map, 2, 0), claim_any(&map, 2, 0)])
        };
        let mine = claim_any(&map, 2, 1);
        let mut found: Vec<_> = other.join().unwrap().into_iter().chain([mine]).flatten().collect();
        found.sort_unstable();
        assert_eq!(found, [ADDRESS, Ipv4Addr::new(10, 0, 0, 2)]);
    });
}

/// What the former holder wrote to the journal comes before what the next one writes.
#[test]
fn whoever_claims_sees_what_the_former_holder_did_before_it_released() {
    loom::model(|| {
        let (map, journal) = (map(), Arc::new(UnsafeCell::new(0)));
        assert!(map.claim(ADDRESS));
        let other = {
            let (map, journal) = (Arc::clone(&map), Arc::clone(&journal));
            thread::spawn(move || {
                // By name or by search: both acquire.
                let claimed = if claim_any(&map, 1, 0).is_some() { true } else { map.claim(ADDRESS) };
                // Reading nothing is enough: loom checks that nobody writes at the same time.
                claimed.then(|| journal.with(|written| written.is_null()))
            })
        };
        journal.with_mut(|written| assert!(!written.is_null()));
        map.release(ADDRESS);
        assert_ne!(other.join().unwrap(), Some(true));
    });
}

#[test]
fn a_neighbours_release_takes_nothing_away() {
    loom::model(|| {
        let map = map();
        let neighbour = Ipv4Addr::new(10, 0, 0, 2);
        assert!(map.claim(neighbour));
        let other = {
            let map = Arc::clone(&map);
            thread::spawn(move || map.release(neighbour))
        };
        assert!(map.claim(ADDRESS));
        other.join().unwrap();
        assert!(map.is_held(ADDRESS) && !map.is_held(neighbour));
    });
}

#[test]
fn one_worker_takes_a_wish_upon_itself() {
    loom::model(|| {
        let map = map();
        map.ask_for_one(PoolSet::of([3]));
        let other = {
            let map = Arc::clone(&map);
            thread::spawn(move || map.take_wanted())
        };
        let mine = map.take_wanted();
        let taken = [mine, other.join().unwrap()].into_iter().filter(|wanted| wanted.contains(3)).count();
        assert_eq!(taken, 1);
    });
}
