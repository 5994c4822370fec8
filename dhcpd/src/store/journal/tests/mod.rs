//! Tests of the journal against the numbered rules and crash cases of docs/journal-format.md.

mod commit;
mod crash;
mod damage;
mod files;
mod property;
mod refusal;
mod snapshot;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::*;

/// Small enough that segments fill, and that the writer does everything itself: the order of all operations is then known.
fn options() -> JournalOptions {
    JournalOptions {
        segment_bytes: 32 << 10,
        ring_bytes: 16 << 10,
        commit_gap: Duration::ZERO,
        retry_gap: Duration::from_millis(1),
        snapshot_after_bytes: 64 << 10,
        spare_ahead: false,
        run_first: None,
    }
}

/// The state that the tests keep: for each of seven keys the sequence of its last record. A key is a sequence modulo 7, so that the
/// state after any prefix of the log is known.
type State = BTreeMap<u8, Sequence>;

fn state_after(last: Sequence) -> State {
    (last.saturating_sub(6).max(1)..=last).map(|sequence| ((sequence % 7) as u8, sequence)).collect()
}

/// The record of a sequence: its number, and a tail whose length and content follow from it.
fn payload(sequence: Sequence) -> Vec<u8> {
    let mut octets = sequence.to_le_bytes().to_vec();
    octets.resize(8 + (sequence * 37 % 1_500) as usize, sequence as u8);
    octets
}

fn kind(sequence: Sequence) -> u8 {
    (sequence % 7) as u8
}

fn apply(state: &mut State, kind: u8, octets: &[u8]) {
    let mut number = [0; 8];
    number.copy_from_slice(&octets[..8]);
    let sequence = u64::from_le_bytes(number);
    assert_eq!(octets, payload(sequence), "a record came back changed");
    assert_eq!(kind, (sequence % 7) as u8);
    state.insert(kind, sequence);
}

/// Opens the journal of a disk and replays it to a state.
fn reopen(disk: &CrashDisk) -> Result<(Journal, State), OpenError> {
    let mut state = State::new();
    let mut last = 0;
    let journal = open(disk.storage(), options(), &mut |sequence, kind, octets| {
        assert!(sequence >= last, "{sequence} after {last}");
        last = sequence;
        apply(&mut state, kind, octets);
    })?;
    Ok((journal, state))
}

/// Opens, and asserts that the state is that after exactly the recovered number of records.
#[track_caller]
fn reopen_whole(disk: &CrashDisk) -> (Journal, Sequence) {
    let (journal, state) = reopen(disk).unwrap_or_else(|error| panic!("{error}: {error:?}"));
    let last = journal.recovered().last_sequence;
    assert_eq!(journal.durable(), last, "R7");
    assert_eq!(state, state_after(last), "the state is not that after record {last}");
    (journal, last)
}

/// Waits for what becomes of a promise; 20 seconds are for ever.
#[track_caller]
fn settle<T: std::fmt::Debug>(mut pending: Pending<T>, at: &impl Horizon) -> Result<T, Refusal> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match pending.settle(at) {
            Settled::Durable(durable) => return Ok(durable.into_inner()),
            Settled::Refused(refused) => return Err(refused.reason),
            Settled::Waiting(waiting) => pending = waiting,
        }
        assert!(Instant::now() < deadline, "{pending:?} never settled");
        std::thread::yield_now();
    }
}

/// Waits for a condition; 20 seconds are for ever.
#[track_caller]
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

/// Appends the next record and waits until it is durable.
fn commit_one(appender: &mut Appender, sequence: Sequence) -> Result<(), Refusal> {
    let pending = appender.append(kind(sequence), &payload(sequence), sequence).map_err(|refused| refused.reason)?;
    assert_eq!(pending.sequence(), sequence, "R4");
    settle(pending, appender).map(|promised| assert_eq!(promised, sequence))
}

/// Writes a snapshot of the state after `last`.
fn snapshot_of(journal: &Journal, last: Sequence) -> Result<SnapshotReport, SnapshotError> {
    journal.snapshot(&mut |put| {
        for (kind, sequence) in state_after(last) {
            put(kind, &payload(sequence));
        }
    })
}
