//! The stage: two namespaces joined by a veth pair, a server in one and the load in the other, each on its own core.

mod boot;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use reveille_config::MacAddr;
use reveille_lab::{Deadline, Namespace, Process, Program, Run};
use tokio::signal::unix::{SignalKind, signal};

use crate::contender::{self, Contender, INTERFACE, Ours, SERVER};
use crate::generate::{Outcome, Phase};

pub use boot::{BootServer, HTTP_PORT};

/// The server's core; the generator has the other.
const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";
/// The shortest sleep of a load that shares its core.
const SLEEP_MICROS: u64 = 100;
/// The nice value of every contender and of the load alike: what else runs on the machine waits, as far as it may, until a turn is over.
const NICE: &str = "-15";
/// The relay that the clients are behind.
pub const RELAY: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 2);
/// Another relay there, for machines that ask beside the load.
pub const SECOND_RELAY: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 3);
const SERVER_MAC: MacAddr = MacAddr([0x02, 0x64, 0, 0, 0, 1]);
const RELAY_MAC: MacAddr = MacAddr([0x02, 0x64, 0, 0, 0, 2]);

/// Where clients are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// Behind the relay.
    Relayed,
    /// Behind the relay, which uses segmentation offload.
    Offloaded,
    /// On the server's link.
    Direct,
}

/// Two namespaces, and what was started in them.
pub struct Stage {
    /// The run that all belongs to.
    pub run: Run,
    server: Namespace,
    load: Namespace,
    reveille: PathBuf,
    started: u32,
}

/// A server that serves.
pub struct Server {
    /// Its process.
    pub process: Process,
    /// Its state directory.
    pub state: PathBuf,
    /// From its start until it served.
    pub ready_after: Duration,
}

impl Server {
    /// Ends it in good order.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.process.stop(Duration::from_secs(10))?;
        // A million leases a turn would fill the disk.
        std::fs::remove_dir_all(&self.state).context("cannot remove a server's state")
    }
}

impl Stage {
    /// Builds the stage; everything goes when it is dropped.
    ///
    /// # Errors
    /// This is not root, or the program is not built.
    pub fn build(reveille: &Path) -> anyhow::Result<Self> {
        let reveille = reveille.canonicalize().with_context(|| format!("{}: build it first", reveille.display()))?;
        let run = Run::start()?;
        note_signals();
        run.end_on_signals();
        let (server, load) = (Namespace::create(&run, "server")?, Namespace::create(&run, "load")?);
        for namespace in [&server, &load] {
            namespace.set("net/ipv6/conf/all/disable_ipv6", "1")?;
        }
        server.ip(&[
            &format!(
                "link add {INTERFACE} address {SERVER_MAC} type veth peer name eth0 address {RELAY_MAC} netns {}",
                load.name()
            ),
            &format!("addr add {SERVER}/10 dev {INTERFACE}"),
            &format!("link set {INTERFACE} up"),
        ])?;
        for relay in [RELAY, SECOND_RELAY] {
            load.ip(&[&format!("addr add {relay}/10 dev eth0")])?;
        }
        load.ip(&["link set eth0 up"])?;
        Ok(Self { run, server, load, reveille, started: 0 })
    }

