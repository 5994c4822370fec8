//! [`OptionBlock`]: options as they go on the wire, encoded once when they are configured; [`CodeSet`]: a set of option codes.

use std::collections::BTreeMap;

use dhcproto::Encodable;
use dhcproto::v4::{DhcpOption, OptionCode, UnknownOption};

use reveille_config::limit::OPTION_BYTES_MAX;

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

    /// The codes of both sets.
    pub const fn and(self, Self(others): Self) -> Self {
        let Self([first, second, third, fourth]) = self;
        Self([first | others[0], second | others[1], third | others[2], fourth | others[3]])
    }

    /// How many codes below `code` are in the set.
    pub const fn rank(self, code: u8) -> usize {
        let (word, mut count, mut i) = ((code >> 6) as usize, 0, 0);
        while i < word {
            count += self.0[i].count_ones();
            i += 1;
        }
        (count + (self.0[word] & ((1 << (code & 63)) - 1)).count_ones()) as usize
    }

    /// Removes `code`.
    pub const fn remove(&mut self, code: u8) {
        self.0[(code >> 6) as usize] &= !(1 << (code & 63));
    }

    /// Adds `code`.
    pub const fn insert(&mut self, code: u8) {
        self.0[(code >> 6) as usize] |= 1 << (code & 63);
    }
}

/// What the server itself writes: an operator's value for these is never sent.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
//# Requested IP address MUST NOT MUST NOT MUST NOT
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
//# Parameter request list MUST NOT MUST NOT MUST NOT
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
//# Maximum message size MUST NOT MUST NOT MUST NOT
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
    code::RAPID_COMMIT,
    code::CLIENT_FQDN,
    code::LAST_TRANSACTION_TIME,
    code::ASSOCIATED_ADDRESS,
    code::MACHINE_ID,
    code::SUBNET_SELECTION,
    code::END,
]);

/// Options encoded one after the other in the order of their codes; each code at most once. A value of more than 255 octets lies there in parts,
/// one after the other under the same code (RFC 3396 §6).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OptionBlock {
    octets: Box<[u8]>,
    codes: CodeSet,
    /// Where the option of each code begins, in the order of the codes.
    starts: Box<[u16]>,
}

