//! dhcpd's lease API.
//!
//! | request | body → answer |
//! |---|---|
//! | `PUT /v1/reservations/{client}` | [`ReservationPut`] → 200 or 201 [`Reservation`], once durable and in force |
//! | `GET /v1/reservations/{client}?scope=` | → [`Reservation`] |
//! | `DELETE /v1/reservations/{client}?scope=` | → 204, also where there was none |
//! | `GET /v1/reservations?scope=&cursor=&limit=` | → [`Page`] of [`Reservation`] |
//! | `POST /v1/reservations:batch?dry_run=` | [`Batch`] → [`BatchDone`] |
//! | `GET /v1/leases?scope=&cursor=&limit=` and filters: `address`, `mac`, `client_id`, `hostname`, `node`, `label`, `state` | → [`Page`] of [`Lease`] |
//! | `GET /v1/leases:export?format=` | → a stream of [`Lease`]s, one a line (`jsonl`), or of Kea's CSV (`csv`) |
//! | `DELETE /v1/leases/{mac or address}?scope=` | → 204, also where there is none: given up before its time |
//! | `GET /v1/history?address=&mac=` | → [`Page`] of [`LeaseChange`] |
//! | `GET /v1/leases/{mac or address}?scope=` | → [`Lease`] |
//! | `GET /v1/sightings` | → [`Page`] of [`Sighting`] |
//! | `POST /v1/sightings/{mac}/approve` | [`Approve`] → 201 [`Reservation`] |
//! | `GET /v1/scopes` | → [`Page`] of [`ScopeUse`] |
//! | `GET /v1/links` | → [`Page`] of [`Link`] |
//! | `GET /v1/events` | → [`super::event::EventPage`] |
//! | `GET /v1/openapi.json` | → the description of all this, made from dhcpd's routes and these types |
//! | `GET /healthz`, `/readyz`, `/metrics` | text |
//!
//! A reservation's `{client}` is a MAC address, `client-id:<hex>`, `circuit:<hex>`, `remote:<hex>` or `circuit:<hex>+remote:<hex>`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::MacAddr;
use crate::dhcpd::ReservedFor;
use crate::limit::BATCH_ROWS_MAX;

/// Octets in hexadecimal, with colons between them or without.
const OCTETS: &str = "^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){0,254}$";

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Pass as `cursor` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The body of `PUT /v1/reservations/{client}`. Unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReservationPut {
    /// The scope; may be left out where only one scope can be meant (by address, or the only one there is).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The address; left out: one is chosen from the scope's pools and kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// Option 12.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[A-Za-z0-9.-]{1,253}$"))]
    pub hostname: Option<String>,
    /// The boot file for this machine, instead of the scope's, whatever its architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub boot_file: Option<String>,
    /// Options by name (`routers`, `domain-name-servers`, …) or number, values as in the configuration file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, serde_json::Value>,
    /// The node's UUID, for the reader; dhcpd gives it no meaning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub node: Option<String>,
    /// The machine. A row of a batch names at least one identity; elsewhere the path names one, and these may name others of the same client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// The client identifier (option 61) that it is for, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = OCTETS))]
    pub client_id: Option<String>,
    /// The circuit id (option 82, sub-option 1) of the port that it is for, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = OCTETS))]
    pub circuit_id: Option<String>,
    /// The remote id (sub-option 2) of that port, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = OCTETS))]
    pub remote_id: Option<String>,
    /// Instead of an address: the pool that one is chosen from, as the configuration writes its range, or any address of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The name of a boot profile of the configuration, instead of the scope's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// Boot files by stage and architecture, with the keys of a boot profile: `bios`, `efi_x64`, `ipxe` …
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub boot_files: BTreeMap<String, String>,
    /// The lease time, seconds, whatever the client asks for.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::number::optional")]
    #[schemars(with = "Option<u32>", range(min = 60, max = 4_294_967_295u32))]
    pub lease_secs: Option<u32>,
    /// Labels, for the reader and for filters; dhcpd gives them no meaning.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When the reservation ends by itself, Unix seconds; a lease that it gave runs on to its end.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::number::optional")]
    #[schemars(with = "Option<u64>", range(min = 1, max = 4_294_967_294u32))]
    pub expires_unix: Option<u64>,
}

