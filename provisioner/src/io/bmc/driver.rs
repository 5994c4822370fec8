//! The task that owns the socket: datagrams and timers into [`Client`]s, datagrams and answers out of them.
//!
//! It decides nothing about IPMI. Its table has an entry per BMC that is being talked to or whose session is kept; an
//! entry goes when its client is closed and nobody waits, and only what was found out about the BMC stays.
//!
//! Invariant: every [`Job`] taken is answered, by its outcome or by the limit it met.

use std::collections::hash_map::Entry as Place;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use metrics::counter;
use reveille_config::limit;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

use super::counters::Counters;
use super::{BmcError, BmcLimits};
use crate::proto::ipmi::{
    Action, Cause, Client, Credentials, DropReason, Event, Failure, Known, RANDOM_BYTES, Request,
};

/// Datagrams taken from the socket before timers and new commands have their turn.
const RECEIVE_BATCH: usize = 64;
/// Longer than any answer to what we ask; what is cut off fails its length check.
const DATAGRAM_BYTES_MAX: usize = 2_048;

/// One command on its way.
#[derive(Debug)]
pub(super) struct Job {
    pub address: SocketAddr,
    pub credentials: Credentials,
    pub request: Request,
    pub answer: oneshot::Sender<Result<Vec<u8>, BmcError>>,
}

/// What the task is told.
#[derive(Debug)]
pub(super) enum Order {
    Do(Job),
    CloseAll(oneshot::Sender<()>),
    Forget(SocketAddr),
}

/// One BMC.
struct Entry {
    client: Client,
    /// Who waits for the command that the client has at hand.
    waiting: Option<oneshot::Sender<Result<Vec<u8>, BmcError>>>,
    queue: VecDeque<Job>,
    timer: Option<Instant>,
    send_error: Option<Arc<io::Error>>,
    /// It is one of the [`BmcLimits::busy_max`].
    is_counted: bool,
    /// It stands in the line of those who wait to become one.
    is_in_line: bool,
}

/// The task's state.
pub(super) struct Driver {
    socket: UdpSocket,
    mapped: bool,
    orders: mpsc::Receiver<Order>,
    limits: BmcLimits,
    entries: HashMap<SocketAddr, Entry>,
    timers: BTreeSet<(Instant, SocketAddr)>,
    known: HashMap<SocketAddr, Known>,
    busy: usize,
    line: VecDeque<SocketAddr>,
    counters: Counters,
    buffer: Vec<u8>,
}

enum Wake {
    Order(Option<Order>),
    Readable,
    Timer,
}

impl Driver {
    pub(super) fn new(socket: UdpSocket, orders: mpsc::Receiver<Order>, limits: BmcLimits) -> io::Result<Self> {
        let mapped = socket.local_addr()?.is_ipv6();
        Ok(Self {
            socket,
            mapped,
            orders,
            limits,
            entries: HashMap::new(),
            timers: BTreeSet::new(),
            known: HashMap::new(),
            busy: 0,
            line: VecDeque::new(),
            counters: Counters::new(),
            buffer: Vec::with_capacity(DATAGRAM_BYTES_MAX),
        })
    }

    /// Runs until every [`super::BmcSocket`] is gone, then gives open sessions back.
    pub(super) async fn run(mut self) {
        loop {
            let next = self.timers.first().map(|(at, _)| tokio::time::Instant::from_std(*at));
            let wake = tokio::select! {
                readable = self.socket.readable() => {
                    if let Err(error) = readable {
                        tracing::error!(%error, "the BMC socket cannot be waited for");
                        return;
                    }
                    Wake::Readable
                }
                order = self.orders.recv() => Wake::Order(order),
                () = sleep_until(next) => Wake::Timer,
            };
            match wake {
                Wake::Readable => self.receive().await,
                Wake::Order(Some(Order::Do(job))) => self.take(job).await,
                Wake::Order(Some(Order::CloseAll(done))) => {
                    self.close_all().await;
                    let _ = done.send(());
                }
                Wake::Order(Some(Order::Forget(address))) => self.forget(canonical(address)),
                Wake::Order(None) => return self.close_all().await,
                Wake::Timer => self.fire().await,
            }
            self.let_the_next_begin().await;
        }
    }

