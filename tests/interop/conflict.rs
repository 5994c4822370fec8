//! An address that somebody uses without a lease is not offered: hosts with addresses of their own on the link and behind a relay.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use reveille_config::dto::dhcpd::LeaseState;
use reveille_config::dto::event::Event;
use reveille_lab::{Client, Served, ServedScope};

use crate::relays::{self, FAR_BRIDGE, GIADDR, SERVER};
use crate::stage::{Stage, mac, metric};

/// How long an answer may take, on a busy machine.
const WAIT_MILLIS: u64 = 2_000;

fn checked(scope: ServedScope) -> ServedScope {
    ServedScope { reveille: format!("{}conflict_wait_millis = {WAIT_MILLIS}\n", scope.reveille), ..scope }
}

fn stage(pool: (u8, u8)) -> Stage {
    Stage::reveille(&Served::of([checked(ServedScope { pools: vec![pool], ..ServedScope::provisioning() })]))
}

fn conflicts(stage: &Stage) -> Vec<Event> {
    stage.events().into_iter().filter(|event| event.kind == "conflict").collect()
}

#[test]
fn an_address_that_a_host_uses_on_the_link_is_not_offered() {
    let stage = stage((100, 101));
    // Two hosts, so that whichever address is tried first is in use, until one of them leaves.
    let squatters = [(stage.client("squats", 1), 100), (stage.client("squats2", 2), 101)];
    for (squatter, number) in &squatters {
        squatter.configure(Ipv4Addr::new(10, 77, 2, *number), 24, None).expect("an address");
    }
    let client = stage.client("client", 3);
    client.udhcpc(&["-t", "5"]).expect_err("every address is in use");
    let mut told: Vec<_> = conflicts(&stage)
        .iter()
        .map(|event| (event.mac, event.detail["address"].as_str().map(str::to_owned)))
        .collect();
    told.sort();
    let expected = [(Some(mac(1)), Some("10.77.2.100".to_owned())), (Some(mac(2)), Some("10.77.2.101".to_owned()))];
    assert_eq!(told, expected, "each found once, and remembered");
    for address in ["10.77.2.100", "10.77.2.101"] {
        assert_eq!(stage.lease(address).state, LeaseState::Declined);
    }
}

#[test]
fn a_free_address_is_offered_after_a_short_wait_and_others_do_not_wait() {
    let stage = stage((100, 109));
    let squatter = stage.client("squats", 1);
    squatter.configure(Ipv4Addr::new(10, 77, 2, 105), 24, None).expect("an address");
    let client = stage.client("client", 2);
    let begun = Instant::now();
    let bound = client.udhcpc(&["-r", "10.77.2.105"]).expect("a lease of another address");
    assert_ne!(bound.address, Ipv4Addr::new(10, 77, 2, 105));
    assert!(begun.elapsed() >= Duration::from_millis(WAIT_MILLIS), "the offered address was waited for");
    let [conflict] = &conflicts(&stage)[..] else { panic!("one conflict") };
    assert_eq!(conflict.mac, Some(mac(1)));
    assert!(conflict.message.contains("10.77.2.105 is in use by"), "{}", conflict.message);
    // The client's own address is its own, also when it answers for it.
    client.configure(bound.address, 24, None).expect("the address");
    let again = client.udhcpc(&[]).expect("a lease");
    assert_eq!(again.address, bound.address);
    assert_eq!(conflicts(&stage).len(), 1);
}

#[test]
fn an_address_that_a_host_behind_a_relay_uses_is_not_offered() {
    let far = checked(ServedScope { pools: vec![(100, 101)], ..relays::far_scope() });
    let stage = Stage::reveille(&Served::of([ServedScope::provisioning(), far]));
    let relay = relays::relay(&stage);
    let _agent = relays::dhcrelay(&relay, SERVER);
    let behind = |name, n| Client::on_bridge(stage.networks.run(), &relay, FAR_BRIDGE, name, mac(n)).expect("a client");
    let (squatter, client) = (behind("squats", 1), behind("client", 2));
    let squatted = Ipv4Addr::new(10, 77, 3, 100);
    squatter.configure(squatted, 24, Some(GIADDR)).expect("an address");
    let lease = client.udhcpc(&["-r", "10.77.3.100"]).expect("a lease of another address");
    assert_eq!(lease.address, Ipv4Addr::new(10, 77, 3, 101));
    let [conflict] = &conflicts(&stage)[..] else { panic!("one conflict") };
    assert_eq!(conflict.detail["address"].as_str(), Some("10.77.3.100"));
    assert_eq!(stage.lease(squatted).state, LeaseState::Declined);
    let checks = |by| metric(stage.networks.run(), &format!("reveille_dhcpd_conflict_checks_total{{by=\"{by}\"}}"));
    assert!(checks("icmp") >= 2 && checks("arp") == 0, "nobody asks by ARP for an address behind a relay");
}
