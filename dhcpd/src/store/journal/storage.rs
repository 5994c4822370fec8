//! The one seam between the journal and what keeps its octets: [`super::FileStorage`] is a directory, [`super::CrashDisk`] a simulated disk.
//!
//! Contract of all offsets, lengths and buffers: multiples of [`super::PAGE_BYTES`], buffers from [`super::AlignedBuffer`], because real
//! files are read and written past the page cache. Each error says whether the journal may go on (rule R10) or not (R11).

use std::io;

/// Why the storage did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Cleanly refused: no room, over quota, read-only, not permitted. Trying again later is sound (rule R10).
    #[error("{what}")]
    Refused {
        /// What was tried, and on which file.
        what: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Anything else: what the disk holds is unknown (rule R11).
    #[error("{what}")]
    Failed {
        /// What was tried, and on which file.
        what: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl StorageError {
    /// Sorts an error of a write, a creation or a change of name. An error of a sync is [`StorageError::failed`] instead.
    pub fn sort(what: impl Into<String>, source: io::Error) -> StorageError {
        use rustix::io::Errno;
        let refused = [
            Errno::NOSPC,
            Errno::DQUOT,
            Errno::ROFS,
            Errno::PERM,
            Errno::ACCESS,
            Errno::FBIG,
            // No descriptor or memory to open with: nothing was touched.
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
        ];
        let what = what.into();
        match Errno::from_io_error(&source) {
            Some(errno) if refused.contains(&errno) => StorageError::Refused { what, source },
            _ => StorageError::Failed { what, source },
        }
    }

    /// An error after which nothing is certain.
    pub fn failed(what: impl Into<String>, source: io::Error) -> StorageError {
        StorageError::Failed { what: what.into(), source }
    }

    /// The whole of it in one line, for states that are shown to operators.
    pub fn explain(&self) -> String {
        match self {
            StorageError::Refused { what, source } | StorageError::Failed { what, source } => {
                format!("{what}: {source}")
            }
        }
    }
}

/// A file that [`Storage::list`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Its name inside the directory.
    pub name: String,
    /// Its length in octets.
    pub bytes: u64,
}

/// A flat directory of files that survives a crash as far as it was synced.
pub trait Storage: Send + Sync {
    /// All files, in no particular order.
    fn list(&self) -> Result<Vec<StoredFile>, StorageError>;
    /// Makes a file of `bytes` zeros whose blocks are really on the disk, durable with its name. Leaves nothing behind when refused. `between` is
    /// called between its pieces, each of which is durable by then.
    fn allocate(&self, name: &str, bytes: u64, between: &mut dyn FnMut()) -> Result<(), StorageError>;
    /// Makes an empty file, or empties the one that is there, and opens it.
    fn create(&self, name: &str) -> Result<Box<dyn StorageFile>, StorageError>;
    /// Opens a file that is there.
    fn open(&self, name: &str) -> Result<Box<dyn StorageFile>, StorageError>;
    /// Changes a file's name; a file that bears the new name is replaced. Durable after [`Storage::sync_directory`].
    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError>;
    /// Removes a file. Durable after [`Storage::sync_directory`].
    fn remove(&self, name: &str) -> Result<(), StorageError>;
    /// Makes all names durable.
    fn sync_directory(&self) -> Result<(), StorageError>;
    /// A number nobody can guess.
    fn salt(&self) -> u64;
}

/// One open file.
pub trait StorageFile: Send {
    /// Length in octets.
    fn bytes(&self) -> Result<u64, StorageError>;
    /// Reads as much as there is from `offset`, at most `to.len()` octets, and says how much that was.
    fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<usize, StorageError>;
    /// Writes all of `octets`; durable after [`StorageFile::sync`]. After an error any part of it may have been written.
    fn write_at(&mut self, offset: u64, octets: &[u8]) -> Result<(), StorageError>;
    /// Makes durable what was written, whichever handle or process wrote it.
    fn sync(&mut self) -> Result<(), StorageError>;
    /// [`StorageFile::write_at`] that returns when the octets are durable.
    fn write_durable(&mut self, offset: u64, octets: &[u8]) -> Result<(), StorageError> {
        self.write_at(offset, octets)?;
        self.sync()
    }
}
