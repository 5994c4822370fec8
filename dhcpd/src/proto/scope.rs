//! [`Scope`]: one scope of the configuration, compiled for the packet path; [`Network`]: the scopes of one link; [`Scopes`]: the immutable snapshot of all of them.
//!
//! Invariant: a [`ScopeIndex`] means the same scope (name, subnet, interface, server address), and a [`NetworkIndex`] the same scopes and the same kind of identity,
//! for the life of the process; only the rules change with a reload.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use reveille_config::dhcpd::{
    Boot, ConflictCheck, Dhcpd, IdentityKind, Limits, Pool, ReservedFor, ScopeBoot, ScopeKind,
};
use reveille_config::option::Definitions;
use reveille_config::{AddressRange, MacAddr, Subnet};

use super::class::{ClassIndex, Classes, Membership};
use super::identity::{IdentifiedBy, Identity, IdentityKey};
use super::option::{CodeSet, OptionBlock};
use super::pool::{AddressMask, PoolSet};
use super::reply::Templates;
use super::time::UnixSecs;
use super::view::code;

/// Position of a scope in [`Scopes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeIndex(pub u16);

impl ScopeIndex {
    /// No scope: there are fewer ([`reveille_config::limit::SCOPES_MAX`]).
    pub const NONE: Self = Self(u16::MAX);
}

/// Position of a network in [`Scopes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkIndex(pub u16);

/// A client on a network: it has at most one binding there, whose address says the scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey {
    /// The network.
    pub network: NetworkIndex,
    /// Who it is.
    pub identity: Identity,
}

/// A hardware address in a scope: what sightings are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Machine {
    /// The scope.
    pub scope: ScopeIndex,
    /// `chaddr`.
    pub mac: MacAddr,
}

/// For whom a reservation is, in a scope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder {
    /// The scope.
    pub scope: ScopeIndex,
    /// The client.
    pub client: ReservedFor,
}

impl From<Machine> for Holder {
    fn from(machine: Machine) -> Self {
        Self { scope: machine.scope, client: machine.mac.into() }
    }
}

/// One link: the scopes that share it. A scope that shares its link with none is a network of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its place.
    pub index: NetworkIndex,
    /// Its scopes, in the order of the configuration; at least one.
    pub scopes: Box<[ScopeIndex]>,
    /// By what its clients are told apart.
    pub identified_by: IdentifiedBy,
}

/// Where a reservation comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file.
    Config,
    /// The API; it lives in the journal.
    Api,
}

/// A reservation, ready for the packet path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The scope.
    pub scope: ScopeIndex,
    /// For whom it is: its first identity, by which it is known.
    pub client: ReservedFor,
    /// By what else its client is known: whoever comes with one of these gets the address too. Each of another kind, in their order.
    pub also: Box<[ReservedFor]>,
    /// Its address.
    pub address: Ipv4Addr,
    /// Option 12.
    pub hostname: Option<Box<str>>,
    /// The boot file, instead of the scope's.
    pub boot_file: Option<Box<str>>,
    /// The boot profile, instead of the scope's.
    pub boot: Option<Arc<Boot>>,
    /// Options that override the scope's, the host name included.
    pub options: OptionBlock,
    /// The options as they were given, a JSON object; empty where there are none.
    pub options_given: Box<str>,
    /// The node's id, for the reader.
    pub node: Option<Box<str>>,
    /// What else was said when it was made.
    pub terms: Terms,
    /// Where it comes from.
    pub origin: Origin,
}

impl Reservation {
    /// For whom it is, in its scope.
    pub fn holder(&self) -> Holder {
        Holder { scope: self.scope, client: self.client.clone() }
    }

    /// All identities that it is for, the first one first.
    pub fn identities(&self) -> impl Iterator<Item = &ReservedFor> {
        std::iter::once(&self.client).chain(&self.also)
    }
}

