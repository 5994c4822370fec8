//! [`MacAddr`]: the 48-bit hardware address that names a machine.
//!
//! It does not know other hardware types: every network Reveille serves is Ethernet (RFC 1700 hardware type 1).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An Ethernet hardware address; the identity of a machine on a provisioning network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

/// Why a text is not a hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a MAC address: six pairs of hexadecimal digits are expected, as in 52:54:00:12:34:56")]
pub struct MacAddrError;

impl MacAddr {
    /// ff:ff:ff:ff:ff:ff
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The six octets in the order of the wire.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// The form iPXE writes as `${mac:hexhyp}`: `52-54-00-12-34-56`.
    pub fn hyphenated(self) -> String {
        self.to_string().replace(':', "-")
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Written with each script and lease: without the formatting of six numbers.
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b':'; 17];
        for (pair, octet) in text.chunks_mut(3).zip(self.0) {
            pair[0] = DIGITS[usize::from(octet >> 4)];
            pair[1] = DIGITS[usize::from(octet & 15)];
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = MacAddrError;

    /// Reads `52:54:00:12:34:56`, `52-54-00-12-34-56` or `525400123456`, in either case.
    fn from_str(text: &str) -> Result<Self, MacAddrError> {
        let bytes = text.as_bytes();
        let stride = match bytes.len() {
            12 => 2,
            17 => 3,
            _ => return Err(MacAddrError),
        };
        let mut octets = [0; 6];
        for (i, octet) in octets.iter_mut().enumerate() {
            let at = i * stride;
            if stride == 3 && i > 0 && (bytes[at - 1] != bytes[2] || !matches!(bytes[2], b':' | b'-')) {
                return Err(MacAddrError);
            }
            let digit = |b: u8| (b as char).to_digit(16).ok_or(MacAddrError);
            *octet = (digit(bytes[at])? * 16 + digit(bytes[at + 1])?) as u8;
        }
        Ok(Self(octets))
    }
}

impl JsonSchema for MacAddr {
    fn schema_name() -> Cow<'static, str> {
        "MacAddr".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An Ethernet hardware address. It is written as in the example; hyphens or nothing between the pairs are read too.",
            "type": "string",
            "pattern": "^([0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{2}(-[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{12})$",
            "examples": ["52:54:00:12:34:56"]
        })
    }
}

impl Serialize for MacAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_three_usual_forms_and_prints_one() {
        let mac = MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0xAB]);
        for text in ["52:54:00:12:34:ab", "52-54-00-12-34-AB", "5254001234ab"] {
            assert_eq!(text.parse(), Ok(mac), "{text}");
        }
        assert_eq!(mac.to_string(), "52:54:00:12:34:ab");
        assert_eq!(mac.hyphenated(), "52-54-00-12-34-ab");
    }

    #[test]
    fn refuses_everything_else() {
        for text in
            ["", "52:54:00:12:34", "52:54-00:12:34:ab", "5x:54:00:12:34:ab", "52:54:00:12:34:ab:cd", "ää:54:00:12:34:a"]
        {
            assert_eq!(text.parse::<MacAddr>(), Err(MacAddrError), "{text}");
        }
    }
}
