//! Reservations over the API for clients that are not known by their hardware address: whole conversations, with one worker and with several, where clients go by
//! their hardware address and where they go by their identifier.

use reveille_config::dhcpd::ReservedFor;

use super::harness::World;
use super::*;
use crate::proto::identity::IdentifiedBy;
use crate::proto::scope::Scopes;
use crate::proto::view::code;

const ID: &[u8] = &[0, b'n', b'o', b'd', b'e'];

fn by_id() -> ReservedFor {
    ReservedFor::ClientId(Octets(ID.to_vec()))
}

fn by_port() -> ReservedFor {
    ReservedFor::Circuit { circuit_id: Octets(vec![7]), remote_id: Octets(b"tor".to_vec()) }
}

fn identifiers(scopes: &mut Scopes) {
    scopes.parts_mut().0.iter_mut().for_each(|network| network.identified_by = IdentifiedBy::ClientId);
}

/// What the client of a reservation sends: its identifier, or through its port.
fn comes(packet: Packet, client: &ReservedFor) -> Packet {
    match client {
        ReservedFor::ClientId(id) => packet.option(code::CLIENT_ID, id.as_slice()),
        _ => {
            let agent = [&[1, 1, 7, 2, 3][..], b"tor"].concat();
            packet.relayed_by(ip(2, 254)).option(code::RELAY_AGENT, &agent)
        }
    }
}

/// DISCOVER and REQUEST of the client, as this machine.
fn bind(server: &mut Server, mac: MacAddr, client: &ReservedFor) -> Option<Ipv4Addr> {
    let offer = server.send(&comes(Packet::discover(mac), client))?;
    let ack = server.send(&comes(Packet::select(mac, SERVER, offer.address), client))?;
    assert_eq!((offer.kind, ack.kind, ack.address), (Wire::Offer, Wire::Ack, offer.address));
    Some(ack.address)
}

/// Runs a conversation for either identity on every kind of network.
fn everywhere(conversation: impl Fn(Server, ReservedFor)) {
    for (workers, world) in [(1, (|_| {}) as World), (3, |_| {}), (1, identifiers), (3, identifiers)] {
        for client in [by_id(), by_port()] {
            conversation(Server::in_world(world, &[], workers), client);
        }
    }
}

#[test]
fn whichever_worker_gets_the_client_it_has_its_address_at_once_and_after_a_crash() {
    everywhere(|mut server, reserved| {
        let at = ip(2, 60);
        let put = server.put(draft(&server, "prov", reserved.clone(), Some(at))).unwrap();
        assert!(put.created);
        // Enough machines for every worker to own one.
        for n in 1..=8 {
            assert_eq!(bind(&mut server, client(n), &reserved), Some(at), "{reserved}");
            server.send(&comes(Packet::release(client(n), at), &reserved));
        }
        assert_eq!(bind(&mut server, client(1), &reserved), Some(at));
        let mut server = server.crash(Loss::Everything);
        let renewed = server.send(&comes(Packet::renew(client(1), at), &reserved));
        assert_eq!(renewed.map(|answer| (answer.kind, answer.address)), Some((Wire::Ack, at)));
        server.snapshot();
        let mut server = server.crash(Loss::Everything);
        let again = server.put(draft(&server, "prov", reserved.clone(), Some(at))).unwrap();
        assert_eq!((again.created, server.store.journal.stats().records), (false, 0), "it is there already");
        assert_eq!(server.delete("prov", reserved.clone()), Ok(true));
        assert_eq!(server.delete("prov", reserved.clone()), Ok(false));
        let mut server = server.crash(Loss::Everything);
        let answer = server.send(&comes(Packet::renew(client(1), at), &reserved));
        assert_eq!(answer.map(|answer| answer.kind), Some(Wire::Nak), "the pools do not have it");
    });
}

