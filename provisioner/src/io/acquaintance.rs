//! [`Acquaintance`]: whether a node's BMC may be another one than before.
//!
//! Who replaces a machine or its BMC says so by the node: by its address or credentials, or by the maintenance that it was done in. What was
//! found out about the BMC (GUID, cipher suites, sessions, paths) then counts no more.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use uuid::Uuid;

use crate::proto::node::Node;

/// A fingerprint for each node. It stays in memory: `driver_info` holds passwords.
#[derive(Debug, Default)]
pub(super) struct Acquaintance {
    of: HashMap<Uuid, u64>,
}

impl Acquaintance {
    /// True if the node says another thing about its BMC than at the last call. One that is new does; one that is gone is forgotten.
    pub fn has_changed(&mut self, uuid: Uuid, node: Option<&Node>) -> bool {
        match node {
            Some(node) => {
                let now = fingerprint(node);
                self.of.insert(uuid, now).is_none_or(|before| before != now)
            }
            None => {
                self.of.remove(&uuid);
                false
            }
        }
    }
}

fn fingerprint(node: &Node) -> u64 {
    let mut hasher = DefaultHasher::new();
    (node.maintenance, &node.driver).hash(&mut hasher);
    for (key, value) in &node.driver_info {
        (key, value.to_string()).hash(&mut hasher);
    }
    for key in ["power_interface", "management_interface"] {
        node.attributes.get(key).map(ToString::to_string).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::proto::node::Millis;

    #[test]
    fn what_says_that_another_bmc_may_be_there() {
        type Change = fn(&mut Node);
        let cases: [(&str, Change, bool); 7] = [
            ("new", |_| {}, true),
            ("nothing", |_| {}, false),
            ("its name", |node| node.name = Some("n1".into()), false),
            ("its address", |node| _ = node.driver_info.insert("ipmi_address".into(), json!("10.0.0.2")), true),
            ("its password", |node| _ = node.driver_info.insert("ipmi_password".into(), json!("x")), true),
            ("maintenance", |node| node.maintenance = true, true),
            ("its interface", |node| _ = node.attributes.insert("power_interface".into(), json!("ipmitool")), true),
        ];
        let mut node = Node::new(1, Uuid::nil(), "ipmi", Millis(0));
        let mut acquaintance = Acquaintance::default();
        for (what, change, expected) in cases {
            change(&mut node);
            assert_eq!(acquaintance.has_changed(node.uuid, Some(&node)), expected, "{what}");
        }
        assert!(!acquaintance.has_changed(node.uuid, None));
        assert!(acquaintance.of.is_empty(), "of a node that is gone nothing is kept");
    }
}
