//! `/v1/nodes/{node}/states`: provision state and power.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::Json;
use super::nodes::find;
use super::view::{View, maybe_time};
use super::{Api, ApiError};
use crate::proto::node::{PowerRequest, Request, Verb};

type Result<T> = std::result::Result<T, ApiError>;

pub(super) async fn show(State(api): State<Api>, Path(asked): Path<String>) -> Result<Response> {
    let node = api.store.read(|tables| find(tables, &asked).cloned())?;
    Ok(axum::Json(json!({
        "console_enabled": false,
        "last_error": node.last_error,
        "power_state": node.power_state,
        "provision_state": node.provision_state,
        "provision_updated_at": maybe_time(node.provision_updated_at),
        "target_power_state": node.target_power_state,
        "target_provision_state": node.target_provision_state,
        "raid_config": {},
        "target_raid_config": {},
        "boot_mode": null,
        "secure_boot": null,
    }))
    .into_response())
}

/// The body of `PUT …/states/provision`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProvisionBody {
    target: String,
    #[serde(default)]
    configdrive: Value,
    #[serde(default)]
    clean_steps: Value,
    #[serde(default)]
    deploy_steps: Value,
    #[serde(default)]
    service_steps: Value,
    #[serde(default)]
    rescue_password: Value,
    #[serde(default)]
    runbook: Value,
    #[serde(default)]
    disable_ramdisk: Value,
}

pub(super) async fn provision(
    State(api): State<Api>,
    view: View,
    Path(asked): Path<String>,
    body: Json,
) -> Result<Response> {
    let body: ProvisionBody = body.read("provision state")?;
    let extras = [
        ("clean_steps", &body.clean_steps),
        ("deploy_steps", &body.deploy_steps),
        ("service_steps", &body.service_steps),
        ("rescue_password", &body.rescue_password),
        ("runbook", &body.runbook),
        ("disable_ramdisk", &body.disable_ramdisk),
    ];
    if let Some((name, _)) = extras.into_iter().find(|(_, value)| !value.is_null()) {
        return Err(ApiError::invalid(format!(
            "\"{name}\" is not valid when setting target provision state to {}",
            body.target
        )));
    }
    let node = api.store.read(|tables| find(tables, &asked).cloned())?;
    let verb = Verb::from_name(&body.target).ok_or_else(|| {
        ApiError::invalid(format!(
            "The requested action \"{}\" can not be performed on node \"{}\" while it is in state \"{}\".",
            body.target, node.uuid, node.provision_state
        ))
    })?;
    let configdrive = match body.configdrive {
        Value::Null => None,
        Value::String(drive) if matches!(verb, Verb::Active | Verb::Rebuild) => Some(drive),
        Value::String(_) => {
            return Err(ApiError::invalid(
                "Adding a config drive is only supported when setting provision state to active or rebuild",
            ));
        }
        _ => {
            return Err(ApiError::invalid(
                "A config drive is taken as base64 of a gzipped image only, building one from data is not supported",
            ));
        }
    };
    ask(&api, &view, node.uuid, &asked, Request::Provision { verb, configdrive }).await
}

/// The body of `PUT …/states/power`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PowerBody {
    target: String,
    /// Seconds; ours come from the configuration.
    #[serde(default)]
    timeout: Option<u32>,
}

pub(super) async fn power(
    State(api): State<Api>,
    view: View,
    Path(asked): Path<String>,
    body: Json,
) -> Result<Response> {
    let body: PowerBody = body.read("power state")?;
    if body.timeout == Some(0) {
        return Err(ApiError::invalid("timeout: 0 is not valid, a positive number of seconds is expected"));
    }
    let node = api.store.read(|tables| find(tables, &asked).cloned())?;
    let wanted = match body.target.as_str() {
        "power on" => PowerRequest::On,
        "power off" => PowerRequest::Off,
        "soft power off" => PowerRequest::SoftOff,
        "rebooting" => PowerRequest::Reboot,
        "soft rebooting" => PowerRequest::SoftReboot,
        other => {
            return Err(ApiError::invalid(format!(
                "The requested action \"{other}\" can not be performed on node \"{}\" while it is in state \"{}\".",
                node.uuid, node.provision_state
            )));
        }
    };
    ask(&api, &view, node.uuid, &asked, Request::Power(wanted)).await
}

/// Asks the life cycle; 202 with the place where the state can be followed.
async fn ask(api: &Api, view: &View, node: uuid::Uuid, asked: &str, request: Request) -> Result<Response> {
    ask_life_cycle(api, view, node, asked, request).await?;
    let location = format!("{}/v1/nodes/{asked}/states", view.base);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)]).into_response())
}

/// Asks the life cycle, or says in Ironic's words why it refuses.
pub(super) async fn ask_life_cycle(
    api: &Api,
    view: &View,
    node: uuid::Uuid,
    asked: &str,
    request: Request,
) -> Result<std::sync::Arc<crate::proto::node::Node>> {
    let outcome = api.store.request(node, request, (api.now)(), api.settings.load_full()).await?;
    match outcome.ok_or_else(|| ApiError::no_node(asked))? {
        Ok(node) => Ok(node),
        Err(refusal) => {
            let node = api.store.read(|tables| tables.node(node).cloned()).ok_or_else(|| ApiError::no_node(asked))?;
            Err(ApiError::refused(refusal, &node, &view.conductor))
        }
    }
}
