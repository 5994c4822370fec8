//! [`ForeignServers`]: DHCP servers on our links that are not ours and that nobody has declared; [`Heard::read`]: what such a server says; [`probe`]: a DHCPDISCOVER
//! that has them speak.
//!
//! A server is known by the server identifier in clients' broadcast DHCPREQUESTs (RFC 2131 §4.3.2), or by its own replies. It is told of once in
//! [`REPORT_SECS`], when its hardware address is known or cannot be found out. The book is bounded: the server not seen for longest makes room.

use std::net::Ipv4Addr;

use reveille_config::MacAddr;
use reveille_config::limit::FOREIGN_SERVERS_MAX;

use super::frame::{End, header};
use super::time::UnixSecs;
use super::view::{FIXED_BYTES, MAGIC_COOKIE, code};

/// A server that is still there is told of again after so long.
pub const REPORT_SECS: u32 = 3_600;
/// So long it may take to find out the hardware address before the server is told of without it.
const MAC_WAIT_SECS: u32 = 2;
/// Option 60 of our own probe: our servers do not answer it.
pub const PROBE_VENDOR_CLASS: &[u8] = b"reveille-probe";

/// What a server was heard to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The server identifier, or the address it spoke from.
    pub server: Ipv4Addr,
    /// The hardware address of the frame.
    pub mac: MacAddr,
    /// `yiaddr`, where it gives one.
    pub offered: Option<Ipv4Addr>,
    /// The boot file that it names; empty where none.
    pub boot_file: Box<str>,
}

impl Heard {
    /// Reads an Ethernet frame from port 67; `None` where it holds no reply of a DHCP server.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let header: &[u8; 14] = frame.first_chunk()?;
        let ip = frame.get(14..)?;
        let words = usize::from(*ip.first()? & 15);
        let source = Ipv4Addr::from(*ip.get(12..16)?.first_chunk()?);
        let message = ip.get(words * 4 + 8..)?;
        if words < 5 || message.len() < FIXED_BYTES || message[0] != 2 || message[236..240] != MAGIC_COOKIE {
            return None;
        }
        let option = |wanted| option(&message[FIXED_BYTES..], wanted);
        // OFFER, ACK or NAK.
        option(code::MESSAGE_TYPE).filter(|kind| matches!(kind, [2 | 5 | 6]))?;
        let identifier = option(code::SERVER_ID).and_then(<[u8]>::first_chunk).map(|octets: &[u8; 4]| (*octets).into());
        let yiaddr = Ipv4Addr::from(*message[16..].first_chunk()?);
        let file = option(code::BOOT_FILE).unwrap_or(&message[108..236]);
        let end = file.iter().position(|&octet| octet == 0).unwrap_or(file.len());
        let boot_file: String = String::from_utf8_lossy(&file[..end]).chars().filter(|c| !c.is_control()).collect();
        Some(Self {
            server: identifier.unwrap_or(source),
            mac: MacAddr(*header[6..].first_chunk()?),
            offered: (!yiaddr.is_unspecified()).then_some(yiaddr),
            boot_file: boot_file.into(),
        })
    }
}

/// The first option with this code; stops at what is cut short.
fn option(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        match *options {
            [code::PAD, ref rest @ ..] => options = rest,
            [found, len, ref rest @ ..] if found != code::END => {
                let value = rest.get(..usize::from(len))?;
                if found == wanted {
                    return Some(value);
                }
                options = &rest[usize::from(len)..];
            }
            _ => return None,
        }
    }
}

/// Writes a frame with a DHCPDISCOVER that asks for broadcast replies; whatever is offered lapses, because nobody requests it.
pub fn probe(out: &mut Vec<u8>, mac: MacAddr, xid: u32) {
    let mut message = vec![0; FIXED_BYTES];
    message[..3].copy_from_slice(&[1, 1, 6]);
    message[4..8].copy_from_slice(&xid.to_be_bytes());
    message[10] = 0x80;
    message[28..34].copy_from_slice(&mac.octets());
    message[236..].copy_from_slice(&MAGIC_COOKIE);
    for (code, value) in [
        (code::MESSAGE_TYPE, &[1][..]),
        (code::VENDOR_CLASS, PROBE_VENDOR_CLASS),
        (code::PARAMETER_LIST, &[1, 3, 54, 66, 67]),
    ] {
        message.extend_from_slice(&[code, value.len() as u8]);
        message.extend_from_slice(value);
    }
    message.push(code::END);
    // BOOTP's minimum.
    message.resize(300, code::PAD);
    let from = End { mac, address: Ipv4Addr::UNSPECIFIED, port: 68 };
    let to = End { mac: MacAddr([0xff; 6]), address: Ipv4Addr::BROADCAST, port: 67 };
    out.clear();
    out.extend_from_slice(&header(from, to, &message));
    out.extend_from_slice(&message);
}

