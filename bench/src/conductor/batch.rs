//! Many reservations in one batch: from the first octet of the body to the answer.

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use hyper::Method;
use reveille_config::dto::dhcpd::{Batch, BatchDone};
use serde_json::{Value, json};

use super::asker::Asker;
use super::connection::Connection;
use super::reservation;

/// Machines that ask for their address at once afterwards.
const ASKING: u32 = 500;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The first machine
    #[arg(long)]
    first: u32,
    /// How many
    #[arg(long)]
    rows: u32,
}

/// Puts them.
///
/// # Errors
/// The batch is refused, or is not in force.
pub async fn run(socket: &Path, args: &Args) -> anyhow::Result<Value> {
    let batch = Batch { put: (args.first..args.first + args.rows).map(reservation).collect(), delete: Vec::new() };
    let body = serde_json::to_vec(&batch)?;
    let octets = body.len();
    let (mut connection, mut asker) = (Connection::open(socket).await?, Asker::open()?);
    let begun = Instant::now();
    let answer = connection.call(Method::POST, "/v1/reservations:batch", body.into()).await?;
    let took = begun.elapsed();
    let done: BatchDone = serde_json::from_slice(&answer)?;
    ensure!(done.created == u64::from(args.rows), "{} of {} rows were created", done.created, args.rows);
    let step = (args.rows / ASKING).max(1);
    let asking = (args.first..args.first + args.rows).step_by(step as usize);
    asking.clone().try_for_each(|n| asker.check(n))?;
    Ok(json!({ "rows": args.rows, "octets": octets, "seconds": took.as_secs_f64(), "asked": asking.count() }))
}
