//! `reveille openapi`.

use std::process::ExitCode;

use crate::output;

/// Prints the description of the lease API that a running dhcpd of this version serves.
pub fn run() -> anyhow::Result<ExitCode> {
    output::octets(&reveille_dhcpd::api::document_text())?;
    Ok(ExitCode::SUCCESS)
}
