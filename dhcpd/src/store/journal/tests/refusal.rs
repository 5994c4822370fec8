//! A disk that refuses cleanly (R10) and one that fails (R11).

use rustix::io::Errno;

use super::*;

/// C12, C13: whatever part of the block was written before the refusal, nothing of it is promised; with room again the same block is written.
#[test]
fn a_refused_write_voids_promises_keeps_records_and_recovers_by_itself() {
    for errno in [Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::PERM, Errno::ACCESS, Errno::FBIG] {
        for taken in [0, 1, 511, 512, 700, 4_095] {
            let disk = CrashDisk::new();
            let (journal, _) = reopen_whole(&disk);
            let mut appender = journal.appender();
            (1..=3).for_each(|sequence| commit_one(&mut appender, sequence).expect("durable"));
            disk.refuse_after(taken, errno);

            let reason = commit_one(&mut appender, 4).expect_err("refused");
            assert!(matches!(reason, Refusal::Disk(_)), "{errno:?}: {reason}");
            let refused = appender.append(0, b"new", "promise").expect_err("refusing");
            assert!(matches!(refused.reason, Refusal::Disk(_)) && refused.value == "promise", "{refused:?}");
            assert!(matches!(journal.state(), JournalState::Refusing { .. }));
            assert_eq!(journal.durable(), 3, "what is on the disk can still be acknowledged");
            let after_crash = reopen_whole(&disk.crash(Loss::Random(taken))).1;
            // The block of record 4 is 199 octets and padding: beyond that, it may all be there (C8).
            assert!(after_crash == 3 || (after_crash == 4 && taken >= 199), "C12: {after_crash} after {taken} octets");

            disk.give_room();
            eventually("the journal recovers", || journal.state() == JournalState::Healthy);
            assert_eq!(journal.durable(), 4, "R10: the record kept its sequence and was written later");
            commit_one(&mut appender, 5).expect("durable");
            assert_eq!(journal.stats().refusals, 1);
            assert_eq!(reopen_whole(&disk.crash(Loss::Everything)).1, 5, "C13: no gap, no double");
        }
    }
}

/// C14: the end comes before room does.
#[test]
fn what_waits_when_a_refusing_journal_ends_is_lost_and_was_not_promised() {
    let disk = CrashDisk::new();
    let (journal, _) = reopen_whole(&disk);
    let mut appender = journal.appender();
    commit_one(&mut appender, 1).expect("durable");
    disk.refuse_after(100, Errno::NOSPC);
    commit_one(&mut appender, 2).expect_err("refused");
    journal.close();
    assert_eq!(appender.durable(), 1);
    disk.give_room();
    assert_eq!(reopen_whole(&disk).1, 1);
}

/// Promises that wait behind the refused block are void too, and their records follow it.
#[test]
fn records_queued_behind_a_refused_block_are_written_later_in_order() {
    let disk = CrashDisk::new();
    let (journal, _) = reopen_whole(&disk);
    let mut appender = journal.appender();
    disk.hold();
    let promises: Vec<_> =
        (1..=4).map(|sequence| appender.append(kind(sequence), &payload(sequence), ()).expect("queued")).collect();
    disk.refuse_after(0, Errno::NOSPC);
    disk.let_go();
    for promise in promises {
        assert!(matches!(settle(promise, &appender), Err(Refusal::Disk(_))));
    }
    disk.give_room();
    eventually("all are written", || journal.durable() == 4);
    drop(journal);
    assert_eq!(reopen_whole(&disk).1, 4);
}

/// C16: the open segment is full and there is no room for the next.
#[test]
fn no_room_for_the_next_segment_refuses_and_recovers() {
    let disk = CrashDisk::new();
    let (journal, _) = reopen_whole(&disk);
    let mut appender = journal.appender();
    // Seven pages of blocks fit; the eighth commit needs a new segment, of which only a part has room.
    (1..=7).for_each(|sequence| commit_one(&mut appender, sequence).expect("durable"));
    disk.refuse_after(10_000, Errno::NOSPC);
    commit_one(&mut appender, 8).expect_err("no room");
    assert_eq!(reopen_whole(&disk.crash(Loss::Everything)).1, 7);
    disk.give_room();
    eventually("the journal recovers", || journal.durable() == 8);
    assert_eq!(journal.segments(), 2);
    drop(journal);
    assert_eq!(reopen_whole(&disk).1, 8);
}

/// C15: never again, though the disk would take writes by now.
#[test]
fn a_failed_sync_fails_the_journal_for_ever() {
    let disk = CrashDisk::new();
    let (journal, _) = reopen_whole(&disk);
    let mut appender = journal.appender();
    commit_one(&mut appender, 1).expect("durable");
    disk.fail_sync(disk.syncs() + 1);
    let reason = commit_one(&mut appender, 2).expect_err("failed");
    assert!(matches!(reason, Refusal::Failed(_)), "{reason}");
    let refused = appender.append(0, b"", ()).expect_err("failed");
    assert!(matches!(refused.reason, Refusal::Failed(_)));
    assert!(matches!(journal.state(), JournalState::Failed { .. }));
    assert!(matches!(snapshot_of(&journal, 1), Err(SnapshotError::Log(Refusal::Failed(_)))));
    let octets = disk.octets_written();
    drop(journal);
    assert!(disk.octets_written() <= octets + 8_192, "nothing more is written to the log");
    for loss in [Loss::Nothing, Loss::Everything, Loss::Random(3)] {
        let last = reopen_whole(&disk.crash(loss)).1;
        assert!(last == 1 || (last == 2 && loss != Loss::Everything), "{loss:?}: {last}");
    }
}

/// A task that waits hears of the refusal, not only of commits.
#[test]
fn a_waiting_task_is_told_that_its_promise_is_void() {
    let disk = CrashDisk::new();
    let (journal, _) = reopen_whole(&disk);
    disk.refuse_after(0, Errno::NOSPC);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let pending = journal.appender().append(1, &payload(1), "promise").expect("queued");
    let refused = runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(60), pending.wait(&journal)).await })
        .expect("woken")
        .expect_err("refused");
    assert_eq!(refused.value, "promise");
}
