//! Listeners of the API: unix sockets (mode 0660) and TCP.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reveille_config::Endpoint;
use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::{ApiState, connection, router};

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {endpoint}: {what}")]
pub struct ListenError {
    /// Where.
    pub endpoint: Endpoint,
    /// What to do.
    pub what: &'static str,
    /// The system's answer.
    #[source]
    pub source: io::Error,
}

/// A bound listener.
#[derive(Debug)]
pub enum Listener {
    /// A unix socket and its file.
    Unix(UnixListener, PathBuf),
    /// Plain HTTP on TCP.
    Tcp(TcpListener),
}

/// Binds all endpoints.
///
/// # Errors
/// The first that cannot be bound, and what to do.
pub async fn bind(endpoints: &[Endpoint]) -> Result<Vec<Listener>, ListenError> {
    let mut listeners = Vec::new();
    for endpoint in endpoints {
        let bound = match endpoint {
            Endpoint::Unix(path) => bind_unix(path).await.map(|bound| Listener::Unix(bound, path.clone())),
            Endpoint::Tcp(address) => TcpListener::bind(address).await.map(Listener::Tcp),
        };
        listeners.push(bound.map_err(|source| ListenError {
            endpoint: endpoint.clone(),
            what: advice(&source),
            source,
        })?);
    }
    Ok(listeners)
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there, or a file of that name is no socket",
        io::ErrorKind::NotFound => "make the directory",
        io::ErrorKind::PermissionDenied => "the daemon's user may not create it",
        io::ErrorKind::AddrNotAvailable => "this host does not have the address",
        _ => "see the system's answer",
    }
}

/// Removes a socket file that nobody listens on any more, then binds. The directory is made where it is missing.
async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            // Only a socket that refuses is known to be nobody's: any other file may be somebody's.
            if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
                return Err(error);
            }
            match UnixStream::connect(path).await {
                Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
                _ => return Err(error),
            }
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

impl Listener {
    /// Serves until the API is closed and its connections have ended. Errors of single connections are theirs, and counted.
    pub async fn serve(self, state: Arc<ApiState>) {
        let router = router(Arc::clone(&state));
        match self {
            Self::Unix(listener, path) => {
                connection::serve(listener, router, state.closed_signal()).await;
                // Otherwise the next start finds that nobody listens, and removes it.
                let _ = std::fs::remove_file(path);
            }
            Self::Tcp(listener) => connection::serve(listener, router, state.closed_signal()).await,
        }
    }
}
