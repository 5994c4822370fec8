//! What bootd reads: the table `[bootd]`. Made only by [`crate::Config::parse`].

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

use crate::Endpoint;
use crate::Secret;
use crate::dhcpd::Tls;
use crate::temp_url::TempUrlGuard;
use crate::webhook::Webhook;

/// The table `[bootd]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Bootd {
    /// Where boot intents are kept.
    pub state_dir: PathBuf,
    /// Where bootd's own API (intents, transfers, events) listens; at least one. Never the machines' network.
    pub api: Vec<Endpoint>,
    /// UDP addresses that serve TFTP, usually port 69.
    pub tftp: Vec<SocketAddr>,
    /// Whether transfers go over the listening port too, for load balancers and firewalls that follow no other; default no.
    pub tftp_single_port: bool,
    /// Threads that serve each address of [`Self::tftp`]; default 1, which one core carries.
    pub tftp_workers: usize,
    /// Where files are put that machines write over TFTP; none where the table is missing, and writes are refused.
    pub dropbox: Option<DropBox>,
    /// TCP addresses that serve HTTP to machines.
    pub http: Vec<SocketAddr>,
    /// TCP addresses that serve HTTPS to machines, with [`Self::tls`].
    pub https: Vec<SocketAddr>,
    /// The certificate of [`Self::https`]; there where that has an address.
    pub tls: Option<Tls>,
    /// `http://address:port` as machines reach it, without a trailing slash; rendered into scripts.
    pub public_url: String,
    /// Directories whose files both TFTP and HTTP serve, searched in order; they exist.
    pub roots: Vec<PathBuf>,
    /// Where files come from that no root has; none where the table is missing.
    pub upstream: Option<Upstream>,
    /// What machines boot that nobody knows; nothing where the table is missing.
    pub discovery: Option<Discovery>,
    /// Operators' own scripts; names are unique.
    pub profiles: Vec<Profile>,
    /// Which paths are served only with a signature; none where the table is missing.
    pub temp_url: Option<TempUrlGuard>,
    /// Who is sent the events; names are unique.
    pub webhooks: Vec<Webhook>,
}

/// The table `[bootd.dropbox]`: a directory for what machines write.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DropBox {
    /// The directory; it exists. Files in it are never overwritten.
    pub directory: PathBuf,
    /// Octets of one file; default 16 MiB.
    pub file_bytes_max: u64,
}

/// The table `[bootd.upstream]`: another HTTP server, whose files are fetched when they are asked for, and kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Upstream {
    /// The path below which its files are served, without slashes at its ends.
    pub path: String,
    /// What a file's path is appended to, without a slash at its end.
    pub url: String,
    /// Octets that its files may take on disk, in `upstream/` of the state directory; default 20 GiB.
    pub disk_bytes_max: u64,
    /// A copy that was compared with the upstream's file so recently is not compared again, seconds; default 60.
    pub check_secs: u32,
    /// What signs requests, where the upstream is a Swift with temporary URLs.
    pub temp_url_key: Option<Secret>,
}

/// The table `[bootd.discovery]`: what machines boot that have no boot intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Discovery {
    /// Path below bootd's roots, or a URL.
    pub kernel: String,
    /// Path below bootd's roots, or a URL.
    pub initrd: String,
    /// The kernel line.
    pub cmdline: String,
    /// The profile whose templates make the scripts.
    pub profile: Option<String>,
}

/// A table `[[bootd.profile]]`: templates of scripts; a language without one has what is built in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Profile {
    /// What intents call it.
    pub name: String,
    /// The file of iPXE's template.
    pub ipxe: Option<PathBuf>,
    /// PXELINUX'.
    pub pxelinux: Option<PathBuf>,
    /// GRUB's.
    pub grub: Option<PathBuf>,
}
