//! Each firmware boots from the network, by the boot file for it, to its own machine's kernel, once.

use std::time::Duration;

use reveille_lab::{Firmware, Lab, Machine};

use crate::guest::{INITRD, KERNEL, boot_to_guest, complete, lab_with_guest, script_of, since_lease, transfers};

/// Longest time from a lease to the download of the boot script. An iPXE that waits in vain for a router advertisement
/// takes 13 s.
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// Boots such a machine. `by` is what its firmware has to fetch first, as `tftp snponly.efi`, if it is not iPXE already.
fn boots_to_its_kernel(firmware: Firmware, by: Option<&str>) {
    let lab = lab_with_guest();
    let machine = boots_in(&lab, firmware.clone(), by);
    let transfers = transfers(&lab);
    let entry = transfers.iter().find(|transfer| transfer.path.ends_with("boot.ipxe")).expect("the boot script");
    let pause = since_lease(&lab, machine.spec().mac, entry.started_unix_millis);
    println!("{firmware:?}: the boot script was fetched {pause:.1?} after the lease");
    assert!(pause < PAUSE_MAX, "{firmware:?} waited {pause:?} between its lease and the boot script");
}

/// The same in a lab of any kind, whoever gives the addresses.
pub fn boots_in(lab: &Lab, firmware: Firmware, by: Option<&str>) -> Machine {
    let machine = boot_to_guest(lab, firmware, "mine");
    // All of it, in order and each file once: no boot loop, and no file of another architecture.
    let transfers = transfers(lab);
    let script = script_of(machine.spec().mac);
    let expected = by.map(str::to_owned).into_iter();
    let expected = expected.chain(["boot.ipxe", script.as_str(), KERNEL, INITRD].map(|path| format!("http {path}")));
    let mut fetched = complete(&transfers);
    // A firmware may ask for the size of its boot file first, by a request of its own.
    fetched.dedup();
    assert_eq!(fetched, expected.collect::<Vec<_>>(), "{transfers:#?}");
    machine
}

#[test]
fn seabios_with_the_ipxe_of_its_card() {
    boots_to_its_kernel(Firmware::SeaBios, None);
}

#[test]
fn a_rom_that_is_not_ipxe() {
    boots_to_its_kernel(Firmware::LegacyRom, Some("tftp undionly.kpxe"));
}

#[test]
fn uefi_by_tftp() {
    boots_to_its_kernel(Firmware::UefiPxe, Some("tftp snponly.efi"));
}

#[test]
fn uefi_by_http() {
    boots_to_its_kernel(Firmware::UefiHttp, Some("http snponly.efi"));
}
