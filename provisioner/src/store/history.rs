//! [`Entry`]: what happened to a node.

use reveille_config::MacAddr;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::proto::node::{Millis, Severity};

/// Entries kept per node; the oldest makes room.
pub const HISTORY_PER_NODE_MAX: usize = 300;

/// A line of a node's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Position in the stream of all nodes' entries; grows for ever.
    pub sequence: u64,
    /// Identity.
    pub uuid: Uuid,
    /// The node.
    pub node: Uuid,
    /// The node's first interface.
    #[serde(default)]
    pub mac: Option<MacAddr>,
    /// When.
    pub at: Millis,
    /// A short fixed word.
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// Plain words.
    pub text: String,
}
