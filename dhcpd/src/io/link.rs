//! The sockets of the served interfaces. Two for each: broadcasts come in on one bound to any address, unicasts on one bound to the server's address, from which
//! replies go out too, so that their source address is right. A packet socket sends frames to clients that cannot answer ARP yet.
//!
//! All are bound to their interface: no scope hears another's broadcasts. Receiving and sending are behind [`Port`] and [`Listener`], so that batched system
//! calls can take their place.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::sockopt;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::sys;
use crate::proto::frame::{End, frame};
use crate::proto::reply::{CLIENT_PORT, Destination, Reply, SERVER_PORT};
use crate::proto::scope::{Scope, Scopes};

/// What a socket asks the kernel to buffer, octets: about 10,000 requests.
const RECEIVE_BUFFER_BYTES: usize = 16 << 20;

/// Why the sockets of a scope are not there.
#[derive(Debug, thiserror::Error)]
#[error("scope `{scope}`: {what}")]
pub struct LinkError {
    /// The scope's name.
    pub scope: Box<str>,
    /// What was tried, and what to do.
    pub what: String,
    /// The system's answer.
    #[source]
    pub source: io::Error,
}

/// The names of the interfaces served, each once, in the order of the scopes.
pub fn interfaces(scopes: &Scopes) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> = Vec::new();
    for scope in scopes.iter() {
        if !names.iter().any(|name| **name == *scope.interface) {
            names.push((*scope.interface).into());
        }
    }
    names
}

/// A socket that requests come in on.
#[derive(Debug)]
pub struct Listener {
    socket: UdpSocket,
    /// On which link, by its place in [`interfaces`].
    pub link: usize,
    /// Whether every worker has one that gets a copy of each datagram.
    pub broadcast: bool,
}

impl Listener {
    /// The next datagram, if one is there; says its length and who sent it.
    ///
    /// # Errors
    /// As the system's. `WouldBlock` is not an error but `None`.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, SocketAddrV4)>> {
        match self.socket.recv_from(buffer) {
            Ok((len, SocketAddr::V4(from))) => Ok(Some((len, from))),
            // An IPv4 socket knows no other.
            Ok((_, SocketAddr::V6(_))) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The way out of a scope.
#[derive(Debug)]
pub struct Port {
    socket: UdpSocket,
    packet: Socket,
    interface: SockAddr,
    server: End,
    frame: Vec<u8>,
}

impl Port {
    /// Sends a reply to where it belongs.
    ///
    /// # Errors
    /// As the system's.
    pub fn send(&mut self, reply: &Reply) -> io::Result<()> {
        let to = match reply.destination {
            Destination::Relay(address, port) => SocketAddrV4::new(address, port),
            Destination::Unicast(address) => SocketAddrV4::new(address, CLIENT_PORT),
            Destination::Broadcast => SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT),
            Destination::Frame(mac, address) => {
                frame(&mut self.frame, self.server, End { mac, address, port: CLIENT_PORT }, &reply.octets);
                return self.packet.send_to(&self.frame, &self.interface).map(|_| ());
            }
        };
        self.socket.send_to(&reply.octets, to).map(|_| ())
    }
}

/// The sockets of one worker: listeners, and a port for each scope in their order.
#[derive(Debug)]
pub struct Ports {
    /// Where requests come in.
    pub listeners: Vec<Listener>,
    /// Where replies go out, by scope.
    pub ports: Vec<Port>,
}

impl Ports {
    /// Opens them for one of `workers` workers.
    ///
    /// # Errors
    /// What the system refused, and what to do.
    pub fn open(scopes: &Scopes, workers: usize) -> Result<Self, LinkError> {
        let names = interfaces(scopes);
        let mut listeners = Vec::new();
        let mut ports = Vec::new();
        for scope in scopes.iter() {
            let link = names.iter().position(|name| **name == *scope.interface).unwrap_or_default();
            if !listeners.iter().any(|listener: &Listener| listener.link == link && listener.broadcast) {
                let socket = udp(scope, Ipv4Addr::UNSPECIFIED, workers)?;
                listeners.push(Listener { socket, link, broadcast: true });
            }
            let socket = udp(scope, scope.server_address, workers)?;
            let sender = socket.try_clone().map_err(|source| failed(scope, "cannot copy a socket".into(), source))?;
            listeners.push(Listener { socket, link, broadcast: false });
            ports.push(Port::open(scope, sender)?);
        }
        Ok(Self { listeners, ports })
    }
}

impl Port {
    fn open(scope: &Scope, socket: UdpSocket) -> Result<Self, LinkError> {
        let name = &scope.interface;
        let packet = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None).map_err(|source| {
            failed(
                scope,
                "cannot open a packet socket (CAP_NET_RAW is needed to reach clients without an address)".into(),
                source,
            )
        })?;
        let index = interface_index(name).map_err(|source| failed(scope, format!("no interface `{name}`"), source))?;
        let interface = sys::interface_address(index);
        let mac = packet
            .bind(&interface)
            .and_then(|()| sys::hardware_address(&packet))
            .map_err(|source| failed(scope, format!("cannot read the hardware address of `{name}`"), source))?;
        let server = End { mac, address: scope.server_address, port: SERVER_PORT };
        Ok(Self { socket, packet, interface, server, frame: Vec::new() })
    }
}

