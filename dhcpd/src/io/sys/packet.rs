//! The address of a packet socket (packet(7)), which no crate handles safely.

use std::io;

use reveille_config::MacAddr;
use socket2::{SockAddr, SockAddrStorage, Socket};

const AF_PACKET: u16 = 17;

/// `struct sockaddr_ll` of <linux/if_packet.h>.
#[repr(C)]
struct SockaddrLl {
    family: u16,
    protocol: u16,
    ifindex: i32,
    hatype: u16,
    pkttype: u8,
    halen: u8,
    addr: [u8; 8],
}

/// Packets of every protocol (`ETH_P_ALL` of <linux/if_ether.h>).
pub const EVERY_PROTOCOL: u16 = 3;

/// The address of the interface with this index, for sending complete frames.
pub fn interface_address(index: u32) -> SockAddr {
    listening_address(index, 0)
}

/// The address of the interface with this index, for hearing packets of one EtherType or of [`EVERY_PROTOCOL`].
pub fn listening_address(index: u32, protocol: u16) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `SockaddrLl` has the layout of the kernel's `sockaddr_ll`, holds only integers, and is smaller than the storage, which
    // `view_as` checks.
    let address = unsafe { storage.view_as::<SockaddrLl>() };
    *address = SockaddrLl {
        family: AF_PACKET,
        protocol: protocol.to_be(),
        // The kernel's indices are positive `int`s.
        ifindex: index as i32,
        hatype: 0,
        pkttype: 0,
        halen: 0,
        addr: [0; 8],
    };
    // SAFETY: the storage holds an initialised address of family AF_PACKET, and the length is its own.
    unsafe { SockAddr::new(storage, size_of::<SockaddrLl>() as u32) }
}

/// The hardware address of the interface that a packet socket is bound to.
///
/// # Errors
/// As the system's; also where the interface is no Ethernet.
pub fn hardware_address(bound: &Socket) -> io::Result<MacAddr> {
    let mut storage = bound.local_addr()?.as_storage();
    // SAFETY: `SockaddrLl` is smaller than the storage, holds only integers, and any octets are valid for them.
    let address = unsafe { storage.view_as::<SockaddrLl>() };
    match (address.family, address.halen, address.addr) {
        (AF_PACKET, 6, [a, b, c, d, e, f, ..]) => Ok(MacAddr([a, b, c, d, e, f])),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "the interface has no Ethernet address")),
    }
}
