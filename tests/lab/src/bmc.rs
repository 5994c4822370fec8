//! BMC simulators: OpenIPMI's `ipmi_sim` on an address leased like a real BMC leases its own.
//!
//! In a namespace of its own on the BMC network, a DHCP client asks for an address for as long as it takes. Only then
//! does the simulator start, on exactly that address. Its chassis commands drive a [`Machine`], which runs in the
//! host's namespace: a hook passes each request over a unix socket to a thread here.
//!
//! It does not know persistent boot devices: the simulator does not pass the flag on, so every one is one-shot.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use reveille_config::MacAddr;

use crate::error::LabError;
use crate::machine::{BootDevice, Machine};
use crate::net::{Namespace, TwoNetworks};
use crate::process::Process;
use crate::wait::Deadline;

/// IPMI over LAN's port (IPMI 2.0, section 13.1.1).
const RMCP_PORT: u16 = 623;

/// How often the attendant looks whether the lease has changed or the simulator has ended.
const ATTENDANCE: Duration = Duration::from_millis(100);

/// A BMC as it would be ordered.
#[derive(Clone)]
pub struct BmcSpec {
    /// Its name: of its namespace, its directory and its logs. At most 11 characters.
    pub name: String,
    /// The hardware address from which it asks for an address.
    pub mac: MacAddr,
    /// The DHCP vendor class it sends (option 60).
    pub vendor_class: String,
    /// The IPMI user, an administrator.
    pub user: String,
    /// The user's password, at most 16 bytes, without quotes. The simulator's configuration file holds it.
    pub password: String,
}

impl BmcSpec {
    /// The lab's BMC number `n`.
    pub fn numbered(n: u8) -> Self {
        Self {
            name: format!("bmc{n}"),
            mac: MacAddr([0x52, 0x54, 0x00, 0x77, 0x01, n]),
            vendor_class: "reveille-lab-bmc".to_owned(),
            user: "admin".to_owned(),
            password: format!("lab-password-{n}"),
        }
    }
}

impl std::fmt::Debug for BmcSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BmcSpec({} {} {})", self.name, self.mac, self.user)
    }
}

/// A running BMC. Dropping it cuts its power; the machine it drives stays as it is.
#[derive(Debug)]
pub struct Bmc {
    spec: BmcSpec,
    networks: TwoNetworks,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    namespace: Namespace,
    machine: Machine,
    stopping: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    address: Option<Ipv4Addr>,
    simulator: Option<Process>,
    /// What kept the simulator from running, for whoever waits for it.
    trouble: Option<String>,
    /// Requests of the simulator so far.
    requests: Vec<String>,
}

impl Bmc {
    /// Plugs in a BMC that drives `machine`. It returns at once; the BMC asks for an address from now on.
    ///
    /// # Errors
    /// When a program is missing or the namespace cannot be made.
    pub fn plug_in(networks: &TwoNetworks, spec: BmcSpec, machine: &Machine) -> Result<Self, LabError> {
        let run = networks.run();
        crate::process::find("ipmi_sim")?;
        let namespace = networks.on_bmc_network(&spec.name, spec.mac)?;
        let dir = run.path(format!("{}/hook.sock", spec.name)).parent().expect("has a directory").to_owned();
        run.write_program(dir.join("hook.pl"), include_str!("hook.pl"))?;
        let script = run.write_program(dir.join("dhcp.sh"), include_str!("bmc-dhcp.sh"))?;
        let hook = dir.join("hook.sock");
        let listener = UnixListener::bind(&hook).map_err(LabError::io(format!("listen at {}", hook.display())))?;
        let dhcp = namespace
            .program("busybox")
            .args(["udhcpc", "-f", "-i", "eth0", "-t", "3", "-T", "1", "-A", "1"])
            .args(["-V", &spec.vendor_class, "-x", &format!("hostname:{}", spec.name), "-s"])
            .arg(script)
            .env("DIRECTORY", &dir)
            .start(&format!("{}-dhcp", spec.name))?;
        let state = Mutex::default();
        let machine = machine.clone();
        let shared = Arc::new(Shared { dir, namespace, machine, stopping: AtomicBool::new(false), state });
        let threads = vec![
            std::thread::spawn({
                let shared = shared.clone();
                move || shared.serve_hook(&listener)
            }),
            std::thread::spawn({
                let (shared, spec) = (shared.clone(), spec.clone());
                move || shared.attend(&spec, dhcp)
            }),
        ];
        Ok(Self { spec, networks: networks.clone(), shared, threads })
    }

