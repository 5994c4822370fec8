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
        self.count_with(range, None)
    }

    /// How many addresses of `range` somebody holds here or in `other`, which is of the same subnet.
    pub fn count_with(&self, range: AddressRange, other: Option<&Self>) -> u64 {
        let mut held = 0;
        self.spans(range, |index, mask| {
            let there = other.map_or(0, |other| other.words[index].load(Ordering::Relaxed));
            held += u64::from(((self.words[index].load(Ordering::Relaxed) | there) & mask).count_ones());
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
