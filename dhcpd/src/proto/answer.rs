//! The way of a message from scope to reply as one pure function: [`scope_of`], [`decide()`](super::decide::decide), and [`preview`], which puts them together
//! for whoever asks offline what a client would be told and why. The packet path takes the same steps, with a table and a journal in between.
//!
//! What is absent: sockets, clocks, the table. Whoever asks says what is known of the client and which address is free.

use std::net::Ipv4Addr;

use super::class::{Facts, Membership};
use super::decide::{Action, ClientState, Commit, decide, lease_secs};
use super::reason::{ChosenBy, DropReason};
use super::reply::{Asker, Lease, Reply};
use super::rules::Rules;
use super::scope::{Reservation, Scope, Scopes, Way};
use super::time::UnixSecs;
use super::view::{MessageType, PacketView};

/// The scope that a message is for.
///
/// # Errors
/// [`DropReason::NoScope`], as data.
pub fn scope_of<'a>(
    scopes: &'a Scopes,
    interface: &str,
    packet: &PacketView<'_>,
    classes: &Membership,
) -> Result<&'a Scope, DropReason> {
    let ciaddr = match packet.message_type {
        // ROMs leave rubbish there.
        MessageType::Discover | MessageType::Bootp => Ipv4Addr::UNSPECIFIED,
        _ => packet.ciaddr(),
    };
    //= https://www.rfc-editor.org/rfc/rfc3527#section-3
    //# When this sub-option is present and the server supports this sub-option, the server MUST NOT offer an address that is not on the requested subnet or the link (network segment) with which that subnet is associated.
    //= https://www.rfc-editor.org/rfc/rfc3011#section-2
    //# When the DHCP server is configured to respond to this option, is allocating an address, and this option is present then the DHCP server MUST allocate the address on either:
    let selected = packet.selected_subnet();
    let ignores = |at| scopes.classes().get(at).and_then(|class| class.quirks.ignore_link_selection);
    let way = Way {
        giaddr: packet.giaddr(),
        ciaddr,
        selected,
        ignores_selection: selected.is_some() && classes.iter().find_map(ignores) == Some(true),
        circuit_id: packet.relay_agent().circuit_id(),
    };
    scopes.select(interface, way).ok_or(DropReason::NoScope)
}

/// A message, and what is known of who sent it.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// When.
    pub now: UnixSecs,
    /// What was sent.
    pub packet: &'a PacketView<'a>,
    /// From which UDP port.
    pub from_port: u16,
    /// On which interface it came in.
    pub interface: &'a str,
    /// What is known of the client.
    pub client: ClientState,
    /// Its reservation.
    pub reservation: Option<&'a Reservation>,
    /// An address that is free in the scope's pools.
    pub free: Option<Ipv4Addr>,
}

/// What a client would be told, and why.
#[derive(Debug)]
pub struct Preview<'a> {
    /// Who answers.
    pub scope: &'a Scope,
    /// What was decided.
    pub action: Action,
    /// The address that would be told.
    pub address: Option<(Ipv4Addr, ChosenBy)>,
    /// The reason's fixed word, as in metrics and events; empty where a message asks for nothing to choose.
    pub reason: &'static str,
    /// The reply, where there is one. It promises nothing: nobody holds the address.
    pub reply: Option<Reply>,
}

