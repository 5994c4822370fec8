//! Binding the addresses of the configuration, with errors that say which and what to do.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

/// Connections that wait to be accepted; a rack that boots at once fits.
const BACKLOG: i32 = 4_096;
/// Octets of a UDP socket's buffers, as far as the system allows.
const UDP_BUFFER_BYTES: usize = 8 << 20;

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A TCP or UDP address.
    #[error("cannot listen on {protocol} {address}: {hint}")]
    Address {
        /// `TCP` or `UDP`.
        protocol: &'static str,
        /// The address.
        address: SocketAddr,
        /// What to do about it.
        hint: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A unix socket that another process listens on.
    #[error("another process listens on {path}; stop it, or configure another socket", path = .path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else is in the socket's place.
    #[error("{path} is there and is not a socket; remove it, or configure another path", path = .path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Another reason.
    #[error("cannot listen on {path}; the directory must exist and be writable", path = .path.display())]
    Unix {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

fn address_error(protocol: &'static str, address: SocketAddr, source: std::io::Error) -> ListenError {
    let hint = match source.kind() {
        ErrorKind::AddrInUse => "another program listens there; stop it, or configure another address",
        ErrorKind::AddrNotAvailable => "this host does not have that address; configure one that it has",
        ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE, or root",
        _ => "see the cause",
    };
    ListenError::Address { protocol, address, hint, source }
}

/// A TCP listener.
///
/// # Errors
/// See [`ListenError`].
pub fn tcp(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let listen = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    listen().map_err(|error| address_error("TCP", address, error))
}

/// A UDP socket with large buffers, which never blocks.
///
/// # Errors
/// See [`ListenError`].
pub fn udp(address: SocketAddr, is_shared: bool) -> Result<UdpSocket, ListenError> {
    let listen = || {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // Beyond `net.core.rmem_max` with CAP_NET_ADMIN only. Smaller ones work too; a burst of ACKs is then lost sooner.
        if set_socket_recv_buffer_size_force(&socket, UDP_BUFFER_BYTES).is_err() {
            let _ = socket.set_recv_buffer_size(UDP_BUFFER_BYTES);
        }
        let _ = socket.set_send_buffer_size(UDP_BUFFER_BYTES);
        // Others of ours have the same address; the kernel keeps each peer with one of them (socket(7), SO_REUSEPORT).
        socket.set_reuse_port(is_shared)?;
        socket.bind(&address.into())?;
        Ok(socket.into())
    };
    listen().map_err(|error| udp_error(address, error))
}

/// A UDP address cannot be served.
pub fn udp_error(address: SocketAddr, source: std::io::Error) -> ListenError {
    address_error("UDP", address, source)
}

/// A unix socket of mode 0660. One that is left over from a process that is gone is removed.
///
/// # Errors
/// See [`ListenError`].
pub fn unix(path: &Path) -> Result<UnixListener, ListenError> {
    let other = |source| ListenError::Unix { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ListenError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => return Err(ListenError::InUse { path: path.to_owned() }),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(other)?,
            Err(error) => return Err(other(error)),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(other)?;
            }
        }
        Err(error) => return Err(other(error)),
    }
    let listener = UnixListener::bind(path).map_err(other)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(other)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/api.sock");
        let first = unix(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(matches!(unix(&path), Err(ListenError::InUse { .. })));
        drop(first);
        assert!(path.exists(), "a closed socket leaves its file");
        drop(unix(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "x").unwrap();
        assert!(matches!(unix(&path), Err(ListenError::NotASocket { .. })));
    }

    #[tokio::test]
    async fn errors_name_the_address_and_what_to_do() {
        let taken = tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = taken.local_addr().unwrap();
        let error = tcp(address).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("another program"), "{error}");
        let error = udp("192.0.2.1:69".parse().unwrap(), false).unwrap_err().to_string();
        assert!(error.contains("does not have that address"), "{error}");
    }
}
