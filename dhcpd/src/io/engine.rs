//! [`Engine`]: the way of a packet through one worker, without sockets and clocks: `handle_*` for what comes in, `poll_*` for what goes out.
//!
//! packet → view → scope → decision → table → (journal →) reply. A DHCPACK that promises a lease waits here as a [`Pending`] until its record is
//! durable; offers and NAKs do not wait.

mod abuse;
mod conflict;
mod delayed;
mod foreign;
mod proxy;
mod queries;
mod recent;
mod waiting;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use crossbeam::channel::Receiver;
use reveille_config::dhcpd::ScopeKind;

use super::counters::Counters;
use super::senders::Senders;
use crate::proto::answer::scope_of;
use crate::proto::class::{Facts, Membership};
use crate::proto::conflict::Checks;
use crate::proto::decide::{Action, Bind, ClientState, Commit, Offer, decide, lease_secs};
use crate::proto::foreign::PROBE_VENDOR_CLASS;
use crate::proto::owner::{owner_of, worker_of};
use crate::proto::reason::{ChosenBy, DropReason, NakReason};
use crate::proto::reply::{Ack, Asker, Lease, Reply};
use crate::proto::rules::Rules;
use crate::proto::scope::{ClientKey, Machine, Scope, ScopeIndex, Scopes};
use crate::proto::time::{Millis, Now};
use crate::proto::view::{MessageType, PacketView, Parser, code};
use crate::store::event::{EventKind, RawEvent};
use crate::store::journal::{Appender, Pending};
use crate::store::port::Port;
use crate::store::promise;
use crate::store::queue::{HandedOver, Request, WorkerQueue};
use crate::store::sighting::Sighted;
use crate::store::table::{BindRefusal, ClientFacts, Table, refusal_reason};
use crate::store::{Shared, WorkerPart};

