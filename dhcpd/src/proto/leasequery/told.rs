//! What a DHCPLEASEACTIVE tells of a lease (RFC 4388 §6.4.2): what is known of the lease, then what is configured for its client.
//!
//! Who lists what it wants to know is told that, and its other addresses; who lists nothing is told everything. Of options that are not of the lease itself only those
//! that the operator calls harmless (`leasequery_tell`) are told, to anybody.

use super::super::class::{Facts, Membership};
use super::super::option::CodeSet;
use super::super::renewal::t1_and_t2;
use super::super::reply::REPLY_BYTES_MAX;
use super::super::reply::stamp::{IP_UDP_BYTES, append, split_bytes};
use super::super::rules::Rules;
use super::super::scope::Scopes;
use super::super::view::{FIXED_BYTES, MAGIC_COOKIE, PacketView, Parser, code};
use super::Found;

/// The message as far as it is written.
struct Told<'a> {
    out: &'a mut Vec<u8>,
    /// Octets that it may have, END included.
    limit: usize,
    wanted: Option<CodeSet>,
    written: CodeSet,
}

impl Told<'_> {
    /// Tells an option of the lease, if it is wanted, has a value and fits.
    fn put(&mut self, code: u8, value: &[u8]) {
        if self.wanted.is_none_or(|wanted| wanted.contains(code)) && self.out.len() + split_bytes(value) < self.limit {
            append(self.out, code, value);
            self.written.insert(code);
        }
    }
}

/// Tells of a lease. `rules` are those of its client.
pub(super) fn put(out: &mut Vec<u8>, packet: &PacketView<'_>, found: &Found, rules: Option<&Rules<'_>>) {
    let list = packet.option(code::PARAMETER_LIST);
    let takes = packet.max_message_size().map_or(REPLY_BYTES_MAX, |octets| usize::from(octets) - IP_UDP_BYTES);
    let mut told = Told {
        out,
        limit: takes.min(REPLY_BYTES_MAX),
        wanted: list.map(CodeSet::of),
        written: CodeSet::of(&OF_THE_LEASE),
    };
    put_lease(&mut told, found);
    put_associated(&mut told, found);
    if let Some(rules) = rules {
        put_configured(&mut told, list, found, rules);
    }
}

/// What is told as the lease has it, and never as it is configured.
const OF_THE_LEASE: [u8; 9] = [
    code::MESSAGE_TYPE,
    code::SERVER_ID,
    code::LEASE_TIME,
    code::RENEWAL_TIME,
    code::REBINDING_TIME,
    code::CLIENT_ID,
    code::LAST_TRANSACTION_TIME,
    code::RELAY_AGENT,
    code::ASSOCIATED_ADDRESS,
];

fn put_lease(told: &mut Told<'_>, found: &Found) {
    let total = found.total_secs;
    // What the client was told.
    let [t1, t2] = t1_and_t2(found.mac, total);
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
    //# If the IP Address Lease Time option (option 51) is specified in the Parameter Request List and if there is a currently valid lease for the IP address specified in the ciaddr, then the DHCP server MUST return this option in the DHCPLEASEACTIVE message with its value equal to the time remaining until lease expiration.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
    //# A request for the Renewal (T1) Time Value option or the Rebinding (T2) Time Value option in the Parameter Request List of the DHCPLEASEQUERY message MUST be handled like the IP Address Lease Time option is handled.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
    //# If there is a valid lease and these times are not yet in the past, then the DHCP server SHOULD return these options (when requested) with the remaining time until renewal or rebinding, respectively.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
    //# If these times are already in the past, or if there is not currently a valid lease for this IP address, the DHCP server MUST NOT return these options.
    for (code, end) in [(code::LEASE_TIME, total), (code::RENEWAL_TIME, t1), (code::REBINDING_TIME, t2)] {
        let left = if total == u32::MAX { u32::MAX } else { end.saturating_sub(found.told_secs) };
        if left > 0 {
            told.put(code, &left.to_be_bytes());
        }
    }
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
    //# If the Client-identifier option (option 61) is specified in the Parameter Request List option (option 55), then the Client-identifier (if any) of the client associated with the IP address in the "ciaddr" field SHOULD be returned in the DHCPLEASEACTIVE message.
    told.put(code::CLIENT_ID, &found.client_id);
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.1
    //# This MUST NOT be an absolute time.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.1
    //# This MUST NOT be an absolute number of seconds since Jan. 1, 1970.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.1
    //# Instead, this MUST be an integer number of seconds in the past from the time the DHCPLEASEACTIVE message is sent that the client last dealt with this server about this IP address.
    told.put(code::LAST_TRANSACTION_TIME, &found.since_secs.to_be_bytes());
    //= https://www.rfc-editor.org/rfc/rfc3046#section-3.2
    //# DHCP servers SHOULD report this value in any reports or MIBs associated with a particular client.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
    //# If the Relay Agent Information (option 82) is specified in the Parameter Request List, then the information contained in the most recent Relay Agent Information option received from the relay agent associated with this IP address MUST be included in the DHCPLEASEACTIVE message.
    told.put(code::RELAY_AGENT, &found.relay_agent);
}

