//! [`Engine`]: the way of a packet through one worker, without sockets and clocks: `handle_*` for what comes in, `poll_*` for what goes out.
//!
//! packet → view → scope → decision → table → (journal →) reply. A DHCPACK that promises a lease waits here as a [`Pending`](crate::store::journal::Pending) until its record is
//! durable; offers and NAKs do not wait.

mod abuse;
mod conflict;
mod delayed;
mod early;
mod foreign;
mod job;
mod outcome;
mod proxy;
mod queries;
mod recent;
mod waiting;

use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::sync::Arc;

use crossbeam::channel::Receiver;
use reveille_config::dhcpd::ScopeKind;

use super::counters::Counters;
use super::senders::Senders;
use crate::proto::answer::scope_of;
use crate::proto::class::{Facts, Membership};
use crate::proto::conflict::Checks;
use crate::proto::decide::{Action, ClientState, decide};
use crate::proto::foreign::PROBE_VENDOR_CLASS;
use crate::proto::fqdn;
use crate::proto::owner::{owner_of, worker_of};
use crate::proto::reason::{ChosenBy, DropReason};
use crate::proto::reply::Reply;
use crate::proto::rules::Rules;
use crate::proto::scope::{ScopeIndex, Scopes};
use crate::proto::time::{Millis, Now};
use crate::proto::view::{MessageType, PacketView, Parser, code};
use crate::store::event::EventKind;
use crate::store::journal::Appender;
use crate::store::promise;
use crate::store::queue::{Request, WorkerQueue};
use crate::store::table::{ClientFacts, Table, refusal_reason};
use crate::store::{Shared, WorkerPart};

use delayed::Delayed;
use job::{Job, text};
use recent::Recent;
use waiting::Waiting;

/// Reply buffers kept for reuse.
const BUFFERS_MAX: usize = 1_024;

/// A datagram as it came in.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The UDP payload.
    pub octets: &'a [u8],
    /// On which link.
    pub link: usize,
    /// Who sent it.
    pub from: SocketAddrV4,
    /// Whether every worker's socket got a copy, so that the owner of the client has seen it too.
    pub broadcast: bool,
}

/// A reply on its way out.
#[derive(Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The scope that answers: it says the link and the source address.
    pub scope: ScopeIndex,
    /// What to send, and where to.
    pub reply: Reply,
}

/// Whether the worker goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Proceed {
    /// It does.
    On,
    /// It was told to end.
    Stop,
}

/// One worker's conversation.
#[derive(Debug)]
pub struct Engine {
    parser: Parser,
    desk: Desk,
    requests: Receiver<Request>,
}

/// All of the engine but the parser, from which the packet at hand borrows.
#[derive(Debug)]
struct Desk {
    worker: usize,
    workers: usize,
    table: Table,
    shared: Arc<Shared>,
    queues: Vec<WorkerQueue>,
    links: Arc<[Box<str>]>,
    journal: Appender,
    waiting: VecDeque<Waiting>,
    out: VecDeque<Outgoing>,
    buffers: Vec<Vec<u8>>,
    counters: Counters,
    recent: Recent,
    early: early::Early,
    /// Replies that are held back for slow firmware.
    delayed: Delayed,
    /// The classes of the packet at hand; kept for its memory.
    membership: Membership,
    events_pushed: bool,
    /// Offers that wait until it is known that nobody uses their address.
    checks: Checks<conflict::Parked>,
    /// Other servers that clients chose.
    noted: foreign::Noted,
    senders: Senders,
    /// Lease queries that wait for the read model.
    queries: queries::Queries,
    /// The packet at hand has waited for a check.
    resumed: Option<conflict::Resumed>,
}

