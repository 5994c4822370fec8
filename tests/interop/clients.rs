//! Clients that are no part of a boot: systemd-networkd, dhcpcd, nmap and perfdhcp, put to Reveille and to Kea.

use std::net::Ipv4Addr;

use reveille_lab::{Client, Deadline, OptionValue, Product, Served, ServedScope};
use serde_json::json;

use crate::peers::{Outcome, judge, outcome, reveille};
use crate::stage::{Stage, mac, patience};

/// networkd wants directories of its own, and takes a writable /sys as a promise that udev runs. `ip netns exec` gave it mounts of its own.
const NETWORKD: &str = "mount -o remount,ro,bind /sys && mount -t tmpfs tmpfs /run && \
    mkdir -p /run/systemd/network /run/systemd/netif/leases /run/systemd/netif/links && \
    cp \"$NETWORK\" /run/systemd/network/ && chown -R systemd-network /run/systemd/netif && exec /lib/systemd/systemd-networkd";

const NETWORK: &str = "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n\
    [DHCPv4]\nSendHostname=yes\nHostname=node-7\n";

/// dhcpcd keeps its state in the system's directories: theirs are empty here.
const DHCPCD: &str = "mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib/dhcpcd && exec \"$@\"";

fn served() -> Served {
    let scope = ServedScope {
        reveille: "rapid_commit = true\n".into(),
        kea: json!({ "authoritative": true }),
        ..ServedScope::provisioning()
    };
    Served::of([scope.option("routers", OptionValue::Addresses(vec![Ipv4Addr::new(10, 77, 2, 1)]))])
}

/// `of the pool` for an address of it.
fn place(address: &str) -> String {
    let of_pool = |address: Ipv4Addr| address.octets()[..3] == [10, 77, 2] && (100..200).contains(&address.octets()[3]);
    let found = address.parse().is_ok_and(of_pool);
    if found { "of the pool".to_owned() } else { address.to_owned() }
}

fn after<'a>(text: &'a str, word: &str) -> &'a str {
    let rest = text.split_once(word).map_or("", |(_, rest)| rest);
    rest.trim_start().split([' ', '/', ',', '\n', '\r']).next().unwrap_or("")
}

fn networkd(stage: &Stage) -> Outcome {
    let client = stage.client("networkd", 1);
    let file = stage.networks.run().write("eth0.network", NETWORK).expect("a file");
    let program = client.program("sh").args(["-c", NETWORKD]).env("NETWORK", file);
    let program = program.env("SYSTEMD_LOG_LEVEL", "debug").env("SYSTEMD_LOG_TARGET", "console");
    let mut networkd = program.start("networkd").expect("networkd starts (package systemd)");
    let line = networkd.wait_for_line("acquired from", patience()).expect("networkd gets a lease");
    networkd.kill().expect("networkd ends");
    outcome(
        "systemd_networkd",
        [("address", "of the pool"), ("gateway", "10.77.2.1"), ("server", "10.77.2.1")],
        [
            ("address", place(after(&line, "DHCPv4 address"))),
            ("gateway", after(&line, "gateway").to_owned()),
            ("server", after(&line, "acquired from").to_owned()),
        ],
    )
}

/// dhcpcd asks for rapid commit: whether it is answered with an ACK at once.
fn dhcpcd(stage: &Stage) -> Outcome {
    let client = stage.client("dhcpcd", 2);
    let conf = "option rapid_commit\noption routers\nnohook resolv.conf, hostname\n";
    let conf = stage.networks.run().write("dhcpcd.conf", conf).expect("a file");
    let program = client.program("sh").args(["-c", DHCPCD, "sh", "dhcpcd", "-B", "-4", "-L", "-d", "-c", "/bin/true"]);
    let mut dhcpcd = program.arg("-f").arg(conf).arg("eth0").start("dhcpcd").expect("dhcpcd starts");
    let line = dhcpcd.wait_for_line("leased 10.77.2.", patience()).expect("dhcpcd gets a lease");
    let said = dhcpcd.log().text().expect("dhcpcd's log");
    dhcpcd.kill().expect("dhcpcd ends");
    let offered = if said.contains("offered") { "four messages" } else { "two messages" };
    outcome(
        "dhcpcd_with_rapid_commit",
        [("address", "of the pool"), ("exchange", "two messages")],
        [("address", place(after(&line, "leased"))), ("exchange", offered.to_owned())],
    )
}

fn nmap(stage: &Stage) -> Outcome {
    let client = stage.client("nmap", 3);
    let own = Ipv4Addr::new(10, 77, 2, 20);
    client.configure(own, 24, None).expect("an address");
    let discovered = client.nmap_dhcp_discover().expect("nmap runs");
    let inform =
        client.program("nmap").args(["-n", "-Pn", "-sU", "-p", "67", "--script", "dhcp-discover", "10.77.2.1"]);
    let informed = inform.succeed(Deadline::secs(60)).expect("nmap runs");
    outcome(
        "nmap",
        [
            ("offered", "of the pool"),
            ("server", "10.77.2.1"),
            ("mask", "255.255.255.0"),
            ("router", "10.77.2.1"),
            ("informed", "DHCPACK"),
            ("informed of", "10.77.2.1"),
        ],
        [
            ("offered", place(after(&discovered, "IP Offered:"))),
            ("server", after(&discovered, "Server Identifier:").to_owned()),
            ("mask", after(&discovered, "Subnet Mask:").to_owned()),
            ("router", after(&discovered, "Router:").to_owned()),
            ("informed", after(&informed, "DHCP Message Type:").to_owned()),
            ("informed of", after(&informed, "Server Identifier:").to_owned()),
        ],
    )
}

/// perfdhcp is a relay with many clients: none goes without, and no two have one address.
fn perfdhcp(stage: &Stage) -> Outcome {
    let relay = Client::on_provisioning_network(&stage.networks, "perfdhcp", mac(4)).expect("a client");
    relay.configure(Ipv4Addr::new(10, 77, 2, 21), 24, None).expect("an address");
    let args = "-4 -u -l 10.77.2.21 -L 67 -n 60 -R 60 -r 40 -p 20 -W 3000000 -d 30 10.77.2.1";
    let output = relay.program("perfdhcp").args(args.split(' ')).output(Deadline::secs(60)).expect("perfdhcp runs");
    let (offers, acks) = output.stdout.split_once("REQUEST-ACK").unwrap_or((&output.stdout, ""));
    let count = |text: &str, word| after(text, word).to_owned();
    outcome(
        "perfdhcp",
        [("offers", "60"), ("acks", "60"), ("offered twice", "0"), ("bound twice", "0")],
        [
            ("offers", count(offers, "received packets:")),
            ("acks", count(acks, "received packets:")),
            ("offered twice", count(offers, "non unique addresses:")),
            ("bound twice", count(acks, "non unique addresses:")),
        ],
    )
}

fn all(product: Product) {
    let stage = Stage::of(product.clone(), &served());
    judge(&product, &[networkd(&stage), dhcpcd(&stage), nmap(&stage), perfdhcp(&stage)]);
}

#[test]
fn stock_clients() {
    all(reveille());
}

#[test]
fn stock_clients_with_kea() {
    all(Product::Kea);
}
