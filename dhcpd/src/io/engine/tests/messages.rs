//! Whole conversations of the messages that are not DISCOVER and REQUEST: BOOTP, rapid commit, copies through a relay.

use dhcproto::Decodable;
use dhcproto::v4::{DhcpOption, OptionCode};

use super::*;
use crate::proto::reason::NakReason;
use crate::proto::view::code;
use crate::store::event::RawEvent;

const RAPID: (&str, &str) = ("lease_secs = 3600", "lease_secs = 3600\nrapid_commit = true");
const BOOTP: (&str, &str) = ("lease_secs = 3600", "lease_secs = 3600\nbootp = true");

#[test]
fn a_rapid_commit_waits_for_the_disk_like_any_ack() {
    let mut server = Server::new(&[RAPID]);
    let asks = Packet::discover(STRANGER).option(code::RAPID_COMMIT, &[]);
    server.disk.hold();
    server.deliver(&asks, "vp0");
    server.poll();
    assert_eq!(server.answers(), [], "nothing is promised before the record is on the disk");
    server.disk.let_go();
    server.settle();
    let answers = server.answers();
    let [Answer { kind: Wire::Ack, address, secs: 3_600 }] = answers[..] else { panic!("{answers:?}") };
    let mut server = server.crash(Loss::Everything);
    assert_eq!(server.send(&asks), Some(Answer { kind: Wire::Ack, address, secs: 3_600 }), "already on disk");
    assert_eq!(server.send(&Packet::discover(STRANGER)).map(|offer| offer.kind), Some(Wire::Offer), "not asked for");
}

#[test]
fn a_bootp_client_keeps_its_address_for_ever() {
    let mut server = Server::new(&[BOOTP, SMALL]);
    server.deliver(&Packet::bootp(STRANGER), "vp0");
    server.settle();
    let replies = server.replies();
    assert_eq!(replies.len(), 1);
    let address = Ipv4Addr::from(<[u8; 4]>::try_from(&replies[0].octets[16..20]).unwrap());
    let row = server.model().lease(address).expect("a lease");
    assert_eq!((row.mac, row.ends), (STRANGER, crate::proto::time::UnixSecs::NEVER));
    server.advance(100 * 86_400);
    let other = server.bind(client(1));
    assert_ne!(other, address);
    assert_eq!(server.send(&Packet::discover(client(2))), None, "it is never reclaimed");
    let mut server = server.crash(Loss::Everything);
    assert_eq!(server.send(&Packet::discover(client(2))), None);
    let mut silent = Server::new(&[]);
    silent.deliver(&Packet::bootp(STRANGER), "vp0");
    silent.settle();
    assert_eq!(silent.replies().len(), 0, "not configured");
}

#[test]
fn copies_through_a_relay_are_answered_once_while_the_disk_works_and_from_state_after() {
    let uncached = ("lease_secs = 3600", "lease_secs = 3600\ncache_threshold_percent = 0");
    for changes in [&[][..], &[uncached]] {
        let mut server = Server::new(changes);
        let through = |packet: Packet| packet.relayed_by(ip(2, 254)).option(82, b"\x01\x01p");
        let address = server.send(&through(Packet::discover(STRANGER))).expect("an offer").address;
        let select = through(Packet::select(STRANGER, SERVER, address));
        server.disk.hold();
        for _ in 0..3 {
            server.deliver(&select, "vp0");
        }
        server.poll();
        server.disk.let_go();
        server.settle();
        assert_eq!(server.answers(), [Answer { kind: Wire::Ack, address, secs: 3_600 }], "one ACK for three copies");
        assert_eq!(server.store.journal.stats().records, 1, "and one record");
        let again = server.send(&select);
        assert_eq!(again, Some(Answer { kind: Wire::Ack, address, secs: 3_600 }), "who asks again is answered");
    }
}

#[test]
fn a_release_without_server_id_is_believed_where_the_address_is_the_clients() {
    let mut server = Server::new(&[SMALL]);
    let address = server.bind(client(0));
    server.send(&Packet::release(client(0), address));
    assert_eq!(server.model().lease(address).map(|row| row.state), Some(RowState::Released));
}

