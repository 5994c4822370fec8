//! What a query asks, and what it is told.

use super::*;
use crate::proto::class::Membership;
use crate::proto::renewal::t1_and_t2;
use crate::proto::reply::REPLY_BYTES_MAX;
use crate::proto::testing::{Packet, STRANGER, ip, prov, scopes};

const NOBODY: MacAddr = MacAddr([0; 6]);

fn query(mac: MacAddr) -> Packet {
    let packet = Packet::new(10, mac).relayed_by(ip(2, 254));
    if mac == NOBODY { packet.at(1, &[0, 0]) } else { packet }
}

//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.3
//= type=test
//# If the "giaddr" field is zero, then the DHCP server MUST NOT reply to the DHCPLEASEQUERY message.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.3
//= type=test
//# A DHCPLEASEQUERY message MUST have a non-zero giaddr.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.3
//= type=test
//# A server that implements the DHCPLEASEQUERY message MUST implement all three query regimes: query by IP address, query by MAC address, and query by Client-identifier.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.3
//= type=test
//# The DHCPLEASEQUERY message MUST have exactly one of the following: a non-zero ciaddr, a non-zero htype/hlen/chaddr, or a Client-identifier option.
#[test]
fn a_query_names_one_thing() {
    let id = [255, 1, 2, 3];
    let address = [10, 77, 2, 100];
    for (why, packet, expected) in [
        ("by address", query(NOBODY).at(12, &address), Ok(By::Address(ip(2, 100)))),
        ("by hardware address", query(STRANGER), Ok(By::Mac(STRANGER))),
        ("by client identifier", query(NOBODY).option(61, &id), Ok(By::ClientId(&id))),
        ("by nothing", query(NOBODY), Err(DropReason::MalformedQuery)),
        ("by two things", query(STRANGER).at(12, &address), Err(DropReason::MalformedQuery)),
        ("by two others", query(STRANGER).option(61, &id), Err(DropReason::MalformedQuery)),
        ("by nobody", Packet::new(10, STRANGER), Err(DropReason::NotARequestor)),
    ] {
        packet.view(|view| assert_eq!(question(view), expected, "{why}"));
    }
}

fn found() -> Found {
    Found {
        address: ip(2, 100),
        mac: STRANGER,
        client_id: [1, 2, 3].into(),
        hostname: "node".into(),
        vendor_class: b"PXEClient".as_slice().into(),
        relay_agent: [1, 1, b'p'].into(),
        total_secs: 3_600,
        told_secs: 2_000,
        since_secs: 1_900,
        associated: vec![ip(2, 100), ip(1, 9)],
    }
}

fn options(packet: &Packet, answer: &Answer) -> (Vec<u8>, Vec<(u8, Vec<u8>)>) {
    read(packet.view(|view| reply(Vec::new(), view, 67, ip(2, 1), answer, None)).octets)
}

fn read(octets: Vec<u8>) -> (Vec<u8>, Vec<(u8, Vec<u8>)>) {
    let (mut at, mut options) = (240, Vec::new());
    while octets[at] != 255 {
        let end = at + 2 + usize::from(octets[at + 1]);
        options.push((octets[at], octets[at + 2..end].to_vec()));
        at = end;
    }
    assert!(octets.len() >= REPLY_BYTES_MIN);
    (octets, options)
}

