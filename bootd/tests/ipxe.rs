//! The scripts run by the real iPXE, in QEMU: an unknown machine goes on, a known one loads its kernel, another goes to its disk, a
//! third is known by its UUID alone.
//!
//! QEMU's user-mode network hands out the address and the entry script's URL, so that nothing here needs root. The kernel is iPXE
//! itself in its Linux-kernel form, which runs its command line (and leaves `initrd=` out, as it is not a command).

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use support::Daemon;

const MAC: &str = "52:54:00:77:00:01";
const UUID: &str = "4c4c4544-0044-4810-8031-b4c04f4e3532";
/// Under emulation, on a machine that does much else.
const BOOT_TIME_MAX: Duration = Duration::from_secs(180);

struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots a machine until its serial line shows `marker`; what it showed.
async fn boot(daemon: &Daemon, marker: &str) -> String {
    let log = daemon.dir.path().join("serial.log");
    let _ = std::fs::remove_file(&log);
    let network = format!("user,id=n0,ipv6=off,bootfile={}", daemon.url("boot.ipxe"));
    let machine = Command::new("qemu-system-x86_64")
        .args([
            "-accel",
            "tcg",
            "-machine",
            "graphics=off",
            "-m",
            "128",
            "-display",
            "none",
            "-vga",
            "none",
            "-nodefaults",
        ])
        .args(["-no-reboot", "-boot", "n", "-serial"])
        .arg(format!("file:{}", log.display()))
        .arg("-netdev")
        .arg(network)
        .arg("-device")
        .arg(format!("virtio-net-pci,netdev=n0,mac={MAC}"))
        .args(["-uuid", UUID])
        .stdin(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run qemu-system-x86_64 ({error}): `make deps` installs it"));
    let _machine = Machine(machine);
    let deadline = Instant::now() + BOOT_TIME_MAX;
    loop {
        // The console is 80 columns wide; what it breaks is put together again.
        let shown = std::fs::read(&log).unwrap_or_default();
        let shown = String::from_utf8_lossy(&shown).replace(['\r', '\n'], "");
        if shown.contains(marker) {
            return shown;
        }
        assert!(Instant::now() < deadline, "{marker:?} is not shown:\n{shown}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipxe_does_what_the_intent_says() {
    let daemon = Daemon::start().await;
    let kernel = Path::new("/boot/ipxe.lkrn");
    let kernel =
        std::fs::read(kernel).unwrap_or_else(|error| panic!("{}: {error}: `make deps` installs it", kernel.display()));
    daemon.file("agent/kernel", &kernel);
    daemon.file("agent/ramdisk", b"#!ipxe\n");

    let shown = boot(&daemon, "going on to the next boot device").await;
    assert!(shown.contains(&format!("nothing for this machine ({MAC})")), "{shown}");

    let path = format!("/v1/intents/{MAC}");
    let intent = json!({
        "action": "kernel", "kernel": "agent/kernel", "initrd": "agent/ramdisk", "cmdline": "echo ran as ${mac}", "node": "n",
    });
    assert_eq!(daemon.api("PUT", &path, Some(intent)).await.0, 200);
    boot(&daemon, &format!("ran as {MAC}")).await;

    assert_eq!(daemon.api("PUT", &path, Some(json!({"action": "disk"}))).await.0, 200);
    boot(&daemon, "Booting from SAN device 0x80").await;

    // Known by the UUID of its firmware alone.
    assert_eq!(daemon.api("DELETE", &path, None).await.0, 204);
    let intent = json!({"action": "script", "script": "agent/by-uuid"});
    assert_eq!(daemon.api("PUT", &format!("/v1/intents/{UUID}"), Some(intent)).await.0, 200);
    daemon.file("agent/by-uuid", b"#!ipxe\necho found by its uuid\n");
    boot(&daemon, "found by its uuid").await;

    let (_, page) = daemon.api("GET", "/v1/events?since=0", None).await;
    let ended: Vec<_> = page["events"].as_array().unwrap().iter().filter(|e| e["kind"] == "transfer-ended").collect();
    let paths: Vec<_> = ended
        .iter()
        .map(|e| (e["detail"]["path"].as_str().unwrap(), e["detail"]["outcome"].as_str().unwrap()))
        .collect();
    let loaded = ["agent/kernel", "agent/ramdisk", "agent/by-uuid"];
    assert_eq!(paths, loaded.map(|path| (path, "complete")));
    assert!(ended.iter().all(|e| e["mac"] == MAC), "{ended:#?}");
    assert!(ended[..2].iter().all(|e| e["node"] == "n"), "{ended:#?}");
}
