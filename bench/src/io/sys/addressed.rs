//! Datagrams between many addresses on one socket: each comes with who sent it and to which of our addresses, and leaves from a chosen one
//! (recvmmsg(2), sendmmsg(2), ip(7) `IP_PKTINFO`). What is sent is gathered: a short head of its own, and octets of one shared payload.
//!
//! Invariant of both boxes: the pointers in the headers point into vectors of the same box, which never change their capacity, or into the
//! payload that the caller lends for the one call.
#![allow(unsafe_code)]

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};

/// Octets of a head: an OACK with all options fits.
const HEAD_BYTES_MAX: usize = 96;

/// Room for one `in_pktinfo`, aligned as `cmsghdr` must be.
type Control = [u64; 4];
const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();

/// Has the socket say to which address each datagram was sent.
///
/// # Errors
/// As the system's.
pub fn tell_destinations(socket: &impl AsFd) -> io::Result<()> {
    let value: libc::c_int = 1;
    let length = size_of::<libc::c_int>() as u32;
    // SAFETY: the value is an int on this stack frame, and the length is its own.
    let done = unsafe {
        let fd = socket.as_fd().as_raw_fd();
        libc::setsockopt(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, (&raw const value).cast(), length)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Datagrams as they came in.
pub struct Arrivals {
    arena: Vec<u8>,
    stride: usize,
    headers: Vec<libc::mmsghdr>,
    names: Vec<libc::sockaddr_in>,
    controls: Vec<Control>,
    // Only their addresses are used after the start.
    _vectors: Vec<libc::iovec>,
}

impl Arrivals {
    /// Room for `messages` datagrams of at most `stride` octets each.
    pub fn new(messages: usize, stride: usize) -> Self {
        let mut arena = vec![0_u8; messages * stride];
        // SAFETY: all-zero is a value of these plain C structures.
        let (name, header): (libc::sockaddr_in, libc::mmsghdr) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        let (mut names, mut controls) = (vec![name; messages], vec![[0; 4]; messages]);
        let mut vectors: Vec<libc::iovec> = arena
            .chunks_exact_mut(stride)
            .map(|room| libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: stride })
            .collect();
        let mut headers = vec![header; messages];
        for (at, header) in headers.iter_mut().enumerate() {
            header.msg_hdr.msg_iov = &raw mut vectors[at];
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = (&raw mut names[at]).cast();
            header.msg_hdr.msg_control = (&raw mut controls[at]).cast();
        }
        Self { arena, stride, headers, names, controls, _vectors: vectors }
    }

    /// Takes in what is there, without waiting; says how many datagrams.
    ///
    /// # Errors
    /// As the system's; nothing being there is 0.
    pub fn receive(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        for header in &mut self.headers {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            header.msg_hdr.msg_controllen = size_of::<Control>();
        }
        let (fd, count) = (socket.as_fd().as_raw_fd(), self.headers.len() as u32);
        // SAFETY: `count` headers, each pointing to room that lives as long as `self` and has the length that it says.
        let got =
            unsafe { libc::recvmmsg(fd, self.headers.as_mut_ptr(), count, libc::MSG_DONTWAIT, std::ptr::null_mut()) };
        match usize::try_from(got) {
            Ok(got) => Ok(got),
            Err(_) => match io::Error::last_os_error() {
                error if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
                error => Err(error),
            },
        }
    }

    /// A datagram of the last call: its octets, who sent it, and to which address.
    pub fn datagram(&self, at: usize) -> (&[u8], SocketAddrV4, Ipv4Addr) {
        let len = (self.headers[at].msg_len as usize).min(self.stride);
        let name = &self.names[at];
        let from = SocketAddrV4::new(Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr)), u16::from_be(name.sin_port));
        let control: *const libc::cmsghdr = self.controls[at].as_ptr().cast();
        // SAFETY: the memory is aligned for and as long as a `cmsghdr` and an `in_pktinfo` behind it; any octets are valid for both. The socket's only
        // control message is IP_PKTINFO.
        let to = unsafe {
            let info: *const libc::in_pktinfo = control.byte_add(HEADER_BYTES).cast();
            (*info).ipi_addr.s_addr
        };
        (&self.arena[at * self.stride..][..len], from, Ipv4Addr::from(u32::from_be(to)))
    }
}

/// Datagrams on their way out.
pub struct Departures {
    heads: Vec<[u8; HEAD_BYTES_MAX]>,
    lengths: Vec<usize>,
    payloads: Vec<Range<usize>>,
    names: Vec<libc::sockaddr_in>,
    controls: Vec<Control>,
    vectors: Vec<[libc::iovec; 2]>,
    headers: Vec<libc::mmsghdr>,
    waiting: usize,
}

