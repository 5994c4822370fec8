//! The ironic-python-agent's protocol, as decisions: who may call, what is answered, what a command looks like.
//!
//! The agent calls us (lookup, heartbeat) and we call it (commands). It is not trusted: what it says is checked against what
//! is known of the node, and refused with the status codes a real Ironic would use ([`Refused`]).
//!
//! Invariants: a token is given out once per boot of the agent; a call-back address never changes while a token is valid and
//! lies in the configured networks, so that we never call elsewhere than into the provisioning network.

use std::net::{Ipv4Addr, SocketAddrV4};

use serde_json::{Map, Value, json};

use super::node::{AgentCommand, CommandStatus, Effect, Node, Port, Power, Settings, Stage};

/// The token as everybody but the first asker sees it.
pub const MASKED: &str = "******";

/// Whether the node waits for its agent, so that lookups are answered. In any other state they get the 404 of an unknown node.
///
/// While a deployment still has to cut the power, whoever runs on the machine is not the agent we wait for.
pub fn expects_agent(node: &Node) -> bool {
    match node.work.stage {
        Stage::Prepare => {
            let cut = |effect: &Effect| matches!(effect, Effect::EnsurePower { power: Power::Off, .. });
            !node.work.pending.iter().any(|pending| cut(&pending.effect))
        }
        Stage::AwaitAgent
        | Stage::ListSteps
        | Stage::Write(_)
        | Stage::ReadPartitions
        | Stage::InstallBootloader(_)
        | Stage::TearDownAgent => true,
        _ => false,
    }
}

/// A heartbeat's body.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Where the agent listens.
    pub callback_url: String,
    /// What it was given at lookup.
    #[serde(default)]
    pub agent_token: Option<String>,
    /// Its version.
    #[serde(default)]
    pub agent_version: Option<String>,
    /// Its TLS certificate; sent only where the kernel line did not ask for an older version.
    #[serde(default)]
    pub agent_verify_ca: Option<String>,
    /// `start`, `end`, `error`: what it is about, from agents of other releases.
    #[serde(default)]
    pub agent_status: Option<String>,
    /// More words.
    #[serde(default)]
    pub agent_status_message: Option<String>,
}

/// Why a heartbeat is refused. All are answered with 400, as a real Ironic does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No token.
    #[error("Agent token is required for heartbeat processing.")]
    NoToken,
    /// Not the token that the node's agent was given.
    #[error("Invalid or missing agent token received.")]
    Token,
    /// The agent listens elsewhere than before.
    #[error("Detected change in ramdisk provided \"callback_url\"")]
    CallbackChanged,
    /// Not `http://address:port`.
    #[error(
        "callback_url must be http://IPv4-address:port (the kernel line's ipa-ironic-api-version=1.67 keeps the agent from TLS)"
    )]
    CallbackForm,
    /// Outside the networks agents may be in.
    #[error("callback_url lies outside the networks that agents may be in (agent_networks)")]
    CallbackNetwork,
}

impl Refused {
    /// The name used as a metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::Token => "wrong_token",
            Self::CallbackChanged => "callback_changed",
            Self::CallbackForm => "callback_form",
            Self::CallbackNetwork => "callback_network",
        }
    }
}

/// Checks a heartbeat.
pub fn check_heartbeat(node: &Node, heartbeat: &Heartbeat, settings: &Settings) -> Result<(), Refused> {
    let token = heartbeat.agent_token.as_deref().ok_or(Refused::NoToken)?;
    let known = node.work.agent.token.as_deref().ok_or(Refused::Token)?;
    if !equal_in_constant_time(token.as_bytes(), known.as_bytes()) {
        return Err(Refused::Token);
    }
    if node.work.agent.url.as_ref().is_some_and(|url| *url != heartbeat.callback_url) {
        return Err(Refused::CallbackChanged);
    }
    let address = callback_address(&heartbeat.callback_url).ok_or(Refused::CallbackForm)?;
    if !settings.agent_networks.iter().any(|network| network.contains(address.ip())) {
        return Err(Refused::CallbackNetwork);
    }
    Ok(())
}

/// The address in `http://IPv4-address:port`, with or without a slash at the end; `None` for anything else.
pub fn callback_address(url: &str) -> Option<SocketAddrV4> {
    let rest = url.strip_prefix("http://")?;
    let (address, port) = rest.strip_suffix('/').unwrap_or(rest).split_once(':')?;
    if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let address: Ipv4Addr = address.parse().ok()?;
    let port: u16 = port.parse().ok()?;
    (port != 0).then(|| SocketAddrV4::new(address, port))
}

