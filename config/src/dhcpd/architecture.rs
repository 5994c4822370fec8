//! [`Architecture`]: the client system architectures of DHCP option 93, by name and by number.
//!
//! Source: RFC 4578 §2.1 and IANA's registry "Processor Architecture Types", which later registrations extend. The names are ours: the keys of a boot
//! profile. A number that the registry does not have yet can be written as a number.

use std::fmt;

use serde::{Serialize, Serializer};

/// A value of option 93.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Architecture(pub u16);

/// How a firmware of an architecture fetches its boot file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetches {
    /// By TFTP: a file name.
    Tftp,
    /// By HTTP: a URL.
    Http,
}

/// One registered architecture.
#[derive(Debug)]
struct Row {
    code: u16,
    name: &'static str,
    fetches: Fetches,
}

const fn tftp(code: u16, name: &'static str) -> Row {
    Row { code, name, fetches: Fetches::Tftp }
}

const fn http(code: u16, name: &'static str) -> Row {
    Row { code, name, fetches: Fetches::Http }
}

/// All registered ones; the code of a row is its place.
const ALL: &[Row] = &[
    tftp(0, "bios"),
    tftp(1, "pc98"),
    tftp(2, "itanium"),
    tftp(3, "alpha"),
    tftp(4, "arc_x86"),
    tftp(5, "lean_client"),
    tftp(6, "efi_ia32"),
    tftp(7, "efi_x64"),
    tftp(8, "efi_xscale"),
    tftp(9, "efi_bc"),
    tftp(10, "efi_arm32"),
    tftp(11, "efi_arm64"),
    tftp(12, "ppc_open_firmware"),
    tftp(13, "ppc_epapr"),
    tftp(14, "power_opal"),
    http(15, "http_ia32"),
    http(16, "http_x64"),
    http(17, "http_bc"),
    http(18, "http_arm32"),
    http(19, "http_arm64"),
    http(20, "http_bios"),
    tftp(21, "uboot_arm32"),
    tftp(22, "uboot_arm64"),
    http(23, "http_uboot_arm32"),
    http(24, "http_uboot_arm64"),
    tftp(25, "efi_riscv32"),
    http(26, "http_riscv32"),
    tftp(27, "efi_riscv64"),
    http(28, "http_riscv64"),
    tftp(29, "efi_riscv128"),
    http(30, "http_riscv128"),
    tftp(31, "s390_basic"),
    tftp(32, "s390_extended"),
    tftp(33, "efi_mips32"),
    tftp(34, "efi_mips64"),
    tftp(35, "efi_sunway32"),
    tftp(36, "efi_sunway64"),
    tftp(37, "efi_loongarch32"),
    http(38, "http_loongarch32"),
    tftp(39, "efi_loongarch64"),
    http(40, "http_loongarch64"),
    tftp(41, "rpi"),
];

/// Architectures of the firmware that boots by TFTP, each with the one of the same firmware that boots by HTTP.
const SAME_FIRMWARE: &[(u16, u16)] = &[
    (0, 20),
    (6, 15),
    (7, 16),
    (9, 16),
    (10, 18),
    (11, 19),
    (21, 23),
    (22, 24),
    (25, 26),
    (27, 28),
    (29, 30),
    (37, 38),
    (39, 40),
];

impl Architecture {
    /// x86 BIOS, and what a client is that does not say.
    pub const BIOS: Self = Self(0);

    /// The registered one of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        ALL.iter().find(|row| row.name == name).map(|row| Self(row.code))
    }

    /// Its name, where it is registered.
    pub fn name(self) -> Option<&'static str> {
        ALL.get(usize::from(self.0)).map(|row| row.name)
    }

    /// How it fetches, where that is registered.
    pub fn fetches(self) -> Option<Fetches> {
        ALL.get(usize::from(self.0)).map(|row| row.fetches)
    }

    /// Every registered name.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ALL.iter().map(|row| row.name)
    }

    /// Which other architecture's file serves this one, where it has none of its own.
    ///
    /// x64 EFI is 7 by the registry and 9 by RFC 4578's text, and firmware says either; of `HTTPClient`s some say what they would as `PXEClient`.
    pub fn fallback(self, fetches: Fetches) -> Option<Self> {
        match (fetches, self.0) {
            (Fetches::Tftp, 7) => Some(Self(9)),
            (Fetches::Tftp, 9) => Some(Self(7)),
            (Fetches::Tftp, _) => None,
            (Fetches::Http, 17) => Some(Self(16)),
            (Fetches::Http, code) => SAME_FIRMWARE.iter().find(|(tftp, _)| *tftp == code).map(|&(_, http)| Self(http)),
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Architecture {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_their_codes_and_names_are_unique() {
        for (at, row) in ALL.iter().enumerate() {
            assert_eq!(usize::from(row.code), at, "{}", row.name);
            assert_eq!(Architecture::by_name(row.name), Some(Architecture(row.code)));
        }
        for &(tftp, http) in SAME_FIRMWARE {
            assert_eq!(Architecture(tftp).fetches(), Some(Fetches::Tftp));
            assert_eq!(Architecture(http).fetches(), Some(Fetches::Http));
        }
        assert_eq!((Architecture(27).to_string(), Architecture(99).to_string()), ("efi_riscv64".into(), "99".into()));
    }
}
