//! [`Lab`]: the two networks with Reveille itself on them, and what is served to the machines.
//!
//! `reveille all` runs in the host's namespace from the binary it is given, with a configuration written here, and may be
//! killed and started again as a test likes. Its APIs are unix sockets below the run's directory, so that clients need
//! not be in the namespace; the Ironic API is on the namespace's loopback as well, for stock clients.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reveille_client::{Bootd, ClientError, Dhcpd, Ironic};
use reveille_config::Endpoint;

use crate::ask::Ask;
use crate::error::LabError;
use crate::net::TwoNetworks;
use crate::process::{Process, Program};
use crate::run::Run;
use crate::served::Served;
use crate::wait::Deadline;

/// The Ironic API on the loopback interface of the host's namespace.
pub const IRONIC_URL: &str = "http://127.0.0.1:6385";

/// The names under which the agent is served, and the configuration names it.
const AGENT_KERNEL: &str = "agent/kernel";
const AGENT_RAMDISK: &str = "agent/ramdisk";

/// How often the agent tries an image again, on its kernel line: it takes a wrong checksum for a broken download, and its own
/// default of nine tries, 10 s apart, would keep a lab waiting for minutes.
const AGENT_RETRIES: &str = "ipa-image-download-connection-retries=2 ipa-image-download-connection-retry-interval=3";

/// Debian's boot files that the configuration names, below [`IPXE_DIR`].
const IPXE_FILES: [&str; 3] = ["undionly.kpxe", "snponly.efi", "ipxe.efi"];
const IPXE_DIR: &str = "/usr/lib/ipxe";

/// What machines boot unless a test has it otherwise.
const BOOT_FILES: [(&str, &str); 4] = [
    ("bios", "undionly.kpxe"),
    ("efi_x64", "snponly.efi"),
    ("http_x64", "http://10.77.2.1:8080/snponly.efi"),
    ("ipxe", "http://10.77.2.1:8080/boot.ipxe"),
];

/// What a lab is started with.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// The `reveille` binary.
    pub reveille: PathBuf,
    /// The agent's kernel and ramdisk, where machines shall be deployed.
    pub agent: Option<(PathBuf, PathBuf)>,
    /// What dhcpd serves.
    pub served: Served,
    /// What machines are told to boot: the keys of `[dhcpd.scope.boot]`, of dhcpd's last scope.
    pub boot: BTreeMap<&'static str, String>,
    /// More files to serve, by their names below bootd's root.
    pub files: Vec<(String, PathBuf)>,
    /// Appended to the configuration: further keys of `[provisioner.timeouts]`, the last table of it, and more tables.
    pub configuration: String,
    /// What Reveille logs, e.g. `info`.
    pub log: String,
}

impl LabOptions {
    /// A lab for this binary, without an agent.
    pub fn new(reveille: impl Into<PathBuf>) -> Self {
        Self {
            reveille: reveille.into(),
            agent: None,
            served: Served::two_networks(),
            boot: BOOT_FILES.map(|(key, file)| (key, file.to_owned())).into(),
            files: Vec::new(),
            configuration: String::new(),
            log: "info".to_owned(),
        }
    }
}

/// Two networks and a running Reveille.
pub struct Lab {
    // Fields are dropped in this order: the daemons before their networks.
    reveille: Option<Process>,
    runtime: Ask,
    networks: TwoNetworks,
    options: LabOptions,
    config: PathBuf,
}

impl Lab {
    /// Starts a run, its networks and Reveille, and waits until all three daemons are ready.
    ///
    /// # Errors
    /// When a part does not start; Reveille's own words are quoted.
    pub fn start(options: LabOptions) -> Result<Self, LabError> {
        Self::start_in(Run::start()?, options)
    }