impl OptionBlock {
    /// Encodes options with the wire library; the first of two with the same code counts, values are at most
    /// [`OPTION_BYTES_MAX`] octets, and codes that the server writes itself are left out.
    pub fn encode<'a>(options: impl IntoIterator<Item = (u8, &'a [u8])>) -> Self {
        let mut values: BTreeMap<u8, &[u8]> = BTreeMap::new();
        for (code, value) in options {
            if !SERVERS_OWN.contains(code) && value.len() <= OPTION_BYTES_MAX {
                values.entry(code).or_insert(value);
            }
        }
        let (mut octets, mut starts, mut codes) = (Vec::new(), Vec::new(), CodeSet::default());
        for (code, value) in values {
            let Ok(start) = u16::try_from(octets.len()) else { break };
            codes.insert(code);
            starts.push(start);
            // RFC 3396 §6: what is longer than one option holds goes into several of the same code.
            //= https://www.rfc-editor.org/rfc/rfc3396#section-4
            //# A DHCP protocol agent SHOULD NOT split an option as described in this document unless it has no choice, or it knows that its peer can properly handle split options.
            //= https://www.rfc-editor.org/rfc/rfc3396#section-1
            //# We specify here the ordering that MUST be used by DHCP protocol agents when sending options with more than 255 bytes.
            //= https://www.rfc-editor.org/rfc/rfc3396#section-4
            //# In this case, the encoding agent MUST follow the algorithm specified here.
            //= https://www.rfc-editor.org/rfc/rfc3396#section-6
            //# The split portions of the option MUST be stored in the aggregate option buffer in sequential order - the first split portion MUST be stored first in the aggregate option buffer, then the second portion, and so on.
            //= https://www.rfc-editor.org/rfc/rfc3396#section-6
            //# The encoding agent MUST NOT attempt to specify any semantic information based on how the option is split.
            //= https://www.rfc-editor.org/rfc/rfc3396#section-6
            //# Each split portion of an option MUST be stored in the aggregate option buffer as if it were a normal variable-length option as described in RFC 2132 [4].
            //= https://www.rfc-editor.org/rfc/rfc3396#section-6
            //# The length fields of each split portion of the option MUST add up to the total length of the option data.
            //= https://www.rfc-editor.org/rfc/rfc3396#section-6
            //# For any given option being split, the option code field in each split portion MUST be the same.
            //= https://www.rfc-editor.org/rfc/rfc3442#page-6
            //# DHCP clients requesting this option, and DHCP servers sending this option, MUST implement DHCP option concatenation [5].
            for part in parts(value) {
                if part.is_empty() {
                    // The library leaves out what has no value; a flag option consists of its presence.
                    //= https://www.rfc-editor.org/rfc/rfc2132#section-2
                    //# Any options defined subsequent to this document MUST contain a length octet even if the length is fixed or zero.
                    octets.extend_from_slice(&[code, 0]);
                    continue;
                }
                let option = DhcpOption::Unknown(UnknownOption::new(OptionCode::from(code), part.to_vec()));
                // Encoding into memory fails only where a length does not fit its octet, and a part's does.
                octets.extend_from_slice(&option.to_vec().unwrap_or_default());
            }
        }
        Self { octets: octets.into(), codes, starts: starts.into() }
    }

    /// Reads what [`Self::octets`] gave, e.g. from the journal. What does not parse is left out from there on.
    pub fn from_octets(octets: &[u8]) -> Self {
        let mut values: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        for (code, part) in Tlvs(octets) {
            values.entry(code).or_default().extend_from_slice(part);
        }
        Self::encode(values.iter().map(|(&code, value)| (code, &value[..])))
    }

    /// The encoded options.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Which codes there are.
    pub fn codes(&self) -> CodeSet {
        self.codes
    }

    /// The option of this code as it goes on the wire, with code and length, all its parts.
    pub fn encoded(&self, code: u8) -> Option<&[u8]> {
        if !self.codes.contains(code) {
            return None;
        }
        self.at(self.codes.rank(code))
    }

    /// Code and encoded option of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        (0..self.starts.len()).filter_map(|place| self.at(place).map(|encoded| (encoded[0], encoded)))
    }

    fn at(&self, place: usize) -> Option<&[u8]> {
        let start = usize::from(*self.starts.get(place)?);
        let end = self.starts.get(place + 1).map_or(self.octets.len(), |&next| usize::from(next));
        self.octets.get(start..end)
    }
}

