//! How long answers take at a load that can be served: open loop, counted from when each message was due.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Map, Value, json};

use super::{Bench, median, rounded};
use crate::contender::Contender;
use crate::generate::{Latency, Outcome, Pace, Phase};
use crate::machine;
use crate::stage::Clients;

/// How long the disk alone is measured before each turn: what it does to a sync, whoever else uses it, it does to an ACK.
const DISK_TIME: Duration = Duration::from_secs(2);
/// New leases a second.
const RATES: [u64; 3] = [1_000, 10_000, 50_000];

/// Who is asked at which rates, by what clients, and what its figures' names end in; ours first as it is set up where nothing is said. The responder that
/// remembers nothing shows what machine and load add by themselves.
const TURNS: [(Contender, &[u64], Clients, Option<&str>); 4] = [
    (Contender::ReveilleDefault, &RATES, Clients::Relayed, Some("")),
    (Contender::Reveille, &[50_000], Clients::Relayed, Some("_plain")),
    (Contender::ReveilleOffload, &[50_000], Clients::Offloaded, Some("_gso")),
    (Contender::Ceiling, &[50_000], Clients::Relayed, Some("_ceiling")),
];

/// Ours at every rate, Kea at those that it can serve.
pub fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let mut disk = Vec::new();
    let mut turns: BTreeMap<(Contender, u64), Vec<Outcome>> = BTreeMap::new();
    let kea: (_, &[u64], _, _) = (bench.kea(), &RATES[..2], Clients::Relayed, None);
    let contenders: Vec<_> = TURNS.into_iter().chain([kea]).collect();
    for _ in 0..bench.rounds {
        for (contender, rates, clients, _) in &contenders {
            for rate in *rates {
                bench.say(&format!("{} at {rate}/s", contender.title()));
                if contender.durable() {
                    disk.push(machine::paced_sync(bench.stage.run.dir(), DISK_TIME)?);
                }
                let server = bench.stage.start(*contender)?;
                let warm = Phase::new("warm", Pace::Rate(*rate), 500);
                let plan = [warm, Phase::new("load", Pace::Rate(*rate), bench.millis(3_000))];
                let outcome = bench.stage.load(&server, *clients, &plan)?.pop().context("no phase")?;
                server.stop()?;
                ensure!(outcome.bound > 0, "{} bound nobody at {rate}/s", contender.key());
                turns.entry((*contender, *rate)).or_default().push(outcome);
            }
        }
    }
    let mut latencies = Map::new();
    for (contender, rates, _, suffix) in contenders {
        let mut by_rate = Map::new();
        for rate in rates {
            let turns = &turns[&(contender, *rate)];
            by_rate.insert(rate.to_string(), summary(contender, turns));
            if let Some(suffix) = suffix {
                figures(bench, contender, *rate, suffix, turns);
            }
        }
        latencies.insert(contender.key().to_owned(), Value::Object(by_rate));
    }
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
        let shares: Vec<_> = disk.iter().map(|turn| turn.micros_at(share)).collect();
        bench.figure(&format!("disk_sync_{name}_ms"), rounded(median(&shares) / 1e3, 3), true);
    }
    bench.results.insert("latency".into(), Value::Object(latencies));
    Ok(())
}

fn of(turns: &[Outcome], figure: impl Fn(&Outcome) -> f64) -> f64 {
    rounded(median(&turns.iter().map(figure).collect::<Vec<_>>()) / 1e3, 3)
}

fn figures(bench: &mut Bench, contender: Contender, rate: u64, suffix: &str, turns: &[Outcome]) {
    type Part = (&'static str, fn(&Outcome) -> Latency);
    let parts: [Part; 2] = [("offer", |o| o.offer_us), ("ack", |o| o.ack_us)];
    for (name, latency) in parts {
        let (at, durable) = (rate / 1_000, contender.durable());
        bench.figure(&format!("{name}_p50_ms_at_{at}k{suffix}"), of(turns, |o| latency(o).p50), durable);
        bench.figure(&format!("{name}_p99_ms_at_{at}k{suffix}"), of(turns, |o| latency(o).p99), durable);
        bench.figure(&format!("{name}_p999_ms_at_{at}k{suffix}"), of(turns, |o| latency(o).p999), durable);
    }
}

fn summary(contender: Contender, turns: &[Outcome]) -> Value {
    let part = |latency: fn(&Outcome) -> Latency| {
        json!({
            "p50_ms": of(turns, |o| latency(o).p50),
            "p99_ms": of(turns, |o| latency(o).p99),
            "p999_ms": of(turns, |o| latency(o).p999),
            "max_ms": of(turns, |o| latency(o).max),
        })
    };
    json!({
        "bound_per_s": rounded(median(&turns.iter().map(Outcome::per_second).collect::<Vec<_>>()), 0),
        "unanswered": turns.iter().map(|o| o.unanswered).sum::<u64>(),
        "offer": part(|o| o.offer_us),
        "ack": part(|o| o.ack_us),
        "dora": part(|o| o.dora_us),
        "durable": contender.durable(),
    })
}
