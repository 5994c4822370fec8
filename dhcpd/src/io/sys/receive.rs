//! [`Arena`]: memory that datagrams are received into, many with one system call (recvmmsg(2)). Fixed in size; nothing is allocated after it was made.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd};

/// Room for one control message that carries an `int`, aligned as `cmsghdr` must be.
const CONTROL_WORDS: usize = 4;

/// Datagrams of several receives; see [`Arena::receive`].
pub struct Arena {
    octets: Box<[u8]>,
    slot_bytes: usize,
    batch: usize,
    used: usize,
    used_bytes: usize,
    headers: Box<[libc::mmsghdr]>,
    parts: Box<[libc::iovec]>,
    senders: Box<[libc::sockaddr_in]>,
    controls: Box<[[u64; CONTROL_WORDS]]>,
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arena").field("slots", &self.slots()).field("used", &self.used).finish_non_exhaustive()
    }
}

/// What lies in one slot: a datagram, or several of one sender that the kernel has put together.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The payload or payloads.
    pub octets: &'a [u8],
    /// Who sent it.
    pub from: SocketAddrV4,
    /// The length of each datagram but the last, which may be shorter; never 0.
    pub datagram_bytes: usize,
}

impl<'a> Message<'a> {
    /// The datagrams in the order in which they were sent. An empty one counts too.
    pub fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> {
        let empty = self.octets.is_empty().then_some(&[][..]);
        self.octets.chunks(self.datagram_bytes).chain(empty)
    }
}

impl Arena {
    /// An arena of `slots` messages of at most `slot_bytes` octets each (a longer one is cut), which asks for up to `batch` with one system call.
    pub fn new(slots: usize, slot_bytes: usize, batch: usize) -> Self {
        // SAFETY: these are plain C structures of integers and pointers, for which all zeros are valid values.
        let (header, part, sender): (libc::mmsghdr, libc::iovec, libc::sockaddr_in) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed(), std::mem::zeroed()) };
        Self {
            octets: vec![0; slots * slot_bytes].into(),
            slot_bytes,
            batch,
            used: 0,
            used_bytes: 0,
            headers: vec![header; slots].into(),
            parts: vec![part; slots].into(),
            senders: vec![sender; slots].into(),
            controls: vec![[0; CONTROL_WORDS]; slots].into(),
        }
    }

    /// How many messages it can hold.
    pub fn slots(&self) -> usize {
        self.headers.len()
    }

    /// How many messages it holds.
    pub fn len(&self) -> usize {
        self.used
    }

    /// How many octets its messages have.
    pub fn bytes(&self) -> usize {
        self.used_bytes
    }

    /// Forgets all messages.
    pub fn clear(&mut self) {
        (self.used, self.used_bytes) = (0, 0);
    }

    /// Reads what waits at `socket` behind the messages that are here, as far as there is room; never blocks. `true`: the socket may have more.
    ///
    /// # Errors
    /// As the system's; `WouldBlock` is not an error but `false`.
    pub fn receive(&mut self, socket: &impl AsFd) -> io::Result<bool> {
        let (first, end) = (self.used, self.slots().min(self.used + self.batch));
        if first == end {
            return Ok(true);
        }
        let base = self.octets.as_mut_ptr();
        for slot in first..end {
            // SAFETY: `slot` is below the number of slots, so that the slot lies within the allocation.
            let to = unsafe { base.add(slot * self.slot_bytes) };
            self.parts[slot] = libc::iovec { iov_base: to.cast(), iov_len: self.slot_bytes };
            let header = &mut self.headers[slot];
            header.msg_hdr.msg_name = (&raw mut self.senders[slot]).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_hdr.msg_iov = &raw mut self.parts[slot];
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = self.controls[slot].as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = size_of_val(&self.controls[slot]) as _;
        }
        let headers = &mut self.headers[first..end];
        // SAFETY: each header points to its own name, vector, slot and control memory, all of which this arena owns and nobody else uses meanwhile,
        // with their true lengths; the count is that of the headers.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        if received < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(false) } else { Err(error) };
        }
        let received = received as usize;
        self.used += received;
        self.used_bytes += headers[..received].iter().map(|header| header.msg_len as usize).sum::<usize>();
        Ok(received == end - first)
    }

    /// The message at `index`, below [`Self::len`].
    pub fn message(&self, index: usize) -> Message<'_> {
        let header = &self.headers[..self.used][index];
        let start = index * self.slot_bytes;
        let len = (header.msg_len as usize).min(self.slot_bytes);
        let sender = &self.senders[index];
        let from =
            SocketAddrV4::new(Ipv4Addr::from(u32::from_be(sender.sin_addr.s_addr)), u16::from_be(sender.sin_port));
        let datagram_bytes = segment_bytes(&header.msg_hdr, &self.controls[index]).unwrap_or(self.slot_bytes);
        Message { octets: &self.octets[start..start + len], from, datagram_bytes }
    }
}

/// What the control message `UDP_GRO` says, if the kernel has written one.
fn segment_bytes(header: &libc::msghdr, control: &[u64; CONTROL_WORDS]) -> Option<usize> {
    const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();
    if header.msg_controllen < HEADER_BYTES + size_of::<libc::c_int>() {
        return None;
    }
    let control: *const libc::cmsghdr = control.as_ptr().cast();
    // SAFETY: the memory is aligned for and longer than a `cmsghdr` and an `int` behind it, initialised, and any octets are valid for both.
    let (level, kind, value) = unsafe {
        let value: *const libc::c_int = control.byte_add(HEADER_BYTES).cast();
        ((*control).cmsg_level, (*control).cmsg_type, *value)
    };
    (level == libc::SOL_UDP && kind == libc::UDP_GRO)
        .then_some(value)
        .and_then(|value| usize::try_from(value).ok())
        .filter(|&value| value > 0)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn pair() -> (UdpSocket, UdpSocket) {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        (sender, receiver)
    }

    #[test]
    fn receives_what_waits_up_to_its_limit_and_cuts_what_is_long() {
        let (sender, receiver) = pair();
        let mut arena = Arena::new(3, 8, 64);
        assert!(!arena.receive(&receiver).unwrap(), "nothing waits");
        for octets in [&b"one"[..], b"", b"too long for it", b"four"] {
            sender.send(octets).unwrap();
        }
        assert!(arena.receive(&receiver).unwrap(), "there may be more");
        assert!(arena.receive(&receiver).unwrap(), "no room");
        let got: Vec<Vec<&[u8]>> = (0..arena.len()).map(|i| arena.message(i).datagrams().collect()).collect();
        assert_eq!(got, [vec![&b"one"[..]], vec![&b""[..]], vec![&b"too long"[..]]]);
        assert_eq!(
            SocketAddrV4::new([127, 0, 0, 1].into(), arena.message(0).from.port()).to_string(),
            sender.local_addr().unwrap().to_string()
        );
        arena.clear();
        assert!(!arena.receive(&receiver).unwrap());
        assert_eq!((arena.len(), arena.message(0).octets), (1, &b"four"[..]));
    }
}
