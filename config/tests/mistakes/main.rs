//! Every mistake: what it says and where. In a row's text `¦` marks the place that must be named, and is taken out before.

mod dhcpd;
mod dhcpd_elsewhere;
mod temp_url;
mod webhook;

use std::path::Path;

use reveille_config::environment::Imagined;
use reveille_config::{Config, Mistake, Part};

/// A right file, in which each row replaces something.
const RIGHT: &str = r#"[dhcpd]
state_dir = "/var/lib/reveille/dhcpd"
api = ["unix:/run/reveille/dhcpd.sock"]
workers = 2

[[dhcpd.scope]]
name = "bmc"
kind = "static"
interface = "eth1"
subnet = "10.77.1.0/24"
server_address = "10.77.1.1"
pools = ["10.77.1.100-10.77.1.199"]
options = { routers = ["10.77.1.1"] }

[[dhcpd.scope.reservation]]
mac = "52:54:00:00:00:01"
address = "10.77.1.10"

[[dhcpd.scope]]
name = "provisioning"
kind = "dynamic"
interface = "eth2"
subnet = "10.77.2.0/24"
server_address = "10.77.2.1"
pools = ["10.77.2.100-10.77.2.199"]
lease_secs = 600

[dhcpd.scope.boot]
bios = "undionly.kpxe"
ipxe = "http://10.77.2.1:8080/boot.ipxe"

[bootd]
tftp = ["10.77.2.1:69"]
http = ["10.77.2.1:8080"]
roots = ["/srv/reveille"]

[provisioner]
agent_api = ["10.77.2.1:6385"]

[provisioner.ipmi]
username = "admin"
password = { file = "/etc/reveille/bmc-password" }
"#;

