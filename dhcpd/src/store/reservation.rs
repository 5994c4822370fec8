//! Reservations: put, deleted and reloaded by the worker that owns the machine, in force as soon as they are in its table, answered once durable.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, OnceLock};

use reveille_config::MacAddr;
use reveille_config::dhcpd::{Boot, ReservedFor};
use reveille_config::limit::JOURNAL_PAYLOAD_BYTES_MAX;
use sha2::{Digest as _, Sha256};

use super::Shared;
use super::bitmap::AddressMap;
use super::journal::{Durable, Pending, Refusal, Sequence};
use super::model::{LeaseRow, RowState};
use super::record::{Record, TermsRecord};
use super::table::{Reserved, Table};
use crate::proto::circuit::Circuit;
use crate::proto::identity::{IdentifiedBy, Identity};
use crate::proto::option::OptionBlock;
use crate::proto::owner::{address_hash, owner_of};
use crate::proto::pool::PoolSet;
use crate::proto::scope::{
    ClientKey, Holder, Machine, NetworkIndex, Origin, Reservation, Scope, ScopeIndex, Scopes, Terms,
};
use crate::proto::time::Now;

/// A reservation as it is asked for; its address may be open.
#[derive(Debug, Clone)]
pub struct ReservationDraft {
    /// The scope and the client, by its first identity.
    pub holder: Holder,
    /// By what else it is known, in the order of identities.
    pub also: Box<[ReservedFor]>,
    /// The address; `None`: the one that is reserved already, else the one that the client has, else one of the pools.
    pub address: Option<Ipv4Addr>,
    /// The pools that one may be chosen from.
    pub pools: PoolSet,
    /// Whether these were named, so that an address of another does not do.
    pub pools_named: bool,
    /// Option 12.
    pub hostname: Option<Box<str>>,
    /// The boot file.
    pub boot_file: Option<Box<str>>,
    /// Options, the host name among them.
    pub options: OptionBlock,
    /// Options as they were given (JSON); empty where there are none.
    pub options_given: Box<str>,
    /// The node's id.
    pub node: Option<Box<str>>,
    /// The boot profile that [`Terms`] name or spell out.
    pub boot: Option<Arc<Boot>>,
    /// What else it says.
    pub terms: Terms,
    /// What the client must have had before.
    pub expected: Expected,
}

impl ReservationDraft {
    /// All its identities, the first one first.
    pub fn identities(&self) -> impl Iterator<Item = &ReservedFor> {
        std::iter::once(&self.holder.client).chain(&self.also)
    }

    /// The reservation with its address.
    pub(super) fn reservation(self, address: Ipv4Addr) -> Reservation {
        Reservation {
            boot: self.boot,
            scope: self.holder.scope,
            client: self.holder.client,
            also: self.also,
            address,
            hostname: self.hostname,
            boot_file: self.boot_file,
            options: self.options,
            options_given: self.options_given,
            node: self.node,
            terms: self.terms,
            origin: Origin::Api,
        }
    }
}

/// What a change expects to find (RFC 9110 §13.1): where two writers meet, the second is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Expected {
    /// Whatever there is.
    #[default]
    Anything,
    /// No reservation.
    Nothing,
    /// Some reservation.
    Something,
    /// One with one of these tags.
    Tagged(Vec<Box<str>>),
}

impl Expected {
    fn check(&self, found: Option<&Reservation>) -> Result<(), PutError> {
        let good = match (self, found) {
            (Self::Anything, _) | (Self::Nothing, None) | (Self::Something, Some(_)) => true,
            (Self::Tagged(tags), Some(own)) => tags.contains(&tag(own)),
            _ => false,
        };
        if good { Ok(()) } else { Err(PutError::Unexpected(found.is_some())) }
    }
}

/// A word that says what a reservation is like: another one has another.
pub fn tag(reservation: &Reservation) -> Box<str> {
    let mut octets = Vec::new();
    let kind = reserve_record(reservation).encode(&mut octets);
    octets.push(kind);
    let hash = Sha256::digest(&octets);
    hash[..16].iter().map(|octet| format!("{octet:02x}")).collect::<String>().into()
}

