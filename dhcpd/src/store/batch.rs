//! Many reservations at once, all or none: what a batch asks for is first prepared by the workers that own its machines, then written, then put in force.
//!
//! A prepared row has claimed its address and changes nothing else; [`Table::abandon`] takes that back. The records of a batch are parts, which mean nothing until the
//! record that ends the batch is in the journal too (docs/journal-format.md, R13), so a batch may be longer than one commit.
//!
//! Invariant: while a batch is under way no other reservation changes and no snapshot begins ([`Store::changing`]), so that the order of the records is the order in which they
//! came into force.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use reveille_config::dhcpd::ReservedFor;
use tokio::sync::oneshot;

use super::Store;
use super::journal::{Appender, Refusal};
use super::queue::Request;
use super::record::{Record, batch_part};
use super::reservation::{PutError, ReservationDraft, reserve_record};
use super::table::{Reserved, Table};
use crate::proto::scope::{ClientKey, Holder, Origin, Reservation};

/// Rows that a worker prepares or puts in force between two batches of packets: about half a millisecond's worth.
const ROWS_AT_ONCE: usize = 128;
/// Octets of records that are queued at once; half of what may wait for a commit stays for leases.
const OCTETS_AT_ONCE: usize = 256 << 10;
/// How long the journal's room is waited for.
const ROOM_WAIT: Duration = Duration::from_secs(8);
/// Octets that a part has besides its record's payload.
pub const PART_BYTES: usize = 9;

/// A row of a batch.
#[derive(Debug, Clone)]
pub enum Row {
    /// Put a reservation.
    Put(Box<ReservationDraft>),
    /// Delete a client's reservation.
    Delete(Holder),
}

impl Row {
    /// The client that it is about.
    pub fn holder(&self) -> &Holder {
        match self {
            Self::Put(draft) => &draft.holder,
            Self::Delete(holder) => holder,
        }
    }

    /// The identities of the client, as far as the row names them.
    pub fn identities(&self) -> impl Iterator<Item = &ReservedFor> {
        let also = if let Self::Put(draft) = self { &*draft.also } else { &[] };
        std::iter::once(&self.holder().client).chain(also)
    }
}

/// What a row changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// There was none before.
    Created,
    /// There was another.
    Changed,
    /// It was there already; or was not, where it is deleted.
    Unchanged,
    /// There is none any more.
    Deleted,
}

/// A row that its worker has made ready.
#[derive(Debug, Clone)]
pub struct Prepared {
    key: ClientKey,
    holder: Holder,
    /// What is to be in force; `None`: nothing.
    pub reservation: Option<Arc<Reservation>>,
    former: Option<Arc<Reservation>>,
    /// Identities that were claimed for it.
    claimed: Vec<ClientKey>,
    /// What that changes.
    pub effect: Effect,
}

/// Why a batch changed nothing.
#[derive(Debug)]
pub enum BatchError {
    /// These rows cannot be, in their order.
    Rows(Vec<(usize, PutError)>),
    /// A worker does not keep up or has ended.
    Busy,
    /// The journal took no record; with `true` what was asked may still come into force.
    Journal(Refusal, bool),
}

impl Store {
    /// Puts all rows in force, or none; answered once they are durable and in force. With `dry_run` only says what they would change.
    /// Each client and each address may be named once.
    ///
    /// # Errors
    /// See [`BatchError`].
    pub async fn put_batch(&self, rows: Vec<Row>, dry_run: bool) -> Result<Vec<Prepared>, BatchError> {
        let _alone = self.changing.write().await;
        let prepared = self.prepare(rows).await?;
        if dry_run {
            self.abandon(prepared.clone()).await;
            return Ok(prepared);
        }
        match self.write(&prepared).await {
            Ok((sequence, durable)) => {
                self.put_in_force(prepared.clone(), sequence).await?;
                durable.map(|()| prepared).map_err(|reason| BatchError::Journal(reason, true))
            }
            Err(reason) => {
                self.abandon(prepared).await;
                Err(BatchError::Journal(reason, false))
            }
        }
    }

    /// Has another worker's expired lease of `address` given up for `holder`, if that is what is in the way.
    pub async fn make_room(&self, holder: &Holder, address: Ipv4Addr) -> bool {
        let model = &self.shared.model;
        if model.reserved_at(address).is_some_and(|own| own.client != holder.client) {
            return false;
        }
        let client = self.shared.scopes.load().client_of(self.shared.identity_key, holder);
        let Some(row) = model.lease(address).filter(|row| Some(row.client) != client) else { return false };
        let (answer, answered) = oneshot::channel();
        let request = Request::GiveUp(row.client.network, address, Some(answer));
        self.queue_of_client(row.client).push(request).is_ok() && answered.await.unwrap_or(false)
    }

