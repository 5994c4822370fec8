//! Typed configuration, identifiers, limits and the data types of the daemons' APIs.
//!
//! One TOML file configures all daemons; each reads its own table. [`Config::parse`] is the only way to a [`Config`], and what
//! it returns is valid by construction: the daemons check nothing again. Nothing here opens a socket, reads a clock or logs.

pub mod bootd;
pub mod dhcpd;
pub mod dto;
pub mod limit;
pub mod provisioner;

mod endpoint;
mod mac;
mod net;
mod option;

pub use endpoint::{Endpoint, EndpointError};
pub use mac::{MacAddr, MacAddrError};
pub use net::{AddressRange, Subnet};
pub use option::{OptionSet, OptionValueError};

use serde::Serialize;

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
}