/// A reservation that was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// As it is in force.
    pub reservation: Arc<Reservation>,
    /// Whether the client had none before.
    pub created: bool,
}

/// Why a reservation was not put.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The scope is gone.
    #[error("the scope does not exist")]
    NoScope,
    /// The configuration has one for this client.
    #[error("the configuration file reserves {0} for this client; change it there")]
    Configured(Ipv4Addr),
    /// The client has another reservation than was expected, or none.
    #[error("{}", if *.0 { "the reservation has changed since you read it" } else { "there is no reservation" })]
    Unexpected(bool),
    /// An identity of the client is one of another reservation of its network: of this address for that client, where it is in force already.
    #[error("{identity} {}", match of {
        Some((client, address)) => format!("belongs to the reservation of {address} for {client}"),
        None => "is being reserved with another client".into(),
    })]
    Known {
        /// The identity.
        identity: ReservedFor,
        /// Whose it is.
        of: Option<(ReservedFor, Ipv4Addr)>,
    },
    /// Somebody else holds the address.
    #[error("the address {0} is in use by another machine or in quarantine")]
    Taken(Ipv4Addr),
    /// No address was named and none is free.
    #[error("no address is free in the scope's pools")]
    PoolExhausted,
    /// It is longer than a record may be.
    #[error(
        "the reservation is too long: host name, boot file, node and options may have {JOURNAL_PAYLOAD_BYTES_MAX} octets together"
    )]
    TooLong,
    /// The journal took no record.
    #[error("{0}")]
    Journal(Refusal),
}

/// A change on its way.
#[derive(Debug)]
pub enum Change<T> {
    /// Its record is queued.
    Pending(Pending<T>),
    /// Nothing changes, and the record that says so is durable.
    Unchanged(Durable<T>),
}

impl Reserved {
    /// Whether it keeps, or claims, this address.
    pub(super) fn has(&self, address: Ipv4Addr, keeps: bool) -> bool {
        self.holds && self.keeps == keeps && self.reservation.address == address
    }
}

impl Table {
    /// Puts a reservation in force.
    ///
    /// # Errors
    /// See [`PutError`]; nothing has changed then.
    pub fn put_reservation(&mut self, draft: ReservationDraft) -> Result<Change<Put>, PutError> {
        let key = self.client_of(&draft.holder).ok_or(PutError::NoScope)?;
        let former = self.reservations.get(&key).cloned();
        if let Some(fixed) = former.as_ref().filter(|own| own.reservation.origin == Origin::Config) {
            return Err(PutError::Configured(fixed.reservation.address));
        }
        draft.expected.check(former.as_ref().map(|own| &*own.reservation))?;
        let claimed = self.claim_identities(key, &draft)?;
        let put = self.put_claimed(key, draft, former);
        if put.is_err() {
            claimed.into_iter().for_each(|identity| self.shared.by_identity.let_go(identity, key));
        }
        put
    }

    /// Puts a reservation, whose identities are claimed, in the place of the `former` one.
    fn put_claimed(
        &mut self,
        key: ClientKey,
        draft: ReservationDraft,
        former: Option<Reserved>,
    ) -> Result<Change<Put>, PutError> {
        let keeps = self.keeps(key, &draft.also);
        let address = self.claim_for(key, &draft, former.as_ref())?;
        let reservation = Arc::new(draft.reservation(address));
        let put = Put { reservation: Arc::clone(&reservation), created: former.is_none() };
        if let Some(own) = former.as_ref().filter(|own| own.holds && own.reservation == reservation)
            && let Some(durable) = Durable::already_promised(put.clone(), own.sequence, &self.appender)
        {
            return Ok(Change::Unchanged(durable));
        }
        let kind = reserve_record(&reservation).encode(&mut self.payload);
        let appended = if self.payload.len() > JOURNAL_PAYLOAD_BYTES_MAX {
            Err(PutError::TooLong)
        } else {
            self.appender.append(kind, &self.payload, put).map_err(|refused| PutError::Journal(refused.reason))
        };
        let held_before = former.is_some_and(|own| own.has(address, keeps));
        let pending = appended.inspect_err(|_| {
            if !held_before {
                self.let_go_reserved(key, address, keeps);
            }
        })?;
        self.appender.hasten();
        let sequence = pending.sequence();
        self.enforce(key, reservation, sequence);
        Ok(Change::Pending(pending))
    }

