use dhcproto::v4::{DhcpOption, Message, OptionCode};
use dhcproto::{Decodable, Decoder};
use proptest::prelude::*;

use super::*;
use crate::proto::testing::{Packet, STRANGER, ip};

fn parse(octets: &[u8]) -> Result<MessageType, DropReason> {
    Parser::default().parse(octets).map(|view| view.message_type)
}

#[test]
fn malformed_packets_are_dropped_with_their_reason() {
    use DropReason::*;
    let good = Packet::discover(STRANGER);
    for (why, octets, expected) in [
        ("empty", vec![], Truncated),
        ("one octet short of the cookie", good.octets()[..239].to_vec(), Truncated),
        ("a reply", good.clone().at(0, &[2]).octets(), NotARequest),
        ("token ring", good.clone().at(1, &[6]).octets(), HardwareType),
        ("eight octets of address", good.clone().at(2, &[8]).octets(), HardwareType),
        ("a multicast chaddr", good.clone().at(28, &[1]).octets(), HardwareAddress),
        ("no chaddr", good.clone().at(28, &[0; 6]).octets(), HardwareAddress),
        ("no cookie", good.clone().at(236, &[0]).octets(), Cookie),
        ("an empty message type", [&good.octets()[..240], &[53, 0]].concat(), MessageType),
        ("the message type is cut off", [&good.octets()[..240], &[53, 1]].concat(), OptionTruncated),
        (
            "the message type is behind what is cut off",
            [&good.octets()[..240], &[12, 9, 53, 1, 1]].concat(),
            OptionTruncated,
        ),
        ("an OFFER", Packet::new(2, STRANGER).octets(), MessageType),
        ("type 0", Packet::new(0, STRANGER).octets(), MessageType),
    ] {
        assert_eq!(parse(&octets), Err(expected), "{why}");
    }
}

fn faults(packet: &[u8]) -> (Vec<Fault>, Option<Vec<u8>>) {
    let mut parser = Parser::default();
    let view = parser.parse(packet).unwrap();
    (view.faults().iter().collect(), view.option(code::HOST_NAME).map(<[u8]>::to_vec))
}

