//! `/v1/leases`: bindings as they stand on disk.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use reveille_config::dto::dhcpd::{Lease, Page};
use reveille_config::limit::LEASES_LOOKED_AT_MAX;
use tokio::sync::oneshot;

use super::body::Query;
use super::lease_filter::Filter;
use super::lease_line::Shown;
use super::problem::ApiError;
use super::reservations::{busy, waited};
use super::{ApiState, page, unix_now};
use crate::proto::scope::ScopeIndex;
use crate::store::journal::Sequence;
use crate::store::model::{LeaseRow, RowState};
use crate::store::queue::Request;

/// Leases that a listing looks at between two moments in which others may.
const LEASES_AT_ONCE: usize = 256;

/// How long an answer waits for what it shows to be durable.
const DURABLE_WAIT: Duration = Duration::from_secs(5);

/// A page of leases in the order of scopes and addresses. A page of a filtered listing may hold fewer than there are, and then says how to go on.
pub async fn list(State(state): State<Arc<ApiState>>, query: Query) -> Result<Json<Page<Lease>>, ApiError> {
    let limit = page::limit(&query)?;
    let filter = Filter::of(&state, &query)?;
    let wrong = |_| ApiError::invalid("cursor", "not one of this listing");
    let after: Option<Ipv4Addr> = query.text("cursor").map(|cursor| cursor.parse().map_err(wrong)).transpose()?;
    caught_up(&state).await?;
    let mut found = Found { filter, limit, items: Vec::new(), sequence: 0 };
    let looked_through = match found.filter.indexed(&state) {
        Some(rows) => {
            rows.into_iter().filter(|(address, _)| after.is_none_or(|after| *address > after)).for_each(
                |(address, row)| {
                    found.look(&state, address, row);
                },
            );
            None
        }
        None => look_through(&state, &mut found, after).await,
    };
    durable(&state, found.sequence).await?;
    let Json(mut page) = page::page(found.items, limit, |lease| lease.address.to_string());
    page.next = page.next.or(looked_through.map(|address| address.to_string()));
    Ok(Json(page))
}

/// What a listing has found.
struct Found {
    filter: Filter,
    limit: usize,
    items: Vec<Lease>,
    sequence: Sequence,
}

impl Found {
    fn look(&mut self, state: &ApiState, address: Ipv4Addr, row: LeaseRow) {
        let (shared, lease) = (&state.store.shared, row.view(address));
        if self.items.len() > self.limit || !self.filter.may_show(&shared.model, lease) {
            return;
        }
        let (reservation, now) = (shared.model.reservation_behind(lease), unix_now());
        let shown = Shown { lease, reservation: reservation.as_deref() };
        if self.filter.shows(shown, now) {
            self.sequence = self.sequence.max(lease.sequence);
            self.items.push(shown.whole(&shared.scopes.load(), now));
        }
    }
}

/// Looks at one lease after the other; says the last one, if it has looked at [`LEASES_LOOKED_AT_MAX`] before it had a page.
async fn look_through(state: &ApiState, found: &mut Found, after: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
    let shared = &state.store.shared;
    let scopes = shared.scopes.load_full();
    let mut looked_at = 0;
    // The cursor's scope and those after it.
    let first = after.and_then(|after| scopes.of_address(after)).map(|scope| scope.index);
    if after.is_some() && first.is_none() {
        return None;
    }
    let mut at = after;
    for scope in scopes.iter().skip_while(|scope| first.is_some_and(|first| first != scope.index)) {
        if found.filter.scope.is_none_or(|only| only == scope.index) {
            loop {
                let rows = shared.model.leases_after(scope.index, at, LEASES_AT_ONCE);
                let Some((last, _)) = rows.last() else { break };
                at = Some(*last);
                looked_at += rows.len();
                rows.into_iter().for_each(|(address, row)| found.look(state, address, row));
                if found.items.len() > found.limit {
                    return None;
                }
                if looked_at >= LEASES_LOOKED_AT_MAX {
                    return at;
                }
                tokio::task::yield_now().await;
            }
        }
        at = None;
    }
    None
}

/// The lease of an address or of a machine.
pub async fn get(
    State(state): State<Arc<ApiState>>,
    Path(which): Path<String>,
    query: Query,
) -> Result<Json<Lease>, ApiError> {
    let found = find(&state, &which, page::scope(&state, &query)?).await?;
    let (address, row) = found.ok_or_else(|| ApiError::not_found(format!("there is no lease of {which}")))?;
    durable(&state, row.sequence).await?;
    Ok(Json(lease(&state, address, row)))
}

