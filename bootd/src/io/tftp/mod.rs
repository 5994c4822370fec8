//! The TFTP server of one address: a listening socket for requests, a few transfer sockets for all downloads, one task for all of them.
//!
//! RFC 1350 gives each transfer an identifier by its pair of ports. Here many peers share a transfer socket, so that ports do not run
//! out, and a peer with several transfers (a ROM that always uses the same port and starts over) gets another socket for each.
//! Nothing in the task waits for the disk: files are opened and cold pages are read on threads that may.

mod session;
mod timers;

use std::collections::HashMap;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use reveille_config::limit::TFTP_TRANSFERS_MAX;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};

use self::session::{Opened, Request, Session, Step};
use self::timers::Timers;
use super::Counters;
use super::listen::{self, ListenError};
use crate::proto::path::{Encoding, resolve};
use crate::proto::tftp::packet::{self, ErrorCode, Incoming};
use crate::proto::tftp::{DropReason, Handled};
use crate::store::{Lookup, Patience, Protocol, Store};

/// Transfer sockets: so many transfers a peer can have from one port.
const TRANSFER_SOCKETS: usize = 4;
/// Datagrams read from one socket, and runs of blocks sent, before the others get their turn.
const TURN_MAX: usize = 64;
/// Octets of a datagram that is read: more than any request or ACK has.
const DATAGRAM_BYTES_MAX: usize = packet::REQUEST_BYTES_MAX + 64;

/// A transfer: its socket and its peer.
type Key = (u8, SocketAddr);

/// The server of one address.
pub struct Server {
    listening: UdpSocket,
    transfer_sockets: Vec<UdpSocket>,
    store: Arc<Store>,
    counters: Arc<Counters>,
    transfers_max: usize,
    sessions: HashMap<Key, Session>,
    /// Requests whose file is being looked for on a thread that may wait: one per peer at most. An entry goes with its result only, so
    /// that there are as many entries as threads at work or waiting for their turn.
    opening: HashMap<SocketAddr, Request>,
    /// Sessions that may have something to send.
    ready: VecDeque<Key>,
    timers: Timers<Key>,
    results: (mpsc::UnboundedSender<Finished>, mpsc::UnboundedReceiver<Finished>),
    /// Datagrams of one run, one after the other: at least one block of the largest size.
    scratch: Vec<u8>,
}

/// Something that had to wait for the disk. At most one per session and one per request is under way, so the queue is bounded.
enum Finished {
    /// What this request of this peer's came to.
    Opened(SocketAddr, Request, Opened),
    /// What this session's read of the socket and peer came to.
    Read(Key, u64, std::io::Result<Vec<u8>>),
}

