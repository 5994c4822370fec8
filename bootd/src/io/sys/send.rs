//! Sending many datagrams with one system call (sendmmsg(2)), several of one length to one destination as one (udp(7), `UDP_SEGMENT`), gathered
//! from where their octets lie.

use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use super::Mapping;

/// The most datagrams in one segmented message (`UDP_MAX_SEGMENTS` of kernels before 6.9).
pub const SEGMENTS_MAX: usize = 64;
/// Room for one control message that carries a `u16`, aligned as `cmsghdr` must be.
const CONTROL_WORDS: usize = 3;

/// Octets to be sent, wherever they lie.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Part<'a>(libc::iovec, PhantomData<&'a [u8]>);

impl std::fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Part({} octets)", self.0.iov_len)
    }
}

impl<'a> Part<'a> {
    /// Octets in memory.
    pub fn octets(octets: &'a [u8]) -> Self {
        Self(libc::iovec { iov_base: octets.as_ptr().cast_mut().cast(), iov_len: octets.len() }, PhantomData)
    }

    /// Octets of a mapped file, which the kernel alone reads; none if they are not all within the mapping.
    pub fn mapped(mapping: &'a Mapping, offset: u64, bytes: usize) -> Option<Self> {
        let start = mapping.part(offset, bytes)?;
        Some(Self(libc::iovec { iov_base: start.cast_mut().cast(), iov_len: bytes }, PhantomData))
    }
}

/// One message: some parts, in order, to one destination.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    /// Where to.
    pub to: SocketAddr,
    /// Its first part.
    pub first: usize,
    /// How many parts.
    pub parts: usize,
    /// The kernel cuts it into datagrams of so many octets; 0: it is one datagram.
    pub segment_bytes: u16,
}

/// Memory for [`send`], reused; it grows to the largest batch.
#[derive(Default)]
pub struct SendScratch {
    headers: Vec<libc::mmsghdr>,
    /// Room for the addresses of both families.
    receivers: Vec<libc::sockaddr_in6>,
    controls: Vec<[u64; CONTROL_WORDS]>,
}

// SAFETY: the pointers in the headers are set by each send before the kernel sees them, and nobody follows them afterwards.
unsafe impl Send for SendScratch {}

impl std::fmt::Debug for SendScratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendScratch").field("headers", &self.headers.len()).finish_non_exhaustive()
    }
}

