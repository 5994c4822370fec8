//! From the journal's records back to the tables.
//!
//! Later records win, by address and by client, so that an address bound anew needs no record that ends the old binding (docs/journal-format.md, R8).

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use reveille_config::MacAddr;

use super::journal::Sequence;
use super::model::{LeaseRow, RowState, SightingRow};
use super::record::{Record, RecordError};
use super::table::{Table, declined_row};
use crate::proto::identity::{Identity, IdentityKey};
use crate::proto::option::OptionBlock;
use crate::proto::owner::{owner_of, worker_of};
use crate::proto::scope::{ClientKey, Machine, Origin, Reservation, Scopes};
use crate::proto::time::Now;

/// The state that the records replayed so far say.
#[derive(Debug)]
pub(super) struct Recovery<'a> {
    scopes: &'a Scopes,
    identity_key: IdentityKey,
    leases: HashMap<Ipv4Addr, LeaseRow>,
    by_client: HashMap<ClientKey, Ipv4Addr>,
    reservations: HashMap<Machine, (Reservation, Sequence)>,
    sightings: HashMap<Machine, SightingRow>,
    /// Records of scopes that the configuration no longer has.
    pub(super) orphans: u64,
    /// The first record that could not be read.
    pub(super) error: Option<(Sequence, RecordError)>,
}

impl<'a> Recovery<'a> {
    pub(super) fn new(scopes: &'a Scopes, identity_key: IdentityKey) -> Self {
        Self {
            scopes,
            identity_key,
            leases: HashMap::new(),
            by_client: HashMap::new(),
            reservations: HashMap::new(),
            sightings: HashMap::new(),
            orphans: 0,
            error: None,
        }
    }

    /// Takes in one record.
    pub(super) fn apply(&mut self, sequence: Sequence, kind: u8, payload: &[u8]) {
        match Record::decode(kind, payload) {
            Ok(record) => {
                if self.take(sequence, record).is_none() {
                    self.orphans += 1;
                }
            }
            Err(error) => _ = self.error.get_or_insert((sequence, error)),
        }
    }

    fn machine(&self, address: Ipv4Addr, mac: MacAddr) -> Option<Machine> {
        self.scopes.of_address(address).map(|scope| Machine { scope: scope.index, mac })
    }

    fn take(&mut self, sequence: Sequence, record: Record) -> Option<()> {
        match record {
            Record::Bind { address, mac, starts, ends, client_id, hostname } => {
                let scope = self.scopes.of_address(address)?;
                let network = self.scopes.network(scope.network)?;
                let identity = Identity::of(network.identified_by, self.identity_key, mac, &client_id);
                let client = ClientKey { network: network.index, identity };
                let (scope, state) = (scope.index, RowState::Bound);
                let relay_agent = Box::default();
                let row =
                    LeaseRow { client, scope, mac, state, starts, ends, sequence, client_id, hostname, relay_agent };
                if let Some(former) = self.by_client.insert(client, address).filter(|&former| former != address) {
                    self.leases.remove(&former);
                }
                self.put(address, row);
            }
            Record::Release { address, mac, at } => {
                self.machine(address, mac)?;
                if let Some(row) = self.leases.get_mut(&address).filter(|row| row.mac == mac) {
                    row.state = RowState::Released;
                    row.ends = row.ends.min(at);
                    row.sequence = sequence;
                }
            }
            Record::Decline { address, mac, at, until } => {
                let Machine { scope, .. } = self.machine(address, mac)?;
                let network = self.scopes.get(scope)?.network;
                // Whose quarantine it is, is nobody's business but the worker's that will end it.
                let client = ClientKey { network, identity: Identity::of_mac(mac) };
                self.put(address, declined_row(client, scope, mac, at, until, sequence));
                if self.by_client.get(&client) == Some(&address) {
                    self.by_client.remove(&client);
                }
            }
            Record::Reserve { mac, address, hostname, boot_file, node, options, options_given } => {
                let machine = self.machine(address, mac)?;
                let text = |text: Box<str>| (!text.is_empty()).then_some(text);
                let reservation = Reservation {
                    boot: None,
                    scope: machine.scope,
                    mac: Some(mac),
                    address,
                    hostname: text(hostname),
                    boot_file: text(boot_file),
                    options: OptionBlock::from_octets(&options),
                    options_given,
                    node: text(node),
                    origin: Origin::Api,
                };
                self.sightings.remove(&machine);
                self.reservations.insert(machine, (reservation, sequence));
            }
            Record::Unreserve { mac, address } => {
                let machine = self.machine(address, mac)?;
                self.reservations.remove(&machine);
            }
            Record::Sighting { mac, scope, first, last, count, vendor_class, hostname } => {
                let machine = Machine { scope: self.scopes.by_name(&scope)?.index, mac };
                self.sightings.insert(machine, SightingRow { first, last, count, vendor_class, hostname });
            }
        }
        Some(())
    }

    /// Shows a row at `address`; the client that was there before is there no longer.
    fn put(&mut self, address: Ipv4Addr, row: LeaseRow) {
        let client = row.client;
        if let Some(former) = self.leases.insert(address, row).filter(|former| former.client != client)
            && self.by_client.get(&former.client) == Some(&address)
        {
            self.by_client.remove(&former.client);
        }
    }

    /// Hands everything to the workers that own it. Leases first, because they are promises; then reservations; the configuration's last.
    pub(super) fn finish(self, now: Now, tables: &mut [Table]) {
        let workers = tables.len();
        let own = |mac| worker_of(mac, workers);
        // Expired leases are reclaimed in the order in which they were adopted.
        let mut leases: Vec<_> = self.leases.into_iter().collect();
        leases.sort_unstable_by_key(|(address, row)| (row.ends, *address));
        for (address, row) in leases {
            tables[owner_of(row.client.identity, workers)].adopt_lease(now, address, row);
        }
        let mut sightings: Vec<_> = self.sightings.into_iter().collect();
        sightings.sort_by_key(|(key, row)| (row.last, *key));
        for (key, row) in sightings {
            tables[own(key.mac)].adopt_sighting(key, row);
        }
        for (key, (reservation, sequence)) in self.reservations {
            tables[own(key.mac)].adopt_reservation(Arc::new(reservation), sequence);
        }
        for (worker, table) in tables.iter_mut().enumerate() {
            table.apply_configuration(self.scopes, worker, workers);
        }
    }
}
