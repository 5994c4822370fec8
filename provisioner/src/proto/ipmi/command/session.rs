//! Commands about the session itself: Get Channel Authentication Capabilities (22.13), Get Channel Cipher Suites (22.15),
//! Set Session Privilege Level (22.18), Close Session (22.19). The machine sends them; nobody asks for them by hand.

use super::{Command, Nonsense, netfn};
use crate::proto::ipmi::Privilege;

/// Asks, outside any session, what this channel speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetChannelAuthenticationCapabilities(pub Privilege);

/// What the channel speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelAuthenticationCapabilities {
    /// IPMI 2.0 (RMCP+) sessions are possible.
    pub ipmi_2_0: bool,
    /// The BMC wants a K_g that is not zero.
    pub kg_required: bool,
}

impl Command for GetChannelAuthenticationCapabilities {
    const NAME: &'static str = "Get Channel Authentication Capabilities";
    const NETFN: u8 = netfn::APP;
    const COMMAND: u8 = 0x38;
    type Answer = ChannelAuthenticationCapabilities;

    fn encode(&self) -> Vec<u8> {
        // This channel (0Eh), with IPMI 2.0's extended data (bit 7).
        vec![0x8e, self.0 as u8]
    }

    fn decode(data: &[u8]) -> Result<ChannelAuthenticationCapabilities, Nonsense> {
        let &[_channel, types, status, extended, ..] = data else { return Err(Nonsense) };
        Ok(ChannelAuthenticationCapabilities {
            ipmi_2_0: types & 0x80 != 0 && extended & 0x02 != 0,
            kg_required: status & 0x20 != 0,
        })
    }
}

/// Asks, outside any session, which cipher suites this channel offers: the part of the list with this index, 16 octets each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetChannelCipherSuites(pub u8);

impl GetChannelCipherSuites {
    /// Octets of a part; the last one is shorter.
    pub const PART_BYTES: usize = 16;
    /// The last part there can be.
    pub const INDEX_MAX: u8 = 0x3f;

    /// The numbers of the suites in a whole list of records (table 22-18); OEM suites have none here.
    pub fn offered(records: &[u8]) -> Vec<u8> {
        let mut suites = Vec::new();
        let mut rest = records;
        while let [tag, after @ ..] = rest {
            rest = after;
            match (*tag, after) {
                (0xc0, [id, after @ ..]) => {
                    suites.push(*id);
                    rest = after;
                }
                (0xc1, [_id, _, _, _, after @ ..]) => rest = after,
                // An algorithm of the record before.
                _ => {}
            }
        }
        suites
    }
}

impl Command for GetChannelCipherSuites {
    const NAME: &'static str = "Get Channel Cipher Suites";
    const NETFN: u8 = netfn::APP;
    const COMMAND: u8 = 0x54;
    /// A part of the list.
    type Answer = Vec<u8>;

    fn encode(&self) -> Vec<u8> {
        // This channel, payload type IPMI, listed by cipher suite (bit 7).
        vec![0x0e, 0x00, 0x80 | self.0 & Self::INDEX_MAX]
    }

    fn decode(data: &[u8]) -> Result<Vec<u8>, Nonsense> {
        let (_channel, records) = data.split_first().ok_or(Nonsense)?;
        if records.len() > Self::PART_BYTES { Err(Nonsense) } else { Ok(records.to_vec()) }
    }
}

/// Raises the session from User to what the user was configured with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetSessionPrivilegeLevel(pub Privilege);

impl Command for SetSessionPrivilegeLevel {
    const NAME: &'static str = "Set Session Privilege Level";
    const NETFN: u8 = netfn::APP;
    const COMMAND: u8 = 0x3b;
    type Answer = ();

    fn encode(&self) -> Vec<u8> {
        vec![self.0 as u8]
    }

    fn decode(data: &[u8]) -> Result<(), Nonsense> {
        if data.is_empty() { Err(Nonsense) } else { Ok(()) }
    }
}

/// Gives the session slot back, by the BMC's session id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseSession(pub u32);

impl Command for CloseSession {
    const NAME: &'static str = "Close Session";
    const NETFN: u8 = netfn::APP;
    const COMMAND: u8 = 0x3c;
    type Answer = ();

    fn encode(&self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }

    fn decode(_data: &[u8]) -> Result<(), Nonsense> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipmi_2_0_needs_both_bits() {
        let ipmi_2_0 = |types, extended| {
            GetChannelAuthenticationCapabilities::decode(&[1, types, 0x00, extended, 0, 0, 0, 0]).unwrap().ipmi_2_0
        };
        assert!(ipmi_2_0(0x80, 0x02) && ipmi_2_0(0x97, 0x03));
        assert!(!ipmi_2_0(0x17, 0x02), "extended data not announced");
        assert!(!ipmi_2_0(0x97, 0x01), "IPMI 1.5 only");
        assert_eq!(GetChannelAuthenticationCapabilities::decode(&[1, 0x80, 0]), Err(Nonsense));
        assert!(GetChannelAuthenticationCapabilities::decode(&[1, 0x80, 0x20, 2]).unwrap().kg_required);
    }

    #[test]
    fn a_list_of_cipher_suites_is_read_record_by_record() {
        // As ipmi_sim says, with an OEM record among them, and cut in the middle.
        let list =
            [0xc0, 0, 0, 0x40, 0x80, 0xc0, 3, 1, 0x41, 0x81, 0xc1, 0x80, 0x57, 1, 0, 2, 0xc0, 17, 3, 0x44, 0x81, 0xc0];
        assert_eq!(GetChannelCipherSuites::offered(&list), [0, 3, 17]);
        assert_eq!(GetChannelCipherSuites::offered(&[]), [0; 0]);
        assert_eq!(GetChannelCipherSuites::decode(&[]), Err(Nonsense));
        assert_eq!(GetChannelCipherSuites::decode(&[1; 18]), Err(Nonsense));
        assert_eq!(GetChannelCipherSuites(1).encode(), [0x0e, 0, 0x81]);
    }

    #[test]
    fn requests_are_the_octets_of_chapter_22() {
        assert_eq!(GetChannelAuthenticationCapabilities(Privilege::Administrator).encode(), [0x8e, 4]);
        assert_eq!(SetSessionPrivilegeLevel(Privilege::Operator).encode(), [3]);
        assert_eq!(CloseSession(0x0403_0201).encode(), [1, 2, 3, 4]);
    }
}
