//! Which addresses of a scope may be handed out at all: [`PoolSet`] picks among its pools, [`AddressMask`] keeps single addresses out of them.

use std::net::Ipv4Addr;

use reveille_config::{AddressRange, Subnet};

/// Some of the pools of a scope, by their place in it; a scope has at most 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolSet(u64);

impl PoolSet {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self(u64::MAX);

    /// Those whose places are given; places from 64 on are none.
    pub fn of(places: impl IntoIterator<Item = usize>) -> Self {
        Self(places.into_iter().filter(|&place| place < 64).fold(0, |bits, place| bits | 1 << place))
    }

    /// The set of these bits, the first pool's lowest.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// One bit for each pool, the first pool's lowest.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether the pool at `place` is among them.
    pub const fn contains(self, place: usize) -> bool {
        place < 64 && self.0 >> place & 1 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// A set of addresses of one subnet, one bit each: those excluded and those reserved for somebody. Takes no memory while it is empty.
#[derive(Debug, Clone, Default)]
pub struct AddressMask {
    first: u32,
    words: Box<[u64]>,
}

impl AddressMask {
    /// The addresses of `subnet` that lie in one of `ranges`.
    pub fn new(subnet: Subnet, ranges: impl IntoIterator<Item = AddressRange>) -> Self {
        let (first, last) = (u32::from(subnet.network()), u32::from(subnet.broadcast()));
        let mut mask = Self { first, words: Box::default() };
        for range in ranges {
            let (from, to) = (u32::from(range.first()).max(first), u32::from(range.last()).min(last));
            if from > to {
                continue;
            }
            if mask.words.is_empty() {
                mask.words = vec![0; (u64::from(last - first) / 64 + 1) as usize].into();
            }
            (from..=to).for_each(|address| {
                let offset = address - first;
                mask.words[(offset / 64) as usize] |= 1 << (offset % 64);
            });
        }
        mask
    }

    /// Whether `address` is in the set.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        let Some(offset) = u32::from(address).checked_sub(self.first) else { return false };
        self.word((offset / 64) as usize) >> (offset % 64) & 1 != 0
    }

    /// The bits of 64 addresses, from the subnet's first plus `64 × index` on, the first one's lowest.
    pub fn word(&self, index: usize) -> u64 {
        self.words.get(index).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: &str, last: &str) -> AddressRange {
        AddressRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_mask_holds_what_was_given_and_nothing_else() {
        let subnet = "10.0.0.0/23".parse().unwrap();
        let mask = AddressMask::new(
            subnet,
            [range("9.255.255.250", "10.0.0.0"), range("10.0.0.60", "10.0.0.70"), range("10.0.1.255", "10.0.3.0")],
        );
        for (address, expected) in [
            ("9.255.255.255", false),
            ("10.0.0.0", true),
            ("10.0.0.1", false),
            ("10.0.0.59", false),
            ("10.0.0.60", true),
            ("10.0.0.63", true),
            ("10.0.0.64", true),
            ("10.0.0.70", true),
            ("10.0.0.71", false),
            ("10.0.1.255", true),
            ("10.0.2.0", false),
        ] {
            assert_eq!(mask.contains(address.parse().unwrap()), expected, "{address}");
        }
        assert!(AddressMask::new(subnet, []).words.is_empty());
    }

    #[test]
    fn a_set_of_pools_is_what_was_put_in() {
        let set = PoolSet::of([0, 3, 63, 64]);
        let places: Vec<_> = (0..70).filter(|&place| set.contains(place)).collect();
        assert_eq!(places, [0, 3, 63]);
        assert!(PoolSet::NONE.is_empty() && !set.is_empty());
    }
}
