//! [`Outbox`]: what transfers send over one socket, gathered until it is worth a system call.
//!
//! A window of one transfer is one message that the kernel cuts into datagrams (UDP GSO), messages of many transfers are one `sendmmsg`, and
//! payloads are named, not copied. Nothing is lost silently: what did not go out comes back, and says why.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;

use super::served::Served;
use crate::io::sys::{self, Message, Part, SEGMENTS_MAX, SendScratch};
use crate::proto::tftp::BlockRun;
use crate::proto::tftp::packet::{DATA_HEADER_BYTES, data_header};

/// Messages of one system call.
const MESSAGES_MAX: usize = 128;

/// Where a run's octets lie.
#[derive(Debug, Clone)]
pub(super) enum Payload {
    /// Here, and no others.
    Octets(Bytes),
    /// In a mapped file, at the run's offset.
    File(Arc<Served>),
}

/// What a transfer sends.
#[derive(Debug)]
pub(super) enum What {
    /// One datagram as it is.
    Datagram(Vec<u8>),
    /// Blocks, in as few messages as possible if `segmented`.
    Blocks { run: BlockRun, payload: Payload, segmented: bool },
}

/// A transfer's turn.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Whose it is: the place and the id of the session.
    pub(super) session: (u32, u64),
    pub(super) to: SocketAddr,
    pub(super) what: What,
}

/// Why something did not go out.
#[derive(Debug)]
pub(super) enum Failure {
    /// The socket takes no more at present. Blocks that are left are in the [`Outgoing`].
    Blocked,
    /// It cannot be cut into datagrams of this size: they do not fit the way as they are, or the way has no such offload.
    NotSegmented,
    /// The file's pages cannot be read: it has shrunk, or its disk fails.
    Unreadable,
    /// The system refuses it: no route, no answer of the neighbour, a filter. As if lost on the way.
    Lost,
}

/// What waits for one socket.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Vec<Outgoing>,
    /// About as many messages as that will be.
    messages_waiting: usize,
    heads: Vec<[u8; DATA_HEADER_BYTES]>,
    messages: Vec<Message>,
    /// For each message, which of `waiting` it is of, and from which block on.
    origins: Vec<(u32, u16)>,
    scratch: SendScratch,
}

impl Outbox {
    /// One more. It is sent with [`Self::flush`] at the latest.
    pub(super) fn push(&mut self, outgoing: Outgoing) {
        self.messages_waiting += match &outgoing.what {
            What::Blocks { run, segmented: false, .. } => usize::from(run.blocks),
            _ => 1,
        };
        self.waiting.push(outgoing);
    }

    /// Whether a system call is worth it.
    pub(super) fn is_full(&self) -> bool {
        self.messages_waiting >= MESSAGES_MAX
    }

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends what waits, and gives back what could not be.
    pub(super) fn flush(&mut self, socket: &impl AsFd) -> Vec<(Outgoing, Failure)> {
        let mut waiting = std::mem::take(&mut self.waiting);
        self.messages_waiting = 0;
        let failures = self.send(socket, &waiting);
        let mut failed = Vec::new();
        if !failures.is_empty() {
            let mut failures = failures.into_iter().peekable();
            for (at, mut outgoing) in waiting.drain(..).enumerate() {
                let Some((_, block, failure)) = failures.next_if(|(failed, ..)| *failed as usize == at) else {
                    continue;
                };
                if let What::Blocks { run, payload, .. } = &mut outgoing.what {
                    if let Payload::Octets(octets) = payload {
                        let sent = usize::from(block) * usize::from(run.block_size);
                        *octets = octets.slice(sent.min(octets.len())..);
                    }
                    *run = run.skip(block);
                }
                failed.push((outgoing, failure));
            }
        }
        waiting.clear();
        self.waiting = waiting;
        failed
    }

