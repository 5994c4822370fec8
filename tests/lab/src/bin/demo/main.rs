//! `make demo`: one simulated machine from powered-off to its own operating system, with everything real but the metal.
//!
//! It exits with 0 only if the machine said on its serial line that it booted the disk that was written. With `--keep`
//! the lab stays up afterwards, until Ctrl-C, and the demo says how to look around.

mod story;
mod timeline;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use reveille_lab::images::{Progress, ensure_agent_image, ensure_os_image};
use reveille_lab::{Lab, LabOptions, Run};

use story::{IMAGE_NAME, NODE, Story};
use timeline::{Timeline, mebibytes};

/// Take a simulated machine from powered-off to its own operating system.
#[derive(Parser)]
struct Args {
    /// The reveille binary
    #[arg(long, value_name = "FILE")]
    reveille: PathBuf,
    /// Leave the lab running at the end, until Ctrl-C, and say how to look around
    #[arg(long)]
    keep: bool,
    /// Give up a step that takes longer than so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    step_limit: u64,
}

fn main() -> ExitCode {
    match demo(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ndemo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(args: &Args) -> anyhow::Result<()> {
    let reveille = std::path::absolute(&args.reveille).context("the reveille binary's path")?;
    anyhow::ensure!(reveille.is_file(), "{} is not there: `make build` builds it", reveille.display());
    let mut timeline = Timeline::start();

    println!("\n  Reveille takes a machine from powered-off to its own operating system.\n");
    let run = Run::start()?;
    let exit = run.end_on_signals();
    timeline.begin("guest images", "the agent's kernel and ramdisk, and the operating system's disk");
    let mut show = |progress: Progress| {
        timeline.say(format!("{}: {} ({:.0} %)", progress.image, progress.phase, progress.fraction * 100.0));
    };
    let agent = ensure_agent_image(&mut show)?;
    let os = ensure_os_image(&mut show)?;
    timeline.end(format!(
        "the stock agent's, and an operating system of {} (build {})",
        mebibytes(os.size_bytes),
        os.build_id
    ));
    timeline.begin("daemons", "two networks, and `reveille all` between them");
    let options = LabOptions {
        agent: Some((agent.kernel, agent.initramfs)),
        files: vec![(IMAGE_NAME.to_owned(), os.path.clone())],
        ..LabOptions::new(&reveille)
    };
    let started = Lab::start_in(run.clone(), options).and_then(|lab| {
        timeline.end("dhcpd, bootd and provisioner are ready; BMC and provisioning network are apart");
        Story::rack(lab, os, Duration::from_secs(args.step_limit))
    });
    let mut story = match started {
        Ok(story) => story,
        Err(error) => {
            timeline.fail("no lab");
            return Err(error.into());
        }
    };
    let outcome = story.run(&mut timeline);
    match &outcome {
        Ok(()) => println!("{}", timeline.table()),
        Err(error) => {
            timeline.fail(format!("{error:#}"));
            eprintln!("{}", where_it_stood(&mut story));
        }
    }
    if args.keep {
        println!("{}", look_around(&story, &reveille));
        exit.settle(i32::from(outcome.is_err()));
        loop {
            std::thread::park();
        }
    }
    let left = run.dir().to_owned();
    drop(story);
    run.end()?;
    anyhow::ensure!(!left.exists(), "{} is still there", left.display());
    outcome
}

/// The ends of the logs that tell why a step failed.
fn where_it_stood(story: &mut Story) -> String {
    let serial = story.machine.serial().tail();
    let reveille = story.lab.reveille().map(|reveille| reveille.log().tail()).unwrap_or_default();
    let requests = story.bmc.requests().join("; ");
    format!(
        "\n--- Reveille's log, its end\n{reveille}\n--- the machine's serial line, its end\n{serial}\n--- asked of the BMC\n{requests}\n"
    )
}

/// How to look around in a lab that stays up.
fn look_around(story: &Story, reveille: &Path) -> String {
    let run = story.lab.run();
    let (dir, host) = (run.dir().display(), story.lab.networks().host().name());
    let (bmc, machine) = (&story.bmc.spec().name, &story.machine.spec().name);
    let reveille = reveille.display();
    let lines = [
        (format!("export REVEILLE_CONFIG={dir}/reveille.toml"), ""),
        (format!("{reveille} node history {NODE}"), "what happened to the machine"),
        (format!("{reveille} lease list"), "leases of both networks"),
        (format!("tail -f {dir}/log/reveille.log"), "what Reveille logs"),
        (format!("cat {dir}/{machine}/serial.log"), "what the machine said, from the start"),
        (format!("ip netns exec {host} bash"), "a shell where Reveille runs: br-bmc, br-prov"),
        (format!("ip netns exec {} ip address", story.bmc.namespace().name()), "the BMC's own network"),
        (format!("ls {dir}/{bmc}"), "the BMC's lease, and its simulator's configuration"),
    ];
    let width = lines.iter().map(|(command, _)| command.len()).max().unwrap_or_default();
    let lines: String = lines.iter().map(|(command, why)| format!("    {command:<width$}  {why}\n")).collect();
    format!("  The lab stays up. In another terminal, as root:\n\n{lines}\n  Ctrl-C here takes it down.")
}
