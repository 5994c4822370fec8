//! [`Worker`]: the thread's loop: receive, time, send, sleep.

use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reveille_config::limit::{DROPBOX_WRITES_MAX, TFTP_TRANSFERS_MAX};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::complaints::Complaints;
use super::opening::{Opened, Request};
use super::outbox::{Failure, Outbox, Outgoing};
use super::served::{Files, Served};
use super::session::Next;
use super::sessions::{Key, Place, Sessions};
use super::timers::Timers;
use super::uploads::Writer;
use super::{Control, TRANSFER_SOCKETS};
use crate::io::Counters;
use crate::io::sys::Arena;
use crate::proto::tftp::{DropReason, Handled, packet};
use crate::store::Store;

/// Datagrams read with one system call.
const BATCH: usize = 64;
/// Turns of transfers before datagrams are read again.
const TURNS_MAX: usize = 256;
/// Rounds without a rest before all sockets are looked at again.
const LOOK_EVERY: u32 = 16;
/// Octets of a datagram that is read: more than any request or ACK has, and a block of what a client sends.
const DATAGRAM_BYTES_MAX: usize = packet::REQUEST_BYTES_MAX + 64;

/// Something that had to wait for the disk. At most one per session, chunk and request is under way, so the queue is bounded.
#[derive(Debug)]
pub(super) enum Finished {
    /// What this request of this peer's came to.
    Opened(SocketAddr, Request, Opened),
    /// What this session's read came to.
    Read(Place, u64, std::io::Result<Bytes>),
    /// This upload is over.
    Written(Key),
    /// What reading this file's chunk into memory came to.
    Warmed(Arc<Served>, u64, std::io::Result<()>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Worker {
    /// The listening one first.
    pub(super) sockets: Vec<UdpSocket>,
    pub(super) store: Arc<Store>,
    pub(super) counters: Arc<Counters>,
    pub(super) control: Arc<Control>,
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) transfers_max: usize,
    pub(super) uploads_max: usize,
    pub(super) files: Files,
    pub(super) sessions: Sessions,
    pub(super) complaints: Complaints,
    /// Requests whose file is being looked for on a thread that may wait: one per peer at most. An entry goes with its result only, so
    /// that there are as many entries as threads at work or waiting for their turn.
    pub(super) opening: HashMap<SocketAddr, Request>,
    /// The threads of uploads.
    pub(super) uploads: HashMap<Key, Writer>,
    /// Sessions that wait for a chunk of a file: the file's place in memory names it while one of them holds it.
    warming: HashMap<(usize, u64), Vec<(Place, u64)>>,
    /// Sessions that may have something to send.
    ready: VecDeque<Place>,
    timers: Timers<Place>,
    pub(super) results: (mpsc::Sender<Finished>, mpsc::Receiver<Finished>),
    arena: Arena,
    pub(super) outboxes: Vec<Outbox>,
    /// Which sockets may have something.
    readable: Vec<bool>,
    /// The socket that takes no more at present.
    blocked: Option<u8>,
}

impl Worker {
    pub(super) fn new(
        sockets: Vec<UdpSocket>,
        store: Arc<Store>,
        counters: Arc<Counters>,
        control: Arc<Control>,
    ) -> Self {
        Self {
            store,
            counters,
            control,
            runtime: tokio::runtime::Handle::current(),
            transfers_max: TFTP_TRANSFERS_MAX,
            uploads_max: DROPBOX_WRITES_MAX,
            files: Files::default(),
            sessions: Sessions::default(),
            complaints: Complaints::default(),
            opening: HashMap::new(),
            uploads: HashMap::new(),
            warming: HashMap::new(),
            ready: VecDeque::new(),
            timers: Timers::default(),
            results: mpsc::channel(),
            arena: Arena::new(BATCH, DATAGRAM_BYTES_MAX),
            outboxes: sockets.iter().map(|_| Outbox::default()).collect(),
            readable: vec![true; sockets.len()],
            blocked: None,
            sockets,
        }
    }

    pub(super) fn listening(&self) -> &UdpSocket {
        &self.sockets[0]
    }

    /// The sockets that transfers use.
    pub(super) fn transfer_sockets(&self) -> std::ops::Range<u8> {
        if self.is_single_port() { 0..1 } else { 1..1 + TRANSFER_SOCKETS as u8 }
    }

    fn is_single_port(&self) -> bool {
        self.sockets.len() == 1
    }

