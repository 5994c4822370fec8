//! QEMU machines: powered-off hardware that a BMC switches on.
//!
//! A machine is a descriptor until it is switched on; then it is one QEMU process in the host's namespace, with its NIC
//! on the provisioning network by a tap. A guest that powers off ends the process, which is how the power state is read.
//!
//! Always `-accel tcg`: where /dev/kvm exists it may be a broken emulation in which guests hang.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reveille_config::MacAddr;

use crate::error::LabError;
use crate::log::Log;
use crate::net::{Namespace, PROVISIONING_BRIDGE, TwoNetworks};
use crate::process::Process;
use crate::qmp;
use crate::run::Run;
use crate::wait::Deadline;

/// UEFI's code, and the template of a machine's variables, from Debian's package ovmf.
const UEFI_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const UEFI_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// What a machine's firmware is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS with the iPXE ROM that QEMU puts on its NICs: DHCP architecture 0, user class `iPXE`.
    SeaBios,
    /// SeaBIOS with a ROM that is not iPXE: booted from the network, it asks by DHCP as architecture 0 without a user
    /// class, fetches the boot file by TFTP and runs it. An iPXE with a script plays it; a reboot powers off.
    LegacyRom,
    /// UEFI that fetches its boot file by TFTP: DHCP architecture 7, no user class. It wants 1024 MiB.
    UefiPxe,
    /// UEFI that fetches its boot file by HTTP: DHCP architecture 16, vendor class `HTTPClient`. It wants 1024 MiB.
    UefiHttp,
    /// No ROM on the NIC; an iPXE with this script is started like a kernel at every power-on.
    Script(String),
}

/// A ROM of old: no user class, the file over TFTP. The class has to be a setting of its own, for iPXE sends its name
/// wherever none is set; undionly.kpxe, the usual file, then sends `iPXE` again. A file that a ProxyDHCP names is that server's, not the one's that
/// gave the address.
const LEGACY_ROM: &str = "#!ipxe
set user-class LegacyROM
dhcp net0
clear user-class
isset ${proxydhcp/filename} || goto alone
chain tftp://${proxydhcp/next-server}/${proxydhcp/filename}
:alone
chain tftp://${next-server}/${filename}
";

/// Where a machine boots from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootDevice {
    /// The network.
    Pxe,
    /// The machine's own order: its disk, or the network if it has none.
    Default,
}

/// A machine as it would be ordered.
#[derive(Debug, Clone)]
pub struct MachineSpec {
    /// Its name: of its directory, its tap and its logs. At most 11 characters.
    pub name: String,
    /// The address of its NIC on the provisioning network.
    pub mac: MacAddr,
    /// What its firmware tells of itself (SMBIOS; DHCP option 97).
    pub uuid: String,
    /// Its memory, MiB.
    pub memory_mib: u32,
    /// Its processors.
    pub cpus: u8,
    /// The size of its disk (virtio, sparse), bytes; `None` for a machine without one.
    pub disk_bytes: Option<u64>,
    /// Its firmware.
    pub firmware: Firmware,
}

impl MachineSpec {
    /// The lab's machine number `n`: 512 MiB, one processor, no disk, SeaBIOS.
    pub fn numbered(n: u8) -> Self {
        Self {
            name: format!("m{n}"),
            mac: MacAddr([0x52, 0x54, 0x00, 0x77, 0x02, n]),
            uuid: format!("77000000-0000-4000-8000-{n:012x}"),
            memory_mib: 512,
            cpus: 1,
            disk_bytes: None,
            firmware: Firmware::SeaBios,
        }
    }
}

/// A machine of the lab. Clones are the same machine.
#[derive(Debug, Clone)]
pub struct Machine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    run: Run,
    host: Namespace,
    spec: MachineSpec,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    qemu: Option<Process>,
    /// Set by the BMC for the next power-on only, as IPMI's "apply to next boot only".
    boot_once: Option<BootDevice>,
    /// What the machine was told to boot from at each power-on so far.
    boots: Vec<BootDevice>,
    /// Where in the serial log the present or last power-on begins.
    serial: Option<Log>,
}

