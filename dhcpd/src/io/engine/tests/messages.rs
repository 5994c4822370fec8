//! Whole conversations of the messages that are not DISCOVER and REQUEST: BOOTP, rapid commit, copies through a relay.

use super::*;
use crate::proto::view::code;

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
