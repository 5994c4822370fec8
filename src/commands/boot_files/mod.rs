//! `reveille boot-files install`: puts the boot programs of Debian's packages where bootd serves them, under the names that the example configuration uses.
//!
//! It downloads nothing: what is not installed is named with its package ([`files`] is the list). A file is replaced by a rename, so a machine that loads it meanwhile gets the old
//! one or the new.

mod files;

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use serde_json::json;

use crate::output;

use files::{BootFile, FILES, Source};

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
        reveille boot-files install /srv/reveille --arch x64 --with secure-boot\n\n\
        ARM machines; Debian 12 has no iPXE for them, and a PC cannot install shim-signed:arm64, but unpack it:\n  \
        dpkg --add-architecture arm64 && apt update\n  \
        apt download shim-signed:arm64 shim-helpers-arm64-signed:arm64 grub-efi-arm64-signed:arm64\n  \
        for deb in *_arm64.deb; do dpkg-deb -x $deb arm64; done\n  \
        reveille boot-files install /srv/reveille --arch arm64 --with secure-boot --from arm64\n\n\
        GRUB for UEFI HTTP boot, which the signed one of Debian 12 cannot do:\n  \
        apt install grub-common grub-efi-amd64-bin && reveille boot-files install /srv/reveille --arch x64 --with grub")]
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Arch {
    /// PCs without EFI
    Bios,
    /// x86-64 with EFI
    X64,
    /// 64-bit ARM with EFI
    Arm64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Program {
    /// iPXE
    Ipxe,
    /// Shim and GRUB, signed for Secure Boot
    SecureBoot,
    /// PXELINUX
    Pxelinux,
    /// GRUB made of its modules, for TFTP and HTTP, unsigned
    Grub,
}

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
        Outcome::Missing => ("missing", own.advice()),
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
    let Some((source, octets)) = octets_of(own, from, directory)? else { return Ok(Outcome::Missing) };
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
    Ok(Outcome::Installed(source))
}

/// What the file shall hold, and where that is from; none where the package is not installed.
fn octets_of(own: &BootFile, from: &Path, directory: &Path) -> anyhow::Result<Option<(PathBuf, Vec<u8>)>> {
    match own.source {
        Source::Copied(paths) => {
            for source in paths.iter().map(|path| from.join(path)) {
                match std::fs::read(&source) {
                    Ok(octets) => return Ok(Some((source, octets))),
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error).with_context(|| format!("cannot read {}", source.display())),
                }
            }
            Ok(None)
        }
        Source::GrubModules(format) => {
            let modules = from.join("usr/lib/grub").join(format);
            if !modules.join("moddep.lst").exists() {
                return Ok(None);
            }
            let scratch = directory.join(format!(".{}.made-{}", own.name, std::process::id()));
            std::fs::create_dir(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
            let octets = files::make_grub(format, &modules, &scratch);
            let _ = std::fs::remove_dir_all(&scratch);
            Ok(Some((modules, octets?)))
        }
    }
}
