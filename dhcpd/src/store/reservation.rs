//! Reservations: put, deleted and reloaded by the worker that owns the machine, in force as soon as they are in its table, answered once durable.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use reveille_config::MacAddr;
use reveille_config::dhcpd::Boot;
use reveille_config::limit::JOURNAL_PAYLOAD_BYTES_MAX;
use sha2::{Digest as _, Sha256};

use super::Shared;
use super::journal::{Durable, Pending, Refusal};
use super::record::{Record, TermsRecord};
use super::table::{Reserved, Table};
use crate::proto::fixed::Circuit;
use crate::proto::identity::IdentifiedBy;
use crate::proto::option::OptionBlock;
use crate::proto::owner::worker_of;
use crate::proto::pool::PoolSet;
use crate::proto::scope::{ClientKey, Machine, NetworkIndex, Origin, Reservation, Scope, ScopeIndex, Scopes, Terms};
use crate::proto::time::Now;

/// A reservation as it is asked for; its address may be open.
#[derive(Debug, Clone)]
pub struct ReservationDraft {
    /// The scope and the machine.
    pub machine: Machine,
    /// The address; `None`: the one that is reserved already, else the one that the machine has, else one of the pools.
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
    /// What the machine must have had before.
    pub expected: Expected,
}

impl ReservationDraft {
    /// The reservation with its address.
    pub(super) fn reservation(self, address: Ipv4Addr) -> Reservation {
        Reservation {
            boot: self.boot,
            scope: self.machine.scope,
            mac: Some(self.machine.mac),
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
    /// Whether the machine had none before.
    pub created: bool,
}

/// Why a reservation was not put.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The scope is gone.
    #[error("the scope does not exist")]
    NoScope,
    /// The configuration has one for this machine.
    #[error("the configuration file reserves {0} for this machine; change it there")]
    Configured(Ipv4Addr),
    /// The machine has another reservation than was expected, or none.
    #[error("{}", if *.0 { "the reservation has changed since you read it" } else { "there is no reservation" })]
    Unexpected(bool),
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

impl Table {
    /// Puts a reservation in force.
    ///
    /// # Errors
    /// See [`PutError`]; nothing has changed then.
    pub fn put_reservation(&mut self, draft: ReservationDraft) -> Result<Change<Put>, PutError> {
        let key = self.client_of(draft.machine).ok_or(PutError::NoScope)?;
        let former = self.reservations.get(&key).map(|own| (Arc::clone(&own.reservation), own.holds, own.sequence));
        if let Some((fixed, ..)) = former.as_ref().filter(|(own, ..)| own.origin == Origin::Config) {
            return Err(PutError::Configured(fixed.address));
        }
        draft.expected.check(former.as_ref().map(|(own, ..)| &**own))?;
        let address = self.claim_for(key, &draft, former.as_ref().map(|(own, ..)| own.address))?;
        let machine = draft.machine;
        let reservation = Arc::new(draft.reservation(address));
        let put = Put { reservation: Arc::clone(&reservation), created: former.is_none() };
        if let Some((own, true, sequence)) = &former
            && *own == reservation
            && let Some(durable) = Durable::already_promised(put.clone(), *sequence, &self.appender)
        {
            return Ok(Change::Unchanged(durable));
        }
        let kind = reserve_record(&reservation).encode(&mut self.payload);
        let appended = if self.payload.len() > JOURNAL_PAYLOAD_BYTES_MAX {
            Err(PutError::TooLong)
        } else {
            self.appender.append(kind, &self.payload, put).map_err(|refused| PutError::Journal(refused.reason))
        };
        let held_before = former.as_ref().is_some_and(|(own, holds, _)| *holds && own.address == address);
        let pending = appended.inspect_err(|_| {
            if !held_before {
                self.let_go_reserved(key, address);
            }
        })?;
        let sequence = pending.sequence();
        self.enforce(key, machine, reservation, sequence);
        Ok(Change::Pending(pending))
    }

    /// Finds the address of a new reservation and claims it.
    pub(super) fn claim_for(
        &mut self,
        key: ClientKey,
        draft: &ReservationDraft,
        reserved: Option<Ipv4Addr>,
    ) -> Result<Ipv4Addr, PutError> {
        let mac = draft.machine.mac;
        let scopes = self.shared.scopes.load_full();
        let scope = scopes.get(draft.machine.scope).ok_or(PutError::NoScope)?;
        // One of other pools than those named is given up for one of these.
        let named = draft.pools_named;
        let among = |address: &Ipv4Addr| {
            !named || scope.pool_of(*address).is_some_and(|pool| draft.pools.contains(pool) && scope.in_pools(*address))
        };
        if let Some(address) = draft.address.or(reserved.filter(among)) {
            let for_another = self.shared.model.reserved_for(address).is_some_and(|holder| holder != mac);
            let held = self.holds(key, address);
            let own_lease = self.keeps(key) && self.shared.model.lease(address).is_some_and(|row| row.mac == mac);
            let mut claim =
                || self.acquire(key, address) || (self.give_up(key.network, address) && self.acquire(key, address));
            let claimed = !for_another && (own_lease || claim());
            if claimed {
                self.keep_instead(key, address, !held && !own_lease);
            }
            return if claimed { Ok(address) } else { Err(PutError::Taken(address)) };
        }
        if let Some(address) = self.bound_address(key).filter(|address| scope.in_pools(*address) && among(address))
            && self.acquire(key, address)
        {
            self.keep_instead(key, address, false);
            return Ok(address);
        }
        let (address, _) = self.claim_from_pools(scope, draft.pools, mac).ok_or(PutError::PoolExhausted)?;
        self.keep_instead(key, address, true);
        Ok(address)
    }

    /// Removes an API reservation. `None` where there is none.
    ///
    /// # Errors
    /// The configuration has it, or the journal takes no record.
    pub fn delete_reservation<T>(
        &mut self,
        machine: Machine,
        expected: &Expected,
        promise: T,
    ) -> Result<Option<Pending<T>>, PutError> {
        let Some(key) = self.client_of(machine) else { return Ok(None) };
        let own = self.reservations.get(&key).filter(|own| own.reservation.scope == machine.scope);
        expected.check(own.map(|own| &*own.reservation))?;
        let Some(reserved) = own else { return Ok(None) };
        let address = reserved.reservation.address;
        if reserved.reservation.origin == Origin::Config {
            return Err(PutError::Configured(address));
        }
        let record = Record::Unreserve { mac: machine.mac, address };
        let pending = self.append(&record, promise).map_err(|refused| PutError::Journal(refused.reason))?;
        self.remove_reserved(key);
        Ok(Some(pending))
    }

    /// Takes over a reservation found in the journal.
    pub(super) fn adopt_reservation(&mut self, reservation: Arc<Reservation>, sequence: u64) {
        let Some(mac) = reservation.mac else { return };
        let machine = Machine { scope: reservation.scope, mac };
        let Some(key) = self.client_of(machine) else { return };
        self.shared.model.put_reservation(Arc::clone(&reservation), sequence);
        let address = reservation.address;
        let holds = self.keeps(key);
        if reservation.terms.expires.0 > 0 {
            self.expiring.insert((reservation.terms.expires, key));
        }
        self.keep_instead(key, address, false);
        self.reservations.insert(key, Reserved { reservation, holds, sequence });
        if !holds {
            self.hold_reserved(key, address);
        }
        self.forget_sighting(machine);
    }

    /// The reservation that counts for a client: by its hardware address, else by its client identifier, else by its port.
    pub fn reservation_for(
        &self,
        scopes: &Scopes,
        key: ClientKey,
        mac: MacAddr,
        client_id: &[u8],
        circuit: Circuit<'_>,
    ) -> Option<Arc<Reservation>> {
        let own = match key.identity.mac() {
            Some(_) => self.reservations.get(&key).map(|own| Arc::clone(&own.reservation)),
            // The machine's worker is another one than its client's: the reader's copy is the one at hand.
            None => self.shared.reservation_of(key.network, mac),
        };
        own.or_else(|| scopes.fixed(key.network, client_id, circuit).cloned())
    }

    /// Whether the client could claim its reserved address now. One that its worker holds for it is claimed meanwhile.
    pub(super) fn can_have_reserved(&mut self, key: ClientKey, address: Ipv4Addr) -> bool {
        let own = self.reservations.get(&key).filter(|own| own.reservation.address == address && !self.keeps(key));
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

    /// Whether reservations by hardware address only keep their address out of the pools: where clients go by their identifier.
    pub(super) fn keeps(&self, key: ClientKey) -> bool {
        let network = self.shared.networks.get(usize::from(key.network.0));
        network.is_some_and(|network| network.identified_by == IdentifiedBy::ClientId)
    }

    /// Whether a reservation by hardware address keeps `address` out of the pools.
    pub(super) fn is_kept(&self, scope: ScopeIndex, address: Ipv4Addr) -> bool {
        let kept = self.shared.kept.get(usize::from(scope.0)).and_then(Option::as_ref);
        kept.is_some_and(|kept| kept.is_held(address))
    }

    /// Where clients go by their identifier: keeps a reserved address out of the pools instead of holding it, so that whoever is the machine can claim it.
    fn keep_instead(&self, key: ClientKey, address: Ipv4Addr, claimed: bool) {
        let Some((scope, map)) = self.shared.place(key.network, address) else { return };
        let Some(kept) = self.shared.kept.get(usize::from(scope.0)).and_then(Option::as_ref) else { return };
        kept.claim(address);
        if claimed {
            map.release(address);
        }
    }

    pub(super) fn let_go_reserved(&mut self, key: ClientKey, address: Ipv4Addr) {
        if !self.keeps(key) {
            return self.let_go(key, address);
        }
        if let Some((scope, _)) = self.shared.place(key.network, address)
            && let Some(kept) = self.shared.kept.get(usize::from(scope.0)).and_then(Option::as_ref)
        {
            kept.release(address);
        }
    }

    /// The address that is reserved for a machine.
    pub fn reserved_address(&self, machine: Machine) -> Option<Ipv4Addr> {
        self.reservations.get(&self.client_of(machine)?).map(|own| own.reservation.address)
    }

    /// The client that a machine's reservation is for.
    pub(super) fn client_of(&self, machine: Machine) -> Option<ClientKey> {
        self.shared.scopes.load().client_of(machine)
    }

    /// Puts the configuration's reservations in force: those of this worker's machines.
    pub fn apply_configuration(&mut self, scopes: &Scopes, worker: usize, workers: usize) {
        self.sort_pools(self.shared.scopes.load_full());
        let fixed: HashMap<ClientKey, &Arc<Reservation>> = scopes
            .iter()
            .flat_map(|scope| &scope.reservations)
            .filter_map(|own| Some((Machine { scope: own.scope, mac: own.mac? }, own)))
            .filter(|(machine, _)| worker_of(machine.mac, workers) == worker)
            .filter_map(|(machine, own)| Some((scopes.client_of(machine)?, own)))
            .collect();
        let is_config = |own: &Reserved| own.reservation.origin == Origin::Config;
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
                    let mac = own.reservation.mac.unwrap_or_default();
                    let machine = Machine { scope: own.reservation.scope, mac };
                    tracing::warn!(mac = %machine.mac, "the configuration's reservation replaces the one made over the API");
                    // Where the journal takes no record now, the next start tries again.
                    if self.delete_reservation(machine, &Expected::Anything, ()).is_err() {
                        self.remove_reserved(key);
                    }
                }
                None => {}
            }
            self.adopt_reservation(Arc::clone(reservation), 0);
        }
    }

