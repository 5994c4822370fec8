//! Firmware beside another DHCP server: its address is from a real dnsmasq that knows no boot file, its boot file from our proxy (ProxyDHCP).

use std::net::Ipv4Addr;

use reveille_config::MacAddr;
use reveille_config::dto::event::EventQuery;
use reveille_lab::{Client, Deadline, Firmware, Lab, Process, Served, ServedScope};

use crate::firmware::boots_in;
use crate::guest::lab_with_guest_and;

/// Where the other server is.
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 66);

/// A dnsmasq that gives 10.77.2.180 to 10.77.2.189 and nothing to boot.
fn dnsmasq(host: &Client) -> Process {
    host.configure(OTHER, 24, None).expect("its address");
    let program = host.program("dnsmasq").args([
        "--conf-file=/dev/null",
        "--keep-in-foreground",
        "--log-facility=-",
        "--port=0",
        "--interface=eth0",
        "--bind-interfaces",
        "--dhcp-range=10.77.2.180,10.77.2.189,1h",
        "--no-ping",
        "--dhcp-authoritative",
        "--leasefile-ro",
        "--pid-file=",
    ]);
    let mut process = program.start("dnsmasq").expect("dnsmasq: package dnsmasq-base is needed");
    process.wait_for_line("DHCP, IP range", Deadline::secs(30)).expect("dnsmasq serves");
    process
}

/// Boots such a machine to its kernel. `by` is what its firmware has to fetch first, if it is not iPXE already.
fn boots_beside_dnsmasq(firmware: Firmware, by: Option<&str>) {
    let proxy = ServedScope { is_proxy: true, pools: Vec::new(), ..ServedScope::provisioning() };
    let lab = lab_with_guest_and(|options| options.served = Served::of([ServedScope::bmc(), proxy]));
    let own = MacAddr([0x52, 0x54, 0, 0x77, 0xec, 1]);
    let host = Client::on_provisioning_network(lab.networks(), "other", own).expect("a host");
    let dnsmasq = dnsmasq(&host);
    let machine = boots_in(&lab, firmware, by);

    let given = "DHCPACK(eth0) 10.77.2.18";
    let text = dnsmasq.log().text().expect("dnsmasq's log");
    let mac = machine.spec().mac.to_string();
    assert!(text.lines().any(|line| line.contains(given) && line.contains(&mac)), "{text}");
    assert_eq!(addresses_given_by_us(&lab), 0);
}

/// Leases and promises of ours: a proxy makes none.
fn addresses_given_by_us(lab: &Lab) -> usize {
    let leases = lab.ask(lab.dhcpd().leases(None, None)).expect("the leases").items.len();
    let page = lab.ask(lab.dhcpd().events_of(&EventQuery::all_known())).expect("dhcpd's events");
    leases + page.events.iter().filter(|event| matches!(event.kind.as_str(), "offered" | "bound")).count()
}

#[test]
fn the_ipxe_of_a_card_beside_dnsmasq() {
    boots_beside_dnsmasq(Firmware::SeaBios, None);
}

#[test]
fn a_rom_that_is_not_ipxe_beside_dnsmasq() {
    boots_beside_dnsmasq(Firmware::LegacyRom, Some("tftp undionly.kpxe"));
}

#[test]
fn uefi_by_tftp_beside_dnsmasq() {
    boots_beside_dnsmasq(Firmware::UefiPxe, Some("tftp snponly.efi"));
}

#[test]
fn uefi_by_http_beside_dnsmasq() {
    boots_beside_dnsmasq(Firmware::UefiHttp, Some("http snponly.efi"));
}
