//! Mistakes in `[dhcpd]`: scopes, pools, reservations, options, classes, boot profiles.

use super::*;

#[test]
fn addresses_and_pools() {
    let bmc_pools = "pools = [\"10.77.1.100-10.77.1.199\"]";
    let pools = "pools = [\"10.77.2.100-10.77.2.199\"]";
    let (subnet, server) = ("subnet = \"10.77.1.0/24\"", "server_address = \"10.77.1.1\"");
    for (from, to, what, instead) in [
        (
            server,
            "server_address = ¦\"10.77.3.1\"",
            "10.77.3.1 is outside its subnet 10.77.1.0/24 (line 10)",
            "from 10.77.1.1 to 10.77.1.254",
        ),
        (server, "server_address = ¦\"10.77.1.0\"", "is the network address of 10.77.1.0/24", "from 10.77.1.1 to"),
        (server, "server_address = ¦\"10.77.1.255\"", "is the broadcast address of", "to 10.77.1.254"),
        (
            bmc_pools,
            "pools = [¦\"10.77.3.1-10.77.3.9\"]",
            "the pool 10.77.3.1-10.77.3.9 is outside its subnet 10.77.1.0/24 (line 10)",
            "from 10.77.1.1",
        ),
        (bmc_pools, "pools = [¦\"10.77.1.250-10.77.2.9\"]", "is outside its subnet", ""),
        (
            bmc_pools,
            "pools = [¦\"10.77.1.200-10.77.1.255\"]",
            "contains 10.77.1.255, the broadcast address",
            "to 10.77.1.254",
        ),
        (
            bmc_pools,
            "pools = [¦\"10.77.1.1-10.77.1.9\"]",
            "contains 10.77.1.1, the server's own address (line 11)",
            "write \"10.77.1.2-10.77.1.9\"",
        ),
        (
            bmc_pools,
            "pools = [\"10.77.1.2-10.77.1.9\", ¦\"10.77.1.9-10.77.1.12\"]",
            "the pool 10.77.1.9-10.77.1.12 overlaps the pool 10.77.1.2-10.77.1.9 on line 12",
            "shorten or remove one",
        ),
        (
            bmc_pools,
            "pools = [\"10.77.1.20-10.77.1.90\", ¦\"10.77.1.30\"]",
            "10.77.1.30-10.77.1.30 overlaps the pool 10.77.1.20-10.77.1.90 on line 12",
            "",
        ),
        (
            "name = \"provisioning\"",
            "name = ¦\"bmc\"",
            "two scopes have the name `bmc`; the first is on line 7",
            "its own",
        ),
        (
            "interface = \"eth2\"",
            "interface = ¦\"eth1\"",
            "two scopes are on the interface `eth1`; the first is on line 9",
            "its own",
        ),
        (pools, "pools = [\"10.77.2.5\", \"10.77.2.6\", ¦\"10.77.2.6\"]", "overlaps", ""),
    ] {
        row(from, to, &[(what, instead)]);
    }
    let scope = "subnet = \"10.77.2.0/24\"\nserver_address = \"10.77.2.1\"\npools = [\"10.77.2.100-10.77.2.199\"]";
    row(
        scope,
        "subnet = ¦\"10.77.0.0/16\"\nserver_address = \"10.77.2.1\"\npools = [¦\"10.77.1.150-10.77.1.160\"]",
        &[
            ("the subnet 10.77.0.0/16 overlaps 10.77.1.0/24 of scope `bmc` on line 10", "network of its own"),
            (
                "the pool 10.77.1.150-10.77.1.160 overlaps the pool 10.77.1.100-10.77.1.199 of scope `bmc` on line 12",
                "one pool",
            ),
        ],
    );
    row(subnet, "subnet = ¦\"10.77.1.0/31\"", &[("no room for a server and a client", "30 bits")]);
}

