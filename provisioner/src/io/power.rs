//! Power and boot device by the node's BMC; a change of power is read back.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::driver::{Driver, DriverError};
use super::world::Subject;
use crate::proto::access::{Access, Interface};
use crate::proto::inrush::InRush;
use crate::proto::ipmi::command::{self, PowerAction};
use crate::proto::node::{BootDevice, Failure, Firmware, Outcome, Power, PowerState};
use crate::proto::redfish::MediaKind;

/// Between two looks at a power that is changing.
const LOOK_EVERY: Duration = Duration::from_secs(1);

fn access(subject: &Subject, interface: Interface) -> Result<Access, Failure> {
    Access::of(&subject.node, interface, &subject.settings).map_err(Failure::lasting)
}

/// Asks for the power's state.
pub async fn read<P: Driver>(bmc: &P, subject: &Subject) -> Result<Outcome, Failure> {
    let access = access(subject, Interface::Power)?;
    let power = bmc.power_state(&access).await.map_err(failure)?;
    Ok(Outcome::Power(name(power)))
}

/// Brings the power to `wanted` and waits until it is read back so.
///
/// Powering on waits for its turn among the machines of the same label. A soft power-off that does not come ends as configured.
pub async fn ensure<P: Driver>(
    bmc: &P,
    inrush: &Mutex<InRush>,
    subject: &Subject,
    wanted: Power,
    soft: bool,
) -> Result<Outcome, Failure> {
    let access = access(subject, Interface::Power)?;
    let goal = PowerState::from(wanted);
    if name(bmc.power_state(&access).await.map_err(failure)?) == goal {
        return Ok(Outcome::Power(goal));
    }
    let action = match (wanted, soft) {
        (Power::On, _) => PowerAction::On,
        (Power::Off, false) => PowerAction::Off,
        (Power::Off, true) => PowerAction::Soft,
    };
    if wanted == Power::On {
        sleep(in_rush(inrush, subject)).await;
    }
    match change(bmc, &access, subject, action, goal).await {
        Err(failure) if soft && failure.is_transient && subject.settings.power.soft_off_then_off => {
            tracing::info!(node = %subject.node.label(), reason = failure.reason, "switching it off hard");
            change(bmc, &access, subject, PowerAction::Off, goal).await
        }
        result => result,
    }
}

/// How long this machine has to wait so that those of its label do not come on together.
fn in_rush(inrush: &Mutex<InRush>, subject: &Subject) -> Duration {
    let policy = &subject.settings.power;
    let of = |info: &serde_json::Map<String, serde_json::Value>| match info.get(&policy.on_label) {
        Some(serde_json::Value::String(label)) => Some(label.clone()),
        Some(serde_json::Value::Number(label)) => Some(label.to_string()),
        _ => None,
    };
    let label = of(&subject.node.properties).or_else(|| of(&subject.node.extra)).unwrap_or_default();
    inrush.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).admit(
        Instant::now().into_std(),
        &label,
        policy.on_per_sec,
    )
}

/// Tells the BMC, and reads back until it is so or the time is up.
async fn change<P: Driver>(
    bmc: &P,
    access: &Access,
    subject: &Subject,
    action: PowerAction,
    goal: PowerState,
) -> Result<Outcome, Failure> {
    bmc.set_power(access, action).await.map_err(failure)?;
    let begun = Instant::now();
    let patience = Duration::from_secs(subject.settings.power_secs.into());
    loop {
        // Many BMCs are deaf for a moment while the power changes: only the time decides.
        let seen = bmc.power_state(access).await;
        if seen.as_ref().is_ok_and(|power| name(*power) == goal) {
            return Ok(Outcome::Power(goal));
        }
        if begun.elapsed() >= patience {
            let seen = seen.map_or_else(|error| error.to_string(), |power| format!("it still reads {}", name(power)));
            let secs = patience.as_secs();
            return Err(Failure::passing(format!("BMC {access}: {action} was not done within {secs} s: {seen}")));
        }
        sleep(LOOK_EVERY.min(patience)).await;
    }
}

/// Sets the boot device.
pub async fn set_boot_device<P: Driver>(
    bmc: &P,
    subject: &Subject,
    device: BootDevice,
    persistent: bool,
    firmware: Firmware,
) -> Result<Outcome, Failure> {
    let access = access(subject, Interface::Management)?;
    bmc.set_boot_device(&access, device, persistent, firmware).await.map_err(failure)?;
    Ok(Outcome::Done)
}

/// Puts an image into a virtual drive, or takes out what is in it.
pub async fn set_media<P: Driver>(
    bmc: &P,
    subject: &Subject,
    kind: Option<MediaKind>,
    image: Option<&str>,
) -> Result<Outcome, Failure> {
    let access = access(subject, Interface::Management)?;
    bmc.set_media(&access, kind, image).await.map_err(failure)?;
    Ok(Outcome::Done)
}

fn name(power: command::PowerState) -> PowerState {
    match power {
        command::PowerState::On => PowerState::On,
        command::PowerState::Off => PowerState::Off,
    }
}

fn failure(error: DriverError) -> Failure {
    Failure { is_transient: error.is_transient(), reason: error.to_string() }
}