use delayed::Delayed;
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
            Err(reason) => desk.counters.dropped(reason),
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
                    self.counters.dropped(reason);
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
            return self.counters.dropped(reason);
        }
        let circuit = packet.relay_agent().circuit();
        let reservation = self.table.reservation_for(scopes, key, packet.chaddr(), client_id, circuit);
        let hostname = text(packet.option(code::HOST_NAME));
        let facts = ClientFacts {
            mac: packet.chaddr(),
            client_id,
            hostname: &hostname,
            //= https://www.rfc-editor.org/rfc/rfc4388#section-6.7
            //# relay-agent-info option from client packet: MUST store with binding.
            relay_agent: packet.relay_agent().octets(),
        };
        let client = self.table.client(now, key, reservation.as_deref(), &facts);
        let rules = Rules::new(scopes, scope, reservation.as_deref(), classes);
        let behind = if reservation.is_none() { self.port_behind(scopes, key, circuit) } else { None };
        let job = Job { now, packet, port: arrival.from.port(), scope, key, rules, facts, behind };
        self.answer(&job, arrival, &client);
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
            return self.counters.dropped(DropReason::ServerProbe);
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
                self.send(job.due(), Outgoing { scope: scope.index, reply });
            }
        }
    }

    /// Holds an address for the client, and offers it or, where it asks for no more, binds it at once.
    fn offer(&mut self, job: &Job<'_>, arrival: Arrival<'_>, client: &ClientState, offer: &Offer) {
        if offer.commit.is_some() && self.recent.is_copy(job.now.monotonic, job.packet) {
            return self.dropped(job, DropReason::Duplicate);
        }
        if self.is_over_share(job) {
            return self.dropped(job, DropReason::PortShare);
        }
        let chosen = self.table.offer(job.now, job.scope, job.key, job.packet.chaddr(), offer, job.rules.pools);
        let chosen = match chosen {
            Err(DropReason::PoolExhausted) => self.offer_elsewhere(job, offer).ok_or(DropReason::PoolExhausted),
            chosen => chosen,
        };
        self.count_port(job);
        let (address, chosen_by) = match chosen {
            Ok((address, by)) if self.waits_for_check(job, arrival, client, address, by) => return,
            Ok((address, by)) => (address, self.first_chosen_by(address, by)),
            Err(reason) => return self.dropped(job, reason),
        };
        let rules = job.rules.at(address);
        let secs = offer.remaining_secs.unwrap_or_else(|| lease_secs(job.packet, &rules));
        if let Some(commit) = offer.commit {
            let bind = Bind { address, chosen_by, lease_secs: secs, ends: job.now.unix.plus(secs) };
            return self.bind(job, &bind, Some(commit));
        }
        let buffer = self.buffers.pop().unwrap_or_default();
        let reply = job.asker(rules).offer(buffer, Lease { address, secs });
        self.counters.offers.increment(1);
        job.log("offered", Some(address), chosen_by.as_str());
        self.event(job.event(EventKind::Offered, Some(address), secs, chosen_by.as_str()));
        self.send(job.due(), Outgoing { scope: rules.scope.index, reply });
    }

    /// Holds an address of another scope that shares the link, in their order.
    fn offer_elsewhere(&mut self, job: &Job<'_>, offer: &Offer) -> Option<(Ipv4Addr, ChosenBy)> {
        let Rules { scopes, scope: exhausted, .. } = job.rules;
        let network = scopes.network(job.scope.network)?;
        let others =
            network.scopes.iter().filter(|index| **index != exhausted.index).filter_map(|&index| scopes.get(index));
        let offer = Offer { candidates: [None; 4], ..*offer };
        others.filter(|scope| scope.kind == ScopeKind::Dynamic).find_map(|scope| {
            let pools = job.rules.in_scope(scope).pools;
            self.table.offer(job.now, scope, job.key, job.packet.chaddr(), &offer, pools).ok()
        })
    }

    fn bind(&mut self, job: &Job<'_>, bind: &Bind, commit: Option<Commit>) {
        if self.is_over_share(job) {
            return self.dropped(job, DropReason::PortShare);
        }
        let ack = self.ack(job, commit, bind.address, bind.lease_secs);
        match self.table.bind(job.now, job.key, bind, job.facts, ack) {
            Ok(pending) => {
                self.count_port(job);
                self.recent.note(job.now.monotonic, job.packet);
                self.counters.ack(bind.chosen_by);
                job.log("bound", Some(bind.address), bind.chosen_by.as_str());
                let scope = job.rules.at(bind.address).scope.index;
                self.waiting.push_back(Waiting::Ack { pending, scope, due: job.due() });
            }
            Err(BindRefusal::Taken(_)) => {
                self.ask_to_give_up(job.key, bind.address);
                self.nak(job, NakReason::Taken);
            }
            Err(BindRefusal::Journal(refused)) => self.dropped(job, refusal_reason(&refused.reason)),
        }
    }

    fn ack(&mut self, job: &Job<'_>, commit: Option<Commit>, address: Ipv4Addr, secs: u32) -> Ack {
        let buffer = self.buffers.pop().unwrap_or_default();
        let (asker, lease) = (job.asker(job.rules.at(address)), Lease { address, secs });
        match commit {
            None => asker.ack(buffer, lease),
            Some(Commit::Rapid) => asker.rapid_ack(buffer, lease),
            Some(Commit::Bootp) => asker.bootp(buffer, address),
        }
    }

    fn nak(&mut self, job: &Job<'_>, reason: NakReason) {
        let buffer = self.buffers.pop().unwrap_or_default();
        let reply = job.asker(job.rules).nak(buffer, reason);
        self.counters.nak(reason);
        let ciaddr = Some(job.packet.ciaddr()).filter(|ciaddr| !ciaddr.is_unspecified());
        let address = job.packet.requested_address().or(ciaddr);
        job.log("refused", address, reason.as_str());
        self.event(job.event(EventKind::Refused, address, 0, reason.as_str()));
        self.send(job.due(), Outgoing { scope: job.scope.index, reply });
    }

    fn sight(&mut self, job: &Job<'_>) {
        self.counters.dropped(DropReason::UnknownMachine);
        let vendor_class = text(job.packet.option(code::VENDOR_CLASS));
        let hostname = text(job.packet.option(code::HOST_NAME));
        let machine = Machine { scope: job.scope.index, mac: job.packet.chaddr() };
        match self.table.sight(job.now, job.scope, machine, &vendor_class, &hostname, ()) {
            Sighted::First(pending) => {
                self.event(job.event(EventKind::Sighting, None, 0, DropReason::UnknownMachine.as_str()));
                self.waiting.push_back(Waiting::Note { pending });
            }
            Sighted::Again => {}
            Sighted::Shed => self.counters.sightings_shed.increment(1),
        }
    }

    /// Counts a drop; those that an operator should know of are events too.
    fn dropped(&mut self, job: &Job<'_>, reason: DropReason) {
        self.counters.dropped(reason);
        job.log("not answered", None, reason.as_str());
        match reason {
            DropReason::ReservationUnavailable => {
                self.event(job.event(EventKind::Dropped, None, 0, reason.as_str()));
            }
            DropReason::PoolExhausted => {
                //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
                //# If no address is available, the server may choose to report the problem to the system administrator.
                self.log_exhausted(job);
                self.event(job.event(EventKind::Dropped, None, 0, reason.as_str()));
            }
            DropReason::PortShare => {
                self.log_port_share(job);
                self.event(job.event(EventKind::Dropped, None, 0, reason.as_str()));
            }
            DropReason::JournalRefusing | DropReason::QueueFull => {
                self.event(job.event(EventKind::Dropped, None, 0, reason.as_str()));
            }
            _ => {}
        }
    }

    /// One line a minute and scope says that its pools are exhausted; the counter has every case.
    fn log_exhausted(&self, job: &Job<'_>) {
        let complaints = self.shared.complaints.get(usize::from(job.scope.index.0));
        if complaints.is_some_and(|complaints| complaints.exhausted.is_due(job.now.monotonic)) {
            tracing::warn!(scope = &*job.scope.name, mac = %job.packet.chaddr(), "no address is left in the scope's pools; clients are not answered");
        }
    }

    fn note(&mut self, job: &Job<'_>, pending: Result<Pending<()>, DropReason>) {
        match pending {
            Ok(pending) => self.waiting.push_back(Waiting::Note { pending }),
            Err(reason) => self.dropped(job, reason),
        }
    }

    /// If the address is held by an expired lease of another worker's client, that worker is asked to give it up; the client will ask again.
    fn ask_to_give_up(&self, key: ClientKey, address: Ipv4Addr) {
        let Some(row) = self.shared.model.lease(address).filter(|row| row.client != key) else { return };
        let owner = owner_of(row.client.identity, self.workers);
        if owner != self.worker {
            // A full queue: the next try asks again.
            let _ = self.queues[owner].push(Request::GiveUp(key.network, address, None));
        }
    }

    /// The packet belongs to a client of worker `owner`, which has its own copy of a broadcast.
    fn of_another(&self, owner: usize, arrival: Arrival<'_>) {
        if arrival.broadcast {
            return self.counters.dropped(DropReason::OtherWorker);
        }
        let packet = HandedOver { octets: arrival.octets.into(), link: arrival.link, from: arrival.from };
        match self.queues[owner].push(Request::Packet(packet)) {
            Ok(()) => self.counters.handed_over.increment(1),
            Err(_) => self.counters.dropped(DropReason::QueueFull),
        }
    }

    /// Sends a reply, or has it wait until it is due.
    fn send(&mut self, due: Millis, outgoing: Outgoing) {
        if let Some(outgoing) = self.delayed.hold(due, outgoing) {
            self.out.push_back(outgoing);
        }
    }

    fn event(&mut self, event: RawEvent) {
        self.shared.events.push(event);
        self.events_pushed = true;
    }
}

