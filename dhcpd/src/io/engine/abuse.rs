//! How much one sender may ask: by client and by relay, in buckets of fixed memory; and how many addresses the clients behind one port may hold.

use std::hash::{BuildHasher, RandomState};

use reveille_config::dhcpd::Limits;
use reveille_config::limit::{WATCHED_CLIENTS_MAX, WATCHED_RELAYS_MAX};

use super::{Desk, Job, text};
use crate::proto::fixed::Circuit;
use crate::proto::rate::Rates;
use crate::proto::reason::DropReason;
use crate::proto::scope::{ClientKey, Scopes};
use crate::proto::time::Now;
use crate::proto::view::PacketView;
use crate::store::port::Port;

/// What this worker's senders have asked lately.
#[derive(Debug)]
pub(super) struct Senders {
    clients: Rates,
    relays: Rates,
    /// Drawn anew by each process: nobody can choose a hardware address that shares another's buckets.
    hash: RandomState,
}

impl Default for Senders {
    fn default() -> Self {
        Self {
            clients: Rates::new(WATCHED_CLIENTS_MAX),
            relays: Rates::new(WATCHED_RELAYS_MAX),
            hash: RandomState::new(),
        }
    }
}

impl Senders {
    /// Takes a packet into account; why it is not looked at, if it is too much.
    pub(super) fn over_limit(&mut self, now: Now, packet: &PacketView<'_>, limits: &Limits) -> Option<DropReason> {
        let now = now.monotonic;
        let (giaddr, chaddr) = (packet.giaddr(), packet.chaddr());
        if limits.client_packets_per_sec > 0
            && !self.clients.allow(now, self.hash.hash_one(chaddr.0), limits.client_packets_per_sec)
        {
            return Some(DropReason::ClientRate);
        }
        let relayed = limits.relay_packets_per_sec > 0 && !giaddr.is_unspecified();
        let over = relayed && !self.relays.allow(now, self.hash.hash_one(giaddr), limits.relay_packets_per_sec);
        over.then_some(DropReason::RelayRate)
    }
}

/// Starvation: machines made up behind one port get a share of the addresses and no more. A client that holds an address keeps it, whatever its port.
impl Desk {
    /// The port for which an address of this client counts, where that is limited.
    pub(super) fn port_behind(&self, scopes: &Scopes, key: ClientKey, circuit: Circuit<'_>) -> Option<Port> {
        let Limits { port_share_percent, port_share_by, .. } = scopes.limits;
        if port_share_percent < 100 { self.table.port(key.network, port_share_by, circuit) } else { None }
    }

    /// Whether an address for this client would be one too many.
    pub(super) fn is_over_share(&self, job: &Job<'_>) -> bool {
        let (Some(port), Some(most)) = (job.behind, job.rules.scopes.port_share(job.key.network)) else { return false };
        !self.table.port_has_room(job.key, port, most)
    }

    /// Counts the address that the client has got, if it has.
    pub(super) fn count_port(&mut self, job: &Job<'_>) {
        if let Some(port) = job.behind {
            self.table.count_port(job.key, port);
        }
    }

    /// One line a minute and scope says which port; the counter has every case.
    pub(super) fn log_port_share(&self, job: &Job<'_>) {
        let complaints = self.shared.complaints.get(usize::from(job.scope.index.0));
        if complaints.is_some_and(|complaints| complaints.port_share.is_due(job.now.monotonic)) {
            let agent = job.packet.relay_agent();
            let (circuit, remote) = (text(agent.circuit_id()), text(agent.remote_id()));
            tracing::warn!(scope = &*job.scope.name, mac = %job.packet.chaddr(), %circuit, %remote, "the clients behind one port hold their share of the addresses; more are not answered");
        }
    }
}
