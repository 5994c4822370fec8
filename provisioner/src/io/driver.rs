//! [`Driver`]: what every driver of BMCs does, and [`Drivers`]: each node's own.
//!
//! The seam: what is above knows nodes and what they have chosen, what is below knows a protocol.

use std::future::Future;
use std::time::Duration;

use super::bmc::{BmcError, BmcSocket, BmcTarget};
use super::ipmitool::{Ipmitool, IpmitoolError};
use super::redfish::{Redfish, RedfishError};
use crate::proto::access::{Access, IpmiAccess};
use crate::proto::ipmi::Cause;
use crate::proto::ipmi::command::{self, PowerAction, PowerState};
use crate::proto::node::{BootDevice, Firmware};
use crate::proto::redfish::{BootOverride, MediaKind};

/// Why a BMC did not do it: its address and the step are in every text, and no secret is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// Our own IPMI client.
    #[error(transparent)]
    Ipmi(#[from] BmcError),
    /// The program.
    #[error(transparent)]
    Ipmitool(#[from] IpmitoolError),
    /// Redfish.
    #[error(transparent)]
    Redfish(#[from] RedfishError),
    /// What is wanted is no part of what the BMC speaks.
    #[error("BMC {address}: {what} is no part of IPMI, only of Redfish")]
    NotIpmi {
        /// Which BMC.
        address: String,
        /// What is wanted.
        what: String,
    },
}

impl DriverError {
    /// Whether trying again later may help: silence, broken answers and full queues may pass; a refused user will be refused again.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Ipmi(error) => match error.cause() {
                Some(Cause::NoAnswer { .. } | Cause::Nonsense | Cause::Completion { .. }) | None => true,
                Some(_) => false,
            },
            Self::Ipmitool(error) => error.is_transient(),
            Self::Redfish(error) => error.cause.is_transient(),
            Self::NotIpmi { .. } => false,
        }
    }
}

type Result<T> = std::result::Result<T, DriverError>;

/// Power, boot device and virtual media of a machine, whatever its BMC speaks.
pub trait Driver {
    /// Asks whether the machine has power.
    fn power_state(&self, access: &Access) -> impl Future<Output = Result<PowerState>> + Send;

    /// Tells the BMC what to do. `Ok` means that the BMC has begun: the caller reads the state back until it is the wanted one.
    fn set_power(&self, access: &Access, action: PowerAction) -> impl Future<Output = Result<()>> + Send;

    /// Says what to boot from, at the next boot only or (`persistent`) at every one.
    fn set_boot_device(
        &self,
        access: &Access,
        device: BootDevice,
        persistent: bool,
        firmware: Firmware,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Puts an image into a virtual drive (the one for CDs where no kind is said), or takes out what is in it (in all of them).
    fn set_media(
        &self,
        access: &Access,
        kind: Option<MediaKind>,
        image: Option<&str>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Tells of each change that the BMC reports by itself, until its stream ends; `false`: it reports none.
    fn watch(&self, access: &Access, told: &(dyn Fn() + Send + Sync)) -> impl Future<Output = Result<bool>> + Send;

    /// Forgets what was found out about a BMC: another one may be there now.
    fn forget(&self, access: &Access) -> impl Future<Output = ()> + Send;

    /// Gives open sessions back.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// All drivers; which one is used is said by the [`Access`].
#[derive(Debug, Clone)]
pub struct Drivers {
    ipmi: BmcSocket,
    ipmitool: std::sync::Arc<Ipmitool>,
    redfish: Redfish,
}

impl Drivers {
    /// Drivers whose commands end after `command_max`; sessions over Redfish are given back after they were not used for
    /// `given_back_after`, or held.
    pub fn new(ipmi: BmcSocket, command_max: Duration, given_back_after: Option<Duration>) -> Self {
        let ipmitool = Ipmitool::new(command_max).into();
        Self { ipmi, ipmitool, redfish: Redfish::new(command_max, given_back_after) }
    }
}

impl From<&IpmiAccess> for BmcTarget {
    fn from(access: &IpmiAccess) -> Self {
        Self { address: access.address, credentials: access.credentials.clone(), route: access.route }
    }
}

impl Driver for Drivers {
    async fn power_state(&self, access: &Access) -> Result<PowerState> {
        Ok(match access {
            Access::Ipmi(access) => self.ipmi.power_state(&access.into()).await?,
            Access::Ipmitool(access) => self.ipmitool.power_state(access).await?,
            Access::Redfish(access) => self.redfish.power_state(access).await?,
        })
    }

    async fn set_power(&self, access: &Access, action: PowerAction) -> Result<()> {
        match access {
            Access::Ipmi(access) => self.ipmi.set_power(&access.into(), action).await?,
            Access::Ipmitool(access) => self.ipmitool.set_power(access, action).await?,
            Access::Redfish(access) => self.redfish.set_power(access, action).await?,
        }
        Ok(())
    }

    async fn set_boot_device(
        &self,
        access: &Access,
        device: BootDevice,
        persistent: bool,
        firmware: Firmware,
    ) -> Result<()> {
        if let Access::Redfish(access) = access {
            let http_uri = access.http_boot_uri.clone();
            return Ok(self.redfish.set_boot(access, &BootOverride { device, persistent, firmware, http_uri }).await?);
        }
        let device = match device {
            BootDevice::Pxe => command::BootDevice::Pxe,
            BootDevice::Disk => command::BootDevice::Disk,
            BootDevice::Cdrom => command::BootDevice::Cdrom,
            BootDevice::Bios => command::BootDevice::Bios,
            BootDevice::UefiHttp => {
                let what = format!("the boot device {}", device.as_str());
                return Err(DriverError::NotIpmi { address: access.to_string(), what });
            }
        };
        let firmware = match firmware {
            Firmware::Bios => command::Firmware::Legacy,
            Firmware::Uefi => command::Firmware::Uefi,
        };
        match access {
            Access::Ipmi(access) => self.ipmi.set_boot_device(&access.into(), device, persistent, firmware).await?,
            Access::Ipmitool(access) => self.ipmitool.set_boot_device(access, device, persistent, firmware).await?,
            Access::Redfish(_) => {}
        }
        Ok(())
    }

    async fn set_media(&self, access: &Access, kind: Option<MediaKind>, image: Option<&str>) -> Result<()> {
        match (access, image) {
            (Access::Redfish(access), Some(image)) => {
                Ok(self.redfish.insert_media(access, kind.unwrap_or(MediaKind::Cdrom), image).await?)
            }
            (Access::Redfish(access), None) => Ok(self.redfish.eject_media(access, kind).await?),
            _ => Err(DriverError::NotIpmi { address: access.to_string(), what: "virtual media".to_owned() }),
        }
    }

    async fn watch(&self, access: &Access, told: &(dyn Fn() + Send + Sync)) -> Result<bool> {
        match access {
            Access::Redfish(access) => Ok(self.redfish.watch(access, told).await?),
            Access::Ipmi(_) | Access::Ipmitool(_) => Ok(false),
        }
    }

    async fn forget(&self, access: &Access) {
        match access {
            Access::Ipmi(access) => self.ipmi.forget(access.address).await,
            Access::Ipmitool(_) => {}
            Access::Redfish(access) => self.redfish.forget(access),
        }
    }

    async fn close(&self) {
        tokio::join!(self.ipmi.close_sessions(), self.redfish.close_sessions());
    }
}
