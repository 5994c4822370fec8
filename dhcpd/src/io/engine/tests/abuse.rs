//! Senders that ask too much, and pools that have no more to give.

use std::net::Ipv4Addr;

use dhcproto::v4::MessageType as Wire;
use reveille_config::MacAddr;

use super::harness::Server;
use super::{OFFER_SECS, SERVER, SMALL, client};
use crate::proto::testing::{Packet, RESERVED, ip};
use crate::store::event::EventKind;
use crate::store::journal::Loss;

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

/// Three of the ten addresses.
const SHARE: (&str, &str) = (UNLIMITED, "client_packets_per_sec = 0, port_share_percent = 30");

/// As a relay passes it on from a port of a switch.
fn through(port: u8, packet: Packet) -> Packet {
    packet.relayed_by(ip(2, 254)).option(82, &[1, 1, port, 2, 2, b's', b'w'])
}

impl Server {
    fn offered_through(&mut self, port: u8, mac: MacAddr) -> Option<Ipv4Addr> {
        let answer = self.send(&through(port, Packet::discover(mac)))?;
        assert_eq!(answer.kind, Wire::Offer);
        Some(answer.address)
    }

    fn bind_through(&mut self, port: u8, mac: MacAddr) -> Option<Ipv4Addr> {
        let address = self.offered_through(port, mac)?;
        let ack = self.send(&through(port, Packet::select(mac, SERVER, address)));
        assert_eq!(ack.map(|ack| (ack.kind, ack.address)), Some((Wire::Ack, address)));
        Some(address)
    }

    fn not_served(&self) -> Vec<(MacAddr, &'static str)> {
        let events = self.transient_events().into_iter().filter(|event| event.kind == EventKind::Dropped);
        events.map(|event| (event.mac, event.reason)).collect()
    }
}

#[test]
fn machines_made_up_behind_one_port_get_its_share_and_nobody_else_suffers() {
    for workers in [1, 4] {
        let mut server = Server::with_workers(&[SHARE], workers);
        let served: Vec<_> = (0..50).filter(|&n| server.offered_through(1, client(n)).is_some()).collect();
        assert_eq!(served, [0, 1, 2], "one share for {workers} workers");
        assert_eq!(server.not_served().len(), 47);
        assert_eq!(server.not_served()[0], (client(3), "port-share"));
        assert!(server.offered_through(1, client(1)).is_some(), "who is served asks again");
        assert_eq!(server.offered_through(1, RESERVED), Some(ip(2, 50)), "what is reserved is no matter of shares");
        assert!(server.offered_through(2, client(100)).is_some(), "another port");
        assert!((101..107).all(|n| server.send(&Packet::discover(client(n))).is_some()), "the link itself");
        assert_eq!(server.send(&Packet::discover(client(107))), None);
        assert_eq!(server.not_served().last(), Some(&(client(107), "pool-exhausted")));
        server.advance(OFFER_SECS);
        assert!(server.offered_through(1, client(40)).is_some(), "the offers that nobody took are over");
    }
    let mut unlimited = Server::new(&[]);
    assert!((0..10).all(|n| unlimited.offered_through(1, client(n)).is_some()), "off unless configured");
}

//= https://www.rfc-editor.org/rfc/rfc3046#section-4
//= type=test
//# The DHCP server SHOULD implement policies that restrict the number of IP addresses to be assigned to a single remote ID.
#[test]
fn what_is_behind_one_remote_id_has_one_share_where_that_is_what_counts() {
    let by_remote_id =
        (UNLIMITED, "client_packets_per_sec = 0, port_share_percent = 30, port_share_by = \"remote-id\"");
    let mut server = Server::new(&[by_remote_id]);
    let served: Vec<_> = (0..9).filter(|&n| server.offered_through(n, client(n)).is_some()).collect();
    assert_eq!(served, [0, 1, 2], "each behind a port of its own");
    let other = Packet::discover(client(9)).relayed_by(ip(2, 254)).option(82, &[1, 1, 1, 2, 2, b's', b'x']);
    assert!(server.send(&other).is_some(), "another remote id");
}

#[test]
fn a_port_s_share_lasts_as_long_as_its_leases() {
    let mut server = Server::new(&[SHARE]);
    let held: Vec<_> = (0..3).map(|n| server.bind_through(1, client(n)).expect("within the share")).collect();
    server.advance(2_000);
    // Past the relay, without option 82.
    let renewed = server.send(&Packet::renew(client(0), held[0]));
    assert_eq!(renewed.map(|ack| ack.kind), Some(Wire::Ack));
    assert_eq!(server.bind_through(1, client(3)), None, "a renewal keeps its place");
    server.send(&Packet::release(client(1), held[1]).server(SERVER));
    assert!(server.bind_through(1, client(3)).is_some(), "a release gives it back");
    assert_eq!(server.bind_through(1, client(4)), None);
    server.advance(1_700);
    assert!(server.bind_through(1, client(4)).is_some(), "the third lease is over");
    let late = server.send(&through(1, Packet::request(client(2)).asks(held[2])));
    assert_eq!(late, None, "and its client is one too many now");
    assert_eq!(server.not_served().last(), Some(&(client(2), "port-share")));
    // A machine that has moved counts where it is.
    assert!(server.bind_through(2, client(0)).is_some());
    assert!(server.bind_through(1, client(2)).is_some());
}

#[test]
fn a_port_s_share_is_known_after_a_restart() {
    let mut server = Server::with_workers(&[SHARE], 2);
    let held: Vec<_> = (0..3).map(|n| server.bind_through(1, client(n)).expect("within the share")).collect();
    assert!(server.bind_through(1, RESERVED).is_some());
    let mut server = server.crash(Loss::Everything);
    assert_eq!(server.bind_through(1, client(3)), None);
    assert!(server.bind_through(2, client(3)).is_some());
    server.send(&Packet::release(client(0), held[0]).server(SERVER));
    assert!(server.bind_through(1, client(4)).is_some());
}

#[test]
fn an_exhausted_pool_gives_what_expired_longest_ago_and_then_nothing() {
    let mut server = Server::new(&[SMALL]);
    let first = server.bind(client(0));
    server.advance(1_000);
    let second = server.bind(client(1));
    server.advance(1_000);
    assert_eq!(server.send(&Packet::discover(client(2))), None, "both are in use");
    assert_eq!(server.not_served(), [(client(2), "pool-exhausted")]);
    server.advance(1_600);
    assert_eq!(server.bind(client(2)), first, "the first has expired");
    server.advance(3_600);
    assert_eq!(server.bind(client(3)), second, "expired before the other");
    assert_eq!(server.bind(client(4)), first);
    assert_eq!(server.send(&Packet::discover(client(0))), None, "its former lease is another's");
    assert_eq!(server.not_served(), [(client(2), "pool-exhausted"), (client(0), "pool-exhausted")]);
}
