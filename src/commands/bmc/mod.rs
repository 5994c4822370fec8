//! `reveille bmc`: BMCs directly, without a daemon, many at a time.
//!
//! The exit code is 0 if every BMC did as told, 3 if some did and 1 if none did.

mod access;
mod hosts;
mod verbs;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Subcommand, ValueEnum};
use reveille_provisioner::io::bmc::{BmcError, BmcSocket, BootDevice, Firmware, PowerAction};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::output;

/// Exit code if some BMCs did as told and others did not.
const SOME_FAILED: u8 = 3;

/// Arguments.
#[derive(clap::Args)]
#[command(
    after_help = "Hosts are addresses or ranges, with a port where it is not 623: 10.1.0.7 '10.1.0.[1-200]' '10.1.[0-3].[1-254]:6230'\n\
    The password comes from --password-file or the variable IPMI_PASSWORD, never from an argument.\n\
    Exit code: 0 all did, 3 some did, 1 none did.\n\n\
    Examples:\n  \
    reveille bmc status '10.1.0.[1-200]'\n  \
    reveille bmc power on '10.1.0.[1-200]' --user operator --privilege operator\n  \
    reveille bmc boot-device pxe 10.1.0.7 --uefi\n  \
    reveille bmc sensors 10.1.0.7 --json"
)]
pub struct Args {
    #[command(flatten)]
    access: access::Access,
    /// As JSON: one object for each BMC
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show whether machines have power
    Status(Hosts),
    /// Change machines' power
    Power {
        /// What to do
        action: Power,
        #[command(flatten)]
        hosts: Hosts,
    },
    /// Show where machines boot from, or choose it
    BootDevice {
        /// Show it, or the device
        device: Device,
        #[command(flatten)]
        hosts: Hosts,
        /// For UEFI; otherwise for legacy BIOS
        #[arg(long)]
        uefi: bool,
        /// At every boot, not only at the next one
        #[arg(long)]
        persistent: bool,
    },
    /// Read machines' sensors
    Sensors(Hosts),
    /// Read machines' event logs, or erase them
    Sel {
        #[command(flatten)]
        hosts: Hosts,
        /// Erase them
        #[arg(long)]
        clear: bool,
    },
    /// Read machines' inventories
    Fru(Hosts),
}

#[derive(clap::Args)]
struct Hosts {
    /// Addresses or ranges
    #[arg(required = true, value_name = "HOST")]
    hosts: Vec<String>,
}

/// What may be done to a machine's power.
#[derive(Clone, Copy, ValueEnum)]
enum Power {
    /// Give it power
    On,
    /// Cut the power
    Off,
    /// Off and on again
    Cycle,
    /// Hard reset
    Reset,
    /// Ask the operating system to shut down
    Soft,
    /// Diagnostic interrupt
    Diag,
}

/// Where a machine may boot from.
#[derive(Clone, Copy, ValueEnum)]
enum Device {
    /// Only show it
    Show,
    /// No override: the firmware's own order
    None,
    /// The network
    Pxe,
    /// The default disk
    Disk,
    /// CD or DVD, virtual media included
    Cdrom,
    /// The firmware's set-up
    Bios,
}

impl From<Power> for PowerAction {
    fn from(power: Power) -> Self {
        match power {
            Power::On => Self::On,
            Power::Off => Self::Off,
            Power::Cycle => Self::Cycle,
            Power::Reset => Self::Reset,
            Power::Soft => Self::Soft,
            Power::Diag => Self::Diagnostic,
        }
    }
}

impl Device {
    fn wanted(self) -> Option<BootDevice> {
        match self {
            Self::Show => None,
            Self::None => Some(BootDevice::None),
            Self::Pxe => Some(BootDevice::Pxe),
            Self::Disk => Some(BootDevice::Disk),
            Self::Cdrom => Some(BootDevice::Cdrom),
            Self::Bios => Some(BootDevice::Bios),
        }
    }
}

/// What is asked of every BMC.
#[derive(Clone, Copy)]
enum Job {
    Status,
    Power(PowerAction),
    ShowBootDevice,
    SetBootDevice { device: BootDevice, persistent: bool, firmware: Firmware },
    Sensors,
    Events,
    ClearEvents,
    Inventory,
}

/// What a BMC answered: lines for the table, and the same as JSON.
struct Answer {
    lines: Vec<String>,
    json: Value,
}

/// Runs the command.
///
/// # Errors
/// Something is wrong with the arguments, or the socket cannot be opened. BMCs that fail are rows of the result.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (job, hosts) = match args.verb {
        Verb::Status(hosts) => (Job::Status, hosts),
        Verb::Power { action, hosts } => (Job::Power(action.into()), hosts),
        Verb::BootDevice { device, hosts, uefi, persistent } => match device.wanted() {
            None if uefi || persistent => bail!("--uefi and --persistent go with a device"),
            None => (Job::ShowBootDevice, hosts),
            Some(device) => {
                let firmware = if uefi { Firmware::Uefi } else { Firmware::Legacy };
                (Job::SetBootDevice { device, persistent, firmware }, hosts)
            }
        },
        Verb::Sensors(hosts) => (Job::Sensors, hosts),
        Verb::Sel { hosts, clear } => (if clear { Job::ClearEvents } else { Job::Events }, hosts),
        Verb::Fru(hosts) => (Job::Inventory, hosts),
    };
    let addresses = hosts::expand(&hosts.hosts)?;
    let targets = args.access.targets(&addresses)?;
    let bmc = BmcSocket::start(None, args.access.limits(targets.len()))?;
    let mut asked = JoinSet::new();
    for (at, target) in targets.into_iter().enumerate() {
        let bmc = bmc.clone();
        asked.spawn(async move { (at, verbs::carry_out(&bmc, &target, job).await) });
    }
    let mut answers = asked.join_all().await;
    bmc.close_sessions().await;
    answers.sort_by_key(|(at, _)| *at);
    let answers: Vec<_> = answers.into_iter().map(|(at, answer)| (addresses[at], answer)).collect();
    if args.json {
        print_json(&answers)?
    } else {
        print_table(&answers)?
    }
    let failed = answers.iter().filter(|(_, answer)| answer.is_err()).count();
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        failed if failed < answers.len() => ExitCode::from(SOME_FAILED),
        _ => ExitCode::FAILURE,
    })
}

fn print_json(answers: &[(SocketAddr, Result<Answer, BmcError>)]) -> anyhow::Result<()> {
    let rows: Vec<Value> = answers
        .iter()
        .map(|(address, answer)| match answer {
            Ok(answer) => json!({ "host": address, "ok": true, "result": answer.json }),
            Err(error) => json!({ "host": address, "ok": false, "error": error.to_string() }),
        })
        .collect();
    output::json(&rows)
}

fn print_table(answers: &[(SocketAddr, Result<Answer, BmcError>)]) -> anyhow::Result<()> {
    let rows = answers.iter().flat_map(|(address, answer)| {
        let lines = match answer {
            Ok(answer) => answer.lines.clone(),
            Err(error) => {
                let text = error.to_string();
                let words = text.strip_prefix(&format!("BMC {address}: ")).unwrap_or(&text).to_owned();
                vec![format!("error: {words}")]
            }
        };
        lines.into_iter().map(|line| [address.to_string(), line])
    });
    output::table(["BMC", "RESULT"], rows, "nothing")
}
