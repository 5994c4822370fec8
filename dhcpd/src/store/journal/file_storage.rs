//! A directory of real files: direct, data-synchronous writes, directory fsync, and a lock that keeps a second daemon out.
//!
//! It does not know the journal's format. Invariant: while a `FileStorage` lives, no other process has one on the same directory.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::PAGE_BYTES;
use super::aligned::AlignedBuffer;
use super::storage::{Storage, StorageError, StorageFile, StoredFile};

const LOCK_NAME: &str = "lock";
/// Zeros are written in pieces of this size, each of them durable before the next: a commit on the same disk waits behind one of them at most, and a
/// disk with a cache never has more than that to flush first.
const ZERO_BYTES: usize = 256 << 10;

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process holds it (crash case C26).
    #[error("{}: another process uses this journal directory", .0.display())]
    Locked(PathBuf),
    /// The directory or its lock cannot be made or opened.
    #[error("{}: cannot use this journal directory", .path.display())]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// A journal directory on a real file system.
#[derive(Debug)]
pub struct FileStorage {
    path: PathBuf,
    directory: File,
    /// Held for its lock.
    _lock: File,
}

impl FileStorage {
    /// Opens a directory, makes it (readable by its owner alone) if it is not there, and locks it.
    pub fn open(path: &Path) -> Result<FileStorage, DirectoryError> {
        let error = |path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| DirectoryError::Io { path, source }
        };
        if !path.is_dir() {
            use std::os::unix::fs::DirBuilderExt;
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(error(path))?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent).and_then(|parent| parent.sync_all()).map_err(error(parent))?;
            }
        }
        let lock_path = path.join(LOCK_NAME);
        let lock =
            File::options().create(true).truncate(false).write(true).open(&lock_path).map_err(error(&lock_path))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            Errno::WOULDBLOCK => DirectoryError::Locked(path.to_owned()),
            errno => DirectoryError::Io { path: lock_path, source: errno.into() },
        })?;
        let directory = File::open(path).map_err(error(path))?;
        Ok(FileStorage { path: path.to_owned(), directory, _lock: lock })
    }

    fn open_file(&self, name: &str, flags: OFlags) -> Result<FileHandle, StorageError> {
        let path = self.path.join(name);
        let flags = flags | OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        // A file system without direct I/O says EINVAL; then the page cache has to do.
        let opened = rustix::fs::open(&path, flags | OFlags::DIRECT, mode).or_else(|errno| match errno {
            Errno::INVAL => rustix::fs::open(&path, flags, mode),
            errno => Err(errno),
        });
        match opened {
            Ok(file) => Ok(FileHandle { file: file.into(), path }),
            Err(errno) => Err(StorageError::sort(format!("open {}", path.display()), errno.into())),
        }
    }

    fn fill_with_zeros(
        &self,
        file: &mut FileHandle,
        bytes: u64,
        between: &mut dyn FnMut(),
    ) -> Result<(), StorageError> {
        // Reserving first makes a full disk answer at once, before anything is written.
        match rustix::fs::fallocate(&file.file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(errno) => return Err(StorageError::sort(file.tried("reserve room for"), errno.into())),
        }
        let zeros = AlignedBuffer::zeroed(ZERO_BYTES);
        let mut offset = 0;
        while offset < bytes {
            let length = (bytes - offset).min(ZERO_BYTES as u64) as usize;
            // The file is not in force yet and will be thrown away: whatever it says of "no room" is a refusal like any other.
            file.write_durable(offset, &zeros.as_slice()[..length])?;
            offset += length as u64;
            if offset < bytes {
                between();
            }
        }
        rustix::fs::fsync(&file.file).map_err(|errno| StorageError::sort(file.tried("sync"), errno.into()))
    }
}

