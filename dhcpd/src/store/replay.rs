//! From the journal's records back to the tables; leases go through the read model.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use reveille_config::dhcpd::ReservedFor;

use super::Shared;
use super::event::tell::Replayed;
use super::journal::Sequence;
use super::model::{RowState, SightingRow};
use super::note::{self, Note};
use super::record::{Record, RecordError, TermsRecord};
use super::rows::{Applied, LeaseFacts};
use super::table::Table;
use crate::proto::option::OptionBlock;
use crate::proto::owner::{owner_of, worker_of};
use crate::proto::scope::{Holder, Machine, Origin, Reservation, Scopes, Terms};
use crate::proto::time::Now;

/// The state that the records replayed so far say.
#[derive(Debug)]
pub(super) struct Recovery<'a> {
    scopes: &'a Scopes,
    shared: &'a Shared,
    reservations: HashMap<Holder, (Reservation, Sequence)>,
    sightings: HashMap<Machine, SightingRow>,
    events: Replayed,
    /// The number and the parts of a batch whose end has not come yet.
    batch: (u64, Vec<Record>),
    /// Records of scopes that the configuration no longer has.
    pub(super) orphans: u64,
    /// The first record that could not be read.
    pub(super) error: Option<(Sequence, RecordError)>,
}

impl<'a> Recovery<'a> {
    pub(super) fn new(scopes: &'a Scopes, shared: &'a Shared) -> Self {
        Self {
            scopes,
            shared,
            reservations: HashMap::new(),
            sightings: HashMap::new(),
            events: Replayed::default(),
            batch: (0, Vec::new()),
            orphans: 0,
            error: None,
        }
    }

    /// Takes in one record.
    pub(super) fn apply(&mut self, sequence: Sequence, kind: u8, payload: &[u8]) {
        let applied = self.shared.model.leases_mut().apply(sequence, kind, payload);
        if let Ok(applied) = applied {
            self.events.take(self.scopes, sequence, (kind, payload), applied);
        }
        let taken = match applied {
            Ok(Applied::Other) if note::KINDS.contains(&kind) => {
                Note::decode(kind, payload).map(|note| self.note(note).is_some())
            }
            Ok(Applied::Other) => Record::decode(kind, payload).map(|record| self.take(sequence, record).is_some()),
            applied => applied.map(|applied| matches!(applied, Applied::Lease(_))),
        };
        match taken {
            Ok(known) => self.orphans += u64::from(!known),
            Err(error) => _ = self.error.get_or_insert((sequence, error)),
        }
    }

    fn holder(&self, address: Ipv4Addr, client: ReservedFor) -> Option<Holder> {
        self.scopes.of_address(address).map(|scope| Holder { scope: scope.index, client })
    }

    fn note(&mut self, note: Note<'_>) -> Option<()> {
        self.events.keep(self.scopes, note);
        if let Note::Pool { scope, above, .. } = note {
            self.shared.pool_levels.set(self.scopes.by_name(scope)?.index, above);
        }
        Some(())
    }

