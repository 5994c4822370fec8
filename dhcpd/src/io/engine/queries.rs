//! DHCPLEASEQUERY (RFC 4388) is answered from the read model, which the journal's reader feeds a moment after a record is durable.
//!
//! Invariant: an answer shows at least every binding that was acknowledged, and every dealing with a client that was over, before the query came. So a query notes how
//! far the journal has got, and where the model does not show that much yet, it waits, and nothing else with it: its requestor may have heard of the binding from the
//! client itself. While the journal takes no records, what is durable has to do.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

use reveille_config::limit::{LEASE_QUERIES_WAITING_MAX, LEASE_QUERY_WAIT_MILLIS};

use super::early::chaddr;
use super::{Arrival, Desk, Engine, Job, Outgoing};
use crate::proto::answer::scope_of;
use crate::proto::class::Membership;
use crate::proto::leasequery::{self, Answer};
use crate::proto::reason::DropReason;
use crate::proto::relay_agent::RelayAgent;
use crate::proto::rules::Rules;
use crate::proto::scope::Scopes;
use crate::proto::time::{Millis, Now};
use crate::proto::view::{MessageType, PacketView};
use crate::store::journal::Sequence;
use crate::store::table::ClientFacts;

/// A query that waits.
#[derive(Debug)]
struct Waiting {
    octets: Vec<u8>,
    link: usize,
    from: SocketAddrV4,
    /// When it came.
    now: Now,
    /// How far the journal had got then.
    through: Sequence,
}

/// The queries of one worker that wait, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Queries {
    waiting: VecDeque<Waiting>,
}

impl Waiting {
    fn due(&self) -> Millis {
        Millis(self.now.monotonic.0 + LEASE_QUERY_WAIT_MILLIS)
    }
}

impl Queries {
    /// How many wait.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.waiting.len()
    }

    /// When the first one has waited for long enough.
    pub(super) fn next_due(&self) -> Option<Millis> {
        self.waiting.front().map(Waiting::due)
    }
}

impl Engine {
    /// Answers the queries for which the read model now shows enough.
    pub(super) fn answer_queries(&mut self) {
        let Self { parser, desk, .. } = self;
        let told = desk.journal.last_told();
        while desk.queries.waiting.front().is_some_and(|first| desk.journal.has_followed(first.through.min(told))) {
            let Some(Waiting { octets, link, from, now, .. }) = desk.queries.waiting.pop_front() else { return };
            if let Ok(packet) = parser.parse(&octets) {
                let scopes = desk.shared.scopes.load_full();
                desk.answer_query(now, &packet, Arrival { octets: &octets, link, from, broadcast: false }, &scopes);
            }
            desk.recycle(octets);
        }
    }
}

impl Desk {
    /// A relay or concentrator asks for a lease.
    pub(super) fn lease_query(&mut self, now: Now, packet: &PacketView<'_>, arrival: Arrival<'_>, scopes: &Scopes) {
        self.counters.received(packet.message_type);
        self.counters.faults(packet.faults());
        let through = self.journal.last_told();
        if self.queries.waiting.is_empty() && self.journal.has_followed(through) {
            return self.answer_query(now, packet, arrival, scopes);
        }
        if !scopes.may_query(packet.giaddr()) {
            return self.dropped_early(now, DropReason::NotARequestor, packet.chaddr(), arrival.link);
        }
        //= https://www.rfc-editor.org/rfc/rfc4388#section-7
        //# DHCP servers supporting the DHCPLEASEQUERY message SHOULD ensure that they cannot be successfully attacked by being flooded with large quantities of DHCPLEASEQUERY messages in a short time.
        if self.queries.waiting.len() == LEASE_QUERIES_WAITING_MAX {
            return self.dropped_early(now, DropReason::QueriesFull, packet.chaddr(), arrival.link);
        }
        let mut octets = self.buffers.pop().unwrap_or_default();
        octets.clear();
        octets.extend_from_slice(arrival.octets);
        self.queries.waiting.push_back(Waiting { octets, link: arrival.link, from: arrival.from, now, through });
    }

