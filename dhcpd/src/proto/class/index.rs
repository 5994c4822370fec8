//! [`Index`]: which classes a packet can be in at all, by keys that must be in it.
//!
//! Invariant: for every packet and every class whose condition holds for it, [`Index::candidates`] names that class. It may name others, and one more than once.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::condition::{Condition, Source, Test};
use super::{ClassIndex, Facts};

/// How octets of a packet become a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Cut {
    /// All of them.
    Whole,
    /// The first so many octets.
    Octets(u8),
    /// The first so many bits of an address.
    Bits(u8),
}

/// What must be in a packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    source: Source,
    cut: Cut,
    octets: Box<[u8]>,
}

/// Classes by keys.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Those that no key describes.
    always: Box<[ClassIndex]>,
    keyed: Box<[(Source, Box<[Keyed]>)]>,
}

/// Classes by the octets of their keys, while the index is built.
type Filed = HashMap<Box<[u8]>, Vec<ClassIndex>>;

/// The keys of one source that are cut alike.
#[derive(Debug)]
struct Keyed {
    cut: Cut,
    classes: HashMap<Box<[u8]>, Box<[ClassIndex]>, BuildHasherDefault<KeyHasher>>,
}

impl Index {
    /// Files each class under its rarest keys, so that few share one.
    pub fn build<'a>(conditions: impl Iterator<Item = &'a Condition> + Clone) -> Self {
        let mut shared: HashMap<Key, usize> = HashMap::new();
        for condition in conditions.clone() {
            count_keys(condition, &mut shared);
        }
        let mut always = Vec::new();
        let mut filed: HashMap<(Source, Cut), Filed> = HashMap::new();
        for (condition, at) in conditions.zip(0..) {
            let Some((keys, _)) = rarest_keys(condition, &shared) else {
                always.push(ClassIndex(at));
                continue;
            };
            for key in keys {
                let classes = filed.entry((key.source, key.cut)).or_default().entry(key.octets).or_default();
                if classes.last() != Some(&ClassIndex(at)) {
                    classes.push(ClassIndex(at));
                }
            }
        }
        let mut keyed: Vec<((Source, Cut), Keyed)> = filed
            .into_iter()
            .map(|((source, cut), map)| {
                let classes = map.into_iter().map(|(octets, classes)| (octets, classes.into())).collect();
                ((source, cut), Keyed { cut, classes })
            })
            .collect();
        keyed.sort_by_key(|(place, _)| *place);
        let mut by_source: Vec<(Source, Vec<Keyed>)> = Vec::new();
        for ((source, _), keyed) in keyed {
            match by_source.last_mut() {
                Some((last, group)) if *last == source => group.push(keyed),
                _ => by_source.push((source, vec![keyed])),
            }
        }
        let keyed = by_source.into_iter().map(|(source, group)| (source, group.into())).collect();
        Self { always: always.into(), keyed }
    }

    /// Hands each class that the packet can be in to `each`.
    pub fn candidates(&self, facts: Facts<'_>, mut each: impl FnMut(ClassIndex)) {
        self.always.iter().for_each(|class| each(*class));
        for (source, groups) in &self.keyed {
            source.any(facts, |value| {
                for group in groups {
                    group.find(value).iter().for_each(|class| each(*class));
                }
                false
            });
        }
    }
}

impl Keyed {
    fn find(&self, value: &[u8]) -> &[ClassIndex] {
        let classes = match self.cut {
            Cut::Whole => self.classes.get(value),
            Cut::Octets(length) => value.get(..usize::from(length)).and_then(|start| self.classes.get(start)),
            Cut::Bits(length) => {
                value.first_chunk::<4>().and_then(|octets| self.classes.get(&masked(*octets, length)[..]))
            }
        };
        classes.map_or(&[], |classes| classes)
    }
}

/// An address without what is behind its first `bits` bits.
fn masked(octets: [u8; 4], bits: u8) -> [u8; 4] {
    let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
    (u32::from_be_bytes(octets) & mask).to_be_bytes()
}

/// The keys of one test, at least one of which is in every packet that passes it.
fn keys(source: Source, test: &Test) -> Vec<Key> {
    let key = |cut, octets: &[u8]| Key { source, cut, octets: octets.into() };
    match test {
        Test::Equals(all) => all.iter().map(|one| key(Cut::Whole, one)).collect(),
        Test::StartsWith(all) => {
            // Longer ones than the length of an option are cut; the condition looks at the rest.
            let start = |one: &[u8]| key(Cut::Octets(one.len().min(255) as u8), &one[..one.len().min(255)]);
            all.iter().map(|one| start(one)).collect()
        }
        Test::Contains(_) | Test::Present => vec![key(Cut::Octets(0), &[])],
        Test::Within(all) => all
            .iter()
            .map(|net| key(Cut::Bits(net.prefix_len()), &masked(net.network().octets(), net.prefix_len())))
            .collect(),
    }
}

fn count_keys(condition: &Condition, shared: &mut HashMap<Key, usize>) {
    match condition {
        Condition::All(all) | Condition::Any(all) => all.iter().for_each(|one| count_keys(one, shared)),
        // What must not be there says nothing about what is.
        Condition::Not(_) => {}
        Condition::Value(source, test) => {
            keys(*source, test).into_iter().for_each(|key| *shared.entry(key).or_default() += 1);
        }
    }
}

/// The keys under which a condition is filed, with how many classes share them in all; `None` where no key describes it.
fn rarest_keys(condition: &Condition, shared: &HashMap<Key, usize>) -> Option<(Vec<Key>, usize)> {
    match condition {
        Condition::All(all) => all.iter().filter_map(|one| rarest_keys(one, shared)).min_by_key(|(_, cost)| *cost),
        Condition::Any(any) => any.iter().try_fold((Vec::new(), 0), |(mut keys, cost), one| {
            let (more, their_cost) = rarest_keys(one, shared)?;
            keys.extend(more);
            Some((keys, cost + their_cost))
        }),
        Condition::Not(_) => None,
        Condition::Value(source, test) => {
            let keys = keys(*source, test);
            let cost = keys.iter().map(|key| shared.get(key).copied().unwrap_or_default()).sum();
            Some((keys, cost))
        }
    }
}

/// Multiply and rotate, eight octets at a time. The keys come from the configuration, so nobody outside can make them collide.
#[derive(Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, octets: &[u8]) {
        for part in octets.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, length: usize) {
        self.write_u64(length as u64);
    }
}
