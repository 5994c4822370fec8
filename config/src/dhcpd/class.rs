//! [`Class`]: a kind of client, by what its packets contain, and what it gets.
//!
//! A client may be in many classes. Of what several of its classes say, the first in the order of the file counts; a reservation goes before classes, classes
//! before a pool, a pool before its scope.

use serde::Serialize;

use super::Architecture;
use crate::{Octets, OptionSet, Subnet};

/// One `[[dhcpd.class]]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Class {
    /// Unique name: letters, digits, `-` and `_`, at most 64 bytes.
    pub name: String,
    /// Who is in it.
    #[serde(rename = "match")]
    pub condition: Condition,
    /// Options of replies to its clients.
    pub options: OptionSet,
    /// The boot profile's name; it exists.
    pub boot: Option<String>,
    /// Lease times instead of the scope's.
    pub lease: LeaseTimes,
    /// What its clients need that is out of the ordinary.
    pub quirks: Quirks,
}

/// Lease times where they differ, seconds. Whatever is given is in order: `min` ≤ `default` ≤ `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct LeaseTimes {
    /// What a client gets that asks for nothing.
    pub default: Option<u32>,
    /// The least it may ask for.
    pub min: Option<u32>,
    /// The most it may ask for.
    pub max: Option<u32>,
}

/// Deviations for clients and relays that are not quite right; `None`: as the next one in precedence says, and in the end the scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Quirks {
    /// Replies to a client without address are always broadcast, for firmware that cannot receive unicast then.
    pub always_broadcast: Option<bool>,
    /// Replies wait so long, milliseconds, at most [`crate::limit::REPLY_DELAY_MILLIS_MAX`]: for firmware that misses an instant one.
    pub reply_delay_millis: Option<u16>,
    /// RFC 3527 link selection is not believed; for relays that send the wrong one.
    pub ignore_link_selection: Option<bool>,
}

/// Who is meant. Evaluated against one packet, without memory of earlier ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Every one of them holds; never empty.
    All(Vec<Self>),
    /// At least one of them holds; never empty.
    Any(Vec<Self>),
    /// It does not hold.
    Not(Box<Self>),
    /// A field of the packet has a content. A field that is not there has none: the condition does not hold.
    Content(Field, Pattern),
    /// Option 93 names one of these.
    Architecture(Vec<Architecture>),
    /// `chaddr` begins with one of these; each of 1 to 6 octets.
    MacPrefix(Vec<Octets>),
    /// `giaddr` is in one of these.
    Relay(Vec<Subnet>),
    /// The relay agent says whether the client sent its message by unicast (RFC 5010), and says so; one that says nothing of it does not hold either way.
    RelayUnicast(bool),
    /// It is at one of these stages of booting.
    Stage(Vec<Stage>),
}

/// A field of variable length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Field {
    /// The value of an option, its parts joined (RFC 3396); 1 to 254.
    Option(u8),
    /// Option 77: its whole value as it is, or any one of the classes that RFC 3004 §4 puts into it.
    UserClass,
    /// Sub-option 1 of option 82 (RFC 3046 §3.1).
    CircuitId,
    /// Sub-option 2 of option 82 (RFC 3046 §3.2).
    RemoteId,
}

/// What a field contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// Exactly one of these; never empty.
    Equals(Vec<Octets>),
    /// It begins with one of these; never empty, each of at least one octet.
    StartsWith(Vec<Octets>),
    /// One of these is in it; never empty, each of at least one octet.
    Contains(Vec<Octets>),
    /// Whatever it is.
    Present,
}

/// The stage of booting that a client is in, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// A PXE ROM: option 60 begins with `PXEClient`, or option 93 is there.
    Rom,
    /// iPXE: option 77 is `iPXE`.
    Ipxe,
    /// UEFI HTTP boot: option 60 begins with `HTTPClient`.
    Http,
}

impl Stage {
    /// All, with the words of the configuration file.
    pub const ALL: [(Self, &'static str); 3] = [(Self::Rom, "rom"), (Self::Ipxe, "ipxe"), (Self::Http, "http")];

    /// Its word in the configuration file.
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}
