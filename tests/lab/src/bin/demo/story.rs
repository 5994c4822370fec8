//! What the demo does: one machine from "its BMC asks for an address" to "its own operating system runs", step by step.
//!
//! Each step waits for what really happened (a lease, a request of the BMC, bytes on the disk, words on the serial
//! line), not for a time. A node that fails or a daemon that ends breaks off the step with its own reason.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use anyhow::{Context, bail};
use reveille_config::dto::bootd::Transfer;
use reveille_lab::images::{BootMarker, OsImage};
use reveille_lab::life::{DiskImage, failure, has_failed};
use reveille_lab::{Bmc, BmcSpec, BootDevice, Deadline, Firmware, Lab, LabError, Machine, MachineSpec};
use serde_json::Value;

use crate::timeline::{Timeline, mebibytes};

/// The node's name, and by DHCP the host name of its operating system.
pub const NODE: &str = "sleeper";
/// The name of the operating system image below bootd's root.
pub const IMAGE_NAME: &str = "images/os.raw";
/// What the operating system says instead of its marker when it did not find its disk.
const NOT_FROM_DISK: &str = "REVEILLE-OS-FAILED";
/// The agent wants a disk of at least 4 GiB where no root device is named.
const DISK_BYTES: u64 = 5 << 30;
/// Between two looks at how things stand: each costs the daemons an answer, and QEMU wants the processor.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Downloads below this many bytes get no bar.
const BAR_BYTES_MIN: u64 = 1 << 20;

/// The demo's world.
pub struct Story {
    pub lab: Lab,
    pub bmc: Bmc,
    pub machine: Machine,
    os: OsImage,
    limit: Duration,
}

impl Story {
    /// Racks a machine of the demo's size, and a BMC that drives it and asks for an address from now on.
    pub fn rack(lab: Lab, os: OsImage, limit: Duration) -> Result<Self, LabError> {
        let spec = MachineSpec {
            memory_mib: 3072,
            cpus: 2,
            disk_bytes: Some(DISK_BYTES),
            firmware: Firmware::LegacyRom,
            ..MachineSpec::numbered(1)
        };
        let machine = Machine::rack(lab.networks(), spec)?;
        let bmc = Bmc::plug_in(lab.networks(), BmcSpec::numbered(1), &machine)?;
        Ok(Self { lab, bmc, machine, os, limit })
    }

    /// Takes the machine from powered off to its own operating system.
    pub fn run(&mut self, timeline: &mut Timeline) -> anyhow::Result<()> {
        self.know_the_bmc(timeline)?;
        let node = self.enrol(timeline)?;
        let image = DiskImage { name: IMAGE_NAME.to_owned(), sha256: self.os.sha256.clone() };
        self.lab.start_deploy(&node, &image)?;
        self.boot_the_agent(timeline, &node)?;
        self.write_the_image(timeline, &node)?;
        self.boot_the_disk(timeline, &node)
    }

    fn know_the_bmc(&mut self, timeline: &mut Timeline) -> anyhow::Result<()> {
        let mac = self.bmc.spec().mac;
        timeline.begin("BMC sighted", format!("{mac} asks for an address, and dhcpd does not know it"));
        let sighting = self.lab.wait_sighting(mac, Deadline::secs(60))?;
        let class = sighting.vendor_class.unwrap_or_else(|| "no vendor class".to_owned());
        timeline.end(format!("{mac} ({class}) is unknown and gets no address"));

        timeline.begin("BMC approved", format!("reveille lease approve {mac}"));
        self.lab.approve(mac)?;
        let address = self.bmc.wait_ready(Deadline::secs(60))?;
        timeline.end(format!("{mac} has leased {address} and answers IPMI there"));
        Ok(())
    }

    fn enrol(&mut self, timeline: &mut Timeline) -> anyhow::Result<String> {
        timeline.begin("enrolled", format!("the node {NODE}: enroll → manageable → available"));
        let node = self.lab.enrol(NODE, &self.bmc, &self.machine)?;
        self.lab.make_available(&node, Deadline::secs(60))?;
        let power = self.lab.node(&node)?.power_state.unwrap_or_else(|| "power not known".to_owned());
        timeline.end(format!("{NODE} is available, {power}"));
        Ok(node)
    }

    fn boot_the_agent(&mut self, timeline: &mut Timeline, node: &str) -> anyhow::Result<()> {
        timeline.begin("IPMI power on", "boot device pxe, then power on");
        self.wait(timeline, node, |story, _| {
            Ok((story.machine.boots().last() == Some(&BootDevice::Pxe)).then_some(()))
        })?;
        timeline.end("the BMC was told to boot once from the network, and switched on");

        let mac = self.machine.spec().mac;
        timeline.begin("DHCP", format!("the ROM of {mac} asks for an address"));
        let address = self.wait(timeline, node, |story, _| {
            let leases = story.lab.ask(story.lab.dhcpd().leases(None, None))?;
            Ok(leases.items.into_iter().find(|lease| lease.mac == mac).map(|lease| lease.address))
        })?;
        timeline.end(format!("{mac} has leased {address}"));

        timeline.begin("TFTP", "the ROM fetches iPXE");
        let file = self.wait(timeline, node, |story, timeline| {
            Ok(story.transfers(timeline)?.into_iter().find(|t| t.protocol == "tftp" && complete(t)))
        })?;
        timeline.end(format!("{}, {}", file.path, mebibytes(file.bytes_sent)));

        timeline.begin("HTTP", "iPXE fetches its script, the agent's kernel and its ramdisk");
        let ramdisk = self.wait(timeline, node, |story, timeline| {
            Ok(story.transfers(timeline)?.into_iter().find(|t| t.path.ends_with("agent/ramdisk") && complete(t)))
        })?;
        timeline.end(format!("boot.ipxe, agent/kernel and {}, {}", ramdisk.path, mebibytes(ramdisk.bytes_sent)));

        timeline.begin("agent heartbeat", "the agent boots, looks itself up and calls back");
        self.wait(timeline, node, |story, _| {
            let heard = story
                .lab
                .node(node)?
                .rest
                .get("driver_internal_info")
                .is_some_and(|info| info.get("agent_url").is_some_and(|url| !url.is_null()));
            Ok(heard.then_some(()))
        })?;
        timeline.end("the stock ironic-python-agent has called back");
        Ok(())
    }

