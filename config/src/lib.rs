//! Typed configuration, identifiers, limits and the data types of the daemons' APIs.
//!
//! One TOML file configures all daemons; each reads its own table. [`Config::parse`] is the only way to a [`Config`], and what
//! it returns is valid by construction: the daemons check nothing again. Nothing here opens a socket, reads a clock or logs.

pub mod bootd;
pub mod dhcpd;
pub mod dto;
pub mod limit;
pub mod provisioner;
pub mod temp_url;
pub mod webhook;

pub mod environment;
pub mod option;

mod endpoint;
mod mac;
mod mistake;
mod net;
mod octets;
mod print;
mod read;
mod secret;
mod suggest;

pub use endpoint::{Authority, Endpoint, EndpointError};
pub use environment::Environment;
pub use mac::{MacAddr, MacAddrError};
pub use mistake::{Mistake, Severity};
pub use net::{AddressRange, Subnet};
pub use octets::Octets;
pub use option::{OptionSet, OptionValueError};
pub use secret::{Secret, SecretError, SecretRef};

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use serde::Serialize;

use crate::limit::CONFIG_BYTES_MAX;

/// The whole file. A daemon whose table is missing is not configured on this host.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Config {
    /// `[dhcpd]`.
    pub dhcpd: Option<dhcpd::Dhcpd>,
    /// `[bootd]`.
    pub bootd: Option<bootd::Bootd>,
    /// `[provisioner]`.
    pub provisioner: Option<provisioner::Provisioner>,
    /// Which values the file left to us; no part of what is configured.
    #[serde(skip)]
    defaults: Defaults,
    #[serde(skip)]
    advice: Advice,
}

/// What the check advises; no part of what is configured.
#[derive(Debug, Clone, Default)]
struct Advice(Vec<Mistake>);

impl PartialEq for Advice {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Paths of the keys that were not given, such as `dhcpd.scope[0].lease_secs`.
#[derive(Debug, Clone, Default)]
struct Defaults {
    paths: BTreeSet<String>,
}

impl PartialEq for Defaults {
    /// Two configurations are equal whoever said so, the file or the default.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A daemon, as far as it has a table of its own in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `[dhcpd]`.
    Dhcpd,
    /// `[bootd]`.
    Bootd,
    /// `[provisioner]`.
    Provisioner,
}

impl Part {
    /// All daemons.
    pub const ALL: [Self; 3] = [Self::Dhcpd, Self::Bootd, Self::Provisioner];
}

impl Config {
    /// Checks the text of a file and makes a configuration of it; `file` is its name in messages.
    ///
    /// # Errors
    /// Every mistake there is, in the order of the file.
    pub fn parse(text: &str, file: &Path, environment: &dyn Environment) -> Result<Self, Vec<Mistake>> {
        read::parse(text, file, environment, &Part::ALL, &Part::ALL)
    }

    /// What is no mistake and likely to become trouble, in the order of the file.
    pub fn advice(&self) -> &[Mistake] {
        &self.advice.0
    }

    /// [`Config::parse`] for some of the daemons. The other tables are checked too, but what they refer to (directories, secrets) is
    /// not looked at, as this process may not be allowed to, and they are left out of the result.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn parse_parts(
        text: &str,
        file: &Path,
        environment: &dyn Environment,
        parts: &[Part],
    ) -> Result<Self, Vec<Mistake>> {
        read::parse(text, file, environment, parts, parts)
    }

    /// Reads a file of this host: [`Config::parse`] with [`environment::System`].
    ///
    /// # Errors
    /// As [`Config::parse`]; also a file that cannot be read or is not UTF-8.
    pub fn load(file: &Path) -> Result<Self, Vec<Mistake>> {
        Self::load_parts(file, &Part::ALL)
    }

    /// Reads a file of this host for some of the daemons: [`Config::parse_parts`] with [`environment::System`].
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_parts(file: &Path, parts: &[Part]) -> Result<Self, Vec<Mistake>> {
        let text = read_text(file)?;
        read::parse(&text, file, &environment::System, parts, parts)
    }
}

/// Where the daemons of a file have their APIs, for clients, which may not be allowed to see the daemons' secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Apis {
    /// `api` of `[dhcpd]`; at least one where there is the table.
    pub dhcpd: Option<Vec<Endpoint>>,
    /// `api` of `[bootd]`.
    pub bootd: Option<Vec<Endpoint>>,
    /// `api` of `[provisioner]`.
    pub provisioner: Option<Vec<Endpoint>>,
}

impl Apis {
    /// Reads them from a file of this host, without looking at what the file refers to.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load(file: &Path) -> Result<Self, Vec<Mistake>> {
        let config = read::parse(&read_text(file)?, file, &environment::System, &Part::ALL, &[])?;
        Ok(Self {
            dhcpd: config.dhcpd.map(|table| table.api.listen),
            bootd: config.bootd.map(|table| table.api),
            provisioner: config.provisioner.map(|table| table.api),
        })
    }
}

fn read_text(file: &Path) -> Result<String, Vec<Mistake>> {
    let unreadable = |what: String, instead: &str| vec![Mistake::whole_file(file, what, Some(instead.into()))];
    let mut octets = Vec::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(CONFIG_BYTES_MAX as u64 + 1).read_to_end(&mut octets))
        .map_err(|error| {
            unreadable(
                format!("the configuration file cannot be read: {error}"),
                "name a file that exists and that this user may read",
            )
        })?;
    String::from_utf8(octets).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..at].iter().filter(|&&octet| octet == b'\n').count();
        unreadable(format!("the configuration file is not UTF-8: see line {line}"), "save it as UTF-8")
    })
}