#[test]
fn reservations() {
    let address = "address = \"10.77.1.10\"\n";
    let again = "address = \"10.77.1.10\"\n\n[[dhcpd.scope.reservation]]\n";
    for (to, what, instead) in [
        (
            "address = ¦\"10.77.9.10\"\n".to_owned(),
            "10.77.9.10 is outside the subnet 10.77.1.0/24",
            "from 10.77.1.1 to 10.77.1.254",
        ),
        (
            "address = ¦\"10.77.2.150\"\n".into(),
            "outside the subnet 10.77.1.0/24 and inside a pool of scope `provisioning`, line 25",
            "move the reservation",
        ),
        (
            "address = ¦\"10.77.2.10\"\n".into(),
            "inside the subnet of scope `provisioning`, line 19",
            "move the reservation",
        ),
        ("address = ¦\"10.77.1.1\"\n".into(), "10.77.1.1 is the server's own address", ""),
        ("address = ¦\"10.77.1.255\"\n".into(), "10.77.1.255 is the broadcast address", ""),
        (
            format!("{again}mac = \"52:54:00:00:00:02\"\naddress = ¦\"10.77.1.10\"\n"),
            "10.77.1.10 is reserved twice; first on line 17",
            "its own address",
        ),
        (
            format!("{again}mac = ¦\"52-54-00-00-00-01\"\naddress = \"10.77.1.11\"\n"),
            "a second reservation for 52:54:00:00:00:01; the first is on line 16",
            "remove one",
        ),
    ] {
        row(address, &to, &[(what, instead)]);
    }
}

#[test]
fn options() {
    let options = "options = { routers = [\"10.77.1.1\"] }";
    for (to, what, instead) in [
        ("options = { ¦router = [\"10.77.1.1\"] }", "unknown option `router`", "did you mean `routers`?"),
        (
            "options = { ¦dns-servers = [\"10.77.1.1\"] }",
            "unknown option `dns-servers`",
            "did you mean `domain-name-servers`?",
        ),
        ("options = { ¦domain_name = \"a.b\" }", "unknown option `domain_name`", "did you mean `domain-name`?"),
        ("options = { ¦xyzzy = 1 }", "unknown option `xyzzy`", "a number with a value \"hex:"),
        ("options = { ¦300 = 1 }", "there is no option 300", "224 to 254"),
        ("options = { ¦dhcp-lease-time = 1 }", "option 51 (`dhcp-lease-time`) cannot be set", "leave it out"),
        (
            "options = { ¦53 = 1 }",
            "option 53 (`dhcp-message-type`) cannot be set: the server sets it in every reply",
            "leave it out",
        ),
        (
            "options = { routers = ¦\"10.77.1.1\" }",
            "`routers` takes a list of IPv4 addresses, not the string \"10.77.1.1\"",
            "write a list: routers = [\"10.77.1.1\"]",
        ),
        (
            "options = { routers = [\"10.77.1.1\", ¦\"gateway\"] }",
            "not the string \"gateway\"",
            "[\"10.77.1.1\", \"10.77.1.2\"]",
        ),
        ("options = { routers = ¦[] }", "not an empty list", ""),
        (
            "options = { interface-mtu = ¦\"9000\" }",
            "`interface-mtu` takes an integer from 0 to 65535, not the string \"9000\"",
            "without quotes: interface-mtu = 9000",
        ),
        ("options = { interface-mtu = ¦90000 }", "not the integer 90000", "interface-mtu = 1500"),
        ("options = { host-name = ¦\"\" }", "`host-name` takes a text that is not empty", ""),
        ("options = { ip-forwarding = ¦1 }", "takes a boolean, not the integer 1", "ip-forwarding = true"),
        (
            "options = { 224 = ¦\"abc\" }",
            "`224` takes octets in hexadecimal, not the string \"abc\"",
            "for the text \"abc\": 224 = \"hex:616263\"",
        ),
        ("options = { 224 = ¦\"hex:abc\" }", "without pairs of hexadecimal digits", "224 = \"hex:0a0b\""),
        ("options = { domain-search = [\"a.example\", ¦\"-\"] }", "which is no domain name", "example.com"),
        (
            "options = { classless-static-routes = [¦\"10.0.0.1/8 via 10.77.1.1\"] }",
            "host bits are not zero",
            "10.0.0.0/8 via",
        ),
        ("options = { routers = [\"10.77.1.1\"], ¦3 = [\"10.77.1.1\"] }", "option 3 is given twice", "remove one"),
        ("options = { routers = ¦1979-05-27 }", "is a date", ""),
        ("options = ¦[3]", "`options` is a list, not a table", "[dhcpd.scope[0].options]"),
    ] {
        row(options, to, &[(what, instead)]);
    }
}