/// A server that is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignServer {
    /// On which link, by its place in the list of links.
    pub link: usize,
    /// Its server identifier.
    pub server: Ipv4Addr,
    /// Its hardware address, where it was heard or answered ARP.
    pub mac: Option<MacAddr>,
    /// The last address that it was heard to give.
    pub offered: Option<Ipv4Addr>,
    /// The last boot file that it named; empty where none.
    pub boot_file: Box<str>,
    /// When it was first noticed.
    pub first: UnixSecs,
    /// When it was last noticed.
    pub last: UnixSecs,
    /// How often.
    pub count: u64,
    reported: Option<UnixSecs>,
}

/// The book of them.
#[derive(Debug, Default)]
pub struct ForeignServers(Vec<ForeignServer>);

impl ForeignServers {
    /// A client asked `server` for an address.
    pub fn asked_for(&mut self, now: UnixSecs, link: usize, server: Ipv4Addr) {
        self.seen(now, link, server);
    }

    /// A server spoke.
    pub fn heard(&mut self, now: UnixSecs, link: usize, heard: Heard) {
        let known = self.seen(now, link, heard.server);
        known.mac = Some(heard.mac);
        if heard.offered.is_some() {
            known.offered = heard.offered;
        }
        if !heard.boot_file.is_empty() {
            known.boot_file = heard.boot_file;
        }
    }

    /// Somebody on a link answered ARP for `address`.
    pub fn resolved(&mut self, link: usize, address: Ipv4Addr, mac: MacAddr) {
        for known in self.0.iter_mut().filter(|known| known.link == link && known.server == address) {
            known.mac = Some(mac);
        }
    }

    /// The servers whose hardware address is to be found out.
    pub fn unresolved(&self) -> impl Iterator<Item = (usize, Ipv4Addr)> {
        self.0.iter().filter(|known| known.mac.is_none()).map(|known| (known.link, known.server))
    }

    /// The next server to tell of.
    pub fn poll_report(&mut self, now: UnixSecs) -> Option<ForeignServer> {
        let due = |known: &&mut ForeignServer| {
            let fresh = known.reported.is_none_or(|at| known.last.0 > at.0 && now.since(at) >= REPORT_SECS);
            fresh && (known.mac.is_some() || now.since(known.first) >= MAC_WAIT_SECS)
        };
        let known = self.0.iter_mut().find(due)?;
        known.reported = Some(now);
        Some(known.clone())
    }

    /// All, the one noticed last at the end.
    pub fn iter(&self) -> impl Iterator<Item = &ForeignServer> {
        self.0.iter()
    }

    fn seen(&mut self, now: UnixSecs, link: usize, server: Ipv4Addr) -> &mut ForeignServer {
        let mut known = match self.0.iter().position(|known| known.link == link && known.server == server) {
            Some(at) => self.0.remove(at),
            None => {
                if self.0.len() >= FOREIGN_SERVERS_MAX {
                    self.0.remove(0);
                }
                let (mac, offered, reported) = (None, None, None);
                ForeignServer {
                    link,
                    server,
                    mac,
                    offered,
                    boot_file: "".into(),
                    first: now,
                    last: now,
                    count: 0,
                    reported,
                }
            }
        };
        (known.last, known.count) = (now, known.count + 1);
        self.0.push(known);
        let last = self.0.len() - 1;
        &mut self.0[last]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::frame::HEADER_BYTES;
    use crate::proto::view::{MessageType, Parser};

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
    const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 66);
    const START: UnixSecs = UnixSecs(1_000);

