//! Starvation: machines made up behind one port get a share of the addresses and no more. A client that holds an address keeps it, whatever its port.

use reveille_config::dhcpd::Limits;

use super::{Desk, Job, text};
use crate::proto::circuit::Circuit;
use crate::proto::scope::{ClientKey, Scopes};
use crate::store::port::Port;

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
