//! [`Checks`]: which addresses are being checked for somebody who uses them already, before they are first offered (RFC 2131 §2.2 and §4.3.1: the server
//! SHOULD probe), and who waits for it.
//!
//! It asks nobody itself: [`Checks::poll_probe`] says what to ask, [`Checks::handle_answer`] takes an answer, silence until the end of the wait means
//! that the address is free. Whoever waits is a parcel (the client's packet), given back when it may go on; other clients do not notice.
//!
//! Invariants: never more than `most` checks at a time and one parcel in each; a result of silence is remembered for [`CHECKED_SECS`], unless another address
//! takes its place in a table of fixed size (then it is asked once more than needed). Nothing is allocated once the tables have their size.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::Ipv4Addr;

use reveille_config::MacAddr;

use super::scope::ScopeIndex;
use super::time::Millis;

/// So long an address counts as free after nobody answered for it: ROM, iPXE and a client that tries again need no second check.
pub const CHECKED_SECS: u32 = 120;

/// How to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// An ARP probe on the link (RFC 5227).
    Arp,
    /// An ICMP echo request, through the relay's network.
    Icmp,
}

/// Something to ask the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// On whose link, from whose address.
    pub scope: ScopeIndex,
    /// The address in question.
    pub address: Ipv4Addr,
    /// How.
    pub method: Method,
}

/// A check to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// What to ask.
    pub probe: Probe,
    /// For whom: its own answer is no conflict.
    pub client: MacAddr,
    /// How long to wait for an answer, milliseconds.
    pub wait_millis: u32,
}

/// Somebody answered for an address.
#[derive(Debug, PartialEq, Eq)]
pub struct Conflict<T> {
    /// The scope of the address.
    pub scope: ScopeIndex,
    /// The client that it was meant for.
    pub client: MacAddr,
    /// What waited for the check; `None` where the client meanwhile went another way.
    pub parcel: Option<T>,
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// Nobody asked, or it is too late.
    Unasked,
    /// The client itself answered: it may have the address; what waited may go on.
    Own(Option<T>),
    /// Somebody else has it.
    Conflict(Conflict<T>),
}

#[derive(Debug)]
struct Slot<T> {
    question: Question,
    /// When this slot is looked at next: half of the wait, then its end.
    due: Millis,
    asked_twice: bool,
    parcel: Option<T>,
}

/// The checks of one worker.
#[derive(Debug)]
pub struct Checks<T> {
    most: usize,
    slots: HashMap<Ipv4Addr, Slot<T>>,
    due: BinaryHeap<Reverse<(Millis, Ipv4Addr)>>,
    probes: VecDeque<Probe>,
    /// Who was found free until when, by the low bits of the address.
    checked: Box<[(Ipv4Addr, Millis)]>,
}

impl<T> Checks<T> {
    /// At most `most` checks at a time; about `remembered` results are kept.
    pub fn new(most: usize, remembered: usize) -> Self {
        let remembered = remembered.max(1).next_power_of_two();
        Self {
            most,
            slots: HashMap::with_capacity(most),
            due: BinaryHeap::with_capacity(2 * most),
            probes: VecDeque::with_capacity(most),
            checked: vec![(Ipv4Addr::UNSPECIFIED, Millis(0)); remembered].into(),
        }
    }

    /// Whether `address` was found free a short while ago.
    pub fn is_clear(&self, now: Millis, address: Ipv4Addr) -> bool {
        let (checked, until) = self.checked[self.place(address)];
        checked == address && now < until
    }

    /// Has `parcel` wait for the check of an address, which begins now or is under way. Gives back the parcel that waited before.
    ///
    /// # Errors
    /// There are too many checks: the parcel.
    pub fn park(&mut self, now: Millis, question: Question, parcel: T) -> Result<Option<T>, T> {
        if let Some(slot) = self.slots.get_mut(&question.probe.address) {
            slot.question = question;
            return Ok(slot.parcel.replace(parcel));
        }
        // A check that ended early leaves its due time behind.
        if self.slots.len() >= self.most || self.due.len() >= 2 * self.most {
            return Err(parcel);
        }
        // Asked twice: frames get lost (RFC 5227 asks three times, but takes seconds over it).
        let due = Millis(now.0 + u64::from(question.wait_millis / 2));
        self.probes.push_back(question.probe);
        self.due.push(Reverse((due, question.probe.address)));
        self.slots.insert(question.probe.address, Slot { question, due, asked_twice: false, parcel: Some(parcel) });
        Ok(None)
    }

