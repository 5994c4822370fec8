//! From an entry of a node's history to the event that a reader is shown.

use reveille_config::dto::event::Event;

use super::Entry;
use crate::proto::node::Severity;

impl From<&Entry> for Event {
    fn from(entry: &Entry) -> Self {
        let mut detail = serde_json::Map::new();
        if entry.severity == Severity::Error {
            detail.insert("severity".into(), "ERROR".into());
        }
        Self {
            sequence: entry.sequence,
            at_unix_millis: entry.at.0,
            kind: entry.kind.clone(),
            mac: entry.mac,
            node: Some(entry.node.to_string()),
            message: entry.text.clone(),
            detail,
        }
    }
}