#[test]
fn nobody_else_gets_what_is_reserved() {
    everywhere(|mut server, reserved| {
        let at = ip(2, 103);
        server.put(draft(&server, "prov", reserved.clone(), Some(at))).unwrap();
        let wish = server.send(&Packet::discover(client(20)).asks(at)).unwrap();
        assert_ne!(wish.address, at, "{reserved}");
        let grab = server.send(&Packet::select(client(21), SERVER, at));
        assert_eq!(grab.map(|answer| answer.kind), Some(Wire::Nak));
        let all: Vec<_> = (30..50).filter_map(|n| server.send(&Packet::discover(client(n)))).collect();
        assert_eq!(all.len(), 8, "all others of the pool");
        assert!(all.iter().all(|offer| offer.address != at));
        assert_eq!(bind(&mut server, client(1), &reserved), Some(at), "it was kept");
        for other in [by_id(), by_port(), client(9).into()].into_iter().filter(|other| *other != reserved) {
            let taken = server.put(draft(&server, "prov", other, Some(at)));
            assert_eq!(taken, Err(PutError::Taken(at)), "by another reservation");
        }
        // Given back and no longer reserved, it is everybody's.
        server.send(&comes(Packet::release(client(1), at), &reserved));
        server.delete("prov", reserved.clone()).unwrap();
        assert_eq!(server.send(&Packet::discover(client(60))).map(|offer| offer.address), Some(at));
    });
}

#[test]
fn an_address_that_somebody_uses_is_reserved_for_its_user_alone() {
    everywhere(|mut server, reserved| {
        let strangers = server.bind(client(1));
        assert_eq!(
            server.put(draft(&server, "prov", reserved.clone(), Some(strangers))),
            Err(PutError::Taken(strangers))
        );
        let own = bind(&mut server, client(2), &reserved).unwrap();
        let put = server.put(draft(&server, "prov", reserved.clone(), Some(own))).unwrap();
        assert_eq!(put.reservation.address, own, "{reserved}");
        let renewed = server.send(&comes(Packet::renew(client(2), own), &reserved));
        assert_eq!(renewed.map(|answer| (answer.kind, answer.address)), Some((Wire::Ack, own)));
        assert_eq!(server.put(draft(&server, "prov", client(1), Some(own))), Err(PutError::Taken(own)));
    });
}

#[test]
fn a_lease_that_was_over_when_its_address_was_reserved_does_not_come_back_with_a_restart() {
    // Of several workers, the one that has the lease has to be asked for it first.
    for (world, reserved) in
        [((|_| {}) as World, by_id()), (|_| {}, by_port()), (identifiers, by_id()), (identifiers, by_port())]
    {
        let mut server = Server::in_world(world, &[], 1);
        let former = comes(Packet::discover(client(1)), &by_id()).option(61, b"another");
        let at = server.send(&former).expect("an offer").address;
        let select = comes(Packet::select(client(1), SERVER, at), &by_id()).option(61, b"another");
        assert_eq!(server.send(&select).map(|ack| ack.address), Some(at));
        server.advance(3_600);
        server.put(draft(&server, "prov", reserved.clone(), Some(at))).expect("its client's time is over");
        // Also where the wall clock says meanwhile that the lease runs.
        for back in [0, 1_800] {
            server.now.unix.0 -= back;
            server = server.crash(Loss::Everything);
            let offer = server.send(&former).expect("an offer").address;
            assert_ne!(offer, at, "{reserved:?}");
        }
        assert_eq!(bind(&mut server, client(2), &reserved), Some(at), "{reserved:?}");
    }
}

#[test]
fn an_open_address_is_chosen_once_and_kept() {
    everywhere(|mut server, reserved| {
        let first = server.put(draft(&server, "prov", reserved.clone(), None)).unwrap().reservation.address;
        assert!((100..110).contains(&first.octets()[3]));
        assert_eq!(server.put(draft(&server, "prov", reserved.clone(), None)).unwrap().reservation.address, first);
        assert_eq!(bind(&mut server, client(1), &reserved), Some(first), "{reserved}");
    });
}

#[test]
fn it_ends_by_itself() {
    everywhere(|mut server, reserved| {
        let mut put = draft(&server, "prov", reserved.clone(), Some(ip(2, 60)));
        put.terms.expires = server.now.unix.plus(100);
        server.put(put).unwrap();
        assert_eq!(bind(&mut server, client(1), &reserved), Some(ip(2, 60)));
        server.advance(101);
        server.settle();
        assert_eq!(server.model().reserved_at(ip(2, 60)), None, "{reserved}");
        // What comes after it in the journal is durable.
        server.bind(client(2));
        let mut server = server.crash(Loss::Everything);
        assert_eq!(server.model().reserved_at(ip(2, 60)), None);
        let offer = server.send(&comes(Packet::discover(client(1)), &reserved)).unwrap();
        assert_ne!(offer.address, ip(2, 60));
    });
}

