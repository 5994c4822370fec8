//! `POST /v1/reservations:batch`: up to 100,000 reservations, all or none, with the list of what is wrong.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use reveille_config::dhcpd::ReservedFor;
use reveille_config::dto::dhcpd::{BatchDone, ChosenAddress};
use reveille_config::limit::{BATCH_BYTES_COUNTED_MIN, BATCH_BYTES_MAX, BATCH_MISTAKES_MAX};

use super::ApiState;
use super::batch_rows::{self, BatchRows};
use super::body::Query;
use super::pieces::Pieces;
use super::problem::ApiError;
use super::reservations::explain;
use crate::store::batch::{BatchError, Effect, Prepared, Row};

/// How long a body may take to come.
const TIME_MAX: Duration = Duration::from_secs(120);
/// How long a batch waits for others to come in.
const TURN_WAIT: Duration = Duration::from_secs(30);

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
    let pieces = Pieces::of(request, BATCH_BYTES_MAX, TIME_MAX)?;
    // What comes in at a time is bounded, each by what it says of its length.
    let size = pieces.upper().max(BATCH_BYTES_COUNTED_MIN).div_ceil(1 << 10).try_into().unwrap_or(u32::MAX);
    let turn = tokio::time::timeout(TURN_WAIT, Arc::clone(&state.batches).acquire_many_owned(size)).await;
    let Ok(Ok(turn)) = turn else {
        return Err(ApiError::unavailable("other batches are coming in, as many as there may be"));
    };
    let rows = batch_rows::receive(Arc::clone(&state), pieces).await?;
    // Goes on when whoever asked has hung up: half of a batch is not left behind.
    let task = tokio::spawn(async move {
        let done = run(state, rows, dry_run).await;
        drop(turn);
        done
    });
    task.await.map_err(|_| ApiError::unavailable("the batch broke off"))?.map(Json)
}

async fn run(state: Arc<ApiState>, batch: BatchRows, dry_run: bool) -> Result<BatchDone, ApiError> {
    let BatchRows { rows, places } = batch;
    let open: Vec<bool> = rows.iter().map(|row| matches!(row, Row::Put(draft) if draft.address.is_none())).collect();
    let holders: Vec<Vec<ReservedFor>> = rows.iter().map(|row| row.identities().cloned().collect()).collect();
    let prepared = state.store.put_batch(rows, dry_run).await.map_err(|error| match error {
        BatchError::Rows(wrong) => {
            let count = wrong.len();
            let shown = wrong.into_iter().take(BATCH_MISTAKES_MAX);
            let shown = shown.map(|(at, error)| (places[at], explain(&state, &holders[at], &error)));
            batch_rows::refusal(count, shown)
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
        client_id: own.identities().find_map(ReservedFor::client_id),
        circuit_id: own.identities().find_map(ReservedFor::circuit_id),
        remote_id: own.identities().find_map(ReservedFor::remote_id),
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