#[test]
fn classes() {
    let right = "match = { vendor-class = \"iDRAC\" }";
    let class = |body: &str| format!("[[dhcpd.class]]\nname = \"pi\"\n{body}\n\n[[dhcpd.scope]]\nname = \"bmc\"");
    let scope = "[[dhcpd.scope]]\nname = \"bmc\"";
    let deep = format!("match = {}¦{{ vendor-class = \"a\" }}{}", "{ not = ".repeat(8), " }".repeat(8));
    let twice = format!("{right}\n[[dhcpd.class]]\nname = ¦\"pi\"\n{right}");
    for (body, what, instead) in [
        (&format!("{right}\n¦boots = \"x\"")[..], "unknown key `boots` in `dhcpd.class[0]`", "did you mean `boot`?"),
        ("match = ¦\"iDRAC\"", "`match` is a string, not a table", "{ vendor-class = \"iDRAC\" }"),
        ("match = ¦{}", "`match` says nothing, so it would hold for everybody", "for example"),
        ("match = { ¦vendor_class = \"a\" }", "unknown key `vendor_class`", "did you mean `vendor-class`?"),
        ("match = { vendor-class = ¦\"\" }", "`vendor-class` is empty", "hex:"),
        ("match = { vendor-class = ¦[] }", "an empty list: it would hold for nobody", "leave the key out"),
        ("match = { vendor-class = ¦{} }", "does not say what it must be", "starts-with"),
        (
            "match = { vendor-class = { ¦start-with = \"a\", contains = \"b\" } }",
            "unknown key `start-with`",
            "`starts-with`",
        ),
        ("match = { circuit-id = ¦\"hex:0\" }", "is no pairs of hexadecimal digits", "hex:0a0b"),
        ("match = { architecture = [7, ¦\"efi_x68\"] }", "unknown architecture \"efi_x68\"", "did you mean `efi_x64`?"),
        ("match = { architecture = ¦70000 }", "out of bounds", "from 0 to 65535"),
        ("match = { mac-prefix = ¦\"b8:27:e\" }", "is not the beginning of a MAC address", "\"b8:27:eb\""),
        ("match = { mac-prefix = [\"b8-27\", ¦\"b8:27:eb:00:00:00:00\"] }", "is not the beginning", ""),
        ("match = { relay = ¦\"10.77.1.9/24\" }", "is an address in a network", "\"10.77.1.0/24\""),
        ("match = { stage = ¦\"bios\" }", "\"bios\" is not a stage of booting", "\"rom\""),
        ("match = { option = ¦{ equals = \"a\" } }", "`option` does not say which one", "host-name"),
        ("match = { option = { name = ¦\"hostname\", equals = \"a\" } }", "unknown option `hostname`", "`host-name`"),
        (
            "match = { option = ¦{ code = 12, name = \"host-name\", present = true } }",
            "a name and a code",
            "remove one",
        ),
        ("match = { option = { code = ¦255, present = true } }", "out of bounds", "from 1 to 254"),
        (
            "match = { option = { name = \"dhcp-max-message-size\", equals = ¦\"big\" } }",
            "takes an integer from 0 to 65535",
            "57 = 1500",
        ),
        ("match = { option = ¦{ code = 12 } }", "does not say what it must be", "equals"),
        ("match = { any = ¦[] }", "`any` is an empty list", "vendor-class"),
        (&deep, "more than 8 conditions stand in each other", "several classes"),
        (&twice, "two classes have the name `pi`; the first is on line 7", "its own"),
        (&format!("{right}\nboot = ¦\"pi\""), "there is no boot profile `pi`", "write [dhcpd.boot.pi]"),
        (
            &format!("{right}\nlease_secs = ¦9\nlease_secs_max = 8"),
            "`lease_secs` = 9 is above `lease_secs_max` = 8",
            "8 at most",
        ),
        (&format!("{right}\nquirks = {{ ¦broadcast = true }}"), "unknown key `broadcast`", "always_broadcast"),
        (
            &format!("{right}\nquirks = {{ reply_delay_millis = ¦5001 }}"),
            "out of bounds",
            "from 0 to 5000 milliseconds",
        ),
        (&format!("{right}\noptions = {{ ¦routes = [] }}"), "unknown option `routes`", "`routers`"),
    ] {
        row(scope, &class(body), &[(what, instead)]);
    }
    row(
        scope,
        &class("").replacen("[[dhcpd.class]]", "¦[[dhcpd.class]]", 1),
        &[("`match` is missing", "add: match = {")],
    );
}

