//! [`Condition`]: a class's condition, with everything that a packet contains as octets to compare.

use std::net::Ipv4Addr;

use reveille_config::Subnet;
use reveille_config::dhcpd::{self as config, Field, Pattern};

use super::Facts;
use crate::proto::view::code;

/// Where octets of a packet are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Source {
    /// An option's value.
    Option(u8),
    /// Option 77: its whole value, and each of the classes in it (RFC 3004 §4).
    UserClass,
    /// Sub-option 1 of option 82.
    CircuitId,
    /// Sub-option 2 of option 82.
    RemoteId,
    /// `chaddr`.
    Mac,
    /// Each of the architectures of option 93, two octets.
    Architecture,
    /// The stage of booting, one octet.
    Stage,
    /// `giaddr`, where it is one.
    Relay,
    /// Whether the client sent by unicast, where the relay says so: one octet.
    RelayUnicast,
}

/// What octets are compared with.
#[derive(Debug)]
pub(super) enum Test {
    /// Equal to one.
    Equals(Box<[Box<[u8]>]>),
    /// Begins with one.
    StartsWith(Box<[Box<[u8]>]>),
    /// One is in it.
    Contains(Box<[Box<[u8]>]>),
    /// There are octets.
    Present,
    /// They are an address in one of these.
    Within(Box<[Subnet]>),
}

/// A condition, compiled.
#[derive(Debug)]
pub(super) enum Condition {
    /// Every one holds.
    All(Box<[Self]>),
    /// One at least holds.
    Any(Box<[Self]>),
    /// It does not hold.
    Not(Box<Self>),
    /// A value from there passes.
    Value(Source, Test),
}

impl Source {
    /// Hands each value of the packet to `each` until that says true; says whether it did.
    pub fn any(self, facts: Facts<'_>, mut each: impl FnMut(&[u8]) -> bool) -> bool {
        match self {
            Self::Option(option) => facts.packet.option(option).is_some_and(each),
            Self::CircuitId => facts.agent.circuit_id().is_some_and(each),
            Self::RemoteId => facts.agent.remote_id().is_some_and(each),
            Self::Mac => each(&facts.packet.chaddr().octets()),
            Self::Stage => facts.stage.configured().is_some_and(|stage| each(&[stage as u8])),
            Self::Relay => {
                let giaddr = facts.packet.giaddr();
                !giaddr.is_unspecified() && each(&giaddr.octets())
            }
            Self::RelayUnicast => facts.agent.received_by_unicast().is_some_and(|unicast| each(&[unicast.into()])),
            Self::Architecture => {
                facts.packet.option(code::ARCHITECTURE).is_some_and(|all| all.chunks_exact(2).any(each))
            }
            Self::UserClass => facts
                .packet
                .option(code::USER_CLASS)
                .is_some_and(|value| each(value) || user_classes(value).is_some_and(|mut classes| classes.any(each))),
        }
    }
}

/// The classes of an option 77 in the form of RFC 3004 §4: each behind its length. `None` where the value has not that form, as iPXE's has not.
//= https://www.rfc-editor.org/rfc/rfc3004#section-4
//# A server that is not equipped to interpret any given user class specified by a client MUST ignore it (although it may be reported).
fn user_classes(value: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    fn next<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
        let (&length, behind) = rest.split_first()?;
        let (class, behind) = behind.split_at_checked(usize::from(length)).filter(|(class, _)| !class.is_empty())?;
        *rest = behind;
        Some(class)
    }
    let mut rest = value;
    while next(&mut rest).is_some() {}
    if !rest.is_empty() {
        return None;
    }
    let mut rest = value;
    Some(std::iter::from_fn(move || next(&mut rest)))
}

impl Test {
    fn passes(&self, value: &[u8]) -> bool {
        match self {
            //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
            //# the parameters MUST be identified by an exact match between the client's vendor class identifiers and the client's classes identified in the server,
            Self::Equals(all) => all.iter().any(|one| **one == *value),
            Self::StartsWith(all) => all.iter().any(|one| value.starts_with(one)),
            Self::Contains(all) => all.iter().any(|one| value.windows(one.len()).any(|part| part == &**one)),
            Self::Present => true,
            Self::Within(all) => {
                let address = value.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets));
                address.is_some_and(|address| all.iter().any(|subnet| subnet.contains(&address)))
            }
        }
    }
}

impl Condition {
    /// Compiles a condition of the configuration.
    pub fn compile(of: &config::Condition) -> Self {
        let several = |all: &[config::Condition]| all.iter().map(Self::compile).collect();
        match of {
            config::Condition::All(all) => Self::All(several(all)),
            config::Condition::Any(any) => Self::Any(several(any)),
            config::Condition::Not(inner) => Self::Not(Self::compile(inner).into()),
            config::Condition::Content(field, pattern) => {
                let source = match *field {
                    Field::Option(code) => Source::Option(code),
                    Field::UserClass => Source::UserClass,
                    Field::CircuitId => Source::CircuitId,
                    Field::RemoteId => Source::RemoteId,
                };
                let octets = |all: &[reveille_config::Octets]| all.iter().map(|one| one.as_slice().into()).collect();
                let test = match pattern {
                    Pattern::Equals(all) => Test::Equals(octets(all)),
                    Pattern::StartsWith(all) => Test::StartsWith(octets(all)),
                    Pattern::Contains(all) => Test::Contains(octets(all)),
                    Pattern::Present => Test::Present,
                };
                Self::Value(source, test)
            }
            config::Condition::Architecture(all) => {
                let octets = |architecture: &config::Architecture| architecture.0.to_be_bytes()[..].into();
                Self::Value(Source::Architecture, Test::Equals(all.iter().map(octets).collect()))
            }
            config::Condition::MacPrefix(all) => {
                let prefixes = all.iter().map(|one| one.as_slice().into()).collect();
                Self::Value(Source::Mac, Test::StartsWith(prefixes))
            }
            config::Condition::Relay(all) => Self::Value(Source::Relay, Test::Within(all.as_slice().into())),
            config::Condition::RelayUnicast(unicast) => {
                let octets = [u8::from(*unicast)][..].into();
                Self::Value(Source::RelayUnicast, Test::Equals([octets].into()))
            }
            config::Condition::Stage(all) => {
                let octets = |stage: &config::Stage| [*stage as u8][..].into();
                Self::Value(Source::Stage, Test::Equals(all.iter().map(octets).collect()))
            }
        }
    }

    /// Whether it holds for a packet. As deep as the configuration allows, [`reveille_config::limit::CONDITION_DEPTH_MAX`].
    pub fn holds(&self, facts: Facts<'_>) -> bool {
        match self {
            Self::All(all) => all.iter().all(|one| one.holds(facts)),
            Self::Any(any) => any.iter().any(|one| one.holds(facts)),
            Self::Not(inner) => !inner.holds(facts),
            Self::Value(source, test) => source.any(facts, |value| test.passes(value)),
        }
    }
}
