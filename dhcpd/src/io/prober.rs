//! A thread that asks the network who uses an address: ARP probes on the links, ICMP echo requests beyond them. It decides nothing: workers say what to ask
//! ([`Probes::ask`]), answers go into the queue of the worker that asked, and how long to wait for one is the worker's matter.
//!
//! Of all the ARP that a link hears, only what is about an address in question goes further.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};
use metrics::{Counter, counter, describe_counter};
use reveille_config::MacAddr;
use reveille_config::dhcpd::ConflictMethod;
use reveille_config::limit::{CONFLICT_CHECKS_MAX, CONFLICT_WAIT_MILLIS_MAX};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::RecvFlags;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::link::interface_index;
use super::{Waker, sys};
use crate::proto::arp::{self, Arp};
use crate::proto::conflict::{Method, Probe};
use crate::proto::icmp::{echo_request, read_echo_reply};
use crate::proto::scope::Scopes;
use crate::store::queue::{Request, WorkerQueue};

/// Questions on their way to the thread: each check asks twice.
const QUEUE_MAX: usize = 2 * CONFLICT_CHECKS_MAX;
/// An answer later than this is of no use to any worker.
const ANSWER_WAIT: Duration = Duration::from_millis(CONFLICT_WAIT_MILLIS_MAX as u64);

/// A packet socket that hears and sends ARP on one interface.
#[derive(Debug)]
pub struct ArpSocket {
    socket: Socket,
    interface: SockAddr,
}

impl ArpSocket {
    /// On this interface.
    ///
    /// # Errors
    /// There is no such interface, it is no Ethernet, or CAP_NET_RAW is missing.
    pub fn open(interface: &str) -> io::Result<Self> {
        let protocol = Protocol::from(i32::from(arp::ETHERTYPE.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(protocol))?;
        // Binding to "no protocol" keeps the socket's.
        let interface = sys::interface_address(interface_index(interface)?);
        socket.bind(&interface)?;
        sys::hardware_address(&socket)?;
        Ok(Self { socket, interface })
    }

    /// The interface's hardware address, as it is now: a bridge changes it when a port joins, and an answer to the old one would be lost.
    ///
    /// # Errors
    /// As the system's.
    pub fn mac(&self) -> io::Result<MacAddr> {
        sys::hardware_address(&self.socket)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// As the system's.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send_to(frame, &self.interface).map(|_| ())
    }

    /// The next ARP message of another host; `None` when there is none.
    pub fn receive(&self) -> Option<Arp> {
        let mut frame = [0; 64];
        loop {
            let (len, _) = rustix::net::recv(&self.socket, &mut frame[..], RecvFlags::empty()).ok()?;
            // A socket of one protocol does not hear what its own host sends.
            if let Some(arp) = Arp::read(&frame[..len]) {
                return Some(arp);
            }
        }
    }

    /// For polling.
    pub fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(&self.socket, PollFlags::IN)
    }
}

/// The way to the thread, for one worker.
#[derive(Debug, Clone)]
pub struct Probes {
    worker: usize,
    questions: Sender<(usize, Probe)>,
    waker: Arc<Waker>,
    shed: Counter,
}

impl Probes {
    /// Asks; the answer, if any, comes through the worker's queue.
    pub fn ask(&self, probe: Probe) {
        match self.questions.try_send((self.worker, probe)) {
            Ok(()) => self.waker.wake(),
            // The queue holds all that may be asked at a time: the thread does not keep up at all.
            Err(_) => self.shed.increment(1),
        }
    }
}

/// The thread. Dropping it ends it.
#[derive(Debug)]
pub struct Prober {
    waker: Arc<Waker>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    probes: Probes,
}

impl Prober {
    /// Starts asking on the links of these scopes. Where that cannot be done (an interface is no Ethernet), it is logged: addresses are then offered
    /// without a check.
    ///
    /// # Errors
    /// The system gives no thread or descriptor.
    pub fn start(scopes: &Scopes, queues: Vec<WorkerQueue>) -> io::Result<Self> {
        describe_counter!("reveille_dhcpd_probes_shed_total", "Questions about addresses that could not be asked");
        let waker = Arc::new(Waker::new()?);
        let stop = Arc::new(AtomicBool::new(false));
        let (questions, asked) = bounded(QUEUE_MAX);
        let shed = counter!("reveille_dhcpd_probes_shed_total");
        let probes = Probes { worker: 0, questions, waker: Arc::clone(&waker), shed };
        let names = scopes.interfaces();
        let links = names.iter().map(|name| open_arp(name, scopes)).collect();
        let link_of = |name: &str| names.iter().position(|other| **other == *name);
        let thread = Thread {
            links,
            link_of_scope: scopes.iter().map(|scope| scope.interface.as_deref().and_then(link_of)).collect(),
            echo: open_echo(scopes),
            identifier: std::process::id() as u16,
            asked,
            queues,
            pending: HashMap::new(),
        };
        let (woken, stopped) = (Arc::clone(&waker), Arc::clone(&stop));
        let thread =
            std::thread::Builder::new().name("dhcpd-probe".into()).spawn(move || thread.run(&woken, &stopped))?;
        Ok(Self { waker, stop, thread: Some(thread), probes })
    }