    async fn receive(&mut self) {
        let mut datagram = [0; DATAGRAM_BYTES_MAX];
        for _ in 0..RECEIVE_BATCH {
            let (len, from) = match self.socket.try_recv_from(&mut datagram) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An ICMP error of an earlier datagram: the timers know what to do about silence.
                Err(_) => continue,
            };
            self.counters.received.increment(1);
            let address = canonical(from);
            let action = match self.entries.get_mut(&address) {
                Some(entry) => entry.client.handle_datagram(Instant::now(), &datagram[..len]),
                None => Action::Dropped(DropReason::UnknownPeer),
            };
            match action {
                Action::Accepted => self.pump(address).await,
                Action::Dropped(reason) => {
                    self.counters.dropped(reason);
                    tracing::trace!(%address, reason = reason.label(), "datagram dropped");
                }
            }
        }
    }

    async fn take(&mut self, job: Job) {
        let address = canonical(job.address);
        let entries = self.entries.len();
        let entry = match self.entries.entry(address) {
            Place::Occupied(place) => place.into_mut(),
            Place::Vacant(_) if entries >= self.limits.sessions_max => {
                counter!("reveille_bmc_refused_total", "limit" => "sessions").increment(1);
                let refusal = BmcError::TableFull { address, limit: self.limits.sessions_max };
                let _ = job.answer.send(Err(refusal));
                return;
            }
            Place::Vacant(place) => {
                let known = self.known.get(&address).copied().unwrap_or_default();
                let client = Client::new(job.credentials.clone(), self.limits.timing).with_known(known);
                place.insert(Entry::new(client))
            }
        };
        if entry.queue.len() >= self.limits.queue_max {
            counter!("reveille_bmc_refused_total", "limit" => "queue").increment(1);
            let _ = job.answer.send(Err(BmcError::QueueFull { address, limit: self.limits.queue_max }));
            return;
        }
        entry.queue.push_back(job);
        self.pump(address).await;
    }

    async fn fire(&mut self) {
        let now = Instant::now();
        while let Some((at, address)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, address));
            if let Some(entry) = self.entries.get_mut(&address) {
                entry.timer = None;
                entry.client.handle_timeout(now);
                self.pump(address).await;
            }
        }
    }

    /// Lets one BMC's conversation go as far as it can: events to those who wait, the next command, datagrams, the timer.
    async fn pump(&mut self, address: SocketAddr) {
        let Some(entry) = self.entries.get_mut(&address) else { return };
        loop {
            while let Some(event) = entry.client.poll_event() {
                if event == Event::Opened {
                    self.counters.sessions_opened.increment(1);
                } else if std::mem::take(&mut entry.is_counted) {
                    self.busy -= 1;
                }
                entry.on_event(address, event);
            }
            if entry.client.has_transmit() {
                let again = transmit(&self.socket, self.mapped, address, entry, &mut self.buffer, &self.counters).await;
                if again && std::mem::take(&mut entry.is_counted) {
                    self.busy -= 1;
                }
            } else if entry.client.is_busy() || entry.queue.is_empty() {
                break;
            } else if self.busy >= self.limits.busy_max {
                if !std::mem::replace(&mut entry.is_in_line, true) {
                    self.line.push_back(address);
                }
                break;
            } else if entry.start_next(self.limits) && entry.client.is_busy() {
                entry.is_counted = true;
                self.busy += 1;
            }
        }
        let timer = entry.client.poll_timeout();
        if timer != entry.timer {
            if let Some(at) = entry.timer {
                self.timers.remove(&(at, address));
            }
            if let Some(at) = timer {
                self.timers.insert((at, address));
            }
            entry.timer = timer;
        }
        if entry.is_done() {
            let known = entry.client.known();
            self.entries.remove(&address);
            self.remember(address, known);
        }
    }

    /// Those who wait for their turn have it as far as [`BmcLimits::busy_max`] admits.
    async fn let_the_next_begin(&mut self) {
        while self.busy < self.limits.busy_max {
            let Some(address) = self.line.pop_front() else { return };
            if let Some(entry) = self.entries.get_mut(&address) {
                entry.is_in_line = false;
                self.pump(address).await;
            }
        }
    }

    fn remember(&mut self, address: SocketAddr, known: Known) {
        if known == Known::default() {
            self.known.remove(&address);
            return;
        }
        if self.known.len() >= limit::BMC_KNOWN_MAX && !self.known.contains_key(&address) {
            // Any will do: it costs that one's next session a question or two.
            if let Some(any) = self.known.keys().next().copied() {
                self.known.remove(&any);
            }
        }
        self.known.insert(address, known);
    }

    fn forget(&mut self, address: SocketAddr) {
        self.known.remove(&address);
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.client.forget();
        }
    }

    async fn close_all(&mut self) {
        let now = Instant::now();
        let addresses: Vec<_> = self.entries.keys().copied().collect();
        for address in addresses {
            let Some(entry) = self.entries.get_mut(&address) else { continue };
            entry.client.close(now);
            self.pump(address).await;
        }
    }
}

