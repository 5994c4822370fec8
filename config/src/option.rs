//! [`OptionSet`]: DHCP options by name with type-checked values, encoded once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

/// Options ready for the wire: code → value octets (without code and length; at most 255 octets until long options are built).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OptionSet {
    values: BTreeMap<u8, Vec<u8>>,
}

/// Why an option was refused; the message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{0}")]
pub struct OptionValueError(pub String);

impl OptionSet {
    /// The value octets of option `code`.
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        self.values.get(&code).map(Vec::as_slice)
    }

    /// All options in the order of their codes.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.values.iter().map(|(&code, value)| (code, value.as_slice()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl Serialize for OptionSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.values.iter().map(|(code, value)| (code.to_string(), format!("{value:02x?}"))))
    }
}
