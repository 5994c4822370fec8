//! `/v1/ports`: make, list, show, change, delete.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use reveille_config::MacAddr;
use reveille_config::limit::{PAGE_MAX, PORTS_PER_NODE_MAX};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::extract::{Json, Query};
use super::nodes::find as find_node;
use super::view::{View, maybe_time, time};
use super::{Api, ApiError, patch};
use crate::proto::node::{Node, Note, Port, ProvisionState, Severity};
use crate::store::{Change, Tables};

type Result<T> = std::result::Result<T, ApiError>;

/// Fields, and the first version that has each.
const FIELDS: &[(&str, u16)] = &[
    ("uuid", 1),
    ("created_at", 1),
    ("updated_at", 1),
    ("address", 1),
    ("extra", 1),
    ("internal_info", 18),
    ("is_smartnic", 53),
    ("local_link_connection", 19),
    ("physical_network", 34),
    ("pxe_enabled", 19),
    ("node_uuid", 1),
    ("name", 88),
    ("description", 97),
    ("vendor", 100),
    ("category", 101),
    ("available_for_dynamic_portgroup", 103),
    ("links", 1),
    ("portgroup_uuid", 24),
];

/// Those that people may set, besides the ones with a type.
const ATTRIBUTES: &[(&str, Value)] = &[
    ("is_smartnic", Value::Bool(false)),
    ("description", Value::Null),
    ("vendor", Value::Null),
    ("category", Value::Null),
    ("available_for_dynamic_portgroup", Value::Bool(true)),
];

fn find<'a>(tables: &'a Tables, asked: &str) -> Result<&'a Arc<Port>> {
    let by_uuid = asked.parse().ok().and_then(|uuid: Uuid| tables.port(uuid));
    let found = by_uuid.or_else(|| tables.ports().find(|port| port.name.as_deref() == Some(asked)));
    found.ok_or_else(|| ApiError::no_port(asked))
}

fn show_port(port: &Port, shown: Option<&[String]>, view: &View) -> Value {
    let value = |name: &str| match name {
        "uuid" => json!(port.uuid),
        "created_at" => time(port.created_at),
        "updated_at" => maybe_time(port.updated_at),
        "address" => json!(port.address),
        "extra" => json!(port.extra),
        "internal_info" => json!({}),
        "local_link_connection" => json!(port.local_link_connection),
        "physical_network" => json!(port.physical_network),
        "pxe_enabled" => json!(port.pxe_enabled),
        "node_uuid" => json!(port.node_uuid),
        "name" => json!(port.name),
        "links" => view.links(&format!("ports/{}", port.uuid)),
        _ => {
            let default = || ATTRIBUTES.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
            port.attributes.get(name).cloned().or_else(default).unwrap_or(Value::Null)
        }
    };
    let is_shown = |name: &str| shown.is_none_or(|shown| name == "links" || shown.iter().any(|wanted| wanted == name));
    let fields = FIELDS.iter().filter(|(name, since)| *since <= view.version.0 && is_shown(name));
    Value::Object(fields.map(|(name, _)| ((*name).to_owned(), value(name))).collect())
}

pub(super) async fn list(State(api): State<Api>, view: View, query: Query) -> Result<Response> {
    list_as(&api, &view, query, None, false)
}

pub(super) async fn list_detail(State(api): State<Api>, view: View, query: Query) -> Result<Response> {
    list_as(&api, &view, query, None, true)
}

pub(super) async fn list_of_node(
    State(api): State<Api>,
    view: View,
    Path(node): Path<String>,
    query: Query,
) -> Result<Response> {
    list_as(&api, &view, query, Some(node), false)
}

pub(super) async fn list_of_node_detail(
    State(api): State<Api>,
    view: View,
    Path(node): Path<String>,
    query: Query,
) -> Result<Response> {
    list_as(&api, &view, query, Some(node), true)
}

