//! [`Refusal`]: an error as the API answers it (RFC 9457, `application/problem+json`).

use axum::extract::rejection::QueryRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use reveille_config::dto::Problem;

use crate::store::WriteError;

/// A request that is refused.
#[derive(Debug)]
pub(super) struct Refusal(Box<Problem>);

impl Refusal {
    pub(super) fn new(status: StatusCode, title: &str, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem {
            status: status.as_u16(),
            title: title.into(),
            detail: detail.into(),
            field: None,
            errors: Vec::new(),
        }))
    }

    /// 400 for one field of the body, or one parameter.
    pub(super) fn bad(field: &str, detail: impl Into<String>) -> Self {
        let mut refusal = Self::new(StatusCode::BAD_REQUEST, "invalid request", detail);
        refusal.0.field = Some(field.into());
        refusal
    }

    /// 400 for a body that is not what it should be; the field where serde names one.
    pub(super) fn json(error: &serde_json::Error) -> Self {
        let detail = error.to_string();
        let mut refusal = Self::new(StatusCode::BAD_REQUEST, "invalid request", detail.clone());
        refusal.0.field =
            detail.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')).map(|(field, _)| field.into());
        refusal
    }

    /// 400 for the query.
    pub(super) fn query(error: QueryRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid parameters", error.body_text())
    }
}

impl From<WriteError> for Refusal {
    fn from(error: WriteError) -> Self {
        let (status, title) = match &error {
            WriteError::Full => (StatusCode::INSUFFICIENT_STORAGE, "too many intents"),
            WriteError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            WriteError::Disk(_) => (StatusCode::SERVICE_UNAVAILABLE, "cannot write"),
        };
        Self::new(status, title, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}
