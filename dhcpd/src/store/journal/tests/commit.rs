//! Group commit, promises and wake-ups.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

#[test]
fn a_promise_is_not_released_before_its_record_is_durable() {
    let disk = CrashDisk::new();
    let (journal, _) = reopen_whole(&disk);
    let mut appender = journal.appender();
    disk.hold();
    let pending = appender.append(1, &payload(1), "ack").expect("queued");
    let pending = pending.release(&appender).expect_err("R6: released while the write hangs");
    assert_eq!((journal.durable(), appender.durable()), (0, 0));
    assert!(Durable::already_promised("renewed", 1, &journal).is_none());
    disk.let_go();
    eventually("record 1 is durable", || journal.durable() == 1);
    assert_eq!(pending.release(&appender).expect("durable").map(str::len).into_inner(), 3);
    assert_eq!(Durable::already_promised("renewed", 1, &appender).map(Durable::into_inner), Some("renewed"));
    assert!(Durable::already_promised("renewed", 2, &appender).is_none());
}

#[test]
fn another_journal_cannot_release_a_promise() {
    let disk = CrashDisk::new();
    let (journal, _) = reopen_whole(&disk);
    let other_disk = CrashDisk::new();
    let (other, _) = reopen_whole(&other_disk);
    commit_one(&mut other.appender(), 1).expect("durable");
    disk.hold();
    let pending = journal.appender().append(1, &payload(1), ()).expect("queued");
    let pending = pending.release(&other).expect_err("it is not durable here");
    assert!(matches!(pending.settle(&other), Settled::Refused(Refused { reason: Refusal::Closed, .. })));
    disk.let_go();
}

#[test]
fn what_many_appenders_queue_during_a_write_is_one_commit() {
    let disk = CrashDisk::new();
    let (journal, _) = reopen_whole(&disk);
    disk.hold();
    let mut first = journal.appender();
    let mut promises = vec![first.append(1, &payload(1), ()).expect("queued")];
    // The writer has taken record 1 when record 2 finds it not sleeping; more precisely is not needed: both end in at most one more commit.
    let mut appenders = [journal.appender(), journal.appender()];
    for sequence in 2..=9 {
        let appender = &mut appenders[(sequence % 2) as usize];
        promises.push(appender.append(kind(sequence), &payload(sequence), ()).expect("queued"));
    }
    disk.let_go();
    for promise in promises {
        settle(promise, &journal).expect("durable");
    }
    let stats = journal.stats();
    assert_eq!(stats.records, 9);
    assert!(stats.commits <= 2, "{stats:?}");
    drop(journal);
    assert_eq!(reopen_whole(&disk).1, 9);
}

#[test]
fn threads_append_at_once_and_every_sequence_is_given_once() {
    let disk = CrashDisk::new();
    let journal = open(disk.storage(), options(), &mut |_, _, _| {}).expect("opens");
    let given = std::thread::scope(|scope| {
        let run = |mut appender: Appender| {
            let mut given = Vec::new();
            for _ in 0..300 {
                // A full ring is the limit at work; the next commit makes room.
                let deadline = Instant::now() + Duration::from_secs(60);
                let pending = loop {
                    match appender.append(0, &[7; 100], ()) {
                        Ok(pending) => break pending,
                        Err(refused) => assert_eq!(refused.reason, Refusal::RingFull),
                    }
                    assert!(Instant::now() < deadline);
                    std::thread::yield_now();
                };
                given.push(pending.sequence());
            }
            given
        };
        let threads: Vec<_> =
            (0..4).map(|_| journal.appender()).map(|appender| scope.spawn(move || run(appender))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    let mut sorted = given.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=1_200).collect::<Vec<_>>());
    journal.close();
    let mut replayed = Vec::new();
    drop(open(disk.storage(), options(), &mut |sequence, _, _| replayed.push(sequence)).expect("opens"));
    assert_eq!(replayed, sorted, "close drains");
}

#[test]
fn a_full_ring_and_a_long_record_are_refused_and_give_the_promise_back() {
    let disk = CrashDisk::new();
    let (journal, _) = reopen_whole(&disk);
    let mut appender = journal.appender();
    let long = vec![0; reveille_config::limit::JOURNAL_PAYLOAD_BYTES_MAX + 1];
    let refused = appender.append(0, &long, "mine").expect_err("too long");
    assert_eq!((refused.value, refused.reason), ("mine", Refusal::TooLong));
    let refused = appender.append_batch(&[(0, &long[..4_000]); 5], ()).expect_err("longer than the ring");
    assert_eq!(refused.reason, Refusal::TooLong);
    assert_eq!(appender.append_batch(&[], ()).expect_err("empty").reason, Refusal::TooLong);

    disk.hold();
    let mut queued = Vec::new();
    let reason = loop {
        match appender.append(0, &[1; 1_000], ()) {
            Ok(pending) => queued.push(pending),
            Err(refused) => break refused.reason,
        }
        assert!(queued.len() < 100, "the ring has no limit");
    };
    assert_eq!(reason, Refusal::RingFull);
    assert!(queued.len() >= 16, "16 KiB hold 16 records of 1,003 octets, got {}", queued.len());
    disk.let_go();
    for pending in queued {
        settle(pending, &appender).expect("what was queued is committed");
    }
    settle(appender.append(0, &[1; 1_000], ()).expect("there is room again"), &appender).expect("durable");
}

#[test]
fn threads_and_tasks_are_woken_by_a_commit() {
    let disk = CrashDisk::new();
    let (journal, _) = reopen_whole(&disk);
    let woken = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&woken);
    journal.on_durable(Box::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut commits = journal.subscribe();
    let mut appender = journal.appender();
    runtime.block_on(async {
        let pending = appender.append(1, &payload(1), "ack").expect("queued");
        let durable = tokio::time::timeout(Duration::from_secs(60), pending.wait(&journal)).await.expect("woken");
        assert_eq!(durable.expect("durable").into_inner(), "ack");
        commits.changed().await.expect("the journal lives");
        assert_eq!(*commits.borrow(), 1);
    });
    eventually("the listener is called", || woken.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_closed_journal_takes_nothing() {
    let disk = CrashDisk::new();
    let (journal, _) = reopen_whole(&disk);
    let mut appender = journal.appender();
    journal.close();
    assert_eq!(appender.append(0, b"", ()).expect_err("closed").reason, Refusal::Closed);
}

#[test]
fn options_that_contradict_are_refused() {
    let cases = [
        ("no ring", JournalOptions { ring_bytes: 0, ..options() }),
        (
            "ring beyond the limit",
            JournalOptions { ring_bytes: JOURNAL_RING_BYTES_MAX + 1, ..JournalOptions::default() },
        ),
        ("segment smaller than a ring", JournalOptions { segment_bytes: 16 << 10, ..options() }),
        ("half a page", JournalOptions { segment_bytes: (32 << 10) + 512, ..options() }),
    ];
    for (what, options) in cases {
        let opened = open(CrashDisk::new().storage(), options, &mut |_, _, _| {});
        assert!(matches!(opened, Err(OpenError::Options(_))), "{what}");
    }
}
