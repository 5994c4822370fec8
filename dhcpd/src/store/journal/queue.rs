//! The queue between all appenders and the one writer, and the state that both see.
//!
//! Appending copies the record into a buffer under a short lock and gives it its sequence; the writer takes the whole buffer with one
//! swap. No lock is held during I/O. Invariants: sequences are given in the order in which the records lie in the buffers (rule R4); a batch is never
//! split over two commits; the buffer never exceeds `ring_bytes`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use reveille_config::limit::JOURNAL_PAYLOAD_BYTES_MAX;
use tokio::sync::watch;

use super::durable::{Pending, Refusal, Refused};
use super::{JournalState, JournalStats, Sequence, entry};

/// What the writer sleeps for, so that appenders wake it only then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriterSleep {
    Awake,
    UntilWork,
    UntilGapEnds,
}

/// When the writer may take what waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    /// So that many packets share a commit.
    pub(super) end: Instant,
    /// Where somebody hastens ([`Appender::hasten`]).
    pub(super) hastened_end: Instant,
}

/// Records taken by the writer at once: one commit block's worth.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Encoded records, after room for a block header.
    pub(super) octets: Vec<u8>,
    pub(super) records: u32,
    /// Sequence of the first record.
    pub(super) first: Sequence,
}

impl Batch {
    pub(super) fn last(&self) -> Sequence {
        self.first + u64::from(self.records) - 1
    }
}

#[derive(Debug)]
struct Queue {
    octets: Vec<u8>,
    records: u32,
    /// The sequence that the next record gets.
    next: Sequence,
    state: JournalState,
    closing: bool,
    /// The writer is gone.
    ended: bool,
    /// Somebody asked that what waits be written soon.
    hastened: bool,
    sleep: WriterSleep,
}

/// Called after each commit, each change of state, and when an awaited follower has read on; must not block.
pub(super) type Listener = Box<dyn Fn() + Send + Sync>;

/// What appenders, writer and snapshots share. Public in name only, for the sealed trait `Horizon`.
pub struct Shared {
    /// Tells journals of one process apart, so that a promise cannot be released by another journal.
    pub(super) instance: u64,
    ring_bytes: usize,
    queue: Mutex<Queue>,
    wake_writer: Condvar,
    /// For threads that wait in [`Shared::wait_durable`].
    published: Condvar,
    durable: AtomicU64,
    /// Promises up to here that are not durable yet are void (rules R10 and R11).
    void_through: AtomicU64,
    /// Whether `Queue::state` is healthy, for those who ask for each packet. It is written under the queue's lock.
    healthy: AtomicBool,
    watch: watch::Sender<Sequence>,
    /// Marked changed with each change of state, not with commits.
    states: watch::Sender<()>,
    /// How far the follower has read.
    followed: watch::Sender<Sequence>,
    /// Somebody who sleeps wants to know when the follower has read on.
    follower_awaited: AtomicBool,
    listeners: RwLock<Vec<Listener>>,
    pub(super) counters: Counters,
}

/// Plain counters; see [`JournalStats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) commits: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) octets: AtomicU64,
    pub(super) commit_nanos: AtomicU64,
    pub(super) commit_nanos_max: AtomicU64,
    pub(super) refusals: AtomicU64,
    /// Octets of blocks since the last snapshot.
    pub(super) octets_since_snapshot: AtomicU64,
    pub(super) snapshot_octets: AtomicU64,
}

