//! `/v1/reservations`: put and deleted through the worker that keeps the client's; answered once durable and in force.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use reveille_config::dhcpd::ReservedFor;
use reveille_config::dto::dhcpd::{Origin, Page, Reservation as Shown, ReservationPut};
use tokio::sync::oneshot;

use super::body::{Body, Query, client};
use super::draft::draft;
use super::leases::durable;
use super::problem::ApiError;
use super::{ApiState, page, unix_now};
use crate::proto::scope::{self, Reservation, ScopeIndex};
use crate::store::journal::Sequence;
use crate::store::model::RowState;
use crate::store::queue::{QueueFull, Request};
use crate::store::reservation::{Expected, Put, PutError, ReservationDraft, tag};

/// The longest wait for a worker's answer.
const ANSWER_WAIT: Duration = Duration::from_secs(8);

/// Puts a reservation; the same again is no change.
pub async fn put(
    State(state): State<Arc<ApiState>>,
    Path(which): Path<String>,
    headers: HeaderMap,
    Body(body): Body<ReservationPut>,
) -> Result<Answer, ApiError> {
    let client = client(&which)?;
    let draft = {
        let scopes = state.store.shared.scopes.load();
        draft(&state, &scopes, Some(client), body, expected(&headers)?)?
    };
    answer(&state, put_draft(&state, draft).await?)
}

/// A reservation with its tag (RFC 9110 §8.8.3).
pub type Answer = (StatusCode, [(HeaderName, String); 1], Json<Shown>);

/// The answer to a put.
pub fn answer(state: &ApiState, put: Put) -> Result<Answer, ApiError> {
    let status = if put.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(tagged(state, status, &put.reservation))
}

/// An answer that shows a reservation.
pub fn tagged(state: &ApiState, status: StatusCode, own: &Reservation) -> Answer {
    (status, [(header::ETAG, format!("\"{}\"", tag(own)))], Json(shown(state, own)))
}

/// What `If-Match` and `If-None-Match` expect (RFC 9110 §13.1).
fn expected(headers: &HeaderMap) -> Result<Expected, ApiError> {
    let text = |name: HeaderName| {
        let values: Vec<_> = headers.get_all(&name).iter().filter_map(|value| value.to_str().ok()).collect();
        (!values.is_empty()).then(|| values.join(","))
    };
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (_, Some(other)) if other.trim() != "*" => {
            Err(ApiError::malformed(Some("if-none-match"), "only `*` has a meaning here"))
        }
        (None, None) => Ok(Expected::Anything),
        (None, Some(_)) => Ok(Expected::Nothing),
        (Some(any), None) if any.trim() == "*" => Ok(Expected::Something),
        (Some(some), None) => Ok(Expected::Tagged(tags(&some)?)),
        (Some(_), Some(_)) => {
            Err(ApiError::precondition("what has a tag is there: If-Match and If-None-Match cannot both hold"))
        }
    }
}

/// Entity tags (RFC 9110 §8.8.3) without their quotes; empty places of the list are passed over (§5.6.1.2). A weak one equals none of ours.
fn tags(text: &str) -> Result<Vec<Box<str>>, ApiError> {
    let bare = |tag: &str| {
        let tag = tag.trim();
        let quoted = tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?.strip_suffix('"')?;
        let whole = !quoted.contains('"');
        whole.then(|| if tag.starts_with('"') { quoted.into() } else { tag.into() })
    };
    text.split(',').filter(|tag| !tag.trim().is_empty()).map(bare).collect::<Option<_>>().ok_or_else(|| {
        ApiError::malformed(
            Some("if-match"),
            "`*` is expected, or tags as they were given, quotes and all, with commas between them",
        )
    })
}

/// A client's reservation.
pub async fn get(
    State(state): State<Arc<ApiState>>,
    Path(which): Path<String>,
    query: Query,
) -> Result<Answer, ApiError> {
    let client = client(&which)?;
    let Some((reservation, sequence)) = reserved(&state, &client, page::scope(&state, &query)?)? else {
        return Err(ApiError::not_found(format!("there is no reservation for {client}")));
    };
    durable(&state, sequence).await?;
    Ok(tagged(&state, StatusCode::OK, &reservation))
}

