//! Options against the wire library: what we encode is what it encodes, and what is printed reads back to the same octets.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, Encodable as _};
use proptest::prelude::*;
use reveille_config::OptionSet;
use reveille_config::option::encode;
use serde_json::{Value, json};

/// The value octets that the wire library gives an option: behind code and length.
fn oracle(option: &DhcpOption) -> Vec<u8> {
    option.to_vec().unwrap()[2..].to_vec()
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

//= https://www.rfc-editor.org/rfc/rfc2132#section-3.5
//= type=test
//# Routers SHOULD be listed in order of preference.
//= https://www.rfc-editor.org/rfc/rfc2132#section-3.5
//= type=test
//# The minimum length for the router option is 4 octets, and the length MUST always be a multiple of 4.
#[test]
fn encodes_as_the_wire_library_does() {
    use DhcpOption as O;
    let (a, b) = (ip("10.77.1.1"), ip("10.77.1.2"));
    let names = |all: &[&str]| all.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>();
    for (name, value, option) in [
        ("time-offset", json!(-3600), O::TimeOffset(-3600)),
        ("routers", json!(["10.77.1.1", "10.77.1.2"]), O::Router(vec![a, b])),
        ("3", json!(["10.77.1.1"]), O::Router(vec![a])),
        ("domain-name-servers", json!(["10.77.1.2"]), O::DomainNameServer(vec![b])),
        ("host-name", json!("node-1"), O::Hostname("node-1".into())),
        ("boot-size", json!(512), O::BootFileSize(512)),
        ("domain-name", json!("lab.example"), O::DomainName("lab.example".into())),
        ("swap-server", json!("10.77.1.1"), O::SwapServer(a)),
        ("root-path", json!("/srv/root"), O::RootPath("/srv/root".into())),
        ("ip-forwarding", json!(true), O::IpForwarding(true)),
        ("policy-filter", json!(["10.77.1.1 10.77.1.2"]), O::PolicyFilter(vec![(a, b)])),
        ("default-ip-ttl", json!(64), O::DefaultIpTtl(64)),
        ("path-mtu-aging-timeout", json!(600), O::PathMtuAgingTimeout(600)),
        ("path-mtu-plateau-table", json!([68, 1500]), O::PathMtuPlateauTable(vec![68, 1500])),
        ("interface-mtu", json!(9000), O::InterfaceMtu(9000)),
        ("broadcast-address", json!("10.77.1.2"), O::BroadcastAddr(b)),
        ("static-routes", json!(["10.77.1.1 10.77.1.2"]), O::StaticRoutingTable(vec![(a, b)])),
        ("arp-cache-timeout", json!(4294967295_u32), O::ArpCacheTimeout(u32::MAX)),
        ("ntp-servers", json!(["10.77.1.1"]), O::NtpServers(vec![a])),
        ("vendor-encapsulated-options", json!("hex:01 02:03"), O::VendorExtensions(vec![1, 2, 3])),
        ("vendor-class-identifier", json!("PXEClient"), O::ClassIdentifier(b"PXEClient".to_vec())),
        ("tftp-server-name", json!("10.77.1.1"), O::TFTPServerName(b"10.77.1.1".to_vec())),
        ("bootfile-name", json!("snponly.efi"), O::BootfileName(b"snponly.efi".to_vec())),
        ("pcode", json!("EST5EDT"), O::TimezonePosixString("EST5EDT".into())),
        ("v4-captive-portal", json!("http://a/"), O::CaptivePortal("http://a/".into())),
        (
            "domain-search",
            json!(["eng.apple.com", "marketing.apple.com", "apple.com"]),
            O::DomainSearch(names(&["eng.apple.com.", "marketing.apple.com.", "apple.com."])),
        ),
        (
            "classless-static-routes",
            json!(["0.0.0.0/0 via 10.77.1.1", "10.0.0.0/8 via 10.77.1.2", "10.17.0.128/25 via 10.77.1.1"]),
            O::ClasslessStaticRoute(vec![
                ("0.0.0.0/0".parse().unwrap(), a),
                ("10.0.0.0/8".parse().unwrap(), b),
                ("10.17.0.128/25".parse().unwrap(), a),
            ]),
        ),
    ] {
        let (code, octets) = encode(name, &value).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(code, option.to_vec().unwrap()[0], "code of {name}");
        assert_eq!(octets, oracle(&option), "octets of {name}");
        // What is printed is what was written; a number becomes the name.
        let set = OptionSet::from_json(&BTreeMap::from([(name.to_owned(), value.clone())])).unwrap();
        let printed = set.to_json().into_values().next().unwrap();
        let hex = value.as_str().is_some_and(|text| text.starts_with("hex:"));
        assert!(hex || printed == value, "{name}: {printed}");
    }
}

/// RFC 3397 §2's example of compression, octet for octet.
#[test]
fn domain_search_points_back_at_what_was_written() {
    let (_, octets) = encode("domain-search", &json!(["eng.apple.com", "marketing.apple.com"])).unwrap();
    assert_eq!(octets, b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04");
}

#[test]
fn refuses_with_what_would_be_right() {
    let long = "a".repeat(1_025);
    for (name, value, message) in [
        ("router", json!(["10.77.1.1"]), "unknown option `router`; did you mean `routers`?"),
        ("Domain-Name", json!("a"), "unknown option `Domain-Name`; did you mean `domain-name`?"),
        (
            "256",
            json!("hex:00"),
            "there is no option 256; option numbers go from 1 to 254; 224 to 254 are free for private use",
        ),
        (
            "0",
            json!("hex:00"),
            "option 0 (`pad`) cannot be set: it fills gaps in a message and has no value; leave it out",
        ),
        (
            "dhcp-server-identifier",
            json!("10.77.1.1"),
            "option 54 (`dhcp-server-identifier`) cannot be set: the scope's `server_address` is it; leave it out",
        ),
        (
            "82",
            json!("hex:00"),
            "option 82 (`relay-agent-information`) cannot be set: it is the relay's own; the server returns it (RFC 3046); leave it out",
        ),
        (
            "routers",
            json!({"a": 1}),
            "`routers` takes a list of IPv4 addresses, not a table; for example: routers = [\"10.77.1.1\", \"10.77.1.2\"]",
        ),
        (
            "routers",
            json!("hex:0a4d01"),
            "`routers` takes a list of IPv4 addresses, not 3 octets that form no such value; for example: routers = [\"10.77.1.1\", \"10.77.1.2\"]",
        ),
        (
            "domain-name",
            json!(null),
            "`domain-name` takes a text that is not empty, not nothing; for example: domain-name = \"example\"",
        ),
        (
            "domain-name",
            json!(long),
            "the value of `domain-name` takes 1025 octets; an option holds at most 1024 octets",
        ),
        (
            "default-ip-ttl",
            json!(1.5),
            "`default-ip-ttl` takes an integer from 0 to 255, not the float 1.5; for example: default-ip-ttl = 64",
        ),
        (
            "time-offset",
            json!(u64::MAX),
            "`time-offset` takes an integer from -2147483648 to 2147483647, not the integer 18446744073709551615; for example: time-offset = 3600",
        ),
    ] {
        assert_eq!(encode(name, &value).unwrap_err().to_string(), message, "{name} = {value}");
    }
}

#[test]
fn a_set_merges_and_refuses_doubles() {
    let set = |options: Value| OptionSet::from_json(&serde_json::from_value(options).unwrap());
    let scope = set(json!({"routers": ["10.77.1.1"], "interface-mtu": 1500})).unwrap();
    let reservation = set(json!({"interface-mtu": 9000, "224": "hex:01"})).unwrap();
    let merged = scope.merge(&reservation);
    assert_eq!(merged, set(json!({"routers": ["10.77.1.1"], "26": 9000, "224": "hex:01"})).unwrap());
    assert_eq!(merged.iter().map(|(code, _)| code).collect::<Vec<_>>(), [3, 26, 224]);
    assert_eq!(scope.get(26), Some(&[5, 220][..]), "the merged one is new");
    let twice = set(json!({"routers": ["10.77.1.1"], "3": ["10.77.1.1"]})).unwrap_err();
    assert_eq!(twice.to_string(), "option 3 is given twice, by name and by number");
    assert_eq!(
        serde_json::to_value(&merged).unwrap(),
        json!({"224": "hex:01", "interface-mtu": 9000, "routers": ["10.77.1.1"]})
    );
}

proptest! {
    /// Whatever octets an option has, what is printed of it reads back to them.
    #[test]
    fn printed_options_read_back(code in 1_u8..255, octets in prop::collection::vec(any::<u8>(), 1..64)) {
        let hex = octets.iter().fold(String::from("hex:"), |text, octet| text + &format!("{octet:02x}"));
        if let Ok(set) = OptionSet::from_json(&BTreeMap::from([(code.to_string(), json!(hex))])) {
            prop_assert_eq!(set.get(code), Some(&octets[..]));
            prop_assert_eq!(OptionSet::from_json(&set.to_json()).unwrap(), set);
        }
    }

    /// The same for lists of domain names, which share their ends.
    #[test]
    fn domain_lists_read_back(names in prop::collection::vec("[a-c]{1,2}(\\.[a-c]{1,2}){0,3}", 1..8)) {
        let set = OptionSet::from_json(&BTreeMap::from([("domain-search".to_owned(), json!(names))])).unwrap();
        prop_assert_eq!(set.to_json(), BTreeMap::from([("domain-search".to_owned(), json!(names))]));
        let oracle_names = names.iter().map(|name| format!("{name}.").parse().unwrap()).collect();
        prop_assert_eq!(set.get(119).unwrap(), &oracle(&DhcpOption::DomainSearch(oracle_names))[..]);
    }

    /// Nothing a peer of the API sends makes the encoder panic.
    #[test]
    fn any_name_and_text_is_taken_or_refused(name in ".{0,12}", number in any::<u8>(), text in ".{0,40}") {
        for value in [json!(text), json!([text]), json!(format!("hex:{text}")), json!([format!("{text} via {text}")])] {
            let _ = encode(&name, &value);
            let _ = encode(&number.to_string(), &value);
        }
    }
}