/// A value in parts of at most 255 octets; one that is empty is one empty part.
fn parts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let empty = value.is_empty().then_some(value);
    empty.into_iter().chain(value.chunks(255))
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

    //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
    //= type=test
    //# Requested IP address MUST NOT MUST NOT MUST NOT
    //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
    //= type=test
    //# Parameter request list MUST NOT MUST NOT MUST NOT
    //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
    //= type=test
    //# Maximum message size MUST NOT MUST NOT MUST NOT
    //= https://www.rfc-editor.org/rfc/rfc2132#section-2
    //= type=test
    //# Any options defined subsequent to this document MUST contain a length octet even if the length is fixed or zero.
    //= https://www.rfc-editor.org/rfc/rfc3396#section-4
    //= type=test
    //# A DHCP protocol agent SHOULD NOT split an option as described in this document unless it has no choice, or it knows that its peer can properly handle split options.
    #[test]
    fn an_option_is_split_where_one_does_not_hold_it_and_not_before() {
        for (len, lengths) in [(254, &[254][..]), (255, &[255]), (256, &[255, 1]), (600, &[255, 255, 90])] {
            let block = OptionBlock::encode([(224, &vec![7; len][..])]);
            let parts: Vec<usize> = Tlvs(block.octets()).map(|(_, part)| part.len()).collect();
            assert_eq!(parts, lengths);
        }
    }

    #[test]
    fn keeps_the_first_and_leaves_out_the_servers_own() {
        let own = [50, 51, 53, 54, 55, 57, 58, 59, 61, 82].map(|code| (code, &[2][..]));
        let others = [(3, &[10, 0, 0, 1][..]), (3, &[9][..]), (224, &[][..])];
        let block = OptionBlock::encode(own.into_iter().chain(others));
        assert_eq!(block.octets(), [3, 4, 10, 0, 0, 1, 224, 0]);
        assert_eq!(OptionBlock::from_octets(block.octets()), block);
        assert!(block.codes().contains(224) && !block.codes().contains(53));
    }

    #[test]
    fn each_option_is_found_by_its_code() {
        let block = OptionBlock::encode([(224, &b"z"[..]), (1, &[255; 4]), (67, b"file"), (80, b"x")]);
        assert_eq!(block.encoded(1), Some(&[1, 4, 255, 255, 255, 255][..]));
        assert_eq!(block.encoded(67), Some(&b"\x43\x04file"[..]));
        assert_eq!(block.encoded(224), Some(&[224, 1, b'z'][..]));
        assert_eq!((block.encoded(2), block.encoded(80), block.encoded(255)), (None, None, None));
        let codes: Vec<u8> = block.iter().map(|(code, _)| code).collect();
        assert_eq!(codes, [1, 67, 224], "in the order of the codes");
    }

    //= https://www.rfc-editor.org/rfc/rfc3396#section-1
    //= type=test
    //# We specify here the ordering that MUST be used by DHCP protocol agents when sending options with more than 255 bytes.
    //= https://www.rfc-editor.org/rfc/rfc3396#section-4
    //= type=test
    //# In this case, the encoding agent MUST follow the algorithm specified here.
    //= https://www.rfc-editor.org/rfc/rfc3396#section-6
    //= type=test
    //# The split portions of the option MUST be stored in the aggregate option buffer in sequential order - the first split portion MUST be stored first in the aggregate option buffer, then the second portion, and so on.
    //= https://www.rfc-editor.org/rfc/rfc3396#section-6
    //= type=test
    //# The encoding agent MUST NOT attempt to specify any semantic information based on how the option is split.
    //= https://www.rfc-editor.org/rfc/rfc3396#section-6
    //= type=test
    //# Each split portion of an option MUST be stored in the aggregate option buffer as if it were a normal variable-length option as described in RFC 2132 [4].
    //= https://www.rfc-editor.org/rfc/rfc3396#section-6
    //= type=test
    //# The length fields of each split portion of the option MUST add up to the total length of the option data.
    //= https://www.rfc-editor.org/rfc/rfc3396#section-6
    //= type=test
    //# For any given option being split, the option code field in each split portion MUST be the same.
    //= https://www.rfc-editor.org/rfc/rfc3442#page-6
    //= type=test
    //# DHCP clients requesting this option, and DHCP servers sending this option, MUST implement DHCP option concatenation [5].
    #[test]
    fn a_long_value_lies_in_parts_of_the_same_code() {
        let value: Vec<u8> = (0..600u16).map(|i| i as u8).collect();
        let block = OptionBlock::encode([(121, &value[..]), (6, &[1; 4])]);
        let encoded = block.encoded(121).unwrap();
        assert_eq!(encoded.len(), 600 + 3 * 2);
        assert_eq!((encoded[..2].to_vec(), encoded[257..259].to_vec()), (vec![121, 255], vec![121, 255]));
        assert_eq!(encoded[514..516], [121, 90]);
        assert_eq!(OptionBlock::from_octets(block.octets()), block);
        let whole: Vec<u8> = Tlvs(encoded).flat_map(|(_, part)| part.to_vec()).collect();
        assert_eq!(whole, value);
        let too_long = vec![0; OPTION_BYTES_MAX + 1];
        assert_eq!(OptionBlock::encode([(6, &too_long[..])]), OptionBlock::default(), "beyond the limit: left out");
    }
}
