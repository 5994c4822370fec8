//! What the read model knows of a lease, for a DHCPLEASEQUERY (RFC 4388). No packet of a client waits for it.

use std::net::Ipv4Addr;

use super::Shared;
use super::model::{LeaseRow, RowState};
use crate::proto::leasequery::{Answer, By, Found};
use crate::proto::scope::Scopes;
use crate::proto::time::UnixSecs;

impl Shared {
    /// Answers by address, by hardware address or by client identifier.
    pub fn lease_query(&self, now: UnixSecs, scopes: &Scopes, by: By<'_>) -> Answer {
        let active = |row: &LeaseRow| row.state == RowState::Bound && row.ends > now;
        let mut rows: Vec<(Ipv4Addr, LeaseRow)> = match by {
            By::Address(address) => match self.model.lease(address).filter(active) {
                Some(row) => return Answer::Active(found(now, address, row, Vec::new())),
                None if scopes.of_address(address).is_some_and(|scope| scope.in_pools(address)) => {
                    return Answer::Unassigned(address);
                }
                None if self.model.reserved_for(address).is_some() => return Answer::Unassigned(address),
                None => return Answer::Unknown,
            },
            By::Mac(mac) => self.model.leases_of(mac),
            By::ClientId(id) => self.model.leases_of_client_id(id),
        };
        rows.retain(|(_, row)| active(row));
        // Of several, the one that the client has dealt with last.
        rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.starts));
        let associated = rows.iter().map(|(address, _)| *address).collect();
        match rows.into_iter().next() {
            Some((address, row)) => Answer::Active(found(now, address, row, associated)),
            None => Answer::Unknown,
        }
    }
}

fn found(now: UnixSecs, address: Ipv4Addr, row: LeaseRow, associated: Vec<Ipv4Addr>) -> Found {
    Found {
        address,
        mac: row.mac,
        client_id: row.client_id,
        relay_agent: row.relay_agent,
        total_secs: row.ends.since(row.starts),
        since_secs: now.since(row.starts),
        associated,
    }
}