#[test]
fn every_choice_refusal_and_failure_is_an_event_with_its_reason() {
    let mut server = Server::new(&[SMALL]);
    let first = server.bind(client(0));
    let other = if first == ip(2, 100) { ip(2, 101) } else { ip(2, 100) };
    server.send(&Packet::renew(client(0), first));
    server.send(&Packet::renew(client(0), other));
    server.send(&Packet::request(client(0)).asks(ip(9, 9)));
    server.bind(client(1));
    server.send(&Packet::discover(client(2)));
    let told = |events: Vec<RawEvent>| -> Vec<_> {
        events.iter().map(|event| (event.kind, event.address, event.reason)).collect()
    };
    let expected = [
        (EventKind::Offered, Some(first), ChosenBy::Pool.as_str()),
        (EventKind::Recalled, Some(first), ChosenBy::OnDisk.as_str()),
        (EventKind::Refused, Some(other), NakReason::NotTheClients.as_str()),
        (EventKind::Refused, Some(ip(9, 9)), NakReason::WrongNetwork.as_str()),
        (EventKind::Offered, Some(other), ChosenBy::Pool.as_str()),
        (EventKind::Dropped, None, DropReason::PoolExhausted.as_str()),
    ];
    assert_eq!(told(server.transient_events()), expected);
    let bound = |address| (EventKind::Bound, Some(address), "");
    assert_eq!(told(server.durable_events()), [bound(first), bound(other)]);
}

#[test]
fn what_is_dropped_before_it_has_a_scope_is_told_with_its_reason_once_a_second() {
    log::listen();
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let short = Packet(Packet::discover(STRANGER).0[..100].to_vec());
    let answer = Packet::discover(STRANGER).at(0, &[2]);
    let nobody = Packet::new(10, STRANGER).relayed_by(ip(2, 254));
    metrics::with_local_recorder(&recorder, || {
        let (mut server, mut told) = (Server::new(&[]), 0);
        for (packet, link, reason) in [
            (short, "vp0", DropReason::Truncated),
            (answer, "vb0", DropReason::NotARequest),
            (Packet::discover(STRANGER).relayed_by(ip(9, 254)), "vp0", DropReason::NoScope),
            (nobody, "vp0", DropReason::NotARequestor),
        ] {
            for second in 0..2 {
                server.advance(1);
                (0..10).for_each(|_| server.deliver(&packet, link));
                told += 1;
                let events = server.transient_events();
                assert_eq!(events.len(), told, "one event a second, {second}: {reason:?}");
                let event = events[told - 1];
                assert_eq!((event.kind, event.mac, event.reason), (EventKind::Dropped, STRANGER, reason.as_str()));
                assert_eq!(event.scope, ScopeIndex::NONE);
            }
            let count = format!("reveille_dhcpd_dropped_total{{reason=\"{}\"}} 20", reason.as_str());
            assert!(recorder.handle().render().contains(&count), "{count}");
            let written = log::written();
            let lines = written.lines().filter(|line| line.contains(&format!("reason=\"{}\"", reason.as_str())));
            let lines: Vec<&str> = lines.collect();
            assert_eq!(lines.len(), 2, "one line a second: {written}");
            let words = [&format!("interface=\"{link}\"")[..], "mac=02:00:00:00:00:07"];
            assert!(lines.iter().all(|line| words.iter().all(|word| line.contains(word))), "{written}");
        }
    });
}

#[test]
fn exhausted_pools_are_silence_a_count_for_each_client_and_one_line_a_minute() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    log::listen();
    metrics::with_local_recorder(&recorder, || {
        let mut server = Server::new(&[SMALL]);
        let addresses = [server.bind(client(0)), server.bind(client(1))];
        for (n, minute) in [(2, 0), (3, 0), (4, 0), (5, 1)] {
            server.advance(61 * minute);
            assert_eq!(server.send(&Packet::discover(client(n))), None);
        }
        // Before anybody is turned away, leases that have ended are given to others.
        server.advance(4_000);
        let again = server.bind(client(6));
        assert!(addresses.contains(&again), "{again}");
    });
    let count = "reveille_dhcpd_dropped_total{reason=\"pool-exhausted\"} 4";
    assert!(recorder.handle().render().lines().any(|line| line == count), "{}", recorder.handle().render());
    let log = log::written();
    assert_eq!(log.lines().filter(|line| line.contains("no address is left in the scope's pools")).count(), 2, "{log}");
}

