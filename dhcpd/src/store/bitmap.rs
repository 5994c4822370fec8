//! [`AddressMap`]: who holds an address, one bit each, shared by all workers without a lock.
//!
//! Invariant: between a [`AddressMap::claim`] that returned `true` and its [`AddressMap::release`], no other claim of that address returns `true`. The bitmap
//! arbitrates every address that a scope ever gives out, reserved ones included; whose it is, the worker that claimed it knows.
//!
//! Claiming acquires and releasing releases, so that what the former holder wrote to the journal comes before what the next one writes.

use std::net::Ipv4Addr;

use reveille_config::{AddressRange, Subnet};

use super::atomic::{AtomicU64, Ordering};
use crate::proto::pool::{AddressMask, PoolSet};

/// One bit for each address of a subnet. A /8 takes 2 MiB.
#[derive(Debug)]
pub struct AddressMap {
    first: u32,
    words: Box<[AtomicU64]>,
    size: u64,
    /// The pools in which a worker looks for an address in vain.
    wanted: AtomicU64,
}

impl AddressMap {
    /// A map of `subnet` with every address free.
    pub fn new(subnet: Subnet) -> Self {
        let first = u32::from(subnet.network());
        let size = u64::from(u32::from(subnet.broadcast()) - first) + 1;
        let words = (0..size.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { first, words, size, wanted: AtomicU64::new(0) }
    }

    /// Whether the map is of the subnet that holds `address`.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.place(address).is_some()
    }

    /// Takes `address`; `false` where somebody holds it already or it lies outside the subnet.
    pub fn claim(&self, address: Ipv4Addr) -> bool {
        let Some((word, mask)) = self.place(address) else { return false };
        word.fetch_or(mask, Ordering::AcqRel) & mask == 0
    }

    /// Gives `address` back. Only its holder may.
    pub fn release(&self, address: Ipv4Addr) {
        if let Some((word, mask)) = self.place(address) {
            word.fetch_and(!mask, Ordering::AcqRel);
        }
    }

    /// Whether somebody holds `address` at this moment.
    pub fn is_held(&self, address: Ipv4Addr) -> bool {
        self.place(address).is_some_and(|(word, mask)| word.load(Ordering::Acquire) & mask != 0)
    }

    /// Takes a free address of `pools` that is neither in `kept` nor held in `kept_too`, a map of the same subnet. The search begins at `hash`, so that a client finds
    /// the same place again and workers rarely meet.
    pub fn claim_any(
        &self,
        pools: impl Iterator<Item = AddressRange> + Clone,
        hash: u64,
        kept: &AddressMask,
        kept_too: Option<&Self>,
    ) -> Option<Ipv4Addr> {
        let size: u64 = pools.clone().map(|pool| pool.size()).sum();
        let start = hash.checked_rem(size)?;
        let kept = |index: usize| kept.word(index) | kept_too.map_or(0, |map| map.words[index].load(Ordering::Acquire));
        // Once from the start to the end of the pools, then from their beginning to the start.
        let claim = |from, to| self.claim_between(pools.clone(), from, to, kept);
        claim(start, size).or_else(|| claim(0, start))
    }

    /// How many addresses of `range` somebody holds.
    pub fn count(&self, range: AddressRange) -> u64 {
        let mut held = 0;
        self.spans(range, |index, mask| {
            held += u64::from((self.words[index].load(Ordering::Relaxed) & mask).count_ones());
            false
        });
        held
    }

    /// The first held address after `after` (or from the start), in order.
    pub fn next_held(&self, after: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let from = match after {
            Some(address) => u32::from(address).checked_add(1)?,
            None => self.first,
        };
        let last = (u64::from(self.first) + self.size - 1) as u32;
        let range = AddressRange::new(from.max(self.first).into(), last.into())?;
        let mut found = None;
        self.spans(range, |index, mask| {
            let held = self.words[index].load(Ordering::Acquire) & mask;
            found = (held != 0).then(|| self.address(index, held));
            found.is_some()
        });
        found
    }

    /// Says that pools are exhausted and somebody needs an address: a worker that has an expired lease gives one up.
    pub fn ask_for_one(&self, pools: PoolSet) {
        self.wanted.fetch_or(pools.bits(), Ordering::Relaxed);
    }

    /// In which pools somebody needs an address; whoever takes them has taken it upon itself to give one up in one of them.
    pub fn take_wanted(&self) -> PoolSet {
        // Nearly always there is nothing: then nothing is written.
        let wanted = self.wanted.load(Ordering::Relaxed) != 0;
        PoolSet::from_bits(if wanted { self.wanted.swap(0, Ordering::Relaxed) } else { 0 })
    }

    fn claim_between(
        &self,
        pools: impl Iterator<Item = AddressRange>,
        from: u64,
        to: u64,
        kept: impl Fn(usize) -> u64,
    ) -> Option<Ipv4Addr> {
        let mut before = 0;
        let mut claimed = None;
        for pool in pools {
            let (first, end) = (from.max(before), to.min(before + pool.size()));
            if first < end {
                let at = |offset: u64| (u64::from(u32::from(pool.first())) + offset - before) as u32;
                let range = AddressRange::new(at(first).into(), at(end - 1).into())?;
                self.spans(range, |index, mask| {
                    claimed = self.claim_in_word(index, mask & !kept(index));
                    claimed.is_some()
                });
                if claimed.is_some() {
                    break;
                }
            }
            before += pool.size();
        }
        claimed
    }

    fn claim_in_word(&self, index: usize, mask: u64) -> Option<Ipv4Addr> {
        let word = &self.words[index];
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let free = !seen & mask;
            if free == 0 {
                return None;
            }
            let bit = free & free.wrapping_neg();
            match word.compare_exchange_weak(seen, seen | bit, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(self.address(index, bit)),
                Err(now) => seen = now,
            }
        }
    }

    /// Calls `visit` with each word that `range` touches and the mask of its bits in there, until it says `true`.
    fn spans(&self, range: AddressRange, mut visit: impl FnMut(usize, u64) -> bool) {
        let Some(from) = u32::from(range.first()).checked_sub(self.first).map(u64::from) else { return };
        let to = u64::from(u32::from(range.last()) - self.first).min(self.size - 1);
        let mut at = from;
        while at <= to {
            let word_end = (at | 63).min(to);
            let mask = (u64::MAX >> (63 - (word_end - at))) << (at & 63);
            if visit((at / 64) as usize, mask) {
                return;
            }
            at = word_end + 1;
        }
    }

    fn address(&self, index: usize, bits: u64) -> Ipv4Addr {
        Ipv4Addr::from(self.first + index as u32 * 64 + bits.trailing_zeros())
    }

    fn place(&self, address: Ipv4Addr) -> Option<(&AtomicU64, u64)> {
        let offset = u64::from(u32::from(address).checked_sub(self.first)?);
        (offset < self.size).then(|| (&self.words[(offset / 64) as usize], 1 << (offset & 63)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

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
}
