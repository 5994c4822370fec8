//! [`ApiError`]: Ironic's error bodies: `{"error_message": "<JSON text of faultcode, faultstring, debuginfo>"}`.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use uuid::Uuid;

use crate::proto::node::{Node, Refusal};
use crate::store::StoreError;

/// Why a request was not carried out, in Ironic's words where it has some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    words: String,
}

impl ApiError {
    /// An error with a status of its own.
    pub fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self { status, words: words.into() }
    }

    /// 400.
    pub fn invalid(words: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, words)
    }

    /// 404.
    pub fn not_found(words: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, words)
    }

    /// 409.
    pub fn conflict(words: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, words)
    }

    /// 409 where there are as many as there may be: `what` in the plural, e.g. `nodes`.
    pub fn check_room(what: &str, present: usize, most: usize) -> Result<(), Self> {
        if present < most {
            return Ok(());
        }
        Err(Self::conflict(format!(
            "There are {present} {what} already, and no more than {most} are kept: delete some first."
        )))
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "The method is not allowed for this resource.")
    }

    /// 404 for a node, by the name it was asked for.
    pub fn no_node(asked: &str) -> Self {
        Self::not_found(format!("Node {asked} could not be found."))
    }

    /// 404 for a port.
    pub fn no_port(asked: &str) -> Self {
        Self::not_found(format!("Port {asked} could not be found."))
    }

    /// 409: somebody works on the node.
    pub fn locked(node: Uuid, host: &str) -> Self {
        Self::conflict(format!(
            "Node {node} is locked by host {host}, please retry after the current operation is completed."
        ))
    }

    /// 403: the node's instance is protected.
    pub fn protected(node: Uuid) -> Self {
        let words = format!("Node {node} is protected and can not be undeployed, rebuilt or deleted.");
        Self::new(StatusCode::FORBIDDEN, words)
    }

    /// What the life cycle refused, in Ironic's words.
    pub fn refused(refusal: Refusal, node: &Node, host: &str) -> Self {
        let uuid = node.uuid;
        match refusal {
            Refusal::Locked => Self::locked(uuid, host),
            Refusal::Protected => Self::protected(uuid),
            Refusal::InMaintenance => Self::invalid(format!(
                "The provisioning operation can't be performed on node {uuid} because it's in maintenance mode."
            )),
            Refusal::InvalidState { action, state } => Self::invalid(format!(
                "The requested action \"{action}\" can not be performed on node \"{uuid}\" while it is in state \"{state}\"."
            )),
            Refusal::Invalid(words) => {
                Self::invalid(format!("Failed to validate deploy or power info for node {uuid}: {words}"))
            }
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let status = match error {
            StoreError::Refused { .. } => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = if self.status.is_server_error() { "Server" } else { "Client" };
        let inner = json!({ "faultcode": code, "faultstring": self.words, "debuginfo": null }).to_string();
        (self.status, axum::Json(json!({ "error_message": inner }))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_the_limit_is_refused() {
        assert_eq!(ApiError::check_room("nodes", 2, 3), Ok(()));
        let refused = ApiError::check_room("nodes", 3, 3).unwrap_err();
        assert_eq!(refused.status, StatusCode::CONFLICT);
        assert!(refused.words.contains("3 nodes"), "{}", refused.words);
    }
}
