//! `kill -9` after every step of a deploy that the node's history tells of, with the real agent: the node ends `active`, or `deploy failed` with a reason from
//! which a second deploy leads to `active`; it never waits for ever.

use std::os::unix::fs::FileExt as _;

use reveille_lab::images::{BootMarker, ensure_agent_image, ensure_os_image};
use reveille_lab::life::DiskImage;
use reveille_lab::{Bmc, BmcSpec, Deadline, Firmware, Lab, LabOptions, Machine, MachineSpec};

const NODE: &str = "sleeper";
const IMAGE: &str = "images/os.raw";
/// Longest wait for the next step: an emulated machine on a busy host is slow.
const STEP_SECS: u64 = 420;
/// A deploy has more steps than these; fewer kills would mean that the test looks at the wrong thing.
const KILLS_MIN: usize = 6;

#[test]
fn killed_after_every_step_a_deploy_still_ends() {
    let agent = ensure_agent_image(&mut |_| {}).expect("the agent's image");
    let os = ensure_os_image(&mut |_| {}).expect("the operating system's image");
    let options = LabOptions {
        agent: Some((agent.kernel, agent.initramfs)),
        files: vec![(IMAGE.to_owned(), os.path.clone())],
        ..LabOptions::new(env!("CARGO_BIN_EXE_reveille"))
    };
    let mut lab = Lab::start(options).expect("a lab");
    let spec = MachineSpec {
        memory_mib: 3072,
        cpus: 2,
        disk_bytes: Some(5 << 30),
        firmware: Firmware::LegacyRom,
        ..MachineSpec::numbered(1)
    };
    let machine = Machine::rack(lab.networks(), spec).expect("a machine");
    let bmc = Bmc::plug_in(lab.networks(), BmcSpec::numbered(1), &machine).expect("a BMC");
    let mac = bmc.spec().mac;
    lab.wait_sighting(mac, Deadline::secs(30)).expect("a sighting of the unknown BMC");
    lab.cli(&["lease", "approve", &mac.to_string()]).succeed(Deadline::secs(10)).expect("an approval");
    bmc.wait_ready(Deadline::secs(60)).expect("a BMC with an address");
    let node = lab.enrol(NODE, &bmc, &machine).expect("a node");
    lab.make_available(&node, Deadline::secs(60)).expect("an available node");

    let image = DiskImage { name: IMAGE.to_owned(), sha256: os.sha256.clone() };
    let mut steps = history(&lab, &node);
    lab.start_deploy(&node, &image).expect("a deploy under way");
    let mut kills = 0;
    let ended = loop {
        let (seen, state) = next_step(&lab, &node, steps);
        if ["active", "deploy failed"].contains(&&*state) {
            break state;
        }
        lab.kill_reveille().expect("a kill");
        lab.start_reveille().expect("a restart");
        (steps, kills) = (seen, kills + 1);
    };
    assert!(kills >= KILLS_MIN, "only {kills} steps were seen");
    if ended == "deploy failed" {
        let reason = lab.node(&node).expect("the node").last_error.expect("a reason for the failure");
        eprintln!("after {kills} kills: {reason}");
        assert!(reason.len() > 10, "no reason: {reason}");
        lab.start_deploy(&node, &image).expect("a second deploy");
        lab.wait_state(&node, "active", Deadline::secs(STEP_SECS)).expect("an active node");
    }
    let (mut disk, mut written) = ([0; 512], [0; 512]);
    let read = |path: &std::path::Path, sector: &mut [u8]| {
        std::fs::File::open(path).and_then(|file| file.read_exact_at(sector, 0)).expect("a first sector");
    };
    read(&machine.disk_path(), &mut disk);
    read(&os.path, &mut written);
    assert_eq!(disk, written, "the disk does not begin with the image's boot sector");
    let line = machine.serial().wait_for(BootMarker::WORD, Deadline::secs(STEP_SECS)).expect("the marker");
    assert_eq!(BootMarker::parse(&line).expect("a marker").build, os.build_id);
}

/// How many entries the node's history has.
fn history(lab: &Lab, node: &str) -> usize {
    lab.ask(lab.ironic().history(node)).expect("a history").len()
}

/// Waits until the history has more than `steps` entries, or the node rests; gives their number and the node's state.
fn next_step(lab: &Lab, node: &str, steps: usize) -> (usize, String) {
    let ironic = lab.ironic();
    lab.ask_until(
        "the deploy's next step",
        Deadline::secs(STEP_SECS),
        async || {
            let state = ironic.node(node).await?.provision_state.unwrap_or_default();
            Ok((ironic.history(node).await?.len(), state))
        },
        |(seen, state)| (seen > steps || state == "active" || state == "deploy failed").then_some((seen, state)),
    )
    .expect("a next step")
}
