//! bootd's API.
//!
//! | request | body → answer |
//! |---|---|
//! | `PUT /v1/intents/{mac}` | [`IntentPut`] → 200 [`Intent`], once durable |
//! | `GET /v1/intents/{mac}`, `DELETE` | → [`Intent`], 204 |
//! | `GET /v1/intents?cursor=&limit=` | → [`super::dhcpd::Page`] of [`Intent`] |
//! | `GET /v1/transfers` | → [`super::dhcpd::Page`] of [`Transfer`]: those under way and the last ended |
//! | `GET /v1/events` | → [`super::event::EventPage`] |
//! | `GET /healthz`, `/readyz`, `/metrics` | text |
//!
//! To machines, over HTTP and TFTP: `boot.ipxe` (chains to the next), `pxelinux.cfg/<mac with hyphens>` and `<mac>/script.ipxe`
//! (rendered from the machine's intent; 404 without one), and the files below the roots.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::MacAddr;

/// What a machine shall do when it boots from the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub enum BootAction {
    /// Load a kernel and an initial ramdisk, such as the deploy agent.
    Kernel {
        /// Path below bootd's roots, or a URL.
        kernel: String,
        /// Path below bootd's roots, or a URL.
        initrd: String,
        /// The kernel line. May name the node and its addresses, never a secret.
        cmdline: String,
    },
    /// Go on to its own disk.
    Disk,
}

/// The body of `PUT /v1/intents/{mac}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntentPut {
    /// What to do.
    #[serde(flatten)]
    pub action: BootAction,
    /// The node's UUID; it marks events of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// A boot intent in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The machine.
    pub mac: MacAddr,
    /// What it shall do.
    #[serde(flatten)]
    pub action: BootAction,
    /// The node's UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// When it was put, Unix seconds.
    pub put_unix: u64,
}

/// One download.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// Unique while bootd runs.
    pub id: u64,
    /// `http` or `tftp`.
    pub protocol: String,
    /// Who fetches.
    pub peer: IpAddr,
    /// What: the path as asked for.
    pub path: String,
    /// Octets sent so far.
    pub bytes_sent: u64,
    /// Octets in all, where known.
    pub bytes_total: Option<u64>,
    /// When it began, Unix milliseconds.
    pub started_unix_millis: u64,
    /// When it ended, Unix milliseconds; absent while under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_unix_millis: Option<u64>,
    /// How it ended: `complete`, or why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}
