//! [`Work`]: what is being done to a node, as far as it must survive a crash.

use std::collections::VecDeque;
use std::fmt;

use reveille_config::MacAddr;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BootDevice, Effect, Millis};

/// What is being done to a node.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Work {
    /// Where the work stands.
    pub stage: Stage,
    /// Effects still to be carried out, the first one first, one at a time.
    pub pending: VecDeque<Pending>,
    /// The next effect's id; results of effects that are no longer first are ignored.
    pub next_effect: u64,
    /// When the waiting ends.
    pub deadline: Option<Deadline>,
    /// The agent that runs on the machine.
    pub agent: Agent,
    /// Interfaces that bootd and dhcpd were told about.
    pub macs: Vec<MacAddr>,
    /// The boot device we set last, and whether for every boot.
    pub boot_device: Option<(BootDevice, bool)>,
}

/// An effect to be carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// Unique for the node.
    pub id: u64,
    /// Not before.
    pub not_before: Millis,
    /// How often it has failed for a passing reason.
    pub attempts: u32,
    /// When it was tried first.
    pub since: Option<Millis>,
    /// What.
    pub effect: Effect,
}

/// When a waiting ends, and what is said then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// When.
    pub at: Millis,
    /// The reason that is given then, in plain words.
    pub reason: String,
}

/// Where the work on a node stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Stage {
    /// Nothing to do.
    #[default]
    Idle,
    /// Power or boot device on request.
    OnRequest,
    /// Verifying: the BMC is asked.
    Verify,
    /// Deploy: boot intent, boot device, power off and on.
    Prepare,
    /// Deploy: waiting for the agent's first heartbeat.
    AwaitAgent,
    /// Deploy: the agent lists its steps.
    ListSteps,
    /// Deploy: the agent writes the image; its command's id, once known.
    Write(Option<String>),
    /// Deploy: the agent names the partitions it wrote.
    ReadPartitions,
    /// Deploy: the agent installs the boot loader; its command's id, once known.
    InstallBootloader(Option<String>),
    /// Deploy: boot device, and the agent is told to power off.
    TearDownAgent,
    /// Deploy: looks at the power until it is off; looks so far.
    AwaitOff(u8),
    /// Deploy: it would not go off by itself.
    ForceOff,
    /// Deploy: boot intent and power on.
    BootInstance,
    /// Deploy failed: power off, boot intent withdrawn, as far as possible.
    CleanUp,
    /// Deleting.
    TearDown,
}

/// The agent that runs on a machine. Cleared whenever its power is cut.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Agent {
    /// What it was given at its first lookup, and nobody after it.
    pub token: Option<String>,
    /// Where it listens.
    pub url: Option<String>,
    /// Its own version.
    pub version: Option<String>,
    /// `hardware_manager_version` of its steps.
    pub hardware_managers: Option<Value>,
    /// When it was heard last, as far as it was written down.
    pub heard_at: Option<Millis>,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("url", &self.url)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