    /// Claims the identities of a new reservation. Says those that it did not have before.
    ///
    /// # Errors
    /// One belongs to another reservation: none is claimed then.
    pub(super) fn claim_identities(
        &self,
        key: ClientKey,
        draft: &ReservationDraft,
    ) -> Result<Vec<ClientKey>, PutError> {
        let index = &self.shared.by_identity;
        let mut claimed = Vec::new();
        for client in draft.identities().filter(|client| client.mac().is_none()) {
            let identity = self.identity_of(key, client);
            if index.belongs_to(identity, key) {
                continue;
            }
            if !index.claim(identity, key) {
                claimed.into_iter().for_each(|identity| index.let_go(identity, key));
                let of = index.of(identity).map(|own| (own.client.clone(), own.address));
                return Err(PutError::Known { identity: client.clone(), of });
            }
            claimed.push(identity);
        }
        Ok(claimed)
    }

    /// Another identity of a client.
    fn identity_of(&self, key: ClientKey, client: &ReservedFor) -> ClientKey {
        ClientKey { identity: Identity::of_reserved(self.shared.identity_key, client), ..key }
    }

    /// Finds the address of a new reservation and claims it; `former` is the client's reservation so far.
    pub(super) fn claim_for(
        &mut self,
        key: ClientKey,
        draft: &ReservationDraft,
        former: Option<&Reserved>,
    ) -> Result<Ipv4Addr, PutError> {
        let reserved = former.map(|own| own.reservation.address);
        let scopes = self.shared.scopes.load_full();
        let scope = scopes.get(draft.holder.scope).ok_or(PutError::NoScope)?;
        // One of other pools than those named is given up for one of these.
        let named = draft.pools_named;
        let among = |address: &Ipv4Addr| {
            !named || scope.pool_of(*address).is_some_and(|pool| draft.pools.contains(pool) && scope.in_pools(*address))
        };
        if let Some(address) = draft.address.or(reserved.filter(among)) {
            let claimed = self.claim_address(key, draft, address, former);
            return if claimed { Ok(address) } else { Err(PutError::Taken(address)) };
        }
        if let Some(address) = self.address_of(key, draft).filter(|address| scope.in_pools(*address) && among(address))
            && self.claim_address(key, draft, address, former)
        {
            return Ok(address);
        }
        let hash = key.identity.mac().map_or(key.identity.halves().1, address_hash);
        let (address, _) = self.claim_from_pools(scope, draft.pools, hash).ok_or(PutError::PoolExhausted)?;
        if !self.keeps(key, &draft.also) {
            return Ok(address);
        }
        let kept = self.keep(key.network, address);
        self.let_go(key, address);
        if kept { Ok(address) } else { Err(PutError::Taken(address)) }
    }

