//! Owns durable and shared state and its concurrency; does not parse packets.
//!
//! [`Store::open`] replays the journal into one [`table::Table`] per worker and keeps what they share: the address bitmaps, the read model, the
//! events, the scopes in force, and the queues into the workers.

mod atomic;
pub mod batch;
pub mod bitmap;
#[cfg(test)]
mod bitmap_tests;
mod by_address;
mod clients;
pub mod event;
pub mod history;
pub mod identity_index;
pub mod journal;
mod list;
pub mod model;
pub mod nice;
mod note;
mod pool_level;
pub mod port;
pub mod promise;
mod query;
pub mod queue;
pub mod record;
mod replay;
pub mod reservation;
mod rows;
pub mod sighting;
mod slab;
pub mod snapshot;
pub mod table;
#[cfg(test)]
mod tests;
pub mod throttle;
pub mod tokens;
mod wheel;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use crossbeam::channel::Receiver;
use reveille_config::MacAddr;
use reveille_config::dhcpd::ReservedFor;
use reveille_config::limit::COUNTED_PORTS_MAX;

use crate::proto::foreign::ForeignServers;
use crate::proto::identity::{Identity, IdentityKey};
use crate::proto::owner::owner_of;
use crate::proto::scope::{ClientKey, Network, NetworkIndex, ScopeIndex, Scopes};
use crate::proto::time::Now;
use bitmap::AddressMap;
use event::Events;
use identity_index::IdentityIndex;
use journal::{Journal, JournalOptions, OpenError, Storage};
use model::Model;
use pool_level::PoolLevels;
use port::Ports;
use queue::{Request, WorkerQueue};
use record::RecordError;
use table::Table;
use throttle::Complaints;

/// What all workers and the API share.
#[derive(Debug)]
pub struct Shared {
    /// The scopes in force.
    pub scopes: ArcSwap<Scopes>,
    /// The networks, which stay the same for the life of the process.
    pub networks: Box<[Network]>,
    /// The key of client identifiers' hashes.
    pub identity_key: IdentityKey,
    /// Seeds the hashes of the workers' tables.
    hash_seed: u64,
    /// Who holds which address, by scope.
    pub maps: Vec<AddressMap>,
    /// Addresses reserved by what does not say the worker of its client, by scope: none can hold them for a client that it does not know. Made with the first.
    kept: Vec<OnceLock<AddressMap>>,
    /// The reservations of these addresses.
    by_identity: IdentityIndex,
    /// What the API reads.
    pub model: Model,
    /// What happened.
    pub events: Events,
    /// Whose pools are above their mark.
    pool_levels: PoolLevels,
    /// What the log was told lately, by scope.
    pub complaints: Vec<Complaints>,
    /// What the clients behind each port hold.
    ports: Arc<Ports>,
    foreign: Mutex<ForeignServers>,
}

impl Shared {
    /// The DHCP servers on our links that are not ours. Off the packet path, but for clients that name one.
    pub fn foreign(&self) -> MutexGuard<'_, ForeignServers> {
        self.foreign.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The scope of a network that `address` belongs to, and who holds its addresses.
    pub fn place(&self, network: NetworkIndex, address: Ipv4Addr) -> Option<(ScopeIndex, &AddressMap)> {
        let scopes = &self.networks.get(usize::from(network.0))?.scopes;
        scopes.iter().map(|&scope| (scope, &self.maps[usize::from(scope.0)])).find(|(_, map)| map.contains(address))
    }

    /// The client on a network that says this of itself.
    pub fn client_on(&self, network: NetworkIndex, mac: MacAddr, client_id: &[u8]) -> ClientKey {
        let by = self.networks.get(usize::from(network.0)).map(|network| network.identified_by).unwrap_or_default();
        ClientKey { network, identity: Identity::of(by, self.identity_key, mac, client_id) }
    }

    /// The worker, of `workers`, that keeps the reservations for this client: the one that owns the client, where they are by the client's own identity.
    pub fn keeper_of(&self, client: &ReservedFor, workers: usize) -> usize {
        owner_of(Identity::of_reserved(self.identity_key, client), workers)
    }
}

/// Why the state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The journal does not open.
    #[error("cannot open the lease journal")]
    Journal(#[from] OpenError),
    /// A record of the journal cannot be read.
    #[error("cannot read record {sequence} of the lease journal")]
    Record {
        /// Its sequence.
        sequence: u64,
        /// Why.
        #[source]
        source: RecordError,
    },
}

