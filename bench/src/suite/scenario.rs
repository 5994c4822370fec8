//! Bad times under a steady load: before, during and after. Each shows that latency recovers and that nothing is bound twice: the load
//! would have failed the scenario otherwise.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Bench, rounded};
use crate::contender::{self, Contender, Ours};
use crate::generate::{Outcome, Pace, Phase, Work};
use crate::stage::{Clients, Server};

/// The steady load, new leases a second.
const RATE: u64 = 5_000;

fn phases(bench: &Bench, during_millis: u64) -> Vec<Phase> {
    let steady = |name, millis| Phase::new(name, Pace::Rate(RATE), millis);
    vec![
        steady("before", 1_500),
        steady("during", bench.millis(during_millis)),
        steady("settle", 1_000),
        steady("after", 1_500),
    ]
}

fn write_down(bench: &mut Bench, name: &str, outcomes: &[Outcome], more: Value) {
    let part = |outcome: &Outcome| {
        json!({ "bound_per_s": rounded(outcome.per_second(), 0), "unanswered": outcome.unanswered,
                "offer_p99_ms": rounded(outcome.offer_us.p99 / 1e3, 3), "ack_p99_ms": rounded(outcome.ack_us.p99 / 1e3, 3) })
    };
    let (before, after) = (&outcomes[0], &outcomes[3]);
    // Within twice what it was, or within 5 ms where that is less: a figure of a second and a half is not finer.
    let recovered = after.ack_us.p99 <= (2.0 * before.ack_us.p99).max(5_000.0)
        && after.per_second() >= 0.98 * RATE as f64
        && after.unanswered == 0;
    let mut entry = Map::new();
    for (name, outcome) in ["before", "during", "settle", "after"].into_iter().zip(outcomes) {
        entry.insert(name.into(), part(outcome));
    }
    entry.insert("recovered".into(), json!(recovered));
    entry.insert("bound_twice".into(), json!(0));
    entry.insert("durable".into(), json!(true));
    entry.extend(more.as_object().cloned().unwrap_or_default());
    let scenarios = bench.results.entry("scenarios").or_insert_with(|| json!({}));
    if let Some(scenarios) = scenarios.as_object_mut() {
        scenarios.insert(name.to_owned(), Value::Object(entry));
    }
}

/// A million made-up hardware addresses ask and are never heard of again.
pub fn flood(bench: &mut Bench) -> anyhow::Result<()> {
    bench.say("a million made-up hardware addresses");
    let server = bench.stage.start(Contender::ReveilleOffload)?;
    let mut plan = phases(bench, 4_000);
    plan[1] = plan[1].clone().flood(250_000);
    let outcomes = bench.stage.load(&server, Clients::Offloaded, &plan)?;
    server.stop()?;
    let more = json!({ "made_up": outcomes[1].flooded, "offers_to_them": outcomes[1].flood_offers });
    write_down(bench, "flood", &outcomes, more);
    Ok(())
}

/// Every durable write takes 50 ms longer for a while.
pub fn slow_disk(bench: &mut Bench) -> anyhow::Result<()> {
    const DELAY: Duration = Duration::from_millis(50);
    bench.say("a slow disk");
    let (mut server, slow) = bench.stage.start_on_slow_disk(DELAY)?;
    let plan = phases(bench, 3_000);
    let outcomes = bench.stage.load_with(&mut server, Clients::Relayed, &plan, |_, phase| {
        match phase {
            "during" => std::fs::write(&slow, "")?,
            "settle" => std::fs::remove_file(&slow)?,
            _ => {}
        }
        Ok(())
    })?;
    server.stop()?;
    write_down(bench, "slow_disk", &outcomes, json!({ "write_delay_ms": DELAY.as_millis() as u64 }));
    Ok(())
}

/// The file is read again with 100,000 reservations more; afterwards each of those clients gets its own address.
pub fn reload(bench: &mut Bench) -> anyhow::Result<()> {
    const RESERVATIONS: u32 = 100_000;
    bench.say("a reload of 100,000 reservations");
    let mut server = bench.stage.start(Contender::Reveille)?;
    let mut plan = phases(bench, 6_000);
    let reserved = Phase::new("reserved", Pace::Window(256), 30_000).work(Work::Reserved);
    plan.push(reserved.clients(u64::from(RESERVATIONS) / 2));
    let (config, state) = (server.state.with_extension("conf"), server.state.clone());
    let ours = Ours { reservations: RESERVATIONS, ..Ours::default() };
    let reload = |server: &mut Server, phase: &str| {
        if phase == "during" {
            std::fs::write(&config, contender::reveille(&state, ours))?;
            server.process.signal(rustix::process::Signal::HUP)?;
        }
        Ok(())
    };
    let outcomes = bench.stage.load_with(&mut server, Clients::Relayed, &plan, reload)?;
    server.stop()?;
    let more = json!({ "reservations": RESERVATIONS, "reserved_clients_bound": outcomes[4].bound });
    write_down(bench, "reload", &outcomes, more);
    Ok(())
}
