//! What Reveille adds: events, health, metrics.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use reveille_config::limit::{EVENTS_WAIT_SECS_MAX, PAGE_MAX};

use super::extract::Query;
use super::{Api, ApiError};

pub(super) async fn events(State(api): State<Api>, mut query: Query) -> Result<Response, ApiError> {
    let since = query.take_number("since")?.unwrap_or(0);
    let wait = query.take_number("wait_secs")?.unwrap_or(0).min(EVENTS_WAIT_SECS_MAX);
    let limit = query.take_number("limit")?.map_or(PAGE_MAX, |limit| usize::try_from(limit).unwrap_or(PAGE_MAX));
    query.end()?;
    let page = api.store.events().after(since, limit, Duration::from_secs(wait)).await;
    Ok(axum::Json(page).into_response())
}

pub(super) async fn configuration(State(api): State<Api>) -> Response {
    axum::Json(api.reload.borrow().clone()).into_response()
}

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

pub(super) async fn readyz(State(api): State<Api>) -> Response {
    match &*api.store.health().borrow() {
        Ok(()) => "ready\n".into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

pub(super) async fn metrics(State(api): State<Api>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], (api.metrics_text)()).into_response()
}
