//! [`Subnet`] and [`AddressRange`]: IPv4 networks and inclusive ranges inside them.
//!
//! IPv6 will have types of its own; nothing here pretends to be both.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// An IPv4 network, written `10.77.1.0/24`. Host bits are always zero.
pub type Subnet = ipnet::Ipv4Net;

/// An inclusive range of IPv4 addresses; `first` is never above `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AddressRange {
    first: Ipv4Addr,
    last: Ipv4Addr,
}

impl AddressRange {
    /// The range from `first` to `last`, both included; `None` where `first` is above `last`.
    pub fn new(first: Ipv4Addr, last: Ipv4Addr) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The lowest address.
    pub const fn first(self) -> Ipv4Addr {
        self.first
    }

    /// The highest address.
    pub const fn last(self) -> Ipv4Addr {
        self.last
    }

    /// How many addresses the range holds: 1 to 2³².
    pub fn size(self) -> u64 {
        u64::from(u32::from(self.last)) - u64::from(u32::from(self.first)) + 1
    }

    /// Whether `address` lies in the range.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        self.first <= address && address <= self.last
    }

    /// Whether the two ranges share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}
