//! Which file a client is told to boot: by what it says it is (RFC 4578; iPXE's user class; UEFI's `HTTPClient`).
//!
//! Order: HTTPClient, then iPXE, then the ROM by architecture. A file that a reservation names goes to the stage that can make use of it.
//!
//! Invariant: no client is sent round in a circle. iPXE is never given what firmware is given, a ROM never a URL, and `HTTPClient` never a name for TFTP.

use std::net::Ipv4Addr;

use reveille_config::dhcpd::{Architecture, Boot, Fetches, Stage as BootStage, is_http_url};

use super::view::{MessageType, PacketView, code};

/// The stage of booting that a client is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// UEFI HTTP boot: option 60 begins with `HTTPClient`.
    HttpClient,
    /// iPXE: option 77 is `iPXE`.
    Ipxe,
    /// A PXE ROM: option 60 begins with `PXEClient`, or option 93 is there. A BOOTP client, which says nothing of itself, is one too.
    Rom,
    /// No boot client: an operating system, a BMC.
    None,
}

impl Stage {
    /// What the packet says.
    pub fn of(packet: &PacketView<'_>) -> Self {
        //= https://www.rfc-editor.org/rfc/rfc2132#section-8.4
        //# Servers not equipped to interpret the vendor-specific information sent by a client MUST ignore it (although it may be reported).
        //= https://www.rfc-editor.org/rfc/rfc2132#section-9.13
        //# Servers not equipped to interpret the class-specific information sent by a client MUST ignore it (although it may be reported).
        let vendor_class = packet.option(code::VENDOR_CLASS).unwrap_or_default();
        if vendor_class.starts_with(b"HTTPClient") {
            return Self::HttpClient;
        }
        // iPXE sends the four octets as they are; RFC 3004 would put a length before them.
        if let Some(b"iPXE" | b"\x04iPXE") = packet.option(code::USER_CLASS) {
            return Self::Ipxe;
        }
        if packet.message_type == MessageType::Bootp {
            return Self::Rom;
        }
        if vendor_class.starts_with(b"PXEClient") || packet.option(code::ARCHITECTURE).is_some() {
            return Self::Rom;
        }
        Self::None
    }

    /// The same in the configuration's words; `None` for what boots nothing.
    pub const fn configured(self) -> Option<BootStage> {
        match self {
            Self::HttpClient => Some(BootStage::Http),
            Self::Ipxe => Some(BootStage::Ipxe),
            Self::Rom => Some(BootStage::Rom),
            Self::None => None,
        }
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

/// Chooses for a client. `own_file` is its reservation's; `server_address` is the TFTP server where the profile names none.
pub fn choose<'a>(
    packet: &PacketView<'_>,
    boot: Option<&'a Boot>,
    server_address: Ipv4Addr,
    own_file: Option<&'a str>,
) -> BootAnswer<'a> {
    let stage = Stage::of(packet);
    let next_server = boot.map_or(Ipv4Addr::UNSPECIFIED, |boot| boot.next_server.unwrap_or(server_address));
    let of_profile = boot.and_then(|boot| match stage {
        Stage::HttpClient => by_architecture(packet, boot, Fetches::Http),
        Stage::Ipxe => boot.ipxe.as_deref(),
        Stage::Rom => by_architecture(packet, boot, Fetches::Tftp),
        Stage::None => None,
    });
    BootAnswer { stage, next_server, file: own_file.filter(|file| suits(stage, file)).or(of_profile) }
}

/// Whether a reservation's file is one for this stage: a script for iPXE, which is told by its name, or a program for firmware.
fn suits(stage: Stage, file: &str) -> bool {
    let path = file.split(['?', '#']).next().unwrap_or_default();
    let script = path.ends_with(".ipxe");
    match stage {
        Stage::Ipxe => script,
        Stage::HttpClient => !script && is_http_url(file),
        Stage::Rom => !script && !file.contains("://"),
        // Whoever asks for option 67 without booting is told what was written down.
        Stage::None => true,
    }
}

/// The file of the first of the client's architectures that has one (RFC 4578 §2.1: the option is a list), else of the nearest to it.
fn by_architecture<'a>(packet: &PacketView<'_>, boot: &'a Boot, fetches: Fetches) -> Option<&'a str> {
    let named = packet.option(code::ARCHITECTURE).unwrap_or_default();
    // A ROM so old that it does not say is a BIOS.
    let named = if named.len() < 2 { &[0, 0] } else { named };
    let architectures = || named.chunks_exact(2).map(|pair| Architecture(u16::from_be_bytes([pair[0], pair[1]])));
    let suits = |file: &&'a String| is_http_url(file) == (fetches == Fetches::Http);
    let file = |architecture| boot.files.get(&architecture).filter(suits);
    let exact = architectures().find_map(file);
    exact.or_else(|| architectures().find_map(|one| file(one.fallback(fetches)?))).map(String::as_str)
}
