//! [`Session`]: one download: the state machine, where its octets come from, and putting them into datagrams.

use std::io::{ErrorKind, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::net::UdpSocket;

use crate::io::Counters;
use crate::proto::path::SafePath;
use crate::proto::tftp::netascii;
use crate::proto::tftp::packet::{self, BLOCK_SIZE_MAX, DATA_HEADER_BYTES, Mode, Options, data_header};
use crate::proto::tftp::{BlockRun, ErrorCode, Handled, Outcome, Transfer, Transmit};
use crate::store::{Content, Lookup, Ongoing, OpenFile, Patience, Protocol, ReadNow, Script, Store};

/// A run's datagrams, headers included: the largest run has [`crate::proto::tftp::transfer::RUN_BYTES_MAX`] octets of payload in at
/// most 64 blocks, or is one block.
pub(super) const SCRATCH_BYTES: usize = BLOCK_SIZE_MAX as usize + 65 * DATA_HEADER_BYTES;

/// A request that has been accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) path: SafePath,
    pub(super) mode: Mode,
    pub(super) options: Options,
}

/// Where the octets come from.
#[derive(Debug)]
pub(super) enum Source {
    Octets(Bytes),
    File(Arc<OpenFile>),
}

/// What a request came to.
#[derive(Debug)]
pub(super) enum Opened {
    /// Octets, and the script that they are, if they are one.
    Source(Source, Option<Script>),
    Missing(Lookup),
    TooLargeForText,
}

/// Looks without waiting for the disk; none if that is not enough.
pub(super) fn open_now(store: &Store, request: &Request) -> Option<Opened> {
    match open(store, request, Patience::Cached) {
        Opened::Missing(Lookup::WouldBlock) => None,
        opened => Some(opened),
    }
}

/// Looks for what is asked for. In text mode a file is read here, so that mode waits for the disk or [`Lookup::WouldBlock`] is missing.
pub(super) fn open(store: &Store, request: &Request, patience: Patience) -> Opened {
    let encode = |octets: &[u8]| Bytes::from(netascii::encode(octets));
    match (store.content(&request.path, patience), request.mode) {
        (Content::Script(script), Mode::Octet) => Opened::Source(Source::Octets(script.text.clone()), Some(script)),
        (Content::Script(script), Mode::Netascii) => Opened::Source(Source::Octets(encode(&script.text)), Some(script)),
        (Content::File(Lookup::Found(file)), Mode::Octet) => Opened::Source(Source::File(Arc::new(file)), None),
        (Content::File(Lookup::Found(file)), Mode::Netascii) => match (file.bytes, patience) {
            (bytes, _) if bytes > netascii::SOURCE_BYTES_MAX => Opened::TooLargeForText,
            (_, Patience::Cached) => Opened::Missing(Lookup::WouldBlock),
            (bytes, Patience::Blocking) => {
                let mut octets = vec![0; bytes as usize];
                match file.read_blocking(&mut octets, 0) {
                    Ok(()) => Opened::Source(Source::Octets(encode(&octets)), None),
                    Err(error) => Opened::Missing(Lookup::Failed(error)),
                }
            }
        },
        (Content::File(lookup), _) => Opened::Missing(lookup),
    }
}

/// One download.
pub(super) struct Session {
    transfer: Transfer,
    source: Source,
    request: Request,
    ongoing: Ongoing,
    began: Instant,
    /// A run that is to be sent, from its first block that has not gone out yet.
    pending: Option<BlockRun>,
    /// The pending run's octets, where they had to be read from the disk.
    filled: Option<Vec<u8>>,
    reading: bool,
    queued: bool,
    /// The timer entry that counts.
    armed: Option<Instant>,
    bytes_total: u64,
}

/// What a session needs after a step.
pub(super) enum Step {
    /// Another turn.
    More,
    /// The socket takes no more at present.
    Blocked,
    /// An ACK, or its timer.
    Waits,
    /// These octets, read where waiting is allowed.
    Reads { file: Arc<OpenFile>, offset: u64, bytes: usize },
    /// Nothing any more.
    Ended,
}