impl Server {
    /// Binds the address. Must run on a tokio runtime.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn bind(address: SocketAddr, store: Arc<Store>, counters: Arc<Counters>) -> Result<Self, ListenError> {
        let listening = listen::udp(address)?;
        let any_port = SocketAddr::new(address.ip(), 0);
        let transfer_sockets = (0..TRANSFER_SOCKETS).map(|_| listen::udp(any_port)).collect::<Result<_, _>>()?;
        Ok(Self {
            listening,
            transfer_sockets,
            store,
            counters,
            transfers_max: TFTP_TRANSFERS_MAX,
            sessions: HashMap::new(),
            opening: HashMap::new(),
            ready: VecDeque::new(),
            timers: Timers::default(),
            results: mpsc::unbounded_channel(),
            scratch: vec![0; session::SCRATCH_BYTES],
        })
    }

    /// Serves until `stop` turns true; then no new requests are taken, and it returns when the transfers have ended.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut stopping = false;
        loop {
            stopping = stopping || *stop.borrow();
            if stopping && self.sessions.is_empty() {
                return;
            }
            let mut busy = self.receive(stopping);
            while let Ok(finished) = self.results.1.try_recv() {
                self.finish(finished);
                busy = true;
            }
            busy |= self.fire_timers();
            let blocked = self.transmit();
            if busy || (!self.ready.is_empty() && blocked.is_none()) {
                // Others have their turn on this thread.
                tokio::task::yield_now().await;
                continue;
            }
            let due = self.timers.due();
            tokio::select! {
                () = readiness(&self.listening, &self.transfer_sockets, blocked) => {}
                Some(finished) = self.results.1.recv() => self.finish(finished),
                () = sleep_until(due) => {}
                _ = stop.changed(), if !stopping => {}
            }
        }
    }

    /// Reads what has come, up to a turn's worth of each socket; true if there was anything.
    fn receive(&mut self, stopping: bool) -> bool {
        let mut datagram = [0; DATAGRAM_BYTES_MAX];
        let mut received = false;
        for _ in 0..TURN_MAX {
            let Ok((n, peer)) = self.listening.try_recv_from(&mut datagram) else { break };
            received = true;
            if !stopping {
                self.handle_request(peer, &datagram[..n]);
            }
        }
        for socket in 0..TRANSFER_SOCKETS {
            for _ in 0..TURN_MAX {
                let Ok((n, peer)) = self.transfer_sockets[socket].try_recv_from(&mut datagram) else { break };
                received = true;
                self.handle_datagram((socket as u8, peer), &datagram[..n]);
            }
        }
        received
    }

    fn handle_datagram(&mut self, key: Key, datagram: &[u8]) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return self.counters.tftp_drop(DropReason::UnknownPeer);
        };
        match session.handle_datagram(Instant::now(), datagram) {
            Handled::Progress => self.wake(key),
            Handled::Dropped(reason) => self.counters.tftp_drop(reason),
        }
    }

    fn handle_request(&mut self, peer: SocketAddr, datagram: &[u8]) {
        let request = match packet::read(datagram) {
            Incoming::Read(request) => request,
            Incoming::Write => {
                return self.refuse(peer, ErrorCode::AccessViolation, "this server takes no files", "write");
            }
            Incoming::UnknownMode => {
                return self.refuse(peer, ErrorCode::IllegalOperation, "the mode must be octet or netascii", "mode");
            }
            Incoming::Dropped(reason) => return self.counters.tftp_drop(reason),
            Incoming::Acknowledge(_) | Incoming::Error { .. } => {
                return self.counters.tftp_drop(DropReason::Unexpected);
            }
        };
        let path = match resolve(request.file_name, Encoding::Plain) {
            Ok(path) => path,
            Err(refusal) => {
                tracing::debug!(%peer, path = request.file_name, %refusal, "TFTP request refused");
                return self.refuse(peer, ErrorCode::AccessViolation, "access violation", refusal.label());
            }
        };
        let request = Request { path, mode: request.mode, options: request.options };
        if self.is_repetition(peer, &request) {
            return self.counters.tftp_drop(DropReason::DuplicateRequest);
        }
        if self.opening.contains_key(&peer) {
            // No answer is due: a client that still wants this sends it again, as when the network loses it (RFC 1350 section 2).
            return self.counters.tftp_drop(DropReason::OpeningAnother);
        }
        if self.sessions.len() + self.opening.len() >= self.transfers_max {
            self.counters.tftp_refused_at_limit.increment(1);
            return self.refuse(peer, ErrorCode::NotDefined, "too many transfers at present; try again", "limit");
        }
        match session::open_now(&self.store, &request) {
            Some(opened) => self.begin(peer, request, opened),
            None => {
                let (store, results) = (self.store.clone(), self.results.0.clone());
                self.opening.insert(peer, request.clone());
                tokio::task::spawn_blocking(move || {
                    let opened = session::open(&store, &request, Patience::Blocking);
                    // The server may have gone.
                    let _ = results.send(Finished::Opened(peer, request, opened));
                });
            }
        }
    }

    /// The same request again before anything of the first answer came back: the client's retransmission or the network's copy.
    fn is_repetition(&self, peer: SocketAddr, request: &Request) -> bool {
        self.opening.get(&peer) == Some(request)
            || (0..TRANSFER_SOCKETS as u8)
                .filter_map(|socket| self.sessions.get(&(socket, peer)))
                .any(|session| session.is_unanswered() && session.request() == request)
    }

    fn begin(&mut self, peer: SocketAddr, request: Request, opened: Opened) {
        let address = peer.ip().to_canonical();
        let source = match opened {
            Opened::Source(source, script) => {
                if let Some(script) = script {
                    self.store.script_served(Protocol::Tftp, address, &request.path, &script);
                }
                source
            }
            Opened::Missing(lookup) => return self.missing(peer, &request, &lookup),
            Opened::TooLargeForText => {
                let message = "too large for netascii; ask for octet";
                return self.refuse(peer, ErrorCode::NotDefined, message, "netascii-size");
            }
        };
        // A peer that has used up all transfer sockets has long lost interest in the oldest.
        let free = (0..TRANSFER_SOCKETS as u8).find(|socket| !self.sessions.contains_key(&(*socket, peer)));
        let socket = free.unwrap_or_else(|| {
            let oldest = (0..TRANSFER_SOCKETS as u8)
                .min_by_key(|socket| self.sessions.get(&(*socket, peer)).map(Session::began))
                .unwrap_or(0);
            if let Some(session) = self.sessions.remove(&(oldest, peer)) {
                session.end(&self.counters, Some("started over by the client"));
            }
            oldest
        });
        let key = (socket, peer);
        let session = Session::new(Instant::now(), &self.store, address, request, source);
        self.sessions.insert(key, session);
        self.wake(key);
    }

    fn missing(&self, peer: SocketAddr, request: &Request, lookup: &Lookup) {
        let path = &request.path;
        let (code, message, reason) = match lookup {
            Lookup::Guarded => (ErrorCode::AccessViolation, "access violation", "signature-missing"),
            Lookup::Escape => (ErrorCode::AccessViolation, "access violation", "link-escapes"),
            Lookup::Forbidden => {
                tracing::warn!(%peer, %path, "a file that a machine asked for may not be read by bootd");
                (ErrorCode::AccessViolation, "the server may not read this file", "forbidden")
            }
            Lookup::Failed(error) => {
                tracing::error!(%peer, %path, %error, "a file that a machine asked for cannot be opened");
                (ErrorCode::NotDefined, "the file cannot be opened", "failed")
            }
            Lookup::Absent | Lookup::Found(_) | Lookup::WouldBlock => {
                (ErrorCode::FileNotFound, "file not found", "not-found")
            }
        };
        self.refuse(peer, code, message, reason);
    }

    /// Answers a request with ERROR, once; a client that misses it asks again.
    fn refuse(&self, peer: SocketAddr, code: ErrorCode, message: &str, reason: &'static str) {
        self.counters.refused(Protocol::Tftp, reason);
        if self.transfer_sockets[0].try_send_to(&packet::write_error(code, message), peer).is_err() {
            self.counters.tftp_send_errors.increment(1);
        }
    }

    fn finish(&mut self, finished: Finished) {
        match finished {
            Finished::Opened(peer, request, opened) => {
                self.opening.remove(&peer);
                self.begin(peer, request, opened);
            }
            Finished::Read(key, id, result) => {
                if let Some(session) = self.sessions.get_mut(&key).filter(|session| session.id() == id) {
                    session.filled(result);
                    self.wake(key);
                }
            }
        }
    }

    fn fire_timers(&mut self) -> bool {
        let now = Instant::now();
        let mut fired = false;
        while let Some((key, at)) = self.timers.pop(now) {
            fired = true;
            if let Some(session) = self.sessions.get_mut(&key)
                && session.timer_fired(now, at)
            {
                self.wake(key);
            }
        }
        fired
    }

    /// Puts a session among those that may have something to send or may have ended.
    fn wake(&mut self, key: Key) {
        if let Some(session) = self.sessions.get_mut(&key)
            && session.queue()
        {
            self.ready.push_back(key);
        }
    }

    /// Sends for the sessions that are ready, in turn; returns the socket that takes no more at present.
    fn transmit(&mut self) -> Option<u8> {
        for _ in 0..TURN_MAX {
            let key = self.ready.pop_front()?;
            let Some(session) = self.sessions.get_mut(&key) else { continue };
            let now = Instant::now();
            match session.step(
                now,
                &self.transfer_sockets[usize::from(key.0)],
                key.1,
                &mut self.scratch,
                &self.counters,
            ) {
                Step::More => self.ready.push_back(key),
                Step::Blocked => {
                    self.ready.push_front(key);
                    return Some(key.0);
                }
                Step::Waits => {
                    session.dequeue();
                    if let Some(due) = session.arm() {
                        self.timers.push(due, key);
                    }
                }
                Step::Reads { file, offset, bytes } => {
                    session.dequeue();
                    let (results, id) = (self.results.0.clone(), session.id());
                    tokio::task::spawn_blocking(move || {
                        let mut octets = vec![0; bytes];
                        let result = file.read_blocking(&mut octets, offset).map(|()| octets);
                        // The server may have gone.
                        let _ = results.send(Finished::Read(key, id, result));
                    });
                }
                Step::Ended => {
                    if let Some(session) = self.sessions.remove(&key) {
                        session.end(&self.counters, None);
                    }
                }
            }
        }
        None
    }
}

