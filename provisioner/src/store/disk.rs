//! [`Disk`]: the redb file.
//!
//! Format 1, values in JSON:
//!
//! | table | key → value |
//! |---|---|
//! | `meta` | `format` → 1; `next_sequence` → of the history; `epoch` → drawn when the history began |
//! | `nodes` | node id → [`Node`] |
//! | `ports` | port id → [`Port`] |
//! | `history` | sequence → [`Entry`] |
//! | `history_of_node` | (node id, sequence) → () |

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use reveille_config::dto::event::Epoch;
use reveille_config::limit::EVENTS_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::tables::Write;
use super::{Entry, HISTORY_PER_NODE_MAX, StoreError, Tables};
use crate::proto::node::{Node, Port};

const FORMAT: u64 = 1;
const FILE: &str = "provisioner.redb";

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const NODES: TableDefinition<u64, &[u8]> = TableDefinition::new("nodes");
const PORTS: TableDefinition<u64, &[u8]> = TableDefinition::new("ports");
const HISTORY: TableDefinition<u64, &[u8]> = TableDefinition::new("history");
const HISTORY_OF_NODE: TableDefinition<(u64, u64), ()> = TableDefinition::new("history_of_node");

/// The redb file. `database` is absent after a refused write, until it could be opened again.
pub(super) struct Disk {
    path: PathBuf,
    database: Option<Database>,
    opener: Opener,
}

/// Opens the file: the seam at which tests let a disk fill up.
pub(super) type Opener = Box<dyn Fn(&Path) -> Result<Database, redb::DatabaseError> + Send>;

/// Why a transaction failed.
type Error = Box<redb::Error>;

