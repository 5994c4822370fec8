//! [`header`]: the Ethernet, IPv4 and UDP headers of a frame round a reply, for a client that does not have its address yet and so cannot answer ARP
//! (RFC 2131 §4.1; RFC 791; RFC 768).

use std::net::Ipv4Addr;

use reveille_config::MacAddr;

/// Octets before the payload: 14 Ethernet, 20 IPv4, 8 UDP.
pub const HEADER_BYTES: usize = 42;

/// One end of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Hardware address.
    pub mac: MacAddr,
    /// IPv4 address.
    pub address: Ipv4Addr,
    /// UDP port.
    pub port: u16,
}

/// What comes before `payload`, which is at most 1,472 octets; both checksums are complete.
pub fn header(from: End, to: End, payload: &[u8]) -> [u8; HEADER_BYTES] {
    let udp_bytes = (8 + payload.len()) as u16;
    let mut out = [0; HEADER_BYTES];
    out[..6].copy_from_slice(&to.mac.octets());
    out[6..12].copy_from_slice(&from.mac.octets());
    out[12..14].copy_from_slice(&[0x08, 0x00]);
    // Version 4, five words, no ToS, total length, no identification, do not fragment, 64 hops, UDP, checksum to be filled in.
    let [total_high, total_low] = (20 + udp_bytes).to_be_bytes();
    out[14..26].copy_from_slice(&[0x45, 0, total_high, total_low, 0, 0, 0x40, 0, 64, 17, 0, 0]);
    out[26..30].copy_from_slice(&from.address.octets());
    out[30..34].copy_from_slice(&to.address.octets());
    let header_checksum = checksum(&out[14..34]);
    out[24..26].copy_from_slice(&header_checksum.to_be_bytes());
    for (at, value) in [(34, from.port), (36, to.port), (38, udp_bytes)] {
        out[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }
    // The pseudo header of RFC 768: both addresses (already in place), protocol, length.
    let pseudo = sum(&out[26..34]) + 17 + u32::from(udp_bytes);
    let checksum = match !fold(pseudo + sum(&out[34..]) + sum(payload)) {
        0 => 0xffff,
        checksum => checksum,
    };
    out[40..42].copy_from_slice(&checksum.to_be_bytes());
    out
}

/// The Internet checksum of at most 1,500 octets (RFC 1071).
pub(super) fn checksum(octets: &[u8]) -> u16 {
    !fold(sum(octets))
}

/// Sum of the 16-bit words, an odd octet at the end padded with zero. At most 1,500 octets, so 32 bits do.
fn sum(octets: &[u8]) -> u32 {
    let (words, rest) = octets.as_chunks::<2>();
    let words: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    words + rest.first().map_or(0, |&octet| u32::from(octet) << 8)
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_checksums_verify_for_odd_and_even_payloads() {
        let from = End { mac: MacAddr([2, 0, 0, 0, 0, 1]), address: Ipv4Addr::new(10, 77, 1, 1), port: 67 };
        let to = End { mac: MacAddr([2, 0, 0, 0, 0, 2]), address: Ipv4Addr::new(10, 77, 1, 100), port: 68 };
        for payload in [&[][..], &[1], &[0xff; 300], &[7; 1_471]] {
            let out = [&header(from, to, payload)[..], payload].concat();
            assert_eq!(fold(sum(&out[14..34])), 0xffff, "a correct IPv4 header sums to all ones");
            let pseudo = sum(&out[26..34]) + 17 + (8 + payload.len() as u32);
            assert_eq!(fold(pseudo + sum(&out[34..])), 0xffff, "and so does a correct UDP datagram");
        }
    }

    #[test]
    fn golden_octets() {
        let from = End { mac: MacAddr([2, 0, 0, 0, 0, 1]), address: Ipv4Addr::new(10, 0, 0, 1), port: 67 };
        let to = End { mac: MacAddr([2, 0, 0, 0, 0, 2]), address: Ipv4Addr::new(10, 0, 0, 2), port: 68 };
        let out = [&header(from, to, b"hi")[..], b"hi"].concat();
        let expected = [
            2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, // Ethernet
            0x45, 0, 0, 30, 0, 0, 0x40, 0, 64, 17, 0x26, 0xcd, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
            0, 67, 0, 68, 0, 10, 0x82, 0xe7, b'h', b'i', // UDP
        ];
        assert_eq!(out, expected);
    }
}
