//! dhcpd against the clients that people use: ISC dhclient and busybox's udhcpc, each in network namespaces of their own. Needs root, iproute2, util-linux,
//! isc-dhcp-client and udhcpc; says so where one is missing.

mod net;
mod router;

use std::time::Duration;

use net::{Client, Lab};
use serde_json::json;

/// Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn dhclient_gets_keeps_and_gives_back_a_lease() {
    let mut lab = Lab::new("");
    lab.start();
    let bound = lab.dhclient(Client::Prov, "send host-name \"node-7\";").wait("BOUND");
    let address = bound["new_ip_address"].clone();
    let lease = lab.get(&format!("/v1/leases/{address}"));
    assert_eq!((&lease["state"], &lease["hostname"]), (&json!("bound"), &json!("node-7")));
    assert_eq!(lease["mac"], lab.mac(Client::Prov));
    for (variable, expected) in [
        ("new_subnet_mask", "255.255.255.0"),
        ("new_broadcast_address", "10.77.2.255"),
        ("new_routers", "10.77.2.1"),
        ("new_domain_name_servers", "10.77.2.2 10.77.2.3"),
        ("new_dhcp_server_identifier", "10.77.2.1"),
        ("new_dhcp_lease_time", "3600"),
    ] {
        assert_eq!(bound.get(variable).map(String::as_str), Some(expected), "{variable}: {bound:?}");
    }
    // The same client starts again and asks for what it remembers: INIT-REBOOT.
    lab.stop_client();
    let again = lab.dhclient(Client::Prov, "").wait("REBOOT");
    assert_eq!(again["new_ip_address"], address);
    lab.dhclient_release(Client::Prov);
    lab.until(&format!("/v1/leases/{address}"), PATIENCE, |lease| lease["state"] == "released");
}

#[test]
fn dhclient_renews_by_unicast_and_the_lease_is_extended() {
    // T1 comes after 10 to 20 seconds.
    let mut lab = Lab::new("lease_secs = 30\nlease_secs_min = 10");
    lab.start();
    let client = lab.dhclient(Client::Prov, "");
    let bound = client.wait("BOUND");
    let before = lab.get(&format!("/v1/leases/{}", bound["new_ip_address"]));
    let renewed = client.wait("RENEW");
    assert_eq!(renewed["new_ip_address"], bound["new_ip_address"]);
    let after = lab.get(&format!("/v1/leases/{}", bound["new_ip_address"]));
    assert!(after["ends_unix"].as_u64() > before["ends_unix"].as_u64(), "{before} {after}");
    let kinds: Vec<_> = lab.events().iter().map(|event| event["kind"].as_str().unwrap().to_string()).collect();
    assert_eq!(kinds, ["offered", "bound", "renewed"]);
}

#[test]
fn udhcpc_gets_its_reservation_by_frame_and_by_broadcast() {
    let mut lab = Lab::new("");
    lab.start();
    let mac = lab.mac(Client::Prov);
    let body = json!({ "address": "10.77.2.60", "hostname": "node-9", "options": { "domain-name": "rack.test" } });
    assert_eq!(lab.ask("PUT", &format!("/v1/reservations/{mac}"), Some(&body)).0, 201);
    for flags in [&[][..], &["-B"]] {
        let bound = lab.udhcpc(Client::Prov, flags).expect("a lease");
        assert_eq!((&*bound["ip"], &*bound["hostname"], &*bound["domain"]), ("10.77.2.60", "node-9", "rack.test"));
    }
    let lease = lab.get(&format!("/v1/leases/{mac}"));
    assert_eq!((&lease["reserved"], &lease["hostname"]), (&json!(true), &json!("node-9")));
}

#[test]
fn a_bmc_is_refused_until_it_is_approved() {
    let mut lab = Lab::new("");
    lab.start();
    assert_eq!(lab.udhcpc(Client::Bmc, &["-V", "iDRAC"]), None, "unknown machines are not answered");
    let seen = &lab.get("/v1/sightings")["items"][0];
    let mac = lab.mac(Client::Bmc);
    assert_eq!((&seen["mac"], &seen["vendor_class"], &seen["scope"]), (&json!(mac), &json!("iDRAC"), &json!("bmc")));
    let (status, approved) =
        lab.ask("POST", &format!("/v1/sightings/{mac}/approve"), Some(&json!({ "hostname": "bmc-1" })));
    assert_eq!(status, 201, "{approved}");
    let bound = lab.udhcpc(Client::Bmc, &[]).expect("a lease");
    assert_eq!((&json!(bound["ip"]), &*bound["hostname"]), (&approved["address"], "bmc-1"));
    assert_eq!(lab.get("/v1/sightings")["items"], json!([]));
}

#[test]
fn leases_and_approvals_outlive_the_server() {
    let mut lab = Lab::new("");
    lab.start();
    let leased = lab.udhcpc(Client::Prov, &[]).expect("a lease")["ip"].clone();
    assert_eq!(lab.udhcpc(Client::Bmc, &[]), None);
    let mac = lab.mac(Client::Bmc);
    let (_, approved) = lab.ask("POST", &format!("/v1/sightings/{mac}/approve"), None);
    for round in 0..2 {
        // SIGKILL: nothing is written on the way out.
        lab.kill_server();
        lab.start();
        let lease = lab.get(&format!("/v1/leases/{leased}"));
        assert_eq!(lease["state"], "bound", "round {round}");
        let bound = lab.udhcpc(Client::Prov, &["-r", &leased]).expect("the lease again");
        assert_eq!(bound["ip"], leased, "round {round}");
        assert_eq!(json!(lab.udhcpc(Client::Bmc, &[]).expect("a lease")["ip"]), approved["address"], "round {round}");
    }
}

#[test]
fn broadcasts_of_one_link_are_not_heard_on_the_other() {
    let mut lab = Lab::new("");
    lab.start();
    lab.udhcpc(Client::Prov, &[]).expect("a lease");
    assert_eq!(lab.get("/v1/sightings")["items"], json!([]), "the static scope saw nothing");
    assert_eq!(lab.udhcpc(Client::Bmc, &[]), None);
    let leases = lab.get("/v1/leases");
    assert_eq!(
        leases["items"].as_array().map(Vec::len),
        Some(1),
        "and the dynamic one did not serve the BMC: {leases}"
    );
}

#[test]
fn router_solicitations_are_answered_with_no_router_here() {
    let mut lab = Lab::new("");
    lab.start();
    let advertisement = router::solicit(&lab, Client::Prov, PATIENCE).expect("an advertisement");
    assert_eq!(advertisement.len(), 16, "no options: no prefix");
    assert_eq!(advertisement[0], 134);
    assert_eq!(advertisement[5..8], [0, 0, 0], "no flags, router lifetime 0");
    assert_eq!(router::solicit(&lab, Client::Bmc, Duration::from_secs(2)), None, "only where it is configured");
}