    /// Claims an address for a reservation, if no other reservation has it and nobody else uses it.
    ///
    /// One for a client that this worker need not own is not held: the address is kept out of the pools, so that whoever turns out to be the client can claim it. Of two
    /// reservations that two workers are asked for at the same moment at most one gets the address: who keeps it has claimed it for that long, and who claims it to hold it looks whether it is kept
    /// meanwhile.
    fn claim_address(
        &mut self,
        key: ClientKey,
        draft: &ReservationDraft,
        address: Ipv4Addr,
        former: Option<&Reserved>,
    ) -> bool {
        let model = &self.shared.model;
        if model.reserved_at(address).is_some_and(|own| own.client != draft.holder.client) {
            return false;
        }
        let is_own = |row: LeaseRow| row.state == RowState::Bound && row.is_of_any(draft.identities());
        let own_lease = model.lease(address).is_some_and(is_own);
        let kept_before = former.is_some_and(|own| own.has(address, true));
        let held = self.holds(key, address);
        let claim = |own: &mut Self| {
            own.acquire(key, address) || (own.give_up(key.network, address) && own.acquire(key, address))
        };
        if !self.keeps(key, &draft.also) {
            let claimed = claim(self);
            if claimed && !held && !kept_before && self.is_kept_from(key, address) {
                self.let_go(key, address);
                return false;
            }
            return claimed;
        }
        // Whoever has it by an identity that the reservation is to have no more must not be the one that a restart takes it from.
        let same = |own: &&Reserved| own.reservation.address == address && own.reservation.also == draft.also;
        if former.filter(same).is_some_and(|own| own.keeps) {
            self.keep(key.network, address);
            return true;
        }
        let claimed = !own_lease && !held && claim(self);
        let kept = (own_lease || held || claimed) && (self.keep(key.network, address) || kept_before);
        if claimed {
            self.let_go(key, address);
        }
        kept
    }

    /// The address that a client has by a lease, as far as that is known here.
    fn address_of(&self, key: ClientKey, draft: &ReservationDraft) -> Option<Ipv4Addr> {
        draft.identities().find_map(|client| {
            let ReservedFor::ClientId(id) = client else { return self.bound_address(self.identity_of(key, client)) };
            let leases = self.shared.model.leases_of_client_id(id.as_slice());
            let here = |row: &LeaseRow| row.client.network == key.network && row.state == RowState::Bound;
            let latest = leases.into_iter().filter(|(_, row)| here(row)).max_by_key(|(_, row)| row.ends);
            latest.map(|(address, _)| address)
        })
    }

    /// Removes an API reservation. `None` where there is none.
    ///
    /// # Errors
    /// The configuration has it, or the journal takes no record.
    pub fn delete_reservation<T>(
        &mut self,
        holder: &Holder,
        expected: &Expected,
        promise: T,
    ) -> Result<Option<Pending<T>>, PutError> {
        let Some(key) = self.client_of(holder) else { return Ok(None) };
        let own = self.reservations.get(&key).filter(|own| own.reservation.scope == holder.scope);
        expected.check(own.map(|own| &*own.reservation))?;
        let Some(reserved) = own else { return Ok(None) };
        let address = reserved.reservation.address;
        if reserved.reservation.origin == Origin::Config {
            return Err(PutError::Configured(address));
        }
        let record = Record::Unreserve { client: holder.client.clone(), address };
        let pending = self.append(&record, promise).map_err(|refused| PutError::Journal(refused.reason))?;
        self.appender.hasten();
        self.remove_reserved(key);
        Ok(Some(pending))
    }

    /// Takes over a reservation found in the journal or in the configuration.
    pub(super) fn adopt_reservation(&mut self, reservation: Arc<Reservation>, sequence: u64) {
        let holder = reservation.holder();
        let Some(key) = self.client_of(&holder) else { return };
        self.shared.model.put_reservation(Arc::clone(&reservation), sequence);
        let address = reservation.address;
        if reservation.terms.expires.0 > 0 {
            self.expiring.insert((reservation.terms.expires, key));
        }
        let keeps = self.keeps(key, &reservation.also);
        let holds = keeps && self.keep(key.network, address);
        for client in reservation.identities().filter(|client| client.mac().is_none()) {
            self.shared.by_identity.take(self.identity_of(key, client), key);
        }
        if keeps {
            self.show_to_all(key, &reservation);
        }
        self.reservations.insert(key, Reserved { reservation, keeps, holds, sequence });
        if !keeps {
            self.hold_reserved(key, address);
        }
        self.forget_sighting_of(&holder);
    }

