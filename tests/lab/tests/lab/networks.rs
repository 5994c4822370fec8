//! The two networks are really two.

use std::net::Ipv4Addr;

use reveille_config::MacAddr;
use reveille_lab::net::{BMC_HOST, PROVISIONING_HOST};
use reveille_lab::{Client, Deadline, Run, TwoNetworks};

const BMC: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 20);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 20);

fn mac(last: u8) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0x77, 0xee, last])
}

fn pings(from: &Client, to: Ipv4Addr) -> bool {
    let ping = from.program("busybox").args(["ping", "-c", "1", "-W", "2", &to.to_string()]);
    ping.output(Deadline::secs(60)).expect("ping runs").status.success()
}

#[test]
fn each_side_reaches_the_host_and_neither_the_other() {
    let run = Run::start().expect("a lab");
    let networks = TwoNetworks::create(&run).expect("two networks");
    let bmc = Client::on_bmc_network(&networks, "b", mac(1)).unwrap();
    let client = Client::on_provisioning_network(&networks, "c", mac(2)).unwrap();
    let neighbour = Client::on_provisioning_network(&networks, "d", mac(3)).unwrap();
    // Both have the host as their router, so that nothing but the host's refusal keeps them apart.
    bmc.configure(BMC, 24, Some(BMC_HOST)).unwrap();
    client.configure(CLIENT, 24, Some(PROVISIONING_HOST)).unwrap();
    neighbour.configure(Ipv4Addr::new(10, 77, 2, 21), 24, None).unwrap();

    let table = [
        ("a BMC and the host", &bmc, BMC_HOST, true),
        ("a client and the host", &client, PROVISIONING_HOST, true),
        ("two clients", &neighbour, CLIENT, true),
        ("a client and a BMC", &client, BMC, false),
        ("a BMC and a client", &bmc, CLIENT, false),
    ];
    for (who, from, to, reached) in table {
        assert_eq!(pings(from, to), reached, "{who}");
    }
}

#[test]
fn the_machine_that_runs_the_lab_gets_no_interface() {
    let ours = |name: &str| std::path::Path::new("/sys/class/net").join(name).exists();
    let run = Run::start().expect("a lab");
    let networks = TwoNetworks::create(&run).expect("two networks");
    let client = Client::on_provisioning_network(&networks, "noiface", mac(4)).unwrap();
    for (namespace, name) in
        [(networks.host(), "br-prov"), (networks.host(), "v-noiface"), (client.namespace(), "eth0")]
    {
        namespace.ip(&[&format!("link show {name}")]).expect("it is in the namespace");
    }
    let seen: Vec<&str> = ["br-bmc", "br-prov", "v-noiface"].into_iter().filter(|name| ours(name)).collect();
    assert_eq!(seen, [""; 0]);
}
