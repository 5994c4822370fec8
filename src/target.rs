//! [`Target`]: where a command finds the daemon that it talks to.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use reveille_client::{Access, Dhcpd};
use reveille_config::{Apis, Config, Endpoint, Mistake, Part};
use zeroize::Zeroizing;

use crate::output;

/// Which daemon's API.
#[derive(Clone, Copy)]
pub enum Api {
    /// dhcpd's lease API.
    Dhcpd,
    /// bootd's API.
    Bootd,
    /// The provisioner's Ironic API.
    Provisioner,
}

/// `--api` and `--config`, the same in every command.
#[derive(clap::Args)]
pub struct Target {
    /// The daemon's API: `unix:/path`, `address:port` or `https://host:port` [default: the first `api` of --config, else the packaged default]
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
            Api::Bootd => ("bootd", apis.bootd),
            Api::Provisioner => ("provisioner", apis.provisioner),
        };
        endpoints.and_then(nearest).with_context(|| format!("{} has no table [{table}]: say --api", file.display()))
    }

    /// Where the configuration has dhcpd keep its state; `None` without a configuration.
    pub fn dhcpd_state_dir(&self) -> anyhow::Result<Option<PathBuf>> {
        let Some(file) = &self.config else { return Ok(None) };
        let config = Config::load_parts(file, &[Part::Dhcpd]).map_err(|mistakes| unusable(file, &mistakes))?;
        let table = config.dhcpd.with_context(|| format!("{} has no table [dhcpd]", file.display()))?;
        Ok(Some(table.state_dir))
    }
}

/// [`Target`] of commands that talk to dhcpd, with what they show to it over the network.
#[derive(clap::Args)]
pub struct DhcpdTarget {
    #[command(flatten)]
    target: Target,
    /// The file with the token to show, which others cannot read [default: the variable REVEILLE_TOKEN, else none]
    #[arg(long, global = true, value_name = "FILE", env = "REVEILLE_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// The certificates that sign the server's, PEM; for `https://`
    #[arg(long, global = true, value_name = "FILE", env = "REVEILLE_CA")]
    ca: Option<PathBuf>,
    /// The certificate to show instead of a token, PEM; with --key
    #[arg(long, global = true, value_name = "FILE", env = "REVEILLE_CERTIFICATE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, global = true, value_name = "FILE", env = "REVEILLE_KEY", requires = "certificate")]
    key: Option<PathBuf>,
}

impl DhcpdTarget {
    /// A client of the dhcpd that is meant.
    pub fn dhcpd(&self) -> anyhow::Result<Dhcpd> {
        let endpoint = self.target.endpoint(Api::Dhcpd)?;
        if matches!(endpoint, Endpoint::Https(_)) && self.ca.is_none() {
            anyhow::bail!("{endpoint}: --ca is missing: the file with the certificates that sign the server's");
        }
        let mut access = Access::default();
        if let Some(token) = self.token()? {
            access = access.with_token(&token)?;
        }
        if let Some(ca) = &self.ca {
            access = access.with_roots(ca)?;
        }
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            access = access.with_certificate(certificate, key)?;
        }
        Ok(Dhcpd::new(endpoint).with_access(access))
    }

    /// Where the configuration is.
    pub fn target(&self) -> &Target {
        &self.target
    }

    fn token(&self) -> anyhow::Result<Option<String>> {
        let Some(path) = &self.token_file else { return Ok(std::env::var("REVEILLE_TOKEN").ok()) };
        Ok(Some(std::mem::take(&mut *secret_file("token", path)?)))
    }
}

/// A secret of the caller's (`what`) from a file, without the line's end; a file that everybody can read is refused.
pub fn secret_file(what: &str, path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let cannot = || format!("cannot read the {what} in {}", path.display());
    let mode = std::fs::metadata(path).with_context(cannot)?.permissions().mode();
    if mode & 0o004 != 0 {
        anyhow::bail!("everybody on this host can read the {what} in {0}: chmod o= {0}", path.display());
    }
    let mut text = Zeroizing::new(std::fs::read_to_string(path).with_context(cannot)?);
    let kept = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(kept);
    Ok(text)
}

/// The endpoint that asks least of a client on this host: a unix socket, else plain TCP, else TLS.
pub fn nearest(endpoints: Vec<Endpoint>) -> Option<Endpoint> {
    endpoints.into_iter().min_by_key(|endpoint| match endpoint {
        Endpoint::Unix(_) => 0,
        Endpoint::Tcp(_) => 1,
        Endpoint::Https(_) => 2,
    })
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
        Api::Bootd => Endpoint::Unix("/run/reveille/bootd.sock".into()),
        Api::Provisioner => Endpoint::Tcp(([127, 0, 0, 1], 6385).into()),
    }
}