impl Engine {
    /// The engine of one worker; `links` are the interfaces' names in the order of [`Arrival::link`].
    pub fn new(part: WorkerPart, shared: Arc<Shared>, journal: Appender, links: Arc<[Box<str>]>) -> Self {
        let desk = Desk {
            worker: part.worker,
            workers: part.workers,
            table: part.table,
            shared,
            queues: part.queues,
            links,
            journal,
            waiting: VecDeque::new(),
            out: VecDeque::new(),
            buffers: Vec::new(),
            counters: Counters::default(),
            recent: Recent::default(),
            early: early::Early::default(),
            delayed: Delayed::default(),
            membership: Membership::default(),
            events_pushed: false,
            checks: conflict::checks(part.workers),
            noted: foreign::Noted::default(),
            senders: Senders::default(),
            queries: queries::Queries::default(),
            resumed: None,
        };
        Self { parser: Parser::default(), desk, requests: part.requests }
    }

    /// Takes in a datagram.
    pub fn handle_packet(&mut self, now: Now, arrival: Arrival<'_>) {
        let Self { parser, desk, .. } = self;
        match parser.parse(arrival.octets) {
            Ok(packet) => desk.packet(now, &packet, arrival),
            // Each worker has its own copy of a broadcast; the first counts for all.
            Err(_) if arrival.broadcast && desk.worker != 0 => {}
            Err(reason) => desk.dropped_early(now, reason, early::chaddr(arrival.octets), arrival.link),
        }
    }

    /// Serves up to `most` requests of the API and of other workers.
    pub fn handle_requests(&mut self, now: Now, most: usize) -> Proceed {
        for _ in 0..most {
            match self.requests.try_recv() {
                Ok(Request::Stop) => return Proceed::Stop,
                Ok(Request::Packet(packet)) => {
                    let arrival =
                        Arrival { octets: &packet.octets, link: packet.link, from: packet.from, broadcast: false };
                    self.handle_packet(now, arrival);
                }
                Ok(Request::Answered(address, holder)) => self.handle_probe_result(now, address, holder),
                Ok(request) => self.desk.request(now, request),
                Err(_) => break,
            }
        }
        Proceed::On
    }

    /// Does what is due by the clock.
    pub fn handle_timeout(&mut self, now: Now) {
        self.desk.table.tick(now);
        while let Some(outgoing) = self.desk.delayed.due(now.monotonic) {
            self.desk.out.push_back(outgoing);
        }
        self.go_on_where_clear(now);
        self.desk.drop_overdue_queries(now);
    }

    /// Releases what has become durable, drops what has become void, answers lease queries that waited for what was durable to be readable.
    pub fn handle_durable(&mut self) {
        self.desk.settle();
        self.answer_queries();
    }

    /// A batch begins: its records are committed together.
    pub fn handle_batch_begin(&mut self) {
        self.desk.table.hold_commits();
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Millis> {
        let desk = &self.desk;
        let due = [desk.table.next_tick(), desk.checks.poll_timeout(), desk.delayed.next(), desk.queries.next_due()];
        due.into_iter().flatten().min()
    }

    /// The next reply to send.
    pub fn poll_send(&mut self) -> Option<Outgoing> {
        self.desk.out.pop_front()
    }

    /// Whether requests wait.
    pub fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Gives the memory of a sent reply back.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        self.desk.recycle(buffer);
    }

    /// Some replies could not be sent.
    pub fn handle_send_failed(&mut self, count: usize) {
        self.desk.counters.dropped_many(DropReason::SendFailed, count);
    }

    /// Some packets were dropped unread: too many waited.
    pub fn handle_shed(&mut self, count: usize) {
        self.desk.counters.dropped_many(DropReason::Overloaded, count);
    }

    /// The kernel dropped some packets: a socket's buffer was full.
    pub fn handle_kernel_drops(&mut self, count: u32) {
        self.desk.counters.kernel_drops.increment(u64::from(count));
    }

    /// The end of a batch: what it bound goes to the disk, and readers of events may look.
    pub fn handle_batch_end(&mut self) {
        self.desk.table.release_commits();
        if std::mem::take(&mut self.desk.events_pushed) {
            self.desk.shared.events.wake();
        }
    }
}

