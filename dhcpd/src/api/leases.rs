//! `/v1/leases`: bindings as they stand on disk.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use reveille_config::dto::dhcpd::{Lease, LeaseState, Page};

use super::body::Query;
use super::problem::ApiError;
use super::{ApiState, page, unix_now};
use crate::proto::relay_agent::RelayAgent;
use crate::proto::scope::Machine;
use crate::store::journal::Sequence;
use crate::store::model::{LeaseRow, RowState};

/// How long an answer waits for what it shows to be durable.
const DURABLE_WAIT: Duration = Duration::from_secs(5);

/// A page of leases in the order of scopes and addresses.
pub async fn list(State(state): State<Arc<ApiState>>, query: Query) -> Result<Json<Page<Lease>>, ApiError> {
    let query = query.only(&["scope", "cursor", "limit"])?;
    let limit = page::limit(&query)?;
    let only = page::scope(&state, &query)?;
    let mut after: Option<Ipv4Addr> = match query.text("cursor") {
        Some(cursor) => {
            Some(cursor.parse().map_err(|_| ApiError::malformed(Some("cursor"), "not one of this listing"))?)
        }
        None => None,
    };
    caught_up(&state).await?;
    let shared = &state.store.shared;
    let (mut items, mut sequence) = (Vec::new(), 0);
    for scope in shared.scopes.load().iter().filter(|scope| only.is_none_or(|only| only == scope.index)) {
        // The cursor's scope and those after it.
        if let Some(cursor) = after
            && !scope.subnet.contains(&cursor)
            && items.is_empty()
        {
            continue;
        }
        let mut at = after.take();
        while items.len() <= limit
            && let Some((address, row)) = shared.model.next_lease(scope.index, at)
        {
            at = Some(address);
            sequence = sequence.max(row.sequence);
            items.push(lease(&state, address, row));
        }
    }
    durable(&state, sequence).await?;
    Ok(page::page(items, limit, |lease| lease.address.to_string()))
}

/// The lease of an address or of a machine.
pub async fn get(
    State(state): State<Arc<ApiState>>,
    Path(which): Path<String>,
    query: Query,
) -> Result<Json<Lease>, ApiError> {
    let query = query.only(&["scope"])?;
    let only = page::scope(&state, &query)?;
    caught_up(&state).await?;
    let model = &state.store.shared.model;
    let found = if let Ok(address) = which.parse::<Ipv4Addr>() {
        model.lease(address).map(|row| (address, row)).filter(|(_, row)| only.is_none_or(|only| only == row.scope))
    } else {
        let mac = which.parse().map_err(|_| {
            ApiError::malformed(
                Some("mac or address"),
                format!("`{which}` is neither an IPv4 address nor a MAC address"),
            )
        })?;
        let leases = model.leases_of(mac).into_iter();
        // A machine with leases in several scopes: the one that lasts longest is the one in use.
        leases.filter(|(_, row)| only.is_none_or(|only| only == row.scope)).max_by_key(|(_, row)| row.ends)
    };
    let (address, row) = found.ok_or_else(|| ApiError::not_found(format!("there is no lease of {which}")))?;
    durable(&state, row.sequence).await?;
    Ok(Json(lease(&state, address, row)))
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

fn lease(state: &ApiState, address: Ipv4Addr, row: LeaseRow) -> Lease {
    let shared = &state.store.shared;
    let machine = Machine { scope: row.scope, mac: row.mac };
    let reservation = shared.model.reservation(machine).map(|(own, _)| own).filter(|own| own.address == address);
    let over = row.ends <= unix_now();
    let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    //= https://www.rfc-editor.org/rfc/rfc3046#section-3.1
    //# The DHCP server SHOULD report the Agent Circuit ID value of current leases in statistical reports (including its MIB) and in logs.
    let agent = RelayAgent::new(&row.relay_agent);
    Lease {
        address,
        mac: row.mac,
        scope: shared.scopes.load().get(row.scope).map(|scope| scope.name.to_string()).unwrap_or_default(),
        state: match row.state {
            RowState::Released => LeaseState::Released,
            RowState::Declined if !over => LeaseState::Declined,
            RowState::Bound if !over => LeaseState::Bound,
            RowState::Declined | RowState::Bound => LeaseState::Expired,
        },
        starts_unix: row.starts.0.into(),
        ends_unix: row.ends.0.into(),
        client_id: (!row.client_id.is_empty()).then(|| hex(&row.client_id)),
        circuit_id: agent.circuit_id().map(hex),
        remote_id: agent.remote_id().map(hex),
        hostname: reservation
            .as_ref()
            .and_then(|own| own.hostname.as_deref())
            .or(Some(&*row.hostname).filter(|name| !name.is_empty()))
            .map(Into::into),
        reserved: reservation.is_some(),
        sequence: row.sequence,
    }
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
        let (client_id, hostname, relay_agent) = Default::default();
        let ends = UnixSecs::NEVER;
        let bind = Record::Bind { address, mac, starts: none, ends, client_id, hostname, relay_agent };
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
