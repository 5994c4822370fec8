//! What happened, for `GET /v1/events`: a bounded ring that readers resume from.
//!
//! **Numbering.** Every event, durable or transient, takes the next number of one stream, so that `since` resumes without gaps or doubles. The stream
//! begins at the Unix time of the start in microseconds, therefore it grows over restarts too (fewer than a million events a second), and a
//! reader that comes back after a restart learns from `lost_before` that events were lost. Durable events carry the sequence of their journal record
//! beside it (`journal_sequence`), the same that a lease shows as its `sequence`.
//!
//! Workers push without a lock into a queue; readers move it into the ring. At the limit the oldest events go, and readers are told.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

use crossbeam::queue::ArrayQueue;
use reveille_config::MacAddr;
use reveille_config::limit::EVENTS_MAX;
use tokio::sync::Notify;

use super::atomic::{AtomicU64, Ordering};
use super::journal::Sequence;
use crate::proto::scope::ScopeIndex;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// An address was offered.
    Offered,
    /// A client was bound; durable.
    Bound,
    /// A binding was extended; durable.
    Renewed,
    /// A client was told what is left of its lease, from the disk.
    Recalled,
    /// A DHCPNAK was sent.
    Refused,
    /// A client gave its address back; durable.
    Released,
    /// A client found its address in use; durable.
    Declined,
    /// An address that was about to be offered is in use by a machine without a lease; durable where it rests for that.
    Conflict,
    /// A DHCP server that is not ours answers on a link.
    ForeignServer,
    /// A lease's time is over.
    Expired,
    /// An unknown machine asked for the first time on a static scope; durable.
    Sighting,
    /// A reservation was put in force; durable.
    Reserved,
    /// A reservation was removed; durable.
    Unreserved,
    /// A client could not be served.
    NotServed,
}

impl EventKind {
    /// The fixed word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Bound => "bound",
            Self::Renewed => "renewed",
            Self::Recalled => "recalled",
            Self::Refused => "refused",
            Self::Released => "released",
            Self::Declined => "declined",
            Self::Conflict => "conflict",
            Self::ForeignServer => "foreign-server",
            Self::Expired => "expired",
            Self::Sighting => "sighting",
            Self::Reserved => "reserved",
            Self::Unreserved => "unreserved",
            Self::NotServed => "not-served",
        }
    }
}

/// One event, as small as it is produced; texts are made when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawEvent {
    /// When, Unix milliseconds.
    pub at_unix_millis: u64,
    /// What.
    pub kind: EventKind,
    /// The machine.
    pub mac: MacAddr,
    /// The scope.
    pub scope: ScopeIndex,
    /// The address, where one is meant.
    pub address: Option<Ipv4Addr>,
    /// The lease time told, seconds; 0 where none was.
    pub lease_secs: u32,
    /// The word of the reason (`ChosenBy`, `NakReason`, `DropReason`), or nothing.
    pub reason: &'static str,
    /// The journal's sequence; 0 for transient events.
    pub journal_sequence: Sequence,
}

/// A page of the stream.
#[derive(Debug, PartialEq, Eq)]
pub struct RawPage {
    /// Number and event, oldest first.
    pub events: Vec<(u64, RawEvent)>,
    /// What to ask for next.
    pub next: u64,
    /// The first number still known, where events after `since` were lost.
    pub lost_before: Option<u64>,
}

/// The stream.
#[derive(Debug)]
pub struct Events {
    incoming: ArrayQueue<RawEvent>,
    overwritten: AtomicU64,
    ring: Mutex<Ring>,
    grown: Notify,
}

#[derive(Debug)]
struct Ring {
    events: VecDeque<(u64, RawEvent)>,
    /// Everything up to here is gone (or was before this life).
    lost_through: u64,
    /// The number of the last event.
    last: u64,
}

impl Events {
    /// An empty stream whose numbers begin after `start_unix_micros`.
    pub fn new(start_unix_micros: u64) -> Self {
        Self {
            incoming: ArrayQueue::new(EVENTS_MAX),
            overwritten: AtomicU64::new(0),
            ring: Mutex::new(Ring {
                events: VecDeque::new(),
                lost_through: start_unix_micros,
                last: start_unix_micros,
            }),
            grown: Notify::new(),
        }
    }