/// The shared state, the journal and the ways into the workers.
#[derive(Debug)]
pub struct Store {
    /// What workers and API share.
    pub shared: Arc<Shared>,
    /// The journal.
    pub journal: Journal,
    /// The queue of each worker.
    pub queues: Vec<WorkerQueue>,
    /// Reservations are changed one by one under a shared lock, by a batch under an exclusive one.
    pub changing: tokio::sync::RwLock<()>,
}

/// What a worker thread takes with it.
#[derive(Debug)]
pub struct WorkerPart {
    /// Which worker it is.
    pub worker: usize,
    /// How many there are.
    pub workers: usize,
    /// Its clients.
    pub table: Table,
    /// What others ask of it.
    pub requests: Receiver<Request>,
    /// The ways to all workers, its own included.
    pub queues: Vec<WorkerQueue>,
}

impl Store {
    /// Opens the journal and rebuilds the state.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(
        storage: Box<dyn Storage>,
        options: JournalOptions,
        scopes: Arc<Scopes>,
        workers: usize,
        now: Now,
    ) -> Result<(Self, Vec<WorkerPart>), StoreError> {
        let identity_key = IdentityKey::new([storage.salt(), storage.salt()]);
        let hash_seed = storage.salt();
        let shared = Arc::new(Shared {
            networks: scopes.networks().into(),
            identity_key,
            hash_seed,
            maps: scopes.iter().map(|scope| AddressMap::new(scope.subnet)).collect(),
            kept: scopes.iter().map(|_| OnceLock::new()).collect(),
            by_identity: IdentityIndex::new(identity_key, hash_seed),
            model: Model::new(Arc::clone(&scopes), identity_key, hash_seed),
            events: Events::new(),
            pool_levels: PoolLevels::new(scopes.iter().count()),
            complaints: scopes.iter().map(|_| Complaints::default()).collect(),
            ports: Arc::new(Ports::new(COUNTED_PORTS_MAX)),
            foreign: Mutex::default(),
            scopes: ArcSwap::new(Arc::clone(&scopes)),
        });
        let mut recovery = replay::Recovery::new(&scopes, &shared);
        let reading = Arc::clone(&shared);
        let mut told = Vec::new();
        let follower: journal::Follower = Box::new(move |first, records| {
            let (scopes, unix_millis) = (reading.scopes.load(), unix_millis());
            let mut leases = reading.model.leases_mut();
            let mut through = first;
            for (sequence, record) in (first..).zip(records) {
                through = sequence;
                // Written by this process, so it can be read; replay would say where it cannot.
                let Ok(applied) = leases.apply(sequence, record.0, record.1) else { continue };
                told.extend(event::tell::tell(&scopes, unix_millis, sequence, record, applied));
            }
            // Before the leases show, so that a snapshot of them has their events too.
            reading.events.durable.append(&told, through);
            drop(leases);
            told.clear();
            reading.events.wake();
        });
        let expect = &mut |records| shared.model.leases_mut().expect(records);
        let replay = &mut |sequence, kind, payload: &[u8]| recovery.apply(sequence, kind, payload);
        let journal = journal::open_followed(storage, options, expect, replay, Some(follower))?;
        if let Some((sequence, source)) = recovery.error.take() {
            return Err(StoreError::Record { sequence, source });
        }
        if recovery.orphans > 0 {
            tracing::warn!(
                records = recovery.orphans,
                "the journal has records of scopes that the configuration no longer has; the next snapshot drops them"
            );
        }
        for (map, scope) in shared.maps.iter().zip(scopes.iter()) {
            map.claim(scope.server_address);
        }
        let mut tables: Vec<Table> =
            (0..workers).map(|_| Table::new(Arc::clone(&shared), journal.appender(), workers, now)).collect();
        let covered = journal.recovered().snapshot_sequence;
        recovery.finish(now, &mut tables, covered, journal.recovered().last_sequence);
        let (queues, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| WorkerQueue::new()).unzip();
        let parts = tables.into_iter().zip(receivers).enumerate().map(|(worker, (table, requests))| WorkerPart {
            worker,
            workers,
            table,
            requests,
            queues: queues.clone(),
        });
        let parts = parts.collect();
        Ok((Self { shared, journal, queues, changing: tokio::sync::RwLock::default() }, parts))
    }

    /// The queue of the worker that keeps this client's reservations.
    pub fn queue_of(&self, client: &ReservedFor) -> &WorkerQueue {
        &self.queues[self.shared.keeper_of(client, self.queues.len())]
    }

    /// The queue of the worker that owns this client.
    pub fn queue_of_client(&self, client: ClientKey) -> &WorkerQueue {
        &self.queues[owner_of(client.identity, self.queues.len())]
    }
}

fn unix_millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_millis().try_into().unwrap_or(u64::MAX)
}