/// The index of an interface.
///
/// # Errors
/// There is none of this name.
pub fn interface_index(name: &str) -> io::Result<u32> {
    let any = Socket::new(Domain::IPV4, Type::DGRAM.cloexec(), None)?;
    Ok(rustix::net::netdevice::name_to_index(any, name)?)
}

fn udp(scope: &Scope, address: Ipv4Addr, workers: usize) -> Result<UdpSocket, LinkError> {
    let name = &scope.interface;
    let open = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        if workers > 1 {
            socket.set_reuse_port(true)?;
        }
        socket.set_broadcast(true)?;
        Ok(socket)
    };
    let socket = open().map_err(|source| failed(scope, "cannot open a UDP socket".into(), source))?;
    socket.bind_device(Some(name.as_bytes())).map_err(|source| {
        failed(
            scope,
            format!("cannot bind to interface `{name}`: does it exist, and has the daemon CAP_NET_RAW?"),
            source,
        )
    })?;
    socket.bind(&SocketAddrV4::new(address, SERVER_PORT).into()).map_err(|source| {
        let what = match source.kind() {
            io::ErrorKind::AddrInUse => {
                format!("{address}:{SERVER_PORT} on `{name}` is in use: stop the other DHCP server")
            }
            io::ErrorKind::AddrNotAvailable => {
                format!(
                    "this host does not have the address {address}: add it to `{name}`, or correct `server_address`"
                )
            }
            io::ErrorKind::PermissionDenied => {
                format!("may not bind {address}:{SERVER_PORT}: the daemon needs CAP_NET_BIND_SERVICE")
            }
            _ => format!("cannot bind {address}:{SERVER_PORT} on `{name}`"),
        };
        failed(scope, what, source)
    })?;
    size_buffer(&socket, name);
    Ok(socket.into())
}

/// Asks for a large receive buffer: bursts of a rack that powers on are lost in the default one. What the kernel gives is reported.
fn size_buffer(socket: &Socket, interface: &str) {
    let forced = sockopt::set_socket_recv_buffer_size_force(socket, RECEIVE_BUFFER_BYTES);
    if forced.is_err() {
        // Without CAP_NET_ADMIN the kernel gives at most net.core.rmem_max; what came of it is read back.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    }
    match socket.recv_buffer_size() {
        Ok(bytes) if bytes < RECEIVE_BUFFER_BYTES => tracing::warn!(
            interface,
            bytes,
            wanted = RECEIVE_BUFFER_BYTES,
            "the kernel gives a small receive buffer; bursts may be lost: allow CAP_NET_ADMIN or raise net.core.rmem_max"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(interface, %error, "cannot read the size of the receive buffer"),
    }
}

fn failed(scope: &Scope, what: String, source: io::Error) -> LinkError {
    LinkError { scope: (*scope.name).into(), what, source }
}