impl Session {
    pub(super) fn new(now: Instant, store: &Store, peer: IpAddr, request: Request, source: Source) -> Self {
        let path = request.path.as_str();
        let (bytes_total, ongoing) = match &source {
            Source::Octets(octets) => {
                let bytes = octets.len() as u64;
                (bytes, store.transfers.begin_script(Protocol::Tftp, peer, path, bytes))
            }
            Source::File(file) => {
                let machine = store.machines.get(peer);
                (file.bytes, store.transfers.begin(Protocol::Tftp, peer, path, file.bytes, machine))
            }
        };
        Self {
            transfer: Transfer::new(now, &request.options, bytes_total),
            source,
            request,
            ongoing,
            began: now,
            pending: None,
            filled: None,
            reading: false,
            queued: false,
            armed: None,
            bytes_total,
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.ongoing.id()
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    pub(super) fn is_unanswered(&self) -> bool {
        self.transfer.is_unanswered()
    }

    pub(super) fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Handled {
        let handled = self.transfer.handle_datagram(now, datagram);
        if handled == Handled::Progress {
            // What was to be sent is decided anew.
            self.pending = None;
            self.filled = None;
            self.ongoing.set_bytes_sent(self.transfer.bytes_acknowledged());
        }
        handled
    }

    /// True if it was not queued yet (and is from now on). While it reads from the disk only its end is of interest.
    pub(super) fn queue(&mut self) -> bool {
        let waits_for_disk = self.reading && self.transfer.outcome().is_none();
        !waits_for_disk && !std::mem::replace(&mut self.queued, true)
    }

    pub(super) fn dequeue(&mut self) {
        self.queued = false;
    }

    /// Its timer, if it needs another entry.
    pub(super) fn arm(&mut self) -> Option<Instant> {
        let due = self.transfer.poll_timeout()?;
        if self.armed.is_some_and(|armed| armed <= due) {
            return None;
        }
        self.armed = Some(due);
        Some(due)
    }

    /// An entry has come due; true if the session must be looked at.
    pub(super) fn timer_fired(&mut self, now: Instant, at: Instant) -> bool {
        if self.armed != Some(at) {
            return false;
        }
        self.armed = None;
        self.transfer.handle_timeout(now);
        true
    }

    /// Octets from the disk have come, or not.
    pub(super) fn filled(&mut self, result: std::io::Result<Vec<u8>>) {
        self.reading = false;
        match result {
            Ok(octets) => self.filled = self.pending.filter(|run| run.bytes == octets.len()).map(|_| octets),
            Err(error) => {
                self.pending = None;
                match error.kind() {
                    ErrorKind::UnexpectedEof => self.transfer.abort("file changed"),
                    _ => self.unreadable(&error),
                }
            }
        }
    }

    fn unreadable(&mut self, error: &std::io::Error) {
        tracing::error!(path = %self.request.path, %error, "a served file cannot be read");
        self.transfer.abort("file unreadable");
    }

    /// Sends one run of blocks, or the one datagram that is due.
    pub(super) fn step(
        &mut self,
        now: Instant,
        socket: &UdpSocket,
        peer: SocketAddr,
        scratch: &mut [u8],
        counters: &Counters,
    ) -> Step {
        let run = match self.pending {
            Some(run) => run,
            None => match self.transfer.poll_transmit(now) {
                Some(Transmit::Blocks(run)) => run,
                Some(Transmit::Datagram(datagram)) => {
                    // Lost on the way or here: the timer sees to both.
                    if socket.try_send_to(&datagram, peer).is_err() {
                        counters.tftp_send_errors.increment(1);
                    }
                    return Step::More;
                }
                None if self.transfer.outcome().is_some() => return self.last_words(socket, peer),
                None => return Step::Waits,
            },
        };
        self.pending = Some(run);
        if let Some(step) = self.fill(&run, scratch) {
            return step;
        }
        let stride = usize::from(run.block_size) + DATA_HEADER_BYTES;
        let wire_bytes = run.bytes + usize::from(run.blocks) * DATA_HEADER_BYTES;
        for (block, datagram) in scratch[..wire_bytes].chunks(stride).enumerate() {
            match socket.try_send_to(datagram, peer) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.pending = Some(run.skip(block as u16));
                    self.filled =
                        self.filled.take().map(|octets| octets[block * usize::from(run.block_size)..].to_vec());
                    return Step::Blocked;
                }
                // No route, no ARP answer, a filter: as if lost on the way.
                Err(_) => counters.tftp_send_errors.increment(1),
            }
        }
        self.pending = None;
        self.filled = None;
        Step::More
    }

