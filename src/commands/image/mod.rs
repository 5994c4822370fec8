//! `reveille image`: what bootd serves.

mod store;
mod temp_url;

use std::process::ExitCode;

use clap::Subcommand;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: store::Place,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    #[command(flatten)]
    Store(store::Verb),
    /// Print a temporary URL for a path that bootd, or a Swift, serves only with a signature
    TempUrl(temp_url::Args),
}

/// Runs one verb.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Store(verb) => store::run(args.place, verb).await,
        Verb::TempUrl(own) => temp_url::run(own, &args.place.config),
    }
}