    fn take(&mut self, sequence: Sequence, record: Record) -> Option<()> {
        match record {
            // The model has taken them in.
            Record::Bind { .. } | Record::Release { .. } | Record::Decline { .. } => {}
            Record::Reserve { client, also, address, hostname, boot_file, node, options, options_given, terms } => {
                let TermsRecord { boot, boot_files, labels, lease_secs, expires } = terms;
                let terms = Terms { boot, boot_files, labels, lease_secs, expires };
                let holder = self.holder(address, client)?;
                let text = |text: Box<str>| (!text.is_empty()).then_some(text);
                let reservation = Reservation {
                    boot: self.scopes.boot_of(&terms),
                    scope: holder.scope,
                    client: holder.client.clone(),
                    also,
                    address,
                    hostname: text(hostname),
                    boot_file: text(boot_file),
                    options: OptionBlock::from_octets(&options),
                    options_given,
                    node: text(node),
                    terms,
                    origin: Origin::Api,
                };
                if let Some(mac) = holder.client.mac() {
                    self.sightings.remove(&Machine { scope: holder.scope, mac });
                }
                self.reservations.insert(holder, (reservation, sequence));
            }
            Record::BatchPart { batch, part } => {
                if self.batch.0 != batch {
                    // The end of the one before was torn off: it never was.
                    self.batch = (batch, Vec::new());
                }
                self.batch.1.push(*part);
            }
            Record::BatchEnd { batch, count } => {
                let (begun, parts) = std::mem::take(&mut self.batch);
                if begun != batch || parts.len() != count as usize {
                    _ = self.error.get_or_insert((sequence, RecordError::Malformed(10)));
                }
                // Each counts for itself: one may be of a scope that is gone.
                let known = parts.into_iter().map(|part| self.take(sequence, part)).filter(Option::is_none).count();
                self.orphans += known as u64;
            }
            Record::Unreserve { client, address } => {
                let holder = self.holder(address, client)?;
                self.reservations.remove(&holder);
            }
            Record::Sighting { mac, scope, first, last, count, vendor_class, hostname } => {
                let machine = Machine { scope: self.scopes.by_name(&scope)?.index, mac };
                self.sightings.insert(machine, SightingRow { first, last, count, vendor_class, hostname });
            }
        }
        Some(())
    }

    /// Hands everything to the workers that own it. Leases first, because they are promises; then reservations; the configuration's last.
    pub(super) fn finish(self, now: Now, tables: &mut [Table], covered: Option<Sequence>, through: Sequence) {
        self.events.finish(&self.shared.events.durable, covered, through);
        let workers = tables.len();
        let (mut expired, mut orphaned) = (Vec::new(), Vec::new());
        let leases = self.shared.model.leases();
        // Whose lease was over when its address was reserved for another holds it no more, though its record is still there.
        let reserved: HashMap<Ipv4Addr, &(Reservation, Sequence)> =
            self.reservations.values().map(|own| (own.0.address, own)).collect();
        let is_void = |lease: &LeaseFacts| {
            let Some((own, sequence)) = reserved.get(&lease.address) else { return false };
            // One for a client that is not known by its hardware address alone was put only where nobody else held the address, whatever the wall clock says by now.
            let keeps = own.client.mac().is_none() || !own.also.is_empty();
            let is_over = lease.ends <= now.unix || keeps && lease.sequence < *sequence;
            is_over && leases.get(lease.address).is_some_and(|row| !row.is_of_any(own.identities()))
        };
        // Clients fall to their workers evenly, as hashes do; a last few may make a table grow.
        tables.iter_mut().for_each(|table| table.expect_leases(leases.len() / workers));
        let mut adopt = |lease: LeaseFacts| {
            if (lease.state == RowState::Bound && is_void(&lease))
                || !tables[owner_of(lease.client.identity, workers)].adopt_lease(now, &lease)
            {
                orphaned.push(lease.address);
            }
        };
        for lease in leases.facts() {
            if lease.ends <= now.unix { expired.push(lease) } else { adopt(lease) }
        }
        // They are reclaimed in the order in which they were adopted.
        expired.sort_unstable_by_key(|lease| (lease.ends, lease.address));
        expired.into_iter().for_each(adopt);
        drop(leases);
        let mut leases = self.shared.model.leases_mut();
        orphaned.into_iter().for_each(|address| leases.remove(address));
        leases.settle();
        drop(leases);
        let mut sightings: Vec<_> = self.sightings.into_iter().collect();
        sightings.sort_by_key(|(key, row)| (row.last, *key));
        for (key, row) in sightings {
            tables[worker_of(key.mac, workers)].adopt_sighting(key, row);
        }
        for (holder, (reservation, sequence)) in self.reservations {
            let owner = self.shared.keeper_of(&holder.client, workers);
            tables[owner].adopt_reservation(Arc::new(reservation), sequence);
        }
        for (worker, table) in tables.iter_mut().enumerate() {
            table.apply_configuration(self.scopes, worker, workers);
        }
        for (key, port) in self.shared.model.leases().ports() {
            let table = &mut tables[owner_of(key.identity, workers)];
            if !table.reservations.contains_key(&key) {
                table.count_port(key, port);
            }
        }
    }
}