    /// Lays the run's datagrams into the scratch, headers and payloads; a step if that is not possible now.
    fn fill(&mut self, run: &BlockRun, scratch: &mut [u8]) -> Option<Step> {
        let block_size = usize::from(run.block_size);
        let mut payloads: Vec<IoSliceMut<'_>> = Vec::with_capacity(run.blocks.into());
        let (mut rest, mut left) = (scratch, run.bytes);
        for block in 0..run.blocks {
            let (header, tail) = rest.split_at_mut(DATA_HEADER_BYTES);
            header.copy_from_slice(&data_header(run.first_block.wrapping_add(block)));
            let (payload, tail) = tail.split_at_mut(left.min(block_size));
            left -= payload.len();
            payloads.push(IoSliceMut::new(payload));
            rest = tail;
        }
        let octets = match (&self.filled, &self.source) {
            (Some(octets), _) => octets.as_slice(),
            (None, Source::Octets(octets)) => &octets[run.offset as usize..][..run.bytes],
            (None, Source::File(file)) => {
                match file.read_now(&mut payloads, run.offset) {
                    ReadNow::Done => {}
                    ReadNow::WouldBlock => {
                        self.reading = true;
                        return Some(Step::Reads { file: file.clone(), offset: run.offset, bytes: run.bytes });
                    }
                    ReadNow::Short => {
                        self.transfer.abort("file changed");
                        self.pending = None;
                        return Some(Step::More);
                    }
                    ReadNow::Failed(error) => {
                        self.unreadable(&error);
                        self.pending = None;
                        return Some(Step::More);
                    }
                }
                &[]
            }
        };
        let mut octets = octets;
        if !octets.is_empty() {
            for payload in &mut payloads {
                let (now, later) = octets.split_at(payload.len());
                payload.copy_from_slice(now);
                octets = later;
            }
        }
        if let (true, Source::File(file)) = (run.last, &self.source)
            && !file.is_unchanged()
        {
            self.transfer.abort("file changed");
            self.pending = None;
            return Some(Step::More);
        }
        None
    }

    /// A transfer that the server gives up is ended with ERROR, so that the client does not wait for it.
    fn last_words(&self, socket: &UdpSocket, peer: SocketAddr) -> Step {
        if let Some(Outcome::Aborted(reason)) = self.transfer.outcome() {
            let error = packet::write_error(ErrorCode::NotDefined, reason);
            // Lost: the client's own timer sees to it.
            let _ = socket.try_send_to(&error, peer);
        }
        Step::Ended
    }

    /// Reports how it ended.
    pub(super) fn end(self, counters: &Counters, instead: Option<&'static str>) {
        let outcome = match (instead, self.transfer.outcome()) {
            (Some(outcome), _) => outcome,
            (None, Some(Outcome::Complete)) => "complete",
            (None, Some(Outcome::SizeOnly)) => "size only",
            (None, Some(Outcome::LastAckMissing)) => "last ACK missing",
            (None, Some(Outcome::ClientError(_))) => "broken off by the client",
            (None, Some(Outcome::TimedOut)) => "timed out",
            (None, Some(Outcome::Aborted(reason))) => reason,
            (None, None) => "stopped",
        };
        counters.tftp_retransmitted_blocks.increment(self.transfer.blocks_repeated());
        let bytes = if matches!(self.transfer.outcome(), Some(Outcome::LastAckMissing)) {
            self.bytes_total
        } else {
            self.transfer.bytes_acknowledged()
        };
        self.ongoing.set_bytes_sent(bytes);
        counters.ended(Protocol::Tftp, outcome, bytes);
        self.ongoing.end(outcome);
    }
}
