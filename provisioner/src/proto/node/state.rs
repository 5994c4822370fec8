//! Names of the states, powers and requests: Ironic's, letter by letter.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProvisionState {
    /// Known, its BMC not yet tried.
    #[serde(rename = "enroll")]
    Enroll,
    /// Its BMC is being tried.
    #[serde(rename = "verifying")]
    Verifying,
    /// Its BMC answers; not for instances yet.
    #[serde(rename = "manageable")]
    Manageable,
    /// Ready for an instance.
    #[serde(rename = "available")]
    Available,
    /// We are working on a deployment.
    #[serde(rename = "deploying")]
    Deploying,
    /// A deployment waits for the agent.
    #[serde(rename = "wait call-back")]
    WaitCallBack,
    /// A deployment ended with an error.
    #[serde(rename = "deploy failed")]
    DeployFailed,
    /// An instance runs on it.
    #[serde(rename = "active")]
    Active,
    /// The instance is being taken off.
    #[serde(rename = "deleting")]
    Deleting,
    /// Taking the instance off failed.
    #[serde(rename = "error")]
    Error,
}

impl ProvisionState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 10] = [
        Self::Enroll,
        Self::Verifying,
        Self::Manageable,
        Self::Available,
        Self::Deploying,
        Self::WaitCallBack,
        Self::DeployFailed,
        Self::Active,
        Self::Deleting,
        Self::Error,
    ];

    /// Ironic's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enroll => "enroll",
            Self::Verifying => "verifying",
            Self::Manageable => "manageable",
            Self::Available => "available",
            Self::Deploying => "deploying",
            Self::WaitCallBack => "wait call-back",
            Self::DeployFailed => "deploy failed",
            Self::Active => "active",
            Self::Deleting => "deleting",
            Self::Error => "error",
        }
    }

    /// Whether something is under way, so that the node leaves this state by itself.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Verifying | Self::Deploying | Self::WaitCallBack | Self::Deleting)
    }

    /// The requests this state admits.
    pub const fn verbs(self) -> &'static [Verb] {
        match self {
            Self::Enroll => &[Verb::Manage],
            Self::Manageable => &[Verb::Provide],
            Self::Available => &[Verb::Active, Verb::Manage],
            Self::WaitCallBack => &[Verb::Deleted, Verb::Abort],
            Self::DeployFailed => &[Verb::Active, Verb::Rebuild, Verb::Deleted],
            Self::Active => &[Verb::Rebuild, Verb::Deleted],
            Self::Error => &[Verb::Deleted, Verb::Rebuild],
            Self::Verifying | Self::Deploying | Self::Deleting => &[],
        }
    }

    /// Whether a node in this state may be deleted (in maintenance it always may).
    pub const fn may_be_deleted(self) -> bool {
        matches!(self, Self::Enroll | Self::Manageable | Self::Available)
    }
}

impl fmt::Display for ProvisionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A machine's power, as its BMC reported it last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PowerState {
    /// On.
    #[serde(rename = "power on")]
    On,
    /// Off.
    #[serde(rename = "power off")]
    Off,
    /// The last change failed or could not be read back.
    #[serde(rename = "error")]
    Error,
}

impl PowerState {
    /// Ironic's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "power on",
            Self::Off => "power off",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for PowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A change of provision state that somebody asks for: the `target` of `PUT …/states/provision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Try the BMC, or take an available node aside.
    Manage,
    /// Make it available.
    Provide,
    /// Deploy.
    Active,
    /// Deploy again.
    Rebuild,
    /// Undeploy.
    Deleted,
    /// Give up the deployment that waits for its agent.
    Abort,
}

impl Verb {
    /// Every request.
    pub const ALL: [Self; 6] = [Self::Manage, Self::Provide, Self::Active, Self::Rebuild, Self::Deleted, Self::Abort];

    /// Ironic's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manage => "manage",
            Self::Provide => "provide",
            Self::Active => "active",
            Self::Rebuild => "rebuild",
            Self::Deleted => "deleted",
            Self::Abort => "abort",
        }
    }

    /// The request of this name; `deploy` and `undeploy` are taken for what they mean.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "deploy" => Some(Self::Active),
            "undeploy" => Some(Self::Deleted),
            _ => Self::ALL.into_iter().find(|verb| verb.as_str() == name),
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_that_does_not_leave_by_itself_admits_a_request() {
        for state in ProvisionState::ALL {
            assert!(state.is_transient() || !state.verbs().is_empty(), "{state} has no exit");
        }
    }

    #[test]
    fn stored_names_are_ironics() {
        for state in ProvisionState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for power in [PowerState::On, PowerState::Off, PowerState::Error] {
            assert_eq!(serde_json::to_value(power).unwrap(), power.as_str());
        }
    }
}