    /// The same in a run that has been started.
    ///
    /// # Errors
    /// Like [`Self::start`].
    pub fn start_in(run: Run, options: LabOptions) -> Result<Self, LabError> {
        let networks = TwoNetworks::create(&run)?;
        let root = run.path("root");
        let boot_files = IPXE_FILES.map(|name| (name.to_owned(), Path::new(IPXE_DIR).join(name)));
        let agent = options.agent.iter().flat_map(|(kernel, ramdisk)| {
            [(AGENT_KERNEL.to_owned(), kernel.clone()), (AGENT_RAMDISK.to_owned(), ramdisk.clone())]
        });
        fs::create_dir(&root).map_err(LabError::io(format!("make {}", root.display())))?;
        for (name, path) in boot_files.into_iter().chain(agent).chain(options.files.iter().cloned()) {
            serve(&path, &run.path(Path::new("root").join(name)))?;
        }
        let config = run.write("reveille.toml", configuration(run.dir(), &root, &options))?;
        let mut lab = Self { reveille: None, runtime: Ask::start()?, networks, options, config };
        lab.start_reveille()?;
        Ok(lab)
    }

    /// The run.
    pub fn run(&self) -> &Run {
        self.networks.run()
    }

    /// The networks.
    pub fn networks(&self) -> &TwoNetworks {
        &self.networks
    }

    /// Reveille's configuration file.
    pub fn config_path(&self) -> &Path {
        &self.config
    }

    /// The running `reveille all`, if it was not stopped.
    pub fn reveille(&mut self) -> Option<&mut Process> {
        self.reveille.as_mut()
    }

    /// Starts `reveille all` and waits until its three daemons are ready; does nothing while it runs.
    ///
    /// # Errors
    /// When it ends or is not ready in 30 s.
    pub fn start_reveille(&mut self) -> Result<(), LabError> {
        if let Some(reveille) = &mut self.reveille
            && reveille.ended()?.is_none()
        {
            return Ok(());
        }
        let program = self.networks.host().program(self.options.reveille.display().to_string()).arg("all");
        let program = program.arg("--config").arg(&self.config).args(["--log", &self.options.log]);
        let mut reveille = program.env("RUST_BACKTRACE", "1").start("reveille")?;
        let deadline = Deadline::secs(60);
        let mut seen = String::new();
        let ready = deadline.until("reveille to be ready", || {
            reveille.still_runs("reveille to be ready")?;
            let answers = self.ask(async {
                let (dhcpd, bootd, ironic) = (self.dhcpd(), self.bootd(), self.ironic());
                [("dhcpd", dhcpd.ready().await), ("bootd", bootd.ready().await), ("provisioner", ironic.ready().await)]
            });
            let waiting = answers.into_iter().find_map(|(name, answer)| match answer {
                Ok((200, _)) => None,
                Ok((status, why)) => Some(format!("{name}: {status} {}", why.trim())),
                Err(error) => Some(format!("{name}: {error}")),
            });
            seen = waiting.clone().unwrap_or_default();
            Ok(waiting.is_none().then_some(()))
        });
        ready.map_err(|error| match error {
            LabError::Late { .. } => deadline
                .late_seeing("reveille to be ready", format!("{seen}; the end of its log:\n{}", reveille.log().tail())),
            other => other,
        })?;
        self.reveille = Some(reveille);
        Ok(())
    }

