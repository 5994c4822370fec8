//! A conductor: puts reservations, follows events and lists leases over the lease API, while others load the server with packets; prints one JSON line.
//!
//! It holds the server to its word as it goes: a reservation that was answered is in force, no event is missing or comes twice, a listing has each lease once.

mod asker;
mod batch;
mod connection;
mod list;
mod put;
mod watch;

use std::path::PathBuf;

use clap::Subcommand;
use reveille_config::dto::dhcpd::ReservationPut;

use crate::generate::{RESERVED_BASE, RESERVED_FIRST, mac};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The unix socket of the lease API
    #[arg(long)]
    socket: PathBuf,
    #[command(subcommand)]
    task: Task,
}

/// What it does.
#[derive(Subcommand)]
enum Task {
    /// Puts one reservation after the other, each a new one
    Put(put::Args),
    /// Puts many reservations in one batch
    Batch(batch::Args),
    /// Follows all events ten times over, and those of some machines a hundred times
    Watch(watch::Args),
    /// Lists all leases, again and again
    List(list::Args),
}

/// Carries one task out.
///
/// # Errors
/// The server refuses, or has not done what it said.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        match &args.task {
            Task::Put(task) => put::run(&args.socket, task).await,
            Task::Batch(task) => batch::run(&args.socket, task).await,
            Task::Watch(task) => watch::run(&args.socket, task).await,
            Task::List(task) => list::run(&args.socket, task).await,
        }
    })?;
    println!("{outcome}");
    Ok(())
}

/// The reservation of the n-th machine, as a conductor would have it. The load's own check of reserved clients knows its address.
fn reservation(n: u32) -> ReservationPut {
    ReservationPut {
        mac: Some(mac(RESERVED_FIRST + n)),
        address: Some((u32::from(RESERVED_BASE) + n).into()),
        hostname: Some(format!("machine-{n}")),
        node: Some(uuid::Uuid::from_u128(u128::from(n) + 1).to_string()),
        ..ReservationPut::default()
    }
}
