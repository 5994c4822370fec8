mod options;
mod proxy;

use std::sync::Arc;

use dhcproto::v4::{DhcpOption, MessageType as Wire, OptionCode};
use dhcproto::{Decodable, Decoder};
use proptest::prelude::*;

use super::*;
use crate::proto::scope::Scopes;
use crate::proto::testing::{NO_CLASSES, Packet, RESERVED, STRANGER, ip, prov, rules, scopes};
use crate::proto::view::MAGIC_COOKIE;

const LEASE: Lease = Lease { address: ip(2, 100), secs: 3_600 };

/// Whoever sent `packet` from port 68, and has no reservation.
fn asker<'a>(packet: &'a PacketView<'a>, scopes: &'a Scopes) -> Asker<'a> {
    Asker { packet, from_port: 68, called: None, rules: rules(scopes, prov(scopes)) }
}

/// Replies that OFFER ip(2, 100) to a packet.
fn offer_to(packet: &Packet) -> Reply {
    let scopes = scopes(&[]);
    offer_of(&scopes, packet)
}

fn offer_of(scopes: &Scopes, packet: &Packet) -> Reply {
    packet.view(|view| asker(view, scopes).offer(Vec::new(), LEASE))
}

fn ack_to(packet: &Packet) -> Reply {
    let scopes = scopes(&[]);
    packet.view(|view| asker(view, &scopes).ack(Vec::new(), LEASE)).open()
}

fn decode(reply: &Reply) -> Message {
    Message::decode(&mut Decoder::new(&reply.octets)).unwrap()
}

/// The options in the order of the wire.
fn options(reply: &Reply) -> Vec<(u8, Vec<u8>)> {
    let (mut at, mut found) = (240, Vec::new());
    while reply.octets[at] != 255 {
        let len = usize::from(reply.octets[at + 1]);
        found.push((reply.octets[at], reply.octets[at + 2..at + 2 + len].to_vec()));
        at += 2 + len;
    }
    assert!(reply.octets[at + 1..].iter().all(|&octet| octet == 0), "END comes before the padding");
    found
}

