//! The main job on real parts: one machine's life from a BMC that nobody knows to its own operating system and back,
//! with what goes wrong on the way: a checksum that does not fit, Reveille killed in the middle of the write, a machine that still boots from
//! the network, a BMC that falls silent.
//!
//! One test, because it is one life: every part of it starts where the one before ended. QEMU, the stock Ironic agent, ipmi_sim, udhcpc and the stock
//! `baremetal` client are real. Needs root and `make deps images`.

use reveille_lab::images::{BootMarker, OsImage, ensure_agent_image, ensure_os_image};
use reveille_lab::life::DiskImage;
use reveille_lab::packages::ensure_baremetal_client;
use reveille_lab::{Bmc, BmcSpec, BootDevice, Deadline, Firmware, Lab, LabOptions, Machine, MachineSpec, leftovers};

/// The node, and by DHCP the host name of its operating system.
const NODE: &str = "sleeper";
const IMAGE: &str = "images/os.raw";
/// Longest wait for one part of a deploy: an emulated machine on a busy host is slow.
const PART_SECS: u64 = 420;

struct Life {
    lab: Lab,
    bmc: Bmc,
    machine: Machine,
    os: OsImage,
}

#[test]
fn a_machine_lives_its_life() {
    let agent = ensure_agent_image(&mut |_| {}).expect("the agent's image");
    let os = ensure_os_image(&mut |_| {}).expect("the operating system's image");
    let options = LabOptions {
        agent: Some((agent.kernel, agent.initramfs)),
        files: vec![(IMAGE.to_owned(), os.path.clone())],
        ..LabOptions::new(env!("CARGO_BIN_EXE_reveille"))
    };
    let lab = Lab::start(options).expect("a lab");
    let (prefix, dir) = (lab.run().prefix().to_owned(), lab.run().dir().to_owned());
    let spec = MachineSpec {
        memory_mib: 3072,
        cpus: 2,
        disk_bytes: Some(5 << 30),
        firmware: Firmware::LegacyRom,
        ..MachineSpec::numbered(1)
    };
    let machine = Machine::rack(lab.networks(), spec).expect("a machine");
    let bmc = Bmc::plug_in(lab.networks(), BmcSpec::numbered(1), &machine).expect("a BMC");
    let mut life = Life { lab, bmc, machine, os };

    let node = life.an_unknown_bmc_is_approved_and_its_node_enrolled();
    life.a_wrong_checksum_ends_in_deploy_failed(&node);
    life.killed_in_the_middle_of_the_write_it_ends_active(&node);
    life.the_written_disk_boots();
    life.the_stock_client_lists_and_shows(&node);
    life.booting_from_the_network_all_the_same_ends_on_the_disk();
    life.undeploy_makes_it_available_again(&node);
    life.a_silent_bmc_is_named_with_step_and_time(&node);

    drop(life);
    let left = leftovers(&prefix, &dir);
    assert!(left.is_empty(), "left behind: {left:?}");
}

impl Drop for Life {
    /// A part that failed says where everything stood.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        if let Ok(history) = self.lab.cli(&["node", "history", NODE]).output(Deadline::secs(60)) {
            eprintln!("--- the node's history\n{}", history.stdout);
        }
        if let Some(reveille) = self.lab.reveille() {
            eprintln!("--- Reveille's log, its end\n{}", reveille.log().tail());
        }
        eprintln!("--- the machine's serial line, its end\n{}", self.machine.serial().tail());
        eprintln!("--- asked of the BMC\n{}", self.bmc.requests().join("; "));
    }
}

impl Life {
    fn an_unknown_bmc_is_approved_and_its_node_enrolled(&self) -> String {
        let mac = self.bmc.spec().mac;
        self.lab.wait_sighting(mac, Deadline::secs(60)).expect("a sighting of the unknown BMC");
        let leases = self.lab.ask(self.lab.dhcpd().leases(Some("bmc"), None)).expect("the list of leases");
        assert!(leases.items.is_empty(), "an unknown BMC has a lease: {leases:?}");
        let said = self.lab.cli(&["lease", "approve", &mac.to_string()]).succeed(Deadline::secs(60));
        assert!(said.expect("an approval").contains("at its next try"));
        self.bmc.wait_ready(Deadline::secs(60)).expect("a BMC with an address");
        let node = self.lab.enrol(NODE, &self.bmc, &self.machine).expect("a node");
        self.lab.make_available(&node, Deadline::secs(60)).expect("an available node");
        node
    }

    fn a_wrong_checksum_ends_in_deploy_failed(&self, node: &str) {
        let wrong = DiskImage { name: IMAGE.to_owned(), sha256: "0".repeat(64) };
        self.lab.start_deploy(node, &wrong).expect("a deploy under way");
        let ended = self.lab.wait_state(node, "deploy failed", Deadline::secs(PART_SECS)).expect("deploy failed");
        let reason = ended.last_error.expect("a reason");
        assert!(reason.to_lowercase().contains("checksum"), "the reason does not name the checksum: {reason}");
    }

