//! Errors of the API as RFC 9457 problems.

use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use reveille_config::dto::{Problem, RowProblem};

/// An error answer.
#[derive(Debug)]
pub struct ApiError(Problem);

impl ApiError {
    fn new(status: StatusCode, title: &str, detail: impl Into<String>, field: Option<&str>) -> Self {
        Self(Problem {
            status: status.as_u16(),
            title: title.into(),
            detail: detail.into(),
            field: field.map(Into::into),
            errors: Vec::new(),
        })
    }

    /// What it says.
    pub fn into_problem(self) -> Problem {
        self.0
    }

    /// 422: rows of a batch that cannot be.
    pub fn rows(detail: impl Into<String>, errors: Vec<RowProblem>) -> Self {
        let Self(problem) = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "rows that cannot be", detail, None);
        Self(Problem { errors, ..problem })
    }

    /// 408.
    pub fn too_slow(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "too slow", detail, None)
    }

    /// 412.
    pub fn precondition(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "precondition failed", detail, None)
    }

    /// 400: not what the route reads.
    pub fn malformed(field: Option<&str>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed request", detail, field)
    }

    /// 413.
    pub fn too_long(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body too long", detail, None)
    }

    /// 422: readable, but not possible.
    pub fn invalid(field: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid value", detail, Some(field))
    }

    /// 401: nobody knows who asks.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "who are you", detail, None)
    }

    /// 403: known, and not allowed to.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "not allowed", detail, None)
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not found", detail, None)
    }

    /// 409.
    pub fn conflict(field: Option<&str>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail, field)
    }

    /// 503.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not now", detail, None)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut answer = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        let header = match status {
            // RFC 6750 §3.
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer realm=\"reveille\"")),
            // RFC 9110 §10.2.3, seconds.
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "1")),
            _ => None,
        };
        if let Some((name, value)) = header {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        answer
    }
}

/// 404 for an unknown path.
pub async fn no_route(uri: Uri) -> ApiError {
    ApiError::not_found(format!("there is no {} here", uri.path()))
}

/// 405 for a path that has other methods.
pub async fn no_method(method: Method, uri: Uri) -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed", format!("{} has no {method}", uri.path()), None)
}
