use super::*;
use crate::proto::scope::Scopes;
use crate::proto::testing::{KNOWN_BMC, Packet, RESERVED, STRANGER, bmc, ip, prov, rules, scopes};

const NOW: UnixSecs = UnixSecs(1_000_000);
const SERVER: Ipv4Addr = ip(2, 1);
const NOTHING: ClientState = ClientState {
    reserved: None,
    reserved_available: false,
    binding: None,
    offered: None,
    called: None,
    accepting: true,
};

fn bound(address: Ipv4Addr, remaining_secs: u32) -> ClientState {
    ClientState {
        binding: Some(Binding { address, total_secs: 3_600, remaining_secs, durable: true, current: true }),
        ..NOTHING
    }
}

fn offered(address: Ipv4Addr) -> ClientState {
    ClientState { offered: Some(address), ..NOTHING }
}

fn reserved(address: Ipv4Addr) -> ClientState {
    ClientState { reserved: Some(address), reserved_available: true, ..NOTHING }
}

fn binds(address: Ipv4Addr, chosen_by: ChosenBy, lease_secs: u32) -> Action {
    Action::Bind(Bind { address, chosen_by, lease_secs, ends: NOW.plus(lease_secs) })
}

fn recall(address: Ipv4Addr, remaining_secs: u32) -> Action {
    Action::Recall { address, remaining_secs, commit: None }
}

/// One line of intent: in the dynamic scope, this packet of this client leads to that.
fn assert_action(why: &str, packet: Packet, client: ClientState, expected: Action) {
    assert_action_in(&scopes(&[]), why, packet, client, expected);
}

fn assert_action_in(scopes: &Scopes, why: &str, packet: Packet, client: ClientState, expected: Action) {
    let action = packet.view(|view| decide(NOW, view, &rules(scopes, prov(scopes)), &client));
    assert_eq!(action, expected, "{why}");
}

