//! A million leases: what each takes in memory, and how long a restart with them lasts.

use std::time::Duration;

use anyhow::{Context, ensure};
use reveille_lab::Deadline;
use serde_json::json;

use super::{Bench, median, rounded};
use crate::contender::{self, Contender, Ours};
use crate::generate::{Pace, Phase};
use crate::io::cpu::resident_bytes;
use crate::stage::Clients;

/// Leases.
const LEASES: u64 = 1_000_000;

/// First the packet path alone ([`crate::lease_memory`]), then the whole process's growth (packet path, API's read model, allocator), then a kill and the restart from the journal.
pub fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let leases = bench.count(LEASES);
    bench.say("the packet path's memory");
    let state = bench.stage.new_state("table")?;
    let config = state.with_extension("conf");
    std::fs::write(&config, contender::reveille(&state, Ours::default()))?;
    let program = bench.stage.run.program(std::env::current_exe()?.to_string_lossy());
    let program = program.args(["lease-memory", "--leases", &leases.to_string(), "--config"]).arg(&config);
    let table: f64 = program.succeed(Deadline::secs(60))?.trim().parse().context("lease-memory printed no number")?;
    std::fs::remove_dir_all(&state)?;
    bench.figure("table_bytes_per_lease", table, true);
    bench.say(&format!("{leases} leases"));
    let state = bench.stage.new_state("reveille")?;
    let who = Contender::ReveilleOffload;
    let mut server = bench.stage.start_in(who, &state, Ours::default(), "0")?;
    let empty_start = server.ready_after;
    let window = Pace::Window(1_024);
    bench.stage.load(&server, Clients::Offloaded, &[Phase::new("warm", window, 500).clients(1_000)])?;
    let before = resident_bytes(server.process.pid())?;
    // The load counts its clients from the start again: the thousand of the warming up are among them.
    let fill = Phase::new("fill", window, 110_000).clients(leases);
    let outcomes = bench.stage.load(&server, Clients::Offloaded, &[fill])?;
    ensure!(outcomes[0].bound >= leases, "only {} were bound", outcomes[0].bound);
    let grown = resident_bytes(server.process.pid())?.saturating_sub(before);
    let per_lease = grown as f64 / (leases - 1_000) as f64;
    bench.figure("rss_bytes_per_lease", rounded(per_lease, 1), true);
    bench.results.insert(
        "memory".into(),
        json!({ "leases": leases, "packet_path_bytes_per_lease": table, "process_bytes_per_lease": rounded(per_lease, 1), "process_bytes": grown + before,
                "how": "growth of the whole process's anonymous memory: packet path, read model of the API, allocator",
                "durable": true }),
    );

    let mut restarts = Vec::new();
    for _ in 0..bench.rounds {
        bench.say(&format!("restart with {leases} leases"));
        // Killed: what it finds is what a power cut would leave.
        server.process.kill()?;
        server = bench.stage.start_in(who, &state, Ours::default(), "0")?;
        restarts.push(server.ready_after.as_secs_f64());
    }
    // It serves what it read: the first thousand clients ask again.
    let sample = Phase::new("sample", window, 5_000).clients(1_000);
    bench.stage.load(&server, Clients::Offloaded, &[sample]).context("after the restart")?;
    server.process.stop(Duration::from_secs(20))?;
    std::fs::remove_dir_all(&server.state)?;
    bench.figure("replay_million_s", rounded(median(&restarts), 3), true);
    bench.results.insert(
        "replay".into(),
        json!({ "leases": leases, "from_start_to_ready_s": rounded(median(&restarts), 3),
                "empty_start_s": rounded(empty_start.as_secs_f64(), 3), "durable": true }),
    );
    Ok(())
}
