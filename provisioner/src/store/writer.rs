//! The writer thread: takes what waits, decides it one after the other, writes it in one transaction, answers.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::disk::Disk;
use super::tables::Write;
use super::{Change, Entry, Shared, StoreError, Tables};

/// Something for the writer thread to do.
pub(super) type Job = Box<dyn FnOnce(&mut Batch) + Send>;

/// Called once it is known whether the change is on disk.
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Changes decided in one go, written together.
const BATCH_MAX: usize = 256;

/// While the disk refuses changes, how often it is tried whether somebody asks for one or not.
const RETRY_EVERY: Duration = Duration::from_secs(2);

/// Changes that will be written together.
pub(super) struct Batch {
    /// The state as it will be.
    tables: Tables,
    disk: Disk,
    durable: Vec<Write>,
    volatile: Vec<Write>,
    entries: Vec<Entry>,
    answers: Vec<Answer>,
}

impl Batch {
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    pub fn apply(&mut self, change: Change, answer: impl FnOnce(Result<(), StoreError>) + Send + 'static) {
        for write in &change.writes {
            self.tables.apply(write);
        }
        let entries = self.tables.entries(change.notes);
        self.entries.extend(entries);
        if change.is_volatile { &mut self.volatile } else { &mut self.durable }.extend(change.writes);
        self.answers.push(Box::new(answer));
    }

    pub fn history(&mut self, node: Uuid) -> Result<Vec<Entry>, StoreError> {
        let Some(id) = self.tables.node(node).map(|node| node.id) else { return Ok(Vec::new()) };
        self.disk.history(id)
    }
}

/// Starts the thread. It ends when no store is left to send jobs, or when the disk fails; then it drops `closed`.
pub(super) fn start(
    disk: Disk,
    shared: Arc<Shared>,
    mut queue: mpsc::Receiver<Job>,
    closed: oneshot::Sender<()>,
) -> std::io::Result<()> {
    let tables = shared.tables.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
    let mut batch =
        Batch { tables, disk, durable: Vec::new(), volatile: Vec::new(), entries: Vec::new(), answers: Vec::new() };
    thread::Builder::new().name("store-writer".into()).spawn(move || {
        // Without a clock it could not try again by itself; what cannot be built here could not have been built at the start.
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().build().ok();
        loop {
            let refuses = shared.health.borrow().is_err();
            let job = match clock.as_ref().filter(|_| refuses) {
                None => queue.blocking_recv(),
                Some(clock) => match clock.block_on(async { tokio::time::timeout(RETRY_EVERY, queue.recv()).await }) {
                    Ok(job) => job,
                    Err(_) => {
                        if probe(&mut batch, &shared) {
                            continue;
                        }
                        break;
                    }
                },
            };
            let Some(job) = job else { break };
            job(&mut batch);
            while batch.answers.len() < BATCH_MAX {
                let Ok(job) = queue.try_recv() else { break };
                job(&mut batch);
            }
            if !write(&mut batch, &shared) {
                break;
            }
        }
        drop(batch);
        drop(closed);
    })?;
    Ok(())
}

/// Writes a batch; `false`: the disk failed.
fn write(batch: &mut Batch, shared: &Shared) -> bool {
    let (durable, volatile) = (std::mem::take(&mut batch.durable), std::mem::take(&mut batch.volatile));
    let (entries, answers) = (std::mem::take(&mut batch.entries), std::mem::take(&mut batch.answers));
    let outcome = if durable.is_empty() && entries.is_empty() {
        Ok(())
    } else {
        let outcome = batch.disk.commit(&batch.tables, &durable, &entries);
        tell_health(shared, &outcome);
        outcome
    };
    match &outcome {
        Ok(()) => publish(batch, shared, &durable, &volatile, &entries),
        // The state as it would have been is no more.
        Err(_) => batch.tables = shared.tables.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone(),
    }
    for answer in answers {
        answer(outcome.clone());
    }
    !matches!(outcome, Err(StoreError::Failed { .. }))
}

/// Writes a transaction that changes nothing, to learn whether the disk takes changes again; `false`: the disk failed.
fn probe(batch: &mut Batch, shared: &Shared) -> bool {
    let outcome = batch.disk.commit(&batch.tables, &[], &[]);
    tell_health(shared, &outcome);
    !matches!(outcome, Err(StoreError::Failed { .. }))
}

fn tell_health(shared: &Shared, outcome: &Result<(), StoreError>) {
    shared.health.send_if_modified(|health| {
        let is_new = health.is_ok() != outcome.is_ok();
        health.clone_from(outcome);
        is_new
    });
}

fn publish(batch: &Batch, shared: &Shared, durable: &[Write], volatile: &[Write], entries: &[Entry]) {
    if durable.is_empty() && volatile.is_empty() && entries.is_empty() {
        return;
    }
    let mut changed = Vec::new();
    {
        let mut tables = shared.tables.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        // A node may be in both: what is newest is in the writer's own tables.
        for write in durable.iter().chain(volatile) {
            match write {
                Write::PutNode(node) => {
                    changed.push(node.uuid);
                    if let Some(newest) = batch.tables.node(node.uuid) {
                        tables.apply(&Write::PutNode(Arc::clone(newest)));
                    }
                }
                Write::DeleteNode(node) => {
                    changed.push(node.uuid);
                    tables.apply(write);
                }
                other => tables.apply(other),
            }
        }
        tables.follow(batch.tables.next_sequence());
    }
    shared.commits.send_modify(|commits| *commits += 1);
    shared.events.extend(entries.iter().map(Into::into));
    shared.changed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).extend(changed);
    shared.has_changed.notify_one();
}
