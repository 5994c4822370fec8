//! [`BindRecord`]: the record of a promise, as it lies in a payload.

use std::net::Ipv4Addr;

use reveille_config::MacAddr;

use super::{Reader, put_short};
use crate::proto::time::UnixSecs;

/// [`Record::Bind`] without owning its parts: how the packet path writes it and the read model reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindRecord<'a> {
    /// The address.
    pub address: Ipv4Addr,
    /// The machine.
    pub mac: MacAddr,
    /// When bound or renewed.
    pub starts: UnixSecs,
    /// When the promise ends.
    pub ends: UnixSecs,
    /// Option 61; only the first 255 octets are written.
    pub client_id: &'a [u8],
    /// Option 12 as text; only the first 255 octets are written.
    pub hostname: &'a str,
    /// Option 82; only the first 255 octets are written.
    pub relay_agent: &'a [u8],
    /// Option 60, where somebody may ask for it; only the first 255 octets are written.
    pub vendor_class: &'a [u8],
}

impl<'a> BindRecord<'a> {
    /// Writes the payload into `to`, which is emptied first; says the kind.
    pub fn encode(&self, to: &mut Vec<u8>) -> u8 {
        to.clear();
        to.extend_from_slice(&self.address.octets());
        to.extend_from_slice(&self.mac.octets());
        to.extend_from_slice(&self.starts.0.to_le_bytes());
        to.extend_from_slice(&self.ends.0.to_le_bytes());
        let mut name_bytes = self.hostname.len().min(255);
        while !self.hostname.is_char_boundary(name_bytes) {
            name_bytes -= 1;
        }
        put_short(to, self.client_id);
        put_short(to, &self.hostname.as_bytes()[..name_bytes]);
        if self.relay_agent.is_empty() && self.vendor_class.is_empty() {
            return 1;
        }
        put_short(to, self.relay_agent);
        if self.vendor_class.is_empty() {
            return 7;
        }
        put_short(to, self.vendor_class);
        11
    }

    /// Reads a payload of kind 1, 7 or 11; `None` where it is none.
    pub fn decode(kind: u8, payload: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(payload);
        let record = Self {
            address: reader.address()?,
            mac: reader.mac()?,
            starts: reader.time()?,
            ends: reader.time()?,
            client_id: reader.short()?,
            hostname: std::str::from_utf8(reader.short()?).ok()?,
            relay_agent: if kind == 1 { &[] } else { reader.short()? },
            vendor_class: if kind == 11 { reader.short()? } else { &[] },
        };
        // The higher kind has something that the lower has not, so that each record has one encoding.
        let says_more = match kind {
            1 => true,
            7 => !record.relay_agent.is_empty(),
            _ => !record.vendor_class.is_empty(),
        };
        (reader.0.is_empty() && says_more).then_some(record)
    }
}
