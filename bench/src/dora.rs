//! `reveille-bench dora`: new leases a second, side by side.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::contender::{Contender, Stage};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The program under test, built for release
    #[arg(long)]
    reveille: PathBuf,
    /// Rounds; each contender takes one turn in each, and medians are reported
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// How long a turn loads, milliseconds
    #[arg(long, default_value_t = 3_000)]
    millis: u64,
    /// Clients outstanding at once
    #[arg(long, default_value_t = 128)]
    outstanding: u32,
    /// Where the results go
    #[arg(long, default_value = "bench/results/latest.json")]
    results: PathBuf,
}

/// The turns of one contender.
#[derive(Default)]
struct Turns {
    dora_per_s: Vec<f64>,
    cpu_micros: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    retries: u64,
}

/// Runs the comparison, prints a table and writes the results.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut stage = Stage::build(&args.reveille)?;
    let mut turns: BTreeMap<&str, Turns> = BTreeMap::new();
    let bar = ProgressBar::new(u64::from(args.rounds) * Contender::ALL.len() as u64)
        .with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed}")?);
    for round in 0..args.rounds {
        for contender in Contender::ALL {
            bar.set_message(contender.key());
            let mut server = stage.start(contender)?;
            // A first small load warms the server; its figures are not kept.
            stage.load(200, args.outstanding, 0)?;
            let cpu = cpu_time(server.pid())?;
            let outcome = stage
                .load(args.millis, args.outstanding, 1 << 22)
                .with_context(|| format!("{} in round {}", contender.key(), round + 1))?;
            let cpu = cpu_time(server.pid())? - cpu;
            server.stop(Duration::from_secs(10))?;
            ensure!(outcome.bound > 0, "{} bound nobody", contender.key());
            let turn = turns.entry(contender.key()).or_default();
            turn.dora_per_s.push(f64::from(outcome.bound) / outcome.seconds);
            turn.cpu_micros.push(cpu.as_secs_f64() * 1e6 / f64::from(outcome.bound));
            turn.p50.push(f64::from(outcome.dora_micros_p50));
            turn.p99.push(f64::from(outcome.dora_micros_p99));
            turn.retries += outcome.retries;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    report(args, &turns)
}

fn report(args: &Args, turns: &BTreeMap<&str, Turns>) -> anyhow::Result<()> {
    let mut results = serde_json::Map::new();
    println!(
        "New leases, one core each for server and load, {} clients outstanding, medians of {}:",
        args.outstanding, args.rounds
    );
    println!(
        "{:<10} {:>10} {:>12} {:>10} {:>10} {:>8}  every ACK on disk",
        "", "DORA/s", "CPU µs/DORA", "p50 µs", "p99 µs", "retries"
    );
    for contender in Contender::ALL {
        let turn = &turns[contender.key()];
        let figures = [&turn.dora_per_s, &turn.cpu_micros, &turn.p50, &turn.p99].map(|figures| median(figures));
        let [dora, cpu, p50, p99] = figures;
        let durable = contender.durable();
        println!(
            "{:<10} {dora:>10.0} {cpu:>12.1} {p50:>10.0} {p99:>10.0} {:>8}  {}",
            contender.key(),
            turn.retries,
            if durable { "yes" } else { "no" }
        );
        results.insert(
            contender.key().to_owned(),
            json!({ "dora_per_s": round(dora), "cpu_us_per_dora": round(cpu), "dora_p50_us": p50, "dora_p99_us": p99,
                    "retries": turn.retries, "durable": durable, "runs": turn.dora_per_s }),
        );
    }
    let ours = median(&turns["reveille"].dora_per_s);
    for peer in ["kea", "ceiling"] {
        let ratio = ours / median(&turns[peer].dora_per_s);
        println!("reveille / {peer}: {ratio:.2}");
        results.insert(format!("dora_vs_{peer}"), json!(round(ratio)));
    }
    if let Some(folder) = args.results.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&args.results, serde_json::to_string_pretty(&Value::Object(results))? + "\n")
        .with_context(|| format!("cannot write {}", args.results.display()))?;
    println!("written to {}", args.results.display());
    Ok(())
}

fn round(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// User and system time of a process and its threads so far (proc(5): fields 14 and 15, in ticks of 10 ms).
fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the server is gone")?;
    let after_name = stat.rsplit_once(')').context("an unreadable /proc/PID/stat")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(super::median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(super::median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
