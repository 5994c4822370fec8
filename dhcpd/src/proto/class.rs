//! [`Classes`]: the configuration's classes, compiled so that one packet's are found without asking every class.
//!
//! Every class is filed under keys of which at least one must be in a packet of its clients (a vendor class, the first octets of a MAC address, an
//! architecture …): [`index`]. A packet's own values are looked up, and only the classes found there, and those that no key describes (such as a bare `not`), have
//! their condition asked. So a class that nobody is in costs nothing, however many there are.
//!
//! Evaluation allocates nothing: the caller's [`Membership`] has room for all classes. It depends on the packet alone, never on what is known of its client.

mod condition;
mod index;

use std::sync::Arc;

use reveille_config::MacAddr;
use reveille_config::dhcpd::{Boot, Dhcpd, LeaseTimes, Quirks};

use super::boot::Stage;
use super::option::OptionBlock;
use super::relay_agent::RelayAgent;
use super::reply::stamp::append;
use super::view::{FIXED_BYTES, MAGIC_COOKIE, PacketView, Parser, code};
use condition::Condition;
use index::Index;

/// Position of a class in the configuration, which is its precedence: the first goes before the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassIndex(pub u16);

/// What a class gives its clients.
#[derive(Debug)]
pub struct Class {
    /// Its name.
    pub name: Arc<str>,
    /// Options of replies.
    pub options: OptionBlock,
    /// The boot profile.
    pub boot: Option<Arc<Boot>>,
    /// Lease times, where they differ.
    pub lease: LeaseTimes,
    /// Deviations.
    pub quirks: Quirks,
    condition: Condition,
}

/// All classes, in the order of the configuration.
#[derive(Debug, Default)]
pub struct Classes {
    classes: Box<[Class]>,
    index: Index,
}

/// What is asked of a packet; made once per packet.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    packet: &'a PacketView<'a>,
    stage: Stage,
    agent: RelayAgent<'a>,
}

impl<'a> Facts<'a> {
    /// The facts of a packet.
    pub fn of(packet: &'a PacketView<'a>) -> Self {
        Self { packet, stage: Stage::of(packet), agent: packet.relay_agent() }
    }
}

/// The classes that one packet's client is in. Reused from packet to packet; the first use after a change of the configuration takes memory.
#[derive(Debug, Clone, Default)]
pub struct Membership {
    words: Vec<u64>,
    members: Vec<ClassIndex>,
}

impl Membership {
    /// In no class.
    pub const fn none() -> Self {
        Self { words: Vec::new(), members: Vec::new() }
    }

    /// Those classes, in the order of their precedence.
    pub fn iter(&self) -> impl Iterator<Item = ClassIndex> + Clone {
        self.members.iter().copied()
    }

    /// Whether the client is in that class.
    pub fn contains(&self, class: ClassIndex) -> bool {
        self.words.get(usize::from(class.0 / 64)).is_some_and(|word| word >> (class.0 % 64) & 1 != 0)
    }

    /// Forgets the last packet, and has room for the classes of the next.
    fn clear(&mut self, classes: usize) {
        for class in self.members.drain(..) {
            self.words[usize::from(class.0 / 64)] = 0;
        }
        if self.words.len() != classes.div_ceil(64) || self.members.capacity() < classes {
            self.words = vec![0; classes.div_ceil(64)];
            self.members = Vec::with_capacity(classes);
        }
    }

    fn insert(&mut self, class: ClassIndex) {
        self.words[usize::from(class.0 / 64)] |= 1 << (class.0 % 64);
        self.members.push(class);
    }
}

impl Classes {
    /// Compiles the configuration's classes; `boots` finds a profile by its name.
    pub fn compile(config: &Dhcpd, boots: impl Fn(&str) -> Option<Arc<Boot>>) -> Self {
        let class = |class: &reveille_config::dhcpd::Class| Class {
            name: class.name.as_str().into(),
            options: OptionBlock::encode(class.options.iter()),
            boot: class.boot.as_deref().and_then(&boots),
            lease: class.lease,
            quirks: class.quirks,
            condition: Condition::compile(&class.condition),
        };
        let classes: Box<[Class]> = config.classes.iter().map(class).collect();
        let index = Index::build(classes.iter().map(|class| &class.condition));
        Self { classes, index }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// The class at `index`.
    pub fn get(&self, index: ClassIndex) -> Option<&Class> {
        self.classes.get(usize::from(index.0))
    }

    /// The place of the class called `name`.
    pub fn by_name(&self, name: &str) -> Option<ClassIndex> {
        self.classes.iter().zip(0..).find(|(class, _)| &*class.name == name).map(|(_, at)| ClassIndex(at))
    }

    /// Puts the classes that the packet's client is in `into`, in place of what was there.
    pub fn evaluate(&self, facts: Facts<'_>, into: &mut Membership) {
        into.clear(self.classes.len());
        self.index.candidates(facts, |class| {
            if !into.contains(class) && self.classes[usize::from(class.0)].condition.holds(facts) {
                into.insert(class);
            }
        });
        into.members.sort_unstable();
    }

    /// The classes of a machine of which no more is known than its hardware address and vendor class: those that it would be in if it said no more.
    pub fn of_machine(&self, mac: MacAddr, vendor_class: &[u8]) -> Membership {
        let mut octets = vec![0; FIXED_BYTES];
        octets[..3].copy_from_slice(&[1, 1, 6]);
        octets[28..34].copy_from_slice(&mac.octets());
        octets[FIXED_BYTES - 4..].copy_from_slice(&MAGIC_COOKIE);
        append(&mut octets, code::MESSAGE_TYPE, &[1]);
        append(&mut octets, code::VENDOR_CLASS, vendor_class);
        let mut membership = Membership::default();
        if let Ok(packet) = Parser::default().parse(&octets) {
            self.evaluate(Facts::of(&packet), &mut membership);
        }
        membership
    }
}

#[cfg(test)]
mod tests;