    /// Starts a contender with an empty table and waits until it serves.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(&mut self, contender: Contender) -> anyhow::Result<Server> {
        let state = self.new_state(contender.key())?;
        self.start_in(contender, &state, Ours::default(), SERVER_CORE)
    }

    /// The program under test.
    pub fn reveille(&self) -> &Path {
        &self.reveille
    }

    /// A new empty state directory.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new_state(&mut self, name: &str) -> anyhow::Result<PathBuf> {
        wait_if_ending();
        self.started += 1;
        let state = self.run.path(format!("{name}-{}", self.started));
        std::fs::create_dir_all(&state)?;
        Ok(state)
    }

    /// Starts our dhcpd on `cores` with a set-up of its own.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_ours(&mut self, ours: Ours, cores: &str) -> anyhow::Result<Server> {
        let state = self.new_state("reveille")?;
        self.start_in(Contender::Reveille, &state, ours, cores)
    }

    /// Starts a contender on what `state` holds.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_in(&mut self, contender: Contender, state: &Path, ours: Ours, cores: &str) -> anyhow::Result<Server> {
        let config = state.with_extension("conf");
        let pinned = self.pinned(cores);
        let (program, line) = match contender {
            Contender::Ceiling | Contender::CeilingOffload => {
                let program = pinned.arg(std::env::current_exe()?).args(["respond", "--address", &SERVER.to_string()]);
                (if contender.offload() { program.arg("--offload") } else { program }, "ready")
            }
            Contender::Reveille | Contender::ReveilleDefault | Contender::ReveilleOffload => {
                let ours = Ours { segmentation: contender.segmentation(), ..ours };
                std::fs::write(&config, contender::reveille(state, ours))?;
                (pinned.arg(&self.reveille).args(["dhcpd", "--log", "info", "--config"]).arg(&config), "ready")
            }
            Contender::KeaSingle | Contender::KeaMulti => {
                std::fs::write(&config, contender::kea(state, contender == Contender::KeaMulti))?;
                let program = pinned.arg(reveille_lab::process::find("kea-dhcp4")?).arg("-c").arg(&config);
                let pid_dir = self.run.dir().to_owned();
                (program.env("KEA_PIDFILE_DIR", pid_dir).env("KEA_LOCKFILE_DIR", "none"), "DHCP4_STARTED")
            }
            Contender::IscDhcpd => {
                std::fs::write(&config, contender::isc_dhcpd())?;
                let leases = state.join("leases");
                std::fs::write(&leases, "")?;
                let program = pinned.arg(reveille_lab::process::find("dhcpd")?).args(["-4", "-f", "-cf"]);
                let program = program.arg(&config).arg("-lf").arg(&leases).arg("-pf").arg(state.join("pid"));
                (program.arg(INTERFACE), "Sending on   LPF")
            }
            Contender::Dnsmasq => {
                let program = pinned.arg(reveille_lab::process::find("dnsmasq")?).args(contender::dnsmasq(state));
                (program, "DHCP, IP range")
            }
        };
        self.watch(program, contender.key(), state, line)
    }

    /// Starts our dhcpd on a disk that is slow while the file `slow` below its state directory exists.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_on_slow_disk(&mut self, delay: Duration) -> anyhow::Result<(Server, PathBuf)> {
        let state = self.new_state("slow")?;
        let (config, slow) = (state.with_extension("conf"), state.join("slow"));
        std::fs::write(&config, contender::reveille(&state, Ours::default()))?;
        let program = self.pinned(SERVER_CORE).arg(std::env::current_exe()?).args(["serve-slow", "--delay-millis"]);
        let program = program.arg(delay.as_millis().to_string()).arg("--while").arg(&slow).arg("--config").arg(&config);
        Ok((self.watch(program, "serve-slow", &state, "ready")?, slow))
    }

    fn pinned(&self, cores: &str) -> Program {
        pinned(&self.server, cores)
    }

    fn watch(&mut self, program: Program, name: &str, state: &Path, line: &str) -> anyhow::Result<Server> {
        wait_if_ending();
        self.started += 1;
        let begin = Instant::now();
        let mut process = program.start(&format!("{name}-{}", self.started))?;
        process.wait_for_line(line, Deadline::secs(60).every(Duration::from_millis(5)))?;
        Ok(Server { process, state: state.to_owned(), ready_after: begin.elapsed() })
    }

    /// Loads whoever serves, phase by phase; fails at the first answer that must not be.
    ///
    /// # Errors
    /// The server is dead or answers wrongly.
    pub fn load(&self, server: &Server, clients: Clients, plan: &[Phase]) -> anyhow::Result<Vec<Outcome>> {
        let deadline = deadline(plan);
        let printed = self.generator(server, clients, plan)?.succeed(deadline)?;
        outcomes(&printed)
    }

    /// Like [`Self::load`], with something done when a phase begins.
    ///
    /// # Errors
    /// Like [`Self::load`]'s.
    pub fn load_with(
        &mut self,
        server: &mut Server,
        clients: Clients,
        plan: &[Phase],
        at: impl FnMut(&mut Server, &str) -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<Outcome>> {
        let generator = self.generator(server, clients, plan)?;
        self.carry_out(generator, server, plan, at)
    }

    /// Like [`Self::load_with`], where the load shares its core with others ([`Self::conduct`]): it comes first there, but never spins. Its clients' numbers begin with `first`.
    ///
    /// # Errors
    /// Like [`Self::load`]'s.
    pub fn load_beside(
        &mut self,
        server: &mut Server,
        first: u32,
        plan: &[Phase],
        at: impl FnMut(&mut Server, &str) -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<Outcome>> {
        let program = self.load.program("chrt").args(["--fifo", "1", "taskset", "-c", LOAD_CORE]);
        let generator = self.generator_by(program, server, Clients::Relayed, plan)?;
        let generator = generator.args([format!("--first={first}"), format!("--sleep-micros={SLEEP_MICROS}")]);
        self.carry_out(generator, server, plan, at)
    }

    fn carry_out(
        &mut self,
        generator: Program,
        server: &mut Server,
        plan: &[Phase],
        mut at: impl FnMut(&mut Server, &str) -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<Outcome>> {
        self.started += 1;
        let deadline = deadline(plan);
        let mut generator = generator.start(&format!("load-{}", self.started))?;
        for phase in plan {
            generator.wait_for_line(&format!("phase {}", phase.name), deadline)?;
            at(server, &phase.name)?;
        }
        let status = generator.wait(deadline)?;
        let printed = std::fs::read_to_string(generator.log().path())?;
        if !status.success() {
            bail!("the generator failed: {printed}");
        }
        outcomes(&printed)
    }

    fn generator(&self, server: &Server, clients: Clients, plan: &[Phase]) -> anyhow::Result<Program> {
        self.generator_by(pinned(&self.load, LOAD_CORE), server, clients, plan)
    }

    fn generator_by(&self, by: Program, server: &Server, clients: Clients, plan: &[Phase]) -> anyhow::Result<Program> {
        let program = by.arg(std::env::current_exe()?).args([
            "generate".to_owned(),
            format!("--server={SERVER}"),
            format!("--server-pid={}", server.process.pid()),
            format!("--plan={}", serde_json::to_string(plan)?),
        ]);
        Ok(match clients {
            Clients::Relayed => program.arg(format!("--relay={RELAY}")),
            Clients::Offloaded => program.arg(format!("--relay={RELAY}")).arg("--offload"),
            Clients::Direct => program.args(["--interface=eth0", &format!("--server-mac={SERVER_MAC}")]),
        })
    }

    /// A conductor of `server` beside the load, on its core.
    ///
    /// # Errors
    /// This program cannot be found.
    pub fn conduct(&self, server: &Server, task: &[String]) -> anyhow::Result<Program> {
        let program = pinned(&self.load, LOAD_CORE).arg(std::env::current_exe()?);
        Ok(program.args(["conduct", "--socket"]).arg(server.state.join("dhcpd.sock")).args(task))
    }

    /// A program beside the load, on its core.
    pub fn beside(&self, program: &str) -> Program {
        pinned(&self.load, LOAD_CORE).arg(program)
    }
}

/// Whether a signal has come: the run is being taken down.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Notes the signals that end the run, so that nothing new is begun while it is taken down.
fn note_signals() {
    std::thread::spawn(|| {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        runtime.block_on(async {
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            let Ok(mut signals) = kinds.into_iter().map(signal).collect::<Result<Vec<_>, _>>() else { return };
            let [interrupt, terminate, hangup] = &mut signals[..] else { return };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            ENDING.store(true, Ordering::Release);
        });
    });
}

/// Once the run is being taken down, the thread that takes it down ends the process too: this one waits for that.
pub fn wait_if_ending() {
    while ENDING.load(Ordering::Acquire) {
        std::thread::park();
    }
}

fn deadline(plan: &[Phase]) -> Deadline {
    Deadline::secs(plan.iter().map(|phase| phase.millis / 1000 + 2).sum::<u64>() + 30)
}

fn outcomes(printed: &str) -> anyhow::Result<Vec<Outcome>> {
    let lines = printed.lines().filter(|line| line.starts_with('{'));
    let outcomes: Vec<Outcome> = lines
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .with_context(|| format!("the generator printed: {printed}"))?;
    if let Some((name, what)) = outcomes.iter().find_map(|o| Some((&o.name, o.first_violation.as_ref()?))) {
        let count: u64 = outcomes.iter().map(|outcome| outcome.violations).sum();
        bail!("{count} wrong answers, the first in the phase {name}: {what}");
    }
    Ok(outcomes)
}

/// What runs in a namespace on these cores, before whatever else the machine does.
fn pinned(namespace: &Namespace, cores: &str) -> Program {
    namespace.program("nice").args(["-n", NICE, "taskset", "-c", cores])
}