impl Machine {
    /// Racks a machine: its disk, powered off, and its NIC on the provisioning network.
    ///
    /// # Errors
    /// When the tap or the disk cannot be made.
    pub fn rack(networks: &TwoNetworks, spec: MachineSpec) -> Result<Self, LabError> {
        let run = networks.run().clone();
        networks.host().tap(PROVISIONING_BRIDGE, &format!("t-{}", spec.name))?;
        let inner = Inner { run, host: networks.host().clone(), spec, state: Mutex::default() };
        let machine = Self { inner: Arc::new(inner) };
        if let Some(bytes) = machine.spec().disk_bytes {
            let path = machine.disk_path();
            let tried = || format!("make the disk {} of {bytes} bytes", path.display());
            File::create(&path).and_then(|file| file.set_len(bytes)).map_err(LabError::io(tried()))?;
        }
        let script = match &machine.spec().firmware {
            Firmware::SeaBios => None,
            Firmware::UefiPxe | Firmware::UefiHttp => {
                let (from, to) = (Path::new(UEFI_VARIABLES), machine.path("uefi-variables.fd"));
                let tried = format!("copy {} (package ovmf) to {}", from.display(), to.display());
                std::fs::copy(from, to).map_err(LabError::io(tried))?;
                None
            }
            Firmware::LegacyRom => Some(LEGACY_ROM),
            Firmware::Script(script) => Some(script.as_str()),
        };
        if let Some(script) = script {
            machine.inner.run.write(format!("{}/script.ipxe", machine.spec().name), script)?;
        }
        Ok(machine)
    }

    /// What it is made of.
    pub fn spec(&self) -> &MachineSpec {
        &self.inner.spec
    }

    /// The file that is its disk.
    pub fn disk_path(&self) -> PathBuf {
        self.path("disk.img")
    }

    /// The unix socket that is its serial port's other end, for serial over LAN.
    pub fn serial_socket(&self) -> PathBuf {
        self.path("serial.sock")
    }

    /// What its serial port has said since it was last switched on.
    pub fn serial(&self) -> Log {
        self.state().serial.clone().unwrap_or_else(|| Log::at(self.path("serial.log")))
    }

    /// What its serial port has said since it was racked.
    pub fn serial_from_the_start(&self) -> Log {
        Log::at(self.path("serial.log"))
    }

    /// What it was told to boot from at each power-on so far.
    pub fn boots(&self) -> Vec<BootDevice> {
        self.state().boots.clone()
    }

    /// Whether it has power. A guest that powered off has none.
    ///
    /// # Errors
    /// When the system cannot tell whether QEMU runs.
    pub fn is_on(&self) -> Result<bool, LabError> {
        self.state().is_on()
    }

    /// Sets the boot device of the next power-on.
    pub fn set_boot(&self, device: BootDevice) {
        self.state().boot_once = Some(device);
    }

    /// What the next power-on will boot from.
    pub fn next_boot(&self) -> BootDevice {
        self.state().boot_once.unwrap_or(BootDevice::Default)
    }

    /// Switches it on, unless it is on.
    ///
    /// # Errors
    /// When QEMU does not start.
    pub fn power_on(&self) -> Result<(), LabError> {
        let mut state = self.state();
        if state.is_on()? { Ok(()) } else { self.start(&mut state) }
    }

    /// Cuts its power.
    ///
    /// # Errors
    /// When QEMU cannot be killed.
    pub fn power_off(&self) -> Result<(), LabError> {
        match self.state().qemu.take() {
            Some(mut qemu) => qemu.kill().map(drop),
            None => Ok(()),
        }
    }

    /// Resets it: power off and on at once, so that a new boot device counts. A machine that is off stays off.
    ///
    /// # Errors
    /// Like [`Self::power_off`] and [`Self::power_on`].
    pub fn reset(&self) -> Result<(), LabError> {
        let mut state = self.state();
        if !state.is_on()? {
            return Ok(());
        }
        if let Some(mut qemu) = state.qemu.take() {
            qemu.kill()?;
        }
        self.start(&mut state)
    }

    /// Presses the power button for a moment: a guest with an ACPI driver powers itself off.
    ///
    /// # Errors
    /// When QEMU does not take the command.
    pub fn press_power_button(&self) -> Result<(), LabError> {
        let on = self.is_on()?;
        if on { qmp::execute(&self.path("qmp.sock"), "system_powerdown").map(drop) } else { Ok(()) }
    }

