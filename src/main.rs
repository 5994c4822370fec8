//! `reveille`: the one binary. The daemons, and the commands that people and scripts drive them with.
//!
//! This package is command line only: it reads arguments and the configuration, starts the daemons' crates or calls their
//! HTTP APIs, and prints. It decides nothing about DHCP, boot or nodes.

mod commands;
mod daemons;
mod logging;
mod output;
mod target;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Wakes bare-metal fleets: DHCP, network boot and deployment of machines, as one system.
///
/// One TOML file configures all daemons; `reveille check FILE` reads it and reports every mistake in it.
/// `reveille all` runs everything in one process; under systemd each daemon has its own unit.
#[derive(Parser)]
#[command(version, propagate_version = true, max_term_width = 120)]
#[command(after_help = "A first round:\n  \
    reveille check /etc/reveille/reveille.toml\n  \
    reveille all --config /etc/reveille/reveille.toml\n  \
    reveille lease sightings                         # which BMCs have asked for an address\n  \
    reveille lease approve 52:54:00:aa:00:07          # give one an address\n  \
    reveille node add rack1-7 --mac 52:54:00:bb:00:01 --bmc 10.77.1.100 --bmc-password-file FILE\n  \
    reveille node deploy rack1-7 --image images/debian.raw --checksum sha256:… --watch")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the DHCP server
    Dhcpd(commands::run::Args),
    /// Run the TFTP and HTTP boot server
    Bootd(commands::run::Args),
    /// Run the provisioner
    Provisioner(commands::run::Args),
    /// Run every daemon that the configuration has a table for, in one process
    All(commands::run::Args),
    /// Check a configuration file and report every mistake in it
    Check(commands::check::Args),
    /// Have a running daemon read its configuration again, and wait until it has
    Reload(commands::reload::Args),
    /// Leases, and unknown machines that ask for one
    Lease(commands::lease::Args),
    /// Links: the interfaces that dhcpd serves, and the DHCP servers there that are not ours
    Links(commands::links::Args),
    /// Reservations: which machine always gets which address
    Reservation(commands::reservation::Args),
    /// Tokens: who may use the lease API over the network
    Token(commands::token::Args),
    /// Nodes: add, deploy, power, history
    Node(commands::node::Args),
    /// BMCs directly, many at a time: power, boot device, sensors, events, inventory
    Bmc(commands::bmc::Args),
    /// What machines shall boot from the network
    Boot(commands::boot::Args),
    /// Boot programs of Debian's packages, for bootd to serve
    BootFiles(commands::boot_files::Args),
    /// Images that bootd serves
    Image(commands::image::Args),
    /// Watch what a daemon does
    Events(commands::events::Command),
    /// Web hooks: try a receiver
    Webhook(commands::webhook::Args),
    /// Print the OpenAPI description of the lease API, which dhcpd also serves as /v1/openapi.json
    Openapi,
    /// Print the completion script for a shell
    #[command(after_help = "For bash: reveille completion bash > /etc/bash_completion.d/reveille")]
    Completion(commands::completion::Args),
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let outcome = match command {
        Command::Dhcpd(args) => commands::run::run(args, daemons::Choice::DHCPD),
        Command::Bootd(args) => commands::run::run(args, daemons::Choice::BOOTD),
        Command::Provisioner(args) => commands::run::run(args, daemons::Choice::PROVISIONER),
        Command::All(args) => commands::run::run(args, daemons::Choice::ALL),
        Command::Check(args) => commands::check::run(args),
        Command::Reload(args) => commands::block_on(commands::reload::run(args)),
        Command::Lease(args) => commands::block_on(commands::lease::run(args)),
        Command::Links(args) => commands::block_on(commands::links::run(args)),
        Command::Reservation(args) => commands::block_on(commands::reservation::run(args)),
        Command::Token(args) => commands::block_on(commands::token::run(args)),
        Command::Node(args) => commands::block_on(commands::node::run(args)),
        Command::Bmc(args) => commands::block_on(commands::bmc::run(args)),
        Command::Boot(args) => commands::block_on(commands::boot::run(args)),
        Command::BootFiles(args) => commands::boot_files::run(args),
        Command::Image(args) => commands::block_on(commands::image::run(args)),
        Command::Events(args) => commands::block_on(commands::events::run(args)),
        Command::Webhook(args) => commands::block_on(commands::webhook::run(args)),
        Command::Openapi => commands::openapi::run(),
        Command::Completion(args) => commands::completion::run::<Cli>(args),
    };
    outcome.unwrap_or_else(|error| {
        if error.is::<output::ReaderGone>() {
            return ExitCode::SUCCESS;
        }
        let (red, plain) = if std::io::stderr().is_terminal() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        eprintln!("{red}error:{plain} {}", output::printable(&format!("{error:#}")));
        ExitCode::FAILURE
    })
}