/// The packet at hand and what it belongs to.
struct Job<'a> {
    now: Now,
    packet: &'a PacketView<'a>,
    port: u16,
    scope: &'a Scope,
    key: ClientKey,
    rules: Rules<'a>,
    facts: ClientFacts<'a>,
    /// The port whose share its address counts for.
    behind: Option<Port>,
}

impl<'a> Job<'a> {
    /// Who is answered, and by which rules.
    fn asker(&self, rules: Rules<'a>) -> Asker<'a> {
        Asker { packet: self.packet, from_port: self.port, rules }
    }

    /// What was done and why, with the words of the counters and the events. Nothing is formatted unless somebody listens.
    fn log(&self, done: &'static str, address: Option<Ipv4Addr>, reason: &'static str) {
        let (scope, message) = (&*self.scope.name, self.packet.message_type.as_str());
        let agent = || self.packet.relay_agent();
        let circuit_id = || agent().circuit_id().unwrap_or_default().escape_ascii();
        tracing::debug!(scope, mac = %self.packet.chaddr(), circuit_id = %circuit_id(), message, ?address, reason, "{done}");
    }

    /// When a reply may leave; zero where it need not wait.
    fn due(&self) -> Millis {
        match self.rules.reply_delay_millis() {
            0 => Millis(0),
            millis => Millis(self.now.monotonic.0 + u64::from(millis)),
        }
    }

    fn event(&self, kind: EventKind, address: Option<Ipv4Addr>, amount: u32, reason: &'static str) -> RawEvent {
        RawEvent {
            at_unix_millis: self.now.unix_millis,
            kind,
            mac: self.packet.chaddr(),
            scope: address.and_then(|address| self.rules.scope_of(address)).unwrap_or(self.scope).index,
            address,
            amount,
            size: 0,
            reason,
            journal_sequence: 0,
        }
    }
}

/// What a client says of itself, as text: trailing zeros cut, what is no UTF-8 replaced, control characters escaped. Allocates only for odd ones.
//= https://www.rfc-editor.org/rfc/rfc2132#section-2
//# Options containing NVT ASCII data SHOULD NOT include a trailing NULL; however, the receiver of such options MUST be prepared to delete trailing nulls if they exist.
//= https://www.rfc-editor.org/rfc/rfc2132#section-2
//# The receiver MUST NOT require that a trailing null be included in the data.
fn text(value: Option<&[u8]>) -> Cow<'_, str> {
    let value = value.unwrap_or_default();
    let end = value.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
    let text = String::from_utf8_lossy(&value[..end]);
    if text.chars().any(char::is_control) {
        let escaped = text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] });
        return Cow::Owned(escaped.collect());
    }
    text
}

#[cfg(test)]
mod tests;
