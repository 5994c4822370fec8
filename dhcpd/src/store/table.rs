//! [`Table`]: one worker's clients, which nobody else touches, so that no lock is needed.
//!
//! The table claims addresses in the shared bitmap, writes records to the journal and changes in step with it: nothing changes unless the record was taken
//! (journal rule R10). It decides nothing about the protocol.
//!
//! Invariants: for each address held in the bitmap exactly one table has a reason to hold it: a binding that is active or expired and not yet reclaimed, an offer, a
//! reservation, or a quarantine. A binding never ends earlier than a promise that its client may have been told.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use reveille_config::MacAddr;
use reveille_config::dhcpd::PortShareBy;

use super::clients::{Bound, Clients, Due, Held, Phase, hash_said};
use super::journal::{Appender, Durable, Pending, Refusal, Refused, Sequence};
use super::model::RowState;
use super::note::Note;
use super::port::Port;
use super::record::{BindRecord, Record};
use super::rows::LeaseFacts;
use super::{Shared, sighting::SightingBook};
use crate::proto::circuit::Circuit;
use crate::proto::decide::{Bind, Binding, ClientState, Offer};
use crate::proto::owner::address_hash;
use crate::proto::pool::PoolSet;
use crate::proto::reason::{ChosenBy, DropReason};
use crate::proto::scope::{ClientKey, NetworkIndex, Reservation, Scope, ScopeIndex, Scopes};
use crate::proto::time::{Millis, Now, UnixSecs};

/// A reservation that this worker keeps.
#[derive(Debug, Clone)]
pub(super) struct Reserved {
    pub(super) reservation: Arc<Reservation>,
    /// Whether it only keeps its address out of the pools (see [`Table::keeps`]), rather than holding it for its client.
    pub(super) keeps: bool,
    /// Whether the address is kept or claimed for it; not while somebody else is still bound to it.
    pub(super) holds: bool,
    pub(super) sequence: Sequence,
}

/// What is due waits so long for room in the journal, milliseconds.
const DUE_WAIT_MILLIS: u64 = 50;

/// Why an address was not bound. The promise comes back.
#[derive(Debug)]
pub enum BindRefusal<T> {
    /// Somebody else holds the address, or it is in quarantine.
    Taken(T),
    /// The journal took no record.
    Journal(Refused<T>),
}

/// What a client said of itself, for the lease's record.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientFacts<'a> {
    /// `chaddr`.
    pub mac: MacAddr,
    /// Option 61.
    pub client_id: &'a [u8],
    /// Option 12 as text; empty where it did not say.
    pub hostname: &'a str,
    /// Option 82.
    pub relay_agent: &'a [u8],
    /// Option 60; empty also where nobody may ask for it.
    pub vendor_class: &'a [u8],
    /// What its relay agent calls the server towards it (RFC 5107).
    pub called: Option<Ipv4Addr>,
}

/// A map with a hash that is quick for small keys, and keyed by chance, since clients choose their own.
type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// One worker's clients.
#[derive(Debug)]
pub struct Table {
    pub(super) shared: Arc<Shared>,
    pub(super) appender: Appender,
    clients: Clients,
    lists: PoolLists,
    pub(super) reservations: Map<ClientKey, Reserved>,
    pub(super) sightings: SightingBook,
    /// Addresses claimed for reservations of a batch that is under way, and whether they are only kept out of the pools.
    pub(super) prepared: Map<ClientKey, (Ipv4Addr, bool)>,
    /// Reservations that end by themselves, by their ends; one that was replaced meanwhile is looked at in vain.
    pub(super) expiring: BTreeSet<(UnixSecs, ClientKey)>,
    pub(super) next_expiry_look: Millis,
    quarantine: Map<Ipv4Addr, (UnixSecs, ClientKey)>,
    quarantine_ends: BTreeSet<(Millis, Ipv4Addr)>,
    pub(super) payload: Vec<u8>,
    /// What is due waits until then, because the journal has no room for saying so.
    due_waits_until: Option<Millis>,
}

