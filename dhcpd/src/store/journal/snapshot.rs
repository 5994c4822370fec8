//! Writes the whole state to a new file beside the running log, then retires the segments it covers (rules R8, R9).
//!
//! Appends go on meanwhile. Whose state it is, and how it is read without stopping the workers, is the caller's business; the rule for
//! the caller is in [`super::Journal::begin_snapshot`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reveille_config::limit::JOURNAL_PAYLOAD_BYTES_MAX;

use super::aligned::AlignedBuffer;
use super::durable::Refusal;
use super::format::{BLOCK_HEADER_BYTES, FileHeader, FileName, PAGE_BYTES, Purpose, page_ceil, seal_block};
use super::queue::Shared;
use super::segments::Segments;
use super::storage::{Storage, StorageError, StorageFile};
use super::{Sequence, entry};

/// Records of about so many octets make one block of a snapshot.
const BLOCK_BYTES: usize = 256 << 10;

/// How long the writing of a snapshot rests after each block: disk and processor belong to the commits, and a snapshot is in no hurry.
const REST: Duration = Duration::from_millis(4);

/// Why a snapshot was not made. The old one and the log stay in force.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Another snapshot is being written.
    #[error("another snapshot is being written")]
    Busy,
    /// A payload longer than [`JOURNAL_PAYLOAD_BYTES_MAX`].
    #[error("a record of {0} octets is longer than the journal's limit")]
    TooLong(usize),
    /// The file could not be written.
    #[error("cannot write the snapshot")]
    Storage(#[from] StorageError),
    /// The records that the snapshot may show did not become durable.
    #[error("the log is not durable up to the snapshot")]
    Log(#[source] Refusal),
}

/// Calls its argument once per record of the state, with kind and payload.
pub type SnapshotSource<'a> = &'a mut dyn FnMut(&mut dyn FnMut(u8, &[u8]));

/// What a finished snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotReport {
    /// Replay starts after this sequence.
    pub covers: Sequence,
    /// How many records it has.
    pub records: u64,
    /// Length of its file in octets.
    pub bytes: u64,
    /// Segments of the log that are not needed any more.
    pub segments_retired: usize,
}

/// The file of a snapshot: blocks first, the header that counts them last.
pub(super) struct SnapshotFile {
    file: Box<dyn StorageFile>,
    covers: Sequence,
    salt: u64,
    records: u64,
    offset: u64,
    block: AlignedBuffer,
    pending: Vec<u8>,
    pending_records: u32,
}

impl SnapshotFile {
    /// Makes `snapshot.tmp`, in the place of one that may be there.
    pub(super) fn create(storage: &dyn Storage, covers: Sequence) -> Result<SnapshotFile, StorageError> {
        Ok(SnapshotFile {
            file: storage.create(&FileName::SnapshotUnfinished.to_string())?,
            covers,
            salt: storage.salt(),
            records: 0,
            offset: PAGE_BYTES as u64,
            block: AlignedBuffer::default(),
            pending: Vec::with_capacity(BLOCK_BYTES),
            pending_records: 0,
        })
    }

    /// Adds a record; its payload is within the limit. Says whether a block was written.
    pub(super) fn put(&mut self, kind: u8, payload: &[u8]) -> Result<bool, StorageError> {
        let full = self.pending.len() + entry::encoded_bytes(payload) > BLOCK_BYTES - BLOCK_HEADER_BYTES;
        if full {
            self.write_block()?;
        }
        entry::push(&mut self.pending, kind, payload);
        self.pending_records += 1;
        Ok(full)
    }

    fn write_block(&mut self) -> Result<(), StorageError> {
        if self.pending_records == 0 {
            return Ok(());
        }
        let length = BLOCK_HEADER_BYTES + self.pending.len();
        self.block.resize(page_ceil(length));
        let to = self.block.as_mut_slice();
        to[BLOCK_HEADER_BYTES..length].copy_from_slice(&self.pending);
        seal_block(to, length, self.covers, self.salt, self.records + 1, self.pending_records);
        // Durable at once, so that a commit beside it never waits for a cache full of blocks.
        self.file.write_durable(self.offset, to)?;
        self.offset += page_ceil(length) as u64;
        self.records += u64::from(self.pending_records);
        self.pending_records = 0;
        self.pending.clear();
        Ok(())
    }