#[test]
fn the_hardware_address_goes_first_then_the_identifier_then_the_port() {
    let mut server = Server::with_workers(&[], 2);
    for (who, last) in [(by_port(), 60), (by_id(), 61), (client(1).into(), 62)] {
        let packet = comes(comes(Packet::discover(client(1)), &by_id()), &by_port());
        server.put(draft(&server, "prov", who.clone(), Some(ip(2, last)))).unwrap();
        assert_eq!(server.send(&packet).map(|offer| offer.address), Some(ip(2, last)), "{who}");
    }
}

#[test]
fn the_configuration_goes_before_the_api() {
    let mut server = Server::new(&[]);
    server.put(draft(&server, "prov", by_id(), Some(ip(2, 60)))).unwrap();
    let more = "hostname = \"node-1\"\n\
                [[dhcpd.scope.reservation]]\nclient_id = \"hex:006e6f6465\"\naddress = \"10.77.2.61\"\n";
    server.reload(&[("hostname = \"node-1\"", more)]);
    let own = server.model().reserved_at(ip(2, 61)).expect("the configuration's");
    assert_eq!((&own.client, server.model().reserved_at(ip(2, 60))), (&by_id(), None));
    assert_eq!(bind(&mut server, client(1), &by_id()), Some(ip(2, 61)));
    let refused = server.put(draft(&server, "prov", by_id(), Some(ip(2, 60))));
    assert_eq!(refused, Err(PutError::Configured(ip(2, 61))));
    assert_eq!(server.put(draft(&server, "prov", client(3), Some(ip(2, 61)))), Err(PutError::Taken(ip(2, 61))));
    server.reload(&[]);
    assert_eq!(server.model().reserved_at(ip(2, 61)), None);
    assert_ne!(bind(&mut server, client(2), &by_id()), Some(ip(2, 61)));
}

/// The first machine, its client identifier and its port: all of one reservation.
fn several() -> [ReservedFor; 3] {
    [client(1).into(), by_id(), by_port()]
}

fn draft_of_all(server: &Server, address: Option<Ipv4Addr>) -> ReservationDraft {
    let [first, also @ ..] = several();
    ReservationDraft { also: also.into(), ..draft(server, "prov", first, address) }
}

/// As another machine with the client's identifier, or at its port; or as the machine itself.
fn comes_as(by: &ReservedFor, other: MacAddr) -> (MacAddr, ReservedFor) {
    match by {
        ReservedFor::Mac(mac) => (*mac, ReservedFor::ClientId(Octets(b"another".to_vec()))),
        by => (other, by.clone()),
    }
}

fn goes_by_identifiers(server: &Server) -> bool {
    server.scopes().networks().iter().all(|network| network.identified_by == IdentifiedBy::ClientId)
}

/// Runs a conversation about a reservation of several identities on every kind of network.
fn on_every_network(conversation: impl Fn(Server)) {
    for (workers, world) in [(1, (|_| {}) as World), (3, |_| {}), (1, identifiers), (3, identifiers)] {
        conversation(Server::in_world(world, &[], workers));
    }
}

#[test]
fn whichever_identity_a_client_comes_with_it_gets_the_address_and_never_two_machines_at_once() {
    on_every_network(|mut server| {
        let at = ip(2, 60);
        server.put(draft_of_all(&server, Some(at))).unwrap();
        for restarted in [false, true, true] {
            for (by, n) in several().iter().zip(2..) {
                let (mac, says) = comes_as(by, client(n));
                assert_eq!(bind(&mut server, mac, &says), Some(at), "{by}, restarted: {restarted}");
                // While it has the address nobody else gets it, whatever he comes with.
                for (other, m) in several().iter().zip(12..) {
                    let (other_mac, other_says) = comes_as(other, client(m));
                    if other_mac == mac || (other_says == says && goes_by_identifiers(&server)) {
                        continue;
                    }
                    let offer = server.send(&comes(Packet::discover(other_mac), &other_says));
                    assert_ne!(offer.map(|offer| offer.address), Some(at), "{by} has it, {other} wants it");
                    let select = server.send(&comes(Packet::select(other_mac, SERVER, at), &other_says));
                    assert_ne!(select.map(|answer| answer.kind), Some(Wire::Ack), "{by} has it, {other} wants it");
                }
                server.send(&comes(Packet::release(mac, at), &says));
            }
            // Held by an identity that is not its first one, over the crash.
            let (mac, says) = comes_as(&by_id(), client(3));
            assert_eq!(bind(&mut server, mac, &says), Some(at));
            server.snapshot();
            server = server.crash(Loss::Everything);
            let renewed = server.send(&comes(Packet::renew(mac, at), &says));
            assert_eq!(renewed.map(|answer| (answer.kind, answer.address)), Some((Wire::Ack, at)));
            server.send(&comes(Packet::release(mac, at), &says));
        }
    });
}

