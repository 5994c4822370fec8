//! Offers that wait for the check of their address.

use std::net::Ipv4Addr;

use dhcproto::v4::MessageType as Wire;
use reveille_config::MacAddr;
use reveille_config::limit::{CONFLICT_CHECKS_MAX, CONFLICT_TRIES_MAX};

use super::harness::Server;
use super::{KNOWN_BMC, SMALL, STRANGER, client};
use crate::proto::conflict::Method;
use crate::proto::testing::{Packet, RESERVED, ip};
use crate::proto::time::Millis;
use crate::store::model::RowState;

const ON: (&str, &str) = ("conflict_check = \"off\"", "conflict_check = \"auto\"");
const HOLDER: MacAddr = MacAddr([2, 0, 0, 0, 9, 9]);

impl Server {
    fn pass(&mut self, millis: u64) {
        self.now.monotonic = Millis(self.now.monotonic.0 + millis);
        self.settle();
    }

    /// What is asked of the network.
    fn asked(&mut self) -> Vec<(Ipv4Addr, Method)> {
        let probes = self.engines.iter_mut().flat_map(|engine| std::iter::from_fn(|| engine.poll_probe()));
        probes.map(|probe| (probe.address, probe.method)).collect()
    }

    fn answer(&mut self, address: Ipv4Addr, holder: Option<MacAddr>) {
        let now = self.now;
        self.engines.iter_mut().for_each(|engine| engine.handle_probe_result(now, address, holder));
        self.settle();
    }

    fn offered(&mut self) -> Option<Ipv4Addr> {
        let answers = self.answers();
        assert!(answers.iter().all(|answer| answer.kind == Wire::Offer) && answers.len() <= 1, "{answers:?}");
        answers.first().map(|answer| answer.address)
    }

