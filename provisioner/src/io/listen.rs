//! HTTP listeners: TCP and unix sockets, bounded in connections and in the time a client may take for its headers.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use reveille_config::Endpoint;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Connections of one listener; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 4_096;
/// For a request's headers to arrive.
const HEADERS: Duration = Duration::from_secs(10);
/// For connections to end after the listener was told to.
const DRAIN: Duration = Duration::from_secs(5);

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

impl Listener {
    /// Binds. A socket file on which nobody listens any more is removed first. The error names the endpoint and what to do.
    pub async fn bind(endpoint: &Endpoint) -> Result<Self, String> {
        let bound = match endpoint {
            Endpoint::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            Endpoint::Unix(path) => bind_unix(path).await.map(Self::Unix),
            // The configuration has refused it.
            Endpoint::Https(_) => Err(io::ErrorKind::Unsupported.into()),
        };
        bound.map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::AddrInUse => ": another program listens there, or a file of that name is no socket; stop it, or configure another endpoint",
                io::ErrorKind::AddrNotAvailable => ": this host has no such address; is the interface up?",
                io::ErrorKind::PermissionDenied => ": give the daemon the permission, or configure another endpoint",
                io::ErrorKind::NotFound => ": the directory does not exist",
                _ => "",
            };
            format!("cannot listen on {endpoint}: {error}{hint}")
        })
    }

    /// The address as it was given by the system; `None` for a unix socket.
    pub fn local_address(&self) -> Option<std::net::SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Serves until `stop` changes, then lets connections end for a moment.
    pub async fn serve(self, router: Router, mut stop: watch::Receiver<bool>) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = stopped(&mut stop) => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.accept() => accepted,
            };
            match accepted {
                Ok(stream) => {
                    let (router, stop) = (router.clone(), stop.clone());
                    connections.spawn(async move {
                        serve_connection(stream, router, stop).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: they come back as connections end.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(self);
        let _ = tokio::time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    }

    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Answers are small and whole.
                let _ = stream.set_nodelay(true);
                Box::new(stream)
            }
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn serve_connection(stream: Box<dyn Stream>, router: Router, mut stop: watch::Receiver<bool>) {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADERS);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        let reason = match () {
            () if error.is_parse() => "parse",
            () if error.is_timeout() => "timeout",
            () if error.is_incomplete_message() => "incomplete",
            () => "broken",
        };
        metrics::counter!("reveille_provisioner_http_connection_errors_total", "reason" => reason).increment(1);
        tracing::trace!(%error, reason, "a connection broke off");
    }
}

/// Returns once `stop` is true, or can no longer become so.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn bind_unix(path: &std::path::Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    // Only a socket that refuses is known to be nobody's: any other file may be somebody's.
    if let Ok(metadata) = fs::symlink_metadata(path) {
        match UnixStream::connect(path).await {
            Err(error) if metadata.file_type().is_socket() && error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path)?;
            }
            _ => return Err(io::ErrorKind::AddrInUse.into()),
        }
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}
