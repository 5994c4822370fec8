//! Client programs on the lab's networks: what other people wrote to speak with servers like ours.
//!
//! Each [`Client`] is a namespace of its own with one interface, `eth0`. Nothing a client program leases is put on an
//! interface unless asked for ([`Client::configure`]), and no program's script may touch the machine's resolver.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use reveille_config::MacAddr;

use crate::bmc::variables;
use crate::error::LabError;
use crate::log::Log;
use crate::net::{Namespace, TwoNetworks};
use crate::process::{Output, Process, Program, find};
use crate::run::Run;
use crate::wait::Deadline;

/// Writes what a DHCP client learned to `$LEASE`, whole or not at all, and does nothing else.
const WRITE_DOWN: &str = "#!/bin/sh
case ${reason:-$1} in
PREINIT | deconfig) ip link set \"$interface\" up ;;
BOUND | RENEW | REBIND | REBOOT | bound | renew) env >\"$LEASE.new\" && mv \"$LEASE.new\" \"$LEASE\" ;;
esac
exit 0
";

/// A namespace with client programs on one of the lab's networks.
#[derive(Debug)]
pub struct Client {
    run: Run,
    name: String,
    namespace: Namespace,
}

/// What a DHCP client learned.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// Everything, by the client program's own names: udhcpc's `router`, dhclient's `new_routers`.
    pub variables: BTreeMap<String, String>,
}

impl Lease {
    /// The value of a variable, or nothing: `lease.get("bootfile")`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }
}