    /// Which of `waiting` failed, from which block on, and why; each at most once, in order.
    fn send(&mut self, socket: &impl AsFd, waiting: &[Outgoing]) -> Vec<(u32, u16, Failure)> {
        self.heads.clear();
        self.messages.clear();
        self.origins.clear();
        for outgoing in waiting {
            if let What::Blocks { run, .. } = &outgoing.what {
                self.heads.extend((0..run.blocks).map(|block| data_header(run.first_block.wrapping_add(block))));
            }
        }
        let mut parts = Vec::with_capacity(2 * self.heads.len() + waiting.len());
        let mut heads = self.heads.iter();
        for (origin, outgoing) in waiting.iter().enumerate() {
            let to = outgoing.to;
            let mut first = parts.len();
            let (run, payload, segmented) = match &outgoing.what {
                What::Datagram(octets) => {
                    parts.push(Part::octets(octets));
                    self.messages.push(Message { to, first, parts: 1, segment_bytes: 0 });
                    self.origins.push((origin as u32, 0));
                    continue;
                }
                What::Blocks { run, payload, segmented } => (run, payload, *segmented),
            };
            let together = if segmented { SEGMENTS_MAX } else { 1 };
            let (block_size, mut offset) = (usize::from(run.block_size), 0);
            for (block, head) in (0..run.blocks).zip(&mut heads) {
                parts.push(Part::octets(head));
                let bytes = block_size.min(run.bytes - offset);
                let payload = match payload {
                    Payload::Octets(octets) => octets.get(offset..offset + bytes).map(Part::octets),
                    Payload::File(served) => served
                        .mapping
                        .as_ref()
                        .and_then(|mapping| Part::mapped(mapping, run.offset + offset as u64, bytes)),
                };
                // A session names octets that are there; an empty block has none.
                parts.extend(payload.filter(|_| bytes > 0));
                offset += bytes;
                let in_message = usize::from(block) % together + 1;
                if in_message == together || block + 1 == run.blocks {
                    let segment_bytes = if in_message > 1 { (block_size + DATA_HEADER_BYTES) as u16 } else { 0 };
                    self.messages.push(Message { to, first, parts: parts.len() - first, segment_bytes });
                    self.origins.push((origin as u32, block + 1 - in_message as u16));
                    first = parts.len();
                }
            }
        }
        let mut failures = Vec::new();
        let mut at = 0;
        while at < self.messages.len() {
            let error = match sys::send(&mut self.scratch, socket, &self.messages[at..], &parts) {
                Ok(sent) => {
                    at += sent;
                    continue;
                }
                Err(error) => error,
            };
            let (origin, block) = self.origins[at];
            let is_segmented = self.messages[at].segment_bytes > 0;
            match failure_of(&error, is_segmented) {
                None => {}
                Some(Failure::Blocked) => {
                    failures.push((origin, block, Failure::Blocked));
                    failures.extend((origin + 1..waiting.len() as u32).map(|later| (later, 0, Failure::Blocked)));
                    break;
                }
                Some(failure) => {
                    failures.push((origin, block, failure));
                    while self.origins.get(at).is_some_and(|(other, _)| *other == origin) {
                        at += 1;
                    }
                }
            }
        }
        failures
    }
}

/// None: to be tried again at once.
fn failure_of(error: &io::Error, is_segmented: bool) -> Option<Failure> {
    match Errno::from_io_error(error) {
        Some(Errno::INTR) => None,
        Some(Errno::FAULT) => Some(Failure::Unreadable),
        Some(Errno::INVAL | Errno::MSGSIZE | Errno::IO | Errno::OPNOTSUPP) if is_segmented => {
            Some(Failure::NotSegmented)
        }
        // ENOBUFS: a queue on the way is full, which the transfers' own timers see to.
        _ if error.kind() == ErrorKind::WouldBlock => Some(Failure::Blocked),
        _ => Some(Failure::Lost),
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::io::sys::Arena;

    fn run(first_block: u16, blocks: u16, block_size: u16, bytes: usize) -> BlockRun {
        BlockRun { first_block, blocks, block_size, offset: 0, bytes, last: true }
    }

    #[test]
    fn datagrams_are_the_same_segmented_or_not() {
        let (sender, receiver) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let to = receiver.local_addr().unwrap();
        for segmented in [false, true] {
            let mut outbox = Outbox::default();
            outbox.push(Outgoing { session: (0, 0), to, what: What::Datagram(b"oack".to_vec()) });
            for (run, octets) in
                [(run(65_535, 3, 4, 9), &b"aaaabbbbc"[..]), (run(7, 2, 4, 4), b"dddd"), (run(1, 1, 4, 0), b"")]
            {
                let payload = Payload::Octets(Bytes::from_static(octets));
                outbox.push(Outgoing { session: (1, 1), to, what: What::Blocks { run, payload, segmented } });
            }
            assert!(outbox.flush(&sender).is_empty() && outbox.is_empty());
            let mut arena = Arena::new(10, 100);
            let got = arena.receive(&receiver).unwrap();
            let got: Vec<&[u8]> = (0..got).map(|i| arena.datagram(i).0).collect();
            let expected: [&[u8]; 7] = [
                b"oack",
                b"\0\x03\xff\xffaaaa",
                b"\0\x03\0\0bbbb",
                b"\0\x03\0\x01c",
                b"\0\x03\0\x07dddd",
                b"\0\x03\0\x08",
                b"\0\x03\0\x01",
            ];
            assert_eq!(got, expected, "segmented: {segmented}");
        }
    }

    #[test]
    fn what_cannot_be_sent_comes_back_with_its_reason() {
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = sender.local_addr().unwrap();
        let mut outbox = Outbox::default();
        // Nobody may send to this address without SO_BROADCAST: lost. Segments larger than any MTU: not segmented.
        let nowhere = "255.255.255.255:9".parse().unwrap();
        outbox.push(Outgoing { session: (0, 0), to: nowhere, what: What::Datagram(b"x".to_vec()) });
        let payload = Payload::Octets(Bytes::from(vec![0; 160_000]));
        let large = run(1, 2, 65_464, 130_928);
        outbox.push(Outgoing { session: (1, 1), to, what: What::Blocks { run: large, payload, segmented: true } });
        outbox.push(Outgoing { session: (2, 2), to, what: What::Datagram(b"y".to_vec()) });
        let failed: Vec<_> =
            outbox.flush(&sender).into_iter().map(|(out, why)| (out.session.0, format!("{why:?}"))).collect();
        assert_eq!(failed, [(0, "Lost".to_owned()), (1, "NotSegmented".to_owned())]);
    }
}
