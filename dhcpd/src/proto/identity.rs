//! [`Identity`]: what makes two messages come from the same client, as a small value that tables are keyed with.
//!
//! On a provisioning network it is the hardware address, which stays the same from ROM to operating system. Where the configuration says so it is the client
//! identifier (RFC 2131 §4.2, RFC 4361), of which only a keyed hash is kept here: 127 bits that nobody outside can aim at, however long the identifier is.
//! The key lives as long as the process, so a hash is never written to disk: records keep the octets.

use std::hash::Hasher;

use reveille_config::MacAddr;
use reveille_config::dhcpd::ReservedFor;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::circuit::Circuit;

/// Octets of a client identifier that count: as many as a lease's record keeps.
pub const CLIENT_ID_BYTES_MAX: usize = 255;

/// Set in the upper half of an [`Identity`] that is a hash.
const HASHED: u64 = 1 << 63;

/// By what the clients of a network are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IdentifiedBy {
    /// By `chaddr`.
    #[default]
    Mac,
    /// By option 61; by `chaddr` where a client sends none.
    ClientId,
}

/// The key of the hashes of one process.
#[derive(Clone, Copy, Default)]
pub struct IdentityKey([u64; 2]);

impl IdentityKey {
    /// A key of two numbers that nobody can guess.
    pub const fn new(secret: [u64; 2]) -> Self {
        Self(secret)
    }
}

impl std::fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdentityKey")
    }
}

/// A client: its hardware address, or the hash of its client identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    upper: u64,
    lower: u64,
}

impl Identity {
    /// The client with this hardware address.
    pub const fn of_mac(mac: MacAddr) -> Self {
        let [a, b, c, d, e, f] = mac.0;
        Self { upper: 0, lower: u64::from_be_bytes([0, 0, a, b, c, d, e, f]) }
    }

    /// The client with this client identifier, of which the first [`CLIENT_ID_BYTES_MAX`] octets count.
    pub fn of_client_id(key: IdentityKey, client_id: &[u8]) -> Self {
        let mut hasher = SipHasher13::new_with_keys(key.0[0], key.0[1]);
        //= https://www.rfc-editor.org/rfc/rfc2132#section-9.14
        //# Identifiers SHOULD be treated as opaque objects by DHCP servers.
        hasher.write(&client_id[..client_id.len().min(CLIENT_ID_BYTES_MAX)]);
        let hash = hasher.finish128();
        Self { upper: hash.h1 | HASHED, lower: hash.h2 }
    }

    /// Whoever is at this port, as what a reservation is for: no client has this identity.
    pub fn of_port(key: IdentityKey, port: Circuit<'_>) -> Self {
        let mut hasher = SipHasher13::new_with_keys(key.0[1], key.0[0]);
        hasher.write_usize(port.circuit_id.len());
        hasher.write(port.circuit_id);
        hasher.write(port.remote_id);
        let hash = hasher.finish128();
        Self { upper: hash.h1 | HASHED, lower: hash.h2 }
    }

    /// For whom a reservation is.
    pub fn of_reserved(key: IdentityKey, client: &ReservedFor) -> Self {
        match client {
            ReservedFor::Mac(mac) => Self::of_mac(*mac),
            ReservedFor::ClientId(id) => Self::of_client_id(key, id.as_slice()),
            ReservedFor::Circuit { circuit_id, remote_id } => {
                Self::of_port(key, Circuit { circuit_id: circuit_id.as_slice(), remote_id: remote_id.as_slice() })
            }
        }
    }

