//! [`Fetcher`]: GET of a file of another HTTP server, whole or from an octet on.
//!
//! It follows no redirects (a mirror is configured where it really is) and retries nothing: whoever asks decides.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE, USER_AGENT};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

/// Until the head of an answer has come, the connection included.
const HEAD_TIME_MAX: Duration = Duration::from_secs(30);
/// Between two pieces of a body.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Why nothing, or nothing more, came.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// The URL.
    #[error("{0:?} is no URL of http or https")]
    Url(String),
    /// No connection, or it broke off.
    #[error("{0}")]
    Broken(String),
    /// Nothing came in time.
    #[error("nothing came for {} s", .0.as_secs())]
    Silent(Duration),
    /// Another status than one with a file.
    #[error("it answers {0}")]
    Status(StatusCode),
}

/// What the URL had, of which the body is still to come.
#[derive(Debug)]
pub struct Fetched {
    /// What tells this file from its next version: a strong `ETag`, else `Last-Modified`; none where the server says neither.
    pub validator: Option<String>,
    /// Octets of the whole file, where the server says so.
    pub bytes_total: Option<u64>,
    /// The first octet of what comes: 0, or where it was asked to go on.
    pub offset: u64,
    body: Incoming,
}

/// What is known of the file already.
#[derive(Debug, Clone, Copy)]
pub enum Known<'a> {
    /// Nothing.
    Nothing,
    /// So many octets of the version that the validator names.
    Some(u64, &'a str),
    /// All of that version.
    All(&'a str),
}

/// The client; its connections are kept for the next.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Default for Fetcher {
    fn default() -> Self {
        Self::new()
    }
}

impl Fetcher {
    /// A client that trusts the certificates that this host trusts.
    pub fn new() -> Self {
        let mut roots = RootCertStore::empty();
        // Where there are none, TLS fails with a word of an unknown issuer; plain HTTP needs none.
        let _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring knows the versions of TLS that rustls knows")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { client }
    }

    /// Asks for a file; `Ok(None)`: what is known is all of the present version.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn get(&self, url: &str, known: Known<'_>) -> Result<Option<Fetched>, FetchError> {
        let mut request = Request::get(url).header(USER_AGENT, concat!("reveille/", env!("CARGO_PKG_VERSION")));
        request = match known {
            Known::Nothing => request,
            Known::Some(bytes, validator) => {
                request.header(RANGE, format!("bytes={bytes}-")).header(IF_RANGE, validator)
            }
            Known::All(validator) if validator.starts_with('"') => request.header(IF_NONE_MATCH, validator),
            Known::All(validator) => request.header(http::header::IF_MODIFIED_SINCE, validator),
        };
        let request = request.body(Empty::new()).map_err(|_| FetchError::Url(url.into()))?;
        let answer = tokio::time::timeout(HEAD_TIME_MAX, self.client.request(request));
        let answer = answer.await.map_err(|_| FetchError::Silent(HEAD_TIME_MAX))?;
        let answer = answer.map_err(|error| FetchError::Broken(innermost(&error)))?;
        let headers = answer.headers();
        let length = text(headers, CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let (offset, bytes_total) = match (answer.status(), known) {
            (StatusCode::OK, _) => (0, length),
            (StatusCode::PARTIAL_CONTENT, Known::Some(bytes, _)) => match content_range(headers) {
                Some((first, total)) if first == bytes => (first, Some(total)),
                _ => return Err(FetchError::Broken("it sends another part than it was asked for".into())),
            },
            (StatusCode::NOT_MODIFIED, Known::All(_)) => return Ok(None),
            (status, _) => return Err(FetchError::Status(status)),
        };
        let strong = text(headers, ETAG).filter(|tag| tag.starts_with('"'));
        let validator = strong.or_else(|| text(headers, LAST_MODIFIED)).map(str::to_owned);
        Ok(Some(Fetched { validator, bytes_total, offset, body: answer.into_body() }))
    }
}

impl Fetched {
    /// The next octets; `Ok(None)` at the end.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            let frame = tokio::time::timeout(SILENCE_MAX, self.body.frame());
            match frame.await.map_err(|_| FetchError::Silent(SILENCE_MAX))? {
                None => return Ok(None),
                Some(Err(error)) => return Err(FetchError::Broken(innermost(&error))),
                // Trailers say nothing that matters here.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Ok(Some(data)),
                    _ => {}
                },
            }
        }
    }
}

fn text(headers: &HeaderMap, name: http::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// First octet and total of `bytes 5-9/10`.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let (range, total) = text(headers, CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()?))
}

/// The last of an error's causes, which says what happened and not where.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
