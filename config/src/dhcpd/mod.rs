//! What dhcpd reads: `[dhcpd]` and its scopes.
//!
//! These types are made only by [`crate::Config::parse`], which has checked what their docstrings promise; other crates read
//! them and cannot build them (`#[non_exhaustive]`).

mod api;
mod architecture;
mod boot;
mod class;
mod reserved_for;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::Serialize;

use crate::option::Definitions;
use crate::webhook::Webhook;
use crate::{AddressRange, Octets, OptionSet, Subnet};

pub use api::{Api, ClientCertificates, Tls};
pub use architecture::{Architecture, Fetches};
pub use boot::{Boot, is_http_url};
pub use class::{Class, Condition, Field, LeaseTimes, Pattern, Quirks, Stage};
pub use reserved_for::{NotAClient, ReservedFor};

/// The table `[dhcpd]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Dhcpd {
    /// Where the journal and snapshots live.
    pub state_dir: PathBuf,
    /// The lease API.
    pub api: Api,
    /// Worker threads, 1 to [`crate::limit::DHCPD_WORKERS_MAX`]; default 1.
    pub workers: usize,
    /// The journal's settings.
    pub journal: JournalSettings,
    /// The sockets' settings.
    pub io: IoSettings,
    /// The options that the file defines.
    pub definitions: Definitions,
    /// The classes, in the order of the file, which is their precedence; names are unique.
    pub classes: Vec<Class>,
    /// Boot profiles by name.
    pub boots: BTreeMap<String, Boot>,
    /// Relays and concentrators that may ask for leases (DHCPLEASEQUERY, RFC 4388), by their `giaddr`; default none.
    pub leasequery: Vec<Subnet>,
    /// Codes of the options that they may be told beside the lease itself: those called "non-sensitive" there (section 6.4.2); default [`LEASEQUERY_TELL`].
    pub leasequery_tell: Vec<u8>,
    /// DHCP servers of others that may be on our links, by server identifier: they are not told of as foreign.
    pub known_servers: Vec<Ipv4Addr>,
    /// How much one sender may ask.
    pub limits: Limits,
    /// The scopes, in the order of the file; names are unique, subnets do not overlap.
    pub scopes: Vec<Scope>,
    /// Who is sent the events; names are unique.
    pub webhooks: Vec<Webhook>,
}

/// What says how the link is used and nothing of the machine: subnet mask, routers, name servers, domain name, MTU, broadcast address, static routes, time servers, vendor class (RFC 4388 §5
/// expects that it is asked for), search list, classless routes.
pub const LEASEQUERY_TELL: [u8; 11] = [1, 3, 6, 15, 26, 28, 33, 42, 60, 119, 121];

/// The table `[dhcpd.limits]`: what is over a limit is dropped and counted. The bursts allowed are a second's worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Limits {
    /// Packets of one client (`chaddr`) per second, 0 for no limit; default [`crate::limit::CLIENT_PACKETS_PER_SEC`].
    pub client_packets_per_sec: u32,
    /// Packets through one relay (`giaddr`) per second and worker, 0 for no limit; default [`crate::limit::RELAY_PACKETS_PER_SEC`].
    pub relay_packets_per_sec: u32,
    /// How many of a link's pool addresses the clients behind one port (option 82) may hold, percent from 1; default 100, no limit: many networks have relays that
    /// give one circuit id to all machines of a VLAN.
    pub port_share_percent: u8,
    /// What counts as a port there.
    pub port_share_by: PortShareBy,
}

/// What the addresses that one sender's clients hold are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortShareBy {
    /// By circuit id and remote id together; a relay that gives no circuit id names no port. The default.
    #[default]
    Port,
    /// By remote id alone: what is behind one switch, or one modem.
    RemoteId,
}

impl PortShareBy {
    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Port => "port",
            Self::RemoteId => "remote-id",
        }
    }
}

/// The table `[dhcpd.journal]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JournalSettings {
    /// Size of one segment file, bytes; default 16 MiB.
    pub segment_bytes: u64,
    /// Longest time between the starts of two commits while records wait, microseconds; shorter after a commit of few records. Default 1,000.
    pub commit_gap_micros: u64,
    /// A snapshot is taken when so many bytes of log have gathered; default 64 MiB.
    pub snapshot_after_bytes: u64,
}

/// The table `[dhcpd.io]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IoSettings {
    /// Whether replies to one relay may leave as one segmented message, and what one sender sends may be read as one (udp(7), `UDP_SEGMENT` and `UDP_GRO`);
    /// default true.
    pub segmentation: bool,
}