#[test]
fn pools_networks_and_relays() {
    let pools = "pools = [\"10.77.2.100-10.77.2.199\"]";
    let interface = "interface = \"eth2\"";
    let many: Vec<String> =
        (0..65).map(|n| format!("{}\"10.77.2.{}\"", if n == 64 { "¦" } else { "" }, 100 + n)).collect();
    for (from, to, what, instead) in [
        (pools, "pools = [¦{ options = {} }]", "`range` is missing in `pools`", "add: range ="),
        (pools, "pools = [{ range = \"10.77.2.100\", allow = [¦\"x\"] }]", "there is no class `x`", "[[dhcpd.class]]"),
        (pools, "pools = [{ range = \"10.77.2.100\", deny = ¦[] }]", "`deny` is an empty list", ""),
        (
            pools,
            "pools = [{ range = \"10.77.2.100\", ¦only = [] }]",
            "unknown key `only`",
            "known here: range, allow, deny, options",
        ),
        (pools, "pools = [{ range = ¦\"10.77.3.1\" }]", "the pool 10.77.3.1-10.77.3.1 is outside its subnet", ""),
        (pools, &format!("pools = [{}]", many.join(", ")), "more than 64 pools in one scope", "`exclude`"),
        (
            pools,
            &format!("{pools}\nexclude = [¦\"10.77.3.1\"]"),
            "the excluded 10.77.3.1-10.77.3.1 is outside the subnet",
            "10.77.2.1 to",
        ),
        (
            pools,
            &format!("{pools}\nidentity = ¦\"duid\""),
            "\"duid\" is not by what clients are told apart",
            "\"client-id\"",
        ),
        (pools, &format!("{pools}\nreply_delay_millis = ¦9999"), "out of bounds", "5000 milliseconds"),
        (pools, &format!("{pools}\nrelays = [¦\"10.77.9.1/24\"]"), "is an address in a network", ""),
        (pools, &format!("{pools}\ncircuit_ids = [¦\"hex:\"]"), "is no circuit id", "hex:0a0b"),
        (pools, &format!("{pools}\nshared_network = ¦\"a b\""), "is not the name of a network", "letters"),
        (
            interface,
            "interface = ¦\"eth1\"\nshared_network = \"one\"",
            "two scopes are on the interface `eth1`",
            "`shared_network`",
        ),
    ] {
        row(from, to, &[(what, instead)]);
    }
    let bmc = "interface = \"eth1\"";
    for (first, second, what, instead) in [
        ("", "interface = ¦\"eth1\"", "two scopes are on the interface `eth1`; the first is on line 9", "its own"),
        (
            "shared_network = \"one\"\n",
            "interface = \"eth2\"\nshared_network = ¦\"one\"",
            "the network `one` is on two interfaces; its first scope is on line 6",
            "the same `interface`",
        ),
        (
            "shared_network = \"one\"\n",
            "interface = \"eth1\"\nidentity = \"client-id\"\nshared_network = ¦\"one\"",
            "the network `one` has two kinds of `identity`",
            "the same",
        ),
    ] {
        let text = RIGHT.replacen(bmc, &format!("{first}{bmc}"), 1).replacen(interface, second, 1);
        check(&text, &[(what, instead)]);
    }
    for second in ["interface = \"eth1\"\nrelays = [\"10.77.9.1\"]", "interface = \"eth1\"\nshared_network = \"one\""] {
        let text = RIGHT.replacen(bmc, &format!("shared_network = \"one\"\n{bmc}"), 1).replacen(interface, second, 1);
        assert_eq!(mistakes(&text), [], "{second}");
    }
    let relays = "relays = [\"10.77.9.1\"]";
    assert_eq!(mistakes(&RIGHT.replacen(interface, relays, 1)), [], "relays are heard on any interface");
    for line in ["answer_router_solicitations = ¦true", "foreign_server_probe_secs = ¦9"] {
        row(interface, &format!("{relays}\n{line}"), &[("the scope names none", "add `interface`")]);
    }
}

