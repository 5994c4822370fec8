//! [`Served`]: a file that transfers are sending, one for all of them, and what is known of its pages.
//!
//! Payload goes from the page cache to the datagrams by one copy, the kernel's: the file is mapped, and the mapping's pages are what `sendmmsg`
//! gathers. Beside it, `pread` into buffers costs a copy more of every octet (measured: a tenth of the CPU time of a window, and for windows of
//! one block a system call each), and `splice` costs two system calls a block, because each has a header of its own. A mapping's dangers are
//! seen to: this process never reads it ([`Mapping`]), and pages that are not in memory are first read on a thread that may wait
//! ([`Served::is_warm`]), so that the kernel's copy does not stop the others' transfers.
//!
//! Ten thousand machines that boot the same kernel share one descriptor and one mapping.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::io::sys::Mapping;
use crate::store::{OpenFile, ReadNow};

/// Octets whose being in memory is known together.
pub(super) const CHUNK_BYTES: u64 = 256 << 10;
/// For so long it is believed that they still are.
const WARM_SECS: u32 = 10;
/// Larger files are read, not mapped: page tables of a mapping are memory too (2 MiB for each GiB), which nothing takes back while it is served.
const MAPPED_BYTES_MAX: u64 = 4 << 30;
/// Octets that are read at a time where the page cache is filled.
const WARM_READ_BYTES: usize = 64 << 10;

/// An open file, and its pages.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) file: OpenFile,
    /// None: the file system does not map, or the file is empty or huge.
    pub(super) mapping: Option<Mapping>,
    /// For each chunk, until when it is taken to be in memory: seconds since `opened`.
    warm_until: Box<[AtomicU32]>,
    opened: Instant,
}

impl Served {
    fn new(file: OpenFile, now: Instant) -> Self {
        let mapping = (file.bytes <= MAPPED_BYTES_MAX).then(|| Mapping::new(&file, file.bytes).ok()).flatten();
        let chunks = if mapping.is_some() { file.bytes.div_ceil(CHUNK_BYTES) } else { 0 };
        Self { file, mapping, warm_until: (0..chunks).map(|_| AtomicU32::new(0)).collect(), opened: now }
    }

    /// Whether these octets, all of the file, can be sent without waiting for the disk: by one look at each page of a chunk every few seconds. A page
    /// that is dropped in between costs the thread one wait. If not: the chunk to be read first.
    pub(super) fn is_warm(&self, offset: u64, bytes: usize, now: Instant) -> Result<(), u64> {
        let secs = self.secs(now);
        let last = offset + (bytes.max(1) as u64 - 1);
        for chunk in offset / CHUNK_BYTES..=last / CHUNK_BYTES {
            let Some(until) = self.warm_until.get(chunk as usize) else { continue };
            if secs < until.load(Ordering::Relaxed) {
                continue;
            }
            if !self.is_in_memory(chunk) {
                return Err(chunk);
            }
            until.store(secs + WARM_SECS, Ordering::Relaxed);
        }
        Ok(())
    }

    fn is_in_memory(&self, chunk: u64) -> bool {
        let (start, end) = (chunk * CHUNK_BYTES, ((chunk + 1) * CHUNK_BYTES).min(self.file.bytes));
        (start..end).step_by(4_096).all(|at| {
            let mut octet = [0];
            matches!(self.file.read_now(&mut [io::IoSliceMut::new(&mut octet)], at), ReadNow::Done)
        })
    }

    /// Reads a chunk into the page cache, however long that takes.
    ///
    /// # Errors
    /// The disk's error; `UnexpectedEof` where the file has become shorter.
    pub(super) fn warm(&self, chunk: u64) -> io::Result<()> {
        let mut buffer = vec![0; WARM_READ_BYTES];
        let (mut at, end) = (chunk * CHUNK_BYTES, ((chunk + 1) * CHUNK_BYTES).min(self.file.bytes));
        while at < end {
            let bytes = WARM_READ_BYTES.min((end - at) as usize);
            self.file.read_blocking(&mut buffer[..bytes], at)?;
            at += bytes as u64;
        }
        if let Some(until) = self.warm_until.get(chunk as usize) {
            // Also where the file system cannot tell what is in memory: it has just been.
            until.store(self.secs(Instant::now()) + WARM_SECS, Ordering::Relaxed);
        }
        Ok(())
    }