impl Table {
    /// An empty table.
    pub(super) fn new(shared: Arc<Shared>, appender: Appender, workers: usize, now: Now) -> Self {
        let lists = PoolLists::new(shared.scopes.load_full());
        Self {
            clients: Clients::new(now.monotonic, lists.count(), shared.hash_seed, Arc::clone(&shared.ports)),
            lists,
            shared,
            appender,
            reservations: Map::default(),
            sightings: SightingBook::new(workers),
            prepared: Map::default(),
            expiring: BTreeSet::new(),
            next_expiry_look: now.monotonic,
            quarantine: Map::default(),
            quarantine_ends: BTreeSet::new(),
            payload: Vec::new(),
            due_waits_until: None,
        }
    }

    /// What is known of a client, whose reservation is `reservation` (see [`Self::reservation_for`]), and which says `facts` of itself now.
    pub fn client(
        &mut self,
        now: Now,
        key: ClientKey,
        reservation: Option<&Reservation>,
        facts: &ClientFacts<'_>,
    ) -> ClientState {
        let reserved = reservation.map(|own| own.address);
        let reserved_available = reserved.is_some_and(|address| self.can_have_reserved(key, address));
        let (bound, held) = self.clients.get(key);
        let durable = self.appender.durable();
        let binding = bound.map(|bound| Binding {
            address: bound.address,
            total_secs: bound.ends.since(bound.starts),
            remaining_secs: match bound.phase {
                Phase::Active => bound.ends.since(now.unix).min(secs_left(now.monotonic, bound.ends_at)),
                Phase::Expired => 0,
            },
            durable: bound.sequence <= durable,
            current: bound.said == self.said(facts),
        });
        ClientState {
            reserved,
            reserved_available,
            binding,
            offered: held.map(|offer| offer.address),
            called: facts.called,
            accepting: self.appender.is_healthy(),
        }
    }

    /// Holds the first candidate that is free for the client, else where the offer allows it an address of `pools`, which are the scope's, and says which.
    /// Candidates may lie in any scope of the client's network.
    ///
    /// # Errors
    /// None is, as data.
    pub fn offer(
        &mut self,
        now: Now,
        scope: &Scope,
        key: ClientKey,
        mac: MacAddr,
        offer: &Offer,
        pools: PoolSet,
    ) -> Result<(Ipv4Addr, ChosenBy), DropReason> {
        let may_have = |own: &Self, (address, by)| by == ChosenBy::Reservation || !own.is_kept_from(key, address);
        let mut candidates = offer.candidates.iter().flatten().copied();
        let candidate = candidates.find(|&chosen| may_have(self, chosen) && self.acquire(key, chosen.0));
        let chosen = match candidate {
            Some(chosen) => chosen,
            None if offer.from_pools => {
                self.claim_from_pools(scope, pools, address_hash(mac)).ok_or(DropReason::PoolExhausted)?
            }
            None => return Err(DropReason::ReservationUnavailable),
        };
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
        //# While not required for correct operation of DHCP, the server SHOULD NOT reuse the selected network address before the client responds to the server's DHCPOFFER message.
        //= https://www.rfc-editor.org/rfc/rfc2131#section-3.1
        //# The server SHOULD mark an address offered to a client in a DHCPOFFER message as available if the server receives no DHCPREQUEST message from that client.
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.2
        //# As an implementation detail, servers SHOULD NOT reuse offered addresses and may use an implementation-specific timeout mechanism to decide when to reuse an offered address.
        let held = Held { address: chosen.0, until: now.monotonic.plus_secs(scope.offer_secs) };
        if let Some(former) = self.clients.offer(key, held).filter(|former| former.address != chosen.0) {
            self.let_go(key, former.address);
        }
        Ok(chosen)
    }

    /// Lets go of what was offered to a client.
    pub fn forget_offer(&mut self, key: ClientKey) {
        if let Some(held) = self.clients.forget_offer(key) {
            self.let_go(key, held.address);
        }
    }