    /// Serves until it is told to stop and the transfers have ended.
    pub(super) fn run(mut self) {
        let mut rounds = 0_u32;
        loop {
            let stopping = self.control.stopping.load(Ordering::Acquire);
            if (stopping && self.sessions.is_empty() && self.uploads.is_empty())
                || self.control.abandoned.load(Ordering::Acquire)
            {
                return;
            }
            let mut busy = self.receive(stopping);
            while let Ok(finished) = self.results.1.try_recv() {
                self.finish(finished);
                busy = true;
            }
            let now = Instant::now();
            busy |= self.fire_timers(now);
            busy |= self.transmit(now);
            rounds = rounds.wrapping_add(1);
            if !busy || rounds.is_multiple_of(LOOK_EVERY) {
                self.look(!busy);
            }
        }
    }

    /// Reads what has come, up to a batch of each socket; true if there was anything.
    fn receive(&mut self, stopping: bool) -> bool {
        let mut received = false;
        for socket in 0..self.sockets.len() {
            if !self.readable[socket] {
                continue;
            }
            let mut arena = std::mem::replace(&mut self.arena, Arena::new(0, 1));
            let got = arena.receive(&self.sockets[socket]).unwrap_or(0);
            self.readable[socket] = got > 0;
            let now = Instant::now();
            for index in 0..got {
                let (datagram, peer) = arena.datagram(index);
                let key = Key { socket: socket as u8, peer };
                let is_request = matches!(datagram, [0, 1 | 2, ..]);
                match self.sessions.place(&key) {
                    Some(place) if !is_request => self.handle_datagram(place, datagram, now),
                    _ if !is_request && self.uploads.contains_key(&key) => self.pass_on(&key, datagram),
                    _ if socket > 0 => self.drop_datagram(peer, DropReason::UnknownPeer, now),
                    _ if stopping => {}
                    _ => self.handle_request(peer, datagram, now),
                }
            }
            self.arena = arena;
            received |= got > 0;
        }
        received
    }

    /// To an upload's thread. One that has too much waiting gets it when the client repeats it.
    fn pass_on(&mut self, key: &Key, datagram: &[u8]) {
        if let Some(writer) = self.uploads.get(key)
            && writer.try_send(datagram.into()).is_err()
        {
            self.counters.tftp_drop(DropReason::Unexpected);
        }
    }

    fn handle_datagram(&mut self, place: Place, datagram: &[u8], now: Instant) {
        let Some((key, session)) = self.sessions.get(place) else { return };
        match session.handle_datagram(now, datagram) {
            Handled::Progress => self.wake(place),
            Handled::Dropped(reason) => self.drop_datagram(key.peer, reason, now),
        }
    }

    /// Counts a datagram that changes nothing; what no healthy client or network makes is also said once in a while.
    pub(super) fn drop_datagram(&mut self, peer: SocketAddr, reason: DropReason, now: Instant) {
        self.counters.tftp_drop(reason);
        if !reason.is_usual() && self.complaints.are_due(reason.label(), now) {
            tracing::info!(%peer, reason = reason.label(), "TFTP datagram dropped; more of these are only counted for a minute");
        }
    }

    pub(super) fn finish(&mut self, finished: Finished) {
        let now = Instant::now();
        match finished {
            Finished::Opened(peer, request, opened) => {
                self.opening.remove(&peer);
                self.begin(peer, request, opened, now);
            }
            Finished::Read(place, id, result) => {
                let Some(session) = self.sessions.get_same(place, id) else { return };
                if let Err(error) = &result
                    && self.complaints.are_due("unreadable", now)
                {
                    tracing::error!(path = %session.request().path, %error, "a served file cannot be read");
                }
                session.filled(result);
                self.wake(place);
            }
            Finished::Written(key) => {
                self.uploads.remove(&key);
            }
            Finished::Warmed(served, chunk, result) => {
                let waiting = self.warming.remove(&(Arc::as_ptr(&served) as usize, chunk)).unwrap_or_default();
                for (place, id) in waiting {
                    let Some(session) = self.sessions.get_same(place, id) else { continue };
                    if let Err(error) = &result
                        && self.complaints.are_due("unreadable", now)
                    {
                        tracing::error!(path = %session.request().path, %error, "a served file cannot be read");
                    }
                    session.warmed(&result);
                    self.wake(place);
                }
            }
        }
    }

    fn fire_timers(&mut self, now: Instant) -> bool {
        let mut fired = false;
        while let Some((place, at)) = self.timers.pop(now) {
            fired = true;
            if let Some((_, session)) = self.sessions.get(place)
                && session.timer_fired(now, at)
            {
                self.wake(place);
            }
        }
        fired
    }

    /// Puts a session among those that may have something to send or may have ended.
    pub(super) fn wake(&mut self, place: Place) {
        if let Some((_, session)) = self.sessions.get(place)
            && session.queue()
        {
            self.ready.push_back(place);
        }
    }