    /// The identity of a client that says this of itself; an empty `client_id` is none.
    pub fn of(by: IdentifiedBy, key: IdentityKey, mac: MacAddr, client_id: &[u8]) -> Self {
        match by {
            //= https://www.rfc-editor.org/rfc/rfc2131#section-4.2
            //# If the client supplies a 'client identifier', the client MUST use the same 'client identifier' in all subsequent messages, and the server MUST use that identifier to identify the client.
            //= https://www.rfc-editor.org/rfc/rfc4361#section-6.3
            //# DHCPv4 servers that conform to this specification MUST use the 'client identifier' option to identify the client if the client sends it.
            IdentifiedBy::ClientId if !client_id.is_empty() => Self::of_client_id(key, client_id),
            //= https://www.rfc-editor.org/rfc/rfc2131#section-4.2
            //# If the client does not provide a 'client identifier' option, the server MUST use the contents of the 'chaddr' field to identify the client.
            //= https://www.rfc-editor.org/rfc/rfc4361#section-6.4
            //# DHCPv4 servers MUST use 'chaddr' as an identifier in cases where 'client identifier' is not sent, in order to support old clients that do not conform with this document.
            IdentifiedBy::ClientId | IdentifiedBy::Mac => Self::of_mac(mac),
        }
    }

    /// The hardware address, where that is the identity.
    pub const fn mac(self) -> Option<MacAddr> {
        if self.upper & HASHED != 0 {
            return None;
        }
        let [_, _, a, b, c, d, e, f] = self.lower.to_be_bytes();
        Some(MacAddr([a, b, c, d, e, f]))
    }

    /// Its upper and its lower 64 bits: as good as random for a hash, nothing and the address itself for a MAC.
    pub const fn halves(self) -> (u64, u64) {
        (self.upper, self.lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: IdentityKey = IdentityKey::new([1, 2]);
    const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0xff, 1, 2]);

    #[test]
    fn a_hardware_address_comes_back_and_a_hash_is_none() {
        for mac in [MAC, MacAddr([0; 6]), MacAddr::BROADCAST] {
            assert_eq!(Identity::of_mac(mac).mac(), Some(mac));
        }
        for id in [&b"\x01\x52\x54\x00\xff\x01\x02"[..], b"", b"a"] {
            assert_eq!(Identity::of_client_id(KEY, id).mac(), None, "{id:?}");
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc2131#section-4.2
    //= type=test
    //# If the client supplies a 'client identifier', the client MUST use the same 'client identifier' in all subsequent messages, and the server MUST use that identifier to identify the client.
    //= https://www.rfc-editor.org/rfc/rfc2131#section-4.2
    //= type=test
    //# If the client does not provide a 'client identifier' option, the server MUST use the contents of the 'chaddr' field to identify the client.
    //= https://www.rfc-editor.org/rfc/rfc2132#section-9.14
    //= type=test
    //# Identifiers SHOULD be treated as opaque objects by DHCP servers.
    //= https://www.rfc-editor.org/rfc/rfc4361#section-6.3
    //= type=test
    //# DHCPv4 servers that conform to this specification MUST use the 'client identifier' option to identify the client if the client sends it.
    //= https://www.rfc-editor.org/rfc/rfc4361#section-6.4
    //= type=test
    //# DHCPv4 servers MUST use 'chaddr' as an identifier in cases where 'client identifier' is not sent, in order to support old clients that do not conform with this document.
    #[test]
    fn what_counts_is_what_the_network_goes_by() {
        let long = [7u8; CLIENT_ID_BYTES_MAX + 1];
        let of = |by, mac, id: &[u8]| Identity::of(by, KEY, mac, id);
        let (by_id, by_mac, other) = (IdentifiedBy::ClientId, IdentifiedBy::Mac, MacAddr([2; 6]));
        for (why, left, right, same) in [
            ("one MAC, two ids, by MAC", of(by_mac, MAC, b"rom"), of(by_mac, MAC, b"os"), true),
            ("one MAC, two ids, by id", of(by_id, MAC, b"rom"), of(by_id, MAC, b"os"), false),
            ("two MACs, one id, by id", of(by_id, MAC, b"rom"), of(by_id, other, b"rom"), true),
            ("two MACs, no id, by id", of(by_id, MAC, b""), of(by_id, other, b""), false),
            ("what the record does not keep", of(by_id, MAC, &long), of(by_id, MAC, &long[..255]), true),
            ("another key", of(by_id, MAC, b"x"), Identity::of_client_id(IdentityKey::new([1, 3]), b"x"), false),
        ] {
            assert_eq!(left == right, same, "{why}");
        }
    }
}