    /// What it is.
    pub fn spec(&self) -> &BmcSpec {
        &self.spec
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.shared.namespace
    }

    /// Waits until it has leased an address and answers IPMI on it.
    ///
    /// # Errors
    /// [`LabError::Late`], saying how far it came.
    pub fn wait_ready(&self, deadline: Deadline) -> Result<Ipv4Addr, LabError> {
        let awaited = format!("the BMC {} ({}) to answer IPMI", self.spec.name, self.spec.mac);
        let ready = deadline.until(&awaited, || Ok(self.shared.listening()));
        ready.map_err(|_| {
            let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            let seen = match (state.address, &state.trouble) {
                (None, _) => "it has leased no address".to_owned(),
                (Some(address), None) => format!("it has leased {address}"),
                (Some(address), Some(trouble)) => format!("it has leased {address}; {trouble}"),
            };
            deadline.late_seeing(awaited.clone(), seen)
        })
    }

    /// Runs `ipmitool` against it from the host's namespace, with cipher suite 3.
    ///
    /// # Errors
    /// When it has no address yet or `ipmitool` fails.
    pub fn ipmitool(&self, args: &[&str]) -> Result<String, LabError> {
        let address = self.wait_ready(Deadline::secs(60))?;
        let program =
            self.networks.host().program("ipmitool").args(["-I", "lanplus", "-C", "3", "-U", &self.spec.user]);
        let program = program.args(["-E", "-H", &address.to_string()]).env("IPMI_PASSWORD", &self.spec.password);
        program.args(args).succeed(Deadline::secs(60))
    }

    /// What the simulator has asked the machine for so far, e.g. `set power 1`.
    pub fn requests(&self) -> Vec<String> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).requests.clone()
    }

    /// Pulls its network cable, or plugs it in again.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn set_cable(&self, plugged: bool) -> Result<(), LabError> {
        let state = if plugged { "up" } else { "down" };
        self.networks.host().ip(&[&format!("link set v-{} {state}", self.spec.name)])
    }
}

impl Drop for Bmc {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        // Wakes the hook's thread from its accept.
        let _ = UnixStream::connect(self.shared.dir.join("hook.sock"));
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Keeps the simulator running on the leased address until the BMC is dropped.
    fn attend(&self, spec: &BmcSpec, mut dhcp: Process) {
        while !self.stopping.load(Ordering::Acquire) {
            let leased = leased_address(&self.dir.join("lease"));
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if leased != state.address {
                state.simulator = None;
                state.address = leased;
            }
            if let Some(error) = state.simulator.as_mut().and_then(|sim| sim.still_runs("the BMC's end").err()) {
                state.trouble = Some(error.to_string());
                state.simulator = None;
            }
            if let (Some(address), None) = (state.address, &state.simulator) {
                match self.simulate(spec, address) {
                    Ok(simulator) => state.simulator = Some(simulator),
                    Err(error) => state.trouble = Some(error.to_string()),
                }
            }
            if let Err(error) = dhcp.still_runs("the BMC's end") {
                state.trouble = Some(error.to_string());
            }
            drop(state);
            std::thread::park_timeout(ATTENDANCE);
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner).simulator = None;
    }

    /// Starts the simulator on `address`.
    fn simulate(&self, spec: &BmcSpec, address: Ipv4Addr) -> Result<Process, LabError> {
        let write = |name: &str, content: String| {
            let path = self.dir.join(name);
            fs::write(&path, content).map_err(LabError::io(format!("write {}", path.display())))
        };
        write("lan.conf", self.lan_configuration(spec, address))?;
        write(
            "sim.emu",
            "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n\
             sel_enable 0x20 1000 0x0a\nmc_enable 0x20\n"
                .to_owned(),
        )?;
        let state = self.dir.join("state");
        fs::create_dir_all(&state).map_err(LabError::io("make the simulator's directory"))?;
        let program = self.namespace.program("ipmi_sim").arg("-n").arg("-s").arg(state);
        let program = program.arg("-c").arg(self.dir.join("lan.conf")).arg("-f").arg(self.dir.join("sim.emu"));
        program.start(&format!("{}-ipmi", spec.name))
    }

