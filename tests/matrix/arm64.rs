//! A 64-bit ARM machine boots from the network. Debian 12 has no iPXE for it: shim and GRUB take its intent.
//!
//! The packages of its architecture are unpacked, not installed.

use std::path::{Path, PathBuf};

use reveille_lab::packages::{kernel_package, unpacked_together};
use reveille_lab::{Firmware, Lab, LabError, LabOptions};

use crate::boot_loaders::{GRUB_SCRIPT, assert_fetched, install};
use crate::guest::{boot_to_guest, lab_with};

/// Boot programs, and what the guest is made of.
const PACKAGES: [&str; 5] =
    ["shim-signed", "shim-helpers-arm64-signed", "grub-efi-arm64-signed", "grub-efi-arm64-bin", "busybox-static"];

/// The packages' files.
fn packages() -> Result<PathBuf, LabError> {
    unpacked_together("arm64-boot", || {
        let named = PACKAGES.iter().map(|name| Ok(format!("{name}:arm64")));
        named.chain([kernel_package("linux-image-cloud-arm64:arm64")]).collect()
    })
}

/// A lab that serves an ARM guest, with this change.
fn lab(packages: &Path, change: impl FnOnce(&mut LabOptions)) -> Lab {
    let boot = std::fs::read_dir(packages.join("boot")).expect("the kernel's package");
    let paths = boot.map(|entry| entry.expect("a file").path());
    let is_kernel =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"vmlinuz"));
    let kernel = paths.into_iter().find(is_kernel).expect("a kernel");
    lab_with(&kernel, &packages.join("bin/busybox"), change)
}

#[test]
fn shim_and_grub() {
    let packages = packages().expect("Debian's packages of arm64");
    let lab = lab(&packages, |options| {
        options.boot.insert("efi_arm64", "shimaa64.efi".into());
    });
    install(&lab, &packages, "arm64", "secure-boot");
    boot_to_guest(&lab, Firmware::Arm64Pxe, "arm64");
    let paths = ["shimaa64.efi", "grubaa64.efi", "grub/grub.cfg", GRUB_SCRIPT, "linux", "guest.cpio"];
    assert_fetched(&lab, "tftp", &paths);
}

#[test]
fn grub_by_http() {
    let packages = packages().expect("Debian's packages of arm64");
    let lab = lab(&packages, |options| {
        options.boot.insert("http_arm64", "http://10.77.2.1/grubnetaa64.efi".into());
    });
    install(&lab, &packages, "arm64", "grub");
    boot_to_guest(&lab, Firmware::Arm64Http, "arm64-http");
    assert_fetched(&lab, "http", &["grubnetaa64.efi", "grub/grub.cfg", GRUB_SCRIPT, "linux", "guest.cpio"]);
}
