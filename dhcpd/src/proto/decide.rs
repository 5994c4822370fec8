//! [`decide`]: what to do about one message, as a pure function of the time, the message, its scope and what is known of its client (RFC 2131 §4.3).
//!
//! It claims no address and writes nothing: where an address must be claimed, the action lists the candidates in order and the store tries them.
//! Every outcome carries its reason. Follows the table of RFC 2131 §4.3.2 for the states of a DHCPREQUEST.

use std::net::Ipv4Addr;

use reveille_config::dhcpd::ScopeKind;

use super::reason::{ChosenBy, DropReason, NakReason};
use super::scope::Scope;
use super::time::UnixSecs;
use super::view::{MessageType, PacketView};

/// What the store knows of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientState {
    /// Its reservation's address.
    pub reserved: Option<Ipv4Addr>,
    /// Whether the reserved address is free for it: not in use by another client, not in quarantine.
    pub reserved_available: bool,
    /// Its binding, active or expired; not one that it gave back.
    pub binding: Option<Binding>,
    /// The address that is held for it since an offer.
    pub offered: Option<Ipv4Addr>,
    /// Whether the journal takes records: without it nothing new is promised (DESIGN.md, rule 3).
    pub accepting: bool,
}

/// A binding as the store remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The address.
    pub address: Ipv4Addr,
    /// How long it was promised for, seconds; `u32::MAX` is for ever.
    pub total_secs: u32,
    /// What is left of it, seconds, by whichever of the two clocks says less; 0 once it is over.
    pub remaining_secs: u32,
    /// Whether the record that holds this promise is on the disk.
    pub durable: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Drop(DropReason),
    /// Nothing, but remember that an unknown machine asked (static scope).
    Sight,
    /// Send a DHCPOFFER of the first candidate that can be held.
    Offer(Offer),
    /// Claim the address, write the binding, send the DHCPACK once it is durable.
    Bind(Bind),
    /// Send a DHCPACK that promises no more than the disk already does.
    Recall {
        /// The bound address.
        address: Ipv4Addr,
        /// What is left of the lease, seconds.
        remaining_secs: u32,
    },
    /// Send a DHCPNAK.
    Nak(NakReason),
    /// The client chose another server: let go of the address offered.
    Forget,
    /// The client gives this address back.
    Release(Ipv4Addr),
    /// The client found this address in use: quarantine.
    Decline(Ipv4Addr),
    /// Send a DHCPACK with options only.
    Inform,
}

/// A DHCPOFFER to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Addresses to try, best first.
    pub candidates: [Option<(Ipv4Addr, ChosenBy)>; 4],
    /// Whether any other address of the pools will do.
    pub from_pools: bool,
    /// The lease time to tell, seconds.
    pub lease_secs: u32,
}

/// A binding to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind {
    /// The address.
    pub address: Ipv4Addr,
    /// Which rule allows it.
    pub chosen_by: ChosenBy,
    /// The lease time, seconds.
    pub lease_secs: u32,
    /// When it ends.
    pub ends: UnixSecs,
}

/// Decides about one message. `packet` has been found to belong to `scope`, `client` is what is known of (`scope`, `chaddr`).
pub fn decide(now: UnixSecs, packet: &PacketView<'_>, scope: &Scope, client: &ClientState) -> Action {
    if scope.kind == ScopeKind::Static && client.reserved.is_none() {
        return match packet.message_type {
            MessageType::Discover | MessageType::Request | MessageType::Inform => Action::Sight,
            MessageType::Release | MessageType::Decline => Action::Drop(DropReason::UnknownMachine),
            MessageType::Bootp => Action::Drop(DropReason::NotDhcp),
            MessageType::LeaseQuery => Action::Drop(DropReason::NotARequestor),
        };
    }
    match packet.message_type {
        MessageType::Bootp => Action::Drop(DropReason::NotDhcp),
        MessageType::LeaseQuery => Action::Drop(DropReason::NotARequestor),
        MessageType::Discover => discover(packet, scope, client),
        MessageType::Request => request(now, packet, scope, client),
        MessageType::Release | MessageType::Decline if is_for_another_server(packet, scope) => {
            Action::Drop(DropReason::OtherServer)
        }
        MessageType::Release => match client.binding {
            Some(binding) if binding.address == packet.ciaddr() => Action::Release(binding.address),
            _ => Action::Drop(DropReason::NotTheClients),
        },
        MessageType::Decline => match packet.requested_address() {
            None => Action::Drop(DropReason::NoAddress),
            // Only its own address, or anybody could make the pools run dry.
            Some(address) if client.offered == Some(address) => Action::Decline(address),
            Some(address) if client.binding.is_some_and(|b| b.address == address) => Action::Decline(address),
            Some(_) => Action::Drop(DropReason::NotTheClients),
        },
        MessageType::Inform => {
            let ciaddr = packet.ciaddr();
            if ciaddr.is_unspecified() {
                Action::Drop(DropReason::NoAddress)
            } else if !scope.subnet.contains(&ciaddr) {
                Action::Drop(DropReason::OutsideSubnet)
            } else {
                Action::Inform
            }
        }
    }
}

fn is_for_another_server(packet: &PacketView<'_>, scope: &Scope) -> bool {
    packet.server_id().is_some_and(|id| id != scope.server_address)
}

