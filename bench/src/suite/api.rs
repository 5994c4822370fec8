//! The lease API as conductors use it, while 20,000 clients a second are bound: the server and all of its API on one core, the load and all conductors on the other.
//!
//! Conductors speak HTTP/1.1 over the unix socket, as those on the server's host do. The load comes first on its core, so that a conductor that computes is not taken for a
//! server that is slow. What they check as they go is in [`crate::conductor`]; the load checks that clients of reservations get their addresses.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use reveille_lab::{Deadline, Program};
use serde_json::{Value, json};

use super::{Bench, median, rounded};
use crate::contender::{Contender, Ours};
use crate::generate::{Latency, Outcome, Pace, Phase, Work};
use crate::io::cpu::resident_bytes;
use crate::machine;
use crate::stage::Clients;

/// New leases a second.
const RATE: u64 = 20_000;
/// Who serves: as it is set up where nothing is said.
const WHO: Contender = Contender::ReveilleDefault;
/// Reservations of the batch.
const ROWS: u32 = 100_000;
/// The first machine of those that are put one by one.
const PUT_FIRST: u32 = 200_000;
/// Leases that are listed.
const LEASES: u64 = 1_000_000;
/// Clients of one load at the most.
const LOAD_CLIENTS: u32 = 300_000;
/// Listings' rounds at the most: the pools hold no more leases.
const LIST_ROUNDS_MAX: u32 = 3;
/// How long the disk alone is measured before each round.
const DISK_TIME: Duration = Duration::from_secs(1);
/// For one task of a conductor.
const TASK_TIME: u64 = 40;

/// All of it.
pub fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let mut turns = Vec::new();
    for _ in 0..bench.rounds {
        turns.push(conduct(bench)?);
    }
    write_down(bench, &turns);
    list(bench)
}

/// What came of one round of reservations and events.
struct Turn {
    sync_ms: f64,
    put: Value,
    batch: Value,
    watch: Value,
    load: Vec<Outcome>,
}

fn steady(name: &str, millis: u64) -> Phase {
    Phase::new(name, Pace::Rate(RATE), millis)
}

fn task(words: &[(&str, u64)]) -> Vec<String> {
    words.iter().map(|(name, value)| format!("{name}{value}")).collect()
}

fn outcome(program: Program) -> anyhow::Result<Value> {
    let printed = program.succeed(Deadline::secs(TASK_TIME))?;
    serde_json::from_str(&printed).with_context(|| format!("the conductor printed: {printed}"))
}

/// Reservations one by one and in a batch, then events; at the end everybody of the batch that asks gets the reserved address.
fn conduct(bench: &mut Bench) -> anyhow::Result<Turn> {
    let sync_ms = machine::paced_sync(bench.stage.run.dir(), DISK_TIME)?.micros_at(0.5) / 1e3;
    let rows = bench.count(ROWS.into()) as u32;
    let mut server = bench.stage.start(WHO)?;
    let (put_millis, watch_millis) = (bench.millis(1_800), bench.millis(2_500));
    let plan = [
        steady("warm", 500),
        steady("alone", bench.millis(1_500)),
        steady("put", put_millis + 200),
        steady("batch", 4_000),
        // What watchers have is counted when it must have come.
        steady("watch", watch_millis + 1_500),
    ];
    let conductor = |words: &[&str], options: &[(&str, u64)]| {
        let words = words.iter().map(|word| (*word).to_owned()).chain(task(options)).collect::<Vec<_>>();
        bench.stage.conduct(&server, &words)
    };
    let put = conductor(&["put"], &[("--first=", PUT_FIRST.into()), ("--millis=", put_millis)])?;
    let batch = conductor(&["batch"], &[("--first=", 0), ("--rows=", rows.into())])?;
    let watched = [("--first=", 0), ("--clients=", LOAD_CLIENTS.into()), ("--millis=", watch_millis)];
    let watch = conductor(&["watch"], &watched)?;
    let (mut puts, mut batched, mut lag) = (Value::Null, Value::Null, Value::Null);
    let bar = bench.bar.clone();
    let load = bench.stage.load_beside(&mut server, 0, &plan, |_, phase| {
        bar.set_message(format!("the lease API beside {RATE}/s: {phase}"));
        match phase {
            "put" => puts = outcome(put.clone())?,
            "batch" => batched = outcome(batch.clone())?,
            "watch" => lag = outcome(watch.clone())?,
            _ => {}
        }
        Ok(())
    })?;
    let reserved = Phase::new("reserved", Pace::Window(256), 10_000).work(Work::Reserved).clients(u64::from(rows) / 5);
    let reserved = bench.stage.load(&server, Clients::Relayed, &[reserved])?;
    ensure!(reserved[0].bound >= u64::from(rows) / 5, "only {} of the reserved clients were bound", reserved[0].bound);
    server.stop()?;
    ensure!(lag["events"].as_f64() > Some(0.8 * (RATE * watch_millis / 1_000) as f64), "only so many events: {lag}");
    Ok(Turn { sync_ms, put: puts, batch: batched, watch: lag, load })
}