impl Desk {
    fn packet(&mut self, now: Now, packet: &PacketView<'_>, arrival: Arrival<'_>) {
        let shared = Arc::clone(&self.shared);
        let scopes = shared.scopes.load();
        let owner = worker_of(packet.chaddr(), self.workers);
        if owner != self.worker && scopes.all_identified_by_mac() {
            return self.of_another(owner, arrival);
        }
        if packet.message_type == MessageType::LeaseQuery {
            return match owner == self.worker {
                true => self.lease_query(now, packet, arrival, &scopes),
                false => self.of_another(owner, arrival),
            };
        }
        let mut membership = std::mem::take(&mut self.membership);
        scopes.classes().evaluate(Facts::of(packet), &mut membership);
        self.classified(now, packet, arrival, &scopes, &membership);
        self.membership = membership;
    }

    /// Goes on with a packet whose client's classes are known.
    fn classified(
        &mut self,
        now: Now,
        packet: &PacketView<'_>,
        arrival: Arrival<'_>,
        scopes: &Scopes,
        classes: &Membership,
    ) {
        let owner = worker_of(packet.chaddr(), self.workers);
        let link = self.links.get(arrival.link).map_or("", |name| name);
        let scope = match scope_of(scopes, link, packet, classes) {
            Ok(scope) => scope,
            Err(reason) => {
                // Of a broadcast each worker has its own copy: one of them counts it.
                if owner == self.worker || !arrival.broadcast {
                    self.counters.received(packet.message_type);
                    self.dropped_early(now, reason, packet.chaddr(), arrival.link);
                }
                return;
            }
        };
        let client_id = packet.option(code::CLIENT_ID).unwrap_or_default();
        let key = self.shared.client_on(scope.network, packet.chaddr(), client_id);
        let owner = owner_of(key.identity, self.workers);
        if owner != self.worker {
            return self.of_another(owner, arrival);
        }
        if self.resumed.is_none() {
            self.counters.received(packet.message_type);
            let faults = packet.faults();
            if !faults.is_empty() {
                self.counters.faults(faults);
                tracing::debug!(mac = %packet.chaddr(), ?faults, "a message with faults is looked at all the same");
            }
        }
        if self.resumed.is_none()
            && let Some(reason) = self.senders.over_limit(now, packet, &scopes.limits)
        {
            return self.dropped_early(now, reason, packet.chaddr(), arrival.link);
        }
        let circuit = packet.relay_agent().circuit();
        let reservation = self.table.reservation_for(key, packet.chaddr(), client_id, circuit);
        // Who gives its whole name is called so (RFC 4702 §3.1), whatever else it says.
        let mut buffer = [0; fqdn::NAME_BYTES_MAX];
        let fqdn = packet.option(code::CLIENT_FQDN).and_then(|value| fqdn::name(value, &mut buffer));
        let hostname = text(fqdn.or(packet.option(code::HOST_NAME)));
        // Past its relay a client speaks to whom the relay named before.
        let relayed = !packet.giaddr().is_unspecified();
        let called = if relayed { packet.server_id_override() } else { self.table.called(key) };
        let facts = ClientFacts {
            called,
            mac: packet.chaddr(),
            client_id,
            hostname: &hostname,
            //= https://www.rfc-editor.org/rfc/rfc4388#section-6.7
            //# relay-agent-info option from client packet: MUST store with binding.
            relay_agent: packet.relay_agent().octets(),
            //= https://www.rfc-editor.org/rfc/rfc4388#section-5
            //# A server that implements DHCPLEASEQUERY SHOULD also save the information on the most recent Vendor class identifier, option 60, associated with each IP address, since this option is also likely to be requested by clients sending the DHCPLEASEQUERY message.
            //= https://www.rfc-editor.org/rfc/rfc4388#section-6.7
            //# vendor-class-id: SHOULD store with binding.
            vendor_class: packet.option(code::VENDOR_CLASS).filter(|_| scopes.takes_queries()).unwrap_or_default(),
        };
        let client = self.table.client(now, key, reservation.as_deref(), &facts);
        let rules = Rules::new(scopes, scope, reservation.as_deref(), classes);
        let behind = if reservation.is_none() { self.port_behind(scopes, key, circuit) } else { None };
        let job = Job { now, packet, port: arrival.from.port(), scope, key, rules, facts, behind };
        self.answer(&job, arrival, &client);
        if relayed {
            self.table.note_called(key, called);
        }
    }