    fn happened(&self, kind: &str) -> Vec<(MacAddr, Option<Ipv4Addr>, &'static str)> {
        let events = self.durable_events().into_iter().chain(self.transient_events());
        let events = events.filter(|event| event.kind.as_str() == kind);
        events.map(|event| (event.mac, event.address, event.reason)).collect()
    }
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-2.2
//= type=test
//# As a consistency check, the allocating server SHOULD probe the reused address before allocating the address, e.g., with an ICMP echo request, and the client SHOULD probe the newly received address, e.g., with ARP.
//= https://www.rfc-editor.org/rfc/rfc2131#section-3.1
//= type=test
//# When allocating a new address, servers SHOULD check that the offered network address is not already in use
//= https://www.rfc-editor.org/rfc/rfc2131#section-3.1
//= type=test
//# The server SHOULD NOT check the offered network address at this point.
//= https://www.rfc-editor.org/rfc/rfc2131#section-3.2
//= type=test
//# Servers SHOULD NOT check that the client's network address is already in use; the client may respond to ICMP Echo Request messages at this point.
#[test]
fn the_first_offer_waits_and_nobody_else_does() {
    let mut server = Server::new(&[ON]);
    assert_eq!(server.send(&Packet::discover(STRANGER).asks(ip(2, 104))), None);
    assert_eq!(server.asked(), [(ip(2, 104), Method::Arp)]);
    assert_eq!(server.engines[0].poll_timeout(), Some(Millis(server.now.monotonic.0 + 125)));
    // Meanwhile a client with a checked address goes its way.
    server.pass(100);
    let quick = Packet::discover(client(1)).asks(ip(2, 105));
    assert_eq!(server.send(&quick), None);
    server.answer(ip(2, 105), Some(client(1)));
    assert_eq!(server.offered(), Some(ip(2, 105)), "its own answer is no conflict");
    assert_eq!(server.send(&quick).map(|offer| offer.address), Some(ip(2, 105)), "and is remembered");

    server.pass(25);
    assert_eq!(server.asked(), [(ip(2, 105), Method::Arp), (ip(2, 104), Method::Arp)], "asked a second time");
    server.pass(124);
    assert_eq!(server.offered(), None);
    server.pass(1);
    assert_eq!(server.offered(), Some(ip(2, 104)));
    assert_eq!(server.happened("offered")[2], (STRANGER, Some(ip(2, 104)), "requested"), "by the first reason");
    let ack = server.send(&Packet::select(STRANGER, super::SERVER, ip(2, 104))).unwrap();
    assert_eq!((ack.kind, ack.address), (Wire::Ack, ip(2, 104)));
    let rebooted = server.send(&Packet::request(STRANGER).asks(ip(2, 104)));
    assert_eq!(rebooted.map(|ack| ack.kind), Some(Wire::Ack));
    assert_eq!(server.asked(), [], "who asks to keep an address may answer for it");
    server.advance(300);
    assert_eq!(server.send(&Packet::discover(STRANGER)).map(|offer| offer.address), Some(ip(2, 104)), "its own lease");
    assert_eq!(server.asked(), []);
}

#[test]
fn an_address_in_use_rests_and_another_is_tried() {
    let mut server = Server::new(&[ON]);
    server.send(&Packet::discover(STRANGER).asks(ip(2, 104)));
    assert_eq!(server.asked(), [(ip(2, 104), Method::Arp)]);
    server.answer(ip(2, 104), Some(HOLDER));
    let [(other, Method::Arp)] = server.asked()[..] else { panic!("one more is tried") };
    assert_ne!(other, ip(2, 104));
    assert_eq!(server.happened("conflict"), [(HOLDER, Some(ip(2, 104)), "")]);
    assert_eq!(server.model().lease(ip(2, 104)).map(|row| row.state), Some(RowState::Declined));
    server.pass(125);
    server.pass(125);
    assert_eq!(server.offered(), Some(other));

    // The quarantine is durable, and ends.
    let mut server = server.crash(crate::store::journal::Loss::Everything);
    assert!(server.maps_hold(ip(2, 104)));
    server.advance(601);
    assert!(!server.maps_hold(ip(2, 104)));
    server.send(&Packet::discover(client(1)).asks(ip(2, 104)));
    assert_eq!(server.asked(), [(ip(2, 104), Method::Arp)], "it is checked again before it is offered");
}

#[test]
fn an_address_in_use_is_not_given_also_when_reserved() {
    let mut server = Server::new(&[ON]);
    server.send(&Packet::discover(RESERVED));
    assert_eq!(server.asked(), [(ip(2, 50), Method::Arp)]);
    server.answer(ip(2, 50), Some(HOLDER));
    let [(other, _)] = server.asked()[..] else { panic!("an address of the pool is tried") };
    assert_ne!(other, ip(2, 50));

    // Nor in a static scope, which has no other.
    server.send_on("vb0", &Packet::discover(KNOWN_BMC));
    assert_eq!(server.asked(), [(ip(1, 10), Method::Arp)]);
    server.answer(ip(1, 10), Some(HOLDER));
    assert_eq!((server.asked(), server.offered()), (vec![], None));
    assert_eq!(server.happened("dropped"), [(KNOWN_BMC, None, "reservation-unavailable")]);
    // The machine itself is not somebody else.
    let mut server = Server::new(&[ON]);
    server.send_on("vb0", &Packet::discover(KNOWN_BMC));
    server.answer(ip(1, 10), Some(KNOWN_BMC));
    assert_eq!(server.offered(), Some(ip(1, 10)));
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-3.1
//= type=test
//# Servers SHOULD be implemented so that network administrators MAY choose to disable probes of newly allocated addresses.
//= https://www.rfc-editor.org/rfc/rfc4039#section-3.1
//= type=test
//# Servers SHOULD be implemented so that network administrators MAY choose to disable probes of newly allocated addresses.
#[test]
fn the_way_of_asking_is_the_scopes() {
    let relayed = |mac| Packet::discover(mac).asks(ip(2, 104)).relayed_by(ip(2, 254));
    let direct = |mac| Packet::discover(mac).asks(ip(2, 104));
    let (arp, icmp) = (Some((ip(2, 104), Method::Arp)), Some((ip(2, 104), Method::Icmp)));
    for (how, packet, expected) in [
        ("auto", direct(STRANGER), arp),
        ("auto", relayed(STRANGER), icmp),
        ("arp", direct(STRANGER), arp),
        ("arp", relayed(STRANGER), None),
        ("icmp", direct(STRANGER), icmp),
        ("icmp", relayed(STRANGER), icmp),
        ("off", direct(STRANGER), None),
        ("off", relayed(STRANGER), None),
        // An echo reply would not say whether it is the machine's own.
        ("auto", Packet::discover(RESERVED).relayed_by(ip(2, 254)), None),
        ("icmp", Packet::discover(RESERVED).relayed_by(ip(2, 254)), Some((ip(2, 50), Method::Icmp))),
    ] {
        let how = format!("conflict_check = \"{how}\"");
        let mut server = Server::new(&[("conflict_check = \"off\"", &how)]);
        let at_once = server.send(&packet).is_some();
        assert_eq!(server.asked(), Vec::from_iter(expected), "{how} {packet:?}");
        assert_eq!(at_once, expected.is_none(), "{how} {packet:?}");
    }
    let mut server = Server::new(&[ON]);
    server.send(&relayed(STRANGER));
    server.answer(ip(2, 104), None);
    assert_eq!(server.happened("conflict"), [(MacAddr::default(), Some(ip(2, 104)), "")]);
}

#[test]
fn a_client_that_asks_again_or_goes_away_costs_nothing_more() {
    let mut server = Server::new(&[ON]);
    for _ in 0..3 {
        assert_eq!(server.send(&Packet::discover(STRANGER).asks(ip(2, 104))), None);
        server.pass(10);
    }
    assert_eq!(server.asked(), [(ip(2, 104), Method::Arp)], "one check for three packets");
    // It takes another server's offer.
    server.send(&Packet::select(STRANGER, ip(2, 7), ip(2, 7)));
    server.pass(125);
    server.pass(125);
    assert_eq!(server.offered(), None, "nobody is offered what nobody waits for");
    server.answer(ip(2, 104), Some(HOLDER));
    assert!(!server.maps_hold(ip(2, 104)), "late answers change nothing");
    assert_eq!(server.send(&Packet::discover(client(2)).asks(ip(2, 104))).map(|offer| offer.address), Some(ip(2, 104)));
}

#[test]
fn at_the_limit_of_checks_a_client_has_to_ask_again() {
    let wide = ("10.77.2.100-10.77.2.109", "10.77.4.1-10.77.23.255");
    let subnet = ("10.77.2.0/24", "10.77.0.0/19");
    let mut server = Server::new(&[ON, wide, subnet, ("10.77.1.", "10.78.1.")]);
    let discover = |n: usize| {
        let [.., a, b] = n.to_be_bytes();
        Packet::discover(MacAddr([2, 0, 0, 2, a, b])).asks(Ipv4Addr::from(u32::from(ip(4, 1)) + n as u32))
    };
    for n in 0..CONFLICT_CHECKS_MAX {
        server.deliver(&discover(n), "vp0");
    }
    assert_eq!(server.asked().len(), CONFLICT_CHECKS_MAX);
    assert_eq!(server.send(&discover(CONFLICT_CHECKS_MAX)), None);
    assert_eq!(server.asked(), []);
    server.pass(125);
    assert_eq!(server.asked().len(), CONFLICT_CHECKS_MAX);
    server.pass(125);
    assert_eq!(server.answers().len(), CONFLICT_CHECKS_MAX);
    assert_eq!(server.send(&discover(CONFLICT_CHECKS_MAX)), None);
    assert_eq!(server.asked().len(), 1, "there is room again");
}

#[test]
fn one_packet_does_not_try_for_ever() {
    let wide = ("10.77.2.100-10.77.2.109", "10.77.2.100-10.77.2.199");
    let mut server = Server::new(&[ON, wide]);
    server.send(&Packet::discover(STRANGER));
    for tried in 0..=CONFLICT_TRIES_MAX {
        let asked = server.asked();
        assert_eq!(asked.len(), 1, "try {tried}");
        server.answer(asked[0].0, Some(HOLDER));
    }
    assert_eq!(server.asked(), []);
    server.send(&Packet::discover(STRANGER));
    assert_eq!(server.asked().len(), 1, "the next packet goes on");

    let mut small = Server::new(&[ON, SMALL]);
    small.send(&Packet::discover(STRANGER));
    for _ in 0..2 {
        let asked = small.asked();
        small.answer(asked[0].0, Some(HOLDER));
    }
    assert_eq!((small.asked(), small.offered()), (vec![], None));
    assert_eq!(small.happened("dropped"), [(STRANGER, None, "pool-exhausted")]);
}

//= https://www.rfc-editor.org/rfc/rfc4039#section-3.1
//= type=test
//# When allocating a new address, servers SHOULD check that the offered network address is not already in use; e.g., the server may probe the offered address with an ICMP Echo Request.
#[test]
fn a_rapid_commit_waits_for_the_check_as_an_offer_does() {
    let rapid = ("lease_secs = 3600", "lease_secs = 3600\nrapid_commit = true");
    let mut server = Server::new(&[ON, rapid]);
    let asks = Packet::discover(STRANGER).option(80, &[]).asks(ip(2, 104));
    assert_eq!(server.send(&asks), None);
    assert_eq!(server.asked(), [(ip(2, 104), Method::Arp)]);
    assert_eq!(server.store.journal.stats().records, 0, "nothing is bound before");
    server.pass(125);
    server.pass(125);
    let answers = server.answers();
    assert_eq!(answers.iter().map(|ack| (ack.kind, ack.address)).collect::<Vec<_>>(), [(Wire::Ack, ip(2, 104))]);

    let mut server = Server::new(&[ON, rapid]);
    server.send(&asks);
    server.asked();
    server.answer(ip(2, 104), Some(HOLDER));
    let [(other, Method::Arp)] = server.asked()[..] else { panic!("one more is tried") };
    assert_ne!(other, ip(2, 104));
    server.pass(125);
    server.pass(125);
    let answers = server.answers();
    assert_eq!(answers.iter().map(|ack| (ack.kind, ack.address)).collect::<Vec<_>>(), [(Wire::Ack, other)]);
    assert_eq!(server.model().lease(ip(2, 104)).map(|row| row.state), Some(RowState::Declined));
}