/// A reservation in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reservation {
    /// The machine, where it is for one by its hardware address. What is for several identities is for whoever comes with one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// The client identifier (option 61) that it is for, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = OCTETS))]
    pub client_id: Option<String>,
    /// The circuit id (option 82, sub-option 1) of the port that it is for, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = OCTETS))]
    pub circuit_id: Option<String>,
    /// The remote id (sub-option 2) of that port, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = OCTETS))]
    pub remote_id: Option<String>,
    /// Its scope.
    pub scope: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Option 12.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The boot file for this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_file: Option<String>,
    /// Options as they were given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, serde_json::Value>,
    /// The node's UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The name of a boot profile of the configuration, instead of the scope's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// Boot files by stage and architecture, with the keys of a boot profile: `bios`, `efi_x64`, `ipxe` …
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub boot_files: BTreeMap<String, String>,
    /// The lease time, seconds, whatever the client asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_secs: Option<u32>,
    /// Labels, for the reader and for filters; dhcpd gives them no meaning.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When the reservation ends by itself, Unix seconds; a lease that it gave runs on to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix: Option<u64>,
    /// Where it comes from.
    pub origin: Origin,
}

/// The identities that the fields of a row name, in their order; else the field at fault and what is wrong with it.
type Named = Result<Vec<ReservedFor>, (&'static str, &'static str)>;

impl ReservationPut {
    /// The identities that its fields name.
    ///
    /// # Errors
    /// See [`ReservedFor::named`].
    pub fn identities(&self) -> Named {
        ReservedFor::named(self.mac, self.client_id.as_deref(), self.circuit_id.as_deref(), self.remote_id.as_deref())
    }
}

impl ClientRef {
    /// The identities that its fields name.
    ///
    /// # Errors
    /// See [`ReservedFor::named`].
    pub fn identities(&self) -> Named {
        ReservedFor::named(self.mac, self.client_id.as_deref(), self.circuit_id.as_deref(), self.remote_id.as_deref())
    }
}

impl Reservation {
    /// For whom it is, by one identity or by several, in their order; none where they are of a kind which this version does not know.
    pub fn identities(&self) -> Vec<ReservedFor> {
        let (client_id, circuit_id) = (self.client_id.as_deref(), self.circuit_id.as_deref());
        ReservedFor::named(self.mac, client_id, circuit_id, self.remote_id.as_deref()).unwrap_or_default()
    }

    /// For whom it is, by its first identity.
    pub fn client(&self) -> Option<ReservedFor> {
        self.identities().into_iter().next()
    }
}

/// The body of `POST /v1/reservations:batch?dry_run=`: all of it comes into force, or nothing. An identity or an address is named once.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Reservations, each with its `mac` or another identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = BATCH_ROWS_MAX))]
    pub put: Vec<ReservationPut>,
    /// Clients whose reservation is deleted; no error where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = BATCH_ROWS_MAX))]
    pub delete: Vec<ClientRef>,
}

/// Whose reservation in a scope is meant, by one of its identities.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientRef {
    /// The machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// The client identifier (option 61) that it is for, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = OCTETS))]
    pub client_id: Option<String>,
    /// The circuit id (option 82, sub-option 1) of the port that it is for, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = OCTETS))]
    pub circuit_id: Option<String>,
    /// The remote id (sub-option 2) of that port, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = OCTETS))]
    pub remote_id: Option<String>,
    /// The scope, where it has reservations in several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// What a batch has changed, or would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchDone {
    /// Whether nothing was changed, as was asked.
    pub dry_run: bool,
    /// Reservations made.
    pub created: u64,
    /// Reservations that were others before.
    pub changed: u64,
    /// Rows that were so already.
    pub unchanged: u64,
    /// Reservations deleted.
    pub deleted: u64,
    /// The addresses of rows that left them open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chosen: Vec<ChosenAddress>,
}

