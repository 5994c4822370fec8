//! The client programs are driven right, and what they say is read right.

use std::net::Ipv4Addr;

use reveille_config::MacAddr;
use reveille_lab::net::PROVISIONING_HOST;
use reveille_lab::{Client, Deadline, Run, TwoNetworks};

use crate::stand_in::StandIn;

#[test]
fn dhcp_tftp_and_http_clients_against_stand_ins() {
    let run = Run::start().expect("a lab");
    let networks = TwoNetworks::create(&run).expect("two networks");
    let stand_in = StandIn::start(&networks).expect("stand-in daemons");
    let mac = MacAddr([0x52, 0x54, 0, 0x77, 0xee, 9]);
    let client = Client::on_provisioning_network(&networks, "c", mac).unwrap();
    let pool = |address: Ipv4Addr| address.octets()[..3] == [10, 77, 2] && (100..=200).contains(&address.octets()[3]);

    let lease = client.udhcpc(&["-O", "bootfile"]).expect("udhcpc leases");
    assert!(pool(lease.address), "{lease:?}");
    assert_eq!(lease.get("serverid"), Some("10.77.2.1"), "{lease:?}");
    assert_eq!(lease.get("bootfile"), Some("undionly.kpxe"), "{lease:?}");

    let (lease, mut dhclient) =
        client.dhclient("request subnet-mask, routers, host-name;\n", Deadline::secs(60)).expect("dhclient leases");
    assert!(pool(lease.address), "{lease:?}");
    assert_eq!(lease.get("new_dhcp_server_identifier"), Some("10.77.2.1"), "{lease:?}");
    dhclient.kill().unwrap();

    client.configure(lease.address, 24, None).unwrap();
    let report = client.nmap_dhcp_discover().expect("nmap runs");
    assert!(report.contains("Server Identifier: 10.77.2.1"), "{report}");

    let content: Vec<u8> = (0..100_000u32).map(|n| (n * 7 % 251) as u8).collect();
    stand_in.serve("blob", &content);
    let deadline = || Deadline::secs(60);
    assert!(client.tftp_hpa(PROVISIONING_HOST, "blob", deadline()).expect("tftp-hpa fetches") == content);
    let got = client.atftp(PROVISIONING_HOST, "blob", &[("blksize", "1428")], deadline()).expect("atftp fetches");
    assert!(got == content);
    let error = client.tftp_hpa(PROVISIONING_HOST, "missing", deadline()).unwrap_err().to_string();
    assert!(error.contains("not found"), "{error}");
    let url = format!("http://{PROVISIONING_HOST}:8080/blob");
    let head = client.curl(&["-I", &url], deadline()).unwrap().success().expect("curl asks");
    assert!(head.to_lowercase().contains("content-length: 100000"), "{head}");
}

#[test]
fn the_stock_command_line_of_ironic_is_installed_once() {
    let baremetal = reveille_lab::packages::ensure_baremetal_client().expect("pip installs it");
    assert_eq!(reveille_lab::packages::ensure_baremetal_client().expect("it is there"), baremetal);
    let run = Run::start().expect("a lab");
    let help = run.program(baremetal.display().to_string()).arg("help").arg("node").arg("list");
    let help = help.succeed(Deadline::secs(60)).expect("it runs");
    assert!(help.contains("usage: baremetal node list"), "{help}");
}
