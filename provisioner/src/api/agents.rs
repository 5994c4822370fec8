//! `/v1/lookup` and `/v1/heartbeat/{node}`: what agents call. Nobody else's secrets are in the answers.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use metrics::counter;
use reveille_config::MacAddr;
use uuid::Uuid;

use super::extract::{Json, Query};
use super::{Api, ApiError, Version};
use crate::proto::agent::{self, Heartbeat};
use crate::proto::node::{Event, Node};
use crate::store::{Change, Tables};

type Result<T> = std::result::Result<T, ApiError>;

/// Interfaces that one lookup may name.
const ADDRESSES_MAX: usize = 256;

/// One 404 for all: whoever asks learns nothing about nodes that wait for nobody.
fn unknown() -> ApiError {
    counter!("reveille_provisioner_lookups_total", "outcome" => "unknown").increment(1);
    ApiError::not_found("Node could not be found.")
}

pub(super) async fn lookup(State(api): State<Api>, version: Version, mut query: Query) -> Result<Response> {
    version.require(22)?;
    let addresses = query.take("addresses").unwrap_or_default();
    let node_uuid = query.take("node_uuid");
    // Agents of other releases may add to it.
    let _ = query;
    // What is no Ethernet address (InfiniBand, say) is none of ours.
    let macs: Vec<MacAddr> =
        addresses.split(',').take(ADDRESSES_MAX).filter_map(|text| text.trim().parse().ok()).collect();
    if macs.is_empty() && node_uuid.is_none() {
        return Err(ApiError::invalid("Incomplete lookup: either addresses or node_uuid must be given."));
    }
    let node = api.store.read(|tables| find_expecting(tables, node_uuid.as_deref(), &macs).cloned());
    let node = node.ok_or_else(unknown)?;
    let settings = api.settings.load_full();
    // Decided in the store's own order, so that of two askers only one is first.
    let fresh = fresh_token()?;
    let (now, uuid) = ((api.now)(), node.uuid);
    let decide = {
        let settings = settings.clone();
        move |tables: &Tables| -> std::result::Result<_, ()> {
            let node = tables.node(uuid).filter(|node| agent::expects_agent(node)).ok_or(())?;
            if node.work.agent.token.is_some() {
                return Ok((Change::new(), (std::sync::Arc::clone(node), None)));
            }
            let (change, after) = Change::of_event(tables, node, Event::Token(fresh.clone()), now, &settings);
            Ok((change, (after, Some(fresh))))
        }
    };
    let (node, token) = api.store.change(decide).await?.map_err(|()| unknown())?;
    let outcome = if token.is_some() { "first" } else { "again" };
    counter!("reveille_provisioner_lookups_total", "outcome" => outcome).increment(1);
    Ok(axum::Json(agent::lookup_answer(&node, token.as_deref(), &settings)).into_response())
}

/// The node that is meant, if it waits for its agent. Interfaces of two nodes mean none.
fn find_expecting<'a>(
    tables: &'a Tables,
    node_uuid: Option<&str>,
    macs: &[MacAddr],
) -> Option<&'a std::sync::Arc<Node>> {
    let node = match node_uuid {
        Some(text) => tables.node(text.parse().ok()?)?,
        None => {
            let mut uuids: Vec<Uuid> =
                macs.iter().filter_map(|mac| tables.port_by_mac(*mac)).map(|port| port.node_uuid).collect();
            uuids.sort_unstable();
            uuids.dedup();
            match uuids.as_slice() {
                [uuid] => tables.node(*uuid)?,
                _ => return None,
            }
        }
    };
    agent::expects_agent(node).then_some(node)
}

/// 256 random bits, hexadecimal.
fn fresh_token() -> Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, format!("no random numbers: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(super) async fn heartbeat(
    State(api): State<Api>,
    version: Version,
    Path(asked): Path<String>,
    body: Json,
) -> Result<Response> {
    version.require(22)?;
    let heartbeat: Heartbeat = body.read("heartbeat")?;
    let settings = api.settings.load_full();
    let now = (api.now)();
    let decide = move |tables: &Tables| -> Result<_> {
        let node = tables.find_node(&asked).ok_or_else(|| ApiError::no_node(&asked))?;
        if let Err(refused) = agent::check_heartbeat(node, &heartbeat, &settings) {
            counter!("reveille_provisioner_heartbeats_total", "outcome" => refused.label()).increment(1);
            tracing::warn!(node = %node.uuid, reason = %refused, "a heartbeat was refused");
            return Err(ApiError::invalid(refused.to_string()));
        }
        let event = Event::Heartbeat { url: heartbeat.callback_url, version: heartbeat.agent_version };
        Ok((Change::of_event(tables, node, event, now, &settings).0, ()))
    };
    api.store.change(decide).await??;
    counter!("reveille_provisioner_heartbeats_total", "outcome" => "ok").increment(1);
    Ok(StatusCode::ACCEPTED.into_response())
}
