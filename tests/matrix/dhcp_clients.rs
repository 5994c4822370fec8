//! Stock DHCP clients against the dynamic scope: the parts of a lease's life that each does in its own way.

use std::net::Ipv4Addr;

use reveille_config::MacAddr;
use reveille_config::dto::dhcpd::LeaseState;
use reveille_config::dto::event::EventQuery;
use reveille_lab::{Client, Deadline, Lab, LabOptions};
use rustix::process::Signal;

/// dhcpcd keeps its state in the system's directories. `ip netns exec` gave it mounts of its own: theirs are empty here.
const DHCPCD: &str = "mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib/dhcpcd && exec \"$@\"";

fn lab() -> Lab {
    Lab::start(LabOptions::new(env!("CARGO_BIN_EXE_reveille"))).expect("a lab")
}

fn mac(n: u8) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0x77, 0xee, n])
}

/// Waits until dhcpd's list shows a lease in `state`, and gives its address.
fn wait_lease(lab: &Lab, key: &str, state: LeaseState) -> Ipv4Addr {
    let dhcpd = lab.dhcpd();
    let find = |page: reveille_config::dto::dhcpd::Page<reveille_config::dto::dhcpd::Lease>| {
        let of_key = |lease: &&_| matches_key(lease, key, state);
        page.items.iter().find(of_key).map(|lease| lease.address)
    };
    lab.ask_until(
        &format!("the lease of {key} to be {state:?}"),
        Deadline::secs(40),
        async || dhcpd.leases(Some("provisioning"), None).await,
        find,
    )
    .expect("the lease")
}

fn matches_key(lease: &reveille_config::dto::dhcpd::Lease, key: &str, state: LeaseState) -> bool {
    lease.state == state && (lease.mac.to_string() == key || lease.address.to_string() == key)
}

/// How often dhcpd has told this client what it has: bound, renewed, or what is left.
fn told(lab: &Lab, mac: MacAddr) -> usize {
    let page = lab.ask(lab.dhcpd().events_of(&EventQuery::all_known())).expect("dhcpd's events");
    let kinds = ["bound", "renewed", "recalled"];
    page.events.iter().filter(|event| event.mac == Some(mac) && kinds.contains(&event.kind.as_str())).count()
}

#[test]
fn dhcpcd_leases_renews_and_releases() {
    let lab = lab();
    let client = Client::on_provisioning_network(lab.networks(), "dhcpcd", mac(1)).expect("a client");
    let conf = lab.run().write("dhcpcd.conf", "option routers\nnohook resolv.conf, hostname\n").expect("a file");
    let program = client.program("sh").args(["-c", DHCPCD, "sh", "dhcpcd", "-B", "-4", "-L", "-d", "-c", "/bin/true"]);
    let mut dhcpcd = program.arg("-f").arg(conf).arg("eth0").start("dhcpcd").expect("dhcpcd starts");
    let key = mac(1).to_string();

    dhcpcd.wait_for_line("leased 10.77.2.", Deadline::secs(40)).expect("a lease");
    let address = wait_lease(&lab, &key, LeaseState::Bound);
    let log = dhcpcd.log().from_here();
    dhcpcd.wait_for_line("adding IP address", Deadline::secs(20)).expect("the address on the interface");
    let before = told(&lab, mac(1));
    dhcpcd.signal(Signal::USR1).expect("a signal");
    log.wait_for("renewing lease", Deadline::secs(20)).expect("dhcpcd renews");
    log.wait_for("acknowledged", Deadline::secs(20)).expect("dhcpcd hears that it keeps its address");
    assert_eq!(told(&lab, mac(1)), before + 1);
    assert_eq!(wait_lease(&lab, &key, LeaseState::Bound), address);

    dhcpcd.signal(Signal::ALARM).expect("a signal");
    dhcpcd.wait(Deadline::secs(20)).expect("dhcpcd ends");
    assert_eq!(wait_lease(&lab, &key, LeaseState::Released), address);
}

#[test]
fn dhclient_started_again_asks_for_the_address_it_had() {
    let lab = lab();
    let client = Client::on_provisioning_network(lab.networks(), "dhclient", mac(2)).expect("a client");
    let (first, mut dhclient) = client.dhclient("", Deadline::secs(40)).expect("a lease");
    dhclient.kill().expect("dhclient ends");
    let log = dhclient.log().from_here();
    let (second, _dhclient) = client.dhclient("", Deadline::secs(40)).expect("the lease again");
    assert_eq!(second.address, first.address);
    let said = log.text().expect("dhclient's log");
    assert!(
        said.contains("DHCPREQUEST for") && !said.contains("DHCPDISCOVER"),
        "it did not begin at INIT-REBOOT: {said}"
    );
}

#[test]
fn an_address_that_a_client_finds_in_use_is_quarantined() {
    let lab = lab();
    let taken = Ipv4Addr::new(10, 77, 2, 150);
    let squatter = Client::on_provisioning_network(lab.networks(), "squatter", mac(3)).expect("a client");
    squatter.configure(taken, 24, None).expect("an address of its own");
    let client = Client::on_provisioning_network(lab.networks(), "declines", mac(4)).expect("a client");
    let lease = client.udhcpc(&["-a", "-A", "2", "-r", &taken.to_string()]).expect("another address");
    assert_ne!(lease.address, taken);
    assert_eq!(wait_lease(&lab, &taken.to_string(), LeaseState::Declined), taken);
    assert_eq!(wait_lease(&lab, &mac(4).to_string(), LeaseState::Bound), lease.address);
}