    /// Binds an address to a client: claims it, writes the record, remembers. The promise comes back once the record is durable.
    ///
    /// # Errors
    /// The address is taken or the journal takes no record; nothing has changed then.
    pub fn bind<T>(
        &mut self,
        now: Now,
        key: ClientKey,
        bind: &Bind,
        facts: ClientFacts<'_>,
        promise: T,
    ) -> Result<Pending<T>, BindRefusal<T>> {
        let held_before = self.holds(key, bind.address);
        let is_anothers = bind.chosen_by != ChosenBy::Reservation && self.is_kept_from(key, bind.address);
        if is_anothers || !self.acquire(key, bind.address) {
            return Err(BindRefusal::Taken(promise));
        }
        let Some((scope, _)) = self.shared.place(key.network, bind.address) else {
            return Err(BindRefusal::Taken(promise));
        };
        let former = self.clients.bound(key);
        let (mut ends, mut ends_at) = (bind.ends, end_at(now, bind.ends));
        if let Some(former) = former.filter(|former| former.address == bind.address && former.phase == Phase::Active) {
            // The client may never see this ACK and rely on the one before.
            ends = ends.max(former.ends);
            ends_at = ends_at.max(former.ends_at);
        }
        let record = BindRecord {
            address: bind.address,
            mac: facts.mac,
            starts: now.unix,
            ends,
            client_id: facts.client_id,
            hostname: facts.hostname,
            relay_agent: facts.relay_agent,
            vendor_class: facts.vendor_class,
        };
        let kind = record.encode(&mut self.payload);
        let pending = match self.appender.append(kind, &self.payload, promise) {
            Ok(pending) => pending,
            Err(refused) => {
                if !held_before {
                    self.release_bit(key.network, bind.address);
                }
                return Err(BindRefusal::Journal(refused));
            }
        };
        let sequence = pending.sequence();
        let (address, mac, starts, phase) = (bind.address, facts.mac, now.unix, Phase::Active);
        let said = self.said(&facts);
        let bound = Bound { address, scope, mac, starts, ends, ends_at, sequence, said, phase };
        self.remember(key, bound);
        self.forget_offer(key);
        Ok(pending)
    }

    /// The client has dealt with the server about `address`, which it is bound to, and `told` what is left of its lease: a record for lease queries, for which nobody
    /// waits. It must not take the room of promises: `false` where the journal is half full or refuses, and nothing is written.
    pub fn note_dealing(
        &mut self,
        now: Now,
        key: ClientKey,
        address: Ipv4Addr,
        told: bool,
        facts: &ClientFacts<'_>,
    ) -> bool {
        let is_bound = |bound: &Bound| bound.address == address && bound.phase == Phase::Active;
        let Some(mac) = self.clients.bound(key).filter(is_bound).map(|bound| bound.mac) else { return true };
        if !self.appender.has_room_to_spare() {
            return false;
        }
        let ClientFacts { relay_agent, vendor_class, .. } = *facts;
        let note = Note::Dealt { address, mac, at: now.unix, told, relay_agent, vendor_class };
        let kind = note.encode(&mut self.payload);
        self.appender.append(kind, &self.payload, ()).is_ok()
    }

    /// What the relay agent that brought the client's last message called this server, for as long as the client has a binding or an offer.
    pub fn called(&self, key: ClientKey) -> Option<Ipv4Addr> {
        self.clients.called(key)
    }

    /// The relay agent that brought the client's message calls this server so; `None`: by its own name.
    pub fn note_called(&mut self, key: ClientKey, called: Option<Ipv4Addr>) {
        self.clients.note_called(key, called);
    }

    /// The port of a network that a relay names.
    pub fn port(&self, network: NetworkIndex, by: PortShareBy, circuit: Circuit<'_>) -> Option<Port> {
        Port::of(self.shared.hash_seed, network, by, circuit)
    }

    /// Whether the client may hold an address behind `port`, whose clients may hold `most`. One that is served already takes nothing more.
    pub fn port_has_room(&self, key: ClientKey, port: Port, most: u64) -> bool {
        self.clients.is_served(key) || self.shared.ports.count(port) < most
    }