impl Client {
    /// A client on the provisioning network. `name` has at most 11 characters.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn on_provisioning_network(networks: &TwoNetworks, name: &str, mac: MacAddr) -> Result<Self, LabError> {
        let namespace = networks.on_provisioning_network(name, mac)?;
        Ok(Self { run: networks.run().clone(), name: name.to_owned(), namespace })
    }

    /// A client on the BMC network. `name` has at most 11 characters.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn on_bmc_network(networks: &TwoNetworks, name: &str, mac: MacAddr) -> Result<Self, LabError> {
        let namespace = networks.on_bmc_network(name, mac)?;
        Ok(Self { run: networks.run().clone(), name: name.to_owned(), namespace })
    }

    /// A client whose `eth0` is on a bridge of any namespace. `name` has at most 11 characters.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn on_bridge(run: &Run, host: &Namespace, bridge: &str, name: &str, mac: MacAddr) -> Result<Self, LabError> {
        let namespace = Namespace::create(run, name)?;
        host.join(bridge, &format!("v-{name}"), &namespace, mac)?;
        Ok(Self { run: run.clone(), name: name.to_owned(), namespace })
    }

    /// A program to be started here.
    pub fn program(&self, program: impl Into<String>) -> Program {
        self.namespace.program(program)
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Puts an address on its interface, with a default route if there is a router.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn configure(&self, address: Ipv4Addr, prefix_len: u8, router: Option<Ipv4Addr>) -> Result<(), LabError> {
        self.namespace.ip(&[&format!("addr replace {address}/{prefix_len} dev eth0")])?;
        match router {
            Some(router) => self.namespace.ip(&[&format!("route replace default via {router}")]),
            None => Ok(()),
        }
    }

    /// Leases an address with busybox's udhcpc, with further arguments, and ends it without a release.
    ///
    /// # Errors
    /// When it gets no lease after thirty tries a second apart.
    pub fn udhcpc(&self, args: &[&str]) -> Result<Lease, LabError> {
        let lease = self.new_lease_file("udhcpc")?;
        let program = self.program("busybox").args(["udhcpc", "-f", "-n", "-q", "-t", "30", "-T", "1", "-i", "eth0"]);
        let program = program.arg("-s").arg(self.script()?).args(args).env("LEASE", &lease);
        program.succeed(Deadline::secs(60))?;
        read_lease(&lease, "ip")
    }

    /// Leases an address with ISC's dhclient and leaves it running, so that it renews. `configuration` is its
    /// `dhclient.conf`. What it leased before it asks for again.
    ///
    /// # Errors
    /// When it gets no lease by the deadline.
    pub fn dhclient(&self, configuration: &str, deadline: Deadline) -> Result<(Lease, Process), LabError> {
        let lease = self.new_lease_file("dhclient")?;
        self.run.write(format!("{}/dhclient/dhclient.conf", self.name), configuration)?;
        let name = format!("{}-dhclient", self.name);
        let log = Log::at(self.run.path(format!("log/{name}.log"))).from_here();
        let mut process = self.dhclient_program()?.args(["-1", "eth0"]).start(&name)?;
        let awaited = "dhclient to lease an address";
        deadline.until(awaited, || {
            process.still_runs(awaited)?;
            // It tells its script first, then writes the lease into its own file, and says so at last.
            Ok(log.find("bound to ")?.filter(|_| lease.exists()))
        })?;
        Ok((read_lease(&lease, "new_ip_address")?, process))
    }

    /// Waits until dhclient has told its script this reason (`RENEW`, `REBIND`, …), and gives what it told with it.
    ///
    /// # Errors
    /// [`LabError::Late`].
    pub fn dhclient_tells(&self, reason: &str, deadline: Deadline) -> Result<Lease, LabError> {
        let path = self.run.path(format!("{}/dhclient.lease", self.name));
        deadline.until(&format!("dhclient to tell {reason}"), || {
            let lease = if path.exists() { Some(read_lease(&path, "new_ip_address")?) } else { None };
            Ok(lease.filter(|lease| lease.get("reason") == Some(reason)))
        })
    }

    /// Has dhclient give its lease back. The one that runs must have ended.
    ///
    /// # Errors
    /// When it fails.
    pub fn dhclient_release(&self) -> Result<(), LabError> {
        self.dhclient_program()?.args(["-r", "eth0"]).succeed(Deadline::secs(60)).map(drop)
    }

    fn dhclient_program(&self) -> Result<Program, LabError> {
        let path = |name: &str| self.run.path(format!("{}/dhclient/{name}", self.name));
        // Debian confines /sbin/dhclient by its path to the system's own files: a copy is not confined.
        let copy = path("dhclient");
        if !copy.exists() {
            fs::copy(find("dhclient")?, &copy).map_err(LabError::io("copy dhclient"))?;
        }
        let lease = self.run.path(format!("{}/dhclient.lease", self.name));
        let program = self.program(copy.display().to_string()).args(["-4", "-d", "-v", "-cf"]);
        let program = program.arg(path("dhclient.conf")).arg("-sf").arg(self.script()?).arg("-lf").arg(path("leases"));
        Ok(program.arg("-pf").arg(path("pid")).arg("-e").arg(format!("LEASE={}", lease.display())))
    }

    /// Asks which DHCP servers there are, with nmap's `broadcast-dhcp-discover`, and gives its report. The interface
    /// needs an address first ([`Self::configure`]): nmap passes over one that has none.
    ///
    /// # Errors
    /// When nmap fails.
    pub fn nmap_dhcp_discover(&self) -> Result<String, LabError> {
        let program = self.program("nmap").args(["-e", "eth0", "--script", "broadcast-dhcp-discover"]);
        program.args(["--script-args", "broadcast-dhcp-discover.timeout=3"]).succeed(Deadline::secs(60))
    }

    /// Fetches a file by TFTP with tftp-hpa.
    ///
    /// # Errors
    /// When it fails; the message holds the server's own words.
    pub fn tftp_hpa(&self, server: Ipv4Addr, file: &str, deadline: Deadline) -> Result<Vec<u8>, LabError> {
        let local = self.new_file("tftp-hpa")?;
        let program = self.program("tftp").args(["-4", "-m", "octet", &server.to_string(), "-c", "get", file]);
        let output = program.arg(&local).output(deadline)?;
        // It exits with 0 after some errors, and says so only in words.
        if output.stdout.contains("Error code") || output.stderr.contains("Error code") {
            let answer = format!("{}{}", output.stdout, output.stderr).trim().to_owned();
            return Err(LabError::Answer { tried: format!("tftp-hpa: get {file} from {server}"), answer });
        }
        output.success()?;
        fs::read(&local).map_err(LabError::io(format!("read {}", local.display())))
    }

    /// Fetches a file by TFTP with atftp and the given options, as `("blksize", "1428")`.
    ///
    /// # Errors
    /// When it fails.
    pub fn atftp(
        &self,
        server: Ipv4Addr,
        file: &str,
        options: &[(&str, &str)],
        deadline: Deadline,
    ) -> Result<Vec<u8>, LabError> {
        let local = self.new_file("atftp")?;
        let mut program = self.program("atftp");
        for (name, value) in options {
            program = program.arg("--option").arg(format!("{name} {value}"));
        }
        let program = program.args(["--get", "-r", file, "-l"]).arg(&local).arg(server.to_string());
        program.succeed(deadline)?;
        fs::read(&local).map_err(LabError::io(format!("read {}", local.display())))
    }

    /// Runs curl quietly but for errors, whatever its exit status.
    ///
    /// # Errors
    /// When it cannot be run or is not done by the deadline.
    pub fn curl(&self, args: &[&str], deadline: Deadline) -> Result<Output, LabError> {
        self.program("curl").args(["-sS", "--noproxy", "*"]).args(args).output(deadline)
    }

    fn script(&self) -> Result<PathBuf, LabError> {
        self.run.write_program(format!("{}/write-down.sh", self.name), WRITE_DOWN)
    }

    fn new_lease_file(&self, program: &str) -> Result<PathBuf, LabError> {
        self.new_file(&format!("{program}.lease"))
    }

    /// The path of a file that does not exist.
    fn new_file(&self, name: &str) -> Result<PathBuf, LabError> {
        let path = self.run.path(format!("{}/{name}", self.name));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(LabError::io(format!("remove {}", path.display()))(error))
            }
            _ => Ok(path),
        }
    }
}

fn read_lease(path: &PathBuf, address: &str) -> Result<Lease, LabError> {
    let text = fs::read_to_string(path).map_err(LabError::io(format!("read the lease {}", path.display())))?;
    let variables = variables(&text);
    match variables.get(address).and_then(|text| text.parse().ok()) {
        Some(address) => Ok(Lease { address, variables }),
        None => Err(LabError::Answer { tried: format!("read the lease {}", path.display()), answer: text }),
    }
}