fn option(reply: &Reply, code: u8) -> Option<Vec<u8>> {
    options(reply).into_iter().find(|(found, _)| *found == code).map(|(_, value)| value)
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
//= type=test
//# The server MUST return to the client:
//= https://www.rfc-editor.org/rfc/rfc1542#section-2.3
//= type=test
//# The 'chaddr' field MUST be preserved as it was specified by the BOOTP client.
#[test]
fn the_wire_library_reads_an_ack_as_it_was_meant() {
    let packet = Packet::renew(STRANGER, ip(2, 100)).option(55, &[1, 3, 6, 28, 51, 58, 59, 224]).option(61, &[1, 2, 3]);
    let [t1, t2] = t1_and_t2(STRANGER, 3_600);
    let message = decode(&ack_to(&packet));
    let opts = message.opts();
    assert_eq!(message.opcode(), Opcode::BootReply);
    assert_eq!((message.xid(), message.yiaddr(), message.ciaddr()), (0xdead_beef, ip(2, 100), ip(2, 100)));
    assert_eq!((message.hops(), message.secs()), (0, 0));
    assert_eq!(message.chaddr(), STRANGER.octets());
    assert_eq!(opts.msg_type(), Some(Wire::Ack));
    for (code, expected) in [
        (OptionCode::ServerIdentifier, DhcpOption::ServerIdentifier(ip(2, 1))),
        (OptionCode::AddressLeaseTime, DhcpOption::AddressLeaseTime(3_600)),
        (OptionCode::Renewal, DhcpOption::Renewal(t1)),
        (OptionCode::Rebinding, DhcpOption::Rebinding(t2)),
        (OptionCode::SubnetMask, DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0))),
        (OptionCode::Router, DhcpOption::Router(vec![ip(2, 1)])),
        (OptionCode::DomainNameServer, DhcpOption::DomainNameServer(vec![ip(2, 2), ip(2, 3)])),
        (OptionCode::BroadcastAddr, DhcpOption::BroadcastAddr(ip(2, 255))),
        (OptionCode::ClientIdentifier, DhcpOption::ClientIdentifier(vec![1, 2, 3])),
    ] {
        assert_eq!(opts.get(code), Some(&expected));
    }
    assert_eq!(option(&ack_to(&packet), 224), Some(vec![10, 11]));
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
//= type=test
//# If the 'giaddr' field in a DHCP message from a client is non-zero, the server sends any return messages to the 'DHCP server' port on the BOOTP relay agent whose address appears in 'giaddr'.
//= https://www.rfc-editor.org/rfc/rfc2131#section-2
//= type=test
//# They MUST be set to zero by clients and ignored by servers and relay agents.
//= https://www.rfc-editor.org/rfc/rfc1542#section-2.2
//= type=test
//# They MUST be set to zero by clients and ignored by servers and relay agents.
#[test]
fn replies_go_where_rfc_2131_section_4_1_says() {
    let relay = ip(2, 254);
    let discover = Packet::discover(STRANGER);
    let select = Packet::select(STRANGER, ip(2, 1), ip(2, 100));
    let frame = Destination::Frame(STRANGER, ip(2, 100));
    assert_eq!(offer_to(&discover).destination, frame);
    assert_eq!(offer_to(&discover.clone().broadcast()).destination, Destination::Broadcast);
    assert_eq!(offer_to(&discover.clone().at(10, &[0x7f, 0xff])).destination, frame, "the other flags mean nothing");
    assert_eq!(offer_to(&discover.clone().relayed_by(relay)).destination, Destination::Relay(relay, 67));
    assert_eq!(
        offer_to(&discover.clone().at(12, &[10, 77, 2, 9])).destination,
        frame,
        "ciaddr of a DISCOVER is not trusted"
    );
    assert_eq!(ack_to(&select).destination, frame);
    let renew = Packet::renew(STRANGER, ip(2, 100));
    assert_eq!(ack_to(&renew).destination, Destination::Unicast(ip(2, 100)));
    assert_eq!(ack_to(&renew.clone().broadcast()).destination, Destination::Unicast(ip(2, 100)));
    assert_eq!(ack_to(&renew.relayed_by(relay)).destination, Destination::Relay(relay, 67));

    let loud = scopes(&[("lease_secs = 3600", "lease_secs = 3600\nalways_broadcast = true")]);
    let told = offer_of(&loud, &discover);
    assert_eq!(told.destination, Destination::Broadcast);
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.2
//= type=test
//# The server MUST broadcast the DHCPNAK message to the 0xffffffff broadcast address because the client may not have a correct network address or subnet mask, and the client may not be answering ARP requests.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.2
//= type=test
//# The server MUST set the broadcast bit in the DHCPNAK, so that the relay agent will broadcast the DHCPNAK to the client, because the client may not have a correct network address or subnet mask, and the client may not be answering ARP requests.
//= https://www.rfc-editor.org/rfc/rfc2131#section-3.2
//= type=test
//# Otherwise, the server MUST send the DHCPNAK message to the IP address of the BOOTP relay agent, as recorded in 'giaddr'.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
//= type=test
//# Use 'file'/'sname' fields MAY MAY MUST NOT
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
//= type=test
//# All others MAY MAY MUST NOT
#[test]
fn naks_are_broadcast_and_say_why() {
    let scopes = scopes(&[]);
    let to = |packet: Packet| packet.view(|view| asker(view, &scopes).nak(Vec::new(), NakReason::Taken));
    let direct = to(Packet::renew(STRANGER, ip(2, 100)).option(61, &[7]).option(55, &[1, 3]));
    assert_eq!(direct.destination, Destination::Broadcast);
    let codes: Vec<u8> = options(&direct).iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [53, 54, 56, 61], "nothing else belongs in a NAK (RFC 2131 table 3)");
    let message = decode(&direct);
    assert_eq!(
        (message.yiaddr(), message.ciaddr(), message.siaddr()),
        (Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED)
    );
    assert!(direct.octets[44..236].iter().all(|&octet| octet == 0), "neither `sname` nor `file` is used");
    let relayed = to(Packet::renew(STRANGER, ip(2, 100)).relayed_by(ip(2, 254)));
    assert_eq!(relayed.destination, Destination::Relay(ip(2, 254), 67));
    assert_eq!(relayed.octets[10] & 0x80, 0x80, "the relay is told to broadcast");
}