/// Gives a lease up before its time, as if its client had released it; the client itself is not told.
pub async fn release(
    State(state): State<Arc<ApiState>>,
    Path(which): Path<String>,
    query: Query,
) -> Result<StatusCode, ApiError> {
    let Some((address, row)) = find(&state, &which, page::scope(&state, &query)?).await? else {
        return Ok(StatusCode::NO_CONTENT);
    };
    if row.state == RowState::Declined && row.ends > unix_now() {
        let until = row.ends.0;
        return Err(ApiError::conflict(
            None,
            format!("{address} rests until {until} (Unix time): it is in use by somebody else"),
        ));
    }
    let (answer, answered) = oneshot::channel();
    state.store.queue_of_client(row.client).push(Request::Release(row.client, address, answer)).map_err(busy)?;
    waited(answered).await?.map_err(|error| ApiError::unavailable(error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(
    state: &ApiState,
    which: &str,
    only: Option<ScopeIndex>,
) -> Result<Option<(Ipv4Addr, LeaseRow)>, ApiError> {
    caught_up(state).await?;
    let model = &state.store.shared.model;
    if let Ok(address) = which.parse::<Ipv4Addr>() {
        return Ok(model
            .lease(address)
            .map(|row| (address, row))
            .filter(|(_, row)| only.is_none_or(|only| only == row.scope)));
    }
    let mac = which.parse().map_err(|_| {
        ApiError::malformed(Some("mac or address"), format!("`{which}` is neither an IPv4 address nor a MAC address"))
    })?;
    let leases = model.leases_of(mac).into_iter();
    // A machine with leases in several scopes: the one that lasts longest is the one in use.
    Ok(leases.filter(|(_, row)| only.is_none_or(|only| only == row.scope)).max_by_key(|(_, row)| row.ends))
}

/// Waits until the read model shows every lease that is durable now, so that whoever was answered finds it.
pub async fn caught_up(state: &ApiState) -> Result<(), ApiError> {
    let durable = state.store.journal.durable();
    let mut followed = state.store.journal.subscribe_followed();
    match tokio::time::timeout(DURABLE_WAIT, followed.wait_for(|followed| *followed >= durable)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(ApiError::unavailable("the journal's reader does not get on; see /readyz")),
    }
}

/// Waits until record `sequence` is durable, so that nothing is shown that the disk does not hold.
pub async fn durable(state: &ApiState, sequence: Sequence) -> Result<(), ApiError> {
    let mut commits = state.store.journal.subscribe();
    let wait = async {
        while state.store.journal.durable() < sequence {
            // An error means that the journal is closed: then the time runs out, or the server does.
            if commits.changed().await.is_err() {
                return;
            }
        }
    };
    let waited = tokio::time::timeout(DURABLE_WAIT, wait).await;
    if waited.is_ok() && state.store.journal.durable() >= sequence {
        return Ok(());
    }
    Err(ApiError::unavailable("what would be shown is not on disk yet, and the journal does not get on; see /readyz"))
}

/// A lease as the API shows it.
pub fn lease(state: &ApiState, address: Ipv4Addr, row: LeaseRow) -> Lease {
    let shared = &state.store.shared;
    let reservation = shared.model.reservation_behind(row.view(address));
    let shown = Shown { lease: row.view(address), reservation: reservation.as_deref() };
    shown.whole(&shared.scopes.load(), unix_now())
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::proto::testing::{STRANGER, ip, scopes};
    use crate::proto::time::{Now, UnixSecs};
    use crate::store::Store;
    use crate::store::journal::{CrashDisk, JournalOptions};
    use crate::store::record::Record;
    use crate::store::tokens::Tokens;

    #[tokio::test]
    async fn a_lease_that_is_on_disk_is_shown_however_far_the_reader_lags() {
        let disk = CrashDisk::new();
        let (store, _parts) =
            Store::open(disk.storage(), JournalOptions::default(), scopes(&[]), 1, Now::default()).unwrap();
        let store = Arc::new(store);
        let tokens = Arc::new(Tokens::open(std::path::PathBuf::from("/nonexistent/tokens.json")).unwrap());
        let state = ApiState::new(Arc::clone(&store), tokens, Arc::new(String::new));
        let reader_held = store.shared.model.hold_leases();
        let ((address, mac), none) = ((ip(2, 100), STRANGER), UnixSecs(0));
        let (client_id, hostname, relay_agent, vendor_class) = Default::default();
        let ends = UnixSecs::NEVER;
        let bind = Record::Bind { address, mac, starts: none, ends, client_id, hostname, relay_agent, vendor_class };
        let mut payload = Vec::new();
        let kind = bind.encode(&mut payload);
        let mut appender = store.journal.appender();
        let _durable = appender.append(kind, &payload, ()).unwrap().wait(&appender).await.unwrap();

        let mut asked = pin!(caught_up(&state));
        tokio::select! {
            biased;
            _ = &mut asked => panic!("the model does not show the lease yet"),
            () = tokio::task::yield_now() => {}
        }
        drop(reader_held);
        store.journal.wait_followed(1).unwrap();
        assert!(asked.await.is_ok());
        assert_eq!(store.shared.model.lease(address).map(|row| row.mac), Some(mac));
    }
}