/// The lease time for what the client asks, seconds.
fn lease_secs(packet: &PacketView<'_>, scope: &Scope) -> u32 {
    packet.lease_secs().map_or(scope.lease_secs, |asked| asked.clamp(scope.lease_secs_min, scope.lease_secs_max))
}

/// What is left, seconds, of a binding that may be answered from the disk: one early in its life, or any while nothing can be written.
fn remaining_on_disk(scope: &Scope, client: &ClientState, address: Ipv4Addr) -> Option<u32> {
    let binding = client.binding.filter(|b| b.address == address && b.durable && b.remaining_secs > 0)?;
    let used = u64::from(binding.total_secs.saturating_sub(binding.remaining_secs));
    let early = used * 100 <= u64::from(binding.total_secs) * u64::from(scope.cache_threshold_percent);
    let cached = scope.cache_threshold_percent > 0 && early;
    (cached || !client.accepting).then_some(binding.remaining_secs)
}

/// RFC 2131 §4.3.1. `ciaddr` is not looked at: ROMs leave rubbish there.
fn discover(packet: &PacketView<'_>, scope: &Scope, client: &ClientState) -> Action {
    let dynamic = scope.kind == ScopeKind::Dynamic;
    let reserved = client.reserved.filter(|_| client.reserved_available);
    if reserved.is_none() && !dynamic {
        return Action::Drop(DropReason::ReservationUnavailable);
    }
    let in_pools = |address: &Ipv4Addr| dynamic && scope.in_pools(*address);
    let candidates = [
        reserved.map(|address| (address, ChosenBy::Reservation)),
        client.binding.map(|binding| binding.address).filter(in_pools).map(|address| (address, ChosenBy::Binding)),
        client.offered.filter(in_pools).map(|address| (address, ChosenBy::Offer)),
        packet.requested_address().filter(in_pools).map(|address| (address, ChosenBy::Requested)),
    ];
    let best = candidates.iter().flatten().next();
    match best.and_then(|&(address, _)| remaining_on_disk(scope, client, address)) {
        // Promised already, so it is also the address that will be claimed.
        Some(remaining_secs) => Action::Offer(Offer { candidates, from_pools: false, lease_secs: remaining_secs }),
        None if !client.accepting => Action::Drop(DropReason::JournalRefusing),
        None => Action::Offer(Offer { candidates, from_pools: dynamic, lease_secs: lease_secs(packet, scope) }),
    }
}

/// The states of RFC 2131 §4.3.2 in which a client sends DHCPREQUEST. RENEWING and REBINDING differ only in where the reply goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestState {
    Selecting,
    InitReboot,
    Renewing,
}

fn request(now: UnixSecs, packet: &PacketView<'_>, scope: &Scope, client: &ClientState) -> Action {
    if is_for_another_server(packet, scope) {
        return Action::Forget;
    }
    let (ciaddr, asked) = (packet.ciaddr(), packet.requested_address());
    let known = client.offered.or(client.binding.map(|binding| binding.address));
    let (state, address) = match (packet.server_id(), asked) {
        _ if !ciaddr.is_unspecified() => (RequestState::Renewing, ciaddr),
        (Some(_), Some(asked)) => (RequestState::Selecting, asked),
        (None, Some(asked)) => (RequestState::InitReboot, asked),
        // Some clients name no address at all; they can only mean the one that they were offered.
        (_, None) => match known {
            Some(address) => (RequestState::Selecting, address),
            None => return Action::Drop(DropReason::NoAddress),
        },
    };
    let grant = |chosen_by| match remaining_on_disk(scope, client, address) {
        Some(remaining_secs) => Action::Recall { address, remaining_secs },
        None if !client.accepting => Action::Drop(DropReason::JournalRefusing),
        None => {
            let lease_secs = lease_secs(packet, scope);
            Action::Bind(Bind { address, chosen_by, lease_secs, ends: now.plus(lease_secs) })
        }
    };
    // Whoever chose this server wants an answer; to others it says only what it knows (RFC 2131 §4.3.2).
    let nak_if = |knows: bool, reason| {
        if knows || state == RequestState::Selecting { Action::Nak(reason) } else { Action::Drop(DropReason::NoRecord) }
    };
    let is_known = client.reserved.is_some() || client.binding.is_some();
    if !scope.subnet.contains(&address) {
        return nak_if(is_known || scope.authoritative, NakReason::WrongNetwork);
    }
    match client.reserved {
        Some(reserved) if client.reserved_available && reserved == address => return grant(ChosenBy::Reservation),
        Some(_) if client.reserved_available => return Action::Nak(NakReason::Reserved),
        Some(_) if scope.kind == ScopeKind::Static => return Action::Drop(DropReason::ReservationUnavailable),
        _ => {}
    }
    let bound = client.binding.is_some_and(|binding| binding.address == address);
    if bound || client.offered == Some(address) {
        return if scope.in_pools(address) {
            grant(if bound { ChosenBy::Binding } else { ChosenBy::Offer })
        } else {
            Action::Nak(NakReason::NotInPool)
        };
    }
    match state {
        // The offer was forgotten over a restart; if the address is still free, it is the client's.
        RequestState::Selecting if client.binding.is_none() && scope.in_pools(address) => grant(ChosenBy::Requested),
        RequestState::Selecting if client.binding.is_none() => Action::Nak(NakReason::NotInPool),
        _ => nak_if(client.binding.is_some(), NakReason::NotTheClients),
    }
}

#[cfg(test)]
mod tests;
