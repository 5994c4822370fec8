//! How much a server does: new leases, renewals, and everything at once; closed loop.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use serde_json::{Map, Value, json};

use super::{Bench, median, rounded};
use crate::contender::Contender;
use crate::generate::{Outcome, Pace, Phase, Work};
use crate::stage::Clients;

/// The measured turns of each contender.
type Turns = BTreeMap<Contender, Vec<Outcome>>;

fn clients_of(contender: Contender) -> Clients {
    if contender.offload() { Clients::Offloaded } else { Clients::Relayed }
}

/// Lets the contenders take turns; the last phase of each turn counts. A contender that fails is reported and left out from then on.
fn turns(
    bench: &mut Bench,
    contenders: &[Contender],
    plan: impl Fn(&Bench, Contender) -> Vec<Phase>,
) -> anyhow::Result<Turns> {
    let mut turns = Turns::new();
    let mut contenders = contenders.to_vec();
    for round in 0..bench.rounds {
        contenders.retain(|contender| {
            bench.say(&format!("{} (round {})", contender.title(), round + 1));
            let plan = plan(bench, *contender);
            match turn(bench, *contender, &plan) {
                Ok(outcome) => turns.entry(*contender).or_default().push(outcome),
                Err(error) => {
                    bench.failed(format!("{} in round {}: {error:#}", contender.key(), round + 1));
                    turns.remove(contender);
                    return false;
                }
            }
            true
        });
    }
    ensure!(turns.contains_key(&Contender::Reveille), "ours was not measured");
    Ok(turns)
}

fn turn(bench: &mut Bench, contender: Contender, plan: &[Phase]) -> anyhow::Result<Outcome> {
    let server = bench.stage.start(contender)?;
    let last = bench.stage.load(&server, clients_of(contender), plan)?.pop().context("no phase")?;
    server.stop()?;
    ensure!(last.bound + last.renewed > 0, "served nobody");
    Ok(last)
}

fn of(turns: &[Outcome], figure: impl Fn(&Outcome) -> f64) -> f64 {
    median(&turns.iter().map(figure).collect::<Vec<_>>())
}

/// A contender's turns as they are written down; `unit` is `dora` or `renew`.
fn summary(contender: Contender, turns: &[Outcome], unit: &str) -> Value {
    let latency = if unit == "dora" { |o: &Outcome| o.dora_us } else { |o: &Outcome| o.ack_us };
    let mut map = Map::new();
    map.insert(format!("{unit}_per_s"), json!(rounded(of(turns, Outcome::per_second), 0)));
    map.insert(format!("cpu_us_per_{unit}"), json!(rounded(of(turns, Outcome::cpu_micros), 2)));
    map.insert("p50_us".into(), json!(of(turns, |o| latency(o).p50)));
    map.insert("p99_us".into(), json!(of(turns, |o| latency(o).p99)));
    map.insert("retries".into(), json!(turns.iter().map(|o| o.retries).sum::<u64>()));
    map.insert("window".into(), json!(contender.window()));
    map.insert("generator_busy".into(), json!(rounded(of(turns, |o| o.generator_busy), 2)));
    map.insert("runs_per_s".into(), turns.iter().map(|o| rounded(o.per_second(), 0)).collect());
    map.insert("durable".into(), json!(contender.durable()));
    Value::Object(map)
}

fn write_down(bench: &mut Bench, unit: &str, turns: &Turns) -> impl Fn(Contender) -> f64 + use<> {
    let map: Map<String, Value> =
        turns.iter().map(|(who, turns)| (who.key().to_owned(), summary(*who, turns, unit))).collect();
    bench.results.insert(unit.to_owned(), Value::Object(map));
    let rates: BTreeMap<Contender, f64> =
        turns.iter().map(|(who, turns)| (*who, of(turns, Outcome::per_second))).collect();
    move |who| rates.get(&who).copied().unwrap_or(f64::NAN)
}

