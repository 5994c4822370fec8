//! Lease queries (RFC 4388): what is answered to whom, and that an answer shows what was acknowledged before.

use reveille_config::limit::{LEASE_QUERIES_WAITING_MAX, LEASE_QUERY_WAIT_MILLIS};

use super::*;

const QUERIES: (&str, &str) = ("[dhcpd]", "[dhcpd]\nleasequery = [\"10.77.2.254/32\"]");
const ACTIVE: u8 = 13;
const UNASSIGNED: u8 = 11;
const UNKNOWN: u8 = 12;

/// A query by no hardware address.
fn nobody() -> Packet {
    Packet::new(10, MacAddr::default()).at(1, &[0, 0])
}

fn by_address(address: Ipv4Addr) -> Packet {
    nobody().relayed_by(ip(2, 254)).at(12, &address.octets())
}

/// The reply's type and `ciaddr`.
fn told(reply: &Reply) -> (u8, Ipv4Addr) {
    (reply.octets[242], Ipv4Addr::from(<[u8; 4]>::try_from(&reply.octets[12..16]).unwrap()))
}

fn asked(server: &mut Server, packet: &Packet) -> Option<(u8, Ipv4Addr)> {
    server.deliver(packet, "vp0");
    server.settle();
    server.replies().pop().as_ref().map(told)
}

//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4
//= type=test
//# The server MUST respond with a DHCPLEASEUNASSIGNED message if this server has information about the IP address, but there is no active lease for the IP address.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4
//= type=test
//# The server MUST respond with a DHCPLEASEACTIVE message when the IP address returned in the "ciaddr" field is currently leased.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.3
//= type=test
//# The DHCP server that receives a DHCPLEASEQUERY message MUST base its response on the particular data item used in the query.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.1
//= type=test
//# In the event that an IP address appears in the "ciaddr" field of a DHCPLEASEQUERY message, if that IP address is one managed by the DHCP server, then that IP address MUST be set in the "ciaddr" field of a DHCPLEASEUNASSIGNED message.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
//= type=test
//# The IP address in the "ciaddr" field of the DHCPLEASEUNASSIGNED or DHCPLEASEACTIVE message MUST be one for which this server is responsible (or a DHCPLEASEUNKNOWN message would be have already been returned early in the processing described in the previous section).
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.1
//= type=test
//# If the "ciaddr" field is zero in a DHCPLEASEQUERY message, then the IP address placed in the "ciaddr" field of a DHCPLEASEACTIVE message MUST be that of an IP address for which the client that most recently used the IP address matches the Client-identifier or MAC address specified in the DHCPLEASEQUERY message.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.1
//= type=test
//# If there is only a single IP address that fulfills this criteria, then it MUST be placed in the "ciaddr" field of the DHCPLEASEACTIVE message.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.1
//= type=test
//# If, after all of the above processing, no value is set in the "ciaddr" field of the DHCPLEASEUNASSIGNED or DHCPLEASEACTIVE message, then a DHCPLEASEUNKNOWN message MUST be returned instead.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.7
//= type=test
//# relay-agent-info option from client packet: MUST store with binding.
#[test]
fn lease_queries_are_answered_to_those_who_may_ask() {
    for workers in [1, 3] {
        let mut server = Server::with_workers(&[QUERIES], workers);
        let agent = b"\x01\x04eth7";
        let relayed = |packet: Packet| packet.relayed_by(ip(2, 254)).option(82, agent).option(61, b"\x00id");
        let address = server.send(&relayed(Packet::discover(STRANGER))).expect("an offer").address;
        server.send(&relayed(Packet::select(STRANGER, SERVER, address)));
        let none = Ipv4Addr::UNSPECIFIED;
        for (why, packet, expected) in [
            ("a lease", by_address(address), Some((ACTIVE, address))),
            ("an address of the pool", by_address(ip(2, 109)), Some((UNASSIGNED, ip(2, 109)))),
            ("a reserved one", by_address(ip(2, 50)), Some((UNASSIGNED, ip(2, 50)))),
            ("nobody's", by_address(ip(2, 9)), Some((UNKNOWN, ip(2, 9)))),
            ("a machine", Packet::new(10, STRANGER).relayed_by(ip(2, 254)), Some((ACTIVE, address))),
            ("an unknown machine", Packet::new(10, client(9)).relayed_by(ip(2, 254)), Some((UNKNOWN, none))),
            ("an unknown client", nobody().relayed_by(ip(2, 254)).option(61, b"x"), Some((UNKNOWN, none))),
            ("another relay asks", by_address(address).relayed_by(ip(2, 253)), None),
            ("a client asks", nobody().at(12, &address.octets()), None),
        ] {
            assert_eq!(asked(&mut server, &packet), expected, "{why}, {workers} workers");
        }
        server.deliver(&by_address(address), "vp0");
        server.settle();
        let reply = server.replies().pop().unwrap();
        assert!(reply.octets.windows(agent.len()).any(|window| window == agent), "option 82 as it was last received");
        server.advance(3_601);
        assert_eq!(asked(&mut server, &by_address(address)), Some((UNASSIGNED, address)), "expired");
    }
}

