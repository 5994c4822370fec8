//! What the provisioner remembers: nodes, ports, what is still to be done to each, and what happened.
//!
//! One redb file in the state directory, one writer thread, group commit: changes that arrive together are decided one
//! after the other against the state as it will be, and reach the disk in one transaction. Readers see committed state
//! only, from memory. A change that is answered is on disk.
//!
//! It deliberately decides nothing about machines: that is `proto::node`, called here inside the transaction, so that
//! nothing can come between reading a node and writing it.
//!
//! A write that the system refuses cleanly (disk full, quota) fails that change and makes the store unready until a write
//! succeeds again; any other error of the disk ends the store, and with it the daemon.
//!
//! | file | holds |
//! |---|---|
//! | `tables` | the state in memory with its indexes, and [`Change`] |
//! | `disk` | the redb file: format, loading, one transaction |
//! | `writer` | the writer thread |
//! | `history` | [`Entry`]: what happened to a node, bounded per node |
//! | `events` | the same as events for everybody |

mod disk;
mod events;
mod history;
mod tables;
mod writer;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use reveille_events::Ring;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use uuid::Uuid;

pub use history::{Entry, HISTORY_PER_NODE_MAX};
pub use tables::{Change, Tables};

use crate::proto::node::{Event, Machine, Millis, Node, Refusal, Request, Settings, request};
use disk::Disk;
use writer::Job;

/// Changes that may wait for the writer; whoever brings one more waits.
const QUEUE_MAX: usize = 1_024;

/// Why a change was not made, or the store cannot be opened.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be opened.
    #[error("cannot open {}: {reason}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What redb or the system said, and what to do.
        reason: String,
    },
    /// The system refuses writes: disk full or quota reached. It goes on by itself when there is room again.
    #[error("cannot write to {}: {reason}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The disk failed; nothing is written any more.
    #[error("{} failed: {reason}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What redb or the system said.
        reason: String,
    },
    /// The daemon is ending.
    #[error("the store is closed")]
    Closed,
}

/// What writer and readers share.
struct Shared {
    tables: RwLock<Tables>,
    /// All nodes' entries as one stream.
    events: Arc<Ring>,
    changed: Mutex<HashSet<Uuid>>,
    has_changed: Notify,
    commits: watch::Sender<u64>,
    health: watch::Sender<Result<(), StoreError>>,
}

/// The store. Clones are the same store; it is closed when the last one is dropped.
#[derive(Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    path: Arc<Path>,
}

/// Tells when the writer thread has ended and the file is closed.
pub struct Closed(oneshot::Receiver<()>);

impl Closed {
    /// Returns once the file is closed: every clone of the store must have been dropped.
    pub async fn wait(self) {
        // The writer drops its end when it is done: an error is the answer.
        let _ = self.0.await;
    }
}

impl Store {
    /// Opens or makes the file `provisioner.redb` in `state_dir`, and starts the writer.
    pub fn open(state_dir: &Path) -> Result<(Self, Closed), StoreError> {
        Self::open_with(state_dir, Box::new(|path: &Path| redb::Database::create(path)))
    }

    fn open_with(state_dir: &Path, opener: disk::Opener) -> Result<(Self, Closed), StoreError> {
        let (disk, tables, entries, epoch) = Disk::open(state_dir, opener)?;
        let path: Arc<Path> = disk.path().into();
        let shared = Arc::new(Shared {
            changed: Mutex::new(tables.nodes().map(|node| node.uuid).collect()),
            events: Arc::new(Ring::restored(epoch, entries.iter().map(Into::into), tables.next_sequence() - 1)),
            tables: RwLock::new(tables),
            has_changed: Notify::new(),
            commits: watch::Sender::new(0),
            health: watch::Sender::new(Ok(())),
        });
        shared.has_changed.notify_one();
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let (closed, has_closed) = oneshot::channel();
        writer::start(disk, Arc::clone(&shared), queue, closed)
            .map_err(|error| StoreError::Open { path: path.to_path_buf(), reason: error.to_string() })?;
        Ok((Self { jobs, shared, path }, Closed(has_closed)))
    }

    /// Reads the committed state. Keep it short: the writer waits meanwhile.
    pub fn read<T>(&self, read: impl FnOnce(&Tables) -> T) -> T {
        read(&self.shared.tables.read().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Decides on a change, and makes it. Returns once it is on disk and readers see it; `Err` of `decide` changes nothing.
    pub async fn change<T, E>(
        &self,
        decide: impl FnOnce(&Tables) -> Result<(Change, T), E> + Send + 'static,
    ) -> Result<Result<T, E>, StoreError>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |batch| match decide(batch.tables()) {
            Ok((change, value)) => batch.apply(change, move |outcome| {
                let _ = answer.send(outcome.map(|()| Ok(value)));
            }),
            Err(refusal) => {
                let _ = answer.send(Ok(Err(refusal)));
            }
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Tells the life cycle of `node` what happened. `None` where there is no such node (any more).
    pub async fn step(
        &self,
        node: Uuid,
        event: Event,
        now: Millis,
        settings: Arc<Settings>,
    ) -> Result<Option<Arc<Node>>, StoreError> {
        let decide = move |tables: &Tables| -> Result<_, ()> {
            Ok(Change::of_event(tables, tables.node(node).ok_or(())?, event, now, &settings))
        };
        Ok(self.change(decide).await?.ok())
    }

    /// Asks the life cycle of `node` for something. `None` where there is no such node (any more).
    pub async fn request(
        &self,
        node: Uuid,
        wanted: Request,
        now: Millis,
        settings: Arc<Settings>,
    ) -> Result<Option<Result<Arc<Node>, Refusal>>, StoreError> {
        let decide = move |tables: &Tables| {
            let node = tables.node(node).ok_or(None)?;
            let ports = tables.ports_of(node.uuid);
            let step = request(Machine { node, ports: &ports }, wanted, now, &settings).map_err(Some)?;
            let after = Arc::new(step.node);
            Ok((Change::step(node, Arc::clone(&after), step.notes, step.is_volatile, now), after))
        };
        Ok(match self.change(decide).await? {
            Ok(node) => Some(Ok(node)),
            Err(None) => None,
            Err(Some(refusal)) => Some(Err(refusal)),
        })
    }

    /// What happened to a node, oldest first; at most [`HISTORY_PER_NODE_MAX`] entries.
    pub async fn history(&self, node: Uuid) -> Result<Vec<Entry>, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |batch| {
            let _ = answer.send(batch.history(node));
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// The stream of events.
    pub fn events(&self) -> &Arc<Ring> {
        &self.shared.events
    }

    /// Waits until nodes have changed since the last call, and says which. For one waiter.
    pub async fn changed_nodes(&self) -> HashSet<Uuid> {
        loop {
            let changed = {
                let mut changed = self.shared.changed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                std::mem::take(&mut *changed)
            };
            if !changed.is_empty() {
                return changed;
            }
            self.shared.has_changed.notified().await;
        }
    }

    /// Waits until `is_so` holds of the committed state.
    pub async fn wait_until(&self, mut is_so: impl FnMut(&Tables) -> bool) {
        let mut commits = self.shared.commits.subscribe();
        loop {
            commits.mark_unchanged();
            if self.read(&mut is_so) || commits.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether writes succeed, as it changes.
    pub fn health(&self) -> watch::Receiver<Result<(), StoreError>> {
        self.shared.health.subscribe()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests;
