//! Two VLANs of one interface, the interface itself and a relay, all served at once: nothing is heard on a VLAN that was said on another.
//!
//! ```text
//!   server   trunk     10.77.4.1  ── untagged ──┐               nobody
//!            trunk.10  10.77.10.1 ── tag 10 ────┤ eth0 [switch] br-10 ── eth0 of a client
//!            trunk.20  10.77.20.1 ── tag 20 ────┘               br-20 ── eth0 of a client
//!                                                                     ── eth0 10.77.20.5 [relay] br-far ── eth0 of a client
//! ```

use std::net::Ipv4Addr;

use reveille_config::MacAddr;
use reveille_lab::{Client, DhcpServer, Namespace, Process, Run, Served, ServedScope};

use crate::peers::{reveille, root};
use crate::relays::{FAR_BRIDGE, GIADDR, dhcrelay, far_scope};
use crate::stage::{mac, metric, patience};

const SERVER_ON_20: Ipv4Addr = Ipv4Addr::new(10, 77, 20, 1);
const RELAY_ON_20: Ipv4Addr = Ipv4Addr::new(10, 77, 20, 5);

fn scope(interface: &str, third: u8) -> ServedScope {
    ServedScope {
        name: format!("net-{third}"),
        interface: interface.into(),
        network: [10, 77, third],
        server: Ipv4Addr::new(10, 77, third, 1),
        ..ServedScope::provisioning()
    }
}

/// One end of the trunk, with an interface for each VLAN.
fn trunk(namespace: &Namespace, interface: &str) -> Process {
    let python = namespace.program("/usr/bin/python3").arg(root().join("tests/interop/probe/trunk.py"));
    let mut process = python.args([interface, "10", "20"]).start(&format!("trunk-{interface}")).expect("python3");
    process.wait_for_line("the trunk is up", patience()).expect("the trunk is up");
    process
}

/// The server's end and the switch's, joined.
fn joined(run: &Run) -> (Namespace, Namespace, [Process; 2]) {
    let [host, switch] = ["host", "switch"].map(|name| Namespace::create(run, name).expect("a namespace"));
    let peer = format!("link add trunk type veth peer name eth0 netns {}", switch.name());
    host.ip(&[&peer, "addr add 10.77.4.1/24 dev trunk", "link set trunk up"]).expect("a cable");
    switch.ip(&["link set eth0 up"]).expect("its other end");
    let ends = [trunk(&host, "trunk"), trunk(&switch, "eth0")];
    for vlan in [10, 20] {
        let port = format!("trunk.{vlan}");
        host.ip(&[&format!("addr add 10.77.{vlan}.1/24 dev {port}"), &format!("link set {port} up")]).expect("a VLAN");
        let (bridge, port) = (format!("br-{vlan}"), format!("eth0.{vlan}"));
        switch.bridge(&bridge, Ipv4Addr::new(10, 77, vlan, 254)).expect("a bridge");
        switch.ip(&[&format!("link set {port} master {bridge} up")]).expect("the VLAN's port");
    }
    (host, switch, ends)
}

/// How often udhcpc said this.
fn said(process: &Process, words: &str) -> u64 {
    let text = process.log().text().expect("its log");
    text.lines().filter(|line| line.contains(words)).count() as u64
}

#[test]
fn no_vlan_hears_what_is_said_on_another() {
    let run = Run::start().expect("a lab: root and the lab's packages are needed");
    let (host, switch, _ends) = joined(&run);
    let relay = Namespace::create(&run, "relay").expect("a namespace");
    switch.join("br-20", "v-relay", &relay, MacAddr([0x52, 0x54, 0, 0x77, 0xec, 1])).expect("a port");
    relay.ip(&[&format!("addr add {RELAY_ON_20}/24 dev eth0")]).expect("an address");
    relay.bridge(FAR_BRIDGE, GIADDR).expect("a bridge");
    relay.set("net/ipv4/ip_forward", "1").expect("a router");
    host.ip(&[&format!("route add 10.77.3.0/24 via {RELAY_ON_20}")]).expect("a route");

    let far = ServedScope { interface: "trunk.20".into(), server: SERVER_ON_20, ..far_scope() };
    let scopes = [scope("trunk", 4), scope("trunk.10", 10), scope("trunk.20", 20), far];
    let server = DhcpServer::start(&run, &host, reveille(), &Served::of(scopes)).expect("a DHCP server");
    let _agent = dhcrelay(&relay, SERVER_ON_20);

    let places = [
        ("on-10", &switch, "br-10", 10, Ipv4Addr::new(10, 77, 10, 1)),
        ("on-20", &switch, "br-20", 20, SERVER_ON_20),
        ("far", &relay, FAR_BRIDGE, 3, SERVER_ON_20),
    ];
    let clients = places.map(|(name, namespace, bridge, third, _)| {
        Client::on_bridge(&run, namespace, bridge, name, mac(third)).expect("a client")
    });
    // All at once; what they say to the script is of no interest here, what they say that they send is.
    let args = ["udhcpc", "-f", "-n", "-q", "-t", "10", "-T", "2", "-i", "eth0", "-s", "/bin/true"];
    let start = |client: &Client, name: &str| client.program("busybox").args(args).start(name).expect("udhcpc");
    let mut processes: Vec<_> = clients.iter().zip(places).map(|(client, place)| start(client, place.0)).collect();
    for (process, (name, _, _, third, identifier)) in processes.iter_mut().zip(places) {
        let line = process.wait_for_line("lease of", patience()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let from = format!("obtained from {identifier}");
        assert!(line.contains(&format!("lease of 10.77.{third}.1")) && line.contains(&from), "{name}: {line}");
        assert!(process.wait(patience()).expect("udhcpc ends").success(), "{name}");
    }

    // Each packet was heard once: on the wire that it came by.
    for (kind, words) in [("discover", "broadcasting discover"), ("request", "broadcasting select")] {
        let sent: u64 = processes.iter().map(|process| said(process, words)).sum();
        assert!(sent >= 3, "{kind}: udhcpc tells what it sends");
        let counter = format!("reveille_dhcpd_received_total{{type=\"{kind}\"}}");
        // The last may still be on its way through the relay.
        let heard = || Ok((metric(&run, &counter) >= sent).then_some(()));
        patience().until(&format!("dhcpd to hear {sent} of {kind}"), heard).expect("as many as were sent");
        assert_eq!(metric(&run, &counter), sent, "{kind}");
    }
    let mut bound: Vec<_> = server.ask(server.api().leases(None, None)).expect("the leases").items;
    bound.sort_by_key(|lease| lease.address);
    let bound: Vec<_> = bound.iter().map(|lease| (lease.mac, lease.scope.as_str())).collect();
    assert_eq!(bound, [(mac(3), "far"), (mac(10), "net-10"), (mac(20), "net-20")]);
}
