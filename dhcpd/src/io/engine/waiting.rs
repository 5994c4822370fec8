//! What waits for the disk, and what others ask of a worker.
//!
//! Invariant: what waits is released in the order of its records, so that no later promise overtakes an earlier one.

use tokio::sync::oneshot;

use super::{Desk, Outgoing};
use crate::proto::reason::DropReason;
use crate::proto::reply::Ack;
use crate::proto::scope::ScopeIndex;
use crate::proto::time::{Millis, Now};
use crate::store::journal::{Pending, Settled};
use crate::store::promise;
use crate::store::queue::Request;
use crate::store::reservation::{Change, Put, PutError};

/// What waits for its record to be durable, in the order of the records.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A DHCPACK, to be sent no sooner than `due`.
    Ack { pending: Pending<Ack>, scope: ScopeIndex, due: Millis },
    /// A reservation that was put.
    Put { pending: Pending<Put>, answer: oneshot::Sender<Result<Put, PutError>> },
    /// A reservation that was deleted.
    Deleted { pending: Pending<()>, answer: oneshot::Sender<Result<bool, PutError>> },
    /// A record that nobody waits for.
    Note { pending: Pending<()> },
}

impl Desk {
    /// Does what the API, another worker or the configuration asks.
    pub(super) fn request(&mut self, now: Now, request: Request) {
        // Whoever asked may have gone away meanwhile: then nobody needs the answer.
        match request {
            Request::Put(draft, answer) => match self.table.put_reservation(*draft) {
                Ok(Change::Pending(pending)) => self.waiting.push_back(Waiting::Put { pending, answer }),
                Ok(Change::Unchanged(put)) => _ = answer.send(Ok(put.into_inner())),
                Err(error) => _ = answer.send(Err(error)),
            },
            Request::Prepare(rows, answer) => {
                _ = answer.send(rows.into_iter().map(|row| self.table.prepare(row)).collect());
            }
            Request::Abandon(rows, answer) => {
                rows.iter().for_each(|row| self.table.abandon(row));
                _ = answer.send(());
            }
            Request::PutInForce(rows, sequence, answer) => {
                rows.into_iter().for_each(|row| self.table.put_in_force(row, sequence));
                _ = answer.send(());
            }
            Request::Delete(holder, expected, answer) => match self.table.delete_reservation(&holder, &expected, ()) {
                Ok(Some(pending)) => self.waiting.push_back(Waiting::Deleted { pending, answer }),
                Ok(None) => _ = answer.send(Ok(false)),
                Err(error) => _ = answer.send(Err(error)),
            },
            Request::Release(key, address, answer) => {
                if !self.table.is_bound_to(key, address) {
                    _ = answer.send(Ok(false));
                    return;
                }
                match self.table.release(now, key, address, ()) {
                    Ok(pending) => self.waiting.push_back(Waiting::Deleted { pending, answer }),
                    Err(refused) => _ = answer.send(Err(PutError::Journal(refused.reason))),
                }
            }
            Request::GiveUp(network, address, answer) => {
                let gave_up = self.table.give_up(network, address);
                if let Some(answer) = answer {
                    let _ = answer.send(gave_up);
                }
            }
            Request::Reload => {
                let scopes = self.shared.scopes.load_full();
                self.table.apply_configuration(&scopes, self.worker, self.workers);
            }
            Request::Barrier(answer) => _ = answer.send(()),
            // Handled by the engine.
            Request::Packet(_) | Request::Answered(..) | Request::Stop => {}
        }
    }

    /// Releases what has become durable, in the order of the records.
    pub(super) fn settle(&mut self) {
        while let Some(waiting) = self.waiting.pop_front() {
            if let Some(still) = self.settle_one(waiting) {
                self.waiting.push_front(still);
                break;
            }
        }
    }

    /// Gives back what still waits.
    fn settle_one(&mut self, waiting: Waiting) -> Option<Waiting> {
        match waiting {
            Waiting::Ack { pending, scope, due } => match pending.settle(&self.journal) {
                Settled::Durable(ack) => self.send(due, Outgoing { scope, reply: promise::open(ack) }),
                Settled::Waiting(pending) => return Some(Waiting::Ack { pending, scope, due }),
                Settled::Refused(_) => self.counters.dropped(DropReason::PromiseVoid),
            },
            Waiting::Put { pending, answer } => match pending.settle(&self.journal) {
                Settled::Durable(put) => _ = answer.send(Ok(put.into_inner())),
                Settled::Waiting(pending) => return Some(Waiting::Put { pending, answer }),
                Settled::Refused(refused) => _ = answer.send(Err(PutError::Journal(refused.reason))),
            },
            Waiting::Deleted { pending, answer } => match pending.settle(&self.journal) {
                Settled::Durable(_) => _ = answer.send(Ok(true)),
                Settled::Waiting(pending) => return Some(Waiting::Deleted { pending, answer }),
                Settled::Refused(refused) => _ = answer.send(Err(PutError::Journal(refused.reason))),
            },
            Waiting::Note { pending } => match pending.settle(&self.journal) {
                Settled::Durable(_) => {}
                Settled::Waiting(pending) => return Some(Waiting::Note { pending }),
                Settled::Refused(_) => self.counters.dropped(DropReason::PromiseVoid),
            },
        }
        None
    }
}
