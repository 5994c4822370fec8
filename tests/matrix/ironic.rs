//! A real, stand-alone Ironic whose conductor has dhcpd as its DHCP provider: `config/ironic-dhcp-reveille` in Ironic's own environment, which `make matrix` makes.
//!
//! Nothing of Ironic is simulated but the machine (fake hardware); what it asks of its provider goes over the lease API, and a client sees what comes of it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use reveille_config::MacAddr;
use reveille_lab::{Client, DhcpServer, Product, Run, Served, ServedScope, TwoNetworks};

const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0x77, 0xee, 1]);

/// Where `make matrix` has installed Ironic and the provider.
fn environment() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_reveille"));
    let target = binary.ancestors().nth(2).expect("target/debug/reveille");
    let environment = target.join("ironic");
    assert!(environment.join("bin/ironic").exists(), "no Ironic in {}: `make matrix` installs it", environment.display());
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

#[test]
fn a_stock_conductor_reserves_over_the_lease_api_and_cleans_up() {
    let run = Run::start().expect("a lab: root and the lab's packages are needed");
    let networks = TwoNetworks::create(&run).expect("two networks");
    let served = Served::of([ServedScope::provisioning()]);
    let reveille = Product::Reveille(env!("CARGO_BIN_EXE_reveille").into());
    let server = DhcpServer::start(&run, networks.host(), reveille, &served).expect("dhcpd");
    let api = server.api();
    let socket = run.dir().join("dhcpd.sock");
    let mut conductor = Conductor::start(&run.dir().join("ironic"), &format!("reveille=unix:{}", socket.display()));

    let node = conductor.ask(&format!("deploy {MAC}"));
    let reserved = server.ask(api.reservation(MAC, None)).expect("a reservation");
    assert_eq!(reserved.node.as_deref(), Some(&*node));
    assert!(reserved.boot_file.is_some(), "{reserved:?}");
    let client = Client::on_provisioning_network(&networks, "machine", MAC).expect("a client");
    assert_eq!(client.udhcpc(&[]).expect("a lease").address, reserved.address);

    conductor.ask("undeploy");
    let gone = server.ask(api.reservation(MAC, None)).expect_err("cleaned up");
    assert!(gone.is_not_found(), "{gone}");
}