#[test]
fn a_reservation_gains_and_loses_identities_and_nobody_loses_what_he_was_promised() {
    on_every_network(|mut server| {
        let at = ip(2, 60);
        let [mac, id, port] = several();
        let put = |server: &mut Server, also: &[&ReservedFor]| {
            let also = also.iter().map(|own| (*own).clone()).collect();
            server.put(ReservationDraft { also, ..draft(server, "prov", mac.clone(), Some(at)) })
        };
        // Alone, with others, alone again: the address stays its own.
        for also in [&[][..], &[&id], &[&id, &port], &[&port], &[]] {
            assert_eq!(put(&mut server, also).map(|put| put.reservation.also.len()), Ok(also.len()));
            for stranger in [20, 21] {
                let wish = server.send(&Packet::discover(client(stranger)).asks(at));
                assert_ne!(wish.map(|offer| offer.address), Some(at), "{also:?}");
            }
        }
        put(&mut server, &[&id]).unwrap();
        let (other, says) = comes_as(&id, client(3));
        assert_eq!(bind(&mut server, other, &says), Some(at));
        // Whoever has the address by the identifier keeps it: the reservation cannot drop that meanwhile.
        for also in [&[][..], &[&port]] {
            assert_eq!(put(&mut server, also), Err(PutError::Taken(at)), "{also:?}");
        }
        put(&mut server, &[&id, &port]).unwrap();
        for _ in 0..2 {
            let renewed = server.send(&comes(Packet::renew(other, at), &says));
            assert_eq!(renewed.map(|answer| (answer.kind, answer.address)), Some((Wire::Ack, at)));
            server = server.crash(Loss::Everything);
        }
        server.send(&comes(Packet::release(other, at), &says));
        put(&mut server, &[]).unwrap();
        assert_ne!(bind(&mut server, other, &says), Some(at));
        assert_eq!(bind(&mut server, client(1), &ReservedFor::ClientId(Octets(b"own".to_vec()))), Some(at));
        let mut server = server.crash(Loss::Everything);
        assert_eq!(server.delete("prov", mac.clone()), Ok(true));
        assert_eq!(server.model().reserved_at(at), None);
    });
}

#[test]
fn an_open_address_is_the_one_that_the_client_has_by_any_of_its_identities() {
    on_every_network(|mut server| {
        let own = bind(&mut server, client(3), &by_id()).unwrap();
        let put = server.put(draft_of_all(&server, None)).unwrap();
        assert_eq!(put.reservation.address, own);
        let renewed = server.send(&comes(Packet::renew(client(3), own), &by_id()));
        assert_eq!(renewed.map(|answer| (answer.kind, answer.address)), Some((Wire::Ack, own)));
    });
}

#[test]
fn the_configuration_goes_before_a_reservation_of_the_api_that_shares_an_identity_with_it() {
    on_every_network(|mut server| {
        server.put(draft_of_all(&server, Some(ip(2, 60)))).unwrap();
        let more = "hostname = \"node-1\"\n\
                    [[dhcpd.scope.reservation]]\nclient_id = \"hex:006e6f6465\"\naddress = \"10.77.2.61\"\n";
        server.reload(&[("hostname = \"node-1\"", more)]);
        for restarted in [false, true] {
            assert_eq!(server.model().reserved_at(ip(2, 60)), None, "restarted: {restarted}");
            assert_eq!(bind(&mut server, client(3), &by_id()), Some(ip(2, 61)), "restarted: {restarted}");
            let refused = server.put(draft_of_all(&server, Some(ip(2, 60))));
            let of = Some((by_id(), ip(2, 61)));
            assert_eq!(refused, Err(PutError::Known { identity: by_id(), of }), "restarted: {restarted}");
            server = server.crash(Loss::Everything);
        }
    });
}
