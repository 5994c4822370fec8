//! [`RelayAgent`]: the sub-options of relay agent information (option 82) where they lie (RFC 3046; RFC 3527; RFC 3993; RFC 5010; RFC 5107).
//!
//! Nothing is copied. What is malformed ends the walk: the sub-options before it count, and the option is echoed as it came whatever is in it.

use std::net::Ipv4Addr;

use super::circuit::Circuit;

/// Codes of the sub-options.
pub mod sub {
    /// Agent Circuit ID (RFC 3046 §3.1).
    pub const CIRCUIT_ID: u8 = 1;
    /// Agent Remote ID (RFC 3046 §3.2).
    pub const REMOTE_ID: u8 = 2;
    /// Link Selection (RFC 3527).
    pub const LINK_SELECTION: u8 = 5;
    /// Subscriber-ID (RFC 3993).
    pub const SUBSCRIBER_ID: u8 = 6;
    /// Relay Agent Flags (RFC 5010).
    pub const FLAGS: u8 = 10;
    /// Server Identifier Override (RFC 5107).
    pub const SERVER_ID_OVERRIDE: u8 = 11;
}

/// Option 82 of one packet; empty where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RelayAgent<'a>(&'a [u8]);

impl<'a> RelayAgent<'a> {
    /// Reads the value of option 82, its parts joined.
    pub const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// The octets as they came.
    pub const fn octets(self) -> &'a [u8] {
        self.0
    }

    /// Whether there is any information.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The value of a sub-option; the first where it comes twice.
    pub fn sub_option(self, code: u8) -> Option<&'a [u8]> {
        self.iter().find(|(found, _)| *found == code).map(|(_, value)| value)
    }

    /// The circuit: usually the relay's port.
    //= https://www.rfc-editor.org/rfc/rfc3046#section-3.1
    //# The Circuit ID SHOULD be considered an opaque value, with policies based on exact string match only; that is, the Circuit ID SHOULD NOT be internally parsed by the server.
    pub fn circuit_id(self) -> Option<&'a [u8]> {
        self.sub_option(sub::CIRCUIT_ID)
    }

    /// The far end of the circuit: usually the switch.
    //= https://www.rfc-editor.org/rfc/rfc3046#section-3.2
    //# The option SHOULD be considered an opaque value, with policies based on exact string match only; that is, the option SHOULD NOT be internally parsed by the server.
    pub fn remote_id(self) -> Option<&'a [u8]> {
        self.sub_option(sub::REMOTE_ID)
    }

    /// The port that the client is behind.
    pub fn circuit(self) -> Circuit<'a> {
        let (circuit_id, remote_id) = (self.circuit_id(), self.remote_id());
        Circuit { circuit_id: circuit_id.unwrap_or_default(), remote_id: remote_id.unwrap_or_default() }
    }

    /// The subscriber, as the operator of the relay calls it.
    pub fn subscriber_id(self) -> Option<&'a [u8]> {
        self.sub_option(sub::SUBSCRIBER_ID)
    }

    /// The subnet or link that the client is on, where that is not the one of `giaddr`.
    pub fn link_selection(self) -> Option<Ipv4Addr> {
        self.address(sub::LINK_SELECTION)
    }

    /// What the server shall call itself towards the client.
    pub fn server_id_override(self) -> Option<Ipv4Addr> {
        self.address(sub::SERVER_ID_OVERRIDE)
    }

    /// Whether the client sent its message by unicast, where the relay says so. The bits after the first mean nothing.
    pub fn received_by_unicast(self) -> Option<bool> {
        self.sub_option(sub::FLAGS)?.first().map(|flags| flags & 0x80 != 0)
    }

    /// Whether every octet belongs to a whole sub-option.
    pub fn is_whole(self) -> bool {
        let mut walk = self.walk();
        walk.by_ref().for_each(drop);
        walk.0.is_empty()
    }

    /// Code and value of each whole sub-option.
    pub fn iter(self) -> impl Iterator<Item = (u8, &'a [u8])> {
        self.walk()
    }

    fn walk(self) -> Walk<'a> {
        Walk(self.0)
    }

    fn address(self, code: u8) -> Option<Ipv4Addr> {
        let address = Ipv4Addr::from(<[u8; 4]>::try_from(self.sub_option(code)?).ok()?);
        (!address.is_unspecified()).then_some(address)
    }
}

struct Walk<'a>(&'a [u8]);

impl<'a> Iterator for Walk<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[code, len], rest) = self.0.split_first_chunk()?;
        let value = rest.get(..usize::from(len))?;
        self.0 = &rest[usize::from(len)..];
        Some((code, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_options_are_read_in_place() {
        let octets = b"\x01\x04eth7\x02\x03sw1\x05\x04\x0a\x4d\x02\x00\x06\x02s9\x0a\x01\x80\x0b\x04\x0a\x4d\x02\xfe";
        let agent = RelayAgent::new(octets);
        assert_eq!((agent.circuit_id(), agent.remote_id()), (Some(&b"eth7"[..]), Some(&b"sw1"[..])));
        assert_eq!(agent.subscriber_id(), Some(&b"s9"[..]));
        assert_eq!(agent.link_selection(), Some(Ipv4Addr::new(10, 77, 2, 0)));
        assert_eq!(agent.server_id_override(), Some(Ipv4Addr::new(10, 77, 2, 254)));
        assert_eq!(agent.received_by_unicast(), Some(true));
        assert!(agent.is_whole());
        assert_eq!(RelayAgent::default().circuit_id(), None);
        assert!(RelayAgent::default().is_whole());
    }

    #[test]
    fn what_is_before_a_malformed_sub_option_counts() {
        for (octets, whole) in
            [(&b"\x01\x01a\x02"[..], false), (b"\x01\x01a\x02\x09b", false), (b"\x01\x01a\x02\x00", true)]
        {
            let agent = RelayAgent::new(octets);
            assert_eq!((agent.circuit_id(), agent.is_whole()), (Some(&b"a"[..]), whole), "{octets:?}");
        }
        let odd = RelayAgent::new(b"\x05\x03abc\x0b\x04\x00\x00\x00\x00\x0a\x00");
        assert_eq!((odd.link_selection(), odd.server_id_override(), odd.received_by_unicast()), (None, None, None));
    }

    #[test]
    fn only_the_unicast_flag_means_something() {
        for (flags, unicast) in [(0x80, true), (0xff, true), (0x7f, false), (0, false)] {
            assert_eq!(RelayAgent::new(&[10, 1, flags]).received_by_unicast(), Some(unicast), "{flags:#x}");
        }
    }
}
