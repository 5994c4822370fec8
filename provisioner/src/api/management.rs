//! `/v1/nodes/{node}/…`: maintenance, boot device, validate, history.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use reveille_config::limit::PAGE_MAX;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::extract::{Json, Query};
use super::nodes::find;
use super::states::ask_life_cycle;
use super::view::{View, time};
use super::{Api, ApiError};
use crate::proto::access::{Access, Interface};
use crate::proto::node::{BootDevice, Node, Note, Request, Severity, image_info};
use crate::store::{Change, Entry, Tables};

type Result<T> = std::result::Result<T, ApiError>;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct MaintenanceBody {
    #[serde(default)]
    reason: Option<String>,
}

pub(super) async fn set_maintenance(State(api): State<Api>, Path(asked): Path<String>, body: Json) -> Result<Response> {
    let body: MaintenanceBody = if body.0.is_null() { MaintenanceBody::default() } else { body.read("maintenance")? };
    change_maintenance(&api, asked, true, body.reason).await
}

pub(super) async fn end_maintenance(State(api): State<Api>, Path(asked): Path<String>) -> Result<Response> {
    change_maintenance(&api, asked, false, None).await
}

async fn change_maintenance(api: &Api, asked: String, maintenance: bool, reason: Option<String>) -> Result<Response> {
    let now = (api.now)();
    let decide = move |tables: &Tables| -> Result<_> {
        let before = find(tables, &asked)?;
        let mut node = Node::clone(before);
        node.maintenance = maintenance;
        node.maintenance_reason = reason;
        node.updated_at = Some(now);
        let text = match (maintenance, &node.maintenance_reason) {
            (true, Some(reason)) => format!("in maintenance: {reason}"),
            (true, None) => "in maintenance".into(),
            (false, _) => "out of maintenance".into(),
        };
        let mut change = Change::new();
        change.note(node.uuid, Note { kind: "maintenance", severity: Severity::Info, text }, now);
        change.put_node(Arc::new(node));
        Ok((change, ()))
    };
    api.store.change(decide).await??;
    Ok(StatusCode::ACCEPTED.into_response())
}

pub(super) async fn boot_devices() -> Response {
    let names: Vec<&str> = BootDevice::ALL.into_iter().map(BootDevice::as_str).collect();
    axum::Json(json!({ "supported_boot_devices": names })).into_response()
}

pub(super) async fn boot_device(State(api): State<Api>, Path(asked): Path<String>) -> Result<Response> {
    let node = api.store.read(|tables| find(tables, &asked).cloned())?;
    let (device, persistent) = match node.work.boot_device {
        Some((device, persistent)) => (Some(device.as_str()), Some(persistent)),
        None => (None, None),
    };
    Ok(axum::Json(json!({ "boot_device": device, "persistent": persistent })).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BootDeviceBody {
    boot_device: String,
    #[serde(default)]
    persistent: bool,
}

/// Answers once the BMC has taken it, as Ironic does.
pub(super) async fn set_boot_device(
    State(api): State<Api>,
    view: View,
    Path(asked): Path<String>,
    body: Json,
) -> Result<Response> {
    let body: BootDeviceBody = body.read("boot device")?;
    let device = BootDevice::from_name(&body.boot_device)
        .ok_or_else(|| ApiError::invalid(format!("Invalid boot device {} specified.", body.boot_device)))?;
    let node = api.store.read(|tables| find(tables, &asked).cloned())?;
    let request = Request::BootDevice { device, persistent: body.persistent };
    let after = ask_and_wait(&api, &view, node.uuid, &asked, request).await?;
    if after.work.boot_device == Some((device, body.persistent)) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let words = after.last_error.clone().unwrap_or_else(|| "the BMC did not take the boot device".into());
    Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, words))
}

/// Asks the life cycle, and waits until the BMC was told, or could not be; gives the node as it is then.
pub(super) async fn ask_and_wait(
    api: &Api,
    view: &View,
    node: Uuid,
    asked: &str,
    request: Request,
) -> Result<Arc<Node>> {
    let asked_at = ask_life_cycle(api, view, node, asked, request).await?;
    let effect = asked_at.work.pending.back().map(|pending| pending.id);
    let is_done = |tables: &Tables| {
        tables.node(node).is_none_or(|node| node.work.pending.iter().all(|pending| Some(pending.id) != effect))
    };
    let patience = Duration::from_secs(u64::from(api.settings.load().bmc_secs) * 2 + 10);
    let late = || ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "The BMC has not done it yet.");
    tokio::time::timeout(patience, api.store.wait_until(is_done)).await.map_err(|_| late())?;
    api.store.read(|tables| find(tables, asked).cloned())
}