    fn reply(kind: u8, identifier: Option<Ipv4Addr>, yiaddr: Ipv4Addr, file: &[u8]) -> Vec<u8> {
        let mut message = vec![0; FIXED_BYTES];
        message[0] = 2;
        message[16..20].copy_from_slice(&yiaddr.octets());
        message[108..108 + file.len()].copy_from_slice(file);
        message[236..].copy_from_slice(&MAGIC_COOKIE);
        message.extend_from_slice(&[0, 53, 1, kind]);
        if let Some(identifier) = identifier {
            message.extend_from_slice(&[54, 4]);
            message.extend_from_slice(&identifier.octets());
        }
        message.push(255);
        let from = End { mac: MAC, address: SERVER, port: 67 };
        let to = End { mac: MacAddr([0xff; 6]), address: Ipv4Addr::BROADCAST, port: 68 };
        [&header(from, to, &message)[..], &message].concat()
    }

    #[test]
    fn reads_what_a_server_says() {
        let offered = Ipv4Addr::new(10, 77, 2, 180);
        let other = Ipv4Addr::new(10, 77, 2, 67);
        let heard = |server, offered, file: &str| Some(Heard { server, mac: MAC, offered, boot_file: file.into() });
        let offer = reply(2, Some(other), offered, b"pxe\x1blinux.0");
        let mut request = offer.clone();
        request[HEADER_BYTES] = 1;
        for (what, frame, expected) in [
            ("an offer", offer.clone(), heard(other, Some(offered), "pxelinux.0")),
            ("no identifier", reply(5, None, offered, b""), heard(SERVER, Some(offered), "")),
            ("a proxy", reply(2, Some(SERVER), Ipv4Addr::UNSPECIFIED, b"x"), heard(SERVER, None, "x")),
            ("a client", request, None),
            ("no message of a server", reply(1, None, offered, b""), None),
            ("a cut option", offer[..HEADER_BYTES + FIXED_BYTES + 3].to_vec(), None),
            ("cut in the fixed fields", offer[..200].to_vec(), None),
            ("no more than headers", offer[..30].to_vec(), None),
            ("nothing", vec![], None),
        ] {
            assert_eq!(Heard::read(&frame), expected, "{what}");
        }
    }

    #[test]
    fn the_probe_is_a_discover_that_our_servers_know() {
        let mut out = Vec::new();
        probe(&mut out, MAC, 7);
        let mut parser = Parser::default();
        let packet = parser.parse(&out[HEADER_BYTES..]).unwrap();
        assert_eq!((packet.message_type, packet.chaddr(), packet.broadcast_flag()), (MessageType::Discover, MAC, true));
        assert_eq!(packet.option(code::VENDOR_CLASS), Some(PROBE_VENDOR_CLASS));
    }

    #[test]
    fn a_server_is_told_of_once_in_a_period_with_what_is_known() {
        let mut servers = ForeignServers::default();
        servers.asked_for(START, 1, SERVER);
        assert_eq!(servers.poll_report(START), None, "its hardware address is looked for first");
        assert_eq!(servers.unresolved().collect::<Vec<_>>(), [(1, SERVER)]);
        servers.resolved(0, SERVER, MacAddr([2; 6]));
        servers.resolved(1, SERVER, MAC);
        let told = servers.poll_report(START.plus(1)).unwrap();
        assert_eq!((told.mac, told.server, told.link, told.count), (Some(MAC), SERVER, 1, 1));
        servers.asked_for(START.plus(10), 1, SERVER);
        assert_eq!(servers.poll_report(START.plus(REPORT_SECS)), None);
        assert!(servers.poll_report(START.plus(REPORT_SECS + 1)).is_some(), "still there");
        assert_eq!(servers.poll_report(START.plus(3 * REPORT_SECS)), None, "not seen since");

        let mut silent = ForeignServers::default();
        silent.asked_for(START, 0, SERVER);
        assert_eq!(silent.poll_report(START.plus(2)).map(|told| told.mac), Some(None), "it does not answer ARP");
    }

    #[test]
    fn at_the_limit_the_one_not_seen_for_longest_makes_room() {
        let mut servers = ForeignServers::default();
        let server = |n: usize| Ipv4Addr::from(0x0a00_0000 + n as u32);
        (0..FOREIGN_SERVERS_MAX).for_each(|n| servers.asked_for(START, 0, server(n)));
        servers.asked_for(START, 0, server(0));
        servers.asked_for(START, 0, server(FOREIGN_SERVERS_MAX));
        assert_eq!(servers.iter().count(), FOREIGN_SERVERS_MAX);
        let known = |n| servers.iter().any(|known| known.server == server(n));
        assert!(known(0) && !known(1) && known(FOREIGN_SERVERS_MAX));
    }
}
