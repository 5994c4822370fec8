//! [`Target`]: where a command finds the daemon that it talks to.

use std::path::{Path, PathBuf};

use anyhow::Context;
use reveille_config::{Apis, Config, Endpoint, Mistake, Part};

use crate::output;

/// Which daemon's API.
#[derive(Clone, Copy)]
pub enum Api {
    /// dhcpd's lease API.
    Dhcpd,
    /// The provisioner's Ironic API.
    Provisioner,
}

/// `--api` and `--config`, the same in every command.
#[derive(clap::Args)]
pub struct Target {
    /// The daemon's API: `unix:/path` or `address:port` [default: the first `api` of --config, else the packaged default]
    #[arg(long, global = true, value_name = "ENDPOINT")]
    api: Option<Endpoint>,
    /// The configuration whose `api` is asked
    #[arg(long, global = true, value_name = "FILE", env = "REVEILLE_CONFIG")]
    config: Option<PathBuf>,
}

impl Target {
    /// The endpoint to ask: `--api`, else what the configuration says, else the packaged default.
    pub fn endpoint(&self, api: Api) -> anyhow::Result<Endpoint> {
        if let Some(endpoint) = &self.api {
            return Ok(endpoint.clone());
        }
        let Some(file) = &self.config else { return Ok(packaged_default(api)) };
        let apis = Apis::load(file).map_err(|mistakes| unusable(file, &mistakes))?;
        let (table, endpoints) = match api {
            Api::Dhcpd => ("dhcpd", apis.dhcpd),
            Api::Provisioner => ("provisioner", apis.provisioner),
        };
        endpoints
            .and_then(|all| all.into_iter().next())
            .with_context(|| format!("{} has no table [{table}]: say --api", file.display()))
    }

    /// Where the configuration has dhcpd keep its state; `None` without a configuration.
    pub fn dhcpd_state_dir(&self) -> anyhow::Result<Option<PathBuf>> {
        let Some(file) = &self.config else { return Ok(None) };
        let config = Config::load_parts(file, &[Part::Dhcpd]).map_err(|mistakes| unusable(file, &mistakes))?;
        let table = config.dhcpd.with_context(|| format!("{} has no table [dhcpd]", file.display()))?;
        Ok(Some(table.state_dir))
    }
}

/// The first mistake, and where to see the others.
fn unusable(file: &Path, mistakes: &[Mistake]) -> anyhow::Error {
    let first = mistakes.first().map(output::in_one_line).unwrap_or_default();
    match mistakes.len() {
        0 | 1 => anyhow::anyhow!("{first}"),
        more => anyhow::anyhow!("{first}; and {} more: `reveille check {}` shows them", more - 1, file.display()),
    }
}

fn packaged_default(api: Api) -> Endpoint {
    match api {
        Api::Dhcpd => Endpoint::Unix("/run/reveille/dhcpd.sock".into()),
        Api::Provisioner => Endpoint::Tcp(([127, 0, 0, 1], 6385).into()),
    }
}
