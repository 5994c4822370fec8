//! Compiled classes against a naive evaluator of the configuration's conditions, which is the oracle, and rows for what each condition means.

use proptest::prelude::*;
use reveille_config::MacAddr;
use reveille_config::dhcpd::{Condition as Configured, Field, Pattern};

use super::*;
use crate::proto::testing::{Packet, config, ip};

/// Classes `c0`, `c1` … with these conditions, as the file writes them.
fn classes(conditions: &[String]) -> (Dhcpd, Classes) {
    let tables: String = conditions
        .iter()
        .enumerate()
        .map(|(at, condition)| format!("[[dhcpd.class]]\nname = \"c{at}\"\nmatch = {condition}\n\n"))
        .collect();
    let first = "[[dhcpd.scope]]\nname = \"bmc\"";
    let config = config(&[(first, &format!("{tables}{first}"))]);
    let classes = Classes::compile(&config, |_| None);
    (config, classes)
}

fn members(classes: &Classes, packet: &Packet, membership: &mut Membership) -> Vec<u16> {
    packet.view(|view| classes.evaluate(Facts::of(view), membership));
    membership.iter().map(|class| class.0).collect()
}

/// The oracle: walks the configuration's own condition, one class after the other, and reads the packet's octets by itself.
mod naive {
    use super::*;

    fn sub_option(view: &PacketView<'_>, wanted: u8) -> Vec<Vec<u8>> {
        let (mut rest, mut found) = (view.option(82).unwrap_or_default().to_vec(), Vec::new());
        while rest.len() >= 2 && rest.len() >= 2 + usize::from(rest[1]) {
            let behind = rest.split_off(2 + usize::from(rest[1]));
            if rest[0] == wanted && found.is_empty() {
                found.push(rest[2..].to_vec());
            }
            rest = behind;
        }
        found
    }

    fn values(view: &PacketView<'_>, field: Field) -> Vec<Vec<u8>> {
        match field {
            Field::Option(code) => view.option(code).map(<[u8]>::to_vec).into_iter().collect(),
            Field::CircuitId => sub_option(view, 1),
            Field::RemoteId => sub_option(view, 2),
            Field::UserClass => {
                let Some(whole) = view.option(77).map(<[u8]>::to_vec) else { return Vec::new() };
                let (mut at, mut parts) = (0, vec![whole.clone()]);
                while at < whole.len() {
                    let end = at + 1 + usize::from(whole[at]);
                    if whole[at] == 0 || end > whole.len() {
                        return vec![whole];
                    }
                    parts.push(whole[at + 1..end].to_vec());
                    at = end;
                }
                parts
            }
        }
    }

