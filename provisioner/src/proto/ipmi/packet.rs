//! RMCP header and session headers (13.1–13.6): from a datagram to a payload and back.
//!
//! It checks shape only: whose session it is and whether the authentication code matches is [`super::session`]'s.

use super::reason::DropReason;

/// RMCP version 1.0, reserved, sequence 255 (no acknowledgement wanted), class IPMI.
const RMCP: [u8; 4] = [0x06, 0x00, 0xff, 0x07];
/// Session header of IPMI 1.5: no authentication.
const AUTH_NONE: u8 = 0x00;
/// Session header of IPMI 2.0 (RMCP+).
const AUTH_RMCP_PLUS: u8 = 0x06;
/// Octets of the RMCP+ session header, from authentication type to payload length.
pub const PLUS_HEADER_BYTES: usize = 12;
/// Octets before the part that an authentication code covers.
pub const RMCP_BYTES: usize = RMCP.len();

const ENCRYPTED: u8 = 0x80;
const AUTHENTICATED: u8 = 0x40;

/// Payload types (table 13-16) that this client sends or awaits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PayloadType {
    /// An IPMI message.
    Ipmi = 0x00,
    /// Serial over LAN.
    Sol = 0x01,
    /// Open Session request.
    OpenSessionRequest = 0x10,
    /// Open Session response.
    OpenSessionResponse = 0x11,
    /// RAKP message 1.
    Rakp1 = 0x12,
    /// RAKP message 2.
    Rakp2 = 0x13,
    /// RAKP message 3.
    Rakp3 = 0x14,
    /// RAKP message 4.
    Rakp4 = 0x15,
}

/// A datagram, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// IPMI 1.5 format, outside any session.
    Sessionless {
        /// An IPMI message.
        payload: &'a [u8],
    },
    /// RMCP+ outside a session: Open Session and RAKP.
    Setup {
        /// Which message of the key exchange.
        payload_type: PayloadType,
        /// The message.
        payload: &'a [u8],
    },
    /// RMCP+ inside a session.
    Session(SessionPacket<'a>),
}

/// A packet inside a session, not yet authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPacket<'a> {
    /// An IPMI message, or serial over LAN.
    pub payload_type: PayloadType,
    /// The receiver's session id.
    pub session_id: u32,
    /// The sender's sequence number.
    pub sequence: u32,
    /// The payload is encrypted.
    pub encrypted: bool,
    /// An authentication code follows.
    pub authenticated: bool,
    /// The payload, ciphertext if `encrypted`.
    pub payload: &'a [u8],
    /// Everything from the authentication type to the datagram's end.
    pub covered: &'a [u8],
}

/// Takes a datagram apart; the reason to drop it if its shape is wrong.
pub fn decode(datagram: &[u8]) -> Result<Packet<'_>, DropReason> {
    let (rmcp, rest) = datagram.split_at_checked(RMCP_BYTES).ok_or(DropReason::Truncated)?;
    if rmcp[0] != RMCP[0] {
        return Err(DropReason::NotRmcp);
    }
    if rmcp[3] != RMCP[3] {
        return Err(DropReason::NotIpmiClass);
    }
    match *rest.first().ok_or(DropReason::Truncated)? {
        AUTH_NONE => decode_sessionless(rest),
        AUTH_RMCP_PLUS => decode_plus(rest),
        _ => Err(DropReason::AuthenticationType),
    }
}

fn decode_sessionless(rest: &[u8]) -> Result<Packet<'_>, DropReason> {
    let (header, payload) = rest.split_at_checked(10).ok_or(DropReason::Truncated)?;
    if header[5..9] != [0; 4] {
        return Err(DropReason::ForeignSession);
    }
    exact(payload, usize::from(header[9]))?;
    Ok(Packet::Sessionless { payload })
}

fn decode_plus(rest: &[u8]) -> Result<Packet<'_>, DropReason> {
    let (header, after) = rest.split_at_checked(PLUS_HEADER_BYTES).ok_or(DropReason::Truncated)?;
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (session_id, sequence) = (number(2), number(6));
    let len = usize::from(u16::from_le_bytes([header[10], header[11]]));
    let payload_type = match header[1] & 0x3f {
        0x00 => PayloadType::Ipmi,
        0x01 => PayloadType::Sol,
        0x11 => PayloadType::OpenSessionResponse,
        0x13 => PayloadType::Rakp2,
        0x15 => PayloadType::Rakp4,
        _ => return Err(DropReason::PayloadType),
    };
    if matches!(payload_type, PayloadType::Ipmi | PayloadType::Sol) {
        let payload = after.get(..len).ok_or(DropReason::Truncated)?;
        return Ok(Packet::Session(SessionPacket {
            payload_type,
            session_id,
            sequence,
            encrypted: header[1] & ENCRYPTED != 0,
            authenticated: header[1] & AUTHENTICATED != 0,
            payload,
            covered: rest,
        }));
    }
    if session_id != 0 || header[1] & (ENCRYPTED | AUTHENTICATED) != 0 {
        return Err(DropReason::ForeignSession);
    }
    exact(after, len)?;
    Ok(Packet::Setup { payload_type, payload: after })
}