fn list_as(api: &Api, view: &View, mut query: Query, node: Option<String>, all: bool) -> Result<Response> {
    let detail = query.take_bool("detail")?.unwrap_or(all);
    let shown: Option<Vec<String>> = match query.take("fields") {
        Some(fields) => {
            let fields: Vec<String> = fields.split(',').map(|name| name.trim().to_owned()).collect();
            if let Some(unknown) = fields.iter().find(|name| !FIELDS.iter().any(|(known, _)| known == name)) {
                return Err(ApiError::invalid(format!("Field(s) \"{unknown}\" are not valid")));
            }
            Some(fields)
        }
        None if detail => None,
        None => Some(vec!["uuid".into(), "address".into()]),
    };
    let node = node.or_else(|| query.take("node")).or_else(|| query.take("node_uuid"));
    let address = query.take("address").map(|text| read_mac(&text)).transpose()?;
    let limit = match query.take_number("limit")? {
        None | Some(0) => PAGE_MAX,
        Some(limit) => usize::try_from(limit).unwrap_or(PAGE_MAX).min(PAGE_MAX),
    };
    let marker = query.take("marker");
    // Listed in the order they were made; there is nothing else to sort a few ports by.
    query.take("sort_key");
    query.take("sort_dir");
    let in_group = query.take("portgroup").is_some();
    query.end()?;
    let page: Vec<Value> = api.store.read(|tables| -> Result<_> {
        let node = node.as_deref().map(|asked| find_node(tables, asked)).transpose()?.map(|node| node.uuid);
        let after = marker.as_deref().map(|asked| find(tables, asked)).transpose()?.map_or(0, |port| port.id);
        let fits = |port: &Port| {
            port.id > after
                && !in_group
                && node.is_none_or(|node| port.node_uuid == node)
                && address.is_none_or(|address| port.address == address)
        };
        let show = |port: &Port| show_port(port, shown.as_deref(), view);
        Ok(match node {
            Some(node) => tables.ports_of(node).iter().filter(|port| fits(port)).take(limit).map(show).collect(),
            None => tables.ports().filter(|port| fits(port)).take(limit).map(|port| show(port)).collect(),
        })
    })?;
    let mut answer = Map::new();
    if page.len() == limit
        && let Some(last) = page.last().and_then(|port| port["uuid"].as_str())
    {
        answer.insert("next".into(), json!(format!("{}/v1/ports?limit={limit}&marker={last}", view.base)));
    }
    answer.insert("ports".into(), page.into());
    Ok(axum::Json(Value::Object(answer)).into_response())
}

pub(super) async fn show(
    State(api): State<Api>,
    view: View,
    Path(asked): Path<String>,
    mut query: Query,
) -> Result<Response> {
    let fields: Option<Vec<String>> = query.take("fields").map(|fields| fields.split(',').map(str::to_owned).collect());
    query.end()?;
    let port = api.store.read(|tables| find(tables, &asked).cloned())?;
    Ok(axum::Json(show_port(&port, fields.as_deref(), &view)).into_response())
}

pub(super) async fn create(State(api): State<Api>, view: View, Json(body): Json) -> Result<Response> {
    let Value::Object(mut body) = body else {
        return Err(ApiError::invalid("Schema error for port: the body is not of type 'object'"));
    };
    let mut need = |name: &str| {
        body.remove(name)
            .ok_or_else(|| ApiError::invalid(format!("Schema error for port: '{name}' is a required property")))
    };
    let address = read_mac_value(&need("address")?)?;
    let node_uuid = need("node_uuid")?;
    let node_uuid = node_uuid.as_str().unwrap_or_default().to_owned();
    let uuid = match body.remove("uuid") {
        None | Some(Value::Null) => Uuid::new_v4(),
        Some(value) => value
            .as_str()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| ApiError::invalid(format!("Schema error for port: {value} is not a UUID")))?,
    };
    let now = (api.now)();
    let mut port = Port {
        id: 0,
        uuid,
        node_uuid: Uuid::nil(),
        address,
        name: None,
        pxe_enabled: true,
        physical_network: None,
        local_link_connection: Map::new(),
        extra: Map::new(),
        attributes: Default::default(),
        created_at: now,
        updated_at: None,
    };
    for (name, value) in body {
        set(&mut port, &name, value)?;
    }
    let decide = move |tables: &Tables| -> Result<_> {
        let mut port = port;
        // Ironic answers 400 here, as the node is not what was asked for.
        let node = tables
            .find_node(&node_uuid)
            .ok_or_else(|| ApiError::invalid(format!("Node {node_uuid} could not be found.")))?;
        port.node_uuid = node.uuid;
        ApiError::check_room("ports of this node", tables.port_count(node.uuid), PORTS_PER_NODE_MAX)?;
        if tables.port(port.uuid).is_some() {
            return Err(ApiError::conflict(format!("A port with UUID {} already exists.", port.uuid)));
        }
        check_unique(tables, &port)?;
        port.id = tables.next_port_id();
        let port = Arc::new(port);
        let mut change = Change::new();
        change.put_port(Arc::clone(&port));
        let text = format!("port {} added", port.address);
        change.note(port.node_uuid, Note { kind: "port", severity: Severity::Info, text }, now);
        Ok((change, port))
    };
    let port = api.store.change(decide).await??;
    let location = format!("{}/v1/ports/{}", view.base, port.uuid);
    let body = axum::Json(show_port(&port, None, &view));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], body).into_response())
}

