//! Tables of whole conversations, packet in and reply out, over a simulated disk; no sockets, no clocks, no sleeps.

mod abuse;
mod allocation;
mod conflict;
mod events;
mod harness;
mod identities;
mod interop;
mod log;
mod messages;
mod property;
mod queries;

use std::net::Ipv4Addr;

use dhcproto::v4::MessageType as Wire;
use harness::{Answer, Server};
use reveille_config::dhcpd::ReservedFor;
use reveille_config::{MacAddr, Octets};
use rustix::io::Errno;

use super::*;
use crate::proto::option::OptionBlock;
use crate::proto::pool::PoolSet;
use crate::proto::scope::Holder;
use crate::proto::testing::{KNOWN_BMC, Packet, RESERVED, STRANGER, ip};
use crate::store::journal::{CrashDisk, JournalState, Loss};
use crate::store::model::RowState;
use crate::store::reservation::{PutError, ReservationDraft};

const SERVER: Ipv4Addr = ip(2, 1);
const SMALL: (&str, &str) = ("10.77.2.100-10.77.2.109", "10.77.2.100-10.77.2.101");
/// So many seconds later every offer is forgotten.
const OFFER_SECS: u64 = 61;

fn client(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 1, 0, n])
}

fn draft(server: &Server, scope: &str, client: impl Into<ReservedFor>, address: Option<Ipv4Addr>) -> ReservationDraft {
    let scope = server.scope(scope);
    ReservationDraft {
        pools: PoolSet::ALL,
        holder: Holder { scope, client: client.into() },
        also: Box::default(),
        address,
        hostname: None,
        boot_file: None,
        options: OptionBlock::default(),
        options_given: "".into(),
        node: None,
        pools_named: false,
        boot: None,
        terms: Default::default(),
        expected: Default::default(),
    }
}

#[test]
fn a_client_is_offered_bound_and_found_again_after_a_restart() {
    let mut server = Server::new(&[]);
    let address = server.bind(STRANGER);
    assert_eq!(server.send(&Packet::renew(STRANGER, address)), Some(Answer { kind: Wire::Ack, address, secs: 3_600 }));
    let mut server = server.crash(Loss::Everything);
    assert_eq!(server.send(&Packet::discover(STRANGER)).map(|answer| answer.address), Some(address));
    assert_eq!(
        server.send(&Packet::request(STRANGER).asks(address)),
        Some(Answer { kind: Wire::Ack, address, secs: 3_600 })
    );
}

#[test]
fn replies_wait_for_slow_firmware_and_for_the_disk() {
    let mut server = Server::new(&[("lease_secs = 3600", "lease_secs = 3600\nreply_delay_millis = 900")]);
    assert_eq!(server.send(&Packet::discover(STRANGER)), None, "not at once");
    server.advance(1);
    server.poll();
    let offers = server.answers();
    let [Answer { kind: Wire::Offer, address, .. }] = offers[..] else { panic!("an offer: {offers:?}") };
    assert_eq!(server.send(&Packet::select(STRANGER, SERVER, address)), None, "durable, and still not at once");
    server.advance(1);
    server.poll();
    assert_eq!(server.answers(), [Answer { kind: Wire::Ack, address, secs: 3_600 }]);
}

#[test]
fn while_the_disk_stalls_acks_wait_offers_go_on_and_nothing_is_lost() {
    let mut server = Server::new(&[]);
    let offered: Vec<_> =
        (0..4).map(|n| server.send(&Packet::discover(client(n))).expect("an offer").address).collect();
    server.disk.hold();
    for (n, address) in (0..).zip(&offered) {
        server.deliver(&Packet::select(client(n), SERVER, *address), "vp0");
    }
    for n in 4..8 {
        server.deliver(&Packet::discover(client(n)), "vp0");
        server.poll();
        let answers = server.answers();
        assert!(matches!(answers[..], [Answer { kind: Wire::Offer, .. }]), "offers alone: {answers:?}");
    }
    server.disk.let_go();
    server.settle();
    let acks = offered.iter().map(|&address| Answer { kind: Wire::Ack, address, secs: 3_600 });
    assert_eq!(server.answers(), acks.collect::<Vec<_>>(), "in the order of the requests");
    let mut server = server.crash(Loss::Everything);
    for (n, address) in (0..).zip(offered) {
        let answer = server.send(&Packet::request(client(n)).asks(address));
        assert_eq!(answer, Some(Answer { kind: Wire::Ack, address, secs: 3_600 }), "client {n}");
    }
}