/// Sends messages, whose parts lie in `parts`, and says how many of them went out; never blocks for want of room.
///
/// # Errors
/// The first one cannot be sent; also where it has a part that is not in `parts`. EFAULT: a mapped part is gone or cannot be read.
pub fn send(
    scratch: &mut SendScratch,
    socket: &impl AsFd,
    messages: &[Message],
    parts: &[Part<'_>],
) -> io::Result<usize> {
    // SAFETY: these are plain C structures of integers and pointers, for which all zeros are valid values.
    let (header, receiver): (libc::mmsghdr, libc::sockaddr_in6) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    if scratch.headers.len() < messages.len() {
        scratch.headers.resize(messages.len(), header);
        scratch.receivers.resize(messages.len(), receiver);
        scratch.controls.resize(messages.len(), [0; CONTROL_WORDS]);
    }
    for (i, message) in messages.iter().enumerate() {
        let parts = parts.get(message.first..message.first + message.parts).ok_or(io::ErrorKind::InvalidInput)?;
        let header = &mut scratch.headers[i].msg_hdr;
        // `Part` has the layout of `iovec`, and the kernel only reads through it.
        header.msg_iov = parts.as_ptr().cast::<libc::iovec>().cast_mut();
        header.msg_iovlen = parts.len() as _;
        header.msg_namelen = write_address(&mut scratch.receivers[i], message.to);
        header.msg_name = (&raw mut scratch.receivers[i]).cast();
        (header.msg_control, header.msg_controllen) = (std::ptr::null_mut(), 0);
        if message.segment_bytes > 0 {
            scratch.controls[i] = segment_control(message.segment_bytes);
            header.msg_control = scratch.controls[i].as_mut_ptr().cast();
            header.msg_controllen = size_of_val(&scratch.controls[i]) as _;
        }
    }
    // SAFETY: each header points to parts that `parts` borrows, and to a name and control memory in `scratch`, none of which moves before the call is
    // over, all with their true lengths; the count is that of the messages, and there are as many headers. Parts name memory that is borrowed, or pages
    // of a mapping that is, which the kernel reads with its own care.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_fd().as_raw_fd(),
            scratch.headers.as_mut_ptr(),
            messages.len() as libc::c_uint,
            libc::MSG_DONTWAIT as _,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Fills in an address of either family; its length.
fn write_address(room: &mut libc::sockaddr_in6, address: SocketAddr) -> libc::socklen_t {
    match address {
        SocketAddr::V4(address) => {
            // SAFETY: the room is as aligned as a `sockaddr_in`, and larger.
            let room = unsafe { &mut *(&raw mut *room).cast::<libc::sockaddr_in>() };
            room.sin_family = libc::AF_INET as libc::sa_family_t;
            room.sin_port = address.port().to_be();
            room.sin_addr.s_addr = u32::from(*address.ip()).to_be();
            size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(address) => {
            room.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            room.sin6_port = address.port().to_be();
            room.sin6_addr.s6_addr = address.ip().octets();
            (room.sin6_flowinfo, room.sin6_scope_id) = (address.flowinfo(), address.scope_id());
            size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

/// The control message `UDP_SEGMENT`.
fn segment_control(segment_bytes: u16) -> [u64; CONTROL_WORDS] {
    const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();
    const { assert!(HEADER_BYTES + size_of::<u16>() <= 8 * CONTROL_WORDS) };
    let mut control = [0u64; CONTROL_WORDS];
    let header: *mut libc::cmsghdr = control.as_mut_ptr().cast();
    // SAFETY: the memory is aligned for and, as asserted, long enough for a `cmsghdr` and a `u16` behind it.
    unsafe {
        (*header).cmsg_len = (HEADER_BYTES + size_of::<u16>()) as _;
        (*header).cmsg_level = libc::SOL_UDP;
        (*header).cmsg_type = libc::UDP_SEGMENT;
        header.byte_add(HEADER_BYTES).cast::<u16>().write(segment_bytes);
    }
    control
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::UdpSocket;

    use super::super::Arena;
    use super::*;

    #[test]
    fn one_call_sends_whole_and_segmented_messages_in_both_families() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let (sender, receiver) = (UdpSocket::bind(any).unwrap(), UdpSocket::bind(any).unwrap());
            let to = receiver.local_addr().unwrap();
            let parts = [&b"alone"[..], b"aaaa", b"bbbb", b"cc"].map(Part::octets);
            let messages = [
                Message { to, first: 0, parts: 1, segment_bytes: 0 },
                Message { to, first: 1, parts: 3, segment_bytes: 4 },
            ];
            assert_eq!(send(&mut SendScratch::default(), &sender, &messages, &parts).unwrap(), 2);
            let mut arena = Arena::new(8, 64);
            assert_eq!(arena.receive(&receiver).unwrap(), 4);
            let got = [0, 1, 2, 3].map(|i| arena.datagram(i));
            let from = sender.local_addr().unwrap();
            assert_eq!(got, [&b"alone"[..], b"aaaa", b"bbbb", b"cc"].map(|octets| (octets, from)));
        }
    }

    #[test]
    fn a_part_that_is_not_there_is_refused() {
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let messages = [Message { to: sender.local_addr().unwrap(), first: 0, parts: 2, segment_bytes: 0 }];
        let refused = send(&mut SendScratch::default(), &sender, &messages, &[Part::octets(b"x")]);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    /// What a mapping is for: a file that has shrunk fails the one send, and the process lives.
    #[test]
    fn a_mapped_file_is_sent_and_one_that_has_shrunk_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![7; 10_000]).unwrap();
        let mapping = Mapping::new(&File::open(&path).unwrap(), 10_000).unwrap();
        assert!(Part::mapped(&mapping, 9_000, 1_001).is_none() && Part::mapped(&mapping, u64::MAX, 1).is_none());
        let (sender, receiver) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let messages = [Message { to: receiver.local_addr().unwrap(), first: 0, parts: 2, segment_bytes: 0 }];
        let parts = [Part::octets(b"head"), Part::mapped(&mapping, 9_000, 500).unwrap()];
        assert_eq!(send(&mut SendScratch::default(), &sender, &messages, &parts).unwrap(), 1);
        let mut arena = Arena::new(1, 1_000);
        assert_eq!(arena.receive(&receiver).unwrap(), 1);
        assert_eq!(arena.datagram(0).0, [&b"head"[..], &[7; 500]].concat());

        File::options().write(true).open(&path).unwrap().set_len(1).unwrap();
        let refused = send(&mut SendScratch::default(), &sender, &messages, &parts).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EFAULT));
    }
}