impl Storage for FileStorage {
    fn list(&self) -> Result<Vec<StoredFile>, StorageError> {
        let tried = || format!("list {}", self.path.display());
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(|e| StorageError::sort(tried(), e))? {
            let entry = entry.map_err(|e| StorageError::sort(tried(), e))?;
            let metadata = entry.metadata().map_err(|e| StorageError::sort(tried(), e))?;
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push(StoredFile { name, bytes: metadata.len() });
            }
        }
        Ok(files)
    }

    fn allocate(&self, name: &str, bytes: u64, between: &mut dyn FnMut()) -> Result<(), StorageError> {
        let mut file = self.open_file(name, OFlags::CREATE | OFlags::TRUNC)?;
        if let Err(error) = self.fill_with_zeros(&mut file, bytes, between) {
            // Gives the room back. Should that fail too, the next start removes it by its length.
            let _ = fs::remove_file(&file.path);
            return Err(error);
        }
        self.sync_directory()
    }

    fn create(&self, name: &str) -> Result<Box<dyn StorageFile>, StorageError> {
        Ok(Box::new(self.open_file(name, OFlags::CREATE | OFlags::TRUNC)?))
    }

    fn open(&self, name: &str) -> Result<Box<dyn StorageFile>, StorageError> {
        Ok(Box::new(self.open_file(name, OFlags::empty())?))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        fs::rename(self.path.join(from), self.path.join(to))
            .map_err(|e| StorageError::sort(format!("rename {from} to {to} in {}", self.path.display()), e))
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        fs::remove_file(self.path.join(name))
            .map_err(|e| StorageError::sort(format!("remove {}", self.path.join(name).display()), e))
    }

    fn sync_directory(&self) -> Result<(), StorageError> {
        self.directory.sync_all().map_err(|e| StorageError::failed(format!("sync {}", self.path.display()), e))
    }

    fn salt(&self) -> u64 {
        // Randomly keyed by the system; guards against forgery by payloads only, so that 64 bits of SipHash do.
        use std::hash::{BuildHasher, Hasher};
        std::collections::hash_map::RandomState::new().build_hasher().finish()
    }
}

struct FileHandle {
    file: File,
    path: PathBuf,
}

impl FileHandle {
    fn tried(&self, what: &str) -> String {
        format!("{what} {}", self.path.display())
    }

    fn write_all(&self, mut offset: u64, mut octets: &[u8], flags: ReadWriteFlags) -> Result<(), StorageError> {
        debug_assert!(offset.is_multiple_of(PAGE_BYTES as u64) && octets.len().is_multiple_of(PAGE_BYTES));
        while !octets.is_empty() {
            match rustix::io::pwritev2(&self.file, &[io::IoSlice::new(octets)], offset, flags) {
                Ok(0) => {
                    let source = io::Error::from(io::ErrorKind::WriteZero);
                    return Err(StorageError::failed(self.tried("write"), source));
                }
                Ok(written) => {
                    offset += written as u64;
                    octets = &octets[written..];
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(StorageError::sort(self.tried("write"), errno.into())),
            }
        }
        Ok(())
    }
}

impl StorageFile for FileHandle {
    fn bytes(&self) -> Result<u64, StorageError> {
        self.file.metadata().map(|m| m.len()).map_err(|e| StorageError::sort(self.tried("stat"), e))
    }

    fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<usize, StorageError> {
        let mut read = 0;
        while read < to.len() {
            match rustix::io::pread(&self.file, &mut to[read..], offset + read as u64) {
                Ok(octets) => {
                    read += octets;
                    // The end of the file; asking on from the middle of a page would be an error.
                    if octets == 0 || !octets.is_multiple_of(PAGE_BYTES) {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(StorageError::sort(self.tried("read"), errno.into())),
            }
        }
        Ok(read)
    }

    fn write_at(&mut self, offset: u64, octets: &[u8]) -> Result<(), StorageError> {
        self.write_all(offset, octets, ReadWriteFlags::empty())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        rustix::fs::fdatasync(&self.file).map_err(|errno| StorageError::failed(self.tried("sync"), errno.into()))
    }

    /// One system call: the kernel may use a forced-unit-access write instead of flushing the whole cache of the disk.
    fn write_durable(&mut self, offset: u64, octets: &[u8]) -> Result<(), StorageError> {
        self.write_all(offset, octets, ReadWriteFlags::DSYNC)
    }
}
