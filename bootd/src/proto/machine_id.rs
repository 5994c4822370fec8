//! [`MachineId`]: what a boot intent is kept under: one interface, or a machine of which nobody has said a MAC yet.
//!
//! Invariant: no two ids are written the same, so that one text (in a path of the API, as a place in a listing, in the database) names one intent.

use std::fmt;

use reveille_config::MacAddr;
use uuid::Uuid;

use super::script::{IntentRefusal, NODE_BYTES_MAX};

/// What a boot intent is kept under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MachineId {
    /// The interface with this MAC.
    Mac(MacAddr),
    /// The machine whose firmware, or whose node, has this UUID.
    Uuid(Uuid),
    /// The machine of the node of this name, in lower case.
    Node(String),
}

impl MachineId {
    /// Reads an id: a MAC, a UUID with its hyphens, or the name of a node: letters, digits, `.`, `-` and `_`, the first a letter or a digit.
    ///
    /// # Errors
    /// It is none of them. What could be meant for a MAC or a UUID is no name, so that who mistypes one is told.
    pub fn parse(text: &str) -> Result<Self, IntentRefusal> {
        if let Ok(mac) = text.parse() {
            return Ok(Self::Mac(mac));
        }
        if let Some(uuid) = Some(text).filter(|text| text.len() == 36).and_then(|text| text.parse().ok()) {
            return Ok(Self::Uuid(uuid));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_numbers =
            |text: &str| text.matches('-').count() >= 4 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        let is_named = text.chars().all(is_name) && text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if is_named && text.len() <= NODE_BYTES_MAX && !is_numbers(text) {
            return Ok(Self::Node(text.to_ascii_lowercase()));
        }
        let detail = format!(
            "{text:?} is no MAC, as 52:54:00:12:34:56, no UUID, as 4c4c4544-0044-4810-8031-b4c04f4e3532, and no name of a node (letters, digits, \
             `.`, `-` and `_`)"
        );
        Err(IntentRefusal { field: "machine", detail })
    }

    /// The MAC, where it is one.
    pub fn mac(&self) -> Option<MacAddr> {
        match self {
            Self::Mac(mac) => Some(*mac),
            Self::Uuid(_) | Self::Node(_) => None,
        }
    }
}

impl From<MacAddr> for MachineId {
    fn from(mac: MacAddr) -> Self {
        Self::Mac(mac)
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => mac.fmt(f),
            Self::Uuid(uuid) => uuid.fmt(f),
            Self::Node(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let long = "n".repeat(256);
        for (text, written) in [
            ("52-54-00-12-34-AB", Some("52:54:00:12:34:ab")),
            ("525400123456", Some("52:54:00:12:34:56")),
            ("4C4C4544-0044-4810-8031-B4C04F4E3532", Some("4c4c4544-0044-4810-8031-b4c04f4e3532")),
            ("Rack1-7.hall_2", Some("rack1-7.hall_2")),
            ("beef", Some("beef")),
            ("", None),
            ("52:54:00:12:34", None),
            ("52-54-00-12-34", None),
            ("52-54-00-12-34-5x", Some("52-54-00-12-34-5x")),
            ("4c4c4544-0044-4810-8031-b4c04f4e353", None),
            ("..", None),
            ("-n", None),
            ("a b", None),
            ("a/b", None),
            ("ü", None),
            (&long, None),
        ] {
            let id = MachineId::parse(text);
            assert_eq!(id.as_ref().ok().map(ToString::to_string).as_deref(), written, "{text:?}");
            if let Ok(id) = id {
                assert_eq!(MachineId::parse(&id.to_string()), Ok(id), "{text:?} is read as it was written");
            }
        }
    }
}
