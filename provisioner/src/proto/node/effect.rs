//! Effects: what shall be done to the world, as data, and what came of it.
//!
//! Each is idempotent: carried out twice, the world is as if it had been carried out once. How that is kept is said at each.

use reveille_config::MacAddr;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ImageInfo, PowerState};
use crate::proto::redfish::MediaKind;

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// Ask the BMC for the power's state. → [`Outcome::Power`]
    ReadPower,
    /// Bring the power to `power`: read it, change it only where it differs, and read until it is so. → [`Outcome::Power`]
    EnsurePower {
        /// The wanted power.
        power: Power,
        /// Ask the operating system to shut down instead of cutting the power.
        soft: bool,
    },
    /// Choose where the machine boots from next. → [`Outcome::Done`]
    SetBootDevice {
        /// The device.
        device: BootDevice,
        /// For every boot, not only the next.
        persistent: bool,
        /// The firmware that shall boot it.
        firmware: Firmware,
    },
    /// Put an image into a virtual drive, where it is not in already; `None`: take out what is in it. → [`Outcome::Done`]
    SetMedia {
        /// The drive; `None`: every drive.
        kind: Option<MediaKind>,
        /// URL of the image.
        image: Option<String>,
    },
    /// Tell bootd what these interfaces shall boot; replaces what it was told before. → [`Outcome::Done`]
    PutIntent {
        /// The interfaces.
        macs: Vec<MacAddr>,
        /// What to boot.
        boot: Boot,
    },
    /// Make bootd forget these interfaces; no error where it knows none. → [`Outcome::Done`]
    DeleteIntent {
        /// The interfaces.
        macs: Vec<MacAddr>,
    },
    /// Ask dhcpd to keep an address for these interfaces; replaces what was kept before. → [`Outcome::Done`]
    PutReservation {
        /// The interfaces; the host name goes to the first.
        macs: Vec<MacAddr>,
        /// Option 12.
        hostname: Option<String>,
    },
    /// Give these addresses back; no error where none was kept. → [`Outcome::Done`]
    DeleteReservation {
        /// The interfaces.
        macs: Vec<MacAddr>,
    },
    /// Send the agent a command, unless it already works on it or has done it. → [`Outcome::Command`]
    Agent(AgentCommand),
    /// Ask the agent how a command stands. → [`Outcome::Command`]
    Poll {
        /// The command's id.
        id: String,
    },
}

/// Power as it can be wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Power {
    /// On.
    On,
    /// Off.
    Off,
}

impl From<Power> for PowerState {
    fn from(power: Power) -> Self {
        match power {
            Power::On => Self::On,
            Power::Off => Self::Off,
        }
    }
}

/// Where a machine boots from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BootDevice {
    /// The network.
    Pxe,
    /// Its first disk.
    Disk,
    /// CD or DVD.
    Cdrom,
    /// The firmware's set-up.
    Bios,
    /// UEFI HTTP boot.
    UefiHttp,
}

impl BootDevice {
    /// Every device.
    pub const ALL: [Self; 5] = [Self::Pxe, Self::Disk, Self::Cdrom, Self::Bios, Self::UefiHttp];

    /// Ironic's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pxe => "pxe",
            Self::Disk => "disk",
            Self::Cdrom => "cdrom",
            Self::Bios => "bios",
            Self::UefiHttp => "uefihttp",
        }
    }

    /// The device of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|device| device.as_str() == name)
    }
}

/// The firmware that boots a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// Legacy BIOS.
    Bios,
    /// UEFI.
    Uefi,
}

/// What a machine shall boot from the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Boot {
    /// The deploy agent. `BOOTIF=<mac>` is added to the kernel line for each interface.
    Agent {
        /// Path below bootd's roots, or a URL.
        kernel: String,
        /// Path below bootd's roots, or a URL.
        ramdisk: String,
        /// The kernel line, without `BOOTIF`.
        cmdline: String,
    },
    /// Nothing: go on to its own disk.
    Disk,
}

