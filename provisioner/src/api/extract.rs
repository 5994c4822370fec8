//! Bodies and query strings: bounded, and refused in Ironic's form.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use reveille_config::limit::BODY_BYTES_MAX;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ApiError;

/// For a body to arrive.
const BODY: Duration = Duration::from_secs(30);

/// A JSON body; an empty one is `null`.
pub(super) struct Json(pub Value);

impl<S: Sync> FromRequest<S> for Json {
    type Rejection = ApiError;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, ApiError> {
        let too_large = || {
            ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("The request body has more than {BODY_BYTES_MAX} octets."),
            )
        };
        let announced =
            request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|octets| octets > BODY_BYTES_MAX) {
            return Err(too_large());
        }
        let late = |_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "The request body did not arrive in time.");
        let read = to_bytes(request.into_body(), BODY_BYTES_MAX);
        let bytes = tokio::time::timeout(BODY, read).await.map_err(late)?.map_err(|_| too_large())?;
        if bytes.is_empty() {
            return Ok(Self(Value::Null));
        }
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| ApiError::invalid(format!("The request body is not valid JSON: {error}")))
    }
}

impl Json {
    /// The body as a type of ours; unknown fields are refused where the type says so.
    pub fn read<T: DeserializeOwned>(self, what: &str) -> Result<T, ApiError> {
        serde_json::from_value(self.0).map_err(|error| ApiError::invalid(format!("Schema error for {what}: {error}")))
    }
}

/// The query string. A parameter that nobody asked the value of is refused by [`Query::end`].
#[derive(Debug)]
pub(super) struct Query(BTreeMap<String, String>);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let _ = state;
        let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|error| ApiError::invalid(format!("The query string cannot be read: {error}")))?;
        Ok(Self(query.0.into_iter().collect()))
    }
}

impl Query {
    /// Takes a parameter.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// Takes a parameter that is true or false, in any of the words that Ironic takes.
    pub fn take_bool(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        self.take(name).map(|text| read_bool(name, &text)).transpose()
    }

    /// Takes a number.
    pub fn take_number(&mut self, name: &str) -> Result<Option<u64>, ApiError> {
        let number = |text: String| {
            text.parse().map_err(|_| ApiError::invalid(format!("Invalid input for {name}: {text:?} is not a number.")))
        };
        self.take(name).map(number).transpose()
    }

    /// Refuses what has not been taken.
    pub fn end(self) -> Result<(), ApiError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(ApiError::invalid(format!("Unexpected argument: {name:?}"))),
        }
    }
}

fn read_bool(name: &str, text: &str) -> Result<bool, ApiError> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
        _ => Err(ApiError::invalid(format!("Invalid input for {name}: {text:?} is neither true nor false."))),
    }
}
