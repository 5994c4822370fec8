//! DHCPLEASEQUERY (RFC 4388): what it asks, and the answer. Who may ask is the configuration's; what is known is the store's.
//!
//! It is asked by relays and concentrators, never by clients, and changes nothing.

use std::net::Ipv4Addr;

use reveille_config::MacAddr;

use super::option::CodeSet;
use super::reason::DropReason;
use super::renewal::t1_and_t2;
use super::reply::stamp::append;
use super::reply::{Destination, REPLY_BYTES_MAX, REPLY_BYTES_MIN, Reply, relay_port};
use super::view::{FIXED_BYTES, MAGIC_COOKIE, PacketView, code};

const LEASE_UNASSIGNED: u8 = 11;
const LEASE_UNKNOWN: u8 = 12;
const LEASE_ACTIVE: u8 = 13;

/// By what a lease is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By<'a> {
    /// By its address.
    Address(Ipv4Addr),
    /// By the client's hardware address.
    Mac(MacAddr),
    /// By the client's identifier.
    ClientId(&'a [u8]),
}

/// What is known of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its address.
    pub address: Ipv4Addr,
    /// The client's hardware address.
    pub mac: MacAddr,
    /// The client's identifier; empty where it sent none.
    pub client_id: Box<[u8]>,
    /// The relay agent information last received with the client's messages; empty where there was none.
    pub relay_agent: Box<[u8]>,
    /// The whole lease, seconds.
    pub total_secs: u32,
    /// Since it was made or renewed, seconds.
    pub since_secs: u32,
    /// All addresses of the client, this one included.
    pub associated: Vec<Ipv4Addr>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// There is a lease.
    Active(Found),
    /// The address is one that this server hands out, and nobody has it.
    Unassigned(Ipv4Addr),
    /// The server knows nothing of it.
    Unknown,
}

/// What a query asks.
///
/// # Errors
/// It comes from nobody who can be answered, or names nothing, or more than one thing.
pub fn question<'a>(packet: &PacketView<'a>) -> Result<By<'a>, DropReason> {
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.3
    //# If the "giaddr" field is zero, then the DHCP server MUST NOT reply to the DHCPLEASEQUERY message.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.3
    //# A DHCPLEASEQUERY message MUST have a non-zero giaddr.
    if packet.giaddr().is_unspecified() {
        return Err(DropReason::NotARequestor);
    }
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.3
    //# A server that implements the DHCPLEASEQUERY message MUST implement all three query regimes: query by IP address, query by MAC address, and query by Client-identifier.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.3
    //# The DHCPLEASEQUERY message MUST have exactly one of the following: a non-zero ciaddr, a non-zero htype/hlen/chaddr, or a Client-identifier option.
    let (_, hlen, chaddr) = packet.hardware();
    let mac = (hlen == 6 && chaddr[..6] != [0; 6]).then(|| packet.chaddr());
    match (packet.ciaddr(), packet.option(code::CLIENT_ID).filter(|id| !id.is_empty()), mac) {
        (address, None, None) if !address.is_unspecified() => Ok(By::Address(address)),
        (Ipv4Addr::UNSPECIFIED, Some(id), None) => Ok(By::ClientId(id)),
        (Ipv4Addr::UNSPECIFIED, None, Some(mac)) => Ok(By::Mac(mac)),
        _ => Err(DropReason::MalformedQuery),
    }
}

/// The reply, to the requestor at `giaddr`.
pub fn reply(
    mut out: Vec<u8>,
    packet: &PacketView<'_>,
    from_port: u16,
    server_address: Ipv4Addr,
    answer: &Answer,
) -> Reply {
    out.clear();
    out.resize(FIXED_BYTES, 0);
    out[0] = 2;
    out[4..8].copy_from_slice(&packet.xid());
    out[24..28].copy_from_slice(&packet.giaddr().octets());
    out[236..240].copy_from_slice(&MAGIC_COOKIE);
    let kind = match answer {
        Answer::Active(found) => {
            out[1..3].copy_from_slice(&[1, 6]);
            out[12..16].copy_from_slice(&found.address.octets());
            //= https://www.rfc-editor.org/rfc/rfc4388#section-5
            //# The DHCPLEASEACTIVE message SHOULD contain the physical address of the IP address lease owner in the "htype", "hlen", and "chaddr" fields.
            //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
            //# The MAC address of the DHCPLEASEACTIVE message MUST be set to the values that identify the client associated with the IP address in the "ciaddr" field of the DHCPLEASEUNASSIGNED message.
            out[28..34].copy_from_slice(&found.mac.octets());
            LEASE_ACTIVE
        }
        Answer::Unassigned(address) => {
            out[12..16].copy_from_slice(&address.octets());
            LEASE_UNASSIGNED
        }
        Answer::Unknown => {
            // What was asked comes back where it has a field.
            let (htype, hlen, chaddr) = packet.hardware();
            out[1..3].copy_from_slice(&[htype, hlen]);
            out[12..16].copy_from_slice(&packet.ciaddr().octets());
            out[28..44].copy_from_slice(&chaddr);
            LEASE_UNKNOWN
        }
    };
    append(&mut out, code::MESSAGE_TYPE, &[kind]);
    append(&mut out, code::SERVER_ID, &server_address.octets());
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4
    //# When responding with a DHCPLEASEUNKNOWN, the DHCP server MUST NOT include other DHCP options in the response.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
    //# If there is no valid lease for the IP address, then the server MUST NOT return the IP Address Lease Time option (option 51).
    if let Answer::Active(found) = answer {
        put_found(&mut out, packet, found);
    }
    out.push(code::END);
    if out.len() < REPLY_BYTES_MIN {
        out.resize(REPLY_BYTES_MIN, code::PAD);
    }
    Reply { octets: out, destination: Destination::Relay(packet.giaddr(), relay_port(from_port)) }
}