    /// The reservation that counts for a client: by its hardware address, else by its client identifier, else by its port.
    pub fn reservation_for(
        &self,
        key: ClientKey,
        mac: MacAddr,
        client_id: &[u8],
        circuit: Circuit<'_>,
    ) -> Option<Arc<Reservation>> {
        let own = match key.identity.mac() {
            Some(_) => self.reservations.get(&key).map(|own| Arc::clone(&own.reservation)),
            // Another worker may keep the machine's than the one that owns its client.
            None => self.shared.by_identity.of_mac(key.network, mac),
        };
        own.or_else(|| self.shared.by_identity.find(key.network, client_id, circuit))
    }

    /// Whether the client could claim its reserved address now. One that its worker holds for it is claimed meanwhile.
    pub(super) fn can_have_reserved(&mut self, key: ClientKey, address: Ipv4Addr) -> bool {
        let own = self.reservations.get(&key).filter(|own| own.reservation.address == address && !own.keeps);
        match own.map(|own| own.holds) {
            Some(true) => !self.in_quarantine(address),
            Some(false) => self.hold_reserved(key, address),
            None => {
                let free = |table: &Self| {
                    table.shared.place(key.network, address).is_some_and(|(_, map)| !map.is_held(address))
                };
                let available = self.holds(key, address) || free(self);
                !self.in_quarantine(address) && (available || (self.give_up(key.network, address) && free(self)))
            }
        }
    }

    /// Whether a reservation for this client, who is known by `also` too, only keeps its address out of the pools, because its client may be another worker's.
    pub(super) fn keeps(&self, key: ClientKey, also: &[ReservedFor]) -> bool {
        let network = self.shared.networks.get(usize::from(key.network.0));
        let by_mac = network.is_some_and(|network| network.identified_by == IdentifiedBy::Mac);
        key.identity.mac().is_none() || !by_mac || !also.is_empty()
    }

    /// Lets all workers find a reservation, by each of its identities.
    pub(super) fn show_to_all(&self, key: ClientKey, reservation: &Arc<Reservation>) {
        for client in reservation.identities() {
            self.shared.by_identity.put(self.identity_of(key, client), reservation);
        }
    }

    /// Forgets the identities of a client's former reservation that the one in its place, if there is one, does not have.
    pub(super) fn forget_identities(&self, key: ClientKey, former: &Reserved, now: Option<(&Reservation, bool)>) {
        for client in former.reservation.identities() {
            let identity = self.identity_of(key, client);
            let still = now.filter(|(now, _)| now.identities().any(|own| own == client));
            if former.keeps && !still.is_some_and(|(_, keeps)| keeps) {
                self.shared.by_identity.remove(identity, &former.reservation);
            }
            if still.is_none() {
                self.shared.by_identity.let_go(identity, key);
            }
        }
    }

    /// Whether a reservation keeps `address` out of the pools.
    pub(super) fn is_kept(&self, scope: ScopeIndex, address: Ipv4Addr) -> bool {
        let kept = self.shared.kept.get(usize::from(scope.0)).and_then(OnceLock::get);
        kept.is_some_and(|kept| kept.is_held(address))
    }

    /// Whether `address` is kept for somebody and the client does not hold it already.
    pub(super) fn is_kept_from(&self, key: ClientKey, address: Ipv4Addr) -> bool {
        let place = self.shared.place(key.network, address);
        place.is_some_and(|(scope, _)| self.is_kept(scope, address)) && !self.holds(key, address)
    }

    /// Keeps an address out of the pools; `false` where it is kept already, or is none of the network.
    fn keep(&self, network: NetworkIndex, address: Ipv4Addr) -> bool {
        let kept = || {
            let (index, _) = self.shared.place(network, address)?;
            let subnet = self.shared.scopes.load().get(index)?.subnet;
            Some(self.shared.kept.get(usize::from(index.0))?.get_or_init(|| AddressMap::new(subnet)))
        };
        kept().is_some_and(|kept| kept.claim(address))
    }