#[test]
fn the_read_model_finds_a_lease_by_whatever_its_client_is_known_by() {
    for identity in ["mac", "client-id"] {
        let identified = format!("lease_secs = 3600\nidentity = \"{identity}\"\ncache_threshold_percent = 0");
        let mut server = Server::new(&[("lease_secs = 3600", &identified)]);
        let named = |packet: Packet, id: &[u8]| packet.option(code::CLIENT_ID, id);
        let bind = |server: &mut Server, mac, id: &[u8]| {
            let offer = server.send(&named(Packet::discover(mac), id)).expect("an offer");
            let ack = server.send(&named(Packet::select(mac, SERVER, offer.address), id)).expect("an ack");
            ack.address
        };
        let found = |server: &Server, id: &[u8]| -> Vec<Ipv4Addr> {
            server.model().leases_of_client_id(id).into_iter().map(|(address, _)| address).collect()
        };
        let (first, second) = (bind(&mut server, client(1), b"\xff one"), bind(&mut server, client(2), b"\xff two"));
        assert_eq!(found(&server, b"\xff one"), [first], "{identity}");
        assert_eq!(found(&server, b"\xff two"), [second], "{identity}");
        assert_eq!(server.model().leases_of(client(2)).len(), 1, "{identity}");
        // The machine's next system calls itself otherwise: by MAC it is the same client, by identifier another.
        let third = bind(&mut server, client(1), b"\xff three");
        assert_eq!(found(&server, b"\xff three"), [third], "{identity}");
        let by_mac = server.model().leases_of(client(1)).len();
        match identity {
            "mac" => assert_eq!((found(&server, b"\xff one"), by_mac), (vec![], 1)),
            _ => assert_eq!((found(&server, b"\xff one"), by_mac), (vec![first], 2)),
        }
        let server = server.crash(Loss::Everything);
        assert_eq!(found(&server, b"\xff three"), [third], "{identity}, after a restart");
        assert!(found(&server, b"\xff").is_empty(), "{identity}, nobody");
    }
}

/// Binds a machine while the journal's reader is held back: its DHCPACK is out, and the read model knows nothing of it.
fn acknowledged(server: &mut Server, mac: MacAddr) -> Ipv4Addr {
    let address = offered(server, mac);
    server.deliver(&Packet::select(mac, SERVER, address), "vp0");
    server.until("the ACK is out", |server| server.engines.iter().all(|engine| engine.desk.waiting.is_empty()));
    assert_eq!(server.answers(), [Answer { kind: Wire::Ack, address, secs: 3_600 }]);
    address
}

fn offered(server: &mut Server, mac: MacAddr) -> Ipv4Addr {
    server.deliver(&Packet::discover(mac), "vp0");
    server.poll();
    server.answers()[0].address
}

#[test]
fn a_query_sees_what_was_acknowledged_before_it_came() {
    for workers in [1, 3] {
        let mut server = Server::with_workers(&[QUERIES], workers);
        let shared = Arc::clone(&server.store.shared);
        let reader_held = shared.model.hold_leases();
        let address = acknowledged(&mut server, STRANGER);
        server.deliver(&by_address(address), "vp0");
        server.poll();
        assert_eq!(server.replies(), [], "it waits, {workers} workers");
        let other = offered(&mut server, client(1));
        assert_ne!(other, address, "and nobody else does");
        drop(reader_held);
        server.until("the query is answered", |server| server.engines.iter().all(|it| it.desk.queries.count() == 0));
        let replies = server.replies();
        assert_eq!(replies.iter().map(told).collect::<Vec<_>>(), [(ACTIVE, address)], "{workers} workers");
    }
}

//= https://www.rfc-editor.org/rfc/rfc4388#section-7
//= type=test
//# DHCP servers supporting the DHCPLEASEQUERY message SHOULD ensure that they cannot be successfully attacked by being flooded with large quantities of DHCPLEASEQUERY messages in a short time.
#[test]
fn a_query_waits_for_so_long_and_in_no_longer_a_queue() {
    let mut server = Server::new(&[QUERIES]);
    let shared = Arc::clone(&server.store.shared);
    let reader_held = shared.model.hold_leases();
    let address = acknowledged(&mut server, STRANGER);
    let waiting = |server: &Server| server.engines[0].desk.queries.count();
    server.deliver(&by_address(address).relayed_by(ip(2, 253)), "vp0");
    assert_eq!(waiting(&server), 0, "who may not ask takes nobody's place");
    for _ in 0..LEASE_QUERIES_WAITING_MAX + 1 {
        server.deliver(&by_address(address), "vp0");
    }
    assert_eq!(waiting(&server), LEASE_QUERIES_WAITING_MAX);
    let due = Millis(server.now.monotonic.0 + LEASE_QUERY_WAIT_MILLIS);
    assert_eq!(server.engines[0].desk.queries.next_due(), Some(due));
    assert!(server.engines[0].poll_timeout().is_some_and(|at| at <= due), "the worker wakes for it");
    server.advance(LEASE_QUERY_WAIT_MILLIS.div_ceil(1_000));
    assert_eq!((waiting(&server), server.replies()), (0, vec![]));
    drop(reader_held);
    server.catch_up();
    assert_eq!(asked(&mut server, &by_address(address)), Some((ACTIVE, address)));
}
