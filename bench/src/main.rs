//! `reveille-bench`: load, and the side-by-side comparison with peers.
//!
//! Every figure is a ratio within one run: contenders take turns, each server has one core and the generator the other,
//! joined by a veth pair between two namespaces made for the run. Traffic goes nowhere else, and is bounded in count and time.

mod contender;
mod dora;
mod generate;
mod packet;
mod respond;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Load generators and the side-by-side comparison with peers.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// New leases a second: ours with every ACK on disk, Kea, and a stateless responder as the ceiling of plain sockets
    Dora(dora::Args),
    /// The load alone: a relay's worth of new clients against one server; prints JSON
    Generate(generate::Args),
    /// The stateless responder alone: answers every DISCOVER and REQUEST and remembers nothing
    Respond(respond::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Dora(args) => dora::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Respond(args) => respond::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
