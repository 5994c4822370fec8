//! Where the daemons' log goes: standard error, which systemd keeps.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

/// `text` for people, `json` for collectors.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Format {
    /// One line of words an entry; coloured on a terminal.
    Text,
    /// One JSON document a line.
    Json,
}

/// Starts logging at `level` (`info`, or `RUST_LOG`'s syntax such as `info,reveille_dhcpd=debug`).
pub fn start(level: &str, format: Format) -> anyhow::Result<()> {
    let filter =
        EnvFilter::try_new(level).with_context(|| format!("--log {level}: not a level or filter; `info` is one"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        Format::Json => builder.json().init(),
    }
    Ok(())
}