#[test]
fn reservations_name_one_client() {
    let mac = "mac = \"52:54:00:00:00:01\"";
    for (to, what, instead) in [
        (
            "mac = ¦\"52:54:00:00:00:01\"\nclient_id = \"hex:01\"",
            "names its client twice",
            "`circuit_id` and `remote_id`",
        ),
        ("client_id = ¦\"a\"\nremote_id = \"b\"", "names its client twice", ""),
        ("client_id = ¦\"hex:\"", "is not what a packet can contain there", "hex:0a0b"),
        ("circuit_id = ¦\"\"", "is not what a packet can contain there", "1 to 255 octets"),
        (&format!("{mac}\nboot = ¦\"arm\""), "there is no boot profile `arm`", "[dhcpd.boot.arm]"),
        (
            "circuit_id = \"eth1\"\naddress = \"10.77.1.9\"\n[[dhcpd.scope.reservation]]\ncircuit_id = ¦\"eth1\"",
            "a second reservation for the port \"eth1\" of \"\"; the first is on line 16",
            "remove one",
        ),
    ] {
        row(mac, to, &[(what, instead)]);
    }
}

#[test]
fn profiles_and_own_options() {
    let scope = "[[dhcpd.scope]]\nname = \"bmc\"";
    for (added, what, instead) in [
        ("[dhcpd.boot.¦\"a b\"]\nbios = \"x\"", "\"a b\" is not the name of a boot profile", "letters, digits"),
        ("[dhcpd.boot]\nbios = ¦\"undionly.kpxe\"", "a boot profile has a name", "write [dhcpd.boot.bios]"),
        ("[dhcpd.boot.arm]\n¦efi_arm = \"x\"", "unknown key `efi_arm` in `dhcpd.boot.arm`", "did you mean"),
        ("[dhcpd.boot.arm]\nefi_arm64 = \"a.efi\"\nipxe = ¦\"tftp://10.77.2.1/a.efi\"", "again and for ever", ""),
        (
            "[[dhcpd.option]]\ncode = ¦3\nname = \"rack\"\ntype = \"text\"",
            "has a name and a type already: `routers`",
            "free number",
        ),
        (
            "[[dhcpd.option]]\ncode = 224\nname = ¦\"Rack\"\ntype = \"text\"",
            "is not the name of an option",
            "lower-case",
        ),
        (
            "[[dhcpd.option]]\ncode = 224\nname = ¦\"routers\"\ntype = \"text\"",
            "`routers` is option 3 already",
            "another name",
        ),
        (
            "[[dhcpd.option]]\ncode = 224\nname = \"rack\"\ntype = ¦\"string\"",
            "\"string\" is not a type",
            "one of: address, ",
        ),
        ("[[dhcpd.option]]\ncode = ¦0\nname = \"rack\"\ntype = \"u8\"", "out of bounds", "from 1 to 254"),
        (
            "[[dhcpd.option]]\ncode = 224\nname = \"a\"\ntype = \"u8\"\n[[dhcpd.option]]\ncode = 224\nname = ¦\"b\"\ntype = \"u8\"",
            "option 224 is defined twice, as `a` too; first on line 6",
            "remove one",
        ),
    ] {
        row(scope, &format!("{added}\n\n{scope}"), &[(what, instead)]);
    }
    let own = "[[dhcpd.option]]\ncode = 224\nname = \"rack\"\ntype = \"u16\"\n\n[[dhcpd.option]]\ncode = 1\nname = \"acs\"\ntype = \"text\"\nvendor = true\n\n";
    for (options, what, instead) in [
        ("{ rack = ¦\"seven\" }", "`rack` takes an integer from 0 to 65535", "rack = 1500"),
        ("{ rack = 7, ¦224 = 8 }", "option 224 is given twice", "remove one"),
        ("{ ¦acs = \"x\" }", "unknown option `acs`", ""),
        ("{ vendor-encapsulated-options = ¦{ acx = \"x\" } }", "unknown sub-option `acx`", "vendor = true"),
        ("{ vendor-encapsulated-options = ¦{ acs = 1 } }", "`acs` takes a text", ""),
        ("{ vendor-encapsulated-options = ¦{ acs = \"x\", 1 = \"hex:61\" } }", "given twice", "remove one"),
        ("{ routers = ¦{ a = 1 } }", "not a table", ""),
    ] {
        let text = RIGHT.replacen("options = { routers = [\"10.77.1.1\"] }", &format!("options = {options}"), 1);
        check(&(own.to_owned() + &text), &[(what, instead)]);
    }
}