//= https://www.rfc-editor.org/rfc/rfc4388#section-6.1
//= type=test
//# This MUST NOT be an absolute time.
//= https://www.rfc-editor.org/rfc/rfc3046#section-3.2
//= type=test
//# DHCP servers SHOULD report this value in any reports or MIBs associated with a particular client.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.1
//= type=test
//# This MUST NOT be an absolute number of seconds since Jan. 1, 1970.
//= https://www.rfc-editor.org/rfc/rfc4388#section-5
//= type=test
//# The DHCPLEASEACTIVE message SHOULD contain the physical address of the IP address lease owner in the "htype", "hlen", and "chaddr" fields.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
//= type=test
//# The MAC address of the DHCPLEASEACTIVE message MUST be set to the values that identify the client associated with the IP address in the "ciaddr" field of the DHCPLEASEUNASSIGNED message.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
//= type=test
//# A request for the Renewal (T1) Time Value option or the Rebinding (T2) Time Value option in the Parameter Request List of the DHCPLEASEQUERY message MUST be handled like the IP Address Lease Time option is handled.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
//= type=test
//# If there is a valid lease and these times are not yet in the past, then the DHCP server SHOULD return these options (when requested) with the remaining time until renewal or rebinding, respectively.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
//= type=test
//# If these times are already in the past, or if there is not currently a valid lease for this IP address, the DHCP server MUST NOT return these options.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
//= type=test
//# If the Client-identifier option (option 61) is specified in the Parameter Request List option (option 55), then the Client-identifier (if any) of the client associated with the IP address in the "ciaddr" field SHOULD be returned in the DHCPLEASEACTIVE message.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.1
//= type=test
//# The minimum length for this option is 4 octets, and the length MUST always be a multiple of 4.
#[test]
fn an_active_lease_is_told_with_what_is_left_of_it() {
    let (octets, options) = options(&query(NOBODY).at(12, &[10, 77, 2, 100]), &Answer::Active(found()));
    assert_eq!(
        (octets[1], octets[2], &octets[12..16], &octets[28..34]),
        (1, 6, &[10, 77, 2, 100][..], &STRANGER.octets()[..])
    );
    let expected: [(u8, Vec<u8>); 8] = [
        (53, vec![13]),
        (54, vec![10, 77, 2, 1]),
        (51, 1_600u32.to_be_bytes().to_vec()),
        // T1 is past.
        (59, (t1_and_t2(STRANGER, 3_600)[1] - 2_000).to_be_bytes().to_vec()),
        (61, vec![1, 2, 3]),
        (91, 1_900u32.to_be_bytes().to_vec()),
        (82, vec![1, 1, b'p']),
        (92, vec![10, 77, 2, 100, 10, 77, 1, 9]),
    ];
    assert_eq!(options, expected);
}

//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
//= type=test
//# In the case where more than one IP address has been involved in a DHCP message exchange with the client specified by the MAC address and/or Client-identifier option, then the list of all of the IP addresses MUST be returned in the associated-ip option, whether or not that option was requested as part of the Parameter Request List option.
#[test]
fn all_addresses_of_the_client_are_told_as_many_as_the_message_holds() {
    let addresses = |count: u32| (0..count).map(|n| Ipv4Addr::from(0x0a4d_0001 + n)).collect::<Vec<_>>();
    let small = 576u16.to_be_bytes();
    for (why, packet, count, told) in [
        ("one is no list", query(STRANGER), 1, 0),
        ("two, unasked", query(STRANGER).option(55, &[51]), 2, 2),
        ("more than one option holds (RFC 3396)", query(STRANGER), 64, 64),
        ("more than a frame holds", query(STRANGER).option(55, &[51]), 1_000, 301),
        ("more than the requestor takes", query(STRANGER).option(55, &[51]).option(57, &small), 1_000, 72),
    ] {
        let many = Found { associated: addresses(count), ..found() };
        let (octets, options) = options(&packet, &Answer::Active(many));
        let parts = options.iter().filter(|(code, _)| *code == 92);
        let value: Vec<u8> = parts.flat_map(|(_, value)| value.clone()).collect();
        assert_eq!(value.len(), 4 * told, "{why}");
        assert!(value.chunks(4).zip(addresses(count)).all(|(told, address)| told == address.octets()), "{why}");
        let takes = packet.view(|view| view.max_message_size()).map_or(REPLY_BYTES_MAX, |size| usize::from(size) - 28);
        assert!(octets.len() <= takes, "{why}: {}", octets.len());
    }
}