impl Disk {
    /// Opens or makes the file, and reads it: the state, the last entries of the history, and which history it is.
    pub fn open(state_dir: &Path, opener: Opener) -> Result<(Self, Tables, Vec<Entry>, Epoch), StoreError> {
        let path = state_dir.join(FILE);
        let at = |reason: String| StoreError::Open { path: path.clone(), reason };
        fs::create_dir_all(state_dir).map_err(|error| at(error.to_string()))?;
        // BMC passwords are in it: nobody else may read it, whatever the umask.
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        file.and_then(|file| file.set_permissions(fs::Permissions::from_mode(0o600)))
            .map_err(|error| at(error.to_string()))?;
        let database = opener(&path).map_err(|error| at(explain(&error.into())))?;
        match prepare(&database).map_err(|error| at(explain(&error)))? {
            FORMAT => {}
            other => {
                return Err(at(format!(
                    "its format is {other}, this program reads {FORMAT}: use the program that wrote it, or a newer one"
                )));
            }
        }
        let rows = Rows::read(&database).map_err(|error| at(explain(&error)))?;
        let mut tables = Tables::new(rows.next_sequence);
        for (id, bytes) in rows.nodes {
            let node: Node = decode(&bytes).map_err(|error| at(format!("node {id} {error}")))?;
            tables.apply(&Write::PutNode(Arc::new(node)));
        }
        for (id, bytes) in rows.ports {
            let port: Port = decode(&bytes).map_err(|error| at(format!("port {id} {error}")))?;
            tables.apply(&Write::PutPort(Arc::new(port)));
        }
        // An entry that cannot be read is left out: history is for people.
        let entries = rows.history.iter().rev().filter_map(|(_, bytes)| decode(bytes).ok()).collect();
        Ok((Self { path: path.clone(), database: Some(database), opener }, tables, entries, Epoch(rows.epoch)))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes everything in one transaction that is on disk when this returns.
    pub fn commit(&mut self, tables: &Tables, writes: &[Write], entries: &[Entry]) -> Result<(), StoreError> {
        let outcome = self.reopen().and_then(|()| self.try_commit(tables, writes, entries));
        outcome.map_err(|error| {
            let path = self.path.clone();
            let reason = explain(&error);
            if is_clean_refusal(&error) {
                // redb wants its file opened anew after any error; what was committed before is still there.
                self.database = None;
                StoreError::Refused { path, reason }
            } else {
                StoreError::Failed { path, reason }
            }
        })
    }

    fn reopen(&mut self) -> Result<(), Error> {
        if self.database.is_none() {
            self.database = Some((self.opener)(&self.path).map_err(boxed)?);
        }
        Ok(())
    }

    fn try_commit(&self, tables: &Tables, writes: &[Write], entries: &[Entry]) -> Result<(), Error> {
        let Some(database) = &self.database else { return Ok(()) };
        let begin = database.begin_write().map_err(boxed)?;
        {
            let mut nodes = begin.open_table(NODES).map_err(boxed)?;
            let mut ports = begin.open_table(PORTS).map_err(boxed)?;
            let mut history = begin.open_table(HISTORY).map_err(boxed)?;
            let mut of_node = begin.open_table(HISTORY_OF_NODE).map_err(boxed)?;
            let mut deleted = Vec::new();
            for write in writes {
                match write {
                    Write::PutNode(node) => {
                        nodes.insert(node.id, encode(&**node)?.as_slice()).map_err(boxed)?;
                    }
                    Write::DeleteNode(node) => {
                        nodes.remove(node.id).map_err(boxed)?;
                        deleted.push(node.id);
                    }
                    Write::PutPort(port) => {
                        ports.insert(port.id, encode(&**port)?.as_slice()).map_err(boxed)?;
                    }
                    Write::DeletePort(port) => {
                        ports.remove(port.id).map_err(boxed)?;
                    }
                }
            }
            let mut noted = std::collections::BTreeSet::new();
            for entry in entries {
                if let Some(node) = tables.node(entry.node) {
                    history.insert(entry.sequence, encode(entry)?.as_slice()).map_err(boxed)?;
                    of_node.insert((node.id, entry.sequence), ()).map_err(boxed)?;
                    noted.insert(node.id);
                }
            }
            for (id, keep) in
                noted.into_iter().map(|id| (id, HISTORY_PER_NODE_MAX)).chain(deleted.into_iter().map(|id| (id, 0)))
            {
                let sequences: Vec<u64> = of_node
                    .range((id, 0)..=(id, u64::MAX))
                    .map_err(boxed)?
                    .map(|row| row.map(|(key, _)| key.value().1).map_err(boxed))
                    .collect::<Result<_, _>>()?;
                for sequence in &sequences[..sequences.len().saturating_sub(keep)] {
                    of_node.remove((id, *sequence)).map_err(boxed)?;
                    history.remove(*sequence).map_err(boxed)?;
                }
            }
            let mut meta = begin.open_table(META).map_err(boxed)?;
            meta.insert("next_sequence", tables.next_sequence()).map_err(boxed)?;
        }
        begin.commit().map_err(boxed)
    }

    /// A node's history, oldest first.
    pub fn history(&mut self, node_id: u64) -> Result<Vec<Entry>, StoreError> {
        let read = |disk: &Self| -> Result<Vec<Entry>, Error> {
            let Some(database) = &disk.database else { return Ok(Vec::new()) };
            let read = database.begin_read().map_err(boxed)?;
            let history = read.open_table(HISTORY).map_err(boxed)?;
            let of_node = read.open_table(HISTORY_OF_NODE).map_err(boxed)?;
            let mut entries = Vec::new();
            for row in of_node.range((node_id, 0)..=(node_id, u64::MAX)).map_err(boxed)? {
                let (key, _) = row.map_err(boxed)?;
                if let Some(value) = history.get(key.value().1).map_err(boxed)? {
                    entries.extend(decode::<Entry>(value.value()).ok());
                }
            }
            Ok(entries)
        };
        self.reopen()
            .and_then(|()| read(self))
            .map_err(|error| StoreError::Refused { path: self.path.clone(), reason: explain(&error) })
    }
}

/// Makes what is missing; gives back the file's format.
fn prepare(database: &Database) -> Result<u64, Error> {
    let begin = database.begin_write().map_err(boxed)?;
    let format = {
        let mut meta = begin.open_table(META).map_err(boxed)?;
        let format = meta.get("format").map_err(boxed)?.map(|value| value.value());
        if format.unwrap_or(FORMAT) == FORMAT && meta.get("epoch").map_err(boxed)?.is_none() {
            let random = |error: getrandom::Error| boxed(redb::Error::Io(io::Error::other(error.to_string())));
            meta.insert("epoch", getrandom::u64().map_err(random)?).map_err(boxed)?;
        }
        if format.is_none() {
            meta.insert("format", FORMAT).map_err(boxed)?;
            meta.insert("next_sequence", 1).map_err(boxed)?;
            begin.open_table(NODES).map_err(boxed)?;
            begin.open_table(PORTS).map_err(boxed)?;
            begin.open_table(HISTORY).map_err(boxed)?;
            begin.open_table(HISTORY_OF_NODE).map_err(boxed)?;
        }
        format.unwrap_or(FORMAT)
    };
    begin.commit().map_err(boxed)?;
    Ok(format)
}

/// A table's rows, not decoded.
type Raw = Vec<(u64, Vec<u8>)>;

/// What the file holds.
struct Rows {
    next_sequence: u64,
    epoch: u64,
    nodes: Raw,
    ports: Raw,
    /// The newest first, no more than there are events.
    history: Raw,
}

impl Rows {
    fn read(database: &Database) -> Result<Self, Error> {
        let read = database.begin_read().map_err(boxed)?;
        let rows = |definition: TableDefinition<u64, &[u8]>, newest: usize| -> Result<Raw, Error> {
            let table = read.open_table(definition).map_err(boxed)?;
            let rows = table.iter().map_err(boxed)?.rev().take(newest);
            rows.map(|row| row.map(|(id, value)| (id.value(), value.value().to_vec())).map_err(boxed)).collect()
        };
        let meta = read.open_table(META).map_err(boxed)?;
        let next_sequence = meta.get("next_sequence").map_err(boxed)?.map_or(1, |value| value.value());
        let epoch = meta.get("epoch").map_err(boxed)?.map_or(0, |value| value.value());
        Ok(Self {
            next_sequence,
            epoch,
            nodes: rows(NODES, usize::MAX)?,
            ports: rows(PORTS, usize::MAX)?,
            history: rows(HISTORY, EVENTS_MAX)?,
        })
    }
}

fn boxed(error: impl Into<redb::Error>) -> Error {
    Box::new(error.into())
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| boxed(redb::Error::Io(io::Error::other(error))))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("cannot be read: {error}"))
}

/// Whether the system refused for want of room: nothing is broken.
fn is_clean_refusal(error: &redb::Error) -> bool {
    let redb::Error::Io(error) = error else { return false };
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::PermissionDenied
    )
}

fn explain(error: &redb::Error) -> String {
    match error {
        redb::Error::DatabaseAlreadyOpen => {
            "it is open already: does another provisioner run on this state directory?".to_owned()
        }
        other => other.to_string(),
    }
}