    /// The way to the thread for a worker.
    pub fn probes(&self, worker: usize) -> Probes {
        Probes { worker, ..self.probes.clone() }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the panic hook.
            let _ = thread.join();
        }
    }
}

fn open_arp(interface: &str, scopes: &Scopes) -> Option<ArpSocket> {
    let needed = |method| matches!(method, ConflictMethod::Auto | ConflictMethod::Arp);
    scopes.iter().find(|scope| scope.is_on(interface) && needed(scope.conflict.method))?;
    let warn = |error: &io::Error| {
        tracing::warn!(interface, %error, "cannot ask by ARP who uses an address; addresses are offered unchecked");
    };
    ArpSocket::open(interface).inspect_err(warn).ok()
}

fn open_echo(scopes: &Scopes) -> Option<Socket> {
    let needed = |method| matches!(method, ConflictMethod::Auto | ConflictMethod::Icmp);
    scopes.iter().find(|scope| needed(scope.conflict.method))?;
    let warn = |error: &io::Error| {
        tracing::warn!(%error, "cannot ask by ICMP who uses an address (CAP_NET_RAW is needed); those behind relays are offered unchecked");
    };
    Socket::new(Domain::IPV4, Type::RAW.nonblocking().cloexec(), Some(Protocol::ICMPV4)).inspect_err(warn).ok()
}

struct Thread {
    /// By interface, in the order of [`Scopes::interfaces`].
    links: Vec<Option<ArpSocket>>,
    link_of_scope: Vec<Option<usize>>,
    echo: Option<Socket>,
    identifier: u16,
    asked: Receiver<(usize, Probe)>,
    queues: Vec<WorkerQueue>,
    /// Which worker asked for which address, until when.
    pending: HashMap<Ipv4Addr, (usize, Instant)>,
}

impl Thread {
    fn run(mut self, waker: &Waker, stop: &AtomicBool) {
        loop {
            waker.will_sleep();
            if stop.load(Ordering::SeqCst) {
                return;
            }
            if self.asked.is_empty() {
                let sockets = self.links.iter().flatten().map(ArpSocket::poll_fd);
                let echo = self.echo.iter().map(|socket| PollFd::new(socket, PollFlags::IN));
                let waking = std::iter::once(PollFd::new(waker, PollFlags::IN));
                let mut fds: Vec<PollFd<'_>> = waking.chain(echo).chain(sockets).collect();
                match poll(&mut fds, None) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => {
                        tracing::error!(%error, "nobody is asked any more who uses an address");
                        return;
                    }
                }
            }
            waker.is_awake();
            self.ask();
            self.listen();
        }
    }

    fn ask(&mut self) {
        while let Ok((worker, probe)) = self.asked.try_recv() {
            let now = Instant::now();
            if self.pending.len() >= QUEUE_MAX {
                self.pending.retain(|_, (_, until)| *until > now);
            }
            self.pending.insert(probe.address, (worker, now + ANSWER_WAIT));
            if let Err(error) = self.send(probe) {
                tracing::debug!(address = %probe.address, method = ?probe.method, %error, "cannot ask who uses an address");
            }
        }
    }

    fn send(&self, probe: Probe) -> io::Result<()> {
        match probe.method {
            Method::Arp => {
                let link = self.link_of_scope.get(usize::from(probe.scope.0)).and_then(|&link| self.links.get(link?));
                let Some(Some(link)) = link else { return Err(io::ErrorKind::Unsupported.into()) };
                link.send(&arp::probe(link.mac()?, probe.address))
            }
            Method::Icmp => {
                let Some(echo) = &self.echo else { return Err(io::ErrorKind::Unsupported.into()) };
                let to = SocketAddrV4::new(probe.address, 0);
                echo.send_to(&echo_request(self.identifier, probe.address), &to.into()).map(|_| ())
            }
        }
    }

    fn listen(&mut self) {
        let Self { links, echo, pending, queues, identifier, .. } = self;
        let mut tell = |address: Ipv4Addr, holder: Option<MacAddr>| {
            if let Some((worker, _)) = pending.remove(&address) {
                // A full queue: the worker offers the address, as if the answer had been lost on its way.
                let _ = queues[worker].push(Request::Answered(address, holder));
            }
        };
        for link in links.iter().flatten() {
            while let Some(arp) = link.receive() {
                if let Some(address) = arp.claims() {
                    tell(address, Some(arp.sender));
                }
            }
        }
        let mut packet = [0; 128];
        while let Some(Ok((len, _))) =
            echo.as_ref().map(|echo| rustix::net::recv(echo, &mut packet[..], RecvFlags::empty()))
        {
            if let Some(address) = read_echo_reply(&packet[..len], *identifier) {
                tell(address, None);
            }
        }
    }
}