    fn secs(&self, now: Instant) -> u32 {
        let since: Duration = now.saturating_duration_since(self.opened);
        u32::try_from(since.as_secs()).unwrap_or(u32::MAX - WARM_SECS)
    }
}

/// Which file, and as of when: device, inode, size, time of the last change.
type Identity = (u64, u64, u64, i128);

/// The files that are being served. It holds none open: transfers do.
#[derive(Debug, Default)]
pub(super) struct Files {
    open: HashMap<Identity, Weak<Served>>,
    purge_at: usize,
}

impl Files {
    /// The one [`Served`] of a file that has just been opened.
    pub(super) fn share(&mut self, file: OpenFile, now: Instant) -> Arc<Served> {
        let Ok(stat) = rustix::fs::fstat(&file) else { return Arc::new(Served::new(file, now)) };
        let changed = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
        let identity = (stat.st_dev, stat.st_ino, file.bytes, changed);
        if let Some(served) = self.open.get(&identity).and_then(Weak::upgrade)
            && served.file.validators == file.validators
        {
            return served;
        }
        if self.open.len() >= self.purge_at {
            self.open.retain(|_, served| served.strong_count() > 0);
            self.purge_at = 2 * self.open.len() + 64;
        }
        let served = Arc::new(Served::new(file, now));
        self.open.insert(identity, Arc::downgrade(&served));
        served
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::path::{Encoding, resolve};
    use crate::store::{Catalogue, Lookup, Patience};

    fn open(catalogue: &Catalogue, name: &str) -> OpenFile {
        match catalogue.find(&resolve(name, Encoding::Plain).unwrap(), Patience::Blocking) {
            Lookup::Found(file) => file,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_is_open_once_as_long_as_it_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), vec![1; 600_000]).unwrap();
        std::fs::write(dir.path().join("b"), "").unwrap();
        let catalogue = Catalogue::open(&[dir.path().to_owned()]).unwrap();
        let (mut files, now) = (Files::default(), Instant::now());
        let first = files.share(open(&catalogue, "a"), now);
        assert!(Arc::ptr_eq(&first, &files.share(open(&catalogue, "a"), now)));
        std::fs::write(dir.path().join("a"), vec![2; 600_001]).unwrap();
        let second = files.share(open(&catalogue, "a"), now);
        assert!(!Arc::ptr_eq(&first, &second), "another content");
        assert!(files.share(open(&catalogue, "b"), now).mapping.is_none(), "nothing to map");
        drop((first, second));
        for n in 0..200 {
            std::fs::write(dir.path().join(n.to_string()), "x").unwrap();
            drop(files.share(open(&catalogue, &n.to_string()), now));
        }
        assert!(files.open.len() <= 65, "{} files that nobody is sent", files.open.len());
    }

    #[test]
    fn what_is_not_in_memory_is_read_before_it_is_sent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, vec![1; 3 * CHUNK_BYTES as usize - 5]).unwrap();
        let catalogue = Catalogue::open(&[dir.path().to_owned()]).unwrap();
        let now = Instant::now();
        let served = Files::default().share(open(&catalogue, "a"), now);
        for chunk in 0..3 {
            served.warm(chunk).unwrap();
        }
        assert_eq!(served.is_warm(0, 3 * CHUNK_BYTES as usize - 5, now), Ok(()));
        std::fs::File::options().write(true).open(&path).unwrap().set_len(CHUNK_BYTES).unwrap();
        let later = now + Duration::from_secs(u64::from(WARM_SECS) + 2);
        assert_eq!(served.is_warm(CHUNK_BYTES - 10, 20, later), Err(1), "it is looked at again after a while");
        assert_eq!(served.warm(1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        served.warm(0).unwrap();
    }
}
