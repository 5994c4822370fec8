//! The stage for boot servers: a hall of machines with an address each, and the servers that are compared.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reveille_lab::{Deadline, Program};

use super::{LOAD_CORE, NICE, RELAY, SERVER_CORE, Server, Stage, pinned, wait_if_ending};
use crate::contender::{INTERFACE, SERVER};
use crate::fetch::Fetched;

/// The first machine of the hall; there are 65,534.
const FIRST_MACHINE: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);
/// Where HTTP is served.
pub const HTTP_PORT: u16 = 8_080;
/// Open files that a server may have.
const DESCRIPTORS: u32 = 20_000;

/// Who serves boot files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BootServer {
    /// A bare recvmmsg/sendmmsg TFTP responder that remembers nothing; so many blocks at a time.
    Bare(u16),
    /// Ours.
    Reveille,
    /// tftpd-hpa, stand-alone.
    TftpdHpa,
    /// atftpd, stand-alone.
    Atftpd,
    /// dnsmasq.
    Dnsmasq,
    /// nginx with sendfile.
    Nginx,
}

impl BootServer {
    /// Its key in the results.
    pub fn key(self) -> &'static str {
        match self {
            Self::Bare(_) => "bare",
            Self::Reveille => "reveille",
            Self::TftpdHpa => "tftpd_hpa",
            Self::Atftpd => "atftpd",
            Self::Dnsmasq => "dnsmasq",
            Self::Nginx => "nginx",
        }
    }
}

impl Stage {
    /// Gives the load's side the hall's addresses.
    ///
    /// # Errors
    /// The system refuses.
    pub fn open_hall(&self) -> anyhow::Result<()> {
        self.load.ip(&["route replace local 172.16.0.0/16 dev lo"])?;
        self.server.ip(&[&format!("route replace 172.16.0.0/16 via {RELAY}")])?;
        Ok(())
    }

