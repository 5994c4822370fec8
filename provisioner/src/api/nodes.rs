//! `/v1/nodes`: make, list, show, change, delete.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use reveille_config::limit::{NODES_MAX, PAGE_MAX};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::extract::{Json, Query};
use super::fields::{self, Shown};
use super::view::View;
use super::{Api, ApiError, patch};
use crate::proto::node::{Node, Note, ProvisionState, Severity};
use crate::store::{Change, Tables};

type Result<T> = std::result::Result<T, ApiError>;

/// Finds a node, or answers 404 with the name it was asked for.
pub(super) fn find<'a>(tables: &'a Tables, asked: &str) -> Result<&'a Arc<Node>> {
    tables.find_node(asked).ok_or_else(|| ApiError::no_node(asked))
}

pub(super) async fn list(State(api): State<Api>, view: View, query: Query) -> Result<Response> {
    list_as(&api, &view, query, Shown::Listed, "nodes")
}

pub(super) async fn list_detail(State(api): State<Api>, view: View, query: Query) -> Result<Response> {
    list_as(&api, &view, query, Shown::All, "nodes/detail")
}

/// What a node must be to be listed.
type Filter = Box<dyn Fn(&Node) -> bool>;

fn list_as(api: &Api, view: &View, mut query: Query, default: Shown, path: &str) -> Result<Response> {
    let fields = query.take("fields");
    let detail = query.take_bool("detail")?;
    let shown = Shown::read(fields.as_deref(), detail, default, view)?;
    let limit = match query.take_number("limit")? {
        None | Some(0) => PAGE_MAX,
        Some(limit) => usize::try_from(limit).unwrap_or(PAGE_MAX).min(PAGE_MAX),
    };
    let marker = query.take("marker");
    let sort_key = query.take("sort_key").unwrap_or_else(|| "id".into());
    let descending = match query.take("sort_dir").as_deref() {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(other) => {
            return Err(ApiError::invalid(format!(
                "Invalid sort direction: {other}. Acceptable values are 'asc' or 'desc'"
            )));
        }
    };
    let filters = filters(&mut query, view)?;
    query.end()?;
    let fits = |node: &&Arc<Node>| filters.iter().all(|filter| filter(node));

    let page: Vec<Arc<Node>> = api.store.read(|tables| {
        let after = match &marker {
            None => None,
            Some(uuid) => Some(find(tables, uuid)?),
        };
        if sort_key == "id" && !descending {
            return Ok(tables.nodes_after(after.map_or(0, |node| node.id)).filter(fits).take(limit).cloned().collect());
        }
        let mut all: Vec<&Arc<Node>> = tables.nodes().filter(fits).collect();
        if sort_key != "id" {
            let field = fields::find(&sort_key).ok_or_else(|| {
                ApiError::invalid(format!("The sort_key value \"{sort_key}\" is an invalid field for sorting"))
            })?;
            all.sort_by_cached_key(|node| sortable(&fields::value(field, node, view)));
        }
        if descending {
            all.reverse();
        }
        let from = after.and_then(|after| all.iter().position(|node| node.id == after.id)).map_or(0, |at| at + 1);
        Ok::<_, ApiError>(all.into_iter().skip(from).take(limit).cloned().collect())
    })?;
    let mut answer = Map::new();
    if page.len() == limit
        && let Some(last) = page.last()
    {
        let detail = if detail == Some(true) { "&detail=True" } else { "" };
        let fields = fields.map(|fields| format!("&fields={fields}")).unwrap_or_default();
        let next = format!("{}/v1/{path}?limit={limit}&marker={}{fields}{detail}", view.base, last.uuid);
        answer.insert("next".into(), json!(next));
    }
    let nodes: Vec<Value> = page.iter().map(|node| fields::show(node, &shown, view)).collect();
    answer.insert("nodes".into(), nodes.into());
    Ok(axum::Json(Value::Object(answer)).into_response())
}

