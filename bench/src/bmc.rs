//! BMCs: the simulator as a process of its own, and rounds of questions to its fleet over one socket.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Context;
use reveille_bmc_simulator::{Fleet, Server, Suite};
use reveille_provisioner::io::bmc::{BmcLimits, BmcSocket, BmcTarget, CipherSuite, Privilege, Suites};
use serde_json::json;
use tokio::task::JoinSet;

/// Where the fleet is: loopback addresses of which nobody else makes use.
pub const FIRST: Ipv4Addr = Ipv4Addr::new(127, 96, 0, 1);
/// The port of all.
pub const PORT: u16 = 6_230;
/// Who may ask; of the simulation only.
pub const USER: &str = "admin";
/// What proves it.
pub const PASSWORD: &str = "secret";

/// The fleet that is asked: `dead` of a thousand never answer. Only cipher suite 3, which every contender speaks.
fn fleet(count: u32, dead: u16) -> Fleet {
    let mut fleet = Fleet { dead, ..Fleet::new(FIRST, PORT, count) };
    fleet.personality.suites = vec![Suite::Three];
    fleet
}

/// Arguments of `simulate-bmcs`.
#[derive(clap::Args)]
pub struct Simulate {
    /// How many
    #[arg(long, default_value_t = 1_000)]
    count: u32,
    /// Of so many in a thousand nothing is ever heard
    #[arg(long, default_value_t = 0)]
    dead: u16,
}

/// Simulates until standard input ends; then prints how many sessions were opened and commands carried out.
///
/// # Errors
/// An address is taken, or so many sockets may not be opened.
pub fn simulate(args: &Simulate) -> anyhow::Result<()> {
    let server = Server::start(fleet(args.count, args.dead)).context("cannot simulate the BMCs")?;
    println!("ready");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let counts = server.counts();
    println!("{}", json!({ "opened": counts.opened, "commands": counts.commands }));
    Ok(())
}

/// Arguments of `ask-bmcs`.
#[derive(clap::Args)]
pub struct Ask {
    /// How many there are
    #[arg(long, default_value_t = 1_000)]
    count: u32,
    /// So many in a thousand are dead, as the simulator was told
    #[arg(long, default_value_t = 0)]
    dead: u16,
    /// Rounds
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

/// Prints for each round in milliseconds: from cold, warm, and with the dead asked as well until all living have answered.
///
/// # Errors
/// A living BMC did not answer.
pub fn ask(args: &Ask) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let fleet = fleet(args.count, args.dead);
        let targets = |dead: bool| -> anyhow::Result<Vec<BmcTarget>> {
            let of = (0..args.count).filter(|n| fleet.is_dead(*n) == dead);
            of.map(|n| target(&fleet, n)).collect()
        };
        let (living, dead) = (targets(false)?, targets(true)?);
        let (mut cold, mut warm, mut beside_dead) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..args.rounds {
            let bmc = BmcSocket::start(None, BmcLimits::default())?;
            cold.push(round(&bmc, &living, &[]).await?);
            warm.push(round(&bmc, &living, &[]).await?);
            leave(bmc).await;
            if !dead.is_empty() {
                let bmc = BmcSocket::start(None, BmcLimits::default())?;
                beside_dead.push(round(&bmc, &living, &dead).await?);
                leave(bmc).await;
            }
        }
        println!("{}", json!({ "cold_ms": cold, "warm_ms": warm, "beside_dead_ms": beside_dead }));
        Ok(())
    })
}

fn target(fleet: &Fleet, n: u32) -> anyhow::Result<BmcTarget> {
    let mut target = BmcTarget::new(fleet.address(n), USER, PASSWORD, Privilege::Administrator)?;
    target.credentials.suites = Suites::only(CipherSuite::Three).unwrap_or_default();
    Ok(target)
}

/// Asks everybody at once; milliseconds until the last of the living has answered.
async fn round(bmc: &BmcSocket, living: &[BmcTarget], dead: &[BmcTarget]) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let (mut asked, mut hopeless) = (JoinSet::new(), JoinSet::new());
    // The dead are among the others, as in a rack.
    let every = living.len() / dead.len().max(1);
    let mut dead = dead.iter();
    for (at, target) in living.iter().enumerate() {
        if let Some(target) = if at % every.max(1) == 0 { dead.next() } else { None } {
            let (bmc, target) = (bmc.clone(), target.clone());
            hopeless.spawn(async move { bmc.power_state(&target).await });
        }
        let (bmc, target) = (bmc.clone(), target.clone());
        asked.spawn(async move { bmc.power_state(&target).await });
    }
    while let Some(answer) = asked.join_next().await {
        answer??;
    }
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

/// Gives the sessions back, and lets the simulator take note of it.
async fn leave(bmc: BmcSocket) {
    bmc.close_sessions().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
}
