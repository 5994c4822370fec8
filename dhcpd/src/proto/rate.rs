//! [`Rates`]: how much one sender may ask, as token buckets in a table of fixed size: nothing is allocated however many senders there are.
//!
//! A sender has two places, by two parts of the hash of who it is (the caller's, keyed, so that nobody can aim at another's places); it is over its limit only
//! when both are, so that whoever shares one place with a loud sender is still heard. A bucket holds one second's worth.

use super::time::Millis;

const SECOND_MICROS: u64 = 1_000_000;

/// The buckets of one worker.
#[derive(Debug)]
pub struct Rates {
    /// When each bucket is full again, microseconds: the generic cell rate algorithm.
    full_at: Box<[u64]>,
}

impl Rates {
    /// About `places` buckets.
    pub fn new(places: usize) -> Self {
        Self { full_at: vec![0; places.max(2).next_power_of_two()].into() }
    }

    /// Takes one packet of a sender into account; whether it is within `per_sec` packets a second. No limit where that is 0.
    pub fn allow(&mut self, now: Millis, sender: u64, per_sec: u32) -> bool {
        let Some(cost) = SECOND_MICROS.checked_div(per_sec.into()).map(|cost| cost.max(1)) else { return true };
        let now = now.0 * 1_000;
        let mask = self.full_at.len() - 1;
        let places = [sender as usize & mask, (sender >> 32) as usize & mask];
        let full_after = places.map(|place| self.full_at[place].max(now) + cost);
        if full_after.iter().all(|&at| at > now + SECOND_MICROS) {
            return false;
        }
        for (place, at) in places.into_iter().zip(full_after) {
            self.full_at[place] = at.min(now + SECOND_MICROS);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use reveille_config::limit::WATCHED_CLIENTS_MAX;

    use super::*;

    const START: Millis = Millis(1_000_000);
    const LOUD: u64 = 0x0000_0001_0000_0002;

    fn allowed(rates: &mut Rates, at: Millis, sender: u64, per_sec: u32, sent: usize) -> usize {
        (0..sent).filter(|_| rates.allow(at, sender, per_sec)).count()
    }

    #[test]
    fn a_second_s_worth_at_once_and_then_as_time_goes() {
        let mut rates = Rates::new(16);
        assert_eq!(allowed(&mut rates, START, LOUD, 10, 100), 10);
        assert_eq!(allowed(&mut rates, Millis(START.0 + 99), LOUD, 10, 100), 0);
        assert_eq!(allowed(&mut rates, Millis(START.0 + 100), LOUD, 10, 100), 1);
        assert_eq!(
            allowed(&mut rates, Millis(START.0 + 60_000), LOUD, 10, 100),
            10,
            "no more than a second's worth is saved"
        );
        assert_eq!(allowed(&mut rates, START, LOUD, 0, 1_000), 1_000, "no limit");
        assert_eq!(allowed(&mut Rates::new(16), START, LOUD, 5_000_000, 10), 10, "more than one per microsecond");
    }

    #[test]
    fn with_as_many_senders_as_are_watched_no_memory_is_taken_and_quiet_ones_are_heard() {
        let mut rates = Rates::new(WATCHED_CLIENTS_MAX);
        let places = rates.full_at.len();
        // Hashes as good as any keyed one's, of one sender for each place.
        let senders = (1..=WATCHED_CLIENTS_MAX as u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for sender in senders.clone() {
            rates.allow(START, sender, 10);
        }
        let heard = senders.filter(|&sender| rates.allow(START, sender, 10)).count();
        assert_eq!(heard, WATCHED_CLIENTS_MAX, "two packets of each in one second");
        assert_eq!(rates.full_at.len(), places);
    }

    #[test]
    fn a_loud_sender_does_not_silence_who_shares_one_place_with_it() {
        let mut rates = Rates::new(16);
        allowed(&mut rates, START, LOUD, 10, 1_000);
        assert_eq!(allowed(&mut rates, START, 0x0000_0001_0000_0005, 10, 5), 5, "one place shared");
        assert_eq!(allowed(&mut rates, START, 0x0000_0011_0000_0012, 10, 5), 0, "both shared: the table is that full");
        assert_eq!(rates.full_at.len(), 16);
    }
}