/// What a deployment would need, by Ironic's interfaces.
pub(super) async fn validate(State(api): State<Api>, Path(asked): Path<String>) -> Result<Response> {
    let (node, ports) = api.store.read(|tables| -> Result<_> {
        let node = find(tables, &asked)?;
        Ok((Arc::clone(node), tables.ports_of(node.uuid)))
    })?;
    let settings = api.settings.load();
    let mut answer = Map::new();
    let mut put = |name: &str, outcome: std::result::Result<(), String>| {
        let value = match outcome {
            Ok(()) => json!({ "result": true }),
            Err(reason) => json!({ "result": false, "reason": reason }),
        };
        answer.insert(name.to_owned(), value);
    };
    let bmc = |interface| Access::of(&node, interface, &settings).map(drop);
    put("power", bmc(Interface::Power));
    put("management", bmc(Interface::Management));
    put("deploy", image_info(&node, &settings).map(drop).map_err(|unusable| unusable.to_string()));
    let names = |key: &str, default: &Option<String>| {
        if default.is_some() || node.driver_info.contains_key(key) {
            return Ok(());
        }
        Err(format!("neither driver_info nor the configuration names a {key}"))
    };
    put("boot", names("deploy_kernel", &settings.kernel).and_then(|()| names("deploy_ramdisk", &settings.ramdisk)));
    let boots = ports.iter().any(|port| port.pxe_enabled);
    put("network", boots.then_some(()).ok_or_else(|| "it has no port that it may boot from (pxe_enabled)".into()));
    put("storage", Ok(()));
    for name in ["bios", "console", "firmware", "inspect", "raid", "rescue"] {
        put(name, Err("not supported".into()));
    }
    Ok(axum::Json(Value::Object(answer)).into_response())
}

pub(super) async fn history(
    State(api): State<Api>,
    view: View,
    Path(asked): Path<String>,
    mut query: Query,
) -> Result<Response> {
    view.version.require(78)?;
    let detail = query.take_bool("detail")?.unwrap_or(false);
    let limit = query.take_number("limit")?.map_or(PAGE_MAX, |limit| usize::try_from(limit).unwrap_or(PAGE_MAX));
    let marker = query.take("marker");
    query.take("fields");
    query.take("sort_key");
    query.take("sort_dir");
    query.end()?;
    let node = api.store.read(|tables| find(tables, &asked).cloned())?;
    let entries = api.store.history(node.uuid).await?;
    let from = marker
        .and_then(|marker| entries.iter().position(|entry| entry.uuid.to_string() == marker))
        .map_or(0, |at| at + 1);
    let shown: Vec<Value> =
        entries[from..].iter().take(limit.max(1)).map(|entry| show_entry(entry, &view, detail)).collect();
    Ok(axum::Json(json!({ "history": shown })).into_response())
}

pub(super) async fn history_entry(
    State(api): State<Api>,
    view: View,
    Path((asked, wanted)): Path<(String, String)>,
) -> Result<Response> {
    view.version.require(78)?;
    let node = api.store.read(|tables| find(tables, &asked).cloned())?;
    let entries = api.store.history(node.uuid).await?;
    let entry = entries
        .iter()
        .find(|entry| entry.uuid.to_string() == wanted)
        .ok_or_else(|| ApiError::not_found(format!("Node history record {wanted} could not be found.")))?;
    Ok(axum::Json(show_entry(entry, &view, true)).into_response())
}

fn show_entry(entry: &Entry, view: &View, detail: bool) -> Value {
    let href = format!("{}/v1/nodes/{}/history/{}", view.base, entry.node, entry.uuid);
    let mut shown = json!({
        "uuid": entry.uuid,
        "created_at": time(entry.at),
        "severity": entry.severity,
        "event": entry.text,
        "links": [{ "href": href, "rel": "self" }],
    });
    if detail {
        shown["event_type"] = json!(entry.kind);
        shown["conductor"] = json!(*view.conductor);
        shown["user"] = Value::Null;
    }
    shown
}
