//! `GET /v1/history`: who had an address, and which addresses a machine had: the last changes, the latest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use reveille_config::dto::dhcpd::{LeaseChange, Page};

use super::body::{Query, mac};
use super::leases::caught_up;
use super::problem::ApiError;
use super::{ApiState, page};

/// The changes of an address, of a machine's leases or of all, renewals aside; what is remembered is bounded (`limit::LEASE_HISTORY_MAX`), so one page.
pub async fn list(State(state): State<Arc<ApiState>>, query: Query) -> Result<Json<Page<LeaseChange>>, ApiError> {
    let limit = page::limit(&query)?;
    let wrong = |_| ApiError::malformed(Some("address"), "an IPv4 address is expected");
    let address = query.text("address").map(|text| text.parse().map_err(wrong)).transpose()?;
    let machine = query.text("mac").map(mac).transpose()?;
    caught_up(&state).await?;
    let scopes = state.store.shared.scopes.load();
    let items = state.store.shared.model.history(address, machine, limit).into_iter().map(|change| LeaseChange {
        at_unix: change.at.0.into(),
        change: change.what.as_str().into(),
        address: change.address,
        mac: change.mac,
        scope: scopes.get(change.scope).map(|scope| scope.name.to_string()).unwrap_or_default(),
        ends_unix: change.ends.0.into(),
        sequence: change.sequence,
    });
    Ok(Json(Page { items: items.collect(), next: None }))
}