pub(super) async fn change(
    State(api): State<Api>,
    view: View,
    Path(asked): Path<String>,
    Json(operations): Json,
) -> Result<Response> {
    let now = (api.now)();
    let host = Arc::clone(&view.conductor);
    let decide = move |tables: &Tables| -> Result<_> {
        let before = find(tables, &asked)?;
        check_may_change(tables, before, &host)?;
        let mut document = Map::new();
        for (name, value) in [
            ("address", json!(before.address)),
            ("extra", json!(before.extra)),
            ("local_link_connection", json!(before.local_link_connection)),
            ("physical_network", json!(before.physical_network)),
            ("pxe_enabled", json!(before.pxe_enabled)),
            ("name", json!(before.name)),
            ("portgroup_uuid", Value::Null),
        ] {
            document.insert(name.into(), value);
        }
        for (name, default) in ATTRIBUTES {
            let value = before.attributes.get(*name).cloned().unwrap_or_else(|| default.clone());
            document.insert((*name).into(), value);
        }
        let is_internal = |root: &str| !document.contains_key(root) && FIELDS.iter().any(|(known, _)| *known == root);
        let after = patch::apply(&document, &operations, &["address"], is_internal)?;
        let mut port = Port::clone(before);
        for (name, value) in after {
            if document.get(&name) != Some(&value) {
                set(&mut port, &name, value)?;
            }
        }
        check_unique(tables, &port)?;
        port.updated_at = Some(now);
        let port = Arc::new(port);
        let mut change = Change::new();
        change.put_port(Arc::clone(&port));
        Ok((change, port))
    };
    let port = api.store.change(decide).await??;
    Ok(axum::Json(show_port(&port, None, &view)).into_response())
}

pub(super) async fn delete(State(api): State<Api>, view: View, Path(asked): Path<String>) -> Result<Response> {
    let now = (api.now)();
    let host = Arc::clone(&view.conductor);
    let decide = move |tables: &Tables| -> Result<_> {
        let port = find(tables, &asked)?;
        check_may_change(tables, port, &host)?;
        let mut change = Change::new();
        change.delete_port(port);
        let text = format!("port {} deleted", port.address);
        change.note(port.node_uuid, Note { kind: "port", severity: Severity::Info, text }, now);
        Ok((change, ()))
    };
    api.store.change(decide).await??;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A port is left alone while a deployment depends on it.
fn check_may_change(tables: &Tables, port: &Port, host: &str) -> Result<()> {
    let Some(node) = tables.node(port.node_uuid) else { return Ok(()) };
    let node: &Node = node;
    if node.is_reserved() {
        return Err(ApiError::locked(node.uuid, host));
    }
    let in_use = matches!(node.provision_state, ProvisionState::WaitCallBack | ProvisionState::Active);
    if in_use && !node.maintenance {
        return Err(ApiError::conflict(format!(
            "Cannot change port {} of node {} while it is in state \"{}\": set it into maintenance mode first.",
            port.address, node.uuid, node.provision_state
        )));
    }
    Ok(())
}

fn check_unique(tables: &Tables, port: &Port) -> Result<()> {
    if tables.port_by_mac(port.address).is_some_and(|other| other.uuid != port.uuid) {
        return Err(ApiError::conflict(format!("A port with MAC address {} already exists.", port.address)));
    }
    if let Some(name) = &port.name
        && tables.ports().any(|other| other.uuid != port.uuid && other.name.as_ref() == Some(name))
    {
        return Err(ApiError::conflict(format!("A port with name {name} already exists.")));
    }
    Ok(())
}

fn set(port: &mut Port, name: &str, value: Value) -> Result<()> {
    let wrong = |wanted: &str| ApiError::invalid(format!("{name}: {wanted} is expected"));
    let object = |value: Value| match value {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        _ => Err(wrong("an object")),
    };
    let text = |value: Value| match value {
        Value::String(text) if text.len() <= 255 => Ok(Some(text)),
        Value::Null => Ok(None),
        _ => Err(wrong("a text of at most 255 octets")),
    };
    match name {
        "address" => port.address = read_mac_value(&value)?,
        "name" => port.name = text(value)?,
        "physical_network" => port.physical_network = text(value)?,
        "pxe_enabled" => port.pxe_enabled = value.as_bool().ok_or_else(|| wrong("true or false"))?,
        "extra" => port.extra = object(value)?,
        "local_link_connection" => port.local_link_connection = object(value)?,
        "portgroup_uuid" if value.is_null() => {}
        "portgroup_uuid" => return Err(ApiError::invalid("Port groups are not supported.")),
        "is_smartnic" | "available_for_dynamic_portgroup" => {
            let value = value.as_bool().ok_or_else(|| wrong("true or false"))?;
            port.attributes.insert(name.into(), value.into());
        }
        "description" | "vendor" | "category" => {
            let value = text(value)?;
            port.attributes.insert(name.into(), json!(value));
        }
        _ => {
            return Err(ApiError::invalid(format!(
                "Schema error for port: Additional properties are not allowed ('{name}' was unexpected)"
            )));
        }
    }
    Ok(())
}

fn read_mac(text: &str) -> Result<MacAddr> {
    text.parse().map_err(|_| ApiError::invalid(format!("Expected a MAC address but received {text}.")))
}

fn read_mac_value(value: &Value) -> Result<MacAddr> {
    read_mac(value.as_str().unwrap_or(&value.to_string()))
}
