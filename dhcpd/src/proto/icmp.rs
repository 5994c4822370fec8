//! [`echo_request`], [`read_echo_reply`]: "is somebody there?" beyond the link (RFC 792; RFC 2131 §3.1 step 2 and §4.3.1 name it for servers).

use std::net::Ipv4Addr;

use super::frame::checksum;

/// Octets of an echo request: the header and the address asked for, which tells the replies apart.
pub const REQUEST_BYTES: usize = 12;

/// An echo request for `target`. The address is its payload too: an answer that does not carry it back is somebody else's.
pub fn echo_request(identifier: u16, target: Ipv4Addr) -> [u8; REQUEST_BYTES] {
    let mut message = [0; REQUEST_BYTES];
    message[0] = 8;
    message[4..6].copy_from_slice(&identifier.to_be_bytes());
    message[8..].copy_from_slice(&target.octets());
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// Reads an IPv4 packet; the address that answered, where it is an echo reply to one of our requests.
pub fn read_echo_reply(packet: &[u8], identifier: u16) -> Option<Ipv4Addr> {
    let header: &[u8; 20] = packet.first_chunk()?;
    let words = usize::from(header[0] & 15);
    if header[0] >> 4 != 4 || words < 5 || header[9] != 1 {
        return None;
    }
    let message: &[u8; REQUEST_BYTES] = packet.get(words * 4..)?.first_chunk()?;
    let source = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
    let ours = message[..2] == [0, 0] && message[4..6] == identifier.to_be_bytes() && message[8..] == source.octets();
    ours.then_some(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    #[test]
    fn golden_request() {
        assert_eq!(echo_request(0x1234, TARGET), [8, 0, 0xdb, 0xc9, 0x12, 0x34, 0, 0, 10, 0, 0, 2]);
    }

    #[test]
    fn only_the_answer_to_our_own_question_counts() {
        let packet = |from: Ipv4Addr, words: u8, kind: u8, identifier: u16| {
            let mut packet = vec![0; usize::from(words) * 4];
            packet[0] = 0x40 | words;
            packet[9] = 1;
            packet[12..16].copy_from_slice(&from.octets());
            let mut message = echo_request(identifier, TARGET);
            message[0] = kind;
            packet.extend_from_slice(&message);
            packet
        };
        let other = Ipv4Addr::new(10, 0, 0, 3);
        for (what, packet, expected) in [
            ("the answer", packet(TARGET, 5, 0, 7), Some(TARGET)),
            ("with IP options", packet(TARGET, 6, 0, 7), Some(TARGET)),
            ("from another address", packet(other, 5, 0, 7), None),
            ("to another process", packet(TARGET, 5, 0, 8), None),
            ("a request", packet(TARGET, 5, 8, 7), None),
            ("unreachable", packet(TARGET, 5, 3, 7), None),
            ("cut short", packet(TARGET, 5, 0, 7)[..31].to_vec(), None),
            ("no header", vec![0x45; 19], None),
            ("an impossible header", packet(TARGET, 4, 0, 7), None),
        ] {
            assert_eq!(read_echo_reply(&packet, 7), expected, "{what}");
        }
    }
}