    /// Adds an event; never blocks. Call [`Self::wake`] after a batch of them.
    pub fn push(&self, event: RawEvent) {
        if self.incoming.force_push(event).is_some() {
            self.overwritten.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Wakes those who wait for events.
    pub fn wake(&self) {
        self.grown.notify_waiters();
    }

    /// Resolves at the next [`Self::wake`] after the future was enabled.
    pub fn grown(&self) -> tokio::sync::futures::Notified<'_> {
        self.grown.notified()
    }

    /// The events after number `since`, at most `limit`.
    pub fn since(&self, since: u64, limit: usize) -> RawPage {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.take_in(&self.incoming, self.overwritten.swap(0, Ordering::Relaxed));
        let from = ring.events.partition_point(|&(number, _)| number <= since);
        let events: Vec<_> = ring.events.iter().skip(from).take(limit).copied().collect();
        let next = events.last().map_or(ring.last.max(since.min(ring.last)), |&(number, _)| number);
        // `since=0` asks for whatever there is: nothing was lost to a reader that had nothing.
        let lost = since != 0 && since < ring.lost_through;
        let lost_before = lost.then(|| ring.events.front().map_or(ring.last + 1, |&(number, _)| number));
        RawPage { events, next, lost_before }
    }
}

impl Ring {
    fn take_in(&mut self, incoming: &ArrayQueue<RawEvent>, overwritten: u64) {
        if overwritten > 0 {
            // What was overwritten is newer than all that is here.
            self.events.clear();
            self.last += overwritten;
            self.lost_through = self.last;
        }
        // Bounded, so that a busy worker cannot keep a reader here for ever.
        for event in (0..EVENTS_MAX).map_while(|_| incoming.pop()) {
            if self.events.len() == EVENTS_MAX
                && let Some((number, _)) = self.events.pop_front()
            {
                self.lost_through = number;
            }
            self.last += 1;
            self.events.push_back((self.last, event));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(i: u64) -> RawEvent {
        RawEvent {
            at_unix_millis: i,
            kind: EventKind::Bound,
            mac: MacAddr([2; 6]),
            scope: ScopeIndex(0),
            address: None,
            lease_secs: 0,
            reason: "",
            journal_sequence: i,
        }
    }

    fn numbers(page: &RawPage) -> Vec<u64> {
        page.events.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn resumes_without_gap_or_double() {
        let events = Events::new(1_000);
        assert_eq!(events.since(0, 10), RawPage { events: vec![], next: 1_000, lost_before: None });
        (0..5).for_each(|i| events.push(event(i)));
        let first = events.since(0, 3);
        assert_eq!(numbers(&first), [1_001, 1_002, 1_003]);
        let second = events.since(first.next, 10);
        assert_eq!(numbers(&second), [1_004, 1_005]);
        assert_eq!(events.since(second.next, 10), RawPage { events: vec![], next: 1_005, lost_before: None });
    }

    #[test]
    fn a_reader_from_an_earlier_life_is_told() {
        let events = Events::new(1_000);
        events.push(event(0));
        let page = events.since(17, 10);
        assert_eq!((numbers(&page), page.lost_before), (vec![1_001], Some(1_001)));
        let idle = Events::new(1_000).since(17, 10);
        assert_eq!((idle.next, idle.lost_before), (1_000, Some(1_001)));
    }

    #[test]
    fn at_the_limit_the_oldest_go_and_readers_are_told() {
        let events = Events::new(0);
        let most = EVENTS_MAX as u64;
        for i in 0..most + 10 {
            events.push(event(i));
            if i % 1_000 == 0 {
                events.since(0, 0);
            }
        }
        let page = events.since(5, EVENTS_MAX);
        assert_eq!((page.lost_before, page.events.len() as u64), (Some(11), most));

        let unread = Events::new(0);
        (0..most + 10).for_each(|i| unread.push(event(i)));
        let page = unread.since(5, EVENTS_MAX);
        assert_eq!((page.lost_before, page.events.len() as u64), (Some(11), most));
        assert_eq!(page.events[0].1.journal_sequence, 10, "the oldest ten were overwritten");
    }
}