    /// Lets go of an address that a reservation has kept, or claimed.
    pub(super) fn let_go_reserved(&mut self, key: ClientKey, address: Ipv4Addr, kept: bool) {
        if !kept {
            return self.let_go(key, address);
        }
        if let Some((scope, _)) = self.shared.place(key.network, address)
            && let Some(kept) = self.shared.kept.get(usize::from(scope.0)).and_then(OnceLock::get)
        {
            kept.release(address);
        }
    }

    /// The client that a reservation is for.
    pub(super) fn client_of(&self, holder: &Holder) -> Option<ClientKey> {
        self.shared.scopes.load().client_of(self.shared.identity_key, holder)
    }

    /// Puts the configuration's reservations in force: those that this worker keeps.
    pub fn apply_configuration(&mut self, scopes: &Scopes, worker: usize, workers: usize) {
        self.sort_pools(self.shared.scopes.load_full());
        let fixed: HashMap<ClientKey, &Arc<Reservation>> = scopes
            .iter()
            .flat_map(|scope| &scope.reservations)
            .filter_map(|own| Some((scopes.client_of(self.shared.identity_key, &own.holder())?, own)))
            .filter(|(key, _)| owner_of(key.identity, workers) == worker)
            .collect();
        let is_config = |own: &Reserved| own.reservation.origin == Origin::Config;
        self.yield_identities_to(scopes);
        let gone =
            self.reservations.iter().filter(|(key, own)| is_config(own) && fixed.get(key) != Some(&&own.reservation));
        for key in gone.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.remove_reserved(key);
        }
        self.find_boot_profiles(scopes);
        for (key, reservation) in fixed {
            match self.reservations.get(&key) {
                Some(own) if is_config(own) => continue,
                Some(own) => {
                    let own = Arc::clone(&own.reservation);
                    self.yield_to_configuration(key, &own);
                }
                None => {}
            }
            self.adopt_reservation(Arc::clone(reservation), 0);
        }
    }

    /// Ends the reservations of the API that share an identity with one of the configuration's which is known by that first; whichever worker keeps those.
    fn yield_identities_to(&mut self, scopes: &Scopes) {
        let several: Vec<(ClientKey, Arc<Reservation>)> = self
            .reservations
            .iter()
            .filter(|(_, own)| !own.reservation.also.is_empty())
            .map(|(key, own)| (*key, Arc::clone(&own.reservation)))
            .collect();
        if several.is_empty() {
            return;
        }
        let fixed = scopes.iter().flat_map(|scope| &scope.reservations);
        let fixed: HashSet<ClientKey> =
            fixed.filter_map(|own| scopes.client_of(self.shared.identity_key, &own.holder())).collect();
        for (key, own) in several {
            if own.also.iter().any(|client| fixed.contains(&self.identity_of(key, client))) {
                self.yield_to_configuration(key, &own);
            }
        }
    }

    fn yield_to_configuration(&mut self, key: ClientKey, own: &Reservation) {
        tracing::warn!(client = %own.client, "the configuration's reservation replaces the one made over the API");
        // Where the journal takes no record now, the next start tries again.
        if self.delete_reservation(&own.holder(), &Expected::Anything, ()).is_err() {
            self.remove_reserved(key);
        }
    }

    /// Has the reservations of the API boot what the profile that they name says now; where there is none any more, what the scope says.
    fn find_boot_profiles(&mut self, scopes: &Scopes) {
        let mut found = Vec::new();
        for (key, reserved) in &mut self.reservations {
            let own = &reserved.reservation;
            if own.terms.boot.is_empty() || scopes.boot(&own.terms.boot) == own.boot {
                continue;
            }
            let boot = scopes.boot(&own.terms.boot);
            if boot.is_none() {
                tracing::warn!(client = %own.client, profile = %own.terms.boot, "a reservation names a boot profile that is gone");
            }
            reserved.reservation = Arc::new(Reservation { boot, ..Reservation::clone(own) });
            self.shared.model.put_reservation(Arc::clone(&reserved.reservation), reserved.sequence);
            if reserved.keeps {
                found.push((*key, Arc::clone(&reserved.reservation)));
            }
        }
        found.iter().for_each(|(key, reservation)| self.show_to_all(*key, reservation));
    }

    /// Deletes reservations whose time is over. Where the journal takes no record now, the next look tries again.
    pub(super) fn end_reservations(&mut self, now: Now) {
        if self.expiring.is_empty() || now.monotonic < self.next_expiry_look {
            return;
        }
        self.next_expiry_look = now.monotonic.plus_secs(1);
        while let Some(&(expires, key)) = self.expiring.first().filter(|(expires, _)| *expires <= now.unix) {
            let own = self.reservations.get(&key).map(|own| Arc::clone(&own.reservation));
            if let Some(own) = own.filter(|own| own.terms.expires == expires) {
                let gone = self.delete_reservation(&own.holder(), &Expected::Anything, ());
                if !matches!(gone, Ok(Some(_))) {
                    return;
                }
            }
            self.expiring.remove(&(expires, key));
        }
    }

    pub(super) fn remove_reserved(&mut self, key: ClientKey) {
        if let Some(former) = self.reservations.remove(&key) {
            self.shared.model.remove_reservation(&former.reservation.holder());
            self.forget_identities(key, &former, None);
            if former.holds {
                self.let_go_reserved(key, former.reservation.address, former.keeps);
            }
        }
    }
}

