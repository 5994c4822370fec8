//! Reads bodies, path and query parameters; what is wrong with them names its field.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::Uri;
use axum::http::request::Parts;
use metrics::counter;
use reveille_config::MacAddr;
use reveille_config::dhcpd::{NotAClient, ReservedFor};
use reveille_config::limit::BODY_BYTES_MAX;
use serde::de::DeserializeOwned;

use super::ApiState;
use super::pieces::Pieces;
use super::problem::ApiError;

/// How long a body may take to come.
const TIME_MAX: Duration = Duration::from_secs(30);

/// A JSON body. An empty one reads as `{}`. The content type is not looked at: there is only JSON.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<ApiState>> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<ApiState>) -> Result<Self, ApiError> {
        let mut pieces = Pieces::of(request, BODY_BYTES_MAX, TIME_MAX)?;
        let mut octets = Vec::new();
        // What is in memory of all bodies is counted, and given back when this one has been read.
        let mut room = Vec::new();
        while let Some(piece) = pieces.next().await? {
            let size = piece.len().try_into().unwrap_or(u32::MAX);
            let Ok(permit) = state.bodies.try_acquire_many(size) else {
                counter!("reveille_dhcpd_http_bodies_refused_total").increment(1);
                return Err(ApiError::unavailable("too much is being sent to this server at once"));
            };
            room.push(permit);
            octets.extend_from_slice(&piece);
        }
        read(if octets.is_empty() { b"{}" } else { &octets }).map(Self)
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
