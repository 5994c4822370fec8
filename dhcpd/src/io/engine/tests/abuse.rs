//! Senders that ask too much.

use super::client;
use super::harness::Server;
use crate::proto::testing::{Packet, ip};

const UNLIMITED: &str = "client_packets_per_sec = 0";

#[test]
fn a_client_over_its_rate_is_not_answered_and_others_are() {
    let mut server = Server::new(&[(UNLIMITED, "client_packets_per_sec = 5")]);
    let answered = (0..50).filter(|_| server.send(&Packet::discover(client(1))).is_some()).count();
    assert_eq!(answered, 5);
    assert!(server.send(&Packet::discover(client(2))).is_some());
    server.advance(1);
    assert!(server.send(&Packet::discover(client(1))).is_some(), "a second later it is heard again");
}

#[test]
fn a_relay_over_its_rate_does_not_silence_the_link_or_another_relay() {
    let mut server = Server::new(&[(UNLIMITED, "relay_packets_per_sec = 3")]);
    let relayed = |n: u8, relay: u8| Packet::discover(client(n)).relayed_by(ip(2, relay));
    let answered = (0..9).filter(|&n| server.send(&relayed(n, 254)).is_some()).count();
    assert_eq!(answered, 3);
    assert!(server.send(&relayed(9, 253)).is_some(), "another relay");
    assert!(server.send(&Packet::discover(client(10))).is_some(), "a client on the link");
}
