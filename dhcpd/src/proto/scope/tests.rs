//! Which scope a packet is for, and which pools its client may have an address from, as tables.

use super::*;
use crate::proto::answer::scope_of;
use crate::proto::class::Facts;
use crate::proto::testing::{Packet, STRANGER, ip, prov, scopes};

/// Besides `prov` on `vp0`: `prov2`, which shares its link; `far`, behind relays; `port`, for one port of those; `wrong`, whose relays select the wrong subnet.
const MORE: &str = r#"
[[dhcpd.scope]]
name = "prov2"
kind = "dynamic"
interface = "vp0"
shared_network = "one"
subnet = "10.77.3.0/24"
server_address = "10.77.3.1"
pools = ["10.77.3.100-10.77.3.109"]

[[dhcpd.scope]]
name = "far"
kind = "dynamic"
interface = "vp0"
relays = ["10.99.0.0/24"]
subnet = "10.77.4.0/24"
server_address = "10.77.2.1"
pools = ["10.77.4.100-10.77.4.109"]

[[dhcpd.scope]]
name = "port"
kind = "dynamic"
interface = "vp0"
relays = ["10.99.0.0/24"]
circuit_ids = ["eth7"]
subnet = "10.77.5.0/24"
server_address = "10.77.2.1"
pools = ["10.77.5.100-10.77.5.109"]

[[dhcpd.scope]]
name = "wrong"
kind = "dynamic"
interface = "vp0"
relays = ["10.98.0.1"]
ignore_link_selection = true
subnet = "10.77.6.0/24"
server_address = "10.77.2.1"
pools = ["10.77.6.100-10.77.6.109"]

[[dhcpd.class]]
name = "stubborn"
match = { mac-prefix = "02:00:00:00:00:99" }
quirks = { ignore_link_selection = true }
"#;

fn more(changes: &[(&str, &str)]) -> Arc<Scopes> {
    let last = "hostname = \"node-1\"";
    let (with_more, shared) = (format!("{last}\n{MORE}"), "name = \"prov\"\nshared_network = \"one\"");
    scopes(&[&[(last, &with_more[..]), ("name = \"prov\"", shared)], changes].concat())
}

#[test]
fn the_way_of_a_packet_says_its_scope() {
    let scopes = more(&[]);
    let discover = || Packet::discover(STRANGER);
    let relayed = |last| discover().relayed_by(Ipv4Addr::new(10, 99, 0, last));
    let stubborn = || Packet::discover(MacAddr([2, 0, 0, 0, 0, 0x99]));
    let select = [5, 4, 10, 77, 4, 0];
    for (why, interface, packet, expected) in [
        ("on the link: the first", "vp0", discover(), Some("prov")),
        ("by its own address", "vp0", Packet::renew(STRANGER, ip(3, 101)), Some("prov2")),
        ("a renewal past its relay", "vp0", Packet::renew(STRANGER, ip(4, 101)), Some("far")),
        ("an address of nobody's scope", "vp0", Packet::renew(STRANGER, ip(99, 101)), Some("prov")),
        ("another interface", "vb0", discover(), Some("bmc")),
        ("no interface of ours", "vx0", discover(), None),
        ("a relay inside the subnet", "vp0", discover().relayed_by(ip(3, 254)), Some("prov2")),
        ("a relay by its address", "vp0", relayed(9), Some("far")),
        ("a relay that nobody named", "vp0", discover().relayed_by(ip(99, 1)), None),
        ("a port", "vp0", relayed(9).option(82, b"\x01\x04eth7"), Some("port")),
        ("another port", "vp0", relayed(9).option(82, b"\x01\x04eth8"), Some("far")),
        ("link selection", "vp0", relayed(9).option(82, &[5, 4, 10, 77, 3, 0]), Some("prov2")),
        ("link selection of what is not served", "vp0", relayed(9).option(82, &[5, 4, 10, 1, 3, 0]), None),
        ("subnet selection", "vp0", relayed(9).option(118, &[10, 77, 6, 0]), Some("wrong")),
        (
            "a scope that ignores it",
            "vp0",
            discover().relayed_by(Ipv4Addr::new(10, 98, 0, 1)).option(82, &select),
            Some("wrong"),
        ),
        ("a class that does", "vp0", stubborn().relayed_by(ip(3, 254)).option(82, &select), Some("prov2")),
    ] {
        let mut classes = Membership::none();
        let found = packet.view(|view| {
            scopes.classes().evaluate(Facts::of(view), &mut classes);
            scope_of(&scopes, interface, view, &classes).ok().map(|scope| scope.name.to_string())
        });
        assert_eq!(found.as_deref(), expected, "{why}");
    }
}

