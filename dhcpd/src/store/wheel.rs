//! [`Wheel`]: many timers with a granularity of a second, in constant time and without memory of their own (a hierarchical timing wheel, Varghese and Lauck 1987).
//!
//! Six levels of 64 buckets: level 0 has a second in each bucket, level 1 a minute (64 s), and so on up to 64⁶ s. A timer lies in the level of the highest digit in
//! which its time differs from the wheel's, and moves down as that time comes near.
//!
//! Invariant: no timer fires before its time, and each fires by the first [`Wheel::advance`] that is a second or more past it.

use super::list::{Lists, Nodes};
use crate::proto::time::Millis;

const LEVELS: usize = 6;
const BUCKETS: usize = 64;
/// The list of those that are due.
const DUE: usize = LEVELS * BUCKETS;
/// Timers further away, seconds, are looked at again when this comes: the top level without the bucket that the wheel's own time is in.
const REACH: u64 = (BUCKETS as u64 - 1) << (6 * (LEVELS - 1));

/// Nodes that have a time.
pub(super) trait Timers: Nodes {
    /// When the node's timer fires.
    fn time(&self, node: u32) -> Millis;
}

/// The timers.
#[derive(Debug)]
pub(super) struct Wheel {
    lists: Lists,
    /// Seconds; everything up to here is due.
    now: u64,
    /// One bit for each bucket that may have a timer; those that have none are found out when their time comes.
    occupied: [u64; LEVELS],
}

impl Wheel {
    /// A wheel whose time begins at `now`.
    pub(super) fn new(now: Millis) -> Self {
        Self { lists: Lists::new(DUE + 1), now: now.0 / 1_000, occupied: [0; LEVELS] }
    }

    /// Starts the timer of a node that has none running.
    pub(super) fn insert(&mut self, nodes: &mut impl Timers, node: u32) {
        let at = nodes.time(node).0.div_ceil(1_000).min(self.now + REACH);
        let list = if at <= self.now {
            DUE
        } else {
            let level = ((63 - (at ^ self.now).leading_zeros()) / 6) as usize;
            // The highest digit may differ beyond the top level when the wheel's own time is about to carry over.
            let level = level.min(LEVELS - 1);
            let bucket = (at >> (6 * level)) as usize % BUCKETS;
            self.occupied[level] |= 1 << bucket;
            level * BUCKETS + bucket
        };
        self.lists.push_back(nodes, list, node);
    }

    /// Stops a node's timer, if it runs.
    pub(super) fn remove(&mut self, nodes: &mut impl Timers, node: u32) {
        self.lists.remove(nodes, node);
    }

    /// Makes due what is due at `now`; [`Self::pop`] then gives it.
    pub(super) fn advance(&mut self, nodes: &mut impl Timers, now: Millis) {
        let to = now.0 / 1_000;
        while let Some((level, bucket, at)) = self.next_bucket()
            && at <= to
        {
            self.now = self.now.max(at);
            self.occupied[level] &= !(1 << bucket);
            while let Some(node) = self.lists.first(level * BUCKETS + bucket) {
                self.lists.remove(nodes, node);
                self.insert(nodes, node);
            }
        }
        self.now = self.now.max(to);
    }

    /// The next node that is due; its timer no longer runs.
    pub(super) fn pop(&mut self, nodes: &mut impl Timers) -> Option<u32> {
        let node = self.lists.first(DUE)?;
        self.lists.remove(nodes, node);
        Some(node)
    }

    /// When [`Self::advance`] may have something to do: not later than the first timer's second.
    pub(super) fn next(&self) -> Option<Millis> {
        if self.lists.first(DUE).is_some() {
            return Some(Millis(self.now * 1_000));
        }
        self.next_bucket().map(|(_, _, at)| Millis(at * 1_000))
    }