/// What a reservation of the API may say besides; each part is empty or 0 where it does not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// The name of a boot profile.
    pub boot: Box<str>,
    /// Boot files by stage and architecture as they were given, a JSON object.
    pub boot_files: Box<str>,
    /// Labels, a JSON object of texts.
    pub labels: Box<str>,
    /// The lease time, seconds, whatever the client asks for.
    pub lease_secs: u32,
    /// When it ends by itself.
    pub expires: UnixSecs,
}

/// A scope, compiled.
#[derive(Debug)]
pub struct Scope {
    /// Its place.
    pub index: ScopeIndex,
    /// The network that it is part of.
    pub network: NetworkIndex,
    /// Its name.
    pub name: Arc<str>,
    /// Who is served.
    pub kind: ScopeKind,
    /// The interface it is bound to; `None`: its relays are heard on any.
    pub interface: Option<Arc<str>>,
    /// Relays whose clients it serves, besides those inside its subnet; not empty: no clients on the interface itself.
    pub relays: Vec<Subnet>,
    /// Ports whose clients it serves; empty: any.
    pub circuit_ids: Vec<Box<[u8]>>,
    /// The network.
    pub subnet: Subnet,
    /// The server identifier.
    pub server_address: Ipv4Addr,
    /// What is handed out.
    pub pools: Vec<AddressRange>,
    /// Default lease time, seconds.
    pub lease_secs: u32,
    /// Shortest lease time, seconds.
    pub lease_secs_min: u32,
    /// Longest lease time, seconds.
    pub lease_secs_max: u32,
    /// How long an offer holds its address, seconds.
    pub offer_secs: u32,
    /// How long a declined address rests, seconds.
    pub decline_secs: u32,
    /// At this share of its pools in use it is above its mark, per cent.
    pub pool_above_percent: u8,
    /// Back at this share it is below, per cent.
    pub pool_below_percent: u8,
    /// How often a DHCPDISCOVER of our own looks for foreign servers, seconds; 0 is never.
    pub foreign_probe_secs: u32,
    /// Whether and how it is asked who uses an address before it is offered.
    pub conflict: ConflictCheck,
    /// Share of a lease, per cent, up to which a renewal is answered from disk; 0 is off.
    pub cache_threshold_percent: u8,
    /// Whether unknown clients are NAKed when their address is wrong for the link.
    pub authoritative: bool,
    /// Whether replies to clients without address are always broadcast.
    pub always_broadcast: bool,
    /// Whether BOOTP clients are served (RFC 1534).
    pub bootp: bool,
    /// Whether a client that asks for it is bound without a DHCPREQUEST (RFC 4039).
    pub rapid_commit: bool,
    /// How long replies wait, milliseconds.
    pub reply_delay_millis: u16,
    /// Whether `giaddr` alone says whose clients are meant.
    pub ignore_link_selection: bool,
    /// Whether router solicitations are answered.
    pub answer_router_solicitations: bool,
    /// Options of every reply.
    pub options: OptionBlock,
    /// Boot files.
    pub boot: Option<Arc<Boot>>,
    /// Addresses that no search of the pools finds: those excluded, and those that the configuration reserves for client identifiers and ports.
    pub kept: AddressMask,
    pool_rules: Box<[PoolRules]>,
    /// The configuration's reservations.
    pub reservations: Vec<Arc<Reservation>>,
    /// Replies, encoded but for what differs from client to client.
    pub templates: Templates,
}

impl Scope {
    /// Whether `address` may be handed out from a pool: it lies in one and is not kept out.
    pub fn in_pools(&self, address: Ipv4Addr) -> bool {
        self.pool_of(address).is_some() && !self.kept.contains(address)
    }

    /// The place of the pool that `address` lies in.
    pub fn pool_of(&self, address: Ipv4Addr) -> Option<usize> {
        self.pools.iter().position(|pool| pool.contains(address))
    }

    /// Whether it is on this interface.
    pub fn is_on(&self, interface: &str) -> bool {
        self.interface.as_deref() == Some(interface)
    }

    /// Whether what comes in on this interface may be for it.
    pub fn hears(&self, interface: &str) -> bool {
        self.interface.as_deref().is_none_or(|own| own == interface)
    }

