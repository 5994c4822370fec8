//! `reveille-bench`: load, and the side-by-side comparison with peers.
//!
//! Every figure is a ratio within one run: contenders take turns, each server has one core and the generator the other,
//! joined by a veth pair between two namespaces made for the run. Traffic goes nowhere else, and is bounded in count and time.

mod bmc;
mod conductor;
mod contender;
mod fetch;
mod generate;
mod histogram;
mod io;
mod lease_memory;
mod machine;
mod packet;
mod report;
mod respond;
mod respond_tftp;
mod serve_slow;
mod stage;
mod suite;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// For `lease-memory`; the other commands do not allocate where it would matter.
#[global_allocator]
static ALLOCATOR: io::sys::CountingAllocator = io::sys::CountingAllocator;

/// Load generators and the side-by-side comparison with peers.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The comparison: ours with every ACK on disk, Kea, ISC dhcpd, dnsmasq, and a stateless responder as the ceiling
    Run(suite::Args),
    /// The load alone: simulated clients against one server; prints JSON
    Generate(generate::Args),
    /// The stateless responder alone: answers every DISCOVER and REQUEST and remembers nothing
    Respond(respond::Args),
    /// TFTP clients alone: many machines that fetch a file again and again; prints JSON
    FetchTftp(fetch::tftp::Args),
    /// HTTP clients alone: connections that fetch a file again and again; prints JSON
    FetchHttp(fetch::http::Args),
    /// The bare TFTP responder alone: remembers nothing, no offload
    RespondTftp(respond_tftp::Args),
    /// A conductor alone: reservations, events or leases over the lease API of our dhcpd; prints JSON
    Conduct(conductor::Args),
    /// Our dhcpd on a disk that can be made slow at will: for the scenario of that name
    ServeSlow(serve_slow::Args),
    /// What a worker's table keeps of each lease, without sockets: octets
    LeaseMemory(lease_memory::Args),
    /// Simulated BMCs alone, on loopback addresses, until standard input ends
    SimulateBmcs(bmc::Simulate),
    /// Asks simulated BMCs for their power, round after round; prints JSON
    AskBmcs(bmc::Ask),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => suite::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Respond(args) => respond::run(&args),
        Command::FetchTftp(args) => fetch::tftp::run(&args),
        Command::FetchHttp(args) => fetch::http::run(&args),
        Command::RespondTftp(args) => respond_tftp::run(&args),
        Command::Conduct(args) => conductor::run(&args),
        Command::ServeSlow(args) => serve_slow::run(&args),
        Command::LeaseMemory(args) => lease_memory::run(&args),
        Command::SimulateBmcs(args) => bmc::simulate(&args),
        Command::AskBmcs(args) => bmc::ask(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
