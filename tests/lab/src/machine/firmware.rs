//! [`Firmware`]: what a machine is before it has booted anything, and which of QEMU's machines and Debian's files make it.

/// What a machine's firmware is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS with the iPXE ROM that QEMU puts on its NICs: DHCP architecture 0, user class `iPXE`.
    SeaBios,
    /// SeaBIOS with a ROM that is not iPXE: booted from the network, it asks by DHCP as architecture 0 without a user
    /// class, fetches the boot file by TFTP and runs it. An iPXE with a script plays it; a reboot powers off.
    LegacyRom,
    /// UEFI that fetches its boot file by TFTP: DHCP architecture 7, no user class. It wants 1024 MiB.
    UefiPxe,
    /// UEFI that fetches its boot file by HTTP: DHCP architecture 16, vendor class `HTTPClient`. It wants 1024 MiB.
    UefiHttp,
    /// The same as [`Self::UefiPxe`] with Secure Boot on and Microsoft's keys enrolled: it starts nothing that they have not signed.
    SecureBoot,
    /// UEFI of a 64-bit ARM machine that fetches its boot file by TFTP: DHCP architecture 11. It wants 1024 MiB.
    Arm64Pxe,
    /// UEFI of a 64-bit ARM machine that fetches its boot file by HTTP: DHCP architecture 19. It wants 1024 MiB.
    Arm64Http,
    /// No ROM on the NIC; an iPXE with this script is started like a kernel at every power-on.
    Script(String),
}

/// A ROM of old: no user class, the file over TFTP. The class has to be a setting of its own, for iPXE sends its name
/// wherever none is set; undionly.kpxe, the usual file, then sends `iPXE` again. A file that a ProxyDHCP names is that server's, not the one's that
/// gave the address.
const LEGACY_ROM: &str = "#!ipxe
set user-class LegacyROM
dhcp net0
clear user-class
isset ${proxydhcp/filename} || goto alone
chain tftp://${proxydhcp/next-server}/${proxydhcp/filename}
:alone
chain tftp://${next-server}/${filename}
";

/// UEFI in flash memory.
pub(super) struct Flash {
    /// Its code.
    pub code: &'static str,
    /// What a machine's own variables begin as.
    pub variables: &'static str,
    /// Debian's package of both.
    pub package: &'static str,
}

const X64: Flash =
    Flash { code: "/usr/share/OVMF/OVMF_CODE_4M.fd", variables: "/usr/share/OVMF/OVMF_VARS_4M.fd", package: "ovmf" };
const X64_SECURE: Flash = Flash {
    code: "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
    variables: "/usr/share/OVMF/OVMF_VARS_4M.ms.fd",
    package: "ovmf",
};
const ARM64: Flash = Flash {
    code: "/usr/share/AAVMF/AAVMF_CODE.fd",
    variables: "/usr/share/AAVMF/AAVMF_VARS.fd",
    package: "qemu-efi-aarch64",
};

impl Firmware {
    /// Where it is in flash memory; none for BIOS.
    pub(super) fn flash(&self) -> Option<Flash> {
        match self {
            Self::UefiPxe | Self::UefiHttp => Some(X64),
            Self::SecureBoot => Some(X64_SECURE),
            Self::Arm64Pxe | Self::Arm64Http => Some(ARM64),
            Self::SeaBios | Self::LegacyRom | Self::Script(_) => None,
        }
    }

    /// Whether its processor is a 64-bit ARM one.
    pub fn is_arm64(&self) -> bool {
        matches!(self, Self::Arm64Pxe | Self::Arm64Http)
    }

    /// Whether it wants 1024 MiB, where others do with 512.
    pub fn wants_more_memory(&self) -> bool {
        self.flash().is_some()
    }

    /// Whether it fetches by HTTP alone.
    pub(super) fn is_http(&self) -> bool {
        matches!(self, Self::UefiHttp | Self::Arm64Http)
    }

    /// QEMU's program.
    pub(super) fn emulator(&self) -> &'static str {
        if self.is_arm64() { "qemu-system-aarch64" } else { "qemu-system-x86_64" }
    }

    /// QEMU's machine.
    pub(super) fn machine(&self) -> &'static str {
        match self {
            Self::UefiPxe | Self::UefiHttp => "q35",
            // Only in system management mode may the variables be written.
            Self::SecureBoot => "q35,smm=on",
            Self::Arm64Pxe | Self::Arm64Http => "virt",
            Self::SeaBios | Self::LegacyRom | Self::Script(_) => "pc,graphics=off",
        }
    }

    /// What an iPXE does that stands in for its ROM.
    pub(super) fn script(&self) -> Option<&str> {
        match self {
            Self::LegacyRom => Some(LEGACY_ROM),
            Self::Script(script) => Some(script),
            _ => None,
        }
    }
}
