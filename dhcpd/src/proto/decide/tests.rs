use super::*;
use crate::proto::scope::Scopes;
use crate::proto::testing::{KNOWN_BMC, Packet, RESERVED, STRANGER, bmc, ip, prov, scopes};

const NOW: UnixSecs = UnixSecs(1_000_000);
const SERVER: Ipv4Addr = ip(2, 1);
const NOTHING: ClientState =
    ClientState { reserved: None, reserved_available: false, binding: None, offered: None, accepting: true };

fn bound(address: Ipv4Addr, remaining_secs: u32) -> ClientState {
    ClientState { binding: Some(Binding { address, total_secs: 3_600, remaining_secs, durable: true }), ..NOTHING }
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

/// One line of intent: in the dynamic scope, this packet of this client leads to that.
fn assert_action(why: &str, packet: Packet, client: ClientState, expected: Action) {
    assert_action_in(&scopes(&[]), why, packet, client, expected);
}

fn assert_action_in(scopes: &Scopes, why: &str, packet: Packet, client: ClientState, expected: Action) {
    let action = packet.view(|view| decide(NOW, view, prov(scopes), &client));
    assert_eq!(action, expected, "{why}");
}

fn candidates(packet: Packet, client: ClientState) -> Vec<(Ipv4Addr, ChosenBy)> {
    let scopes = scopes(&[]);
    match packet.view(|view| decide(NOW, view, prov(&scopes), &client)) {
        Action::Offer(offer) => offer.candidates.into_iter().flatten().collect(),
        other => panic!("no offer: {other:?}"),
    }
}

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
        match packet.view(|view| decide(NOW, view, prov(&scopes), &NOTHING)) {
            Action::Offer(offer) => assert_eq!(offer.lease_secs, told, "{asked:?}"),
            other => panic!("no offer: {other:?}"),
        }
    }
}

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
    for (remaining_secs, expected) in [
        (3_600, Action::Recall { address: a, remaining_secs: 3_600 }),
        (2_700, Action::Recall { address: a, remaining_secs: 2_700 }),
        (2_699, binds(a, ChosenBy::Binding, 3_600)),
    ] {
        assert_action("25 per cent", renew.clone(), bound(a, remaining_secs), expected);
    }
    let mut pending = bound(a, 3_600);
    pending.binding.as_mut().unwrap().durable = false;
    assert_action("its record is not on disk yet", renew.clone(), pending, binds(a, ChosenBy::Binding, 3_600));
    let off = scopes(&[("lease_secs = 3600", "lease_secs = 3600\ncache_threshold_percent = 0")]);
    assert_action_in(&off, "turned off", renew, bound(a, 3_600), binds(a, ChosenBy::Binding, 3_600));
}

#[test]
fn while_the_journal_refuses_only_what_is_on_disk_is_promised() {
    let a = ip(2, 101);
    let refusing = |client: ClientState| ClientState { accepting: false, ..client };
    let silent = Action::Drop(DropReason::JournalRefusing);
    let recall = Action::Recall { address: a, remaining_secs: 10 };
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
    match rebooted.view(|view| decide(NOW, view, prov(&scopes), &refusing(bound(a, 10)))) {
        Action::Offer(offer) => {
            assert_eq!(offer.candidates[1], Some((a, ChosenBy::Binding)));
            assert_eq!((offer.lease_secs, offer.from_pools), (10, false));
        }
        other => panic!("{other:?}"),
    }
}

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
    let act = |packet: Packet, client| packet.view(|view| decide(NOW, view, bmc(&scopes), &client));
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
