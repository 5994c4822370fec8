//! Fuzzes the conversation with BMCs for as long as it is told, from a seed that it prints: `make fuzz SECONDS=600`.

use std::time::{Duration, Instant, SystemTime};

use clap::Parser;
use reveille_fuzz::ipmi::{IpmiFuzzer, Met};

/// Fuzzes the conversation with BMCs, both directions.
#[derive(Parser)]
struct Args {
    /// For how long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where to begin; by default another place each time.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() {
    let args = Args::parse();
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let seed = args.seed.unwrap_or(clock);
    println!("seed {seed}");
    let (mut fuzzer, mut met) = (IpmiFuzzer::new(seed), Met::default());
    let until = Instant::now() + Duration::from_secs(args.seconds);
    while Instant::now() < until {
        fuzzer.step(&mut met);
    }
    println!("{met:?}");
}