/// A text by which a value sorts; `null` first.
fn sortable(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn filters(query: &mut Query, view: &View) -> Result<Vec<Filter>> {
    let mut filters: Vec<Filter> = Vec::new();
    if let Some(state) = query.take("provision_state") {
        view.version.require(9)?;
        filters.push(Box::new(move |node| node.provision_state.as_str() == state));
    }
    if let Some(driver) = query.take("driver") {
        filters.push(Box::new(move |node| node.driver == driver));
    }
    if let Some(maintenance) = query.take_bool("maintenance")? {
        filters.push(Box::new(move |node| node.maintenance == maintenance));
    }
    if let Some(associated) = query.take_bool("associated")? {
        filters.push(Box::new(move |node| node.attributes.contains_key("instance_uuid") == associated));
    }
    if let Some(retired) = query.take_bool("retired")? {
        filters.push(Box::new(move |node| (node.attributes.get("retired") == Some(&json!(true))) == retired));
    }
    for name in ["resource_class", "owner", "lessee", "conductor_group", "instance_uuid", "shard", "parent_node"] {
        if let Some(wanted) = query.take(name) {
            let field = fields::find(name).map_or(1, |field| field.since);
            view.version.require(field)?;
            filters.push(Box::new(move |node| {
                node.attributes.get(name).and_then(Value::as_str).unwrap_or_default() == wanted
            }));
        }
    }
    if let Some(words) = query.take("description_contains") {
        filters.push(Box::new(move |node| {
            node.attributes.get("description").and_then(Value::as_str).is_some_and(|text| text.contains(&words))
        }));
    }
    if let Some(conductor) = query.take("conductor") {
        let is_us = *view.conductor == *conductor;
        filters.push(Box::new(move |_| is_us));
    }
    if query.take("fault").is_some() {
        filters.push(Box::new(|_| false));
    }
    // Nothing of ours has children or a chassis.
    query.take_bool("include_children")?;
    if query.take("chassis_uuid").is_some() {
        filters.push(Box::new(|_| false));
    }
    Ok(filters)
}

pub(super) async fn show(
    State(api): State<Api>,
    view: View,
    Path(asked): Path<String>,
    mut query: Query,
) -> Result<Response> {
    let fields = query.take("fields");
    let shown = Shown::read(fields.as_deref(), None, Shown::All, &view)?;
    query.end()?;
    let node = api.store.read(|tables| find(tables, &asked).cloned())?;
    Ok(axum::Json(fields::show(&node, &shown, &view)).into_response())
}

pub(super) async fn create(State(api): State<Api>, view: View, Json(body): Json) -> Result<Response> {
    let Value::Object(mut body) = body else {
        return Err(ApiError::invalid("Schema error for node: the body is not of type 'object'"));
    };
    let uuid = match body.remove("uuid") {
        None | Some(Value::Null) => Uuid::new_v4(),
        Some(value) => value
            .as_str()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| ApiError::invalid(format!("Schema error for node: {value} is not a UUID")))?,
    };
    if !body.contains_key("driver") {
        return Err(ApiError::invalid("Schema error for node: 'driver' is a required property"));
    }
    let now = (api.now)();
    let mut node = Node::new(0, uuid, "", now);
    // Before 1.11 nodes began their life available.
    if view.version.0 < 11 {
        node.provision_state = ProvisionState::Available;
    }
    for (name, value) in body {
        let field = fields::find(&name).ok_or_else(|| {
            ApiError::invalid(format!(
                "Schema error for node: Additional properties are not allowed ('{name}' was unexpected)"
            ))
        })?;
        view.version.require(field.since)?;
        fields::set(&mut node, field, value).map_err(ApiError::invalid)?;
    }
    fields::check_interfaces(&node).map_err(ApiError::invalid)?;
    let made = move |tables: &Tables| -> Result<_> {
        let mut node = node;
        ApiError::check_room("nodes", tables.node_count(), NODES_MAX)?;
        if tables.node(node.uuid).is_some() {
            return Err(ApiError::conflict(format!("A node with UUID {} already exists.", node.uuid)));
        }
        check_unique(tables, &node)?;
        node.id = tables.next_node_id();
        let node = Arc::new(node);
        let mut change = Change::new();
        change.put_node(Arc::clone(&node));
        change.note(node.uuid, info("node", format!("made, in state {}", node.provision_state)), now);
        Ok((change, node))
    };
    let node = api.store.change(made).await??;
    let location = format!("{}/v1/nodes/{}", view.base, node.uuid);
    let body = axum::Json(fields::show(&node, &Shown::All, &view));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], body).into_response())
}

