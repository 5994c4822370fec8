//! [`Arena`]: memory that datagrams are received into, many with one system call (recvmmsg(2)). Fixed in size; nothing is allocated after it was made.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};

/// Datagrams of one [`Arena::receive`].
pub struct Arena {
    octets: Box<[u8]>,
    slot_bytes: usize,
    headers: Box<[libc::mmsghdr]>,
    parts: Box<[libc::iovec]>,
    /// Room for the addresses of both families.
    senders: Box<[libc::sockaddr_in6]>,
}

// SAFETY: the pointers in the headers and parts are set by each receive before the kernel sees them, to memory that the arena owns.
unsafe impl Send for Arena {}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arena").field("slots", &self.headers.len()).finish_non_exhaustive()
    }
}

impl Arena {
    /// An arena of `slots` datagrams of at most `slot_bytes` octets each (a longer one is cut).
    pub fn new(slots: usize, slot_bytes: usize) -> Self {
        // SAFETY: these are plain C structures of integers and pointers, for which all zeros are valid values.
        let (header, part, sender): (libc::mmsghdr, libc::iovec, libc::sockaddr_in6) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed(), std::mem::zeroed()) };
        Self {
            octets: vec![0; slots * slot_bytes].into(),
            slot_bytes,
            headers: vec![header; slots].into(),
            parts: vec![part; slots].into(),
            senders: vec![sender; slots].into(),
        }
    }

    /// Reads what waits at the socket, in place of what was here; says how many datagrams. Never blocks.
    ///
    /// # Errors
    /// As the system's; `WouldBlock` is not an error but 0.
    pub fn receive(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        for (slot, room) in self.octets.chunks_exact_mut(self.slot_bytes).enumerate() {
            self.parts[slot] = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
            let header = &mut self.headers[slot].msg_hdr;
            header.msg_name = (&raw mut self.senders[slot]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            header.msg_iov = &raw mut self.parts[slot];
            header.msg_iovlen = 1;
        }
        // SAFETY: each header points to its own name, part and slot, all of which this arena owns and nobody else uses meanwhile, with their true
        // lengths; the count is that of the headers.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        match usize::try_from(received) {
            Ok(received) => Ok(received),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                error => Err(error),
            },
        }
    }

    /// The datagram at `index`, below what the last receive said, and who sent it.
    pub fn datagram(&self, index: usize) -> (&[u8], SocketAddr) {
        let len = (self.headers[index].msg_len as usize).min(self.slot_bytes);
        let sender = &self.senders[index];
        let port = u16::from_be(sender.sin6_port);
        let from = if i32::from(sender.sin6_family) == libc::AF_INET6 {
            let address = Ipv6Addr::from(sender.sin6_addr.s6_addr);
            SocketAddrV6::new(address, port, sender.sin6_flowinfo, sender.sin6_scope_id).into()
        } else {
            // SAFETY: the structure is as aligned as a `sockaddr_in`, and larger; family and port lie at the same places.
            let sender = unsafe { &*(&raw const *sender).cast::<libc::sockaddr_in>() };
            SocketAddrV4::new(Ipv4Addr::from(u32::from_be(sender.sin_addr.s_addr)), port).into()
        };
        (&self.octets[index * self.slot_bytes..][..len], from)
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn says_who_sent_what_in_both_families_and_cuts_what_is_long() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let (receiver, sender) = (UdpSocket::bind(any).unwrap(), UdpSocket::bind(any).unwrap());
            let mut arena = Arena::new(3, 8);
            assert_eq!(arena.receive(&receiver).unwrap(), 0);
            for octets in [&b"one"[..], b"", b"too long for it", b"four"] {
                sender.send_to(octets, receiver.local_addr().unwrap()).unwrap();
            }
            assert_eq!(arena.receive(&receiver).unwrap(), 3, "as many as there is room for");
            let from = sender.local_addr().unwrap();
            for (index, octets) in [&b"one"[..], b"", b"too long"].into_iter().enumerate() {
                assert_eq!(arena.datagram(index), (octets, from));
            }
            assert_eq!(arena.receive(&receiver).unwrap(), 1);
            assert_eq!(arena.datagram(0), (&b"four"[..], from));
        }
    }
}