    pub fn holds(condition: &Configured, view: &PacketView<'_>) -> bool {
        match condition {
            Configured::All(all) => all.iter().all(|one| holds(one, view)),
            Configured::Any(any) => any.iter().any(|one| holds(one, view)),
            Configured::Not(inner) => !holds(inner, view),
            Configured::Content(field, pattern) => values(view, *field).iter().any(|value| match pattern {
                Pattern::Equals(all) => all.iter().any(|one| one.0 == *value),
                Pattern::StartsWith(all) => all.iter().any(|one| value.starts_with(&one.0)),
                Pattern::Contains(all) => {
                    all.iter().any(|one| (0..value.len()).any(|at| value[at..].starts_with(&one.0)))
                }
                Pattern::Present => true,
            }),
            Configured::Architecture(all) => {
                let named = view.option(93).unwrap_or_default();
                all.iter().any(|one| (0..named.len() / 2).any(|at| named[2 * at..2 * at + 2] == one.0.to_be_bytes()))
            }
            Configured::MacPrefix(all) => all.iter().any(|one| view.chaddr().octets().starts_with(&one.0)),
            Configured::Relay(all) => {
                !view.giaddr().is_unspecified() && all.iter().any(|net| net.contains(&view.giaddr()))
            }
            Configured::RelayUnicast(unicast) => {
                let flags = sub_option(view, 10).first().and_then(|flags| flags.first().copied());
                flags.is_some_and(|flags| (flags >= 0x80) == *unicast)
            }
            Configured::Stage(all) => Stage::of(view).configured().is_some_and(|stage| all.contains(&stage)),
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
//= type=test
//# the parameters MUST be identified by an exact match between the client's vendor class identifiers and the client's classes identified in the server,
//= https://www.rfc-editor.org/rfc/rfc3004#section-4
//= type=test
//# A server that is not equipped to interpret any given user class specified by a client MUST ignore it (although it may be reported).
#[test]
fn each_condition_means_what_it_says() {
    let mac = MacAddr([0xb8, 0x27, 0xeb, 1, 2, 3]);
    let plain = || Packet::discover(mac);
    let pxe = || plain().option(60, b"PXEClient:Arch:00000").option(93, &[0, 0]);
    let relayed = || plain().relayed_by(ip(2, 7)).option(82, b"\x01\x04eth1\x02\x02\x00\x01");
    for (condition, packet, expected) in [
        ("{ vendor-class = \"PXEClient\" }", pxe(), false),
        ("{ vendor-class = { starts-with = \"PXEClient\" } }", pxe(), true),
        ("{ vendor-class = { starts-with = [\"x\", \"PXE\"], contains = \"00000\" } }", pxe(), true),
        ("{ vendor-class = { present = true } }", plain(), false),
        ("{ vendor-class = { present = false } }", plain(), true),
        ("{ user-class = \"iPXE\" }", plain().option(77, b"iPXE"), true),
        ("{ user-class = \"iPXE\" }", plain().option(77, b"\x04iPXE"), true),
        ("{ user-class = [\"b\", \"c\"] }", plain().option(77, b"\x01a\x01b"), true),
        ("{ user-class = \"b\" }", plain().option(77, b"\x01a\x02b"), false),
        ("{ architecture = \"efi_x64\" }", plain().option(93, &[0, 9, 0, 7]), true),
        ("{ architecture = [7, 9] }", pxe(), false),
        ("{ architecture = \"bios\" }", plain(), false),
        ("{ mac-prefix = \"b8:27:eb\" }", plain(), true),
        ("{ mac-prefix = [\"b8:27:ec\", \"b8\"] }", plain(), true),
        ("{ mac-prefix = \"b8:27:ec\" }", plain(), false),
        ("{ relay = \"10.77.2.0/24\" }", relayed(), true),
        ("{ relay = [\"10.77.3.0/24\", \"10.77.2.7\"] }", relayed(), true),
        ("{ relay = \"0.0.0.0/0\" }", plain(), false),
        // RFC 5010: flags of the relay agent.
        ("{ relay-unicast = true }", relayed().option(82, &[10, 1, 0x80]), true),
        ("{ relay-unicast = true }", relayed().option(82, &[10, 1, 0]), false),
        ("{ relay-unicast = false }", relayed().option(82, &[10, 1, 0x7f]), true),
        ("{ relay-unicast = false }", relayed(), false),
        ("{ relay-unicast = true }", relayed().option(82, &[10, 0]), false),
        ("{ circuit-id = \"eth1\" }", relayed(), true),
        ("{ remote-id = \"hex:0001\", circuit-id = { starts-with = \"eth\" } }", relayed(), true),
        ("{ remote-id = { present = true } }", plain(), false),
        ("{ option = { name = \"dhcp-max-message-size\", equals = 1500 } }", plain().option(57, &[5, 220]), true),
        ("{ option = { code = 12, contains = \"od\" } }", plain().option(12, b"node"), true),
        ("{ stage = \"rom\" }", pxe(), true),
        ("{ stage = [\"http\", \"ipxe\"] }", pxe().option(77, b"iPXE"), true),
        ("{ stage = [\"rom\", \"http\", \"ipxe\"] }", plain(), false),
        ("{ not = { stage = \"rom\" } }", plain(), true),
        ("{ mac-prefix = \"b8\", not = { vendor-class = { present = true } } }", pxe(), false),
        ("{ any = [{ mac-prefix = \"00\" }, { vendor-class = { contains = \"Arch\" } }] }", pxe(), true),
        // Raspberry Pis say that they are BIOS machines; their addresses tell.
        ("{ vendor-class = { starts-with = \"PXEClient\" }, mac-prefix = \"b8:27:eb\" }", pxe(), true),
    ] {
        let (_, classes) = classes(&[condition.to_owned()]);
        assert_eq!(!members(&classes, &packet, &mut Membership::default()).is_empty(), expected, "{condition}");
    }
}

#[test]
fn a_client_is_in_many_classes_in_their_order_and_the_last_packet_is_forgotten() {
    let conditions: Vec<String> =
        (0..130).map(|at| format!("{{ mac-prefix = \"02:00:00:00:{:02x}\" }}", at % 3)).collect();
    let (_, classes) = classes(&conditions);
    let mut membership = Membership::default();
    for last in [0, 2, 1, 2, 3] {
        let packet = Packet::discover(MacAddr([2, 0, 0, 0, last, 1]));
        let expected: Vec<u16> = (0..130).filter(|at| *at % 3 == u16::from(last)).collect();
        assert_eq!(members(&classes, &packet, &mut membership), expected);
        assert!((0..130).all(|at| membership.contains(ClassIndex(at)) == expected.contains(&at)));
        assert!(!membership.contains(ClassIndex(1_000)));
    }
    assert_eq!(classes.by_name("c7"), Some(ClassIndex(7)));
}

#[test]
fn classes_are_filed_under_what_few_share() {
    let condition = |at: u32| {
        format!(
            "{{ stage = \"rom\", vendor-class = {{ starts-with = \"PXEClient\" }}, mac-prefix = \"02:00:{:02x}\" }}",
            at
        )
    };
    let (_, classes) = classes(&(0..200).map(condition).collect::<Vec<_>>());
    let packet = Packet::discover(MacAddr([2, 0, 7, 0, 0, 1])).option(60, b"PXEClient").option(93, &[0, 7]);
    let mut asked = 0;
    packet.view(|view| classes.index.candidates(Facts::of(view), |_| asked += 1));
    assert_eq!(asked, 1, "all share stage and vendor class, none the MAC's first octets");
}

/// Few words, so that conditions and packets meet often.
fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "ab", "abc", "b", "PXEClient", "HTTPClient", "iPXE", "hex:01", "hex:0161"])
        .prop_map(str::to_owned)
}