    async fn prepare(&self, rows: Vec<Row>) -> Result<Vec<Prepared>, BatchError> {
        let count = rows.len();
        let (mut done, mut wrong) = (Vec::with_capacity(count), Vec::new());
        let mut outcomes = self.prepare_on_workers(rows.iter().cloned().enumerate().collect()).await;
        outcomes.sort_by_key(|(at, _)| *at);
        let mut busy = false;
        for (at, outcome) in outcomes {
            match outcome {
                Some(Ok(prepared)) => done.push(prepared),
                Some(Err(PutError::Taken(address))) => {
                    let again = self.make_room(rows[at].holder(), address).await;
                    let row = vec![(at, rows[at].clone())];
                    match if again {
                        self.prepare_on_workers(row).await.pop().and_then(|(_, outcome)| outcome)
                    } else {
                        None
                    } {
                        Some(Ok(prepared)) => done.push(prepared),
                        _ => wrong.push((at, PutError::Taken(address))),
                    }
                }
                Some(Err(error)) => wrong.push((at, error)),
                None => busy = true,
            }
        }
        if !busy && wrong.is_empty() {
            return Ok(done);
        }
        self.abandon(done).await;
        Err(if busy { BatchError::Busy } else { BatchError::Rows(wrong) })
    }

    /// Each row's outcome, in no particular order; `None`: its worker did not answer.
    async fn prepare_on_workers(&self, rows: Vec<(usize, Row)>) -> Vec<(usize, Option<Result<Prepared, PutError>>)> {
        let mut outcomes = Vec::with_capacity(rows.len());
        for (worker, rows) in self.by_worker(rows, |(_, row)| &row.holder().client) {
            for rows in rows.chunks(ROWS_AT_ONCE) {
                let (answer, answered) = oneshot::channel();
                let request = Request::Prepare(rows.iter().map(|(_, row)| row.clone()).collect(), answer);
                let prepared = match self.queues[worker].push(request) {
                    Ok(()) => answered.await.unwrap_or_default(),
                    Err(_) => Vec::new(),
                };
                let mut prepared = prepared.into_iter();
                outcomes.extend(rows.iter().map(|(at, _)| (*at, prepared.next())));
            }
        }
        outcomes
    }

    async fn abandon(&self, prepared: Vec<Prepared>) {
        for (worker, rows) in self.by_worker(prepared, |row| &row.holder.client) {
            for rows in rows.chunks(ROWS_AT_ONCE) {
                // A worker that has ended holds nothing any more.
                let _ = self.tell(worker, |answer| Request::Abandon(rows.to_vec(), answer)).await;
            }
        }
    }

    async fn put_in_force(&self, prepared: Vec<Prepared>, sequence: u64) -> Result<(), BatchError> {
        for (worker, rows) in self.by_worker(prepared, |row| &row.holder.client) {
            for rows in rows.chunks(ROWS_AT_ONCE) {
                let told = self.tell(worker, |answer| Request::PutInForce(rows.to_vec(), sequence, answer));
                told.await.ok_or(BatchError::Busy)?;
            }
        }
        Ok(())
    }