    /// The pools that a client of these classes may have an address from.
    pub fn pools_for(&self, classes: &Membership) -> PoolSet {
        if self.pool_rules.is_empty() {
            return PoolSet::ALL;
        }
        let is_in = |class: &ClassIndex| classes.contains(*class);
        let allowed = |rules: &PoolRules| {
            (rules.allow.is_empty() || rules.allow.iter().any(is_in)) && !rules.deny.iter().any(is_in)
        };
        PoolSet::of(self.pool_rules.iter().enumerate().filter(|(_, rules)| allowed(rules)).map(|(place, _)| place))
    }

    /// The options of the pool at `place`.
    pub fn pool_options(&self, place: usize) -> Option<&OptionBlock> {
        self.pool_rules.get(place).map(|rules| &rules.options)
    }

    /// The ranges of some of its pools.
    pub fn ranges(&self, pools: PoolSet) -> impl Iterator<Item = AddressRange> + Clone {
        self.pools.iter().enumerate().filter(move |(place, _)| pools.contains(*place)).map(|(_, pool)| *pool)
    }

    /// Addresses in all pools.
    pub fn pool_size(&self) -> u64 {
        self.pools.iter().map(|pool| pool.size()).sum()
    }

    fn compile(
        index: ScopeIndex,
        network: NetworkIndex,
        scope: &reveille_config::dhcpd::Scope,
        boots: &HashMap<&str, Arc<Boot>>,
        classes: &Classes,
    ) -> Self {
        let mask = scope.subnet.netmask().octets();
        let broadcast = scope.subnet.broadcast().octets();
        let defaults = [(code::SUBNET_MASK, &mask[..]), (code::BROADCAST_ADDRESS, &broadcast[..])];
        // Beside another DHCP server the network is that one's business.
        let defaults = defaults.into_iter().filter(|_| scope.kind != ScopeKind::Proxy);
        let reservation = |own: &reveille_config::dhcpd::FixedReservation| {
            Arc::new(Reservation {
                scope: index,
                client: own.client.clone(),
                also: Box::default(),
                address: own.address,
                hostname: own.hostname.as_deref().map(Into::into),
                boot_file: None,
                boot: own.boot.as_deref().and_then(|name| boots.get(name).cloned()),
                options: with_hostname(own.options.iter(), own.hostname.as_deref()),
                options_given: "".into(),
                node: None,
                terms: Terms::default(),
                origin: Origin::Config,
            })
        };
        // That there is one for each client, the configuration has checked.
        let reservations: Vec<Arc<Reservation>> = scope.reservations.iter().map(reservation).collect();
        let kept = reservations.iter().filter(|own| own.client.mac().is_none());
        let kept = kept.filter_map(|own| AddressRange::new(own.address, own.address));
        let kept = kept.chain(scope.exclude.iter().copied());
        let places =
            |names: &[String]| -> Box<[ClassIndex]> { names.iter().filter_map(|name| classes.by_name(name)).collect() };
        let rules = |pool: &Pool| PoolRules {
            allow: places(&pool.allow),
            deny: places(&pool.deny),
            options: OptionBlock::encode(pool.options.iter()),
        };
        let plain = |pool: &Pool| pool.allow.is_empty() && pool.deny.is_empty() && pool.options.is_empty();
        let pool_rules =
            if scope.pools.iter().all(plain) { Box::default() } else { scope.pools.iter().map(rules).collect() };
        Self {
            kept: AddressMask::new(scope.subnet, kept),
            index,
            network,
            name: scope.name.as_str().into(),
            kind: scope.kind,
            interface: scope.interface.as_deref().map(Into::into),
            subnet: scope.subnet,
            server_address: scope.server_address,
            pools: scope.pools.iter().map(|pool| pool.range).collect(),
            pool_rules,
            relays: scope.relays.clone(),
            circuit_ids: scope.circuit_ids.iter().map(|id| id.as_slice().into()).collect(),
            ignore_link_selection: scope.ignore_link_selection,
            lease_secs: scope.lease_secs,
            lease_secs_min: scope.lease_secs_min,
            lease_secs_max: scope.lease_secs_max,
            offer_secs: scope.offer_secs,
            decline_secs: scope.decline_secs,
            pool_above_percent: scope.pool_above_percent,
            pool_below_percent: scope.pool_below_percent,
            foreign_probe_secs: scope.foreign_server_probe_secs,
            conflict: scope.conflict,
            cache_threshold_percent: scope.cache_threshold_percent,
            authoritative: scope.authoritative,
            always_broadcast: scope.always_broadcast,
            bootp: scope.bootp,
            rapid_commit: scope.rapid_commit,
            reply_delay_millis: scope.reply_delay_millis,
            answer_router_solicitations: scope.answer_router_solicitations,
            options: OptionBlock::encode(scope.options.iter().chain(defaults)),
            boot: scope.boot.as_ref().and_then(|boot| match boot {
                ScopeBoot::Profile(name) => boots.get(name.as_str()).cloned(),
                ScopeBoot::Own(own) => Some(Arc::new(own.clone())),
            }),
            reservations,
            templates: Templates::encode(scope.server_address),
        }
    }
}

