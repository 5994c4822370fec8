//! Attaching classic BPF programs to sockets (socket(7), `SO_ATTACH_REUSEPORT_CBPF` and `SO_ATTACH_FILTER`; linux/Documentation/networking/filter.rst).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// One instruction: `struct sock_filter` of <linux/filter.h>.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// Instructions to skip where a condition holds.
    pub jump_true: u8,
    /// And where it does not.
    pub jump_false: u8,
    /// The operand.
    pub operand: u32,
}

/// Has `program` choose which socket of the group that `socket` belongs to gets a unicast; it sees the UDP payload and returns the socket's place in
/// the group, in the order of binding.
///
/// # Errors
/// The socket is in no group, or the kernel takes no such program.
pub fn attach_reuseport_program(socket: &impl AsFd, program: &[Instruction]) -> io::Result<()> {
    attach(socket, libc::SO_ATTACH_REUSEPORT_CBPF, program)
}

/// Has `program` choose which datagrams reach `socket`; it sees the UDP header and what follows, and returns how much to keep, 0 for none.
///
/// # Errors
/// The kernel takes no such program.
pub fn attach_socket_filter(socket: &impl AsFd, program: &[Instruction]) -> io::Result<()> {
    attach(socket, libc::SO_ATTACH_FILTER, program)
}

/// Has every datagram reach `socket` again.
///
/// # Errors
/// As the system's; that there is no program is none.
pub fn detach_socket_filter(socket: &impl AsFd) -> io::Result<()> {
    let unused: libc::c_int = 0;
    // SAFETY: the option has no value; the kernel wants to see an `int` all the same, which it only reads.
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_DETACH_FILTER,
            (&raw const unused).cast(),
            size_of_val(&unused) as libc::socklen_t,
        )
    };
    match io::Error::last_os_error() {
        _ if done == 0 => Ok(()),
        error if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        error => Err(error),
    }
}

fn attach(socket: &impl AsFd, option: libc::c_int, program: &[Instruction]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut() };
    // SAFETY: the option's value is a `sock_fprog` that points to `len` instructions with the layout of the kernel's; the kernel checks and
    // copies them and writes nothing.
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
