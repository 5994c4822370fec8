//! `reveille image`: what bootd serves.

mod temp_url;

use std::process::ExitCode;

use clap::Subcommand;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Print a temporary URL for a path that bootd, or a Swift, serves only with a signature
    TempUrl(temp_url::Args),
}

/// Runs one verb.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::TempUrl(args) => temp_url::run(args),
    }
}
