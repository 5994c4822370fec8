//! The four messages of a DORA as a relay sees them (RFC 2131 §2, RFC 2132), made and read without allocation.
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
pub const ACK: u8 = 5;

/// What the load needs to know of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    pub kind: u8,
    pub xid: u32,
    pub chaddr: MacAddr,
    pub yiaddr: Ipv4Addr,
    pub server: Ipv4Addr,
}

/// Writes a client's message, relayed by `giaddr`. For a REQUEST, `chosen` is the address and the server's identifier.
pub fn write(
    message: &mut [u8; LENGTH],
    kind: u8,
    xid: u32,
    chaddr: MacAddr,
    giaddr: Ipv4Addr,
    chosen: Option<(Ipv4Addr, Ipv4Addr)>,
) {
    message.fill(0);
    message[..4].copy_from_slice(&[1, 1, 6, 1]);
    message[4..8].copy_from_slice(&xid.to_be_bytes());
    message[24..28].copy_from_slice(&giaddr.octets());
    message[28..34].copy_from_slice(&chaddr.octets());
    message[236..240].copy_from_slice(&COOKIE);
    let mut at = OPTIONS;
    let mut put = |octets: &[u8]| {
        message[at..at + octets.len()].copy_from_slice(octets);
        at += octets.len();
    };
    put(&[53, 1, kind]);
    if let Some((address, server)) = chosen {
        put(&[50, 4]);
        put(&address.octets());
        put(&[54, 4]);
        put(&server.octets());
    }
    put(&[55, 4, 1, 3, 6, 51, 255]);
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
        let mut message = [0; LENGTH];
        let (mac, server) = (MacAddr([2, 0, 0, 0, 0, 7]), Ipv4Addr::new(10, 64, 0, 1));
        write(&mut message, REQUEST, 7, mac, Ipv4Addr::new(10, 64, 0, 2), Some((Ipv4Addr::new(10, 64, 1, 1), server)));
        assert_eq!(read(&message), None, "a request is no reply");
        message[0] = 2;
        assert_eq!(
            read(&message),
            Some(Reply { kind: REQUEST, xid: 7, chaddr: mac, yiaddr: Ipv4Addr::UNSPECIFIED, server })
        );
        for length in 0..LENGTH {
            let _ = read(&message[..length]);
        }
    }
}
