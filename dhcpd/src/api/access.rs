//! Who may do what: each request needs a [`Role`], which its caller has by the way it came in, by a client certificate or by a bearer token (RFC 6750).
//!
//! Looking needs `read`, changing `write`, and tokens `admin`; `/healthz` and `/readyz` are for everybody. A token counts alone: it does not add to what its bearer may do anyway.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics::counter;
use reveille_config::dto::token::Role;

use super::problem::ApiError;
use super::{ApiState, unix_now};

/// What is known of a caller by its connection; each request carries it.
#[derive(Debug, Clone)]
pub struct Peer {
    /// What it may do without a token.
    pub role: Option<Role>,
}

impl Peer {
    /// Somebody who may open the unix socket.
    pub const LOCAL: Self = Self { role: Some(Role::Admin) };
}

/// Lets a request in whose caller has the role for it.
pub async fn admit(State(state): State<Arc<ApiState>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let Some(needed) = needed(request.method(), path) else { return next.run(request).await };
    match role(&state, &request) {
        Ok(Some(role)) if role >= needed => next.run(request).await,
        Ok(Some(role)) => {
            refused("role");
            let detail = format!("{} {path} needs the role {needed}; yours is {role}", request.method());
            ApiError::forbidden(detail).into_response()
        }
        Ok(None) => {
            refused("nobody");
            ApiError::unauthorized(
                "a token is expected, as in `Authorization: Bearer rvl_…`, or a client certificate with a role",
            )
            .into_response()
        }
        Err(error) => {
            refused("token");
            error.into_response()
        }
    }
}

fn refused(reason: &'static str) {
    counter!("reveille_dhcpd_http_not_admitted_total", "reason" => reason).increment(1);
}

/// The role that a request needs; `None`: none at all.
fn needed(method: &Method, path: &str) -> Option<Role> {
    match path {
        "/healthz" | "/readyz" => None,
        _ if path.starts_with("/v1/tokens") => Some(Role::Admin),
        _ if *method == Method::GET || *method == Method::HEAD => Some(Role::Read),
        _ => Some(Role::Write),
    }
}

fn role(state: &ApiState, request: &Request) -> Result<Option<Role>, ApiError> {
    let Some(authorization) = request.headers().get(header::AUTHORIZATION) else {
        return Ok(request.extensions().get::<Peer>().and_then(|peer| peer.role));
    };
    let bearer = authorization.to_str().ok().and_then(|text| text.split_once(' '));
    let token = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let token = token.ok_or_else(|| ApiError::unauthorized("`Authorization` is not `Bearer` and a token"))?;
    let known = state.tokens.check(token, unix_now());
    known.map(|(role, _)| Some(role)).ok_or_else(|| ApiError::unauthorized("the token is unknown, revoked or over"))
}
