//! A snapshot of the whole state through the journal, taken from the read model while the workers go on.

use tokio::sync::oneshot;

use super::Store;
use super::event::tell::kept;
use super::journal::{SnapshotError, SnapshotReport, SnapshotWriter};
use super::model::{LeaseRow, RowState};
use super::note::Note;
use super::queue::Request;
use super::record::Record;
use super::reservation::reserve_record;
use super::sighting::sighting_record;
use crate::proto::scope::Origin;
use crate::proto::time::UnixSecs;

/// Leases that are written before others that want the core go first.
const LEASES_AT_ONCE: usize = 64;

/// Why a snapshot was not taken; the log stays as long as it is.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The journal did not take it.
    #[error(transparent)]
    Journal(#[from] SnapshotError),
    /// A worker has ended or does not keep up.
    #[error("a worker did not answer")]
    Worker,
}

impl Store {
    /// Takes a snapshot. Blocks for as long as the disk takes: not for async tasks.
    ///
    /// # Errors
    /// See [`TakeError`].
    pub fn take_snapshot(&self) -> Result<SnapshotReport, TakeError> {
        // What a batch has written and not yet put in force would be covered and not shown.
        let changing = self.changing.blocking_read();
        let mut writer = self.journal.begin_snapshot()?;
        // What a worker appended before it answers is in the model, but for leases, which show when they are durable.
        let mut barriers = Vec::new();
        for queue in &self.queues {
            let (answer, answered) = oneshot::channel();
            queue.push(Request::Barrier(answer)).map_err(|_| TakeError::Worker)?;
            barriers.push(answered);
        }
        for barrier in barriers {
            barrier.blocking_recv().map_err(|_| TakeError::Worker)?;
        }
        drop(changing);
        self.journal.wait_followed(writer.covers()).map_err(SnapshotError::Log)?;
        self.put_state(&mut writer)?;
        Ok(writer.finish()?)
    }

    fn put_state(&self, writer: &mut SnapshotWriter) -> Result<(), SnapshotError> {
        let scopes = self.shared.scopes.load();
        let model = &self.shared.model;
        let mut payload = Vec::new();
        let mut put = |entry: Entry<'_>| {
            let kind = match entry {
                Entry::Record(record) => record.encode(&mut payload),
                Entry::Note(note) => note.encode(&mut payload),
            };
            writer.put(kind, &payload)
        };
        for scope in scopes.iter() {
            let (mut at, mut shown) = (None, 0_usize);
            while let Some((address, row)) = model.next_lease(scope.index, at) {
                at = Some(address);
                shown += 1;
                // Whoever has a packet to answer need not wait for the end of a turn.
                if shown.is_multiple_of(LEASES_AT_ONCE) {
                    std::thread::yield_now();
                }
                let mac = row.mac;
                if row.state == RowState::Declined {
                    put(Entry::Record(Record::Decline { address, mac, at: row.starts, until: row.ends }))?;
                    continue;
                }
                let LeaseRow { starts, ends, client_id, hostname, relay_agent, vendor_class, told, dealt, .. } = row;
                let bind = Record::Bind { address, mac, starts, ends, client_id, hostname, relay_agent, vendor_class };
                put(Entry::Record(bind))?;
                // The time when it was told something is a time when it dealt with the server.
                let dealings = [(told, true), (dealt.0, false)].into_iter().zip([starts, told]);
                for ((at, told), before) in dealings {
                    if at <= before {
                        continue;
                    }
                    put(Entry::Note(Note::Dealt { address, mac, at, told, relay_agent: &[], vendor_class: &[] }))?;
                }
                if row.state == RowState::Released {
                    put(Entry::Record(Record::Release { address, mac, at: ends }))?;
                } else if row.expiry_told {
                    put(Entry::Note(Note::Expired { address, mac, at: ends }))?;
                }
            }
            if self.shared.pool_levels.is_above(scope.index) {
                let (scope, at) = (&*scope.name, UnixSecs(0));
                put(Entry::Note(Note::Pool { scope, above: true, used: 0, size: 0, at }))?;
            }
        }
        for (reservation, _) in model.reservations().iter().filter(|(own, _)| own.origin == Origin::Api) {
            put(Entry::Record(reserve_record(reservation)))?;
        }
        for (key, row) in model.sightings() {
            if let Some(scope) = scopes.get(key.scope) {
                put(Entry::Record(sighting_record(key, scope, &row)))?;
            }
        }
        // Last, so that nothing above shows what these do not tell.
        let (blocks, forgotten_through) = self.shared.events.durable.all();
        put(Entry::Note(Note::Forgotten { through: forgotten_through }))?;
        for event in blocks.iter().flat_map(|block| block.iter()) {
            if let Some(note) = kept(&scopes, event) {
                put(Entry::Note(note))?;
            }
        }
        Ok(())
    }
}

/// What a snapshot is made of.
enum Entry<'a> {
    Record(Record),
    Note(Note<'a>),
}
