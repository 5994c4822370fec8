//! What becomes of a request: refused, looked for, or begun.

use std::net::SocketAddr;
use std::time::Instant;

use super::opening::{self, Opened, Request, Source};
use super::outbox::{Outgoing, What};
use super::session::Session;
use super::sessions::Key;
use super::worker::{Finished, Worker};
use crate::proto::path::{Encoding, resolve};
use crate::proto::tftp::DropReason;
use crate::proto::tftp::packet::{self, ErrorCode, Incoming};
use crate::store::{Lookup, Patience, Protocol};

impl Worker {
    pub(super) fn handle_request(&mut self, peer: SocketAddr, datagram: &[u8], now: Instant) {
        let (request, writes) = match packet::read(datagram) {
            Incoming::Read(request) => (request, false),
            Incoming::Write(request) => (request, true),
            Incoming::UnknownMode => {
                return self.refuse(peer, ErrorCode::IllegalOperation, "the mode must be octet or netascii", "mode");
            }
            Incoming::Dropped(reason) => return self.drop_datagram(peer, reason, now),
            Incoming::Acknowledge(_) | Incoming::Error { .. } => {
                return self.drop_datagram(peer, DropReason::Unexpected, now);
            }
        };
        let path = match resolve(request.file_name, Encoding::Plain) {
            Ok(path) => path,
            Err(refusal) => {
                if self.complaints.are_due(refusal.label(), now) {
                    tracing::info!(%peer, path = request.file_name, %refusal, "TFTP request refused");
                }
                return self.refuse(peer, ErrorCode::AccessViolation, "access violation", refusal.label());
            }
        };
        if writes {
            return self.handle_write(peer, &request, path, now);
        }
        let request = Request { path, mode: request.mode, options: request.options };
        if self.is_repetition(peer, &request) {
            return self.drop_datagram(peer, DropReason::DuplicateRequest, now);
        }
        if self.opening.contains_key(&peer) {
            // No answer is due: a client that still wants this sends it again, as when the network loses it (RFC 1350 section 2).
            return self.drop_datagram(peer, DropReason::OpeningAnother, now);
        }
        if !self.has_room(peer, now) {
            return;
        }
        match opening::open_now(&self.store, &request) {
            Some(opened) => self.begin(peer, request, opened, now),
            None => {
                let (store, results, control) = (self.store.clone(), self.results.0.clone(), self.control.clone());
                self.opening.insert(peer, request.clone());
                self.runtime.spawn_blocking(move || {
                    let opened = opening::open(&store, &request, Patience::Blocking);
                    // The server may have gone.
                    let _ = results.send(Finished::Opened(peer, request, opened));
                    control.waker.wake();
                });
            }
        }
    }

    /// Whether there is room for one more transfer. At the limit, whoever has not answered for longest makes room: most likely it never will, and
    /// a flood of forged requests shuts nobody out. With none of those the request is refused.
    fn has_room(&mut self, peer: SocketAddr, now: Instant) -> bool {
        if self.sessions.len() + self.opening.len() < self.transfers_max {
            return true;
        }
        if self.complaints.are_due("limit", now) {
            tracing::warn!(transfers = self.transfers_max, %peer, "as many TFTP transfers as there may be");
        }
        if let Some(place) = self.sessions.oldest_unanswered() {
            self.end(place, Some("made room for another"));
            return true;
        }
        self.counters.tftp_refused_at_limit.increment(1);
        self.refuse(peer, ErrorCode::NotDefined, "too many transfers at present; try again", "limit");
        false
    }

    /// The same request again before anything of the first answer came back: the client's retransmission or the network's copy.
    fn is_repetition(&self, peer: SocketAddr, request: &Request) -> bool {
        self.opening.get(&peer) == Some(request)
            || self
                .transfer_sockets()
                .filter_map(|socket| self.sessions.of(&Key { socket, peer }))
                .any(|session| session.is_unanswered() && session.request() == request)
    }

    pub(super) fn begin(&mut self, peer: SocketAddr, request: Request, opened: Opened, now: Instant) {
        let address = peer.ip().to_canonical();
        let source = match opened {
            Opened::Octets(octets, script) => {
                if let Some(script) = script {
                    self.store.script_served(Protocol::Tftp, address, &request.path, &script);
                }
                Source::Octets(octets)
            }
            Opened::File(file) => Source::File(self.files.share(file, now)),
            Opened::Missing(lookup) => return self.missing(peer, &request, &lookup, now),
            Opened::TooLargeForText => {
                let message = "too large for netascii; ask for octet";
                return self.refuse(peer, ErrorCode::NotDefined, message, "netascii-size");
            }
        };
        let key = self.free_key(peer);
        let session = Session::new(now, &self.store, address, request, source);
        let place = self.sessions.insert(key, session);
        self.wake(place);
    }

    /// A socket that this peer has no transfer on. A peer that has used up all has long lost interest in the oldest.
    fn free_key(&mut self, peer: SocketAddr) -> Key {
        let mut keys = self.transfer_sockets().map(|socket| Key { socket, peer });
        if let Some(free) = keys.find(|key| self.sessions.place(key).is_none()) {
            return free;
        }
        let keys = self.transfer_sockets().map(|socket| Key { socket, peer });
        let began = |key: &Key| self.sessions.of(key).map(Session::began);
        let oldest = keys.min_by_key(began).unwrap_or(Key { socket: self.transfer_sockets().start, peer });
        if let Some(place) = self.sessions.place(&oldest) {
            self.end(place, Some("started over by the client"));
        }
        oldest
    }

    fn missing(&mut self, peer: SocketAddr, request: &Request, lookup: &Lookup, now: Instant) {
        let path = &request.path;
        let (code, message, reason) = match lookup {
            Lookup::Guarded => (ErrorCode::AccessViolation, "access violation", "signature-missing"),
            Lookup::Escape => (ErrorCode::AccessViolation, "access violation", "link-escapes"),
            Lookup::Forbidden => {
                if self.complaints.are_due("forbidden", now) {
                    tracing::warn!(%peer, %path, "a file that a machine asked for may not be read by bootd");
                }
                (ErrorCode::AccessViolation, "the server may not read this file", "forbidden")
            }
            Lookup::Failed(error) => {
                if self.complaints.are_due("failed", now) {
                    tracing::error!(%peer, %path, %error, "a file that a machine asked for cannot be opened");
                }
                (ErrorCode::NotDefined, "the file cannot be opened", "failed")
            }
            Lookup::Absent | Lookup::Found(_) | Lookup::WouldBlock => {
                (ErrorCode::FileNotFound, "file not found", "not-found")
            }
        };
        self.refuse(peer, code, message, reason);
    }

    /// Answers a request with ERROR, once; a client that misses it asks again.
    pub(super) fn refuse(&mut self, peer: SocketAddr, code: ErrorCode, message: &str, reason: &'static str) {
        self.counters.refused(Protocol::Tftp, reason);
        let socket = self.transfer_sockets().start;
        let what = What::Datagram(packet::write_error(code, message));
        let outbox = &mut self.outboxes[usize::from(socket)];
        outbox.push(Outgoing { session: (u32::MAX, 0), to: peer, what });
        if outbox.is_full() {
            self.flush(socket);
        }
    }
}
