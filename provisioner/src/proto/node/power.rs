//! Power and boot device on request, in a state that does not change by it.

use super::turn::Turn;
use super::{BootDevice, Effect, Power, PowerRequest, PowerState, ProvisionState, Refusal, Stage};
use crate::proto::redfish::MediaKind;

/// Changes the power as asked for.
pub(super) fn change(turn: &mut Turn, wanted: PowerRequest) -> Result<(), Refusal> {
    let name = match wanted {
        PowerRequest::On => "power on",
        PowerRequest::Off => "power off",
        PowerRequest::SoftOff => "soft power off",
        PowerRequest::Reboot => "rebooting",
        PowerRequest::SoftReboot => "soft rebooting",
    };
    // The longest way: a soft power-off that does not come, a hard one, and power on; each with a look before and one that comes late.
    begin(turn, name, turn.settings.power_secs * 3 + turn.settings.bmc_secs * 6 + 10)?;
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

/// Puts an image into a virtual drive, or takes out what is in it.
pub(super) fn set_media(turn: &mut Turn, kind: Option<MediaKind>, image: Option<String>) -> Result<(), Refusal> {
    begin(turn, "virtual media", turn.settings.bmc_secs * 2 + 10)?;
    turn.push(Effect::SetMedia { kind, image });
    Ok(())
}

/// The power was looked at without occasion. What differs from what we know is reported, and only where that is configured undone.
pub(super) fn seen(turn: &mut Turn, seen: PowerState, was_silent: bool) {
    if was_silent {
        turn.note("reachable", "the BMC answers again");
    }
    // Whoever works on the node changes its power, and looks at it by himself.
    if turn.node.maintenance || turn.node.is_reserved() || turn.node.power_state == Some(seen) {
        return;
    }
    let known = turn.node.power_state.replace(seen);
    turn.node.power_changed_at = Some(turn.now);
    let wanted = match known {
        Some(PowerState::On) => Power::On,
        Some(PowerState::Off) => Power::Off,
        Some(PowerState::Error) | None => return turn.note("power", seen.as_str()),
    };
    let known = PowerState::from(wanted);
    turn.note_error(
        "drift",
        format!("the machine reads {seen} and was left {known}: somebody else did that, or the power failed"),
    );
    let waits = turn.node.provision_state == ProvisionState::WaitCallBack;
    if turn.settings.power.force && !waits {
        let secs = turn.settings.power_secs * 2 + turn.settings.bmc_secs * 2 + 10;
        turn.wait_in(Stage::OnRequest, secs, format!("{known} was not done within {secs} s"));
        turn.push(Effect::EnsurePower { power: wanted, soft: false });
        turn.note("power", format!("it is brought back to {known}, as force says"));
    } else if seen == PowerState::Off && !waits {
        turn.forget_agent();
    }
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::proto::node::{Event, Machine, Millis, Node, Settings, step};

    /// Whether drift was told, the power known afterwards, and how many effects follow.
    fn after(node: &Node, power: PowerState, force: bool) -> (bool, Option<PowerState>, usize) {
        let mut settings = Settings::for_tests();
        settings.power.force = force;
        let event = Event::PowerSeen { power, was_silent: false };
        let step = step(Machine { node, ports: &[] }, event, Millis(1_000), &settings);
        let told = step.notes.iter().any(|note| note.kind == "drift");
        (told, step.node.power_state, step.node.work.pending.len())
    }

    #[test]
    fn what_nobody_asked_for_is_told_and_only_undone_where_that_is_configured() {
        use PowerState::{Off, On};
        let node = |state, power_state, maintenance| {
            let mut node = Node::new(1, Uuid::nil(), "ipmi", Millis(0));
            (node.provision_state, node.power_state, node.maintenance) = (state, power_state, maintenance);
            node
        };
        let active = ProvisionState::Active;
        assert_eq!(after(&node(active, Some(On), false), On, true), (false, Some(On), 0), "as it was left");
        assert_eq!(after(&node(active, None, false), On, true), (false, Some(On), 0), "not known before");
        assert_eq!(after(&node(active, Some(PowerState::Error), false), Off, true), (false, Some(Off), 0));
        assert_eq!(after(&node(active, Some(On), false), Off, false), (true, Some(Off), 0));
        assert_eq!(after(&node(active, Some(On), false), Off, true), (true, Some(Off), 1));
        assert_eq!(after(&node(active, Some(On), true), Off, true), (false, Some(On), 0), "in maintenance");
        assert_eq!(
            after(&node(ProvisionState::Deploying, Some(On), false), Off, true),
            (false, Some(On), 0),
            "at work"
        );
        let waits = node(ProvisionState::WaitCallBack, Some(On), false);
        assert_eq!(after(&waits, Off, true), (true, Some(Off), 0), "its own deadline decides");
    }
}
