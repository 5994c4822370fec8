//! [`Intake`]: what a worker has read from its sockets and not served yet, and in which order it is served.
//!
//! A turn reads what waits, up to the arena's room, which is small enough to stay in a core's cache. Requests, renewals and releases are served at once; DHCPDISCOVERs
//! after them. When turn after turn finds more than it can read, the server is behind: then DISCOVERs wait in the [`Backlog`], so that those who already chose this
//! server are not lost behind those who only begin.

use super::backlog::{Backlog, PARKED_BYTES_MAX};
use super::engine::Arrival;
use super::link::Listener;
use super::sys::Arena;
use crate::proto::peek::is_discover;
use crate::proto::time::Millis;

/// Datagrams read in one turn; also the DISCOVERs served from the backlog in a turn in which everything could be read.
const TURN: usize = 64;
/// So many datagrams read in turns that could not read everything make the server be behind: about 20 ms of work, which nobody waits for in vain.
const BURST: usize = 2_048;
/// A turn that could not read everything serves one DISCOVER for so many messages that it read, so that reading catches up.
const READ_WHILE_BEHIND: usize = 4;
/// More than any UDP payload on an Ethernet; a longer one is cut and then dropped as malformed.
const DATAGRAM_BYTES_MAX: usize = 2_048;
/// With so many octets a turn is full as well: where the kernel puts datagrams together, up to 64 in a message, few messages are much work.
const TURN_BYTES: usize = 128 << 10;
/// Messages read with one system call where the kernel may put datagrams together.
const COALESCED_BATCH: usize = 8;
/// Room for the longest UDP payload; odd in cache lines, so that the slots' beginnings do not all fall into one cache set.
const COALESCED_BYTES_MAX: usize = 65_536 + 5 * 64;
/// Datagrams served between two flushes of replies.
const FLUSH_AFTER: usize = 128;

/// Who serves what an [`Intake`] has read.
pub trait Serve {
    /// Takes in a datagram.
    fn packet(&mut self, arrival: Arrival<'_>);
    /// Sends the replies made so far.
    fn flush(&mut self);
}

/// Where a datagram lies in the arena.
#[derive(Debug, Clone, Copy)]
struct Place {
    slot: u16,
    index: u16,
}

/// See [`Listener`].
#[derive(Debug, Clone, Copy)]
struct Source {
    link: usize,
    broadcast: bool,
}

/// One worker's intake.
#[derive(Debug)]
pub struct Intake {
    arena: Arena,
    /// Where each message in the arena came in.
    sources: Vec<Source>,
    /// DISCOVERs of this turn.
    discovers: Vec<Place>,
    backlog: Backlog,
    /// The listener to begin with, so that none starves.
    first: usize,
    /// Whether the last turn could not read everything.
    full: bool,
    /// Datagrams read since a turn last could.
    unbroken: usize,
    /// More than so many are too many.
    burst: usize,
}

impl Intake {
    /// An empty intake; `coalesced`: the sockets put datagrams together; at most `backlog_max` messages wait.
    pub fn new(coalesced: bool, backlog_max: usize) -> Self {
        let (bytes, batch) =
            if coalesced { (COALESCED_BYTES_MAX, COALESCED_BATCH) } else { (DATAGRAM_BYTES_MAX, TURN) };
        Self {
            arena: Arena::new(TURN, bytes, batch),
            sources: Vec::with_capacity(TURN),
            discovers: Vec::with_capacity(TURN * if coalesced { 64 } else { 1 }),
            backlog: Backlog::new(backlog_max),
            first: 0,
            full: false,
            unbroken: 0,
            burst: BURST,
        }
    }

    /// Whether nothing waits to be served.
    pub fn is_empty(&self) -> bool {
        self.backlog.is_empty()
    }

    /// How many DISCOVERs the last turn read.
    pub fn discovers(&self) -> usize {
        self.discovers.len()
    }

    /// Reads what waits at the listeners that `ready` names, and takes from `ready` those that have no more. Says how many messages it read.
    pub fn read(&mut self, listeners: &[Listener], ready: &mut [bool]) -> usize {
        self.arena.clear();
        self.sources.clear();
        self.first = (self.first + 1) % listeners.len().max(1);
        for i in 0..listeners.len() {
            let at = (self.first + i) % listeners.len();
            while ready[at] && self.has_room() {
                match self.arena.receive(&listeners[at]) {
                    Ok(more) => ready[at] = more,
                    // Errors of earlier sends (a host is unreachable, the link is down) are reported here; they are nobody's end.
                    Err(error) => {
                        tracing::debug!(%error, "a socket reports an error");
                        ready[at] = false;
                    }
                }
                let Listener { link, broadcast, .. } = listeners[at];
                self.sources.resize(self.arena.len(), Source { link, broadcast });
            }
        }
        self.full = !self.has_room();
        self.arena.len()
    }

    fn has_room(&self) -> bool {
        self.arena.len() < self.arena.slots() && self.arena.bytes() < TURN_BYTES
    }

    /// Hands what was read, and what waited before, to whoever serves. Says how many messages were dropped because too many wait.
    pub fn serve(&mut self, now: Millis, server: &mut impl Serve) -> usize {
        let Self { arena, sources, discovers, backlog, full, unbroken, burst, .. } = self;
        let (mut served, mut read) = (0, 0);
        let mut serve = |octets: &[u8], Source { link, broadcast }, from| {
            server.packet(Arrival { octets, link, from, broadcast });
            served += 1;
            if served % FLUSH_AFTER == 0 {
                server.flush();
            }
        };
        discovers.clear();
        for (slot, &source) in sources.iter().enumerate() {
            let message = arena.message(slot);
            for (index, octets) in message.datagrams().enumerate() {
                read += 1;
                if is_discover(octets) && discovers.len() < discovers.capacity() {
                    discovers.push(Place { slot: slot as u16, index: index as u16 });
                } else {
                    serve(octets, source, message.from);
                }
            }
        }
        *unbroken = if *full { unbroken.saturating_add(read) } else { 0 };
        let behind = *unbroken > *burst;
        let mut shed = backlog.drop_stale(now);
        for place in discovers {
            let (message, source) = (arena.message(place.slot.into()), sources[usize::from(place.slot)]);
            let octets = message.datagrams().nth(place.index.into()).unwrap_or_default();
            if behind && !source.broadcast && octets.len() <= PARKED_BYTES_MAX {
                shed += usize::from(backlog.push(now, source.link, message.from, octets));
            } else {
                serve(octets, source, message.from);
            }
        }
        for _ in 0..if behind { read / READ_WHILE_BEHIND } else { TURN } {
            let Some((parked, octets)) = backlog.pop() else { break };
            serve(octets, Source { link: parked.link, broadcast: false }, parked.from);
        }
        server.flush();
        shed
    }
}

#[cfg(test)]
mod tests;
