//! [`Session`]: one download: the state machine, and where its octets come from.

use std::io::{ErrorKind, IoSliceMut};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::opening::{Request, Source};
use super::outbox::{Failure, Payload, What};
use super::served::Served;
use crate::io::Counters;
use crate::proto::tftp::packet;
use crate::proto::tftp::{BlockRun, ErrorCode, Handled, Outcome, Transfer, Transmit};
use crate::store::{Ongoing, Protocol, ReadNow, Store};

/// One download.
#[derive(Debug)]
pub(super) struct Session {
    transfer: Transfer,
    source: Source,
    request: Request,
    ongoing: Ongoing,
    began: Instant,
    /// A run that is to be sent, from its first block that has not gone out yet.
    pending: Option<BlockRun>,
    /// The pending run's octets, where they had to be read from the disk.
    filled: Option<Bytes>,
    /// Whether a thread reads for it. Nothing is sent meanwhile.
    reading: bool,
    /// Whether the kernel cuts its windows into datagrams; not where blocks are larger than the way takes.
    segmented: bool,
    /// The mapping has failed: what is sent is read, which says why.
    unmapped: bool,
    queued: bool,
    /// The timer entry that counts.
    armed: Option<Instant>,
    bytes_total: u64,
}

/// What a session needs.
pub(super) enum Next {
    /// This sent; it may have more.
    Send(What),
    /// This sent, and then it is over.
    SendLast(What),
    /// An ACK, or its timer.
    Waits,
    /// This chunk in memory.
    Warm(Arc<Served>, u64),
    /// These octets, read where waiting is allowed.
    Read(Arc<Served>, BlockRun),
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
            Source::File(served) => {
                let machine = store.machines.get(peer);
                let bytes = served.file.bytes;
                (bytes, store.transfers.begin(Protocol::Tftp, peer, path, bytes, machine))
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
            segmented: true,
            unmapped: false,
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

    /// What it waited for is in memory, or not.
    pub(super) fn warmed(&mut self, result: &std::io::Result<()>) {
        self.reading = false;
        if let Err(error) = result {
            self.cannot_read(error);
        }
    }

    /// Octets from the disk have come, or not.
    pub(super) fn filled(&mut self, result: std::io::Result<Bytes>) {
        self.reading = false;
        match result {
            Ok(octets) => self.filled = self.pending.filter(|run| run.bytes == octets.len()).map(|_| octets),
            Err(error) => self.cannot_read(&error),
        }
    }

    fn cannot_read(&mut self, error: &std::io::Error) {
        self.pending = None;
        if error.kind() == ErrorKind::UnexpectedEof {
            return self.transfer.abort("file changed");
        }
        self.transfer.abort("file unreadable");
    }

    /// What it was given to send, or the rest of it, has not gone out.
    pub(super) fn not_sent(&mut self, what: What, why: &Failure) {
        let What::Blocks { run, payload, .. } = what else { return };
        match why {
            Failure::Blocked => {}
            Failure::NotSegmented => self.segmented = false,
            Failure::Unreadable => self.unmapped = true,
            // The timer sees to it.
            Failure::Lost => return,
        }
        self.pending = Some(run);
        if let Payload::Octets(octets) = payload {
            self.filled = Some(octets);
        }
    }

    /// What to send, one run of blocks at a time, or what has to come before.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        let run = match self.pending {
            Some(run) => run,
            None => match self.transfer.poll_transmit(now) {
                Some(Transmit::Blocks(run)) => run,
                Some(Transmit::Datagram(datagram)) => return Next::Send(What::Datagram(datagram)),
                None => return if self.transfer.outcome().is_some() { self.last_words() } else { Next::Waits },
            },
        };
        self.pending = Some(run);
        let payload = match (self.filled.take(), &self.source) {
            (Some(octets), _) => Payload::Octets(octets),
            (None, Source::Octets(octets)) => Payload::Octets(octets.slice(run.offset as usize..).slice(..run.bytes)),
            (None, Source::File(served)) if served.mapping.is_some() && !self.unmapped => {
                if let Err(chunk) = served.is_warm(run.offset, run.bytes, now) {
                    self.reading = true;
                    return Next::Warm(served.clone(), chunk);
                }
                Payload::File(served.clone())
            }
            (None, Source::File(served)) => {
                let mut octets = vec![0; run.bytes];
                match served.file.read_now(&mut [IoSliceMut::new(&mut octets)], run.offset) {
                    ReadNow::Done => Payload::Octets(octets.into()),
                    // What is wrong with it a read that waits says.
                    ReadNow::WouldBlock | ReadNow::Short | ReadNow::Failed(_) => {
                        self.reading = true;
                        return Next::Read(served.clone(), run);
                    }
                }
            }
        };
        self.pending = None;
        if let (true, Source::File(served)) = (run.last, &self.source)
            && !served.file.is_unchanged()
        {
            self.transfer.abort("file changed");
            return self.last_words();
        }
        Next::Send(What::Blocks { run, payload, segmented: self.segmented })
    }

    /// A transfer that the server gives up is ended with ERROR, so that the client does not wait for it. Lost: the client's own timer sees to it.
    fn last_words(&self) -> Next {
        match self.transfer.outcome() {
            Some(Outcome::Aborted(reason)) => {
                Next::SendLast(What::Datagram(packet::write_error(ErrorCode::NotDefined, reason)))
            }
            _ => Next::Ended,
        }
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
        self.ongoing.set_blocks_repeated(self.transfer.blocks_repeated());
        counters.ended(Protocol::Tftp, outcome, bytes);
        self.ongoing.end(outcome);
    }
}
