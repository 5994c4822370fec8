//! [`Schedule`]: when each of many is to be looked at next, spread evenly over an interval.
//!
//! Each member keeps its own place in the interval, given by a hash of its key, so that ten thousand looks never fall together, not even
//! after a restart. One that stays silent is looked at less and less often, down to an eighth as often.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hash};
use std::time::{Duration, Instant};

/// A silent member's interval grows up to so many times.
const BACK_OFF_MAX: u32 = 8;

#[derive(Debug, Clone, Copy)]
struct Member {
    due: Instant,
    silent: u32,
    is_out: bool,
}

/// When each member is to be looked at next.
#[derive(Debug)]
pub struct Schedule<K, H> {
    interval: Duration,
    hasher: H,
    members: HashMap<K, Member>,
    queue: BTreeSet<(Instant, K)>,
}

impl<K: Copy + Ord + Hash, H: BuildHasher> Schedule<K, H> {
    /// A schedule without members. `interval` must not be zero; `hasher` spreads the members.
    pub fn new(interval: Duration, hasher: H) -> Self {
        Self { interval, hasher, members: HashMap::new(), queue: BTreeSet::new() }
    }

    /// These are the members now: new ones get their place within one interval from `now`, those that are missing are dropped.
    pub fn set_members(&mut self, now: Instant, members: impl IntoIterator<Item = K>) {
        let wanted: HashSet<K> = members.into_iter().collect();
        let queue = &mut self.queue;
        self.members.retain(|key, member| {
            let stays = wanted.contains(key);
            if !stays {
                queue.remove(&(member.due, *key));
            }
            stays
        });
        for key in wanted {
            let phase = self.interval.mul_f64(self.hasher.hash_one(key) as f64 / u64::MAX as f64);
            self.members.entry(key).or_insert_with(|| {
                queue.insert((now + phase, key));
                Member { due: now + phase, silent: 0, is_out: false }
            });
        }
    }

    /// When [`Schedule::take`] will have something.
    pub fn next_due(&self) -> Option<Instant> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// The next one that is due; it is not due again before [`Schedule::looked_at`].
    pub fn take(&mut self, now: Instant) -> Option<K> {
        let (due, key) = self.queue.first().copied().filter(|(due, _)| *due <= now)?;
        self.queue.remove(&(due, key));
        if let Some(member) = self.members.get_mut(&key) {
            member.is_out = true;
        }
        Some(key)
    }

    /// It was looked at; whether it answered. Returns how often in a row it has been silent, this time included.
    pub fn looked_at(&mut self, now: Instant, key: K, answered: bool) -> u32 {
        let interval = self.interval;
        let Some(member) = self.members.get_mut(&key).filter(|member| member.is_out) else { return 0 };
        member.is_out = false;
        member.silent = if answered { 0 } else { member.silent.saturating_add(1) };
        let times = 1 << member.silent.saturating_sub(1).min(BACK_OFF_MAX.ilog2());
        // From its own place, not from now: members do not drift together. A place that has passed is left out.
        member.due += interval * times;
        if member.due <= now {
            let late = now.duration_since(member.due).as_nanos() / interval.as_nanos() + 1;
            member.due += interval * u32::try_from(late).unwrap_or(u32::MAX);
        }
        self.queue.insert((member.due, key));
        member.silent
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// True without members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, DefaultHasher};

    use super::*;

    type Fixed = BuildHasherDefault<DefaultHasher>;
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn ten_thousand_are_spread_over_the_interval() {
        let begin = Instant::now();
        let mut schedule = Schedule::new(MINUTE, Fixed::default());
        schedule.set_members(begin, 0..10_000_u32);
        let mut per_second = Vec::new();
        for second in 1..=120 {
            let now = begin + Duration::from_secs(second);
            let mut taken = 0;
            while let Some(key) = schedule.take(now) {
                assert_eq!(schedule.looked_at(now, key, true), 0);
                taken += 1;
            }
            per_second.push(taken);
        }
        assert_eq!(per_second.iter().sum::<i32>(), 20_000, "each twice in two minutes");
        assert!(per_second.iter().all(|taken| (100..250).contains(taken)), "{per_second:?}");
    }

    #[test]
    fn a_silent_one_is_looked_at_less_often_and_keeps_its_place() {
        let begin = Instant::now();
        let mut schedule = Schedule::new(MINUTE, Fixed::default());
        schedule.set_members(begin, [7_u32]);
        let first = schedule.next_due().unwrap();
        let mut gaps = Vec::new();
        for answered in [true, false, false, false, false, false, true, false] {
            let due = schedule.next_due().unwrap();
            assert_eq!(schedule.take(due - Duration::from_nanos(1)), None);
            assert_eq!(schedule.take(due), Some(7));
            assert_eq!(schedule.next_due(), None, "not while it is being looked at");
            // The answer comes some time later.
            schedule.looked_at(due + Duration::from_secs(5), 7, answered);
            gaps.push((schedule.next_due().unwrap() - due).as_secs() / 60);
        }
        assert_eq!(gaps, [1, 1, 2, 4, 8, 8, 1, 1]);
        let due = schedule.next_due().unwrap();
        assert_eq!((due - first).as_nanos() % MINUTE.as_nanos(), 0);
        // A place that was missed is left out.
        schedule.take(due);
        schedule.looked_at(due + MINUTE * 3, 7, true);
        assert_eq!(schedule.next_due(), Some(due + MINUTE * 4));
    }

    #[test]
    fn members_come_and_go() {
        let now = Instant::now();
        let mut schedule = Schedule::new(MINUTE, Fixed::default());
        schedule.set_members(now, [1_u32, 2]);
        let taken = schedule.take(now + MINUTE).unwrap();
        schedule.set_members(now, [3]);
        assert_eq!((schedule.looked_at(now, taken, true), schedule.len()), (0, 1), "it is no member any more");
        assert_eq!(schedule.take(now + MINUTE), Some(3));
        schedule.set_members(now, []);
        assert!(schedule.is_empty() && schedule.next_due().is_none());
    }
}
