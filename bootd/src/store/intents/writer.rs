//! The thread that writes intents: batches, the database's tables, and what becomes of a disk's error.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use redb::{Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use reveille_config::MacAddr;
use reveille_config::dto::bootd::Intent;
use reveille_config::limit::INTENTS_MAX;
use tokio::sync::mpsc;

use super::{Change, Shared, State, WriteError};
use crate::proto::machine_id::MachineId;

const INTENTS: TableDefinition<'_, &[u8; 6], &[u8]> = TableDefinition::new("intents");
/// Those of machines that are known by a UUID or a node's name alone, which is the key.
const MACHINES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("machines");
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const FORMAT: &str = "format";
pub(super) const FORMAT_VERSION: u64 = 1;
/// Between attempts to open the database again.
const RETRY: Duration = Duration::from_secs(2);
/// Changes that share one transaction.
const BATCH_MAX: usize = 512;

/// How the database is opened, again after an error.
pub(super) type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send>;

/// Makes the tables where they are missing; returns the format's version.
pub(super) fn prepare(database: &Database) -> Result<u64, redb::Error> {
    let write = database.begin_write()?;
    let version = {
        write.open_table(INTENTS)?;
        write.open_table(MACHINES)?;
        let mut meta = write.open_table(META)?;
        let found = meta.get(FORMAT)?.map(|version| version.value());
        match found {
            Some(version) => version,
            None => {
                meta.insert(FORMAT, FORMAT_VERSION)?;
                FORMAT_VERSION
            }
        }
    };
    write.commit()?;
    Ok(version)
}

pub(super) fn read_all(database: &Database) -> Result<Vec<(MachineId, Vec<u8>)>, redb::Error> {
    let read = database.begin_read()?;
    let mut all = Vec::new();
    for row in read.open_table(INTENTS)?.iter()? {
        let (mac, json) = row?;
        all.push((MachineId::Mac(MacAddr(*mac.value())), json.value().to_vec()));
    }
    for row in read.open_table(MACHINES)?.iter()? {
        let (id, json) = row?;
        // Only ids that are read as they were written are put there.
        let id = MachineId::parse(id.value()).map_err(|refusal| redb::Error::Corrupted(refusal.to_string()))?;
        all.push((id, json.value().to_vec()));
    }
    Ok(all)
}

/// The thread that writes.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) open: Opener,
    /// None after an error: redb does not go on after one.
    pub(super) database: Option<Database>,
}

impl Writer {
    pub(super) fn run(mut self, mut changes: mpsc::Receiver<Change>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            if self.database.is_none() {
                self.reopen();
            }
            if self.database.is_none() {
                if matches!(*self.shared.state.borrow(), State::Broken(_)) || changes.is_closed() {
                    return;
                }
                self.refuse_for(&mut changes, RETRY);
                continue;
            }
            if changes.blocking_recv_many(&mut batch, BATCH_MAX) == 0 {
                return;
            }
            let broken = self.write(&mut batch);
            if broken {
                return;
            }
        }
    }

    /// Answers changes with the reason while the disk refuses.
    fn refuse_for(&self, changes: &mut mpsc::Receiver<Change>, wait: Duration) {
        let until = std::time::Instant::now() + wait;
        while std::time::Instant::now() < until && !changes.is_closed() {
            while let Ok(change) = changes.try_recv() {
                let reason = match &*self.shared.state.borrow() {
                    State::Refused(reason) | State::Broken(reason) => reason.clone(),
                    State::Writable => continue,
                };
                let _ = change.done.send(Err(WriteError::Disk(reason)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Tries to open and to write once.
    fn reopen(&mut self) {
        match (self.open)().map_err(redb::Error::from).and_then(|database| prepare(&database).map(|_| database)) {
            Ok(database) => {
                self.database = Some(database);
                self.shared.state.send_replace(State::Writable);
            }
            Err(error) => {
                self.fail(&error);
            }
        }
    }

    /// Writes one transaction and answers; true if the disk is broken.
    fn write(&mut self, batch: &mut Vec<Change>) -> bool {
        let mut count = self.shared.map.read().unwrap_or_else(PoisonError::into_inner).len();
        let mut accepted: BTreeMap<MachineId, Option<Arc<Intent>>> = BTreeMap::new();
        let mut answers = Vec::with_capacity(batch.len());
        {
            let map = self.shared.map.read().unwrap_or_else(PoisonError::into_inner);
            for change in batch.drain(..) {
                let exists =
                    accepted.get(&change.machine).map_or_else(|| map.contains(&change.machine), Option::is_some);
                match (exists, change.intent.is_some()) {
                    (false, true) if count >= INTENTS_MAX => {
                        let _ = change.done.send(Err(WriteError::Full));
                        continue;
                    }
                    (false, true) => count += 1,
                    (true, false) => count -= 1,
                    _ => {}
                }
                accepted.insert(change.machine, change.intent);
                answers.push(change.done);
            }
        }
        let result = match &self.database {
            Some(database) => commit(database, &accepted),
            None => Err(redb::Error::DatabaseClosed),
        };
        let (answer, broken) = match result {
            Ok(()) => {
                let mut map = self.shared.map.write().unwrap_or_else(PoisonError::into_inner);
                for (machine, intent) in accepted {
                    match intent {
                        Some(intent) => map.insert(machine, intent),
                        None => map.remove(&machine),
                    }
                }
                (Ok(()), false)
            }
            Err(error) => {
                self.database = None;
                (Err(WriteError::Disk(error.to_string())), self.fail(&error))
            }
        };
        for done in answers {
            // Whoever asked may have gone.
            let _ = done.send(answer.clone());
        }
        broken
    }

    /// Notes an error; true if it must end the daemon.
    fn fail(&self, error: &redb::Error) -> bool {
        let clean = match error {
            redb::Error::Io(io) => matches!(
                io.kind(),
                ErrorKind::StorageFull
                    | ErrorKind::QuotaExceeded
                    | ErrorKind::ReadOnlyFilesystem
                    | ErrorKind::PermissionDenied
            ),
            _ => false,
        };
        let reason = format!("boot intents cannot be written: {error}");
        self.shared.state.send_replace(if clean { State::Refused(reason) } else { State::Broken(reason) });
        !clean
    }
}

fn commit(database: &Database, changes: &BTreeMap<MachineId, Option<Arc<Intent>>>) -> Result<(), redb::Error> {
    let mut write = database.begin_write()?;
    write.set_durability(Durability::Immediate)?;
    {
        let (mut interfaces, mut machines) = (write.open_table(INTENTS)?, write.open_table(MACHINES)?);
        for (machine, intent) in changes {
            // An intent has nothing that JSON could not hold.
            let json = intent.as_deref().map(serde_json::to_vec).transpose();
            match (machine, json.map_err(|error| redb::Error::Io(error.into()))?) {
                (MachineId::Mac(mac), Some(json)) => drop(interfaces.insert(&mac.octets(), json.as_slice())?),
                (MachineId::Mac(mac), None) => drop(interfaces.remove(&mac.octets())?),
                (machine, Some(json)) => drop(machines.insert(machine.to_string().as_str(), json.as_slice())?),
                (machine, None) => drop(machines.remove(machine.to_string().as_str())?),
            }
        }
    }
    write.commit()?;
    Ok(())
}