fn write_down(bench: &mut Bench, turns: &[Turn]) {
    let of = |figure: &dyn Fn(&Turn) -> f64| rounded(median(&turns.iter().map(figure).collect::<Vec<_>>()), 3);
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let lag = |turn: &Turn, key: &str| number(&turn.watch["all"][key]).max(number(&turn.watch["filtered"][key]));
    bench.figure("reservation_put_p99_ms", of(&|turn| number(&turn.put["p99_ms"])), true);
    bench.figure("reservation_put_p50_ms", of(&|turn| number(&turn.put["p50_ms"])), true);
    bench.figure("reservation_batch_100k_s", of(&|turn| number(&turn.batch["seconds"])), true);
    bench.figure("watch_lag_p99_ms", of(&|turn| lag(turn, "p99_ms")), true);
    bench.figure("watch_lag_p50_ms", of(&|turn| lag(turn, "p50_ms")), true);
    let dhcp = |pick: fn(&Latency) -> f64| {
        let phase = |name: &'static str| {
            let dora = move |turn: &Turn| turn.load.iter().find(|phase| phase.name == name).map(|phase| phase.dora_us);
            of(&|turn| dora(turn).map_or(f64::NAN, |dora| pick(&dora) / 1e3))
        };
        json!({ "alone": phase("alone"), "put": phase("put"), "batch": phase("batch"), "watch": phase("watch") })
    };
    let entry = json!({
        "rate_per_s": RATE,
        "over": "HTTP/1.1 on the unix socket, one connection kept open",
        "disk_sync_p50_ms": of(&|turn| turn.sync_ms),
        "puts": turns.iter().map(|turn| turn.put["puts"].as_u64().unwrap_or(0)).sum::<u64>(),
        "batch_octets": of(&|turn| number(&turn.batch["octets"])),
        "events_per_s": of(&|turn| number(&turn.watch["events"]) / number(&turn.watch["seconds"])),
        "lag_ms_of_all": turns.last().map(|turn| &turn.watch["all"]),
        "lag_ms_of_filtered": turns.last().map(|turn| &turn.watch["filtered"]),
        "dora_p50_ms": dhcp(|dora| dora.p50),
        "dora_p99_ms": dhcp(|dora| dora.p99),
        "durable": true,
    });
    bench.results.insert("api".into(), entry);
}

