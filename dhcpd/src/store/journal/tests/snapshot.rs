//! Snapshots beside a running log.

use rustix::io::Errno;

use super::*;

#[test]
fn a_snapshot_retires_what_it_covers_and_segments_are_used_again() {
    let disk = CrashDisk::new();
    let (journal, _) = reopen_whole(&disk);
    let mut appender = journal.appender();
    for sequence in 1..=200 {
        commit_one(&mut appender, sequence).expect("durable");
        if journal.snapshot_due() {
            let report = snapshot_of(&journal, sequence).expect("a snapshot");
            assert_eq!((report.covers, report.records), (sequence, 7));
            assert!(report.segments_retired > 0 && !journal.snapshot_due());
        }
    }
    assert!(disk.names().len() < 10, "the log is bounded by snapshots: {:?}", disk.names());
    drop(journal);
    let (journal, last) = reopen_whole(&disk);
    assert_eq!(last, 200);
    assert!(journal.recovered().snapshot_sequence.is_some_and(|covered| covered > 100));
}

/// R8 and C20: records appended while the snapshot is written show in it and are in the log.
#[test]
fn a_snapshot_may_show_later_records_and_appends_go_on_meanwhile() {
    let disk = CrashDisk::new();
    let (journal, _) = reopen_whole(&disk);
    let mut appender = journal.appender();
    (1..=10).for_each(|sequence| commit_one(&mut appender, sequence).expect("durable"));
    let mut snapshot = journal.begin_snapshot().expect("begins");
    assert!(matches!(journal.begin_snapshot().map(|_| ()), Err(SnapshotError::Busy)));
    (11..=15).for_each(|sequence| commit_one(&mut appender, sequence).expect("a snapshot stalls nobody"));
    for (kind, sequence) in state_after(15) {
        snapshot.put(kind, &payload(sequence)).expect("put");
    }
    let report = snapshot.finish().expect("finishes");
    assert_eq!(report.covers, 10);
    let (journal, last) = reopen_whole(&disk.crash(Loss::Everything));
    assert_eq!((last, journal.recovered().log_records), (15, 5));
}

/// R8: what the snapshot shows and the log does not hold yet must not be in force.
#[test]
fn a_snapshot_waits_for_the_records_that_it_may_show() {
    let disk = CrashDisk::new();
    let (journal, _) = reopen_whole(&disk);
    let mut appender = journal.appender();
    commit_one(&mut appender, 1).expect("durable");
    let mut snapshot = journal.begin_snapshot().expect("begins");
    disk.refuse_after(0, Errno::NOSPC);
    commit_one(&mut appender, 2).expect_err("refused");
    for (kind, sequence) in state_after(2) {
        snapshot.put(kind, &payload(sequence)).expect("put");
    }
    assert!(snapshot.finish().is_err(), "record 2 is not durable");
    disk.give_room();
    assert_eq!(reopen_whole(&disk.crash(Loss::Random(1))).1, 1);
    eventually("the journal recovers", || journal.durable() == 2);
    snapshot_of(&journal, 2).expect("the next one succeeds");
}

/// C17, from a disk without room: the old snapshot and the log stay in force, the journal stays healthy.
#[test]
fn a_snapshot_without_room_is_given_up() {
    let disk = CrashDisk::new();
    let (journal, _) = reopen_whole(&disk);
    let mut appender = journal.appender();
    (1..=5).for_each(|sequence| commit_one(&mut appender, sequence).expect("durable"));
    let snapshot = journal.begin_snapshot().expect("begins");
    disk.refuse_after(100, Errno::NOSPC);
    assert!(matches!(snapshot.finish(), Err(SnapshotError::Storage(StorageError::Refused { .. }))));
    disk.give_room();
    assert!(!disk.names().contains(&"snapshot.tmp".to_owned()));
    assert_eq!(journal.state(), JournalState::Healthy);
    commit_one(&mut appender, 6).expect("durable");
    snapshot_of(&journal, 6).expect("the next one succeeds");
}

#[test]
fn an_empty_state_is_a_snapshot_too_and_a_long_record_is_not() {
    let disk = CrashDisk::new();
    let journal = open(disk.storage(), options(), &mut |_, _, _| {}).expect("opens");
    assert_eq!(journal.snapshot(&mut |_| {}).expect("a snapshot").records, 0);
    assert_eq!(journal.snapshot(&mut |_| {}).expect("the same again").covers, 0);
    let long = vec![0; reveille_config::limit::JOURNAL_PAYLOAD_BYTES_MAX + 1];
    assert!(matches!(journal.snapshot(&mut |put| put(0, &long)), Err(SnapshotError::TooLong(_))));
    drop(journal);
    let (journal, last) = reopen_whole(&disk);
    assert_eq!((last, journal.recovered().snapshot_sequence), (0, Some(0)));
}
