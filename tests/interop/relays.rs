//! Through stock relay agents, isc-dhcp-relay (which adds option 82) and dhcp-helper: a client on a network that the server is not on.
//!
//! ```text
//!   server 10.77.2.1 ── br-prov ── 10.77.2.5 eth0 [relay] br-far 10.77.3.5 ── eth0 of the client
//! ```

use std::net::Ipv4Addr;

use reveille_config::MacAddr;
use reveille_lab::packages::unpacked;
use reveille_lab::{Client, Namespace, OptionValue, Process, Product, Served, ServedScope};
use serde_json::json;

use crate::peers::{Outcome, judge, outcome, reveille};
use crate::stage::{Stage, mac, patience};

/// The bridge of the clients, in the relay's namespace.
pub const FAR_BRIDGE: &str = "br-far";
/// The server, as the relay knows it.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 1);
/// The relay's address towards the server.
const NEAR: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 5);
/// The relay's address towards the clients: `giaddr`.
pub const GIADDR: Ipv4Addr = Ipv4Addr::new(10, 77, 3, 5);

/// The scope of the clients behind the relay.
pub fn far_scope() -> ServedScope {
    ServedScope {
        name: "far".into(),
        network: [10, 77, 3],
        reveille: "relays = [\"10.77.3.0/24\"]\n".into(),
        ..ServedScope::provisioning()
    }
}

fn served() -> Served {
    let far = far_scope().option("routers", OptionValue::Addresses(vec![GIADDR])).reserve(mac(2), 60, Some("far-2"));
    Served::of([ServedScope::provisioning(), far])
}

/// The relay's namespace, with the network behind it.
pub fn relay(stage: &Stage) -> Namespace {
    let run = stage.networks.run();
    let own = MacAddr([0x52, 0x54, 0, 0x77, 0xec, 1]);
    let relay = stage.networks.on_provisioning_network("relay", own).expect("a namespace");
    relay.ip(&[&format!("addr add {NEAR}/24 dev eth0")]).expect("an address");
    relay.bridge(FAR_BRIDGE, GIADDR).expect("a bridge");
    relay.set("net/ipv4/ip_forward", "1").expect("a router");
    let route = format!("route add 10.77.3.0/24 via {NEAR}");
    stage.networks.host().ip(&[&route]).unwrap_or_else(|error| panic!("{run:?}: {error}"));
    relay
}

/// What clients behind the relay see: one that gets an address of the pool, and one with a reservation that gives its lease back past the relay.
fn cases(stage: &Stage, relay: &Namespace, name: &str, mut agent: Process) -> Outcome {
    let client = |name, n| Client::on_bridge(stage.networks.run(), relay, FAR_BRIDGE, name, mac(n)).expect("a client");
    let pool = client("far-1", 1).udhcpc(&[]).expect("a lease through the relay");
    agent.still_runs("the clients").expect("the relay agent runs");
    let reserved = client("far-2", 2);
    let (lease, mut dhclient) = reserved.dhclient("", patience()).expect("a lease through the relay");
    dhclient.kill().expect("dhclient ends");
    // INIT-REBOOT: it asks for what it remembers.
    let (again, mut dhclient) = reserved.dhclient("", patience()).expect("the lease again");
    dhclient.kill().expect("dhclient ends");
    let in_pool = pool.address.octets()[..3] == [10, 77, 3] && (100..200).contains(&pool.address.octets()[3]);
    let text = |value: Option<&str>| value.unwrap_or("nothing").to_owned();
    outcome(
        name,
        [
            ("address", "of the pool"),
            ("server", "10.77.2.1"),
            ("reserved", "10.77.3.60"),
            ("router", "10.77.3.5"),
            ("again", "REBOOT"),
        ],
        [
            ("address", if in_pool { "of the pool".to_owned() } else { pool.address.to_string() }),
            ("server", text(pool.get("serverid"))),
            ("reserved", lease.address.to_string()),
            ("router", text(lease.get("new_routers"))),
            ("again", text(again.get("reason"))),
        ],
    )
}

/// ISC's relay agent, listening; it adds option 82.
pub fn dhcrelay(relay: &Namespace, server: Ipv4Addr) -> Process {
    let args = ["-d", "-4", "-a", "--no-pid", "-iu", "eth0", "-id", FAR_BRIDGE, &server.to_string()];
    let mut agent = relay.program("dhcrelay").args(args).start("dhcrelay").expect("dhcrelay starts (isc-dhcp-relay)");
    agent.wait_for_line("Sending on", patience()).expect("dhcrelay listens");
    agent
}

