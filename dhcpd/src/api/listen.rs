//! Listeners of the API: unix sockets with their group and mode, plain TCP on the loopback, and TLS.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reveille_config::Endpoint;
use reveille_config::dhcpd::Api;
use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::certificate::{CertificateError, Certificates};
use super::connection::{self, Door};
use super::{ApiState, router};

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An endpoint cannot be bound.
    #[error("cannot listen on {endpoint}: {what}")]
    Bind {
        /// Where.
        endpoint: Endpoint,
        /// What to do.
        what: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// No TLS.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The socket's group is none.
    #[error("no group is called `{0}` on this host (/etc/group): make it, or change `socket_group`")]
    Group(String),
}

/// A bound listener.
#[derive(Debug)]
pub enum Listener {
    /// A unix socket and its file.
    Unix(UnixListener, PathBuf),
    /// TCP, with TLS or without.
    Tcp(TcpListener, Door),
}

/// Binds all endpoints.
///
/// # Errors
/// The first that cannot be bound, and what to do.
pub async fn bind(api: &Api, certificates: Option<&Arc<Certificates>>) -> Result<Vec<Listener>, ListenError> {
    let group = match &api.socket_group {
        Some(name) => Some(group(name).ok_or_else(|| ListenError::Group(name.clone()))?),
        None => None,
    };
    let mut listeners = Vec::new();
    for endpoint in &api.listen {
        let bound = match (endpoint, certificates) {
            (Endpoint::Unix(path), _) => {
                let bound = bind_unix(path, api.socket_mode, group).await;
                bound.map(|bound| Listener::Unix(bound, path.clone()))
            }
            (Endpoint::Tcp(address), _) => {
                let door = Door::Loopback(api.loopback_role);
                TcpListener::bind(address).await.map(|bound| Listener::Tcp(bound, door))
            }
            (Endpoint::Https(authority), Some(certificates)) => {
                let door = Door::Tls(Arc::clone(certificates));
                let bound = TcpListener::bind((&*authority.host, authority.port)).await;
                bound.map(|bound| Listener::Tcp(bound, door))
            }
            // The configuration has no such endpoint without a certificate.
            (Endpoint::Https(_), None) => Err(io::ErrorKind::Unsupported.into()),
        };
        listeners.push(bound.map_err(|source| ListenError::Bind {
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
async fn bind_unix(path: &Path, mode: u32, group: Option<u32>) -> io::Result<UnixListener> {
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
    if group.is_some() {
        std::os::unix::fs::chown(path, None, group)?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// The number of a group of this host, by name or number.
fn group(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    // group(5): name:password:number:members
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    let mut lines = groups.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| if fields.next() == Some(name) { fields.nth(1)?.parse().ok() } else { None })
}

impl Listener {
    /// The TCP address as the system gave it; `None` for a unix socket.
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        match self {
            Self::Unix(..) => None,
            Self::Tcp(listener, _) => listener.local_addr().ok(),
        }
    }

    /// Serves until the API is closed and its connections have ended. Errors of single connections are theirs, and counted.
    pub async fn serve(self, state: Arc<ApiState>) {
        let router = router(Arc::clone(&state));
        match self {
            Self::Unix(listener, path) => {
                connection::serve(listener, Door::Unix, router, state.closed_signal()).await;
                // Otherwise the next start finds that nobody listens, and removes it.
                let _ = std::fs::remove_file(path);
            }
            Self::Tcp(listener, door) => connection::serve(listener, door, router, state.closed_signal()).await,
        }
    }
}
