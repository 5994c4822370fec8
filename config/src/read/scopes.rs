//! What scopes can get wrong together: names, interfaces, networks, pools and reservations that meet.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::ops::Range;

use super::reader::{At, Reader};
use crate::dhcpd::{IdentityKind, ReservedFor};
use crate::limit::SCOPE_ADDRESSES_MAX;
use crate::mistake::Source;
use crate::{AddressRange, Subnet};

/// One scope as far as it could be read.
pub(super) struct ScopeFacts {
    /// Its header.
    pub span: Range<usize>,
    pub name: Option<At<String>>,
    pub interface: Option<At<String>>,
    pub subnet: Option<At<Subnet>>,
    pub server_address: Option<At<Ipv4Addr>>,
    pub pools: Vec<At<AddressRange>>,
    pub exclude: Vec<At<AddressRange>>,
    pub shared_network: Option<At<String>>,
    pub relays: Vec<At<Subnet>>,
    pub identity: IdentityKind,
    pub reservations: Vec<ReservationFacts>,
}

/// One reservation as far as it could be read.
pub(super) struct ReservationFacts {
    pub client: Option<At<ReservedFor>>,
    pub address: Option<At<Ipv4Addr>>,
}

impl ScopeFacts {
    /// "scope `x`", for messages.
    fn title(&self) -> String {
        self.name.as_ref().map_or("another scope".into(), |name| format!("scope `{}`", name.value))
    }
}

/// Notes every mistake across and inside `scopes`.
pub(super) fn check(reader: &Reader<'_>, source: &Source<'_>, scopes: &[ScopeFacts]) {
    unique(reader, source, scopes.iter().filter_map(|scope| scope.name.as_ref()), "two scopes have the name");
    for (at, scope) in scopes.iter().enumerate() {
        link(reader, source, scope, &scopes[..at]);
    }
    for (at, scope) in scopes.iter().enumerate() {
        addresses(reader, source, scope);
        for earlier in &scopes[..at] {
            subnets_overlap(reader, source, earlier, scope);
        }
    }
    pools_overlap(reader, source, scopes);
    for scope in scopes {
        reservations(reader, source, scope, scopes);
    }
}

/// A scope against those before it: who is on which link.
fn link(reader: &Reader<'_>, source: &Source<'_>, scope: &ScopeFacts, earlier: &[ScopeFacts]) {
    let network = |scope: &ScopeFacts| scope.shared_network.as_ref().map(|name| name.value.clone());
    let interface = |scope: &ScopeFacts| scope.interface.as_ref().map(|name| name.value.clone());
    let with = |what: &dyn Fn(&ScopeFacts) -> bool| earlier.iter().find(|other| what(other));
    if let Some(name) = &scope.interface
        && scope.relays.is_empty()
        && let Some(first) = with(&|other| {
            let alone = network(other).is_none() || network(other) != network(scope);
            other.relays.is_empty() && interface(other) == interface(scope) && alone
        })
    {
        let line = source.line_of(first.interface.as_ref().map_or(first.span.start, |name| name.start));
        let what = format!("two scopes are on the interface `{}`; the first is on line {line}", name.value);
        let instead = "give each its own; or the same `shared_network`, where they share the link; or `relays`, where the clients are behind some";
        reader.wrong(name.span(), what, instead);
    }
    if let Some(name) = &scope.shared_network
        && let Some(first) = with(&|other| network(other) == network(scope))
    {
        let line = source.line_of(first.span.start);
        if interface(first) != interface(scope) {
            let what = format!("the network `{}` is on two interfaces; its first scope is on line {line}", name.value);
            reader.wrong(name.span(), what, "scopes that share a link have the same `interface`");
        }
        if first.identity != scope.identity {
            let what =
                format!("the network `{}` has two kinds of `identity`; its first scope is on line {line}", name.value);
            reader.wrong(name.span(), what, "scopes that share a link tell clients apart by the same");
        }
    }
    for relay in &scope.relays {
        let same = |other: &ScopeFacts| {
            let alone = network(other).is_none() || network(other) != network(scope);
            let meet = interface(other).zip(interface(scope)).is_none_or(|(one, other)| one == other);
            alone && meet && other.relays.iter().any(|one| one.value == relay.value)
        };
        if let Some(first) = with(&same) {
            let what = format!(
                "the relay {} belongs to {} too, line {}",
                relay.value,
                first.title(),
                source.line_of(first.span.start)
            );
            reader.advise(
                relay.span(),
                what,
                "the first scope wins, unless `circuit_ids` or link selection tell them apart",
            );
        }
    }
}

