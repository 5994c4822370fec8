//! Power and boot device by the node's BMC; a change of power is read back.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::bmc::{self, BmcError, BmcTarget, PowerAction};
use super::world::Subject;
use crate::proto::bmc_access::bmc_access;
use crate::proto::inrush::InRush;
use crate::proto::ipmi::Cause;
use crate::proto::node::{BootDevice, Failure, Firmware, Outcome, Power, PowerState};

/// Between two looks at a power that is changing.
const LOOK_EVERY: Duration = Duration::from_secs(1);

fn target(subject: &Subject) -> Result<BmcTarget, Failure> {
    let access = bmc_access(&subject.node.driver_info, &subject.settings.ipmi).map_err(Failure::lasting)?;
    Ok(BmcTarget { address: access.address, credentials: access.credentials, route: access.route })
}

/// Asks for the power's state.
pub async fn read<P: bmc::Power>(bmc: &P, subject: &Subject) -> Result<Outcome, Failure> {
    let target = target(subject)?;
    let power = bmc.power_state(&target).await.map_err(failure)?;
    Ok(Outcome::Power(name(power)))
}

/// Brings the power to `wanted` and waits until it is read back so.
///
/// Powering on waits for its turn among the machines of the same label. A soft power-off that does not come ends as configured.
pub async fn ensure<P: bmc::Power>(
    bmc: &P,
    inrush: &Mutex<InRush>,
    subject: &Subject,
    wanted: Power,
    soft: bool,
) -> Result<Outcome, Failure> {
    let target = target(subject)?;
    let goal = PowerState::from(wanted);
    if name(bmc.power_state(&target).await.map_err(failure)?) == goal {
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
    match change(bmc, &target, subject, action, goal).await {
        Err(failure) if soft && failure.is_transient && subject.settings.power.soft_off_then_off => {
            tracing::info!(node = %subject.node.label(), reason = failure.reason, "switching it off hard");
            change(bmc, &target, subject, PowerAction::Off, goal).await
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
async fn change<P: bmc::Power>(
    bmc: &P,
    target: &BmcTarget,
    subject: &Subject,
    action: PowerAction,
    goal: PowerState,
) -> Result<Outcome, Failure> {
    bmc.set_power(target, action).await.map_err(failure)?;
    let begun = Instant::now();
    let patience = Duration::from_secs(subject.settings.power_secs.into());
    loop {
        // Many BMCs are deaf for a moment while the power changes: only the time decides.
        let seen = bmc.power_state(target).await;
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
    let target = target(subject)?;
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