    /// Drops the queries that have waited for long enough.
    pub(super) fn drop_overdue_queries(&mut self, now: Now) {
        while self.queries.next_due().is_some_and(|due| due <= now.monotonic) {
            let Some(overdue) = self.queries.waiting.pop_front() else { return };
            self.dropped_early(now, DropReason::QueryTimeout, chaddr(&overdue.octets), overdue.link);
            self.recycle(overdue.octets);
        }
    }

    /// The client has dealt with the server about the address that it is bound to, without a new promise; `told` what is left of the old one. Written down for lease
    /// queries, where there may be any.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.7
    //# client-last-transaction-time of last client interaction: MUST store with binding.
    pub(super) fn note_dealing(&mut self, job: &Job<'_>, address: Ipv4Addr, told: bool) {
        if !job.rules.scopes.takes_queries() {
            return;
        }
        //= https://www.rfc-editor.org/rfc/rfc4388#section-6.7
        //# DHCP server implementations that implement the DHCPLEASEQUERY capability MUST save the most recent Relay Agent Information option from the most recent DHCPREQUEST packet for two reasons.
        //= https://www.rfc-editor.org/rfc/rfc4388#section-5
        //# Any DHCP server that supports the DHCPLEASEQUERY message SHOULD save the information from the most recent Relay Agent Information option (option 82) [RFC3046] associated with every IP address that it serves.
        let is_request = job.packet.message_type == MessageType::Request;
        let relay_agent = if is_request { job.facts.relay_agent } else { &[] };
        if !self.table.note_dealing(job.now, job.key, address, told, &ClientFacts { relay_agent, ..job.facts }) {
            self.counters.dealings_shed.increment(1);
        }
    }

    fn answer_query(&mut self, now: Now, packet: &PacketView<'_>, arrival: Arrival<'_>, scopes: &Scopes) {
        let link = self.links.get(arrival.link).map_or("", |name| name);
        // Any scope of the link says what this server is called there; on no scope's link, one that is served wherever the host's routes go.
        let on_link = || scopes.iter().find(|scope| scope.is_on(link));
        let anywhere = || scopes.iter().find(|scope| scope.interface.is_none());
        let scope = scope_of(scopes, link, packet, &Membership::none()).ok().or_else(on_link).or_else(anywhere);
        let by = match (leasequery::question(packet), scope) {
            (Ok(_), _) if !scopes.may_query(packet.giaddr()) => Err(DropReason::NotARequestor),
            (Ok(by), Some(scope)) => Ok((by, scope)),
            (Ok(_), None) => Err(DropReason::NoScope),
            (Err(reason), _) => Err(reason),
        };
        match by {
            Ok((by, scope)) => {
                //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4
                //# The server MUST respond with a DHCPLEASEUNASSIGNED message if this server has information about the IP address, but there is no active lease for the IP address.
                //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4
                //# The server MUST respond with a DHCPLEASEACTIVE message when the IP address returned in the "ciaddr" field is currently leased.
                //= https://www.rfc-editor.org/rfc/rfc4388#section-6.3
                //# The DHCP server that receives a DHCPLEASEQUERY message MUST base its response on the particular data item used in the query.
                let answer = self.shared.lease_query(now.unix, scopes, by);
                let (mut classes, mut own) = (Membership::default(), None);
                let rules = match &answer {
                    Answer::Active(found) => scopes.of_address(found.address).map(|scope| {
                        let circuit = RelayAgent::new(&found.relay_agent).circuit();
                        let by_identity =
                            || self.shared.reservation_by_identity(scope.network, &found.client_id, circuit);
                        own = self.shared.reservation_of(scope.network, found.mac).or_else(by_identity);
                        leasequery::classes_of(scopes, found, &mut classes);
                        Rules::new(scopes, scope, own.as_deref(), &classes).at(found.address)
                    }),
                    Answer::Unassigned(_) | Answer::Unknown => None,
                };
                let (buffer, port) = (self.buffers.pop().unwrap_or_default(), arrival.from.port());
                let called = scope.server_address;
                let reply = leasequery::reply(buffer, packet, port, called, &answer, rules.as_ref());
                self.out.push_back(Outgoing { scope: scope.index, reply });
            }
            Err(reason) => self.dropped_early(now, reason, packet.chaddr(), arrival.link),
        }
    }
}
