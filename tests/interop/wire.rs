//! The scapy scripts of `probe/`, put to Reveille and to Kea. A script is a list of cases, each with what must be seen.

use std::net::Ipv4Addr;

use reveille_config::MacAddr;
use reveille_lab::{Deadline, OptionValue, Product, Served, ServedScope};
use serde_json::json;

use crate::peers::{Outcome, judge, reveille, root};
use crate::stage::Stage;

fn ip(third: u8, fourth: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, third, fourth)
}

/// The hardware address number `n` of the scripts.
fn known(n: u8) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0x77, 0xcd, n])
}

/// What is served to `protocol.py` and `options.py`.
fn direct() -> Served {
    let scope = ServedScope::provisioning()
        .option("routers", OptionValue::Addresses(vec![ip(2, 1)]))
        .option("domain-name-servers", OptionValue::Addresses(vec![ip(2, 2), ip(2, 3)]))
        .option("domain-name", OptionValue::Text("rack.test".into()))
        .option("224", OptionValue::Hex("0a0b".into()))
        .reserve(known(1), 60, Some("node-1"))
        .reserve(known(2), 61, None);
    Served::of([ServedScope { kea: json!({ "authoritative": true }), ..scope }])
}

/// What is served to `services.py`.
fn services() -> Served {
    let Served { mut scopes, .. } = direct();
    scopes[0].reveille = "rapid_commit = true\n".into();
    let scopes = scopes.into_iter().map(|scope| scope.option("108", OptionValue::Hex("0000012c".into())));
    Served { reveille: "leasequery = [\"10.77.2.5/32\"]\n".into(), ..Served::of(scopes) }
}

/// What is served to `relayed.py`.
fn relayed() -> Served {
    let far = |name: &str, third| ServedScope {
        name: name.into(),
        network: [10, 77, third],
        reveille: format!("relays = [\"10.77.{third}.0/24\"]\n"),
        kea: json!({ "authoritative": true }),
        ..ServedScope::provisioning()
    };
    Served::of([ServedScope::provisioning(), far("far", 3).reserve(known(3), 60, None), far("farther", 4)])
}

/// What is served to `networks.py`.
fn networks() -> Served {
    let link = |name: &str, third, last| ServedScope {
        name: name.into(),
        network: [10, 77, third],
        server: ip(third, 1),
        shared_network: Some("link".into()),
        pools: vec![(100, last)],
        ..ServedScope::provisioning()
    };
    let reservations = "relays = [\"10.77.3.0/24\"]\n\
        [[dhcpd.scope.reservation]]\nclient_id = \"hex:ff00000001deadbeef\"\naddress = \"10.77.3.60\"\n\
        [[dhcpd.scope.reservation]]\ncircuit_id = \"eth1/1\"\nremote_id = \"tor-1\"\naddress = \"10.77.3.61\"\n\
        [[dhcpd.scope.reservation]]\ncircuit_id = \"eth1/2\"\nremote_id = \"tor-1\"\naddress = \"10.77.3.62\"\n";
    let far = ServedScope {
        name: "far".into(),
        network: [10, 77, 3],
        reveille: reservations.into(),
        kea: json!({ "reservations": [
            { "client-id": "ff00000001deadbeef", "ip-address": "10.77.3.60" },
            { "circuit-id": "'eth1/1'", "ip-address": "10.77.3.61" },
            { "circuit-id": "'eth1/2'", "ip-address": "10.77.3.62" },
        ] }),
        ..ServedScope::provisioning()
    };
    let farther = ServedScope {
        name: "farther".into(),
        network: [10, 77, 4],
        pools: Vec::new(),
        class_pools: vec![(200, 209, "sensors".into())],
        reveille: "relays = [\"10.77.4.0/24\"]\n".into(),
        ..ServedScope::provisioning()
    };
    Served {
        reveille: "[[dhcpd.class]]\nname = \"sensors\"\nmatch = { vendor-class = { starts-with = \"sensor\" } }\n"
            .into(),
        kea: json!({ "client-classes": [{ "name": "sensors", "test": "substring(option[60].text,0,6) == 'sensor'" }] }),
        ..Served::of([link("near", 2, 101), link("second", 6, 102), far, farther])
    }
}

/// Runs a script against a server.
fn outcomes(product: Product, served: &Served, script: &str) -> Vec<Outcome> {
    let stage = Stage::of(product, served);
    let client = stage.client("probe", 0xff);
    let routes = [3, 4].map(|third| format!("route add 10.77.{third}.0/24 via 10.77.2.5"));
    stage.networks.host().ip(&routes.each_ref().map(String::as_str)).expect("routes to the relay's networks");
    let path = root().join("tests/interop/probe").join(script);
    let python = client.program("/usr/bin/python3").arg(path).env("PYTHONDONTWRITEBYTECODE", "1");
    let printed = python.succeed(Deadline::secs(300)).expect("scapy (package python3-scapy) runs");
    let lines =
        printed.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    let outcomes: Vec<Outcome> = lines.collect();
    assert!(!outcomes.is_empty(), "{script} has no cases");
    outcomes
}

fn put(product: Product, served: &Served, script: &str) {
    let outcomes = outcomes(product.clone(), served, script);
    judge(&product, &outcomes);
}

#[test]
fn the_states_of_a_client() {
    put(reveille(), &direct(), "protocol.py");
}

#[test]
fn the_states_of_a_client_with_kea() {
    put(Product::Kea, &direct(), "protocol.py");
}

#[test]
fn odd_options() {
    put(reveille(), &direct(), "options.py");
}

#[test]
fn odd_options_with_kea() {
    put(Product::Kea, &direct(), "options.py");
}

#[test]
fn later_services() {
    put(reveille(), &services(), "services.py");
}

#[test]
fn later_services_with_kea() {
    put(Product::Kea, &services(), "services.py");
}

#[test]
fn relay_agents() {
    put(reveille(), &relayed(), "relayed.py");
}

#[test]
fn relay_agents_with_kea() {
    put(Product::Kea, &relayed(), "relayed.py");
}

#[test]
fn shared_networks_and_whom_addresses_are_kept_for() {
    put(reveille(), &networks(), "networks.py");
}

#[test]
fn shared_networks_and_whom_addresses_are_kept_for_with_kea() {
    put(Product::Kea, &networks(), "networks.py");
}
