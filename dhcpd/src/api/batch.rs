//! `POST /v1/reservations:batch`: up to 100,000 reservations, all or none, with the list of what is wrong.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::StatusCode;
use reveille_config::dto::RowProblem;
use reveille_config::dto::dhcpd::{BatchDone, ChosenAddress, ClientRef, ReservationPut};
use reveille_config::limit::{BATCH_BYTES_MAX, BATCH_MISTAKES_MAX, BATCH_ROWS_MAX};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::body::Query;
use super::draft::{draft, named_client};
use super::page;
use super::problem::ApiError;
use super::reservations::{explain, reserved_holder};
use super::{ApiState, body};
use crate::proto::scope::Holder;
use crate::store::batch::{BatchError, Effect, Prepared, Row};
use crate::store::reservation::Expected;

/// How long a body may take to come.
const BODY_TIME_MAX: Duration = Duration::from_secs(120);

/// The body, its rows unread.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows<'a> {
    #[serde(default, borrow)]
    put: Vec<&'a RawValue>,
    #[serde(default, borrow)]
    delete: Vec<&'a RawValue>,
}

/// Puts and deletes many reservations, or with `dry_run=true` says what that would do.
pub async fn post(
    State(state): State<Arc<ApiState>>,
    query: Query,
    request: Request,
) -> Result<Json<BatchDone>, ApiError> {
    let dry_run = match query.text("dry_run") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(ApiError::malformed(Some("dry_run"), "`true` or `false` is expected")),
    };
    // One body at a time is in memory.
    let Ok(turn) = Arc::clone(&state.batches).acquire_owned().await else {
        return Err(ApiError::unavailable("closing"));
    };
    let octets = tokio::time::timeout(BODY_TIME_MAX, Bytes::from_request(request, &state)).await;
    let octets = octets
        .map_err(|_| ApiError::too_slow(format!("the body has not come within {} s", BODY_TIME_MAX.as_secs())))?;
    let octets = octets.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_long(format!("at most {BATCH_BYTES_MAX} octets in a batch")),
        _ => ApiError::malformed(None, rejection.body_text()),
    })?;
    // Goes on when whoever asked has hung up: half of a batch is not left behind.
    let task = tokio::spawn(async move {
        let done = run(state, octets, dry_run).await;
        drop(turn);
        done
    });
    task.await.map_err(|_| ApiError::unavailable("the batch broke off"))?.map(Json)
}

async fn run(state: Arc<ApiState>, octets: Bytes, dry_run: bool) -> Result<BatchDone, ApiError> {
    let reading = Arc::clone(&state);
    let read = tokio::task::spawn_blocking(move || read(&reading, &octets)).await;
    let (rows, puts) = read.map_err(|_| ApiError::unavailable("the batch broke off"))??;
    let open: Vec<bool> = rows.iter().map(|row| matches!(row, Row::Put(draft) if draft.address.is_none())).collect();
    let holders: Vec<Holder> = rows.iter().map(|row| row.holder().clone()).collect();
    let prepared = state.store.put_batch(rows, dry_run).await.map_err(|error| match error {
        BatchError::Rows(wrong) => {
            let problem = |(at, error)| (place(at, puts), explain(&state, &holders[at].client, &error));
            refusal(wrong.into_iter().map(problem).collect())
        }
        BatchError::Busy => ApiError::unavailable("a worker's queue is full; try again"),
        BatchError::Journal(reason, false) => ApiError::unavailable(reason.to_string()),
        BatchError::Journal(reason, true) => {
            ApiError::unavailable(format!("{reason}; what was asked may still come into force: read it back"))
        }
    })?;
    Ok(done(&state, &prepared, &open, dry_run))
}