/// Resolves when a socket has something to read, or the `blocked` one takes something again.
async fn readiness(listening: &UdpSocket, transfer_sockets: &[UdpSocket], blocked: Option<u8>) {
    poll_fn(|cx| {
        let mut ready = listening.poll_recv_ready(cx).is_ready();
        for socket in transfer_sockets {
            ready |= socket.poll_recv_ready(cx).is_ready();
        }
        if let Some(socket) = blocked {
            ready |= transfer_sockets[usize::from(socket)].poll_send_ready(cx).is_ready();
        }
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
    use std::time::Duration;

    /// A server that nobody runs yet, over files named after their contents, and a recorder of what it counts.
    async fn at_rest(files: &[&str]) -> (Server, tempfile::TempDir, PrometheusRecorder) {
        let dir = tempfile::tempdir().unwrap();
        for name in files {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let recorder = PrometheusBuilder::new().build_recorder();
        let counters = Arc::new(metrics::with_local_recorder(&recorder, Counters::new));
        let store = Arc::new(Store::for_tests(dir.path()));
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), store, counters).unwrap();
        server.transfer_sockets[0].writable().await.unwrap();
        (server, dir, recorder)
    }

    fn counts(recorder: &PrometheusRecorder, series: &str, n: u64) -> bool {
        recorder.handle().render().lines().any(|line| line == format!("{series} {n}"))
    }

    /// A request for a text: its file is read before it is answered, which is never done in the server's task.
    fn text(name: &str) -> Vec<u8> {
        format!("\0\x01{name}\0netascii\0").into_bytes()
    }

    #[tokio::test]
    async fn a_peer_has_one_opening_and_gets_what_it_asked_for_first() {
        let (mut server, _dir, recorder) = at_rest(&["first", "second"]).await;
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let from = peer.local_addr().unwrap();
        for name in ["first", "second", "first", "absent", "second"] {
            server.handle_request(from, &text(name));
            assert_eq!(server.opening.len(), 1, "{name}");
        }
        let dropped = |reason: &str| format!("reveille_bootd_tftp_dropped_total{{reason=\"{reason}\"}}");
        assert!(counts(&recorder, &dropped("duplicate-request"), 1), "{}", recorder.handle().render());
        assert!(counts(&recorder, &dropped("opening-another"), 3), "{}", recorder.handle().render());

        // What was dropped is taken once it is asked for again.
        for name in ["first", "second"] {
            server.handle_request(from, &text(name));
            let finished = server.results.1.recv().await.unwrap();
            assert!(server.results.1.try_recv().is_err(), "{name}: only one thread was at work");
            server.finish(finished);
            assert_eq!(server.opening.len(), 0, "{name}");
            assert!(server.transmit().is_none());
            let mut answer = [0; 600];
            let n = tokio::time::timeout(Duration::from_secs(10), peer.recv(&mut answer)).await.unwrap().unwrap();
            assert_eq!(answer[..n].escape_ascii().to_string(), format!("\\x00\\x03\\x00\\x01{name}"));
        }
        let mut paths: Vec<_> = server.sessions.values().map(|s| s.request().path.as_str().to_owned()).collect();
        paths.sort();
        assert_eq!(paths, ["first", "second"]);
    }

    #[tokio::test]
    async fn openings_count_towards_the_limit() {
        let (mut server, _dir, recorder) = at_rest(&["a", "b", "c"]).await;
        server.transfers_max = 2;
        let mut peers = Vec::new();
        for name in ["a", "b", "c"] {
            let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            server.handle_request(peer.local_addr().unwrap(), &text(name));
            peers.push(peer);
        }
        assert_eq!(server.opening.len(), 2);
        assert!(counts(&recorder, "reveille_bootd_tftp_refused_at_limit_total", 1));
        let mut answer = [0; 600];
        tokio::time::timeout(Duration::from_secs(10), peers[2].recv(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer[..4], [0, 5, 0, 0], "an ERROR, not silence");
        for _ in 0..2 {
            let finished = server.results.1.recv().await.unwrap();
            server.finish(finished);
        }
        assert_eq!((server.opening.len(), server.sessions.len()), (0, 2));
        assert!(server.results.1.try_recv().is_err(), "nothing was opened for the one that was refused");
    }

    #[tokio::test]
    async fn one_transfer_too_many_is_refused_and_others_go_on() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), vec![7; 1_000]).unwrap();
        let store = Arc::new(Store::for_tests(dir.path()));
        let mut server =
            Server::bind("127.0.0.1:0".parse().unwrap(), store.clone(), Arc::new(Counters::new())).unwrap();
        server.transfers_max = 2;
        let address = server.listening.local_addr().unwrap();
        let stop = watch::Sender::new(false);
        let running = tokio::spawn(server.run(stop.subscribe()));

        let mut clients = Vec::new();
        for n in 0..3 {
            let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            client.send_to(b"\0\x01file\0octet\0", address).await.unwrap();
            let mut answer = [0; 600];
            let receive = client.recv_from(&mut answer);
            let (_, from) = tokio::time::timeout(Duration::from_secs(10), receive).await.unwrap().unwrap();
            let expected: [u8; 4] = if n < 2 { [0, 3, 0, 1] } else { [0, 5, 0, 0] };
            assert_eq!(answer[..4], expected, "client {n}");
            clients.push((client, from));
        }
        assert_eq!(store.transfers.active(), 2);
        // The first finishes; the drain lets the second do so too.
        for (turn, (client, from)) in clients[..2].iter().enumerate() {
            let mut answer = [0; 600];
            client.send_to(&[0, 4, 0, 1], from).await.unwrap();
            while answer[3] != 2 {
                client.recv_from(&mut answer).await.unwrap();
            }
            if turn == 0 {
                stop.send_replace(true);
            }
            client.send_to(&[0, 4, 0, 2], from).await.unwrap();
        }
        tokio::time::timeout(Duration::from_secs(10), running).await.expect("ends with its transfers").unwrap();
        assert_eq!(store.transfers.active(), 0);
    }
}
