//! `reveille-bench run`: all measurements, one after the other, and what they come to.

mod api;
mod avalanche;
mod bmc;
mod bootd;
mod bootd_http;
mod bootd_tftp;
mod calibrate;
mod latency;
mod memory;
mod overload;
mod scaling;
mod scenario;
mod throughput;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use crate::contender::Contender;
use crate::stage::{Stage, wait_if_ending};
use crate::{machine, report};

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    reveille-bench run --reveille target/release/reveille                 everything; writes bench/results and BENCHMARKS.md\n  \
    reveille-bench run --reveille … --quick --only dora --only renew      a first look: short turns, nothing written\n  \
    reveille-bench run --reveille … --only latency --json                 the figures alone, for a program\n\n\
    Figures are ratios within one run: leave the machine alone meanwhile. Root is needed for namespaces.")]
pub struct Args {
    /// The program under test, built for release
    #[arg(long)]
    reveille: PathBuf,
    /// Only this measurement (may be given several times); nothing is written then unless --results says where
    #[arg(long, value_enum)]
    only: Vec<Measurement>,
    /// Short turns and one round: shows that everything works; nothing is written unless --results says where
    #[arg(long)]
    quick: bool,
    /// Rounds; each contender takes one turn in each, and medians are reported
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Prints the results as JSON in place of the table
    #[arg(long)]
    json: bool,
    /// The directory of latest.json and the plot [default: bench/results, if everything is measured]
    #[arg(long)]
    results: Option<PathBuf>,
    /// Where peers are unpacked that cannot be installed side by side (see peers.sh)
    #[arg(long, default_value = "target/peers")]
    peers: PathBuf,
    /// The page whose generated part is renewed along with the results
    #[arg(long, default_value = "BENCHMARKS.md")]
    page: PathBuf,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Measurement {
    /// New leases a second and CPU for each, all contenders
    Dora,
    /// Renewals a second, all that remember clients
    Renew,
    /// New leases, renewals, releases and declines together, and clients on the server's own link
    Mixed,
    /// Latency at 1,000, 10,000 and 50,000 new leases a second
    Latency,
    /// 20,000 clients powered on at once
    Avalanche,
    /// More load than can be served
    Overload,
    /// Memory for each of a million leases, and the restart with them
    Memory,
    /// Two workers beside one
    Scaling,
    /// Our generator beside perfdhcp, on Kea
    Calibrate,
    /// A million made-up hardware addresses
    Flood,
    /// A disk that becomes slow and fast again
    SlowDisk,
    /// A reload with 100,000 reservations under load
    Reload,
    /// The lease API beside 20,000 new leases a second: reservations, events, a million leases listed
    Api,
    /// A thousand BMCs beside ipmipower, and ten thousand in view
    Bmc,
    /// Boot files over TFTP and HTTP beside tftpd-hpa, atftpd, dnsmasq and nginx
    Bootd,
}

impl Measurement {
    const ALL: [Self; 15] = [
        Self::Dora,
        Self::Renew,
        Self::Mixed,
        Self::Latency,
        Self::Avalanche,
        Self::Overload,
        Self::Memory,
        Self::Scaling,
        Self::Calibrate,
        Self::Flood,
        Self::SlowDisk,
        Self::Reload,
        Self::Api,
        Self::Bmc,
        Self::Bootd,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Dora => "dora",
            Self::Renew => "renew",
            Self::Mixed => "mixed",
            Self::Latency => "latency",
            Self::Avalanche => "avalanche",
            Self::Overload => "overload",
            Self::Memory => "memory",
            Self::Scaling => "scaling",
            Self::Calibrate => "calibrate",
            Self::Flood => "flood",
            Self::SlowDisk => "slow-disk",
            Self::Reload => "reload",
            Self::Api => "api",
            Self::Bmc => "bmc",
            Self::Bootd => "bootd",
        }
    }

    /// About how long it takes, seconds for each round: for the progress bar.
    fn secs(self) -> u64 {
        match self {
            Self::Dora | Self::Renew => 45,
            Self::Mixed | Self::Scaling | Self::Overload => 25,
            Self::Latency => 30,
            Self::Avalanche => 45,
            Self::Memory => 20,
            Self::Calibrate => 10,
            Self::Flood | Self::SlowDisk | Self::Reload => 6,
            Self::Api => 25,
            Self::Bmc => 30,
            Self::Bootd => 70,
        }
    }

