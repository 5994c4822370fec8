//! What a machine of the matrix boots: Linux with an initial root that says its kernel line and powers off.

use std::path::PathBuf;
use std::time::Duration;

use reveille_config::MacAddr;
use reveille_config::dto::bootd::{BootAction, IntentPut, Transfer};
use reveille_config::dto::event::EventQuery;
use reveille_lab::images::ensure_agent_image;
use reveille_lab::{Deadline, Lab, LabOptions, Run, Served};

/// What the guest's line on the serial port begins with.
pub const WORD: &str = "MATRIX-GUEST";

/// The guest's files below bootd's root.
pub const KERNEL: &str = "linux";
pub const INITRD: &str = "guest.cpio";

/// The guest's only program: its kernel line on the console, then off.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
read -r line </proc/cmdline
echo
echo \"MATRIX-GUEST $line\"
/bin/busybox sleep 1
/bin/busybox poweroff -f
";

/// A lab that serves the guest.
pub fn lab_with_guest() -> Lab {
    lab_with_guest_and(Served::two_networks())
}

/// A lab that serves the guest on these networks.
pub fn lab_with_guest_and(served: Served) -> Lab {
    let run = Run::start().expect("a lab");
    let kernel = ensure_agent_image(&mut |_| {}).expect("the agent's image, for its kernel").kernel;
    let files = vec![(KERNEL.to_owned(), kernel), (INITRD.to_owned(), initrd(&run))];
    let options = LabOptions { files, served, ..LabOptions::new(env!("CARGO_BIN_EXE_reveille")) };
    Lab::start_in(run, options).expect("a lab")
}

fn initrd(run: &Run) -> PathBuf {
    run.write_program("guest/init", INIT).expect("the guest's program");
    std::fs::create_dir_all(run.path("guest/proc")).expect("a directory");
    let busybox = run.path("guest/bin/busybox");
    std::fs::copy("/bin/busybox", busybox).expect("busybox (package busybox-static)");
    let pack = "cd guest && find . | cpio --quiet -o -H newc >../guest.cpio";
    run.program("sh").args(["-c", pack]).succeed(Deadline::secs(20)).expect("cpio packs");
    run.path("guest.cpio")
}

/// Has bootd tell a machine to boot the guest with this word on its kernel line.
pub fn intend_guest(lab: &Lab, mac: MacAddr, word: &str) {
    let cmdline = format!("console=ttyS0 quiet matrix={word}");
    intend(lab, mac, BootAction::Kernel { kernel: KERNEL.into(), initrd: INITRD.into(), cmdline });
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