/// A reservation's options with its host name among them, which goes before an option 12 given by number.
pub fn with_hostname<'a>(options: impl Iterator<Item = (u8, &'a [u8])>, hostname: Option<&'a str>) -> OptionBlock {
    OptionBlock::encode(hostname.map(|name| (code::HOST_NAME, name.as_bytes())).into_iter().chain(options))
}

/// All scopes, in the order of the configuration, and their networks; immutable, swapped as a whole.
#[derive(Debug)]
pub struct Scopes {
    scopes: Vec<Scope>,
    networks: Vec<Network>,
    /// First address of each subnet, ascending; subnets do not overlap.
    by_subnet: Vec<(Ipv4Addr, ScopeIndex)>,
    /// Who may ask for leases (RFC 4388).
    requestors: Vec<Subnet>,
    told_to_requestors: CodeSet,
    classes: Classes,
    boots: HashMap<Box<str>, Arc<Boot>>,
    /// Servers of others that nobody needs to be told of.
    known_servers: Vec<Ipv4Addr>,
    /// Options that the configuration defines.
    pub definitions: Definitions,
    /// How much one sender may ask.
    pub limits: Limits,
}

impl Scopes {
    /// Whether a server with this identifier is ours or has been declared.
    pub fn knows_server(&self, server: Ipv4Addr) -> bool {
        self.known_servers.contains(&server) || self.scopes.iter().any(|scope| scope.server_address == server)
    }

    /// Compiles the configuration.
    pub fn compile(config: &Dhcpd) -> Self {
        let boots: HashMap<&str, Arc<Boot>> =
            config.boots.iter().map(|(name, boot)| (name.as_str(), Arc::new(boot.clone()))).collect();
        let classes = Classes::compile(config, |name| boots.get(name).cloned());
        let mut networks: Vec<Network> = Vec::new();
        let mut shared: HashMap<&str, NetworkIndex> = HashMap::new();
        let mut scopes: Vec<Scope> = Vec::new();
        for (scope, i) in config.scopes.iter().zip(0..) {
            let index = ScopeIndex(i);
            let new = NetworkIndex(networks.len() as u16);
            let network = scope.shared_network.as_deref().map_or(new, |name| *shared.entry(name).or_insert(new));
            match networks.get_mut(usize::from(network.0)) {
                Some(known) => known.scopes = known.scopes.iter().copied().chain([index]).collect(),
                None => {
                    let identified_by = match scope.identity {
                        IdentityKind::Mac => IdentifiedBy::Mac,
                        IdentityKind::ClientId => IdentifiedBy::ClientId,
                    };
                    networks.push(Network { index: network, scopes: [index].into(), identified_by });
                }
            }
            scopes.push(Scope::compile(index, network, scope, &boots, &classes));
        }
        let mut by_subnet: Vec<_> = scopes.iter().map(|scope| (scope.subnet.network(), scope.index)).collect();
        by_subnet.sort_unstable();
        let boots = boots.into_iter().map(|(name, boot)| (name.into(), boot)).collect();
        Self {
            scopes,
            networks,
            by_subnet,
            requestors: config.leasequery.clone(),
            told_to_requestors: CodeSet::of(&config.leasequery_tell),
            classes,
            boots,
            known_servers: config.known_servers.clone(),
            definitions: config.definitions.clone(),
            limits: config.limits,
        }
    }

