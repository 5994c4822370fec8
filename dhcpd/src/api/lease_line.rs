//! Leases as lines of an export, written octet by octet: [`json`] as [`Shown::whole`] would be serialised, [`csv`] as Kea writes its leases file.
//!
//! A million lines want to be written in a second beside a busy worker: nothing is allocated here, and what all lines share is found once ([`Lines`]).

use std::net::Ipv4Addr;

use reveille_config::MacAddr;
use reveille_config::dto::dhcpd::{Lease, LeaseState};

use crate::proto::relay_agent::RelayAgent;
use crate::proto::scope::{Reservation, ScopeIndex, Scopes};
use crate::proto::time::UnixSecs;
use crate::store::model::{LeaseView, RowState};

/// What the lines of one piece have in common.
pub struct Lines {
    /// The time at which it is seen whether a lease is over.
    pub now: UnixSecs,
    /// The names of the scopes as JSON, by index.
    scopes: Vec<Vec<u8>>,
}

impl Lines {
    /// Of these scopes, at this time.
    pub fn new(scopes: &Scopes, now: UnixSecs) -> Self {
        let name = |name: &str| serde_json::to_vec(name).unwrap_or_default();
        Self { now, scopes: scopes.iter().map(|scope| name(&scope.name)).collect() }
    }

    fn scope(&self, scope: ScopeIndex) -> &[u8] {
        self.scopes.get(usize::from(scope.0)).map_or(b"\"\"", Vec::as_slice)
    }
}

/// One lease to be shown.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    /// What is known of it.
    pub lease: LeaseView<'a>,
    /// The reservation that it goes by.
    pub reservation: Option<&'a Reservation>,
}

impl<'a> Shown<'a> {
    /// What has become of it by `now`.
    pub fn state_at(self, now: UnixSecs) -> LeaseState {
        let over = self.lease.ends <= now;
        match self.lease.state {
            RowState::Released => LeaseState::Released,
            RowState::Declined if !over => LeaseState::Declined,
            RowState::Bound if !over => LeaseState::Bound,
            RowState::Declined | RowState::Bound => LeaseState::Expired,
        }
    }

    /// The host name in force: the reservation's, else the client's.
    pub fn hostname(self) -> Option<&'a str> {
        let own = self.reservation.and_then(|own| own.hostname.as_deref());
        own.or(Some(self.lease.hostname).filter(|name| !name.is_empty()))
    }

    /// All of it, as the API shows one lease.
    pub fn whole(self, scopes: &Scopes, now: UnixSecs) -> Lease {
        let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        let lease = self.lease;
        //= https://www.rfc-editor.org/rfc/rfc3046#section-3.1
        //# The DHCP server SHOULD report the Agent Circuit ID value of current leases in statistical reports (including its MIB) and in logs.
        let agent = RelayAgent::new(lease.relay_agent);
        Lease {
            address: lease.address,
            mac: lease.mac,
            scope: scopes.get(lease.scope).map(|scope| scope.name.to_string()).unwrap_or_default(),
            state: self.state_at(now),
            starts_unix: lease.starts.0.into(),
            ends_unix: lease.ends.0.into(),
            client_id: (!lease.client_id.is_empty()).then(|| hex(lease.client_id)),
            circuit_id: agent.circuit_id().map(hex),
            remote_id: agent.remote_id().map(hex),
            hostname: self.hostname().map(Into::into),
            reserved: self.reservation.is_some(),
            sequence: lease.sequence,
        }
    }
}

/// Appends a line of JSON.
pub fn json(to: &mut Vec<u8>, lines: &Lines, shown: Shown<'_>) {
    let row = shown.lease;
    to.extend_from_slice(b"{\"address\":\"");
    put_address(to, row.address);
    to.extend_from_slice(b"\",\"mac\":\"");
    put_mac(to, row.mac);
    to.extend_from_slice(b"\",\"scope\":");
    to.extend_from_slice(lines.scope(row.scope));
    to.extend_from_slice(b",\"state\":\"");
    to.extend_from_slice(match shown.state_at(lines.now) {
        LeaseState::Bound => b"bound",
        LeaseState::Released => b"released",
        LeaseState::Expired => b"expired",
        LeaseState::Declined => b"declined",
    });
    to.extend_from_slice(b"\",\"starts_unix\":");
    put_number(to, row.starts.0.into());
    to.extend_from_slice(b",\"ends_unix\":");
    put_number(to, row.ends.0.into());
    let agent = RelayAgent::new(row.relay_agent);
    let client_id = Some(row.client_id).filter(|id| !id.is_empty());
    for (name, octets) in
        [("client_id", client_id), ("circuit_id", agent.circuit_id()), ("remote_id", agent.remote_id())]
    {
        if let Some(octets) = octets {
            put_name(to, name);
            to.push(b'"');
            octets.iter().for_each(|octet| to.extend_from_slice(&hex(*octet)));
            to.push(b'"');
        }
    }
    if let Some(hostname) = shown.hostname() {
        put_name(to, "hostname");
        // Into memory: it cannot fail.
        let _ = serde_json::to_writer(&mut *to, hostname);
    }
    to.extend_from_slice(if shown.reservation.is_some() { b",\"reserved\":true" } else { b",\"reserved\":false" });
    put_name(to, "sequence");
    put_number(to, row.sequence);
    to.extend_from_slice(b"}\n");
}

