//! The servers that are compared, and how each is set up to be at its best: no conflict probes, no logging of leases, and for
//! renewals no answer from a cache.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::Path;

use crate::generate::{RESERVED_BASE, RESERVED_FIRST, mac};

/// The server's address; its network is 10.64.0.0/10.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);
/// The server's interface.
pub const INTERFACE: &str = "srv0";

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contender {
    /// The stateless responder over plain sockets.
    Ceiling,
    /// The same with segmentation offload.
    CeilingOffload,
    /// Kea without multi-threading.
    KeaSingle,
    /// Kea with a pool of one thread.
    KeaMulti,
    /// ISC dhcpd.
    IscDhcpd,
    /// dnsmasq.
    Dnsmasq,
    /// Ours over plain sockets.
    Reveille,
    /// Ours as it is set up where nothing is said: its replies leave segmented, while the load knows nothing of that.
    ReveilleDefault,
    /// Ours with segmentation offload.
    ReveilleOffload,
}

impl Contender {
    /// All of them, in the order of their turns.
    pub const ALL: [Self; 9] = [
        Self::Ceiling,
        Self::KeaSingle,
        Self::Reveille,
        Self::KeaMulti,
        Self::CeilingOffload,
        Self::IscDhcpd,
        Self::ReveilleOffload,
        Self::Dnsmasq,
        Self::ReveilleDefault,
    ];

    /// Its key in the results.
    pub fn key(self) -> &'static str {
        match self {
            Self::Ceiling => "ceiling",
            Self::CeilingOffload => "ceiling_gso",
            Self::KeaSingle => "kea_single",
            Self::KeaMulti => "kea_multi",
            Self::IscDhcpd => "isc_dhcpd",
            Self::Dnsmasq => "dnsmasq",
            Self::Reveille => "reveille",
            Self::ReveilleDefault => "reveille_default",
            Self::ReveilleOffload => "reveille_gso",
        }
    }

    /// Its name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Ceiling => "stateless responder (ceiling)",
            Self::CeilingOffload => "stateless responder, GSO",
            Self::KeaSingle => "Kea, memfile, single-threaded",
            Self::KeaMulti => "Kea, memfile, multi-threaded",
            Self::IscDhcpd => "ISC dhcpd",
            Self::Dnsmasq => "dnsmasq",
            Self::Reveille => "Reveille dhcpd, plain sockets",
            Self::ReveilleDefault => "Reveille dhcpd, GSO at its end alone",
            Self::ReveilleOffload => "Reveille dhcpd, GSO at both ends",
        }
    }

    /// Whether an ACK of its survives a power cut. Kea never syncs; dnsmasq syncs, but rewrites its only file in place.
    pub fn durable(self) -> bool {
        matches!(self, Self::Reveille | Self::ReveilleDefault | Self::ReveilleOffload | Self::IscDhcpd)
    }

    /// Whether the load uses segmentation offload.
    pub fn offload(self) -> bool {
        matches!(self, Self::CeilingOffload | Self::ReveilleOffload)
    }

    /// Whether our dhcpd uses it.
    pub fn segmentation(self) -> bool {
        matches!(self, Self::ReveilleDefault | Self::ReveilleOffload)
    }

    /// How many clients outstanding it does best with: the peers' sockets drop beyond that.
    pub fn window(self) -> u64 {
        match self {
            Self::KeaSingle | Self::KeaMulti => 128,
            Self::IscDhcpd | Self::Dnsmasq => 64,
            Self::Ceiling | Self::Reveille | Self::ReveilleDefault => 1_024,
            Self::CeilingOffload | Self::ReveilleOffload => 2_048,
        }
    }

    /// How many clients are bound before their renewals are measured.
    pub fn renewing(self) -> u64 {
        match self {
            Self::Dnsmasq => 1_000,
            Self::IscDhcpd => 1_500,
            Self::KeaSingle | Self::KeaMulti => 20_000,
            _ => 100_000,
        }
    }
}