/// A name or an instance can belong to one node only.
fn check_unique(tables: &Tables, node: &Node) -> Result<()> {
    if let Some(name) = &node.name
        && tables.node_by_name(name).is_some_and(|other| other.uuid != node.uuid)
    {
        return Err(ApiError::conflict(format!("A node with name {name} already exists.")));
    }
    if let Some(instance) = node.attributes.get("instance_uuid") {
        let other = tables
            .nodes()
            .find(|other| other.uuid != node.uuid && other.attributes.get("instance_uuid") == Some(instance));
        if let Some(other) = other {
            return Err(ApiError::conflict(format!(
                "Instance {} is already associated with a node, it cannot be associated with this other node {}",
                instance.as_str().unwrap_or_default(),
                other.uuid
            )));
        }
    }
    Ok(())
}

fn info(kind: &'static str, text: String) -> Note {
    Note { kind, severity: Severity::Info, text }
}

pub(super) async fn change(
    State(api): State<Api>,
    view: View,
    Path(asked): Path<String>,
    mut query: Query,
    Json(operations): Json,
) -> Result<Response> {
    let resets = query.take_bool("reset_interfaces")?.unwrap_or(false);
    query.end()?;
    let now = (api.now)();
    let host = Arc::clone(&view.conductor);
    let version = view.version;
    let decide = move |tables: &Tables| -> Result<_> {
        let before = find(tables, &asked)?;
        if before.is_reserved() {
            return Err(ApiError::locked(before.uuid, &host));
        }
        let document = fields::document(before);
        let is_internal = |root: &str| fields::find(root).is_some_and(|field| !document.contains_key(field.name));
        let after = patch::apply(&document, &operations, &["driver"], is_internal)?;
        let mut node = Node::clone(before);
        let mut changed = Vec::new();
        if resets && after.get("driver") != document.get("driver") {
            fields::reset_interfaces(&mut node);
        }
        for (name, value) in after {
            if document.get(&name) == Some(&value) {
                continue;
            }
            let Some(field) = fields::find(&name) else { continue };
            version.require(field.since)?;
            fields::set(&mut node, field, value).map_err(ApiError::invalid)?;
            changed.push(name);
        }
        fields::check_interfaces(&node).map_err(ApiError::invalid)?;
        check_unique(tables, &node)?;
        if changed.is_empty() {
            return Ok((Change::new(), Arc::clone(before)));
        }
        node.updated_at = Some(now);
        let node = Arc::new(node);
        let mut change = Change::new();
        change.put_node(Arc::clone(&node));
        change.note(node.uuid, info("node", format!("changed: {}", changed.join(", "))), now);
        Ok((change, node))
    };
    let node = api.store.change(decide).await??;
    Ok(axum::Json(fields::show(&node, &Shown::All, &view)).into_response())
}

pub(super) async fn delete(State(api): State<Api>, view: View, Path(asked): Path<String>) -> Result<Response> {
    let host = Arc::clone(&view.conductor);
    let decide = move |tables: &Tables| -> Result<_> {
        let node = find(tables, &asked)?;
        // Even in maintenance: what a deployment has set up is taken back by ending it first.
        if node.is_reserved() || node.provision_state.is_transient() {
            return Err(ApiError::locked(node.uuid, &host));
        }
        if node.is_protected() {
            return Err(ApiError::protected(node.uuid));
        }
        if let Some(instance) = node.attributes.get("instance_uuid")
            && !node.maintenance
        {
            return Err(ApiError::conflict(format!(
                "Node {} is associated with instance {}.",
                node.uuid,
                instance.as_str().unwrap_or_default()
            )));
        }
        if !node.provision_state.may_be_deleted() && !node.maintenance {
            let valid =
                ProvisionState::ALL.into_iter().filter(|state| state.may_be_deleted()).map(ProvisionState::as_str);
            return Err(ApiError::conflict(format!(
                "Can not delete node \"{}\" while it is in provision state \"{}\". Valid provision states to perform \
                 deletion are: \"{}\", or set the node into maintenance mode",
                node.uuid,
                node.provision_state,
                valid.collect::<Vec<_>>().join(", ")
            )));
        }
        let mut change = Change::new();
        change.delete_node(tables, node);
        Ok((change, ()))
    };
    api.store.change(decide).await??;
    Ok(StatusCode::NO_CONTENT.into_response())
}
