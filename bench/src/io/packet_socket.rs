//! Clients without an address: Ethernet frames to and from an interface (packet(7)), and an answer to whoever asks by ARP for a client
//! that has one, as its own kernel would give (RFC 826).

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::Context;
use reveille_config::MacAddr;
use socket2::{Domain, SockFilter, Socket, Type};

use super::sys;
use crate::packet::LENGTH;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
/// Ethernet, IPv4 without options, UDP.
pub const HEADERS: usize = 14 + 20 + 8;
/// Octets of every frame that is sent.
pub const FRAME: usize = HEADERS + LENGTH;

/// The sockets of the direct clients.
pub struct PacketSocket {
    frames: Socket,
    arp: Socket,
}

impl PacketSocket {
    /// Opens them on an interface.
    ///
    /// # Errors
    /// There is no such interface, or this is not root.
    pub fn open(interface: &str) -> anyhow::Result<Self> {
        let open = |ethertype: u16| -> anyhow::Result<Socket> {
            // Protocol 0: nothing is received before the filter and the interface are set.
            let socket =
                Socket::new(Domain::PACKET, Type::RAW.cloexec(), None).context("cannot open a packet socket")?;
            if ethertype == ETHERTYPE_IPV4 {
                socket.attach_filter(&to_dhcp_clients()).context("cannot filter")?;
            }
            sys::ignore_outgoing(&socket)?;
            let index = rustix::net::netdevice::name_to_index(&socket, interface)
                .with_context(|| format!("no interface {interface}"))?;
            socket.bind(&sys::interface_address(index, ethertype)).context("cannot bind to the interface")?;
            Ok(socket)
        };
        let (frames, arp) = (open(ETHERTYPE_IPV4)?, open(ETHERTYPE_ARP)?);
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&frames, 64 << 20)?;
        arp.set_nonblocking(true)?;
        Ok(Self { frames, arp })
    }

    /// Answers the ARP requests that have come in for addresses that are `bound`.
    ///
    /// # Errors
    /// As the system's.
    pub fn answer_arp(&self, bound: impl Fn(Ipv4Addr) -> Option<MacAddr>) -> anyhow::Result<()> {
        let mut frame = [0_u8; 64];
        while let Ok(length) = rustix::io::read(&self.arp, &mut frame) {
            // An ARP request for IPv4 over Ethernet; a probe (its sender has no address) is no question about a neighbour.
            if length < 42 || frame[14..22] != [0, 1, 8, 0, 6, 4, 0, 1] || frame[28..32] == [0; 4] {
                continue;
            }
            let asked = Ipv4Addr::from(<[u8; 4]>::try_from(&frame[38..42])?);
            let Some(mac) = bound(asked) else { continue };
            let (asker, asker_address) = (<[u8; 6]>::try_from(&frame[22..28])?, <[u8; 4]>::try_from(&frame[28..32])?);
            frame[..6].copy_from_slice(&asker);
            frame[6..12].copy_from_slice(&mac.octets());
            frame[21] = 2;
            frame[22..28].copy_from_slice(&mac.octets());
            frame[28..32].copy_from_slice(&asked.octets());
            frame[32..38].copy_from_slice(&asker);
            frame[38..42].copy_from_slice(&asker_address);
            rustix::io::write(&self.arp, &frame[..42]).context("cannot answer ARP")?;
        }
        Ok(())
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.frames.as_fd()
    }
}

/// Only unfragmented UDP over IPv4 without options to port 68 (classic BPF; offset 0 is the Ethernet header).
fn to_dhcp_clients() -> [SockFilter; 6] {
    const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const LOAD_HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, 23),
        SockFilter::new(EQUAL, 0, 3, 17),
        SockFilter::new(LOAD_HALF, 0, 0, 36),
        SockFilter::new(EQUAL, 0, 1, 68),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// Writes the headers of a client's frame: broadcast from no address, or from `ciaddr` to the server when it has one.
/// The UDP checksum is left out, as IPv4 allows (RFC 768).
pub fn write_headers(frame: &mut [u8], client: MacAddr, ciaddr: Ipv4Addr, server: (MacAddr, Ipv4Addr)) {
    let (to, address) = if ciaddr.is_unspecified() { (MacAddr([0xff; 6]), Ipv4Addr::BROADCAST) } else { server };
    frame[..6].copy_from_slice(&to.octets());
    frame[6..12].copy_from_slice(&client.octets());
    frame[12..14].copy_from_slice(&ETHERTYPE_IPV4.to_be_bytes());
    let ip = &mut frame[14..34];
    ip.copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    ip[2..4].copy_from_slice(&((LENGTH + 28) as u16).to_be_bytes());
    ip[12..16].copy_from_slice(&ciaddr.octets());
    ip[16..20].copy_from_slice(&address.octets());
    let sum: u32 = ip.chunks_exact(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    ip[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    let udp = &mut frame[34..42];
    udp[..4].copy_from_slice(&[0, 68, 0, 67]);
    udp[4..6].copy_from_slice(&((LENGTH + 8) as u16).to_be_bytes());
    udp[6..8].copy_from_slice(&[0, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_checksum_is_right() {
        let mut frame = [0xaa; FRAME];
        let server = (MacAddr([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(10, 64, 0, 1));
        for ciaddr in [Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(10, 65, 255, 254)] {
            write_headers(&mut frame, MacAddr([2, 0, 0, 0, 0, 2]), ciaddr, server);
            let sum: u32 = frame[14..34].chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "RFC 1071: the sum over a right header is all ones");
            assert_eq!(frame[16..18], [1, 72], "328 octets of IPv4");
        }
    }
}