    /// Waits until it has no power.
    ///
    /// # Errors
    /// [`LabError::Late`], with the end of the serial log.
    pub fn wait_off(&self, deadline: Deadline) -> Result<(), LabError> {
        let awaited = format!("{} to power off", self.spec().name);
        let off = deadline.until(&awaited, || Ok((!self.is_on()?).then_some(())));
        off.map_err(|error| match error {
            LabError::Late { .. } => deadline.late_seeing(awaited.clone(), self.serial().tail()),
            other => other,
        })
    }

    fn start(&self, state: &mut State) -> Result<(), LabError> {
        let device = state.boot_once.take().unwrap_or(BootDevice::Default);
        state.serial = Some(self.serial_from_the_start().from_here());
        // A socket of the last power-on would make QEMU's `server=on` fail no more than confuse a reader.
        let _ = std::fs::remove_file(self.path("qmp.sock"));
        let program = self.inner.host.program("qemu-system-x86_64").args(self.qemu_args(device));
        let mut qemu = program.start(&format!("{}-qemu", self.spec().name))?;
        // A QEMU that rejects its arguments ends at once; one that listens has accepted them.
        Deadline::secs(20).until("QEMU to listen for commands", || {
            qemu.still_runs("QEMU to listen for commands")?;
            Ok(self.path("qmp.sock").exists().then_some(()))
        })?;
        state.boots.push(device);
        state.qemu = Some(qemu);
        Ok(())
    }

    fn qemu_args(&self, device: BootDevice) -> Vec<String> {
        let spec = self.spec();
        let path = |name: &str| self.path(name).display().to_string();
        let mut args = vec!["-nodefaults".to_owned()];
        let mut add = |option: &str, value: String| args.extend([option.to_owned(), value]);
        let uefi = matches!(spec.firmware, Firmware::UefiPxe | Firmware::UefiHttp);
        add("-name", spec.name.clone());
        add("-accel", "tcg,thread=multi".into());
        add("-machine", if uefi { "q35" } else { "pc,graphics=off" }.into());
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
        let index = |first: bool| match (uefi, first) {
            (true, true) => ",bootindex=1",
            (true, false) => ",bootindex=2",
            (false, _) => "",
        };
        let rom = if spec.firmware == Firmware::SeaBios { "" } else { ",romfile=" };
        add("-netdev", format!("tap,id=n0,ifname=t-{},script=no,downscript=no", spec.name));
        add("-device", format!("virtio-net-pci,netdev=n0,mac={}{rom}{}", spec.mac, index(network)));
        if spec.disk_bytes.is_some() {
            add("-drive", format!("file={},if=none,id=d0,format=raw,cache=unsafe", path("disk.img")));
            add("-device", format!("virtio-blk-pci,drive=d0,serial={}{}", spec.name, index(!network)));
        }
        let own = if spec.disk_bytes.is_some() { "c" } else { "n" };
        match &spec.firmware {
            // `once` holds until the guest's first reboot, as a one-shot boot device does.
            Firmware::SeaBios => add("-boot", format!("order={own},once={}", if network { "n" } else { own })),
            Firmware::LegacyRom if !network => add("-boot", format!("order={own}")),
            Firmware::LegacyRom | Firmware::Script(_) => {
                add("-kernel", "/boot/ipxe.lkrn".into());
                add("-initrd", path("script.ipxe"));
                // The kernel would be started again, whatever the boot device: once is what a ROM is for.
                add("-action", "reboot=shutdown".into());
            }
            Firmware::UefiPxe | Firmware::UefiHttp => {
                add("-drive", format!("if=pflash,format=raw,readonly=on,file={UEFI_CODE}"));
                add("-drive", format!("if=pflash,format=raw,file={}", path("uefi-variables.fd")));
            }
        }
        if spec.firmware == Firmware::UefiHttp {
            add("-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n".into());
            add("-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n".into());
        }
        args
    }

    fn path(&self, file: impl AsRef<Path>) -> PathBuf {
        self.inner.run.path(Path::new(&self.spec().name).join(file))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_on(&mut self) -> Result<bool, LabError> {
        let Some(qemu) = &mut self.qemu else { return Ok(false) };
        let on = qemu.ended()?.is_none();
        if !on {
            self.qemu = None;
        }
        Ok(on)
    }
}
