//! Namespaces, bridges, veth pairs, taps, and the lab's two networks.
//!
//! ```text
//!   <p>-host  (Reveille's daemons and the QEMU processes)
//!     br-bmc   10.77.1.1/24 ──veth── eth0 in <p>-bmcN    a BMC, with a DHCP client of its own
//!     br-prov  10.77.2.1/24 ──tap─── a machine's NIC
//!              fd77::1/64   ──veth── eth0 in <p>-cN      a client program under test
//! ```
//! Nothing forwards between the two bridges: `ip_forward` is 0 and neither bridge holds a port of the other.
//! Every link is made inside a namespace; the machine that runs the lab sees no interface of it.

use std::net::Ipv4Addr;

use reveille_config::MacAddr;

use crate::error::LabError;
use crate::process::Program;
use crate::run::Run;
use crate::wait::Deadline;

/// The bridge of the BMC network.
pub const BMC_BRIDGE: &str = "br-bmc";
/// The bridge of the provisioning network.
pub const PROVISIONING_BRIDGE: &str = "br-prov";
/// The daemons' address on the BMC network, a /24.
pub const BMC_HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
/// The daemons' address on the provisioning network, a /24.
pub const PROVISIONING_HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 1);

/// A network namespace of a run, removed with the run.
#[derive(Debug, Clone)]
pub struct Namespace {
    run: Run,
    name: String,
}

impl Namespace {
    /// Makes `<prefix>-<name>`, with its loopback interface up and forwarding off.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn create(run: &Run, name: &str) -> Result<Self, LabError> {
        let namespace = Self { run: run.clone(), name: format!("{}-{name}", run.prefix()) };
        run.program("ip").args(["netns", "add", &namespace.name]).succeed(Deadline::secs(60))?;
        namespace.ip(&["link set lo up"])?;
        namespace.set("net/ipv4/ip_forward", "0")?;
        namespace.set("net/ipv6/conf/all/forwarding", "0")?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A program to be started in it.
    pub fn program(&self, program: impl Into<String>) -> Program {
        Program::new(&self.run, Some(&self.name), program)
    }

    /// Runs `ip` commands in it, in order, in one process: `ip(&["link set eth0 up"])`.
    ///
    /// # Errors
    /// At the first command that fails; the message names its line.
    pub fn ip(&self, commands: &[&str]) -> Result<(), LabError> {
        use std::io::Write;
        let mut batch = tempfile::NamedTempFile::new_in(self.run.dir()).map_err(LabError::io("write ip's commands"))?;
        batch.write_all((commands.join("\n") + "\n").as_bytes()).map_err(LabError::io("write ip's commands"))?;
        let program = self.run.program("ip").args(["-n", &self.name, "-batch"]).arg(batch.path());
        program.succeed(Deadline::secs(60)).map(drop).map_err(|error| match error {
            LabError::Failed { status, output, .. } => {
                LabError::Failed { tried: format!("ip -n {} with {commands:?}", self.name), status, output }
            }
            other => other,
        })
    }

    /// Writes `value` to `/proc/sys/<key>` of this namespace.
    ///
    /// # Errors
    /// When the kernel has no such key or refuses the value.
    pub fn set(&self, key: &str, value: &str) -> Result<(), LabError> {
        let script = format!("echo {value} >/proc/sys/{key}");
        self.program("sh").args(["-c", &script]).succeed(Deadline::secs(60)).map(drop)
    }

    /// Makes a bridge without spanning tree and with the IPv4 address `address/24`.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn bridge(&self, name: &str, address: Ipv4Addr) -> Result<(), LabError> {
        self.ip(&[
            &format!("link add {name} type bridge stp_state 0 forward_delay 0"),
            &format!("addr add {address}/24 dev {name}"),
            &format!("link set {name} up"),
        ])
    }

    /// Joins `other` to a bridge of this namespace by a veth pair: `port` here, `eth0` with `mac` there.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn join(&self, bridge: &str, port: &str, other: &Self, mac: MacAddr) -> Result<(), LabError> {
        self.ip(&[
            &format!("link add {port} type veth peer name eth0 address {mac} netns {}", other.name),
            &format!("link set {port} master {bridge} up"),
        ])?;
        other.ip(&["link set eth0 up"])
    }

    /// Makes a tap as a port of a bridge, for a QEMU machine.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn tap(&self, bridge: &str, name: &str) -> Result<(), LabError> {
        self.ip(&[&format!("tuntap add {name} mode tap"), &format!("link set {name} master {bridge} up")])
    }

    /// A handle of it, for a thread that shall enter it.
    ///
    /// # Errors
    /// When it is gone.
    pub fn handle(&self) -> Result<std::fs::File, LabError> {
        std::fs::File::open(format!("/run/netns/{}", self.name)).map_err(LabError::io(format!("open {}", self.name)))
    }

    /// Removes it now, with all interfaces in it. Programs in it must have ended.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn remove(self) -> Result<(), LabError> {
        self.run.program("ip").args(["netns", "del", &self.name]).succeed(Deadline::secs(60)).map(drop)
    }
}

/// The lab's layout: a BMC network and a provisioning network that never meet.
#[derive(Debug, Clone)]
pub struct TwoNetworks {
    run: Run,
    host: Namespace,
}

impl TwoNetworks {
    /// Makes the host's namespace and the two bridges.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn create(run: &Run) -> Result<Self, LabError> {
        let host = Namespace::create(run, "host")?;
        host.bridge(BMC_BRIDGE, BMC_HOST)?;
        host.bridge(PROVISIONING_BRIDGE, PROVISIONING_HOST)?;
        // Without `nodad` an address is not usable before the first port has come up and a second has passed.
        host.ip(&[
            &format!("addr add fd77::1/64 dev {PROVISIONING_BRIDGE} nodad"),
            &format!("addr add fe80::77:1/64 dev {PROVISIONING_BRIDGE} nodad"),
        ])?;
        Ok(Self { run: run.clone(), host })
    }

    /// The run.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The namespace of the daemons and the QEMU processes.
    pub fn host(&self) -> &Namespace {
        &self.host
    }

    /// A namespace `<p>-<name>` whose `eth0` with `mac` is on the BMC network. `name` has at most 11 characters.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn on_bmc_network(&self, name: &str, mac: MacAddr) -> Result<Namespace, LabError> {
        self.joined(BMC_BRIDGE, name, mac)
    }

    /// A namespace `<p>-<name>` whose `eth0` with `mac` is on the provisioning network. `name` has at most 11 characters.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn on_provisioning_network(&self, name: &str, mac: MacAddr) -> Result<Namespace, LabError> {
        self.joined(PROVISIONING_BRIDGE, name, mac)
    }

    fn joined(&self, bridge: &str, name: &str, mac: MacAddr) -> Result<Namespace, LabError> {
        let namespace = Namespace::create(&self.run, name)?;
        self.host.join(bridge, &format!("v-{name}"), &namespace, mac)?;
        Ok(namespace)
    }
}
