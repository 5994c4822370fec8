//! What a decision leads to: an address is held, a record is queued, a reply is made, a reason is told.
//!
//! Nothing is decided about the protocol here; what the table or the journal refuses becomes a drop or a NAK with its reason.

use std::net::Ipv4Addr;

use reveille_config::dhcpd::ScopeKind;

use super::waiting::Waiting;
use super::{Arrival, Desk, Job, Outgoing, text};
use crate::proto::decide::{Bind, ClientState, Commit, Offer, lease_secs};
use crate::proto::owner::owner_of;
use crate::proto::reason::{ChosenBy, DropReason, NakReason};
use crate::proto::reply::{Ack, Lease};
use crate::proto::rules::Rules;
use crate::proto::scope::{ClientKey, Machine};
use crate::proto::time::Millis;
use crate::proto::view::code;
use crate::store::event::{EventKind, RawEvent};
use crate::store::journal::Pending;
use crate::store::queue::{HandedOver, Request};
use crate::store::sighting::Sighted;
use crate::store::table::{BindRefusal, refusal_reason};

impl Desk {
    /// Holds an address for the client, and offers it or, where it asks for no more, binds it at once.
    pub(super) fn offer(&mut self, job: &Job<'_>, arrival: Arrival<'_>, client: &ClientState, offer: &Offer) {
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
        self.note_dealing(job, address, false);
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

    pub(super) fn bind(&mut self, job: &Job<'_>, bind: &Bind, commit: Option<Commit>) {
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

    pub(super) fn ack(&mut self, job: &Job<'_>, commit: Option<Commit>, address: Ipv4Addr, secs: u32) -> Ack {
        let buffer = self.buffers.pop().unwrap_or_default();
        let (asker, lease) = (job.asker(job.rules.at(address)), Lease { address, secs });
        match commit {
            None => asker.ack(buffer, lease),
            Some(Commit::Rapid) => asker.rapid_ack(buffer, lease),
            Some(Commit::Bootp) => asker.bootp(buffer, address),
        }
    }

    pub(super) fn nak(&mut self, job: &Job<'_>, reason: NakReason) {
        let buffer = self.buffers.pop().unwrap_or_default();
        let reply = job.asker(job.rules).nak(buffer, reason);
        self.counters.nak(reason);
        let ciaddr = Some(job.packet.ciaddr()).filter(|ciaddr| !ciaddr.is_unspecified());
        let address = job.packet.requested_address().or(ciaddr);
        job.log("refused", address, reason.as_str());
        self.event(job.event(EventKind::Refused, address, 0, reason.as_str()));
        self.send(job.due(), Outgoing { scope: job.scope.index, reply });
    }

    pub(super) fn sight(&mut self, job: &Job<'_>) {
        let vendor_class = text(job.packet.option(code::VENDOR_CLASS));
        let hostname = text(job.packet.option(code::HOST_NAME));
        let machine = Machine { scope: job.scope.index, mac: job.packet.chaddr() };
        match self.table.sight(job.now, job.scope, machine, &vendor_class, &hostname, ()) {
            Sighted::First(pending) => {
                self.counters.dropped(DropReason::UnknownMachine);
                job.log("not answered", None, DropReason::UnknownMachine.as_str());
                self.event(job.event(EventKind::Sighting, None, 0, DropReason::UnknownMachine.as_str()));
                self.waiting.push_back(Waiting::Note { pending });
            }
            Sighted::Again => self.dropped(job, DropReason::UnknownMachine),
            Sighted::Shed => {
                self.counters.sightings_shed.increment(1);
                self.dropped(job, DropReason::UnknownMachine);
            }
        }
    }

    /// Counts a drop, and says why in the log and the events.
    pub(super) fn dropped(&mut self, job: &Job<'_>, reason: DropReason) {
        self.counters.dropped(reason);
        job.log("not answered", None, reason.as_str());
        match reason {
            //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
            //# If no address is available, the server may choose to report the problem to the system administrator.
            DropReason::PoolExhausted => self.log_exhausted(job),
            DropReason::PortShare => self.log_port_share(job),
            _ => {}
        }
        self.event(job.event(EventKind::Dropped, None, 0, reason.as_str()));
    }

    /// One line a minute and scope says that its pools are exhausted; the counter has every case.
    fn log_exhausted(&self, job: &Job<'_>) {
        let complaints = self.shared.complaints.get(usize::from(job.scope.index.0));
        if complaints.is_some_and(|complaints| complaints.exhausted.is_due(job.now.monotonic)) {
            tracing::warn!(scope = &*job.scope.name, mac = %job.packet.chaddr(), "no address is left in the scope's pools; clients are not answered");
        }
    }

    pub(super) fn note(&mut self, job: &Job<'_>, pending: Result<Pending<()>, DropReason>) {
        match pending {
            Ok(pending) => self.waiting.push_back(Waiting::Note { pending }),
            Err(reason) => self.dropped(job, reason),
        }
    }

    /// If the address is held by an expired lease of another worker's client, that worker is asked to give it up; the client will ask again.
    pub(super) fn ask_to_give_up(&self, key: ClientKey, address: Ipv4Addr) {
        let Some(row) = self.shared.model.lease(address).filter(|row| row.client != key) else { return };
        let owner = owner_of(row.client.identity, self.workers);
        if owner != self.worker {
            // A full queue: the next try asks again.
            let _ = self.queues[owner].push(Request::GiveUp(key.network, address, None));
        }
    }

    /// The packet belongs to a client of worker `owner`, which has its own copy of a broadcast.
    pub(super) fn of_another(&self, owner: usize, arrival: Arrival<'_>) {
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
    pub(super) fn send(&mut self, due: Millis, outgoing: Outgoing) {
        if let Some(outgoing) = self.delayed.hold(due, outgoing) {
            self.out.push_back(outgoing);
        }
    }

    pub(super) fn event(&mut self, event: RawEvent) {
        self.shared.events.push(event);
        self.events_pushed = true;
    }
}
