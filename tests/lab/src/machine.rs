//! QEMU machines: powered-off hardware that a BMC switches on.
//!
//! A machine is a descriptor until it is switched on; then it is one QEMU process in the host's namespace, with its NIC
//! on the provisioning network by a tap. A guest that powers off ends the process, which is how the power state is read.

mod firmware;
mod qemu;

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

pub use firmware::Firmware;

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
        let firmware = &machine.spec().firmware;
        if let Some(flash) = firmware.flash() {
            let (from, to) = (Path::new(flash.variables), machine.path("uefi-variables.fd"));
            let tried = format!("copy {} (package {}) to {}", from.display(), flash.package, to.display());
            std::fs::copy(from, to).map_err(LabError::io(tried))?;
        }
        if let Some(script) = firmware.script() {
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
        let program = self.inner.host.program(self.spec().firmware.emulator());
        let program = program.args(qemu::args(self.spec(), device, |file| self.path(file).display().to_string()));
        let mut qemu = program.start(&format!("{}-qemu", self.spec().name))?;
        // A QEMU that rejects its arguments ends at once; one that listens has accepted them.
        Deadline::secs(60).until("QEMU to listen for commands", || {
            qemu.still_runs("QEMU to listen for commands")?;
            Ok(self.path("qmp.sock").exists().then_some(()))
        })?;
        state.boots.push(device);
        state.qemu = Some(qemu);
        Ok(())
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
