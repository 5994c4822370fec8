//! [`Intents`]: boot intents, in memory for reading and in a redb database for keeping.
//!
//! A change is answered once it is on disk. One thread writes; the changes that wait for it share a transaction and its fsync. Readers
//! never wait for the disk. Values are the API's JSON under the MAC's octets, or in the table `machines` under a UUID or a node's name; the table `meta` holds the format's version.
//!
//! A write that the system refuses cleanly (no space, quota, read-only, not permitted) fails that change and makes the daemon
//! unready; the database is opened again until it works. Any other error of the disk is fatal (DESIGN.md, rule 3).

mod table;
mod writer;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use redb::Database;
use reveille_config::dto::bootd::{Intent, IntentPut};
use reveille_config::dto::dhcpd::Page;
use reveille_config::limit::{INTENT_QUEUE_MAX, INTENTS_MAX, PAGE_MAX};
use tokio::sync::{mpsc, oneshot, watch};

use self::table::Table;
use self::writer::{FORMAT_VERSION, Opener, Writer, prepare, read_all};
use super::clock;
use crate::proto::machine_id::MachineId;

/// The intents in force.
#[derive(Debug)]
pub struct Intents {
    shared: Arc<Shared>,
    /// Taken only to end the thread.
    queue: Option<mpsc::Sender<Change>>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    map: RwLock<Table>,
    state: watch::Sender<State>,
}

/// Whether intents can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Writable,
    Refused(String),
    Broken(String),
}

struct Change {
    machine: MachineId,
    /// None: delete.
    intent: Option<Arc<Intent>>,
    done: oneshot::Sender<Result<(), WriteError>>,
}

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum IntentsError {
    /// The directory or the file.
    #[error("cannot open the boot intents in {path}; the directory must be writable and belong to one bootd only")]
    Open {
        /// The database file.
        path: String,
        /// Why.
        #[source]
        source: redb::Error,
    },
    /// Made by a later version.
    #[error(
        "the boot intents in {path} have format {found}, this bootd knows {FORMAT_VERSION}; run the bootd that wrote them"
    )]
    Format {
        /// The database file.
        path: String,
        /// Its format.
        found: u64,
    },
    /// A record that is not an intent.
    #[error("the boot intent of {machine} in {path} cannot be read; move the file away to begin with none")]
    Record {
        /// The database file.
        path: String,
        /// The machine.
        machine: MachineId,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// A change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// At the limit.
    #[error("there are {INTENTS_MAX} boot intents already; delete those of machines that are gone")]
    Full,
    /// More changes wait for the disk than can.
    #[error("{INTENT_QUEUE_MAX} changes wait for the disk already; try again")]
    Busy,
    /// The system refuses to write.
    #[error("the boot intent cannot be kept on disk: {0}")]
    Disk(String),
}

impl Intents {
    /// Opens or makes `intents.redb` in the directory and reads it. Blocks.
    ///
    /// # Errors
    /// See [`IntentsError`].
    pub fn open(state_dir: &Path) -> Result<Self, IntentsError> {
        let path = state_dir.join("intents.redb");
        let name = path.display().to_string();
        let open_error =
            |error: std::io::Error| IntentsError::Open { path: name.clone(), source: redb::Error::Io(error) };
        std::fs::create_dir_all(state_dir).map_err(open_error)?;
        let open = {
            let path = path.clone();
            move || Database::create(&path)
        };
        let intents = Self::open_with(name.clone(), Box::new(open))?;
        // The file's name must survive a power loss as its contents do.
        std::fs::File::open(state_dir).and_then(|dir| dir.sync_all()).map_err(open_error)?;
        Ok(intents)
    }