fn candidates(packet: Packet, client: ClientState) -> Vec<(Ipv4Addr, ChosenBy)> {
    let scopes = scopes(&[]);
    match packet.view(|view| decide(NOW, view, &rules(&scopes, prov(&scopes)), &client)) {
        Action::Offer(offer) => offer.candidates.into_iter().flatten().collect(),
        other => panic!("no offer: {other:?}"),
    }
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
//= type=test
//# If an address is available, the new address SHOULD be chosen as follows:
#[test]
fn discover_lists_addresses_best_first() {
    use ChosenBy::{Binding, Offer, Requested, Reservation};
    let (a, b, c, d) = (ip(2, 50), ip(2, 101), ip(2, 102), ip(2, 103));
    let asks = Packet::discover(STRANGER).asks(d);
    let everything = ClientState { offered: Some(c), ..bound(b, 0) };
    for (client, expected) in [
        (NOTHING, vec![(d, Requested)]),
        (offered(c), vec![(c, Offer), (d, Requested)]),
        (everything, vec![(b, Binding), (c, Offer), (d, Requested)]),
        (
            ClientState { reserved: Some(a), reserved_available: true, ..everything },
            vec![(a, Reservation), (b, Binding), (c, Offer), (d, Requested)],
        ),
        (ClientState { reserved: Some(a), ..everything }, vec![(b, Binding), (c, Offer), (d, Requested)]),
    ] {
        assert_eq!(candidates(asks.clone(), client), expected);
    }
    assert_eq!(candidates(Packet::discover(STRANGER).asks(ip(2, 9)), NOTHING), [], "outside the pools");
    assert_eq!(candidates(Packet::discover(STRANGER).at(12, &[10, 77, 2, 104]), NOTHING), [], "ciaddr is not trusted");
}

#[test]
fn the_lease_time_asked_for_is_kept_within_bounds() {
    for (asked, told) in
        [(None, 3_600), (Some(1_000u32), 1_000), (Some(1), 600), (Some(u32::MAX), 7_200), (Some(0), 600)]
    {
        let packet = Packet::discover(STRANGER);
        let packet = asked.map_or(packet.clone(), |asked| packet.option(51, &asked.to_be_bytes()));
        let scopes = scopes(&[]);
        packet.view(|view| assert_eq!(lease_secs(view, &rules(&scopes, prov(&scopes))), told, "{asked:?}"));
    }
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.2
//= type=test
//# If the DHCPREQUEST message contains a 'server identifier' option, the message is in response to a DHCPOFFER message.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.2
//= type=test
//# If the DHCP server has no record of this client, then it MUST remain silent, and MAY output a warning to the network administrator.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.2
//= type=test
//# Server SHOULD send a DHCPNAK message to the client if the 'requested IP address' is incorrect, or is on the wrong network.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
//= type=test
//# A server with multiple network addresses MUST be prepared to to accept any of its network addresses as identifying that server in a DHCP message.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.2
//= type=test
//# The DHCP server SHOULD check 'ciaddr' for correctness before replying to the DHCPREQUEST.
//= https://www.rfc-editor.org/rfc/rfc2131#section-3.5
//= type=test
//# If a server receives a DHCPREQUEST message with an invalid 'requested IP address', the server SHOULD respond to the client with a DHCPNAK message and may choose to report the problem to the system administrator.
//= https://www.rfc-editor.org/rfc/rfc2131#section-3.2
//= type=test
//# If the client's request is invalid (e.g., the client has moved to a new subnet), servers SHOULD respond with a DHCPNAK message to the client.
//= https://www.rfc-editor.org/rfc/rfc2131#section-3.2
//= type=test
//# For example, a server that identifies a request for an expired binding that is owned by another server SHOULD NOT respond with a DHCPNAK unless the servers are using an explicit mechanism to maintain coherency among the servers.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.2
//= type=test
//# If the DHCP server detects that the client is on the wrong net (i.e., the result of applying the local subnet mask or remote subnet mask (if 'giaddr' is not zero) to 'requested IP address' option value doesn't match reality), then the server SHOULD send a DHCPNAK message to the client.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.2
//= type=test
//# If not, then the server SHOULD send a DHCPNAK message to the client.
#[test]
fn requests_follow_the_table_of_rfc_2131_section_4_3_2() {
    use Action::{Drop, Forget, Nak};
    use ChosenBy::{Binding, Offer, Requested, Reservation};
    use NakReason::{NotInPool, NotTheClients, Reserved, WrongNetwork};
    let (a, b) = (ip(2, 101), ip(2, 102));
    let elsewhere = Ipv4Addr::new(192, 168, 0, 9);
    let select = |address| Packet::select(STRANGER, SERVER, address);
    let reboot = |address| Packet::request(STRANGER).asks(address);
    let renew = |address| Packet::renew(STRANGER, address);
    for (why, packet, client, expected) in [
        // SELECTING
        ("takes the offer", select(a), offered(a), binds(a, Offer, 3_600)),
        ("the offer is forgotten, the address may be free", select(a), NOTHING, binds(a, Requested, 3_600)),
        ("wants what was not offered", select(b), bound(a, 100), Nak(NotTheClients)),
        ("wants what is in no pool", select(ip(2, 9)), NOTHING, Nak(NotInPool)),
        ("wants another network's", select(elsewhere), NOTHING, Nak(WrongNetwork)),
        ("chose another server", Packet::select(STRANGER, ip(2, 7), a), offered(a), Forget),
        (
            "names no address, was offered one",
            Packet::request(STRANGER).server(SERVER),
            offered(a),
            binds(a, Offer, 3_600),
        ),
        ("names nothing at all", Packet::request(STRANGER), NOTHING, Drop(DropReason::NoAddress)),
        // INIT-REBOOT
        ("its own, late in the lease", reboot(a), bound(a, 100), binds(a, Binding, 3_600)),
        ("its own, expired but not given away", reboot(a), bound(a, 0), binds(a, Binding, 3_600)),
        ("another's", reboot(b), bound(a, 100), Nak(NotTheClients)),
        ("nothing is known of it: silence", reboot(a), NOTHING, Drop(DropReason::NoRecord)),
        ("moved from another network, we are authoritative", reboot(elsewhere), NOTHING, Nak(WrongNetwork)),
        // RENEWING and REBINDING
        ("renews late", renew(a), bound(a, 1_000), binds(a, Binding, 3_600)),
        ("renews another's", renew(b), bound(a, 1_000), Nak(NotTheClients)),
        ("renews what is not known", renew(a), NOTHING, Drop(DropReason::NoRecord)),
        (
            "chose us by another of our addresses",
            Packet::select(STRANGER, ip(1, 1), a),
            offered(a),
            binds(a, Offer, 3_600),
        ),
        ("chose us, with rubbish in ciaddr", select(a).at(12, &[10, 77, 2, 109]), offered(a), binds(a, Offer, 3_600)),
        ("renews late, naming us", renew(a).server(SERVER), bound(a, 1_000), binds(a, Binding, 3_600)),
        ("renews, naming another server", renew(a).server(ip(2, 7)), bound(a, 1_000), Forget),
        // Reservations
        ("takes its reserved address", select(ip(2, 50)), reserved(ip(2, 50)), binds(ip(2, 50), Reservation, 3_600)),
        (
            "must move to its reserved address",
            renew(a),
            ClientState { binding: bound(a, 1_000).binding, ..reserved(ip(2, 50)) },
            Nak(Reserved),
        ),
        (
            "may stay while its reserved address is in use",
            renew(a),
            ClientState { reserved: Some(ip(2, 50)), ..bound(a, 1_000) },
            binds(a, Binding, 3_600),
        ),
    ] {
        assert_action(why, packet, client, expected);
    }
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-3.2
//= type=test
//# Servers SHOULD NOT respond if their information is not guaranteed to be accurate.
#[test]
fn without_authority_nobody_unknown_is_refused() {
    let humble = scopes(&[("authoritative = true", "authoritative = false")]);
    let elsewhere = Ipv4Addr::new(192, 168, 0, 9);
    let reboot = Packet::request(STRANGER).asks(elsewhere);
    assert_action_in(&humble, "unknown", reboot.clone(), NOTHING, Action::Drop(DropReason::NoRecord));
    assert_action_in(&humble, "known", reboot, bound(ip(2, 101), 9), Action::Nak(NakReason::WrongNetwork));
    let chose_us = Packet::select(STRANGER, SERVER, elsewhere);
    assert_action_in(&humble, "chose us", chose_us, NOTHING, Action::Nak(NakReason::WrongNetwork));
}

#[test]
fn early_renewals_are_told_the_remaining_time() {
    let a = ip(2, 101);
    let renew = Packet::renew(STRANGER, a);
    for (remaining_secs, expected) in
        [(3_600, recall(a, 3_600)), (2_700, recall(a, 2_700)), (2_699, binds(a, ChosenBy::Binding, 3_600))]
    {
        assert_action("25 per cent", renew.clone(), bound(a, remaining_secs), expected);
    }
    let mut pending = bound(a, 3_600);
    pending.binding.as_mut().unwrap().durable = false;
    assert_action("its record is not on disk yet", renew.clone(), pending, binds(a, ChosenBy::Binding, 3_600));
    let mut renamed = bound(a, 3_600);
    renamed.binding.as_mut().unwrap().current = false;
    assert_action("it has another name than its record", renew.clone(), renamed, binds(a, ChosenBy::Binding, 3_600));
    let renamed = ClientState { accepting: false, ..renamed };
    assert_action("which cannot be written now", renew.clone(), renamed, recall(a, 3_600));
    let off = scopes(&[("lease_secs = 3600", "lease_secs = 3600\ncache_threshold_percent = 0")]);
    assert_action_in(&off, "turned off", renew, bound(a, 3_600), binds(a, ChosenBy::Binding, 3_600));
}

#[test]
fn while_the_journal_refuses_only_what_is_on_disk_is_promised() {
    let a = ip(2, 101);
    let refusing = |client: ClientState| ClientState { accepting: false, ..client };
    let silent = Action::Drop(DropReason::JournalRefusing);
    let recall = recall(a, 10);
    for (why, packet, client, expected) in [
        ("no offers", Packet::discover(STRANGER), NOTHING, silent),
        ("no new bindings", Packet::select(STRANGER, SERVER, a), offered(a), silent),
        ("no revival", Packet::renew(STRANGER, a), bound(a, 0), silent),
        ("what is left is still told", Packet::renew(STRANGER, a), bound(a, 10), recall),
        ("also to a machine that reboots", Packet::request(STRANGER).asks(a), bound(a, 10), recall),
    ] {
        assert_action(why, packet, refusing(client), expected);
    }
    let rebooted = Packet::discover(STRANGER);
    let scopes = scopes(&[]);
    match rebooted.view(|view| decide(NOW, view, &rules(&scopes, prov(&scopes)), &refusing(bound(a, 10)))) {
        Action::Offer(offer) => {
            assert_eq!(offer.candidates[1], Some((a, ChosenBy::Binding)));
            assert_eq!((offer.remaining_secs, offer.from_pools), (Some(10), false));
        }
        other => panic!("{other:?}"),
    }
}

/// RFC 5107: what a relay calls this server is this server.
#[test]
fn a_server_id_that_the_relay_gave_is_ours() {
    let a = ip(2, 101);
    let relay = ip(2, 254);
    let told = |packet: Packet| packet.relayed_by(relay).option(82, &[11, 4, 10, 77, 2, 254]);
    let chose = Packet::select(STRANGER, relay, a);
    assert_action("through the relay", told(chose.clone()), offered(a), binds(a, ChosenBy::Offer, 3_600));
    assert_action("another relay's word", told(Packet::select(STRANGER, ip(2, 253), a)), offered(a), Action::Forget);
    let unrelayed = chose.option(82, &[11, 4, 10, 77, 2, 254]);
    assert_action("without a relay it is nobody's word", unrelayed, offered(a), Action::Forget);
    // Who was told so and comes past the relay.
    let told_before = ClientState { called: Some(relay), ..bound(a, 1_000) };
    let renews = |server| Packet::renew(STRANGER, a).server(server);
    for (why, packet, expected) in [
        ("renews, naming what it was told", renews(relay), binds(a, ChosenBy::Binding, 3_600)),
        ("renews, naming another", renews(ip(2, 253)), Action::Forget),
        ("gives back, naming what it was told", Packet::release(STRANGER, a).server(relay), Action::Release(a)),
        (
            "gives back, naming another",
            Packet::release(STRANGER, a).server(ip(2, 253)),
            Action::Drop(DropReason::OtherServer),
        ),
        (
            "the relay names another now",
            renews(relay).relayed_by(relay).option(82, &[11, 4, 10, 77, 2, 253]),
            Action::Forget,
        ),
    ] {
        assert_action(why, packet, told_before, expected);
    }
}

//= https://www.rfc-editor.org/rfc/rfc1534#section-2
//= type=test
//# If a DHCP server that is not configured to support BOOTP clients receives a BOOTREQUEST message from a BOOTP client, that server silently discards the BOOTREQUEST message.
//= https://www.rfc-editor.org/rfc/rfc1534#section-2
//= type=test
//# Thus the DHCP server must assign an infinite lease duration to for automatic addresses assigned to BOOTP clients.
//= https://www.rfc-editor.org/rfc/rfc1534#section-2
//= type=test
//# MUST default this optional configuration to OFF
//= https://www.rfc-editor.org/rfc/rfc1534#section-2
//= type=test
//# MUST provide a configuration switch if returning automatic addresses to BOOTP clients,
#[test]
fn bootp_clients_are_bound_at_once_and_for_ever_where_that_is_configured() {
    let (silent, serving) = (scopes(&[]), scopes(&[("lease_secs = 3600", "lease_secs = 3600\nbootp = true")]));
    let a = ip(2, 101);
    let asks = Packet::bootp(STRANGER);
    assert_action_in(&silent, "not configured", asks.clone(), NOTHING, Action::Drop(DropReason::NotDhcp));
    assert_action_in(&silent, "though reserved", asks.clone(), reserved(a), Action::Drop(DropReason::NotDhcp));
    let chosen = |client| {
        Action::Offer(Offer { candidates: client, from_pools: true, remaining_secs: None, commit: Some(Commit::Bootp) })
    };
    assert_action_in(&serving, "anybody", asks.clone(), NOTHING, chosen([None; 4]));
    let mine = [None, Some((a, ChosenBy::Binding)), None, None];
    assert_action_in(&serving, "early in a lease that ends", asks.clone(), bound(a, 3_600), chosen(mine));
    let forever = ClientState {
        binding: Some(Binding {
            address: a,
            total_secs: u32::MAX,
            remaining_secs: u32::MAX,
            durable: true,
            current: true,
        }),
        ..NOTHING
    };
    let again = Action::Recall { address: a, remaining_secs: u32::MAX, commit: Some(Commit::Bootp) };
    assert_action_in(&serving, "once more", asks.clone(), forever, again);
    let refusing = ClientState { accepting: false, ..bound(a, 3_600) };
    let silence = Action::Drop(DropReason::JournalRefusing);
    assert_action_in(&serving, "what is on disk ends, so it is not told", asks.clone(), refusing, silence);
    asks.view(|view| assert_eq!(lease_secs(view, &rules(&serving, prov(&serving))), u32::MAX));
}

#[test]
fn rapid_commit_takes_the_scopes_and_the_clients_word() {
    let rapid = scopes(&[("lease_secs = 3600", "lease_secs = 3600\nrapid_commit = true")]);
    let a = ip(2, 101);
    let asks = Packet::discover(STRANGER).asks(a).option(80, &[]);
    let chosen = |commit| {
        let candidates = [None, None, None, Some((a, ChosenBy::Requested))];
        Action::Offer(Offer { candidates, from_pools: true, remaining_secs: None, commit })
    };
    assert_action_in(&rapid, "both", asks.clone(), NOTHING, chosen(Some(Commit::Rapid)));
    assert_action_in(&rapid, "not the client", Packet::discover(STRANGER).asks(a), NOTHING, chosen(None));
    assert_action_in(&scopes(&[]), "not the scope", asks.clone(), NOTHING, chosen(None));
    let recall = Action::Recall { address: a, remaining_secs: 3_000, commit: Some(Commit::Rapid) };
    assert_action_in(&rapid, "already on disk", asks.clone(), bound(a, 3_000), recall);
    let refusing = ClientState { accepting: false, ..NOTHING };
    assert_action_in(
        &rapid,
        "nothing new while the disk refuses",
        asks,
        refusing,
        Action::Drop(DropReason::JournalRefusing),
    );
}

/// `secs` arrives in either byte order: nothing depends on it.
#[test]
fn secs_changes_nothing() {
    let scopes = scopes(&[]);
    let act = |secs: [u8; 2]| {
        let packet = Packet::discover(STRANGER).at(8, &secs);
        packet.view(|view| decide(NOW, view, &rules(&scopes, prov(&scopes)), &NOTHING))
    };
    assert!([[0, 0], [0, 9], [9, 0], [255, 255]].into_iter().all(|secs| act(secs) == act([0, 0])));
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.3
//= type=test
//# The server MUST mark the network address as not available and SHOULD notify the local system administrator of a possible configuration problem.
//= https://www.rfc-editor.org/rfc/rfc2131#section-3.4
//= type=test
//# The server SHOULD check the network address in a DHCPINFORM message for consistency, but MUST NOT check for an existing lease.
#[test]
fn release_decline_and_inform() {
    use Action::{Decline, Drop, Inform, Release};
    let (a, b) = (ip(2, 101), ip(2, 102));
    for (why, packet, client, expected) in [
        ("gives its own back", Packet::release(STRANGER, a), bound(a, 9), Release(a)),
        ("gives its own back, names us", Packet::release(STRANGER, a).server(SERVER), bound(a, 9), Release(a)),
        ("gives another's back", Packet::release(STRANGER, b), bound(a, 9), Drop(DropReason::NotTheClients)),
        (
            "gives back at another server",
            Packet::release(STRANGER, a).server(ip(2, 7)),
            bound(a, 9),
            Drop(DropReason::OtherServer),
        ),
        ("declines what it was bound to", Packet::decline(STRANGER, a), bound(a, 9), Decline(a)),
        ("declines what it was offered", Packet::decline(STRANGER, a), offered(a), Decline(a)),
        ("declines another's", Packet::decline(STRANGER, b), bound(a, 9), Drop(DropReason::NotTheClients)),
        ("declines nothing", Packet::new(4, STRANGER), bound(a, 9), Drop(DropReason::NoAddress)),
        ("asks for options", Packet::inform(STRANGER, ip(2, 200)), NOTHING, Inform),
        (
            "asks for options from elsewhere",
            Packet::inform(STRANGER, ip(9, 9)),
            NOTHING,
            Drop(DropReason::OutsideSubnet),
        ),
        ("asks for options from nowhere", Packet::new(8, STRANGER), NOTHING, Drop(DropReason::NoAddress)),
    ] {
        assert_action(why, packet, client, expected);
    }
}

#[test]
fn a_static_scope_answers_only_machines_it_knows() {
    let scopes = scopes(&[]);
    let act = |packet: Packet, client| packet.view(|view| decide(NOW, view, &rules(&scopes, bmc(&scopes)), &client));
    let known = reserved(ip(1, 10));
    for packet in [
        Packet::discover(STRANGER),
        Packet::select(STRANGER, ip(1, 1), ip(1, 100)),
        Packet::request(STRANGER).asks(ip(9, 9)),
        Packet::renew(STRANGER, ip(1, 100)),
        Packet::inform(STRANGER, ip(1, 100)),
    ] {
        assert_eq!(act(packet, NOTHING), Action::Sight);
    }
    assert_eq!(act(Packet::release(STRANGER, ip(1, 100)), NOTHING), Action::Drop(DropReason::UnknownMachine));
    match act(Packet::discover(KNOWN_BMC).asks(ip(1, 100)), known) {
        Action::Offer(offer) => {
            let listed: Vec<_> = offer.candidates.into_iter().flatten().collect();
            assert_eq!((listed, offer.from_pools), (vec![(ip(1, 10), ChosenBy::Reservation)], false));
        }
        other => panic!("{other:?}"),
    }
    let taken = ClientState { reserved_available: false, ..known };
    assert_eq!(act(Packet::discover(KNOWN_BMC), taken), Action::Drop(DropReason::ReservationUnavailable));
    assert_eq!(act(Packet::request(KNOWN_BMC).asks(ip(1, 100)), known), Action::Nak(NakReason::Reserved));
    assert_eq!(act(Packet::request(RESERVED).asks(ip(9, 9)), known), Action::Nak(NakReason::WrongNetwork));
}
