//! available, active, deploy failed, error –active, rebuild→ deploying ⇄ wait call-back → active, or deploy failed.
//!
//! Direct deploy of a whole-disk image, by the agent. This file begins and ends it; what happens with the agent is in `agent_steps`.

use super::turn::Turn;
use super::{Boot, BootDevice, Effect, Power, ProvisionState, Settings, Stage, agent_steps, image_info};
use crate::proto::node::Node;

/// `active` or `rebuild`. The error says what is missing, in plain words.
pub(super) fn start(turn: &mut Turn, configdrive: Option<String>) -> Result<(), String> {
    let boot = check(turn)?;
    turn.rest();
    turn.forget_agent();
    turn.node.last_error = None;
    if let Some(drive) = configdrive {
        turn.node.instance_info.insert("configdrive".into(), drive.into());
    }
    let macs = turn.boot_macs();
    turn.node.work.macs = macs.clone();
    turn.enter(ProvisionState::Deploying, Some(ProvisionState::Active));
    let secs = turn.settings.deploy_callback_secs;
    turn.wait_in(Stage::Prepare, secs, format!("preparing the machine took longer than {secs} s"));
    let firmware = turn.firmware();
    turn.push(Effect::PutReservation { macs: macs.clone(), hostname: turn.node.name.clone() });
    turn.push(Effect::PutIntent { macs, boot });
    turn.push(Effect::EnsurePower { power: Power::Off, soft: false });
    turn.push(Effect::SetBootDevice { device: BootDevice::Pxe, persistent: false, firmware });
    turn.push(Effect::EnsurePower { power: Power::On, soft: false });
    Ok(())
}

/// What the machine shall boot for a deployment, or what is missing for one.
fn check(turn: &Turn) -> Result<Boot, String> {
    if turn.boot_macs().is_empty() {
        return Err("it has no port that it may boot from (pxe_enabled)".into());
    }
    image_info(&turn.node, turn.settings).map_err(|unusable| unusable.to_string())?;
    agent_boot(&turn.node, turn.settings)
}

/// The agent's kernel, ramdisk and kernel line for this node.
pub(super) fn agent_boot(node: &Node, settings: &Settings) -> Result<Boot, String> {
    let choose = |key: &str, default: &Option<String>| match node.driver_info.get(key).and_then(|v| v.as_str()) {
        // It becomes a word of a boot script.
        Some(own) if own.is_empty() || !own.chars().all(|c| c.is_ascii_graphic()) => {
            Err(format!("driver_info's {key} {own:?} is neither a URL nor a path below the boot server's roots"))
        }
        Some(own) => Ok(own.to_owned()),
        None => default.clone().ok_or_else(|| format!("neither driver_info nor the configuration names a {key}")),
    };
    let kernel = choose("deploy_kernel", &settings.kernel)?;
    let ramdisk = choose("deploy_ramdisk", &settings.ramdisk)?;
    // The agent speaks plain HTTP to us and to bootd up to this version; from 1.68 on it would want TLS.
    // `initrd=` is not here: whoever renders the boot script knows under which name it loads the ramdisk.
    let mut cmdline = format!("ipa-api-url={} ipa-ironic-api-version=1.67", settings.agent_api_url);
    if !settings.kernel_append.is_empty() {
        cmdline = format!("{cmdline} {}", settings.kernel_append);
    }
    Ok(Boot::Agent { kernel, ramdisk, cmdline })
}

/// The machine is on and boots the agent.
pub(super) fn prepared(turn: &mut Turn) {
    turn.enter(ProvisionState::WaitCallBack, Some(ProvisionState::Active));
    let secs = turn.settings.deploy_callback_secs;
    turn.wait_in(
        Stage::AwaitAgent,
        secs,
        format!(
            "no agent called back within {secs} s of power on: see what the machine booted (its console, the boot trace), \
             and whether it reaches {}",
            turn.settings.agent_api_url
        ),
    );
    // A quick agent may have called before we wrote down that the power is on.
    if turn.node.work.agent.url.is_some() {
        agent_steps::list_steps(turn);
    }
}

/// The machine is off, its disk written.
pub(super) fn boot_instance(turn: &mut Turn) {
    turn.forget_agent();
    let secs = turn.settings.power_secs * 4 + 300;
    turn.wait_in(Stage::BootInstance, secs, format!("starting the instance took longer than {secs} s"));
    let macs = turn.node.work.macs.clone();
    turn.push(Effect::PutIntent { macs, boot: Boot::Disk });
    turn.push(Effect::EnsurePower { power: Power::On, soft: false });
}

/// The instance's machine is on.
pub(super) fn done(turn: &mut Turn) {
    turn.rest();
    turn.enter(ProvisionState::Active, None);
}

/// The deployment is given up. The machine is switched off and bootd told to forget it, as far as that is possible.
pub(super) fn failed(turn: &mut Turn, reason: String) {
    turn.rest();
    turn.note_error("error", &reason);
    turn.node.last_error = Some(reason);
    turn.enter(ProvisionState::DeployFailed, Some(ProvisionState::Active));
    let secs = turn.settings.power_secs * 2 + 120;
    turn.wait_in(Stage::CleanUp, secs, format!("cleaning up after the failed deployment took longer than {secs} s"));
    turn.push(Effect::EnsurePower { power: Power::Off, soft: false });
    let macs = turn.node.work.macs.clone();
    if !macs.is_empty() {
        turn.push(Effect::DeleteIntent { macs });
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::proto::node::Millis;

    #[test]
    fn a_node_may_bring_its_own_agent_but_no_line_of_a_script() {
        let settings = Settings::for_tests();
        let mut node = Node::new(1, Uuid::nil(), "ipmi", Millis(0));
        let default = Boot::Agent {
            kernel: "agent/vmlinuz".into(),
            ramdisk: "agent/initrd.zst".into(),
            cmdline: "ipa-api-url=http://10.77.2.1:6385 ipa-ironic-api-version=1.67 console=ttyS0".into(),
        };
        assert_eq!(agent_boot(&node, &settings), Ok(default));
        node.driver_info.insert("deploy_kernel".into(), "http://x/k".into());
        assert!(matches!(agent_boot(&node, &settings), Ok(Boot::Agent { kernel, .. }) if kernel == "http://x/k"));
        for wrong in ["", "k\nshell", "k init=/bin/sh"] {
            node.driver_info.insert("deploy_kernel".into(), wrong.into());
            assert!(agent_boot(&node, &settings).is_err(), "{wrong:?}");
        }
        node.driver_info.clear();
        let bare = Settings { kernel: None, ..settings };
        let missing = agent_boot(&node, &bare).unwrap_err();
        assert_eq!(missing, "neither driver_info nor the configuration names a deploy_kernel");
    }
}