fn unique<'a>(reader: &Reader<'_>, source: &Source<'_>, names: impl Iterator<Item = &'a At<String>>, what: &str) {
    let mut seen: HashMap<&str, &At<String>> = HashMap::new();
    for name in names {
        match seen.get(name.value.as_str()) {
            Some(first) => {
                let line = source.line_of(first.start);
                reader.wrong(
                    name.span(),
                    format!("{what} `{}`; the first is on line {line}", name.value),
                    "give each its own",
                );
            }
            None => _ = seen.insert(&name.value, name),
        }
    }
}

/// The server's address and the pools against the scope's own subnet.
fn addresses(reader: &Reader<'_>, source: &Source<'_>, scope: &ScopeFacts) {
    let Some(subnet) = &scope.subnet else { return };
    let net = subnet.value;
    let line = source.line_of(subnet.start);
    let hosts = hosts(net);
    if net.prefix_len() > 30 {
        let what = format!("the network {net} has no room for a server and a client");
        return reader.wrong(subnet.span(), what, "its prefix has 30 bits at most");
    }
    if let Some(server) = &scope.server_address {
        let address = server.value;
        if !scope.relays.is_empty() && !net.contains(&address) {
            // Its clients are elsewhere: the address is one that the relays reach.
        } else if !net.contains(&address) {
            let what = format!("the server's address {address} is outside its subnet {net} (line {line})");
            reader.wrong(server.span(), what, format!("an address from {} to {}", hosts.first(), hosts.last()));
        } else if !hosts.contains(address) {
            let what = format!("the server's address {address} is the {} address of {net}", edge(net, address));
            reader.wrong(server.span(), what, format!("an address from {} to {}", hosts.first(), hosts.last()));
        }
    }
    for range in &scope.exclude {
        if !net.contains(&range.value.first()) || !net.contains(&range.value.last()) {
            let what = format!("the excluded {} is outside the subnet {net} (line {line})", range.value);
            reader.wrong(range.span(), what, format!("addresses from {} to {}", hosts.first(), hosts.last()));
        }
    }
    let mut total = 0;
    for pool in &scope.pools {
        let range = pool.value;
        total += range.size();
        if !net.contains(&range.first()) || !net.contains(&range.last()) {
            let what = format!("the pool {range} is outside its subnet {net} (line {line})");
            reader.wrong(pool.span(), what, format!("addresses from {} to {}", hosts.first(), hosts.last()));
            continue;
        }
        for address in [net.network(), net.broadcast()] {
            if range.contains(address) {
                let what = format!("the pool {range} contains {address}, the {} address of {net}", edge(net, address));
                reader.wrong(pool.span(), what, format!("addresses from {} to {}", hosts.first(), hosts.last()));
            }
        }
        if let Some(server) = scope.server_address.as_ref().filter(|server| range.contains(server.value)) {
            let what = format!(
                "the pool {range} contains {}, the server's own address (line {})",
                server.value,
                source.line_of(server.start)
            );
            reader.wrong(pool.span(), what, around(range, server.value));
        }
    }
    if let Some(last) = scope.pools.last().filter(|_| total > SCOPE_ADDRESSES_MAX) {
        let what = format!("the pools of this scope have {total} addresses");
        reader.wrong(last.span(), what, format!("{SCOPE_ADDRESSES_MAX} at most: memory for each is taken at start"));
    }
}

fn subnets_overlap(reader: &Reader<'_>, source: &Source<'_>, earlier: &ScopeFacts, later: &ScopeFacts) {
    let (Some(first), Some(second)) = (&earlier.subnet, &later.subnet) else { return };
    if first.value.contains(&second.value) || second.value.contains(&first.value) {
        let (title, line) = (earlier.title(), source.line_of(first.start));
        let what = format!("the subnet {} overlaps {} of {title} on line {line}", second.value, first.value);
        reader.wrong(second.span(), what, "give each scope a network of its own");
    }
}

/// Pools of one scope or of several that share addresses.
fn pools_overlap(reader: &Reader<'_>, source: &Source<'_>, scopes: &[ScopeFacts]) {
    let mut all: Vec<(&At<AddressRange>, &ScopeFacts)> =
        scopes.iter().flat_map(|scope| scope.pools.iter().map(move |pool| (pool, scope))).collect();
    all.sort_by_key(|(pool, _)| (pool.value.first(), pool.start));
    // The one that reaches furthest so far is the one that the next can meet.
    let mut furthest: Option<(&At<AddressRange>, &ScopeFacts)> = None;
    for (pool, scope) in all {
        if let Some((other, other_scope)) = furthest.filter(|(other, _)| other.value.overlaps(pool.value)) {
            let (first, first_scope, second, second_scope) = match other.start < pool.start {
                true => (other, other_scope, pool, scope),
                false => (pool, scope, other, other_scope),
            };
            let line = source.line_of(first.start);
            let owner = if std::ptr::eq(first_scope, second_scope) {
                String::new()
            } else {
                format!(" of {}", first_scope.title())
            };
            let what = format!("the pool {} overlaps the pool {}{owner} on line {line}", second.value, first.value);
            reader.wrong(second.span(), what, "every address belongs to one pool: shorten or remove one");
        }
        if furthest.is_none_or(|(other, _)| other.value.last() < pool.value.last()) {
            furthest = Some((pool, scope));
        }
    }
}