    /// Has the reservations of the API boot what the profile that they name says now; where there is none any more, what the scope says.
    fn find_boot_profiles(&mut self, scopes: &Scopes) {
        for reserved in self.reservations.values_mut() {
            let own = &reserved.reservation;
            if own.terms.boot.is_empty() || scopes.boot(&own.terms.boot) == own.boot {
                continue;
            }
            let boot = scopes.boot(&own.terms.boot);
            if boot.is_none() {
                tracing::warn!(mac = ?own.mac, profile = %own.terms.boot, "a reservation names a boot profile that is gone");
            }
            reserved.reservation = Arc::new(Reservation { boot, ..Reservation::clone(own) });
            self.shared.model.put_reservation(Arc::clone(&reserved.reservation), reserved.sequence);
        }
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
                let mac = own.mac.unwrap_or_default();
                let gone = self.delete_reservation(Machine { scope: own.scope, mac }, &Expected::Anything, ());
                if !matches!(gone, Ok(Some(_))) {
                    return;
                }
            }
            self.expiring.remove(&(expires, key));
        }
    }

    pub(super) fn remove_reserved(&mut self, key: ClientKey) {
        if let Some(former) = self.reservations.remove(&key) {
            let (own, holds) = (&former.reservation, former.holds);
            if let Some(mac) = own.mac {
                self.shared.model.remove_reservation(Machine { scope: own.scope, mac });
            }
            if holds {
                self.let_go_reserved(key, own.address);
            }
        }
    }
}

impl Shared {
    /// A machine's reservation on a network, by hardware address, as the read model shows it: for those who own no clients.
    pub fn reservation_of(&self, network: NetworkIndex, mac: MacAddr) -> Option<Arc<Reservation>> {
        let mut scopes = self.networks.get(usize::from(network.0))?.scopes.iter();
        scopes.find_map(|&scope| self.model.reservation(Machine { scope, mac })).map(|(own, _)| own)
    }
}

/// A reservation as the journal keeps it.
pub(super) fn reserve_record(reservation: &Reservation) -> Record {
    let text = |text: &Option<Box<str>>| text.clone().unwrap_or_default();
    let Terms { boot, boot_files, labels, lease_secs, expires } = reservation.terms.clone();
    Record::Reserve {
        terms: TermsRecord { boot, boot_files, labels, lease_secs, expires },
        mac: reservation.mac.unwrap_or_default(),
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
