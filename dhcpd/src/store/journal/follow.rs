//! The journal's reader: a thread that is shown each record once it is durable, in order, so that what is read elsewhere needs no lock where packets are answered.
//!
//! The writer hands its buffers over and gets them back emptied. When [`WAITING_MAX`] commits or [`WAITING_OCTETS_MAX`] octets wait for the
//! reader, the writer waits too: memory stays bounded, and with it how far the reader is behind. On a core that has no time left the reader runs after
//! those who answer packets, a tenth of the time at least, and it sleeps without spinning first.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded};

use super::Sequence;
use super::entry;
use super::queue::{Batch, Shared};
use crate::store::nice::be_nicer;

/// Commits that may wait for the reader.
const WAITING_MAX: usize = 1_024;
/// Octets of them.
const WAITING_OCTETS_MAX: usize = 8 << 20;
/// Octets that a buffer has room for.
const BUFFER_OCTETS_MIN: usize = 4_096;
/// So much above the process's own nice value is the reader's.
const READER_NICER: i32 = 10;

/// Called with the sequence of the first record and the records (kind and payload) of one commit.
pub type Follower = Box<dyn FnMut(Sequence, &mut dyn Iterator<Item = (u8, &[u8])>) + Send>;

/// The writer's end.
pub(super) struct Following {
    shared: Arc<Shared>,
    to_reader: Option<(Sender<Batch>, Receiver<Batch>)>,
    /// Octets that wait for the reader.
    waiting: Arc<AtomicUsize>,
    sleeper: Arc<Sleeper>,
}

/// The reader while it has nothing to read.
#[derive(Debug, Default)]
struct Sleeper {
    thread: OnceLock<Thread>,
    asleep: AtomicBool,
}

impl Following {
    /// Nobody follows: what is durable counts as read.
    pub(super) fn nobody(shared: Arc<Shared>) -> Self {
        Self { shared, to_reader: None, waiting: Arc::default(), sleeper: Arc::default() }
    }

    /// The writer's end of `follower`, and what the reader's thread runs.
    pub(super) fn new(shared: Arc<Shared>, mut follower: Follower) -> (Self, impl FnOnce() + Send + 'static) {
        let (to_reader, batches) = bounded::<Batch>(WAITING_MAX);
        let (empty, emptied) = bounded(WAITING_MAX);
        let of_reader = Arc::clone(&shared);
        let waiting = Arc::new(AtomicUsize::new(0));
        let read = Arc::clone(&waiting);
        let sleeper = Arc::new(Sleeper::default());
        let sleeping = Arc::clone(&sleeper);
        let run = move || {
            let _failed = FailOnPanic(Arc::clone(&of_reader));
            be_nicer(READER_NICER);
            // Ends with the writer.
            while let Some(mut batch) = sleeping.next(&batches) {
                follower(batch.first, &mut entry::records(&batch.octets));
                of_reader.followed(batch.last());
                read.fetch_sub(batch.octets.len(), Ordering::Relaxed);
                batch.octets.clear();
                // A buffer too many is let go.
                let _ = empty.try_send(batch);
            }
        };
        (Self { shared, to_reader: Some((to_reader, emptied)), waiting, sleeper }, run)
    }

    /// Writer: the batch is durable. It comes back empty, or another one does.
    pub(super) fn show(&self, batch: &mut Batch) {
        match &self.to_reader {
            None => self.shared.followed(batch.last()),
            Some((to_reader, emptied)) => {
                let octets = batch.octets.len();
                let mut next = emptied.try_recv().unwrap_or_default();
                while self.waiting.load(Ordering::Relaxed) > WAITING_OCTETS_MAX.saturating_sub(octets) {
                    // Each batch comes back once it is read.
                    let Ok(empty) = emptied.recv() else { break };
                    next = empty;
                }
                self.waiting.fetch_add(octets, Ordering::Relaxed);
                // So that appenders need not grow it, even where it is new because the reader lags and the last commit was small.
                next.octets.reserve(octets.max(BUFFER_OCTETS_MIN));
                // The reader ends only after the writer, or by a panic, which has been reported.
                let _ = to_reader.send(std::mem::replace(batch, next));
                self.sleeper.wake();
            }
        }
    }
}

/// The reader ends when the channel has no sender and no batch is left: it must not sleep through that.
impl Drop for Following {
    fn drop(&mut self) {
        self.to_reader = None;
        self.sleeper.wake();
    }
}

impl Sleeper {
    /// The reader: the next batch, once there is one; `None` when none will come.
    fn next(&self, batches: &Receiver<Batch>) -> Option<Batch> {
        self.thread.get_or_init(std::thread::current);
        loop {
            // Once more after saying that it sleeps: whoever sent before that did not wake it.
            for asleep in [false, true] {
                self.asleep.store(asleep, Ordering::SeqCst);
                match batches.try_recv() {
                    Ok(batch) => return Some(batch),
                    Err(TryRecvError::Disconnected) => return None,
                    Err(TryRecvError::Empty) => {}
                }
            }
            std::thread::park();
        }
    }

    /// The writer: something has changed.
    fn wake(&self) {
        // A reader that has not begun yet will look before it sleeps.
        if self.asleep.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

/// A reader that panicked would leave others waiting for ever.
struct FailOnPanic(Arc<Shared>);

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("the journal's reader panicked");
        }
    }
}