    /// Has a worker do something that must be done, however full its queue is; `None` where it has ended.
    async fn tell(&self, worker: usize, request: impl Fn(oneshot::Sender<()>) -> Request) -> Option<()> {
        loop {
            let (answer, answered) = oneshot::channel();
            if self.queues[worker].push(request(answer)).is_ok() {
                return answered.await.ok();
            }
            if self.queues[worker].is_closed() {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn by_worker<T>(&self, rows: Vec<T>, client: impl Fn(&T) -> &ReservedFor) -> HashMap<usize, Vec<T>> {
        let mut by_worker: HashMap<usize, Vec<T>> = HashMap::new();
        for row in rows {
            let worker = self.shared.keeper_of(client(&row), self.queues.len());
            by_worker.entry(worker).or_default().push(row);
        }
        by_worker
    }

    /// Writes the records of a batch. Says the sequence of its end, which from then on is in the journal, and whether it is durable.
    async fn write(&self, prepared: &[Prepared]) -> Result<(u64, Result<(), Refusal>), Refusal> {
        let changes: Vec<Record> = prepared.iter().filter_map(Prepared::record).collect();
        if changes.is_empty() {
            return Ok((0, Ok(())));
        }
        let mut appender = self.journal.appender();
        let batch = self.journal.durable() + 1;
        let (mut records, mut octets) = (Vec::new(), 0);
        for record in &changes {
            let part = batch_part(batch, record);
            octets += part.len();
            records.push((9, part));
            if octets >= OCTETS_AT_ONCE {
                let (_, durable) = append(&mut appender, &records).await?;
                durable?;
                (records, octets) = (Vec::new(), 0);
            }
        }
        let mut end = Vec::new();
        let kind = Record::BatchEnd { batch, count: changes.len() as u32 }.encode(&mut end);
        records.push((kind, end));
        append(&mut appender, &records).await
    }
}

/// Appends records together as soon as there is room, and waits until they are durable.
async fn append(appender: &mut Appender, records: &[(u8, Vec<u8>)]) -> Result<(u64, Result<(), Refusal>), Refusal> {
    let records: Vec<(u8, &[u8])> = records.iter().map(|(kind, payload)| (*kind, &**payload)).collect();
    let deadline = tokio::time::Instant::now() + ROOM_WAIT;
    loop {
        let mut commits = appender.subscribe();
        commits.mark_unchanged();
        match appender.append_batch(&records, ()) {
            Ok(pending) => {
                let sequence = pending.sequence();
                return Ok((sequence, pending.wait(appender).await.map(drop).map_err(|refused| refused.reason)));
            }
            Err(refused) if refused.reason == Refusal::RingFull => {
                match tokio::time::timeout_at(deadline, commits.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return Err(refused.reason),
                }
            }
            Err(refused) => return Err(refused.reason),
        }
    }
}

impl Prepared {
    /// What the journal must know of it.
    fn record(&self) -> Option<Record> {
        if self.effect == Effect::Unchanged {
            return None;
        }
        match (&self.reservation, &self.former) {
            (Some(own), _) => Some(reserve_record(own)),
            (None, Some(former)) => {
                Some(Record::Unreserve { client: self.holder.client.clone(), address: former.address })
            }
            (None, None) => None,
        }
    }
}

impl Table {
    /// Makes a row ready: claims its address and changes nothing else.
    ///
    /// # Errors
    /// See [`PutError`]; nothing has changed then.
    pub fn prepare(&mut self, row: Row) -> Result<Prepared, PutError> {
        let key = self.client_of(row.holder()).ok_or(PutError::NoScope)?;
        let former = self.reservations.get(&key).cloned();
        if let Some(fixed) = former.as_ref().filter(|own| own.reservation.origin == Origin::Config) {
            return Err(PutError::Configured(fixed.reservation.address));
        }
        let draft = match row {
            Row::Put(draft) => *draft,
            Row::Delete(holder) => {
                let former = former.map(|own| own.reservation).filter(|own| own.scope == holder.scope);
                let effect = if former.is_some() { Effect::Deleted } else { Effect::Unchanged };
                return Ok(Prepared { key, holder, reservation: None, former, claimed: Vec::new(), effect });
            }
        };
        let claimed = self.claim_identities(key, &draft)?;
        let let_go = |own: &Self, claimed: &[ClientKey]| {
            claimed.iter().for_each(|identity| own.shared.by_identity.let_go(*identity, key));
        };
        let (holder, keeps) = (draft.holder.clone(), self.keeps(key, &draft.also));
        let address = self.claim_for(key, &draft, former.as_ref()).inspect_err(|_| let_go(self, &claimed))?;
        let reservation = Arc::new(draft.reservation(address));
        reserve_record(&reservation).encode(&mut self.payload);
        let too_long = self.payload.len() + PART_BYTES > reveille_config::limit::JOURNAL_PAYLOAD_BYTES_MAX;
        let held_before = former.as_ref().is_some_and(|own| own.has(address, keeps));
        if too_long {
            if !held_before {
                self.let_go_reserved(key, address, keeps);
            }
            let_go(self, &claimed);
            return Err(PutError::TooLong);
        }
        if !held_before {
            self.prepared.insert(key, (address, keeps));
        }
        let effect = match &former {
            None => Effect::Created,
            Some(own) if own.holds && own.reservation == reservation => Effect::Unchanged,
            Some(_) => Effect::Changed,
        };
        let former = former.map(|own| own.reservation);
        Ok(Prepared { key, holder, reservation: Some(reservation), former, claimed, effect })
    }

    /// Takes back what [`Self::prepare`] claimed.
    pub fn abandon(&mut self, prepared: &Prepared) {
        let Prepared { key, claimed, .. } = prepared;
        if let Some((address, keeps)) = self.prepared.remove(key) {
            self.let_go_reserved(*key, address, keeps);
        }
        claimed.iter().for_each(|identity| self.shared.by_identity.let_go(*identity, *key));
    }

    /// Puts a prepared row in force; `sequence` is that of its batch's end.
    pub fn put_in_force(&mut self, row: Prepared, sequence: u64) {
        let Prepared { key, reservation, effect, .. } = row;
        if effect != Effect::Unchanged {
            match reservation {
                Some(reservation) => self.enforce(key, reservation, sequence),
                None => self.remove_reserved(key),
            }
        }
        self.prepared.remove(&key);
    }

    /// Has a reservation, whose address is claimed, replace the client's former one.
    pub(super) fn enforce(&mut self, key: ClientKey, reservation: Arc<Reservation>, sequence: u64) {
        let (address, holder) = (reservation.address, reservation.holder());
        if reservation.terms.expires.0 > 0 {
            self.expiring.insert((reservation.terms.expires, key));
        }
        self.shared.model.put_reservation(Arc::clone(&reservation), sequence);
        let keeps = self.keeps(key, &reservation.also);
        if keeps {
            self.show_to_all(key, &reservation);
        }
        let now = Reserved { reservation: Arc::clone(&reservation), keeps, holds: true, sequence };
        if let Some(former) = self.reservations.insert(key, now) {
            self.forget_identities(key, &former, Some((&reservation, keeps)));
            if former.reservation.scope != holder.scope {
                self.shared.model.remove_reservation(&former.reservation.holder());
            }
            if former.holds && !former.has(address, keeps) {
                self.let_go_reserved(key, former.reservation.address, former.keeps);
            }
        }
        self.forget_sighting_of(&holder);
    }
}