fn reservations(reader: &Reader<'_>, source: &Source<'_>, scope: &ScopeFacts, scopes: &[ScopeFacts]) {
    let mut clients: HashMap<&ReservedFor, &At<ReservedFor>> = HashMap::new();
    let mut taken: HashMap<Ipv4Addr, &At<Ipv4Addr>> = HashMap::new();
    for reservation in &scope.reservations {
        if let Some(client) = &reservation.client {
            match clients.get(&client.value) {
                Some(first) => {
                    let who = match &client.value {
                        ReservedFor::Mac(mac) => mac.to_string(),
                        ReservedFor::ClientId(id) => format!("the client identifier {id}"),
                        ReservedFor::Circuit { circuit_id, remote_id } => format!(
                            "the port {circuit_id:?} of {remote_id:?}",
                            circuit_id = circuit_id.to_string(),
                            remote_id = remote_id.to_string()
                        ),
                    };
                    let what =
                        format!("a second reservation for {who}; the first is on line {}", source.line_of(first.start));
                    reader.wrong(client.span(), what, "a machine has one reservation in a scope: remove one");
                }
                None => _ = clients.insert(&client.value, client),
            }
        }
        let Some(address) = &reservation.address else { continue };
        match taken.get(&address.value) {
            Some(first) => {
                let what =
                    format!("{} is reserved twice; first on line {}", address.value, source.line_of(first.start));
                reader.wrong(address.span(), what, "give each machine its own address");
            }
            None => _ = taken.insert(address.value, address),
        }
        reserved_address(reader, source, scope, scopes, address);
    }
}

/// One reserved address against its scope and the others.
fn reserved_address(
    reader: &Reader<'_>,
    source: &Source<'_>,
    scope: &ScopeFacts,
    scopes: &[ScopeFacts],
    address: &At<Ipv4Addr>,
) {
    let Some(net) = scope.subnet.as_ref().map(|subnet| subnet.value).filter(|net| net.prefix_len() <= 30) else {
        return;
    };
    let hosts = hosts(net);
    let choices = format!("an address from {} to {}", hosts.first(), hosts.last());
    if scope.server_address.as_ref().is_some_and(|server| server.value == address.value) {
        return reader.wrong(address.span(), format!("{} is the server's own address", address.value), choices);
    }
    if net.contains(&address.value) {
        if !hosts.contains(address.value) {
            let what = format!("{} is the {} address of {net}", address.value, edge(net, address.value));
            reader.wrong(address.span(), what, choices);
        }
        return;
    }
    let holds = |other: &&ScopeFacts| {
        !std::ptr::eq(*other, scope)
            && other.subnet.as_ref().is_some_and(|subnet| subnet.value.contains(&address.value))
    };
    match scopes.iter().find(holds) {
        Some(other) => {
            let pool = other.pools.iter().find(|pool| pool.value.contains(address.value));
            let place = pool.map_or_else(
                || format!("the subnet of {}, line {}", other.title(), source.line_of(other.span.start)),
                |pool| format!("a pool of {}, line {}", other.title(), source.line_of(pool.start)),
            );
            let what = format!("the reserved address {} is outside the subnet {net} and inside {place}", address.value);
            reader.wrong(address.span(), what, format!("{choices}, or move the reservation there"));
        }
        None => reader.wrong(
            address.span(),
            format!("the reserved address {} is outside the subnet {net}", address.value),
            choices,
        ),
    }
}

/// The addresses that hosts may have.
fn hosts(net: Subnet) -> AddressRange {
    let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
    let inner = AddressRange::new(first.saturating_add(1).into(), last.saturating_sub(1).into());
    inner.unwrap_or_else(|| AddressRange::new(net.network(), net.broadcast()).expect("a network ends after it begins"))
}

fn edge(net: Subnet, address: Ipv4Addr) -> &'static str {
    if address == net.network() { "network" } else { "broadcast" }
}

/// The range without one of its addresses.
fn around(range: AddressRange, address: Ipv4Addr) -> String {
    let number = u32::from(address);
    let below = number.checked_sub(1).and_then(|last| AddressRange::new(range.first(), last.into()));
    let above = number.checked_add(1).and_then(|first| AddressRange::new(first.into(), range.last()));
    let parts: Vec<String> = [below, above].into_iter().flatten().map(|part| format!("\"{part}\"")).collect();
    if parts.is_empty() { "remove it".into() } else { format!("write {}", parts.join(", ")) }
}
