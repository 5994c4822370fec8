//! The journal: what dhcpd remembers across a crash. Format, rules (`R…`) and crash cases (`C…`): docs/journal-format.md.
//!
//! Append-only segments of checksummed blocks, one writer thread, group commit for all appenders, snapshots beside the running log. Records are
//! opaque octets with a kind; their sequence is what events bear. It does not know leases, packets or time.
//!
//! Invariants: a [`Durable`] exists only for what the disk holds (DESIGN.md, rule 3); sequences are given once; after any crash the replayed
//! records are a prefix of what was appended that holds all that was durable.

mod aligned;
mod crash_disk;
mod durable;
mod entry;
mod file_storage;
mod follow;
mod format;
mod queue;
mod reader;
mod recovery;
mod repair;
mod segments;
mod snapshot;
mod storage;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use reveille_config::limit::JOURNAL_RING_BYTES_MAX;
use tokio::sync::watch;

pub use aligned::AlignedBuffer;
pub use crash_disk::{CrashDisk, Loss};
pub use durable::{Durable, Horizon, Pending, Refusal, Refused, Settled};
pub use file_storage::{DirectoryError, FileStorage};
pub use follow::Follower;
pub use format::{PAGE_BYTES, VERSION};
pub use queue::Appender;
pub use recovery::{Expect, Replay};
pub use repair::{Damage, RepairReport, repair, repair_storage};
pub use snapshot::{SnapshotError, SnapshotReport, SnapshotSource, SnapshotWriter};
pub use storage::{Storage, StorageError, StorageFile, StoredFile};
pub use writer::WriterPriority;

use follow::Following;
use queue::Shared;
use segments::Segments;
use writer::Writer;

/// Number of a record: 1, 2, 3 … in the order of appending. A durable one is never given again, over restarts and repairs (rule R4).
pub type Sequence = u64;

/// How a journal behaves. All have defaults.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// Length of a log segment in octets, a multiple of [`PAGE_BYTES`]; must hold a full ring. Default 16 MiB.
    pub segment_bytes: u64,
    /// Longest time between the starts of two commits while records wait; after a commit of few records it is shorter (20 µs for each). Default 1 ms.
    pub commit_gap: Duration,
    /// Octets of records that may wait; an append beyond is refused. At most (and by default) [`JOURNAL_RING_BYTES_MAX`].
    pub ring_bytes: usize,
    /// [`Journal::snapshot_due`] says yes when the log has grown by so many octets, or by the last snapshot's size if that is more. Default 64 MiB.
    pub snapshot_after_bytes: u64,
    /// Time between two tries of a refused write. Default 250 ms.
    pub retry_gap: Duration,
    /// Whether a thread makes the next segment ahead of time (default). Without it the writer makes segments itself, which tests can step through.
    pub spare_ahead: bool,
    /// Called on the writer's thread when it starts, to have it run before others; where it fails or there is none (default), a lower nice value is asked for.
    pub run_first: Option<fn() -> std::io::Result<()>>,
}

impl Default for JournalOptions {
    fn default() -> JournalOptions {
        JournalOptions {
            segment_bytes: 16 << 20,
            commit_gap: Duration::from_millis(1),
            ring_bytes: JOURNAL_RING_BYTES_MAX,
            snapshot_after_bytes: 64 << 20,
            retry_gap: Duration::from_millis(250),
            spare_ahead: true,
            run_first: None,
        }
    }
}

/// Whether the journal takes records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalState {
    /// It does.
    Healthy,
    /// The disk cleanly refused a write (full, quota, read-only, not permitted). It recovers by itself (rule R10).
    Refusing {
        /// What was tried, and the system's answer.
        reason: Arc<str>,
    },
    /// An I/O error. The daemon must exit with this reason; it never recovers (rule R11).
    Failed {
        /// What was tried, and the system's answer.
        reason: Arc<str>,
    },
}

/// What `open` found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The sequence that the snapshot covers, if there is one.
    pub snapshot_sequence: Option<Sequence>,
    /// Records of the snapshot.
    pub snapshot_records: u64,
    /// Length of the snapshot in octets.
    pub snapshot_bytes: u64,
    /// Records replayed from the log.
    pub log_records: u64,
    /// Octets of the valid blocks of the log.
    pub log_bytes: u64,
    /// The highest sequence that is in use.
    pub last_sequence: Sequence,
    /// Log segments read.
    pub segments: usize,
    /// Commits cut because they were never finished (torn tail, C7; at most 1).
    pub torn_commits: u64,
    /// Octets of them.
    pub torn_bytes: u64,
}

/// Counters since `open`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Commits that became durable.
    pub commits: u64,
    /// Records of them.
    pub records: u64,
    /// Octets written for them, with padding.
    pub octets: u64,
    /// Nanoseconds that all commits took together, from the start of the write to its return.
    pub commit_nanos: u64,
    /// Nanoseconds of the slowest.
    pub commit_nanos_max: u64,
    /// How often the journal began to refuse.
    pub refusals: u64,
    /// Octets written since the last snapshot.
    pub octets_since_snapshot: u64,
}