#[test]
fn a_relay_is_answered_on_port_67_and_a_load_generator_where_it_sends_from() {
    let (scopes, relay) = (scopes(&[]), ip(2, 254));
    for (from, to) in [(67, 67), (68, 67), (1023, 67), (1024, 1024), (40_000, 40_000)] {
        let nak = Packet::renew(STRANGER, ip(2, 100))
            .relayed_by(relay)
            .view(|view| Asker { from_port: from, ..asker(view, &scopes) }.nak(Vec::new(), NakReason::Taken));
        assert_eq!(nak.destination, Destination::Relay(relay, to), "from port {from}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.5
//= type=test
//# The server MUST NOT send a lease expiration time to the client and SHOULD NOT fill in 'yiaddr'.
//= https://www.rfc-editor.org/rfc/rfc2131#section-3.4
//= type=test
//# The servers SHOULD unicast the DHCPACK reply to the address given in the 'ciaddr' field of the DHCPINFORM message.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
//= type=test
//# IP address lease time MUST MUST (DHCPREQUEST) MUST NOT MUST NOT (DHCPINFORM)
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.5
//= type=test
//# The server responds to a DHCPINFORM message by sending a DHCPACK message directly to the address given in the 'ciaddr' field of the DHCPINFORM message.
#[test]
fn inform_is_answered_without_a_lease() {
    let scopes = scopes(&[]);
    let packet = Packet::inform(STRANGER, ip(2, 200)).option(55, &[6]);
    let reply = packet.view(|view| asker(view, &scopes).inform(Vec::new()));
    assert_eq!(reply.destination, Destination::Unicast(ip(2, 200)));
    let relayed = packet.clone().relayed_by(ip(2, 254));
    let through_relay = relayed.view(|view| asker(view, &scopes).inform(Vec::new()));
    assert_eq!(through_relay.destination, Destination::Unicast(ip(2, 200)), "also where a relay brought it");
    assert_eq!(decode(&reply).yiaddr(), Ipv4Addr::UNSPECIFIED);
    assert!([51, 58, 59].iter().all(|&code| option(&reply, code).is_none()));
    assert!(option(&reply, 6).is_some());
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
//= type=test
//# IF the server has been explicitly configured with a default value for the parameter, the server MUST include that value in an appropriate option in the 'option' field, ELSE
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
//= type=test
//# The server MUST NOT return a value for that parameter,
#[test]
fn only_what_is_asked_for_is_sent_save_what_all_need() {
    let asks = |codes: &[u8]| offer_to(&Packet::discover(STRANGER).option(55, codes));
    let has = |reply: &Reply, code| option(reply, code).is_some();
    let little = asks(&[28]);
    assert!(has(&little, 1) && has(&little, 3) && has(&little, 28) && !has(&little, 6) && !has(&little, 224));
    assert!(!has(&asks(&[42, 6]), 42) && has(&asks(&[42, 6]), 6), "what is not configured is left out");
    let all = offer_to(&Packet::discover(STRANGER));
    assert!(has(&all, 6) && has(&all, 224), "who does not say gets everything");
}

//= https://www.rfc-editor.org/rfc/rfc2132#section-8.4
//= type=test
//# Servers not equipped to interpret the vendor-specific information sent by a client MUST ignore it (although it may be reported).
//= https://www.rfc-editor.org/rfc/rfc2132#section-8.4
//= type=test
//# The Encapsulated vendor-specific options field SHOULD be encoded as a sequence of code/length/value fields of identical syntax to the DHCP options field with the following exceptions:
//= https://www.rfc-editor.org/rfc/rfc2132#section-8.4
//= type=test
//# There SHOULD NOT be a "magic cookie" field in the encapsulated vendor-specific extensions field.
//= https://www.rfc-editor.org/rfc/rfc2132#section-9.13
//= type=test
//# Servers not equipped to interpret the class-specific information sent by a client MUST ignore it (although it may be reported).
//= https://www.rfc-editor.org/rfc/rfc2132#section-9.13
//= type=test
//# Servers that respond SHOULD only use option 43 to return the vendor-specific information to the client.
#[test]
fn the_boot_file_depends_on_what_the_client_is() {
    let pxe = |arch: u8| Packet::discover(STRANGER).option(60, b"PXEClient:Arch:00000").option(93, &[0, arch]);
    let http = |arch: u8| Packet::discover(STRANGER).option(60, b"HTTPClient:Arch:00016").option(93, &[0, arch]);
    let script = "http://10.77.2.1:8080/boot.ipxe";
    for (why, packet, file, class) in [
        ("BIOS ROM", pxe(0), Some("undionly.kpxe"), Some("PXEClient")),
        ("x64 ROM, 7", pxe(7), Some("snponly.efi"), Some("PXEClient")),
        ("x64 ROM, 9", pxe(9), Some("snponly.efi"), Some("PXEClient")),
        ("arm64 ROM, for which there is nothing", pxe(11), None, Some("PXEClient")),
        (
            "an old ROM that does not say",
            Packet::discover(STRANGER).option(60, b"PXEClient"),
            Some("undionly.kpxe"),
            Some("PXEClient"),
        ),
        ("iPXE", pxe(0).option(77, b"iPXE"), Some(script), Some("PXEClient")),
        ("iPXE as RFC 3004 would have it", pxe(7).option(77, b"\x04iPXE"), Some(script), Some("PXEClient")),
        ("another user class", pxe(0).option(77, b"iPXE2"), Some("undionly.kpxe"), Some("PXEClient")),
        ("UEFI HTTP", http(16), Some("http://10.77.2.1:8080/ipxe.efi"), Some("HTTPClient")),
        ("UEFI HTTP, arm64", http(19), None, Some("HTTPClient")),
        (
            "firmware that says `HTTPClient` and what it would say as `PXEClient`",
            http(7),
            Some("http://10.77.2.1:8080/ipxe.efi"),
            Some("HTTPClient"),
        ),
        ("the second of two architectures", pxe(11).option(93, &[0, 7]), Some("snponly.efi"), Some("PXEClient")),
        ("with information of its vendor", pxe(0).option(43, b"\x06\x01"), Some("undionly.kpxe"), Some("PXEClient")),
        ("an operating system", Packet::discover(STRANGER).option(60, b"MSFT 5.0"), None, None),
    ] {
        let reply = offer_to(&packet);
        let text = |value: Option<Vec<u8>>| value.map(|value| String::from_utf8(value).unwrap());
        assert_eq!(text(option(&reply, 67)).as_deref(), file, "{why}");
        let in_header = decode(&reply).fname_str().map(|name| name.unwrap().trim_end_matches('\0').to_string());
        assert_eq!(in_header.as_deref(), file, "{why}: `file`");
        assert_eq!(text(option(&reply, 60)).as_deref(), class, "{why}");
        assert_eq!(decode(&reply).siaddr(), ip(2, 9), "{why}");
        let of_vendor = (class == Some("PXEClient")).then(|| vec![6, 1, 8, 255]);
        assert_eq!(option(&reply, 43), of_vendor, "{why}: code, length, value, END");
    }
    assert_eq!(option(&offer_to(&pxe(0)), 66), Some(b"10.77.2.9".to_vec()));
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
//= type=test
//# The configuration parameters MUST be selected by applying the following rules in the order given below.
#[test]
fn a_reservation_overrides_the_scope() {
    let scopes = scopes(&[]);
    let own = &prov(&scopes).reservations[0];
    let mut own = (**own).clone();
    own.options = OptionBlock::encode([(12, &b"node-1"[..]), (6, &[9, 9, 9, 9])]);
    own.boot_file = Some("special.efi".into());
    let packet = Packet::discover(RESERVED).option(60, b"PXEClient").option(93, &[0, 7]).option(55, &[6, 12, 67]);
    let reply = packet.view(|view| {
        let rules = Rules::new(&scopes, prov(&scopes), Some(&own), &NO_CLASSES);
        Asker { rules, ..asker(view, &scopes) }.offer(Vec::new(), LEASE)
    });
    assert_eq!(option(&reply, 6), Some(vec![9, 9, 9, 9]));
    assert_eq!(option(&reply, 12), Some(b"node-1".to_vec()));
    assert_eq!(option(&reply, 67), Some(b"special.efi".to_vec()));
    assert_eq!(option(&reply, 3), Some(ip(2, 1).octets().to_vec()), "the rest stays the scope's");
}

/// Whatever file a reservation names, iPXE never gets what firmware gets, a ROM gets no URL and `HTTPClient` nothing else.
#[test]
fn no_client_is_sent_round_in_a_circle() {
    let scopes = scopes(&[]);
    let rom = Packet::discover(RESERVED).option(60, b"PXEClient").option(93, &[0, 7]);
    let ipxe = rom.clone().option(77, b"iPXE");
    let http = Packet::discover(RESERVED).option(60, b"HTTPClient").option(93, &[0, 16]);
    let (script, of_http) = (Some("http://10.77.2.1:8080/boot.ipxe"), Some("http://10.77.2.1:8080/ipxe.efi"));
    for (own, for_rom, for_ipxe, for_http) in [
        ("special.efi", Some("special.efi"), script, of_http),
        ("http://a/special.efi", Some("snponly.efi"), script, Some("http://a/special.efi")),
        ("http://a/own.ipxe?mac=1", Some("snponly.efi"), Some("http://a/own.ipxe?mac=1"), of_http),
        ("tftp://a/special.efi", Some("snponly.efi"), script, of_http),
    ] {
        for (packet, expected) in [(&rom, for_rom), (&ipxe, for_ipxe), (&http, for_http)] {
            let scope = prov(&scopes);
            let answer = packet.view(|view| {
                boot::choose(view, scope.boot.as_deref(), scope.server_address, Some(own)).file.map(str::to_owned)
            });
            assert_eq!(answer.as_deref(), expected, "{own}");
        }
    }
}

#[test]
fn what_the_operator_sets_by_hand_goes_before_what_is_computed() {
    let scopes = scopes(&[("224 = \"hex:0a0b\"", "43 = \"hex:0601ff\"")]);
    let packet = Packet::discover(STRANGER).option(60, b"PXEClient").option(93, &[0, 0]);
    let reply = offer_of(&scopes, &packet);
    assert_eq!(option(&reply, 43), Some(vec![6, 1, 255]));
}

//= https://www.rfc-editor.org/rfc/rfc4578#section-2.1
//= type=test
//# This option MUST be present in all DHCP and PXE packets sent by PXE-compliant clients and servers.
//= https://www.rfc-editor.org/rfc/rfc4578#section-2.2
//= type=test
//# This option MUST be present in all DHCP and PXE packets sent by PXE-compliant clients and servers.
//= https://www.rfc-editor.org/rfc/rfc4578#section-2.3
//= type=test
//# This option MUST be present in all DHCP and PXE packets sent by PXE-compliant clients and servers.
#[test]
fn echoes_come_back_verbatim_and_relay_information_last() {
    let id = [0; 17];
    let agent: Vec<u8> = (0..300u16).map(|i| i as u8).collect();
    let packet = Packet::discover(STRANGER)
        .option(82, &agent[..200])
        .option(61, &[1, 2, 0, 0, 0, 0, 7])
        .option(93, &[0, 7, 0, 9])
        .option(94, &[1, 3, 16])
        .option(97, &id)
        .option(57, &1_500u16.to_be_bytes())
        .option(82, &agent[200..]);
    let reply = offer_to(&packet);
    let options = options(&reply);
    let of_pxe = [93, 94, 97].map(|code| option(&reply, code));
    assert_eq!(of_pxe, [Some(vec![0, 7, 0, 9]), Some(vec![1, 3, 16]), Some(id.to_vec())]);
    assert_eq!(option(&reply, 61), Some(vec![1, 2, 0, 0, 0, 0, 7]));
    let last: Vec<u8> = options.iter().filter(|(code, _)| *code == 82).flat_map(|(_, value)| value.clone()).collect();
    assert_eq!(last, agent);
    assert!(options[options.len() - 2..].iter().all(|(code, _)| *code == 82));
    let odd = Packet::discover(STRANGER).option(93, &[0, 0, 7]).option(94, &[1, 2]).option(97, &[0; 16]);
    let plain = Packet::discover(STRANGER).option(97, &id).option(94, &[1, 3, 16]);
    for (why, packet) in [("of another length they are none", odd), ("no boot client", plain)] {
        let reply = offer_to(&packet);
        assert!([93, 94, 97].iter().all(|&code| option(&reply, code).is_none()), "{why}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-4.4.5
//= type=test
//# T1 MUST be earlier than T2, which, in turn, MUST be earlier than the time at which the client's lease will expire.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.4.5
//= type=test
//# The server SHOULD return T1 and T2, and their values SHOULD be adjusted from their original values to take account of the time remaining on the lease.
#[test]
fn a_lease_is_renewed_before_it_is_rebound_and_rebound_before_it_ends() {
    let scopes = scopes(&[]);
    for secs in [3_600u32, 2_700, 7, 3] {
        let [t1, t2] = t1_and_t2(STRANGER, secs);
        let lease = Lease { secs, ..LEASE };
        let reply = Packet::discover(STRANGER).view(|view| asker(view, &scopes).offer(Vec::new(), lease));
        let told = [51, 58, 59].map(|code| option(&reply, code));
        assert_eq!(told, [secs, t1, t2].map(|time| Some(time.to_be_bytes().to_vec())));
        assert!(t1 < t2 && t2 < secs);
    }
}

#[test]
fn the_lease_times_of_an_infinite_lease_are_infinite() {
    let scopes = scopes(&[]);
    let lease = Lease { secs: u32::MAX, ..LEASE };
    let reply = Packet::discover(STRANGER).view(|view| asker(view, &scopes).offer(Vec::new(), lease));
    assert!([51, 58, 59].iter().all(|&code| option(&reply, code) == Some(vec![255; 4])));
}

#[test]
fn a_small_client_gets_what_fits() {
    let long: Vec<String> = (0..4).map(|i| format!("{} = \"hex:{}\"", 225 + i, "00".repeat(200))).collect();
    let scopes = scopes(&[("224 = \"hex:0a0b\"", &long.join(", "))]);
    for (max, most) in [(None, 548), (Some(576u16), 548), (Some(1_000), 972), (Some(9_000), 1_472)] {
        let packet = Packet::discover(STRANGER).option(61, &[7; 30]);
        let packet = max.map_or(packet.clone(), |max| packet.option(57, &max.to_be_bytes()));
        let reply = offer_of(&scopes, &packet);
        assert!(reply.octets.len() <= most, "{max:?}: {}", reply.octets.len());
        assert!(option(&reply, 61).is_some() && option(&reply, 3).is_some());
        assert_eq!(option(&reply, 228).is_some(), most > 1_200, "{max:?}");
    }
}

proptest! {
    /// Whatever a client asks for and however, the wire library reads the reply and finds the same client and lease in it.
    #[test]
    fn any_reply_is_well_formed(
        list in proptest::collection::vec(any::<u8>(), 0..60),
        id in proptest::collection::vec(any::<u8>(), 1..255),
        agent in proptest::collection::vec(any::<u8>(), 0..255),
        class in prop_oneof![Just(&b"PXEClient"[..]), Just(&b"HTTPClient"[..]), Just(&b"x"[..])],
        arch in 0u8..30, max in 0u16..2_000, flags in any::<u16>())
    {
        let packet = Packet::discover(STRANGER)
            .option(55, &list).option(61, &id).option(82, &agent).option(60, class).option(93, &[0, arch])
            .option(57, &max.to_be_bytes()).at(10, &flags.to_be_bytes());
        let reply = offer_to(&packet);
        prop_assert!((REPLY_BYTES_MIN..=REPLY_BYTES_MAX).contains(&reply.octets.len()));
        prop_assert_eq!(&reply.octets[236..240], &MAGIC_COOKIE);
        prop_assert_eq!(&reply.octets[10..12], &flags.to_be_bytes(), "flags are echoed");
        let message = decode(&reply);
        prop_assert_eq!(message.yiaddr(), ip(2, 100));
        prop_assert_eq!(message.opts().msg_type(), Some(Wire::Offer));
        prop_assert_eq!(option(&reply, 61), Some(id));
        prop_assert_eq!(option(&reply, 82), (!agent.is_empty()).then_some(agent));
        let codes: Vec<u8> = options(&reply).iter().map(|(code, _)| *code).collect();
        let unique: std::collections::HashSet<_> = codes.iter().collect();
        prop_assert_eq!(unique.len(), codes.len(), "no option twice");
    }
}

//= https://www.rfc-editor.org/rfc/rfc4039#section-3
//= type=test
//# A server MUST NOT include the Rapid Commit option in any other messages.
#[test]
fn rapid_commit_stands_in_the_ack_to_a_discover_and_nowhere_else() {
    let scopes = scopes(&[]);
    for packet in [Packet::discover(STRANGER), Packet::request(STRANGER), Packet::inform(STRANGER, ip(2, 100))] {
        let packet = packet.option(code::RAPID_COMMIT, &[]).option(55, &[1, code::RAPID_COMMIT]);
        packet.view(|view| {
            let asker = asker(view, &scopes);
            let rapid = asker.rapid_ack(Vec::new(), LEASE).open();
            assert_eq!(option(&rapid, code::RAPID_COMMIT), Some(vec![]));
            let (offer, ack) = (asker.offer(Vec::new(), LEASE), asker.ack(Vec::new(), LEASE).open());
            for other in [offer, ack, asker.inform(Vec::new()), asker.nak(Vec::new(), NakReason::Taken)] {
                assert_eq!(option(&other, code::RAPID_COMMIT), None);
            }
        });
    }
}
