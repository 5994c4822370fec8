//! [`ByAddress`]: numbers by address, in pages of 256 neighbours, so that who walks through addresses in order reads memory in order. A hash table would have each step
//! of a listing wait for memory twice.
//!
//! Invariant: a page has at least one address; an address costs 4 octets where its neighbours have leases too, and 1 KiB where none has.

use std::collections::HashMap;
use std::net::Ipv4Addr;

/// What stands where there is nothing.
const NONE: u32 = u32::MAX;

/// Neighbours: all addresses with the same first three octets.
#[derive(Debug)]
struct Page {
    numbers: Box<[u32; 256]>,
    count: u16,
}

/// Numbers below `u32::MAX` by address.
#[derive(Debug, Default)]
pub(super) struct ByAddress(HashMap<u32, Page, foldhash::fast::RandomState>);

fn place(address: Ipv4Addr) -> (u32, usize) {
    (u32::from(address) >> 8, usize::from(address.octets()[3]))
}

impl ByAddress {
    /// The number of an address.
    pub(super) fn get(&self, address: Ipv4Addr) -> Option<u32> {
        let (page, at) = place(address);
        Some(self.0.get(&page)?.numbers[at]).filter(|number| *number != NONE)
    }

    /// Gives an address its number, in the place of a former one.
    pub(super) fn insert(&mut self, address: Ipv4Addr, number: u32) {
        let (page, at) = place(address);
        let page = self.0.entry(page).or_insert_with(|| Page { numbers: Box::new([NONE; 256]), count: 0 });
        if std::mem::replace(&mut page.numbers[at], number) == NONE {
            page.count += 1;
        }
    }

    /// Forgets the number of an address.
    pub(super) fn remove(&mut self, address: Ipv4Addr) {
        let (key, at) = place(address);
        let Some(page) = self.0.get_mut(&key) else { return };
        if std::mem::replace(&mut page.numbers[at], NONE) != NONE {
            page.count -= 1;
        }
        if page.count == 0 {
            self.0.remove(&key);
        }
    }

    /// All numbers, in no particular order.
    #[cfg(test)]
    fn numbers(&self) -> impl Iterator<Item = u32> {
        let numbers = self.0.values().flat_map(|page| page.numbers.iter());
        numbers.copied().filter(|number| *number != NONE)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_holds_what_a_plain_map_holds_and_no_empty_page() {
        let (mut own, mut plain) = (ByAddress::default(), BTreeMap::new());
        // A walk that comes by each of these addresses several times.
        for step in 0..4_000_u32 {
            let address = Ipv4Addr::from(0x0a00_00f0_u32 + step * 37 % 600);
            if step % 3 == 0 {
                own.remove(address);
                plain.remove(&address);
            } else {
                own.insert(address, step);
                plain.insert(address, step);
            }
            assert_eq!(own.get(address), plain.get(&address).copied(), "step {step}");
        }
        let mut numbers: Vec<u32> = own.numbers().collect();
        numbers.sort_unstable();
        let mut expected: Vec<u32> = plain.values().copied().collect();
        expected.sort_unstable();
        assert_eq!(numbers, expected);
        plain.keys().for_each(|address| own.remove(*address));
        assert!(own.0.is_empty());
        assert_eq!(own.get(Ipv4Addr::UNSPECIFIED), None);
    }
}
