//! Reads bodies, path and query parameters; what is wrong with them names its field.

use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use reveille_config::MacAddr;
use reveille_config::dhcpd::{NotAClient, ReservedFor};
use reveille_config::limit::BODY_BYTES_MAX;
use serde::de::DeserializeOwned;

use super::problem::ApiError;

/// A JSON body. An empty one reads as `{}`. The content type is not looked at: there is only JSON.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let octets = Bytes::from_request(request, state).await.map_err(|rejection: BytesRejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                ApiError::too_long(format!("at most {BODY_BYTES_MAX} octets"))
            } else {
                ApiError::malformed(None, rejection.body_text())
            }
        })?;
        let octets = if octets.is_empty() { Bytes::from_static(b"{}") } else { octets };
        read(&octets).map(Self)
    }
}

/// Reads JSON.
///
/// # Errors
/// 400, naming the field.
pub fn read<T: DeserializeOwned>(octets: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(octets);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let detail = error.into_inner().to_string();
        ApiError::malformed((path != ".").then_some(&*path), detail)
    })?;
    reader.end().map_err(|error| ApiError::malformed(None, error.to_string()))?;
    Ok(value)
}

/// The query's parameters by name.
pub struct Query(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::of(&parts.uri)
    }
}

impl Query {
    /// Those of an address. That each is one of its route's was checked when the request came in.
    ///
    /// # Errors
    /// 400 where it cannot be read.
    pub fn of(uri: &Uri) -> Result<Self, ApiError> {
        let query = axum::extract::Query::try_from_uri(uri);
        query
            .map(|axum::extract::Query(pairs)| Self(pairs))
            .map_err(|error| ApiError::malformed(None, error.body_text()))
    }

    /// All parameters, in their order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// A parameter as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// A parameter that is a number.
    ///
    /// # Errors
    /// 400 where it is none.
    pub fn number<T: FromStr>(&self, name: &str, default: T) -> Result<T, ApiError> {
        let number = |text: &str| text.parse().map_err(|_| ApiError::malformed(Some(name), "a number is expected"));
        self.text(name).map_or(Ok(default), number)
    }
}

/// The MAC of a path.
///
/// # Errors
/// 400 where it is none.
pub fn mac(text: &str) -> Result<MacAddr, ApiError> {
    text.parse().map_err(|error: reveille_config::MacAddrError| ApiError::malformed(Some("mac"), error.to_string()))
}

/// The client of a reservation in a path.
///
/// # Errors
/// 400 where it is none.
pub fn client(text: &str) -> Result<ReservedFor, ApiError> {
    text.parse().map_err(|error: NotAClient| ApiError::malformed(Some("client"), error.to_string()))
}