/// What was whole counts; what was not is a fault of the packet, not its end.
#[test]
fn a_bad_option_does_not_take_a_good_packet_down() {
    let good = Packet::discover(STRANGER).option(12, b"a");
    let name = Some(b"a".to_vec());
    for (why, octets, found, host_name) in [
        ("nothing wrong", good.octets(), vec![], name.clone()),
        ("an option without length", [&good.0[..], &[60]].concat(), vec![Fault::OptionTruncated], name.clone()),
        ("an option past the end", [&good.0[..], &[60, 5, b'x']].concat(), vec![Fault::OptionTruncated], name.clone()),
        (
            "`file` overloaded with an option past its end",
            good.clone().option(code::OVERLOAD, &[1]).at(108, &[60, 200]).octets(),
            vec![Fault::OptionTruncated],
            name.clone(),
        ),
        ("overload 4", good.clone().option(code::OVERLOAD, &[4]).octets(), vec![Fault::Overload], name.clone()),
        ("overload of nothing", good.clone().option(code::OVERLOAD, &[]).octets(), vec![Fault::Overload], name.clone()),
        (
            "2,296 octets in parts: longer than is kept",
            (0..9).fold(good.clone(), |p, _| p.option(12, &[b'a'; 255])).octets(),
            vec![Fault::OptionTooLong],
            None,
        ),
        ("half a sub-option", good.clone().option(82, &[1, 9, b'x']).octets(), vec![Fault::RelayAgent], name.clone()),
        (
            "1,101 octets of a relay",
            (0..11)
                .fold(good.clone(), |p, _| p.option(82, &[&[1, 98][..], &[0; 98]].concat()))
                .option(61, b"i")
                .octets(),
            vec![Fault::RelayAgentTooLong],
            name.clone(),
        ),
        ("ciaddr in a DISCOVER", good.clone().at(12, &[10, 77, 2, 9]).octets(), vec![Fault::StrayCiaddr], name.clone()),
        ("a RELEASE for nobody", Packet::new(7, STRANGER).octets(), vec![Fault::NoServerId], None),
        ("a DECLINE for nobody", Packet::new(4, STRANGER).server(Ipv4Addr::UNSPECIFIED).octets(), vec![], None),
        ("a REQUEST for nothing", Packet::request(STRANGER).octets(), vec![Fault::NoAddressNamed], None),
    ] {
        assert_eq!(faults(&octets), (found, host_name), "{why}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc1542#section-2.1
//= type=test
//# BOOTP messages not meeting these consistency checks MUST be silently discarded.
#[test]
fn a_bootp_message_has_300_octets_and_a_dhcp_message_what_it_says() {
    let (bootp, dhcp) = (Packet::bootp(STRANGER).0, Packet::discover(STRANGER).octets());
    for (why, octets, expected) in [
        ("BOOTP", bootp.clone(), Ok(MessageType::Bootp)),
        ("one octet short", bootp[..299].to_vec(), Err(DropReason::Truncated)),
        (
            "of 1985, one octet short",
            Packet(bootp.clone()).at(236, &[0; 4]).0[..299].to_vec(),
            Err(DropReason::Truncated),
        ),
        ("nothing behind the cookie", bootp[..240].to_vec(), Err(DropReason::Truncated)),
        ("DHCP, as many small clients and nmap send it", dhcp.clone(), Ok(MessageType::Discover)),
        ("without END", dhcp[..dhcp.len() - 1].to_vec(), Ok(MessageType::Discover)),
    ] {
        assert_eq!(parse(&octets), expected, "{why}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc1534#section-2
//= type=test
//# Messages without the DHCP Message Type option are assumed to have been sent by a BOOTP client.
#[test]
fn what_has_no_message_type_is_a_bootp_client() {
    let bare = Packet::discover(STRANGER).0[..240].to_vec();
    // BOOTP's 64 octets of vendor area.
    let whole = |octets: Vec<u8>| [octets, vec![0; 64]].concat()[..300].to_vec();
    for (why, octets) in [
        ("with the cookie", [&bare[..], &[255]].concat()),
        ("with options", [&bare[..], &[12, 1, b'a', 255]].concat()),
        ("of 1985: a vendor area of zeros", Packet(bare.clone()).at(236, &[0; 4]).0),
    ] {
        assert_eq!(parse(&whole(octets)), Ok(MessageType::Bootp), "{why}");
    }
}

#[test]
fn a_lease_query_may_come_without_a_hardware_address() {
    let query = Packet::new(10, STRANGER).at(1, &[0, 0]).at(28, &[0; 6]);
    assert_eq!(parse(&query.octets()), Ok(MessageType::LeaseQuery));
    query.view(|view| assert_eq!(view.hardware(), (0, 0, [0; 16])));
}

#[test]
fn odd_but_usable_packets_are_read() {
    for (why, octets) in [
        ("no END", Packet::discover(STRANGER).0),
        ("rubbish after END", [&Packet::discover(STRANGER).octets()[..], &[12, 200, 1]].concat()),
        ("padding before options", [&Packet::discover(STRANGER).0[..240], &[0, 0, 0, 53, 1, 1, 255]].concat()),
        ("the type in `sname`", {
            let bare = Packet(Packet::discover(STRANGER).0[..240].to_vec());
            bare.option(code::OVERLOAD, &[2]).at(44, &[53, 1, 1, 255]).octets()
        }),
    ] {
        assert_eq!(parse(&octets), Ok(MessageType::Discover), "{why}");
    }
}

#[test]
fn fields_are_read_where_the_rfc_puts_them() {
    let packet = Packet::request(STRANGER)
        .at(12, &[1, 2, 3, 4])
        .relayed_by(ip(9, 9))
        .broadcast()
        .asks(ip(2, 100))
        .server(ip(2, 1))
        .option(code::LEASE_TIME, &600u32.to_be_bytes())
        .option(code::MAX_MESSAGE_SIZE, &1500u16.to_be_bytes())
        .option(code::ARCHITECTURE, &[0, 7, 0, 9]);
    packet.view(|view| {
        assert_eq!(view.xid(), [0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(view.ciaddr(), Ipv4Addr::new(1, 2, 3, 4));
        assert_eq!((view.giaddr(), view.chaddr(), view.broadcast_flag()), (ip(9, 9), STRANGER, true));
        assert_eq!((view.requested_address(), view.server_id()), (Some(ip(2, 100)), Some(ip(2, 1))));
        assert_eq!((view.lease_secs(), view.max_message_size(), view.architecture()), (Some(600), Some(1500), Some(7)));
    });
}

//= https://www.rfc-editor.org/rfc/rfc2132#section-9.10
//= type=test
//# The minimum legal value is 576 octets.
#[test]
fn values_that_are_too_short_or_zero_count_as_missing() {
    let packet = Packet::discover(STRANGER)
        .option(code::REQUESTED_ADDRESS, &[10, 0, 0])
        .option(code::SERVER_ID, &[0; 4])
        .option(code::LEASE_TIME, &[1])
        .option(code::MAX_MESSAGE_SIZE, &575u16.to_be_bytes())
        .option(code::ARCHITECTURE, &[]);
    packet.view(|view| {
        assert_eq!((view.requested_address(), view.server_id()), (None, None));
        assert_eq!((view.lease_secs(), view.max_message_size(), view.architecture()), (None, None, None));
    });
}

//= https://www.rfc-editor.org/rfc/rfc1542#section-2.1
//= type=test
//# Therefore, BOOTP messages which, according to the IP Total Length and UDP Length fields, are larger than the minimal size specified by [2] MUST also be accepted.
//= https://www.rfc-editor.org/rfc/rfc3396#section-7
//= type=test
//# When a decoding agent is scanning an incoming DHCP packet's option buffer and finds two or more options with the same option code, it MUST consider them to be split portions of an option as described in the preceding section.
//= https://www.rfc-editor.org/rfc/rfc3396#section-7
//= type=test
//# In the case that a decoding agent finds a split option, it MUST treat the contents of that option as a single option, and the contents MUST be reassembled in the order that was described above under encoding agent behavior.
//= https://www.rfc-editor.org/rfc/rfc3396#section-4
//= type=test
//# However, an implementation which supports any concatenation-requiring option MUST be capable of concatenating received options for both concatenation-requiring and non-concatenation-requiring options.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
//= type=test
//# The options in the 'options' field MUST be interpreted first, so that any 'option overload' options may be interpreted.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
//= type=test
//# The 'file' field MUST be interpreted next (if the 'option overload' option indicates that the 'file' field contains DHCP options), followed by the 'sname' field.
//= https://www.rfc-editor.org/rfc/rfc4702#section-2
//= type=test
//# DHCP clients and servers supporting this option MUST implement DHCP option concatenation
//= https://www.rfc-editor.org/rfc/rfc3396#section-1
//= type=test
//# DHCP protocol agents MUST use this method whenever they receive a DHCP packet containing more than one occurrence of a certain type of option.
//= https://www.rfc-editor.org/rfc/rfc3396#section-4
//= type=test
//# In this case, the agent MUST concatenate these separate instances of the same option in the way that we specify here.
//= https://www.rfc-editor.org/rfc/rfc3396#section-7
//= type=test
//# There is no semantic meaning to where an option is split - the encoding agent is free to split the option at any point, and the decoding agent MUST reassemble the split option parts into a single object, and MUST NOT treat each split portion of the option as a separate object.
#[test]
fn parts_of_an_option_are_joined_in_order_across_fields() {
    let packet = Packet::discover(STRANGER)
        .option(12, b"ab")
        .option(61, b"x")
        .option(12, b"cd")
        .option(61, b"y")
        .option(code::OVERLOAD, &[3])
        .at(108, &[12, 1, b'e', 255])
        .at(44, &[12, 1, b'f', 255]);
    packet.view(|view| {
        assert_eq!(view.option(12), Some(&b"abcdef"[..]));
        assert_eq!(view.option(61), Some(&b"xy"[..]));
        assert_eq!(view.option(60), None);
    });
}

//= https://www.rfc-editor.org/rfc/rfc3527#section-3
//= type=test
//# In the event that a DHCP server receives a packet that contains both a subnet-selection option [RFC 3011], as well as a link-selection sub-option, the information contained in the link-selection sub-option MUST be used to control the allocation of an IP address in preference to the information contained in the subnet-selection option.
#[test]
fn the_relays_word_on_the_subnet_goes_before_the_clients() {
    let by_client = Packet::discover(STRANGER).option(code::SUBNET_SELECTION, &[10, 77, 3, 0]);
    let by_both = by_client.clone().option(82, &[5, 4, 10, 77, 2, 0]);
    for (packet, selected) in
        [(Packet::discover(STRANGER), None), (by_client, Some(ip(3, 0))), (by_both, Some(ip(2, 0)))]
    {
        packet.view(|view| assert_eq!(view.selected_subnet(), selected));
    }
}

#[test]
fn a_server_id_override_counts_only_from_a_relay() {
    let packet = Packet::discover(STRANGER).option(82, &[11, 4, 10, 77, 2, 254]);
    packet.view(|view| assert_eq!(view.server_id_override(), None));
    packet.relayed_by(ip(2, 254)).view(|view| assert_eq!(view.server_id_override(), Some(ip(2, 254))));
}

#[test]
fn a_parser_remembers_nothing_of_the_packet_before() {
    let mut parser = Parser::default();
    let rich = Packet::discover(STRANGER).option(12, b"name").option(12, b"more").octets();
    assert!(parser.parse(&rich).is_ok());
    assert!(parser.parse(&[&rich[..rich.len() - 1], &[9]].concat()).is_ok_and(|view| !view.faults().is_empty()));
    let poor = Packet::discover(STRANGER).octets();
    let view = parser.parse(&poor).unwrap();
    assert_eq!((view.option(12), view.faults().is_empty()), (None, true));
}

proptest! {
    #[test]
    fn any_octets_are_read_or_dropped(octets in proptest::collection::vec(any::<u8>(), 0..700)) {
        let _ = parse(&octets);
    }

    #[test]
    fn any_options_are_read_or_dropped(tail in proptest::collection::vec(any::<u8>(), 0..400), file in any::<[u8; 32]>()) {
        let mut octets = Packet::discover(STRANGER).at(108, &file).0;
        octets.extend_from_slice(&tail);
        let mut parser = Parser::default();
        if let Ok(view) = parser.parse(&octets) {
            // Every value is inside; reading them all must not panic.
            let octets: usize = (0..=255u8).filter_map(|code| view.option(code)).map(<[u8]>::len).sum();
            prop_assert!(octets <= 700 + 2_048);
            let _ = (view.requested_address(), view.server_id(), view.lease_secs(), view.architecture(), view.max_message_size());
        }
    }

    #[test]
    fn every_cut_of_a_packet_is_read_or_dropped(cut in 0usize..300) {
        let octets = Packet::discover(STRANGER).option(12, b"host").option(61, &[1; 40]).octets();
        let _ = parse(&octets[..cut.min(octets.len())]);
    }

    /// Where each option comes once and is whole, the wire library must read the same values.
    #[test]
    fn agrees_with_the_wire_library(options in proptest::collection::btree_map(
        // Codes whose value the library keeps as octets.
        prop_oneof![Just(12u8), Just(60), Just(77), Just(224), Just(230)],
        proptest::collection::vec(b'a'..=b'z', 1..100), 0..5), xid in any::<[u8; 4]>(), ciaddr in any::<[u8; 4]>())
    {
        let packet = options.iter().fold(Packet::discover(STRANGER), |packet, (&code, value)| packet.option(code, value));
        let octets = packet.at(4, &xid).at(12, &ciaddr).octets();
        let theirs = Message::decode(&mut Decoder::new(&octets)).unwrap();
        let mut parser = Parser::default();
        let ours = parser.parse(&octets).unwrap();
        prop_assert_eq!(theirs.xid().to_be_bytes(), ours.xid());
        prop_assert_eq!(theirs.ciaddr(), ours.ciaddr());
        prop_assert_eq!(theirs.chaddr(), &ours.chaddr().octets()[..]);
        for code in [12u8, 60, 77, 224, 230] {
            let value = match theirs.opts().get(OptionCode::from(code)) {
                Some(DhcpOption::Hostname(name)) => Some(name.clone().into_bytes()),
                Some(DhcpOption::ClassIdentifier(value) | DhcpOption::UserClass(value)) => Some(value.clone()),
                Some(DhcpOption::Unknown(unknown)) => Some(unknown.data().to_vec()),
                None => None,
                other => panic!("{code}: {other:?}"),
            };
            prop_assert_eq!(value.as_deref(), ours.option(code), "option {}", code);
        }
    }
}
