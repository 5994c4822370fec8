//! The packet path allocates nothing once it is warm: counted on the worker's own thread, from the datagram to the reply's last octet.

use super::*;

/// Everything that one round of each client sends: DISCOVER, the REQUEST for the offer, a renewal.
fn packets(server: &mut Server) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for n in 1..=8 {
        let mac = client(n);
        let address = server.bind(mac);
        for packet in [Packet::discover(mac), Packet::select(mac, SERVER, address), Packet::renew(mac, address)] {
            // Half of the clients say much.
            let packet = if n % 2 == 0 {
                let packet =
                    packet.option(61, &[1, 2, 0, 0, 1, 0, n]).option(12, b"node").option(55, &[1, 3, 6, 15, 66, 67]);
                packet.option(82, &[1, 4, b'p', b'o', b'r', b't'])
            } else {
                packet
            };
            packets.push(packet.octets());
        }
    }
    packets
}

/// Each packet, its answer and the memory given back.
fn round(server: &mut Server, packets: &[Vec<u8>]) -> usize {
    let (engine, now) = (&mut server.engines[0], server.now);
    let mut answers = 0;
    for octets in packets {
        let from = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
        engine.handle_packet(now, Arrival { octets, link: 1, from, broadcast: false });
        // Also where nobody waits for the record, so that as little waits for the disk here as where it keeps up.
        while !engine.desk.waiting.is_empty() || !engine.desk.journal.has_followed(engine.desk.journal.last_told()) {
            engine.handle_durable();
            std::thread::yield_now();
        }
        while let Some(outgoing) = engine.poll_send() {
            answers += 1;
            engine.recycle(outgoing.reply.octets);
        }
        engine.handle_batch_end();
    }
    answers
}

/// Classes that some of the packets are in, some by options of theirs, some by what they are not.
const CLASSES: &str = r#"[[dhcpd.class]]
name = "half"
match = { any = [{ circuit-id = "port" }, { mac-prefix = "02:00:00:01:00:03" }] }
options = { ntp-servers = ["10.77.2.7"] }

[[dhcpd.class]]
name = "rest"
match = { not = { option = { code = 12, present = true } } }
options = { domain-name = "rest.example" }

[[dhcpd.scope]]
name = "bmc""#;

#[test]
fn a_warm_worker_allocates_nothing_for_a_packet() {
    for classes in [&[][..], &[("[[dhcpd.scope]]\nname = \"bmc\"", CLASSES)]] {
        let uncached = ("lease_secs = 3600\n", "lease_secs = 3600\ncache_threshold_percent = 0\n");
        allocates_nothing(&[&[uncached], classes].concat(), &[]);
        // Answered as the lease stands, with a record for those who may ask.
        allocates_nothing(&[&[("[dhcpd]", "[dhcpd]\nleasequery = [\"10.77.2.254/32\"]")], classes].concat(), &[]);
    }
    // The second has a client's identifier, and comes before the one by the port that others are behind.
    let port = ReservedFor::Circuit { circuit_id: Octets(b"port".to_vec()), remote_id: Octets::default() };
    let ids = [port, ReservedFor::ClientId(Octets(vec![1, 2, 0, 0, 1, 0, 2]))];
    allocates_nothing(&[], &ids);
}

fn allocates_nothing(changes: &[(&str, &str)], reserved: &[ReservedFor]) {
    let mut server = Server::new(changes);
    for (client, last) in reserved.iter().zip(60..) {
        server.put(draft(&server, "prov", client.clone(), Some(ip(2, last)))).unwrap();
    }
    let packets = packets(&mut server);
    for _ in 0..20 {
        assert_eq!(round(&mut server, &packets), packets.len(), "each is answered");
    }
    let counted = allocation_counter::measure(|| {
        for _ in 0..20 {
            round(&mut server, &packets);
        }
    });
    assert_eq!(counted.count_total, 0, "in {} packets: {counted:?}", 20 * packets.len());
    let grown = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(grown.count_total, 1, "allocations are counted");
}
