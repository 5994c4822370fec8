//! [`decide`]: what to do about one message, as a pure function of the time, the message, its scope and what is known of its client (RFC 2131 §4.3).
//!
//! It claims no address and writes nothing: where an address must be claimed, the action lists the candidates in order and the store tries them.
//! Every outcome carries its reason. Follows the table of RFC 2131 §4.3.2 for the states of a DHCPREQUEST.

use std::net::Ipv4Addr;

use reveille_config::dhcpd::ScopeKind;

use super::reason::{ChosenBy, DropReason, NakReason};
use super::rules::Rules;
use super::scope::Scope;
use super::time::UnixSecs;
use super::view::{MessageType, PacketView, code};

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
    /// What the relay agent that brought the client's last message calls this server towards it (RFC 5107).
    pub called: Option<Ipv4Addr>,
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
    /// Whether that record has the client identifier and the host name that the client gives now.
    pub current: bool,
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
        /// In what form, where the client sent no DHCPREQUEST.
        commit: Option<Commit>,
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

/// An address to choose, and to offer or bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Addresses to try, best first.
    pub candidates: [Option<(Ipv4Addr, ChosenBy)>; 4],
    /// Whether any other address of the pools will do.
    pub from_pools: bool,
    /// What the disk still promises of the first candidate, which is what is told then; `None`: tell [`lease_secs`] of the address's scope.
    pub remaining_secs: Option<u32>,
    /// Whether the address is bound at once instead of offered.
    pub commit: Option<Commit>,
}

/// How an address is bound without a DHCPREQUEST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// The client asked for it with option 80 (RFC 4039): a DHCPACK.
    Rapid,
    /// The client speaks BOOTP (RFC 1534): a BOOTREPLY, and the address for ever.
    Bootp,
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

/// Decides about one message. `packet` has been found to belong to the scope of `rules`, `client` is what is known of who sent it.
pub fn decide(now: UnixSecs, packet: &PacketView<'_>, rules: &Rules<'_>, client: &ClientState) -> Action {
    let scope = rules.scope;
    //= https://www.rfc-editor.org/rfc/rfc1534#section-2
    //# If a DHCP server that is not configured to support BOOTP clients receives a BOOTREQUEST message from a BOOTP client, that server silently discards the BOOTREQUEST message.
    if packet.message_type == MessageType::Bootp && !scope.bootp {
        return Action::Drop(DropReason::NotDhcp);
    }
    if scope.kind == ScopeKind::Static && client.reserved.is_none() {
        return match packet.message_type {
            MessageType::Release | MessageType::Decline => Action::Drop(DropReason::UnknownMachine),
            _ => Action::Sight,
        };
    }
    match packet.message_type {
        MessageType::Discover | MessageType::Bootp => discover(packet, rules, client),
        MessageType::Request => request(now, packet, rules, client),
        MessageType::Release | MessageType::Decline if is_for_another_server(packet, rules, client) => {
            Action::Drop(DropReason::OtherServer)
        }
        MessageType::Release => match client.binding {
            //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.4
            //# Upon receipt of a DHCPRELEASE message, the server marks the network address as not allocated.
            Some(binding) if binding.address == packet.ciaddr() => Action::Release(binding.address),
            _ => Action::Drop(DropReason::NotTheClients),
        },
        MessageType::Decline => match packet.requested_address() {
            None => Action::Drop(DropReason::NoAddress),
            //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.3
            //# The server MUST mark the network address as not available and SHOULD notify the local system administrator of a possible configuration problem.
            // Only its own address, or anybody could make the pools run dry.
            Some(address) if client.offered == Some(address) => Action::Decline(address),
            Some(address) if client.binding.is_some_and(|b| b.address == address) => Action::Decline(address),
            Some(_) => Action::Drop(DropReason::NotTheClients),
        },
        MessageType::Inform => {
            //= https://www.rfc-editor.org/rfc/rfc2131#section-3.4
            //# The server SHOULD check the network address in a DHCPINFORM message for consistency, but MUST NOT check for an existing lease.
            let ciaddr = packet.ciaddr();
            if ciaddr.is_unspecified() {
                Action::Drop(DropReason::NoAddress)
            } else if rules.scope_of(ciaddr).is_none() {
                Action::Drop(DropReason::OutsideSubnet)
            } else {
                Action::Inform
            }
        }
        // Answered before it comes here, or not at all: it is no client's.
        MessageType::LeaseQuery => Action::Drop(DropReason::NotARequestor),
    }
}

