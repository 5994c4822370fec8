//! Three network namespaces (server, provisioning client, BMC) joined by veth pairs, and what runs in them.
//!
//! The namespaces have no names: each lives as long as a sleeping process, and every process dies with the test's thread, so that nothing is left behind
//! however the test ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::PATIENCE;

/// What a DHCP client told its script.
pub type Told = BTreeMap<String, String>;

/// Which client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// On the dynamic scope's link.
    Prov,
    /// On the static scope's link.
    Bmc,
}

impl Client {
    /// Its interface's name.
    pub fn interface(self) -> &'static str {
        match self {
            Self::Prov => "c0",
            Self::Bmc => "b0",
        }
    }
}

/// The networks, the server and its clients.
pub struct Lab {
    folder: tempfile::TempDir,
    server_net: Child,
    prov_net: Child,
    bmc_net: Child,
    server: Option<Child>,
    client: Option<Child>,
}

/// A dhclient that runs.
pub struct Dhclient {
    log: PathBuf,
}

/// Appends all variables to a file, as one block, and gives the interface its address.
const SCRIPT: &str = r#"#!/bin/sh
case "$reason$1" in
  BOUND|RENEW|REBIND|REBOOT) ip addr replace "$new_ip_address/24" dev "$interface" ;;
  RELEASE|EXPIRE|FAIL|STOP|PREINIT) ip addr flush dev "$interface" scope global ;;
esac
{ echo "event=$reason$1"; env; echo "end=1"; } > "$LOG.part" && cat "$LOG.part" >> "$LOG"
"#;

fn start(program: &mut Command) -> Child {
    let name = program.get_program().to_string_lossy().into_owned();
    program.spawn().unwrap_or_else(|error| {
        panic!("cannot run {name}: {error}; this test needs root, iproute2, util-linux, isc-dhcp-client and udhcpc")
    })
}

