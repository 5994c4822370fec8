//! [`Api`]: where the lease API listens, and who may do what over it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::Endpoint;
use crate::dto::token::Role;

/// The table `[dhcpd.api]`; `api = [...]` in `[dhcpd]` is short for its `listen`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Api {
    /// Where it listens; at least one. `address:port` is a loopback address; `https://address:port` goes with [`Self::tls`].
    pub listen: Vec<Endpoint>,
    /// The group of the unix sockets' files; `None`: the daemon's own.
    pub socket_group: Option<String>,
    /// The permission bits of the unix sockets' files; default 0660. Whoever may open one has the role admin.
    pub socket_mode: u32,
    /// What those may do who come over plain TCP on the loopback without a token; `None`: nothing, the default.
    pub loopback_role: Option<Role>,
    /// The server's certificate; there where an `https` endpoint is.
    pub tls: Option<Tls>,
    /// Clients that show a certificate instead of a token.
    pub client_certificates: Option<ClientCertificates>,
}

/// The tables `[dhcpd.api.tls]` and `[bootd.tls]`; both files are PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Tls {
    /// The server's certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// Its private key, which not everybody on the host can read.
    pub key: PathBuf,
}

/// The table `[dhcpd.api.client_certificates]`: at least a `role` or one of `roles`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClientCertificates {
    /// The certificates that sign those of clients, PEM.
    pub ca: PathBuf,
    /// What every client may do whose certificate they have signed; `None`: those of [`Self::roles`] only.
    pub role: Option<Role>,
    /// What clients may do whose certificate is for this DNS name (subject alternative name).
    pub roles: BTreeMap<String, Role>,
}