/// A million leases, listed under the load; the load alone, just before, is what it is held against.
fn list(bench: &mut Bench) -> anyhow::Result<()> {
    let leases = bench.count(LEASES);
    bench.say(&format!("{leases} leases to be listed"));
    let state = bench.stage.new_state(WHO.key())?;
    let mut server = bench.stage.start_in(Contender::ReveilleOffload, &state, Ours::default(), "0")?;
    let fill = Phase::new("fill", Pace::Window(2_048), 60_000).clients(leases);
    let filled = bench.stage.load(&server, Clients::Offloaded, &[fill])?;
    ensure!(filled[0].bound >= leases, "only {} were bound", filled[0].bound);
    let list_millis = bench.millis(3_600);
    let words = [vec!["list".to_owned()], task(&[("--bound=", leases), ("--millis=", list_millis)])].concat();
    let conductor = bench.stage.conduct(&server, &words)?;
    let alone = bench.millis(2_000);
    let plan = [steady("warm", 500), steady("alone", alone), steady("list", list_millis + 200)];
    let (mut rates, mut grown, mut load, mut busy) = (vec![], vec![], vec![], vec![]);
    for round in 0..bench.rounds.min(LIST_ROUNDS_MAX) {
        bench.say(&format!("{leases} leases listed beside {RATE}/s"));
        let first = leases as u32 + round * LOAD_CLIENTS;
        let (mut listed, mut rss) = (Value::Null, [0; 3]);
        let outcomes = bench.stage.load_beside(&mut server, first, &plan, |server, phase| {
            let pid = server.process.pid();
            match phase {
                "alone" => rss[0] = resident_bytes(pid)?,
                "list" => {
                    rss[1] = resident_bytes(pid)?;
                    let peak = Peak::default();
                    listed = std::thread::scope(|scope| {
                        scope.spawn(|| peak.watch(pid));
                        let listed = outcome(conductor.clone());
                        peak.ended.store(true, Ordering::Release);
                        listed
                    })?;
                    rss[2] = peak.bytes.load(Ordering::Acquire);
                }
                _ => {}
            }
            Ok(())
        })?;
        let number = |key: &str| listed[key].as_f64().unwrap_or(f64::NAN);
        rates.push(number("leases") / number("seconds"));
        // New leases take memory of their own, listed or not.
        let mib = |from: u64, to: u64| to.saturating_sub(from) as f64 / f64::from(1 << 20);
        let of_leases = mib(rss[0], rss[1]) * number("seconds") * 1e3 / alone as f64;
        grown.push((mib(rss[1], rss[2]) - of_leases).max(0.0));
        busy.push(outcomes[2].generator_busy);
        load.push([outcomes[1].dora_us, outcomes[2].dora_us]);
    }
    server.process.stop(Duration::from_secs(20))?;
    std::fs::remove_dir_all(&server.state)?;
    let over = |figure: &dyn Fn(&[Latency; 2]) -> f64| median(&load.iter().map(figure).collect::<Vec<_>>());
    let dhcp = |pick: fn(&Latency) -> f64| {
        json!({ "alone": rounded(over(&|[alone, _]| pick(alone)) / 1e3, 3),
                "list": rounded(over(&|[_, listed]| pick(listed)) / 1e3, 3) })
    };
    let rates: Vec<_> = rates.iter().map(|rate| rounded(*rate, 0)).collect();
    bench.figure("lease_list_per_s", rounded(median(&rates), 0), true);
    bench.figure("lease_list_latency_cost", rounded(over(&|[alone, listed]| listed.p99 / alone.p99), 3), true);
    bench.figure("lease_list_rss_growth_mib", rounded(median(&grown), 1), true);
    let entry = json!({
        "leases": leases, "rate_per_s": RATE, "listed_per_s": rates, "generator_busy": busy, "dora_p50_ms": dhcp(|dora| dora.p50),
        "dora_p99_ms": dhcp(|dora| dora.p99), "format": "jsonl", "durable": true,
    });
    bench.results.insert("lease_list".into(), entry);
    Ok(())
}

/// The most memory that a process has had.
#[derive(Default)]
struct Peak {
    bytes: AtomicU64,
    ended: AtomicBool,
}

impl Peak {
    fn watch(&self, pid: u32) {
        while !self.ended.load(Ordering::Acquire) {
            let Ok(bytes) = resident_bytes(pid) else { return };
            self.bytes.fetch_max(bytes, Ordering::AcqRel);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