    fn carry_out(self, bench: &mut Bench) -> anyhow::Result<()> {
        match self {
            Self::Dora => throughput::dora(bench),
            Self::Renew => throughput::renew(bench),
            Self::Mixed => throughput::mixed(bench),
            Self::Latency => latency::measure(bench),
            Self::Avalanche => avalanche::measure(bench),
            Self::Overload => overload::measure(bench),
            Self::Memory => memory::measure(bench),
            Self::Scaling => scaling::measure(bench),
            Self::Calibrate => calibrate::measure(bench),
            Self::Flood => scenario::flood(bench),
            Self::SlowDisk => scenario::slow_disk(bench),
            Self::Reload => scenario::reload(bench),
            Self::Api => api::measure(bench),
            Self::Bmc => bmc::measure(bench),
            Self::Bootd => bootd::measure(bench),
        }
    }
}

/// A run under way.
pub struct Bench {
    stage: Stage,
    rounds: u32,
    quick: bool,
    peers: PathBuf,
    bar: ProgressBar,
    results: Map<String, Value>,
    durable: Map<String, Value>,
    failures: Vec<String>,
    /// Kea's better mode, once known.
    kea: Option<Contender>,
}

impl Bench {
    /// A duration, shorter when only a first look is wanted.
    fn millis(&self, full: u64) -> u64 {
        if self.quick { (full / 3).max(500) } else { full }
    }

    /// A number of clients, smaller when only a first look is wanted.
    fn count(&self, full: u64) -> u64 {
        if self.quick { full / 10 } else { full }
    }

    fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// Writes a figure of ours down, and whether its ACKs were durable.
    fn figure(&mut self, name: &str, value: impl Into<Value>, durable: bool) {
        self.results.insert(name.to_owned(), value.into());
        self.durable.insert(name.to_owned(), durable.into());
    }

    /// Remembers that something could not be measured; the rest is.
    fn failed(&mut self, what: String) {
        wait_if_ending();
        self.bar.suspend(|| eprintln!("{what}"));
        self.failures.push(what);
    }

    /// Kea's better mode: as measured, or else single-threaded.
    fn kea(&self) -> Contender {
        self.kea.unwrap_or(Contender::KeaSingle)
    }
}

/// Carries out what was asked for.
///
/// # Errors
/// A measurement failed; the others have been made, and are reported.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let chosen: Vec<Measurement> =
        Measurement::ALL.into_iter().filter(|one| args.only.is_empty() || args.only.contains(one)).collect();
    let rounds = if args.quick { 1 } else { args.rounds };
    let stage = Stage::build(&args.reveille)?;
    let total: u64 = chosen.iter().map(|one| one.secs() * u64::from(rounds)).sum();
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} % {msg} ({elapsed})")?;
    let bar = ProgressBar::new(total).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(500));
    let mut results = Map::new();
    results.insert("machine".into(), machine::describe(stage.run.dir())?);
    let (p50, p99) = machine::fdatasync_micros(stage.run.dir())?;
    results.insert("fdatasync_us_p50".into(), p50.into());
    results.insert("fdatasync_us_p99".into(), p99.into());
    results.insert("rounds".into(), rounds.into());
    let mut bench = Bench {
        stage,
        rounds,
        quick: args.quick,
        peers: args.peers.clone(),
        bar,
        results,
        durable: Map::new(),
        failures: Vec::new(),
        kea: None,
    };
    for measurement in &chosen {
        bench.say(measurement.name());
        if let Err(error) = measurement.carry_out(&mut bench) {
            bench.failed(format!("{}: {error:#}", measurement.name()));
        }
        bench.bar.inc(measurement.secs() * u64::from(rounds));
    }
    bench.bar.finish_and_clear();
    let Bench { mut results, durable, failures, .. } = bench;
    results.insert("durable".into(), Value::Object(durable));
    results.insert("failures".into(), json!(failures));
    let targets = report::targets(&results);
    results.insert("targets".into(), report::targets_json(&targets));
    let results = Value::Object(results);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&results)?);
    } else {
        print!("{}", report::text(&results, &targets));
    }
    let whole = args.only.is_empty() && !args.quick;
    let folder = args.results.clone().or(whole.then(|| PathBuf::from("bench/results")));
    if let Some(folder) = folder {
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("latest.json");
        std::fs::write(&file, serde_json::to_string_pretty(&results)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
        std::fs::write(folder.join("latest.svg"), report::plot(&results))?;
        if whole {
            report::renew_page(&args.page, &results, &targets)?;
        }
        eprintln!("written to {}", folder.display());
    }
    if !failures.is_empty() {
        bail!("not all could be measured:\n{}", failures.join("\n"));
    }
    Ok(())
}

/// The middle of some figures.
fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => (sorted[even / 2 - 1] + sorted[even / 2]) / 2.0,
    }
}

/// To `digits` after the point.
fn rounded(figure: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (figure * scale).round() / scale
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(super::median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(super::median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