/// Ends a process of ours.
fn end(mut child: Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

fn namespace() -> Child {
    let mut sleeper = Command::new("setpriv");
    sleeper.args(["--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", "echo up && exec sleep 100000"]);
    let mut child = start(sleeper.stdout(Stdio::piped()));
    let mut up = [0; 3];
    let read = child.stdout.take().unwrap().read_exact(&mut up);
    read.expect("a network namespace: this test needs root");
    child
}

impl Lab {
    /// Makes the networks; `prov` is added to the dynamic scope.
    pub fn new(prov: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lab = Self {
            server_net: namespace(),
            prov_net: namespace(),
            bmc_net: namespace(),
            server: None,
            client: None,
            folder,
        };
        let pid = |child: &Child| child.id().to_string();
        let server = pid(&lab.server_net);
        for (link, address, client) in [("vp0", "10.77.2.1/24", Client::Prov), ("vb0", "10.77.1.1/24", Client::Bmc)] {
            let peer = lab.net(client).id().to_string();
            let pair = [
                "link",
                "add",
                link,
                "netns",
                &server,
                "type",
                "veth",
                "peer",
                "name",
                client.interface(),
                "netns",
                &peer,
            ];
            succeed(Command::new("ip").args(pair));
            succeed(lab.inside(&lab.server_net, "ip").args(["addr", "add", address, "dev", link]));
            succeed(lab.inside(&lab.server_net, "ip").args(["link", "set", link, "up"]));
            succeed(lab.inside(lab.net(client), "ip").args(["link", "set", client.interface(), "up"]));
        }
        let state = lab.folder.path().display();
        let config = format!(
            r#"
[dhcpd]
state_dir = "{state}/state"
api = ["unix:{state}/api.sock"]
workers = 2

[[dhcpd.scope]]
name = "bmc"
kind = "static"
interface = "vb0"
subnet = "10.77.1.0/24"
server_address = "10.77.1.1"
pools = ["10.77.1.100-10.77.1.199"]

[[dhcpd.scope]]
name = "prov"
kind = "dynamic"
interface = "vp0"
subnet = "10.77.2.0/24"
server_address = "10.77.2.1"
pools = ["10.77.2.100-10.77.2.199"]
options = {{ routers = ["10.77.2.1"], domain-name-servers = ["10.77.2.2", "10.77.2.3"] }}
{prov}
"#
        );
        let lease = if prov.contains("lease_secs") { config } else { config + "lease_secs = 3600\n" };
        std::fs::create_dir(lab.path("state")).unwrap();
        std::fs::write(lab.path("dhcpd.toml"), lease).unwrap();
        std::fs::write(lab.path("script"), SCRIPT).unwrap();
        succeed(Command::new("chmod").arg("+x").arg(lab.path("script")));
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn net(&self, client: Client) -> &Child {
        match client {
            Client::Prov => &self.prov_net,
            Client::Bmc => &self.bmc_net,
        }
    }

    /// A handle of a client's namespace.
    pub fn namespace(&self, client: Client) -> File {
        File::open(format!("/proc/{}/ns/net", self.net(client).id())).unwrap()
    }

    fn inside(&self, net: &Child, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "nsenter", &format!("--net=/proc/{}/ns/net", net.id())]).arg(program);
        command
    }

    /// Starts the server and waits until it serves.
    pub fn start(&mut self) {
        // Cargo puts examples beside the folder of the test's own program.
        let own = std::env::current_exe().unwrap();
        let serve = own.parent().and_then(Path::parent).unwrap().join("examples/serve");
        assert!(
            serve.exists(),
            "{} is missing: build it with `cargo build -p reveille-dhcpd --example serve`",
            serve.display()
        );
        let log = File::create(self.path("server.log")).unwrap();
        let mut command = self.inside(&self.server_net, &serve);
        command.arg(self.path("dhcpd.toml")).stderr(log).stdout(Stdio::piped());
        let mut child = start(&mut command);
        let mut ready = [0; 6];
        if child.stdout.take().unwrap().read_exact(&mut ready).is_err() {
            panic!("the server does not start: {}", std::fs::read_to_string(self.path("server.log")).unwrap());
        }
        self.server = Some(child);
    }

    /// Ends the server with SIGKILL.
    pub fn kill_server(&mut self) {
        end(self.server.take().expect("a running server"));
    }

    /// The hardware address of a client.
    pub fn mac(&self, client: Client) -> String {
        let show = ["-j", "link", "show", "dev", client.interface()];
        let output = succeed(self.inside(self.net(client), "ip").args(show));
        let links: Value = serde_json::from_slice(&output.stdout).unwrap();
        links[0]["address"].as_str().unwrap().into()
    }

    /// Starts dhclient; it runs until [`Lab::stop_client`].
    pub fn dhclient(&mut self, client: Client, configuration: &str) -> Dhclient {
        self.stop_client();
        std::fs::write(self.path("dhclient.conf"), configuration).unwrap();
        let log = self.path("dhclient.env");
        let _ = std::fs::remove_file(&log);
        let mut command = self.dhclient_command(client);
        command.arg("-d").arg("-e").arg(format!("LOG={}", log.display())).arg(client.interface());
        self.client = Some(start(&mut command));
        Dhclient { log }
    }

    fn dhclient_command(&self, client: Client) -> Command {
        let mut command = self.inside(self.net(client), "dhclient");
        for (flag, name) in
            [("-cf", "dhclient.conf"), ("-lf", "dhclient.leases"), ("-pf", "dhclient.pid"), ("-sf", "script")]
        {
            command.arg(flag).arg(self.path(name));
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Has dhclient give its lease back.
    pub fn dhclient_release(&mut self, client: Client) {
        self.stop_client();
        let mut command = self.dhclient_command(client);
        command.arg("-r").arg("-e").arg(format!("LOG={}", self.path("release.env").display())).arg(client.interface());
        succeed(&mut command);
    }

    /// Ends the client that runs, without a word to the server.
    pub fn stop_client(&mut self) {
        if let Some(client) = self.client.take() {
            end(client);
        }
    }

    /// Runs udhcpc until it has a lease (what its script was told) or has given up.
    pub fn udhcpc(&self, client: Client, flags: &[&str]) -> Option<Told> {
        let log = self.path("udhcpc.env");
        let _ = std::fs::remove_file(&log);
        let mut command = self.inside(self.net(client), "udhcpc");
        command.args(["-f", "-q", "-n", "-t", "3", "-T", "1", "-O", "domain", "-i", client.interface(), "-s"]);
        command.arg(self.path("script")).args(flags).env("LOG", &log).stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().expect("udhcpc: this test needs udhcpc");
        let bound = blocks(&log).into_iter().find(|told| told["event"] == "bound");
        assert_eq!(status.success(), bound.is_some(), "udhcpc's word and its script's");
        bound
    }

    /// A request to the lease API: status and body.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut socket = UnixStream::connect(self.path("api.sock")).expect("the lease API");
        let length = body.len();
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nhost: dhcpd\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, serde_json::from_str(body).unwrap_or(Value::String(body.into())))
    }

    /// GET that must succeed.
    pub fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, None);
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    /// All events.
    pub fn events(&self) -> Vec<Value> {
        self.get("/v1/events")["events"].as_array().unwrap().clone()
    }

    /// Asks until the answer is as wanted.
    pub fn until(&self, path: &str, patience: Duration, done: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + patience;
        loop {
            let answer = self.get(path);
            if done(&answer) {
                return;
            }
            assert!(Instant::now() < deadline, "waited for {path}, last: {answer}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop_client();
        if let Some(server) = self.server.take() {
            end(server);
        }
        for net in [&mut self.server_net, &mut self.prov_net, &mut self.bmc_net] {
            let _ = net.kill();
            let _ = net.wait();
        }
    }
}

impl Dhclient {
    /// Waits until the client reports `event`, and says what it reported with it.
    pub fn wait(&self, event: &str) -> Told {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = blocks(&self.log);
            if let Some(found) = told.iter().find(|told| told["event"] == event) {
                return found.clone();
            }
            assert!(Instant::now() < deadline, "waited for {event}, dhclient told: {told:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The blocks that the script wrote.
fn blocks(log: &Path) -> Vec<Told> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let block = |block: &str| {
        block.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
    };
    text.split("end=1\n").filter(|part| part.contains("event=")).map(block).collect()
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?} (root is needed): {}", String::from_utf8_lossy(&output.stderr));
    output
}
