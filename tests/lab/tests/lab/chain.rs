//! A BMC leases its address, and IPMI commands take a machine from off to its boot script and back.

use reveille_lab::{Bmc, BmcSpec, BootDevice, Deadline, Firmware, Machine, MachineSpec, Run, TwoNetworks};

use crate::stand_in::StandIn;

/// A boot program of nine bytes: `mov dx, 0x604; mov ax, 0x2000; out dx, ax; cli; hlt`. The port is the power management
/// register of QEMU's `pc` machine as SeaBIOS places it, the value ACPI's soft-off.
const POWER_OFF: &[u8] = &[0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xfa, 0xf4];

#[test]
fn ipmi_takes_a_machine_to_its_boot_script() {
    let run = Run::start().expect("a lab");
    let networks = TwoNetworks::create(&run).expect("two networks");
    let mut stand_in = StandIn::start(&networks).expect("stand-in daemons");
    stand_in.serve("boot.ipxe", b"#!ipxe\necho MARK ${uuid} ${net0/mac}\nchain poweroff.0\n");
    stand_in.serve("poweroff.0", POWER_OFF);
    let machine = Machine::rack(&networks, MachineSpec::numbered(7)).expect("a machine");
    let bmc = Bmc::plug_in(&networks, BmcSpec::numbered(7), &machine).expect("a BMC");

    // Unknown, it asks again and again and gets nothing.
    let mac = bmc.spec().mac.to_string();
    stand_in
        .wait_for_line(&format!("DHCPDISCOVER({}) {mac} no address available", "br-bmc"), Deadline::secs(60))
        .unwrap();
    let error = bmc.wait_ready(Deadline::secs(0)).unwrap_err().to_string();
    assert!(error.contains("it has leased no address"), "{error}");

    stand_in.approve(bmc.spec().mac, "10.77.1.17").unwrap();
    let address = bmc.wait_ready(Deadline::secs(60)).expect("a leased address and a simulator on it");
    assert_eq!(address.to_string(), "10.77.1.17");

    assert_eq!(bmc.ipmitool(&["chassis", "power", "status"]).unwrap().trim(), "Chassis Power is off");
    bmc.ipmitool(&["chassis", "bootdev", "pxe"]).unwrap();
    bmc.ipmitool(&["chassis", "power", "on"]).unwrap();
    assert_eq!(bmc.ipmitool(&["chassis", "power", "status"]).unwrap().trim(), "Chassis Power is on");
    let marker = machine.serial().wait_for("MARK", Deadline::secs(90)).expect("the boot script's words");
    assert!(marker.contains("77000000-0000-4000-8000-000000000007 52:54:00:77:02:07"), "{marker}");

    // The guest's own power-off is what IPMI reads.
    machine.wait_off(Deadline::secs(60)).expect("the script powers the machine off");
    assert_eq!(bmc.ipmitool(&["chassis", "power", "status"]).unwrap().trim(), "Chassis Power is off");
    assert_eq!(machine.boots(), [BootDevice::Pxe]);
}

#[test]
fn a_legacy_rom_comes_to_its_boot_script_by_tftp() {
    let run = Run::start().expect("a lab");
    let networks = TwoNetworks::create(&run).expect("two networks");
    let mut stand_in = StandIn::start(&networks).expect("stand-in daemons");
    stand_in.serve("undionly.kpxe", &std::fs::read("/usr/lib/ipxe/undionly.kpxe").expect("the package ipxe"));
    stand_in.serve("boot.ipxe", b"#!ipxe\necho MARK of ${filename}\nchain poweroff.0\n");
    stand_in.serve("poweroff.0", POWER_OFF);
    let machine = MachineSpec { firmware: Firmware::LegacyRom, ..MachineSpec::numbered(6) };
    let machine = Machine::rack(&networks, machine).expect("a machine");
    machine.set_boot(BootDevice::Pxe);
    machine.power_on().expect("QEMU starts");
    stand_in.wait_for_line("undionly.kpxe to 10.77.2.", Deadline::secs(60)).expect("the file goes out by TFTP");
    let marker = machine.serial().wait_for("MARK", Deadline::secs(90)).expect("the boot script's words");
    assert!(marker.contains("boot.ipxe"), "{marker}");
    machine.wait_off(Deadline::secs(60)).expect("the script powers the machine off");
}