/// The client's addresses where it has several, as many as fit, whether they are asked for or not.
fn put_associated(told: &mut Told<'_>, found: &Found) {
    if found.associated.len() < 2 {
        return;
    }
    let room = told.limit.saturating_sub(told.out.len() + 1);
    let mut octets: Vec<u8> = found.associated.iter().flat_map(|address| address.octets()).collect();
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.1
    //# The minimum length for this option is 4 octets, and the length MUST always be a multiple of 4.
    while split_bytes(&octets) > room {
        octets.truncate(octets.len() - 4);
    }
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
    //# In the case where more than one IP address has been involved in a DHCP message exchange with the client specified by the MAC address and/or Client-identifier option, then the list of all of the IP addresses MUST be returned in the associated-ip option, whether or not that option was requested as part of the Parameter Request List option.
    append(told.out, code::ASSOCIATED_ADDRESS, &octets);
}

/// What the client would be told beside its lease, if it asked for what the requestor asks for.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.2
//# In the absence of a Parameter Request List option, the server SHOULD return the same options it would return for a DHCPREQUEST message that didn't contain a DHCPLEASEQUERY message, which includes those mandated by Section 4.3.1 of [RFC2131] as well as any options that the server was configured to always return to a client.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
//# The DHCPLEASEACTIVE message SHOULD include the values of all other options not specifically discussed above that were requested in the Parameter Request List of the DHCPLEASEQUERY message and that are acceptable to return based on the list of "non-sensitive options", discussed below.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
//# DHCP servers SHOULD be configurable with a list of "non-sensitive options" that can be returned to the client when specified in the Parameter Request List of the DHCPLEASEQUERY message.
//= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
//# Any option not on this list SHOULD NOT be returned to a client, even if requested by that client.
fn put_configured(told: &mut Told<'_>, list: Option<&[u8]>, found: &Found, rules: &Rules<'_>) {
    let may_tell = rules.scopes.told_to_requestors();
    let configured = |code| rules.options().find_map(|block| block.encoded(code));
    let classless = told.wanted.is_some_and(|wanted| wanted.contains(code::CLASSLESS_ROUTES))
        && may_tell.contains(code::CLASSLESS_ROUTES)
        && configured(code::CLASSLESS_ROUTES).is_some();
    let all: Vec<u8> = (1..=254).filter(|&code| code != code::V6_ONLY_PREFERRED).collect();
    for &code in list.unwrap_or(&all) {
        // As the client itself would be told (RFC 3442).
        let replaced = classless && matches!(code, code::ROUTERS | code::STATIC_ROUTES);
        if replaced || !may_tell.contains(code) || told.written.contains(code) {
            continue;
        }
        match (configured(code), code) {
            (Some(encoded), _) if told.out.len() + encoded.len() < told.limit => {
                told.out.extend_from_slice(encoded);
                told.written.insert(code);
            }
            (Some(_), _) => {}
            // What the client was not told, it may have said.
            (None, code::VENDOR_CLASS) => told.put(code, &found.vendor_class),
            (None, code::HOST_NAME) => told.put(code, found.hostname.as_bytes()),
            (None, _) => {}
        }
    }
}

/// The classes that the lease's client would be in if it renewed with what is known of it: its hardware address, client identifier, host name, vendor class, and
/// what its relay agent said.
pub fn classes_of(scopes: &Scopes, found: &Found, into: &mut Membership) {
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
    //# When responding to a DHCPLEASEQUERY message, the DHCP server MUST use the saved Relay Agent Information option just like it did when responding to the DHCP client in order to determine the values of any options requested by the DHCPLEASEQUERY message.
    let mut octets = vec![0; FIXED_BYTES];
    octets[..3].copy_from_slice(&[1, 1, 6]);
    octets[12..16].copy_from_slice(&found.address.octets());
    octets[28..34].copy_from_slice(&found.mac.octets());
    octets[FIXED_BYTES - 4..].copy_from_slice(&MAGIC_COOKIE);
    append(&mut octets, code::MESSAGE_TYPE, &[3]);
    append(&mut octets, code::CLIENT_ID, &found.client_id);
    append(&mut octets, code::HOST_NAME, found.hostname.as_bytes());
    append(&mut octets, code::VENDOR_CLASS, &found.vendor_class);
    append(&mut octets, code::RELAY_AGENT, &found.relay_agent);
    if let Ok(packet) = Parser::default().parse(&octets) {
        scopes.classes().evaluate(Facts::of(&packet), into);
    }
}