    /// The client of this address went another way: nothing waits for the check any more, which goes on.
    pub fn withdraw(&mut self, address: Ipv4Addr, client: MacAddr) -> Option<T> {
        let slot = self.slots.get_mut(&address).filter(|slot| slot.question.client == client)?;
        slot.parcel.take()
    }

    /// Somebody answered for `address`; `holder` is who, where the answer says.
    pub fn handle_answer(&mut self, now: Millis, address: Ipv4Addr, holder: Option<MacAddr>) -> Answer<T> {
        let Some(slot) = self.slots.remove(&address) else { return Answer::Unasked };
        let Question { probe, client, .. } = slot.question;
        if holder == Some(client) {
            self.remember(now, address);
            return Answer::Own(slot.parcel);
        }
        Answer::Conflict(Conflict { scope: probe.scope, client, parcel: slot.parcel })
    }

    /// The next parcel whose address nobody answered for. Also makes due second questions: look at [`Self::poll_probe`] after it.
    pub fn poll_clear(&mut self, now: Millis) -> Option<T> {
        while let Some(&Reverse((due, address))) = self.due.peek().filter(|Reverse((due, _))| *due <= now) {
            self.due.pop();
            let Some(slot) = self.slots.get_mut(&address).filter(|slot| slot.due == due) else { continue };
            if !slot.asked_twice {
                // A worker that comes late gives the answer its time all the same.
                let left = slot.question.wait_millis - slot.question.wait_millis / 2;
                slot.due = Millis(now.0 + u64::from(left));
                slot.asked_twice = true;
                self.due.push(Reverse((slot.due, address)));
                self.probes.push_back(slot.question.probe);
                continue;
            }
            let parcel = self.slots.remove(&address).and_then(|slot| slot.parcel);
            self.remember(now, address);
            if parcel.is_some() {
                return parcel;
            }
        }
        None
    }

    /// The next thing to ask.
    pub fn poll_probe(&mut self) -> Option<Probe> {
        self.probes.pop_front()
    }

