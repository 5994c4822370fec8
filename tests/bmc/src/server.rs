//! [`Server`]: many BMCs on sockets, each at an address of its own, served by one thread.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use socket2::{Domain, Socket, Type};

use crate::bmc::{Bmc, Counts, Personality};
use crate::fault::{Faults, Random};

/// Datagrams of one BMC answered before the others have their turn.
const TURN: usize = 4;
/// How soon what a machine says on its serial line is sent on.
const LISTEN_EVERY: Duration = Duration::from_millis(10);
/// How soon a server notices that it shall stop.
const STOP_WITHIN: Duration = Duration::from_millis(100);

/// Many BMCs, at consecutive addresses of 127.0.0.0/8 and the same port.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// The first address.
    pub first: Ipv4Addr,
    /// The port of all.
    pub port: u16,
    /// How many.
    pub count: u32,
    /// What kind they are.
    pub personality: Personality,
    /// The wire's faults.
    pub faults: Faults,
    /// Of so many in a thousand nothing is ever heard.
    pub dead: u16,
    /// For GUIDs and faults.
    pub seed: u64,
}

impl Fleet {
    /// Living BMCs on a perfect wire.
    pub fn new(first: Ipv4Addr, port: u16, count: u32) -> Self {
        Self { first, port, count, personality: Personality::default(), faults: Faults::default(), dead: 0, seed: 1 }
    }

    /// The same at addresses of this process' own, so that tests may run beside each other.
    pub fn of_this_process(count: u32) -> Self {
        static PORT: AtomicU16 = AtomicU16::new(6_230);
        // 2,048 places of 4,096 addresses: neighbouring processes share none unless their fleets are larger.
        let place = std::process::id() % (1 << 11);
        let first = Ipv4Addr::from_bits(0x7f80_0000 + (place << 12 & 0x007f_f000) + 1);
        Self::new(first, PORT.fetch_add(1, Ordering::Relaxed), count)
    }

    /// The address of the n-th.
    pub fn address(&self, n: u32) -> SocketAddr {
        SocketAddrV4::new(Ipv4Addr::from_bits(self.first.to_bits() + n), self.port).into()
    }

    /// Whether the n-th is dead: spread evenly over the fleet.
    pub fn is_dead(&self, n: u32) -> bool {
        let dead = u64::from(self.dead);
        (u64::from(n) + 1) * dead / 1_000 > u64::from(n) * dead / 1_000
    }
}

/// Simulated BMCs that serve until dropped.
pub struct Server {
    fleet: Fleet,
    bmcs: Arc<Mutex<Vec<Bmc>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// Binds every address and starts to serve.
    ///
    /// # Errors
    /// An address is taken, or the process may not open so many sockets.
    pub fn start(fleet: Fleet) -> io::Result<Self> {
        let wanted = u64::from(fleet.count) + 64;
        let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        if limit.current.is_some_and(|current| current < wanted) {
            limit.current = Some(limit.maximum.map_or(wanted, |maximum| wanted.min(maximum)));
            rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)?;
        }
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut sockets = Vec::new();
        for n in 0..fleet.count {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
            socket.set_nonblocking(true)?;
            socket.bind(&fleet.address(n).into())?;
            epoll::add(&poll, socket.as_fd(), epoll::EventData::new_u64(n.into()), epoll::EventFlags::IN)?;
            sockets.push(UdpSocket::from(socket));
        }
        let personality = Arc::new(fleet.personality.clone());
        let bmc = |n| Bmc { port: fleet.port, ..Bmc::new(Arc::clone(&personality), fleet.seed << 32 | u64::from(n)) };
        let bmcs = (0..fleet.count).map(bmc).collect();
        let (bmcs, stop) = (Arc::new(Mutex::new(bmcs)), Arc::new(AtomicBool::new(false)));
        let serving = Serving {
            fleet: fleet.clone(),
            sockets,
            bmcs: Arc::clone(&bmcs),
            random: Random::new(fleet.seed),
            late: BinaryHeap::new(),
            consoles: HashMap::new(),
        };
        let stopped = Arc::clone(&stop);
        let thread =
            std::thread::Builder::new().name("bmcs".to_owned()).spawn(move || serving.run(poll.as_fd(), &stopped))?;
        Ok(Self { fleet, bmcs, stop, thread: Some(thread) })
    }

    /// The fleet it was started as.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The BMCs, for looking at and tampering with; they do not answer meanwhile.
    ///
    /// # Panics
    /// If the serving thread has.
    pub fn bmcs(&self) -> MutexGuard<'_, Vec<Bmc>> {
        self.bmcs.lock().expect("the serving thread lives")
    }

    /// What was done to all of them together.
    pub fn counts(&self) -> Counts {
        self.bmcs().iter().fold(Counts::default(), |sum, bmc| Counts {
            opened: sum.opened + bmc.counts.opened,
            closed: sum.closed + bmc.counts.closed,
            full: sum.full + bmc.counts.full,
            commands: sum.commands + bmc.counts.commands,
            controls: sum.controls + bmc.counts.controls,
            ignored: sum.ignored + bmc.counts.ignored,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.transpose().expect("the serving thread does not panic").transpose().expect("epoll works");
        }
    }
}

