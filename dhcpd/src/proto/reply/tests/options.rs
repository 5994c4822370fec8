//! What the RFCs say of single options and of how they are laid out.

use super::*;

/// An option's value wherever it lies: options, then `file`, then `sname`, parts joined, read by our own parser.
fn anywhere(reply: &Reply, code: u8) -> Option<Vec<u8>> {
    let mut octets = reply.octets.clone();
    octets[0] = 1;
    // The parser reads messages of clients; an option of the same name stands in for the server's message type.
    let at = (240..octets.len()).find(|&at| octets[at] == code::MESSAGE_TYPE).unwrap();
    octets[at + 2] = 1;
    crate::proto::view::Parser::default().parse(&octets).unwrap().option(code).map(<[u8]>::to_vec)
}

fn codes(reply: &Reply) -> Vec<u8> {
    options(reply).iter().map(|(code, _)| *code).collect()
}

fn with_options(options: &str) -> Arc<Scopes> {
    scopes(&[("224 = \"hex:0a0b\"", options)])
}

fn hex(octets: usize) -> String {
    format!("\"hex:{}\"", "5a".repeat(octets))
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
//= type=test
//# If the options in a DHCP message extend into the 'sname' and 'file' fields, the 'option overload' option MUST appear in the 'options' field, with value 1, 2 or 3, as specified in RFC 1533.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
//= type=test
//# The options in the 'sname' and 'file' fields (if in use as indicated by the 'options overload' option) MUST begin with the first octet of the field, MUST be terminated by an 'end' option, and MUST be followed by 'pad' options to fill the remainder of the field.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
//= type=test
//# Any individual option in the 'options', 'sname' and 'file' fields MUST be entirely contained in that field.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
//= type=test
//# The server MUST supply as many of the requested parameters as possible and MUST omit any parameters it cannot provide.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
//= type=test
//# If the 'option overload' option is present in the 'options' field, the options in the 'options' field MUST be terminated by an 'end' option, and MAY contain one or more 'pad' options to fill the options field.
//= https://www.rfc-editor.org/rfc/rfc3396#section-5
//= type=test
//# This is a logical aggregation - the buffers MUST appear in the locations in the DHCP packet described in RFC 2131 [3].
//= https://www.rfc-editor.org/rfc/rfc3396#section-5
//= type=test
//# Options MUST NOT be stored in the aggregate option buffer in such a way that they cross either boundary between the three fields in the aggregate buffer.
//= https://www.rfc-editor.org/rfc/rfc3396#section-5
//= type=test
//# If the encoding agent does not choose to use either or both of these two fields, then they MUST NOT be considered part of the aggregate option buffer in that case.
#[test]
fn what_does_not_fit_lies_in_sname_and_file() {
    // 225 fills what a client of 576 octets takes; the others find room elsewhere.
    let scopes = with_options(&format!("225 = {}, 226 = {}, 227 = {}, 228 = {}", hex(240), hex(50), hex(100), hex(90)));
    let reply = offer_of(&scopes, &Packet::discover(STRANGER).option(55, &[225, 226, 227, 228]));
    assert!(reply.octets.len() <= 548);
    assert_eq!(option(&reply, 52), Some(vec![3]));
    for (code, len) in [(225u8, 240), (226, 50), (227, 100)] {
        assert_eq!(anywhere(&reply, code), Some(vec![0x5a; len]), "{code}");
    }
    assert_eq!(anywhere(&reply, 228), None, "there is no more room");
    assert_eq!((reply.octets[44..46].to_vec(), reply.octets[96]), (vec![226, 50], 255), "`sname`");
    assert_eq!((reply.octets[108..110].to_vec(), reply.octets[210]), (vec![227, 100], 255), "`file`");
    assert!(reply.octets[97..108].iter().chain(&reply.octets[211..236]).all(|&octet| octet == 0), "padding");
    let roomy = offer_of(&scopes, &Packet::discover(STRANGER).option(57, &1_400u16.to_be_bytes()));
    assert_eq!((option(&roomy, 52), option(&roomy, 228)), (None, Some(vec![0x5a; 90])));
}

//= https://www.rfc-editor.org/rfc/rfc3046#section-2.2
//= type=test
//# DHCP servers claiming to support the Relay Agent Information option SHALL echo the entire contents of the Relay Agent Information option in all replies.
//= https://www.rfc-editor.org/rfc/rfc3046#section-2.2
//= type=test
//# Servers SHOULD copy the Relay Agent Information option as the last DHCP option in the response.
//= https://www.rfc-editor.org/rfc/rfc3046#section-2.2
//= type=test
//# Servers SHALL NOT place the echoed Relay Agent Information option in the overloaded sname or file fields.
//= https://www.rfc-editor.org/rfc/rfc3046#section-2.2
//= type=test
//# Consequently, servers SHOULD be prepared to handle relay agent options in unicast messages, but MUST NOT expect them to always be there.
#[test]
fn relay_agent_information_is_last_and_never_overloaded_in_every_kind_of_reply() {
    let scopes = with_options(&format!("225 = {}, 226 = {}", hex(200), hex(60)));
    for agent in [&b"\x01\x04eth7"[..], b"\x01\x09malformed", b"\x01"] {
        let packet = Packet::discover(STRANGER).at(12, &[10, 77, 2, 100]).option(61, b"\x01id").option(82, agent);
        packet.view(|view| {
            let asker = asker(view, &scopes);
            for reply in [
                asker.offer(Vec::new(), LEASE),
                asker.ack(Vec::new(), LEASE).open(),
                asker.rapid_ack(Vec::new(), LEASE).open(),
                asker.inform(Vec::new()),
                asker.nak(Vec::new(), NakReason::Taken),
                asker.bootp(Vec::new(), ip(2, 100)).open(),
            ] {
                assert_eq!(options(&reply).last(), Some(&(82, agent.to_vec())));
            }
        });
    }
}

//= https://www.rfc-editor.org/rfc/rfc3046#section-2.2
//= type=test
//# If a server is unable to copy a full Relay Agent Information field into a response, it SHALL send the response without the Relay Information Field, and SHOULD increment an error counter for the situation.
#[test]
fn relay_agent_information_that_fits_nowhere_is_left_out_and_the_rest_is_told() {
    let long = (0..11).fold(Packet::discover(STRANGER), |p, _| p.option(82, &[&[1, 98][..], &[0; 98]].concat()));
    let (fits, over) = (offer_to(&long), offer_to(&long.clone().option(61, b"i")));
    let echoed: usize = options(&fits).iter().filter(|(code, _)| *code == 82).map(|(_, value)| value.len()).sum();
    assert_eq!(echoed, 1_100);
    assert!(fits.octets.len() <= REPLY_BYTES_MAX);
    assert_eq!((option(&over, 82), option(&over, 61)), (None, Some(b"i".to_vec())));
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.2
//= type=test
//# Any configuration parameters in the DHCPACK message SHOULD NOT conflict with those in the earlier DHCPOFFER message to which the client is responding.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
//= type=test
//# To accommodate potentially incomplete network connectivity, a server MUST choose an address as a 'server identifier' that, to the best of the server's knowledge, is reachable from the client.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
//= type=test
//# For example, if the DHCP server and the DHCP client are connected to the same subnet (i.e., the 'giaddr' field in the message from the client is zero), the server SHOULD select the IP address the server is using for communication on that subnet as the 'server identifier'.
#[test]
fn an_ack_says_what_its_offer_said() {
    for list in [&[1, 3, 6, 28, 224, 121, 12][..], &[]] {
        let asks = |packet: Packet| if list.is_empty() { packet } else { packet.option(55, list) };
        let offer = options(&offer_to(&asks(Packet::discover(STRANGER))));
        let ack = options(&ack_to(&asks(Packet::select(STRANGER, ip(2, 1), ip(2, 100)))));
        assert_eq!(offer[1..], ack[1..], "all but the message type");
        assert_eq!(offer[1], (54, vec![10, 77, 2, 1]), "the address on the client's own link");
    }
}

//= https://www.rfc-editor.org/rfc/rfc6842#section-3
//= type=test
//# If the 'client identifier' option is present in a message received from a client, the server MUST return the 'client identifier' option, unaltered, in its response message.
//= https://www.rfc-editor.org/rfc/rfc6842#section-3
//= type=test
//# Client identifier (if not sent by client) MUST NOT MUST NOT MUST NOT
#[test]
fn the_client_identifier_comes_back_in_every_reply() {
    let scopes = scopes(&[]);
    // RFC 4361: type 255, IAID, DUID.
    let id = [255, 0, 0, 0, 1, 0, 3, 0, 1, 2, 0, 0, 0, 0, 7];
    Packet::request(STRANGER).at(12, &[10, 77, 2, 100]).option(61, &id).view(|view| {
        let asker = asker(view, &scopes);
        for reply in [
            asker.offer(Vec::new(), LEASE),
            asker.ack(Vec::new(), LEASE).open(),
            asker.inform(Vec::new()),
            asker.nak(Vec::new(), NakReason::Taken),
        ] {
            assert_eq!(option(&reply, 61), Some(id.to_vec()));
        }
    });
    assert_eq!(option(&offer_to(&Packet::discover(STRANGER)), 61), None, "who sent none gets none");
}

//= https://www.rfc-editor.org/rfc/rfc3011#section-2
//= type=test
//# Servers configured to support this option MUST return an identical copy of the option to any client that sends it, regardless of whether or not the client requests the option in a parameter request list.
#[test]
fn subnet_selection_comes_back() {
    let reply = offer_to(&Packet::discover(STRANGER).option(55, &[1]).option(118, &[10, 77, 2, 0]));
    assert_eq!(option(&reply, 118), Some(vec![10, 77, 2, 0]));
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
//= type=test
//# If the server has received a message through a DHCP relay agent, the server SHOULD choose an address from the interface on which the message was recieved as the 'server identifier' (unless the server has other, better information on which to make its choice).
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
//= type=test
//# Server identifier MUST MUST MUST
//= https://www.rfc-editor.org/rfc/rfc5107#section-4
//= type=test
//# DHCP servers that implement this Relay Agent Information suboption MUST use this value, if present in a DHCP message received from a client, as the value to insert into the Server Identifier option in the corresponding response.
//= https://www.rfc-editor.org/rfc/rfc5107#section-4
//= type=test
//# The octets "a1" through "a4" specify the value that MUST be inserted into the Server Identifier option by the DHCP Server upon reply.
#[test]
fn a_relay_says_what_the_server_calls_itself() {
    // RFC 5107: in every reply that has a server identifier.
    let packet = Packet::discover(STRANGER).relayed_by(ip(2, 254)).option(82, &[11, 4, 10, 77, 2, 253]);
    let scopes = scopes(&[]);
    packet.view(|view| {
        let asker = asker(view, &scopes);
        for reply in [
            asker.offer(Vec::new(), LEASE),
            asker.ack(Vec::new(), LEASE).open(),
            asker.inform(Vec::new()),
            asker.nak(Vec::new(), NakReason::Taken),
        ] {
            assert_eq!(option(&reply, 54), Some(vec![10, 77, 2, 253]));
        }
    });
    let silent = Packet::discover(STRANGER).relayed_by(ip(2, 254)).option(82, b"\x01\x01p");
    assert_eq!(option(&offer_to(&silent), 54), Some(vec![10, 77, 2, 1]), "the scope's own");
    let direct = Packet::discover(STRANGER).option(82, &[11, 4, 10, 77, 2, 253]);
    assert_eq!(option(&offer_to(&direct), 54), Some(vec![10, 77, 2, 1]), "only a relay's word counts");
}

//= https://www.rfc-editor.org/rfc/rfc3442#page-6
//= type=test
//# When a DHCP client requests the Classless Static Routes option and also requests either or both of the Router option and the Static Routes option, and the DHCP server is sending Classless Static Routes options to that client, the server SHOULD NOT include the Router or Static Routes options.
#[test]
fn classless_routes_take_the_place_of_routers_and_static_routes() {
    let routes = "121 = \"hex:000a4d0201\", 33 = \"hex:0a0000000a4d0201\"";
    let (with, without) = (with_options(routes), scopes(&[]));
    for (why, scopes, list, sent, not_sent) in [
        ("classless first", &with, &[121, 3, 33][..], &[121][..], &[3, 33][..]),
        ("in the wrong order", &with, &[3, 33, 121], &[121], &[3, 33]),
        ("only classless is asked for", &with, &[121], &[121], &[3, 33]),
        ("classless is not asked for", &with, &[33], &[3, 33], &[121]),
        ("there are none", &without, &[121, 3], &[3], &[121]),
    ] {
        let codes = codes(&offer_of(scopes, &Packet::discover(STRANGER).option(55, list)));
        assert!(sent.iter().all(|code| codes.contains(code)), "{why}: {codes:?}");
        assert!(not_sent.iter().all(|code| !codes.contains(code)), "{why}: {codes:?}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc8925#section-3.3
//= type=test
//# The server MUST NOT include the IPv6-Only Preferred option in the DHCPOFFER or DHCPACK message if the option was not present in the Parameter Request List sent by the client.
//= https://www.rfc-editor.org/rfc/rfc8925#section-3.1
//= type=test
//# The server MUST set the length field to 4.
//= https://www.rfc-editor.org/rfc/rfc8925#section-3.1
//= type=test
//# If the server pool is explicitly configured with a V6ONLY_WAIT timer, the server MUST set the field to that configured value.
#[test]
fn ipv6_only_is_preferred_where_it_is_configured_and_asked_for() {
    let scopes = with_options("v6-only-preferred = 1800");
    let told = |scopes: &Scopes, packet: Packet| option(&offer_of(scopes, &packet), 108);
    let asks = Packet::discover(STRANGER).option(55, &[1, 108]);
    assert_eq!(told(&scopes, asks.clone()), Some(1_800u32.to_be_bytes().to_vec()));
    assert_eq!(told(&scopes, Packet::discover(STRANGER).option(55, &[1])), None);
    assert_eq!(told(&scopes, Packet::discover(STRANGER)), None, "who asks for nothing asks not for this");
    assert_eq!(told(&super::scopes(&[]), asks), None, "not configured");
}

//= https://www.rfc-editor.org/rfc/rfc2132#section-9.8
//= type=test
//# The DHCP server is not required to return the options in the requested order, but MUST try to insert the requested options in the order requested by the client.
//= https://www.rfc-editor.org/rfc/rfc2132#section-3.3
//= type=test
//# If both the subnet mask and the router option are specified in a DHCP reply, the subnet mask option MUST be first.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
//= type=test
//# The server MUST include each requested parameter only once unless explicitly allowed in the DHCP Options and BOOTP Vendor Extensions document.
#[test]
fn options_come_in_the_order_asked_for_with_the_mask_before_the_routers() {
    for (list, order) in
        [(&[224, 6, 28][..], &[224, 6, 28, 1, 3][..]), (&[6, 3, 28, 1, 6, 6], &[6, 1, 3, 28]), (&[3], &[1, 3])]
    {
        let codes = codes(&offer_to(&Packet::discover(STRANGER).option(55, list)));
        assert_eq!(codes[5..], *order, "behind type, server and times");
    }
}

//= https://www.rfc-editor.org/rfc/rfc3396#section-4
//= type=test
//# In this case, the encoding agent MUST either use this algorithm or not send the option at all.
#[test]
fn a_long_option_goes_out_in_parts() {
    let scopes = with_options(&format!("225 = {}", hex(600)));
    let packet = Packet::discover(STRANGER).option(57, &1_500u16.to_be_bytes()).option(55, &[225]);
    let reply = offer_of(&scopes, &packet);
    let lens: Vec<usize> =
        options(&reply).iter().filter(|(code, _)| *code == 225).map(|(_, value)| value.len()).collect();
    assert_eq!(lens, [255, 255, 90]);
    assert_eq!(anywhere(&reply, 225), Some(vec![0x5a; 600]));
    let small = offer_of(&scopes, &Packet::discover(STRANGER).option(55, &[225]));
    assert_eq!(anywhere(&small, 225), None, "whole or not at all");
}

//= https://www.rfc-editor.org/rfc/rfc4039#section-4
//= type=test
//# A server MUST include this option in a DHCPACK message sent in a response to a DHCPDISCOVER message when completing the DHCPDISCOVER-DHCPACK message exchange.
#[test]
fn a_rapid_ack_says_that_it_is_one() {
    let scopes = scopes(&[]);
    let packet = Packet::discover(STRANGER).option(80, &[]).option(55, &[1, 3]);
    let rapid = packet.view(|view| asker(view, &scopes).rapid_ack(Vec::new(), LEASE)).open();
    assert_eq!((option(&rapid, 53), option(&rapid, 80)), (Some(vec![5]), Some(vec![])));
    assert_eq!(rapid.destination, Destination::Frame(STRANGER, ip(2, 100)));
    assert_eq!(option(&offer_to(&packet), 80), None);
}

#[test]
fn the_clients_name_comes_back_with_the_word_that_nothing_is_updated() {
    let reply = offer_to(&Packet::discover(STRANGER).option(81, b"\x01\x00\x00host.example"));
    assert_eq!(option(&reply, 81), Some(b"\x0a\xff\xffhost.example".to_vec()));
    assert_eq!(option(&offer_to(&Packet::discover(STRANGER)), 81), None, "who sent none gets none");
    assert_eq!(option(&offer_to(&Packet::discover(STRANGER).option(81, &[1])), 81), None, "too short to be one");
}

//= https://www.rfc-editor.org/rfc/rfc1534#section-2
//= type=test
//# The server MUST formulate a BOOTP BOOTREPLY message rather than a DHCP DHCPOFFER message (i.e., the server MUST NOT include the 'DHCP message type' option and MUST NOT exceed the size limit for BOOTREPLY messages).
//= https://www.rfc-editor.org/rfc/rfc1534#section-2
//= type=test
//# A DHCP server that supports BOOTP clients MUST interact with BOOTP clients according to the BOOTP protocol.
#[test]
fn a_bootreply_is_bootps_not_dhcps() {
    let scopes = with_options(&format!("225 = {}, 226 = {}", hex(200), hex(4)));
    let reply = Packet::bootp(STRANGER).view(|view| asker(view, &scopes).bootp(Vec::new(), ip(2, 100))).open();
    assert_eq!(reply.octets.len(), 300, "64 octets of vendor area");
    assert_eq!((decode(&reply).yiaddr(), decode(&reply).siaddr()), (ip(2, 100), ip(2, 9)));
    assert!(reply.octets[108..].starts_with(b"undionly.kpxe\0"), "what boots by BOOTP is a BIOS");
    let codes = codes(&reply);
    assert!([1, 3, 6, 28, 226].iter().all(|code| codes.contains(code)), "{codes:?}");
    assert!([51, 52, 53, 54, 58, 59, 225].iter().all(|code| !codes.contains(code)), "{codes:?}");
    assert_eq!(reply.destination, Destination::Frame(STRANGER, ip(2, 100)));
    let relayed = Packet::bootp(STRANGER).relayed_by(ip(2, 254)).option(82, b"\x01\x02ab");
    let reply = relayed.view(|view| asker(view, &scopes).bootp(Vec::new(), ip(2, 100))).open();
    assert_eq!(
        (reply.destination, option(&reply, 82)),
        (Destination::Relay(ip(2, 254), 67), Some(b"\x01\x02ab".to_vec()))
    );
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
//= type=test
//# If this bit is set to 1, the DHCP message SHOULD be sent as an IP broadcast using an IP broadcast address (preferably 0xffffffff) as the IP destination address and the link-layer broadcast address as the link-layer destination address.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
//= type=test
//# If the BROADCAST bit is cleared to 0, the message SHOULD be sent as an IP unicast to the IP address specified in the 'yiaddr' field and the link-layer address specified in the 'chaddr' field.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
//= type=test
//# A server or relay agent sending or relaying a DHCP message directly to a DHCP client (i.e., not to a relay agent specified in the 'giaddr' field) SHOULD examine the BROADCAST bit in the 'flags' field.
#[test]
fn the_broadcast_bit_is_the_clients_to_set_and_ciaddr_is_believed_only_where_it_is_right() {
    let select = Packet::select(STRANGER, ip(2, 1), ip(2, 100));
    for (why, packet, destination) in [
        ("set", select.clone().broadcast(), Destination::Broadcast),
        ("cleared", select.clone(), Destination::Frame(STRANGER, ip(2, 100))),
        ("rubbish in ciaddr", select.clone().at(12, &[10, 77, 2, 9]), Destination::Frame(STRANGER, ip(2, 100))),
        ("its address", Packet::renew(STRANGER, ip(2, 100)), Destination::Unicast(ip(2, 100))),
    ] {
        let ack = ack_to(&packet);
        assert_eq!(ack.destination, destination, "{why}");
        let believed = destination == Destination::Unicast(ip(2, 100));
        assert_eq!(decode(&ack).ciaddr(), if believed { ip(2, 100) } else { Ipv4Addr::UNSPECIFIED }, "{why}");
    }
}

#[test]
fn secs_is_not_echoed_and_changes_no_reply() {
    let packet = Packet::discover(STRANGER).option(55, &[1, 3, 6]);
    assert_eq!(offer_to(&packet.clone().at(8, &[0xff, 0x0f])), offer_to(&packet));
    assert_eq!(decode(&offer_to(&packet.at(8, &[9, 9]))).secs(), 0);
}
