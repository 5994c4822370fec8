//! [`Boot`]: which file a client is told to boot, by what it says it is.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Serialize;

use super::Architecture;

/// A boot profile: `[dhcpd.boot.<name>]`, or `[dhcpd.scope.boot]` for one scope alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Boot {
    /// `siaddr` and option 66: the TFTP server. `None`: the `server_address` of the scope that answers.
    pub next_server: Option<Ipv4Addr>,
    /// By architecture (option 93): a name for TFTP, at most [`crate::limit::BOOT_FILE_BYTES_MAX`] octets, or an `http` URL, at most
    /// [`crate::limit::BOOT_URL_BYTES_MAX`]. An architecture that the registry knows has what its firmware can fetch.
    pub files: BTreeMap<Architecture, String>,
    /// iPXE (user class `iPXE`), any architecture: the script's URL, e.g. `http://10.77.2.1:8080/boot.ipxe`, or a name for TFTP.
    pub ipxe: Option<String>,
}

impl Boot {
    /// A profile out of its keys and values, checked as those of the file are.
    ///
    /// # Errors
    /// The first mistake in words.
    pub fn from_files(files: &BTreeMap<String, String>) -> Result<Self, String> {
        crate::read::boot_of_files(files)
    }
}

/// Whether a boot file is fetched by HTTP.
pub fn is_http_url(file: &str) -> bool {
    file.starts_with("http://") || file.starts_with("https://")
}