/// Why a journal could not be opened. What was replayed before the error is to be thrown away.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The options contradict each other.
    #[error("journal options: {0}")]
    Options(&'static str),
    /// The directory cannot be used; it may be in use.
    #[error("cannot open the journal")]
    Directory(#[from] DirectoryError),
    /// The disk does not read or write.
    #[error("cannot open the journal")]
    Storage(#[source] StorageError),
    /// A file was written by another version of the format; nothing was changed.
    #[error("{file} has format version {found}, this program reads version {VERSION} only")]
    Version {
        /// The file's name.
        file: String,
        /// Its version.
        found: u32,
    },
    /// Damage that no crash explains (C21, C22, C24). A repair cuts it off.
    #[error(
        "{file} is damaged at offset {offset}: {what}; `reveille lease repair` cuts off what cannot be read, after making a copy"
    )]
    Corrupt {
        /// The file's name.
        file: String,
        /// Where, in octets from the file's start.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A file that must be there is not (C23).
    #[error("a part of the journal is missing: {what}; `reveille lease repair` goes on without it")]
    Missing {
        /// What.
        what: String,
    },
    /// The system gives no thread.
    #[error("cannot start the journal's thread")]
    Thread(#[source] std::io::Error),
}

/// An open journal. Dropping it is as [`Journal::close`].
pub struct Journal {
    shared: Arc<Shared>,
    segments: Arc<Segments>,
    recovered: Recovered,
    priority: WriterPriority,
    snapshot_after_bytes: u64,
    threads: Vec<JoinHandle<()>>,
}

/// Opens the journal in a directory, which is made if need be and locked.
///
/// # Errors
/// See [`OpenError`].
pub fn open_directory(path: &Path, options: JournalOptions, replay: Replay<'_>) -> Result<Journal, OpenError> {
    open(Box::new(FileStorage::open(path)?), options, replay)
}

/// Opens a journal: replays the snapshot (each record with the sequence that it covers), then the later records of the log, all durable.
///
/// A torn tail is cut, counted in [`Journal::recovered`] and logged. Anything else that is wrong is an error.
///
/// # Errors
/// See [`OpenError`].
pub fn open(storage: Box<dyn Storage>, options: JournalOptions, replay: Replay<'_>) -> Result<Journal, OpenError> {
    open_followed(storage, options, &mut |_| {}, replay, None)
}

/// [`open`], and `follower` is shown each later record once it is durable, on a thread of its own. Before the first record `expect` is told about how many
/// there may be.
///
/// # Errors
/// See [`OpenError`].
pub fn open_followed(
    storage: Box<dyn Storage>,
    options: JournalOptions,
    expect: Expect<'_>,
    replay: Replay<'_>,
    follower: Option<Follower>,
) -> Result<Journal, OpenError> {
    options.check()?;
    let storage: Arc<dyn Storage> = Arc::from(storage);
    let found = recovery::recover(storage.as_ref(), expect, replay)?;
    let segments =
        Arc::new(Segments::new(Arc::clone(&storage), found.journal, options.segment_bytes, found.next_number));
    found.live.into_iter().for_each(|segment| segments.add_live(segment));
    for (name, bytes) in found.spares {
        if !segments.add_spare(name, bytes) {
            storage.remove(&name.to_string())?;
        }
    }
    let segment = match found.open {
        Some(segment) => segment,
        None => segments.next_segment(0, 1)?,
    };
    let shared = Arc::new(Shared::new(options.ring_bytes, found.next - 1, found.next));
    shared.counters.octets_since_snapshot.store(found.report.log_bytes, Ordering::Relaxed);
    shared.counters.snapshot_octets.store(found.report.snapshot_bytes, Ordering::Relaxed);

    let (following, reader) = match follower.map(|follower| Following::new(Arc::clone(&shared), follower)) {
        Some((following, reader)) => (following, Some(reader)),
        None => (Following::nobody(Arc::clone(&shared)), None),
    };
    let writer = Writer {
        following,
        shared: Arc::clone(&shared),
        segments: Arc::clone(&segments),
        segment,
        commit_gap: options.commit_gap,
        retry_gap: options.retry_gap,
    };
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let run_first = options.run_first;
    let run = move || {
        // The receiver waits for it just below.
        let _ = tell.send(writer::raise_priority(run_first));
        writer.run();
    };
    let mut journal = Journal {
        shared,
        segments,
        recovered: found.report,
        priority: WriterPriority::Normal { reason: "not asked for yet".into() },
        snapshot_after_bytes: options.snapshot_after_bytes,
        threads: Vec::new(),
    };
    journal.spawn("journal", run)?;
    if let Some(reader) = reader {
        journal.spawn("journal-reader", reader)?;
    }
    if let Ok(priority) = told.recv() {
        journal.priority = priority;
    }
    match &journal.priority {
        WriterPriority::RealTime => {}
        WriterPriority::Raised { reason } => {
            tracing::info!(reason, "the journal's thread has a lower nice value but no real-time priority");
        }
        WriterPriority::Normal { reason } => {
            tracing::info!(reason, "the journal's thread has normal priority; under load commits take longer");
        }
    }
    if options.spare_ahead {
        let (segments, shared) = (Arc::clone(&journal.segments), Arc::clone(&journal.shared));
        journal.spawn("journal-spares", move || segments.keep_spares(&shared, options.retry_gap))?;
    }
    Ok(journal)
}

impl JournalOptions {
    fn check(&self) -> Result<(), OpenError> {
        if self.ring_bytes == 0 || self.ring_bytes > JOURNAL_RING_BYTES_MAX {
            return Err(OpenError::Options("ring_bytes is 0 or beyond its limit"));
        }
        if !self.segment_bytes.is_multiple_of(PAGE_BYTES as u64) {
            return Err(OpenError::Options("segment_bytes is no multiple of the page size"));
        }
        let block = format::page_ceil(format::BLOCK_HEADER_BYTES + self.ring_bytes);
        if self.segment_bytes < (PAGE_BYTES + block) as u64 {
            return Err(OpenError::Options(
                "segment_bytes is too small for ring_bytes: a segment must hold a full ring",
            ));
        }
        Ok(())
    }
}

impl Journal {
    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(run).map_err(OpenError::Thread)?;
        self.threads.push(thread);
        Ok(())
    }

    /// A way in, for one worker thread or task.
    pub fn appender(&self) -> Appender {
        Appender::new(Arc::clone(&self.shared))
    }

    /// Wakes async tasks when the journal refuses, fails or ends; commits do not wake them.
    pub fn subscribe_state(&self) -> tokio::sync::watch::Receiver<()> {
        self.shared.subscribe_state()
    }

    /// The number drawn when the journal began, in every file of it.
    pub fn number(&self) -> u64 {
        self.segments.journal
    }

    /// The highest durable sequence.
    pub fn durable(&self) -> Sequence {
        self.shared.durable()
    }

    /// Whether the journal takes records.
    pub fn state(&self) -> JournalState {
        self.shared.state()
    }

    /// Wakes async tasks: the durable sequence, marked changed with each commit and with each change of state.
    pub fn subscribe(&self) -> watch::Receiver<Sequence> {
        self.shared.subscribe()
    }

    /// Wakes async tasks: how far the follower has read (as far as is durable, where there is none).
    pub fn subscribe_followed(&self) -> watch::Receiver<Sequence> {
        self.shared.subscribe_followed()
    }

    /// Blocks until everything up to `sequence` is durable and the follower has read it.
    ///
    /// # Errors
    /// The journal refuses records or has failed.
    pub fn wait_followed(&self, sequence: Sequence) -> Result<(), Refusal> {
        self.shared.wait_followed(sequence)
    }

    /// Wakes threads: `listener` is called on the journal's threads after each commit and each change of state, and when the follower has read on
    /// and somebody awaits it ([`Appender::has_followed`]). It must return at once (write an eventfd, unpark a thread) and not call [`Journal::on_durable`].
    pub fn on_durable(&self, listener: Box<dyn Fn() + Send + Sync>) {
        self.shared.listen(listener);
    }

    /// What `open` found.
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Whether the writer thread could raise its priority.
    pub fn writer_priority(&self) -> &WriterPriority {
        &self.priority
    }

    /// Counters since `open`.
    pub fn stats(&self) -> JournalStats {
        self.shared.stats()
    }

    /// Log segments on the disk, the open one included.
    pub fn segments(&self) -> usize {
        self.segments.live_count()
    }

    /// Whether the log has grown so much that a snapshot pays.
    pub fn snapshot_due(&self) -> bool {
        let counters = &self.shared.counters;
        let due = self.snapshot_after_bytes.max(counters.snapshot_octets.load(Ordering::Relaxed));
        counters.octets_since_snapshot.load(Ordering::Relaxed) >= due
    }

    /// Begins a snapshot, which covers all records appended before this call. Appends go on meanwhile.
    ///
    /// Every record up to [`SnapshotWriter::covers`] must show in what is then put. With workers that own tables: begin, then ask each worker
    /// through its queue for its part; what it appended before it answers is in its table. Later records may show too (rule R8).
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn begin_snapshot(&self) -> Result<SnapshotWriter, SnapshotError> {
        SnapshotWriter::begin(&self.shared, &self.segments)
    }

    /// [`Journal::begin_snapshot`], puts and finish in one: `source` calls its argument once per record of the state. Blocks.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn snapshot(&self, source: SnapshotSource<'_>) -> Result<SnapshotReport, SnapshotError> {
        let mut writer = self.begin_snapshot()?;
        let mut result = Ok(());
        source(&mut |kind, payload| {
            if result.is_ok() {
                result = writer.put(kind, payload);
            }
        });
        result?;
        writer.finish()
    }

    /// Writes what waits (when refusing: tries once more), then ends. Later appends are refused as closed.
    pub fn close(self) {
        drop(self);
    }
}

impl Horizon for Journal {
    fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.close();
        self.segments.close();
        for thread in self.threads.drain(..) {
            // A panic of the writer was reported by the panic hook; there is nothing left to write with.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("durable", &self.durable())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
