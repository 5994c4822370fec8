//! Starts a small lab and holds it until killed: what the tests of the clean-up end in every way there is.
//!
//! It prints one line, `ready PREFIX DIRECTORY`, when there is something to clean up. With the argument `signals` it
//! ends in good order on signals; with `panic` it panics; otherwise only death ends it.

use std::io::Read;

use reveille_lab::{Bmc, BmcSpec, Deadline, Machine, MachineSpec, Run, TwoNetworks};

fn main() -> anyhow::Result<()> {
    let how = std::env::args().nth(1).unwrap_or_default();
    let run = Run::start()?;
    if how == "signals" {
        run.end_on_signals();
    }
    let networks = TwoNetworks::create(&run)?;
    let machine = Machine::rack(&networks, MachineSpec { memory_mib: 64, ..MachineSpec::numbered(1) })?;
    let _bmc = Bmc::plug_in(&networks, BmcSpec::numbered(1), &machine)?;
    machine.power_on()?;
    let mount = run.path("mnt/inside");
    std::fs::create_dir(&mount)?;
    run.program("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&mount).succeed(Deadline::secs(60))?;
    println!("ready {} {}", run.prefix(), run.dir().display());
    assert_ne!(how, "panic", "asked to panic");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