impl Shared {
    /// A machine's reservation on a network, by hardware address, as the read model shows it: for those who own no clients.
    pub fn reservation_of(&self, network: NetworkIndex, mac: MacAddr) -> Option<Arc<Reservation>> {
        let mut scopes = self.networks.get(usize::from(network.0))?.scopes.iter();
        scopes.find_map(|&scope| self.model.reservation(&Machine { scope, mac }.into())).map(|(own, _)| own)
    }

    /// The reservation that an identity belongs to, its first or another one, in a scope, and the sequence of its record (0 for the configuration's).
    pub fn reservation_for(&self, scope: ScopeIndex, client: &ReservedFor) -> Option<(Arc<Reservation>, Sequence)> {
        let holder = Holder { scope, client: client.clone() };
        self.model.reservation(&holder).or_else(|| {
            let key = self.scopes.load().client_of(self.identity_key, &holder)?;
            let own = self.by_identity.of(key).filter(|own| own.scope == scope)?;
            self.model.reservation(&own.holder())
        })
    }

    /// A client's reservation on a network by its client identifier, else by its port.
    pub fn reservation_by_identity(
        &self,
        network: NetworkIndex,
        client_id: &[u8],
        circuit: Circuit<'_>,
    ) -> Option<Arc<Reservation>> {
        self.by_identity.find(network, client_id, circuit)
    }
}

/// A reservation as the journal keeps it.
pub(super) fn reserve_record(reservation: &Reservation) -> Record {
    let text = |text: &Option<Box<str>>| text.clone().unwrap_or_default();
    let Terms { boot, boot_files, labels, lease_secs, expires } = reservation.terms.clone();
    Record::Reserve {
        terms: TermsRecord { boot, boot_files, labels, lease_secs, expires },
        client: reservation.client.clone(),
        also: reservation.also.clone(),
        address: reservation.address,
        hostname: text(&reservation.hostname),
        boot_file: text(&reservation.boot_file),
        node: text(&reservation.node),
        options: reservation.options.octets().into(),
        options_given: reservation.options_given.clone(),
    }
}

/// Whether a scope may reserve this address: inside its subnet, not the server's own, not the network or broadcast address.
pub fn may_reserve(scope: &Scope, address: Ipv4Addr) -> bool {
    scope.subnet.contains(&address)
        && address != scope.server_address
        && (scope.subnet.prefix_len() >= 31
            || (address != scope.subnet.network() && address != scope.subnet.broadcast()))
}
