//! Whole conversations of the messages that are not DISCOVER and REQUEST: BOOTP, rapid commit, copies through a relay.

use std::sync::Mutex;

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

/// Where a subscriber of a test writes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn exhausted_pools_are_silence_a_count_for_each_client_and_one_line_a_minute() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    metrics::with_local_recorder(&recorder, || {
        tracing::subscriber::with_default(subscriber, || {
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
    });
    let count = "reveille_dhcpd_dropped_total{reason=\"pool-exhausted\"} 4";
    assert!(recorder.handle().render().lines().any(|line| line == count), "{}", recorder.handle().render());
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("no address is left in the scope's pools")).count(), 2, "{log}");
}
