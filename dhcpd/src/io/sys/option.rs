//! Socket options: coalesced receiving (udp(7), `UDP_GRO`), deafness to one's own host (packet(7)), and the count of what the kernel dropped (socket(7), `SO_MEMINFO`).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

fn set(socket: &impl AsFd, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is an `int` of this length, which the kernel only reads.
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets the kernel hand over several datagrams of one sender as one, with the length of each ([`super::Message::datagrams`]).
///
/// # Errors
/// The kernel does not know how.
pub fn receive_coalesced(socket: &impl AsFd) -> io::Result<()> {
    set(socket, libc::SOL_UDP, libc::UDP_GRO)
}

/// Has a packet socket not hear what its own host sends (packet(7), `PACKET_IGNORE_OUTGOING`, Linux 4.20).
///
/// # Errors
/// The kernel does not know how.
pub fn ignore_outgoing(socket: &impl AsFd) -> io::Result<()> {
    set(socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING)
}

/// Sends UDP without checksums: such a socket cannot segment.
#[cfg(test)]
pub fn send_without_checksums(socket: &impl AsFd) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_NO_CHECK)
}

/// Datagrams that the kernel dropped at this socket since it was opened: its receive buffer was full. Wraps round.
///
/// # Errors
/// The kernel does not say.
pub fn kernel_drops(socket: &impl AsFd) -> io::Result<u32> {
    /// `SK_MEMINFO_DROPS` of <linux/sock_diag.h>, the last of nine.
    const DROPS: usize = 8;
    let mut memory = [0u32; DROPS + 1];
    let mut len = size_of_val(&memory) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` octets into the array, whose length that is, and any octets are valid in it.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            memory.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if done == 0 { Ok(memory[DROPS]) } else { Err(io::Error::last_os_error()) }
}