/// How our dhcpd is set up.
#[derive(Debug, Clone, Copy)]
pub struct Ours {
    /// Worker threads.
    pub workers: usize,
    /// Reservations in the file.
    pub reservations: u32,
    /// Segmentation offload.
    pub segmentation: bool,
}

impl Default for Ours {
    fn default() -> Self {
        Self { workers: 1, reservations: 0, segmentation: false }
    }
}

/// Our configuration.
pub fn reveille(state: &Path, ours: Ours) -> String {
    let state = state.display();
    let mut text = format!(
        r#"[dhcpd]
state_dir = "{state}"
api = ["unix:{state}/dhcpd.sock"]
workers = {}
limits = {{ client_packets_per_sec = 0, relay_packets_per_sec = 0 }}

[dhcpd.io]
segmentation = {}

[[dhcpd.scope]]
name = "load"
kind = "dynamic"
interface = "{INTERFACE}"
subnet = "10.64.0.0/10"
server_address = "{SERVER}"
pools = ["10.65.0.0-10.95.255.255"]
lease_secs = 3600
cache_threshold_percent = 0
conflict_check = "off"
"#,
        ours.workers, ours.segmentation
    );
    for number in 0..ours.reservations {
        let address = Ipv4Addr::from(u32::from(RESERVED_BASE) + number);
        let chaddr = mac(RESERVED_FIRST + number);
        let _ = write!(text, "[[dhcpd.scope.reservation]]\nmac = \"{chaddr}\"\naddress = \"{address}\"\n");
    }
    text
}

/// Kea as it is fastest: its in-memory file, never synced, never cleaned up.
pub fn kea(state: &Path, multi: bool) -> String {
    let state = state.display();
    format!(
        r#"{{"Dhcp4": {{
  "interfaces-config": {{"interfaces": ["{INTERFACE}/{SERVER}"], "dhcp-socket-type": "udp"}},
  "lease-database": {{"type": "memfile", "persist": true, "name": "{state}/leases.csv", "lfc-interval": 0}},
  "multi-threading": {{"enable-multi-threading": {multi}, "thread-pool-size": 1, "packet-queue-size": 1024}},
  "valid-lifetime": 3600,
  "cache-threshold": 0.000001,
  "loggers": [{{"name": "kea-dhcp4", "severity": "INFO", "output_options": [{{"output": "stdout"}}]}},
              {{"name": "kea-dhcp4.leases", "severity": "WARN"}}],
  "subnet4": [{{"subnet": "10.64.0.0/10", "pools": [{{"pool": "10.65.0.0 - 10.95.255.255"}}]}}]
}}}}
"#
    )
}

/// ISC dhcpd; it makes a record of every address of its pools at start, hence the smaller pool.
pub fn isc_dhcpd() -> String {
    format!(
        "authoritative;\nping-check off;\ndhcp-cache-threshold 0;\ndefault-lease-time 3600;\nmax-lease-time 3600;\n\
         server-identifier {SERVER};\nsubnet 10.64.0.0 netmask 255.192.0.0 {{ range 10.65.0.0 10.65.255.255; }}\n"
    )
}

/// dnsmasq's arguments.
pub fn dnsmasq(state: &Path) -> Vec<String> {
    let state = state.display();
    [
        "--conf-file=/dev/null".to_owned(),
        "--no-daemon".to_owned(),
        "--port=0".to_owned(),
        "--user=root".to_owned(),
        "--quiet-dhcp".to_owned(),
        "--no-ping".to_owned(),
        "--dhcp-authoritative".to_owned(),
        "--bind-interfaces".to_owned(),
        "--dhcp-lease-max=1000000".to_owned(),
        format!("--interface={INTERFACE}"),
        format!("--pid-file={state}/pid"),
        format!("--dhcp-leasefile={state}/leases"),
        "--dhcp-range=10.65.0.0,10.95.255.255,255.192.0.0,1h".to_owned(),
    ]
    .into()
}
