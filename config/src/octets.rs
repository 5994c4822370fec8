//! [`Octets`]: octets of a packet as they are written in the configuration file, as text or as `hex:…`.

use std::fmt;

use serde::{Serialize, Serializer};

/// Octets that a client or a relay sends. Written as text where they are plain text, else as `hex:0a0b`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Octets(pub Vec<u8>);

impl Octets {
    /// The octets themselves.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The octets of a text, or those that `hex:` lists; `None` where that is followed by no pairs of digits.
    pub(crate) fn written(text: &str) -> Option<Self> {
        match text.strip_prefix("hex:") {
            Some(digits) => crate::option::hex(digits).map(Self),
            None => Some(Self(text.into())),
        }
    }
}

impl fmt::Display for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) if !text.starts_with("hex:") && !text.chars().any(char::is_control) => f.write_str(text),
            _ => self.0.iter().try_fold(f.write_str("hex:")?, |(), octet| write!(f, "{octet:02x}")),
        }
    }
}

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_reads_back() {
        for octets in [&b"PXEClient"[..], b"", b"hex:", b"hex:00", b"\x00\x01", "größe".as_bytes(), b"\xff", b"a\nb"]
        {
            let octets = Octets(octets.to_vec());
            let read = Octets::written(&octets.to_string());
            // No octets at all cannot be written as `hex:`; as text they can.
            assert_eq!(read, Some(octets.clone()), "{octets}");
        }
        assert_eq!(Octets::written("hex:0"), None);
    }
}
