//! Power and boot device on request, in a state that does not change by it.

use super::turn::Turn;
use super::{BootDevice, Effect, Power, PowerRequest, PowerState, ProvisionState, Refusal, Stage};

/// Changes the power as asked for.
pub(super) fn change(turn: &mut Turn, wanted: PowerRequest) -> Result<(), Refusal> {
    let name = match wanted {
        PowerRequest::On => "power on",
        PowerRequest::Off => "power off",
        PowerRequest::SoftOff => "soft power off",
        PowerRequest::Reboot => "rebooting",
        PowerRequest::SoftReboot => "soft rebooting",
    };
    begin(turn, name, turn.settings.power_secs * 2 + turn.settings.bmc_secs * 2 + 10)?;
    let off = |soft| Effect::EnsurePower { power: Power::Off, soft };
    let on = Effect::EnsurePower { power: Power::On, soft: false };
    match wanted {
        PowerRequest::On => turn.push(on),
        PowerRequest::Off => turn.push(off(false)),
        PowerRequest::SoftOff => turn.push(off(true)),
        PowerRequest::Reboot | PowerRequest::SoftReboot => {
            turn.push(off(wanted == PowerRequest::SoftReboot));
            turn.push(on);
        }
    }
    let is_off = matches!(wanted, PowerRequest::Off | PowerRequest::SoftOff);
    turn.node.target_power_state = Some(if is_off { PowerState::Off } else { PowerState::On });
    turn.note("power", format!("{name} was asked for"));
    Ok(())
}

/// Chooses the boot device as asked for.
pub(super) fn set_boot_device(turn: &mut Turn, device: BootDevice, persistent: bool) -> Result<(), Refusal> {
    begin(turn, "set boot device", turn.settings.bmc_secs * 2 + 10)?;
    let firmware = turn.firmware();
    turn.push(Effect::SetBootDevice { device, persistent, firmware });
    Ok(())
}

fn begin(turn: &mut Turn, action: &str, secs: u32) -> Result<(), Refusal> {
    let state = turn.node.provision_state;
    if state == ProvisionState::WaitCallBack {
        // Cutting the power under an agent that may be writing is nobody's wish: abort or undeploy instead.
        return Err(Refusal::InvalidState { action: action.into(), state });
    }
    turn.wait_in(Stage::OnRequest, secs, format!("{action} was not done within {secs} s"));
    Ok(())
}

/// Done as asked for.
pub(super) fn done(turn: &mut Turn, effect: &Effect) {
    turn.rest();
    turn.node.target_power_state = None;
    // What stands in `last_error` of a failed state is its reason, and no business of ours.
    if matches!(effect, Effect::EnsurePower { .. }) && !has_failed(turn) {
        turn.node.last_error = None;
    }
}

/// Not done.
pub(super) fn failed(turn: &mut Turn, reason: String) {
    turn.rest();
    turn.note_error("error", &reason);
    if turn.node.target_power_state.take().is_some() {
        turn.node.power_state = Some(PowerState::Error);
    }
    if !has_failed(turn) {
        turn.node.last_error = Some(reason);
    }
}

fn has_failed(turn: &Turn) -> bool {
    matches!(turn.node.provision_state, ProvisionState::DeployFailed | ProvisionState::Error)
}
