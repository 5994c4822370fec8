//! What machines write into the drop-box: a thread for each, few at a time.
//!
//! A thread waits for the disk, which the worker may not: it acknowledges a block when the file has it, and the last one when the file is durable. The
//! worker passes on what the peer sends, over the socket that all transfers share; the thread sends over the same.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use serde_json::Map;

use super::Control;
use super::sessions::Key;
use super::worker::{Finished, Worker};
use crate::io::Counters;
use crate::io::said::{Cause, is_due};
use crate::proto::path::SafePath;
use crate::proto::tftp::packet::{self, Mode, Options, write_error};
use crate::proto::tftp::{ErrorCode, Outcome, Taken, Upload};
use crate::store::{Draft, DropBoxRefusal, NewEvent, Protocol, Store};

/// Datagrams of one peer that wait for its thread; more are as if lost. A client has one block out at a time.
const WAITING_MAX: usize = 8;
/// How often a thread looks whether the server is given up.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The way to an upload's thread.
pub(super) type Writer = SyncSender<Box<[u8]>>;

/// One upload, on its thread.
struct Writing {
    store: Arc<Store>,
    counters: Arc<Counters>,
    control: Arc<Control>,
    socket: UdpSocket,
    peer: SocketAddr,
    path: SafePath,
    received: Receiver<Box<[u8]>>,
    began: Instant,
}

impl Worker {
    /// A machine wants to write a file.
    pub(super) fn handle_write(
        &mut self,
        peer: SocketAddr,
        request: &packet::Request<'_>,
        path: SafePath,
        now: Instant,
    ) {
        if self.store.dropbox.is_none() {
            return self.refuse(peer, ErrorCode::AccessViolation, "this server takes no files", "write");
        }
        if request.mode != Mode::Octet {
            return self.refuse(peer, ErrorCode::IllegalOperation, "files are taken in octet mode", "write-mode");
        }
        let key = Key { socket: self.transfer_sockets().start, peer };
        if self.uploads.contains_key(&key) {
            return self.drop_datagram(peer, crate::proto::tftp::DropReason::DuplicateRequest, now);
        }
        if self.uploads.len() >= self.uploads_max {
            let message = "too many files are being written at present; try again";
            return self.refuse(peer, ErrorCode::NotDefined, message, "write-limit");
        }
        let Ok(socket) = self.sockets[usize::from(key.socket)].try_clone() else {
            return self.refuse(peer, ErrorCode::NotDefined, "the server has no room", "write-failed");
        };
        let (writer, received) = sync_channel(WAITING_MAX);
        self.uploads.insert(key, writer);
        let writing = Writing {
            store: self.store.clone(),
            counters: self.counters.clone(),
            control: self.control.clone(),
            socket,
            peer,
            path,
            received,
            began: now,
        };
        let (options, bytes_said) = (request.options, request.bytes_said);
        let (results, control) = (self.results.0.clone(), self.control.clone());
        self.runtime.spawn_blocking(move || {
            writing.run(&options, bytes_said);
            // The server may have gone.
            let _ = results.send(Finished::Written(key));
            control.waker.wake();
        });
    }
}

impl Writing {
    fn run(self, options: &Options, bytes_said: Option<u64>) {
        let Some(dropbox) = &self.store.dropbox else { return };
        let draft = match dropbox.create(&self.path) {
            Ok(draft) => draft,
            Err(refusal) => return self.refused(&refusal),
        };
        let mut upload = Upload::new(Instant::now(), options, bytes_said, dropbox.file_bytes_max);
        let refusal = self.converse(&mut upload, draft);
        if upload.is_complete() {
            return;
        }
        let outcome = match (&refusal, upload.outcome()) {
            (Some(refusal), _) => refusal.label(),
            (None, Some(Outcome::ClientError(_))) => "broken off by the client",
            (None, Some(Outcome::TimedOut)) => "timed out",
            (None, Some(Outcome::Aborted(reason))) => reason,
            (None, _) => "stopped",
        };
        match (&refusal, upload.outcome()) {
            (Some(refusal), _) => self.refused(refusal),
            (None, Some(Outcome::Aborted(reason))) => self.send(&write_error(ErrorCode::DiskFull, reason)),
            (None, _) => {}
        }
        self.report(&upload, outcome);
    }

    /// Takes blocks until the end; why the file was not kept, where that is the drop-box's doing.
    fn converse(&self, upload: &mut Upload, draft: Draft) -> Option<DropBoxRefusal> {
        let mut draft = Some(draft);
        while upload.outcome().is_none() {
            let now = Instant::now();
            if let Some(answer) = upload.poll_transmit(now) {
                self.send(answer);
            }
            if self.control.abandoned.load(Ordering::Acquire) {
                upload.abort("stopped");
            }
            let due = upload.poll_timeout().map_or(LOOK_EVERY, |due| due.saturating_duration_since(now));
            let datagram = match self.received.recv_timeout(due.min(LOOK_EVERY)) {
                Ok(datagram) => datagram,
                Err(RecvTimeoutError::Timeout) => {
                    upload.handle_timeout(Instant::now());
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    upload.abort("stopped");
                    continue;
                }
            };
            let Taken::Octets { octets, last } = upload.handle_datagram(Instant::now(), &datagram) else { continue };
            let Some(file) = &mut draft else { continue };
            if let Err(error) = file.write(octets) {
                return Some(DropBoxRefusal::Disk(error));
            }
            if last && let Some(Err(refusal)) = draft.take().map(Draft::keep) {
                return Some(refusal);
            }
            upload.kept(Instant::now());
            if last {
                self.report(upload, "received");
            }
        }
        None
    }

    fn refused(&self, refusal: &DropBoxRefusal) {
        self.counters.refused(Protocol::Tftp, refusal.label());
        let code = match refusal {
            DropBoxRefusal::Name => ErrorCode::AccessViolation,
            DropBoxRefusal::Exists => ErrorCode::FileExists,
            DropBoxRefusal::Full => ErrorCode::DiskFull,
            DropBoxRefusal::Disk(error) => {
                if is_due(Cause::DropBox) {
                    tracing::error!(path = %self.path, peer = %self.peer, %error, "a file cannot be written into the drop-box");
                }
                ErrorCode::DiskFull
            }
        };
        self.send(&write_error(code, &refusal.to_string()));
    }

    /// As if lost on the way where it fails: the client repeats itself.
    fn send(&self, datagram: &[u8]) {
        if self.socket.send_to(datagram, self.peer).is_err() {
            self.counters.tftp_send_errors.increment(1);
        }
    }

    fn report(&self, upload: &Upload, outcome: &'static str) {
        self.counters.received(outcome, upload.bytes());
        let (peer, path, bytes) = (self.peer.ip().to_canonical(), self.path.as_str(), upload.bytes());
        let machine = self.store.machines.get(peer);
        let mut detail = Map::new();
        detail.insert("protocol".into(), Protocol::Tftp.name().into());
        detail.insert("peer".into(), peer.to_string().into());
        detail.insert("path".into(), path.into());
        detail.insert("bytes_received".into(), bytes.into());
        detail.insert("duration_millis".into(), (self.began.elapsed().as_millis() as u64).into());
        detail.insert("repeated".into(), upload.repeated().into());
        detail.insert("outcome".into(), outcome.into());
        let (mac, node) = machine.map_or((None, None), |machine| (machine.mac, machine.node));
        let message = format!("{peer} wrote {path} into the drop-box: {outcome}, {bytes} octets");
        self.store.events.push(NewEvent { kind: "file-received", mac, node, message, detail });
    }
}
