//! `reveille boot-files install`: puts the boot programs of Debian's packages where bootd serves them, under the names that the example configuration uses.
//!
//! It downloads nothing: what is not installed is named with its package. A file is replaced by a rename, so a machine that loads it meanwhile gets the old one or the new.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use serde_json::json;

use crate::output;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Put boot programs of installed packages into a root of bootd's; exit code 1 if one that was asked for is missing
    #[command(after_help = "iPXE for BIOS and x64 machines:\n  \
        apt install ipxe && reveille boot-files install /srv/reveille\n\n\
        Secure Boot: shim, which firmware trusts, loads GRUB from beside itself; the boot file (efi_x64) is then shimx64.efi:\n  \
        apt install shim-signed shim-helpers-amd64-signed grub-efi-amd64-signed\n  \
        reveille boot-files install /srv/reveille --arch x64 --with secure-boot")]
    Install {
        /// The directory, one of bootd's roots
        directory: PathBuf,
        /// For which machines
        #[arg(long, value_enum, value_delimiter = ',', default_value = "bios,x64")]
        arch: Vec<Arch>,
        /// Which boot programs
        #[arg(long, value_enum, value_delimiter = ',', default_value = "ipxe")]
        with: Vec<Program>,
        /// Where the packages' files are, as on an image of a system that is mounted there
        #[arg(long, value_name = "DIR", default_value = "/")]
        from: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Arch {
    /// PCs without EFI
    Bios,
    /// x86-64 with EFI
    X64,
    /// 64-bit ARM with EFI
    Arm64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Program {
    /// iPXE
    Ipxe,
    /// Shim and GRUB, signed for Secure Boot
    SecureBoot,
    /// PXELINUX
    Pxelinux,
}

/// A boot program's file.
struct BootFile {
    arch: Arch,
    program: Program,
    /// What it is called in the root.
    name: &'static str,
    /// Where packages have it; the first that is there is taken.
    from: &'static [&'static str],
    package: &'static str,
}

const fn file(
    arch: Arch,
    program: Program,
    name: &'static str,
    from: &'static [&'static str],
    package: &'static str,
) -> BootFile {
    BootFile { arch, program, name, from, package }
}

/// As of Debian 12 and 13.
const FILES: &[BootFile] = &[
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
];

/// What became of a file.
enum Outcome {
    Installed(PathBuf),
    Unchanged(PathBuf),
    Missing,
}

/// Runs the verb.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Verb::Install { directory, arch, with, from, json } = args.verb;
    if !directory.is_dir() {
        anyhow::bail!("{} is not a directory: name one of bootd's roots", directory.display());
    }
    let chosen = FILES.iter().filter(|own| arch.contains(&own.arch) && with.contains(&own.program));
    let mut outcomes = Vec::new();
    for own in chosen {
        outcomes.push((own, install(own, &from, &directory)?));
    }
    if outcomes.is_empty() {
        anyhow::bail!("there is no such boot program for these machines: see --arch and --with");
    }
    let words = |own: &BootFile, outcome: &Outcome| match outcome {
        Outcome::Installed(from) => ("installed", from.display().to_string()),
        Outcome::Unchanged(from) => ("unchanged", from.display().to_string()),
        Outcome::Missing => ("missing", format!("apt install {}", own.package)),
    };
    if json {
        let one = |(own, outcome): &(&BootFile, Outcome)| {
            let (state, what) = words(own, outcome);
            json!({ "file": own.name, "state": state, "package": own.package, "detail": what })
        };
        output::json(&outcomes.iter().map(one).collect::<Vec<_>>())?;
    } else {
        let rows = outcomes.iter().map(|(own, outcome)| {
            let (state, what) = words(own, outcome);
            [own.name.to_owned(), state.to_owned(), what]
        });
        output::table(["FILE", "STATE", "FROM"], rows, "")?;
    }
    let is_missing = outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Missing));
    Ok(if is_missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn install(own: &BootFile, from: &Path, directory: &Path) -> anyhow::Result<Outcome> {
    for source in own.from.iter().map(|path| from.join(path)) {
        let octets = match std::fs::read(&source) {
            Ok(octets) => octets,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", source.display())),
        };
        let target = directory.join(own.name);
        if std::fs::read(&target).is_ok_and(|there| there == octets) {
            return Ok(Outcome::Unchanged(source));
        }
        let new = directory.join(format!(".{}.new-{}", own.name, std::process::id()));
        let write = || {
            let mut file = File::options().write(true).create(true).truncate(true).mode(0o644).open(&new)?;
            file.write_all(&octets)?;
            file.sync_all()?;
            std::fs::rename(&new, &target)?;
            File::open(directory)?.sync_all()
        };
        write().with_context(|| {
            // It may not have come so far.
            let _ = std::fs::remove_file(&new);
            format!("cannot write {}", target.display())
        })?;
        return Ok(Outcome::Installed(source));
    }
    Ok(Outcome::Missing)
}
