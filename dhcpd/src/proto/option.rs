//! [`OptionBlock`]: options as they go on the wire, encoded once when they are configured; [`CodeSet`]: a set of option codes.

use dhcproto::Encodable;
use dhcproto::v4::{DhcpOption, OptionCode, UnknownOption};

use super::view::code;

/// A set of option codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CodeSet([u64; 4]);

impl CodeSet {
    /// The set of `codes`.
    pub const fn of(codes: &[u8]) -> Self {
        let mut set = Self([0; 4]);
        let mut i = 0;
        while i < codes.len() {
            set.0[(codes[i] >> 6) as usize] |= 1 << (codes[i] & 63);
            i += 1;
        }
        set
    }

    /// Whether `code` is in the set.
    pub const fn contains(self, code: u8) -> bool {
        self.0[(code >> 6) as usize] & (1 << (code & 63)) != 0
    }

    /// Adds `code`.
    pub const fn insert(&mut self, code: u8) {
        self.0[(code >> 6) as usize] |= 1 << (code & 63);
    }
}

/// What the server itself writes: an operator's value for these is never sent.
const SERVERS_OWN: CodeSet = CodeSet::of(&[
    code::PAD,
    code::REQUESTED_ADDRESS,
    code::LEASE_TIME,
    code::OVERLOAD,
    code::MESSAGE_TYPE,
    code::SERVER_ID,
    code::PARAMETER_LIST,
    code::MESSAGE,
    code::MAX_MESSAGE_SIZE,
    code::RENEWAL_TIME,
    code::REBINDING_TIME,
    code::CLIENT_ID,
    code::RELAY_AGENT,
    code::MACHINE_ID,
    code::END,
]);

/// Options encoded one after the other, code, length and value; each code at most once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OptionBlock {
    octets: Box<[u8]>,
    codes: CodeSet,
}

impl OptionBlock {
    /// Encodes options with the wire library; the first of two with the same code counts, values are at most 255 octets (the configuration's limit),
    /// and codes that the server writes itself are left out.
    pub fn encode<'a>(options: impl IntoIterator<Item = (u8, &'a [u8])>) -> Self {
        let mut octets = Vec::new();
        let mut codes = CodeSet::default();
        for (code, value) in options {
            if codes.contains(code) || SERVERS_OWN.contains(code) || value.len() > 255 {
                continue;
            }
            if value.is_empty() {
                // The library leaves out what has no value; a flag option consists of its presence.
                codes.insert(code);
                octets.extend_from_slice(&[code, 0]);
                continue;
            }
            let option = DhcpOption::Unknown(UnknownOption::new(OptionCode::from(code), value.to_vec()));
            // Encoding into memory fails only where a length does not fit its octet, which was just checked.
            if let Ok(encoded) = option.to_vec() {
                codes.insert(code);
                octets.extend_from_slice(&encoded);
            }
        }
        Self { octets: octets.into(), codes }
    }

    /// Reads what [`Self::octets`] gave, e.g. from the journal. What does not parse is left out from there on.
    pub fn from_octets(octets: &[u8]) -> Self {
        Self::encode(Tlvs(octets))
    }

    /// The encoded options.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Which codes there are.
    pub fn codes(&self) -> CodeSet {
        self.codes
    }

    /// Code and value of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        Tlvs(&self.octets)
    }
}

/// Walks over code, length, value; ends where the octets do or no longer fit.
struct Tlvs<'a>(&'a [u8]);

impl<'a> Iterator for Tlvs<'a> {
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
    fn keeps_the_first_and_leaves_out_the_servers_own() {
        let block = OptionBlock::encode([(3, &[10, 0, 0, 1][..]), (3, &[9][..]), (53, &[2][..]), (224, &[][..])]);
        assert_eq!(block.octets(), [3, 4, 10, 0, 0, 1, 224, 0]);
        assert_eq!(OptionBlock::from_octets(block.octets()), block);
        assert!(block.codes().contains(224) && !block.codes().contains(53));
    }
}
