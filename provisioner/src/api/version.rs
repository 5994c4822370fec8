//! Version negotiation: `X-OpenStack-Ironic-API-Version`.
//!
//! Without the header, 1.1; `latest` is the newest. An unsupported version gets 406 with the range in headers, after which
//! clients ask again with a version inside it. Every answer bears the range and the version it was made for.

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use uuid::Uuid;

use super::ApiError;

/// The oldest version.
pub const VERSION_MIN: Version = Version(1);
/// The newest version.
pub const VERSION_MAX: Version = Version(115);

static ASKED: HeaderName = HeaderName::from_static("x-openstack-ironic-api-version");
static MINIMUM: HeaderName = HeaderName::from_static("x-openstack-ironic-api-minimum-version");
static MAXIMUM: HeaderName = HeaderName::from_static("x-openstack-ironic-api-maximum-version");
static REQUEST_ID: HeaderName = HeaderName::from_static("openstack-request-id");

/// A version of the API, by its minor number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

impl<S: Sync> FromRequestParts<S> for Version {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get().copied().unwrap_or(VERSION_MIN))
    }
}

impl Version {
    /// Fails with Ironic's 406 where the request's version is older than `needed`.
    pub fn require(self, needed: u16) -> Result<(), ApiError> {
        if self.0 >= needed {
            return Ok(());
        }
        let words = format!("Request not acceptable. The minimal required API version should be 1.{needed}");
        Err(ApiError::new(StatusCode::NOT_ACCEPTABLE, words))
    }
}

/// Reads the version that was asked for, and marks the answer.
pub(super) async fn negotiate(mut request: Request, next: Next) -> Response {
    // Whoever reads `/` is still looking for the versions.
    let asked = if request.uri().path() == "/" { None } else { request.headers().get(&ASKED) };
    let (version, mut response) = match read(asked) {
        Ok(version) => {
            request.extensions_mut().insert(version);
            (Some(version), next.run(request).await)
        }
        Err(words) => (None, not_acceptable(&words)),
    };
    let headers = response.headers_mut();
    let value =
        |version: Version| HeaderValue::from_str(&version.to_string()).unwrap_or(HeaderValue::from_static("1.1"));
    headers.insert(MINIMUM.clone(), value(VERSION_MIN));
    headers.insert(MAXIMUM.clone(), value(VERSION_MAX));
    if let Some(version) = version {
        headers.insert(ASKED.clone(), value(version));
    }
    if let Ok(id) = HeaderValue::from_str(&format!("req-{}", Uuid::new_v4())) {
        headers.insert(REQUEST_ID.clone(), id);
    }
    response
}

fn read(asked: Option<&HeaderValue>) -> Result<Version, String> {
    let Some(asked) = asked else { return Ok(VERSION_MIN) };
    let asked = asked.to_str().unwrap_or("").trim();
    if asked.eq_ignore_ascii_case("latest") {
        return Ok(VERSION_MAX);
    }
    let numbers = asked.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let Some((major, minor)): Option<(u16, u16)> = numbers else {
        return Err(format!("Invalid value for X-OpenStack-Ironic-API-Version header: {asked:?}"));
    };
    let range = format!("The supported version range is: [{VERSION_MIN}, {VERSION_MAX}].");
    if major != 1 {
        return Err(format!(
            "Mutually exclusive versions requested. Version {asked} requested but not supported by this service. {range}"
        ));
    }
    let version = Version(minor);
    if version < VERSION_MIN || version > VERSION_MAX {
        return Err(format!(
            "Version {asked} was requested but the minor version is not supported by this service. {range}"
        ));
    }
    Ok(version)
}

/// The one error of another form: the client looks for a code, a title and a description.
fn not_acceptable(words: &str) -> Response {
    let inner = json!({ "code": 406, "title": "Not Acceptable", "description": words }).to_string();
    (StatusCode::NOT_ACCEPTABLE, axum::Json(json!({ "error_message": inner }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_clients_send() {
        let cases = [
            (None, Ok(Version(1))),
            (Some("1.115"), Ok(Version(115))),
            (Some("1.1"), Ok(Version(1))),
            (Some("latest"), Ok(Version(115))),
            (Some("1.116"), Err("Version 1.116 was requested")),
            (Some("1.0"), Err("Version 1.0 was requested")),
            (Some("2.1"), Err("Mutually exclusive")),
            (Some("1"), Err("Invalid value")),
            (Some("1.x"), Err("Invalid value")),
            (Some(""), Err("Invalid value")),
        ];
        for (asked, outcome) in cases {
            let header = asked.map(HeaderValue::from_static);
            match (read(header.as_ref()), outcome) {
                (Ok(version), Ok(expected)) => assert_eq!(version, expected, "{asked:?}"),
                (Err(words), Err(expected)) => assert!(words.starts_with(expected), "{asked:?}: {words}"),
                other => panic!("{asked:?}: {other:?}"),
            }
        }
    }
}
