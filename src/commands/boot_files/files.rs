//! Which package has which boot program, and how a GRUB is made of a package's modules.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::{Arch, Program};

/// A boot program's file.
pub(super) struct BootFile {
    pub arch: Arch,
    pub program: Program,
    /// What it is called in the root.
    pub name: &'static str,
    pub source: Source,
    pub package: &'static str,
}

impl BootFile {
    /// What to do where it is missing.
    pub fn advice(&self) -> String {
        match (self.arch, self.program) {
            (Arch::Arm64, Program::Ipxe) => {
                "Debian 12's ipxe has none for ARM: take a later one's, --with secure-boot or --with grub".to_owned()
            }
            (Arch::Arm64, _) => format!("apt download {}, dpkg-deb -x it, and --from (see --help)", self.package),
            (Arch::Bios | Arch::X64, _) => format!("apt install {}", self.package),
        }
    }
}

/// Where a file is from.
#[derive(Clone, Copy)]
pub(super) enum Source {
    /// Packages have it; the first of these paths that is there is taken.
    Copied(&'static [&'static str]),
    /// It is made of GRUB's modules of this format.
    GrubModules(&'static str),
}

const fn file(
    arch: Arch,
    program: Program,
    name: &'static str,
    from: &'static [&'static str],
    package: &'static str,
) -> BootFile {
    BootFile { arch, program, name, source: Source::Copied(from), package }
}

const fn grub(arch: Arch, name: &'static str, format: &'static str, package: &'static str) -> BootFile {
    BootFile { arch, program: Program::Grub, name, source: Source::GrubModules(format), package }
}

/// As of Debian 12 and 13.
pub(super) const FILES: &[BootFile] = &[
    file(Arch::Bios, Program::Ipxe, "undionly.kpxe", &["usr/lib/ipxe/undionly.kpxe"], "ipxe"),
    file(Arch::X64, Program::Ipxe, "snponly.efi", &["usr/lib/ipxe/snponly.efi"], "ipxe"),
    file(Arch::X64, Program::Ipxe, "ipxe.efi", &["usr/lib/ipxe/ipxe.efi", "boot/ipxe.efi"], "ipxe"),
    file(
        Arch::Arm64,
        Program::Ipxe,
        "snponly-arm64.efi",
        &["usr/lib/ipxe/snponly-arm64.efi", "usr/lib/ipxe/arm64-efi/snponly.efi", "usr/lib/ipxe/ipxe-arm64.efi"],
        "ipxe",
    ),
    file(Arch::X64, Program::SecureBoot, "shimx64.efi", &["usr/lib/shim/shimx64.efi.signed"], "shim-signed"),
    file(
        Arch::X64,
        Program::SecureBoot,
        "grubx64.efi",
        &["usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"],
        "grub-efi-amd64-signed",
    ),
    file(Arch::X64, Program::SecureBoot, "mmx64.efi", &["usr/lib/shim/mmx64.efi.signed"], "shim-helpers-amd64-signed"),
    file(Arch::Arm64, Program::SecureBoot, "shimaa64.efi", &["usr/lib/shim/shimaa64.efi.signed"], "shim-signed:arm64"),
    file(
        Arch::Arm64,
        Program::SecureBoot,
        "grubaa64.efi",
        &["usr/lib/grub/arm64-efi-signed/grubnetaa64.efi.signed"],
        "grub-efi-arm64-signed:arm64",
    ),
    file(
        Arch::Arm64,
        Program::SecureBoot,
        "mmaa64.efi",
        &["usr/lib/shim/mmaa64.efi.signed"],
        "shim-helpers-arm64-signed:arm64",
    ),
    file(Arch::Bios, Program::Pxelinux, "pxelinux.0", &["usr/lib/PXELINUX/pxelinux.0"], "pxelinux"),
    file(
        Arch::Bios,
        Program::Pxelinux,
        "ldlinux.c32",
        &["usr/lib/syslinux/modules/bios/ldlinux.c32"],
        "syslinux-common",
    ),
    grub(Arch::X64, "grubnetx64.efi", "x86_64-efi", "grub-efi-amd64-bin"),
    grub(Arch::Arm64, "grubnetaa64.efi", "arm64-efi", "grub-efi-arm64-bin:arm64"),
];

/// What a GRUB needs that fetches its script, a kernel and a ramdisk from where it came from.
const GRUB_MODULES: &[&str] = &[
    "boot",
    "cat",
    "chain",
    "configfile",
    "echo",
    "efinet",
    "halt",
    "http",
    "linux",
    "ls",
    "minicmd",
    "net",
    "normal",
    "reboot",
    "regexp",
    "sleep",
    "test",
    "tftp",
    "true",
];

/// Has it ask for the script that Debian's own asks for, but not for the lists of more modules before: over HTTP, GRUB 2.06 waits 34 s for each file that is not there.
const GRUB_BEGIN: &str = "unset prefix\nnormal /grub/grub.cfg\n";

/// Has `grub-mkimage` make, by way of files in the folder `scratch`, a GRUB that asks for `/grub/grub.cfg` by the protocol that it was fetched by. The same modules give the
/// same octets.
///
/// # Errors
/// When the program is not there or fails, with its own words.
pub(super) fn make_grub(format: &str, modules: &Path, scratch: &Path) -> anyhow::Result<Vec<u8>> {
    let (begin, made) = (scratch.join("begin.cfg"), scratch.join("made.efi"));
    std::fs::write(&begin, GRUB_BEGIN).with_context(|| format!("cannot write {}", begin.display()))?;
    let mut make = Command::new("grub-mkimage");
    make.args(["--format", format, "--prefix", "/grub", "--directory"]).arg(modules).arg("--config").arg(&begin);
    // Not to its standard output: it fails where it cannot sync that.
    make.arg("--output").arg(&made).args(GRUB_MODULES);
    let output = match make.stdin(Stdio::null()).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => bail!("grub-mkimage is missing: apt install grub-common"),
        other => other.context("cannot run grub-mkimage")?,
    };
    if !output.status.success() {
        bail!("grub-mkimage: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    std::fs::read(&made).with_context(|| format!("cannot read {}", made.display()))
}