/// Compares without telling by the time it takes where the first difference is.
fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

/// The answer to a lookup. `token` is given to the first asker only.
pub fn lookup_answer(node: &Node, token: Option<&str>, settings: &Settings) -> Value {
    json!({
        "node": {
            "uuid": node.uuid,
            "properties": node.properties,
            "instance_info": {},
            "driver_internal_info": { "agent_secret_token": MASKED },
            "links": [],
        },
        "config": {
            "metrics": {
                "backend": "noop", "prepend_host": false, "prepend_uuid": false, "prepend_host_reverse": true,
                "global_prefix": null,
            },
            "metrics_statsd": { "statsd_host": "localhost", "statsd_port": 8125 },
            "heartbeat_timeout": settings.heartbeat_secs,
            "agent_token": token.unwrap_or(MASKED),
            "agent_token_required": true,
            "agent_md5_checksum_enable": false,
            "disable_deep_image_inspection": false,
            "permitted_image_formats": ["raw", "gpt", "qcow2", "iso"],
            "agent_skip_bmc_detect": true,
            "enable_bios_bootloader_install": false,
            "tls_min_version": "1.3",
            "agent_containers": {},
        },
    })
}

/// The body of `POST /v1/commands/`.
pub fn command_body(node: &Node, ports: &[Port], command: &AgentCommand) -> Value {
    let params = match command {
        AgentCommand::GetDeploySteps => json!({ "node": agent_node(node), "ports": agent_ports(ports) }),
        AgentCommand::WriteImage { image, configdrive, version } => {
            let mut args = json!({ "image_info": {
                "id": image.id,
                "urls": [image.url],
                "os_hash_algo": image.hash_algorithm,
                "os_hash_value": image.hash,
                "disk_format": image.disk_format,
                "container_format": "bare",
                "stream_raw_images": image.disk_format == "raw",
                "image_type": "whole-disk",
                "node_uuid": node.uuid,
                "deploy_boot_mode": boot_mode(node),
            } });
            if let Some(drive) = configdrive {
                args["configdrive"] = json!(drive);
            }
            json!({
                "step": { "interface": "deploy", "step": "write_image", "priority": 80, "args": args },
                "node": agent_node(node),
                "ports": agent_ports(ports),
                "deploy_version": version,
            })
        }
        AgentCommand::InstallBootloader { root_uuid, efi_uuid } => json!({
            "root_uuid": root_uuid,
            "efi_system_part_uuid": efi_uuid,
            "prep_boot_part_uuid": null,
            "target_boot_mode": boot_mode(node),
            "ignore_bootloader_failure": false,
        }),
        AgentCommand::GetPartitionUuids | AgentCommand::PowerOff => json!({}),
    };
    json!({ "name": command.name(), "params": params })
}

fn boot_mode(node: &Node) -> &'static str {
    if node.boots_by_uefi() { "uefi" } else { "bios" }
}

/// The node as the agent sees it: without `driver_info`, and without what `instance_info` hides from everybody.
fn agent_node(node: &Node) -> Value {
    let instance_info: Map<String, Value> = node
        .instance_info
        .iter()
        .filter(|(key, _)| *key != "configdrive")
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    json!({
        "id": node.id,
        "uuid": node.uuid,
        "name": node.name,
        "driver": node.driver,
        "driver_info": {},
        "driver_internal_info": {},
        "properties": node.properties,
        "instance_info": instance_info,
        "extra": node.extra,
        "provision_state": node.provision_state,
        "target_provision_state": node.target_provision_state,
        "power_state": node.power_state,
        "deploy_interface": "direct",
        "raid_config": {},
        "target_raid_config": {},
    })
}

fn agent_ports(ports: &[Port]) -> Vec<Value> {
    let port = |port: &Port| {
        json!({
            "id": port.id,
            "uuid": port.uuid,
            "node_uuid": port.node_uuid,
            "address": port.address,
            "pxe_enabled": port.pxe_enabled,
            "physical_network": port.physical_network,
            "local_link_connection": port.local_link_connection,
            "extra": port.extra,
        })
    };
    ports.iter().map(port).collect()
}

