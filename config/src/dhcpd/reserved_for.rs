//! [`ReservedFor`]: for whom a reservation is, as the configuration, the lease API and the command line name it.
//!
//! In one word, as in a URL: a MAC address, `client-id:<hex>`, `circuit:<hex>`, `remote:<hex>` or `circuit:<hex>+remote:<hex>`. The digits may have colons between
//! the octets, as switches and other servers print them; they are shown without.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::{MacAddr, Octets};

/// Octets that an identity can have: as many as an option or sub-option.
const BYTES_MAX: usize = 255;

/// For whom an address is reserved, by one identity. They are ordered as they count: of several reservations that fit a client, that by its hardware address goes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReservedFor {
    /// A machine, by its hardware address.
    Mac(MacAddr),
    /// A client, by option 61.
    ClientId(Octets),
    /// Whoever is at this port (RFC 3046); an id that is not given is empty, and at least one is.
    Circuit {
        /// Sub-option 1.
        circuit_id: Octets,
        /// Sub-option 2.
        remote_id: Octets,
    },
}

/// A word that names no client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a MAC address, client-id:HEX, circuit:HEX, remote:HEX or circuit:HEX+remote:HEX is expected, each of 1 to 255 octets"
)]
pub struct NotAClient;

impl ReservedFor {
    /// The hardware address, where it is by that.
    pub const fn mac(&self) -> Option<MacAddr> {
        match self {
            Self::Mac(mac) => Some(*mac),
            Self::ClientId(_) | Self::Circuit { .. } => None,
        }
    }

    /// The field that names it, the first where there are two.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Mac(_) => "mac",
            Self::ClientId(_) => "client_id",
            Self::Circuit { circuit_id, .. } if circuit_id.0.is_empty() => "remote_id",
            Self::Circuit { .. } => "circuit_id",
        }
    }

    /// The client identifier, hexadecimal, where it is by that.
    pub fn client_id(&self) -> Option<String> {
        match self {
            Self::ClientId(id) => Some(hex(id)),
            Self::Mac(_) | Self::Circuit { .. } => None,
        }
    }

    /// The circuit id, hexadecimal, where it names one.
    pub fn circuit_id(&self) -> Option<String> {
        match self {
            Self::Circuit { circuit_id, .. } if !circuit_id.0.is_empty() => Some(hex(circuit_id)),
            _ => None,
        }
    }

    /// The remote id, hexadecimal, where it names one.
    pub fn remote_id(&self) -> Option<String> {
        match self {
            Self::Circuit { remote_id, .. } if !remote_id.0.is_empty() => Some(hex(remote_id)),
            _ => None,
        }
    }

    /// What these fields name, of which the last three are hexadecimal: up to three identities, in the order in which they count. One reservation may be for all of them.
    ///
    /// # Errors
    /// The field that is not hexadecimal, and that it is not.
    pub fn named(
        mac: Option<MacAddr>,
        client_id: Option<&str>,
        circuit_id: Option<&str>,
        remote_id: Option<&str>,
    ) -> Result<Vec<Self>, (&'static str, &'static str)> {
        let octets = |field, text: Option<&str>| match text {
            None => Ok(None),
            Some(text) => octets(text).map(Some).ok_or((field, "1 to 255 octets in hexadecimal digits are expected")),
        };
        let (client_id, circuit_id) = (octets("client_id", client_id)?, octets("circuit_id", circuit_id)?);
        let remote_id = octets("remote_id", remote_id)?;
        let port = (circuit_id.is_some() || remote_id.is_some()).then(|| Self::Circuit {
            circuit_id: circuit_id.unwrap_or_default(),
            remote_id: remote_id.unwrap_or_default(),
        });
        Ok(mac.map(Self::Mac).into_iter().chain(client_id.map(Self::ClientId)).chain(port).collect())
    }

    /// Whether both say the same kind of thing of a client: of each kind a reservation has at most one.
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

fn hex(octets: &Octets) -> String {
    octets.0.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn octets(text: &str) -> Option<Octets> {
    crate::option::hex(text).filter(|octets| !octets.is_empty() && octets.len() <= BYTES_MAX).map(Octets)
}

impl From<MacAddr> for ReservedFor {
    fn from(mac: MacAddr) -> Self {
        Self::Mac(mac)
    }
}

impl fmt::Display for ReservedFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => mac.fmt(f),
            Self::ClientId(id) => write!(f, "client-id:{}", hex(id)),
            Self::Circuit { circuit_id, remote_id } => match (circuit_id.0.is_empty(), remote_id.0.is_empty()) {
                (_, true) => write!(f, "circuit:{}", hex(circuit_id)),
                (true, false) => write!(f, "remote:{}", hex(remote_id)),
                (false, false) => write!(f, "circuit:{}+remote:{}", hex(circuit_id), hex(remote_id)),
            },
        }
    }
}

