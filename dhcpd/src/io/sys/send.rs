//! Sending many datagrams with one system call (sendmmsg(2)), several of one length to one destination as one (udp(7), `UDP_SEGMENT`).

use std::io::{self, IoSlice};
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, AsRawFd};

/// The most datagrams in one segmented message (`UDP_MAX_SEGMENTS` of kernels before 6.9).
pub const SEGMENTS_MAX: usize = 64;
/// Room for one control message that carries a `u16`, aligned as `cmsghdr` must be.
const CONTROL_WORDS: usize = 3;

/// One message: some parts, in order, to one destination.
#[derive(Debug, Clone, Copy)]
pub struct Datagram {
    /// Where to; `None` for a socket that knows (connected, or a packet socket that is bound).
    pub to: Option<SocketAddrV4>,
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
    receivers: Vec<libc::sockaddr_in>,
    controls: Vec<[u64; CONTROL_WORDS]>,
}

impl std::fmt::Debug for SendScratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendScratch").field("headers", &self.headers.len()).finish_non_exhaustive()
    }
}

/// Sends `datagrams`, whose parts lie in `parts`, and says how many of them went out; never blocks.
///
/// # Errors
/// The first one cannot be sent; also where it has a part that is not in `parts`.
pub fn send(
    scratch: &mut SendScratch,
    socket: &impl AsFd,
    datagrams: &[Datagram],
    parts: &[IoSlice<'_>],
) -> io::Result<usize> {
    // SAFETY: these are plain C structures of integers and pointers, for which all zeros are valid values.
    let (header, receiver): (libc::mmsghdr, libc::sockaddr_in) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    scratch.headers.resize(datagrams.len(), header);
    scratch.receivers.resize(datagrams.len(), receiver);
    scratch.controls.resize(datagrams.len(), [0; CONTROL_WORDS]);
    for (i, datagram) in datagrams.iter().enumerate() {
        let range = datagram.first..datagram.first + datagram.parts;
        let parts = parts.get(range).ok_or(io::ErrorKind::InvalidInput)?;
        let header = &mut scratch.headers[i].msg_hdr;
        // `IoSlice` has the layout of `iovec` (its documentation), and the kernel only reads through it.
        header.msg_iov = parts.as_ptr().cast::<libc::iovec>().cast_mut();
        header.msg_iovlen = parts.len() as _;
        (header.msg_name, header.msg_namelen) = (std::ptr::null_mut(), 0);
        if let Some(to) = datagram.to {
            let receiver = &mut scratch.receivers[i];
            receiver.sin_family = libc::AF_INET as libc::sa_family_t;
            receiver.sin_port = to.port().to_be();
            receiver.sin_addr.s_addr = u32::from(*to.ip()).to_be();
            header.msg_name = (&raw mut *receiver).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        }
        (header.msg_control, header.msg_controllen) = (std::ptr::null_mut(), 0);
        if datagram.segment_bytes > 0 {
            scratch.controls[i] = segment_control(datagram.segment_bytes);
            header.msg_control = scratch.controls[i].as_mut_ptr().cast();
            header.msg_controllen = size_of_val(&scratch.controls[i]) as _;
        }
    }
    // SAFETY: each header points to parts that `parts` borrows, and to a name and control memory in `scratch`, none of which moves before the call is
    // over, all with their true lengths; the count is that of the headers.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_fd().as_raw_fd(),
            scratch.headers.as_mut_ptr(),
            datagrams.len() as libc::c_uint,
            libc::MSG_DONTWAIT as _,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
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
    use std::net::{SocketAddr, UdpSocket};

    use super::super::{Arena, receive_coalesced};
    use super::*;

    fn bound() -> (UdpSocket, SocketAddrV4) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        match socket.local_addr().unwrap() {
            SocketAddr::V4(address) => (socket, address),
            SocketAddr::V6(_) => unreachable!("bound to an IPv4 address"),
        }
    }

    #[test]
    fn one_call_sends_whole_and_segmented_messages_and_they_arrive_apart_and_together() {
        let ((sender, _), (receiver, to)) = (bound(), bound());
        let parts = [&b"alone"[..], b"aaaa", b"bbbb", b"cc"].map(IoSlice::new);
        let datagrams = [
            Datagram { to: Some(to), first: 0, parts: 1, segment_bytes: 0 },
            Datagram { to: Some(to), first: 1, parts: 3, segment_bytes: 4 },
        ];
        let mut scratch = SendScratch::default();
        let expected: [&[u8]; 4] = [b"alone", b"aaaa", b"bbbb", b"cc"];
        for (coalesced, messages) in [(false, 4), (true, 2)] {
            if coalesced {
                receive_coalesced(&receiver).unwrap();
            }
            assert_eq!(send(&mut scratch, &sender, &datagrams, &parts).unwrap(), 2);
            let mut arena = Arena::new(8, 64, 8);
            arena.receive(&receiver).unwrap();
            assert_eq!(arena.len(), messages, "coalesced: {coalesced}");
            let got: Vec<&[u8]> =
                (0..arena.len()).flat_map(|i| arena.message(i).datagrams().collect::<Vec<_>>()).collect();
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_part_that_is_not_there_is_refused() {
        let (sender, to) = bound();
        let datagrams = [Datagram { to: Some(to), first: 0, parts: 2, segment_bytes: 0 }];
        let refused = send(&mut SendScratch::default(), &sender, &datagrams, &[IoSlice::new(b"x")]);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
