//! The subcommands, one file each: arguments, the call, the print.

pub mod bmc;
pub mod boot;
pub mod boot_files;
pub mod check;
pub mod completion;
pub mod events;
pub mod hostsdir;
pub mod image;
pub mod lease;
pub mod links;
pub mod node;
pub mod openapi;
pub mod reload;
pub mod repair;
pub mod reservation;
pub mod run;
pub mod token;
pub mod watch;
pub mod webhook;

use std::future::Future;
use std::io::ErrorKind;
use std::process::ExitCode;

use anyhow::Context;
use reveille_client::ClientError;

/// Runs a command that talks to a daemon.
pub fn block_on(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(command)
        .map_err(advised)
}

/// What to do where nobody could be reached.
fn advised(error: anyhow::Error) -> anyhow::Error {
    let Some(ClientError::Connect { cause, .. }) = error.downcast_ref() else { return error };
    let advice = match cause.kind() {
        ErrorKind::PermissionDenied => "the daemon's group and root may open it",
        _ => "does the daemon run? --api or --config says where its API is",
    };
    anyhow::anyhow!("{error:#}; {advice}")
}