/// The agent's own entry for `command`, where it has been sent it already: then it is not sent again.
///
/// The agent's list lives as long as its boot, and a boot sees at most one deployment.
pub fn already_sent<'a>(commands: &'a [CommandStatus], command: &AgentCommand) -> Option<&'a CommandStatus> {
    let name = command.name().rsplit('.').next()?;
    let is_it = |status: &&CommandStatus| {
        status.command_name == name
            && match command {
                AgentCommand::WriteImage { .. } => {
                    let step = &status.command_result["deploy_step"]["step"];
                    step.is_null() || step == "write_image"
                }
                AgentCommand::InstallBootloader { .. } => true,
                _ => false,
            }
    };
    commands.iter().rev().find(is_it)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::proto::node::{CommandState, ImageInfo, Millis};

    fn waiting_node() -> Node {
        let mut node = Node::new(1, Uuid::nil(), "ipmi", Millis(0));
        node.work.stage = Stage::AwaitAgent;
        node.work.agent.token = Some("t".repeat(43));
        node
    }

    fn heartbeat(url: &str, token: Option<&str>) -> Heartbeat {
        Heartbeat {
            callback_url: url.into(),
            agent_token: token.map(str::to_owned),
            agent_version: None,
            agent_verify_ca: None,
            agent_status: None,
            agent_status_message: None,
        }
    }

    #[test]
    fn a_lying_agent_is_refused_with_the_reason() {
        let token = "t".repeat(43);
        let mut known = waiting_node();
        known.work.agent.url = Some("http://10.77.2.9:9999".into());
        let mut unasked = waiting_node();
        unasked.work.agent.token = None;
        let fresh = waiting_node();
        let good = "http://10.77.2.9:9999";
        let cases = [
            (&fresh, good, Some(token.as_str()), Ok(())),
            (&known, good, Some(&token), Ok(())),
            (&fresh, good, None, Err(Refused::NoToken)),
            (&fresh, good, Some("******"), Err(Refused::Token)),
            (&unasked, good, Some(&token), Err(Refused::Token)),
            (&known, "http://10.77.2.10:9999", Some(&token), Err(Refused::CallbackChanged)),
            (&fresh, "https://10.77.2.9:9999", Some(&token), Err(Refused::CallbackForm)),
            (&fresh, "http://metadata.local:80", Some(&token), Err(Refused::CallbackForm)),
            (&fresh, "http://10.77.2.9:9999/v1/x", Some(&token), Err(Refused::CallbackForm)),
            (&fresh, "http://u@10.77.2.9:9999", Some(&token), Err(Refused::CallbackForm)),
            (&fresh, "http://10.77.2.9:+80", Some(&token), Err(Refused::CallbackForm)),
            (&fresh, "http://127.0.0.1:6385", Some(&token), Err(Refused::CallbackNetwork)),
            (&fresh, "http://169.254.169.254:80", Some(&token), Err(Refused::CallbackNetwork)),
        ];
        let settings = Settings::for_tests();
        for (node, url, token, outcome) in cases {
            assert_eq!(check_heartbeat(node, &heartbeat(url, token), &settings), outcome, "{url} {token:?}");
        }
    }

    #[test]
    fn a_command_that_was_sent_before_a_crash_is_found_again() {
        let status = |name: &str, result: Value| CommandStatus {
            id: "1".into(),
            command_name: name.into(),
            command_status: CommandState::Running,
            command_error: Value::Null,
            command_result: result,
        };
        let image = ImageInfo {
            id: "os".into(),
            url: "http://x/os".into(),
            hash_algorithm: "sha256".into(),
            hash: "a".repeat(64),
            disk_format: "raw".into(),
        };
        let write = AgentCommand::WriteImage { image, configdrive: None, version: Value::Null };
        let listed = status("get_deploy_steps", json!({}));
        assert_eq!(already_sent(std::slice::from_ref(&listed), &write), None);
        for entry in [
            status("execute_deploy_step", Value::Null),
            status("execute_deploy_step", json!({ "deploy_step": { "step": "write_image" } })),
        ] {
            assert_eq!(already_sent(&[listed.clone(), entry.clone()], &write), Some(&entry));
        }
        let other = status("execute_deploy_step", json!({ "deploy_step": { "step": "inject_files" } }));
        assert_eq!(already_sent(&[other], &write), None);
        assert_eq!(already_sent(&[listed], &AgentCommand::GetDeploySteps), None, "harmless twice");
    }

    #[test]
    fn commands_carry_no_secret() {
        let mut node = waiting_node();
        node.driver_info.insert("ipmi_password".into(), json!("hunter2"));
        node.instance_info.insert("configdrive".into(), json!("hunter2"));
        let body = command_body(&node, &[], &AgentCommand::GetDeploySteps).to_string();
        assert!(!body.contains("hunter2") && !body.contains(&"t".repeat(43)));
    }
}
