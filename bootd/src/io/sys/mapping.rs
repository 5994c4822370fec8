//! [`Mapping`]: a file's pages in the address space, for the kernel to copy from; this process never reads them.
//!
//! That is the point: where a file has shrunk, or its disk fails, a *process* that reads the mapping dies of SIGBUS, while the *kernel*, copying
//! for a system call, fails that one call with EFAULT. So there is no way to get at the octets here but [`super::Part::mapped`].

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A whole file, mapped for reading.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: nothing is read or written through the pointer in this process; it only names pages to the kernel until it is dropped.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `bytes` octets of a file, which are read when they are first sent.
    ///
    /// # Errors
    /// The file system or the address space does not allow it; also where `bytes` is 0.
    pub fn new(file: &impl AsFd, bytes: u64) -> io::Result<Self> {
        let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
        // SAFETY: a new mapping at a place that the kernel chooses aliases nothing.
        let start = unsafe { mmap(std::ptr::null_mut(), bytes, ProtFlags::READ, MapFlags::SHARED, file, 0)? };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, bytes })
    }

    /// Where `bytes` octets from `offset` lie; none if they are not all within it.
    pub(super) fn part(&self, offset: u64, bytes: usize) -> Option<*const u8> {
        let offset = usize::try_from(offset).ok()?;
        let end = offset.checked_add(bytes)?;
        // SAFETY: `offset` is within the mapping, as checked.
        (end <= self.bytes).then(|| unsafe { self.start.as_ptr().cast_const().add(offset) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped, and nobody can name it any more: parts borrow from `self`.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "a mapping is unmapped once");
    }
}