    /// Counts what the client holds for its port, until it holds nothing.
    pub fn count_port(&mut self, key: ClientKey, port: Port) {
        self.clients.count_port(key, port);
    }

    /// A value that promises no more than the client's durable binding already does.
    pub fn recall<T>(&self, key: ClientKey, value: T) -> Option<Durable<T>> {
        let bound = self.clients.bound(key).filter(|bound| bound.phase == Phase::Active)?;
        Durable::already_promised(value, bound.sequence, &self.appender)
    }

    /// The client gives its binding back.
    ///
    /// # Errors
    /// The journal takes no record; nothing has changed then.
    pub fn release<T>(
        &mut self,
        now: Now,
        key: ClientKey,
        address: Ipv4Addr,
        promise: T,
    ) -> Result<Pending<T>, Refused<T>> {
        // The machine that the binding's record names, even if the client has another by now.
        let mac = self.clients.bound(key).map(|bound| bound.mac);
        let mac = mac.or(key.identity.mac()).unwrap_or_default();
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.4
        //# The server SHOULD retain a record of the client's initialization parameters for possible reuse in response to subsequent requests from the client.
        let pending = self.append(&Record::Release { address, mac, at: now.unix }, promise)?;
        // Also where it was offered the address again in the meantime: others may have it at once.
        self.forget_offer(key);
        self.end_binding(key);
        Ok(pending)
    }

    /// The client found `address` in use: it rests until `until`, and the client is no longer bound to it.
    ///
    /// # Errors
    /// The journal takes no record; nothing has changed then.
    pub fn decline<T>(
        &mut self,
        now: Now,
        key: ClientKey,
        mac: MacAddr,
        address: Ipv4Addr,
        until: UnixSecs,
        promise: T,
    ) -> Result<Pending<T>, Refused<T>> {
        let pending = self.append(&Record::Decline { address, mac, at: now.unix, until }, promise)?;
        self.rest(now, key, address, until);
        if self.bound_address(key) == Some(address) {
            self.end_binding(key);
        }
        self.forget_offer(key);
        Ok(pending)
    }

    /// A machine without a lease uses `address`, which was about to be offered to the client: it rests until `until`, where that is after now.
    ///
    /// # Errors
    /// The journal takes no record; nothing has changed then.
    pub fn note_conflict(
        &mut self,
        now: Now,
        key: ClientKey,
        (mac, holder): (MacAddr, MacAddr),
        address: Ipv4Addr,
        until: UnixSecs,
    ) -> Result<Pending<()>, Refused<()>> {
        let kind = Note::Conflict { address, mac, holder, at: now.unix, until }.encode(&mut self.payload);
        let pending = self.appender.append(kind, &self.payload, ())?;
        if until > now.unix {
            self.rest(now, key, address, until);
            if self.bound_address(key) == Some(address) {
                self.end_binding(key);
            }
            self.forget_offer(key);
        }
        Ok(pending)
    }