    /// When [`Self::poll_clear`] is due.
    pub fn poll_timeout(&self) -> Option<Millis> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// Checks under way.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no check is under way.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn remember(&mut self, now: Millis, address: Ipv4Addr) {
        let place = self.place(address);
        self.checked[place] = (address, now.plus_secs(CHECKED_SECS));
    }

    /// Neighbouring addresses of a pool have places of their own.
    fn place(&self, address: Ipv4Addr) -> usize {
        u32::from(address) as usize & (self.checked.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use reveille_config::limit::{CONFLICT_CHECKS_MAX, CONFLICT_RESULTS_MAX};

    use super::*;

    const CLIENT: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);
    const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 8]);
    const START: Millis = Millis(1_000_000);

    fn address(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 2, n)
    }

    fn question(n: u8) -> Question {
        let probe = Probe { scope: ScopeIndex(1), address: address(n), method: Method::Arp };
        Question { probe, client: CLIENT, wait_millis: 200 }
    }

    fn after(millis: u64) -> Millis {
        Millis(START.0 + millis)
    }

    #[test]
    fn silence_means_free_after_two_questions_and_is_remembered() {
        let mut checks = Checks::new(4, 16);
        assert!(!checks.is_clear(START, address(1)));
        assert_eq!(checks.park(START, question(1), "packet"), Ok(None));
        assert_eq!((checks.poll_probe(), checks.poll_probe()), (Some(question(1).probe), None));
        assert_eq!((checks.poll_clear(after(99)), checks.poll_timeout()), (None, Some(after(100))));
        assert_eq!(checks.poll_clear(after(100)), None);
        assert_eq!((checks.poll_probe(), checks.poll_timeout()), (Some(question(1).probe), Some(after(200))));
        assert_eq!(checks.poll_clear(after(199)), None);
        assert_eq!((checks.poll_clear(after(200)), checks.poll_timeout()), (Some("packet"), None));
        assert!(
            checks.is_empty() && checks.is_clear(after(200), address(1)) && !checks.is_clear(after(200), address(2))
        );
        let remembered = u64::from(CHECKED_SECS) * 1_000;
        assert!(checks.is_clear(after(199 + remembered), address(1)), "until the last moment");
        assert!(!checks.is_clear(after(200 + remembered), address(1)));
    }

    #[test]
    fn an_answer_counts_by_who_gives_it() {
        let conflict = || Answer::Conflict(Conflict { scope: ScopeIndex(1), client: CLIENT, parcel: Some("packet") });
        for (what, holder, expected, clear) in [
            ("another machine", Some(OTHER), conflict(), false),
            ("an echo reply does not say who", None, conflict(), false),
            ("the client itself", Some(CLIENT), Answer::Own(Some("packet")), true),
        ] {
            let mut checks = Checks::new(4, 16);
            checks.park(START, question(1), "packet").unwrap();
            assert_eq!(checks.handle_answer(after(5), address(1), holder), expected, "{what}");
            assert_eq!(checks.is_clear(after(5), address(1)), clear, "{what}");
            assert_eq!(checks.handle_answer(after(6), address(1), holder), Answer::Unasked, "{what}: only once");
            assert_eq!(checks.poll_clear(after(1_000)), None, "{what}: nothing comes back twice");
            assert_eq!(checks.handle_answer(after(1_000), address(2), holder), Answer::Unasked, "{what}");
        }
    }

    #[test]
    fn a_client_that_asks_again_waits_once_and_one_that_went_away_not_at_all() {
        let mut checks = Checks::new(4, 16);
        checks.park(START, question(1), "first").unwrap();
        assert_eq!(checks.park(after(150), question(1), "second"), Ok(Some("first")));
        assert_eq!(checks.poll_clear(after(200)), None, "the second question is late, so its answer is waited for");
        assert_eq!(checks.poll_clear(after(300)), Some("second"));
        checks.park(START, question(2), "packet").unwrap();
        assert_eq!(checks.withdraw(address(2), OTHER), None, "somebody else's");
        assert_eq!(checks.withdraw(address(2), CLIENT), Some("packet"));
        assert_eq!(checks.poll_clear(after(100)), None);
        assert_eq!(checks.poll_clear(after(200)), None);
        assert!(checks.is_clear(after(200), address(2)), "the result counts all the same");
    }

    #[test]
    fn at_the_limit_the_parcel_comes_back_until_there_is_room() {
        let mut checks = Checks::new(2, 16);
        assert_eq!(checks.park(START, question(1), 1), Ok(None));
        assert_eq!(checks.park(START, question(2), 2), Ok(None));
        assert_eq!(checks.park(START, question(3), 3), Err(3));
        assert_eq!(checks.park(START, question(2), 4), Ok(Some(2)), "one that is under way takes no room");
        assert_eq!(checks.poll_clear(after(100)), None);
        while checks.poll_clear(after(200)).is_some() {}
        assert_eq!(checks.park(after(200), question(3), 3), Ok(None));

        // Answers end checks early; what they leave behind is bounded too.
        let mut taken = 0;
        for n in 10..250 {
            if checks.park(after(201), question(n), 0).is_ok() {
                taken += 1;
                assert_ne!(checks.handle_answer(after(201), address(n), Some(OTHER)), Answer::Unasked);
            }
            assert!(checks.due.len() <= 4);
        }
        assert_eq!(taken, 3);
    }

    #[test]
    fn at_the_real_limits_checks_are_refused_and_results_push_each_other_out() {
        let mut checks = Checks::new(CONFLICT_CHECKS_MAX, CONFLICT_RESULTS_MAX);
        let probe = |n: usize| Probe {
            scope: ScopeIndex(1),
            address: Ipv4Addr::from(0x0a00_0000 + n as u32),
            method: Method::Icmp,
        };
        let question = |n| Question { probe: probe(n), client: CLIENT, wait_millis: 200 };
        for n in 0..CONFLICT_CHECKS_MAX {
            assert_eq!(checks.park(START, question(n), n), Ok(None));
        }
        assert_eq!(checks.park(START, question(CONFLICT_CHECKS_MAX), 7), Err(7));
        for n in 0..CONFLICT_CHECKS_MAX {
            assert_eq!(checks.handle_answer(START, probe(n).address, Some(CLIENT)), Answer::Own(Some(n)));
        }
        // Far more results than are remembered; the last ones are.
        let count = 2 * CONFLICT_RESULTS_MAX;
        let mut at = START;
        for n in 0..count {
            // What an answer leaves behind goes with its time.
            at = Millis(at.0 + 1);
            while checks.poll_clear(at).is_some() || checks.poll_probe().is_some() {}
            checks.park(at, question(n), n).expect("room");
            checks.handle_answer(at, probe(n).address, Some(CLIENT));
        }
        let clear = (0..count).filter(|&n| checks.is_clear(at, probe(n).address)).count();
        assert!(0 < clear && clear <= CONFLICT_RESULTS_MAX, "{clear}");
        assert!(checks.is_clear(at, probe(count - 1).address));
    }

    #[test]
    fn addresses_that_share_a_place_push_each_other_out() {
        let mut checks = Checks::new(4, 16);
        for n in [1, 17] {
            checks.park(START, question(n), ()).unwrap();
            checks.handle_answer(START, address(n), Some(CLIENT));
        }
        assert!(!checks.is_clear(START, address(1)) && checks.is_clear(START, address(17)));
    }
}
