//! Answers IPv6 router solicitations with "no router here" (RFC 4861 §6.2.6): iPXE otherwise waits some 13 seconds after DHCP for a router that does not come.
//!
//! It advertises nothing: router lifetime 0, no prefix, no flags. It only replies, never on its own, at most once in
//! `MIN_DELAY` per interface. The hop limit of a solicitation is not seen through this socket; an off-link sender could gain
//! no more than an advertisement to the link that says nothing.

use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use metrics::{Counter, counter};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::RecvFlags;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::Waker;
use super::link::interface_index;

/// RFC 4861 §10: MIN_DELAY_BETWEEN_RAS is 3 seconds; less here, because a machine's ROM, iPXE and another machine may ask one after the other, and the
/// advertisement is tiny.
const MIN_DELAY: Duration = Duration::from_millis(250);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
/// Type, code, checksum (the kernel's), hop limit unspecified, no flags, lifetime 0, reachable and retransmit times unspecified (RFC 4861 §4.2).
const NO_ROUTER: [u8; 16] = [ROUTER_ADVERTISEMENT, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The answerer of one interface.
struct Answerer {
    socket: Socket,
    interface: Box<str>,
    index: u32,
    answered: Counter,
    last: Option<Instant>,
}

impl Answerer {
    fn open(interface: &str) -> io::Result<Self> {
        let index = interface_index(interface)?;
        let socket = Socket::new(Domain::IPV6, Type::RAW.nonblocking().cloexec(), Some(Protocol::ICMPV6))?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.join_multicast_v6(&ALL_ROUTERS, index)?;
        socket.set_multicast_if_v6(index)?;
        // RFC 4861 §6.1.2: receivers drop anything else.
        socket.set_multicast_hops_v6(255)?;
        socket.set_multicast_loop_v6(false)?;
        let answered = counter!("reveille_dhcpd_router_solicitations_total", "interface" => interface.to_string());
        Ok(Self { socket, interface: interface.into(), index, answered, last: None })
    }

    /// Reads what is there and answers once.
    fn serve(&mut self) {
        let mut asked = false;
        loop {
            match receive(&self.socket) {
                Ok(solicitation) => asked |= solicitation,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    tracing::debug!(interface = &*self.interface, %error, "cannot read router solicitations");
                    break;
                }
            }
        }
        if !asked || self.last.is_some_and(|at| at.elapsed() < MIN_DELAY) {
            return;
        }
        self.last = Some(Instant::now());
        let to = SockAddr::from(SocketAddrV6::new(ALL_NODES, 0, 0, self.index));
        match self.socket.send_to(&NO_ROUTER, &to) {
            Ok(_) => self.answered.increment(1),
            Err(error) => tracing::debug!(interface = &*self.interface, %error, "cannot answer a router solicitation"),
        }
    }
}

/// The thread that answers on all interfaces. Dropping it ends it.
#[derive(Debug)]
pub struct RouterSolicitations {
    waker: Arc<Waker>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RouterSolicitations {
    /// Starts answering on these interfaces. Where one cannot (IPv6 is off), that is logged: machines boot without it too, only later.
    ///
    /// # Errors
    /// The system gives no thread or descriptor.
    pub fn start(interfaces: &[Box<str>]) -> io::Result<Self> {
        let open = |interface: &str| {
            let opened = Answerer::open(interface);
            let warn = |error: &io::Error| tracing::warn!(interface, %error, "cannot answer router solicitations; iPXE will wait for a router");
            opened.inspect_err(warn).ok()
        };
        let answerers: Vec<Answerer> = interfaces.iter().filter_map(|interface| open(interface)).collect();
        let waker = Arc::new(Waker::new()?);
        let stop = Arc::new(AtomicBool::new(false));
        let mut started = Self { waker: Arc::clone(&waker), stop: Arc::clone(&stop), thread: None };
        if !answerers.is_empty() {
            let run = move || run(answerers, &waker, &stop);
            started.thread = Some(std::thread::Builder::new().name("dhcpd-rs".into()).spawn(run)?);
        }
        Ok(started)
    }
}

impl Drop for RouterSolicitations {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the panic hook.
            let _ = thread.join();
        }
    }
}

fn run(mut answerers: Vec<Answerer>, waker: &Waker, stop: &AtomicBool) {
    loop {
        waker.will_sleep();
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let sockets = answerers.iter().map(|answerer| PollFd::new(&answerer.socket, PollFlags::IN));
        let mut fds: Vec<PollFd<'_>> = std::iter::once(PollFd::new(waker, PollFlags::IN)).chain(sockets).collect();
        let polled = poll(&mut fds, None);
        waker.is_awake();
        match polled {
            Ok(_) | Err(rustix::io::Errno::INTR) => answerers.iter_mut().for_each(Answerer::serve),
            Err(error) => {
                tracing::error!(%error, "router solicitations are no longer answered");
                return;
            }
        }
    }
}

/// Reads one ICMPv6 message; says whether it is a router solicitation from this link.
fn receive(socket: &Socket) -> io::Result<bool> {
    let mut buffer = [0; 256];
    let (len, _, from) = rustix::net::recvfrom(socket, &mut buffer[..], RecvFlags::empty())?;
    let from = from.and_then(|from| SocketAddrV6::try_from(from).ok());
    Ok(from.is_some_and(|from| is_solicitation(&buffer[..len], *from.ip())))
}

/// RFC 4861 §6.1.1: code 0, at least eight octets, from a link-local address or from none yet.
fn is_solicitation(message: &[u8], from: Ipv6Addr) -> bool {
    message.len() >= 8
        && message[..2] == [ROUTER_SOLICITATION, 0]
        && (from.is_unspecified() || from.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_solicitation_from_this_link() {
        let solicitation = [133, 0, 0, 0, 0, 0, 0, 0];
        let local: Ipv6Addr = "fe80::1".parse().unwrap();
        for (message, from, expected) in [
            (&solicitation[..], local, true),
            (&solicitation[..], Ipv6Addr::UNSPECIFIED, true),
            (&solicitation[..], "2001:db8::1".parse().unwrap(), false),
            (&solicitation[..7], local, false),
            (&[133, 1, 0, 0, 0, 0, 0, 0], local, false),
            (&[134, 0, 0, 0, 0, 0, 0, 0], local, false),
            (&[], local, false),
        ] {
            assert_eq!(is_solicitation(message, from), expected, "{message:?} from {from}");
        }
    }
}
