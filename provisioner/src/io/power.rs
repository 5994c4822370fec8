//! Power and boot device by the node's BMC: `driver_info` in Ironic's vocabulary becomes a target, and a change is read back.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

use super::bmc::{self, BmcError, BmcTarget, IPMI_PORT, PowerAction, Privilege};
use super::world::Subject;
use crate::proto::ipmi::Cause;
use crate::proto::node::{BootDevice, Failure, Firmware, Outcome, Power, PowerState};

/// Between two looks at a power that is changing.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Reads a BMC's address and credentials from `driver_info`. The error says what is missing; it never contains the password.
pub fn target(driver_info: &Map<String, Value>) -> Result<BmcTarget, String> {
    let text = |key: &str| match driver_info.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let address = text("ipmi_address").ok_or("driver_info has no ipmi_address: set it to the BMC's IP address")?;
    let address: IpAddr =
        address.parse().map_err(|_| format!("driver_info's ipmi_address {address:?} is no IP address"))?;
    let port = match text("ipmi_port") {
        None => IPMI_PORT,
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| format!("driver_info's ipmi_port {port:?} is no UDP port (1–65535)"))?,
    };
    let privilege = match text("ipmi_priv_level").map(|level| level.to_ascii_uppercase()).as_deref() {
        None | Some("ADMINISTRATOR") => Privilege::Administrator,
        Some("OPERATOR") => Privilege::Operator,
        Some("USER") => Privilege::User,
        Some(other) => {
            return Err(format!("driver_info's ipmi_priv_level {other:?} is none of ADMINISTRATOR, OPERATOR, USER"));
        }
    };
    let user = text("ipmi_username").unwrap_or_default();
    let password = text("ipmi_password").unwrap_or_default();
    BmcTarget::new(SocketAddr::new(address, port), user, password, privilege)
        .map_err(|error| format!("driver_info's credentials: {error}"))
}

/// Asks for the power's state.
pub async fn read<P: bmc::Power>(bmc: &P, subject: &Subject) -> Result<Outcome, Failure> {
    let target = target(&subject.node.driver_info).map_err(Failure::lasting)?;
    let power = bmc.power_state(&target).await.map_err(failure)?;
    Ok(Outcome::Power(name(power)))
}

/// Brings the power to `wanted` and waits until it is read back so.
pub async fn ensure<P: bmc::Power>(bmc: &P, subject: &Subject, wanted: Power, soft: bool) -> Result<Outcome, Failure> {
    let target = target(&subject.node.driver_info).map_err(Failure::lasting)?;
    let goal = PowerState::from(wanted);
    if name(bmc.power_state(&target).await.map_err(failure)?) == goal {
        return Ok(Outcome::Power(goal));
    }
    let action = match (wanted, soft) {
        (Power::On, _) => PowerAction::On,
        (Power::Off, false) => PowerAction::Off,
        (Power::Off, true) => PowerAction::Soft,
    };
    bmc.set_power(&target, action).await.map_err(failure)?;
    let begun = Instant::now();
    let patience = Duration::from_secs(subject.settings.power_secs.into());
    loop {
        // Many BMCs are deaf for a moment while the power changes: only the time decides.
        let seen = bmc.power_state(&target).await;
        if seen.as_ref().is_ok_and(|power| name(*power) == goal) {
            return Ok(Outcome::Power(goal));
        }
        if begun.elapsed() >= patience {
            let seen = seen.map_or_else(|error| error.to_string(), |power| format!("it still reads {}", name(power)));
            let (address, secs) = (target.address, patience.as_secs());
            return Err(Failure::passing(format!("BMC {address}: {action} was not done within {secs} s: {seen}")));
        }
        sleep(LOOK_EVERY.min(patience)).await;
    }
}

/// Sets the boot device.
pub async fn set_boot_device<P: bmc::Power>(
    bmc: &P,
    subject: &Subject,
    device: BootDevice,
    persistent: bool,
    firmware: Firmware,
) -> Result<Outcome, Failure> {
    let target = target(&subject.node.driver_info).map_err(Failure::lasting)?;
    let device = match device {
        BootDevice::Pxe => bmc::BootDevice::Pxe,
        BootDevice::Disk => bmc::BootDevice::Disk,
        BootDevice::Cdrom => bmc::BootDevice::Cdrom,
        BootDevice::Bios => bmc::BootDevice::Bios,
    };
    let firmware = match firmware {
        Firmware::Bios => bmc::Firmware::Legacy,
        Firmware::Uefi => bmc::Firmware::Uefi,
    };
    bmc.set_boot_device(&target, device, persistent, firmware).await.map_err(failure)?;
    Ok(Outcome::Done)
}

fn name(power: bmc::PowerState) -> PowerState {
    match power {
        bmc::PowerState::On => PowerState::On,
        bmc::PowerState::Off => PowerState::Off,
    }
}

/// Silence, broken packets and full queues may pass; a refused user will be refused again.
fn failure(error: BmcError) -> Failure {
    let is_transient = match error.cause() {
        Some(Cause::NoAnswer { .. } | Cause::Nonsense) => true,
        Some(Cause::Completion { .. }) => true,
        Some(_) => false,
        None => true,
    };
    Failure { reason: error.to_string(), is_transient }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_ironics_vocabulary() {
        let Value::Object(info) = json!({ "ipmi_address": "10.77.1.100", "ipmi_port": "6230", "ipmi_username": "admin",
            "ipmi_password": "secret", "ipmi_priv_level": "operator" })
        else {
            panic!()
        };
        let read = target(&info).unwrap();
        assert_eq!(read.address, "10.77.1.100:6230".parse().unwrap());
        assert_eq!(read.credentials.privilege, Privilege::Operator);
        let Value::Object(info) = json!({ "ipmi_address": "fd77::1" }) else { panic!() };
        assert_eq!(target(&info).unwrap().address, "[fd77::1]:623".parse().unwrap());
    }

    #[test]
    fn says_what_is_missing_and_never_the_password() {
        let cases = [
            (json!({}), "has no ipmi_address"),
            (json!({ "ipmi_address": "bmc7.example.org" }), "is no IP address"),
            (json!({ "ipmi_address": "10.0.0.1", "ipmi_port": 0 }), "is no UDP port"),
            (json!({ "ipmi_address": "10.0.0.1", "ipmi_port": "x" }), "is no UDP port"),
            (json!({ "ipmi_address": "10.0.0.1", "ipmi_priv_level": "root" }), "is none of"),
            (
                json!({ "ipmi_address": "10.0.0.1", "ipmi_password": "hunter2hunter2hunter2hunter2" }),
                "the BMC password has",
            ),
        ];
        for (info, words) in cases {
            let Value::Object(map) = &info else { panic!() };
            let error = target(map).unwrap_err();
            assert!(error.contains(words) && !error.contains("hunter2"), "{error}");
        }
    }
}