impl FromStr for ReservedFor {
    type Err = NotAClient;

    fn from_str(text: &str) -> Result<Self, NotAClient> {
        let port = |circuit: Option<&str>, remote: Option<&str>| {
            let octets = |text: Option<&str>| text.map_or(Ok(Octets::default()), |text| octets(text).ok_or(NotAClient));
            Ok(Self::Circuit { circuit_id: octets(circuit)?, remote_id: octets(remote)? })
        };
        if let Some(id) = text.strip_prefix("client-id:") {
            return octets(id).map(Self::ClientId).ok_or(NotAClient);
        }
        if let Some(remote) = text.strip_prefix("remote:") {
            return port(None, Some(remote));
        }
        match text.strip_prefix("circuit:").map(|rest| rest.split_once("+remote:").ok_or(rest)) {
            Some(Ok((circuit, remote))) => port(Some(circuit), Some(remote)),
            Some(Err(circuit)) => port(Some(circuit), None),
            None => text.parse().map(Self::Mac).map_err(|_| NotAClient),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(octets: &[u8]) -> Octets {
        Octets(octets.to_vec())
    }

    #[test]
    fn a_word_names_a_client_and_reads_back() {
        let port =
            |circuit: &[u8], remote: &[u8]| ReservedFor::Circuit { circuit_id: id(circuit), remote_id: id(remote) };
        for (text, shown, expected) in [
            ("52:54:00:AB:00:01", "52:54:00:ab:00:01", ReservedFor::Mac(MacAddr([0x52, 0x54, 0, 0xab, 0, 1]))),
            ("client-id:01aa", "client-id:01aa", ReservedFor::ClientId(id(&[1, 0xaa]))),
            ("client-id:01:AA", "client-id:01aa", ReservedFor::ClientId(id(&[1, 0xaa]))),
            ("circuit:07", "circuit:07", port(&[7], &[])),
            ("remote:0708", "remote:0708", port(&[], &[7, 8])),
            ("circuit:07+remote:0a:0b", "circuit:07+remote:0a0b", port(&[7], &[10, 11])),
        ] {
            let read: ReservedFor = text.parse().unwrap();
            assert_eq!((&read, &*read.to_string()), (&expected, shown));
            assert_eq!(read.to_string().parse(), Ok(read));
        }
        let long = format!("client-id:{}", "00".repeat(256));
        for text in
            ["", "client-id:", "client-id:1", "client-id:zz", "circuit:", "circuit:07+remote:", "x:07", "07", &long]
        {
            assert_eq!(text.parse::<ReservedFor>(), Err(NotAClient), "{text}");
        }
    }

    #[test]
    fn fields_name_identities_in_their_order() {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        for (fields, expected) in [
            ((None, None, None, None), Ok("")),
            ((Some(mac), None, None, None), Ok("02:00:00:00:00:01")),
            ((None, Some("0102"), None, None), Ok("client-id:0102")),
            ((None, None, Some("07"), None), Ok("circuit:07")),
            ((None, None, Some("07"), Some("08")), Ok("circuit:07+remote:08")),
            ((Some(mac), Some("01"), None, None), Ok("02:00:00:00:00:01 client-id:01")),
            ((Some(mac), None, Some("01"), Some("02")), Ok("02:00:00:00:00:01 circuit:01+remote:02")),
            ((None, Some("01"), None, Some("02")), Ok("client-id:01 remote:02")),
            ((None, Some("0"), None, None), Err("client_id")),
            ((None, None, None, Some("")), Err("remote_id")),
        ] {
            let (mac, client_id, circuit_id, remote_id) = fields;
            let named = ReservedFor::named(mac, client_id, circuit_id, remote_id);
            if let Ok(named) = &named {
                assert!(named.is_sorted(), "{fields:?}");
            }
            let words = |named: Vec<ReservedFor>| named.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            let named = named.map(words).map_err(|(field, _)| field);
            assert_eq!(named.as_deref().map_err(|field| *field), expected, "{fields:?}");
        }
    }
}