    /// The bucket whose time comes first: level, bucket, and the second at which it begins.
    fn next_bucket(&self) -> Option<(usize, usize, u64)> {
        // A lower level lies wholly before the next bucket of a higher one.
        let level = (0..LEVELS).find(|&level| self.occupied[level] != 0)?;
        let digit = (self.now >> (6 * level)) as usize % BUCKETS;
        let ahead = self.occupied[level].rotate_right(digit as u32).trailing_zeros() as u64;
        let width = 6 * level;
        let at = ((self.now >> width) + ahead) << width;
        Some((level, (digit + ahead as usize) % BUCKETS, at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::list::Link;
    use super::*;

    struct Plain(Vec<(Millis, Link)>);

    impl Nodes for Plain {
        fn link(&self, node: u32) -> Link {
            self.0[node as usize].1
        }
        fn link_mut(&mut self, node: u32) -> &mut Link {
            &mut self.0[node as usize].1
        }
    }

    impl Timers for Plain {
        fn time(&self, node: u32) -> Millis {
            self.0[node as usize].0
        }
    }

    fn fired(wheel: &mut Wheel, nodes: &mut Plain, now: u64) -> Vec<u32> {
        wheel.advance(nodes, Millis(now));
        let mut fired: Vec<_> = std::iter::from_fn(|| wheel.pop(nodes)).collect();
        fired.sort_unstable();
        fired
    }

    #[test]
    fn a_timer_fires_in_its_second_however_far_away() {
        for start in [0u64, 63, 64, 4_095, 1_000_000_007, (1 << 36) - 2, (1 << 36) + 5] {
            for after in [0u64, 1, 2, 62, 63, 64, 65, 4_095, 4_096, 86_400, 262_143, 262_144, 400_000_000] {
                let mut nodes = Plain(vec![(Millis((start + after) * 1_000), Link::NONE)]);
                let mut wheel = Wheel::new(Millis(start * 1_000));
                wheel.insert(&mut nodes, 0);
                if after > 0 {
                    assert_eq!(
                        fired(&mut wheel, &mut nodes, (start + after) * 1_000 - 1),
                        Vec::<u32>::new(),
                        "{start} + {after}"
                    );
                    assert!(wheel.next().is_some_and(|at| at.0 <= (start + after) * 1_000));
                }
                assert_eq!(fired(&mut wheel, &mut nodes, (start + after) * 1_000), [0], "{start} + {after}");
                assert_eq!(wheel.next(), None);
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Start(u8, u32),
        Stop(u8),
        Advance(u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (any::<u8>(), 0u32..200_000_000).prop_map(|(node, after)| Step::Start(node, after)),
            2 => (any::<u8>(), 0u32..100_000).prop_map(|(node, after)| Step::Start(node, after)),
            1 => any::<u8>().prop_map(Step::Stop),
            2 => (0u32..300_000_000).prop_map(Step::Advance),
            2 => (0u32..70_000).prop_map(Step::Advance),
        ];
        proptest::collection::vec(step, 1..200)
    }

    proptest! {
        /// Against a plain list of times.
        #[test]
        fn fires_what_is_due_and_nothing_else(start in 0u64..(1 << 40), steps in steps()) {
            let mut nodes = Plain(vec![(Millis(0), Link::NONE); 256]);
            let mut plain = std::collections::BTreeMap::new();
            let mut now = start;
            let mut wheel = Wheel::new(Millis(now));
            for step in steps {
                match step {
                    Step::Start(node, after) => {
                        wheel.remove(&mut nodes, node.into());
                        nodes.0[usize::from(node)].0 = Millis(now + u64::from(after));
                        wheel.insert(&mut nodes, node.into());
                        plain.insert(u32::from(node), now + u64::from(after));
                    }
                    Step::Stop(node) => {
                        wheel.remove(&mut nodes, node.into());
                        plain.remove(&u32::from(node));
                    }
                    Step::Advance(by) => {
                        now += u64::from(by);
                        let due: Vec<u32> = plain.iter().filter(|(_, at)| at.div_ceil(1_000) <= now / 1_000).map(|(node, _)| *node).collect();
                        due.iter().for_each(|node| _ = plain.remove(node));
                        prop_assert_eq!(fired(&mut wheel, &mut nodes, now), due);
                    }
                }
                let first = plain.values().min().map(|at| at.div_ceil(1_000) * 1_000);
                prop_assert!(first.is_none() || wheel.next().is_some_and(|next| Some(next.0) <= first), "{:?} {first:?}", wheel.next());
            }
        }
    }
}
