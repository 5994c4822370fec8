//! [`Outbox`]: sends replies, many with one system call.
//!
//! Replies to one relay that have one length leave as one segmented message where that is allowed (udp(7), `UDP_SEGMENT`); those that are a little shorter are padded first:
//! PAD after END means nothing (RFC 2132 §3.2), and none gets longer than what every client takes. Replies to one destination keep their order.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddrV4};

use super::engine::Outgoing;
use super::link::Port;
use super::sys::{Datagram, SEGMENTS_MAX, SendScratch, send};
use crate::proto::frame::{End, HEADER_BYTES, header};
use crate::proto::reply::{CLIENT_PORT, Destination, REPLY_BYTES_MAX};
use crate::proto::view::code;

/// Replies sent with one call.
pub const OUTBOX: usize = 128;
/// Replies are padded to one length if they differ by at most so much …
const PAD_BYTES_MAX: usize = 64;
/// … and are then no longer than what every client takes: 576 octets with their headers (RFC 2131 §2).
const PADDED_BYTES_MAX: usize = 548;
/// Octets of a segmented message, less than a UDP datagram can have.
const SEGMENTED_BYTES_MAX: usize = 60_000;
/// Runs looked at for one that a reply could join.
const RUNS_OPEN: usize = 8;
/// No next reply.
const END_OF_RUN: u8 = u8::MAX;

const _: () = assert!(OUTBOX < END_OF_RUN as usize && SEGMENTS_MAX * REPLY_BYTES_MAX > SEGMENTED_BYTES_MAX);

/// Replies that go out as one message, a list through [`Outbox::next`].
#[derive(Debug, Clone, Copy)]
struct Run {
    scope: u16,
    destination: Destination,
    first: u8,
    last: u8,
    count: u8,
    /// The longest reply's.
    bytes: usize,
}

/// One worker's outbox.
#[derive(Debug)]
pub struct Outbox {
    /// Replies to send, at most [`OUTBOX`].
    pub replies: Vec<Outgoing>,
    runs: Vec<Run>,
    next: [u8; OUTBOX],
    headers: Vec<[u8; HEADER_BYTES]>,
    datagrams: Vec<Datagram>,
    scratch: SendScratch,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            replies: Vec::with_capacity(OUTBOX),
            runs: Vec::with_capacity(OUTBOX),
            next: [END_OF_RUN; OUTBOX],
            headers: Vec::with_capacity(OUTBOX),
            datagrams: Vec::with_capacity(OUTBOX),
            scratch: SendScratch::default(),
        }
    }
}

impl Outbox {
    /// Sends all replies that are here, which stay for their memory to be reused. Says how many could not be sent.
    pub fn send(&mut self, ports: &mut [Port]) -> usize {
        self.gather(ports);
        self.pad();
        let mut failed = 0;
        let mut done = 0;
        while done < self.runs.len() {
            let Run { scope, destination, .. } = self.runs[done];
            let framed = matches!(destination, Destination::Frame(..));
            let same = |run: &Run| run.scope == scope && matches!(run.destination, Destination::Frame(..)) == framed;
            let end = done + self.runs[done..].iter().position(|run| !same(run)).unwrap_or(self.runs.len() - done);
            failed += match ports.get_mut(usize::from(scope)) {
                Some(port) if framed => self.send_frames(port, done..end),
                Some(port) => self.send_datagrams(port, done..end),
                // The scopes have changed meanwhile.
                None => self.runs[done..end].iter().map(|run| usize::from(run.count)).sum(),
            };
            done = end;
        }
        failed
    }

    /// Puts replies together to runs, and runs of one socket beside each other.
    fn gather(&mut self, ports: &[Port]) {
        self.runs.clear();
        for (at, outgoing) in self.replies.iter().enumerate().take(OUTBOX) {
            let (scope, destination, bytes) =
                (outgoing.scope.0, outgoing.reply.destination, outgoing.reply.octets.len());
            let at = at as u8;
            self.next[usize::from(at)] = END_OF_RUN;
            let segments = ports.get(usize::from(scope)).is_some_and(|port| port.segmentation);
            let run = match destination {
                Destination::Relay(..) if segments => {
                    let open = self.runs.iter_mut().rev().take(RUNS_OPEN);
                    open.into_iter().find(|run| run.takes(scope, destination, bytes))
                }
                _ => None,
            };
            match run {
                Some(run) => {
                    self.next[usize::from(run.last)] = at;
                    run.last = at;
                    run.count += 1;
                    run.bytes = run.bytes.max(bytes);
                }
                None => self.runs.push(Run { scope, destination, first: at, last: at, count: 1, bytes }),
            }
        }
        let key = |run: &Run| (run.scope, matches!(run.destination, Destination::Frame(..)));
        if !self.runs.is_sorted_by_key(key) {
            // Stable, so that replies to one destination keep their order.
            self.runs.sort_by_key(key);
        }
    }

