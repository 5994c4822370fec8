//! A thread that listens on port 4011 of the proxy scopes, for [`BootServer`].

use std::io;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use reveille_config::dhcpd::ScopeKind;
use rustix::event::{PollFd, PollFlags, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::boot_server::BootServer;
use super::{Clock, Waker};
use crate::proto::scope::{Scope, ScopeIndex};
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
    pub fn start(shared: Arc<Shared>, clock: Clock) -> io::Result<Self> {
        let scopes = shared.scopes.load_full();
        let proxies = scopes.iter().filter(|scope| scope.kind == ScopeKind::Proxy);
        let sockets = proxies.map(|scope| Ok((scope.index, open(scope)?))).collect::<io::Result<Vec<_>>>()?;
        let waker = Arc::new(Waker::new()?);
        let stop = Arc::new(AtomicBool::new(false));
        let mut started = Self { waker: Arc::clone(&waker), stop: Arc::clone(&stop), thread: None };
        if !sockets.is_empty() {
            let thread = Thread { sockets, server: BootServer::new(shared), clock };
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
    socket.bind_device(scope.interface.as_deref().map(str::as_bytes))?;
    socket.bind(&SocketAddrV4::new(scope.server_address, PXE_PORT).into())?;
    Ok(socket.into())
}

struct Thread {
    sockets: Vec<(ScopeIndex, UdpSocket)>,
    server: BootServer,
    clock: Clock,
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
        let Some((scope, socket)) = self.sockets.get(at) else { return };
        let mut octets = [0; 4_096];
        for _ in 0..BATCH {
            let Ok((len, SocketAddr::V4(from))) = socket.recv_from(&mut octets) else { return };
            let Ok(answer) = self.server.handle(self.clock.now(), *scope, &octets[..len], from) else { continue };
            if let Err(error) = socket.send_to(&answer, from) {
                tracing::debug!(%error, %from, "a boot client could not be answered");
            }
            self.server.recycle(answer);
        }
    }
}
