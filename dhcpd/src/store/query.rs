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
            //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.1
            //# In the event that an IP address appears in the "ciaddr" field of a DHCPLEASEQUERY message, if that IP address is one managed by the DHCP server, then that IP address MUST be set in the "ciaddr" field of a DHCPLEASEUNASSIGNED message.
            //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
            //# The IP address in the "ciaddr" field of the DHCPLEASEUNASSIGNED or DHCPLEASEACTIVE message MUST be one for which this server is responsible (or a DHCPLEASEUNKNOWN message would be have already been returned early in the processing described in the previous section).
            //= https://www.rfc-editor.org/rfc/rfc4388#section-6.3
            //# The DHCPLEASEQUERY message is one of those cases where the giaddr MUST NOT be used as such a "key".
            By::Address(address) => match self.model.lease(address).filter(active) {
                Some(row) => return Answer::Active(found(now, address, row, Vec::new())),
                None if scopes.of_address(address).is_some_and(|scope| scope.in_pools(address)) => {
                    return Answer::Unassigned(address);
                }
                None if self.model.reserved_at(address).is_some() => return Answer::Unassigned(address),
                None => return Answer::Unknown,
            },
            //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.1
            //# If the "ciaddr" field is zero in a DHCPLEASEQUERY message, then the IP address placed in the "ciaddr" field of a DHCPLEASEACTIVE message MUST be that of an IP address for which the client that most recently used the IP address matches the Client-identifier or MAC address specified in the DHCPLEASEQUERY message.
            //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.1
            //# If there is only a single IP address that fulfills this criteria, then it MUST be placed in the "ciaddr" field of the DHCPLEASEACTIVE message.
            By::Mac(mac) => self.model.leases_of(mac),
            By::ClientId(id) => self.model.leases_of_client_id(id),
        };
        // What it no longer holds was involved in an exchange with it too, for as long as nobody else has it.
        rows.retain(|(_, row)| row.state != RowState::Declined);
        //= https://www.rfc-editor.org/rfc/rfc4388#section-5
        //# In the absence of specific configuration information to the contrary (see Section 6.4), it SHOULD be the IP address with the latest client-last-transaction-time associated with the client described by the MAC address or Client-identifier option.
        //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.1
        //# In the case where more than one IP address has been accessed by the client specified by the MAC address or Client-identifier option, then the DHCP server MUST return the IP address returned to the client in the most recent transaction with the client unless the DHCP server has been configured by the server administrator to use some other preference mechanism.
        rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.dealt));
        let associated = rows.iter().map(|(address, _)| *address).collect();
        match rows.into_iter().find(|(_, row)| active(row)) {
            Some((address, row)) => Answer::Active(found(now, address, row, associated)),
            //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.1
            //# If, after all of the above processing, no value is set in the "ciaddr" field of the DHCPLEASEUNASSIGNED or DHCPLEASEACTIVE message, then a DHCPLEASEUNKNOWN message MUST be returned instead.
            None => Answer::Unknown,
        }
    }
}

fn found(now: UnixSecs, address: Ipv4Addr, row: LeaseRow, associated: Vec<Ipv4Addr>) -> Found {
    Found {
        address,
        mac: row.mac,
        client_id: row.client_id,
        hostname: row.hostname,
        vendor_class: row.vendor_class,
        relay_agent: row.relay_agent,
        total_secs: row.ends.since(row.told),
        told_secs: now.since(row.told),
        since_secs: now.since(row.dealt.0),
        associated,
    }
}
