//! [`Shedding`]: how many DHCPDISCOVERs the kernel drops unread, while there are far more than can be served.
//!
//! Reading a message only to drop it is a good part of what serving one costs, and what finds no room in a socket's buffer may be the REQUEST of somebody who was promised
//! an address. So when the backlog overflows, the kernel drops a share of the DISCOVERs by chance, so large that a little more than what can be served is
//! still read. Their clients ask again, and chance is fair to all.
//!
//! Arithmetic alone; who attaches filters is [`super::worker`].

use crate::proto::time::Millis;

/// How often the share is set.
const PERIOD_MILLIS: u64 = 50;
/// DISCOVERs read for each that is served: the newest are served, so some must be left over.
const READ_FOR_SERVED: f64 = 1.1;
/// After a period in which all that was read was served, so many times as many are read. Letting in more at once would be a flood each time that the load is still there.
const MORE: f64 = 1.25;
/// Never more than this share, so that it is seen when there are fewer.
const SHARE_MAX: f64 = 0.97;
/// A smaller share is none.
const SHARE_MIN: f64 = 0.02;

/// One worker's.
#[derive(Debug, Default)]
pub struct Shedding {
    share: f64,
    set: Millis,
    read: u64,
    shed: u64,
}

impl Shedding {
    /// Takes a turn into account: so many DISCOVERs were read, and so many messages dropped because too many wait. The new share, of 2³², where it changes.
    pub fn note(&mut self, now: Millis, read: usize, shed: usize) -> Option<u32> {
        self.read += read as u64;
        self.shed += shed as u64;
        if now.0.saturating_sub(self.set.0) < PERIOD_MILLIS {
            return None;
        }
        let before = self.share;
        self.share = match self.shed {
            0 => 1.0 - MORE * (1.0 - before),
            shed => {
                // At least 1, as something was shed.
                let (read, served) = (self.read.max(1) as f64, self.read.saturating_sub(shed) as f64);
                let offered = read / (1.0 - before);
                1.0 - READ_FOR_SERVED * served / offered
            }
        };
        self.share = self.share.clamp(0.0, SHARE_MAX);
        if self.share < SHARE_MIN {
            self.share = 0.0;
        }
        (self.set, self.read, self.shed) = (now, 0, 0);
        (self.share != before).then_some((self.share * f64::from(u32::MAX)) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds of one period: `offered` come, at most `served` are served. Says what was read in each.
    fn read(shedding: &mut Shedding, from: u64, rounds: u64, offered: usize, served: usize) -> Vec<usize> {
        let mut share = shedding.share;
        let period = |round| {
            let read = (offered as f64 * (1.0 - share)) as usize;
            let now = Millis((from + round) * PERIOD_MILLIS);
            if let Some(new) = shedding.note(now, read, read.saturating_sub(served)) {
                share = f64::from(new) / f64::from(u32::MAX);
            }
            read
        };
        (1..=rounds).map(period).collect()
    }

    #[test]
    fn a_little_more_than_can_be_served_is_read_and_all_once_the_load_is_over() {
        for offered in [1_300, 2_000, 5_000, 20_000] {
            let mut shedding = Shedding::default();
            let settled = read(&mut shedding, 0, 10, offered, 1_000)[5..].to_vec();
            assert!(settled.iter().all(|read| (1_050..=1_150).contains(read)), "{offered}: {settled:?}");
            let after = read(&mut shedding, 10, 20, 900, 1_000);
            assert_eq!(after[16..], [900; 4], "{offered}: {after:?}");
        }
    }

    #[test]
    fn what_can_be_served_is_never_shed() {
        let mut shedding = Shedding::default();
        assert!((0..500).all(|at| shedding.note(Millis(at * 7), 64, 0).is_none()));
    }

    #[test]
    fn the_share_has_a_limit() {
        let mut shedding = Shedding::default();
        let read = read(&mut shedding, 0, 20, 1_000_000, 10);
        assert!(read[19] >= 20_000, "some are always read: {read:?}");
    }
}
