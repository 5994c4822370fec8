//! One reservation after the other: how long until each is answered, which is to say durable and in force.

use std::path::Path;
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};

use super::asker::Asker;
use super::connection::Connection;
use super::reservation;
use crate::histogram::Histogram;

/// Of so many machines one asks for its address at once.
const ONE_ASKS_OF: u32 = 8;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The first machine
    #[arg(long)]
    first: u32,
    /// For how long
    #[arg(long)]
    millis: u64,
}

/// Puts until the time is over.
///
/// # Errors
/// One is refused, or is not in force.
pub async fn run(socket: &Path, args: &Args) -> anyhow::Result<Value> {
    let mut connection = Connection::open(socket).await?;
    let mut asker = Asker::open()?;
    let mut histogram = Histogram::default();
    let (begun, mut puts, mut asked) = (Instant::now(), 0, 0);
    while begun.elapsed() < Duration::from_millis(args.millis) {
        let n = args.first + puts;
        let mut put = reservation(n);
        let path = format!("/v1/reservations/{}", put.mac.take().unwrap_or_default());
        let body = serde_json::to_vec(&put)?.into();
        let asking = Instant::now();
        connection.call(Method::PUT, &path, body).await?;
        histogram.add(asking.elapsed().as_nanos() as u64);
        if n.is_multiple_of(ONE_ASKS_OF) {
            asker.check(n)?;
            asked += 1;
        }
        puts += 1;
    }
    let millis = |share| histogram.micros_at(share) / 1e3;
    Ok(json!({ "puts": puts, "asked": asked, "p50_ms": millis(0.5), "p99_ms": millis(0.99), "max_ms": millis(1.0) }))
}