impl Departures {
    /// Room for `messages`.
    pub fn new(messages: usize) -> Self {
        let vector = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: all-zero is a value of these plain C structures.
        let (name, header): (libc::sockaddr_in, libc::mmsghdr) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        Self {
            heads: vec![[0; HEAD_BYTES_MAX]; messages],
            lengths: vec![0; messages],
            payloads: vec![0..0; messages],
            names: vec![name; messages],
            controls: vec![[0; 4]; messages],
            vectors: vec![[vector; 2]; messages],
            headers: vec![header; messages],
            waiting: 0,
        }
    }

    /// Whether there is no room for one more.
    pub fn is_full(&self) -> bool {
        self.waiting == self.headers.len()
    }

    /// One more, which must have room: `head` (at most 96 octets), and a part of the payload. `from`: which of the addresses of this machine.
    pub fn push(&mut self, to: SocketAddrV4, from: Option<Ipv4Addr>, head: &[u8], payload: Range<usize>) {
        let at = self.waiting;
        self.waiting += 1;
        self.heads[at][..head.len()].copy_from_slice(head);
        (self.lengths[at], self.payloads[at]) = (head.len(), payload);
        let name = &mut self.names[at];
        name.sin_family = libc::AF_INET as libc::sa_family_t;
        name.sin_port = to.port().to_be();
        name.sin_addr.s_addr = u32::from(*to.ip()).to_be();
        let header = &mut self.headers[at].msg_hdr;
        (header.msg_control, header.msg_controllen) = (std::ptr::null_mut(), 0);
        if let Some(from) = from {
            let control: *mut libc::cmsghdr = self.controls[at].as_mut_ptr().cast();
            // SAFETY: the memory is aligned for and as long as a `cmsghdr` and an `in_pktinfo` behind it.
            unsafe {
                (*control).cmsg_len = (HEADER_BYTES + size_of::<libc::in_pktinfo>()) as _;
                (*control).cmsg_level = libc::IPPROTO_IP;
                (*control).cmsg_type = libc::IP_PKTINFO;
                let address = libc::in_addr { s_addr: u32::from(from).to_be() };
                let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: address };
                control.byte_add(HEADER_BYTES).cast::<libc::in_pktinfo>().write(info);
            }
            (header.msg_control, header.msg_controllen) = (control.cast(), size_of::<Control>());
        }
    }

    /// Sends what waits; all ranges must lie within `payload`.
    ///
    /// # Errors
    /// As the system's; what waited is gone then.
    pub fn flush(&mut self, socket: &impl AsFd, payload: &[u8]) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        for at in 0..waiting {
            let payload = &payload[self.payloads[at].clone()];
            self.vectors[at] = [
                libc::iovec { iov_base: self.heads[at].as_mut_ptr().cast(), iov_len: self.lengths[at] },
                libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() },
            ];
            let header = &mut self.headers[at].msg_hdr;
            header.msg_iov = self.vectors[at].as_mut_ptr();
            header.msg_iovlen = if payload.is_empty() { 1 } else { 2 };
            header.msg_name = (&raw mut self.names[at]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        }
        super::datagrams::send_all(socket, &mut self.headers[..waiting])
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn datagrams_leave_from_and_arrive_at_chosen_addresses() {
        let (one, other) = (UdpSocket::bind("0.0.0.0:0").unwrap(), UdpSocket::bind("0.0.0.0:0").unwrap());
        tell_destinations(&other).unwrap();
        let (one_port, port) = (one.local_addr().unwrap().port(), other.local_addr().unwrap().port());
        let mut departures = Departures::new(4);
        let (from, to) = (Ipv4Addr::new(127, 9, 8, 7), Ipv4Addr::new(127, 1, 2, 3));
        departures.push(SocketAddrV4::new(to, port), Some(from), b"head ", 2..6);
        departures.push(SocketAddrV4::new(to, port), Some(from), b"alone", 0..0);
        departures.flush(&one, b"--tail--").unwrap();
        let mut arrivals = Arrivals::new(8, 64);
        assert_eq!(arrivals.receive(&other).unwrap(), 2);
        let from = SocketAddrV4::new(from, one_port);
        assert_eq!(arrivals.datagram(0), (&b"head tail"[..], from, to));
        assert_eq!(arrivals.datagram(1), (&b"alone"[..], from, to));
        assert_eq!(arrivals.receive(&other).unwrap(), 0);
    }
}