/// Boots a UEFI machine from the network with what `file` is, and gives the line that its boot script says.
fn uefi_boots(firmware: Firmware, number: u8, file: &str) -> String {
    let run = Run::start().expect("a lab");
    let networks = TwoNetworks::create(&run).expect("two networks");
    let stand_in = StandIn::start(&networks).expect("stand-in daemons");
    let name = file.rsplit('/').next().expect("a name");
    stand_in.serve(name, &std::fs::read(file).expect("the package ipxe"));
    stand_in.serve("boot.ipxe", b"#!ipxe\necho MARK of ${filename} on ${platform}\nshell\n");
    let machine = MachineSpec { firmware, memory_mib: 1024, ..MachineSpec::numbered(number) };
    let machine = Machine::rack(&networks, machine).expect("a machine");
    machine.power_on().expect("QEMU starts");
    machine.serial().wait_for("MARK", Deadline::secs(120)).expect("the boot script's words")
}

#[test]
fn uefi_comes_to_its_boot_script_by_tftp() {
    let marker = uefi_boots(Firmware::UefiPxe, 4, "/usr/lib/ipxe/snponly.efi");
    assert!(marker.contains("boot.ipxe on efi"), "{marker}");
}

#[test]
fn uefi_comes_to_its_boot_script_by_http() {
    let marker = uefi_boots(Firmware::UefiHttp, 5, "/boot/ipxe.efi");
    assert!(marker.contains("boot.ipxe on efi"), "{marker}");
}

#[test]
fn power_commands_do_what_a_chassis_does() {
    let run = Run::start().expect("a lab");
    let networks = TwoNetworks::create(&run).expect("two networks");
    let mut stand_in = StandIn::start(&networks).expect("stand-in daemons");
    let machine =
        Machine::rack(&networks, MachineSpec { disk_bytes: Some(1 << 20), ..MachineSpec::numbered(8) }).unwrap();
    let bmc = Bmc::plug_in(&networks, BmcSpec::numbered(8), &machine).expect("a BMC");
    stand_in.approve(bmc.spec().mac, "10.77.1.18").unwrap();
    bmc.wait_ready(Deadline::secs(60)).unwrap();
    let power = |command: &str| bmc.ipmitool(&["chassis", "power", command]).unwrap();
    let boots = |expected: &[BootDevice], why: &str| assert_eq!(machine.boots(), expected, "{why}");
    use BootDevice::{Default, Pxe};

    power("reset");
    power("cycle");
    boots(&[], "a machine that is off stays off");
    power("on");
    power("on");
    boots(&[Default], "a machine that is on is not started again");
    bmc.ipmitool(&["chassis", "bootdev", "pxe"]).unwrap();
    power("reset");
    boots(&[Default, Pxe], "a reset takes the new boot device");
    power("off");
    power("on");
    boots(&[Default, Pxe, Default], "a boot device is for one boot");
    bmc.ipmitool(&["chassis", "bootdev", "pxe"]).unwrap();
    bmc.ipmitool(&["chassis", "bootdev", "disk"]).unwrap();
    power("cycle");
    let restarted = |n| Deadline::secs(60).until("the power cycle", || Ok((machine.boots().len() == n).then_some(())));
    restarted(4).expect("a power cycle switches on again");
    boots(&[Default, Pxe, Default, Default], "the last boot device counts");
    power("soft");
    assert_eq!(power("status").trim(), "Chassis Power is on", "no operating system hears the button");
    power("off");
    assert!(!machine.is_on().unwrap());
}

#[test]
fn a_bmc_without_its_cable_does_not_answer_and_comes_back() {
    let run = Run::start().expect("a lab");
    let networks = TwoNetworks::create(&run).expect("two networks");
    let mut stand_in = StandIn::start(&networks).expect("stand-in daemons");
    let machine = Machine::rack(&networks, MachineSpec::numbered(9)).unwrap();
    let bmc = Bmc::plug_in(&networks, BmcSpec::numbered(9), &machine).expect("a BMC");
    stand_in.approve(bmc.spec().mac, "10.77.1.19").unwrap();
    bmc.wait_ready(Deadline::secs(60)).unwrap();
    let status = || bmc.ipmitool(&["-N", "1", "-R", "1", "chassis", "power", "status"]);
    bmc.set_cable(false).unwrap();
    let error = status().unwrap_err().to_string();
    assert!(error.contains("Unable to establish"), "{error}");
    bmc.set_cable(true).unwrap();
    status().expect("an answer again");
}
