//! `/v1/reservations`: put and deleted through the worker that owns the machine; answered once durable and in force.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use reveille_config::MacAddr;
use reveille_config::dto::dhcpd::{Origin, Page, Reservation as Shown, ReservationPut};
use tokio::sync::oneshot;

use super::body::{Body, Query, mac};
use super::leases::durable;
use super::problem::ApiError;
use super::{ApiState, page, unix_now};
use crate::proto::scope::{self, Machine, Reservation, ScopeIndex, with_hostname};
use crate::store::model::RowState;
use crate::store::queue::{QueueFull, Request};
use crate::store::reservation::{Put, PutError, ReservationDraft, may_reserve};

/// The longest wait for a worker's answer.
const ANSWER_WAIT: Duration = Duration::from_secs(8);
/// RFC 1035 §2.3.4.
const HOSTNAME_BYTES_MAX: usize = 253;
/// Octets of a node's id.
const NODE_BYTES_MAX: usize = 255;

/// Puts a reservation; the same again is no change.
pub async fn put(
    State(state): State<Arc<ApiState>>,
    Path(which): Path<String>,
    Body(body): Body<ReservationPut>,
) -> Result<(StatusCode, Json<Shown>), ApiError> {
    let machine = Machine { mac: mac(&which)?, scope: scope_for(&state, body.scope.as_deref(), body.address)? };
    let hostname = checked_hostname(body.hostname)?;
    let scopes = state.store.shared.scopes.load();
    let set = scopes.definitions.options(&body.options);
    let set = set.map_err(|error| ApiError::invalid("options", error.to_string()))?;
    let options = with_hostname(set.iter(), hostname.as_deref());
    let options_given =
        if body.options.is_empty() { String::new() } else { serde_json::to_string(&body.options).unwrap_or_default() };
    let draft = ReservationDraft {
        machine,
        address: body.address,
        pools: scopes.pools_of_machine(machine, &[]),
        hostname,
        boot_file: checked("boot_file", body.boot_file, 255)?,
        options,
        options_given: options_given.into(),
        node: checked("node", body.node, NODE_BYTES_MAX)?,
    };
    answer(&state, put_draft(&state, draft).await?)
}

/// The answer to a put.
pub fn answer(state: &ApiState, put: Put) -> Result<(StatusCode, Json<Shown>), ApiError> {
    let status = if put.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(shown(state, &put.reservation))))
}

/// A machine's reservation.
pub async fn get(
    State(state): State<Arc<ApiState>>,
    Path(which): Path<String>,
    query: Query,
) -> Result<Json<Shown>, ApiError> {
    let query = query.only(&["scope"])?;
    let mac = mac(&which)?;
    let Some(client) = reserved_client(&state, mac, page::scope(&state, &query)?)? else {
        return Err(ApiError::not_found(format!("there is no reservation for {mac}")));
    };
    let Some((reservation, sequence)) = state.store.shared.model.reservation(client) else {
        return Err(ApiError::not_found(format!("there is no reservation for {mac}")));
    };
    durable(&state, sequence).await?;
    Ok(Json(shown(&state, &reservation)))
}