#[test]
fn an_ack_waits_for_the_disk_and_an_offer_does_not() {
    let mut server = Server::new(&[]);
    server.disk.hold();
    let address = server.send(&Packet::discover(STRANGER)).expect("an offer").address;
    server.deliver(&Packet::select(STRANGER, SERVER, address), "vp0");
    server.poll();
    assert_eq!(server.answers(), [], "nothing is promised before the record is on the disk");
    let lost = server.disk.crash(Loss::Everything);
    server.disk.let_go();
    server.settle();
    assert_eq!(server.answers(), [Answer { kind: Wire::Ack, address, secs: 3_600 }]);

    let mut after = Server::on(lost, &[], 1, server.now);
    assert_eq!(
        after.send(&Packet::request(STRANGER).asks(address)),
        None,
        "the crash came first: nobody was promised anything"
    );
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
//= type=test
//# While not required for correct operation of DHCP, the server SHOULD NOT reuse the selected network address before the client responds to the server's DHCPOFFER message.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
//= type=test
//# If no address is available, the server may choose to report the problem to the system administrator.
//= https://www.rfc-editor.org/rfc/rfc2131#section-3.1
//= type=test
//# The server SHOULD mark an address offered to a client in a DHCPOFFER message as available if the server receives no DHCPREQUEST message from that client.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.2
//= type=test
//# As an implementation detail, servers SHOULD NOT reuse offered addresses and may use an implementation-specific timeout mechanism to decide when to reuse an offered address.
#[test]
fn no_two_clients_are_offered_the_same_address() {
    let mut server = Server::new(&[]);
    let offers: Vec<_> = (0..12).map(|n| server.send(&Packet::discover(client(n)).asks(ip(2, 105)))).collect();
    let mut addresses: Vec<_> = offers.iter().flatten().map(|offer| offer.address).collect();
    assert_eq!(offers[0].as_ref().map(|offer| offer.address), Some(ip(2, 105)), "the first gets what it asks for");
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 10, "ten addresses, ten clients");
    assert_eq!(offers.iter().filter(|offer| offer.is_none()).count(), 2, "an exhausted pool is silence");
    server.advance(OFFER_SECS);
    assert!(server.send(&Packet::discover(client(11))).is_some(), "offers that nobody took are given to others");
}