fn unpoisoned<T>(result: Result<T, PoisonError<T>>) -> T {
    // Every critical section leaves the queue whole, also when a caller's iterator panics inside it.
    result.unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(ring_bytes: usize, durable: Sequence, next: Sequence) -> Shared {
        static INSTANCES: AtomicU64 = AtomicU64::new(0);
        Shared {
            instance: INSTANCES.fetch_add(1, Ordering::Relaxed),
            ring_bytes,
            queue: Mutex::new(Queue {
                octets: Vec::new(),
                records: 0,
                next,
                state: JournalState::Healthy,
                closing: false,
                ended: false,
                hastened: false,
                sleep: WriterSleep::Awake,
            }),
            wake_writer: Condvar::new(),
            published: Condvar::new(),
            durable: AtomicU64::new(durable),
            void_through: AtomicU64::new(0),
            healthy: AtomicBool::new(true),
            watch: watch::Sender::new(durable),
            states: watch::Sender::new(()),
            followed: watch::Sender::new(durable),
            follower_awaited: AtomicBool::new(false),
            listeners: RwLock::new(Vec::new()),
            counters: Counters::default(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        unpoisoned(self.queue.lock())
    }

    pub(super) fn durable(&self) -> Sequence {
        self.durable.load(Ordering::Acquire)
    }

    pub(super) fn void_through(&self) -> Sequence {
        self.void_through.load(Ordering::Acquire)
    }

    pub(super) fn state(&self) -> JournalState {
        self.queue().state.clone()
    }

    /// Whether records are taken, without a lock; an append still says for sure.
    pub(super) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Whether records are taken and less than half of the ring is used.
    pub(super) fn has_room_to_spare(&self) -> bool {
        let queue = self.queue();
        queue.state == JournalState::Healthy && !queue.closing && queue.octets.len() < self.ring_bytes / 2
    }

    /// The highest sequence given so far.
    pub(super) fn last_given(&self) -> Sequence {
        self.queue().next - 1
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Sequence> {
        self.watch.subscribe()
    }

    pub(super) fn subscribe_state(&self) -> watch::Receiver<()> {
        self.states.subscribe()
    }

    pub(super) fn listen(&self, listener: Listener) {
        unpoisoned(self.listeners.write()).push(listener);
    }

    /// Queues records that are committed together, and says the sequence of the last. Unless it is to be `held` (and the ring is not half full) it
    /// wakes the writer; whoever holds has to call [`Self::wake_writer`] soon.
    pub(super) fn append(&self, records: &[(u8, &[u8])], held: bool) -> Result<Sequence, Refusal> {
        if records.is_empty() || records.iter().any(|(_, payload)| payload.len() > JOURNAL_PAYLOAD_BYTES_MAX) {
            return Err(Refusal::TooLong);
        }
        let octets: usize = records.iter().map(|(_, payload)| entry::encoded_bytes(payload)).sum();
        if octets > self.ring_bytes {
            return Err(Refusal::TooLong);
        }
        let mut queue = self.queue();
        match &queue.state {
            JournalState::Healthy => {}
            JournalState::Refusing { reason } => return Err(Refusal::Disk(reason.clone())),
            JournalState::Failed { reason } => return Err(Refusal::Failed(reason.clone())),
        }
        if queue.closing {
            return Err(Refusal::Closed);
        }
        if queue.octets.len() + octets > self.ring_bytes {
            return Err(Refusal::RingFull);
        }
        for (kind, payload) in records {
            entry::push(&mut queue.octets, *kind, payload);
        }
        queue.records += records.len() as u32;
        queue.next += records.len() as u64;
        let last = queue.next - 1;
        let half_full = queue.octets.len() >= self.ring_bytes / 2;
        let wake = match queue.sleep {
            WriterSleep::UntilWork => !held || half_full,
            WriterSleep::UntilGapEnds => half_full,
            WriterSleep::Awake => false,
        };
        if wake {
            queue.sleep = WriterSleep::Awake;
            drop(queue);
            self.wake_writer.notify_one();
        }
        Ok(last)
    }

    /// Wakes the writer if it sleeps although records wait.
    fn wake_writer(&self) {
        let mut queue = self.queue();
        if queue.records > 0 && queue.sleep == WriterSleep::UntilWork {
            queue.sleep = WriterSleep::Awake;
            drop(queue);
            self.wake_writer.notify_one();
        }
    }

    /// What waits is to be written as soon as a hastened gap ends.
    fn hasten(&self) {
        let mut queue = self.queue();
        if queue.records == 0 || queue.hastened {
            return;
        }
        queue.hastened = true;
        if queue.sleep == WriterSleep::UntilGapEnds {
            queue.sleep = WriterSleep::Awake;
            drop(queue);
            self.wake_writer.notify_one();
        }
    }

    /// Writer: waits for records, then until the `gap` since the last commit ends unless half the ring is used, and takes them all.
    /// `false` when the journal closes and nothing is left.
    pub(super) fn take(&self, batch: &mut Batch, gap: Option<Gap>) -> bool {
        let mut queue = self.queue();
        while queue.records == 0 {
            if queue.closing {
                return false;
            }
            queue.sleep = WriterSleep::UntilWork;
            queue = unpoisoned(self.wake_writer.wait(queue));
        }
        while let Some(gap) = gap {
            let end = if queue.hastened { gap.hastened_end } else { gap.end };
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || queue.closing || queue.octets.len() >= self.ring_bytes / 2 {
                break;
            }
            queue.sleep = WriterSleep::UntilGapEnds;
            queue = match self.wake_writer.wait_timeout(queue, left) {
                Ok((queue, _)) => queue,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        queue.sleep = WriterSleep::Awake;
        queue.hastened = false;
        batch.octets.clear();
        std::mem::swap(&mut batch.octets, &mut queue.octets);
        batch.records = std::mem::take(&mut queue.records);
        batch.first = queue.next - u64::from(batch.records);
        true
    }

    /// Writer: waits before a retry. `false` when the journal closes.
    pub(super) fn wait_to_retry(&self, gap: Duration) -> bool {
        let end = Instant::now() + gap;
        let mut queue = self.queue();
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            if queue.closing {
                return false;
            }
            queue.sleep = WriterSleep::Awake;
            queue = match self.wake_writer.wait_timeout(queue, left) {
                Ok((queue, _)) => queue,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        !queue.closing
    }

    /// Writer: everything up to `durable` is on the disk; ends a refusal.
    pub(super) fn publish(&self, durable: Sequence) {
        self.durable.store(durable, Ordering::Release);
        {
            let mut queue = self.queue();
            if matches!(queue.state, JournalState::Refusing { .. }) {
                tracing::info!("the journal writes again");
                queue.state = JournalState::Healthy;
                self.healthy.store(true, Ordering::Relaxed);
            }
        }
        self.announce();
    }

    /// Writer: a write was cleanly refused (rule R10).
    pub(super) fn refuse(&self, reason: &str) {
        {
            let mut queue = self.queue();
            if matches!(queue.state, JournalState::Failed { .. }) {
                return;
            }
            if queue.state == JournalState::Healthy {
                tracing::error!(reason, "the journal refuses new records until a write succeeds");
                self.counters.refusals.fetch_add(1, Ordering::Relaxed);
            }
            queue.state = JournalState::Refusing { reason: reason.into() };
            self.healthy.store(false, Ordering::Relaxed);
            self.void_through.store(queue.next - 1, Ordering::Release);
        }
        self.states.send_replace(());
        self.announce();
    }

    /// Anybody: the journal has failed for ever (rule R11).
    pub(super) fn fail(&self, reason: &str) {
        {
            let mut queue = self.queue();
            if matches!(queue.state, JournalState::Failed { .. }) {
                return;
            }
            tracing::error!(reason, "the journal has failed; what the disk holds is known only after a restart");
            queue.state = JournalState::Failed { reason: reason.into() };
            self.healthy.store(false, Ordering::Relaxed);
            self.void_through.store(queue.next - 1, Ordering::Release);
        }
        self.states.send_replace(());
        self.announce();
    }

    pub(super) fn close(&self) {
        self.queue().closing = true;
        self.wake_writer.notify_all();
    }

    /// Writer, when it ends: what still waits will not be written by this process.
    pub(super) fn ended(&self) {
        {
            let mut queue = self.queue();
            queue.ended = true;
            self.void_through.store(queue.next - 1, Ordering::Release);
        }
        self.states.send_replace(());
        self.announce();
    }

    /// Blocks until everything up to `sequence` is durable.
    pub(super) fn wait_durable(&self, sequence: Sequence) -> Result<(), Refusal> {
        let mut queue = self.queue();
        while self.durable() < sequence {
            match &queue.state {
                JournalState::Healthy if queue.ended => return Err(Refusal::Closed),
                JournalState::Healthy => queue = unpoisoned(self.published.wait(queue)),
                JournalState::Refusing { reason } => return Err(Refusal::Disk(reason.clone())),
                JournalState::Failed { reason } => return Err(Refusal::Failed(reason.clone())),
            }
        }
        Ok(())
    }

    /// Follower: it has read everything up to `sequence`.
    pub(super) fn followed(&self, sequence: Sequence) {
        {
            let _waiters_wait_or_see_it = self.queue();
            self.followed.send_replace(sequence);
        }
        self.published.notify_all();
        if self.follower_awaited.swap(false, Ordering::AcqRel) {
            self.call_listeners();
        }
    }

    /// Whether the follower has read everything up to `sequence`. Where it has not, the listeners are called when it has read on.
    pub(super) fn has_followed(&self, sequence: Sequence) -> bool {
        if *self.followed.borrow() >= sequence {
            return true;
        }
        self.follower_awaited.store(true, Ordering::Release);
        // Once more: a follower that read on before the line above did not see that it is awaited. The lock of `followed` orders the two.
        *self.followed.borrow() >= sequence
    }

    pub(super) fn subscribe_followed(&self) -> watch::Receiver<Sequence> {
        self.followed.subscribe()
    }

    /// Blocks until the follower has read everything up to `sequence`.
    pub(super) fn wait_followed(&self, sequence: Sequence) -> Result<(), Refusal> {
        self.wait_durable(sequence)?;
        let mut queue = self.queue();
        while *self.followed.borrow() < sequence {
            if let JournalState::Failed { reason } = &queue.state {
                return Err(Refusal::Failed(reason.clone()));
            }
            queue = unpoisoned(self.published.wait(queue));
        }
        Ok(())
    }

    /// After a change that was made, or followed, under the queue's lock, so that no waiter misses it.
    fn announce(&self) {
        self.published.notify_all();
        self.watch.send_replace(self.durable());
        self.call_listeners();
    }

    fn call_listeners(&self) {
        for listener in unpoisoned(self.listeners.read()).iter() {
            listener();
        }
    }

    pub(super) fn stats(&self) -> JournalStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        JournalStats {
            commits: load(&self.counters.commits),
            records: load(&self.counters.records),
            octets: load(&self.counters.octets),
            commit_nanos: load(&self.counters.commit_nanos),
            commit_nanos_max: load(&self.counters.commit_nanos_max),
            refusals: load(&self.counters.refusals),
            octets_since_snapshot: load(&self.counters.octets_since_snapshot),
        }
    }
}

/// The way into the journal: one per worker thread or API task.
pub struct Appender {
    shared: Arc<Shared>,
    holding: bool,
    /// Something was appended while holding.
    held: bool,
}

impl Appender {
    pub(super) fn new(shared: Arc<Shared>) -> Appender {
        Appender { shared, holding: false, held: false }
    }

    /// From now on what is appended waits for [`Appender::release`] (or for the writer to be awake anyway), so that a batch of packets is one
    /// commit and not two, and the writer's thread does not interrupt it.
    pub fn hold(&mut self) {
        self.holding = true;
    }

    /// Ends [`Appender::hold`]: the writer is woken if something waits.
    pub fn release(&mut self) {
        self.holding = false;
        if std::mem::take(&mut self.held) {
            self.shared.wake_writer();
        }
    }

    /// Queues one record. `promise` comes back from [`Pending`] once the record is durable, and not before.
    ///
    /// # Errors
    /// Gives `promise` back with the reason: the payload is longer than [`JOURNAL_PAYLOAD_BYTES_MAX`], the ring is full, or the journal
    /// refuses, has failed or is closed. Nothing was queued then, and the caller must not change its state in memory.
    pub fn append<T>(&mut self, kind: u8, payload: &[u8], promise: T) -> Result<Pending<T>, Refused<T>> {
        self.append_batch(&[(kind, payload)], promise)
    }

    /// Queues records that are durable together or not at all; the promise bears the sequence of the last.
    ///
    /// # Errors
    /// As [`Appender::append`]; also [`Refusal::TooLong`] for an empty batch and for one of more octets than `ring_bytes`.
    pub fn append_batch<T>(&mut self, records: &[(u8, &[u8])], promise: T) -> Result<Pending<T>, Refused<T>> {
        match self.shared.append(records, self.holding) {
            Ok(sequence) => {
                self.held |= self.holding;
                Ok(Pending::new(promise, sequence, self.shared.instance))
            }
            Err(reason) => Err(Refused { value: promise, reason }),
        }
    }

    /// Somebody waits for what was just appended who will ask for nothing else until it is durable, such as a conductor: the commit does not wait for more to share it
    /// with. At most so many hastened commits are made that packets hardly notice.
    pub fn hasten(&self) {
        self.shared.hasten();
    }

    /// The highest durable sequence.
    pub fn durable(&self) -> Sequence {
        self.shared.durable()
    }

    /// The highest sequence that an answer to a query has to show: the last one given, since what was answered may not wait for its record; the highest durable one
    /// while the journal takes no records.
    pub fn last_told(&self) -> Sequence {
        if self.is_healthy() { self.shared.last_given() } else { self.durable() }
    }

    /// Whether the journal takes records, without a lock: what it has just become may show a moment later, and an append says for sure.
    pub fn is_healthy(&self) -> bool {
        self.shared.is_healthy()
    }

    /// Whether the follower has read everything up to `sequence`. Where it has not, those who listen ([`super::Journal::on_durable`]) are called
    /// when it has read on: then ask again.
    pub fn has_followed(&self, sequence: Sequence) -> bool {
        self.shared.has_followed(sequence)
    }

    /// Whether the journal has room for records that can wait, beside those that cannot.
    pub fn has_room_to_spare(&self) -> bool {
        self.shared.has_room_to_spare()
    }

    /// Whether the journal accepts records.
    pub fn state(&self) -> JournalState {
        self.shared.state()
    }

    /// Wakes async tasks: changes with each commit and is marked changed with each change of state.
    pub fn subscribe(&self) -> watch::Receiver<Sequence> {
        self.shared.subscribe()
    }
}

/// A clone holds nothing.
impl Clone for Appender {
    fn clone(&self) -> Self {
        Appender::new(Arc::clone(&self.shared))
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.release();
    }
}

impl super::durable::Horizon for Appender {
    fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl std::fmt::Debug for Appender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Appender").field("durable", &self.durable()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_wakes_the_writer_once_it_is_released() {
        let shared = Arc::new(Shared::new(1 << 20, 0, 1));
        let of_writer = Arc::clone(&shared);
        let writer = std::thread::spawn(move || {
            let mut batch = Batch::default();
            assert!(of_writer.take(&mut batch, None));
            batch.records
        });
        let deadline = Instant::now() + Duration::from_secs(30);
        while shared.queue().sleep != WriterSleep::UntilWork {
            assert!(Instant::now() < deadline, "the writer does not wait");
            std::thread::yield_now();
        }
        let mut appender = Appender::new(Arc::clone(&shared));
        appender.hold();
        for _ in 0..3 {
            let _pending = appender.append(1, b"record", ()).expect("queued");
            assert_eq!(shared.queue().sleep, WriterSleep::UntilWork, "woken too early");
        }
        appender.release();
        assert_eq!(writer.join().expect("the writer"), 3);
    }

    #[test]
    fn who_hastens_does_not_wait_for_the_gap_to_end() {
        let shared = Arc::new(Shared::new(1 << 20, 0, 1));
        let never = Instant::now() + Duration::from_secs(3_600);
        let of_writer = Arc::clone(&shared);
        let writer = std::thread::spawn(move || {
            let (mut batch, mut taken) = (Batch::default(), Vec::new());
            for _ in 0..2 {
                assert!(of_writer.take(&mut batch, Some(Gap { end: never, hastened_end: Instant::now() })));
                taken.push(batch.records);
            }
            taken
        });
        let appender = Appender::new(Arc::clone(&shared));
        appender.hasten();
        assert!(!shared.queue().hastened, "nothing waits");
        let sleeps = |sleep| {
            let deadline = Instant::now() + Duration::from_secs(30);
            while shared.queue().sleep != sleep {
                assert!(Instant::now() < deadline, "the writer does not wait");
                std::thread::yield_now();
            }
        };
        // While the writer waits for the gap to end, and before it waits at all.
        shared.append(&[(1, b"record")], false).expect("room");
        sleeps(WriterSleep::UntilGapEnds);
        shared.append(&[(1, b"record")], false).expect("room");
        appender.hasten();
        sleeps(WriterSleep::UntilWork);
        shared.append(&[(1, b"record")], true).expect("room");
        appender.hasten();
        shared.wake_writer();
        assert_eq!(writer.join().expect("the writer"), [2, 1]);
    }

    #[test]
    fn a_half_full_ring_wakes_the_writer_all_the_same() {
        let shared = Shared::new(64, 0, 1);
        shared.queue().sleep = WriterSleep::UntilWork;
        for (octets, sleeps) in [(8, WriterSleep::UntilWork), (24, WriterSleep::Awake)] {
            shared.append(&[(1, &vec![0; octets])], true).expect("room");
            assert_eq!(shared.queue().sleep, sleeps, "{octets}");
        }
    }
}
