//! What a deployment does with the agent: list steps, write, name partitions, boot loader, power off.
//!
//! The order of calls is that of a real conductor (`tests/fixtures/conductor-to-agent.json`).

use serde_json::Value;

use super::deploy;
use super::settings::OFF_CHECKS_MAX;
use super::turn::Turn;
use super::{
    AgentCommand, BootDevice, CommandState, CommandStatus, Effect, Outcome, Power, PowerState, ProvisionState, Stage,
    image_info,
};

/// Longest text of the agent's that is taken over into a reason, in octets.
const AGENT_WORDS_BYTES_MAX: usize = 2_000;

/// The agent called. Its token, state and address have been checked.
pub(super) fn heard(turn: &mut Turn, url: String, version: Option<String>) {
    let agent = &mut turn.node.work.agent;
    agent.heard_at = Some(turn.now);
    if agent.url.as_ref() != Some(&url) {
        let words = format!("the agent {} called from {url}", version.as_deref().unwrap_or("of unknown version"));
        agent.url = Some(url);
        agent.version = version;
        turn.note("agent", words);
    }
    match turn.node.work.stage {
        Stage::AwaitAgent => list_steps(turn),
        Stage::Write(Some(_)) | Stage::InstallBootloader(Some(_)) => {
            // It calls out of turn when a command is done.
            if let Some(poll) = turn.node.work.pending.front_mut() {
                poll.not_before = turn.now;
                poll.attempts = 0;
                poll.since = None;
            }
        }
        _ => {}
    }
}

/// The first thing an agent is asked.
pub(super) fn list_steps(turn: &mut Turn) {
    turn.enter(ProvisionState::Deploying, Some(ProvisionState::Active));
    ask(turn, Stage::ListSteps, AgentCommand::GetDeploySteps);
}

fn ask(turn: &mut Turn, stage: Stage, command: AgentCommand) {
    let secs = turn.settings.agent_step_secs;
    turn.wait_in(stage, secs, format!("the agent did not {} within {secs} s", command.words()));
    turn.push(Effect::Agent(command));
}

/// Goes on after an effect of the deployment.
pub(super) fn advance(turn: &mut Turn, outcome: Outcome) {
    match (turn.node.work.stage.clone(), outcome) {
        (Stage::Prepare, _) if turn.node.work.pending.is_empty() => deploy::prepared(turn),
        (Stage::ListSteps, Outcome::Command(status)) => steps_listed(turn, status),
        (Stage::Write(_), Outcome::Command(status)) => written(turn, status),
        (Stage::ReadPartitions, Outcome::Command(status)) => partitions_read(turn, status),
        (Stage::InstallBootloader(_), Outcome::Command(status)) => bootloader_installed(turn, status),
        (Stage::TearDownAgent, _) if turn.node.work.pending.is_empty() => look_at_power(turn, 0),
        (Stage::AwaitOff(_), Outcome::Power(PowerState::Off)) => deploy::boot_instance(turn),
        (Stage::AwaitOff(looks), _) => look_again(turn, looks + 1),
        (Stage::ForceOff, _) => deploy::boot_instance(turn),
        (Stage::BootInstance, _) if turn.node.work.pending.is_empty() => deploy::done(turn),
        _ => {}
    }
}

fn steps_listed(turn: &mut Turn, status: CommandStatus) {
    if let Some(reason) = failure(&status, AgentCommand::GetDeploySteps.words()) {
        return deploy::failed(turn, reason);
    }
    let lists = status.command_result.get("deploy_steps").and_then(Value::as_object);
    let mut steps = lists.into_iter().flat_map(|lists| lists.values()).filter_map(Value::as_array).flatten();
    if !steps.any(|step| step["step"] == "write_image" && step["interface"] == "deploy") {
        return deploy::failed(turn, "the agent lists no deploy step write_image: it cannot write an image".into());
    }
    let version = status.command_result.get("hardware_manager_version").cloned().unwrap_or(Value::Null);
    turn.node.work.agent.hardware_managers = Some(version.clone());
    // Checked when the deployment began, but people may have changed instance_info since.
    let image = match image_info(&turn.node, turn.settings) {
        Ok(image) => image,
        Err(unusable) => return deploy::failed(turn, unusable.to_string()),
    };
    turn.note("agent", format!("the agent shall write {}", image.public_url()));
    let configdrive = turn.node.instance_info.get("configdrive").and_then(Value::as_str).map(str::to_owned);
    ask(turn, Stage::Write(None), AgentCommand::WriteImage { image, configdrive, version });
}

