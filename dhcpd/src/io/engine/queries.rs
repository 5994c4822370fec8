//! DHCPLEASEQUERY (RFC 4388) is answered from the read model, which the journal's reader feeds a moment after a record is durable.
//!
//! Invariant: an answer shows at least every binding that was acknowledged before the query came. So a query notes how far the journal is durable, and where the
//! model does not show that much yet, it waits, and nothing else with it: its requestor may have heard of the binding from the client itself.

use std::collections::VecDeque;
use std::net::SocketAddrV4;

use reveille_config::limit::{LEASE_QUERIES_WAITING_MAX, LEASE_QUERY_WAIT_MILLIS};

use super::{Arrival, Desk, Engine, Outgoing};
use crate::proto::answer::scope_of;
use crate::proto::class::Membership;
use crate::proto::leasequery;
use crate::proto::reason::DropReason;
use crate::proto::scope::Scopes;
use crate::proto::time::{Millis, Now};
use crate::proto::view::PacketView;
use crate::store::journal::Sequence;

/// A query that waits.
#[derive(Debug)]
struct Waiting {
    octets: Vec<u8>,
    link: usize,
    from: SocketAddrV4,
    /// When it came.
    now: Now,
    /// What was durable then.
    durable: Sequence,
}

/// The queries of one worker that wait, in the order in which they came: so what was durable then never decreases.
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
        while desk.queries.waiting.front().is_some_and(|first| desk.journal.has_followed(first.durable)) {
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
        let durable = self.journal.durable();
        if self.queries.waiting.is_empty() && self.journal.has_followed(durable) {
            return self.answer_query(now, packet, arrival, scopes);
        }
        if !scopes.may_query(packet.giaddr()) {
            return self.counters.dropped(DropReason::NotARequestor);
        }
        //= https://www.rfc-editor.org/rfc/rfc4388#section-7
        //# DHCP servers supporting the DHCPLEASEQUERY message SHOULD ensure that they cannot be successfully attacked by being flooded with large quantities of DHCPLEASEQUERY messages in a short time.
        if self.queries.waiting.len() == LEASE_QUERIES_WAITING_MAX {
            return self.counters.dropped(DropReason::QueriesFull);
        }
        let mut octets = self.buffers.pop().unwrap_or_default();
        octets.clear();
        octets.extend_from_slice(arrival.octets);
        self.queries.waiting.push_back(Waiting { octets, link: arrival.link, from: arrival.from, now, durable });
    }

    /// Drops the queries that have waited for long enough.
    pub(super) fn drop_overdue_queries(&mut self, now: Now) {
        while self.queries.next_due().is_some_and(|due| due <= now.monotonic) {
            let Some(overdue) = self.queries.waiting.pop_front() else { return };
            self.recycle(overdue.octets);
            self.counters.dropped(DropReason::QueryTimeout);
        }
    }

    fn answer_query(&mut self, now: Now, packet: &PacketView<'_>, arrival: Arrival<'_>, scopes: &Scopes) {
        let link = self.links.get(arrival.link).map_or("", |name| name);
        // Any scope of the link says what this server is called there.
        let unrelayed = || scopes.iter().find(|scope| scope.is_on(link));
        let scope = scope_of(scopes, link, packet, &Membership::none()).ok().or_else(unrelayed);
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
                let buffer = self.buffers.pop().unwrap_or_default();
                let reply = leasequery::reply(buffer, packet, arrival.from.port(), scope.server_address, &answer);
                self.out.push_back(Outgoing { scope: scope.index, reply });
            }
            Err(reason) => self.counters.dropped(reason),
        }
    }
}
