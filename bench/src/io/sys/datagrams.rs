//! Many datagrams in one system call, with UDP segmentation offload (GSO, GRO): recvmmsg(2), sendmmsg(2), udp(7), packet(7).
//!
//! What it deliberately does not do: look into a datagram. Invariant of both boxes: the pointers in the headers point into vectors
//! of the same box that never change their capacity.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use socket2::SockAddr;

/// The most segments one GSO send may have: UDP_MAX_SEGMENTS of the kernel is 128, older ones 64.
pub const SEGMENTS_MAX: usize = 64;

/// Room for one `int` of ancillary data: what UDP_GRO gives.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 32]);

/// Datagrams as they come in.
pub struct Inbox {
    arena: Vec<u8>,
    stride: usize,
    headers: Vec<libc::mmsghdr>,
    outgoing: Vec<libc::mmsghdr>,
    // Only their addresses are used after the start.
    _vectors: Vec<libc::iovec>,
    _names: Vec<libc::sockaddr_in>,
    _controls: Vec<Control>,
    used: usize,
}

impl Inbox {
    /// Room for `messages` datagrams of at most `stride` octets each.
    pub fn new(messages: usize, stride: usize) -> Self {
        let mut arena = vec![0_u8; messages * stride];
        // SAFETY: all-zero is a value of this plain C structure.
        let mut names = vec![unsafe { std::mem::zeroed::<libc::sockaddr_in>() }; messages];
        let mut controls = vec![Control([0; 32]); messages];
        let mut vectors: Vec<libc::iovec> = arena
            .chunks_exact_mut(stride)
            .map(|room| libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: stride })
            .collect();
        let headers = (0..messages)
            .map(|at| {
                // SAFETY: all-zero is a value of this plain C structure.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                header.msg_hdr.msg_iov = &raw mut vectors[at];
                header.msg_hdr.msg_iovlen = 1;
                header.msg_hdr.msg_name = (&raw mut names[at]).cast();
                header.msg_hdr.msg_control = (&raw mut controls[at]).cast();
                header
            })
            .collect();
        let outgoing = Vec::with_capacity(messages);
        let mut inbox = Self {
            arena,
            stride,
            headers,
            outgoing,
            _vectors: vectors,
            _names: names,
            _controls: controls,
            used: messages,
        };
        inbox.reset();
        inbox
    }

    /// Makes the headers of the last call ready for the next.
    fn reset(&mut self) {
        for header in &mut self.headers[..self.used] {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            header.msg_hdr.msg_controllen = size_of::<Control>();
            // SAFETY: points to this header's element of `_vectors`, which nobody else uses now.
            unsafe { (*header.msg_hdr.msg_iov).iov_len = self.stride };
        }
        self.used = 0;
    }

    /// Takes in what is there, without waiting; says how many datagrams (each may hold several segments).
    ///
    /// # Errors
    /// As the system's; nothing being there is 0.
    pub fn receive(&mut self, socket: &impl AsFd, wait: bool) -> io::Result<usize> {
        self.reset();
        let flags = if wait { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        let (fd, count) = (socket.as_fd().as_raw_fd(), self.headers.len() as u32);
        // SAFETY: `count` headers, each pointing to room that lives as long as `self` and has the length that it says.
        let got = unsafe { libc::recvmmsg(fd, self.headers.as_mut_ptr(), count, flags, std::ptr::null_mut()) };
        match usize::try_from(got) {
            Ok(got) => {
                self.used = got;
                Ok(got)
            }
            Err(_) => match io::Error::last_os_error() {
                error if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
                error => Err(error),
            },
        }
    }

    /// A datagram of the last call: its octets and how long each segment in it is (the last may be shorter).
    pub fn message(&mut self, at: usize) -> (&mut [u8], usize) {
        let header = &self.headers[at];
        let len = (header.msg_len as usize).min(self.stride);
        let segment = segment_of(&header.msg_hdr).unwrap_or(len).max(1);
        (&mut self.arena[at * self.stride..][..len], segment)
    }

    /// Sends the chosen datagrams of the last call, as they now are, back to where they came from.
    ///
    /// # Errors
    /// As the system's.
    pub fn send_back(&mut self, socket: &impl AsFd, chosen: impl Iterator<Item = usize>) -> io::Result<()> {
        self.outgoing.clear();
        for at in chosen {
            let mut header = self.headers[at];
            header.msg_hdr.msg_control = std::ptr::null_mut();
            header.msg_hdr.msg_controllen = 0;
            header.msg_hdr.msg_flags = 0;
            // SAFETY: points to this header's element of `_vectors`, which nobody else uses now.
            unsafe { (*header.msg_hdr.msg_iov).iov_len = header.msg_len as usize };
            self.outgoing.push(header);
        }
        send_all(socket, &mut self.outgoing)
    }
}