    /// Completes the file and makes it durable, still under its temporary name. Says its records and octets.
    pub(super) fn seal(&mut self, journal: u64) -> Result<(u64, u64), StorageError> {
        self.write_block()?;
        let header = FileHeader {
            purpose: Purpose::Snapshot,
            journal,
            number: self.covers,
            salt: self.salt,
            follows: self.covers,
            first: self.records,
            bytes: self.offset,
        };
        let mut page = AlignedBuffer::zeroed(PAGE_BYTES);
        header.encode(page.as_mut_slice());
        self.file.write_at(0, page.as_slice())?;
        self.file.sync()?;
        Ok((self.records, self.offset))
    }
}

/// Gives the finished snapshot its name, durably.
pub(super) fn put_in_force(storage: &dyn Storage, covers: Sequence) -> Result<(), StorageError> {
    storage.rename(&FileName::SnapshotUnfinished.to_string(), &FileName::Snapshot(covers).to_string())?;
    storage.sync_directory()
}

/// A snapshot being written. Dropping it gives it up.
pub struct SnapshotWriter {
    shared: Arc<Shared>,
    segments: Arc<Segments>,
    file: SnapshotFile,
    octets_since_snapshot: u64,
    finished: bool,
}

impl std::fmt::Debug for SnapshotWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotWriter").field("covers", &self.covers()).finish_non_exhaustive()
    }
}

impl SnapshotWriter {
    pub(super) fn begin(shared: &Arc<Shared>, segments: &Arc<Segments>) -> Result<SnapshotWriter, SnapshotError> {
        if !segments.begin_snapshot() {
            return Err(SnapshotError::Busy);
        }
        let octets_since_snapshot = shared.counters.octets_since_snapshot.load(Ordering::Relaxed);
        let created = SnapshotFile::create(segments.storage.as_ref(), shared.last_given());
        let file = checked(shared, created.inspect_err(|_| segments.end_snapshot()))?;
        Ok(SnapshotWriter {
            shared: Arc::clone(shared),
            segments: Arc::clone(segments),
            file,
            octets_since_snapshot,
            finished: false,
        })
    }

    /// Every record up to this sequence must show in what is put.
    pub fn covers(&self) -> Sequence {
        self.file.covers
    }

    /// Adds a record of the state.
    ///
    /// # Errors
    /// The payload is too long, or the disk does not take it; the snapshot is then to be dropped.
    pub fn put(&mut self, kind: u8, payload: &[u8]) -> Result<(), SnapshotError> {
        if payload.len() > JOURNAL_PAYLOAD_BYTES_MAX {
            return Err(SnapshotError::TooLong(payload.len()));
        }
        if checked(&self.shared, self.file.put(kind, payload))? {
            std::thread::sleep(REST);
        }
        Ok(())
    }

    /// Puts the snapshot in force and retires what it covers. Blocks until what was appended by now is durable: not for async tasks.
    ///
    /// # Errors
    /// The disk does not take it, or the journal is refusing, failed or closed.
    pub fn finish(mut self) -> Result<SnapshotReport, SnapshotError> {
        let (records, bytes) = checked(&self.shared, self.file.seal(self.segments.journal))?;
        // What the snapshot may show was appended by now; it must be durable before the snapshot is in force (C20).
        self.shared.wait_durable(self.shared.last_given()).map_err(SnapshotError::Log)?;
        let covers = self.covers();
        let storage = self.segments.storage.as_ref();
        checked(&self.shared, put_in_force(storage, covers))?;
        self.finished = true;
        let segments_retired = checked(&self.shared, self.retire())?;

        let counters = &self.shared.counters;
        counters.octets_since_snapshot.fetch_sub(self.octets_since_snapshot, Ordering::Relaxed);
        counters.snapshot_octets.store(bytes, Ordering::Relaxed);
        Ok(SnapshotReport { covers, records, bytes, segments_retired })
    }

    fn retire(&self) -> Result<usize, StorageError> {
        let storage = &self.segments.storage;
        let name = FileName::Snapshot(self.covers()).to_string();
        for file in storage.list()? {
            if file.name != name && matches!(FileName::parse(&file.name), Some(FileName::Snapshot(_))) {
                storage.remove(&file.name)?;
            }
        }
        self.segments.retire(self.covers())
    }
}

/// Rule R11 holds for snapshots too: an I/O error means a dying disk, and the daemon must not live on it.
fn checked<T>(shared: &Shared, result: Result<T, StorageError>) -> Result<T, SnapshotError> {
    result.map_err(|error| {
        if let StorageError::Failed { .. } = &error {
            shared.fail(&error.explain());
        }
        SnapshotError::Storage(error)
    })
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.finished {
            // Best effort: the next start removes it too.
            let _ = self.segments.storage.remove(&FileName::SnapshotUnfinished.to_string());
        }
        self.segments.end_snapshot();
    }
}
