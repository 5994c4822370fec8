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

/// An option of the answer to a query by address without a list.
fn told_option(server: &mut Server, address: Ipv4Addr, code: u8) -> Option<Vec<u8>> {
    server.deliver(&by_address(address), "vp0");
    server.settle();
    option_of(&server.replies().pop().expect("an answer"), code)
}

fn option_of(reply: &Reply, code: u8) -> Option<Vec<u8>> {
    let mut at = 240;
    while reply.octets[at] != code::END {
        let end = at + 2 + usize::from(reply.octets[at + 1]);
        if reply.octets[at] == code {
            return Some(reply.octets[at + 2..end].to_vec());
        }
        at = end;
    }
    None
}

fn secs(octets: Option<Vec<u8>>) -> Option<u32> {
    octets.map(|octets| u32::from_be_bytes(octets.try_into().unwrap()))
}

//= https://www.rfc-editor.org/rfc/rfc4388#section-6.1
//= type=test
//# Instead, this MUST be an integer number of seconds in the past from the time the DHCPLEASEACTIVE message is sent that the client last dealt with this server about this IP address.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.7
//= type=test
//# client-last-transaction-time of last client interaction: MUST store with binding.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.7
//= type=test
//# DHCP server implementations that implement the DHCPLEASEQUERY capability MUST save the most recent Relay Agent Information option from the most recent DHCPREQUEST packet for two reasons.
//= https://www.rfc-editor.org/rfc/rfc4388#section-5
//= type=test
//# Any DHCP server that supports the DHCPLEASEQUERY message SHOULD save the information from the most recent Relay Agent Information option (option 82) [RFC3046] associated with every IP address that it serves.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
//= type=test
//# If the Relay Agent Information (option 82) is specified in the Parameter Request List, then the information contained in the most recent Relay Agent Information option received from the relay agent associated with this IP address MUST be included in the DHCPLEASEACTIVE message.
//= https://www.rfc-editor.org/rfc/rfc4388#section-5
//= type=test
//# A server that implements DHCPLEASEQUERY SHOULD also save the information on the most recent Vendor class identifier, option 60, associated with each IP address, since this option is also likely to be requested by clients sending the DHCPLEASEQUERY message.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.7
//= type=test
//# vendor-class-id: SHOULD store with binding.
#[test]
fn a_dealing_that_promises_nothing_new_is_told_all_the_same() {
    let mut server = Server::new(&[QUERIES]);
    let through = |packet: Packet, port: &[u8]| packet.relayed_by(ip(2, 254)).option(82, &[&[1, 4][..], port].concat());
    let says = |packet: Packet, class: &[u8]| packet.option(60, class);
    let address =
        server.send(&says(through(Packet::discover(STRANGER), b"eth1"), b"PXEClient")).expect("an offer").address;
    server.send(&says(through(Packet::select(STRANGER, SERVER, address), b"eth1"), b"PXEClient")).expect("an ack");
    let records = server.engines[0].desk.journal.last_told();
    let relay = |port: &[u8]| Some([&[1, 4][..], port].concat());
    // Each step: seconds later; what the client sends; then seconds since it dealt with the server, what the relay said, its class, and its lease time since the ACK.
    for (why, later, packet, since, port, class, lease) in [
        ("nothing", 100, None, 100, b"eth1", &b"PXEClient"[..], 3_500),
        (
            "an early renewal behind another port",
            100,
            Some(says(through(Packet::renew(STRANGER, address), b"eth2"), b"Linux")),
            0,
            b"eth2",
            b"Linux",
            3_400,
        ),
        (
            "a renewal past the relay, without a class",
            50,
            Some(Packet::renew(STRANGER, address)),
            0,
            b"eth2",
            b"Linux",
            3_350,
        ),
        (
            "a DISCOVER: the lease is offered",
            50,
            Some(through(Packet::discover(STRANGER), b"eth3")),
            0,
            b"eth2",
            b"Linux",
            3_300,
        ),
        ("a question for options", 50, Some(Packet::inform(STRANGER, address)), 0, b"eth2", b"Linux", 3_250),
        ("nothing again", 50, None, 50, b"eth2", b"Linux", 3_200),
    ] {
        server.advance(later);
        if let Some(packet) = packet {
            server.send(&packet).expect("an answer");
        }
        assert_eq!(secs(told_option(&mut server, address, 91)), Some(since), "{why}");
        assert_eq!(told_option(&mut server, address, 82), relay(port), "{why}");
        assert_eq!(told_option(&mut server, address, 60).as_deref(), Some(class), "{why}");
        assert_eq!(secs(told_option(&mut server, address, 51)), Some(lease), "{why}");
    }
    assert_eq!(server.engines[0].desk.journal.last_told(), records + 4, "one record for each, and none is a binding");
    let ends = server.model().lease(address).unwrap().ends;
    for (why, snapshot) in [("replayed", false), ("out of a snapshot", true)] {
        if snapshot {
            server.snapshot();
        }
        server = server.crash(Loss::Everything);
        assert_eq!(secs(told_option(&mut server, address, 91)), Some(50), "{why}");
        assert_eq!(told_option(&mut server, address, 82), relay(b"eth2"), "{why}");
        assert_eq!(told_option(&mut server, address, 60).as_deref(), Some(&b"Linux"[..]), "{why}");
        let row = server.model().lease(address).unwrap();
        assert_eq!(
            (row.ends, server.now.unix.0 - row.told.0),
            (ends, 150),
            "{why}: what is left was told with the second renewal"
        );
    }
}

