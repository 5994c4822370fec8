//! `reveille check FILE`: every mistake of a configuration file, or the effective configuration.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use reveille_config::Config;

use crate::output;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Exit code: 0 the file is right, 1 it has mistakes, 2 wrong arguments.")]
pub struct Args {
    /// The configuration file
    #[arg(env = "REVEILLE_CONFIG", default_value = "/etc/reveille/reveille.toml")]
    file: PathBuf,
    /// Print the effective configuration, defaults included; it can be used in place of the file
    #[arg(long)]
    print: bool,
    /// Print the mistakes, and advice where there is none, as JSON, to standard output
    #[arg(long, conflicts_with = "print")]
    json: bool,
}

/// Reads the file and reports.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match Config::load(&args.file) {
        Ok(config) => {
            if !args.json {
                let color = std::io::stderr().is_terminal();
                for advice in config.advice() {
                    eprintln!("{}\n", advice.render(color).trim_end());
                }
            }
            if args.print {
                output::line(config.to_toml().trim_end())?;
            } else if args.json {
                output::json(&config.advice())?;
            } else {
                output::line(&format!("{}: no mistakes", args.file.display()))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(mistakes) => {
            if args.json {
                output::json(&mistakes)?;
            } else {
                let color = std::io::stderr().is_terminal();
                for mistake in &mistakes {
                    eprintln!("{}\n", mistake.render(color).trim_end());
                }
                let plural = if mistakes.len() == 1 { "mistake" } else { "mistakes" };
                eprintln!("{}: {} {plural}", args.file.display(), mistakes.len());
            }
            Ok(ExitCode::FAILURE)
        }
    }
}
