//! A thread that answers boot clients on port 4011 of the proxy scopes (PXE specification 2.1, §2.2.3 and §2.2.5): those that were told on port 67 of a server
//! there, or that go on to ask by unicast once they have their address.
//!
//! It promises no address, so nothing waits for a disk: what it answers are plain replies.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use metrics::{Counter, counter, describe_counter};
use reveille_config::dhcpd::ScopeKind;
use rustix::event::{PollFd, PollFlags, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::Waker;
use crate::proto::class::{Facts, Membership};
use crate::proto::reply::Asker;
use crate::proto::rules::Rules;
use crate::proto::scope::{Scope, ScopeIndex};
use crate::proto::view::{MessageType, Parser};
use crate::store::Shared;

/// The port of PXE's boot servers.
pub const PXE_PORT: u16 = 4_011;
/// Datagrams answered on one scope before the others get their turn.
const BATCH: usize = 64;

/// The thread. Dropping it ends it.
#[derive(Debug)]
pub struct ProxyPort {
    waker: Arc<Waker>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ProxyPort {
    /// Starts answering for every proxy scope.
    ///
    /// # Errors
    /// An address or port is not to be had, or the system gives no thread or descriptor.
    pub fn start(shared: Arc<Shared>) -> io::Result<Self> {
        describe_counter!("reveille_dhcpd_proxy_acks_total", "Boot clients answered on port 4011");
        let scopes = shared.scopes.load_full();
        let proxies = scopes.iter().filter(|scope| scope.kind == ScopeKind::Proxy);
        let sockets = proxies.map(|scope| Ok((scope.index, open(scope)?))).collect::<io::Result<Vec<_>>>()?;
        let waker = Arc::new(Waker::new()?);
        let stop = Arc::new(AtomicBool::new(false));
        let mut started = Self { waker: Arc::clone(&waker), stop: Arc::clone(&stop), thread: None };
        if !sockets.is_empty() {
            let answered = counter!("reveille_dhcpd_proxy_acks_total");
            let thread = Thread { sockets, shared, parser: Parser::default(), buffer: Vec::new(), answered };
            let run = move || thread.run(&waker, &stop);
            started.thread = Some(std::thread::Builder::new().name("dhcpd-pxe".into()).spawn(run)?);
        }
        Ok(started)
    }
}

impl Drop for ProxyPort {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the panic hook.
            let _ = thread.join();
        }
    }
}

fn open(scope: &Scope) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.bind_device(Some(scope.interface.as_bytes()))?;
    socket.bind(&SocketAddrV4::new(scope.server_address, PXE_PORT).into())?;
    Ok(socket.into())
}

struct Thread {
    sockets: Vec<(ScopeIndex, UdpSocket)>,
    shared: Arc<Shared>,
    parser: Parser,
    buffer: Vec<u8>,
    answered: Counter,
}

impl Thread {
    fn run(mut self, waker: &Waker, stop: &AtomicBool) {
        loop {
            waker.will_sleep();
            if stop.load(Ordering::SeqCst) {
                return;
            }
            let sockets = self.sockets.iter().map(|(_, socket)| PollFd::new(socket, PollFlags::IN));
            let mut fds: Vec<PollFd<'_>> = std::iter::once(PollFd::new(waker, PollFlags::IN)).chain(sockets).collect();
            let polled = poll(&mut fds, None);
            waker.is_awake();
            match polled {
                Ok(_) | Err(rustix::io::Errno::INTR) => (0..self.sockets.len()).for_each(|at| self.serve(at)),
                Err(error) => {
                    tracing::error!(%error, "boot clients are no longer answered on port 4011");
                    return;
                }
            }
        }
    }

    fn serve(&mut self, at: usize) {
        let scopes = self.shared.scopes.load_full();
        let Some((index, socket)) = self.sockets.get(at) else { return };
        let Some(scope) = scopes.get(*index) else { return };
        let mut octets = [0; 4_096];
        let mut membership = Membership::default();
        for _ in 0..BATCH {
            let Ok((len, SocketAddr::V4(from))) = socket.recv_from(&mut octets) else { return };
            let Ok(packet) = self.parser.parse(&octets[..len]) else { continue };
            let asks = matches!(packet.message_type, MessageType::Request | MessageType::Inform);
            if !asks || *from.ip() == Ipv4Addr::UNSPECIFIED {
                continue;
            }
            scopes.classes().evaluate(Facts::of(&packet), &mut membership);
            let rules = Rules::new(&scopes, scope, None, &membership);
            let asker = Asker { packet: &packet, from_port: from.port(), rules };
            match asker.proxy_ack(std::mem::take(&mut self.buffer)) {
                Ok(octets) => {
                    match socket.send_to(&octets, from) {
                        Ok(_) => self.answered.increment(1),
                        Err(error) => tracing::debug!(%error, %from, "a boot client could not be answered"),
                    }
                    self.buffer = octets;
                }
                Err(buffer) => self.buffer = buffer,
            }
        }
    }
}
