//! bootd's API.
//!
//! | request | body → answer |
//! |---|---|
//! | `PUT /v1/intents/{mac}` | [`IntentPut`] → 200 [`Intent`], once durable |
//! | `GET /v1/intents/{mac}`, `DELETE` | → [`Intent`], 204 |
//! | the same with a UUID (of the firmware or the node) or the name of a node | all intents that name it (`GET`: the first); `PUT` where there are none: one of its own |
//! | `GET /v1/intents?cursor=&limit=` | → [`super::dhcpd::Page`] of [`Intent`] |
//! | `GET /v1/transfers` | → [`super::dhcpd::Page`] of [`Transfer`]: those under way and the last ended |
//! | `GET /v1/events` | → [`super::event::EventPage`] |
//! | `GET /healthz`, `/readyz`, `/metrics` | text |
//!
//! To machines, over HTTP and TFTP: `boot.ipxe` (chains to the next), `pxelinux.cfg/<mac with hyphens>` and `<mac>/script.ipxe` for iPXE,
//! `<uuid or node>/script.ipxe` and `<uuid or node>/<mac>/script.ipxe` for iPXE too, `pxelinux.cfg/01-<mac>` and `pxelinux.cfg/<uuid>` for PXELINUX,
//! `grub.cfg-01-<mac>` and `grub.cfg-<uuid>` in any directory for GRUB (rendered from the machine's intent; 404 without
//! one), `discovery.ipxe`, `pxelinux.cfg/default` and `discovery.grub` for machines that nobody knows, `grub.cfg` (chains to the next), and the files below the roots.

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
    /// Load a script in the language of the boot program that asks.
    Script {
        /// Path below bootd's roots, or a URL.
        script: String,
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
    /// The UUID of the machine's firmware (SMBIOS), by which boot programs ask too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// The machine's host name, for templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The profile whose templates make the script; none: what is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

impl IntentPut {
    /// Nothing but what to do.
    pub fn new(action: BootAction) -> Self {
        Self { action, node: None, uuid: None, hostname: None, profile: None }
    }
}

/// A boot intent in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The interface; absent where the machine is known by its UUID or its node alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// What it shall do.
    #[serde(flatten)]
    pub action: BootAction,
    /// The node's UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The UUID of the machine's firmware (SMBIOS), by which boot programs ask too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// The machine's host name, for templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The profile whose templates make the script; none: what is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// When it was put, Unix seconds.
    pub put_unix: u64,
}

impl Intent {
    /// What is put for a machine, at a time.
    pub fn of(mac: Option<MacAddr>, put: IntentPut, put_unix: u64) -> Self {
        let IntentPut { action, node, uuid, hostname, profile } = put;
        Self { mac, action, node, uuid, hostname, profile, put_unix }
    }

    /// What was put.
    pub fn put(&self) -> IntentPut {
        let Self { action, node, uuid, hostname, profile, .. } = self.clone();
        IntentPut { action, node, uuid, hostname, profile }
    }
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