    /// The classes.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// The boot profile called `name`.
    pub fn boot(&self, name: &str) -> Option<Arc<Boot>> {
        self.boots.get(name).cloned()
    }

    /// The boot profile that a reservation names or spells out.
    pub fn boot_of(&self, terms: &Terms) -> Option<Arc<Boot>> {
        if terms.boot_files.is_empty() {
            return self.boot(&terms.boot);
        }
        // What was stored was checked when it was put.
        serde_json::from_str(&terms.boot_files).ok().and_then(|files| Boot::from_files(&files).ok()).map(Arc::new)
    }

    /// The scope at `index`.
    pub fn get(&self, index: ScopeIndex) -> Option<&Scope> {
        self.scopes.get(usize::from(index.0))
    }

    /// The scope called `name`.
    pub fn by_name(&self, name: &str) -> Option<&Scope> {
        self.scopes.iter().find(|scope| &*scope.name == name)
    }

    /// The scope whose subnet holds `address`.
    pub fn of_address(&self, address: Ipv4Addr) -> Option<&Scope> {
        let after = self.by_subnet.partition_point(|&(first, _)| first <= address);
        let &(_, index) = self.by_subnet[..after].last()?;
        self.get(index).filter(|scope| scope.subnet.contains(&address))
    }

    /// Networks and scopes to be changed by tests of what the configuration cannot say.
    #[cfg(test)]
    pub(crate) fn parts_mut(&mut self) -> (&mut [Network], &mut [Scope]) {
        (&mut self.networks, &mut self.scopes)
    }

    /// How many addresses the clients behind one port of a network may hold: a share of those in its pools, one at least. `None` for no limit.
    pub fn port_share(&self, network: NetworkIndex) -> Option<u64> {
        let percent = u64::from(self.limits.port_share_percent);
        let scopes = &self.network(network).filter(|_| percent < 100)?.scopes;
        let addresses: u64 = scopes.iter().filter_map(|&index| self.get(index)).map(Scope::pool_size).sum();
        Some((addresses * percent / 100).max(1))
    }

    /// The pools of its scope that a machine may have an address from, as far as its hardware address and vendor class tell.
    pub fn pools_of_machine(&self, machine: Machine, vendor_class: &[u8]) -> PoolSet {
        let classes = self.classes.of_machine(machine.mac, vendor_class);
        self.get(machine.scope).map_or(PoolSet::NONE, |scope| scope.pools_for(&classes))
    }

    /// The network at `index`.
    pub fn network(&self, index: NetworkIndex) -> Option<&Network> {
        self.networks.get(usize::from(index.0))
    }

    /// All networks, in order.
    pub fn networks(&self) -> &[Network] {
        &self.networks
    }

    /// Whether every client is its hardware address, so that its owner is known before its scope.
    pub fn all_identified_by_mac(&self) -> bool {
        self.networks.iter().all(|network| network.identified_by == IdentifiedBy::Mac)
    }

    /// The client that a reservation is for, by its first identity; one for a port is for an identity that no client has.
    pub fn client_of(&self, key: IdentityKey, holder: &Holder) -> Option<ClientKey> {
        let scope = self.get(holder.scope)?;
        Some(ClientKey { network: scope.network, identity: Identity::of_reserved(key, &holder.client) })
    }

    /// Whether anybody may ask for leases, so that what only queries tell is worth writing down.
    pub fn takes_queries(&self) -> bool {
        !self.requestors.is_empty()
    }

    /// The options that lease queries may tell beside the lease itself.
    pub fn told_to_requestors(&self) -> CodeSet {
        self.told_to_requestors
    }