/// Deletes a client's reservation; a lease that it has runs on to its end.
pub async fn delete(
    State(state): State<Arc<ApiState>>,
    Path(which): Path<String>,
    headers: HeaderMap,
    query: Query,
) -> Result<StatusCode, ApiError> {
    let client = client(&which)?;
    let expected = expected(&headers)?;
    let _changing = state.store.changing.read().await;
    let Some((own, _)) = reserved(&state, &client, page::scope(&state, &query)?)? else {
        return Ok(StatusCode::NO_CONTENT);
    };
    let (answer, answered) = oneshot::channel();
    ask(&state, &own.client, Request::Delete(own.holder(), expected, answer))?;
    waited(answered).await?.map_err(|error| explain(&state, &[client], &error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// A page of reservations in the order of scopes and clients.
pub async fn list(State(state): State<Arc<ApiState>>, query: Query) -> Result<Json<Page<Shown>>, ApiError> {
    let limit = page::limit(&query)?;
    let only = page::scope(&state, &query)?;
    let after = query.text("cursor").map(|cursor| {
        // A `+` in a URL's query is a space.
        let client = |client: &str| client.replace(',', "+").parse().ok();
        let parsed = cursor.split_once('/').and_then(|(scope, own)| Some((scope.parse().ok()?, client(own)?)));
        parsed.ok_or_else(|| ApiError::invalid("cursor", "not one of this listing"))
    });
    let after: Option<(u16, ReservedFor)> = after.transpose()?;
    let mut all = state.store.shared.model.reservations();
    all.retain(|(own, _)| {
        only.is_none_or(|only| only == own.scope)
            && after.as_ref().is_none_or(|(scope, client)| (own.scope.0, &own.client) > (*scope, client))
    });
    all.sort_unstable_by(|(a, _), (b, _)| (a.scope, &a.client).cmp(&(b.scope, &b.client)));
    all.truncate(limit + 1);
    durable(&state, all.iter().map(|(_, sequence)| *sequence).max().unwrap_or(0)).await?;
    let more = all.len() > limit;
    all.truncate(limit);
    let cursor = |own: &Reservation| format!("{}/{}", own.scope.0, own.client).replace('+', ",");
    let next = all.last().filter(|_| more).map(|(own, _)| cursor(own));
    Ok(Json(Page { items: all.iter().map(|(own, _)| shown(&state, own)).collect(), next }))
}

/// Puts a draft in force and waits until it is durable. Conflicts are explained.
pub async fn put_draft(state: &ApiState, draft: ReservationDraft) -> Result<Put, ApiError> {
    let client = draft.holder.client.clone();
    let identities: Vec<ReservedFor> = draft.identities().cloned().collect();
    let _changing = state.store.changing.read().await;
    let mut tried_again = false;
    loop {
        let (answer, answered) = oneshot::channel();
        ask(state, &client, Request::Put(Box::new(draft.clone()), answer))?;
        match waited(answered).await? {
            Ok(put) => return Ok(put),
            // Another worker's client may hold it with a lease that has expired.
            Err(PutError::Taken(address)) if !tried_again && state.store.make_room(&draft.holder, address).await => {
                tried_again = true;
            }
            Err(error) => return Err(explain(state, &identities, &error)),
        }
    }
}

fn ask(state: &ApiState, client: &ReservedFor, request: Request) -> Result<(), ApiError> {
    state.store.queue_of(client).push(request).map_err(busy)
}

pub fn busy(_: QueueFull) -> ApiError {
    ApiError::unavailable("the worker's queue is full; try again")
}

pub async fn waited<T>(answered: oneshot::Receiver<T>) -> Result<T, ApiError> {
    match tokio::time::timeout(ANSWER_WAIT, answered).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(ApiError::unavailable("the worker has ended")),
        Err(_) => Err(ApiError::unavailable(
            "the disk does not get on; what was asked may still come into force: read it back",
        )),
    }
}

/// A worker's refusal, of what a client of these identities was to have, in words.
pub fn explain(state: &ApiState, client: &[ReservedFor], error: &PutError) -> ApiError {
    match error {
        PutError::NoScope => ApiError::not_found(error.to_string()),
        PutError::Configured(_) => ApiError::conflict(None, error.to_string()),
        PutError::Known { identity, .. } => ApiError::conflict(Some(identity.field()), error.to_string()),
        PutError::Taken(address) => ApiError::conflict(Some("address"), user(state, client, *address)),
        PutError::PoolExhausted => ApiError::conflict(Some("address"), error.to_string()),
        PutError::TooLong => ApiError::invalid("options", error.to_string()),
        PutError::Unexpected(_) => ApiError::precondition(error.to_string()),
        PutError::Journal(_) => ApiError::unavailable(error.to_string()),
    }
}

/// Who holds an address that a client of these identities cannot have.
fn user(state: &ApiState, client: &[ReservedFor], address: Ipv4Addr) -> String {
    let model = &state.store.shared.model;
    if let Some(other) = model.reserved_at(address).filter(|other| client.first() != Some(&other.client)) {
        return format!("{address} is reserved for {}", other.client);
    }
    match model.lease(address).filter(|row| row.ends > unix_now()) {
        Some(row) if row.state == RowState::Declined => {
            format!("{address} rests until {} (Unix time): {} found it in use by somebody else", row.ends.0, row.mac)
        }
        Some(row) if row.state == RowState::Bound && !row.is_of_any(client.iter()) => {
            format!("{address} is bound to {} until {} (Unix time)", row.mac, row.ends.0)
        }
        _ => format!("{address} is held for an offer to another machine, or is the server's own; try again"),
    }
}

/// The reservation that an identity belongs to, in the scope that is named or in the only one that has such, and the sequence of its record.
pub fn reserved(
    state: &ApiState,
    client: &ReservedFor,
    only: Option<ScopeIndex>,
) -> Result<Option<(Arc<Reservation>, Sequence)>, ApiError> {
    let scopes = state.store.shared.scopes.load();
    let mut found = scopes
        .iter()
        .filter(|scope| only.is_none_or(|only| only == scope.index))
        .filter_map(|scope| state.store.shared.reservation_for(scope.index, client));
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => {
            Err(ApiError::invalid("scope", format!("{client} has reservations in several scopes: name one")))
        }
        (first, _) => Ok(first),
    }
}

/// A reservation as the API shows it.
pub fn shown(state: &ApiState, own: &Reservation) -> Shown {
    let text = |text: &Option<Box<str>>| text.as_deref().map(Into::into);
    Shown {
        mac: own.client.mac(),
        client_id: own.identities().find_map(ReservedFor::client_id),
        circuit_id: own.identities().find_map(ReservedFor::circuit_id),
        remote_id: own.identities().find_map(ReservedFor::remote_id),
        scope: state.store.shared.scopes.load().get(own.scope).map(|scope| scope.name.to_string()).unwrap_or_default(),
        address: own.address,
        hostname: text(&own.hostname),
        boot_file: text(&own.boot_file),
        options: serde_json::from_str(&own.options_given).unwrap_or_default(),
        node: text(&own.node),
        boot: (!own.terms.boot.is_empty()).then(|| own.terms.boot.to_string()),
        boot_files: serde_json::from_str(&own.terms.boot_files).unwrap_or_default(),
        lease_secs: (own.terms.lease_secs > 0).then_some(own.terms.lease_secs),
        labels: serde_json::from_str(&own.terms.labels).unwrap_or_default(),
        expires_unix: (own.terms.expires.0 > 0).then_some(own.terms.expires.0.into()),
        origin: match own.origin {
            scope::Origin::Config => Origin::Config,
            scope::Origin::Api => Origin::Api,
        },
    }
}
