//! [`Node`] and [`Port`], as they are stored.
//!
//! Fields that only people give a meaning to (owner, description, interface names …) are kept as a JSON object,
//! [`Node::attributes`]; what may be in it is the table of `api`'s field list. Those that the life cycle reads have types.

use std::collections::BTreeMap;
use std::fmt;

use reveille_config::MacAddr;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Millis, PowerState, ProvisionState, Work};

/// A machine.
///
/// `Debug` shows its identity and state only: `driver_info` holds the BMC's password.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Grows with every node made; the order of listings.
    pub id: u64,
    /// Identity.
    pub uuid: Uuid,
    /// A host name, unique.
    #[serde(default)]
    pub name: Option<String>,
    /// `ipmi`.
    pub driver: String,
    /// How to reach the BMC (`ipmi_address`, `ipmi_username`, `ipmi_password`, …), `deploy_kernel`, `deploy_ramdisk`.
    #[serde(default)]
    pub driver_info: Map<String, Value>,
    /// What the machine is: `cpu_arch`, `capabilities` (`boot_mode:uefi`), `root_device` …
    #[serde(default)]
    pub properties: Map<String, Value>,
    /// What shall run on it: `image_source`, `image_checksum` …
    #[serde(default)]
    pub instance_info: Map<String, Value>,
    /// For whoever asks.
    #[serde(default)]
    pub extra: Map<String, Value>,
    /// The other fields that people may set, where they are not at their default.
    #[serde(default)]
    pub attributes: Map<String, Value>,
    /// Hands off: no deployment.
    #[serde(default)]
    pub maintenance: bool,
    /// Why.
    #[serde(default)]
    pub maintenance_reason: Option<String>,
    /// Where it is.
    pub provision_state: ProvisionState,
    /// Where it is going, while it is.
    #[serde(default)]
    pub target_provision_state: Option<ProvisionState>,
    /// When it entered its state.
    #[serde(default)]
    pub provision_updated_at: Option<Millis>,
    /// Power as read last.
    #[serde(default)]
    pub power_state: Option<PowerState>,
    /// Power as wanted, while it is being changed on request.
    #[serde(default)]
    pub target_power_state: Option<PowerState>,
    /// When the power last changed.
    #[serde(default)]
    pub power_changed_at: Option<Millis>,
    /// What went wrong last, in plain words.
    #[serde(default)]
    pub last_error: Option<String>,
    /// When it was made.
    pub created_at: Millis,
    /// When it was changed last.
    #[serde(default)]
    pub updated_at: Option<Millis>,
    /// What is being done to it.
    #[serde(default)]
    pub work: Work,
}

impl Node {
    /// A new node in state `enroll`.
    pub fn new(id: u64, uuid: Uuid, driver: impl Into<String>, now: Millis) -> Self {
        Self {
            id,
            uuid,
            name: None,
            driver: driver.into(),
            driver_info: Map::new(),
            properties: Map::new(),
            instance_info: Map::new(),
            extra: Map::new(),
            attributes: Map::new(),
            maintenance: false,
            maintenance_reason: None,
            provision_state: ProvisionState::Enroll,
            target_provision_state: None,
            provision_updated_at: None,
            power_state: None,
            target_power_state: None,
            power_changed_at: None,
            last_error: None,
            created_at: now,
            updated_at: None,
            work: Work::default(),
        }
    }

    /// Whether somebody works on the node, so that requests are answered with 409: Ironic's `reservation`.
    pub fn is_reserved(&self) -> bool {
        let waits_only = self.provision_state == ProvisionState::WaitCallBack;
        !waits_only && (self.provision_state.is_transient() || !self.work.pending.is_empty())
    }

    /// Whether the machine boots by UEFI: `boot_mode:uefi` among `properties.capabilities` or `instance_info.capabilities`.
    pub fn boots_by_uefi(&self) -> bool {
        let says = |info: &Map<String, Value>| match info.get("capabilities") {
            Some(Value::String(list)) => {
                list.split(',').find_map(|item| item.trim().strip_prefix("boot_mode:")).map(str::to_owned)
            }
            Some(Value::Object(map)) => map.get("boot_mode").and_then(Value::as_str).map(str::to_owned),
            _ => None,
        };
        says(&self.instance_info).or_else(|| says(&self.properties)).is_some_and(|mode| mode == "uefi")
    }

    /// Whether its instance must not be undeployed, rebuilt or deleted.
    pub fn is_protected(&self) -> bool {
        self.attributes.get("protected") == Some(&Value::Bool(true))
    }

    /// The name people know it by: its name, else its UUID.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.uuid.to_string())
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("uuid", &self.uuid)
            .field("name", &self.name)
            .field("provision_state", &self.provision_state)
            .field("power_state", &self.power_state)
            .field("last_error", &self.last_error)
            .field("work", &self.work)
            .finish_non_exhaustive()
    }
}

/// A network interface of a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// Grows with every port made; the order of listings.
    pub id: u64,
    /// Identity.
    pub uuid: Uuid,
    /// The machine it belongs to.
    pub node_uuid: Uuid,
    /// Hardware address, unique.
    pub address: MacAddr,
    /// A name, unique.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether the machine may boot from it.
    pub pxe_enabled: bool,
    /// The network it is plugged into; also the name of dhcpd's scope, where one of that name exists.
    #[serde(default)]
    pub physical_network: Option<String>,
    /// The switch port it is plugged into.
    #[serde(default)]
    pub local_link_connection: Map<String, Value>,
    /// For whoever asks.
    #[serde(default)]
    pub extra: Map<String, Value>,
    /// The other fields that people may set.
    #[serde(default)]
    pub attributes: BTreeMap<String, Value>,
    /// When it was made.
    pub created_at: Millis,
    /// When it was changed last.
    #[serde(default)]
    pub updated_at: Option<Millis>,
}
