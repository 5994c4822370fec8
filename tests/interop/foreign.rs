//! Another DHCP server on the link, a real dnsmasq: it is noticed by what its clients say and by our own probe, and told of with what it gives.

use std::net::Ipv4Addr;

use reveille_config::dto::dhcpd::{ForeignServer, Page};
use reveille_lab::{Client, Process, Served, ServedScope};

use crate::stage::{Stage, mac, patience};

const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 66);

/// Ours looks for so long whether somebody uses the address; the other offers at once, and its offer is taken.
const SLOW: &str = "conflict_wait_millis = 5000\n";

fn stage(scope: &str, table: &str) -> Stage {
    let scope = ServedScope { reveille: scope.into(), ..ServedScope::provisioning() };
    let served = Served { reveille: table.into(), ..Served::of([ServedScope::bmc(), scope]) };
    Stage::reveille(&served)
}

/// A dnsmasq that gives 10.77.2.180 and what follows, at once.
pub fn dnsmasq(host: &Client) -> Process {
    host.configure(OTHER, 24, None).expect("its address");
    let program = host.namespace().program("dnsmasq").args([
        "--conf-file=/dev/null",
        "--keep-in-foreground",
        "--log-facility=-",
        "--port=0",
        "--interface=eth0",
        "--bind-interfaces",
        "--dhcp-range=10.77.2.180,10.77.2.189,1h",
        "--dhcp-boot=other.0",
        "--no-ping",
        "--dhcp-authoritative",
        "--leasefile-ro",
        // Two that write the same file at once would fail.
        "--pid-file=",
    ]);
    let process = program.start("dnsmasq").expect("dnsmasq: package dnsmasq-base is needed");
    patience().until("dnsmasq to serve", || process.log().find("DHCP, IP range")).expect("dnsmasq serves");
    process
}

fn found(stage: &Stage, known: impl Fn(&ForeignServer) -> bool) -> ForeignServer {
    let judge = |page: Page<reveille_config::dto::dhcpd::Link>| {
        let provisioning = page.items.into_iter().find(|link| link.scopes == ["provisioning"])?;
        provisioning.foreign_servers.into_iter().find(&known)
    };
    let api = stage.api();
    stage.ask_until("the other server to be noticed", patience(), async || api.links().await, judge).expect("noticed")
}

fn told(stage: &Stage) -> Vec<String> {
    stage.events().into_iter().filter(|event| event.kind == "foreign-server").map(|event| event.message).collect()
}

#[test]
fn our_probe_has_a_foreign_server_tell_what_it_gives() {
    let stage = stage("foreign_server_probe_secs = 1\n", "");
    let host = stage.client("other", 1);
    let _dnsmasq = dnsmasq(&host);
    let server = found(&stage, |server| server.offered.is_some() && server.count > 1);
    assert_eq!((server.address, server.mac), (OTHER, Some(mac(1))));
    let offered = server.offered.expect("an offer").octets();
    assert!(offered[..3] == [10, 77, 2] && (180..190).contains(&offered[3]), "{offered:?}");
    assert_eq!(server.boot_file.as_deref(), Some("other.0"));
    let expected =
        format!("a DHCP server that is not ours, {OTHER} at {}, answers on the link of provisioning", mac(1));
    assert_eq!(told(&stage), [expected], "once, however often it is seen");
    let cli = stage.networks.host().program(env!("CARGO_BIN_EXE_reveille")).args(["links", "--api"]);
    let shown = cli.arg(format!("unix:{}/dhcpd.sock", stage.networks.run().dir().display())).succeed(patience());
    let shown = shown.expect("`reveille links`");
    assert!([&*OTHER.to_string(), "other.0", &mac(1).to_string()].iter().all(|word| shown.contains(word)), "{shown}");
    assert!(stage.ask(stage.api().leases(None, None)).expect("the leases").items.is_empty(), "nobody of ours answers");
    assert!(stage.events().iter().all(|event| event.kind != "offered"));
}

#[test]
fn a_client_that_takes_another_servers_offer_betrays_it() {
    let stage = stage(SLOW, "");
    let (host, client) = (stage.client("other", 1), stage.client("client", 2));
    let _dnsmasq = dnsmasq(&host);
    let lease = client.udhcpc(&[]).expect("a lease");
    assert_eq!(lease.get("serverid"), Some("10.77.2.66"));
    let server = found(&stage, |server| server.mac.is_some());
    assert_eq!((server.address, server.mac), (OTHER, Some(mac(1))));
}

#[test]
fn a_server_that_is_declared_is_nobodys_business() {
    let stage = stage(&format!("foreign_server_probe_secs = 1\n{SLOW}"), "known_servers = [\"10.77.2.66\"]\n");
    let (host, client) = (stage.client("other", 1), stage.client("client", 2));
    let dnsmasq = dnsmasq(&host);
    let lease = client.udhcpc(&[]).expect("a lease");
    assert_eq!(lease.get("serverid"), Some("10.77.2.66"));
    let offer = || dnsmasq.log().find("DHCPOFFER(eth0) 10.77.2");
    patience().until("dnsmasq to answer our probe", offer).expect("an answer");
    let links = stage.ask(stage.api().links()).expect("the links").items;
    assert!(links.iter().all(|link| link.foreign_servers.is_empty()), "{links:?}");
    assert!(told(&stage).is_empty());
}
