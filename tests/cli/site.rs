//! [`Site`]: the two networks with a configuration for all daemons on them; and the binary itself.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reveille_lab::{Deadline, Process, Run, TwoNetworks};

/// The binary under test.
pub const REVEILLE: &str = env!("CARGO_BIN_EXE_reveille");

/// How the command line ended and what it said.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Standard output of a command that succeeded and had nothing to complain about.
    #[track_caller]
    pub fn out(self) -> String {
        assert_eq!((self.code, &*self.err), (Some(0), ""), "{self:?}");
        self.out
    }

    /// The same as JSON.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let out = self.out();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// The one line on standard error of a command that failed and printed nothing else.
    #[track_caller]
    pub fn error(self) -> String {
        assert_eq!((self.code, &*self.out), (Some(1), ""), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        self.err.trim_end().strip_prefix("error: ").unwrap_or_else(|| panic!("{:?}", self.err)).to_owned()
    }
}

/// The command line outside all namespaces, without anything of the caller's environment.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(REVEILLE);
    command.args(args).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    command
}

/// Runs the command line to its end.
pub fn reveille(args: &[&str]) -> Ran {
    let output = command(args).output().expect("the binary was built");
    let text = |octets| String::from_utf8(octets).expect("UTF-8");
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A configuration of all three daemons for the lab's networks, with the sockets of the APIs below the run's directory.
pub struct Site {
    pub networks: TwoNetworks,
    pub config: PathBuf,
    started: Cell<u32>,
}

impl Site {
    pub fn new() -> Self {
        let run = Run::start().unwrap_or_else(|error| panic!("{error}"));
        let networks = TwoNetworks::create(&run).unwrap();
        let root = run.path("root/hello.txt");
        std::fs::write(&root, "hello\n").unwrap();
        let config = run.write("reveille.toml", configuration(run.dir())).unwrap();
        Self { networks, config, started: Cell::new(0) }
    }

    pub fn dir(&self) -> &Path {
        self.networks.run().dir()
    }

    pub fn text(&self) -> String {
        std::fs::read_to_string(&self.config).unwrap()
    }

    /// Replaces what must be in the configuration once.
    #[track_caller]
    pub fn edit(&self, from: &str, to: &str) {
        let text = self.text();
        assert_eq!(text.matches(from).count(), 1, "{from}");
        std::fs::write(&self.config, text.replacen(from, to, 1)).unwrap();
    }

    /// Starts `reveille <daemon>` and waits until it says that it is ready.
    pub fn start(&self, daemon: &str, environment: &[(&str, &str)]) -> Process {
        let mut program = self.networks.host().program(REVEILLE).arg(daemon).arg("--config").arg(&self.config);
        for (name, value) in environment {
            program = program.env(name, value);
        }
        // Each start has a log of its own, so that nothing of an earlier one is found in it.
        self.started.set(self.started.get() + 1);
        let mut process = program.start(&format!("{daemon}-{}", self.started.get())).unwrap();
        process.wait_for_line("daemons: ready", Deadline::secs(60)).unwrap_or_else(|error| panic!("{error}"));
        process
    }

    /// The command line with this configuration, outside the namespaces: the APIs are unix sockets.
    pub fn run(&self, args: &[&str]) -> Ran {
        let config = self.config.to_str().unwrap();
        reveille(&[args, &["--config", config]].concat())
    }
}

fn configuration(dir: &Path) -> String {
    format!(
        r#"[dhcpd]
state_dir = "{dir}/state/dhcpd"
api = ["unix:{dir}/dhcpd.sock"]
workers = 1

[[dhcpd.scope]]
name = "bmc"
kind = "static"
interface = "br-bmc"
subnet = "10.77.1.0/24"
server_address = "10.77.1.1"
pools = ["10.77.1.100-10.77.1.199"]

[[dhcpd.scope]]
name = "provisioning"
kind = "dynamic"
interface = "br-prov"
subnet = "10.77.2.0/24"
server_address = "10.77.2.1"
pools = ["10.77.2.100-10.77.2.199"]

[bootd]
state_dir = "{dir}/state/bootd"
api = ["unix:{dir}/bootd.sock"]
tftp = ["10.77.2.1:69"]
http = ["10.77.2.1:8080"]
roots = ["{dir}/root"]

[provisioner]
state_dir = "{dir}/state/provisioner"
api = ["unix:{dir}/provisioner.sock"]
agent_api = ["10.77.2.1:6385"]
"#,
        dir = dir.display()
    )
}