/// A command to the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum AgentCommand {
    /// `deploy.get_deploy_steps`; answered at once; sending it twice is harmless.
    GetDeploySteps,
    /// `deploy.execute_deploy_step` of `write_image`. Sent twice it would write twice, so the agent's list of commands is looked at first.
    WriteImage {
        /// What to write.
        image: ImageInfo,
        /// The config drive, base64 of gzip, where there is one.
        configdrive: Option<String>,
        /// `hardware_manager_version` of the agent's `get_deploy_steps`.
        version: Value,
    },
    /// `standby.get_partition_uuids`; answered at once; harmless.
    GetPartitionUuids,
    /// `image.install_bootloader`, for UEFI. The list of commands is looked at first.
    InstallBootloader {
        /// Of the root file system, where the agent knows it.
        root_uuid: Option<String>,
        /// Of the EFI system partition, where the agent knows it.
        efi_uuid: Option<String>,
    },
    /// `standby.power_off`; harmless.
    PowerOff,
}

impl AgentCommand {
    /// `extension.command`, as it is posted.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::GetDeploySteps => "deploy.get_deploy_steps",
            Self::WriteImage { .. } => "deploy.execute_deploy_step",
            Self::GetPartitionUuids => "standby.get_partition_uuids",
            Self::InstallBootloader { .. } => "image.install_bootloader",
            Self::PowerOff => "standby.power_off",
        }
    }

    /// What it does, for people.
    pub const fn words(&self) -> &'static str {
        match self {
            Self::GetDeploySteps => "list its deploy steps",
            Self::WriteImage { .. } => "write the image",
            Self::GetPartitionUuids => "name the written partitions",
            Self::InstallBootloader { .. } => "install the boot loader",
            Self::PowerOff => "power off",
        }
    }

    /// Whether the agent answers only when it is done.
    pub const fn is_sync(&self) -> bool {
        matches!(self, Self::GetDeploySteps | Self::GetPartitionUuids)
    }
}

/// How a command of the agent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CommandState {
    /// Not done yet.
    Running,
    /// Done.
    Succeeded,
    /// Failed; `command_error` says why.
    Failed,
    /// Another version of a hardware manager than the steps were listed with.
    CleanVersionMismatch,
}

/// One entry of the agent's list of commands, with the agent's own field names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandStatus {
    /// Its id.
    pub id: String,
    /// Its name, without the extension.
    pub command_name: String,
    /// How it stands.
    pub command_status: CommandState,
    /// Why it failed.
    #[serde(default)]
    pub command_error: Value,
    /// What came of it.
    #[serde(default)]
    pub command_result: Value,
}

/// What came of an effect.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It was not done, and that is no obstacle; why, in plain words.
    Skipped(String),
    /// The power is so.
    Power(PowerState),
    /// The agent's command stands so.
    Command(CommandStatus),
}

/// Why an effect could not be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In plain words, with address, step and time waited. Never a secret.
    pub reason: String,
    /// Whether trying again later may help.
    pub is_transient: bool,
}

impl Failure {
    /// A failure that trying again will not mend.
    pub fn lasting(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_transient: false }
    }

    /// A failure that may pass.
    pub fn passing(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_transient: true }
    }
}

impl Effect {
    /// What it does, for people.
    pub fn words(&self) -> String {
        match self {
            Self::ReadPower => "read the power state".into(),
            Self::EnsurePower { power: Power::On, .. } => "power on".into(),
            Self::EnsurePower { power: Power::Off, soft: false } => "power off".into(),
            Self::EnsurePower { power: Power::Off, soft: true } => "shut down and power off".into(),
            Self::SetBootDevice { device, .. } => format!("set the boot device to {}", device.as_str()),
            Self::SetMedia { kind, image } => match (kind.map(MediaKind::as_str), image) {
                (Some(kind), Some(_)) => format!("put an image into the virtual drive {kind}"),
                (Some(kind), None) => format!("take out what is in the virtual drive {kind}"),
                (None, Some(_)) => "put an image into a virtual drive".into(),
                (None, None) => "take out what is in the virtual drives".into(),
            },
            Self::PutIntent { boot: Boot::Agent { .. }, .. } => "have it boot the agent".into(),
            Self::PutIntent { boot: Boot::Disk, .. } => "have it boot from its disk".into(),
            Self::DeleteIntent { .. } => "withdraw what it shall boot".into(),
            Self::PutReservation { .. } => "reserve its address".into(),
            Self::DeleteReservation { .. } => "give its address back".into(),
            Self::Agent(command) => format!("tell the agent to {}", command.words()),
            Self::Poll { .. } => "ask the agent how it gets on".into(),
        }
    }
}