    /// Makes all replies of a run as long as its longest.
    fn pad(&mut self) {
        for run in self.runs.iter().filter(|run| run.count > 1) {
            let mut at = run.first;
            while at != END_OF_RUN {
                self.replies[usize::from(at)].reply.octets.resize(run.bytes, code::PAD);
                at = self.next[usize::from(at)];
            }
        }
    }

    fn send_datagrams(&mut self, port: &mut Port, runs: std::ops::Range<usize>) -> usize {
        let mut parts = [IoSlice::new(&[]); OUTBOX];
        let mut count = 0;
        self.datagrams.clear();
        for run in &self.runs[runs] {
            let first = count;
            let mut at = run.first;
            while at != END_OF_RUN {
                parts[count] = IoSlice::new(&self.replies[usize::from(at)].reply.octets);
                count += 1;
                at = self.next[usize::from(at)];
            }
            let to = match run.destination {
                Destination::Relay(address, port) => SocketAddrV4::new(address, port),
                Destination::Unicast(address) | Destination::Frame(_, address) => {
                    SocketAddrV4::new(address, CLIENT_PORT)
                }
                Destination::Broadcast => SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT),
            };
            // At most REPLY_BYTES_MAX.
            let segment_bytes = if run.count > 1 { run.bytes as u16 } else { 0 };
            self.datagrams.push(Datagram { to: Some(to), first, parts: run.count.into(), segment_bytes });
        }
        let (mut failed, mut done) = (0, 0);
        while let Some(datagram) = self.datagrams.get(done).copied() {
            match send(&mut self.scratch, &port.socket, &self.datagrams[done..], &parts[..count]) {
                Ok(sent) => done += sent.max(1),
                Err(error) if datagram.segment_bytes > 0 && is_refusal_to_segment(&error) => {
                    tracing::warn!(%error, "the kernel does not segment on this link; replies are sent one by one");
                    port.segmentation = false;
                    let whole =
                        |part| Datagram { first: datagram.first + part, parts: 1, segment_bytes: 0, ..datagram };
                    self.datagrams.splice(done..=done, (0..datagram.parts).map(whole));
                }
                Err(error) => {
                    tracing::debug!(%error, destination = ?datagram.to, "a reply could not be sent");
                    failed += datagram.parts;
                    done += 1;
                }
            }
        }
        failed
    }

    fn send_frames(&mut self, port: &Port, runs: std::ops::Range<usize>) -> usize {
        // Nobody without an address is on such a scope's link: it has none.
        let Some(frames) = &port.frames else { return runs.len() };
        self.headers.clear();
        self.datagrams.clear();
        let replies = || self.runs[runs.clone()].iter().map(|run| &self.replies[usize::from(run.first)].reply);
        for reply in replies() {
            let Destination::Frame(mac, address) = reply.destination else { continue };
            self.headers.push(header(frames.server, End { mac, address, port: CLIENT_PORT }, &reply.octets));
        }
        let mut parts = [IoSlice::new(&[]); 2 * OUTBOX];
        for (i, (reply, header)) in replies().zip(&self.headers).enumerate() {
            parts[2 * i] = IoSlice::new(header);
            parts[2 * i + 1] = IoSlice::new(&reply.octets);
            self.datagrams.push(Datagram { to: None, first: 2 * i, parts: 2, segment_bytes: 0 });
        }
        let (mut failed, mut done) = (0, 0);
        while done < self.datagrams.len() {
            match send(&mut self.scratch, &frames.packet, &self.datagrams[done..], &parts) {
                Ok(sent) => done += sent.max(1),
                Err(error) => {
                    tracing::debug!(%error, "a reply could not be sent as a frame");
                    failed += 1;
                    done += 1;
                }
            }
        }
        failed
    }
}

impl Run {
    /// Whether a reply may join.
    fn takes(&self, scope: u16, destination: Destination, bytes: usize) -> bool {
        let longest = self.bytes.max(bytes);
        let lengths =
            bytes == self.bytes || (bytes.abs_diff(self.bytes) <= PAD_BYTES_MAX && longest <= PADDED_BYTES_MAX);
        (self.scope, self.destination) == (scope, destination)
            && lengths
            && usize::from(self.count) < SEGMENTS_MAX
            && (usize::from(self.count) + 1) * longest <= SEGMENTED_BYTES_MAX
    }
}

/// Whether the kernel would have taken the datagrams one by one: the device computes no checksums (EIO), or a segment does not fit (EINVAL, EMSGSIZE).
fn is_refusal_to_segment(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::EOPNOTSUPP))
}

#[cfg(test)]
mod tests;