#[test]
fn nothing_is_written_for_queries_where_nobody_may_ask() {
    let mut server = Server::new(&[]);
    let address = server.bind(STRANGER);
    let records = server.engines[0].desk.journal.last_told();
    server.advance(100);
    server.send(&Packet::renew(STRANGER, address).option(60, b"Linux")).expect("an ack");
    assert_eq!(server.engines[0].desk.journal.last_told(), records);
    assert_eq!(server.model().lease(address).unwrap().vendor_class, [].into());
}

#[test]
fn a_dealing_is_not_written_where_it_would_take_the_room_of_promises() {
    let mut server = Server::new(&[QUERIES]);
    let address = server.bind(STRANGER);
    let bound = server.model().lease(address).unwrap().dealt;
    server.advance(100);
    server.disk.refuse_after(0, Errno::NOSPC);
    // A record that the disk refuses.
    server.deliver(&Packet::select(client(1), SERVER, ip(2, 109)), "vp0");
    server.until("the disk refuses", |server| !server.engines[0].desk.journal.is_healthy());
    server.deliver(&Packet::renew(STRANGER, address), "vp0");
    server.poll();
    assert_eq!(
        server.answers().iter().map(|answer| answer.kind).collect::<Vec<_>>(),
        [Wire::Ack],
        "what is on disk is acknowledged"
    );
    assert_eq!(asked(&mut server, &by_address(address)), Some((ACTIVE, address)), "and told as the disk has it");
    assert_eq!(server.model().lease(address).unwrap().dealt, bound);
    server.disk.give_room();
    server.until("the disk writes again", |server| server.engines[0].desk.journal.is_healthy());
    server.send(&Packet::renew(STRANGER, address)).expect("an ack");
    // A query waits for the record.
    assert_eq!(secs(told_option(&mut server, address, 91)), Some(0));
}

//= https://www.rfc-editor.org/rfc/rfc4388#section-5
//= type=test
//# In the absence of specific configuration information to the contrary (see Section 6.4), it SHOULD be the IP address with the latest client-last-transaction-time associated with the client described by the MAC address or Client-identifier option.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.1
//= type=test
//# In the case where more than one IP address has been accessed by the client specified by the MAC address or Client-identifier option, then the DHCP server MUST return the IP address returned to the client in the most recent transaction with the client unless the DHCP server has been configured by the server administrator to use some other preference mechanism.
#[test]
fn of_several_leases_the_one_that_was_dealt_about_last_is_told() {
    const ID: &[u8] = b"\x00id";
    let both = [Packet::new(10, KNOWN_BMC).relayed_by(ip(2, 254)), nobody().relayed_by(ip(2, 254)).option(61, ID)];
    let mut server = Server::new(&[QUERIES]);
    let named = |packet: Packet| packet.option(61, ID);
    let mut bind = |link, its_server| {
        let offer = server.send_on(link, &named(Packet::discover(KNOWN_BMC))).expect("an offer").address;
        server.send_on(link, &named(Packet::select(KNOWN_BMC, its_server, offer))).expect("an ack").address
    };
    let (fixed, pooled) = (bind("vb0", ip(1, 1)), bind("vp0", SERVER));
    let other = |address| if address == fixed { pooled } else { fixed };
    // All in one second, then later; a renewal is answered as the lease stands.
    for (why, later, link, address) in [
        ("bound last", 0, None, pooled),
        ("renewed within the same second", 0, Some("vb0"), fixed),
        ("renewed later", 60, Some("vp0"), pooled),
        ("and the first again", 60, Some("vb0"), fixed),
    ] {
        server.advance(later);
        if let Some(link) = link {
            server.send_on(link, &named(Packet::renew(KNOWN_BMC, address))).expect("an ack");
        }
        for query in &both {
            server.deliver(query, "vp0");
            server.settle();
            let reply = server.replies().pop().expect("an answer");
            assert_eq!(told(&reply), (ACTIVE, address), "{why}");
            let all = [address.octets(), other(address).octets()].concat();
            assert_eq!(option_of(&reply, 92), Some(all), "{why}");
        }
    }
    server.send_on("vb0", &named(Packet::release(KNOWN_BMC, fixed)).server(ip(1, 1)));
    for query in &both {
        assert_eq!(asked(&mut server, query), Some((ACTIVE, pooled)), "what was given back is not leased");
    }
}

//= https://www.rfc-editor.org/rfc/rfc4388#section-6.3
//= type=test
//# The DHCPLEASEQUERY message is one of those cases where the giaddr MUST NOT be used as such a "key".
#[test]
fn the_address_asked_for_need_not_be_of_the_requestors_subnet() {
    let mut server = Server::new(&[("[dhcpd]", "[dhcpd]\nleasequery = [\"10.77.0.0/16\"]")]);
    let bmc = server.send_on("vb0", &Packet::discover(KNOWN_BMC)).expect("an offer").address;
    server.send_on("vb0", &Packet::select(KNOWN_BMC, ip(1, 1), bmc)).expect("an ack");
    let pooled = server.bind(STRANGER);
    for (why, giaddr, address) in [
        ("its own subnet", ip(2, 254), pooled),
        ("another one", ip(2, 254), bmc),
        ("the other way round", ip(1, 254), pooled),
        ("a requestor on a subnet that is not served", ip(9, 254), pooled),
    ] {
        let query = by_address(address).relayed_by(giaddr);
        assert_eq!(asked(&mut server, &query), Some((ACTIVE, address)), "{why}");
    }
}
