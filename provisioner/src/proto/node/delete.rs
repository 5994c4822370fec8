//! active, wait call-back, deploy failed, error –deleted→ deleting → available, or error.
//!
//! What the machine shall boot is withdrawn first, so that whoever powers it on in between boots nothing of ours.

use super::turn::Turn;
use super::{Effect, Power, ProvisionState, Stage};

/// `deleted`.
pub(super) fn start(turn: &mut Turn) {
    turn.rest();
    turn.node.last_error = None;
    turn.node.instance_info.clear();
    for field in ["instance_uuid", "instance_name"] {
        turn.node.attributes.remove(field);
    }
    turn.enter(ProvisionState::Deleting, Some(ProvisionState::Available));
    let secs = turn.settings.power_secs * 4 + 300;
    turn.wait_in(Stage::TearDown, secs, format!("taking the instance off took longer than {secs} s"));
    let mut macs = turn.node.work.macs.clone();
    macs.extend(turn.boot_macs());
    macs.sort();
    macs.dedup();
    if !macs.is_empty() {
        turn.push(Effect::DeleteIntent { macs: macs.clone() });
    }
    turn.push(Effect::EnsurePower { power: Power::Off, soft: false });
    if !macs.is_empty() {
        turn.push(Effect::DeleteReservation { macs });
    }
}

/// Everything is taken back.
pub(super) fn done(turn: &mut Turn) {
    turn.rest();
    turn.node.work.macs.clear();
    turn.forget_agent();
    turn.enter(ProvisionState::Available, None);
}

/// Something could not be taken back; `deleted` tries again.
pub(super) fn failed(turn: &mut Turn, reason: String) {
    turn.rest();
    turn.note_error("error", &reason);
    turn.node.last_error = Some(reason);
    turn.enter(ProvisionState::Error, None);
}
