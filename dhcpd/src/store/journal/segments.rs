//! The files of a running journal: live segments, spares made ahead, retirement.
//!
//! Invariants: the number of a segment grows for ever (rule R3); a segment's name is durable before its first block is written (R6, C4); a retired
//! segment's change of name is durable before it can be taken again (R9).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reveille_config::limit::JOURNAL_SPARES_MAX;

use super::Sequence;
use super::aligned::AlignedBuffer;
use super::format::{FileHeader, FileName, PAGE_BYTES, Purpose};
use super::queue::Shared;
use super::storage::{Storage, StorageError, StorageFile};

/// How long the keeper rests after each piece of a spare: nothing is in a hurry while another spare is there.
const REST: Duration = Duration::from_millis(10);
/// The same while there is none.
const SHORT_REST: Duration = Duration::from_millis(2);

/// The segment that commits go to.
pub(super) struct OpenSegment {
    pub(super) file: Box<dyn StorageFile>,
    pub(super) number: u64,
    pub(super) salt: u64,
    /// Where the next block goes.
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// A live segment, as far as retirement must know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LiveSegment {
    pub(super) number: u64,
    pub(super) follows: Sequence,
}

#[derive(Debug, Default)]
struct Files {
    /// In order; the last is the open one.
    live: Vec<LiveSegment>,
    spares: Vec<FileName>,
    next_number: u64,
    /// The writer waits for a spare.
    wanted: bool,
    closing: bool,
}

/// The files of a running journal.
pub(super) struct Segments {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) journal: u64,
    segment_bytes: u64,
    files: Mutex<Files>,
    /// Held while a spare is made, so that writer and keeper do not make one each.
    making: Mutex<()>,
    wake_keeper: Condvar,
    pub(super) snapshot_running: AtomicBool,
}

/// Makes a spare the segment of this header: content first, then the name, both durable (C3, C4).
pub(super) fn activate(
    storage: &dyn Storage,
    spare: FileName,
    header: &FileHeader,
) -> Result<OpenSegment, StorageError> {
    let mut file = storage.open(&spare.to_string())?;
    let mut page = AlignedBuffer::zeroed(PAGE_BYTES);
    header.encode(page.as_mut_slice());
    file.write_durable(0, page.as_slice())?;
    storage.rename(&spare.to_string(), &FileName::Log(header.number).to_string())?;
    storage.sync_directory()?;
    Ok(OpenSegment { file, number: header.number, salt: header.salt, offset: PAGE_BYTES as u64, bytes: header.bytes })
}

impl Segments {
    pub(super) fn new(storage: Arc<dyn Storage>, journal: u64, segment_bytes: u64, next_number: u64) -> Segments {
        Segments {
            storage,
            journal,
            segment_bytes,
            files: Mutex::new(Files { next_number, ..Files::default() }),
            making: Mutex::new(()),
            wake_keeper: Condvar::new(),
            snapshot_running: AtomicBool::new(false),
        }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// At start: a segment that recovery found, in order.
    pub(super) fn add_live(&self, segment: LiveSegment) {
        self.files().live.push(segment);
    }

    /// At start: a spare that recovery found, if there is use for it. `false`: remove it.
    pub(super) fn add_spare(&self, name: FileName, bytes: u64) -> bool {
        let mut files = self.files();
        let wanted = bytes == self.segment_bytes && files.spares.len() < JOURNAL_SPARES_MAX;
        if wanted {
            files.spares.push(name);
        }
        wanted
    }

    pub(super) fn live_count(&self) -> usize {
        self.files().live.len()
    }

    /// Makes a spare the open segment; its first record will be `first`.
    pub(super) fn next_segment(&self, follows: Sequence, first: Sequence) -> Result<OpenSegment, StorageError> {
        let spare = self.take_spare()?;
        let number = {
            let mut files = self.files();
            files.next_number += 1;
            files.next_number - 1
        };
        let (journal, salt) = (self.journal, self.storage.salt());
        let header =
            FileHeader { purpose: Purpose::Log, journal, number, salt, follows, first, bytes: self.segment_bytes };
        let opened = activate(self.storage.as_ref(), spare, &header);
        match &opened {
            Ok(_) => {
                self.files().live.push(LiveSegment { number, follows });
                self.wake_keeper.notify_all();
            }
            // It still has its name: the retry may take it again.
            Err(StorageError::Refused { .. }) => self.files().spares.push(spare),
            Err(StorageError::Failed { .. }) => {}
        }
        opened
    }

    fn take_spare(&self) -> Result<FileName, StorageError> {
        {
            let mut files = self.files();
            if let Some(spare) = files.spares.pop() {
                return Ok(spare);
            }
            files.wanted = true;
        }
        // The keeper may be resting in the middle of one.
        self.wake_keeper.notify_all();
        let made = self.make_spare(0, &mut || {});
        let mut files = self.files();
        files.wanted = false;
        made?;
        // Only the writer takes spares, so the one just made is there.
        files.spares.pop().ok_or_else(|| {
            StorageError::failed("take a spare segment", std::io::Error::from(std::io::ErrorKind::NotFound))
        })
    }

    /// Makes a spare unless there are more than `enough` by now.
    fn make_spare(&self, enough: usize, between: &mut dyn FnMut()) -> Result<(), StorageError> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let name = {
            let mut files = self.files();
            if files.spares.len() > enough {
                return Ok(());
            }
            files.next_number += 1;
            FileName::Spare(files.next_number - 1)
        };
        self.storage.allocate(&name.to_string(), self.segment_bytes, between)?;
        self.files().spares.push(name);
        Ok(())
    }