/// Says what the packet path would do about a message.
///
/// # Errors
/// No scope is for it.
pub fn preview<'a>(scopes: &'a Scopes, question: &Question<'_>) -> Result<Preview<'a>, DropReason> {
    let Question { now, packet, from_port, interface, client, reservation, free } = *question;
    let mut classes = Membership::none();
    scopes.classes().evaluate(Facts::of(packet), &mut classes);
    let scope = scope_of(scopes, interface, packet, &classes)?;
    let rules = Rules::new(scopes, scope, reservation, &classes);
    let action = decide(now, packet, &rules, &client);
    let asker = |rules| Asker { packet, from_port, called: client.called, rules };
    let buffer = Vec::new();
    let told = |address, secs| Lease { address, secs };
    let ack = |commit, lease: Lease| {
        let asker = asker(rules.at(lease.address));
        match commit {
            None => asker.ack(Vec::new(), lease).open(),
            Some(Commit::Rapid) => asker.rapid_ack(Vec::new(), lease).open(),
            Some(Commit::Bootp) => asker.bootp(Vec::new(), lease.address).open(),
        }
    };
    let (address, reason, reply) = match action {
        Action::Drop(reason) => (None, reason.as_str(), None),
        Action::Sight => (None, DropReason::UnknownMachine.as_str(), None),
        Action::Forget => (None, DropReason::OtherServer.as_str(), None),
        Action::Offer(offer) => {
            let from_pools = free.filter(|_| offer.from_pools).map(|address| (address, ChosenBy::Pool));
            match offer.candidates.iter().flatten().next().copied().or(from_pools) {
                Some((address, by)) => {
                    let secs = offer.remaining_secs.unwrap_or_else(|| lease_secs(packet, &rules.at(address)));
                    let reply = match offer.commit {
                        None => asker(rules.at(address)).offer(buffer, told(address, secs)),
                        Some(commit) => ack(Some(commit), told(address, secs)),
                    };
                    (Some((address, by)), by.as_str(), Some(reply))
                }
                None => (None, DropReason::PoolExhausted.as_str(), None),
            }
        }
        Action::Bind(bind) => {
            let reply = ack(None, told(bind.address, bind.lease_secs));
            (Some((bind.address, bind.chosen_by)), bind.chosen_by.as_str(), Some(reply))
        }
        Action::Recall { address, remaining_secs, commit } => {
            let by = ChosenBy::OnDisk;
            (Some((address, by)), by.as_str(), Some(ack(commit, told(address, remaining_secs))))
        }
        Action::Nak(reason) => (None, reason.as_str(), Some(asker(rules).nak(buffer, reason))),
        Action::Inform => (None, "", Some(asker(rules).inform(buffer))),
        Action::Release(_) | Action::Decline(_) => (None, "", None),
    };
    Ok(Preview { scope, action, address, reason, reply })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::{Packet, STRANGER, ip, scopes};

    /// Asks as a client of which nothing is known, while .105 is free.
    fn ask(scopes: &Scopes, packet: &Packet) -> Result<(&'static str, Option<Ipv4Addr>, bool), DropReason> {
        packet.view(|view| {
            let client = ClientState { accepting: true, ..ClientState::default() };
            let (now, free) = (UnixSecs(1_000_000), Some(ip(2, 105)));
            let question =
                Question { now, packet: view, from_port: 68, interface: "vp0", client, reservation: None, free };
            let preview = preview(scopes, &question)?;
            Ok((preview.reason, preview.address.map(|(address, _)| address), preview.reply.is_some()))
        })
    }

    #[test]
    fn the_core_answers_without_sockets_clocks_or_table() {
        let scopes = scopes(&[("lease_secs = 3600", "lease_secs = 3600\nrapid_commit = true\nbootp = true")]);
        let a = ip(2, 101);
        for (why, packet, expected) in [
            ("a free address", Packet::discover(STRANGER), ("pool", Some(ip(2, 105)), true)),
            ("the one asked for", Packet::discover(STRANGER).asks(a), ("requested", Some(a), true)),
            ("rapid commit", Packet::discover(STRANGER).option(80, &[]), ("pool", Some(ip(2, 105)), true)),
            ("BOOTP", Packet::bootp(STRANGER), ("pool", Some(ip(2, 105)), true)),
            ("takes an offer", Packet::select(STRANGER, ip(2, 1), a), ("requested", Some(a), true)),
            ("another server's", Packet::select(STRANGER, ip(2, 7), a), ("other-server", None, false)),
            ("the wrong network", Packet::request(STRANGER).asks(ip(9, 9)), ("wrong-network", None, true)),
            ("no record", Packet::request(STRANGER).asks(a), ("no-record", None, false)),
            ("options only", Packet::inform(STRANGER, a), ("", None, true)),
        ] {
            assert_eq!(ask(&scopes, &packet), Ok(expected), "{why}");
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc3527#section-3
    //= type=test
    //# When this sub-option is present and the server supports this sub-option, the server MUST NOT offer an address that is not on the requested subnet or the link (network segment) with which that subnet is associated.
    //= https://www.rfc-editor.org/rfc/rfc3011#section-2
    //= type=test
    //# When the DHCP server is configured to respond to this option, is allocating an address, and this option is present then the DHCP server MUST allocate the address on either:
    #[test]
    fn the_subnet_is_selected_by_relay_or_client() {
        let scopes = scopes(&[]);
        let relayed = Packet::discover(STRANGER).relayed_by(ip(9, 254));
        assert_eq!(ask(&scopes, &relayed), Err(DropReason::NoScope), "giaddr is on no served subnet");
        let by_relay = relayed.clone().option(82, &[5, 4, 10, 77, 2, 0]);
        assert_eq!(ask(&scopes, &by_relay).map(|told| told.0), Ok("pool"));
        let by_client = relayed.option(118, &[10, 77, 2, 0]);
        assert_eq!(ask(&scopes, &by_client).map(|told| told.0), Ok("pool"));
        let elsewhere = Packet::discover(STRANGER).relayed_by(ip(2, 254)).option(82, &[5, 4, 10, 77, 9, 0]);
        assert_eq!(ask(&scopes, &elsewhere), Err(DropReason::NoScope), "nothing is offered of another subnet");
    }
}
