//! A provisioner whose dhcpd is reached over the network: TLS, a token, and what is told when either is wrong.

use std::os::fd::AsFd as _;

use reveille_bmc_simulator::{Fleet, Server};
use reveille_lab::{Deadline, Namespace, Process};
use rustix::process::Signal;
use serde_json::Value;

use crate::site::Site;
use crate::tokens::{certificate, write};

const MAC: &str = "52:54:00:bb:00:01";
/// What is in the token's file at first: it looks like one, and dhcpd has never made it.
const WRONG: &str = "rvl_01234567_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A simulated BMC on a loopback address of a namespace.
fn bmc_in(namespace: &Namespace, fleet: Fleet) -> Server {
    let namespace = namespace.handle().expect("the namespace");
    // The namespace of this thread, and of those that it starts.
    let start = move || {
        rustix::thread::move_into_link_name_space(namespace.as_fd(), None).expect("root may change namespaces");
        Server::start(fleet).expect("a BMC")
    };
    std::thread::spawn(start).join().expect("the BMC's thread")
}

/// What `look` finds once it is as `done` wants it.
fn until(what: &str, look: impl Fn() -> Value, done: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let found = Deadline::secs(60).until(what, || {
        last = look();
        Ok(done(&last).then(|| last.clone()))
    });
    found.unwrap_or_else(|error| panic!("{error}, last: {last:#}"))
}

fn reload(all: &mut Process) {
    let log = all.log().from_here();
    all.signal(Signal::HUP).unwrap();
    log.wait_for("provisioner: configuration read again", Deadline::secs(60)).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_provisioner_pushes_reservations_to_a_dhcpd_elsewhere() {
    let site = Site::new();
    let other = site.dir().join("other");
    std::fs::create_dir(&other).unwrap();
    certificate(&other);
    certificate(site.dir());
    let dir = site.dir().display().to_string();
    let listen = format!(
        "[dhcpd.api]\nlisten = [\"https://10.77.2.1:7671\", \"unix:{dir}/dhcpd.sock\"]\n\
         [dhcpd.api.tls]\ncertificate = \"{dir}/api.crt\"\nkey = \"{dir}/api.key\"\n\n[[dhcpd.scope]]\nname = \"bmc\""
    );
    site.edit(&format!("api = [\"unix:{dir}/dhcpd.sock\"]\nworkers = 1\n\n[[dhcpd.scope]]\nname = \"bmc\""), &listen);
    let token = site.dir().join("dhcpd.token");
    write(&token, WRONG, 0o600);
    let provisioner = format!(
        "{}\n[provisioner.dhcpd]\nurl = \"https://10.77.2.1:7671\"\nca = \"{dir}/other/ca.crt\"\n\
         token = {{ file = \"{dir}/dhcpd.token\" }}\n[provisioner.deploy]\nkernel = \"agent/vmlinuz\"\nramdisk = \"agent/initrd\"\n",
        site.text()
    );
    std::fs::write(&site.config, provisioner).unwrap();
    let fleet = Fleet::new([127, 64, 0, 1].into(), 6230, 1);
    let bmc = fleet.address(0);
    let _bmc = bmc_in(site.networks.host(), fleet);
    let mut all = site.start("all", &[]);

    let password = site.networks.run().write("password", "secret\n").unwrap();
    let (host, port) = (bmc.ip().to_string(), bmc.port().to_string());
    let add = ["node", "add", "n1", "--mac", MAC, "--bmc", &host, "--bmc-port", &port, "--bmc-user", "admin"];
    let added = site.run(&[&add[..], &["--bmc-password-file", password.to_str().unwrap()]].concat());
    assert_eq!(added.code, Some(0), "{added:?}");
    let checksum = format!("sha256:{}", "0".repeat(64));
    let deploy = || {
        let image = ["--image", "http://10.77.2.1:8080/disk.raw", "--checksum", &checksum, "--no-wait"];
        site.run(&[&["node", "deploy", "n1"][..], &image].concat()).out();
    };
    // What became of it, and the node given back.
    let told = |words: &str| {
        let look = || site.run(&["node", "history", "n1", "--json"]).json();
        let found = |event: &&Value| event["event"].as_str().is_some_and(|message| message.contains(words));
        let all = until(words, look, |all| all.as_array().unwrap().iter().any(|event| found(&event)));
        let message = all.as_array().unwrap().iter().find(found).unwrap()["event"].to_string();
        let undeployed = site.run(&["node", "undeploy", "n1"]);
        assert_eq!(undeployed.code, Some(0), "{undeployed:?}");
        message
    };

    // Nobody who is not known is shown anything: that is tried again until it is mended, here by SIGHUP.
    deploy();
    let line = all.wait_for_line("invalid peer certificate", Deadline::secs(60)).unwrap_or_else(|e| panic!("{e}"));
    assert!(line.contains("https://10.77.2.1:7671") && line.contains("see `ca`"), "{line}");
    site.edit(&format!("{dir}/other/ca.crt"), &format!("{dir}/ca.crt"));
    reload(&mut all);
    let error = told("the token is unknown, revoked or over");
    let instead = "make a token on dhcpd's host (`reveille token create provisioner --role write`)";
    assert!(error.contains(instead) && error.contains("dhcpd.token"), "{error}");

    // A token that may only look.
    write(&token, &site.run(&["token", "create", "looker", "--role", "read"]).out(), 0o600);
    reload(&mut all);
    deploy();
    let error = told("needs the role write; yours is read");
    assert!(error.contains(instead), "{error}");

    let good = site.run(&["token", "create", "provisioner", "--role", "write"]).out();
    write(&token, &good, 0o600);
    reload(&mut all);
    deploy();
    let node = site.run(&["node", "show", "n1", "--json"]).json()["uuid"].clone();
    let look = || site.run(&["reservation", "list", "--json"]).json();
    until("the reservation", look, |all| {
        all.as_array().unwrap().iter().any(|own| own["mac"] == MAC && own["node"] == node)
    });
    let log = all.log().text().unwrap();
    assert!(![WRONG, good.trim_end()].iter().any(|secret| log.contains(secret)), "a token is in the log");
}
