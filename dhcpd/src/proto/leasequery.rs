//! DHCPLEASEQUERY (RFC 4388): what it asks, and the answer. Who may ask is the configuration's; what is known is the store's.
//!
//! It is asked by relays and concentrators, never by clients, and changes nothing.

use std::net::Ipv4Addr;

use reveille_config::MacAddr;

use super::reason::DropReason;
use super::reply::stamp::append;
use super::reply::{Destination, REPLY_BYTES_MIN, Reply, relay_port};
use super::rules::Rules;
use super::view::{FIXED_BYTES, MAGIC_COOKIE, PacketView, code};

mod told;

pub use told::classes_of;

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
    /// The name that the client gave itself; empty where it gave none.
    pub hostname: Box<str>,
    /// The client's vendor class, as it said it last; empty where it said none.
    pub vendor_class: Box<[u8]>,
    /// The relay agent information last received with the client's messages; empty where there was none.
    pub relay_agent: Box<[u8]>,
    /// The lease time that the client was told last, seconds.
    pub total_secs: u32,
    /// Since it was told, seconds.
    pub told_secs: u32,
    /// Since the client dealt with the server about this address, seconds; no more than `told_secs`.
    pub since_secs: u32,
    /// All addresses of the client, this one included; none where it was asked for by address.
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

/// The reply, to the requestor at `giaddr`. `rules` are those of a lease's client, for the options that are configured for it.
pub fn reply(
    mut out: Vec<u8>,
    packet: &PacketView<'_>,
    from_port: u16,
    server_address: Ipv4Addr,
    answer: &Answer,
    rules: Option<&Rules<'_>>,
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
        told::put(&mut out, packet, found, rules);
    }
    out.push(code::END);
    if out.len() < REPLY_BYTES_MIN {
        out.resize(REPLY_BYTES_MIN, code::PAD);
    }
    Reply { octets: out, destination: Destination::Relay(packet.giaddr(), relay_port(from_port)) }
}

#[cfg(test)]
mod tests;