/// The segments' length that GRO put beside a datagram.
fn segment_of(header: &libc::msghdr) -> Option<usize> {
    // SAFETY: the kernel filled `msg_control` up to `msg_controllen`; the macros walk within it.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = control.as_ref() {
            if message.cmsg_level == libc::SOL_UDP && message.cmsg_type == libc::UDP_GRO {
                return usize::try_from(libc::CMSG_DATA(control).cast::<libc::c_int>().read_unaligned()).ok();
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    None
}

/// Datagrams of one length on their way out of a socket that knows where to: a connected one, or one bound to an interface.
pub struct Outbox {
    arena: Vec<u8>,
    stride: usize,
    together: usize,
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    waiting: usize,
}

impl Outbox {
    /// Room for `messages` of `stride` octets; up to `together` go as segments of one send, if the socket segments ([`segment`]).
    pub fn new(messages: usize, stride: usize, together: usize) -> Self {
        let together = together.clamp(1, SEGMENTS_MAX);
        let calls = messages.div_ceil(together);
        let mut arena = vec![0_u8; calls * together * stride];
        let mut vectors: Vec<libc::iovec> = arena
            .chunks_exact_mut(stride * together)
            .map(|room| libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() })
            .collect();
        let headers = (0..calls)
            .map(|at| {
                // SAFETY: all-zero is a value of this plain C structure.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                header.msg_hdr.msg_iov = &raw mut vectors[at];
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        Self { arena, stride, together, headers, vectors, waiting: 0 }
    }

    /// Whether [`Self::room`] would find none.
    pub fn is_full(&self) -> bool {
        (self.waiting + 1) * self.stride > self.arena.len()
    }

    /// The place of one more message, which the caller fills whole; it must not be full.
    pub fn room(&mut self) -> &mut [u8] {
        let at = self.waiting * self.stride;
        self.waiting += 1;
        &mut self.arena[at..at + self.stride]
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// As the system's; what waited is gone then.
    pub fn flush(&mut self, socket: &impl AsFd) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting == 0 {
            return Ok(());
        }
        let calls = waiting.div_ceil(self.together);
        let last = waiting - (calls - 1) * self.together;
        self.vectors[calls - 1].iov_len = last * self.stride;
        let sent = send_all(socket, &mut self.headers[..calls]);
        self.vectors[calls - 1].iov_len = self.together * self.stride;
        sent
    }
}

pub(super) fn send_all(socket: &impl AsFd, mut headers: &mut [libc::mmsghdr]) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    while !headers.is_empty() {
        // SAFETY: every header points to octets, and to a name or none, that outlive this call; their owner is borrowed by the caller.
        let sent = unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), headers.len() as u32, 0) };
        match usize::try_from(sent) {
            Ok(sent) => headers = &mut headers[sent..],
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(())
}

/// Lets the socket cut each send into datagrams of `octets` (UDP_SEGMENT).
///
/// # Errors
/// The kernel does not know it.
pub fn segment(socket: &impl AsFd, octets: usize) -> io::Result<()> {
    set(socket, libc::SOL_UDP, libc::UDP_SEGMENT, octets as libc::c_int)
}

/// Lets the socket take in datagrams of one length and source together (UDP_GRO).
///
/// # Errors
/// The kernel does not know it.
pub fn gather(socket: &impl AsFd) -> io::Result<()> {
    set(socket, libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Spares a packet socket copies of what is sent on its interface.
///
/// # Errors
/// The kernel does not know it.
pub fn ignore_outgoing(socket: &impl AsFd) -> io::Result<()> {
    set(socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)
}

fn set(socket: &impl AsFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as u32;
    // SAFETY: the value is an int on this stack frame, and the length is its own.
    let done =
        unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, (&raw const value).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The address of an interface for a packet socket: packets of `protocol` (an EtherType) only.
pub fn interface_address(index: u32, protocol: u16) -> SockAddr {
    // SAFETY: a sockaddr_ll fits the storage, every field is plain, and its length is set.
    let address = unsafe {
        SockAddr::try_init(|storage, length| {
            let address = storage.cast::<libc::sockaddr_ll>();
            (*address).sll_family = libc::AF_PACKET as u16;
            (*address).sll_protocol = protocol.to_be();
            (*address).sll_ifindex = index as i32;
            *length = size_of::<libc::sockaddr_ll>() as u32;
            Ok(())
        })
    };
    address.expect("filling in an address does not fail").1
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn datagrams_go_together_and_come_together() {
        for together in [1, SEGMENTS_MAX] {
            let (one, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
            one.connect(other.local_addr().unwrap()).unwrap();
            if together > 1 {
                segment(&one, 8).unwrap();
                gather(&other).unwrap();
            }
            let (mut outbox, mut inbox) = (Outbox::new(128, 8, together), Inbox::new(256, 1024));
            for round in 0..2_u64 {
                for number in 0..100_u64 {
                    assert!(!outbox.is_full());
                    outbox.room().copy_from_slice(&(round * 100 + number).to_be_bytes());
                }
                outbox.flush(&one).unwrap();
                let mut seen = Vec::new();
                for at in 0..inbox.receive(&other, true).unwrap() {
                    let (octets, segment) = inbox.message(at);
                    seen.extend(octets.chunks(segment).map(|eight| u64::from_be_bytes(eight.try_into().unwrap())));
                }
                assert_eq!(seen, (round * 100..round * 100 + 100).collect::<Vec<_>>(), "{together} together");
            }
            assert_eq!(inbox.receive(&other, false).unwrap(), 0);
        }
    }
}
