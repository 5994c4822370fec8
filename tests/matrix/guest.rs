//! What a machine of the matrix boots: Linux with an initial root that says its kernel line and powers off.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reveille_config::MacAddr;
use reveille_config::dto::bootd::{BootAction, IntentPut, Transfer};
use reveille_config::dto::event::EventQuery;
use reveille_lab::images::ensure_agent_image;
use reveille_lab::{BootDevice, Deadline, Firmware, Lab, LabOptions, Machine, MachineSpec, Run};

/// What the guest's line on the serial port begins with.
pub const WORD: &str = "MATRIX-GUEST";

/// The guest's files below bootd's root.
pub const KERNEL: &str = "linux";
pub const INITRD: &str = "guest.cpio";

/// Longest wait for a machine's boot: emulated on a busy host it is slow.
const BOOT_SECS: u64 = 400;

/// The guest's only program: what its kernel found of Secure Boot and its kernel line on the console, then off.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox dmesg | /bin/busybox grep -i 'secure boot'
read -r line </proc/cmdline
echo
echo \"MATRIX-GUEST $line\"
/bin/busybox sleep 1
/bin/busybox poweroff -f
";

/// A lab that serves the guest.
pub fn lab_with_guest() -> Lab {
    lab_with_guest_and(|_| {})
}

/// The same with this change.
pub fn lab_with_guest_and(change: impl FnOnce(&mut LabOptions)) -> Lab {
    let kernel = ensure_agent_image(&mut |_| {}).expect("the agent's image, for its kernel").kernel;
    lab_with(&kernel, Path::new("/bin/busybox"), change)
}

/// A lab that serves a guest of this kernel and this static busybox, with this change.
pub fn lab_with(kernel: &Path, busybox: &Path, change: impl FnOnce(&mut LabOptions)) -> Lab {
    let run = Run::start().expect("a lab");
    let files = vec![(KERNEL.to_owned(), kernel.to_owned()), (INITRD.to_owned(), initrd(&run, busybox))];
    let mut options = LabOptions { files, ..LabOptions::new(env!("CARGO_BIN_EXE_reveille")) };
    change(&mut options);
    Lab::start_in(run, options).expect("a lab")
}

fn initrd(run: &Run, busybox: &Path) -> PathBuf {
    run.write_program("guest/init", INIT).expect("the guest's program");
    std::fs::create_dir_all(run.path("guest/proc")).expect("a directory");
    std::fs::copy(busybox, run.path("guest/bin/busybox")).expect("busybox (package busybox-static)");
    let pack = "cd guest && find . | cpio --quiet -o -H newc >../guest.cpio";
    run.program("sh").args(["-c", pack]).succeed(Deadline::secs(20)).expect("cpio packs");
    run.path("guest.cpio")
}

/// Boots such a machine to the guest, which says this word of its kernel line, and waits until it has powered itself off.
pub fn boot_to_guest(lab: &Lab, firmware: Firmware, word: &str) -> Machine {
    let memory_mib = if firmware.wants_more_memory() { 1024 } else { 512 };
    let spec = MachineSpec { firmware: firmware.clone(), memory_mib, ..MachineSpec::numbered(1) };
    let machine = Machine::rack(lab.networks(), spec).expect("a machine");
    let console = if firmware.is_arm64() { "ttyAMA0" } else { "ttyS0" };
    let cmdline = format!("console={console} quiet matrix={word}");
    let action = BootAction::Kernel { kernel: KERNEL.into(), initrd: INITRD.into(), cmdline };
    intend(lab, machine.spec().mac, action);
    machine.set_boot(BootDevice::Pxe);
    let started = Instant::now();
    machine.power_on().expect("QEMU starts");
    let line = machine.serial().wait_for(WORD, Deadline::secs(BOOT_SECS)).unwrap_or_else(|error| {
        panic!("no words of the guest: {error}\n{:#?}\n{}", complete(&transfers(lab)), machine.serial().tail())
    });
    println!("{firmware:?}: the guest spoke after {:.1?}", started.elapsed());
    assert!(line.contains(&format!("matrix={word}")), "{line}");
    machine.wait_off(Deadline::secs(60)).expect("the guest powers the machine off");
    assert_eq!(machine.boots(), [BootDevice::Pxe]);
    machine
}

/// Puts a boot intent.
pub fn intend(lab: &Lab, mac: MacAddr, action: BootAction) {
    let put = IntentPut::new(action);
    lab.ask(lab.bootd().put_intent(mac, &put)).expect("an intent in force");
}

/// The downloads that ended well, oldest first, as `tftp snponly.efi`.
pub fn complete(transfers: &[Transfer]) -> Vec<String> {
    let complete = transfers.iter().filter(|transfer| transfer.outcome.as_deref() == Some("complete"));
    complete.map(|transfer| format!("{} {}", transfer.protocol, transfer.path.trim_start_matches('/'))).collect()
}

/// bootd's list of downloads, oldest first.
pub fn transfers(lab: &Lab) -> Vec<Transfer> {
    let mut transfers = lab.ask(lab.bootd().transfers()).expect("the downloads").items;
    transfers.sort_by_key(|transfer| transfer.id);
    transfers
}

/// Where a machine's own script is.
pub fn script_of(mac: MacAddr) -> String {
    format!("pxelinux.cfg/{}", mac.to_string().replace(':', "-"))
}

/// The time from the last lease that `mac` got before `until_unix_millis` to then.
pub fn since_lease(lab: &Lab, mac: MacAddr, until_unix_millis: u64) -> Duration {
    let page = lab.ask(lab.dhcpd().events_of(&EventQuery::all_known())).expect("dhcpd's events");
    let leased = |kind: &str| matches!(kind, "bound" | "renewed" | "recalled");
    let of_machine = page.events.iter().filter(|event| event.mac == Some(mac) && leased(&event.kind));
    let before = of_machine.map(|event| event.at_unix_millis).filter(|at| *at <= until_unix_millis).max();
    Duration::from_millis(until_unix_millis - before.expect("a lease before the download"))
}
