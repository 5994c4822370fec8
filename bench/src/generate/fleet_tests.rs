use std::net::Ipv4Addr;

use super::*;
use crate::packet::{self, LENGTH};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);

/// A server's answer to `message`.
fn answer(message: &Message, kind: u8, yiaddr: Ipv4Addr) -> Vec<u8> {
    let mut octets = vec![0; LENGTH];
    packet::write(&mut octets, &Message { kind, server: SERVER, ..*message }, Ipv4Addr::UNSPECIFIED);
    octets[0] = 2;
    octets[16..20].copy_from_slice(&yiaddr.octets());
    octets
}

/// Takes a new client to the ACK of `address`.
fn bind(fleet: &mut Fleet, number: u32, address: Ipv4Addr) -> Next {
    let discover = fleet.discover(0, 0, number).unwrap();
    let Next::Send(request) = fleet.handle(10, &answer(&discover, OFFER, address)) else { panic!("no REQUEST") };
    assert_eq!((request.kind, request.requested, request.server), (REQUEST, address, SERVER));
    fleet.handle(30, &answer(&request, ACK, address))
}

#[test]
fn every_kind_of_wrong_answer_is_a_violation() {
    let address = Ipv4Addr::new(10, 65, 0, 1);
    type Spoil = fn(&mut Vec<u8>);
    let cases: [(Spoil, &str); 5] = [
        (|octets| octets.truncate(100), "no reply"),
        (|octets| octets[28] = 7, "which nobody is"),
        (|octets| octets[33] ^= 1, "an answer for"),
        (|octets| octets[5] |= 0x0f, "never began"),
        (|octets| octets[245..249].fill(9), "in the name of"),
    ];
    for (spoil, expected) in cases {
        let mut fleet = Fleet::new(SERVER);
        let discover = fleet.discover(0, 0, 1).unwrap();
        let mut offer = answer(&discover, OFFER, address);
        spoil(&mut offer);
        fleet.handle(1, &offer);
        let told = fleet.tally.first_violation.clone().unwrap_or_default();
        assert!(fleet.tally.violations == 1 && told.contains(expected), "{expected}: {told}");
    }
}

#[test]
fn an_address_has_one_owner_until_it_is_released() {
    let address = Ipv4Addr::new(10, 65, 0, 1);
    let mut fleet = Fleet::new(SERVER);
    assert!(matches!(bind(&mut fleet, 1, address), Next::Bound));
    assert_eq!(fleet.owner_of(address), Some(mac(1)));
    assert!(matches!(bind(&mut fleet, 2, address), Next::Refused));
    assert!(fleet.tally.first_violation.take().unwrap().contains("was bound to"));
    let client = fleet.bound.pop_front().unwrap();
    fleet.release(client);
    assert!(matches!(bind(&mut fleet, 2, address), Next::Bound));
    let client = fleet.bound.pop_front().unwrap();
    fleet.decline(client);
    assert!(matches!(bind(&mut fleet, 3, address), Next::Refused));
    assert!(fleet.tally.first_violation.take().unwrap().contains("declined"));
    assert!(matches!(bind(&mut fleet, 4, Ipv4Addr::new(11, 0, 0, 1)), Next::Refused));
    assert!(fleet.tally.first_violation.take().unwrap().contains("outside"));
}

#[test]
fn a_late_acknowledgement_counts_for_ownership_but_not_for_the_load() {
    let address = Ipv4Addr::new(10, 65, 0, 1);
    let mut fleet = Fleet::new(SERVER);
    let discover = fleet.discover(0, 0, 1).unwrap();
    let Next::Send(request) = fleet.handle(10, &answer(&discover, OFFER, address)) else { panic!("no REQUEST") };
    fleet.give_up();
    assert!(matches!(fleet.handle(20, &answer(&request, ACK, address)), Next::Nothing));
    assert_eq!((fleet.tally.bound, fleet.tally.late, fleet.outstanding()), (0, 1, 0));
    assert!(matches!(bind(&mut fleet, 2, address), Next::Refused), "it is client 1's");
}

#[test]
fn a_reserved_client_gets_its_own_address() {
    let mut fleet = Fleet::new(SERVER);
    let own = Ipv4Addr::from(u32::from(RESERVED_BASE) + 7);
    assert!(matches!(bind(&mut fleet, RESERVED_FIRST + 7, own), Next::Bound));
    assert!(matches!(bind(&mut fleet, RESERVED_FIRST + 8, Ipv4Addr::new(10, 65, 0, 9)), Next::Refused));
}

#[test]
fn the_unanswered_ask_again_and_then_give_up() {
    const SECOND: u64 = 1_000_000_000;
    for (retry, at_secs) in [(Retry::Rom, vec![4.0, 12.0, 28.0]), (Retry::Steady, vec![0.5, 1.0, 1.5])] {
        let mut fleet = Fleet::new(SERVER);
        fleet.discover(0, 0, 1).unwrap();
        let mut sent = Vec::new();
        for tenth in 0..1_000_u64 {
            let now = tenth * SECOND / 10;
            fleet.sweep(now, retry, |message| sent.push((now, message.kind)));
        }
        let got: Vec<f64> = sent.iter().map(|(now, _)| *now as f64 / SECOND as f64).collect();
        assert!(got.starts_with(&at_secs), "{retry:?}: {got:?}");
        assert_eq!((fleet.outstanding(), fleet.tally.unanswered), (0, 1));
    }
}

#[test]
fn latencies_count_from_when_a_message_was_due() {
    let mut fleet = Fleet::new(SERVER);
    let address = Ipv4Addr::new(10, 65, 0, 1);
    let discover = fleet.discover(5_000, 1_000, 1).unwrap();
    let Next::Send(request) = fleet.handle(9_000, &answer(&discover, OFFER, address)) else { panic!("no REQUEST") };
    fleet.handle(29_000, &answer(&request, ACK, address));
    let tally = &fleet.tally;
    let round = |histogram: &crate::histogram::Histogram| histogram.micros_at(1.0);
    assert_eq!((round(&tally.offer), round(&tally.ack), round(&tally.dora)), (8.0, 20.0, 28.0));
}
