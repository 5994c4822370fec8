//! A real, stand-alone Ironic whose conductor has dhcpd as its DHCP provider: by `config/ironic-dhcp-reveille` in Ironic's own environment, which `make matrix` makes, or without
//! a plug-in, by the files that its `dnsmasq` provider writes.
//!
//! Nothing of Ironic is simulated but the machine (fake hardware); what it asks of its provider goes over the lease API, and a client sees what comes of it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use reveille_config::MacAddr;
use reveille_config::dto::dhcpd::{Page, Reservation};
use reveille_lab::{Client, Deadline, DhcpServer, Product, Run, Served, ServedScope, TwoNetworks};

const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0x77, 0xee, 1]);

/// Where `make matrix` has installed Ironic and the provider.
fn environment() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_reveille"));
    let target = binary.ancestors().nth(2).expect("target/debug/reveille");
    let environment = target.join("ironic");
    assert!(
        environment.join("bin/ironic").exists(),
        "no Ironic in {}: `make matrix` installs it",
        environment.display()
    );
    environment
}

/// `ironic/conductor.py`, which does what it is told and ends with this.
struct Conductor {
    process: Child,
    tell: Option<ChildStdin>,
    told: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Conductor {
    fn start(directory: &Path, provider: &str) -> Self {
        let environment = environment();
        std::fs::create_dir_all(directory).expect("a directory");
        let mut process = Command::new(environment.join("bin/python"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/matrix/ironic/conductor.py"))
            .args([&environment, directory])
            .arg(provider)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python");
        let (tell, told) = (process.stdin.take(), process.stdout.take().expect("its output"));
        Self { process, tell, told: BufReader::new(told), log: directory.join("ironic.log") }
    }

    /// Says a command and waits until it is done; the answer is the node.
    fn ask(&mut self, command: &str) -> String {
        let tell = self.tell.as_mut().expect("its input");
        writeln!(tell, "{command}").and_then(|()| tell.flush()).expect("it listens");
        let mut answer = String::new();
        self.told.read_line(&mut answer).expect("an answer");
        if answer.is_empty() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(40).collect();
            panic!("{command} failed; its log, the last line first:\n{}", last.join("\n"));
        }
        answer.trim().to_owned()
    }
}

impl Drop for Conductor {
    fn drop(&mut self) {
        // The end of its input ends it, and Ironic with it.
        self.tell = None;
        let _ = self.process.wait();
    }
}

/// What a conductor with such a provider has dhcpd do, from a deploy to its end.
fn deploys_and_cleans_up(
    run: &Run,
    networks: &TwoNetworks,
    server: &DhcpServer,
    provider: &str,
    bears: impl Fn(&str) -> String,
) {
    let api = server.api();
    let mut conductor = Conductor::start(&run.dir().join("ironic"), provider);
    let node = conductor.ask(&format!("deploy {MAC}"));
    let there = async || api.reservations(None, None).await;
    let own = |page: Page<Reservation>| page.items.into_iter().find(|own| own.mac == Some(MAC));
    let patience = || Deadline::secs(60);
    let reserved = server.ask_until("a reservation", patience(), there, own).expect("a reservation");
    assert_eq!(reserved.node, Some(bears(&node)));
    assert!(reserved.boot_file.is_some(), "{reserved:?}");
    let client = Client::on_provisioning_network(networks, "machine", MAC).expect("a client");
    assert_eq!(client.udhcpc(&[]).expect("a lease").address, reserved.address);

    conductor.ask("undeploy");
    let gone = |page| own(page).is_none().then_some(());
    server.ask_until("the reservation to go", patience(), there, gone).expect("cleaned up");
}

fn stage() -> (Run, TwoNetworks, DhcpServer) {
    let run = Run::start().expect("a lab: root and the lab's packages are needed");
    let networks = TwoNetworks::create(&run).expect("two networks");
    let served = Served::of([ServedScope::provisioning()]);
    let reveille = Product::Reveille(env!("CARGO_BIN_EXE_reveille").into());
    let server = DhcpServer::start(&run, networks.host(), reveille, &served).expect("dhcpd");
    (run, networks, server)
}

#[test]
fn a_conductor_with_our_provider_reserves_over_the_lease_api_and_cleans_up() {
    let (run, networks, server) = stage();
    let provider = format!("reveille=unix:{}", run.dir().join("dhcpd.sock").display());
    deploys_and_cleans_up(&run, &networks, &server, &provider, |node| node.to_owned());
}

#[test]
fn a_conductor_without_a_plug_in_is_followed_through_the_files_of_its_dnsmasq_provider() {
    let (run, networks, server) = stage();
    let files = run.dir().join("files");
    let (hosts, options) = (files.join("hosts"), files.join("options"));
    for directory in [&hosts, &options] {
        std::fs::create_dir_all(directory).expect("a directory");
    }
    let follow = run.program(env!("CARGO_BIN_EXE_reveille")).args(["reservation", "follow-dnsmasq", "--hostsdir"]);
    let follow = follow.arg(&hosts).arg("--optsdir").arg(&options).arg("--api");
    let follow = follow.arg(format!("unix:{}", run.dir().join("dhcpd.sock").display()));
    let _follow = follow.start("follow-dnsmasq").expect("the follower");
    let provider = format!("dnsmasq={}", files.display());
    deploys_and_cleans_up(&run, &networks, &server, &provider, |_| format!("dnsmasq:ironic-{MAC}.conf"));
}
