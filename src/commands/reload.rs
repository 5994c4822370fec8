//! `reveille reload DAEMON`: has a running daemon read its configuration again, and says by its exit code whether it did.
//!
//! A file with mistakes never reaches the daemon. The daemon says over its API what became of the reload, so that a change that needs a restart fails too.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use reveille_client::{Bootd, ClientError, Dhcpd, Ironic};
use reveille_config::dto::reload::ReloadStatus;
use reveille_config::{Apis, Config, Endpoint, Part};
use rustix::process::{Pid, Signal, kill_process};

use crate::output;
use crate::target::nearest;

/// How long the daemon's answer is waited for, and how often it is asked.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
const ANSWER_POLL: Duration = Duration::from_millis(50);

/// Which daemon.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Daemon {
    /// The DHCP server
    Dhcpd,
    /// The TFTP and HTTP boot server
    Bootd,
    /// The provisioner
    Provisioner,
}

impl Daemon {
    /// Its table.
    pub fn part(self) -> Part {
        match self {
            Self::Dhcpd => Part::Dhcpd,
            Self::Bootd => Part::Bootd,
            Self::Provisioner => Part::Provisioner,
        }
    }
}

/// Arguments.
#[derive(clap::Args)]
#[command(
    after_help = "Exit code: 0 the new configuration is in force, 1 it is not and the old one stays, 2 wrong arguments."
)]
pub struct Args {
    /// Which daemon
    daemon: Daemon,
    /// Its process
    #[arg(long, value_name = "PID", env = "MAINPID")]
    pid: i32,
    /// The configuration file that it was started with
    #[arg(long, value_name = "FILE", env = "REVEILLE_CONFIG", default_value = "/etc/reveille/reveille.toml")]
    config: PathBuf,
}

/// Checks the file, tells the daemon, and waits for its answer.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let file = args.config.display();
    let part = args.daemon.part();
    if let Err(mistakes) = Config::load_parts(&args.config, &[part]) {
        let color = std::io::stderr().is_terminal();
        for mistake in &mistakes {
            eprintln!("{}\n", mistake.render(color).trim_end());
        }
        anyhow::bail!("{file} has {} mistake(s); the old configuration stays in force", mistakes.len());
    }
    let pid = Pid::from_raw(args.pid).with_context(|| format!("{} is no process", args.pid))?;
    let hang_up = || kill_process(pid, Signal::HUP).with_context(|| format!("cannot signal process {}", args.pid));
    let apis = Apis::load(&args.config).map_err(|mistakes| match mistakes.first() {
        Some(first) => anyhow::anyhow!("{}", output::in_one_line(first)),
        None => anyhow::anyhow!("{file} cannot be used"),
    })?;
    let (name, api) = match args.daemon {
        Daemon::Dhcpd => ("dhcpd", apis.dhcpd),
        Daemon::Bootd => ("bootd", apis.bootd),
        Daemon::Provisioner => ("provisioner", apis.provisioner),
    };
    let api = api.and_then(nearest).with_context(|| format!("{file} has no table [{name}], or it has no `api`"))?;
    let before = status(args.daemon, &api).await?.reloads;
    hang_up()?;
    let answer = async {
        loop {
            let status = status(args.daemon, &api).await?;
            if status.reloads > before {
                return anyhow::Ok(status);
            }
            tokio::time::sleep(ANSWER_POLL).await;
        }
    };
    let status = tokio::time::timeout(ANSWER_WAIT, answer).await;
    match status.with_context(|| format!("{name} does not answer"))??.refused {
        None => Ok(ExitCode::SUCCESS),
        Some(why) => anyhow::bail!("{name} keeps the old configuration: {why}"),
    }
}

/// What the daemon says of its reloads.
async fn status(daemon: Daemon, api: &Endpoint) -> Result<ReloadStatus, ClientError> {
    let api = api.clone();
    match daemon {
        Daemon::Dhcpd => Dhcpd::new(api).configuration().await,
        Daemon::Bootd => Bootd::new(api).configuration().await,
        Daemon::Provisioner => Ironic::new(api).configuration().await,
    }
}