//= https://www.rfc-editor.org/rfc/rfc4388#section-6.2
//= type=test
//# In the absence of a Parameter Request List option, the server SHOULD return the same options it would return for a DHCPREQUEST message that didn't contain a DHCPLEASEQUERY message, which includes those mandated by Section 4.3.1 of [RFC2131] as well as any options that the server was configured to always return to a client.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
//= type=test
//# The DHCPLEASEACTIVE message SHOULD include the values of all other options not specifically discussed above that were requested in the Parameter Request List of the DHCPLEASEQUERY message and that are acceptable to return based on the list of "non-sensitive options", discussed below.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
//= type=test
//# DHCP servers SHOULD be configurable with a list of "non-sensitive options" that can be returned to the client when specified in the Parameter Request List of the DHCPLEASEQUERY message.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
//= type=test
//# Any option not on this list SHOULD NOT be returned to a client, even if requested by that client.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
//= type=test
//# When responding to a DHCPLEASEQUERY message, the DHCP server MUST use the saved Relay Agent Information option just like it did when responding to the DHCP client in order to determine the values of any options requested by the DHCPLEASEQUERY message.
#[test]
fn what_is_configured_for_the_client_is_told_where_the_operator_calls_it_harmless() {
    const CLASS: (&str, &str) = (
        "\n[[dhcpd.scope]]\nname = \"bmc\"",
        "\n[[dhcpd.class]]\nname = \"p\"\nmatch = { circuit-id = \"p\" }\noptions = { domain-name = \"p.example\" }\n\n[[dhcpd.scope]]\nname = \"bmc\"",
    );
    const ROUTES: (&str, &str) = ("224 = \"hex:0a0b\"", "classless-static-routes = [\"10.0.0.0/8 via 10.77.2.1\"]");
    let tell = |list: &'static str| ("[dhcpd]", list);
    // The lease's own options and the client's other addresses.
    const OWN: [u8; 8] = [53, 54, 51, 59, 61, 91, 82, 92];
    let with = |more: &[u8]| [&OWN[..], more].concat();
    let listed = |list: &[u8]| query(STRANGER).option(55, list);
    for (why, changes, packet, expected) in [
        ("no list: what is harmless, 60 as the client said it", vec![], query(STRANGER), with(&[1, 3, 6, 28, 60])),
        ("asked for", vec![], listed(&[6, 3, 61]), vec![53, 54, 61, 92, 6, 3]),
        ("asked for twice", vec![], listed(&[3, 3]), vec![53, 54, 92, 3]),
        ("not called harmless", vec![], listed(&[224, 12, 43, 67]), vec![53, 54, 92]),
        (
            "called so",
            vec![tell("[dhcpd]\nleasequery_tell = [\"224\", \"host-name\"]")],
            listed(&[3, 224, 12]),
            vec![53, 54, 92, 224, 12],
        ),
        ("nothing is", vec![tell("[dhcpd]\nleasequery_tell = []")], query(STRANGER), with(&[])),
        ("of a class that the relay's word makes", vec![CLASS], listed(&[15]), vec![53, 54, 92, 15]),
        ("classless routes in the place of routers", vec![ROUTES], listed(&[3, 121]), vec![53, 54, 92, 121]),
    ] {
        let scopes = scopes(&changes);
        let mut classes = Membership::default();
        classes_of(&scopes, &found(), &mut classes);
        let rules = Rules::new(&scopes, prov(&scopes), None, &classes).at(found().address);
        let answer = Answer::Active(found());
        let reply = packet.view(|view| reply(Vec::new(), view, 67, ip(2, 1), &answer, Some(&rules)));
        let (_, options) = read(reply.octets);
        assert_eq!(options.iter().map(|(code, _)| *code).collect::<Vec<_>>(), expected, "{why}");
        for (code, value) in [(60, &b"PXEClient"[..]), (12, b"node"), (15, b"p.example"), (3, &[10, 77, 2, 1])] {
            let told = options.iter().find(|(own, _)| *own == code);
            assert!(told.is_none_or(|(_, told)| told == value), "{why}: {code}");
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
//= type=test
//# If the IP Address Lease Time option (option 51) is specified in the Parameter Request List and if there is a currently valid lease for the IP address specified in the ciaddr, then the DHCP server MUST return this option in the DHCPLEASEACTIVE message with its value equal to the time remaining until lease expiration.
#[test]
fn only_what_is_listed_is_told_and_the_other_addresses() {
    let (_, options) = options(&query(STRANGER).option(55, &[51, 82]), &Answer::Active(found()));
    let codes: Vec<u8> = options.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [53, 54, 51, 82, 92]);
    let forever = Found { total_secs: u32::MAX, associated: vec![], ..found() };
    let (_, options) = self::options(&query(STRANGER).option(55, &[51]), &Answer::Active(forever));
    assert_eq!(options[2], (51, vec![255; 4]));
}

//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4
//= type=test
//# When responding with a DHCPLEASEUNKNOWN, the DHCP server MUST NOT include other DHCP options in the response.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
//= type=test
//# If there is no valid lease for the IP address, then the server MUST NOT return the IP Address Lease Time option (option 51).
#[test]
fn what_is_not_leased_and_what_is_not_known_are_told_apart() {
    let (octets, options) = options(&query(NOBODY).at(12, &[10, 77, 2, 9]), &Answer::Unassigned(ip(2, 9)));
    assert_eq!(
        (options[0].clone(), &octets[12..16], &octets[28..34]),
        ((53, vec![11]), &[10, 77, 2, 9][..], &[0; 6][..])
    );
    let (octets, options) = self::options(&query(NOBODY).option(61, b"id"), &Answer::Unknown);
    assert_eq!((options, octets[2]), (vec![(53, vec![12]), (54, vec![10, 77, 2, 1])], 0));
    let packet = query(STRANGER);
    let reply = packet.view(|view| reply(Vec::new(), view, 67, ip(2, 1), &Answer::Unknown, None));
    assert_eq!(reply.destination, Destination::Relay(ip(2, 254), 67));
    assert_eq!(reply.octets[28..34], STRANGER.octets());
}