/// Whether the client speaks to another server: not to any address of this one, nor to what a relay calls it (RFC 5107), which a client that is past its relay was told before.
fn is_for_another_server(packet: &PacketView<'_>, rules: &Rules<'_>, client: &ClientState) -> bool {
    //= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
    //# A server with multiple network addresses MUST be prepared to to accept any of its network addresses as identifying that server in a DHCP message.
    packet.server_id().is_some_and(|id| {
        id != rules.scope.server_address
            && packet.server_id_override().or(client.called) != Some(id)
            && rules.scopes.of_address(id).is_none_or(|scope| scope.server_address != id)
    })
}

/// The lease time for what the client asks, seconds.
pub fn lease_secs(packet: &PacketView<'_>, rules: &Rules<'_>) -> u32 {
    if packet.message_type == MessageType::Bootp {
        //= https://www.rfc-editor.org/rfc/rfc1534#section-2
        //# Thus the DHCP server must assign an infinite lease duration to for automatic addresses assigned to BOOTP clients.
        return u32::MAX;
    }
    rules.lease_secs(packet.lease_secs())
}

/// What is left, seconds, of a binding that may be answered from the disk: one early in its life, or any while nothing can be written.
fn remaining_on_disk(scope: &Scope, client: &ClientState, address: Ipv4Addr) -> Option<u32> {
    let binding = client.binding.filter(|b| b.address == address && b.durable && b.remaining_secs > 0)?;
    let used = u64::from(binding.total_secs.saturating_sub(binding.remaining_secs));
    let early = used * 100 <= u64::from(binding.total_secs) * u64::from(scope.cache_threshold_percent);
    // A name or an identifier that has changed is written, for the API and for lease queries.
    let cached = scope.cache_threshold_percent > 0 && early && binding.current;
    (cached || !client.accepting).then_some(binding.remaining_secs)
}

/// RFC 2131 §4.3.1. `ciaddr` is not looked at: ROMs leave rubbish there.
fn discover(packet: &PacketView<'_>, rules: &Rules<'_>, client: &ClientState) -> Action {
    let scope = rules.scope;
    let dynamic = scope.kind == ScopeKind::Dynamic;
    let reserved = client.reserved.filter(|_| client.reserved_available);
    if reserved.is_none() && !dynamic {
        return Action::Drop(DropReason::ReservationUnavailable);
    }
    let commit = match packet.message_type {
        MessageType::Bootp => Some(Commit::Bootp),
        _ if scope.rapid_commit && packet.option(code::RAPID_COMMIT).is_some() => Some(Commit::Rapid),
        _ => None,
    };
    let in_pools = |address: &Ipv4Addr| rules.in_pools(*address);
    //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
    //# If an address is available, the new address SHOULD be chosen as follows:
    let candidates = [
        reserved.map(|address| (address, ChosenBy::Reservation)),
        client.binding.map(|binding| binding.address).filter(in_pools).map(|address| (address, ChosenBy::Binding)),
        client.offered.filter(in_pools).map(|address| (address, ChosenBy::Offer)),
        packet.requested_address().filter(in_pools).map(|address| (address, ChosenBy::Requested)),
    ];
    let best = candidates.iter().flatten().next().map(|&(address, _)| address);
    let on_disk = best.and_then(|address| Some((address, remaining_on_disk(scope, client, address)?)));
    match (on_disk, commit) {
        // A BOOTP client takes whatever it is told for ever.
        (Some((address, remaining_secs)), Some(commit)) if commit == Commit::Rapid || remaining_secs == u32::MAX => {
            Action::Recall { address, remaining_secs, commit: Some(commit) }
        }
        // Promised already, so it is also the address that will be claimed.
        (Some((_, remaining_secs)), None) => {
            Action::Offer(Offer { candidates, from_pools: false, remaining_secs: Some(remaining_secs), commit: None })
        }
        _ if !client.accepting => Action::Drop(DropReason::JournalRefusing),
        _ => Action::Offer(Offer { candidates, from_pools: dynamic, remaining_secs: None, commit }),
    }
}

/// The states (RFC 2131 §4.3.2) in which a client sends DHCPREQUEST. RENEWING and REBINDING differ only in where the reply goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestState {
    Selecting,
    InitReboot,
    Renewing,
}