/// The server identifier of a reply.
fn server_of(reply: &Reply) -> Option<Ipv4Addr> {
    let message = dhcproto::v4::Message::decode(&mut dhcproto::Decoder::new(&reply.octets)).unwrap();
    match message.opts().get(OptionCode::ServerIdentifier) {
        Some(DhcpOption::ServerIdentifier(address)) => Some(*address),
        _ => None,
    }
}

//= https://www.rfc-editor.org/rfc/rfc5107#section-4
//= type=test
//# The DHCP server must also record the address in the suboption for use in subsequent messages to the DHCP client until the next DHCP message is received from the DHCP relay agent.
#[test]
fn what_a_relay_calls_the_server_counts_past_the_relay_too() {
    let relay = ip(2, 254);
    let through = |packet: Packet| packet.relayed_by(relay).option(82, &[11, 4, 10, 77, 2, 254]);
    for threshold in ["cache_threshold_percent = 25", "cache_threshold_percent = 0"] {
        let identified = format!("lease_secs = 3600\n{threshold}");
        let mut server = Server::new(&[("lease_secs = 3600", &identified)]);
        let named = |server: &mut Server, packet: &Packet| {
            server.deliver(packet, "vp0");
            server.settle();
            server.replies().pop().map(|reply| server_of(&reply).unwrap())
        };
        let renew = |address| Packet::renew(STRANGER, address);
        let address = server.send(&through(Packet::discover(STRANGER))).expect("an offer").address;
        assert_eq!(named(&mut server, &Packet::discover(STRANGER)), Some(relay), "offered through the relay");
        assert_eq!(named(&mut server, &through(Packet::select(STRANGER, relay, address))), Some(relay));
        let other = server.bind(client(1));
        for (why, packet, expected) in [
            ("straight to us", renew(address).server(relay), Some(relay)),
            ("naming nobody", renew(address), Some(relay)),
            ("who was never told so", Packet::renew(client(1), other).server(relay), None),
            ("who was not, naming nobody", Packet::renew(client(1), other), Some(SERVER)),
        ] {
            assert_eq!(named(&mut server, &packet), expected, "{why}, {threshold}");
        }
        server = server.crash(Loss::Everything);
        assert_eq!(named(&mut server, &renew(address).server(relay)), Some(relay), "after a restart, {threshold}");
        // The relay says nothing of it any more.
        let plain = |packet: Packet| packet.relayed_by(relay).option(82, b"\x01\x01p");
        assert_eq!(named(&mut server, &plain(renew(address))), Some(SERVER), "{threshold}");
        assert_eq!(named(&mut server, &renew(address).server(relay)), None, "{threshold}");
        server = server.crash(Loss::Everything);
        assert_eq!(named(&mut server, &renew(address)), Some(SERVER), "as it was when the power went, {threshold}");
    }
}

#[test]
fn a_client_that_gives_its_whole_name_is_called_so() {
    let mut server = Server::new(&[]);
    for (number, (why, name, whole, expected)) in (1..).zip([
        ("both: Windows sends them so", &b"node"[..], &b"\0\0\0node.example"[..], "node.example"),
        ("in wire format", b"node", b"\x04\0\0\x04node\x07example\0", "node.example"),
        ("a whole name that is none", b"node", b"\x04\0\0\xc0\x0c", "node"),
        ("the server is to make one", b"node", b"\x05\0\0", "node"),
    ]) {
        let says = |packet: Packet| packet.option(12, name).option(81, whole);
        let offer = server.send(&says(Packet::discover(client(number)))).expect("an offer").address;
        server.send(&says(Packet::select(client(number), SERVER, offer))).expect("an ack");
        assert_eq!(&*server.model().lease(offer).unwrap().hostname, expected, "{why}");
    }
}