fn pattern() -> impl Strategy<Value = String> {
    let words = || prop::collection::vec(word(), 1..3).prop_map(|words| format!("{words:?}"));
    prop_oneof![
        words().prop_map(|words| format!("equals = {words}")),
        words().prop_map(|words| format!("starts-with = {words}")),
        words().prop_map(|words| format!("contains = {words}")),
        any::<bool>().prop_map(|is| format!("present = {is}")),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    let field = prop::sample::select(vec!["vendor-class", "user-class", "circuit-id", "remote-id"]);
    let leaf = prop_oneof![
        (field, pattern()).prop_map(|(field, pattern)| format!("{{ {field} = {{ {pattern} }} }}")),
        (prop::sample::select(vec![12u8, 77, 200]), pattern())
            .prop_map(|(code, pattern)| format!("{{ option = {{ code = {code}, {pattern} }} }}")),
        prop::collection::vec(0u16..12, 1..3).prop_map(|all| format!("{{ architecture = {all:?} }}")),
        prop::sample::select(vec!["02", "02:00", "02:00:00:00:00:01", "04"])
            .prop_map(|text| format!("{{ mac-prefix = {text:?} }}")),
        prop::sample::select(vec!["10.77.2.0/24", "10.77.0.0/16", "10.77.2.1", "0.0.0.0/0"])
            .prop_map(|text| format!("{{ relay = {text:?} }}")),
        prop::sample::select(vec!["rom", "ipxe", "http"]).prop_map(|text| format!("{{ stage = {text:?} }}")),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 1..4).prop_map(|all| all.join(", "));
        prop_oneof![
            several.clone().prop_map(|all| format!("{{ all = [{all}] }}")),
            several.prop_map(|any| format!("{{ any = [{any}] }}")),
            inner.prop_map(|inner| format!("{{ not = {inner} }}")),
        ]
    })
}

fn packet() -> impl Strategy<Value = Packet> {
    let octets = || {
        prop_oneof![
            word().prop_map(|word| if word.starts_with("hex:") { vec![1, 0x61] } else { word.into_bytes() }),
            prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, b'a', b'b']), 0..5),
        ]
    };
    let options = prop::collection::vec((prop::sample::select(vec![12u8, 60, 77, 200]), octets()), 0..4);
    let agent = prop::collection::vec((1u8..3, octets()), 0..3);
    let architectures = prop::collection::vec(0u8..12, 0..3);
    let giaddr = prop::sample::select(vec![ip(2, 1), ip(2, 9), ip(3, 1), std::net::Ipv4Addr::UNSPECIFIED]);
    (options, agent, architectures, giaddr, 0u8..3).prop_map(|(options, agent, architectures, giaddr, last)| {
        let mut packet = Packet::discover(MacAddr([2, 0, 0, 0, 0, last])).relayed_by(giaddr);
        for (code, value) in options {
            packet = packet.option(code, &value);
        }
        if !agent.is_empty() {
            let value: Vec<u8> =
                agent.iter().flat_map(|(code, value)| [&[*code, value.len() as u8][..], value].concat()).collect();
            packet = packet.option(82, &value);
        }
        if !architectures.is_empty() {
            packet = packet.option(93, &architectures.iter().flat_map(|code| [0, *code]).collect::<Vec<_>>());
        }
        packet
    })
}

proptest! {
    /// Whatever the classes and the packets, the compiled classes find exactly those whose conditions hold.
    #[test]
    fn compiled_classes_say_what_the_conditions_say(
        conditions in prop::collection::vec(condition(), 1..12),
        packets in prop::collection::vec(packet(), 1..8),
    ) {
        let (config, classes) = classes(&conditions);
        let mut membership = Membership::default();
        for packet in packets {
            let expected: Vec<u16> = packet.view(|view| {
                (0..).zip(&config.classes).filter(|(_, class)| naive::holds(&class.condition, view)).map(|(at, _)| at).collect()
            });
            prop_assert_eq!(members(&classes, &packet, &mut membership), expected);
        }
    }
}
