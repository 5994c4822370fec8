//! [`request`] and [`step`]: the two ways into the life cycle.

use super::turn::Turn;
use super::{
    BootDevice, Effect, Failure, Machine, Millis, Outcome, PowerState, ProvisionState, Settings, Stage, Step, Verb,
};
use super::{agent_steps, delete, deploy, enroll, power};
use crate::proto::redfish::MediaKind;

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// A change of provision state.
    Provision {
        /// Which.
        verb: Verb,
        /// For a deployment: the config drive, base64 of gzip.
        configdrive: Option<String>,
    },
    /// A change of power.
    Power(PowerRequest),
    /// An image into a virtual drive.
    Media {
        /// The drive; `None`: every drive.
        kind: Option<MediaKind>,
        /// URL of the image; `None`: what is in it is taken out.
        image: Option<String>,
    },
    /// Where to boot from next.
    BootDevice {
        /// The device.
        device: BootDevice,
        /// For every boot, not only the next.
        persistent: bool,
    },
}

/// A change of power that somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerRequest {
    /// `power on`
    On,
    /// `power off`
    Off,
    /// `soft power off`
    SoftOff,
    /// `rebooting`
    Reboot,
    /// `soft rebooting`
    SoftReboot,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody works on the node.
    Locked,
    /// The node is in maintenance.
    InMaintenance,
    /// The node's instance is protected.
    Protected,
    /// The node's state does not admit it.
    InvalidState {
        /// What was asked for.
        action: String,
        /// The state it is in.
        state: ProvisionState,
    },
    /// Something that it needs is missing or wrong; which, in plain words.
    Invalid(String),
}

/// What the world reports.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An effect was carried out, or could not be.
    Finished {
        /// Its id.
        effect: u64,
        /// What came of it.
        result: Result<Outcome, Failure>,
    },
    /// The BMC was asked for the power without occasion.
    PowerSeen {
        /// What it said.
        power: PowerState,
        /// It had been silent before, and that was told.
        was_silent: bool,
    },
    /// The BMC has been silent several times in a row.
    PowerUnseen {
        /// In plain words.
        reason: String,
    },
    /// The deadline may have passed.
    Deadline,
    /// The agent was given this token at its first lookup.
    Token(String),
    /// The agent called from where it listens.
    Heartbeat {
        /// Where it listens.
        url: String,
        /// Its version.
        version: Option<String>,
    },
}

/// Takes a request, or refuses it.
pub fn request(machine: Machine<'_>, request: Request, now: Millis, settings: &Settings) -> Result<Step, Refusal> {
    if machine.node.is_reserved() {
        return Err(Refusal::Locked);
    }
    let mut turn = Turn::new(machine, now, settings);
    match request {
        Request::Provision { verb, configdrive } => {
            let state = machine.node.provision_state;
            if machine.node.maintenance && matches!(verb, Verb::Active | Verb::Rebuild) {
                return Err(Refusal::InMaintenance);
            }
            if machine.node.is_protected() && matches!(verb, Verb::Deleted | Verb::Rebuild) {
                return Err(Refusal::Protected);
            }
            if !state.verbs().contains(&verb) {
                return Err(Refusal::InvalidState { action: verb.as_str().into(), state });
            }
            match verb {
                Verb::Manage => enroll::manage(&mut turn),
                Verb::Provide => enroll::provide(&mut turn),
                Verb::Active | Verb::Rebuild => deploy::start(&mut turn, configdrive).map_err(Refusal::Invalid)?,
                Verb::Deleted => delete::start(&mut turn),
                Verb::Abort => deploy::failed(&mut turn, "aborted on request while waiting for the agent".into()),
            }
        }
        Request::Power(wanted) => power::change(&mut turn, wanted)?,
        Request::Media { kind, image } => power::set_media(&mut turn, kind, image)?,
        Request::BootDevice { device, persistent } => power::set_boot_device(&mut turn, device, persistent)?,
    }
    Ok(turn.end())
}

/// Takes note of what happened. What fits nothing (the result of an effect that was given up, say) changes nothing.
pub fn step(machine: Machine<'_>, event: Event, now: Millis, settings: &Settings) -> Step {
    let mut turn = Turn::new(machine, now, settings);
    match event {
        Event::Finished { effect, result } => finished(&mut turn, effect, result),
        Event::PowerSeen { power: seen, was_silent } => power::seen(&mut turn, seen, was_silent),
        Event::PowerUnseen { reason } => turn.note_error("unreachable", format!("the BMC is silent: {reason}")),
        Event::Deadline => {
            if let Some(deadline) = turn.node.work.deadline.take_if(|deadline| deadline.at <= now) {
                fail(&mut turn, deadline.reason);
            }
        }
        Event::Token(token) => {
            turn.node.work.agent.token = Some(token);
            turn.note("agent", "the agent looked itself up");
        }
        Event::Heartbeat { url, version } => agent_steps::heard(&mut turn, url, version),
    }
    turn.end()
}