/// Appends a line as Kea writes it: commas within a text as `&#x2c`.
pub fn csv(to: &mut Vec<u8>, lines: &Lines, shown: Shown<'_>) {
    let row = shown.lease;
    put_address(to, row.address);
    to.push(b',');
    put_mac(to, row.mac);
    to.push(b',');
    for (at, octet) in row.client_id.iter().enumerate() {
        if at > 0 {
            to.push(b':');
        }
        to.extend_from_slice(&hex(*octet));
    }
    let state = match shown.state_at(lines.now) {
        LeaseState::Bound => 0,
        LeaseState::Declined => 1,
        LeaseState::Expired => 2,
        LeaseState::Released => 3,
    };
    to.push(b',');
    put_number(to, row.ends.0.saturating_sub(row.starts.0).into());
    to.push(b',');
    put_number(to, row.ends.0.into());
    to.push(b',');
    put_number(to, u64::from(row.scope.0) + 1);
    to.extend_from_slice(b",0,0,");
    for character in shown.hostname().unwrap_or("").chars().filter(|c| !c.is_control()) {
        match character {
            ',' => to.extend_from_slice(b"&#x2c"),
            other => to.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    to.push(b',');
    put_number(to, state);
    to.extend_from_slice(b",,0\n");
}

/// Appends the name of a field that is not the first.
fn put_name(to: &mut Vec<u8>, name: &str) {
    to.extend_from_slice(b",\"");
    to.extend_from_slice(name.as_bytes());
    to.extend_from_slice(b"\":");
}

fn put_address(to: &mut Vec<u8>, address: Ipv4Addr) {
    for (at, octet) in address.octets().into_iter().enumerate() {
        if at > 0 {
            to.push(b'.');
        }
        put_number(to, octet.into());
    }
}

fn put_mac(to: &mut Vec<u8>, mac: MacAddr) {
    let mut text = *b"00:00:00:00:00:00";
    for (at, octet) in mac.octets().into_iter().enumerate() {
        text[3 * at..3 * at + 2].copy_from_slice(&hex(octet));
    }
    to.extend_from_slice(&text);
}

fn put_number(to: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return to.extend_from_slice(&digits[at..]);
        }
    }
}

fn hex(octet: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(octet >> 4)], DIGITS[usize::from(octet & 15)]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::{STRANGER, ip, prov, scopes};

    const NOW: UnixSecs = UnixSecs(1_000);

    fn row(address: Ipv4Addr, scope: ScopeIndex) -> LeaseView<'static> {
        let (starts, ends) = (UnixSecs(900), UnixSecs(1_100));
        let (client_id, hostname, relay_agent) = Default::default();
        let (mac, state, sequence) = (STRANGER, RowState::Bound, 7);
        LeaseView { address, scope, mac, state, starts, ends, sequence, client_id, hostname, relay_agent }
    }

    /// Plainly, as the CSV is documented.
    fn plain_csv(lease: &Lease, scope: ScopeIndex) -> String {
        let pairs: Vec<&str> =
            lease.client_id.iter().flat_map(|id| (0..id.len()).step_by(2).map(|at| &id[at..at + 2])).collect();
        let state = match lease.state {
            LeaseState::Bound => 0,
            LeaseState::Declined => 1,
            LeaseState::Expired => 2,
            LeaseState::Released => 3,
        };
        let hostname: String =
            lease.hostname.iter().flat_map(|name| name.chars()).filter(|c| !c.is_control()).collect();
        format!(
            "{},{},{},{},{},{},0,0,{},{state},,0\n",
            lease.address,
            lease.mac,
            pairs.join(":"),
            lease.ends_unix.saturating_sub(lease.starts_unix),
            lease.ends_unix,
            scope.0 + 1,
            hostname.replace(',', "&#x2c"),
        )
    }

    #[test]
    fn a_line_is_what_plain_serialisation_makes_of_the_same_lease() {
        let scopes = scopes(&[]);
        let scope = prov(&scopes).index;
        let lines = Lines::new(&scopes, NOW);
        let reserved = scopes.iter().flat_map(|scope| &scope.reservations).find(|own| own.hostname.is_some());
        let reserved = reserved.expect("the configuration of the tests has one");
        let changes: [fn(&mut LeaseView<'_>); 12] = [
            |_| {},
            |row| row.ends = NOW,
            |row| row.ends = UnixSecs::NEVER,
            |row| (row.starts, row.ends, row.sequence) = (UnixSecs(0), UnixSecs(0), u64::MAX),
            |row| row.state = RowState::Released,
            |row| row.state = RowState::Declined,
            |row| (row.state, row.ends) = (RowState::Declined, UnixSecs(1)),
            |row| row.client_id = &[1, 0xab, 0],
            |row| row.hostname = "plain",
            |row| row.hostname = "a,b\"c\\d\u{7}\n ü\u{2028}",
            |row| row.relay_agent = &[1, 2, 0xca, 0xfe, 2, 1, 9],
            |row| row.relay_agent = &[1, 200, 1],
        ];
        for (at, change) in changes.into_iter().enumerate() {
            for (address, reservation) in [(ip(2, 100), None), (ip(0, 0), None), (reserved.address, Some(&**reserved))]
            {
                let mut lease = row(address, scope);
                change(&mut lease);
                let shown = Shown { lease, reservation };
                let plain = shown.whole(&scopes, NOW);
                let (mut as_json, mut as_csv) = (Vec::new(), Vec::new());
                json(&mut as_json, &lines, shown);
                csv(&mut as_csv, &lines, shown);
                let expected = serde_json::to_string(&plain).unwrap() + "\n";
                assert_eq!(String::from_utf8(as_json).unwrap(), expected, "change {at}");
                assert_eq!(String::from_utf8(as_csv).unwrap(), plain_csv(&plain, scope), "change {at}");
            }
        }
    }
}