    fn open_with(path: String, open: Opener) -> Result<Self, IntentsError> {
        let failed = |source: redb::Error| IntentsError::Open { path: path.clone(), source };
        let database = open().map_err(|error| failed(error.into()))?;
        let found = prepare(&database).map_err(failed)?;
        if found != FORMAT_VERSION {
            return Err(IntentsError::Format { path, found });
        }
        let mut map = Table::default();
        for (machine, json) in read_all(&database).map_err(failed)? {
            let intent: Intent = serde_json::from_slice(&json).map_err(|source| IntentsError::Record {
                path: path.clone(),
                machine: machine.clone(),
                source,
            })?;
            map.insert(machine.clone(), Arc::new(Intent { mac: machine.mac(), ..intent }));
        }
        let shared = Arc::new(Shared { map: RwLock::new(map), state: watch::Sender::new(State::Writable) });
        let (queue, changes) = mpsc::channel(INTENT_QUEUE_MAX);
        let thread = Writer { shared: shared.clone(), open, database: Some(database) };
        let writer = std::thread::Builder::new()
            .name("intents".into())
            .spawn(move || thread.run(changes))
            .map_err(|error| failed(redb::Error::Io(error)))?;
        Ok(Self { shared, queue: Some(queue), writer: Some(writer) })
    }

    /// The intent that is kept under this id.
    pub fn get(&self, machine: &MachineId) -> Option<Arc<Intent>> {
        self.shared.map.read().unwrap_or_else(PoisonError::into_inner).get(machine).cloned()
    }

    /// The intents of a machine, by the UUID of its firmware, or by its node, and what they are kept under; at most [`PAGE_MAX`].
    pub fn named(&self, name: &str) -> Vec<(MachineId, Arc<Intent>)> {
        let map = self.shared.map.read().unwrap_or_else(PoisonError::into_inner);
        map.named(name).take(PAGE_MAX).map(|(machine, intent)| (machine.clone(), intent.clone())).collect()
    }

    /// One page of those after `after`: by MAC, then by UUID, then by node.
    pub fn page(&self, after: Option<&MachineId>, limit: usize) -> Page<Intent> {
        let limit = limit.clamp(1, PAGE_MAX);
        let map = self.shared.map.read().unwrap_or_else(PoisonError::into_inner);
        let mut rest = map.after(after);
        let mut last = None;
        let items = rest.by_ref().take(limit).map(|(machine, intent)| {
            last = Some(machine);
            Intent::clone(intent)
        });
        let items = items.collect();
        let next = rest.next().and(last).map(ToString::to_string);
        Page { items, next }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.shared.map.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts an intent that has passed [`crate::proto::script::check`]; returns once it is on disk. Putting the same again
    /// leaves its time as it is and writes nothing. One that is kept under a UUID or a name can be found by what it says of itself only, so it names that.
    ///
    /// # Errors
    /// See [`WriteError`]; then the intent in force is as before.
    pub async fn put(&self, machine: &MachineId, put: IntentPut) -> Result<Arc<Intent>, WriteError> {
        if let Some(same) = self.get(machine).filter(|old| old.put() == put) {
            return Ok(same);
        }
        let intent = Arc::new(Intent::of(machine.mac(), put, clock::unix_secs()));
        self.change(machine, Some(intent.clone())).await?;
        Ok(intent)
    }

    /// Deletes an intent; fine where there is none.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn delete(&self, machine: &MachineId) -> Result<(), WriteError> {
        self.change(machine, None).await
    }

    async fn change(&self, machine: &MachineId, intent: Option<Arc<Intent>>) -> Result<(), WriteError> {
        let (done, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.try_send(Change { machine: machine.clone(), intent, done }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriteError::Busy,
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Why intents cannot be written at present.
    pub fn refusal(&self) -> Option<String> {
        match &*self.shared.state.borrow() {
            State::Writable => None,
            State::Refused(reason) | State::Broken(reason) => Some(reason.clone()),
        }
    }

    /// Resolves when the disk has failed in a way that must end the daemon, with the reason.
    pub async fn broken(&self) -> String {
        let mut state = self.shared.state.subscribe();
        let broken = state.wait_for(|state| matches!(state, State::Broken(_))).await;
        match broken.as_deref() {
            Ok(State::Broken(reason)) => reason.clone(),
            // The sender is in `self`.
            _ => std::future::pending().await,
        }
    }
}

impl Drop for Intents {
    /// Waits for the change that is being written, so that the database is closed when this returns.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(writer) = self.writer.take() {
            // A panic of the thread has been reported where it happened.
            let _ = writer.join();
        }
    }
}

fn stopped() -> WriteError {
    WriteError::Disk("the store has stopped".into())
}

#[cfg(test)]
mod tests;
