//! Every example passes its own check, and what is printed of a configuration is that configuration.

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use reveille_config::environment::Imagined;
use reveille_config::{Config, Mistake};

const EXAMPLES: [(&str, &str); 2] = [
    ("small.toml", include_str!("../examples/small.toml")),
    ("reveille.toml", include_str!("../examples/reveille.toml")),
];

fn environment() -> Imagined {
    Imagined::with_all_directories().file("/etc/reveille/bmc-password", 0o640, "calvin\n")
}

fn parse(text: &str) -> Result<Config, Vec<Mistake>> {
    Config::parse(text, Path::new("reveille.toml"), &environment())
}

fn expect(text: &str) -> Config {
    parse(text).unwrap_or_else(|mistakes| {
        panic!("{}\n{text}", mistakes.iter().map(|mistake| mistake.render(false)).collect::<String>())
    })
}

#[test]
fn the_examples_are_valid_and_print_as_themselves() {
    for (name, text) in EXAMPLES {
        let config = expect(text);
        let printed = config.to_toml();
        let again = expect(&printed);
        assert_eq!(again, config, "{name}: {printed}");
        let unmarked = printed.replace(" # default", "");
        assert_eq!(again.to_toml(), unmarked, "{name}: what is given is no default");
    }
    let directory = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap();
    assert_eq!(directory.count(), EXAMPLES.len(), "every example is in this test");
}

/// What is shown to a dhcpd elsewhere prints as the references that it came from.
#[test]
fn a_dhcpd_elsewhere_prints_as_itself() {
    let table = "[provisioner.dhcpd]\nurl = \"https://dhcp1.example.net:7671\"\ntoken = { file = \"/etc/reveille/bmc-password\" }\n\
        ca = \"/etc/reveille/ca.crt\"\ncertificate = \"/etc/reveille/own.crt\"\nkey = \"/etc/reveille/own.key\"\n";
    let files = ["/etc/reveille/ca.crt", "/etc/reveille/own.crt", "/etc/reveille/own.key"];
    let environment = files.iter().fold(environment(), |environment, file| environment.file(file, 0o640, ""));
    let parse = |text: &str| Config::parse(text, Path::new("reveille.toml"), &environment).unwrap();
    let config = parse(&format!("{}\n{table}", EXAMPLES[0].1));
    let printed = config.to_toml();
    assert!(printed.contains(table) && !printed.contains("calvin"), "{printed}");
    assert_eq!(parse(&printed), config);
    assert!(!format!("{config:?}").contains("calvin"));
}

/// Whatever a condition says, what is printed of it is that condition.
#[test]
fn every_condition_prints_as_itself() {
    let scope = EXAMPLES[0].1;
    for (written, printed) in [
        ("{ vendor-class = \"iDRAC\" }", "{ vendor-class = { equals = [\"iDRAC\"] } }"),
        ("{ vendor-class = \"hex:00ff\" }", "{ vendor-class = { equals = [\"hex:00ff\"] } }"),
        ("{ user-class = { starts-with = [\"a\", \"b\"] } }", "{ user-class = { starts-with = [\"a\", \"b\"] } }"),
        (
            "{ user-class = { starts-with = \"a\", contains = \"b\", present = false } }",
            "{ all = [{ user-class = { starts-with = [\"a\"] } }, { user-class = { contains = [\"b\"] } }, { not = { user-class = { present = true } } }] }",
        ),
        ("{ option = { code = 77, equals = \"a\" } }", "{ user-class = { equals = [\"a\"] } }"),
        (
            "{ option = { name = \"dhcp-max-message-size\", equals = [576, 1500] } }",
            "{ option = { code = 57, equals = [\"hex:0240\", \"hex:05dc\"] } }",
        ),
        (
            "{ option = { name = \"rack\", equals = \"10.0.0.1\" } }",
            "{ option = { code = 224, equals = [\"hex:0a000001\"] } }",
        ),
        (
            "{ option = [{ code = 12, present = true }, { code = 13, present = true }] }",
            "{ all = [{ option = { code = 12, present = true } }, { option = { code = 13, present = true } }] }",
        ),
        ("{ architecture = [7, \"efi_bc\", 99] }", "{ architecture = [\"efi_x64\", \"efi_bc\", 99] }"),
        ("{ mac-prefix = \"B8-27-eb\" }", "{ mac-prefix = [\"b8:27:eb\"] }"),
        ("{ relay-unicast = false }", "{ relay-unicast = false }"),
        ("{ relay = [\"10.0.0.0/8\", \"192.0.2.1\"] }", "{ relay = [\"10.0.0.0/8\", \"192.0.2.1/32\"] }"),
        ("{ stage = [\"rom\", \"ipxe\", \"http\"] }", "{ stage = [\"rom\", \"ipxe\", \"http\"] }"),
        (
            "{ circuit-id = { contains = \"eth\" }, any = [{ remote-id = \"x\" }, { not = { stage = \"rom\" } }] }",
            "{ all = [{ circuit-id = { contains = [\"eth\"] } }, { any = [{ remote-id = { equals = [\"x\"] } }, { not = { stage = [\"rom\"] } }] }] }",
        ),
        ("{ any = [{ vendor-class = \"a\" }] }", "{ vendor-class = { equals = [\"a\"] } }"),
    ] {
        let own = "[[dhcpd.option]]\ncode = 224\nname = \"rack\"\ntype = \"address\"\n";
        let config = expect(&format!("{own}[[dhcpd.class]]\nname = \"c\"\nmatch = {written}\n{scope}"));
        let text = config.to_toml();
        let line = text.lines().find_map(|line| line.strip_prefix("match = ")).unwrap();
        assert_eq!(line, printed);
        assert_eq!(expect(&text), config);
    }
}