fn request(now: UnixSecs, packet: &PacketView<'_>, rules: &Rules<'_>, client: &ClientState) -> Action {
    if is_for_another_server(packet, rules, client) {
        return Action::Forget;
    }
    let scope = rules.scope;
    let (ciaddr, asked) = (packet.ciaddr(), packet.requested_address());
    let known = client.offered.or(client.binding.map(|binding| binding.address));
    let (state, address) = match (packet.server_id(), asked) {
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.2
        //# If the DHCPREQUEST message contains a 'server identifier' option, the message is in response to a DHCPOFFER message.
        (Some(_), Some(asked)) => (RequestState::Selecting, asked),
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.2
        //# The DHCP server SHOULD check 'ciaddr' for correctness before replying to the DHCPREQUEST.
        // Some clients name the server also when they renew.
        _ if !ciaddr.is_unspecified() => (RequestState::Renewing, ciaddr),
        (None, Some(asked)) => (RequestState::InitReboot, asked),
        // Some clients name no address at all; they can only mean the one that they were offered.
        (_, None) => match known {
            Some(address) => (RequestState::Selecting, address),
            None => return Action::Drop(DropReason::NoAddress),
        },
    };
    let grant = |chosen_by| match remaining_on_disk(scope, client, address) {
        Some(remaining_secs) => Action::Recall { address, remaining_secs, commit: None },
        None if !client.accepting => Action::Drop(DropReason::JournalRefusing),
        None => {
            let lease_secs = lease_secs(packet, &rules.at(address));
            Action::Bind(Bind { address, chosen_by, lease_secs, ends: now.plus(lease_secs) })
        }
    };
    //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.2
    //# If the DHCP server has no record of this client, then it MUST remain silent, and MAY output a warning to the network administrator.
    // Whoever chose this server wants an answer; to others it says only what it knows.
    //= https://www.rfc-editor.org/rfc/rfc2131#section-3.5
    //# If a server receives a DHCPREQUEST message with an invalid 'requested IP address', the server SHOULD respond to the client with a DHCPNAK message and may choose to report the problem to the system administrator.
    //= https://www.rfc-editor.org/rfc/rfc2131#section-3.1
    //# If the selected server is unable to satisfy the DHCPREQUEST message (e.g., the requested network address has been allocated), the server SHOULD respond with a DHCPNAK message.
    //= https://www.rfc-editor.org/rfc/rfc2131#section-3.2
    //# Servers SHOULD NOT respond if their information is not guaranteed to be accurate.
    let nak_if = |knows: bool, reason| {
        if knows || state == RequestState::Selecting { Action::Nak(reason) } else { Action::Drop(DropReason::NoRecord) }
    };
    let is_known = client.reserved.is_some() || client.binding.is_some();
    if rules.scope_of(address).is_none() {
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.2
        //# Server SHOULD send a DHCPNAK message to the client if the 'requested IP address' is incorrect, or is on the wrong network.
        //= https://www.rfc-editor.org/rfc/rfc2131#section-3.2
        //# If the client's request is invalid (e.g., the client has moved to a new subnet), servers SHOULD respond with a DHCPNAK message to the client.
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.2
        //# If the DHCP server detects that the client is on the wrong net (i.e., the result of applying the local subnet mask or remote subnet mask (if 'giaddr' is not zero) to 'requested IP address' option value doesn't match reality), then the server SHOULD send a DHCPNAK message to the client.
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
        return if rules.in_pools(address) {
            grant(if bound { ChosenBy::Binding } else { ChosenBy::Offer })
        } else {
            Action::Nak(NakReason::NotInPool)
        };
    }
    match state {
        // The offer was forgotten over a restart; if the address is still free, it is the client's.
        RequestState::Selecting if client.binding.is_none() && rules.in_pools(address) => grant(ChosenBy::Requested),
        RequestState::Selecting if client.binding.is_none() => Action::Nak(NakReason::NotInPool),
        //= https://www.rfc-editor.org/rfc/rfc2131#section-3.2
        //# For example, a server that identifies a request for an expired binding that is owned by another server SHOULD NOT respond with a DHCPNAK unless the servers are using an explicit mechanism to maintain coherency among the servers.
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.2
        //# If not, then the server SHOULD send a DHCPNAK message to the client.
        _ => nak_if(client.binding.is_some(), NakReason::NotTheClients),
    }
}

#[cfg(test)]
mod tests;
