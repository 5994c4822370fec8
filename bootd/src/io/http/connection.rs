//! [`serve`]: accepts connections and runs HTTP/1.1 on them, bounded in number, in the size of heads and in time.
//!
//! It knows nothing of requests: the machines' server and bootd's own API both run on it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::patient::Patient;
use crate::io::Counters;

/// A request's head must have come by then (slow-loris), and the next request on a connection that is kept open.
const HEAD_TIME_MAX: Duration = Duration::from_secs(15);
/// Header fields of a request.
const HEADERS_MAX: usize = 64;
/// Octets of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// After an error of `accept` that lies with us (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections that are being told that there are too many.
const REFUSALS_MAX: usize = 64;

/// Something that connections come from.
pub trait Accept: Send + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// The next one, and who it is.
    fn accept(&self) -> impl Future<Output = std::io::Result<(Self::Stream, IpAddr)>> + Send;
}

impl Accept for TcpListener {
    type Stream = tokio::net::TcpStream;
    async fn accept(&self) -> std::io::Result<(Self::Stream, IpAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        // Heads and ends of bodies go out at once; bodies come in large pieces anyway.
        let _ = stream.set_nodelay(true);
        Ok((stream, peer.ip().to_canonical()))
    }
}

impl Accept for UnixListener {
    type Stream = tokio::net::UnixStream;
    async fn accept(&self) -> std::io::Result<(Self::Stream, IpAddr)> {
        let (stream, _) = UnixListener::accept(self).await?;
        Ok((stream, IpAddr::V4(Ipv4Addr::LOCALHOST)))
    }
}

/// Accepts until `stop` turns true, then lets the requests under way finish. `service` makes the service of one peer's connection.
pub async fn serve<A, F, S, B>(
    listener: A,
    connections: Arc<Semaphore>,
    counters: Arc<Counters>,
    mut stop: watch::Receiver<bool>,
    service: F,
) where
    A: Accept,
    F: Fn(IpAddr) -> S + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: std::error::Error + Send + Sync,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: std::error::Error + Send + Sync,
{
    let mut tasks = JoinSet::new();
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        while tasks.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match connections.clone().try_acquire_owned() {
            Ok(permit) => {
                let (service, counters, stop) = (service(peer), counters.clone(), stop.clone());
                tasks.spawn(async move {
                    counters.http_connections.increment(1);
                    if let Err(error) = run(stream, service, stop).await {
                        counters.http_connection_errors.increment(1);
                        tracing::debug!(%peer, error = &error as &dyn std::error::Error, "HTTP connection ended");
                    }
                    counters.http_connections.decrement(1);
                    drop(permit);
                });
            }
            Err(_) => {
                counters.http_refused_at_limit.increment(1);
                if let Ok(permit) = refusals.clone().try_acquire_owned() {
                    tasks.spawn(async move {
                        refuse(stream).await;
                        drop(permit);
                    });
                }
            }
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

async fn run<I, S, B>(stream: I, service: S, mut stop: watch::Receiver<bool>) -> Result<(), hyper::Error>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: std::error::Error + Send + Sync + 'static,
    B: Body + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Patient::new(stream)), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return result,
        _ = stop.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

/// Says that there are too many connections, without reading the request.
async fn refuse(mut stream: impl AsyncWrite + Unpin) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let answer = async {
        stream.write_all(ANSWER).await?;
        stream.shutdown().await
    };
    // Whoever does not take even that is only closed.
    let _ = tokio::time::timeout(Duration::from_secs(1), answer).await;
}