    fn lan_configuration(&self, spec: &BmcSpec, address: Ipv4Addr) -> String {
        let (user, password, dir) = (&spec.user, &spec.password, self.dir.display());
        let guid: String = spec.mac.octets().iter().map(|octet| format!("{octet:02x}")).collect();
        let auths: String = ["callback", "user", "operator", "admin"]
            .map(|level| format!("    allowed_auths_{level} none md2 md5 straight\n"))
            .concat();
        format!(
            "name \"{}\"\nset_working_mc 0x20\n  startlan 1\n    addr {address} {RMCP_PORT}\n    priv_limit admin\n\
             {auths}    guid a123456789abcdefa123{guid}\n  endlan\n\
             \x20 chassis_control \"{dir}/hook.pl {dir}/hook.sock\"\n\
             \x20 user 1 true \"\" \"\" user 10 none md2 md5 straight\n\
             \x20 user 2 true \"{user}\" \"{password}\" admin 10 none md2 md5 straight\n",
            spec.name
        )
    }

    /// The address, once the simulator has a socket on IPMI's port.
    fn listening(&self) -> Option<Ipv4Addr> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = state.simulator.as_ref()?.pid();
        // The process's own view: its namespace's sockets.
        let sockets = fs::read_to_string(format!("/proc/{pid}/net/udp")).ok()?;
        sockets.contains(&format!(":{RMCP_PORT:04X} ")).then_some(state.address).flatten()
    }

    /// Answers the simulator's chassis hook until the BMC is dropped.
    fn serve_hook(&self, listener: &UnixListener) {
        for stream in listener.incoming() {
            if self.stopping.load(Ordering::Acquire) {
                return;
            }
            let Ok(mut stream) = stream else { continue };
            let mut request = String::new();
            if BufReader::new(&stream).read_line(&mut request).is_err() {
                continue;
            }
            let request = request.trim();
            self.state.lock().unwrap_or_else(PoisonError::into_inner).requests.push(request.to_owned());
            let answer = match carry_out(&self.machine, request) {
                Ok(lines) => format!("ok\n{lines}"),
                Err(error) => format!("failed\n{error}\n"),
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    }
}

/// Carries out one request of the chassis hook and gives the lines it prints.
fn carry_out(machine: &Machine, request: &str) -> Result<String, LabError> {
    let words: Vec<&str> = request.split_whitespace().collect();
    match words.as_slice() {
        ["get", names @ ..] => names.iter().map(|name| get(machine, name)).collect(),
        ["set", "power", "1"] => machine.power_on().map(|()| String::new()),
        ["set", "power", "0"] => machine.power_off().map(|()| String::new()),
        ["set", "reset", _] => machine.reset().map(|()| String::new()),
        ["set", "shutdown", _] => machine.press_power_button().map(|()| String::new()),
        ["set", "boot", "pxe"] => {
            machine.set_boot(BootDevice::Pxe);
            Ok(String::new())
        }
        // The simulator says `default` for a disk too.
        ["set", "boot", _] => {
            machine.set_boot(BootDevice::Default);
            Ok(String::new())
        }
        ["check", ..] => Ok(String::new()),
        _ => Err(LabError::Answer { tried: "the chassis hook".to_owned(), answer: request.to_owned() }),
    }
}

fn get(machine: &Machine, name: &str) -> Result<String, LabError> {
    match name {
        "power" => Ok(format!("power:{}\n", u8::from(machine.is_on()?))),
        "boot" if machine.next_boot() == BootDevice::Pxe => Ok("boot:pxe\n".to_owned()),
        "boot" => Ok("boot:default\n".to_owned()),
        _ => Err(LabError::Answer { tried: "the chassis hook".to_owned(), answer: format!("get {name}") }),
    }
}

/// The address in a lease file that a DHCP client's script has written.
fn leased_address(path: &Path) -> Option<Ipv4Addr> {
    variables(&fs::read_to_string(path).ok()?).get("ip")?.parse().ok()
}

/// What `env` printed.
pub(crate) fn variables(text: &str) -> BTreeMap<String, String> {
    text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}
