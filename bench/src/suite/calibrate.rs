//! Our generator beside perfdhcp, ISC's own, both on Kea: they must agree before our figures mean anything.

use anyhow::Context;
use reveille_lab::Deadline;
use serde_json::json;

use super::{Bench, rounded};
use crate::contender::SERVER;
use crate::generate::{Pace, Phase};
use crate::stage::Clients;

/// Kea's better mode: our closed loop, our open loop and perfdhcp at the same rate.
pub fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let kea = bench.kea();
    let window = Pace::Window(kea.window());
    bench.say("our load on Kea");
    let server = bench.stage.start(kea)?;
    let plan = [Phase::new("warm", window, 300), Phase::new("closed", window, bench.millis(3_000))];
    let closed = bench.stage.load(&server, Clients::Relayed, &plan)?[1].per_second();
    server.stop()?;
    // Nine tenths of what it can do, so that both are served nearly whole.
    let rate = (closed * 0.9) as u64;
    let server = bench.stage.start(kea)?;
    let plan = [Phase::new("warm", window, 300), Phase::new("open", Pace::Rate(rate), bench.millis(5_000))];
    let open = bench.stage.load(&server, Clients::Relayed, &plan)?.remove(1);
    server.stop()?;

    bench.say("perfdhcp on Kea");
    let server = bench.stage.start(kea)?;
    let secs = (bench.millis(5_000) / 1_000).max(1).to_string();
    let perfdhcp = reveille_lab::process::find("perfdhcp")?;
    let program = bench.stage.beside(&perfdhcp.to_string_lossy()).args(["-4", "-l", "eth0", "-L", "67"]);
    let program = program.args(["-r", &rate.to_string(), "-R", "1000000", "-p", &secs]).arg(SERVER.to_string());
    // Its exit status says that some exchanges were lost, which is not ours to judge.
    let printed = program.output(Deadline::secs(60))?.stdout;
    server.stop()?;
    let theirs = printed
        .lines()
        .find_map(|line| line.strip_prefix("Rate: ")?.split(' ').next()?.parse::<f64>().ok())
        .with_context(|| format!("perfdhcp printed no rate: {printed}"))?;
    bench.results.insert(
        "calibration".into(),
        json!({ "server": kea.key(), "asked_per_s": rate, "ours_closed_loop_per_s": rounded(closed, 0),
                "ours_open_loop_per_s": rounded(open.per_second(), 0), "perfdhcp_per_s": rounded(theirs, 0),
                "ours_vs_perfdhcp": rounded(open.per_second() / theirs, 3), "durable": false }),
    );
    Ok(())
}