#[test]
fn a_scope_for_relays_needs_no_interface() {
    let anywhere =
        ("interface = \"vp0\"\nrelays = [\"10.98.0.1\"]\nignore_link_selection = true", "relays = [\"10.98.0.1\"]");
    let scopes = more(&[anywhere]);
    let discover = || Packet::discover(STRANGER);
    let relayed = || discover().relayed_by(Ipv4Addr::new(10, 98, 0, 1));
    let selecting = discover().relayed_by(Ipv4Addr::new(10, 99, 0, 9)).option(82, &[5, 4, 10, 77, 6, 0]);
    for (why, interface, packet, expected) in [
        ("its relay on one interface", "vp0", relayed(), Some("wrong")),
        ("its relay on another", "vb0", relayed(), Some("wrong")),
        ("its relay on an interface that no scope names", "", relayed(), Some("wrong")),
        ("link selection", "vp0", selecting, Some("wrong")),
        ("a renewal past its relay", "", Packet::renew(STRANGER, ip(6, 101)), Some("wrong")),
        ("on a link", "vp0", discover(), Some("prov")),
        ("on a link, and selects what is elsewhere", "vp0", discover().option(118, &[10, 77, 6, 0]), None),
        ("on a link that no scope names", "", discover(), None),
    ] {
        let scope = packet.view(|view| scope_of(&scopes, interface, view, &Membership::none()).ok());
        assert_eq!(scope.map(|scope| &*scope.name), expected, "{why}");
    }
    assert_eq!(scopes.interfaces(), [Box::from("vb0"), Box::from("vp0")]);
}

#[test]
fn scopes_of_one_link_are_one_network() {
    let scopes = more(&[]);
    let of = |name| scopes.by_name(name).unwrap();
    assert_eq!(of("prov").network, of("prov2").network);
    assert_ne!(of("prov").network, of("far").network);
    let network = scopes.network(of("prov").network).unwrap();
    assert_eq!(network.scopes[..], [of("prov").index, of("prov2").index]);
    assert_eq!(scopes.networks().len(), 5);
    let by_id = more(&[("subnet = \"10.77.4.0/24\"", "subnet = \"10.77.4.0/24\"\nidentity = \"client-id\"")]);
    let kinds: Vec<_> = by_id.networks().iter().map(|network| network.identified_by).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == IdentifiedBy::ClientId).count(), 1);
}

#[test]
fn pools_are_for_classes_and_without_what_is_excluded() {
    let classes = "[[dhcpd.class]]\nname = \"a\"\nmatch = { mac-prefix = \"02:00:00:00:00:01\" }\n\
                   [[dhcpd.class]]\nname = \"b\"\nmatch = { mac-prefix = \"02:00:00:00:00\" }\n[[dhcpd.scope]]\nname = \"prov\"";
    let pools = "pools = [{ range = \"10.77.2.100-10.77.2.101\", allow = [\"a\"], options = { interface-mtu = 9000 } }, \
                 { range = \"10.77.2.102-10.77.2.103\", deny = [\"a\"] }, \"10.77.2.104-10.77.2.109\"]\nexclude = [\"10.77.2.105\"]";
    let scopes =
        scopes(&[("[[dhcpd.scope]]\nname = \"prov\"", classes), ("pools = [\"10.77.2.100-10.77.2.109\"]", pools)]);
    for (mac, places, allowed) in [
        ([2, 0, 0, 0, 0, 1], [true, false, true], [100, 104]),
        ([2, 0, 0, 0, 0, 2], [false, true, true], [102, 109]),
        ([2, 0, 0, 0, 1, 1], [false, true, true], [103, 109]),
    ] {
        let mut classes = Membership::none();
        Packet::discover(MacAddr(mac)).view(|view| scopes.classes().evaluate(Facts::of(view), &mut classes));
        let rules = crate::proto::rules::Rules::new(&scopes, prov(&scopes), None, &classes);
        assert_eq!([0, 1, 2].map(|place| rules.pools.contains(place)), places, "{mac:?}");
        assert!(allowed.iter().all(|&last| rules.in_pools(ip(2, last))), "{mac:?}");
        assert!(!rules.in_pools(ip(2, 105)), "it is excluded");
        let mtu = |last| rules.at(ip(2, last)).options().any(|block| block.encoded(26).is_some());
        assert!(mtu(100) && !mtu(102), "the pool's own options go with its addresses");
    }
}

//= https://www.rfc-editor.org/rfc/rfc3046#section-3.1
//= type=test
//# The Circuit ID SHOULD be considered an opaque value, with policies based on exact string match only; that is, the Circuit ID SHOULD NOT be internally parsed by the server.
//= https://www.rfc-editor.org/rfc/rfc3046#section-3.2
//= type=test
//# The option SHOULD be considered an opaque value, with policies based on exact string match only; that is, the option SHOULD NOT be internally parsed by the server.
#[test]
fn reservations_name_clients_in_three_ways() {
    let more = "hostname = \"node-1\"\n\
                [[dhcpd.scope.reservation]]\nclient_id = \"hex:0102\"\naddress = \"10.77.2.101\"\n\
                [[dhcpd.scope.reservation]]\ncircuit_id = \"eth1\"\nremote_id = \"sw\"\naddress = \"10.77.2.102\"\n\
                [[dhcpd.scope.reservation]]\ncircuit_id = \"eth2\"\naddress = \"10.77.2.60\"\n";
    let scopes = scopes(&[("hostname = \"node-1\"", more)]);
    let scope = prov(&scopes);
    let all: Vec<_> = scope.reservations.iter().map(|own| (own.client.to_string(), own.address)).collect();
    let expected = [
        (all[0].0.clone(), all[0].1),
        ("client-id:0102".into(), ip(2, 101)),
        ("circuit:65746831+remote:7377".into(), ip(2, 102)),
        ("circuit:65746832".into(), ip(2, 60)),
    ];
    assert_eq!(all, expected);
    assert!(scope.reservations[0].client.mac().is_some());
    assert!(
        !scope.in_pools(ip(2, 101)) && !scope.in_pools(ip(2, 102)),
        "reserved inside the pools, so kept out of them"
    );
    assert!(scope.in_pools(ip(2, 103)));
}
