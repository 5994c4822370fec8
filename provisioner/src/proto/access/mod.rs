//! From a node to the way its BMC is reached: which driver, by Ironic's `driver`, `power_interface` and `management_interface`; where, and as
//! whom, by Ironic's vocabulary in `driver_info`.
//!
//! It reaches nothing. The texts of its errors say what is missing or wrong and what would be right, and never hold a password.
//!
//! | file | holds |
//! |---|---|
//! | `ipmi` | `ipmi_*`, for our own IPMI client and for the program ipmitool |
//! | `redfish` | `redfish_*` |

mod ipmi;
mod redfish;

use std::fmt;

pub use ipmi::{IpmiAccess, IpmitoolAccess, Protocol};
pub use redfish::{Authentication, RedfishAccess, RedfishUser, Trust};

use super::node::{Node, Settings};

/// What may be an interface's name for each of Ironic's drivers; the first is the default.
const NAMES: [(&str, &[&str]); 2] = [("ipmi", &["ipmi", "ipmitool"]), ("redfish", &["redfish"])];

/// Every driver.
pub const DRIVERS: [&str; 2] = [NAMES[0].0, NAMES[1].0];

/// The names that `power_interface` and `management_interface` may have with this driver, the default first; none for a driver that is not ours.
pub fn interfaces(driver: &str) -> &'static [&'static str] {
    NAMES.iter().find(|(name, _)| *name == driver).map_or(&[], |(_, interfaces)| interfaces)
}

/// One of Ironic's interfaces that a BMC stands behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// Power.
    Power,
    /// Boot device, virtual media.
    Management,
}

impl Interface {
    /// The node's field.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Power => "power_interface",
            Self::Management => "management_interface",
        }
    }

    /// What the node has chosen, or its driver's default.
    pub fn of(self, node: &Node) -> &str {
        let chosen = node.attributes.get(self.field()).and_then(serde_json::Value::as_str);
        chosen.or_else(|| interfaces(&node.driver).first().copied()).unwrap_or("ipmi")
    }

    /// Whether the node's driver has what the node has chosen.
    pub fn check(self, node: &Node) -> Result<(), String> {
        let (chosen, offered) = (self.of(node), interfaces(&node.driver));
        if offered.contains(&chosen) {
            return Ok(());
        }
        let (field, driver, offered) = (self.field(), &node.driver, offered.join(", "));
        Err(format!("{field} {chosen} does not go with the driver {driver}, which has: {offered}"))
    }
}

/// How a node's BMC is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Our own IPMI client.
    Ipmi(IpmiAccess),
    /// The program ipmitool.
    Ipmitool(IpmitoolAccess),
    /// Redfish.
    Redfish(RedfishAccess),
}

impl Access {
    /// Reads how `interface` of a node is reached; credentials that its `driver_info` lacks come from the configuration.
    pub fn of(node: &Node, interface: Interface, settings: &Settings) -> Result<Self, String> {
        interface.check(node)?;
        match interface.of(node) {
            "redfish" => RedfishAccess::read(&node.driver_info).map(Self::Redfish),
            "ipmitool" => IpmitoolAccess::read(&node.driver_info, &settings.ipmi).map(Self::Ipmitool),
            _ => IpmiAccess::read(&node.driver_info, &settings.ipmi).map(Self::Ipmi),
        }
    }
}

impl fmt::Display for Access {
    /// The BMC's address, for errors.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipmi(access) => access.address.fmt(f),
            Self::Ipmitool(access) => access.address.fmt(f),
            Self::Redfish(access) => f.write_str(&access.authority),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::proto::node::Millis;

    fn node(driver: &str, attributes: Value) -> Node {
        let mut node = Node::new(1, Uuid::nil(), driver, Millis(0));
        let info = json!({ "ipmi_address": "10.0.0.1", "ipmi_password": "hunter2", "redfish_address": "10.0.0.2",
            "redfish_username": "admin", "redfish_password": "hunter2" });
        let (Value::Object(info), Value::Object(attributes)) = (info, attributes) else { panic!() };
        (node.driver_info, node.attributes) = (info, attributes);
        node
    }

    #[test]
    fn a_node_chooses_by_driver_and_interface() {
        use Interface::{Management, Power};
        let cases = [
            ("ipmi", json!({}), Power, Ok("ipmi")),
            ("ipmi", json!({ "power_interface": "ipmitool" }), Power, Ok("ipmitool")),
            ("ipmi", json!({ "power_interface": "ipmitool" }), Management, Ok("ipmi")),
            ("ipmi", json!({ "management_interface": "ipmitool" }), Management, Ok("ipmitool")),
            ("redfish", json!({}), Power, Ok("redfish")),
            (
                "redfish",
                json!({ "power_interface": "ipmitool" }),
                Power,
                Err("power_interface ipmitool does not go with the driver redfish, which has: redfish"),
            ),
            (
                "ipmi",
                json!({ "management_interface": "redfish" }),
                Management,
                Err("management_interface redfish does not go with the driver ipmi, which has: ipmi, ipmitool"),
            ),
        ];
        for (driver, attributes, interface, expected) in cases {
            let access = Access::of(&node(driver, attributes.clone()), interface, &Settings::for_tests());
            let found = access.as_ref().map(|access| match access {
                Access::Ipmi(_) => "ipmi",
                Access::Ipmitool(_) => "ipmitool",
                Access::Redfish(_) => "redfish",
            });
            assert_eq!(found.map_err(String::as_str), expected, "{driver} {attributes}");
            assert!(!format!("{access:?} {access:#?}").contains("hunter2"), "{access:?}");
        }
    }
}
