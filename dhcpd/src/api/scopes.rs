//! `GET /v1/scopes`: how full they are.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use reveille_config::dto::dhcpd::{Page, ScopeUse};

use super::leases::caught_up;
use super::problem::ApiError;
use super::{ApiState, unix_now};

/// All scopes, in the order of the configuration (bounded by it, so one page).
pub async fn list(State(state): State<Arc<ApiState>>) -> Result<Json<Page<ScopeUse>>, ApiError> {
    caught_up(&state).await?;
    let shared = &state.store.shared;
    let scopes = shared.scopes.load();
    let items = scopes.iter().map(|scope| ScopeUse {
        scope: scope.name.to_string(),
        kind: scope.kind.as_str().into(),
        addresses: scope.pool_size(),
        in_use: shared.in_use(scope),
        declined: shared.model.declined(scope.index, unix_now()),
    });
    Ok(Json(Page { items: items.collect(), next: None }))
}