impl Entry {
    fn new(client: Client) -> Self {
        Self {
            client,
            waiting: None,
            queue: VecDeque::new(),
            timer: None,
            send_error: None,
            is_counted: false,
            is_in_line: false,
        }
    }

    fn is_done(&self) -> bool {
        !self.is_in_line && self.client.is_closed() && !self.client.is_busy() && self.queue.is_empty()
    }

    /// Lets the client begin what is due next; false if nothing is queued or a command is at hand.
    fn start_next(&mut self, limits: BmcLimits) -> bool {
        if self.client.is_busy() {
            return false;
        }
        // Whoever has gone is owed nothing, and nothing was sent.
        while self.queue.front().is_some_and(|job| job.answer.is_closed()) {
            self.queue.pop_front();
        }
        let now = Instant::now();
        let Some(job) = self.queue.pop_front() else { return false };
        if *self.client.credentials() != job.credentials {
            // The other user's session is given back first; nobody waits for the BMC to say so.
            if self.client.close(now) {
                self.queue.push_front(job);
                return true;
            }
            let known = self.client.known();
            self.client = Client::new(job.credentials, limits.timing).with_known(known);
        }
        self.send_error = None;
        self.waiting = Some(job.answer);
        self.client.start(now, job.request)
    }

    fn on_event(&mut self, address: SocketAddr, event: Event) {
        match event {
            // Not asked for by these clients.
            Event::Opened | Event::Sol(_) => {}
            Event::Done(data) => self.answer(Ok(data)),
            Event::Failed(failure) => {
                let silent = matches!(failure.cause, Cause::NoAnswer { .. });
                let error = self.error(address, failure);
                if silent {
                    // Those who waited behind this command waited for the same silence.
                    for job in self.queue.drain(..) {
                        let _ = job.answer.send(Err(error.clone()));
                    }
                }
                self.answer(Err(error));
            }
        }
    }

    fn error(&self, address: SocketAddr, failure: Failure) -> BmcError {
        match &self.send_error {
            Some(error) => BmcError::NotSent { address, failure, error: Arc::clone(error) },
            None => BmcError::Failed { address, failure },
        }
    }

    fn answer(&mut self, result: Result<Vec<u8>, BmcError>) {
        if let Some(waiting) = self.waiting.take() {
            let _ = waiting.send(result);
        }
    }
}

/// Sends what the client has to send; true if it was sent before. A datagram that cannot be sent is a datagram lost; what the system
/// said is kept for the error.
async fn transmit(
    socket: &UdpSocket,
    mapped: bool,
    address: SocketAddr,
    entry: &mut Entry,
    buffer: &mut Vec<u8>,
    counters: &Counters,
) -> bool {
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random).expect("the system's random source works once it has been seeded");
    let Some(transmit) = entry.client.poll_transmit(Instant::now(), &random, buffer) else { return false };
    counters.sent.increment(1);
    if transmit.again {
        counters.repeats.increment(1);
    }
    let to = wire_address(address, mapped);
    let sent = match socket.try_send_to(buffer, to) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.send_to(buffer, to).await,
        sent => sent,
    };
    entry.send_error = sent.err().map(|error| {
        counters.send_errors.increment(1);
        Arc::new(error)
    });
    transmit.again
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// An IPv4 address in IPv6's clothes becomes IPv4 again; everything else stays as it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// What an IPv6 socket has to be told to reach an IPv4 address.
fn wire_address(address: SocketAddr, mapped: bool) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if mapped => SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), address.port()),
        _ => address,
    }
}