/// An address chosen for a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChosenAddress {
    /// The machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// The client identifier (option 61) that it is for, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = OCTETS))]
    pub client_id: Option<String>,
    /// The circuit id (option 82, sub-option 1) of the port that it is for, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = OCTETS))]
    pub circuit_id: Option<String>,
    /// The remote id (sub-option 2) of that port, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = OCTETS))]
    pub remote_id: Option<String>,
    /// Its scope.
    pub scope: String,
    /// Its address.
    pub address: Ipv4Addr,
}

/// Where a reservation comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The configuration file.
    Config,
    /// This API.
    Api,
}

/// State of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LeaseState {
    /// Promised to its client until `ends_unix`.
    Bound,
    /// Given back by its client.
    Released,
    /// Its time is over.
    Expired,
    /// In quarantine: a client found it in use by somebody else.
    Declined,
}

/// A binding, as it stands on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// The machine.
    pub mac: MacAddr,
    /// The scope.
    pub scope: String,
    /// Its state now.
    pub state: LeaseState,
    /// When the client was bound or last renewed, Unix seconds.
    pub starts_unix: u64,
    /// When the promise ends, Unix seconds.
    pub ends_unix: u64,
    /// The client identifier it sent (option 61), hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = OCTETS))]
    pub client_id: Option<String>,
    /// The circuit that a relay named last (option 82, sub-option 1), hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = OCTETS))]
    pub circuit_id: Option<String>,
    /// The far end of it (sub-option 2), hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = OCTETS))]
    pub remote_id: Option<String>,
    /// The host name in force: the reservation's, else the client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Whether a reservation chose the address.
    pub reserved: bool,
    /// Sequence of the journal record that holds the promise.
    pub sequence: u64,
}

/// A change of a lease, renewals aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseChange {
    /// When, Unix seconds.
    pub at_unix: u64,
    /// `bound`, `released` or `declined`.
    #[schemars(extend("enum" = ["bound", "released", "declined"]))]
    pub change: String,
    /// The address.
    pub address: Ipv4Addr,
    /// The machine.
    pub mac: MacAddr,
    /// The scope.
    pub scope: String,
    /// When the promise or the quarantine was to end then, Unix seconds; renewals move it on.
    pub ends_unix: u64,
    /// Sequence of the journal record.
    pub sequence: u64,
}

/// An unknown machine that asked on a static scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sighting {
    /// The machine.
    pub mac: MacAddr,
    /// The static scope it asked on.
    pub scope: String,
    /// Option 60 as text, e.g. `iDRAC`; control characters escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor_class: Option<String>,
    /// Option 12 as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// First seen, Unix seconds.
    pub first_unix: u64,
    /// Last seen, Unix seconds.
    pub last_unix: u64,
    /// How often.
    pub count: u64,
}

/// The body of `POST /v1/sightings/{mac}/approve`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// The scope; may be left out where the machine was seen on one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The address; left out: the next free one of the scope's pools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// Option 12.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[A-Za-z0-9.-]{1,253}$"))]
    pub hostname: Option<String>,
    /// The node's UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub node: Option<String>,
}

/// An interface that is served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    /// Its name.
    pub interface: String,
    /// The scopes on it.
    pub scopes: Vec<String>,
    /// DHCP servers there that are neither ours nor declared (`known_servers`), the one noticed last at the end.
    pub foreign_servers: Vec<ForeignServer>,
}

/// A DHCP server that is not ours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ForeignServer {
    /// Its server identifier.
    pub address: Ipv4Addr,
    /// Its hardware address, where it was heard or answered ARP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// The last address that it was heard to offer or to give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<Ipv4Addr>,
    /// The last boot file that it named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_file: Option<String>,
    /// When it was first noticed, Unix seconds.
    pub first_unix: u64,
    /// When it was last noticed, Unix seconds.
    pub last_unix: u64,
    /// How often.
    pub count: u64,
}

/// How full a scope is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScopeUse {
    /// The scope.
    pub scope: String,
    /// `static`, `dynamic` or `proxy`.
    #[schemars(extend("enum" = ["static", "dynamic", "proxy"]))]
    pub kind: String,
    /// Addresses in its pools.
    pub addresses: u64,
    /// Of these, bound, held for an offer, resting or reserved, whether or not anybody has come for a reserved one.
    pub in_use: u64,
    /// In quarantine after a DECLINE.
    pub declined: u64,
}