    fn write_the_image(&mut self, timeline: &mut Timeline, node: &str) -> anyhow::Result<()> {
        timeline.begin("image written", format!("{IMAGE_NAME} goes to the machine's disk"));
        self.wait(timeline, node, |story, timeline| {
            story.transfers(timeline)?;
            let written = std::fs::metadata(story.machine.disk_path()).map_or(0, |meta| meta.blocks() * 512);
            timeline.progress("disk", "on the disk", written.min(story.os.size_bytes), story.os.size_bytes);
            let history = story.lab.ask(story.lab.ironic().history(node))?;
            let told = history.iter().any(|entry| {
                entry.get("event").and_then(Value::as_str).is_some_and(|text| text.starts_with("prepare_image"))
            });
            Ok((told || !story.machine.is_on()?).then_some(()))
        })?;
        timeline.end(format!("{}, and the checksum was right", mebibytes(self.os.size_bytes)));

        timeline.begin("power off", "the agent powers the machine off");
        self.wait(timeline, node, |story, _| Ok((!story.machine.is_on()?).then_some(())))?;
        timeline.end("the machine is off");
        Ok(())
    }

    fn boot_the_disk(&mut self, timeline: &mut Timeline, node: &str) -> anyhow::Result<()> {
        timeline.begin("power on, disk", "boot device disk, then power on");
        self.wait(timeline, node, |story, _| {
            Ok((story.machine.boots().last() == Some(&BootDevice::Default) && story.machine.is_on()?).then_some(()))
        })?;
        timeline.end("the BMC was told to boot from the disk, and switched on");

        timeline.begin("active", "the provisioner reads the power back");
        self.wait(timeline, node, |story, _| {
            Ok((story.lab.node(node)?.provision_state.as_deref() == Some("active")).then_some(()))
        })?;
        timeline.end(format!("{NODE} is active"));

        timeline.begin("operating system", "the machine boots what was written to its disk");
        let serial = self.machine.serial();
        let marker = self.wait(timeline, node, |_, _| {
            if let Some(line) = serial.find(NOT_FROM_DISK)? {
                bail!("the operating system did not find its own disk: {line}");
            }
            Ok(serial.find(BootMarker::WORD)?.as_deref().and_then(BootMarker::parse))
        })?;
        if marker.build != self.os.build_id {
            bail!("the machine booted the build {}, not {}", marker.build, self.os.build_id);
        }
        if marker.hostname != NODE {
            bail!("the machine calls itself {:?}, not {NODE:?}", marker.hostname);
        }
        timeline.end(format!("{} runs build {} from its own disk {}", marker.hostname, marker.build, marker.disk));
        Ok(())
    }

    /// Asks `condition` until it gives a value; breaks off when the node has failed or Reveille has ended.
    fn wait<T>(
        &mut self,
        timeline: &mut Timeline,
        node: &str,
        mut condition: impl FnMut(&Self, &mut Timeline) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let deadline = Deadline::after(self.limit).every(LOOK_EVERY);
        // The library's errors pass through `until` as they are, others are kept aside.
        let mut other = None;
        let found = deadline.until("the next step", || {
            if let Some(reveille) = self.lab.reveille() {
                reveille.still_runs("the next step")?;
            }
            let node = self.lab.node(node)?;
            if has_failed(&node) {
                other = Some(anyhow::anyhow!("{}", failure(&node)));
                return Ok(Some(None));
            }
            match condition(self, timeline) {
                Ok(value) => Ok(value.map(Some)),
                Err(error) => {
                    other = Some(error);
                    Ok(Some(None))
                }
            }
        })?;
        match (found, other) {
            (Some(value), _) => Ok(value),
            (None, Some(error)) => Err(error),
            (None, None) => bail!("no value and no error"),
        }
    }

    /// The downloads so far, shown as bars.
    fn transfers(&self, timeline: &mut Timeline) -> anyhow::Result<Vec<Transfer>> {
        let transfers = self.lab.ask(self.lab.bootd().transfers()).context("ask bootd for its transfers")?.items;
        for transfer in &transfers {
            if let Some(total) = transfer.bytes_total.filter(|total| *total >= BAR_BYTES_MIN) {
                let label = transfer.path.trim_start_matches('/');
                timeline.progress(&transfer.id.to_string(), label, transfer.bytes_sent, total);
            }
        }
        Ok(transfers)
    }
}

fn complete(transfer: &Transfer) -> bool {
    transfer.outcome.as_deref() == Some("complete")
}