#[test]
fn a_client_keeps_its_offer_and_lets_go_of_it_for_another_server() {
    let mut server = Server::new(&[SMALL]);
    let first = server.send(&Packet::discover(client(0))).unwrap().address;
    assert_eq!(server.send(&Packet::discover(client(0))).unwrap().address, first);
    let second = server.send(&Packet::discover(client(1))).unwrap().address;
    assert_ne!(first, second);
    assert_eq!(server.send(&Packet::discover(client(2))), None);
    assert_eq!(server.send(&Packet::select(client(0), ip(2, 7), ip(2, 7))), None, "chose another server");
    assert_eq!(server.send(&Packet::discover(client(2))).map(|offer| offer.address), Some(first));
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-3.1
//= type=test
//# If the selected server is unable to satisfy the DHCPREQUEST message (e.g., the requested network address has been allocated), the server SHOULD respond with a DHCPNAK message.
#[test]
fn what_somebody_else_holds_is_refused() {
    let mut server = Server::new(&[]);
    let taken = server.bind(client(0));
    let refused = server.send(&Packet::select(client(1), SERVER, taken)).unwrap();
    assert_eq!(refused.kind, Wire::Nak);
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.4
//= type=test
//# The server SHOULD retain a record of the client's initialization parameters for possible reuse in response to subsequent requests from the client.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.4
//= type=test
//# Upon receipt of a DHCPRELEASE message, the server marks the network address as not allocated.
#[test]
fn a_release_frees_the_address_also_after_a_restart() {
    let mut server = Server::new(&[SMALL]);
    let [first, _] = [server.bind(client(0)), server.bind(client(1))];
    assert_eq!(server.send(&Packet::release(client(1), first)), None, "not its own");
    assert_eq!(server.send(&Packet::discover(client(2))), None);
    server.send(&Packet::release(client(0), first));
    let row = server.model().lease(first).expect("a record is kept");
    assert_eq!((row.mac, row.state), (client(0), RowState::Released));
    let mut server = server.crash(Loss::Everything);
    assert_eq!(server.model().lease(first).map(|row| row.state), Some(RowState::Released));
    assert_eq!(server.bind(client(2)), first);
}

#[test]
fn a_declined_address_rests_also_over_a_restart() {
    let mut server = Server::new(&[SMALL, ("lease_secs = 3600", "lease_secs = 3600\ndecline_secs = 900")]);
    let first = server.bind(client(0));
    server.send(&Packet::decline(client(0), first));
    let second = server.bind(client(0));
    assert_ne!(first, second);
    assert_eq!(server.send(&Packet::discover(client(1))), None, "one rests, one is bound");
    let mut server = server.crash(Loss::Everything);
    assert_eq!(server.send(&Packet::discover(client(1))), None);
    assert_eq!(server.model().lease(first).map(|row| row.state), Some(RowState::Declined));
    server.advance(901);
    assert_eq!(server.bind(client(1)), first);
}

#[test]
fn expired_leases_are_kept_until_needed_and_then_reclaimed_oldest_first() {
    for workers in [1, 3] {
        let mut server = Server::with_workers(&[SMALL], workers);
        let older = server.bind(client(0));
        server.advance(10);
        let younger = server.bind(client(1));
        server.advance(4_000);
        assert_eq!(server.send(&Packet::discover(client(0))).unwrap().address, older, "its own again, though expired");
        server.advance(OFFER_SECS);
        // With several workers the first try may only ask the others to give one up.
        let given = (0..3).find_map(|_| server.try_bind(client(2))).expect("an expired lease is reclaimed");
        if workers == 1 {
            assert_eq!(given, older);
        }
        let left = if given == older { younger } else { older };
        let nak = server.send(&Packet::renew(if given == older { client(0) } else { client(1) }, given));
        assert!(nak.is_none_or(|nak| nak.kind == Wire::Nak), "whose lease was reclaimed does not get it back");
        assert_eq!((0..3).find_map(|_| server.try_bind(client(3))), Some(left));
        let mut server = server.crash(Loss::Everything);
        assert_eq!(server.send(&Packet::request(client(2)).asks(given)).map(|ack| ack.kind), Some(Wire::Ack));
        assert_eq!(server.send(&Packet::request(client(0)).asks(given)).map(|ack| ack.kind), None);
    }
}

#[test]
fn what_was_offered_anew_and_then_given_back_is_free_at_once() {
    let mut server = Server::new(&[SMALL]);
    let address = server.bind(client(0));
    server.bind(client(1));
    assert_eq!(server.send(&Packet::discover(client(0))).map(|offer| offer.address), Some(address));
    server.send(&Packet::release(client(0), address));
    assert_eq!(server.send(&Packet::discover(client(2))).map(|offer| offer.address), Some(address));
}

#[test]
fn early_renewals_are_answered_without_a_write() {
    let mut server = Server::new(&[]);
    let address = server.bind(STRANGER);
    let written = server.store.journal.stats().records;
    server.advance(900);
    assert_eq!(server.send(&Packet::renew(STRANGER, address)), Some(Answer { kind: Wire::Ack, address, secs: 2_700 }));
    assert_eq!(server.store.journal.stats().records, written);
    server.advance(1);
    assert_eq!(server.send(&Packet::renew(STRANGER, address)), Some(Answer { kind: Wire::Ack, address, secs: 3_600 }));
    assert_eq!(server.store.journal.stats().records, written + 1);
}

#[test]
fn an_early_renewal_under_another_name_is_written() {
    let mut server = Server::new(&[]);
    let address = server.bind(STRANGER);
    let named = |name: &str| Packet::renew(STRANGER, address).option(61, name.as_bytes()).option(12, name.as_bytes());
    let told = |secs| Some(Answer { kind: Wire::Ack, address, secs });
    server.advance(300);
    assert_eq!(server.send(&named("stage-2")), told(3_600));
    let row = server.model().lease(address).unwrap();
    assert_eq!((&*row.client_id, &*row.hostname), (&b"stage-2"[..], "stage-2"));
    server.advance(300);
    assert_eq!(server.send(&named("stage-2")), told(3_300), "it is on the disk");
    let mut server = server.crash(Loss::Everything);
    assert_eq!(server.send(&named("stage-2")), told(3_300), "also after a restart");
    assert_eq!(server.send(&named("stage-3")), told(3_600));
    assert_eq!(&*server.model().lease(address).unwrap().hostname, "stage-3");
}

#[test]
fn a_shorter_renewal_does_not_end_what_was_promised_before() {
    let mut server = Server::new(&[SMALL, ("lease_secs = 3600", "lease_secs = 3600\ncache_threshold_percent = 0")]);
    let address = server.bind(client(0));
    server.bind(client(1));
    // The ACK of this one may get lost, and the client relies on the one before.
    server.send(&Packet::renew(client(0), address).option(51, &600u32.to_be_bytes()));
    server.advance(1_000);
    assert_eq!(server.send(&Packet::discover(client(2))), None);
    let mut server = server.crash(Loss::Everything);
    assert_eq!(server.send(&Packet::discover(client(2))), None);
}

//= https://www.rfc-editor.org/rfc/rfc2132#section-2
//= type=test
//# Options containing NVT ASCII data SHOULD NOT include a trailing NULL; however, the receiver of such options MUST be prepared to delete trailing nulls if they exist.
//= https://www.rfc-editor.org/rfc/rfc2132#section-2
//= type=test
//# The receiver MUST NOT require that a trailing null be included in the data.
#[test]
fn an_unknown_bmc_is_recorded_once_and_served_after_approval() {
    let mut server = Server::new(&[]);
    let asks = Packet::discover(STRANGER).option(60, b"iDRAC\x07").option(12, b"bmc-9\0");
    for _ in 0..3 {
        assert_eq!(server.send_on("vb0", &asks), None, "never answered");
    }
    let written = server.store.journal.stats().records;
    assert_eq!(written, 1, "only the first sight is written");
    let mut server = server.crash(Loss::Everything);
    let seen = server.model().sightings();
    assert_eq!(seen.len(), 1);
    assert_eq!((&*seen[0].1.vendor_class, &*seen[0].1.hostname), ("iDRAC\\u{7}", "bmc-9"));
    server.send_on("vb0", &asks);
    assert_eq!(server.model().sightings()[0].1.count, 2);

    let put = server.put(draft(&server, "bmc", STRANGER, None)).expect("approved");
    assert!(put.created && server.model().sightings().is_empty());
    let address = put.reservation.address;
    let answer = server.send_on("vb0", &asks).expect("an offer");
    assert_eq!((answer.kind, answer.address), (Wire::Offer, address));
    let mut server = server.crash(Loss::Everything);
    let bound = server.send_on("vb0", &Packet::select(STRANGER, ip(1, 1), address)).expect("an ACK");
    assert_eq!((bound.kind, bound.address), (Wire::Ack, address));
    assert_eq!(server.send_on("vb0", &Packet::discover(KNOWN_BMC)).map(|offer| offer.address), Some(ip(1, 10)));
}

#[test]
fn sightings_are_bounded_and_rate_limited() {
    let mut server = Server::new(&[]);
    let numbered = |n: u32| {
        let [a, b, c, d] = n.to_be_bytes();
        MacAddr([2, 9, a, b, c, d])
    };
    let most = reveille_config::limit::SIGHTINGS_MAX as u32;
    let per_second = reveille_config::limit::SIGHTINGS_PER_SEC_MAX as u32;
    for n in 0..per_second + 10 {
        server.deliver(&Packet::discover(numbered(n)), "vb0");
    }
    server.settle();
    assert_eq!(server.model().sightings().len() as u32, per_second, "the flood is shed");
    for n in 0..most + 100 {
        if n % per_second == 0 {
            server.settle();
            server.advance(1);
        }
        server.deliver(&Packet::discover(numbered(n)), "vb0");
    }
    server.settle();
    let seen = server.model().sightings();
    assert_eq!(seen.len() as u32, most);
    let oldest = seen.iter().map(|(client, _)| client.mac).min();
    assert_eq!(oldest, Some(numbered(100)), "those seen longest ago made room");
}

#[test]
fn reservations_are_idempotent_and_conflicts_are_refused() {
    let mut server = Server::new(&[]);
    let mine = draft(&server, "prov", client(1), Some(ip(2, 60)));
    assert!(server.put(mine.clone()).unwrap().created);
    let written = server.store.journal.stats().records;
    assert!(!server.put(mine).unwrap().created);
    assert_eq!(server.store.journal.stats().records, written, "the same again is no write");
    let bound = server.bind(client(2));
    for (why, mac, address, expected) in [
        ("reserved for another", client(3), ip(2, 60), PutError::Taken(ip(2, 60))),
        ("bound to another", client(3), bound, PutError::Taken(bound)),
        ("reserved by the configuration", client(3), ip(2, 50), PutError::Taken(ip(2, 50))),
        ("the server's own", client(3), SERVER, PutError::Taken(SERVER)),
        ("a machine of the configuration", RESERVED, ip(2, 61), PutError::Configured(ip(2, 50))),
    ] {
        assert_eq!(server.put(draft(&server, "prov", mac, Some(address))), Err(expected), "{why}");
    }
    assert_eq!(
        server.put(draft(&server, "prov", client(2), None)).unwrap().reservation.address,
        bound,
        "keeps what it has"
    );
    assert_eq!(server.put(draft(&server, "prov", client(1), Some(ip(2, 61)))).unwrap().reservation.address, ip(2, 61));
    assert!(server.put(draft(&server, "prov", client(3), Some(ip(2, 60)))).is_ok(), "the former address is free");
}

#[test]
fn a_reservation_takes_effect_at_once_and_its_end_too() {
    let mut server = Server::new(&[]);
    let before = server.bind(client(1));
    server.put(draft(&server, "prov", client(1), Some(ip(2, 60)))).unwrap();
    assert_eq!(server.send(&Packet::renew(client(1), before)).map(|nak| nak.kind), Some(Wire::Nak));
    assert_eq!(server.bind(client(1)), ip(2, 60));
    assert!(!server.maps_hold(before), "the former address is free");
    assert_eq!(server.delete("prov", client(1)), Ok(true));
    assert_eq!(server.delete("prov", client(1)), Ok(false));
    assert_eq!(server.delete("prov", RESERVED), Err(PutError::Configured(ip(2, 50))));
    let mut server = server.crash(Loss::Everything);
    assert_eq!(
        server.send(&Packet::renew(client(1), ip(2, 60))).map(|nak| nak.kind),
        Some(Wire::Nak),
        "60 is in no pool"
    );
    assert_eq!(server.bind(RESERVED), ip(2, 50));
}

#[test]
fn a_reserved_address_waits_for_the_client_that_is_bound_to_it() {
    let mut server = Server::new(&[]);
    let address = server.bind(client(1));
    let disk = server.disk.crash(Loss::Nothing);
    let fixed = format!("mac = \"02:00:00:00:00:a1\"\naddress = \"{address}\"");
    let now = server.now;
    drop(server);
    let mut server = Server::on(disk, &[("mac = \"02:00:00:00:00:a1\"\naddress = \"10.77.2.50\"", &fixed)], 1, now);
    let other = server.bind(RESERVED);
    assert_ne!(other, address, "in use by somebody else");
    assert_eq!(
        server.send(&Packet::renew(RESERVED, other)).map(|ack| ack.kind),
        Some(Wire::Ack),
        "it is not sent in circles"
    );
    server.advance(4_000);
    assert_eq!(server.bind(RESERVED), address, "the other's lease is over");
}

#[test]
fn a_full_disk_stops_new_promises_only_and_ends_by_itself() {
    let mut server = Server::new(&[]);
    let address = server.bind(client(1));
    server.advance(2_000);
    server.disk.refuse_after(0, Errno::NOSPC);
    let offered = server.send(&Packet::discover(client(2))).expect("nobody has noticed yet").address;
    server.deliver(&Packet::select(client(2), SERVER, offered), "vp0");
    server.until("the journal refuses", |server| matches!(server.store.journal.state(), JournalState::Refusing { .. }));
    server.settle();
    assert_eq!(server.answers(), [], "its promise is void");
    assert_eq!(server.send(&Packet::discover(client(3))), None, "no offers");
    assert_eq!(server.send(&Packet::select(client(3), SERVER, ip(2, 107))), None, "no new bindings");
    assert_eq!(server.send(&Packet::renew(client(1), address)), Some(Answer { kind: Wire::Ack, address, secs: 1_600 }));
    assert_eq!(
        server.send(&Packet::discover(client(1))).map(|offer| offer.secs),
        Some(1_600),
        "a known machine reboots"
    );
    assert!(matches!(server.put(draft(&server, "prov", client(4), None)), Err(PutError::Journal(_))));

    server.disk.give_room();
    server.until("the journal writes again", |server| server.store.journal.state() == JournalState::Healthy);
    assert_eq!(server.try_bind(client(2)), Some(offered));
    assert!(server.try_bind(client(3)).is_some());
}

#[test]
fn a_snapshot_holds_everything() {
    let mut server = Server::with_workers(&[("lease_secs = 3600", "lease_secs = 3600\ndecline_secs = 900")], 2);
    let bound = server.bind(client(1));
    let declined = server.bind(client(2));
    server.send(&Packet::decline(client(2), declined));
    let released = server.bind(client(3));
    server.send(&Packet::release(client(3), released));
    let put = server.put(draft(&server, "prov", client(4), Some(ip(2, 70)))).unwrap();
    let port = ReservedFor::Circuit { circuit_id: Octets(vec![7]), remote_id: Octets(b"tor".to_vec()) };
    let by_port = server.put(draft(&server, "prov", port, Some(ip(2, 71)))).unwrap().reservation;
    server.send_on("vb0", &Packet::discover(STRANGER));
    let leases = server.leases();
    server.snapshot();
    let server = server.crash(Loss::Everything);
    let recovered = server.store.journal.recovered();
    assert_eq!((recovered.log_records, recovered.snapshot_records > 0), (0, true), "all of it is from the snapshot");
    let after = server.leases();
    assert_eq!(
        after.iter().map(|l| (l.0, l.1.client, l.1.state, l.1.ends)).collect::<Vec<_>>(),
        leases.iter().map(|l| (l.0, l.1.client, l.1.state, l.1.ends)).collect::<Vec<_>>()
    );
    assert!(after.iter().any(|(address, _)| *address == bound));
    for own in [put.reservation, by_port] {
        assert_eq!(server.model().reservation(&own.holder()).map(|(own, _)| own), Some(own));
    }
    assert_eq!(server.model().sightings().len(), 1);
}

#[test]
fn a_unicast_of_another_workers_client_is_handed_over() {
    let mut server = Server::with_workers(&[], 4);
    for n in 0..8 {
        let address = server.bind(client(n));
        let renew = Packet::renew(client(n), address);
        for worker in 0..4 {
            server.deliver_unicast(worker, &renew);
            server.settle();
            assert_eq!(
                server.answers(),
                [Answer { kind: Wire::Ack, address, secs: 3_600 }],
                "worker {worker}, client {n}"
            );
        }
    }
}

#[test]
fn packets_for_no_scope_are_dropped() {
    let mut server = Server::new(&[]);
    assert_eq!(server.send_on("other0", &Packet::discover(STRANGER)), None);
    assert_eq!(
        server.send_on("vb0", &Packet::discover(KNOWN_BMC).relayed_by(ip(2, 9))),
        None,
        "a relay of another link"
    );
    let relayed = server.send_on("vp0", &Packet::discover(STRANGER).relayed_by(ip(2, 9)));
    assert_eq!(relayed.map(|offer| offer.kind), Some(Wire::Offer));
}

#[test]
fn a_reload_changes_options_and_reservations_and_keeps_leases() {
    let mut server = Server::new(&[]);
    let address = server.bind(client(1));
    server.put(draft(&server, "prov", client(2), Some(ip(2, 60)))).unwrap();
    server.reload(&[("02:00:00:00:00:a1", "02:00:00:01:00:05"), ("lease_secs = 3600", "lease_secs = 5000")]);
    assert_eq!(server.bind(client(5)), ip(2, 50), "the new reservation");
    assert_ne!(server.bind(RESERVED), ip(2, 50), "the old one is gone");
    assert_eq!(server.bind(client(2)), ip(2, 60), "the API's stays");
    server.advance(2_000);
    assert_eq!(server.send(&Packet::renew(client(1), address)), Some(Answer { kind: Wire::Ack, address, secs: 5_000 }));
    server.reload(&[("10.77.2.100-10.77.2.109", "10.77.2.200-10.77.2.209")]);
    server.advance(4_000);
    assert_eq!(
        server.send(&Packet::renew(client(1), address)).map(|nak| nak.kind),
        Some(Wire::Nak),
        "no longer in a pool"
    );
}

#[test]
fn events_tell_the_story_and_durable_ones_bear_the_journals_sequence() {
    let mut server = Server::new(&[]);
    let address = server.bind(STRANGER);
    let told: Vec<_> = server.transient_events().into_iter().chain(server.durable_events()).collect();
    let told: Vec<_> = told.iter().map(|event| (event.kind, event.address, event.journal_sequence)).collect();
    assert_eq!(told, [(EventKind::Offered, Some(address), 0), (EventKind::Bound, Some(address), 1)]);
    let row = server.model().lease(address).unwrap();
    assert_eq!(row.sequence, 1, "the lease names the same record");
}

/// A later version's record must not be skipped: an address could be bound twice.
#[test]
fn a_record_of_a_later_version_stops_the_start() {
    let disk = CrashDisk::new();
    let journal = crate::store::journal::open(disk.storage(), harness::options(), &mut |_, _, _| {}).unwrap();
    let pending = journal.appender().append(99, b"?", ()).unwrap();
    journal.close();
    drop(pending);
    let error = harness::open(disk.storage(), &[], 1, Now::default()).unwrap_err();
    assert!(matches!(error, crate::store::StoreError::Record { sequence: 1, .. }), "{error:?}");
}
