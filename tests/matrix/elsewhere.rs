//! A machine that the boot server sends on, or does not know, goes on to its own disk, once.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use reveille_config::dto::bootd::BootAction;
use reveille_lab::{BootDevice, Deadline, Firmware, Lab, LabOptions, Machine, MachineSpec};

use crate::guest::{complete, intend, script_of, transfers};

/// What the boot sector says.
const WORD: &str = "DISK BOOTED";

/// Says what follows it by the BIOS's teletype, then powers off by ACPI's register of QEMU's `pc` machine:
/// `cld; xor ax, ax; mov ds, ax; mov si, 0x7c1c; next: lodsb; test al, al; jz off; mov ah, 0x0e; int 0x10; jmp next;`
/// `off: mov dx, 0x604; mov ax, 0x2000; out dx, ax; cli; hlt`.
const BOOT_SECTOR: &[u8] = &[
    0xfc, 0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x1c, 0x7c, 0xac, 0x84, 0xc0, 0x74, 0x06, 0xb4, 0x0e, 0xcd, 0x10, 0xeb, 0xf5,
    0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xfa, 0xf4,
];

const DISK_BYTES: u64 = 1 << 20;

fn lab() -> Lab {
    Lab::start(LabOptions::new(env!("CARGO_BIN_EXE_reveille"))).expect("a lab")
}

/// Boots a BIOS machine from the network and sees it come to its disk; gives what its serial port said.
fn bios_ends_on_its_disk(lab: &Lab) -> String {
    let spec = MachineSpec { disk_bytes: Some(DISK_BYTES), ..MachineSpec::numbered(2) };
    let machine = Machine::rack(lab.networks(), spec).expect("a machine");
    machine.set_boot(BootDevice::Pxe);
    let mut sector = [0; 512];
    sector[..BOOT_SECTOR.len()].copy_from_slice(BOOT_SECTOR);
    // SeaBIOS's serial console lags behind: what follows the word pushes it out.
    let text = format!("\r\n{WORD}\r\n{}\r\n", ".".repeat(200));
    sector[BOOT_SECTOR.len()..][..text.len()].copy_from_slice(text.as_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    let disk = OpenOptions::new().write(true).open(machine.disk_path()).expect("the disk");
    disk.write_all_at(&sector, 0).expect("a boot sector");
    machine.power_on().expect("QEMU starts");
    machine.serial().wait_for(WORD, Deadline::secs(120)).expect("the disk's words");
    machine.wait_off(Deadline::secs(20)).expect("the boot sector powers off");
    machine.serial().text().expect("the serial log")
}

#[test]
fn an_unknown_bios_machine_falls_through_to_its_disk() {
    let lab = lab();
    let mac = MachineSpec::numbered(2).mac;
    let url = format!("http://10.77.2.1:8080/{}", script_of(mac));
    let curl = lab.networks().host().program("curl").args(["-sS", "--noproxy", "*", "-o", "/dev/null"]);
    let status = curl.args(["-w", "%{http_code}", &url]).succeed(Deadline::secs(10)).expect("an answer");
    assert_eq!(status, "404");
    let log = bios_ends_on_its_disk(&lab);
    assert!(log.contains("has nothing for this machine"), "{log}");
    assert_eq!(complete(&transfers(&lab)), ["http boot.ipxe"]);
}

#[test]
fn a_bios_machine_sent_to_its_disk_boots_it() {
    let lab = lab();
    let mac = MachineSpec::numbered(2).mac;
    intend(&lab, mac, BootAction::Disk);
    let log = bios_ends_on_its_disk(&lab);
    assert!(log.contains("boots from its own disk"), "{log}");
    assert_eq!(complete(&transfers(&lab)), ["http boot.ipxe".to_owned(), format!("http {}", script_of(mac))]);
}

#[test]
fn a_uefi_machine_sent_to_its_disk_boots_it_after_the_network_entries() {
    let lab = lab();
    let spec = MachineSpec {
        firmware: Firmware::UefiPxe,
        memory_mib: 1024,
        disk_bytes: Some(32 << 20),
        ..MachineSpec::numbered(2)
    };
    let machine = Machine::rack(lab.networks(), spec).expect("a machine");
    machine.set_boot(BootDevice::Pxe);
    intend(&lab, machine.spec().mac, BootAction::Disk);
    // The disk holds a program for UEFI at the name for removable media. That it is started is what is asked for.
    let disk = machine.disk_path().display().to_string();
    let script = format!(
        "mformat -i {disk} -T 65536 -h 64 -s 32 :: && mmd -i {disk} ::/EFI ::/EFI/BOOT && \
         mcopy -i {disk} /usr/lib/ipxe/snponly.efi ::/EFI/BOOT/BOOTX64.EFI"
    );
    lab.run().program("sh").args(["-c", &script]).succeed(Deadline::secs(20)).expect("a FAT disk");
    machine.power_on().expect("QEMU starts");
    let serial = machine.serial();
    serial.wait_for("boots from its own disk", Deadline::secs(240)).expect("the machine's script");
    // The disk is the second device of the bus, behind the card. OVMF says `starting` once it has loaded the program from it.
    let is_disk = |line: &str| line.contains("BdsDxe: starting") && line.contains("PciRoot(0x0)/Pci(0x2,0x0)");
    let started = Deadline::secs(300)
        .until("the disk's boot entry", || Ok(serial.text()?.lines().find(|line| is_disk(line)).map(str::to_owned)));
    started.unwrap_or_else(|error| panic!("{error}\n{}", serial.tail()));
    machine.power_off().expect("power off");
}
