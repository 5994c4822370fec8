//! The one thread that writes the log: takes what waits, writes it as one block, says that it is durable (rules R1, R2, R6).
//!
//! A clean refusal is retried with the very same block at the very same offset (R10); any other error ends the thread (R11).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::aligned::AlignedBuffer;
use super::follow::Following;
use super::format::{BLOCK_HEADER_BYTES, page_ceil, seal_block};
use super::queue::{Batch, Gap, Shared};
use super::segments::{OpenSegment, Segments};
use super::storage::StorageError;

/// The nice value asked for: behind a saturated worker on the same core a writer of normal priority commits in 1–2 ms instead of 0.35.
const WRITER_NICE: i32 = -15;

/// Each record of a commit puts off the next by so much: up to 5,000 records a second are committed as they come, more wait for each other. A commit costs about
/// 80 µs of a core, and disks that are shared allow only so many a second.
const GAP_PER_RECORD: Duration = Duration::from_micros(200);

/// The longest such time where somebody waits who hastens ([`super::Appender::hasten`]).
const HASTENED_GAP_MAX: Duration = Duration::from_micros(250);

/// Least time between the starts of a commit of `records` and the next; `gap_max` bounds it.
fn gap_after(records: u32, gap_max: Duration) -> Duration {
    GAP_PER_RECORD.saturating_mul(records).min(gap_max)
}

/// How urgent the kernel takes the writer thread to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriterPriority {
    /// It runs before every ordinary thread.
    RealTime,
    /// Nice −15, because real-time priority was not asked for or not allowed.
    Raised {
        /// The system's answer.
        reason: String,
    },
    /// As any other thread, because raising it was not allowed (CAP_SYS_NICE or RLIMIT_NICE).
    Normal {
        /// The system's answer.
        reason: String,
    },
}

/// Raises the priority of the calling thread as far as is allowed.
pub(super) fn raise_priority(run_first: Option<fn() -> std::io::Result<()>>) -> WriterPriority {
    let reason = match run_first.map(|run_first| run_first()) {
        Some(Ok(())) => return WriterPriority::RealTime,
        Some(Err(error)) => error.to_string(),
        None => "not asked for".to_string(),
    };
    // On Linux the nice value belongs to the thread whose id is given.
    match rustix::process::setpriority_process(Some(rustix::thread::gettid()), WRITER_NICE) {
        Ok(()) => WriterPriority::Raised { reason },
        Err(errno) => WriterPriority::Normal { reason: errno.to_string() },
    }
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) segments: Arc<Segments>,
    pub(super) segment: OpenSegment,
    pub(super) commit_gap: Duration,
    pub(super) retry_gap: Duration,
    pub(super) following: Following,
}

impl Writer {
    /// Commits until the journal is closed and nothing waits, or until it fails.
    pub(super) fn run(mut self) {
        let _failed = FailOnPanic(Arc::clone(&self.shared));
        let mut batch = Batch::default();
        let mut block = AlignedBuffer::default();
        let mut gap = None;
        while self.shared.take(&mut batch, gap) {
            let start = Instant::now();
            let wait = gap_after(batch.records, self.commit_gap);
            gap = Some(Gap { end: start + wait, hastened_end: start + wait.min(HASTENED_GAP_MAX) });
            if !self.commit(&batch, &mut block) {
                break;
            }
            self.count(&batch, block.as_slice().len(), start.elapsed());
            self.shared.publish(batch.last());
            self.following.show(&mut batch);
        }
        self.shared.ended();
    }

    /// Writes a batch, however long it is refused. `false`: it was not and will not be written.
    fn commit(&mut self, batch: &Batch, block: &mut AlignedBuffer) -> bool {
        let mut last_try = false;
        loop {
            match self.write(batch, block) {
                Ok(()) => return true,
                Err(error @ StorageError::Refused { .. }) => {
                    self.shared.refuse(&error.explain());
                    if last_try {
                        return false;
                    }
                    last_try = !self.shared.wait_to_retry(self.retry_gap);
                }
                Err(error) => {
                    self.shared.fail(&error.explain());
                    return false;
                }
            }
        }
    }

    fn write(&mut self, batch: &Batch, block: &mut AlignedBuffer) -> Result<(), StorageError> {
        let length = BLOCK_HEADER_BYTES + batch.octets.len();
        let octets = page_ceil(length) as u64;
        if self.segment.offset + octets > self.segment.bytes {
            self.segment = self.segments.next_segment(batch.first - 1, batch.first)?;
        }
        block.resize(octets as usize);
        let to = block.as_mut_slice();
        to[BLOCK_HEADER_BYTES..length].copy_from_slice(&batch.octets);
        seal_block(to, length, self.segment.number, self.segment.salt, batch.first, batch.records);
        self.segment.file.write_durable(self.segment.offset, to)?;
        self.segment.offset += octets;
        Ok(())
    }

    fn count(&self, batch: &Batch, octets: usize, took: Duration) {
        let counters = &self.shared.counters;
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        counters.commits.fetch_add(1, Ordering::Relaxed);
        counters.records.fetch_add(u64::from(batch.records), Ordering::Relaxed);
        counters.octets.fetch_add(octets as u64, Ordering::Relaxed);
        counters.octets_since_snapshot.fetch_add(octets as u64, Ordering::Relaxed);
        counters.commit_nanos.fetch_add(nanos, Ordering::Relaxed);
        counters.commit_nanos_max.fetch_max(nanos, Ordering::Relaxed);
    }
}

/// A writer that panicked must not leave a journal that looks healthy and never commits.
struct FailOnPanic(Arc<Shared>);

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("the journal's thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_records_wait_less_than_many() {
        let max = Duration::from_millis(1);
        for (records, micros) in [(0, 0), (1, 200), (4, 800), (5, 1_000), (6, 1_000), (u32::MAX, 1_000)] {
            assert_eq!(gap_after(records, max), Duration::from_micros(micros), "{records}");
        }
        assert_eq!(gap_after(1_000, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn what_is_not_allowed_is_done_without() {
        let refused = || Err(std::io::Error::from_raw_os_error(rustix::io::Errno::PERM.raw_os_error()));
        // Whether the nice value may be lowered depends on who runs this; that the thread goes on does not.
        let raise = move |run_first| std::thread::spawn(move || raise_priority(run_first)).join().unwrap();
        assert_eq!(raise(Some(|| Ok(()))), WriterPriority::RealTime);
        for run_first in [None, Some(refused as fn() -> std::io::Result<()>)] {
            assert_ne!(raise(run_first), WriterPriority::RealTime);
        }
    }
}
