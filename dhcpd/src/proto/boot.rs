//! Which file a client is told to boot: by what it says it is (RFC 4578; iPXE's user class; UEFI's `HTTPClient`).
//!
//! Order: the reservation's own file, then HTTPClient, then iPXE, then the ROM by architecture. iPXE is never given the ROM's file, so no client can be
//! sent round in a circle.

use std::net::Ipv4Addr;

use reveille_config::dhcpd::Boot;

use super::view::{PacketView, code};

/// The stage of booting that a client is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// UEFI HTTP boot: option 60 begins with `HTTPClient`.
    HttpClient,
    /// iPXE: option 77 is `iPXE`.
    Ipxe,
    /// A PXE ROM: option 60 begins with `PXEClient`, or option 93 is there.
    Rom,
    /// No boot client: an operating system, a BMC.
    None,
}

impl Stage {
    /// What the packet says.
    pub fn of(packet: &PacketView<'_>) -> Self {
        let vendor_class = packet.option(code::VENDOR_CLASS).unwrap_or_default();
        if vendor_class.starts_with(b"HTTPClient") {
            return Self::HttpClient;
        }
        // iPXE sends the four octets as they are; RFC 3004 would put a length before them.
        if let Some(b"iPXE" | b"\x04iPXE") = packet.option(code::USER_CLASS) {
            return Self::Ipxe;
        }
        if vendor_class.starts_with(b"PXEClient") || packet.option(code::ARCHITECTURE).is_some() {
            return Self::Rom;
        }
        Self::None
    }
}

/// Boot information for one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootAnswer<'a> {
    /// What the client is.
    pub stage: Stage,
    /// `siaddr` and option 66; unspecified where the scope boots nobody.
    pub next_server: Ipv4Addr,
    /// `file` and option 67.
    pub file: Option<&'a str>,
}

/// Chooses for a client; `own_file` is its reservation's.
pub fn choose<'a>(packet: &PacketView<'_>, boot: Option<&'a Boot>, own_file: Option<&'a str>) -> BootAnswer<'a> {
    let stage = Stage::of(packet);
    let next_server = boot.map_or(Ipv4Addr::UNSPECIFIED, |boot| boot.next_server);
    // A ROM so old that it does not say is a BIOS.
    let architecture = packet.architecture().unwrap_or(0);
    let of_scope = boot.and_then(|boot| match (stage, architecture) {
        (Stage::HttpClient, 15) => boot.http_ia32.as_deref(),
        (Stage::HttpClient, 16) => boot.http_x64.as_deref(),
        (Stage::HttpClient, 19) => boot.http_arm64.as_deref(),
        (Stage::Ipxe, _) => boot.ipxe.as_deref(),
        (Stage::Rom, 0) => boot.bios.as_deref(),
        (Stage::Rom, 6) => boot.efi_ia32.as_deref(),
        (Stage::Rom, 7 | 9) => boot.efi_x64.as_deref(),
        (Stage::Rom, 11) => boot.efi_arm64.as_deref(),
        _ => None,
    });
    BootAnswer { stage, next_server, file: own_file.or(of_scope) }
}