    /// Does what is due: ends offers, leases and quarantines, and gives up expired leases that other workers need.
    ///
    /// That a lease is over is a record, for the events' sake, and must not take the room of promises: while the journal is half full or refuses, what is due waits.
    pub fn tick(&mut self, now: Now) {
        self.clients.advance(now.monotonic);
        self.due_waits_until = None;
        let lists = &self.lists;
        loop {
            if !self.appender.has_room_to_spare() {
                self.due_waits_until = Some(Millis(now.monotonic.0 + DUE_WAIT_MILLIS));
                break;
            }
            let Some(due) = self.clients.pop_due(|scope, address| lists.of(scope, address)) else { break };
            match due {
                Due::Offer(key) => {
                    if let Some(held) = self.clients.forget_offer(key)
                        && !self.holds(key, held.address)
                    {
                        self.release_bit(key.network, held.address);
                    }
                }
                Due::Lease(key) => {
                    let Some(bound) = self.clients.bound(key) else { continue };
                    // The wall clock may have been set back since.
                    let at = now.unix.max(bound.ends);
                    let kind = Note::Expired { address: bound.address, mac: bound.mac, at }.encode(&mut self.payload);
                    // There was room a moment ago; at the worst the next start tells it.
                    drop(self.appender.append(kind, &self.payload, ()));
                }
            }
        }
        while let Some(&(at, address)) = self.quarantine_ends.first().filter(|(at, _)| *at <= now.monotonic) {
            self.quarantine_ends.remove(&(at, address));
            if let Some((_, key)) = self.quarantine.remove(&address) {
                self.shared.model.leases_mut().end_rest(address, now.unix);
                self.let_go(key, address);
            }
        }
        self.end_reservations(now);
        let shared = Arc::clone(&self.shared);
        for (map, scope) in shared.maps.iter().zip(0..) {
            // Who has nothing to give leaves the wish to others.
            let wanted = map.take_wanted();
            if !wanted.is_empty() && self.reclaim_oldest(ScopeIndex(scope), wanted).is_none() {
                map.ask_for_one(wanted);
            }
        }
    }

    /// When [`Self::tick`] is due next.
    pub fn next_tick(&self) -> Option<Millis> {
        let rests = self.quarantine_ends.first().map(|entry| entry.0);
        let ends = (!self.expiring.is_empty()).then_some(self.next_expiry_look);
        let due = self.due_waits_until.or_else(|| self.clients.next_due());
        rests.into_iter().chain(due).chain(ends).min()
    }

    /// Gives up an expired binding's hold of `address`, for another client that is to have it.
    pub fn give_up(&mut self, network: NetworkIndex, address: Ipv4Addr) -> bool {
        let holder = self.clients.holder(address).filter(|client| client.network == network);
        holder.is_some_and(|key| self.reclaim(key, address))
    }

    /// Makes room for so many leases that will be adopted.
    pub(super) fn expect_leases(&mut self, leases: usize) {
        self.clients.expect(leases);
    }

    /// Takes over a lease found in the journal; expired ones in the order of their ends. `false` where it can no longer be, or is over.
    pub(super) fn adopt_lease(&mut self, now: Now, lease: &LeaseFacts) -> bool {
        let &LeaseFacts { client: key, address, scope, mac, starts, ends, sequence, said, called, state, expiry_told } =
            lease;
        let over = ends <= now.unix;
        match state {
            RowState::Declined if over => return false,
            RowState::Declined if self.claim(key.network, address) => self.rest(now, key, address, ends),
            RowState::Bound if self.claim(key.network, address) => {
                // One whose end nobody was told of yet is due at once.
                let phase = if over && expiry_told { Phase::Expired } else { Phase::Active };
                // Expired leases keep their order: a point in the past is expressed by how long ago it was.
                let ends_at = if over {
                    Millis(now.monotonic.0.saturating_sub(u64::from(now.unix.since(ends)) * 1_000))
                } else {
                    end_at(now, ends)
                };
                self.remember(key, Bound { address, scope, mac, starts, ends, ends_at, sequence, said, phase });
                self.clients.note_called(key, called);
            }
            // The server's own address, in a configuration that has changed: it can neither be this client's nor come out of quarantine.
            RowState::Bound | RowState::Declined => return false,
            RowState::Released => {}
        }
        true
    }

    /// What is bound from now on may wait for [`Self::release_commits`] before it is written.
    pub fn hold_commits(&mut self) {
        self.appender.hold();
    }

    /// What was bound since [`Self::hold_commits`] is written.
    pub fn release_commits(&mut self) {
        self.appender.release();
    }

    /// Queues a record.
    pub(super) fn append<T>(&mut self, record: &Record, promise: T) -> Result<Pending<T>, Refused<T>> {
        let kind = record.encode(&mut self.payload);
        self.appender.append(kind, &self.payload, promise)
    }

    /// Whether `address` rests because somebody found it in use.
    pub(super) fn in_quarantine(&self, address: Ipv4Addr) -> bool {
        self.quarantine.contains_key(&address)
    }