    /// Kills `reveille all` as a power failure would (SIGKILL). Its state stays; [`Self::start_reveille`] goes on with it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill_reveille(&mut self) -> Result<(), LabError> {
        self.reveille.take().map_or(Ok(()), |mut reveille| reveille.kill().map(drop))
    }

    /// Stops `reveille all` in good order, 20 s at most.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn stop_reveille(&mut self) -> Result<(), LabError> {
        self.reveille.take().map_or(Ok(()), |mut reveille| reveille.stop(Duration::from_secs(20)).map(drop))
    }

    /// The `reveille` command line against this lab: `lab.cli(&["node", "list"])`.
    pub fn cli(&self, args: &[&str]) -> Program {
        let program = self.networks.host().program(self.options.reveille.display().to_string());
        program.env("REVEILLE_CONFIG", &self.config).args(args)
    }

    /// A client of dhcpd's API.
    pub fn dhcpd(&self) -> Dhcpd {
        Dhcpd::new(self.endpoint("dhcpd"))
    }

    /// A client of bootd's API.
    pub fn bootd(&self) -> Bootd {
        Bootd::new(self.endpoint("bootd"))
    }

    /// A client of the provisioner's Ironic API.
    pub fn ironic(&self) -> Ironic {
        Ironic::new(self.endpoint("provisioner"))
    }

    /// Waits for a client's answer: `lab.ask(lab.dhcpd().sightings())`.
    pub fn ask<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.ask(future)
    }

    /// Asks until a client's answer gives a value. An error of the transport counts as "not yet", a refusal as an error.
    ///
    /// # Errors
    /// A refusal, or [`LabError::Late`] with the last error.
    pub fn ask_until<T, A>(
        &self,
        awaited: &str,
        deadline: Deadline,
        ask: impl AsyncFn() -> Result<A, ClientError>,
        judge: impl Fn(A) -> Option<T>,
    ) -> Result<T, LabError> {
        self.runtime.ask_until(awaited, deadline, ask, judge)
    }

    fn endpoint(&self, daemon: &str) -> Endpoint {
        Endpoint::Unix(self.run().dir().join(format!("{daemon}.sock")))
    }
}

/// Reveille's configuration for the lab's two networks.
fn configuration(dir: &Path, root: &Path, options: &LabOptions) -> String {
    let (dhcpd, dir) = (options.served.toml(dir), dir.display());
    let deploy = match options.agent {
        Some(_) => format!("kernel = \"{AGENT_KERNEL}\"\nramdisk = \"{AGENT_RAMDISK}\"\n"),
        None => String::new(),
    };
    let boot: String = options.boot.iter().map(|(key, file)| format!("{key} = \"{file}\"\n")).collect();
    format!(
        r#"# Written by the lab; `reveille check --print` shows it with its defaults.

{dhcpd}
[dhcpd.scope.boot]
{boot}
[bootd]
state_dir = "{dir}/state/bootd"
api = ["unix:{dir}/bootd.sock"]
tftp = ["10.77.2.1:69"]
# GRUB 2.06 knows no other port than 80.
http = ["10.77.2.1:8080", "10.77.2.1:80"]
roots = ["{root}"]

[provisioner]
state_dir = "{dir}/state/provisioner"
api = ["unix:{dir}/provisioner.sock", "127.0.0.1:6385"]
agent_api = ["10.77.2.1:6385"]
agent_networks = ["10.77.2.0/24"]

[provisioner.deploy]
{deploy}kernel_append = "console=ttyS0 {AGENT_RETRIES}"

[provisioner.timeouts]
{more}"#,
        root = root.display(),
        more = options.configuration,
    )
}

/// Copies `from` to `to`: a link would let a test that damages what is served damage the cache or the system.
fn serve(from: &Path, to: &Path) -> Result<(), LabError> {
    let tried = format!("serve {} as {}", from.display(), to.display());
    fs::copy(from, to).map(drop).map_err(LabError::io(tried))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::served::ServedScope;

    #[test]
    fn the_configuration_has_no_mistake() {
        let root = tempfile::tempdir().unwrap();
        let proxy = ServedScope { is_proxy: true, pools: Vec::new(), ..ServedScope::provisioning() };
        let proxy = Served::of([ServedScope::bmc(), proxy]);
        let agent = Some(("kernel".into(), "ramdisk".into()));
        for (agent, served) in [(None, Served::two_networks()), (agent, Served::two_networks()), (None, proxy)] {
            let more = "deploy_callback_secs = 60\n".to_owned();
            let options = LabOptions { agent, served, configuration: more, ..LabOptions::new("reveille") };
            let text = configuration(root.path(), root.path(), &options);
            let config =
                reveille_config::Config::parse(&text, Path::new("lab.toml"), &reveille_config::environment::System);
            let config = config.unwrap_or_else(|mistakes| panic!("{text}\n{mistakes:#?}"));
            assert_eq!(config.provisioner.unwrap().timeouts.deploy_callback_secs, 60);
        }
    }
}
