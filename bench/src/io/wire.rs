//! How clients reach the server: through a relay (UDP from its address) or directly (frames on the link).

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Context;
use reveille_config::MacAddr;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::packet_socket::{FRAME, HEADERS, PacketSocket, write_headers};
use super::sys::{self, Inbox, Outbox, SEGMENTS_MAX};
use crate::packet::{self, LENGTH, Message};

/// Messages that wait for one flush at the most.
const OUT_MAX: usize = 512;
/// Datagrams taken in with one call.
const IN_MAX: usize = 256;
/// The largest reply: an Ethernet frame.
const REPLY_BYTES_MAX: usize = 1_536;
/// The largest gathering of replies.
const GATHERED_BYTES_MAX: usize = 65_536;

/// The sockets of one kind of clients.
enum Sockets {
    Relay { socket: UdpSocket, giaddr: Ipv4Addr },
    Direct { socket: Box<PacketSocket>, server: (MacAddr, Ipv4Addr) },
}

/// The way to the server and back.
pub struct Wire {
    sockets: Sockets,
    inbox: Inbox,
    outbox: Outbox,
    /// Messages sent.
    pub sent: u64,
}

impl Wire {
    /// Clients behind one relay with the address `giaddr`, which its namespace must have. With `offload` many messages are one send (GSO) and many
    /// replies one receive (GRO).
    ///
    /// # Errors
    /// The port is taken, or the kernel lacks the offloads.
    pub fn relay(giaddr: Ipv4Addr, server: Ipv4Addr, offload: bool) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind(SocketAddrV4::new(giaddr, 67)).context("cannot bind the relay's port 67")?;
        socket.connect(SocketAddrV4::new(server, 67))?;
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 64 << 20)?;
        rustix::net::sockopt::set_socket_send_buffer_size(&socket, 8 << 20)?;
        if offload {
            sys::segment(&socket, LENGTH).context("no UDP GSO")?;
            sys::gather(&socket).context("no UDP GRO")?;
        }
        let (together, inbox) = match offload {
            true => (SEGMENTS_MAX, Inbox::new(64, GATHERED_BYTES_MAX)),
            false => (1, Inbox::new(IN_MAX, REPLY_BYTES_MAX)),
        };
        let outbox = Outbox::new(OUT_MAX, LENGTH, together);
        Ok(Self { sockets: Sockets::Relay { socket, giaddr }, inbox, outbox, sent: 0 })
    }

    /// Clients on the link of `interface` itself.
    ///
    /// # Errors
    /// See [`PacketSocket::open`].
    pub fn direct(interface: &str, server: (MacAddr, Ipv4Addr)) -> anyhow::Result<Self> {
        let socket = Box::new(PacketSocket::open(interface)?);
        let (inbox, outbox) = (Inbox::new(IN_MAX, REPLY_BYTES_MAX), Outbox::new(OUT_MAX, FRAME, 1));
        Ok(Self { sockets: Sockets::Direct { socket, server }, inbox, outbox, sent: 0 })
    }

    /// Queues a message; sends when the queue is full.
    ///
    /// # Errors
    /// As the system's.
    pub fn push(&mut self, message: &Message) -> anyhow::Result<()> {
        if self.outbox.is_full() {
            self.flush()?;
        }
        let room = self.outbox.room();
        match &self.sockets {
            Sockets::Relay { giaddr, .. } => packet::write(room, message, *giaddr),
            Sockets::Direct { server, .. } => {
                let (headers, octets) = room.split_at_mut(HEADERS);
                write_headers(headers, message.chaddr, message.ciaddr, *server);
                packet::write(octets, message, Ipv4Addr::UNSPECIFIED);
            }
        }
        self.sent += 1;
        Ok(())
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// As the system's.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        match &self.sockets {
            Sockets::Relay { socket, .. } => self.outbox.flush(socket),
            Sockets::Direct { socket, .. } => self.outbox.flush(&**socket),
        }
        .context("cannot send")
    }

    /// Takes in what is there without waiting, and hands each DHCP message to `take`.
    ///
    /// # Errors
    /// As the system's.
    pub fn receive(&mut self, mut take: impl FnMut(&[u8])) -> anyhow::Result<usize> {
        let (got, headers) = match &self.sockets {
            Sockets::Relay { socket, .. } => (self.inbox.receive(socket, false), 0),
            Sockets::Direct { socket, .. } => (self.inbox.receive(&**socket, false), HEADERS),
        };
        let got = got.context("cannot receive: is the server there?")?;
        for at in 0..got {
            let (octets, segment) = self.inbox.message(at);
            octets.chunks(segment).filter_map(|octets| octets.get(headers..)).for_each(&mut take);
        }
        Ok(got)
    }

    /// Answers ARP for direct clients that have an address.
    ///
    /// # Errors
    /// As the system's.
    pub fn answer_arp(&self, bound: impl Fn(Ipv4Addr) -> Option<MacAddr>) -> anyhow::Result<()> {
        match &self.sockets {
            Sockets::Relay { .. } => Ok(()),
            Sockets::Direct { socket, .. } => socket.answer_arp(bound),
        }
    }

    /// Waits until there is something to take in, at most `limit`.
    ///
    /// # Errors
    /// As the system's.
    pub fn wait(&self, limit: Duration) -> anyhow::Result<()> {
        let socket = match &self.sockets {
            Sockets::Relay { socket, .. } => socket.as_fd(),
            Sockets::Direct { socket, .. } => socket.as_fd(),
        };
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
        match poll(&mut [PollFd::from_borrowed_fd(socket, PollFlags::IN)], Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("cannot wait"),
        }
    }
}
