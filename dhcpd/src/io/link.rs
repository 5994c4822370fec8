//! The sockets of the served interfaces. Two for each: broadcasts come in on one bound to any address, unicasts on one bound to the server's address, from which
//! replies go out too, so that their source address is right. A packet socket sends frames to clients that cannot answer ARP yet.
//!
//! All are bound to their interface: no scope hears another's broadcasts. Where there are several workers each has such sockets, and the kernel steers
//! ([`super::steering`]). Reading is [`super::intake`]'s, sending [`super::outbox`]'s.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket, Type};

use super::steering::{self, Filter};
use super::sys;
use crate::proto::frame::End;
use crate::proto::reply::SERVER_PORT;
use crate::proto::scope::{Scope, Scopes};

/// The link of what is heard on no interface in particular: by a socket of a scope that names none.
const NO_LINK: usize = usize::MAX;
/// What a socket asks the kernel to buffer, octets: about 20,000 requests.
const RECEIVE_BUFFER_BYTES: usize = 16 << 20;
/// What a socket may have on its way out, octets.
const SEND_BUFFER_BYTES: usize = 4 << 20;

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

/// How a worker's sockets are set up.
#[derive(Debug, Clone, Copy)]
pub struct PortOptions {
    /// The worker's number; workers open their sockets in order.
    pub worker: usize,
    /// How many there are.
    pub workers: usize,
    /// Whether datagrams may be put together: replies to a relay, and what one sender sends.
    pub segmentation: bool,
}

/// A socket that requests come in on.
#[derive(Debug)]
pub struct Listener {
    socket: UdpSocket,
    /// On which link, by its place in [`Scopes::interfaces`].
    pub link: usize,
    /// Whether every worker has one that gets a copy of each datagram: only where the kernel takes no filter.
    pub broadcast: bool,
    /// What the kernel keeps from it.
    filter: Filter,
    /// What [`Self::kernel_drops`] said last.
    dropped: u32,
}

impl Listener {
    /// Has the kernel drop so many of 2³² DHCPDISCOVERs before they are read. It goes on as before where the kernel refuses.
    pub fn shed_discovers(&mut self, shed: u32) {
        let filter = Filter { shed, ..self.filter };
        match filter.attach(self) {
            Ok(()) => self.filter = filter,
            Err(error) => tracing::debug!(%error, "the kernel takes no filter"),
        }
    }

    /// Datagrams that the kernel dropped at this socket since the last call.
    pub fn kernel_drops(&mut self) -> u32 {
        // A kernel that does not say has never been seen; then there is nothing to count.
        let dropped = sys::kernel_drops(self).unwrap_or(self.dropped);
        dropped.wrapping_sub(std::mem::replace(&mut self.dropped, dropped))
    }
}