/// One `[[dhcpd.scope]]`: a network on one interface, or behind relays.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Scope {
    /// Unique name: letters, digits, `-` and `_`, at most 64 bytes.
    pub name: String,
    /// Who is served.
    pub kind: ScopeKind,
    /// The link that the scope shares with the other scopes of this name; `None`: it is alone on its link.
    pub shared_network: Option<String>,
    /// The interface that the scope is bound to: that of its clients, or that on which its relays are heard. `None`, where there are relays: any, as the host's
    /// routes go.
    pub interface: Option<String>,
    /// Relays whose clients it serves, by `giaddr`, besides those inside its subnet; not empty: no clients on the interface itself.
    pub relays: Vec<Subnet>,
    /// Ports whose clients it serves (RFC 3046 circuit ids); empty: any.
    pub circuit_ids: Vec<Octets>,
    /// By what its clients are told apart; the same in a shared network.
    pub identity: IdentityKind,
    /// The network.
    pub subnet: Subnet,
    /// This server's own address on the link, inside the subnet: the server identifier (RFC 2132 §9.7).
    pub server_address: Ipv4Addr,
    /// Addresses that are handed out: to anyone in a dynamic scope; in a static scope to a machine approved without an address.
    /// Inside the subnet, without the server's own, the network and the broadcast address; ranges of all scopes are disjoint. At most
    /// [`crate::limit::POOLS_MAX`].
    pub pools: Vec<Pool>,
    /// Addresses of the pools that are never handed out from them; inside the subnet.
    pub exclude: Vec<AddressRange>,
    /// Default lease time, seconds.
    pub lease_secs: u32,
    /// Shortest lease time a client may ask for, seconds; at most `lease_secs`.
    pub lease_secs_min: u32,
    /// Longest lease time a client may ask for, seconds; at least `lease_secs`.
    pub lease_secs_max: u32,
    /// How long an offered address is held for its client, seconds; default 60.
    pub offer_secs: u32,
    /// How long a declined address is kept out of use, seconds; default 86,400.
    pub decline_secs: u32,
    /// At this share of its pools in use a scope tells that it is above, per cent; default 90.
    pub pool_above_percent: u8,
    /// Back at this share it tells that it is below, per cent; less than `pool_above_percent`; default ten less.
    pub pool_below_percent: u8,
    /// How often a DHCPDISCOVER of our own looks for foreign DHCP servers on the link, seconds; 0 is never, the default.
    pub foreign_server_probe_secs: u32,
    /// Whether and how it is asked who uses an address before the address is first offered (RFC 2131 §2.2).
    pub conflict: ConflictCheck,
    /// A renewal with at most this share of its lease used is answered from the record on disk, per cent; 0 turns it off; default 25.
    pub cache_threshold_percent: u8,
    /// Whether a REQUEST for an address that this server knows to be wrong for the link is NAKed although the client is unknown.
    pub authoritative: bool,
    /// Whether replies to clients without an address are always broadcast (broken ROMs).
    pub always_broadcast: bool,
    /// How long replies wait, milliseconds; default 0.
    pub reply_delay_millis: u16,
    /// Whether what a relay selects (RFC 3527) or a client (RFC 3011) is not believed; `giaddr` alone counts then.
    pub ignore_link_selection: bool,
    /// Whether BOOTP clients are served, with an address that is theirs for ever (RFC 1534); default no.
    pub bootp: bool,
    /// Whether a client that asks for rapid commit (RFC 4039) is bound without a DHCPREQUEST; default no.
    pub rapid_commit: bool,
    /// Whether IPv6 router solicitations on the link are answered with "no router here" (iPXE otherwise waits 13 s). Default: dynamic scopes yes.
    pub answer_router_solicitations: bool,
    /// Options of every reply: routers, domain-name-servers …
    pub options: OptionSet,
    /// Boot files; `None` where the scope boots nobody.
    pub boot: Option<ScopeBoot>,
    /// Reservations that are part of the configuration; those made over the API live in the journal.
    pub reservations: Vec<FixedReservation>,
}

/// Looking for who uses an address already: `conflict_check` and `conflict_wait_millis`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConflictCheck {
    /// How it is asked.
    pub method: ConflictMethod,
    /// How long an answer is waited for, milliseconds, 20 to [`crate::limit::CONFLICT_WAIT_MILLIS_MAX`]; default 250: a host answers ARP
    /// within a few, and firmware waits a second or more for its first offer before it asks again.
    pub wait_millis: u32,
}

/// The way of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConflictMethod {
    /// ARP for clients on the link, ICMP for those behind a relay, but not for a reservation or a binding that ended: an echo reply does not say whether the
    /// machine itself gave it.
    Auto,
    /// ARP for clients on the link; those behind a relay are not asked for.
    Arp,
    /// ICMP echo, always.
    Icmp,
    /// Not at all.
    Off,
}

impl ScopeKind {
    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Dynamic => "dynamic",
            Self::Proxy => "proxy",
        }
    }
}

impl ConflictMethod {
    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Arp => "arp",
            Self::Icmp => "icmp",
            Self::Off => "off",
        }
    }
}

/// What a scope's clients boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ScopeBoot {
    /// `boot = "name"`: a profile that exists.
    Profile(String),
    /// `[dhcpd.scope.boot]`: files of its own.
    Own(Boot),
}

/// By what clients are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityKind {
    /// By hardware address: one machine keeps one lease from ROM to operating system.
    #[default]
    Mac,
    /// By option 61, where a client sends it.
    ClientId,
}

/// One pool: a range, and who may have its addresses.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Pool {
    /// First and last address.
    pub range: AddressRange,
    /// Only clients in one of these classes, which exist; empty: anyone.
    pub allow: Vec<String>,
    /// No client in one of these classes, which exist.
    pub deny: Vec<String>,
    /// Options of replies that give one of its addresses.
    pub options: OptionSet,
}

/// Who a scope serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ScopeKind {
    /// Known machines only; unknown ones are recorded as sightings and never answered.
    Static,
    /// Anyone, from the pools.
    Dynamic,
    /// Nobody gets an address: boot information beside another DHCP server (ProxyDHCP).
    Proxy,
}

/// One `[[dhcpd.scope.reservation]]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FixedReservation {
    /// The client; unique in its scope.
    pub client: ReservedFor,
    /// Its address: inside the subnet, unique, not the server's own.
    pub address: Ipv4Addr,
    /// Option 12 and the lease's host name.
    pub hostname: Option<String>,
    /// The boot profile's name; it exists.
    pub boot: Option<String>,
    /// Options that override the scope's.
    pub options: OptionSet,
}
