//! `/v1/tokens`: made, listed and revoked by whoever has the role admin.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use reveille_config::dto::dhcpd::Page;
use reveille_config::dto::token::{Token, TokenCreate, TokenCreated};

use super::body::Body;
use super::problem::ApiError;
use super::{ApiState, unix_now};
use crate::store::tokens::{TokenError, Tokens};

/// Octets of a token's name.
const NAME_BYTES_MAX: usize = 64;

/// All tokens, without their secrets (bounded, so one page).
pub async fn list(State(state): State<Arc<ApiState>>) -> Json<Page<Token>> {
    Json(Page { items: state.tokens.list(), next: None })
}

/// Makes a token and shows its secret, this once.
pub async fn create(
    State(state): State<Arc<ApiState>>,
    Body(body): Body<TokenCreate>,
) -> Result<(StatusCode, Json<TokenCreated>), ApiError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if body.name.is_empty() || body.name.len() > NAME_BYTES_MAX || !body.name.bytes().all(good) {
        let expected = format!("1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.` are expected");
        return Err(ApiError::invalid("name", expected));
    }
    let now = unix_now();
    if body.expires_unix.is_some_and(|expires| expires <= now.0.into()) {
        return Err(ApiError::invalid("expires_unix", format!("it is {} already", now.0)));
    }
    let created = on_disk(&state, move |tokens| tokens.create(body, now)).await?;
    tracing::info!(id = created.token.id, name = created.token.name, role = %created.token.role, "a token was made");
    Ok((StatusCode::CREATED, Json(created)))
}

/// Revokes a token; from the next request on it is refused.
pub async fn revoke(State(state): State<Arc<ApiState>>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let which = id.clone();
    if on_disk(&state, move |tokens| tokens.revoke(&which)).await? {
        tracing::info!(id, "a token was revoked");
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Does what waits for the disk off the threads that serve requests.
async fn on_disk<T: Send + 'static>(
    state: &ApiState,
    change: impl FnOnce(&Tokens) -> Result<T, TokenError> + Send + 'static,
) -> Result<T, ApiError> {
    let tokens = Arc::clone(&state.tokens);
    match tokio::task::spawn_blocking(move || change(&tokens)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error @ TokenError::TooMany)) => Err(ApiError::conflict(None, error.to_string())),
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the tokens cannot be changed");
            Err(ApiError::unavailable(error.to_string()))
        }
        Err(_) => Err(ApiError::unavailable("the change broke off")),
    }
}