    /// Starts a boot server that serves the files of `root`, and waits until it listens. `peers`: where those that cannot be installed side by side
    /// are unpacked.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_boot(&mut self, who: BootServer, root: &Path, peers: &Path) -> anyhow::Result<Server> {
        let state = self.new_state(who.key())?;
        let pinned = self.server.program("prlimit");
        let pinned =
            pinned.args([&format!("--nofile={DESCRIPTORS}"), "nice", "-n", NICE, "taskset", "-c", SERVER_CORE]);
        let unpacked = |package: &str, name: &str| -> anyhow::Result<PathBuf> {
            let path = peers.join(package).join("usr/sbin").join(name);
            path.canonicalize().with_context(|| format!("{} is missing: `make bench` unpacks it", path.display()))
        };
        let program = match who {
            BootServer::Bare(window) => pinned
                .arg(std::env::current_exe()?)
                .args(["respond-tftp", &format!("--address={SERVER}:69"), &format!("--window={window}"), "--file"])
                .arg(root.join("boot.img")),
            BootServer::Reveille => {
                let config = state.with_extension("toml");
                std::fs::write(&config, reveille(&state, root))?;
                pinned.arg(&self.reveille).args(["bootd", "--log", "warn", "--config"]).arg(&config)
            }
            BootServer::TftpdHpa => {
                let address = format!("{SERVER}:69");
                pinned
                    .arg(unpacked("tftpd-hpa", "in.tftpd")?)
                    .args(["-L", "-u", "root", "-a", &address, "-s"])
                    .arg(root)
            }
            BootServer::Atftpd => pinned
                .arg(unpacked("atftpd", "atftpd")?)
                .args(["--daemon", "--no-fork", "--user", "root", "--group", "root", "--verbose=0", "--maxthread=5000"])
                .args(["--logfile=/dev/null", &format!("--bind-address={SERVER}")])
                .arg(root),
            BootServer::Dnsmasq => {
                let root = format!("--tftp-root={}", root.display());
                let pid = format!("--pid-file={}/pid", state.display());
                let program =
                    pinned.arg(reveille_lab::process::find("dnsmasq")?).args(["--conf-file=/dev/null", "--no-daemon"]);
                let program =
                    program.args(["--port=0", "--user=root", "--quiet-tftp", "--enable-tftp", "--tftp-max=5000"]);
                program.args(["--bind-interfaces", &format!("--interface={INTERFACE}"), &root, &pid])
            }
            BootServer::Nginx => {
                let config = state.join("nginx.conf");
                std::fs::write(&config, nginx(&state, root))?;
                let program = pinned.arg(reveille_lab::process::find("nginx")?).arg("-p").arg(&state);
                program.arg("-c").arg(&config).arg("-e").arg(state.join("errors"))
            }
        };
        wait_if_ending();
        let begin = Instant::now();
        let mut process = program.start(&format!("{}-{}", who.key(), self.started))?;
        let listeners = if who == BootServer::Nginx { ["-Htln", "sport = :8080"] } else { ["-Huln", "sport = :69"] };
        loop {
            process.still_runs("listens")?;
            if !self.server.program("ss").args(listeners).succeed(Deadline::secs(5))?.trim().is_empty() {
                break;
            }
            ensure!(begin.elapsed() < Duration::from_secs(20), "{} does not listen", who.key());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Server { process, state, ready_after: begin.elapsed() })
    }

    /// Ends a boot server and all that it has started: a child that still sends would disturb the next turn.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn stop_boot(&self, server: Server) -> anyhow::Result<()> {
        server.stop()?;
        let left = self.run.program("ip").args(["netns", "pids", self.server.name()]).succeed(Deadline::secs(5))?;
        for pid in left.split_whitespace().filter_map(|pid| pid.parse().ok()).filter_map(rustix::process::Pid::from_raw)
        {
            // It may end by itself meanwhile.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        Ok(())
    }

    /// Has machines of the hall fetch over TFTP.
    ///
    /// # Errors
    /// The server is dead.
    pub fn fetch_tftp(&self, server: &Server, file: &Path, arguments: &[String]) -> anyhow::Result<Fetched> {
        let program = self.fetcher("fetch-tftp", server, 69)?;
        let program = program.args([format!("--first={FIRST_MACHINE}"), "--name=boot.img".to_owned()]);
        fetched(program.arg("--file").arg(file).args(arguments))
    }

    /// Has connections fetch over HTTP.
    ///
    /// # Errors
    /// The server is dead, or answers wrongly.
    pub fn fetch_http(&self, server: &Server, arguments: &[String]) -> anyhow::Result<Fetched> {
        fetched(self.fetcher("fetch-http", server, HTTP_PORT)?.args(arguments))
    }

    fn fetcher(&self, command: &str, server: &Server, port: u16) -> anyhow::Result<Program> {
        let address = SocketAddr::from(SocketAddrV4::new(SERVER, port));
        let program = pinned(&self.load, LOAD_CORE).arg(std::env::current_exe()?).arg(command);
        Ok(program.args([format!("--server={address}"), format!("--server-pid={}", server.process.pid())]))
    }
}

fn fetched(program: Program) -> anyhow::Result<Fetched> {
    let printed = program.succeed(Deadline::secs(60))?;
    serde_json::from_str(&printed).with_context(|| format!("the load printed: {printed}"))
}

/// Our configuration.
fn reveille(state: &Path, root: &Path) -> String {
    let (state, root) = (state.display(), root.display());
    format!(
        "[bootd]\nstate_dir = \"{state}\"\napi = [\"unix:{state}/bootd.sock\"]\ntftp = [\"{SERVER}:69\"]\n\
         http = [\"{SERVER}:{HTTP_PORT}\"]\nroots = [\"{root}\"]\n"
    )
}

/// nginx as it is fastest: one process on its core, sendfile, no log, open files remembered.
fn nginx(state: &Path, root: &Path) -> String {
    let (state, root) = (state.display(), root.display());
    format!(
        "daemon off;\nworker_processes 1;\nuser root;\npid {state}/pid;\nworker_rlimit_nofile {DESCRIPTORS};\n\
         events {{ worker_connections 4096; multi_accept on; }}\n\
         http {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  tcp_nodelay on;\n  keepalive_timeout 600;\n\
         keepalive_requests 1000000000;\n  open_file_cache max=4096 inactive=600s;\n  open_file_cache_valid 600s;\n  \
         client_body_temp_path {state}/body;\n  proxy_temp_path {state}/proxy;\n  fastcgi_temp_path {state}/fastcgi;\n  \
         uwsgi_temp_path {state}/uwsgi;\n  scgi_temp_path {state}/scgi;\n  \
         server {{ listen {SERVER}:{HTTP_PORT} backlog=4096; root {root}; }}\n}}\n"
    )
}