/// New leases a second.
pub fn dora(bench: &mut Bench) -> anyhow::Result<()> {
    let turns = turns(bench, &Contender::ALL, |bench, who| {
        let window = Pace::Window(who.window());
        vec![Phase::new("warm", window, 300), Phase::new("dora", window, bench.millis(3_000))]
    })?;
    let rate = write_down(bench, "dora", &turns);
    let better =
        if rate(Contender::KeaMulti) > rate(Contender::KeaSingle) { Contender::KeaMulti } else { Contender::KeaSingle };
    bench.kea = Some(better);
    let kea = rate(better);
    bench.results.insert("kea_better_mode".into(), json!(better.key()));
    bench.figure("dora_per_s", rounded(rate(Contender::Reveille), 0), true);
    let cpu = of(&turns[&Contender::Reveille], Outcome::cpu_micros);
    bench.figure("cpu_us_per_dora", rounded(cpu, 2), true);
    bench.figure("dora_vs_kea", rounded(rate(Contender::Reveille) / kea, 2), true);
    bench.figure("dora_ceiling_vs_kea", rounded(rate(Contender::Ceiling) / kea, 2), false);
    bench.figure("dora_vs_ceiling", rounded(rate(Contender::Reveille) / rate(Contender::Ceiling), 3), true);
    // By CPU time for each lease: the same ratios, less moved by what else the machine does.
    let by_cpu = |who: Contender| turns.get(&who).map_or(f64::NAN, |turns| of(turns, Outcome::cpu_micros));
    bench.figure("dora_vs_kea_by_cpu", rounded(by_cpu(better) / cpu, 2), true);
    bench.figure("dora_vs_ceiling_by_cpu", rounded(by_cpu(Contender::Ceiling) / cpu, 3), true);
    bench.figure("dora_default_per_s", rounded(rate(Contender::ReveilleDefault), 0), true);
    bench.figure("dora_default_vs_kea", rounded(rate(Contender::ReveilleDefault) / kea, 2), true);
    bench.figure("dora_gso_per_s", rounded(rate(Contender::ReveilleOffload), 0), true);
    bench.figure("dora_gso_vs_kea", rounded(rate(Contender::ReveilleOffload) / kea, 2), true);
    Ok(())
}

/// Renewals a second, each written: no answer comes from a cache. The stateless responder acknowledges whatever it is asked.
pub fn renew(bench: &mut Bench) -> anyhow::Result<()> {
    let turns = turns(bench, &Contender::ALL, |bench, who| {
        let (window, clients) = (Pace::Window(who.window()), bench.count(who.renewing()).max(who.window()));
        let fill = Phase::new("fill", window, 30_000).clients(clients);
        vec![fill, Phase::new("renew", window, bench.millis(3_000)).work(Work::Renew)]
    })?;
    let rate = write_down(bench, "renew", &turns);
    for who in Contender::ALL {
        // What a server remembers is part of what a renewal costs it.
        let clients = bench.count(who.renewing()).max(who.window());
        if let Some(entry) = bench.results["renew"].get_mut(who.key()) {
            entry["clients"] = json!(clients);
        }
    }
    let kea = rate(Contender::KeaSingle).max(rate(Contender::KeaMulti));
    bench.figure("renew_per_s", rounded(rate(Contender::Reveille), 0), true);
    bench.figure("renew_vs_kea", rounded(rate(Contender::Reveille) / kea, 2), true);
    bench.figure("renew_vs_ceiling", rounded(rate(Contender::Reveille) / rate(Contender::Ceiling), 3), true);
    bench.figure("renew_ceiling_vs_kea", rounded(rate(Contender::Ceiling) / kea, 2), false);
    bench.figure("renew_default_vs_kea", rounded(rate(Contender::ReveilleDefault) / kea, 2), true);
    bench.figure("renew_gso_vs_kea", rounded(rate(Contender::ReveilleOffload) / kea, 2), true);
    Ok(())
}

/// Everything at once through the relay, and the same from clients on the link itself.
pub fn mixed(bench: &mut Bench) -> anyhow::Result<()> {
    let mut map = Map::new();
    for (name, clients, work, window) in [
        ("relayed_mixed", Clients::Relayed, Work::Mixed, 512),
        ("relayed_release_decline", Clients::Relayed, Work::Cycle, 512),
        ("direct_new", Clients::Direct, Work::New, 256),
        // The kernel of the server remembers the hardware addresses of about 1,000 neighbours.
        ("direct_renew", Clients::Direct, Work::Renew, 64),
    ] {
        let mut per_second = Vec::new();
        for _ in 0..bench.rounds {
            bench.say(&format!("Reveille dhcpd, {name}"));
            let server = bench.stage.start(Contender::Reveille)?;
            let fill = Phase::new("fill", Pace::Window(64), 10_000).clients(400);
            let load = Phase::new("load", Pace::Window(window), bench.millis(2_000)).work(work);
            let outcomes = bench.stage.load(&server, clients, &[fill, load]).context(name)?;
            server.stop()?;
            per_second.push(outcomes[1].per_second());
        }
        map.insert(name.to_owned(), json!({ "per_s": rounded(median(&per_second), 0), "durable": true }));
    }
    bench.results.insert("other_loads".into(), Value::Object(map));
    Ok(())
}