    /// Sends for the sessions that are ready, in turn, until each has had one or more turns; true if there was anything to do.
    pub(super) fn transmit(&mut self, now: Instant) -> bool {
        if self.blocked.is_some() {
            return false;
        }
        let mut busy = false;
        for _ in 0..TURNS_MAX {
            let Some(place) = self.ready.pop_front() else { break };
            busy = true;
            self.turn(place, now);
            if self.blocked.is_some() {
                break;
            }
        }
        for socket in 0..self.outboxes.len() as u8 {
            if !self.outboxes[usize::from(socket)].is_empty() {
                self.flush(socket);
                busy = true;
            }
        }
        busy
    }

    fn turn(&mut self, place: Place, now: Instant) {
        let Some((key, session)) = self.sessions.get(place) else { return };
        let id = session.id();
        let mut what = match session.next(now) {
            Next::Send(what) => {
                self.ready.push_back(place);
                Some(what)
            }
            Next::Waits => {
                session.dequeue();
                if let Some(due) = session.arm() {
                    self.timers.push(due, place);
                }
                None
            }
            Next::Warm(served, chunk) => {
                session.dequeue();
                self.warm(place, id, served, chunk);
                None
            }
            Next::Read(served, run) => {
                session.dequeue();
                let (results, control) = (self.results.0.clone(), self.control.clone());
                self.runtime.spawn_blocking(move || {
                    let mut octets = vec![0; run.bytes];
                    let result = served.file.read_blocking(&mut octets, run.offset).map(|()| octets.into());
                    // The server may have gone.
                    let _ = results.send(Finished::Read(place, id, result));
                    control.waker.wake();
                });
                None
            }
            Next::SendLast(what) => {
                self.end(place, None);
                Some(what)
            }
            Next::Ended => {
                self.end(place, None);
                None
            }
        };
        if let Some(what) = what.take() {
            let outbox = &mut self.outboxes[usize::from(key.socket)];
            outbox.push(Outgoing { session: (place, id), to: key.peer, what });
            if outbox.is_full() {
                self.flush(key.socket);
            }
        }
    }

    /// Has a chunk read into memory, once for all who wait for it.
    fn warm(&mut self, place: Place, id: u64, served: Arc<Served>, chunk: u64) {
        let waiting = self.warming.entry((Arc::as_ptr(&served) as usize, chunk)).or_default();
        waiting.push((place, id));
        if waiting.len() > 1 {
            return;
        }
        let (results, control) = (self.results.0.clone(), self.control.clone());
        self.runtime.spawn_blocking(move || {
            let result = served.warm(chunk);
            // The server may have gone.
            let _ = results.send(Finished::Warmed(served, chunk, result));
            control.waker.wake();
        });
    }

    /// A session is over; `instead` says why where its transfer does not.
    pub(super) fn end(&mut self, place: Place, instead: Option<&'static str>) {
        if let Some(session) = self.sessions.remove(place) {
            session.end(&self.counters, instead);
        }
    }

    /// Sends what waits for a socket; what is not sent goes back to its sessions.
    pub(super) fn flush(&mut self, socket: u8) {
        let at = usize::from(socket);
        for (outgoing, why) in self.outboxes[at].flush(&self.sockets[at]).into_iter().rev() {
            match why {
                Failure::Lost => self.counters.tftp_send_errors.increment(1),
                Failure::Blocked => self.blocked = Some(socket),
                Failure::NotSegmented | Failure::Unreadable => {}
            }
            let (place, id) = outgoing.session;
            if let Some(session) = self.sessions.get_same(place, id) {
                session.not_sent(outgoing.what, &why);
                session.queue();
                // In front, in the old order; a second entry of the same session does no harm.
                self.ready.push_front(place);
            }
        }
    }

    /// Looks which sockets have something; sleeps until one has, a timer is due or a thread has finished, if `sleep`.
    fn look(&mut self, sleep: bool) {
        let due = self.timers.due().map(|due| due.saturating_duration_since(Instant::now()));
        let timeout = match (sleep, due) {
            (false, _) => Some(Duration::ZERO),
            (true, due) => due,
        };
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().min(3_600) as i64,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let mut fds = Vec::with_capacity(2 + TRANSFER_SOCKETS);
        fds.push(PollFd::new(&self.control.waker, PollFlags::IN));
        for (socket, fd) in self.sockets.iter().enumerate() {
            let blocked = self.blocked == Some(socket as u8);
            fds.push(PollFd::new(fd, if blocked { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN }));
        }
        // An interrupted poll has found nothing: the next round asks again.
        if poll(&mut fds, timeout.as_ref()).is_err() {
            return;
        }
        let found: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        if found[0].contains(PollFlags::IN) {
            self.control.waker.clear();
        }
        for (socket, found) in found[1..].iter().enumerate() {
            self.readable[socket] |= found.intersects(PollFlags::IN | PollFlags::ERR);
            if self.blocked == Some(socket as u8) && found.intersects(PollFlags::OUT | PollFlags::ERR) {
                self.blocked = None;
            }
        }
    }
}