/// An answer that comes late: when, whose, where to, what.
type Late = Reverse<(Instant, usize, SocketAddr, Vec<u8>)>;

struct Serving {
    fleet: Fleet,
    sockets: Vec<UdpSocket>,
    bmcs: Arc<Mutex<Vec<Bmc>>>,
    random: Random,
    late: BinaryHeap<Late>,
    /// Who holds a serial line: where its session speaks from.
    consoles: HashMap<(usize, u32), SocketAddr>,
}

impl Serving {
    fn run(mut self, poll: std::os::fd::BorrowedFd<'_>, stop: &AtomicBool) -> io::Result<()> {
        let mut events = Vec::with_capacity(256);
        while !stop.load(Ordering::Relaxed) {
            let stop_within = if self.consoles.is_empty() { STOP_WITHIN } else { LISTEN_EVERY };
            let due =
                self.late.peek().map_or(stop_within, |Reverse((at, ..))| at.saturating_duration_since(Instant::now()));
            let wait = rustix::event::Timespec::try_from(due.min(stop_within)).expect("a tenth of a second");
            events.clear();
            match epoll::wait(poll, rustix::buffer::spare_capacity(&mut events), Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let event: &epoll::Event = event;
                let at = event.data.u64() as usize;
                for _ in 0..TURN {
                    if !self.serve(at) {
                        break;
                    }
                }
            }
            self.send_late();
            self.send_serial();
        }
        Ok(())
    }

    /// One datagram of one BMC; false if there is none.
    fn serve(&mut self, at: usize) -> bool {
        let mut datagram = [0; 2_048];
        // An ICMP error of an earlier answer is nothing to a BMC.
        let Ok((len, from)) = self.sockets[at].recv_from(&mut datagram) else { return false };
        let Faults { lost, twice, late, late_by, restart } = self.fleet.faults;
        if self.fleet.is_dead(at as u32) || self.random.per_mille(lost) {
            return true;
        }
        let now = Instant::now();
        for _ in 0..1 + usize::from(self.random.per_mille(twice)) {
            let mut bmcs = self.bmcs.lock().expect("nobody panics with the BMCs in hand");
            if self.random.per_mille(restart) {
                bmcs[at].restart();
                continue;
            }
            let answer = bmcs[at].handle(now, &datagram[..len]);
            let session = datagram[..len].get(6..10).and_then(|id| Some(u32::from_le_bytes(id.try_into().ok()?)));
            if let Some(session) = session.filter(|session| bmcs[at].has_serial(*session)) {
                self.consoles.insert((at, session), from);
            }
            drop(bmcs);
            let Some(answer) = answer.filter(|_| !self.random.per_mille(lost)) else { continue };
            if self.random.per_mille(late) {
                self.late.push(Reverse((now + late_by, at, from, answer)));
            } else {
                let _ = self.sockets[at].send_to(&answer, from);
            }
        }
        true
    }

    fn send_serial(&mut self) {
        if self.consoles.is_empty() {
            return;
        }
        let mut bmcs = self.bmcs.lock().expect("nobody panics with the BMCs in hand");
        let places: BTreeSet<usize> = self.consoles.keys().map(|(at, _)| *at).collect();
        for at in places {
            while let Some((session, datagram)) = bmcs[at].poll_serial(Instant::now()) {
                if let Some(to) = self.consoles.get(&(at, session)) {
                    let _ = self.sockets[at].send_to(&datagram, *to);
                }
            }
        }
        self.consoles.retain(|(at, session), _| bmcs[*at].has_serial(*session));
    }

    fn send_late(&mut self) {
        let now = Instant::now();
        while self.late.peek().is_some_and(|Reverse((due, ..))| *due <= now) {
            let Some(Reverse((_, at, to, answer))) = self.late.pop() else { return };
            let _ = self.sockets[at].send_to(&answer, to);
        }
    }
}
