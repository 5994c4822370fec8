//! One HTTP/1.1 exchange over a unix socket or TCP, with a deadline and a bound on the answer.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use ::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
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

/// Moves a connection on while something else is awaited; empty when the connection has ended.
pub(crate) struct Driver(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Driver {
    /// What `work` gives, the connection moving on meanwhile. What it has brought is still there when it has ended.
    pub(crate) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            let Some(connection) = &mut self.0 else { return work.await };
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = connection => self.0 = None,
            }
        }
    }
}

/// A connection of any kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Where to ask, and how long to wait.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    endpoint: Endpoint,
    timeout: Duration,
    headers: Vec<(&'static str, Cow<'static, str>)>,
    access: Access,
    problem: fn(StatusCode, &[u8]) -> Problem,
}

/// An answer of any status.
struct Answer {
    status: StatusCode,
    /// `ETag`, quotes and all.
    tag: Option<String>,
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
    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
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
        self.call_tagged(method, path, body).await.map(|(answer, _)| answer)
    }

    /// The same, with the tag that the answer bears, quotes and all.
    pub(crate) async fn call_tagged<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<(T, Option<String>), ClientError> {
        let request = format!("{method} {path}");
        let answer = self.exchange(method, path, body).await?;
        let read = serde_json::from_slice(&answer.body);
        let read = read.map_err(|cause| ClientError::Answer { endpoint: self.endpoint.clone(), request, cause })?;
        Ok((read, answer.tag))
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
        let (stream, host) = self.connect().await?;
        self.over(stream, &host, method, path, body).await
    }

    /// A connection, and what the daemon is called in a request.
    async fn connect(&self) -> Result<(Box<dyn Stream>, String), ClientError> {
        let unreachable = |cause| ClientError::Connect { endpoint: self.endpoint.clone(), cause };
        match &self.endpoint {
            Endpoint::Unix(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(unreachable)?;
                Ok((Box::new(stream), "localhost".into()))
            }
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(unreachable)?;
                Ok((Box::new(stream), address.to_string()))
            }
            Endpoint::Https(authority) => {
                let stream = TcpStream::connect((&*authority.host, authority.port)).await.map_err(unreachable)?;
                let refused = |error| unreachable(std::io::Error::new(std::io::ErrorKind::InvalidData, error));
                let name = ServerName::try_from(authority.host.clone());
                let name =
                    name.map_err(|error| unreachable(std::io::Error::new(std::io::ErrorKind::InvalidInput, error)))?;
                let tls = TlsConnector::from(self.access.tls().map_err(refused)?);
                let stream = tls.connect(name, stream).await.map_err(unreachable)?;
                Ok((Box::new(stream), authority.to_string()))
            }
        }
    }

    /// A request with what every request of this client bears.
    fn request(&self, method: &Method, path: &str, host: &str) -> Result<::http::request::Builder, ClientError> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
        for (name, value) in &self.headers {
            request = request.header(*name, &**value);
        }
        if let Some(bearer) = self.access.bearer() {
            let mut value = HeaderValue::from_str(bearer).map_err(|error| self.broken(method, path, error.into()))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        Ok(request)
    }

    async fn over(
        &self,
        stream: Box<dyn Stream>,
        host: &str,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let mut request = self.request(&method, path, host)?;
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body)).map_err(|error| self.broken(&method, path, error.into()))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&method, path, error.into()))?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(Into::into);
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?.to_bytes();
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Answer { status, tag, body })
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

    /// `GET path` whose answer has no end: its head within the time of a call, and what moves the connection on while its body is read.
    pub(crate) async fn open(&self, path: &str, accept: &str) -> Result<(Response<Incoming>, Driver), ClientError> {
        let opening = async {
            let (stream, host) = self.connect().await?;
            self.open_over(stream, &host, path, accept).await
        };
        self.within(opening, &Method::GET, path).await
    }

    async fn open_over(
        &self,
        stream: Box<dyn Stream>,
        host: &str,
        path: &str,
        accept: &str,
    ) -> Result<(Response<Incoming>, Driver), ClientError> {
        let broken = |cause| self.broken(&Method::GET, path, cause);
        let request = self.request(&Method::GET, path, host)?.header(header::ACCEPT, accept);
        let request = request.body(Full::new(Bytes::new())).map_err(|error| broken(error.into()))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(error.into()))?;
        let connection: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async {
            // How it ended shows in the body.
            let _ = connection.await;
        });
        let mut driver = Driver(Some(connection));
        let answer = driver.beside(sender.send_request(request)).await.map_err(|error| broken(error.into()))?;
        if answer.status().is_success() {
            return Ok((answer, driver));
        }
        let status = answer.status();
        let body = driver.beside(Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect()).await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        Err(ClientError::Refused { problem: (self.problem)(status, &body) })
    }

    /// The error of a stream that was silent for too long.
    pub(crate) fn timed_out(&self, path: &str, waited: Duration) -> ClientError {
        ClientError::Timeout { endpoint: self.endpoint.clone(), request: format!("GET {path}"), waited }
    }

    /// The error of a stream that broke.
    pub(crate) fn broke_off(&self, path: &str, cause: Box<dyn std::error::Error + Send + Sync>) -> ClientError {
        self.broken(&Method::GET, path, cause)
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
    Problem { status: status.as_u16(), title, detail, field: None, errors: Vec::new() }
}
