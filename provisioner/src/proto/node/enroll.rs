//! enroll –manage→ verifying → manageable –provide→ available –manage→ manageable.

use super::turn::Turn;
use super::{Effect, ProvisionState, Stage};

/// `manage`: tries the BMC of an enrolled node, or takes an available one aside.
pub(super) fn manage(turn: &mut Turn) {
    if turn.node.provision_state == ProvisionState::Available {
        turn.enter(ProvisionState::Manageable, None);
        return;
    }
    turn.node.last_error = None;
    turn.enter(ProvisionState::Verifying, Some(ProvisionState::Manageable));
    let secs = turn.settings.bmc_secs * 2 + 10;
    turn.wait_in(Stage::Verify, secs, format!("the BMC did not tell its power state within {secs} s"));
    turn.push(Effect::ReadPower);
}

/// `provide`: cleaning is off, so the node is available at once.
pub(super) fn provide(turn: &mut Turn) {
    turn.node.last_error = None;
    turn.enter(ProvisionState::Available, None);
}

/// The BMC answered.
pub(super) fn verified(turn: &mut Turn) {
    turn.rest();
    turn.enter(ProvisionState::Manageable, None);
}

/// The BMC did not answer.
pub(super) fn failed(turn: &mut Turn, reason: String) {
    turn.rest();
    turn.note_error("error", &reason);
    turn.node.last_error = Some(reason);
    turn.enter(ProvisionState::Enroll, None);
}