fn done(state: &ApiState, prepared: &[Prepared], open: &[bool], dry_run: bool) -> BatchDone {
    let count = |effect| prepared.iter().filter(|row| row.effect == effect).count() as u64;
    let scopes = state.store.shared.scopes.load();
    let chosen = prepared.iter().zip(open).filter(|(_, open)| **open).filter_map(|(row, _)| row.reservation.as_ref());
    let chosen = chosen.map(|own| ChosenAddress {
        mac: own.client.mac(),
        client_id: own.client.client_id(),
        circuit_id: own.client.circuit_id(),
        remote_id: own.client.remote_id(),
        scope: scopes.get(own.scope).map(|scope| scope.name.to_string()).unwrap_or_default(),
        address: own.address,
    });
    BatchDone {
        dry_run,
        created: count(Effect::Created),
        changed: count(Effect::Changed),
        unchanged: count(Effect::Unchanged),
        deleted: count(Effect::Deleted),
        chosen: chosen.collect(),
    }
}

/// Where a row stands in the body.
fn place(at: usize, puts: usize) -> (&'static str, usize) {
    if at < puts { ("put", at) } else { ("delete", at - puts) }
}

/// The rows, and how many of them are to be put.
fn read(state: &ApiState, octets: &[u8]) -> Result<(Vec<Row>, usize), ApiError> {
    let raw: Rows<'_> = serde_json::from_slice(octets).map_err(|error| ApiError::malformed(None, error.to_string()))?;
    let puts = raw.put.len();
    if puts + raw.delete.len() > BATCH_ROWS_MAX {
        return Err(ApiError::too_long(format!("at most {BATCH_ROWS_MAX} rows in a batch")));
    }
    let scopes = state.store.shared.scopes.load();
    let (mut rows, mut wrong) = (Vec::with_capacity(puts + raw.delete.len()), Vec::new());
    let nobody = || ApiError::malformed(Some("mac"), "each row names its machine, or another identity of its client");
    let put = |raw: &RawValue| {
        let put: ReservationPut = body::read(raw.get().as_bytes())?;
        let client = named_client(put.client())?.ok_or_else(nobody)?;
        Ok(Some(Row::Put(Box::new(draft(state, &scopes, client, put, Expected::Anything)?))))
    };
    let delete = |raw: &RawValue| {
        let which: ClientRef = body::read(raw.get().as_bytes())?;
        let client = named_client(which.client())?.ok_or_else(nobody)?;
        let scope = which.scope.as_deref().map(|name| page::scope_named(state, name)).transpose()?;
        // One that is not there is not missed.
        Ok(reserved_holder(state, &client, scope)?.map(Row::Delete))
    };
    let all = raw.put.iter().map(|raw| put(raw)).chain(raw.delete.iter().map(|raw| delete(raw)));
    let (mut clients, mut addresses): (HashMap<Holder, usize>, HashMap<Ipv4Addr, usize>) =
        (HashMap::new(), HashMap::new());
    for (at, row) in all.enumerate() {
        let row = row.and_then(|row| {
            let Some(row) = row else { return Ok(None) };
            let twice = |field, at| {
                let (list, row) = place(at, puts);
                ApiError::conflict(Some(field), format!("row {row} of `{list}` names it already"))
            };
            if let Some(before) = clients.insert(row.holder().clone(), at) {
                return Err(twice(row.holder().client.field(), before));
            }
            if let Row::Put(draft) = &row
                && let Some(address) = draft.address
                && let Some(before) = addresses.insert(address, at)
            {
                return Err(twice("address", before));
            }
            Ok(Some(row))
        });
        match row {
            Ok(row) => rows.extend(row),
            Err(error) => wrong.push((place(at, puts), error)),
        }
    }
    if wrong.is_empty() { Ok((rows, puts)) } else { Err(refusal(wrong)) }
}

/// The whole batch is refused for these rows, of which the first are shown.
fn refusal(wrong: Vec<((&str, usize), ApiError)>) -> ApiError {
    let count = wrong.len();
    let shown = wrong.into_iter().take(BATCH_MISTAKES_MAX).map(|((list, row), error)| {
        let problem = error.into_problem();
        RowProblem { list: list.into(), row: row as u64, field: problem.field, detail: problem.detail }
    });
    ApiError::rows(format!("nothing was changed: {count} of the rows cannot be"), shown.collect())
}