/// Deletes a machine's reservation; a lease that it has runs on to its end.
pub async fn delete(
    State(state): State<Arc<ApiState>>,
    Path(which): Path<String>,
    query: Query,
) -> Result<StatusCode, ApiError> {
    let query = query.only(&["scope"])?;
    let mac = mac(&which)?;
    let Some(client) = reserved_client(&state, mac, page::scope(&state, &query)?)? else {
        return Ok(StatusCode::NO_CONTENT);
    };
    let (answer, answered) = oneshot::channel();
    ask(&state, mac, Request::Delete(client, answer))?;
    waited(answered).await?.map_err(|error| explain(&state, mac, &error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// A page of reservations in the order of scopes and machines.
pub async fn list(State(state): State<Arc<ApiState>>, query: Query) -> Result<Json<Page<Shown>>, ApiError> {
    let query = query.only(&["scope", "cursor", "limit"])?;
    let limit = page::limit(&query)?;
    let only = page::scope(&state, &query)?;
    let after = query.text("cursor").map(|cursor| {
        let parsed = cursor.split_once('/').and_then(|(scope, mac)| Some((scope.parse().ok()?, mac.parse().ok()?)));
        parsed.ok_or_else(|| ApiError::malformed(Some("cursor"), "not one of this listing"))
    });
    let after: Option<(u16, MacAddr)> = after.transpose()?;
    let mut all = state.store.shared.model.reservations();
    all.retain(|(own, _)| {
        only.is_none_or(|only| only == own.scope)
            && after.is_none_or(|after| (own.scope.0, own.mac.unwrap_or_default()) > after)
    });
    all.sort_unstable_by_key(|(own, _)| (own.scope, own.mac));
    all.truncate(limit + 1);
    durable(&state, all.iter().map(|(_, sequence)| *sequence).max().unwrap_or(0)).await?;
    let more = all.len() > limit;
    all.truncate(limit);
    let next = all.last().filter(|_| more).map(|(own, _)| format!("{}/{}", own.scope.0, own.mac.unwrap_or_default()));
    Ok(Json(Page { items: all.iter().map(|(own, _)| shown(&state, own)).collect(), next }))
}

/// Puts a draft in force and waits until it is durable. Conflicts are explained.
pub async fn put_draft(state: &ApiState, draft: ReservationDraft) -> Result<Put, ApiError> {
    let mac = draft.machine.mac;
    if let Some(address) = draft.address {
        check_address(state, draft.machine.scope, address)?;
    }
    let mut tried_again = false;
    loop {
        let (answer, answered) = oneshot::channel();
        ask(state, mac, Request::Put(draft.clone(), answer))?;
        match waited(answered).await? {
            Ok(put) => return Ok(put),
            // Another worker's client may hold it with a lease that has expired.
            Err(PutError::Taken(address)) if !tried_again && give_up(state, draft.machine, address).await? => {
                tried_again = true;
            }
            Err(error) => return Err(explain(state, mac, &error)),
        }
    }
}

async fn give_up(state: &ApiState, machine: Machine, address: Ipv4Addr) -> Result<bool, ApiError> {
    let model = &state.store.shared.model;
    if model.reserved_for(address).is_some_and(|mac| mac != machine.mac) {
        return Ok(false);
    }
    let client = state.store.shared.scopes.load().client_of(machine);
    let Some(row) = model.lease(address).filter(|row| Some(row.client) != client) else { return Ok(false) };
    let (answer, answered) = oneshot::channel();
    let request = Request::GiveUp(row.client.network, address, Some(answer));
    state.store.queue_of_client(row.client).push(request).map_err(busy)?;
    waited(answered).await
}

fn ask(state: &ApiState, mac: MacAddr, request: Request) -> Result<(), ApiError> {
    state.store.queue_of(mac).push(request).map_err(busy)
}

fn busy(_: QueueFull) -> ApiError {
    ApiError::unavailable("the worker's queue is full; try again")
}

async fn waited<T>(answered: oneshot::Receiver<T>) -> Result<T, ApiError> {
    match tokio::time::timeout(ANSWER_WAIT, answered).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(ApiError::unavailable("the worker has ended")),
        Err(_) => Err(ApiError::unavailable(
            "the disk does not get on; what was asked may still come into force: read it back",
        )),
    }
}

/// A worker's refusal in words.
fn explain(state: &ApiState, mac: MacAddr, error: &PutError) -> ApiError {
    match error {
        PutError::NoScope => ApiError::not_found(error.to_string()),
        PutError::Configured(_) => ApiError::conflict(None, error.to_string()),
        PutError::Taken(address) => ApiError::conflict(Some("address"), holder(state, mac, *address)),
        PutError::PoolExhausted => ApiError::conflict(Some("address"), error.to_string()),
        PutError::TooLong => ApiError::invalid("options", error.to_string()),
        PutError::Journal(_) => ApiError::unavailable(error.to_string()),
    }
}

/// Who holds an address that `mac` cannot have.
fn holder(state: &ApiState, mac: MacAddr, address: Ipv4Addr) -> String {
    let model = &state.store.shared.model;
    if let Some(other) = model.reserved_for(address).filter(|&other| other != mac) {
        return format!("{address} is reserved for {other}");
    }
    match model.lease(address).filter(|row| row.ends > unix_now()) {
        Some(row) if row.state == RowState::Declined => {
            format!("{address} rests until {} (Unix time): {} found it in use by somebody else", row.ends.0, row.mac)
        }
        Some(row) if row.state == RowState::Bound && row.mac != mac => {
            format!("{address} is bound to {} until {} (Unix time)", row.mac, row.ends.0)
        }
        _ => format!("{address} is held for an offer to another machine, or is the server's own; try again"),
    }
}

/// The scope that a request means: named, or that of the address, or the only one.
fn scope_for(state: &ApiState, name: Option<&str>, address: Option<Ipv4Addr>) -> Result<ScopeIndex, ApiError> {
    if let Some(name) = name {
        return page::scope_named(state, name);
    }
    let scopes = state.store.shared.scopes.load();
    if let Some(address) = address {
        let outside = || ApiError::invalid("address", format!("{address} lies in no scope's subnet"));
        return scopes.of_address(address).map(|scope| scope.index).ok_or_else(outside);
    }
    let mut all = scopes.iter();
    match (all.next(), all.next()) {
        (Some(only), None) => Ok(only.index),
        _ => Err(ApiError::malformed(Some("scope"), "there are several scopes: name one, or an address")),
    }
}

fn check_address(state: &ApiState, index: ScopeIndex, address: Ipv4Addr) -> Result<(), ApiError> {
    let scopes = state.store.shared.scopes.load();
    match scopes.get(index) {
        Some(scope) if !may_reserve(scope, address) => Err(ApiError::invalid(
            "address",
            format!(
                "{address} cannot be reserved in scope `{}`: it must lie inside {} and be neither the server's own ({}) nor the network's",
                scope.name, scope.subnet, scope.server_address
            ),
        )),
        _ => Ok(()),
    }
}

/// The scope in which a machine has a reservation: the one named, or the only one.
fn reserved_client(state: &ApiState, mac: MacAddr, only: Option<ScopeIndex>) -> Result<Option<Machine>, ApiError> {
    let scopes = state.store.shared.scopes.load();
    let mut found = scopes
        .iter()
        .map(|scope| Machine { scope: scope.index, mac })
        .filter(|client| only.is_none_or(|only| only == client.scope))
        .filter(|client| state.store.shared.model.reservation(*client).is_some());
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => {
            Err(ApiError::malformed(Some("scope"), format!("{mac} has reservations in several scopes: name one")))
        }
        (first, _) => Ok(first),
    }
}

/// A host name as option 12 carries it: letters, digits, `-` and `.`.
pub fn checked_hostname(hostname: Option<String>) -> Result<Option<Box<str>>, ApiError> {
    let legal = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    match checked("hostname", hostname, HOSTNAME_BYTES_MAX)? {
        Some(name) if !legal(&name) => Err(ApiError::invalid("hostname", "letters, digits, `-` and `.` are expected")),
        hostname => Ok(hostname),
    }
}

/// A text without control characters and not longer than `bytes_max`.
pub fn checked(field: &str, text: Option<String>, bytes_max: usize) -> Result<Option<Box<str>>, ApiError> {
    match text {
        Some(text) if text.is_empty() || text.len() > bytes_max || text.chars().any(char::is_control) => {
            Err(ApiError::invalid(field, format!("1 to {bytes_max} octets without control characters are expected")))
        }
        text => Ok(text.map(Into::into)),
    }
}

/// A node's id.
pub fn checked_node(node: Option<String>) -> Result<Option<Box<str>>, ApiError> {
    checked("node", node, NODE_BYTES_MAX)
}

/// A reservation as the API shows it.
pub fn shown(state: &ApiState, own: &Reservation) -> Shown {
    let text = |text: &Option<Box<str>>| text.as_deref().map(Into::into);
    Shown {
        // Those that are shown are by hardware address.
        mac: own.mac.unwrap_or_default(),
        scope: state.store.shared.scopes.load().get(own.scope).map(|scope| scope.name.to_string()).unwrap_or_default(),
        address: own.address,
        hostname: text(&own.hostname),
        boot_file: text(&own.boot_file),
        options: serde_json::from_str(&own.options_given).unwrap_or_default(),
        node: text(&own.node),
        origin: match own.origin {
            scope::Origin::Config => Origin::Config,
            scope::Origin::Api => Origin::Api,
        },
    }
}
