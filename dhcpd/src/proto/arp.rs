//! [`probe`], [`request`], [`Arp::read`]: ARP for IPv4 over Ethernet (RFC 826), as far as asking "who has this address?" needs it (RFC 5227).
//!
//! A probe names no sender address (RFC 5227 §2.1.1), so that nobody's cache learns anything from it, whatever the answer.

use std::net::Ipv4Addr;

use reveille_config::MacAddr;

/// Octets of an Ethernet frame with an ARP message, without padding: the kernel or the card pads.
pub const FRAME_BYTES: usize = 42;
/// EtherType of ARP.
pub const ETHERTYPE: u16 = 0x0806;

/// Ethernet, IPv4, lengths 6 and 4.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// An ARP message for IPv4 over Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// Whether it is a reply (operation 2), not a request (1).
    pub reply: bool,
    /// Who speaks.
    pub sender: MacAddr,
    /// The address it says it has; 0.0.0.0 in a probe.
    pub sender_address: Ipv4Addr,
    /// The address it is about.
    pub target_address: Ipv4Addr,
}

impl Arp {
    /// Reads an Ethernet frame; `None` where it is no ARP request or reply for IPv4, is cut short, or names a group as its sender.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let frame: &[u8; FRAME_BYTES] = frame.first_chunk()?;
        if frame[12..14] != ETHERTYPE.to_be_bytes() || frame[14..20] != KIND {
            return None;
        }
        let reply = match frame[20..22] {
            [0, 1] => false,
            [0, 2] => true,
            _ => return None,
        };
        let address = |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
        let sender = MacAddr(*frame[22..].first_chunk()?);
        let single = sender.0[0] & 1 == 0 && sender != MacAddr::default();
        single.then_some(Self { reply, sender, sender_address: address(28), target_address: address(38) })
    }

    /// The address of which this message shows that `sender` uses it: of a request or a reply alike, but not of a probe (RFC 5227 §2.1.1).
    pub fn claims(&self) -> Option<Ipv4Addr> {
        (!self.sender_address.is_unspecified()).then_some(self.sender_address)
    }
}

/// A broadcast probe: "does anybody use `target`?" (RFC 5227 §2.1.1).
pub fn probe(from: MacAddr, target: Ipv4Addr) -> [u8; FRAME_BYTES] {
    request(from, Ipv4Addr::UNSPECIFIED, target)
}

/// A broadcast request of a host that has `own`.
pub fn request(from: MacAddr, own: Ipv4Addr, target: Ipv4Addr) -> [u8; FRAME_BYTES] {
    let mut frame = [0; FRAME_BYTES];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&from.octets());
    frame[12..14].copy_from_slice(&ETHERTYPE.to_be_bytes());
    frame[14..20].copy_from_slice(&KIND);
    frame[21] = 1;
    frame[22..28].copy_from_slice(&from.octets());
    frame[28..32].copy_from_slice(&own.octets());
    // The target's hardware address stays zero: it is what is asked for.
    frame[38..42].copy_from_slice(&target.octets());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const TARGET: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 100);

    #[test]
    fn golden_probe() {
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, // Ethernet
            0, 1, 8, 0, 6, 4, 0, 1, // request
            2, 0, 0, 0, 0, 1, 0, 0, 0, 0, // sender, without an address
            0, 0, 0, 0, 0, 0, 10, 77, 2, 100, // target
        ];
        assert_eq!(probe(OWN, TARGET), expected);
    }

    #[test]
    fn only_what_names_a_sender_shows_that_an_address_is_used() {
        let mut reply = request(OWN, TARGET, Ipv4Addr::new(10, 77, 2, 1));
        reply[21] = 2;
        let mut group = reply;
        group[22] = 3;
        let mut other_operation = reply;
        other_operation[21] = 8;
        let mut other_hardware = reply;
        other_hardware[15] = 6;
        for (what, frame, expected) in [
            ("a reply", &reply[..], Some(Some(TARGET))),
            ("padded to the least Ethernet frame", &[&reply[..], &[0; 18]].concat(), Some(Some(TARGET))),
            ("a gratuitous request", &request(OWN, TARGET, TARGET), Some(Some(TARGET))),
            ("a probe", &probe(OWN, TARGET), Some(None)),
            ("cut short", &reply[..41], None),
            ("nothing", &[], None),
            ("a group as its sender", &group, None),
            ("an inverse operation", &other_operation, None),
            ("other hardware", &other_hardware, None),
        ] {
            assert_eq!(Arp::read(frame).map(|arp| arp.claims()), expected, "{what}");
        }
    }
}