    /// Whether lease queries of this relay or concentrator are answered.
    pub fn may_query(&self, requestor: Ipv4Addr) -> bool {
        self.requestors.iter().any(|subnet| subnet.contains(&requestor))
    }

    /// The names of the interfaces served, each once, in the order of the scopes.
    pub fn interfaces(&self) -> Vec<Box<str>> {
        let mut names: Vec<Box<str>> = Vec::new();
        for interface in self.iter().filter_map(|scope| scope.interface.as_deref()) {
            if !names.iter().any(|name| **name == *interface) {
                names.push(interface.into());
            }
        }
        names
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.scopes.iter()
    }

    /// The scope that a packet is for, of those on the interface it came in on; see [`Way`].
    ///
    /// What is selected goes first (RFC 3527, RFC 3011). Behind a relay it is a scope of that relay or one whose subnet holds `giaddr` (RFC 2131 §4.3.1); without
    /// one it is the one that holds `ciaddr`, else the first of the link. In each case a scope for the client's port goes before one for any port.
    pub fn select(&self, interface: &str, way: Way<'_>) -> Option<&Scope> {
        let here = || self.scopes.iter().filter(|scope| scope.hears(interface));
        let at_port =
            |scope: &&Scope| way.circuit_id.is_some_and(|id| scope.circuit_ids.iter().any(|own| **own == *id));
        let any_port = |scope: &&Scope| scope.circuit_ids.is_empty();
        let (relayed, giaddr) = (!way.giaddr.is_unspecified(), way.giaddr);
        let on_way = |scope: &&Scope| match relayed {
            true => scope.subnet.contains(&giaddr) || scope.relays.iter().any(|relay| relay.contains(&giaddr)),
            false => scope.relays.is_empty(),
        };
        // A client that renews speaks past its relay, straight with the server: its address says where it is.
        let past_relay = || {
            let client_is_in = |scope: &&Scope| !scope.relays.is_empty() && scope.subnet.contains(&way.ciaddr);
            here().find(|scope| !relayed && !way.ciaddr.is_unspecified() && client_is_in(scope))
        };
        let by_way = || {
            if let Some(scope) = past_relay() {
                return Some(scope);
            }
            let ours = |scope: &&Scope| way.ciaddr.is_unspecified() || scope.subnet.contains(&way.ciaddr);
            let near = |port: &dyn Fn(&&Scope) -> bool| {
                let mut fit = here().filter(|scope| on_way(scope) && port(scope));
                let first = fit.next()?;
                Some(if relayed || ours(&first) { first } else { fit.find(ours).unwrap_or(first) })
            };
            near(&at_port).or_else(|| near(&any_port))
        };
        let Some(selected) = way.selected.filter(|_| !way.ignores_selection) else { return by_way() };
        if by_way().is_some_and(|scope| scope.ignore_link_selection) {
            return by_way();
        }
        // Whoever is on a link of ours is behind no relay.
        let in_reach = |scope: &&Scope| relayed || scope.interface.is_some() || scope.subnet.contains(&way.ciaddr);
        let holds = |scope: &&Scope| scope.subnet.contains(&selected) && in_reach(scope);
        here()
            .find(|scope| holds(scope) && at_port(scope))
            .or_else(|| here().find(|scope| holds(scope) && any_port(scope)))
    }
}

/// What says from where a packet comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way<'a> {
    /// The relay's address; unspecified where there is none.
    pub giaddr: Ipv4Addr,
    /// The client's address, where it can be trusted; else unspecified.
    pub ciaddr: Ipv4Addr,
    /// What the relay or the client selects.
    pub selected: Option<Ipv4Addr>,
    /// Whether the client is in a class whose relays select the wrong one.
    pub ignores_selection: bool,
    /// The client's port.
    pub circuit_id: Option<&'a [u8]>,
}

/// Who may have the addresses of a pool, and what they get with it.
#[derive(Debug)]
struct PoolRules {
    allow: Box<[ClassIndex]>,
    deny: Box<[ClassIndex]>,
    options: OptionBlock,
}

#[cfg(test)]
mod tests;