    /// Makes sure that the client holds `address`; `false` where somebody else does, or it is in quarantine.
    pub(super) fn acquire(&mut self, key: ClientKey, address: Ipv4Addr) -> bool {
        if self.quarantine.contains_key(&address) {
            return false;
        }
        self.holds(key, address) || self.claim(key.network, address)
    }

    /// An address of the scope's `pools`: free from `hash` on, else the one whose lease expired longest ago.
    pub(super) fn claim_from_pools(
        &mut self,
        scope: &Scope,
        pools: PoolSet,
        hash: u64,
    ) -> Option<(Ipv4Addr, ChosenBy)> {
        let shared = Arc::clone(&self.shared);
        let index = usize::from(scope.index.0);
        let map = shared.maps.get(index)?;
        let free = || map.claim_any(scope.ranges(pools), hash, &scope.kept, shared.kept.get(index)?.get());
        while let Some(address) = free() {
            if !self.is_kept(scope.index, address) {
                return Some((address, ChosenBy::Pool));
            }
            // It was reserved in this very moment.
            map.release(address);
        }
        while let Some(address) = self.reclaim_oldest(scope.index, pools) {
            // Another worker may have been faster.
            if map.claim(address) {
                return Some((address, ChosenBy::Reclaimed));
            }
        }
        // Other workers may have expired leases to give up; the client will ask again.
        map.ask_for_one(pools);
        None
    }

    /// Lets go of `address` unless there is another reason to hold it.
    pub(super) fn let_go(&mut self, key: ClientKey, address: Ipv4Addr) {
        if !self.holds(key, address) {
            self.release_bit(key.network, address);
        }
    }

    /// Whether this table has a reason, on behalf of this client, to hold `address`.
    pub(super) fn holds(&self, key: ClientKey, address: Ipv4Addr) -> bool {
        let (bound, held) = self.clients.get(key);
        bound.is_some_and(|bound| bound.address == address)
            || held.is_some_and(|offer| offer.address == address)
            || self
                .reservations
                .get(&key)
                .is_some_and(|own| own.holds && !own.keeps && own.reservation.address == address)
            || self.quarantine.contains_key(&address)
            || (!self.prepared.is_empty() && self.prepared.get(&key) == Some(&(address, false)))
    }

    /// Claims a reserved address that could not be claimed before, also from an expired lease of another client.
    pub(super) fn hold_reserved(&mut self, key: ClientKey, address: Ipv4Addr) -> bool {
        let holds = self.acquire(key, address) || (self.give_up(key.network, address) && self.acquire(key, address));
        if let Some(reserved) = self.reservations.get_mut(&key) {
            reserved.holds |= holds;
        }
        holds
    }

    /// Takes `address` if nobody holds it.
    fn claim(&self, network: NetworkIndex, address: Ipv4Addr) -> bool {
        self.shared.place(network, address).is_some_and(|(_, map)| map.claim(address))
    }

    /// Whether the client is bound to `address`, also where its time is over.
    pub fn is_bound_to(&self, key: ClientKey, address: Ipv4Addr) -> bool {
        self.bound_address(key) == Some(address)
    }

    /// The address of the client's binding, active or expired.
    pub(super) fn bound_address(&self, key: ClientKey) -> Option<Ipv4Addr> {
        self.clients.bound(key).map(|bound| bound.address)
    }

    fn said(&self, facts: &ClientFacts<'_>) -> u32 {
        hash_said(self.shared.hash_seed, facts.client_id, facts.hostname, facts.called)
    }

    fn release_bit(&self, network: NetworkIndex, address: Ipv4Addr) {
        if let Some((_, map)) = self.shared.place(network, address) {
            map.release(address);
        }
    }

    fn rest(&mut self, now: Now, key: ClientKey, address: Ipv4Addr, until: UnixSecs) {
        self.quarantine.insert(address, (until, key));
        self.quarantine_ends.insert((end_at(now, until), address));
    }

