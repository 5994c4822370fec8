//! The subcommands, one file each: arguments, the call, the print.

pub mod check;
pub mod completion;
pub mod events;
pub mod lease;
pub mod node;
pub mod reservation;
pub mod run;
pub mod watch;

use std::future::Future;
use std::process::ExitCode;

use anyhow::Context;

/// Runs a command that talks to a daemon.
pub fn block_on(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(command)
}
