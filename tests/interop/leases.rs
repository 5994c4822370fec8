//! A lease's life with stock clients, and what the API knows of it: ISC dhclient and busybox's udhcpc.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use reveille_config::dto::dhcpd::{Approve, LeaseState, ReservationPut};
use reveille_lab::{OptionValue, Served, ServedScope};

use crate::router;
use crate::stage::{Stage, mac, patience};

/// For a client that nobody shall answer: two tries.
const IN_VAIN: [&str; 2] = ["-t", "2"];

fn provisioning() -> ServedScope {
    let ip = |n| Ipv4Addr::new(10, 77, 2, n);
    ServedScope::provisioning()
        .option("routers", OptionValue::Addresses(vec![ip(1)]))
        .option("domain-name-servers", OptionValue::Addresses(vec![ip(2), ip(3)]))
}

fn stage() -> Stage {
    Stage::reveille(&Served::of([ServedScope::bmc(), provisioning()]))
}

#[test]
fn dhclient_gets_keeps_and_gives_back_a_lease() {
    let stage = stage();
    let client = stage.client("keeps", 1);
    let (bound, mut dhclient) = client.dhclient("send host-name \"node-7\";", patience()).expect("a lease");
    let lease = stage.lease(bound.address);
    assert_eq!((lease.state, lease.hostname.as_deref(), lease.mac), (LeaseState::Bound, Some("node-7"), mac(1)));
    for (variable, expected) in [
        ("reason", "BOUND"),
        ("new_subnet_mask", "255.255.255.0"),
        ("new_broadcast_address", "10.77.2.255"),
        ("new_routers", "10.77.2.1"),
        ("new_domain_name_servers", "10.77.2.2 10.77.2.3"),
        ("new_dhcp_server_identifier", "10.77.2.1"),
        ("new_dhcp_lease_time", "3600"),
    ] {
        assert_eq!(bound.get(variable), Some(expected), "{variable}: {bound:?}");
    }
    // The same client starts again and asks for what it remembers: INIT-REBOOT.
    dhclient.kill().expect("dhclient ends");
    let (again, mut dhclient) = client.dhclient("", patience()).expect("the lease again");
    assert_eq!((again.address, again.get("reason")), (bound.address, Some("REBOOT")));
    dhclient.kill().expect("dhclient ends");
    client.configure(bound.address, 24, None).expect("the address");
    client.dhclient_release().expect("a release");
    let api = stage.api();
    let released = |lease: reveille_config::dto::dhcpd::Lease| (lease.state == LeaseState::Released).then_some(());
    let address = bound.address.to_string();
    stage.ask_until("the release", patience(), async || api.lease(&address).await, released).expect("a release");
}

//= https://www.rfc-editor.org/rfc/rfc1542#section-5.1
//= type=test
//# BOOTREQUEST messages from legal IP source addresses MUST also be accepted.
#[test]
fn dhclient_renews_by_unicast_and_the_lease_is_extended() {
    // T1 comes after 10 to 20 seconds.
    let scope = ServedScope { lease_secs: 30, lease_secs_limits: (10, 30), ..provisioning() };
    let stage = Stage::reveille(&Served::of([scope]));
    let client = stage.client("renews", 1);
    let (bound, _dhclient) = client.dhclient("", patience()).expect("a lease");
    client.configure(bound.address, 24, None).expect("the address");
    let renewed = client.dhclient_tells("RENEW", patience()).expect("a renewal");
    assert_eq!(renewed.address, bound.address);
    let lease = stage.lease(bound.address);
    // On a busy machine it may have renewed once more meanwhile.
    let told: Vec<_> = stage.events().into_iter().take(3).collect();
    assert_eq!(told.iter().map(|event| &*event.kind).collect::<Vec<_>>(), ["offered", "bound", "renewed"]);
    assert!(lease.ends_unix >= told[2].at_unix_millis / 1_000 + 30, "{lease:?} {told:?}");
}