#[cfg(test)]
impl From<UdpSocket> for Listener {
    fn from(socket: UdpSocket) -> Self {
        Self { socket, link: 0, broadcast: false, filter: Filter::default(), dropped: 0 }
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
    /// Bound to the server's address.
    pub socket: UdpSocket,
    /// For clients without an address; `None` where all are behind relays.
    pub frames: Option<Frames>,
    /// Whether replies to one relay may leave as one segmented message.
    pub segmentation: bool,
}

/// The way to clients on the link that have no address yet.
#[derive(Debug)]
pub struct Frames {
    /// Sends frames out of the scope's interface.
    pub packet: Socket,
    /// What a frame says of its sender.
    pub server: End,
}

/// The sockets of one worker: listeners, and a port for each scope in their order.
#[derive(Debug)]
pub struct Ports {
    /// Where requests come in.
    pub listeners: Vec<Listener>,
    /// Where replies go out, by scope.
    pub ports: Vec<Port>,
    /// Whether a listener may hand over several datagrams as one.
    pub coalesced: bool,
}

impl Ports {
    /// Opens them for one worker.
    ///
    /// # Errors
    /// What the system refused, and what to do.
    pub fn open(scopes: &Scopes, options: PortOptions) -> Result<Self, LinkError> {
        let PortOptions { worker, workers, segmentation } = options;
        let names = scopes.interfaces();
        let (mut listeners, mut ports, mut coalesced) = (Vec::new(), Vec::<Port>::new(), false);
        for (at, scope) in scopes.iter().enumerate() {
            let on_link = |name: &str| names.iter().position(|other| **other == *name);
            let link = scope.interface.as_deref().and_then(on_link).unwrap_or(NO_LINK);
            let is_first = !scopes.iter().take(at).any(|before| before.interface == scope.interface);
            if let Some(interface) = scope.interface.as_deref().filter(|_| is_first) {
                //= https://www.rfc-editor.org/rfc/rfc1542#section-5.1
                //# However, hosts which support a BOOTP server MUST accept for local delivery to the server BOOTREQUEST messages whose IP source address is 0.0.0.0.
                let socket = udp(scope, Ipv4Addr::UNSPECIFIED, workers)?;
                let filter = Filter::own(worker, workers);
                let filtered = filter.attach(&socket);
                let filter = if filtered.is_ok() { filter } else { Filter::default() };
                if let Err(error) = &filtered {
                    tracing::warn!(interface, %error, "the kernel takes no filter: every worker reads every broadcast");
                }
                listeners.push(Listener { socket, link, broadcast: filtered.is_err(), filter, dropped: 0 });
            }
            let copy = |socket: &UdpSocket| {
                socket.try_clone().map_err(|source| failed(scope, "cannot copy a socket".into(), source))
            };
            // Scopes that are called by one address on one interface share its socket.
            let same =
                |before: &Scope| before.interface == scope.interface && before.server_address == scope.server_address;
            if let Some(first) = scopes.iter().take(at).position(same) {
                let socket = copy(&ports[first].socket)?;
                ports.push(Port::open(scope, socket, segmentation)?);
                continue;
            }
            //= https://www.rfc-editor.org/rfc/rfc1542#section-5.1
            //# BOOTREQUEST messages from legal IP source addresses MUST also be accepted.
            let socket = udp(scope, scope.server_address, workers)?;
            // What the kernel puts together reaches one worker, so it is for one worker only.
            coalesced |= segmentation && workers == 1 && sys::receive_coalesced(&socket).is_ok();
            let sender = copy(&socket)?;
            listeners.push(Listener { socket, link, broadcast: false, filter: Filter::default(), dropped: 0 });
            ports.push(Port::open(scope, sender, segmentation)?);
        }
        Ok(Self { listeners, ports, coalesced })
    }
}

impl Port {
    fn open(scope: &Scope, socket: UdpSocket, segmentation: bool) -> Result<Self, LinkError> {
        let frames = scope.interface.as_deref().map(|interface| Frames::open(scope, interface)).transpose()?;
        Ok(Self { socket, frames, segmentation })
    }
}

impl Frames {
    fn open(scope: &Scope, name: &str) -> Result<Self, LinkError> {
        let packet = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None).map_err(|source| {
            failed(
                scope,
                "cannot open a packet socket (CAP_NET_RAW is needed to reach clients without an address)".into(),
                source,
            )
        })?;
        let index = interface_index(name).map_err(|source| failed(scope, format!("no interface `{name}`"), source))?;
        let mac = packet
            .bind(&sys::interface_address(index))
            .and_then(|()| sys::hardware_address(&packet))
            .map_err(|source| failed(scope, format!("cannot read the hardware address of `{name}`"), source))?;
        let server = End { mac, address: scope.server_address, port: SERVER_PORT };
        Ok(Self { packet, server })
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
    let name = scope.interface.as_deref().unwrap_or("any interface");
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
    socket.bind_device(scope.interface.as_deref().map(str::as_bytes)).map_err(|source| {
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
    size_buffers(&socket, name);
    if let Err(error) = steering::steer_unicasts(&socket, workers) {
        tracing::warn!(interface = name, %error, "the kernel does not steer: many packets are handed over between workers");
    }
    Ok(socket.into())
}

/// Asks for large buffers: bursts of a rack that powers on are lost in the default ones. What the kernel gives is reported.
fn size_buffers(socket: &Socket, interface: &str) {
    let forced = sockopt::set_socket_recv_buffer_size_force(socket, RECEIVE_BUFFER_BYTES);
    if forced.is_err() {
        // Without CAP_NET_ADMIN the kernel gives at most net.core.rmem_max; what came of it is read back.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    }
    if sockopt::set_socket_send_buffer_size_force(socket, SEND_BUFFER_BYTES).is_err() {
        // A reply that finds it full is counted as such.
        let _ = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
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
