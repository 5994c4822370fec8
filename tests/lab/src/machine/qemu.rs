//! What QEMU is told, so that a process of it is the machine that a [`MachineSpec`] describes.
//!
//! Always `-accel tcg`: where /dev/kvm exists it may be a broken emulation in which guests hang.

use super::firmware::Firmware;
use super::{BootDevice, MachineSpec};

/// QEMU's arguments for one power-on. `path` is where a file of the machine's own lies.
pub(super) fn args(spec: &MachineSpec, device: BootDevice, path: impl Fn(&str) -> String) -> Vec<String> {
    let firmware = &spec.firmware;
    let mut args = vec!["-nodefaults".to_owned()];
    let mut add = |option: &str, value: String| args.extend([option.to_owned(), value]);
    let uefi = firmware.flash();
    add("-name", spec.name.clone());
    add("-accel", "tcg,thread=multi".into());
    add("-machine", firmware.machine().into());
    add("-m", spec.memory_mib.to_string());
    add("-smp", spec.cpus.to_string());
    add("-uuid", spec.uuid.clone());
    add("-display", "none".into());
    add("-vga", "none".into());
    add("-qmp", format!("unix:{},server=on,wait=off", path("qmp.sock")));
    let (socket, log) = (path("serial.sock"), path("serial.log"));
    add("-chardev", format!("socket,id=s0,path={socket},server=on,wait=off,logfile={log},logappend=on"));
    add("-serial", "chardev:s0".into());

    let network = device == BootDevice::Pxe || spec.disk_bytes.is_none();
    // UEFI goes by `bootindex`, SeaBIOS by `-boot`. Only SeaBIOS has a use for a ROM on the NIC.
    // OVMF knows no other entry than those with an index: the second is where it goes on from the first.
    let index = |first: bool| match (uefi.is_some(), first) {
        (true, true) => ",bootindex=1",
        (true, false) => ",bootindex=2",
        (false, _) => "",
    };
    let rom = if *firmware == Firmware::SeaBios { "" } else { ",romfile=" };
    add("-netdev", format!("tap,id=n0,ifname=t-{},script=no,downscript=no", spec.name));
    add("-device", format!("virtio-net-pci,netdev=n0,mac={}{rom}{}", spec.mac, index(network)));
    if spec.disk_bytes.is_some() {
        add("-drive", format!("file={},if=none,id=d0,format=raw,cache=unsafe", path("disk.img")));
        add("-device", format!("virtio-blk-pci,drive=d0,serial={}{}", spec.name, index(!network)));
    }
    let own = if spec.disk_bytes.is_some() { "c" } else { "n" };
    match firmware {
        // `once` holds until the guest's first reboot, as a one-shot boot device does.
        Firmware::SeaBios => add("-boot", format!("order={own},once={}", if network { "n" } else { own })),
        Firmware::LegacyRom if !network => add("-boot", format!("order={own}")),
        Firmware::LegacyRom | Firmware::Script(_) => {
            add("-kernel", "/boot/ipxe.lkrn".into());
            add("-initrd", path("script.ipxe"));
            // The kernel would be started again, whatever the boot device: once is what a ROM is for.
            add("-action", "reboot=shutdown".into());
        }
        Firmware::SecureBoot => add("-global", "driver=cfi.pflash01,property=secure,value=on".into()),
        Firmware::UefiPxe | Firmware::UefiHttp => {}
        // Its QEMU has no processor by default that runs 64-bit programs.
        Firmware::Arm64Pxe | Firmware::Arm64Http => add("-cpu", "cortex-a57".into()),
    }
    if let Some(flash) = uefi {
        add("-drive", format!("if=pflash,format=raw,readonly=on,file={}", flash.code));
        add("-drive", format!("if=pflash,format=raw,file={}", path("uefi-variables.fd")));
    }
    if firmware.is_http() {
        add("-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n".into());
        add("-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n".into());
    }
    args
}