    /// Puts a binding in the place of the client's former one.
    fn remember(&mut self, key: ClientKey, bound: Bound) {
        let former = self.clients.bind(key, bound, self.lists.of(bound.scope, bound.address));
        if let Some(former) = former.filter(|former| former.address != bound.address) {
            self.let_go(key, former.address);
        }
    }

    /// Forgets the client's binding; its address may be given to others.
    fn end_binding(&mut self, key: ClientKey) {
        if let Some(bound) = self.clients.unbind(key) {
            self.let_go(key, bound.address);
        }
    }

    /// Gives up the lease of the scope's `pools` that expired longest ago.
    fn reclaim_oldest(&mut self, scope: ScopeIndex, pools: PoolSet) -> Option<Ipv4Addr> {
        let scopes = self.shared.scopes.load();
        let scope = scopes.get(scope)?;
        let allowed = |address: Ipv4Addr| {
            let in_pools = scope.in_pools(address) && scope.pool_of(address).is_some_and(|pool| pools.contains(pool));
            in_pools && !self.is_kept(scope.index, address)
        };
        let lists = self.lists.of_scope(scope.index);
        let oldest = lists.filter_map(|list| self.clients.oldest_expired(list, allowed));
        let (key, bound) = oldest.min_by_key(|(_, bound)| bound.ends_at)?;
        self.reclaim(key, bound.address).then_some(bound.address)
    }

    /// Takes note of pools that have changed.
    pub(super) fn sort_pools(&mut self, scopes: Arc<Scopes>) {
        self.lists = PoolLists::new(scopes);
        let lists = &self.lists;
        self.clients.sort_expired(lists.count(), |scope, address| lists.of(scope, address));
    }

    /// Takes the address from a client whose lease has expired. Its journal record stays: the next binding of the address replaces it.
    fn reclaim(&mut self, key: ClientKey, address: Ipv4Addr) -> bool {
        let expired = |bound: Bound| bound.address == address && bound.phase == Phase::Expired;
        if !self.clients.bound(key).is_some_and(expired) {
            return false;
        }
        self.end_binding(key);
        true
    }
}

/// The list of expired leases of each pool: one list a pool and one for what lies in no pool, scope by scope.
#[derive(Debug)]
struct PoolLists {
    scopes: Arc<Scopes>,
    /// Where the lists of each scope begin, and of the last one end.
    starts: Vec<usize>,
}

impl PoolLists {
    fn new(scopes: Arc<Scopes>) -> Self {
        let mut starts = vec![0];
        for scope in scopes.iter() {
            starts.push(starts[starts.len() - 1] + scope.pools.len() + 1);
        }
        Self { scopes, starts }
    }

    fn count(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    fn of(&self, scope: ScopeIndex, address: Ipv4Addr) -> usize {
        let pool = self.scopes.get(scope).map_or(0, |scope| scope.pool_of(address).unwrap_or(scope.pools.len()));
        self.starts[usize::from(scope.0)] + pool
    }

    fn of_scope(&self, scope: ScopeIndex) -> std::ops::Range<usize> {
        self.starts[usize::from(scope.0)]..self.starts[usize::from(scope.0) + 1]
    }
}

/// A refusal's meaning on the packet path.
pub fn refusal_reason(refusal: &Refusal) -> DropReason {
    match refusal {
        Refusal::Disk(_) | Refusal::Failed(_) | Refusal::Closed => DropReason::JournalRefusing,
        Refusal::RingFull | Refusal::TooLong => DropReason::QueueFull,
    }
}

/// When a wall-clock end comes by the monotonic clock.
fn end_at(now: Now, ends: UnixSecs) -> Millis {
    if ends == UnixSecs::NEVER { Millis::MAX } else { now.monotonic.plus_secs(ends.since(now.unix)) }
}

fn secs_left(now: Millis, ends_at: Millis) -> u32 {
    if ends_at == Millis::MAX {
        u32::MAX
    } else {
        (ends_at.0.saturating_sub(now.0) / 1_000).try_into().unwrap_or(u32::MAX)
    }
}