    /// Keeper: leaves the disk to the commits for a while, unless the writer waits for the spare.
    fn rest(&self) {
        let files = self.files();
        let rest = if files.spares.is_empty() { SHORT_REST } else { REST };
        drop(self.wake_keeper.wait_timeout_while(files, rest, |files| !files.wanted && !files.closing));
    }

    /// Retires the segments that a durable snapshot covers wholly (rule R9).
    pub(super) fn retire(&self, covered: Sequence) -> Result<usize, StorageError> {
        let (retired, room) = {
            let mut files = self.files();
            let keep = files.live.windows(2).take_while(|pair| pair[1].follows <= covered).count();
            (files.live.drain(..keep).collect::<Vec<_>>(), JOURNAL_SPARES_MAX.saturating_sub(files.spares.len()))
        };
        let mut spares = Vec::new();
        for segment in &retired {
            let name = FileName::Log(segment.number).to_string();
            let fits = self.storage.open(&name)?.bytes()? == self.segment_bytes;
            if fits && spares.len() < room {
                let spare = FileName::Spare(segment.number);
                self.storage.rename(&name, &spare.to_string())?;
                spares.push(spare);
            } else {
                self.storage.remove(&name)?;
            }
        }
        self.storage.sync_directory()?;
        self.files().spares.append(&mut spares);
        Ok(retired.len())
    }

    pub(super) fn close(&self) {
        self.files().closing = true;
        self.wake_keeper.notify_all();
    }

    /// The keeper thread: has spares ready before the writer needs them, and takes its time over them. A full disk is not yet a refusal here: the open segment has room.
    pub(super) fn keep_spares(&self, shared: &Shared, retry_gap: Duration) {
        let mut warned = false;
        loop {
            {
                let mut files = self.files();
                while !files.closing && files.spares.len() >= JOURNAL_SPARES_MAX {
                    files = self.wake_keeper.wait(files).unwrap_or_else(PoisonError::into_inner);
                }
                if files.closing {
                    return;
                }
            }
            match self.make_spare(JOURNAL_SPARES_MAX - 1, &mut || self.rest()) {
                Ok(()) => warned = false,
                Err(error @ StorageError::Refused { .. }) => {
                    if !std::mem::replace(&mut warned, true) {
                        let reason = error.explain();
                        tracing::warn!(
                            reason,
                            "no room for the next journal segment; records are refused once the open one is full"
                        );
                    }
                    let files = self.files();
                    if !files.closing {
                        drop(self.wake_keeper.wait_timeout(files, retry_gap));
                    }
                }
                Err(error) => {
                    shared.fail(&error.explain());
                    return;
                }
            }
        }
    }

    /// Takes the right to write a snapshot; there is one at a time.
    pub(super) fn begin_snapshot(&self) -> bool {
        !self.snapshot_running.swap(true, Ordering::AcqRel)
    }

    pub(super) fn end_snapshot(&self) {
        self.snapshot_running.store(false, Ordering::Release);
    }
}