fn written(turn: &mut Turn, status: CommandStatus) {
    if let Some(reason) = failure(&status, "write the image") {
        return deploy::failed(turn, reason);
    }
    if status.command_status == CommandState::Running {
        return wait_for(turn, Stage::Write(Some(status.id.clone())), status.id);
    }
    let step = &status.command_result["deploy_step"]["step"];
    if status.command_name != "execute_deploy_step" || step != "write_image" {
        let words =
            format!("the agent reports {step} of {} as done, which is not what it was told", status.command_name);
        return deploy::failed(turn, words);
    }
    let result = status.command_result["deploy_result"]["result"].as_str().unwrap_or("the image is written");
    let words = cut(result);
    turn.note("agent", words);
    if turn.node.provision_state != ProvisionState::Deploying {
        turn.enter(ProvisionState::Deploying, Some(ProvisionState::Active));
    }
    ask(turn, Stage::ReadPartitions, AgentCommand::GetPartitionUuids);
}

/// A command runs: wait for the agent's call, and look by ourselves from time to time.
fn wait_for(turn: &mut Turn, stage: Stage, id: String) {
    if turn.node.work.stage != stage {
        // The deadline remains the one of the step.
        turn.node.work.stage = stage;
        turn.keep();
    }
    if turn.node.provision_state != ProvisionState::WaitCallBack {
        turn.enter(ProvisionState::WaitCallBack, Some(ProvisionState::Active));
    }
    let is_kept = turn.is_kept();
    turn.push_after(turn.settings.poll_millis, Effect::Poll { id });
    if !is_kept {
        // Nothing but the time of the next look has changed.
        turn.forgo();
    }
}

fn partitions_read(turn: &mut Turn, status: CommandStatus) {
    if let Some(reason) = failure(&status, AgentCommand::GetPartitionUuids.words()) {
        return deploy::failed(turn, reason);
    }
    if !turn.node.boots_by_uefi() {
        return tear_down_agent(turn);
    }
    let text = |key: &str| status.command_result.get(key).and_then(Value::as_str).map(str::to_owned);
    let command =
        AgentCommand::InstallBootloader { root_uuid: text("root uuid"), efi_uuid: text("efi system partition uuid") };
    ask(turn, Stage::InstallBootloader(None), command);
}

fn bootloader_installed(turn: &mut Turn, status: CommandStatus) {
    if let Some(reason) = failure(&status, "install the boot loader") {
        return deploy::failed(turn, reason);
    }
    if status.command_status == CommandState::Running {
        return wait_for(turn, Stage::InstallBootloader(Some(status.id.clone())), status.id);
    }
    turn.enter(ProvisionState::Deploying, Some(ProvisionState::Active));
    tear_down_agent(turn);
}

fn tear_down_agent(turn: &mut Turn) {
    let secs = turn.settings.power_secs * 4 + 300;
    turn.wait_in(Stage::TearDownAgent, secs, format!("shutting the agent down took longer than {secs} s"));
    let firmware = turn.firmware();
    turn.push(Effect::SetBootDevice { device: BootDevice::Disk, persistent: true, firmware });
    turn.push(Effect::Agent(AgentCommand::PowerOff));
}

fn look_at_power(turn: &mut Turn, looks: u8) {
    let secs = turn.settings.power_secs * 4 + 300;
    turn.wait_in(Stage::AwaitOff(looks), secs, format!("the machine did not power off within {secs} s"));
    turn.push_after(turn.settings.off_check_millis, Effect::ReadPower);
}

fn look_again(turn: &mut Turn, looks: u8) {
    if looks < OFF_CHECKS_MAX {
        return look_at_power(turn, looks);
    }
    turn.note("power", "the agent did not power the machine off: switching it off");
    let secs = turn.settings.power_secs * 4 + 120;
    turn.wait_in(Stage::ForceOff, secs, format!("the machine could not be switched off within {secs} s"));
    turn.push(Effect::EnsurePower { power: Power::Off, soft: false });
}

/// The agent could not be told to power off, or the power could not be read: looking goes on, switching off will end it.
pub(super) fn not_off_by_itself(turn: &mut Turn, effect: &Effect, reason: String) {
    turn.note_error("retry", format!("could not {}, going on: {reason}", effect.words()));
    match turn.node.work.stage {
        Stage::AwaitOff(looks) => look_again(turn, looks + 1),
        _ => look_at_power(turn, 0),
    }
}

/// Why a command failed, in plain words; `None` where it did not (yet).
fn failure(status: &CommandStatus, words: &str) -> Option<String> {
    match status.command_status {
        CommandState::Running | CommandState::Succeeded => None,
        CommandState::CleanVersionMismatch => {
            Some(format!("the agent could not {words}: its hardware managers changed since it listed its steps"))
        }
        CommandState::Failed => {
            let error = &status.command_error;
            let message = error["message"].as_str().or(error.as_str()).unwrap_or("it did not say why");
            let details = error["details"].as_str().unwrap_or_default();
            let more =
                if details.is_empty() || message.contains(details) { String::new() } else { format!(" ({details})") };
            Some(format!("the agent could not {words}: {}", cut(&format!("{message}{more}"))))
        }
    }
}

/// At most [`AGENT_WORDS_BYTES_MAX`] octets of a text from outside, on a character's boundary, without control characters.
fn cut(text: &str) -> String {
    let mut end = text.len().min(AGENT_WORDS_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