fn put_found(out: &mut Vec<u8>, packet: &PacketView<'_>, found: &Found) {
    // Who does not list what it wants to know is told everything.
    let wanted = packet.option(code::PARAMETER_LIST).map(CodeSet::of);
    let mut put = |code, value: &[u8]| {
        let fits = out.len() + value.len() + 2 * value.len().div_ceil(255) < REPLY_BYTES_MAX;
        if fits && wanted.is_none_or(|wanted| wanted.contains(code)) {
            append(out, code, value);
        }
    };
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
        let left = if total == u32::MAX { u32::MAX } else { end.saturating_sub(found.since_secs) };
        if left > 0 {
            put(code, &left.to_be_bytes());
        }
    }
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
    //# If the Client-identifier option (option 61) is specified in the Parameter Request List option (option 55), then the Client-identifier (if any) of the client associated with the IP address in the "ciaddr" field SHOULD be returned in the DHCPLEASEACTIVE message.
    put(code::CLIENT_ID, &found.client_id);
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.1
    //# This MUST NOT be an absolute time.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.1
    //# This MUST NOT be an absolute number of seconds since Jan. 1, 1970.
    put(code::LAST_TRANSACTION_TIME, &found.since_secs.to_be_bytes());
    if found.associated.len() > 1 {
        let octets: Vec<u8> = found.associated.iter().take(63).flat_map(|address| address.octets()).collect();
        //= https://www.rfc-editor.org/rfc/rfc4388#section-6.1
        //# The minimum length for this option is 4 octets, and the length MUST always be a multiple of 4.
        put(code::ASSOCIATED_ADDRESS, &octets);
    }
    //= https://www.rfc-editor.org/rfc/rfc3046#section-3.2
    //# DHCP servers SHOULD report this value in any reports or MIBs associated with a particular client.
    put(code::RELAY_AGENT, &found.relay_agent);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::{Packet, STRANGER, ip};

    const NOBODY: MacAddr = MacAddr([0; 6]);

    fn query(mac: MacAddr) -> Packet {
        let packet = Packet::new(10, mac).relayed_by(ip(2, 254));
        if mac == NOBODY { packet.at(1, &[0, 0]) } else { packet }
    }

    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.3
    //= type=test
    //# If the "giaddr" field is zero, then the DHCP server MUST NOT reply to the DHCPLEASEQUERY message.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.3
    //= type=test
    //# A DHCPLEASEQUERY message MUST have a non-zero giaddr.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.3
    //= type=test
    //# A server that implements the DHCPLEASEQUERY message MUST implement all three query regimes: query by IP address, query by MAC address, and query by Client-identifier.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.3
    //= type=test
    //# The DHCPLEASEQUERY message MUST have exactly one of the following: a non-zero ciaddr, a non-zero htype/hlen/chaddr, or a Client-identifier option.
    #[test]
    fn a_query_names_one_thing() {
        let id = [255, 1, 2, 3];
        let address = [10, 77, 2, 100];
        for (why, packet, expected) in [
            ("by address", query(NOBODY).at(12, &address), Ok(By::Address(ip(2, 100)))),
            ("by hardware address", query(STRANGER), Ok(By::Mac(STRANGER))),
            ("by client identifier", query(NOBODY).option(61, &id), Ok(By::ClientId(&id))),
            ("by nothing", query(NOBODY), Err(DropReason::MalformedQuery)),
            ("by two things", query(STRANGER).at(12, &address), Err(DropReason::MalformedQuery)),
            ("by two others", query(STRANGER).option(61, &id), Err(DropReason::MalformedQuery)),
            ("by nobody", Packet::new(10, STRANGER), Err(DropReason::NotARequestor)),
        ] {
            packet.view(|view| assert_eq!(question(view), expected, "{why}"));
        }
    }

    fn found() -> Found {
        Found {
            address: ip(2, 100),
            mac: STRANGER,
            client_id: [1, 2, 3].into(),
            relay_agent: [1, 1, b'p'].into(),
            total_secs: 3_600,
            since_secs: 2_000,
            associated: vec![ip(2, 100), ip(1, 9)],
        }
    }

    fn options(packet: &Packet, answer: &Answer) -> (Vec<u8>, Vec<(u8, Vec<u8>)>) {
        let octets = packet.view(|view| reply(Vec::new(), view, 67, ip(2, 1), answer)).octets;
        let (mut at, mut options) = (240, Vec::new());
        while octets[at] != 255 {
            let end = at + 2 + usize::from(octets[at + 1]);
            options.push((octets[at], octets[at + 2..end].to_vec()));
            at = end;
        }
        assert!(octets.len() >= REPLY_BYTES_MIN);
        (octets, options)
    }

    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.1
    //= type=test
    //# This MUST NOT be an absolute time.
    //= https://www.rfc-editor.org/rfc/rfc3046#section-3.2
    //= type=test
    //# DHCP servers SHOULD report this value in any reports or MIBs associated with a particular client.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.1
    //= type=test
    //# This MUST NOT be an absolute number of seconds since Jan. 1, 1970.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-5
    //= type=test
    //# The DHCPLEASEACTIVE message SHOULD contain the physical address of the IP address lease owner in the "htype", "hlen", and "chaddr" fields.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
    //= type=test
    //# The MAC address of the DHCPLEASEACTIVE message MUST be set to the values that identify the client associated with the IP address in the "ciaddr" field of the DHCPLEASEUNASSIGNED message.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
    //= type=test
    //# A request for the Renewal (T1) Time Value option or the Rebinding (T2) Time Value option in the Parameter Request List of the DHCPLEASEQUERY message MUST be handled like the IP Address Lease Time option is handled.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
    //= type=test
    //# If there is a valid lease and these times are not yet in the past, then the DHCP server SHOULD return these options (when requested) with the remaining time until renewal or rebinding, respectively.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
    //= type=test
    //# If these times are already in the past, or if there is not currently a valid lease for this IP address, the DHCP server MUST NOT return these options.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
    //= type=test
    //# If the Client-identifier option (option 61) is specified in the Parameter Request List option (option 55), then the Client-identifier (if any) of the client associated with the IP address in the "ciaddr" field SHOULD be returned in the DHCPLEASEACTIVE message.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.1
    //= type=test
    //# The minimum length for this option is 4 octets, and the length MUST always be a multiple of 4.
    #[test]
    fn an_active_lease_is_told_with_what_is_left_of_it() {
        let (octets, options) = options(&query(NOBODY).at(12, &[10, 77, 2, 100]), &Answer::Active(found()));
        assert_eq!(
            (octets[1], octets[2], &octets[12..16], &octets[28..34]),
            (1, 6, &[10, 77, 2, 100][..], &STRANGER.octets()[..])
        );
        let expected: [(u8, Vec<u8>); 8] = [
            (53, vec![13]),
            (54, vec![10, 77, 2, 1]),
            (51, 1_600u32.to_be_bytes().to_vec()),
            // T1 is past.
            (59, (t1_and_t2(STRANGER, 3_600)[1] - 2_000).to_be_bytes().to_vec()),
            (61, vec![1, 2, 3]),
            (91, 2_000u32.to_be_bytes().to_vec()),
            (92, vec![10, 77, 2, 100, 10, 77, 1, 9]),
            (82, vec![1, 1, b'p']),
        ];
        assert_eq!(options, expected);
    }

    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
    //= type=test
    //# If the IP Address Lease Time option (option 51) is specified in the Parameter Request List and if there is a currently valid lease for the IP address specified in the ciaddr, then the DHCP server MUST return this option in the DHCPLEASEACTIVE message with its value equal to the time remaining until lease expiration.
    #[test]
    fn only_what_is_listed_is_told() {
        let (_, options) = options(&query(STRANGER).option(55, &[51, 82]), &Answer::Active(found()));
        let codes: Vec<u8> = options.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, [53, 54, 51, 82]);
        let forever = Found { total_secs: u32::MAX, ..found() };
        let (_, options) = self::options(&query(STRANGER).option(55, &[51]), &Answer::Active(forever));
        assert_eq!(options[2], (51, vec![255; 4]));
    }

    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4
    //= type=test
    //# When responding with a DHCPLEASEUNKNOWN, the DHCP server MUST NOT include other DHCP options in the response.
    //= https://www.rfc-editor.org/rfc/rfc4388#section-6.4.2
    //= type=test
    //# If there is no valid lease for the IP address, then the server MUST NOT return the IP Address Lease Time option (option 51).
    #[test]
    fn what_is_not_leased_and_what_is_not_known_are_told_apart() {
        let (octets, options) = options(&query(NOBODY).at(12, &[10, 77, 2, 9]), &Answer::Unassigned(ip(2, 9)));
        assert_eq!(
            (options[0].clone(), &octets[12..16], &octets[28..34]),
            ((53, vec![11]), &[10, 77, 2, 9][..], &[0; 6][..])
        );
        let (octets, options) = self::options(&query(NOBODY).option(61, b"id"), &Answer::Unknown);
        assert_eq!((options, octets[2]), (vec![(53, vec![12]), (54, vec![10, 77, 2, 1])], 0));
        let packet = query(STRANGER);
        let reply = packet.view(|view| reply(Vec::new(), view, 67, ip(2, 1), &Answer::Unknown));
        assert_eq!(reply.destination, Destination::Relay(ip(2, 254), 67));
        assert_eq!(reply.octets[28..34], STRANGER.octets());
    }
}
