//! [`Connection`]: HTTP/1.1 over the unix socket, one connection that is kept open, as a conductor's HTTP library keeps it.

use std::path::Path;

use anyhow::{Context, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// A connection to the lease API. What drives it ends with it.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _driver: tokio::task::JoinSet<()>,
}

impl Connection {
    /// Opens one.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn open(socket: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(socket).await.with_context(|| format!("cannot open {}", socket.display()))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = tokio::task::JoinSet::new();
        driver.spawn(async {
            // How it ended shows in the answer.
            let _ = connection.await;
        });
        Ok(Self { sender, _driver: driver })
    }

    /// Asks, and waits for the head of the answer, which must be a success.
    ///
    /// # Errors
    /// The connection broke, or the server refuses.
    pub async fn ask(
        &mut self,
        method: Method,
        path: &str,
        accept: &str,
        body: Bytes,
    ) -> anyhow::Result<Response<Incoming>> {
        let request = Request::builder().method(method).uri(path).header(header::HOST, "dhcpd");
        let request = request.header(header::ACCEPT, accept).body(Full::new(body))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.into_body().collect().await?.to_bytes();
        bail!("{path} was answered {status}: {}", String::from_utf8_lossy(&body))
    }

    /// Asks, and waits for the whole answer.
    ///
    /// # Errors
    /// The connection broke, or the server refuses.
    pub async fn call(&mut self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let answer = self.ask(method, path, "application/json", body).await?;
        Ok(answer.into_body().collect().await?.to_bytes())
    }
}