fn environment() -> Imagined {
    Imagined::default()
        .directory("/srv/reveille")
        .directory("/")
        .file("/etc/hosts", 0o644, "hello")
        .file("/etc/reveille/api.crt", 0o644, "")
        .file("/etc/reveille/api.key", 0o640, "")
        .file("/etc/reveille/bmc-password", 0o640, "calvin")
        .file("/etc/reveille/long-password", 0o640, "123456789012345678901")
        .file("/etc/reveille/empty", 0o640, "\n")
        .file("/etc/reveille/hook", 0o640, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
        .file("/etc/reveille/short-hook", 0o640, "whsec_MfKQ9r8G")
}

fn mistakes(text: &str) -> Vec<Mistake> {
    Config::parse(text, Path::new("reveille.toml"), &environment()).err().unwrap_or_default()
}

/// The text without its marks, and line and column of each.
fn marked(text: &str) -> (String, Vec<(usize, usize)>) {
    let (mut places, mut line, mut column, mut plain) = (Vec::new(), 1, 1, String::new());
    for c in text.chars() {
        match c {
            '¦' => {
                places.push((line, column));
                continue;
            }
            '\n' => (line, column) = (line + 1, 1),
            _ => column += 1,
        }
        plain.push(c);
    }
    (plain, places)
}

/// Replaces `from` in the right file by `to`; each mark in it must get one mistake with the words, in order, and nothing else.
fn row(from: &str, to: &str, words: &[(&str, &str)]) {
    assert_eq!(RIGHT.matches(from).count(), 1, "`{from}` must be in the file once");
    check(&RIGHT.replacen(from, to, 1), words);
}

fn check(text: &str, words: &[(&str, &str)]) {
    let (text, places) = marked(text);
    let found = mistakes(&text);
    let shown: String = found.iter().map(|mistake| mistake.render(false)).collect();
    let at: Vec<(usize, usize)> = found.iter().map(|mistake| (mistake.line, mistake.column)).collect();
    assert_eq!(at, places, "places of the mistakes\n{shown}");
    assert_eq!(found.len(), words.len(), "{shown}");
    for (mistake, (what, instead)) in found.iter().zip(words) {
        assert!(mistake.what.contains(what), "`{what}` is not in what is wrong:\n{shown}");
        let said = mistake.instead.as_deref().unwrap_or("");
        assert!(said.contains(instead), "`{instead}` is not in what would be right:\n{shown}");
    }
}

#[test]
fn https_goes_with_a_certificate() {
    let roots = "roots = [\"/srv/reveille\"]\n";
    let tls = "[bootd.tls]\ncertificate = \"/etc/reveille/api.crt\"\nkey = \"/etc/reveille/api.key\"\n";
    row(roots, &format!("{roots}https = [\"10.77.2.1:8443\"]\n{tls}"), &[]);
    row(
        roots,
        &format!("{roots}https = ¦[\"10.77.2.1:8443\"]\n"),
        &[("`bootd.https` needs a certificate", "[bootd.tls]")],
    );
    let gone = tls.replace("\"/etc/reveille/api.crt\"", "¦\"/etc/reveille/gone.crt\"");
    row(roots, &format!("{roots}https = [\"10.77.2.1:8443\"]\n{gone}"), &[("cannot be found", "PEM")]);
    let taken = format!("{roots}https = [¦\"10.77.2.1:8080\"]\n{tls}");
    row(roots, &taken, &[("`bootd.https` wants TCP 10.77.2.1:8080", "of its own")]);
}

#[test]
fn each_key_of_a_drop_box() {
    let table = |lines: &str| format!("[bootd.dropbox]\n{lines}\n[provisioner]\n");
    let directory = "directory = \"/srv/reveille\"";
    row("[provisioner]\n", &table(&format!("{directory}\nfile_bytes_max = 1")), &[]);
    for (lines, what, instead) in [
        ("directory = ¦\"/srv/gone\"".to_owned(), "cannot be opened", "mkdir -p /srv/gone"),
        (format!("{directory}\nfile_bytes_max = ¦0"), "out of bounds", "octets"),
        (format!("{directory}\n¦bytes_max = 5"), "unknown key", "file_bytes_max"),
    ] {
        row("[provisioner]\n", &table(&lines), &[(what, instead)]);
    }
    let roots = "roots = [\"/srv/reveille\"]\n";
    row(roots, &format!("{roots}tftp_single_port = true\n"), &[]);
    row(roots, &format!("{roots}tftp_single_port = ¦1\n"), &[("not a boolean", "")]);
    row(roots, &format!("{roots}tftp_workers = 64\n"), &[]);
    row(roots, &format!("{roots}tftp_workers = ¦0\n"), &[("", "")]);
    row(roots, &format!("{roots}tftp_workers = ¦65\n"), &[("", "")]);
}

#[test]
fn each_key_of_an_upstream() {
    let table = |lines: &str| format!("[bootd.upstream]\n{lines}\n[provisioner]\n");
    let (path, url) = ("path = \"mirror\"", "url = \"https://images.example.net/boot\"");
    let all = "disk_bytes_max = 1048576\ncheck_secs = 0\ntemp_url_key = { file = \"/etc/reveille/bmc-password\" }";
    row("[provisioner]\n", &table(&format!("{path}\n{url}\n{all}")), &[]);
    for (lines, what, instead) in [
        (format!("path = ¦\"/mirror/\"\n{url}"), "is not a path below", "without a leading `/`"),
        (
            format!("{path}\nurl = ¦\"https://images.example.net/\""),
            "ends with a slash",
            "https://images.example.net\"",
        ),
        (format!("{path}\nurl = ¦\"ftp://images.example.net\""), "the scheme `ftp`", "http"),
        (format!("{path}\n{url}\ndisk_bytes_max = ¦5"), "out of bounds", "octets"),
        (format!("{path}\n{url}\ntemp_url_key = ¦\"x\""), "must not stand in this file", "{ file ="),
        (format!("{path}\n{url}\n¦bytes_max = 5"), "unknown key", "disk_bytes_max"),
    ] {
        row("[provisioner]\n", &table(&lines), &[(what, instead)]);
    }
}

#[test]
fn discovery_and_profiles() {
    let table = |lines: &str| format!("{lines}\n[provisioner]\n");
    let discovery = "[bootd.discovery]\nkernel = \"k\"\ninitrd = \"i\"\ncmdline = \"a\"\n";
    let profile = "[[bootd.profile]]\nname = \"own\"\nipxe = \"/etc/hosts\"\n";
    row("[provisioner]\n", &table(&format!("{discovery}profile = \"own\"\n{profile}")), &[]);
    for (lines, what, instead) in [
        (format!("{discovery}profile = ¦\"gone\"\n{profile}"), "there is no profile `gone`", "[[bootd.profile]]"),
        (discovery.replace("\"a\"", "¦\"a\\nb\""), "control character", "one line"),
        (format!("{profile}{}", profile.replace("\"own\"", "¦\"own\"")), "two profiles called `own`", "of its own"),
        (profile.replace("\"/etc/hosts\"", "¦\"/etc/gone\""), "cannot be found", "the daemon's user can read"),
        (profile.replace("ipxe", "¦lilo"), "unknown key `lilo`", "pxelinux"),
    ] {
        row("[provisioner]\n", &table(&lines), &[(what, instead)]);
    }
}

#[test]
fn the_right_file_is_right() {
    assert_eq!(mistakes(RIGHT), []);
}

#[test]
fn keys_and_types() {
    for (from, to, what, instead) in [
        ("workers = 2", "¦worker = 2", "unknown key `worker` in `dhcpd`", "did you mean `workers`?"),
        ("workers = 2", "¦colour = 2", "unknown key `colour`", "known here: state_dir, api, workers"),
        (
            "workers = 2",
            "workers = ¦\"2\"",
            "`workers` is a string, not an integer",
            "from 1 to 64 threads, without quotes",
        ),
        ("workers = 2", "workers = ¦0", "`workers` = 0 is out of bounds", "it goes from 1 to 64 threads"),
        ("workers = 2", "workers = ¦65", "`workers` = 65 is out of bounds", "it goes from 1 to 64 threads"),
        ("workers = 2", "workers = ¦-1", "`workers` = -1 is out of bounds", "from 1 to 64"),
        ("workers = 2", "workers = ¦99999999999999999999999", "out of bounds", "from 1 to 64"),
        ("workers = 2", "workers = ¦2.0", "is a float, not an integer", "from 1 to 64"),
        ("workers = 2", "workers = ¦1979-05-27", "is a date, not an integer", ""),
        ("[bootd]", "¦[[bootd]]", "`bootd` is a list of tables; there is one only", "write [bootd]"),
        ("workers = 2", "workers = 2\njournal = ¦3", "`journal` is an integer, not a table", "write [dhcpd.journal]"),
        (
            "workers = 2",
            "workers = 2\n[dhcpd.journal]\nsegment_bytes = ¦10000000",
            "no multiple of 4096",
            "write 10002432",
        ),
        ("workers = 2", "workers = 2\n[dhcpd.¦journals]", "unknown table `journals`", "did you mean `journal`?"),
        ("[bootd]", "[¦web]\n[bootd]", "unknown table `web`", "known here: dhcpd, bootd, provisioner"),
        (
            "kind = \"static\"",
            "kind = ¦\"fixed\"",
            "\"fixed\" is not a kind of scope",
            "\"static\" serves known machines only",
        ),
        ("name = \"bmc\"", "name = ¦\"b m c\"", "\"b m c\" is not the name of a scope", "letters, digits"),
        (
            "interface = \"eth1\"",
            "interface = ¦\"an-interface-with-a-name\"",
            "is not the name of a network interface",
            "`ip link`",
        ),
        (
            "subnet = \"10.77.1.0/24\"",
            "subnet = ¦\"10.77.1.0\"",
            "`10.77.1.0` is not an IPv4 network",
            "\"10.77.1.0/24\"",
        ),
        ("subnet = \"10.77.1.0/24\"", "subnet = ¦\"10.77.1.9/24\"", "is an address in a network", "\"10.77.1.0/24\""),
        ("server_address = \"10.77.1.1\"", "server_address = ¦true", "is a boolean, not a string", "\"10.77.1.1\""),
        (
            "pools = [\"10.77.1.100-10.77.1.199\"]",
            "pools = ¦\"10.77.1.100-10.77.1.199\"",
            "not a list",
            "write pools = [\"10.77.1.100-",
        ),
        (
            "pools = [\"10.77.1.100-10.77.1.199\"]",
            "pools = [¦\"10.77.1.100/25\"]",
            "is not a range",
            "write first and last",
        ),
        (
            "pools = [\"10.77.1.100-10.77.1.199\"]",
            "pools = [¦\"10.77.1.9-10.77.1.5\"]",
            "ends before it begins",
            "\"10.77.1.5-10.77.1.9\"",
        ),
        (
            "pools = [\"10.77.2.100-10.77.2.199\"]",
            "pools = ¦[]",
            "a dynamic scope without a pool serves nobody",
            "pools = [",
        ),
        (
            "mac = \"52:54:00:00:00:01\"",
            "mac = ¦\"52:54:00\"",
            "`52:54:00` is not a MAC address",
            "\"52:54:00:12:34:56\"",
        ),
        ("mac = \"52:54:00:00:00:01\"", "mac = ¦\"ff:ff:ff:ff:ff:ff\"", "names no single machine", "one machine"),
        ("address = \"10.77.1.10\"\n", "address = ¦\"10.77.1.300\"\n", "`10.77.1.300` is not an IPv4 address", ""),
        (
            "address = \"10.77.1.10\"\n",
            "address = \"10.77.1.10\"\nhostname = ¦\"a_b\"\n",
            "\"a_b\" is not a host name",
            "node-17",
        ),
        ("lease_secs = 600", "lease_secs = ¦0", "`lease_secs` = 0 is out of bounds", "seconds"),
        ("workers = 2", "workers = 2\nleasequery_tell = [¦\"router\"]", "unknown option `router`", "`routers`"),
        ("workers = 2", "workers = 2\nleasequery_tell = [¦51]", "an integer, not a string", "\"routers\""),
        (
            "workers = 2",
            "workers = 2\nleasequery_tell = [¦\"relay-agent-information\"]",
            "of the lease itself",
            "leave it out",
        ),
        ("workers = 2", "workers = 2\nleasequery_tell = [\"3\", ¦\"routers\"]", "listed twice", "remove one"),
        ("workers = 2", "workers = 2\nknown_servers = [¦\"dns\"]", "`dns` is not an IPv4 address", "10.77.8.2"),
        ("workers = 2", "workers = 2\nlimits = { client_packets_per_sec = ¦-1 }", "out of bounds", "from 0"),
        ("workers = 2", "workers = 2\nlimits = { port_share_by = ¦\"switch\" }", "switch", "remote-id"),
        ("workers = 2", "workers = 2\nlimits = { port_share_percent = ¦0 }", "out of bounds", "percent"),
        (
            "lease_secs = 600",
            "lease_secs = 600\nforeign_server_probe_secs = ¦90000",
            "out of bounds",
            "from 0 to 86400",
        ),
        (
            "lease_secs = 600",
            "lease_secs = 600\nconflict_check = ¦\"ping\"",
            "\"ping\" is no way to look for who uses an address",
            "\"icmp\"",
        ),
        ("lease_secs = 600", "lease_secs = 600\nconflict_wait_millis = ¦5001", "out of bounds", "from 20 to 5000"),
        ("lease_secs = 600", "lease_secs = 600\nauthoritative = ¦\"yes\"", "not a boolean", "authoritative = true"),
        (
            "lease_secs = 600",
            "lease_secs = 600\nlease_secs_min = ¦601",
            "`lease_secs_min` = 601 is above `lease_secs` = 600",
            "600 at most",
        ),
        (
            "lease_secs = 600",
            "lease_secs = 600\nlease_secs_max = ¦599",
            "`lease_secs_max` = 599 is below",
            "600 at least",
        ),
        (
            "state_dir = \"/var/lib/reveille/dhcpd\"",
            "state_dir = ¦\"dhcpd\"",
            "does not begin with `/`",
            "from the root",
        ),
    ] {
        row(from, to, &[(what, instead)]);
    }
}

#[test]
fn what_is_missing() {
    for (from, to, what, instead) in [
        (
            "[[dhcpd.scope]]\nname = \"bmc\"\n",
            "¦[[dhcpd.scope]]\n",
            "`name` is missing in `dhcpd.scope[0]`",
            "add: name =",
        ),
        (
            "[[dhcpd.scope.reservation]]\nmac = \"52:54:00:00:00:01\"",
            "¦[[dhcpd.scope.reservation]]",
            "`mac` is missing",
            "add: mac =",
        ),
        (
            "[bootd]\ntftp = [\"10.77.2.1:69\"]\nhttp = [\"10.77.2.1:8080\"]\n",
            "¦[bootd]\npublic_url = \"http://b\"\n",
            "`http` is missing in `bootd`",
            "[\"10.77.2.1:8080\"]",
        ),
        (
            "[bootd]\ntftp = [\"10.77.2.1:69\"]\nhttp = [\"10.77.2.1:8080\"]",
            "¦[bootd]\nhttp = [\"0.0.0.0:8080\"]",
            "`public_url` is missing",
            "http://",
        ),
        (
            "[provisioner]\nagent_api = [\"10.77.2.1:6385\"]",
            "¦[provisioner]\nagent_api_url = \"http://a\"",
            "`agent_api` is missing",
            "add: agent_api = [",
        ),
    ] {
        row(from, to, &[(what, instead)]);
    }
    check("¦", &[("the file configures no daemon", "[dhcpd], [bootd], [provisioner]")]);
    check("¦[dhcpd]\n", &[("`scope` is missing in `dhcpd`", "[[dhcpd.scope]]")]);
    check(
        "¦¦[provisioner]\nagent_api = [\"10.0.0.1:1\"]",
        &[("`agent_networks` is missing", "10.77.2.0/24"), ("`boot_url` is missing", "http://")],
    );
}

#[test]
fn urls_and_files() {
    let ipxe = "ipxe = \"http://10.77.2.1:8080/boot.ipxe\"";
    let long = format!("efi_ia32 = ¦\"{}\"", "x".repeat(128));
    for (to, what, instead) in [
        (
            "ipxe = ¦\"http://10.77.2.1:8080//a///boot.ipxe\"",
            "has `//` in its path",
            "write \"http://10.77.2.1:8080/a/boot.ipxe\"",
        ),
        ("ipxe = ¦\"ftp://10.77.2.1/boot.ipxe\"", "has the scheme `ftp`", "http, https, tftp"),
        ("ipxe = ¦\"http:///boot.ipxe\"", "has no valid host", ""),
        ("ipxe = ¦\"http://10.77.2/boot.ipxe\"", "has no valid host", ""),
        ("ipxe = ¦\"http://10.77.2.1:99999/boot.ipxe\"", "has no valid port", "65535"),
        ("ipxe = ¦\"http://a/b c\"", "a character that no URL may have", "%20"),
        ("ipxe = ¦\"http://user:pw@a/b\"", "the URL contains a user name", "no credentials"),
        ("http_x64 = ¦\"snponly.efi\"", "\"snponly.efi\" is not a URL", "http://"),
        ("efi_x64 = ¦\"\"", "`efi_x64` is empty", "leave the key out"),
        (
            "efi_x64 = ¦\"http://10.77.2.1/x.efi\"",
            "architecture `efi_x64` fetches by TFTP and takes no URL",
            "`next_server`",
        ),
        ("http_riscv64 = ¦\"x.efi\"", "\"x.efi\" is not a URL", "http://"),
        ("¦efi_x46 = \"x.efi\"", "unknown key `efi_x46`", "did you mean `efi_x64`?"),
        ("efi_x64 = \"a\"\n¦7 = \"b\"", "architecture 7 is given twice, by name and by number", "remove one"),
        ("¦70000 = \"b\"", "unknown key `70000`", ""),
        ("ipxe = ¦\"http://10.77.2.1/undionly.kpxe?x=1\"", "iPXE would load", "a script for iPXE"),
        (&long, "`efi_ia32` has 128 octets", "room for 127"),
    ] {
        row(ipxe, to, &[(what, instead)]);
    }
    for (to, what, instead) in [
        (
            "roots = [¦\"/srv/gone\"]",
            "the directory `/srv/gone` cannot be opened: entity not found",
            "mkdir -p /srv/gone",
        ),
        ("roots = [¦\"/etc/hosts\"]", "`/etc/hosts` is not a directory", ""),
        ("roots = [\"/srv/reveille\", ¦\"/srv/reveille\"]", "is listed twice", "remove one"),
        ("roots = ¦[]", "`roots` is an empty list", "/srv/reveille"),
        (
            "roots = [\"/srv/reveille\"]\nstate_dir = ¦\"/etc/hosts/x\"",
            "`/etc/hosts` is not a directory",
            "made when missing",
        ),
        (
            "roots = [\"/srv/reveille\"]\npublic_url = ¦\"http://10.77.2.1:8080/\"",
            "ends with a slash",
            "write \"http://10.77.2.1:8080\"",
        ),
        ("roots = [\"/srv/reveille\"]\npublic_url = ¦\"10.77.2.1:8080\"", "is not a URL", "\"http://"),
    ] {
        row("roots = [\"/srv/reveille\"]", to, &[(what, instead)]);
    }
    for (to, what, instead) in [
        (
            "[provisioner.deploy]\nkernel = ¦\"/agent/kernel\"\n\n[provisioner.ipmi]",
            "is not a path below bootd's roots",
            "without a leading `/`",
        ),
        ("[provisioner.deploy]\nkernel = ¦\"agent//kernel\"\n\n[provisioner.ipmi]", "is not a path below", "`//`"),
        (
            "[provisioner.deploy]\nramdisk = ¦\"http://10.77.2.1//x\"\n\n[provisioner.ipmi]",
            "has `//` in its path",
            "\"http://10.77.2.1/x\"",
        ),
        (
            "[provisioner.timeouts]\n¦power = 3\n\n[provisioner.ipmi]",
            "unknown key `power`",
            "did you mean `power_secs`?",
        ),
    ] {
        row("[provisioner.ipmi]", to, &[(what, instead)]);
    }
}

#[test]
fn listeners() {
    let (tftp, http) = ("tftp = [\"10.77.2.1:69\"]", "http = [\"10.77.2.1:8080\"]");
    let (api, agent_api) = ("api = [\"unix:/run/reveille/dhcpd.sock\"]", "agent_api = [\"10.77.2.1:6385\"]");
    for (from, to, what, instead) in [
        (
            http,
            "http = [\"10.77.2.1:8080\", ¦\"10.77.2.1:8080\"]",
            "`bootd.http` wants TCP 10.77.2.1:8080, which `bootd.http` on line 34 has already",
            "its own",
        ),
        (
            agent_api,
            "agent_api = [¦\"10.77.2.1:8080\"]",
            "`provisioner.agent_api` wants TCP 10.77.2.1:8080, which `bootd.http` on line 34",
            "",
        ),
        (
            agent_api,
            "api = [\"127.0.0.1:6385\"]\nagent_api = [¦\"0.0.0.0:6385\"]\nagent_api_url = \"http://a\"",
            "which `provisioner.api` on line 38 has already",
            "",
        ),
        (tftp, "tftp = [\"10.77.2.1:69\", ¦\"0.0.0.0:69\"]", "wants UDP 0.0.0.0:69", ""),
        (
            tftp,
            "tftp = [\"10.77.2.1:69\"]\napi = [¦\"unix:/run/reveille/dhcpd.sock\"]",
            "wants the socket /run/reveille/dhcpd.sock, which `dhcpd.api` on line 3 has",
            "",
        ),
        (tftp, "tftp = [¦\"10.77.2.1:0\"]", "has port 0", "name the port"),
        (tftp, "tftp = [¦\"10.77.2.1\"]", "is not an address with a port", "10.77.2.1:69"),
        (http, "http = ¦[]\npublic_url = \"http://a\"", "`http` is an empty list", ""),
        (
            api,
            "api = [¦\"10.77.2.1:7671\"]",
            "tokens would go over the network to 10.77.2.1:7671 for everybody to read",
            "\"https://10.77.2.1:7671\"",
        ),
        (api, "api = [¦\"unix:dhcpd.sock\"]", "is not an endpoint", "unix:/run/reveille/dhcpd.sock"),
        (
            agent_api,
            "agent_api = [\"10.77.2.1:6385\"]\napi = [¦\"0.0.0.0:6386\"]",
            "no authentication yet",
            "127.0.0.1:6386",
        ),
    ] {
        row(from, to, &[(what, instead)]);
    }
}

#[test]
fn who_may_use_the_lease_api() {
    let api = "api = [\"unix:/run/reveille/dhcpd.sock\"]";
    let tls = "tls = { certificate = \"/etc/reveille/api.crt\", key = \"/etc/reveille/api.key\" }";
    let listen = "listen = [\"https://10.77.1.1:7671\", \"unix:/run/reveille/dhcpd.sock\"]";
    for (to, what, instead) in [
        ("api = ¦[\"https://10.77.1.1:7671\"]", "`https://10.77.1.1:7671` needs a certificate", "[dhcpd.api.tls]"),
        ("api = { listen = ¦[\"https://10.77.1.1:7671\"] }", "needs a certificate", "[dhcpd.api.tls]"),
        ("api = { listen = [¦\"10.77.1.1:7671\"] }", "for everybody to read", "\"https://10.77.1.1:7671\""),
        (
            "api = { listen = [¦\"https://dhcp1:7671\"], TLS }",
            "`dhcp1` is not an address of this host",
            "10.77.1.1:7671",
        ),
        ("api = { listen = [¦\"https://[::1:7671\"], TLS }", "is not an endpoint", ""),
        ("api = { LISTEN, tls = ¦{ key = \"/etc/reveille/api.key\" } }", "`certificate` is missing", "api.crt"),
        (
            "api = { LISTEN, tls = { certificate = ¦\"/etc/gone\", key = \"/etc/reveille/api.key\" } }",
            "cannot be found",
            "PEM",
        ),
        (
            "api = { LISTEN, tls = { certificate = \"/etc/hosts\", key = ¦\"/etc/hosts\" } }",
            "everybody on this host",
            "chmod o=",
        ),
        ("api = { socket_mode = ¦\"0666\" }", "everybody on this host change every lease", "0660"),
        ("api = { socket_mode = ¦\"rw\" }", "is not the mode of a socket", "0600"),
        ("api = { socket_group = ¦\"a:b\" }", "is not the name of a group", "reveille"),
        ("api = { loopback_role = ¦\"root\" }", "is not a role", "read"),
        (
            "api = { LISTEN, TLS, client_certificates = ¦{ ca = \"/etc/hosts\" } }",
            "nobody with a certificate",
            "role = ",
        ),
        (
            "api = { client_certificates = ¦{ ca = \"/etc/hosts\", role = \"read\" } }",
            "no client certificates without TLS",
            "tls",
        ),
        (
            "api = { LISTEN, TLS, client_certificates = { ca = \"/etc/hosts\", roles = { ¦\"a b\" = \"read\" } } }",
            "is not a DNS name",
            "subject alternative name",
        ),
    ] {
        row(api, &to.replace("TLS", tls).replace("LISTEN", listen), &[(what, instead)]);
    }
}

#[test]
fn secrets() {
    let password = "password = { file = \"/etc/reveille/bmc-password\" }";
    for (to, what, instead) in [
        (
            "password = ¦\"hunter2\"",
            "`password` is a secret and must not stand in this file",
            "write password = { file = ",
        ),
        ("password = ¦'''\nhunter2'''", "must not stand in this file", "{ env = \"NAME\" }"),
        ("password = { ¦value = \"hunter2\", env = \"SET\" }", "unknown key `value`", "known here: file, env"),
        ("password = ¦{}", "`password` needs either `file` or `env`", "write password ="),
        ("password = ¦{ file = \"/a\", env = \"B\" }", "needs either `file` or `env`", ""),
        ("password = { file = ¦\"secret\" }", "does not begin with `/`", ""),
        (
            "password = ¦{ file = \"/etc/gone\" }",
            "cannot read the file `/etc/gone`: entity not found",
            "only the daemon can read",
        ),
        (
            "password = ¦{ file = \"/etc/hosts\" }",
            "everybody on this host can read the file `/etc/hosts` (mode 0644)",
            "chmod o= /etc/hosts",
        ),
        ("password = ¦{ file = \"/etc/reveille/empty\" }", "holds an empty secret", ""),
        ("password = ¦{ file = \"/etc/reveille/long-password\" }", "the secret has 21 octets", "20 at most"),
        ("password = ¦{ env = \"NOT_SET\" }", "the environment variable `NOT_SET` is not set", "set NOT_SET"),
        ("password = { env = ¦\"a b\" }", "is not the name of a variable", ""),
        ("password = ¦hunter2", "syntax", ""),
        ("password = \"hunter2¦", "syntax", ""),
    ] {
        let (plain, places) = marked(&RIGHT.replacen(password, to, 1));
        let environment = environment().variable("SET", "calvin");
        let found = Config::parse(&plain, Path::new("reveille.toml"), &environment).expect_err(to);
        let shown: String = found.iter().map(|mistake| mistake.render(true)).collect();
        let everything = format!("{shown}{found:?}{}", serde_json::to_string(&found).unwrap());
        assert!(!everything.contains("hunter2"), "{shown}");
        let at: Vec<(usize, usize)> = found.iter().map(|mistake| (mistake.line, mistake.column)).collect();
        assert_eq!(at, places, "{to}\n{shown}");
        assert!(found[0].what.contains(what), "{shown}");
        assert!(found[0].instead.as_deref().unwrap_or("").contains(instead), "{shown}");
    }
}

#[test]
fn syntax_does_not_hide_the_rest() {
    let api = "api = [\"unix:/run/reveille/dhcpd.sock\"]";
    for (from, to, words) in [
        ("workers = 2", "workers = ¦two", &[("syntax", "a text needs quotes: workers = \"two\"")][..]),
        ("workers = 2", "workers = ¦yes", &[("syntax", "write workers = true")]),
        ("workers = 2", "workers =¦", &[("syntax", "write a value after `workers =`")]),
        ("workers = 2", "workers = 2\n¦workers = 3", &[("duplicate key", "")]),
        (
            api,
            "api = ¦[\"unix:/run/reveille/dhcpd.sock\"\n¦worker = 3",
            &[("this list is never closed", "close it with `]`"), ("unknown key `worker`", "workers")],
        ),
        ("[bootd]", "¦[bootd\n", &[("this header of a table is broken", "write [table]")]),
        (
            "options = { routers = [\"10.77.1.1\"] }",
            "options = ¦{ routers = [\"10.77.1.1\"]",
            &[("this inline table is never closed", "`}`")],
        ),
        ("kind = \"static\"", "kind = ¦\"\"\"static", &[("this text over several lines is never closed", "")]),
        (
            "lease_secs = 600",
            "lease_secs = 600¦,\nanswer_router_solicitations = ¦1",
            &[("syntax", "no comma"), ("not a boolean", "")],
        ),
        ("subnet = \"10.77.1.0/24\"", "subnet = 10.77¦.1.0/24", &[("syntax", "subnet = \"10.77.1.0/24\"")]),
    ] {
        row(from, to, words);
    }
}

#[test]
fn all_mistakes_come_at_once_and_in_order() {
    let text = RIGHT
        .replacen("workers = 2", "workers = ¦0", 1)
        .replacen("[\"10.77.1.100-10.77.1.199\"", "[¦\"10.77.1.1-10.77.1.9\"", 1)
        .replacen("kind = \"dynamic\"", "kind = ¦\"dynamik\"", 1)
        .replacen("username", "¦user", 1);
    let words =
        [("out of bounds", ""), ("the server's own", ""), ("kind of scope", ""), ("unknown key `user`", "`username`")];
    check(&text, &words);
}

#[test]
fn columns_count_characters_and_the_place_is_underlined() {
    let found = mistakes("[dhcpd]\n\t\"größe\" = 1 # ä\n[[dhcpd.scope]]\r\nname = \"é\" \r\n");
    let name = found.iter().find(|mistake| mistake.line == 4).unwrap();
    assert_eq!((name.column, name.width, name.excerpt.as_str()), (8, 3, "name = \"é\" "));
    let unknown = found.iter().find(|mistake| mistake.line == 2).unwrap();
    assert_eq!((unknown.column, unknown.width), (2, 7));
    assert_eq!(
        unknown.render(false),
        "error: unknown key `größe` in `dhcpd`\n --> reveille.toml:2:2\n  |\n2 |  \"größe\" = 1 # ä\n  |  ^^^^^^^\n  \
         = help: known here: state_dir, api, workers, journal, io, option, boot, class, leasequery, leasequery_tell, known_servers, limits, scope, webhook\n"
    );
    assert!(unknown.render(true).contains("\x1b[1;31m^^^^^^^\x1b[0m"));
    assert_eq!(unknown.to_string(), "reveille.toml:2:2: unknown key `größe` in `dhcpd`");
}

#[test]
fn a_daemon_looks_only_at_what_its_own_table_refers_to() {
    let (file, nothing) = (Path::new("reveille.toml"), Imagined::default());
    let config = Config::parse_parts(RIGHT, file, &nothing, &[Part::Dhcpd]).unwrap();
    assert!(config.dhcpd.is_some() && config.bootd.is_none() && config.provisioner.is_none());
    let found = Config::parse(RIGHT, file, &nothing).unwrap_err();
    assert_eq!(found.iter().map(|mistake| mistake.line).collect::<Vec<_>>(), [35, 42], "{found:?}");
    let wrong = RIGHT.replacen("roots = [", "root = [", 1);
    assert!(Config::parse_parts(&wrong, file, &nothing, &[Part::Dhcpd]).is_err(), "the other tables are checked too");
}

#[test]
fn a_file_full_of_mistakes_is_cut_off() {
    let text: String = (0..2_000).map(|number| format!("key{number} = 1\n")).collect();
    let found = mistakes(&text);
    assert_eq!(found.len(), reveille_config::limit::MISTAKES_MAX + 1);
    assert!(found.last().unwrap().what.contains("more mistakes are not shown"));
}

#[test]
fn limits() {
    use reveille_config::limit::{CONFIG_BYTES_MAX, LIST_ITEMS_MAX, SCOPES_MAX};
    let scope = |number: usize, mark: &str| {
        let (high, low) = (number / 256, number % 256);
        format!(
            "{mark}[[dhcpd.scope]]\nname = \"s{number}\"\nkind = \"static\"\ninterface = \"eth{number}\"\n\
             subnet = \"10.{high}.{low}.0/24\"\nserver_address = \"10.{high}.{low}.1\"\n"
        )
    };
    let full: String = (0..SCOPES_MAX).map(|number| scope(number, "")).collect();
    assert_eq!(mistakes(&full), []);
    check(&(full + &scope(SCOPES_MAX, "¦") + "nonsense = 1\n"), &[("more than 1024 scopes", "several hosts")]);

    let large = scope(0, "").replace("subnet = \"10.0.0.0/24\"", "subnet = \"10.0.0.0/8\"");
    assert_eq!(mistakes(&(large.clone() + "pools = [\"10.64.0.0-10.127.255.255\"]")), []);
    let beyond = large + "pools = [\"10.64.0.0-10.127.255.255\", ¦\"10.1.0.0\"]";
    check(&beyond, &[("the pools of this scope have 4194305 addresses", "4194304 at most")]);

    let roots = |count: usize| (0..count).map(|n| format!("\"/srv/{n}\"")).collect::<Vec<_>>().join(", ");
    let many = format!("roots = ¦[{}]", roots(LIST_ITEMS_MAX + 1));
    row("roots = [\"/srv/reveille\"]", &many, &[("`roots` has 65 items", "64 at most")]);

    let whole = " ".repeat(CONFIG_BYTES_MAX + 1);
    assert!(mistakes(&whole)[0].what.contains("the file has 16777217 octets"));
}

#[test]
fn files_that_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let gone = Config::load(&directory.path().join("gone.toml")).unwrap_err();
    assert!(gone[0].what.contains("cannot be read") && gone[0].line == 0, "{gone:?}");
    let secretive = directory.path().join("secretive.toml");
    std::fs::write(&secretive, RIGHT.replace("/etc/reveille/", "/etc/reveille-of-nobody/")).unwrap();
    assert!(Config::load(&secretive).is_err());
    let apis = reveille_config::Apis::load(&secretive).unwrap();
    assert_eq!(apis.provisioner.unwrap(), ["127.0.0.1:6385".parse().unwrap()]);
    let file = directory.path().join("latin1.toml");
    std::fs::write(&file, b"[dhcpd]\n# gr\xfc\xdfe\n").unwrap();
    let latin1 = Config::load(&file).unwrap_err();
    assert!(latin1[0].what.contains("not UTF-8: see line 2"), "{latin1:?}");
}