/// What a scope can say besides what the examples say, printed and read again.
#[test]
fn scopes_print_as_themselves() {
    let text = r#"
[[dhcpd.class]]
name = "pi"
match = { mac-prefix = "b8:27:eb" }
[dhcpd.boot.pi]
bios = "x"
[dhcpd]
[[dhcpd.scope]]
name = "a"
kind = "dynamic"
interface = "eth1"
shared_network = "one"
identity = "client-id"
subnet = "10.77.1.0/24"
server_address = "10.77.1.1"
pools = [{ range = "10.77.1.100-10.77.1.149", allow = ["pi"], deny = ["pi"], options = { interface-mtu = 9000 } }, "10.77.1.150-10.77.1.199"]
exclude = ["10.77.1.120-10.77.1.122"]
boot = "pi"
reply_delay_millis = 20
[[dhcpd.scope.reservation]]
client_id = "hex:01525400000001"
address = "10.77.1.110"
boot = "pi"
[[dhcpd.scope.reservation]]
circuit_id = "eth0/1"
remote_id = "hex:0001"
address = "10.77.1.11"
[[dhcpd.scope.reservation]]
remote_id = "switch 7"
address = "10.77.1.12"
[[dhcpd.scope]]
name = "b"
kind = "dynamic"
interface = "eth1"
relays = ["10.77.9.0/24", "10.77.8.1"]
circuit_ids = ["eth0/1", "hex:00"]
ignore_link_selection = true
subnet = "10.77.2.0/24"
server_address = "10.77.1.1"
pools = ["10.77.2.100"]
"#;
    let text = text.replacen("[dhcpd]\n", "", 1);
    let config = expect(&text);
    assert_eq!(config.advice(), []);
    let printed = config.to_toml();
    assert_eq!(expect(&printed), config, "{printed}");
    for line in [
        "pools = [{ range = \"10.77.1.100-10.77.1.149\", allow = [\"pi\"], deny = [\"pi\"], options = { interface-mtu = 9000 } }, \"10.77.1.150-10.77.1.199\"]",
        "identity = \"client-id\"\n",
        "remote_id = \"switch 7\"",
        "relays = [\"10.77.9.0/24\", \"10.77.8.1/32\"]",
        "circuit_ids = [\"eth0/1\", \"hex:00\"]",
    ] {
        assert!(printed.contains(line), "{line}\n{printed}");
    }
}

/// The full example says of each key that is commented out what its default is.
#[test]
fn the_full_example_tells_the_defaults() {
    let (_, text) = EXAMPLES[1];
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest)
                if rest
                    .split_once(" = ")
                    .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')) =>
            {
                rest
            }
            _ => line,
        })
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(expect(&uncommented), expect(text));
    let printed = expect(&uncommented).to_toml();
    for line in printed.lines().filter(|line| line.ends_with("# default")) {
        // The second scope relies on the defaults that the first one shows.
        let key = line.split(' ').next().unwrap();
        assert!(uncommented.contains(&format!("{key} = ")), "the example does not mention `{key}`");
    }
}

#[test]
fn defaults_are_marked_and_secrets_are_not_shown() {
    let printed = expect(EXAMPLES[1].1).to_toml();
    for line in [
        "workers = 1 # default",
        "segment_bytes = 16777216 # default",
        "lease_secs = 86400\n",
        "lease_secs_min = 300 # default",
        "public_url = \"http://10.77.8.1:8080\" # default",
        "agent_networks = [\"10.77.8.0/21\"] # default",
        "heartbeat_secs = 300 # default",
        "deploy_callback_secs = 2700\n",
        "password = { file = \"/etc/reveille/bmc-password\" }",
        "224 = \"hex:0a0b\"",
    ] {
        assert!(printed.contains(line), "{line}\n{printed}");
    }
    let config = expect(EXAMPLES[1].1);
    let shown = format!("{printed}{config:?}{}", serde_json::to_string(&config).unwrap());
    assert!(!shown.contains("calvin"), "{shown}");
    assert_eq!(config.provisioner.unwrap().ipmi.password.unwrap().expose(), "calvin");
}

