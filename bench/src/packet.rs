//! A client's and a relay's messages (RFC 2131 §2 and table 5, RFC 2132), made and read without allocation.
//!
//! Written apart from dhcpd's own parser on purpose: the load must not share the server's mistakes.

use std::net::Ipv4Addr;

use reveille_config::MacAddr;

/// Octets of every message that the load sends: the BOOTP minimum of 300.
pub const LENGTH: usize = 300;
const OPTIONS: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// Option 53's values.
pub const DISCOVER: u8 = 1;
pub const OFFER: u8 = 2;
pub const REQUEST: u8 = 3;
pub const DECLINE: u8 = 4;
pub const ACK: u8 = 5;
pub const NAK: u8 = 6;
pub const RELEASE: u8 = 7;

/// What the load needs to know of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    pub kind: u8,
    pub xid: u32,
    pub chaddr: MacAddr,
    pub yiaddr: Ipv4Addr,
    pub server: Ipv4Addr,
}

/// What a client says. An address that is not said is 0.0.0.0.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    pub kind: u8,
    pub xid: u32,
    pub chaddr: MacAddr,
    /// The client's own address: renewals and releases.
    pub ciaddr: Ipv4Addr,
    /// Option 50: the address asked for, or declined.
    pub requested: Ipv4Addr,
    /// Option 54: the server that is meant.
    pub server: Ipv4Addr,
}

/// Writes a client's message, relayed by `giaddr`; with none, it asks for replies by broadcast as long as it has no address.
pub fn write(octets: &mut [u8], message: &Message, giaddr: Ipv4Addr) {
    octets.fill(0);
    octets[..3].copy_from_slice(&[1, 1, 6]);
    octets[3] = u8::from(!giaddr.is_unspecified());
    octets[4..8].copy_from_slice(&message.xid.to_be_bytes());
    if giaddr.is_unspecified() && message.ciaddr.is_unspecified() {
        octets[10] = 0x80;
    }
    octets[12..16].copy_from_slice(&message.ciaddr.octets());
    octets[24..28].copy_from_slice(&giaddr.octets());
    octets[28..34].copy_from_slice(&message.chaddr.octets());
    octets[236..240].copy_from_slice(&COOKIE);
    let mut at = OPTIONS;
    let mut put = |option: &[u8]| {
        octets[at..at + option.len()].copy_from_slice(option);
        at += option.len();
    };
    put(&[53, 1, message.kind]);
    for (code, address) in [(50, message.requested), (54, message.server)] {
        if !address.is_unspecified() {
            put(&[code, 4]);
            put(&address.octets());
        }
    }
    // A server is asked for nothing in messages that it does not answer.
    if matches!(message.kind, DISCOVER | REQUEST) {
        put(&[55, 4, 1, 3, 6, 51]);
    }
    put(&[255]);
}

/// Reads a reply; `None` for anything that is not a well-formed OFFER, ACK or NAK.
pub fn read(message: &[u8]) -> Option<Reply> {
    if message.len() < OPTIONS || message[0] != 2 || message[236..240] != COOKIE {
        return None;
    }
    let four = |at: usize| <[u8; 4]>::try_from(&message[at..at + 4]).expect("four octets");
    let mut reply = Reply {
        kind: 0,
        xid: u32::from_be_bytes(four(4)),
        chaddr: MacAddr(message[28..34].try_into().expect("six octets")),
        yiaddr: four(16).into(),
        server: Ipv4Addr::UNSPECIFIED,
    };
    let mut options = &message[OPTIONS..];
    while let [code, rest @ ..] = options {
        match (code, rest) {
            (0, _) => options = rest,
            (255, _) => break,
            (_, [length, rest @ ..]) if rest.len() >= usize::from(*length) => {
                let (value, rest) = rest.split_at(usize::from(*length));
                match (code, value) {
                    (53, [kind]) => reply.kind = *kind,
                    (54, &[a, b, c, d]) => reply.server = [a, b, c, d].into(),
                    _ => {}
                }
                options = rest;
            }
            _ => return None,
        }
    }
    (reply.kind != 0).then_some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_server_would_make_of_what_it_writes() {
        let mut octets = [0; LENGTH];
        let (chaddr, server) = (MacAddr([2, 0, 0, 0, 0, 7]), Ipv4Addr::new(10, 64, 0, 1));
        let none = Ipv4Addr::UNSPECIFIED;
        let requested = Ipv4Addr::new(10, 64, 1, 1);
        let message = Message { kind: REQUEST, xid: 7, chaddr, ciaddr: none, requested, server };
        write(&mut octets, &message, Ipv4Addr::new(10, 64, 0, 2));
        assert_eq!(read(&octets), None, "a request is no reply");
        octets[0] = 2;
        assert_eq!(read(&octets), Some(Reply { kind: REQUEST, xid: 7, chaddr, yiaddr: none, server }));
        for length in 0..LENGTH {
            // Whatever is cut off: no panic.
            let _ = read(&octets[..length]);
        }
    }

    #[test]
    fn a_direct_client_without_an_address_asks_for_broadcast() {
        let mut octets = [0; LENGTH];
        let none = Ipv4Addr::UNSPECIFIED;
        for (ciaddr, giaddr, flags) in
            [(none, none, 0x80), (Ipv4Addr::new(10, 65, 0, 1), none, 0), (none, Ipv4Addr::new(10, 64, 0, 2), 0)]
        {
            let chaddr = MacAddr([2, 0, 0, 0, 0, 7]);
            let message = Message { kind: DISCOVER, xid: 7, chaddr, ciaddr, requested: none, server: none };
            write(&mut octets, &message, giaddr);
            assert_eq!(octets[10], flags, "ciaddr {ciaddr}, giaddr {giaddr}");
        }
    }
}