    fn answer(&mut self, job: &Job<'_>, arrival: Arrival<'_>, client: &ClientState) {
        let Job { now, packet, scope, key, .. } = *job;
        if let Some(address) = client.reserved.filter(|_| !client.reserved_available) {
            self.ask_to_give_up(key, address);
        }
        if !matches!(packet.message_type, MessageType::Discover | MessageType::Bootp) {
            self.no_longer_waits(job, client);
        }
        if packet.option(code::VENDOR_CLASS) == Some(PROBE_VENDOR_CLASS) {
            return self.dropped(job, DropReason::ServerProbe);
        }
        if scope.kind == ScopeKind::Proxy {
            return self.proxy(job);
        }
        match decide(now.unix, packet, &job.rules, client) {
            Action::Drop(reason) => self.dropped(job, reason),
            Action::Sight => self.sight(job),
            Action::Offer(offer) => self.offer(job, arrival, client, &offer),
            //= https://www.rfc-editor.org/rfc/rfc2131#section-3.1
            //# The server SHOULD NOT check the offered network address at this point.
            //= https://www.rfc-editor.org/rfc/rfc2131#section-3.2
            //# Servers SHOULD NOT check that the client's network address is already in use; the client may respond to ICMP Echo Request messages at this point.
            Action::Bind(bind) => {
                let held = client.binding.filter(|binding| binding.address == bind.address);
                if held.is_some_and(|binding| !binding.durable) && self.recent.is_copy(now.monotonic, packet) {
                    return self.dropped(job, DropReason::Duplicate);
                }
                self.bind(job, &bind, None);
            }
            Action::Recall { address, remaining_secs, commit } => {
                let ack = self.ack(job, commit, address, remaining_secs);
                // Decided from the same table an instant ago, so it is still there.
                match self.table.recall(key, ack) {
                    Some(ack) => {
                        self.counters.ack(ChosenBy::OnDisk);
                        let by = ChosenBy::OnDisk.as_str();
                        job.log("recalled", Some(address), by);
                        self.event(job.event(EventKind::Recalled, Some(address), remaining_secs, by));
                        self.send(job.due(), Outgoing { scope: scope.index, reply: promise::open(ack) });
                        self.note_dealing(job, address, true);
                    }
                    None => self.dropped(job, DropReason::JournalRefusing),
                }
            }
            Action::Nak(reason) => self.nak(job, reason),
            Action::Forget => {
                self.note_other_server(job, arrival.link);
                self.table.forget_offer(key);
                self.dropped(job, DropReason::OtherServer);
            }
            Action::Release(address) => {
                let pending = self.table.release(now, key, address, ());
                self.note(job, pending.map_err(|refused| refusal_reason(&refused.reason)));
            }
            Action::Decline(address) => {
                let until = now.unix.plus(scope.decline_secs);
                let pending = self.table.decline(now, key, packet.chaddr(), address, until, ());
                self.note(job, pending.map_err(|refused| refusal_reason(&refused.reason)));
            }
            Action::Inform => {
                let buffer = self.buffers.pop().unwrap_or_default();
                let reply = job.asker(job.rules).inform(buffer);
                self.counters.informs.increment(1);
                self.note_dealing(job, packet.ciaddr(), false);
                self.send(job.due(), Outgoing { scope: scope.index, reply });
            }
        }
    }
}

#[cfg(test)]
mod tests;
