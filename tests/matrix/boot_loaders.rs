//! The boot programs that are not iPXE take their machine's intent: the files that `reveille boot-files install` puts into a root,
//! each in firmware that starts it.

use std::path::Path;

use reveille_lab::{Deadline, Firmware, Lab, Machine};

use crate::guest::{boot_to_guest, complete, lab_with_guest_and, transfers};

/// Machine 1's script, in the language of each boot program.
pub const PXELINUX_SCRIPT: &str = "pxelinux.cfg/01-52-54-00-77-02-01";
pub const GRUB_SCRIPT: &str = "grub.cfg-01-52:54:00:77:02:01";

/// Has the command line put boot programs of the packages whose files are below `from` into bootd's root.
pub fn install(lab: &Lab, from: &Path, arch: &str, with: &str) {
    let (root, from) = (lab.run().path("root").display().to_string(), from.display().to_string());
    let verb = ["boot-files", "install", &root, "--from", &from, "--arch", arch, "--with", with];
    lab.cli(&verb).succeed(Deadline::secs(30)).expect("the packages of tests/matrix/packages.txt");
}

/// What was fetched by this protocol alone, in order and each file once, though a firmware may ask for the size of its boot file first.
pub fn assert_fetched(lab: &Lab, protocol: &str, paths: &[&str]) {
    let transfers = transfers(lab);
    let mut fetched = complete(&transfers);
    fetched.dedup();
    let expected: Vec<_> = paths.iter().map(|path| format!("{protocol} {path}")).collect();
    assert_eq!(fetched, expected, "{transfers:#?}");
}

/// Boots a PC whose boot file of that architecture is `file`.
fn boots_by(architecture: &'static str, file: &str, arch: &str, with: &str, firmware: Firmware) -> (Lab, Machine) {
    let lab = lab_with_guest_and(|options| {
        options.boot.insert(architecture, file.to_owned());
    });
    install(&lab, Path::new("/"), arch, with);
    let machine = boot_to_guest(&lab, firmware, with);
    (lab, machine)
}

#[test]
fn pxelinux() {
    let (lab, _) = boots_by("bios", "pxelinux.0", "bios", "pxelinux", Firmware::LegacyRom);
    assert_fetched(&lab, "tftp", &["pxelinux.0", "ldlinux.c32", PXELINUX_SCRIPT, "linux", "guest.cpio"]);
}

#[test]
fn grub() {
    let (lab, _) = boots_by("efi_x64", "grubx64.efi", "x64", "secure-boot", Firmware::UefiPxe);
    assert_fetched(&lab, "tftp", &["grubx64.efi", "grub/grub.cfg", GRUB_SCRIPT, "linux", "guest.cpio"]);
}

#[test]
fn shim_and_grub_where_secure_boot_is_on() {
    let (lab, machine) = boots_by("efi_x64", "shimx64.efi", "x64", "secure-boot", Firmware::SecureBoot);
    let paths = ["shimx64.efi", "grubx64.efi", "grub/grub.cfg", GRUB_SCRIPT, "linux", "guest.cpio"];
    assert_fetched(&lab, "tftp", &paths);
    let said = machine.serial().text().expect("the serial log");
    assert!(said.contains("secureboot: Secure boot enabled"), "{said}");
}

#[test]
fn grub_by_http() {
    let url = "http://10.77.2.1/grubnetx64.efi";
    let (lab, _) = boots_by("http_x64", url, "x64", "grub", Firmware::UefiHttp);
    assert_fetched(&lab, "http", &["grubnetx64.efi", "grub/grub.cfg", GRUB_SCRIPT, "linux", "guest.cpio"]);
}
