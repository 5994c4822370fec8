//! Each firmware boots from the network, by the boot file for it, to its own machine's kernel, once.

use std::time::{Duration, Instant};

use reveille_lab::{BootDevice, Deadline, Firmware, Lab, Machine, MachineSpec};

use crate::guest::{INITRD, KERNEL, WORD, complete, intend_guest, lab_with_guest, script_of, since_lease, transfers};

/// Longest wait for a machine's boot: emulated on a busy host it is slow.
const BOOT_SECS: u64 = 300;

/// Longest time from a lease to the download of the boot script. An iPXE that waits in vain for a router advertisement
/// takes 13 s.
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// Boots such a machine. `by` is what its firmware has to fetch first, as `tftp snponly.efi`, if it is not iPXE already.
fn boots_to_its_kernel(firmware: Firmware, memory_mib: u32, by: Option<&str>) {
    let lab = lab_with_guest();
    let machine = boots_in(&lab, firmware.clone(), memory_mib, by);
    let transfers = transfers(&lab);
    let entry = transfers.iter().find(|transfer| transfer.path.ends_with("boot.ipxe")).expect("the boot script");
    let pause = since_lease(&lab, machine.spec().mac, entry.started_unix_millis);
    println!("{firmware:?}: the boot script was fetched {pause:.1?} after the lease");
    assert!(pause < PAUSE_MAX, "{firmware:?} waited {pause:?} between its lease and the boot script");
}

/// The same in a lab of any kind, whoever gives the addresses.
pub fn boots_in(lab: &Lab, firmware: Firmware, memory_mib: u32, by: Option<&str>) -> Machine {
    let spec = MachineSpec { firmware: firmware.clone(), memory_mib, ..MachineSpec::numbered(1) };
    let machine = Machine::rack(lab.networks(), spec).expect("a machine");
    let mac = machine.spec().mac;
    intend_guest(lab, mac, "mine");
    machine.set_boot(BootDevice::Pxe);
    let started = Instant::now();
    machine.power_on().expect("QEMU starts");
    let line = machine.serial().wait_for(WORD, Deadline::secs(BOOT_SECS)).expect("the guest's words");
    println!("{firmware:?}: the guest spoke after {:.1?}", started.elapsed());
    assert!(line.contains("matrix=mine"), "{line}");
    machine.wait_off(Deadline::secs(60)).expect("the guest powers the machine off");

    // All of it, in order and each file once: no boot loop, and no file of another architecture.
    let transfers = transfers(lab);
    let script = script_of(mac);
    let expected = by.map(str::to_owned).into_iter();
    let expected = expected.chain(["boot.ipxe", script.as_str(), KERNEL, INITRD].map(|path| format!("http {path}")));
    let mut fetched = complete(&transfers);
    // A firmware may ask for the size of its boot file first, by a request of its own.
    fetched.dedup();
    assert_eq!(fetched, expected.collect::<Vec<_>>(), "{transfers:#?}");
    assert_eq!(machine.boots(), [BootDevice::Pxe]);
    machine
}

#[test]
fn seabios_with_the_ipxe_of_its_card() {
    boots_to_its_kernel(Firmware::SeaBios, 512, None);
}

#[test]
fn a_rom_that_is_not_ipxe() {
    boots_to_its_kernel(Firmware::LegacyRom, 512, Some("tftp undionly.kpxe"));
}

#[test]
fn uefi_by_tftp() {
    boots_to_its_kernel(Firmware::UefiPxe, 1024, Some("tftp snponly.efi"));
}

#[test]
fn uefi_by_http() {
    boots_to_its_kernel(Firmware::UefiHttp, 1024, Some("http snponly.efi"));
}
