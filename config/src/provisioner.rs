//! What the provisioner reads: the table `[provisioner]`. Made only by [`crate::Config::parse`].

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

use crate::temp_url::TempUrlIssue;
use crate::webhook::Webhook;
use crate::{Endpoint, Secret, Subnet};

/// The table `[provisioner]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Provisioner {
    /// Where nodes, ports and history are kept.
    pub state_dir: PathBuf,
    /// Where the whole Ironic API listens: loopback or a unix socket, as there is no authentication yet; at least one.
    pub api: Vec<Endpoint>,
    /// Where agents reach lookup and heartbeat, and nothing else: addresses on the provisioning network.
    pub agent_api: Vec<SocketAddr>,
    /// `http://address:port` of `agent_api` as agents reach it, without a trailing slash: `ipa-api-url`.
    pub agent_api_url: String,
    /// dhcpd's lease API.
    pub dhcpd: Endpoint,
    /// What is shown there, and whom to trust.
    pub dhcpd_access: DhcpdAccess,
    /// bootd's API.
    pub bootd: Endpoint,
    /// bootd's `public_url`: where machines fetch kernels and images.
    pub boot_url: String,
    /// Networks in which agents' call-back addresses must lie.
    pub agent_networks: Vec<Subnet>,
    /// The agent's kernel and ramdisk, and what their kernel line carries besides what the provisioner adds.
    pub deploy: Deploy,
    /// Deadlines of the waiting states.
    pub timeouts: Timeouts,
    /// Credentials for nodes whose `driver_info` has none.
    pub ipmi: Ipmi,
    /// How power is kept in view and changed.
    pub power: PowerPolicy,
    /// Which images agents are handed with a signature; none where the table is missing.
    pub temp_url: Option<TempUrlIssue>,
    /// Who is sent the events; names are unique.
    pub webhooks: Vec<Webhook>,
}

/// What the provisioner shows to a dhcpd elsewhere, and whom it trusts there: the table `[provisioner.dhcpd]`, whose `url` is [`Provisioner::dhcpd`]. Empty for one on
/// this host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct DhcpdAccess {
    /// A token with the role write.
    pub token: Option<Secret>,
    /// The certificates that sign dhcpd's, PEM; there where the endpoint is `https`.
    pub ca: Option<PathBuf>,
    /// A certificate to show, and its key, PEM.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// The table `[provisioner.deploy]`. Names are paths below bootd's roots unless they are URLs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Deploy {
    /// Default `deploy_kernel`; a node's `driver_info` overrides it.
    pub kernel: Option<String>,
    /// Default `deploy_ramdisk`; a node's `driver_info` overrides it.
    pub ramdisk: Option<String>,
    /// Appended to the agent's kernel line, e.g. `console=ttyS0`.
    pub kernel_append: String,
}

/// The table `[provisioner.timeouts]`, all in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Timeouts {
    /// What agents are told as `heartbeat_timeout`, and after which a silent agent is given up; default 300 s to tolerate slow links.
    pub heartbeat_secs: u32,
    /// From power on to the agent's first heartbeat; default 1,800.
    pub deploy_callback_secs: u32,
    /// One step of the agent (writing an image, say); default 3,600.
    pub agent_step_secs: u32,
    /// A wanted power change until it is read back; default 60.
    pub power_secs: u32,
    /// One BMC command with its retries; default 15.
    pub bmc_secs: u32,
}

/// The table `[provisioner.ipmi]`: what is used where a node's `driver_info` lacks it.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct Ipmi {
    /// Default `ipmi_username`, at most 16 octets.
    pub username: Option<String>,
    /// Default `ipmi_password`, at most 20 octets; always a reference in the file.
    pub password: Option<Secret>,
    /// Whether cipher suite 0, no authentication at all, may be spoken; default no.
    pub allow_cipher_suite_0: bool,
}

/// The table `[provisioner.power]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PowerPolicy {
    /// Seconds in which every BMC is asked for its machine's power once; 0: never; default 60.
    pub sync_secs: u32,
    /// Whether power that differs from what it was left as is brought back; default no: it is only reported.
    pub force: bool,
    /// Whether one of a BMC's few session slots is held between commands; default no.
    pub hold_sessions: bool,
    /// Machines of one label that are powered on in a second; 0: no limit; default 0.
    pub on_per_sec: u32,
    /// The key in a node's `properties` or `extra` that holds the label; default `rack`.
    pub on_label: String,
    /// Whether a machine that does not shut down when it is asked to is then switched off; default no: that is an error.
    pub soft_off_then_off: bool,
}

impl Default for PowerPolicy {
    fn default() -> Self {
        Self {
            sync_secs: 60,
            force: false,
            hold_sessions: false,
            on_per_sec: 0,
            on_label: "rack".to_owned(),
            soft_off_then_off: false,
        }
    }
}
