//! Events: the same form in dhcpd, bootd and the provisioner.
//!
//! `GET /v1/events` takes `since=<epoch>-<sequence>|<sequence>|latest`, `kind=`, `scope=`, `mac=` (each a list with commas), `transient=true`, and is answered
//! - as [`EventPage`] with `wait_secs=<0-30>` and `limit=<n>`: a long poll;
//! - with `Accept: text/event-stream` as server-sent events ([`sse`]), for as long as the client stays: `Last-Event-ID` stands for `since` there.
//!
//! *Durable* events bear a sequence that a reader resumes from (dhcpd: the journal's, over restarts). *Transient* ones bear none, come only to those who ask for
//! them, and are not replayed: a stream has them from its beginning on, a page from `transient_since`, or else from the moment it is asked for.

mod place;
mod query;
pub mod sse;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::MacAddr;
pub use place::{Epoch, Place, PlaceError, Since};
pub use query::{EventQuery, QueryMistake};

/// The kinds of dhcpd's durable events.
pub const DHCPD_KINDS: [&str; 10] = [
    "bound",
    "renewed",
    "released",
    "expired",
    "declined",
    "conflict",
    "reserved",
    "unreserved",
    "pool-above",
    "pool-below",
];

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Position in the daemon's stream; ask with `since` = the last one seen. Grows, may skip. 0 where the event is transient.
    #[serde(default, skip_serializing_if = "is_zero")]
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

/// Events that a reader asked for and that are no longer known. From 1 on where its place was in another log: then what follows is all that is known of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lost {
    /// The first sequence that may be lost.
    pub from: u64,
    /// The last.
    pub to: u64,
}

/// The answer to `GET /v1/events`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventPage {
    /// Oldest first.
    pub events: Vec<Event>,
    /// What to send as `since` next time, behind `epoch` and `-`.
    pub next: u64,
    /// Which log these are of. Who hands it back with `since` is told where the daemon has begun another meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// What to send as `transient_since` next time, where transient events were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_transient: Option<u64>,
    /// What was lost because the reader lagged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
}

impl EventPage {
    /// Where the next page begins.
    pub fn since(&self) -> Since {
        match self.epoch {
            Some(epoch) => Since::Place(Place { epoch, sequence: self.next }),
            None => Since::Sequence(self.next),
        }
    }
}

fn is_zero(sequence: &u64) -> bool {
    *sequence == 0
}