/// Mistakes lie within the file, are in order, and their excerpt is the line they name.
fn well_placed(text: &str) -> Result<(), TestCaseError> {
    let Err(mistakes) = parse(text) else { return Ok(()) };
    prop_assert!(!mistakes.is_empty());
    let lines: Vec<&str> = text.split('\n').collect();
    let mut last = (0, 0);
    for mistake in mistakes.iter().filter(|mistake| mistake.line > 0) {
        prop_assert!(mistake.line <= lines.len(), "{mistake:?}");
        let length = lines[mistake.line - 1].chars().count();
        prop_assert!((1..=length + 1).contains(&mistake.column), "{mistake:?}");
        prop_assert!(mistake.width >= 1);
        prop_assert!(last <= (mistake.line, mistake.column), "{mistake:?} comes after {last:?}");
        last = (mistake.line, mistake.column);
        prop_assert!(!mistake.render(false).chars().any(|c| c.is_control() && c != '\n'), "{mistake:?}");
        mistake.render(true);
    }
    Ok(())
}

/// One change to a file.
#[derive(Debug, Clone)]
enum Change {
    Delete(Index, usize),
    Insert(Index, &'static str),
    /// Copies one line over another.
    CopyLine(Index, Index),
    DeleteLine(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let pieces = [
        "\"",
        "'",
        "\"\"\"",
        "[",
        "]",
        "[[",
        "{",
        "}",
        "=",
        ",",
        "\n",
        "\r\n",
        "#",
        ".",
        "\\",
        "\u{feff}",
        "\0",
        "ä",
        "🦀",
        "-",
        "0",
        "9999999999",
        "true",
        "1.5",
        "2020-01-01",
        "//",
        "hex:",
        "\t",
        "name",
        "[dhcpd.scope]",
        "[[dhcpd.scope]]\n",
        "= \n",
        "255",
    ];
    prop_oneof![
        (any::<Index>(), 1_usize..40).prop_map(|(at, length)| Change::Delete(at, length)),
        (any::<Index>(), select(pieces.to_vec())).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::CopyLine(from, to)),
        any::<Index>().prop_map(Change::DeleteLine),
    ]
}

fn apply(text: &str, change: &Change) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let mut lines: Vec<&str> = text.split('\n').collect();
    match change {
        Change::Delete(at, length) => {
            let at = at.index(chars.len() + 1);
            let end = (at + length).min(chars.len());
            chars.drain(at..end);
            return chars.into_iter().collect();
        }
        Change::Insert(at, piece) => {
            let at = at.index(chars.len() + 1);
            chars.splice(at..at, piece.chars());
            return chars.into_iter().collect();
        }
        Change::CopyLine(from, to) => {
            let (from, to) = (from.index(lines.len()), to.index(lines.len()));
            lines[to] = lines[from];
        }
        Change::DeleteLine(at) => _ = lines.remove(at.index(lines.len())),
    }
    lines.join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_examples_never_panic(which in 0..EXAMPLES.len(), changes in prop::collection::vec(change(), 1..8)) {
        let text = changes.iter().fold(EXAMPLES[which].1.to_owned(), |text, change| apply(&text, change));
        well_placed(&text)?;
    }

    #[test]
    fn arbitrary_texts_never_panic(text in "(?s).{0,200}") {
        well_placed(&text)?;
    }

    #[test]
    fn what_is_taken_prints_as_itself(which in 0..EXAMPLES.len(), changes in prop::collection::vec(change(), 1..3)) {
        let text = changes.iter().fold(EXAMPLES[which].1.to_owned(), |text, change| apply(&text, change));
        if let Ok(config) = parse(&text) {
            prop_assert_eq!(expect(&config.to_toml()), config);
        }
    }

    /// Values that the examples do not have.
    #[test]
    fn generated_scopes_print_as_themselves(
        lease in 1_u32..4_000_000_000, offer in 1_u32..3_600, percent in 0_u8..=90, first in 2_u8..100, last in 100_u8..=254,
        fixed in any::<bool>(), flag in any::<bool>(), text in "[^\"\\\\\\p{C}]{1,40}", mtu in any::<u16>(), hex in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let hex = hex.iter().fold(String::from("hex:"), |text, octet| text + &format!("{octet:02x}"));
        let kind = if fixed { "static" } else { "dynamic" };
        let file = format!(r#"
            [[dhcpd.scope]]
            name = "a"
            kind = "{kind}"
            interface = "eth0"
            subnet = "192.0.2.0/24"
            server_address = "192.0.2.1"
            pools = ["192.0.2.{first}-192.0.2.{last}"]
            lease_secs = {lease}
            offer_secs = {offer}
            cache_threshold_percent = {percent}
            authoritative = {flag}
            options = {{ interface-mtu = {mtu}, root-path = "x{text}", 224 = "{hex}", 12 = "{text}" }}
        "#);
        // A text that begins with `hex:` means octets.
        if let Ok(config) = parse(&file) {
            prop_assert_eq!(expect(&config.to_toml()), config);
        } else {
            prop_assert!(text.starts_with("hex:") || text.len() > 254, "{:?}", parse(&file).unwrap_err());
        }
    }
}
