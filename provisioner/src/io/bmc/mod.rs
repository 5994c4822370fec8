//! BMCs over IPMI: one UDP socket for all of them, and what takes more than one command.
//!
//! What is said to a BMC and what its answers mean is decided in [`crate::proto::ipmi`]; here are the socket, the
//! clock, the random octets, the table of conversations and the counters.
//!
//! Counters: `reveille_bmc_commands_total{command,outcome}`, `reveille_bmc_sessions_opened_total`,
//! `reveille_bmc_datagrams_total{direction}`, `reveille_bmc_repeats_total`, `reveille_bmc_dropped_total{reason}`,
//! `reveille_bmc_refused_total{limit}`, `reveille_bmc_send_errors_total`, `reveille_bmc_boot_option_refused_total{parameter}`.

mod console;
mod counters;
mod driver;
mod error;
mod read;
mod socket;

use std::net::SocketAddr;

pub use console::{BmcConsole, ConsoleInput};
pub use error::BmcError;
pub use socket::{BmcLimits, BmcSocket};

pub use crate::proto::ipmi::command::{BootDevice, BootFlags, DeviceId, Firmware, PowerAction, PowerState};
pub use crate::proto::ipmi::command::{Inventory, RawReading, SelEntry, Sensor};
pub use crate::proto::ipmi::{
    CipherSuite, Credentials, CredentialsError, Hop, Idle, Kg, Password, Privilege, Route, Suites, Timing, User,
};
pub use crate::proto::ipmi::{ConsoleEnd, ConsoleEvent};

/// The UDP port of IPMI over LAN (RMCP).
pub const IPMI_PORT: u16 = 623;

/// One BMC: where it is and who we are to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BmcTarget {
    /// Where it listens, usually port [`IPMI_PORT`].
    pub address: SocketAddr,
    /// User, password, privilege.
    pub credentials: Credentials,
    /// The controller meant: the BMC itself, or one behind it.
    pub route: Route,
}

impl BmcTarget {
    /// Checks the lengths of user (16 octets) and password (20 octets).
    pub fn new(
        address: SocketAddr,
        user: impl Into<String>,
        password: impl AsRef<[u8]>,
        privilege: Privilege,
    ) -> Result<Self, CredentialsError> {
        let credentials = Credentials::new(User::new(user)?, Password::new(password)?, privilege);
        Ok(Self { address, credentials, route: Route::BMC })
    }
}