fn exact(payload: &[u8], len: usize) -> Result<(), DropReason> {
    match payload.len().cmp(&len) {
        std::cmp::Ordering::Less => Err(DropReason::Truncated),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(DropReason::TrailingOctets),
    }
}

/// Writes a whole datagram in IPMI 1.5 format, outside any session; `payload` at most 255 octets.
pub fn encode_sessionless(out: &mut Vec<u8>, payload: &[u8]) {
    debug_assert!(payload.len() <= 255);
    out.extend_from_slice(&RMCP);
    out.extend_from_slice(&[AUTH_NONE, 0, 0, 0, 0, 0, 0, 0, 0, payload.len() as u8]);
    out.extend_from_slice(payload);
}

/// Writes a whole datagram of the key exchange.
pub fn encode_setup(out: &mut Vec<u8>, payload_type: PayloadType, payload: &[u8]) {
    encode_plus_header(out, payload_type as u8, 0, 0, payload.len());
    out.extend_from_slice(payload);
}

/// Writes the headers of a payload of `len` octets inside a session, encrypted and authenticated unless the suite is 0.
pub fn encode_session_header(
    out: &mut Vec<u8>,
    (payload_type, protected): (PayloadType, bool),
    session_id: u32,
    sequence: u32,
    len: usize,
) {
    let protection = if protected { ENCRYPTED | AUTHENTICATED } else { 0 };
    encode_plus_header(out, payload_type as u8 | protection, session_id, sequence, len);
}

fn encode_plus_header(out: &mut Vec<u8>, payload_type: u8, session_id: u32, sequence: u32, len: usize) {
    debug_assert!(len <= usize::from(u16::MAX));
    out.extend_from_slice(&RMCP);
    out.extend_from_slice(&[AUTH_RMCP_PLUS, payload_type]);
    out.extend_from_slice(&session_id.to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&(len as u16).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wrong_shape_has_its_reason() {
        let mut setup = Vec::new();
        encode_setup(&mut setup, PayloadType::Rakp2, &[1, 2, 3]);
        assert_eq!(decode(&setup), Ok(Packet::Setup { payload_type: PayloadType::Rakp2, payload: &[1, 2, 3] }));
        let mut sessionless = Vec::new();
        encode_sessionless(&mut sessionless, &[4, 5]);
        assert_eq!(decode(&sessionless), Ok(Packet::Sessionless { payload: &[4, 5] }));

        let with = |base: &[u8], at: usize, value: u8| {
            let mut bytes = base.to_vec();
            bytes[at] = value;
            bytes
        };
        let longer = |base: &[u8]| [base, &[0]].concat();
        let cases = [
            ("empty", vec![], DropReason::Truncated),
            ("RMCP header only", setup[..4].to_vec(), DropReason::Truncated),
            ("half a session header", setup[..10].to_vec(), DropReason::Truncated),
            ("payload cut", setup[..18].to_vec(), DropReason::Truncated),
            ("payload cut, 1.5", sessionless[..15].to_vec(), DropReason::Truncated),
            ("an octet more", longer(&setup), DropReason::TrailingOctets),
            ("an octet more, 1.5", longer(&sessionless), DropReason::TrailingOctets),
            ("RMCP 2", with(&setup, 0, 0x07), DropReason::NotRmcp),
            ("ASF", with(&setup, 3, 0x06), DropReason::NotIpmiClass),
            ("acknowledgement", with(&setup, 3, 0x87), DropReason::NotIpmiClass),
            ("MD5", with(&setup, 4, 0x02), DropReason::AuthenticationType),
            ("an OEM payload", with(&setup, 5, 0x02), DropReason::PayloadType),
            ("a request", with(&setup, 5, 0x12), DropReason::PayloadType),
            ("RAKP in a session", with(&setup, 6, 1), DropReason::ForeignSession),
            ("RAKP signed", with(&setup, 5, 0x53), DropReason::ForeignSession),
            ("1.5 session", with(&sessionless, 9, 1), DropReason::ForeignSession),
        ];
        for (name, bytes, reason) in cases {
            assert_eq!(decode(&bytes), Err(reason), "{name}");
        }
    }
}
