//! Typed commands: what to ask, and what the answer means. Pure encoding and decoding, one file per family.
//!
//! A command knows nothing of sessions, retries or sockets; it becomes a [`Request`], and the data after the completion
//! code comes back to [`Command::decode`].

mod boot_options;
mod chassis;
mod device_id;
mod fru;
mod guid;
mod lan;
mod payload;
mod scale;
mod sel;
mod sensor;
mod sensor_type;
mod session;
mod text;
mod user;
mod watchdog;

pub use boot_options::{
    BootDevice, BootFlags, Firmware, GetBootFlags, SetBootFlagClearing, SetBootFlags, SetBootInfoAcknowledge,
};
pub use chassis::{
    ChassisControl, ChassisIdentify, ChassisStatus, GetChassisStatus, Identify, PowerAction, PowerState,
};
pub use device_id::{DeviceId, GetDeviceId};
pub use fru::{GetFruInfo, Inventory, ReadFru};
pub use guid::{GetDeviceGuid, GetSystemGuid};
pub use lan::{GetLanParameter, LanParameter, LanValue, SetLanParameter};
pub use payload::{ActivateSol, DeactivateSol, SolTerms};
pub use scale::{Factors, GetSensorReadingFactors, Scale};
pub use sel::{ClearSel, GetSelEntry, GetSelInfo, ReserveSel, SelEntry, SelEvent, SelInfo, SelPart};
pub use sensor::{GetSdr, GetSensorReading, RawReading, ReserveSdr, SdrPart, Sensor};
pub use sensor_type::sensor_type;
pub use session::{
    ChannelAuthenticationCapabilities, CloseSession, GetChannelAuthenticationCapabilities, GetChannelCipherSuites,
    SetSessionPrivilegeLevel,
};
pub use user::SetUserPassword;
pub use watchdog::{GetWatchdog, ResetWatchdog, SetWatchdog, WATCHDOG_MAX, Watchdog, WatchdogAction};

use std::fmt;

use zeroize::Zeroizing;

use super::message::Route;

/// Network functions (table 5-1); a response has the request's plus one.
pub mod netfn {
    /// Power, boot.
    pub const CHASSIS: u8 = 0x00;
    /// Sensors.
    pub const SENSOR: u8 = 0x04;
    /// The controller itself, sessions, users.
    pub const APP: u8 = 0x06;
    /// Event log, sensor records, inventory.
    pub const STORAGE: u8 = 0x0a;
    /// How the BMC is reached.
    pub const TRANSPORT: u8 = 0x0c;
}

/// A command ready to be sent, without its type. Its data may be a password: it is wiped when dropped and not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// The name in the specification, for errors.
    pub name: &'static str,
    /// Network function.
    pub netfn: u8,
    /// Command number.
    pub command: u8,
    /// What follows the command number.
    pub data: Zeroizing<Vec<u8>>,
    /// Carrying it out twice does what carrying it out once does. One that is not repeatable is never sent again over
    /// another session, when nobody can know whether the first was heard.
    pub repeatable: bool,
    /// Which controller it is for.
    pub route: Route,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("name", &self.name).field("route", &self.route).finish_non_exhaustive()
    }
}

impl Request {
    /// The same for another controller.
    pub fn via(self, route: Route) -> Self {
        Self { route, ..self }
    }
}

/// The answer was authentic, but too short or outside the command's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonsense;

/// A command and its answer.
pub trait Command {
    /// The name in the specification.
    const NAME: &'static str;
    /// Network function, of [`netfn`].
    const NETFN: u8;
    /// Command number (appendix G).
    const COMMAND: u8;
    /// What the BMC answers.
    type Answer;

    /// What follows the command number.
    fn encode(&self) -> Vec<u8>;

    /// Reads what follows a good completion code. Octets that newer BMCs append are ignored.
    fn decode(data: &[u8]) -> Result<Self::Answer, Nonsense>;

    /// See [`Request::repeatable`].
    fn repeatable(&self) -> bool {
        true
    }

    /// The command without its type.
    fn request(&self) -> Request {
        Request {
            name: Self::NAME,
            netfn: Self::NETFN,
            command: Self::COMMAND,
            data: Zeroizing::new(self.encode()),
            repeatable: self.repeatable(),
            route: Route::BMC,
        }
    }
}
