//! The servers that are compared, each started the same way: in its own namespace, on its own core.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use reveille_config::MacAddr;
use reveille_lab::{Deadline, Namespace, Process, Run};

/// The server's core; the generator has the other.
const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);
pub const RELAY: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 2);

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    Reveille,
    Kea,
    Ceiling,
}

impl Contender {
    pub const ALL: [Self; 3] = [Self::Ceiling, Self::Kea, Self::Reveille];

    /// Its key in the results.
    pub fn key(self) -> &'static str {
        match self {
            Self::Reveille => "reveille",
            Self::Kea => "kea",
            Self::Ceiling => "ceiling",
        }
    }

    /// Whether an ACK of its survives a power cut.
    pub fn durable(self) -> bool {
        self == Self::Reveille
    }
}

/// Two namespaces joined by a veth pair.
pub struct Stage {
    run: Run,
    server: Namespace,
    load: Namespace,
    reveille: PathBuf,
    started: u32,
}

impl Stage {
    /// Builds the stage; everything goes when it is dropped.
    pub fn build(reveille: &Path) -> anyhow::Result<Self> {
        let run = Run::start()?;
        run.end_on_signals();
        let (server, load) = (Namespace::create(&run, "server")?, Namespace::create(&run, "load")?);
        server.bridge("br0", SERVER)?;
        server.ip(&[&format!("addr del {SERVER}/24 dev br0"), &format!("addr add {SERVER}/10 dev br0")])?;
        server.join("br0", "load0", &load, MacAddr([0x02, 0x64, 0, 0, 0, 2]))?;
        load.ip(&[&format!("addr add {RELAY}/10 dev eth0")])?;
        let reveille = reveille.canonicalize().with_context(|| format!("{}: build it first", reveille.display()))?;
        Ok(Self { run, server, load, reveille, started: 0 })
    }

    /// Starts a contender with an empty table and waits until it serves.
    pub fn start(&mut self, contender: Contender) -> anyhow::Result<Process> {
        self.started += 1;
        let name = format!("{}-{}", contender.key(), self.started);
        let pinned = self.server.program("taskset").args(["-c", SERVER_CORE]);
        let state = self.run.path(&name);
        std::fs::create_dir_all(&state)?;
        let (program, line) = match contender {
            Contender::Ceiling => {
                let own = std::env::current_exe()?;
                (pinned.arg(own).args(["respond", "--address", &SERVER.to_string()]), "ready")
            }
            Contender::Reveille => {
                let config = self.run.write(format!("{name}.toml"), reveille_config(&state))?;
                (pinned.arg(&self.reveille).args(["dhcpd", "--log", "info", "--config"]).arg(config), "ready")
            }
            Contender::Kea => {
                let config = self.run.write(format!("{name}.json"), kea_config(&state))?;
                let pid_dir = self.run.dir();
                let program = pinned.arg(reveille_lab::process::find("kea-dhcp4")?).arg("-c").arg(config);
                (program.env("KEA_PIDFILE_DIR", pid_dir).env("KEA_LOCKFILE_DIR", "none"), "DHCP4_STARTED")
            }
        };
        let mut process = program.start(&name)?;
        process.wait_for_line(line, Deadline::secs(30))?;
        Ok(process)
    }

    /// Loads whoever serves.
    pub fn load(&self, millis: u64, outstanding: u32, first: u32) -> anyhow::Result<crate::generate::Outcome> {
        let program = self.load.program("taskset").args(["-c", LOAD_CORE]).arg(std::env::current_exe()?).args([
            "generate".to_owned(),
            format!("--relay={RELAY}"),
            format!("--server={SERVER}"),
            format!("--millis={millis}"),
            format!("--outstanding={outstanding}"),
            format!("--first={first}"),
        ]);
        let printed = program.succeed(Deadline::secs(millis / 1000 + 30))?;
        serde_json::from_str(&printed).with_context(|| format!("the generator printed: {printed}"))
    }
}

fn reveille_config(state: &Path) -> String {
    let state = state.display();
    format!(
        r#"[dhcpd]
state_dir = "{state}"
api = ["unix:{state}/dhcpd.sock"]

[[dhcpd.scope]]
name = "load"
kind = "dynamic"
interface = "br0"
subnet = "10.64.0.0/10"
server_address = "{SERVER}"
pools = ["10.65.0.0-10.79.255.255"]
lease_secs = 3600
"#
    )
}

/// Kea as it is fastest: its in-memory file, never synced.
fn kea_config(state: &Path) -> String {
    let state = state.display();
    format!(
        r#"{{"Dhcp4": {{
  "interfaces-config": {{"interfaces": ["br0/{SERVER}"], "dhcp-socket-type": "udp"}},
  "lease-database": {{"type": "memfile", "persist": true, "name": "{state}/leases.csv", "lfc-interval": 0}},
  "multi-threading": {{"enable-multi-threading": true, "thread-pool-size": 1, "packet-queue-size": 1024}},
  "valid-lifetime": 3600,
  "loggers": [{{"name": "kea-dhcp4", "severity": "INFO", "output_options": [{{"output": "stdout"}}]}},
              {{"name": "kea-dhcp4.leases", "severity": "WARN"}}],
  "subnet4": [{{"subnet": "10.64.0.0/10", "pools": [{{"pool": "10.65.0.0 - 10.79.255.255"}}]}}]
}}}}
"#
    )
}
