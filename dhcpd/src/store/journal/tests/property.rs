//! Random lives of a journal: whatever happens, what is recovered is a prefix that holds all that was durable.

use proptest::prelude::*;
use rustix::io::Errno;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append,
    Batch(u8),
    Snapshot,
    /// Refuse after so many octets, try an append, give room again.
    Refuse(u16),
    Restart,
    /// The sync so many ahead of now does not come; a power cut follows, with this loss.
    Crash(u8, Loss),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Append),
        3 => (2..10_u8).prop_map(Step::Batch),
        2 => Just(Step::Snapshot),
        1 => (0..9_000_u16).prop_map(Step::Refuse),
        1 => Just(Step::Restart),
        2 => (1..12_u8, loss()).prop_map(|(syncs, loss)| Step::Crash(syncs, loss)),
    ]
}

fn loss() -> impl Strategy<Value = Loss> {
    prop_oneof![Just(Loss::Nothing), Just(Loss::Everything), any::<u64>().prop_map(Loss::Random)]
}

/// The journal as its user sees it, and what it has promised.
struct Life {
    disk: CrashDisk,
    journal: Option<Journal>,
    durable: Sequence,
    appended: Sequence,
    loss_at_crash: Option<Loss>,
}

impl Life {
    fn start(&mut self) {
        match reopen(&self.disk) {
            Ok((journal, state)) => {
                let last = journal.recovered().last_sequence;
                assert!(
                    (self.durable..=self.appended).contains(&last),
                    "{last}, but {}..={}",
                    self.durable,
                    self.appended
                );
                assert_eq!(state, state_after(last));
                (self.durable, self.appended) = (last, last);
                self.journal = Some(journal);
            }
            Err(error) => assert!(self.loss_at_crash.is_some(), "only a frozen disk does not open: {error}"),
        }
    }

    /// Appends records as one batch and waits; whether they are durable.
    fn append(&mut self, records: u64) -> bool {
        let Some(journal) = &self.journal else { return false };
        let sequences = self.appended + 1..=self.appended + records;
        let payloads: Vec<_> = sequences.clone().map(payload).collect();
        let records: Vec<_> = sequences.clone().map(kind).zip(payloads.iter().map(Vec::as_slice)).collect();
        let Ok(pending) = journal.appender().append_batch(&records, ()) else { return false };
        self.appended = *sequences.end();
        let durable = settle(pending, journal).is_ok();
        if durable {
            self.durable = self.appended;
        }
        durable
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Append => _ = self.append(1),
            Step::Batch(records) => _ = self.append(u64::from(*records)),
            Step::Snapshot => {
                if let Some(journal) = &self.journal {
                    // Fails on a frozen disk only; what then is in force is checked by the next start.
                    let written = snapshot_of(journal, self.appended);
                    assert!(written.is_ok() || self.loss_at_crash.is_some(), "{written:?}");
                }
            }
            Step::Refuse(octets) => {
                self.disk.refuse_after(u64::from(*octets), Errno::NOSPC);
                self.append(2);
                self.disk.give_room();
                if let Some(journal) = &self.journal {
                    let appended = self.appended;
                    eventually("all is written with room again", || {
                        journal.durable() == appended || matches!(journal.state(), JournalState::Failed { .. })
                    });
                    self.durable = journal.durable();
                }
            }
            Step::Restart => {
                self.journal = None;
                match self.loss_at_crash.take() {
                    // The crash that was announced: the disk is frozen, or is about to be.
                    Some(loss) => self.disk = self.disk.crash(loss),
                    None => self.durable = self.appended,
                }
                self.start();
            }
            Step::Crash(syncs, loss) => {
                if self.loss_at_crash.is_none() {
                    self.disk.freeze_at_sync(self.disk.syncs() + u64::from(*syncs));
                    self.loss_at_crash = Some(*loss);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_is_recovered_is_a_prefix_that_holds_all_that_was_durable(steps in proptest::collection::vec(step(), 1..60)) {
        let mut life = Life { disk: CrashDisk::new(), journal: None, durable: 0, appended: 0, loss_at_crash: None };
        life.start();
        for step in &steps {
            life.step(step);
        }
        life.step(&Step::Restart);
        life.step(&Step::Restart);
    }
}