//= https://www.rfc-editor.org/rfc/rfc1542#section-5.1
//= type=test
//# However, hosts which support a BOOTP server MUST accept for local delivery to the server BOOTREQUEST messages whose IP source address is 0.0.0.0.
#[test]
fn udhcpc_gets_its_reservation_by_frame_and_by_broadcast() {
    let stage = stage();
    let client = stage.client("reserved", 1);
    let put = ReservationPut {
        address: Some(Ipv4Addr::new(10, 77, 2, 60)),
        hostname: Some("node-9".into()),
        options: BTreeMap::from([("domain-name".into(), "rack.test".into())]),
        ..ReservationPut::default()
    };
    stage.ask(stage.api().put_reservation(mac(1), &put)).expect("a reservation");
    for flags in [&["-O", "domain"][..], &["-O", "domain", "-B"]] {
        let bound = client.udhcpc(flags).expect("a lease");
        let told = ["ip", "hostname", "domain"].map(|name| bound.get(name));
        assert_eq!(told, [Some("10.77.2.60"), Some("node-9"), Some("rack.test")]);
    }
    let lease = stage.lease(mac(1));
    assert_eq!((lease.reserved, lease.hostname.as_deref()), (true, Some("node-9")));
}

#[test]
fn a_bmc_is_refused_until_it_is_approved() {
    let stage = stage();
    let bmc = stage.bmc("bmc", 1);
    bmc.udhcpc(&[&IN_VAIN[..], &["-V", "iDRAC"]].concat()).expect_err("unknown machines are not answered");
    let seen = stage.ask(stage.api().sightings()).expect("the sightings").items;
    assert_eq!((seen[0].mac, seen[0].vendor_class.as_deref(), &*seen[0].scope), (mac(1), Some("iDRAC"), "bmc"));
    let approve = Approve { hostname: Some("bmc-1".into()), ..Approve::default() };
    let approved = stage.ask(stage.api().approve(mac(1), &approve)).expect("approved");
    let bound = bmc.udhcpc(&[]).expect("a lease");
    assert_eq!((bound.address, bound.get("hostname")), (approved.address, Some("bmc-1")));
    assert!(stage.ask(stage.api().sightings()).expect("the sightings").items.is_empty());
}

#[test]
fn leases_and_approvals_outlive_the_server() {
    let mut stage = stage();
    let (client, bmc) = (stage.client("client", 1), stage.bmc("bmc", 2));
    let leased = client.udhcpc(&[]).expect("a lease").address;
    bmc.udhcpc(&IN_VAIN).expect_err("unknown machines are not answered");
    let approved = stage.ask(stage.api().approve(mac(2), &Approve::default())).expect("approved").address;
    for round in 0..2 {
        stage.server.kill().expect("the server ends");
        stage.server.start_again().expect("the server starts");
        assert_eq!(stage.lease(leased).state, LeaseState::Bound, "round {round}");
        let again = client.udhcpc(&["-r", &leased.to_string()]).expect("the lease again");
        assert_eq!(again.address, leased, "round {round}");
        assert_eq!(bmc.udhcpc(&[]).expect("a lease").address, approved, "round {round}");
    }
}

#[test]
fn broadcasts_of_one_link_are_not_heard_on_the_other() {
    let stage = stage();
    let (client, bmc) = (stage.client("client", 1), stage.bmc("bmc", 2));
    client.udhcpc(&[]).expect("a lease");
    assert!(
        stage.ask(stage.api().sightings()).expect("the sightings").items.is_empty(),
        "the static scope saw nothing"
    );
    bmc.udhcpc(&IN_VAIN).expect_err("unknown machines are not answered");
    let leases = stage.ask(stage.api().leases(None, None)).expect("the leases").items;
    assert_eq!(leases.len(), 1, "and the dynamic one did not serve the BMC: {leases:?}");
}

#[test]
fn router_solicitations_are_answered_with_no_router_here() {
    let stage = stage();
    let (client, bmc) = (stage.client("client", 1), stage.bmc("bmc", 2));
    let advertisement = router::solicit(&client, Duration::from_secs(60)).expect("an advertisement");
    assert_eq!(advertisement.len(), 16, "no options: no prefix");
    assert_eq!(advertisement[0], 134);
    assert_eq!(advertisement[5..8], [0, 0, 0], "no flags, router lifetime 0");
    assert_eq!(router::solicit(&bmc, Duration::from_secs(2)), None, "only where it is configured");
}