fn isc_dhcp_relay(product: Product) {
    let stage = Stage::of(product.clone(), &served());
    let relay = relay(&stage);
    let agent = dhcrelay(&relay, SERVER);
    judge(&product, &[cases(&stage, &relay, "isc_dhcp_relay", agent)]);
}

/// What isc-dhcp-relay says of the port in option 82, the name of its interface, is what an address is reserved for.
fn isc_dhcp_relay_port(product: Product) {
    let mut served = served();
    let far = &mut served.scopes[1];
    far.reservations.clear();
    far.reveille += "[[dhcpd.scope.reservation]]\ncircuit_id = \"br-far\"\naddress = \"10.77.3.70\"\n";
    far.kea = json!({ "reservations": [{ "circuit-id": "'br-far'", "ip-address": "10.77.3.70" }] });
    let stage = Stage::of(product.clone(), &served);
    let relay = relay(&stage);
    let _agent = dhcrelay(&relay, SERVER);
    let client = |name, n| Client::on_bridge(stage.networks.run(), &relay, FAR_BRIDGE, name, mac(n)).expect("a client");
    let port = client("far-1", 1).udhcpc(&[]).expect("the port's address");
    let second = client("far-2", 2).udhcpc(&[]).expect("an address of the pool");
    let second = if second.address.octets()[3] >= 100 { "of the pool".to_owned() } else { second.address.to_string() };
    let expected = [("first", "10.77.3.70"), ("second", "of the pool")];
    let seen = [("first", port.address.to_string()), ("second", second)];
    judge(&product, &[outcome("isc_dhcp_relay_port", expected, seen)]);
}

fn dhcp_helper(product: Product) {
    // Debian does not let it be installed beside another DHCP server or relay.
    let program = unpacked("dhcp-helper", "usr/sbin/dhcp-helper").expect("dhcp-helper");
    let stage = Stage::of(product.clone(), &served());
    let relay = relay(&stage);
    let agent = relay.program(program.display().to_string()).args(["-d", "-s", "10.77.2.1", "-i", FAR_BRIDGE]);
    let agent = agent.arg("-r").arg(stage.networks.run().path("dhcp-helper.pid")).args(["-u", "root"]);
    let agent = agent.start("dhcp-helper").expect("dhcp-helper starts");
    judge(&product, &[cases(&stage, &relay, "dhcp_helper", agent)]);
}

#[test]
fn behind_isc_dhcp_relay_with_option_82() {
    isc_dhcp_relay(reveille());
}

#[test]
fn behind_isc_dhcp_relay_with_option_82_with_kea() {
    isc_dhcp_relay(Product::Kea);
}

#[test]
fn an_address_for_a_port_of_isc_dhcp_relay() {
    isc_dhcp_relay_port(reveille());
}

#[test]
fn an_address_for_a_port_of_isc_dhcp_relay_with_kea() {
    isc_dhcp_relay_port(Product::Kea);
}

#[test]
fn behind_dhcp_helper() {
    dhcp_helper(reveille());
}

#[test]
fn behind_dhcp_helper_with_kea() {
    dhcp_helper(Product::Kea);
}

#[test]
fn a_scope_for_relays_needs_no_interface() {
    let own = Ipv4Addr::new(10, 77, 2, 9);
    for (server, why) in [(SERVER, "an address that another scope has too"), (own, "an address of its own")] {
        let far = ServedScope { interface: String::new(), server, ..far_scope() };
        let stage = Stage::reveille(&Served::of([ServedScope::provisioning(), far]));
        let relay = relay(&stage);
        let _agent = dhcrelay(&relay, server);
        let client = Client::on_bridge(stage.networks.run(), &relay, FAR_BRIDGE, "far-1", mac(1)).expect("a client");
        let (lease, _dhclient) = client.dhclient("", patience()).expect("a lease through the relay");
        assert_eq!(lease.address.octets()[..3], [10, 77, 3], "{why}");
        assert_eq!(lease.get("new_dhcp_server_identifier"), Some(&*server.to_string()), "{why}");
        assert_eq!(stage.lease(lease.address).scope, "far", "{why}");
        client.configure(lease.address, 24, Some(GIADDR)).expect("the address");
        let renewed = client.udhcpc(&["-r", &lease.address.to_string()]).expect("the lease again");
        assert_eq!(renewed.address, lease.address, "{why}");
    }
}