    fn killed_in_the_middle_of_the_write_it_ends_active(&mut self, node: &str) {
        let image = DiskImage { name: IMAGE.to_owned(), sha256: self.os.sha256.clone() };
        // The first deploy wrote the same octets: only a blank disk shows that this one writes.
        self.machine.wait_off(Deadline::secs(1)).or_else(|_| self.machine.power_off()).expect("a machine that is off");
        let disk = std::fs::OpenOptions::new().write(true).open(self.machine.disk_path()).expect("the disk");
        let bytes = disk.metadata().expect("the disk's size").len();
        disk.set_len(0).and_then(|()| disk.set_len(bytes)).expect("a blank disk");
        self.lab.start_deploy(node, &image).expect("a deploy under way");
        // Once at the very beginning, before the machine is on …
        self.lab.kill_reveille().expect("a kill");
        self.lab.start_reveille().expect("a restart");
        // … and once while the agent fetches and writes. bootd forgets its transfers with its process, so this one is new.
        let bootd = self.lab.bootd();
        self.lab
            .ask_until(
                "the agent to fetch the image",
                Deadline::secs(PART_SECS),
                async || bootd.transfers().await,
                |page| page.items.iter().any(|t| t.path.ends_with(IMAGE) && t.bytes_sent > 0).then_some(()),
            )
            .expect("a download of the image");
        self.lab.kill_reveille().expect("a kill");
        self.lab.start_reveille().expect("a restart");
        match self.lab.wait_state(node, "active", Deadline::secs(PART_SECS)) {
            Ok(_) => {}
            // The kill also broke the agent's download: the agent may give up, and then the node says so and a second try works.
            Err(error) => {
                let failed = self.lab.node(node).expect("the node");
                assert_eq!(failed.provision_state.as_deref(), Some("deploy failed"), "{error}");
                let reason = failed.last_error.expect("a reason for the failure");
                assert!(!reason.is_empty());
                self.lab.start_deploy(node, &image).expect("a second deploy");
                self.lab.wait_state(node, "active", Deadline::secs(PART_SECS)).expect("an active node");
            }
        }
    }

    fn the_written_disk_boots(&self) {
        let written = std::fs::read(&self.os.path).expect("the image");
        let mut disk = vec![0; written.len()];
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::open(self.machine.disk_path()).expect("the disk");
        file.read_exact_at(&mut disk, 0).expect("the disk's beginning");
        // The booted system may write to its own disk later; its boot loader and its marker are what was asked for.
        assert_eq!(disk[..512], written[..512], "the disk does not begin with the image's boot sector");
        let marker = self.marker();
        assert_eq!(marker.build, self.os.build_id);
        assert_eq!(marker.hostname, NODE);
        assert_eq!(self.machine.boots().last(), Some(&BootDevice::Default));
    }

    fn the_stock_client_lists_and_shows(&self, node: &str) {
        let client = ensure_baremetal_client().expect("the stock client");
        let ask = |words: &[&str]| {
            let program = self.lab.networks().host().program(client.display().to_string());
            let program = program.args(["--os-auth-type", "none", "--os-endpoint", reveille_lab::lab::IRONIC_URL]);
            program.args(words).succeed(Deadline::secs(60)).expect("an answer to the stock client")
        };
        let list = ask(&["node", "list", "-f", "json"]);
        for expected in [
            format!("\"uuid\": \"{node}\""),
            format!("\"name\": \"{NODE}\""),
            "\"provision_state\": \"active\"".to_owned(),
        ] {
            assert!(list.contains(&expected), "no {expected} in {list}");
        }
        let shown = ask(&["node", "show", NODE, "-f", "json"]);
        assert!(shown.contains("\"provision_state\": \"active\""), "{shown}");
        assert!(!shown.contains(&self.bmc.spec().password), "the BMC's password is shown");
        let history = self.lab.cli(&["node", "history", NODE]).succeed(Deadline::secs(60)).expect("a history");
        assert!(history.contains("active") && !history.contains(&self.bmc.spec().password), "{history}");
    }

    fn booting_from_the_network_all_the_same_ends_on_the_disk(&self) {
        self.machine.power_off().expect("power off");
        self.machine.set_boot(BootDevice::Pxe);
        self.machine.power_on().expect("power on");
        assert_eq!(self.machine.boots().last(), Some(&BootDevice::Pxe));
        let marker = self.marker();
        assert_eq!(marker.build, self.os.build_id);
        let log = self.machine.serial().text().expect("the serial log");
        assert!(log.contains("boot.ipxe"), "the machine did not come through the network: {log}");
    }

    fn undeploy_makes_it_available_again(&self, node: &str) {
        self.lab.ask_for(node, "deleted").expect("an undeploy under way");
        let ended = self.lab.wait_state(node, "available", Deadline::secs(120)).expect("an available node");
        assert_eq!(ended.power_state.as_deref(), Some("power off"));
        assert!(!self.machine.is_on().expect("the machine's power"));
        let intent = self.lab.ask(self.lab.bootd().intent(self.machine.spec().mac));
        assert!(intent.is_err_and(|error| error.is_not_found()), "the boot intent is still there");
    }

    fn a_silent_bmc_is_named_with_step_and_time(&self, node: &str) {
        let address = self.bmc.wait_ready(Deadline::secs(60)).expect("the BMC's address");
        self.bmc.set_cable(false).expect("an unplugged BMC");
        self.lab.ask(self.lab.ironic().set_power_state(node, "power on")).expect("a power change under way");
        let ironic = self.lab.ironic();
        let reason = self
            .lab
            .ask_until(
                "the power change to fail",
                Deadline::secs(180),
                async || ironic.node(node).await,
                |node| node.last_error,
            )
            .expect("a reason");
        assert!(reason.contains(&address.to_string()), "the reason does not name the BMC: {reason}");
        assert!(reason.contains(" s"), "the reason does not say how long it waited: {reason}");
    }

    /// The operating system's marker of the present power-on.
    fn marker(&self) -> BootMarker {
        let serial = self.machine.serial();
        let line = serial.wait_for(BootMarker::WORD, Deadline::secs(PART_SECS)).expect("the marker");
        BootMarker::parse(&line).unwrap_or_else(|| panic!("not a marker: {line}"))
    }
}
