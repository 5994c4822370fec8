//! The bounded queues into the workers: what the API and other workers ask of the one that owns a client. Served between batches of packets.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam::channel::{Receiver, Sender, bounded};
use reveille_config::MacAddr;
use reveille_config::limit::WORKER_QUEUE_MAX;
use tokio::sync::oneshot;

use super::batch::{Prepared, Row};
use super::journal::Sequence;
use super::reservation::{Expected, Put, PutError, ReservationDraft};
use crate::proto::scope::{ClientKey, Holder, NetworkIndex};

/// Something for a worker to do.
#[derive(Debug)]
pub enum Request {
    /// Put a reservation in force; answered once durable.
    Put(Box<ReservationDraft>, oneshot::Sender<Result<Put, PutError>>),
    /// Delete a reservation; answered once durable with whether there was one.
    Delete(Holder, Expected, oneshot::Sender<Result<bool, PutError>>),
    /// Make rows of a batch ready; answered with each one's outcome.
    Prepare(Vec<Row>, oneshot::Sender<Vec<Result<Prepared, PutError>>>),
    /// Take back what was prepared.
    Abandon(Vec<Prepared>, oneshot::Sender<()>),
    /// Put rows in force whose batch ends with this record.
    PutInForce(Vec<Prepared>, Sequence, oneshot::Sender<()>),
    /// Give up a client's binding of an address before its time; answered once durable with whether there was one.
    Release(ClientKey, Ipv4Addr, oneshot::Sender<Result<bool, PutError>>),
    /// Another machine is to have this address: give it up if its lease has expired. Answered, where wanted, with whether that was so.
    GiveUp(NetworkIndex, Ipv4Addr, Option<oneshot::Sender<bool>>),
    /// A packet of a client that this worker owns, received by another.
    Packet(HandedOver),
    /// Somebody answered for an address that was asked for; who, where the answer says.
    Answered(Ipv4Addr, Option<MacAddr>),
    /// The scopes have changed.
    Reload,
    /// Answer: every reservation and sighting appended before is in the read model.
    Barrier(oneshot::Sender<()>),
    /// End.
    Stop,
}

/// A packet that another worker received.
#[derive(Debug)]
pub struct HandedOver {
    /// The UDP payload.
    pub octets: Box<[u8]>,
    /// On which link (their order is the same in all workers).
    pub link: usize,
    /// Who sent it.
    pub from: SocketAddrV4,
}

/// A worker does not keep up, or has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the worker's queue is full")]
pub struct QueueFull;

/// Wakes a worker that sleeps.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The way into one worker.
#[derive(Clone)]
pub struct WorkerQueue {
    sender: Sender<Request>,
    closed: Arc<AtomicBool>,
    wake: Arc<OnceLock<Wake>>,
}

impl std::fmt::Debug for WorkerQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerQueue").field("waiting", &self.sender.len()).finish_non_exhaustive()
    }
}

impl WorkerQueue {
    /// A queue of at most [`WORKER_QUEUE_MAX`] requests, and its other end.
    pub fn new() -> (Self, Receiver<Request>) {
        let (sender, receiver) = bounded(WORKER_QUEUE_MAX);
        (Self { sender, closed: Arc::default(), wake: Arc::new(OnceLock::new()) }, receiver)
    }

    /// Says how the worker is woken; once, before it first sleeps.
    pub fn wake_with(&self, wake: Wake) {
        // A second one would be a second worker on the same queue: the first stays.
        let _ = self.wake.set(wake);
    }

    /// Whether the worker has been found to have ended.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Queues a request.
    ///
    /// # Errors
    /// The queue is full or the worker has ended: the request is dropped, and whoever waits for its answer hears that.
    pub fn push(&self, request: Request) -> Result<(), QueueFull> {
        self.sender.try_send(request).map_err(|error| {
            if error.is_disconnected() {
                self.closed.store(true, Ordering::Relaxed);
            }
            QueueFull
        })?;
        if let Some(wake) = self.wake.get() {
            wake();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn at_the_limit_one_more_request_is_refused_until_one_is_taken() {
        let (queue, requests) = WorkerQueue::new();
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        queue.wake_with(Arc::new(move || _ = count.fetch_add(1, Ordering::Relaxed)));
        assert!((0..WORKER_QUEUE_MAX).all(|_| queue.push(Request::Reload).is_ok()));
        assert_eq!(queue.push(Request::Reload), Err(QueueFull));
        assert!(requests.try_recv().is_ok() && queue.push(Request::Reload).is_ok());
        assert_eq!(woken.load(Ordering::Relaxed), WORKER_QUEUE_MAX + 1, "for each that was taken in");
        drop(requests);
        assert_eq!(queue.push(Request::Reload), Err(QueueFull), "the worker has ended");
    }
}
