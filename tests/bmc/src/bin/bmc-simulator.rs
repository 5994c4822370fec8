//! Simulated BMCs as a process: for benchmarks, and for trying things out by hand.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use reveille_bmc_simulator::{Faults, Fleet, Server, Suite};

/// Simulates BMCs on loopback addresses until its standard input ends; user `admin`, password `secret`.
#[derive(Parser)]
struct Args {
    /// The first address
    #[arg(long, default_value = "127.64.0.1")]
    first: Ipv4Addr,
    /// The port of all
    #[arg(long, default_value_t = 6230)]
    port: u16,
    /// How many, at consecutive addresses
    #[arg(long, default_value_t = 1)]
    count: u32,
    /// The only cipher suite they speak: 0, 3 or 17 [default: 3 and 17]
    #[arg(long)]
    suite: Option<u8>,
    /// Of so many in a thousand nothing is ever heard
    #[arg(long, default_value_t = 0)]
    dead: u16,
    /// So many datagrams in a thousand are lost
    #[arg(long, default_value_t = 0)]
    lost: u16,
    /// So many answers in a thousand are late
    #[arg(long, default_value_t = 0)]
    late: u16,
    /// How late they are, milliseconds
    #[arg(long, default_value_t = 1_500)]
    late_millis: u64,
    /// So many datagrams in a thousand meet a BMC that restarts
    #[arg(long, default_value_t = 0)]
    restart: u16,
    /// For GUIDs and faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let faults = Faults {
        lost: args.lost,
        twice: 0,
        late: args.late,
        late_by: Duration::from_millis(args.late_millis),
        restart: args.restart,
    };
    let mut fleet = Fleet { faults, dead: args.dead, seed: args.seed, ..Fleet::new(args.first, args.port, args.count) };
    if let Some(id) = args.suite {
        let suite = [Suite::Zero, Suite::Three, Suite::Seventeen].into_iter().find(|suite| suite.id() == id);
        fleet.personality.suites = vec![suite.context("cipher suites are 0, 3 and 17")?];
    }
    let server = Server::start(fleet).context("cannot serve")?;
    println!("ready");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let counts = server.counts();
    println!("{counts:?}");
    Ok(())
}
