//! `reveille dhcpd | bootd | provisioner | all`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use reveille_config::Config;

use crate::daemons::{self, Choice};
use crate::logging;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Signals: SIGTERM and SIGINT drain and stop; SIGHUP reads the configuration again, \
    and a file with mistakes keeps the old one in force.")]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "REVEILLE_CONFIG", default_value = "/etc/reveille/reveille.toml")]
    config: PathBuf,
    /// How much to log: error, warn, info, debug, trace, or a filter such as info,reveille_dhcpd=debug
    #[arg(long, value_name = "LEVEL", env = "REVEILLE_LOG", default_value = "info")]
    log: String,
    /// How to log
    #[arg(long, value_name = "FORMAT", env = "REVEILLE_LOG_FORMAT", default_value = "text")]
    log_format: logging::Format,
}

/// Runs the chosen daemons until a signal, or until one of them can no longer serve.
pub fn run(args: Args, choice: Choice) -> anyhow::Result<ExitCode> {
    let config = match Config::load_parts(&args.config, &choice.parts()) {
        Ok(config) => config,
        Err(mistakes) => {
            let color = std::io::stderr().is_terminal();
            for mistake in &mistakes {
                eprintln!("{}\n", mistake.render(color).trim_end());
            }
            anyhow::bail!("{} has {} mistake(s); nothing was started", args.config.display(), mistakes.len());
        }
    };
    logging::start(&args.log, args.log_format)?;
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new()
        .install_recorder()
        .context("cannot set up the metrics")?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let outcome = runtime.block_on(daemons::run(choice, config, args.config, metrics));
    // What still runs here outlasted its drain, or a daemon failed: it is not waited for again.
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}
