//! What a turn of load consists of.

use serde::{Deserialize, Serialize};

use super::Retry;

/// How fast exchanges begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pace {
    /// So many are outstanding (closed loop).
    Window(u64),
    /// So many begin a second (open loop).
    Rate(u64),
    /// All of the phase's clients begin at its start (avalanche).
    AtOnce,
}

/// What the exchanges are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Clients that were never seen before: DISCOVER to ACK.
    #[default]
    New,
    /// REQUESTs with ciaddr of clients that have an address.
    Renew,
    /// New clients, renewals, and clients that release or decline.
    Mixed,
    /// New clients that release their address at once, one in sixteen declines it.
    Cycle,
    /// New clients whose addresses are reserved; an answer with another address is a violation.
    Reserved,
}

/// One phase of load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Its name in the results.
    pub name: String,
    /// How fast exchanges begin.
    pub pace: Pace,
    /// What they are.
    #[serde(default)]
    pub work: Work,
    /// How long it lasts at the most.
    pub millis: u64,
    /// It ends when so many have been bound or have renewed.
    #[serde(default)]
    pub clients: Option<u64>,
    /// DISCOVERs of made-up clients a second beside it.
    #[serde(default)]
    pub flood_per_s: u64,
    /// How the unanswered ask again.
    #[serde(default = "steady")]
    pub retry: Retry,
}

fn steady() -> Retry {
    Retry::Steady
}

impl Phase {
    /// A phase of new clients.
    pub fn new(name: &str, pace: Pace, millis: u64) -> Self {
        let name = name.to_owned();
        Self { name, pace, work: Work::New, millis, clients: None, flood_per_s: 0, retry: Retry::Steady }
    }

    /// Other work than new clients.
    #[must_use]
    pub fn work(self, work: Work) -> Self {
        Self { work, ..self }
    }

    /// It ends when so many have been served.
    #[must_use]
    pub fn clients(self, clients: u64) -> Self {
        Self { clients: Some(clients), ..self }
    }

    /// Made-up clients beside it.
    #[must_use]
    pub fn flood(self, flood_per_s: u64) -> Self {
        Self { flood_per_s, ..self }
    }

    /// How the unanswered ask again.
    #[must_use]
    pub fn retry(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }
}