#[test]
fn advice_is_no_mistake() {
    let text = RIGHT.replacen("http://10.77.2.1:8080/boot.ipxe", "http://boot.example:8080/boot.ipxe", 1);
    let config = Config::parse(&text, Path::new("reveille.toml"), &environment()).unwrap();
    let [advice] = config.advice() else { panic!("{:?}", config.advice()) };
    assert_eq!((advice.line, advice.column), (30, 8));
    assert!(
        advice.render(false).starts_with("advice: firmware must look up `boot.example`"),
        "{}",
        advice.render(false)
    );
    let literal = Config::parse(RIGHT, Path::new("reveille.toml"), &environment()).unwrap();
    assert!(literal.advice().is_empty());
}

#[test]
fn classes_and_boot_profiles_have_a_limit() {
    use reveille_config::limit::{BOOT_PROFILES_MAX, CLASSES_MAX};
    let class = |n: usize| format!("[[dhcpd.class]]\nname = \"c{n}\"\nmatch = {{ mac-prefix = \"02:00:00\" }}\n");
    let boot = |n: usize| format!("[dhcpd.boot.b{n}]\nbios = \"b.kpxe\"\n");
    let some = |one: &dyn Fn(usize) -> String, count| (0..count).map(one).collect::<String>();
    for (one, most, what) in [
        (&class as &dyn Fn(usize) -> String, CLASSES_MAX, "more than 16384 classes"),
        (&boot, BOOT_PROFILES_MAX, "more than 1024 boot profiles"),
    ] {
        assert_eq!(mistakes(&format!("{RIGHT}\n{}", some(one, most))), [], "{what}");
        let found = mistakes(&format!("{RIGHT}\n{}", some(one, most + 1)));
        assert!(found.len() == 1 && found[0].what.starts_with(what), "{found:?}");
    }
}

#[test]
fn options_of_ones_own_have_a_limit() {
    use reveille_config::limit::OPTION_DEFINITIONS_MAX;
    // There are fewer codes than that, so that most of them are defined twice.
    let one = |n: usize| format!("[[dhcpd.option]]\nname = \"own-{n}\"\ncode = 224\ntype = \"text\"\n");
    let told = |count: usize| {
        let text = format!("{RIGHT}\n{}", (0..count).map(one).collect::<String>());
        mistakes(&text).iter().filter(|mistake| mistake.what.starts_with("more than 256 options")).count()
    };
    assert_eq!((told(OPTION_DEFINITIONS_MAX), told(OPTION_DEFINITIONS_MAX + 1)), (0, 1));
}
