//! `ipmi_sim` of OpenIPMI as one BMC, and `ipmitool` as a second opinion about it.
//!
//! The machine behind the BMC is a directory: `power` holds 0 or 1, `boot` the device, `calls` every call of the hook.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use reveille_provisioner::io::bmc::{BmcTarget, Privilege};
use tempfile::TempDir;

pub const USER: &str = "admin";
pub const PASSWORD: &str = "secret";

/// The hook: `get power|boot …`, `set power|boot|reset|shutdown VALUE …`.
const HOOK: &str = r#"#!/bin/sh
dir=$1; verb=$2; shift 2
echo "$verb $*" >> "$dir/calls"
while [ $# -gt 0 ]; do
    if [ "$verb" = get ]; then
        echo "$1:$(cat "$dir/$1")"; shift
    else
        echo "$2" > "$dir/$1"; shift 2
    fi
done
"#;

const EMULATOR: &str = "\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
mc_add 0x30 0 no-device-sdrs 0x24 9 8 0x9f 0x1291 0xf03 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
mc_enable 0x30
";

/// A running simulator; killed and its directory removed when dropped.
pub struct Sim {
    directory: TempDir,
    child: Option<Child>,
    pub address: SocketAddr,
}

/// A loopback address that no other test process uses, with a port that no other test of this process uses.
pub fn own_address() -> SocketAddr {
    static PORT: AtomicU16 = AtomicU16::new(20_000);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    // A process' number has 22 bits at most.
    let ip = Ipv4Addr::new(127, 64 | high & 0x3f, middle, low);
    SocketAddr::V4(SocketAddrV4::new(ip, PORT.fetch_add(1, Ordering::Relaxed)))
}

fn missing(name: &str, error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => format!("{name} is missing: install with `make deps`"),
        _ => format!("{name} does not start: {error}"),
    }
}

impl Sim {
    /// Starts a simulator with user `admin` (password `secret`) and a read-only user `looker`, machine off.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// The same with a serial line, which the simulator connects to this address.
    pub fn start_with_serial(line: SocketAddr) -> Self {
        Self::start_with(&format!("  sol \"tcp:{}:{}\" 115200\n", line.ip(), line.port()))
    }

    fn start_with(more: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("reveille-ipmi-").tempdir().unwrap();
        let address = own_address();
        let at = |name: &str| directory.path().join(name);
        let (ip, port) = (address.ip(), address.port());
        let hook = at("chassis.sh");
        fs::write(&hook, HOOK).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(at("power"), "0\n").unwrap();
        fs::write(at("boot"), "default\n").unwrap();
        fs::write(at("calls"), "").unwrap();
        fs::create_dir(at("state")).unwrap();
        fs::write(at("sim.emu"), EMULATOR).unwrap();
        let auths: String = ["callback", "user", "operator", "admin"]
            .map(|level| format!("    allowed_auths_{level} none md2 md5 straight\n"))
            .concat();
        let configuration = format!(
            "name \"bmc\"\nset_working_mc 0x20\n  startlan 1\n    addr {ip} {port}\n    priv_limit admin\n{auths}    \
             guid a123456789abcdefa123456789abcdef\n  endlan\n  chassis_control \"{hook} {directory}\"\n  \
             user 2 true \"{USER}\" \"{PASSWORD}\" admin 10 none md2 md5 straight\n  \
             user 3 true \"looker\" \"{PASSWORD}\" user 10 none md2 md5 straight\n{more}",
            hook = hook.display(),
            directory = directory.path().display(),
        );
        fs::write(at("lan.conf"), configuration).unwrap();
        let mut sim = Self { directory, child: None, address };
        sim.boot();
        sim
    }

    /// Starts the BMC's processor: an earlier one is killed first, and every session with it.
    pub fn boot(&mut self) {
        self.kill();
        let at = |name: &str| self.directory.path().join(name);
        let log = fs::File::create(at("log")).unwrap();
        let child = Command::new("ipmi_sim")
            .arg("-c")
            .arg(at("lan.conf"))
            .arg("-f")
            .arg(at("sim.emu"))
            .arg("-s")
            .arg(at("state"))
            .arg("-n")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}", missing("ipmi_sim", &error)));
        self.child = Some(child);
        self.wait_until_it_answers();
    }

    /// The BMC loses power.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn wait_until_it_answers(&mut self) {
        // RMCP presence ping (ASF 2.0, 3.2.4.2): costs the BMC nothing and opens nothing.
        const PING: [u8; 12] = [0x06, 0x00, 0xff, 0x06, 0x00, 0x00, 0x11, 0xbe, 0x80, 0x00, 0x00, 0x00];
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let _ = socket.send_to(&PING, self.address);
            if socket.recv(&mut [0; 64]).is_ok() {
                return;
            }
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "ipmi_sim does not answer: {}", self.read("log"));
        }
    }

    /// What a file of the machine's directory says.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap().trim().to_owned()
    }

    /// How the BMC is reached by us.
    pub fn target(&self) -> BmcTarget {
        self.target_as(USER, PASSWORD)
    }

    /// The same with other credentials.
    pub fn target_as(&self, user: &str, password: &str) -> BmcTarget {
        BmcTarget::new(self.address, user, password, Privilege::Administrator).unwrap()
    }

    /// What ipmitool says about the same BMC.
    pub fn ipmitool(&self, arguments: &[&str]) -> String {
        ipmitool(self.address, arguments)
    }
}

/// What ipmitool says about the BMC at `address`, as [`USER`], over cipher suite 3; the password goes through the environment.
pub fn ipmitool(address: SocketAddr, arguments: &[&str]) -> String {
    let output = Command::new("ipmitool")
        .args(["-I", "lanplus", "-C", "3", "-E", "-U", USER])
        .args(["-H", &address.ip().to_string(), "-p", &address.port().to_string()])
        // Nothing is lost on this wire: what takes long is a busy machine.
        .args(["-N", "10", "-R", "6"])
        .args(arguments)
        .env("IPMI_PASSWORD", PASSWORD)
        .output()
        .unwrap_or_else(|error| panic!("{}", missing("ipmitool", &error)));
    assert!(output.status.success(), "ipmitool {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

impl Drop for Sim {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