fn finished(turn: &mut Turn, id: u64, result: Result<Outcome, Failure>) {
    if turn.node.work.pending.front().is_none_or(|pending| pending.id != id) {
        return;
    }
    let Some(pending) = turn.node.work.pending.pop_front() else { return };
    match result {
        Ok(outcome) => {
            observe(turn, &pending.effect, &outcome);
            advance(turn, &pending.effect, outcome);
        }
        Err(failure) => match retry_after(turn, &pending, &failure) {
            Some(millis) => {
                let mut again = pending;
                again.attempts += 1;
                again.since.get_or_insert(turn.now);
                again.not_before = turn.now.plus_millis(millis);
                if again.attempts == 1 && !matches!(again.effect, Effect::Poll { .. }) {
                    let words = again.effect.words();
                    turn.note_error("retry", format!("could not {words}, trying again: {}", failure.reason));
                }
                turn.node.work.pending.push_front(again);
            }
            None => not_done(turn, &pending.effect, failure.reason),
        },
    }
}

/// Writes down what an effect tells about the machine, whatever it was for.
fn observe(turn: &mut Turn, effect: &Effect, outcome: &Outcome) {
    if let Outcome::Power(power) = *outcome {
        if turn.node.power_state != Some(power) {
            turn.node.power_state = Some(power);
            turn.node.power_changed_at = Some(turn.now);
            turn.note("power", power.as_str());
        }
        if power == PowerState::Off {
            turn.forget_agent();
        }
    }
    if let Outcome::Skipped(why) = outcome {
        turn.note("skipped", format!("did not {}: {why}", effect.words()));
        return;
    }
    match effect {
        Effect::SetBootDevice { device, persistent, .. } => {
            turn.node.work.boot_device = Some((*device, *persistent));
            turn.note("boot", effect.words());
        }
        Effect::SetMedia { .. } => turn.note("media", effect.words()),
        Effect::PutIntent { .. } | Effect::PutReservation { .. } | Effect::DeleteIntent { .. } => {
            turn.note("boot", effect.words());
        }
        _ => {}
    }
}

/// Goes on after an effect that was carried out.
fn advance(turn: &mut Turn, effect: &Effect, outcome: Outcome) {
    let is_last = turn.node.work.pending.is_empty();
    match turn.node.work.stage {
        Stage::Idle => {}
        Stage::OnRequest if is_last => power::done(turn, effect),
        Stage::Verify if is_last => enroll::verified(turn),
        Stage::CleanUp if is_last => turn.rest(),
        Stage::TearDown if is_last => delete::done(turn),
        Stage::OnRequest | Stage::Verify | Stage::CleanUp | Stage::TearDown => {}
        _ => agent_steps::advance(turn, outcome),
    }
}

/// An effect could not be carried out, and is not tried again.
fn not_done(turn: &mut Turn, effect: &Effect, reason: String) {
    let words = effect.words();
    match (effect, &turn.node.work.stage) {
        // The address is kept for convenience: any will do.
        (Effect::PutReservation { .. } | Effect::DeleteReservation { .. }, _) | (_, Stage::CleanUp) => {
            turn.note_error("skipped", format!("could not {words}, going on: {reason}"));
            advance(turn, effect, Outcome::Done);
        }
        (_, Stage::TearDownAgent | Stage::AwaitOff(_)) if !matches!(effect, Effect::SetBootDevice { .. }) => {
            agent_steps::not_off_by_itself(turn, effect, reason);
        }
        _ => fail(turn, format!("could not {words}: {reason}")),
    }
}

/// The work on the node ends with an error.
fn fail(turn: &mut Turn, reason: String) {
    match turn.node.work.stage {
        Stage::Idle => {}
        Stage::OnRequest => power::failed(turn, reason),
        Stage::Verify => enroll::failed(turn, reason),
        Stage::CleanUp => {
            turn.note_error("error", reason);
            turn.rest();
        }
        Stage::TearDown => delete::failed(turn, reason),
        _ => deploy::failed(turn, reason),
    }
}

/// How long to wait before an effect is tried again, in milliseconds; `None`: it is given up.
fn retry_after(turn: &Turn, pending: &super::Pending, failure: &Failure) -> Option<u64> {
    if !failure.is_transient {
        return None;
    }
    let elapsed = turn.now.0.saturating_sub(pending.since.unwrap_or(turn.now).0);
    let go_on = match (&pending.effect, &turn.node.work.stage) {
        // People wait for the answer, and nothing depends on it.
        (_, Stage::Verify | Stage::OnRequest | Stage::CleanUp) => false,
        (Effect::Agent(super::AgentCommand::PowerOff), _) | (Effect::ReadPower, _) => false,
        (Effect::Agent(_) | Effect::Poll { .. }, _) => elapsed < u64::from(turn.settings.heartbeat_secs) * 1_000,
        (Effect::EnsurePower { .. } | Effect::SetBootDevice { .. } | Effect::SetMedia { .. }, _) => {
            pending.attempts < 3
        }
        (Effect::PutReservation { .. } | Effect::DeleteReservation { .. }, _) => pending.attempts < 2,
        (Effect::PutIntent { .. } | Effect::DeleteIntent { .. }, _) => pending.attempts < 6,
    };
    go_on.then(|| (turn.settings.retry_millis << pending.attempts.min(8)).min(30_000))
}
