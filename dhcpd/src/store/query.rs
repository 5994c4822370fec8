//! What the read model knows of a lease, for a DHCPLEASEQUERY (RFC 4388). No packet of a client waits for it.

use std::net::Ipv4Addr;

use super::Shared;
use super::model::{LeaseRow, RowState};
use crate::proto::leasequery::{Answer, By, Found};
use crate::proto::scope::Scopes;
use crate::proto::time::UnixSecs;

/// The client identifier that most clients make of an Ethernet address: hardware type 1, then the address (RFC 2132 §9.14).
const ETHERNET_ID_BYTES: usize = 7;

impl Shared {
    /// Answers by address, by hardware address or by client identifier.
    ///
    /// By address everything is found. A hardware address or an identifier is found where it is what the network goes by; on a network that goes by the other
    /// one it is found where the identifier is made of the hardware address.
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
            By::Mac(mac) => {
                let mut id = [1; ETHERNET_ID_BYTES];
                id[1..].copy_from_slice(&mac.octets());
                let keys = |network| [self.client_on(network, mac, &[]), self.client_on(network, mac, &id)];
                let mut rows: Vec<_> = scopes.networks().iter().flat_map(|network| keys(network.index)).collect();
                rows.dedup();
                rows.into_iter().filter_map(|key| self.model.lease_of(key)).filter(|(_, row)| row.mac == mac).collect()
            }
            By::ClientId(id) => {
                let mac = match id {
                    &[1, a, b, c, d, e, f] => reveille_config::MacAddr([a, b, c, d, e, f]),
                    _ => reveille_config::MacAddr::default(),
                };
                let keys = scopes.networks().iter().map(|network| self.client_on(network.index, mac, id));
                keys.filter_map(|key| self.model.lease_of(key)).filter(|(_, row)| *row.client_id == *id).collect()
            }
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
