//! Events: the same form in dhcpd, bootd and the provisioner (`GET /v1/events?since=<sequence>&wait_secs=<0-30>&limit=<n>`).

use serde::{Deserialize, Serialize};

use crate::MacAddr;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the daemon's stream; ask with `since` = the last one seen. Grows, may skip.
    pub sequence: u64,
    /// When, Unix milliseconds.
    pub at_unix_millis: u64,
    /// What, a short fixed word such as `bound`, `sighting`, `transfer-ended`, `script-served`, `power`, `state`.
    pub kind: String,
    /// The machine (or its BMC), where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// The node, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Plain words for people.
    pub message: String,
    /// More, by kind.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub detail: serde_json::Map<String, serde_json::Value>,
}

/// The answer to `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventPage {
    /// Oldest first.
    pub events: Vec<Event>,
    /// What to send as `since` next time.
    pub next: u64,
    /// Set where events after `since` were lost because the reader lagged: the first sequence that is still known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_before: Option<u64>,
}
