//! One HTTP/1.1 exchange over a unix socket or TCP, with a deadline and a bound on the answer.

use std::future::Future;
use std::time::Duration;

use ::http::{HeaderValue, Method, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use reveille_config::Endpoint;
use reveille_config::dto::Problem;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::{Access, ClientError};

/// Octets of an answer that a client reads before it gives up.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Where to ask, and how long to wait.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    endpoint: Endpoint,
    timeout: Duration,
    headers: Vec<(&'static str, &'static str)>,
    access: Access,
    problem: fn(StatusCode, &[u8]) -> Problem,
}

/// An answer of any status.
struct Answer {
    status: StatusCode,
    body: Bytes,
}

impl Http {
    /// An exchange with the daemon at `endpoint`, 10 s at most.
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, timeout: TIMEOUT, headers: Vec::new(), access: Access::default(), problem: read_problem }
    }

    /// Shows `access` with every request.
    pub(crate) fn with_access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Sends `name: value` with every request.
    pub(crate) fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Reads refusals with `problem` instead of as RFC 9457.
    pub(crate) fn with_problem(mut self, problem: fn(StatusCode, &[u8]) -> Problem) -> Self {
        self.problem = problem;
        self
    }

    /// The same with `more` time, for a long poll.
    pub(crate) fn with_more_time(&self, more: Duration) -> Self {
        Self { timeout: self.timeout + more, ..self.clone() }
    }

    /// `GET path`, its answer read as JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call::<(), T>(Method::GET, path, None).await
    }

    /// `method path` with a JSON body, its answer read as JSON.
    pub(crate) async fn call<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<T, ClientError> {
        let request = format!("{method} {path}");
        let answer = self.exchange(method, path, body).await?;
        serde_json::from_slice(&answer.body).map_err(|cause| ClientError::Answer {
            endpoint: self.endpoint.clone(),
            request,
            cause,
        })
    }

    /// `method path` with an optional JSON body where the answer's body does not matter.
    pub(crate) async fn send<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<(), ClientError> {
        self.exchange(method, path, body).await.map(drop)
    }

    /// `GET path`, its answer as text whatever its status (for `/readyz`).
    pub(crate) async fn text(&self, path: &str) -> Result<(u16, String), ClientError> {
        let answer = self.within(self.round_trip(Method::GET, path, Bytes::new()), &Method::GET, path).await?;
        Ok((answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned()))
    }

    async fn exchange<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<Answer, ClientError> {
        let body = match body {
            None => Bytes::new(),
            Some(body) => serde_json::to_vec(body).map_err(|error| self.broken(&method, path, error.into()))?.into(),
        };
        let answer = self.within(self.round_trip(method.clone(), path, body), &method, path).await?;
        if answer.status.is_success() {
            Ok(answer)
        } else {
            Err(ClientError::Refused { problem: (self.problem)(answer.status, &answer.body) })
        }
    }

    async fn within<T>(
        &self,
        exchange: impl Future<Output = Result<T, ClientError>>,
        method: &Method,
        path: &str,
    ) -> Result<T, ClientError> {
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or_else(|_| {
            Err(ClientError::Timeout {
                endpoint: self.endpoint.clone(),
                request: format!("{method} {path}"),
                waited: self.timeout,
            })
        })
    }

    async fn round_trip(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, ClientError> {
        let unreachable = |cause| ClientError::Connect { endpoint: self.endpoint.clone(), cause };
        match &self.endpoint {
            Endpoint::Unix(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(unreachable)?;
                self.over(stream, "localhost", method, path, body).await
            }
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(unreachable)?;
                self.over(stream, &address.to_string(), method, path, body).await
            }
            Endpoint::Https(authority) => {
                let stream = TcpStream::connect((&*authority.host, authority.port)).await.map_err(unreachable)?;
                let refused = |error| unreachable(std::io::Error::new(std::io::ErrorKind::InvalidData, error));
                let name = ServerName::try_from(authority.host.clone());
                let name =
                    name.map_err(|error| unreachable(std::io::Error::new(std::io::ErrorKind::InvalidInput, error)))?;
                let tls = TlsConnector::from(self.access.tls().map_err(refused)?);
                let stream = tls.connect(name, stream).await.map_err(unreachable)?;
                self.over(stream, &authority.to_string(), method, path, body).await
            }
        }
    }

    async fn over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        host: &str,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let mut request = Request::builder().method(&method).uri(path).header(header::HOST, host);
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        if let Some(bearer) = self.access.bearer() {
            let mut value = HeaderValue::from_str(bearer).map_err(|error| self.broken(&method, path, error.into()))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(Full::new(body)).map_err(|error| self.broken(&method, path, error.into()))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&method, path, error.into()))?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?.to_bytes();
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Answer { status, body })
        };
        // The connection is driven here and dropped with the exchange: no task outlives a call. A daemon may refuse and hang up before it has read
        // the whole request: what it answered counts more than how the connection ended.
        let mut connection = std::pin::pin!(connection);
        let mut exchange = std::pin::pin!(exchange);
        let answer = tokio::select! {
            biased;
            answer = &mut exchange => answer,
            ended = &mut connection => match ended {
                Ok(()) => exchange.await,
                Err(ended) => exchange.await.map_err(|_| ended.into()),
            },
        };
        answer.map_err(|cause| {
            if cause.is::<LengthLimitError>() {
                return ClientError::TooLong { endpoint: self.endpoint.clone(), request: format!("{method} {path}") };
            }
            self.broken(&method, path, cause)
        })
    }

    fn broken(&self, method: &Method, path: &str, cause: Box<dyn std::error::Error + Send + Sync>) -> ClientError {
        ClientError::Exchange { endpoint: self.endpoint.clone(), request: format!("{method} {path}"), cause }
    }
}

/// Reads an RFC 9457 body, or makes a problem of whatever else was sent.
fn read_problem(status: StatusCode, body: &[u8]) -> Problem {
    serde_json::from_slice(body).unwrap_or_else(|_| plain_problem(status, &String::from_utf8_lossy(body)))
}

/// A problem out of a status and some text.
pub(crate) fn plain_problem(status: StatusCode, text: &str) -> Problem {
    let title = status.canonical_reason().unwrap_or("refused").to_owned();
    let text: String = text.trim().chars().take(500).collect();
    let detail = if text.is_empty() { format!("{} {title}", status.as_u16()) } else { text };
    Problem { status: status.as_u16(), title, detail, field: None }
}

/// `GET /v1/events`, the same in every daemon.
pub(crate) async fn events(
    http: &Http,
    since: u64,
    wait: Duration,
) -> Result<reveille_config::dto::event::EventPage, ClientError> {
    let path = crate::query::path("/v1/events", &[("since", Some(&since)), ("wait_secs", Some(&wait.as_secs()))]);
    http.with_more_time(wait).get(&path).await
}
