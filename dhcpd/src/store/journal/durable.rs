//! Promises: a value that goes in with a record and comes out as [`Durable`] once that record is on the disk (DESIGN.md, rule 3).
//!
//! Invariant: outside this file nothing can make a `Durable`. A reply that is a `Durable<Reply>` therefore promises what the disk holds.

use std::sync::Arc;

use super::Sequence;
use super::queue::Shared;

/// Why a record was not taken, or why its promise is void.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More records wait than the ring holds; the next commit makes room.
    #[error("the journal's ring is full")]
    RingFull,
    /// The disk cleanly refused a write; the journal tries again by itself.
    #[error("the journal cannot write now: {0}")]
    Disk(Arc<str>),
    /// The disk failed; only a restart helps.
    #[error("the journal has failed: {0}")]
    Failed(Arc<str>),
    /// The payload or the batch exceeds its limit, or the batch is empty.
    #[error("the record or batch is empty or longer than the journal's limit")]
    TooLong,
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

/// A value whose record was not taken or whose promise is void: drop the reply, or say why.
#[derive(Debug)]
pub struct Refused<T> {
    /// What was to be promised.
    pub value: T,
    /// Why it is not.
    pub reason: Refusal,
}

/// What knows how far the journal is durable: the [`super::Journal`] and every [`super::Appender`]. Sealed.
pub trait Horizon {
    #[doc(hidden)]
    fn shared(&self) -> &Shared;
}

/// A value whose promise is on the disk (DESIGN.md, rule 3). Only the journal makes one.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the promise is durable; make it"]
pub struct Durable<T>(T);

impl<T> Durable<T> {
    /// The value, to be sent.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// The value, to be looked at.
    pub fn get(&self) -> &T {
        &self.0
    }

    /// Makes the reply of the descriptor that waited in its place. `f` must not promise more than the record says.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Durable<U> {
        Durable(f(self.0))
    }

    /// A promise that an earlier record already holds, such as an early renewal told the remaining time: only if that record is durable.
    pub(in crate::store) fn already_promised(value: T, record: Sequence, at: &impl Horizon) -> Option<Durable<T>> {
        (record > 0 && record <= at.shared().durable()).then_some(Durable(value))
    }
}

/// A value whose record is queued and not known to be durable. Dropping it drops the promise, not the record.
#[derive(Debug)]
#[must_use = "the promise is made only by release, settle or wait"]
pub struct Pending<T> {
    value: T,
    sequence: Sequence,
    instance: u64,
}

/// What has become of a [`Pending`].
#[derive(Debug)]
pub enum Settled<T> {
    /// The record is on the disk.
    Durable(Durable<T>),
    /// Not yet: ask again after the next commit.
    Waiting(Pending<T>),
    /// The promise is void (rules R10, R11). The record itself keeps its place in the log and may be written later: keep the state in memory.
    Refused(Refused<T>),
}

impl<T> Pending<T> {
    pub(super) fn new(value: T, sequence: Sequence, instance: u64) -> Pending<T> {
        Pending { value, sequence, instance }
    }

    /// The sequence of the record (of a batch: of its last).
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// The promise if its record is durable by now. A void promise is not told from a waiting one: see [`Pending::settle`].
    ///
    /// # Errors
    /// Gives itself back when the record is not durable.
    pub fn release(self, at: &impl Horizon) -> Result<Durable<T>, Pending<T>> {
        if self.instance == at.shared().instance && self.sequence <= at.shared().durable() {
            return Ok(Durable(self.value));
        }
        Err(self)
    }

    /// What has become of the promise by now.
    pub fn settle(self, at: &impl Horizon) -> Settled<T> {
        // Read before `durable`: a record that becomes durable in between is then still released.
        let void_through = at.shared().void_through();
        match self.release(at) {
            Ok(durable) => Settled::Durable(durable),
            Err(pending) if pending.instance != at.shared().instance => {
                Settled::Refused(Refused { value: pending.value, reason: Refusal::Closed })
            }
            Err(pending) if pending.sequence <= void_through => {
                let reason = match at.shared().state() {
                    super::JournalState::Failed { reason } => Refusal::Failed(reason),
                    super::JournalState::Refusing { reason } => Refusal::Disk(reason),
                    super::JournalState::Healthy => Refusal::Disk("the disk refused a write a moment ago".into()),
                };
                Settled::Refused(Refused { value: pending.value, reason })
            }
            Err(pending) => Settled::Waiting(pending),
        }
    }

    /// For tasks: waits until the promise is durable or void.
    ///
    /// # Errors
    /// The promise is void.
    pub async fn wait(self, at: &(impl Horizon + Sync)) -> Result<Durable<T>, Refused<T>> {
        let mut commits = at.shared().subscribe();
        let mut pending = self;
        loop {
            commits.mark_unchanged();
            match pending.settle(at) {
                Settled::Durable(durable) => return Ok(durable),
                Settled::Refused(refused) => return Err(refused),
                Settled::Waiting(waiting) => pending = waiting,
            }
            if commits.changed().await.is_err() {
                return Err(Refused { value: pending.value, reason: Refusal::Closed });
            }
        }
    }
}
