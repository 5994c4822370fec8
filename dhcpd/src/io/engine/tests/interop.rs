//! What real clients and relays do that the RFCs do not ask for, each of them some server's trouble: they are served like any other.

use super::*;

type Oddity = fn(Packet) -> Packet;

/// Codes of a reply's options in their order, `sname` and `file` not looked into.
fn codes(reply: &Reply) -> Vec<u8> {
    let (mut at, mut codes) = (240, Vec::new());
    while reply.octets[at] != code::END {
        codes.push(reply.octets[at]);
        at += 2 + usize::from(reply.octets[at + 1]);
    }
    codes
}

#[test]
fn odd_messages_are_answered_like_others() {
    let rows: [(&str, Oddity); 14] = [
        ("nothing odd", |packet| packet),
        ("every option twice, as two agents on the way add theirs", |packet| {
            let options = packet.0[240..].to_vec();
            Packet([packet.0, options].concat())
        }),
        ("options without a value", |packet| {
            [12, 55, 60, 61, 77, 81, 82, 93, 97].into_iter().fold(packet, |packet, code| packet.option(code, &[]))
        }),
        ("padded with END instead of PAD", |packet| Packet([packet.0, vec![255; 60]].concat())),
        ("PAD between options", |packet| Packet([packet.0, vec![0; 7]].concat()).option(12, b"node")),
        ("rubbish behind the hardware address", |packet| packet.at(34, &[0xaa; 10])),
        ("through more relays than one relay would let pass", |packet| packet.at(3, &[17])),
        ("secs in the wrong byte order", |packet| packet.at(8, &[0xff, 0])),
        ("reserved flags set", |packet| packet.at(10, &[0x7f, 0xff])),
        ("takes no message at all", |packet| packet.option(57, &[0, 0])),
        ("a machine identifier of another length", |packet| packet.option(93, &[0, 7]).option(97, &[0; 16])),
        ("an architecture cut off", |packet| packet.option(60, b"PXEClient").option(93, &[0])),
        ("an agent on its own switch adds option 82 and is no relay", |packet| packet.option(82, b"\x01\x04eth7")),
        ("asks for 255 options, most of which there are not", |packet| {
            packet.option(55, &(0..=254).rev().collect::<Vec<u8>>())
        }),
    ];
    for (why, odd) in rows {
        let mut server = Server::new(&[]);
        let mut answer = |packet: Packet| {
            server.deliver(&packet, "vp0");
            server.settle();
            let mut replies = server.replies();
            assert_eq!(replies.len(), 1, "{why}: one answer");
            let reply = replies.remove(0);
            assert_eq!((reply.octets[0], reply.octets[3]), (2, 0), "{why}: a reply, of no hops");
            assert_eq!(reply.octets[4..8], packet.0[4..8], "{why}: xid");
            assert_eq!(reply.octets[28..44], packet.0[28..44], "{why}: all of chaddr");
            assert!(reply.octets.len() >= 300, "{why}");
            let mut codes = codes(&reply);
            codes.sort_unstable();
            assert!(codes.windows(2).all(|pair| pair[0] != pair[1]), "{why}: no option twice: {codes:?}");
            let agent = packet.view(|view| view.option(82).map(<[u8]>::to_vec)).filter(|agent| !agent.is_empty());
            assert_eq!(codes.contains(&82), agent.is_some(), "{why}: what an agent adds comes back");
            (reply.octets[242], Ipv4Addr::from(<[u8; 4]>::try_from(&reply.octets[16..20]).unwrap()))
        };
        let (offer, address) = answer(odd(Packet::discover(STRANGER)));
        assert_eq!(offer, 2, "{why}");
        assert_eq!(answer(odd(Packet::select(STRANGER, SERVER, address))), (5, address), "{why}");
        assert_eq!(answer(odd(Packet::renew(STRANGER, address))), (5, address), "{why}: renews");
    }
}

#[test]
fn a_request_may_have_another_xid_than_the_offer_and_name_its_address_in_either_field() {
    for (why, request) in [
        ("another xid", (|address| Packet::select(STRANGER, SERVER, address).at(4, &[9, 9, 9, 9])) as fn(_) -> Packet),
        ("ciaddr instead of option 50", |address| Packet::renew(STRANGER, address).server(SERVER)),
        ("both", |address| Packet::select(STRANGER, SERVER, address).at(12, &address.octets())),
        ("neither", |_| Packet::request(STRANGER).server(SERVER)),
        ("no server", |address| Packet::request(STRANGER).asks(address)),
    ] {
        let mut server = Server::new(&[]);
        let address = server.send(&Packet::discover(STRANGER)).expect("an offer").address;
        let answer = server.send(&request(address)).map(|answer| (answer.kind, answer.address));
        assert_eq!(answer, Some((Wire::Ack, address)), "{why}");
    }
}

#[test]
fn a_machine_keeps_its_address_through_rom_ipxe_and_system_whatever_they_call_themselves() {
    let mut server = Server::new(&[]);
    let address = server.bind(STRANGER);
    for (why, says) in [
        ("the ROM's identifier", (|packet: Packet| packet.option(61, &[0; 17])) as Oddity),
        ("iPXE's", |packet| packet.option(61, &[1, 2, 0, 0, 0, 0, 7]).option(77, b"iPXE")),
        ("the system's DUID", |packet| packet.option(61, b"\xff\x00\x00\x00\x07\x00\x01")),
        ("none, and another address asked for", |packet| packet.option(50, &[10, 77, 2, 109])),
    ] {
        let offer = server.send(&says(Packet::discover(STRANGER))).expect("an offer");
        assert_eq!(offer.address, address, "{why}");
        let ack = server.send(&Packet::select(STRANGER, SERVER, address)).expect("an ack");
        assert_eq!((ack.kind, ack.address), (Wire::Ack, address), "{why}");
    }
}
