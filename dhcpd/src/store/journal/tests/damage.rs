//! Damage that no crash explains is refused with file and offset, and repaired without giving a sequence twice.

use super::format::PAGE_BYTES;
use super::*;

/// A journal of a snapshot and several segments behind it, 60 records in all, the snapshot covering 30.
fn aged() -> CrashDisk {
    let disk = CrashDisk::new();
    let (journal, _) = reopen_whole(&disk);
    let mut appender = journal.appender();
    for sequence in 1..=60 {
        commit_one(&mut appender, sequence).expect("durable");
        if sequence == 30 {
            snapshot_of(&journal, 30).expect("a snapshot");
        }
    }
    drop(journal);
    disk
}

fn named(disk: &CrashDisk, prefix: &str) -> Vec<String> {
    disk.names().into_iter().filter(|name| name.starts_with(prefix)).collect()
}

fn damage(disk: &CrashDisk, name: &str, at: usize, change: impl FnOnce(&mut u8)) {
    let mut content = disk.content(name).expect("the file");
    change(&mut content[at]);
    disk.replace(name, Some(content));
}

/// What `open` says, then what a repair keeps; asserts that a second repair finds nothing to do and that sequences go on.
#[track_caller]
fn refused_then_repaired(disk: &CrashDisk) -> (OpenError, RepairReport) {
    let error = reopen(disk).map(|_| ()).expect_err("damage is refused");
    let before = disk.names();
    let report = repair_storage(disk, options().segment_bytes).expect("repairs").expect("had something to do");
    assert_eq!(
        repair_storage(disk, options().segment_bytes).expect("repairs"),
        None,
        "a second repair has nothing to do"
    );
    for name in before.iter().filter(|name| name.starts_with("log-") || name.starts_with("snapshot-")) {
        assert!(disk.names().iter().any(|kept| kept.ends_with(name.as_str())), "{name} is kept");
    }
    let mut state = State::new();
    let journal =
        open(disk.storage(), options(), &mut |_, kind, octets| apply(&mut state, kind, octets)).expect("opens");
    if report.snapshot_records_lost == 0 {
        assert_eq!(state, state_after(report.kept_through));
    }
    let pending = journal.appender().append(0, &payload(7), ()).expect("taken");
    assert!(pending.sequence() == report.next_sequence && report.next_sequence > 60, "R4: {report:?}");
    settle(pending, &journal).expect("durable");
    (error, report)
}

#[test]
fn c21_a_damaged_block_before_valid_ones_is_refused_and_cut() {
    let whole = aged();
    let logs = named(&whole, "log-");
    assert!(logs.len() >= 3, "{logs:?}");
    // In the last segment, a later block tells; in the one before, the next segment does.
    for name in [&logs[logs.len() - 1], &logs[logs.len() - 2]] {
        for at in [PAGE_BYTES, PAGE_BYTES + 5, PAGE_BYTES + 28, PAGE_BYTES + 40] {
            let disk = whole.crash(Loss::Nothing);
            damage(&disk, name, at, |octet| *octet ^= 0x10);
            let (error, report) = refused_then_repaired(&disk);
            let OpenError::Corrupt { file, offset, .. } = &error else { panic!("{error:?}") };
            assert_eq!((file, *offset), (name, PAGE_BYTES as u64), "{error}");
            assert_eq!((&report.damage[0].file, report.damage[0].offset), (name, PAGE_BYTES as u64));
            assert!(report.kept_through >= 30 && report.kept_through < 60 && report.seen_through == 60, "{report:?}");
        }
    }
}

#[test]
fn c22_a_damaged_header_a_wrong_name_and_a_foreign_file_are_refused() {
    let whole = aged();
    let last = named(&whole, "log-").pop().expect("a segment");
    let disk = whole.crash(Loss::Nothing);
    damage(&disk, &last, 33, |octet| *octet ^= 1);
    let (error, _) = refused_then_repaired(&disk);
    assert!(matches!(&error, OpenError::Corrupt { file, offset: 0, .. } if *file == last), "{error}");

    let disk = whole.crash(Loss::Nothing);
    let content = disk.content(&last);
    disk.replace(&last, None);
    disk.replace("log-00000000000000ff", content);
    let (error, _) = refused_then_repaired(&disk);
    assert!(error.to_string().contains("does not fit its name"), "{error}");

    let disk = whole.crash(Loss::Nothing);
    let other = CrashDisk::new();
    drop(reopen_whole(&CrashDisk::new()));
    // Another journal's salts and numbers: its directory once held something else.
    other.salt();
    drop(reopen_whole(&other));
    let foreign = named(&other, "log-").pop().expect("a segment");
    disk.replace(&foreign, other.content(&foreign));
    let error = reopen(&disk).map(|_| ()).expect_err("foreign");
    assert!(error.to_string().contains("another journal"), "{error}");
}

#[test]
fn c22_an_unknown_version_is_refused_and_nothing_is_changed() {
    let disk = aged();
    let last = named(&disk, "log-").pop().expect("a segment");
    damage(&disk, &last, 8, |octet| *octet = 2);
    let before: Vec<_> = disk.names().iter().map(|name| disk.content(name)).collect();
    for error in
        [reopen(&disk).map(|_| ()).expect_err("version 2"), repair_storage(&disk, 32 << 10).expect_err("version 2")]
    {
        assert!(matches!(&error, OpenError::Version { found: 2, .. }));
        assert!(error.to_string().contains("format version 2, this program reads version 1"), "{error}");
    }
    assert_eq!(disk.names().iter().map(|name| disk.content(name)).collect::<Vec<_>>(), before);
}

#[test]
fn c23_a_missing_segment_or_snapshot_is_refused() {
    let whole = aged();
    let logs = named(&whole, "log-");
    let disk = whole.crash(Loss::Nothing);
    disk.replace(&logs[1], None);
    let (error, report) = refused_then_repaired(&disk);
    assert!(matches!(&error, OpenError::Corrupt { file, .. } if *file == logs[0]), "{error}");
    assert!(report.kept_through < 60, "{report:?}");

    let disk = whole.crash(Loss::Nothing);
    logs.iter().for_each(|log| disk.replace(log, None));
    let error = reopen(&disk).map(|_| ()).expect_err("no log");
    assert!(matches!(error, OpenError::Missing { .. }), "{error}");

    let disk = whole.crash(Loss::Nothing);
    named(&disk, "snapshot-").iter().for_each(|name| disk.replace(name, None));
    let error = reopen(&disk).map(|_| ()).expect_err("no snapshot");
    assert!(matches!(error, OpenError::Missing { .. }), "{error}");
}

#[test]
fn c24_a_damaged_snapshot_is_refused_and_its_good_blocks_are_kept() {
    let disk = CrashDisk::new();
    let (journal, _) = reopen_whole(&disk);
    let mut appender = journal.appender();
    commit_one(&mut appender, 1).expect("durable");
    // 400 records of 3,000 octets: five blocks.
    let report = journal
        .snapshot(&mut |put| {
            (0..400_u32).for_each(|number| put(9, &[number.to_le_bytes().as_slice(), &[5; 2_996]].concat()))
        })
        .expect("a snapshot");
    assert_eq!(report.records, 400);
    drop((journal, appender));
    let name = named(&disk, "snapshot-").pop().expect("a snapshot");
    damage(&disk, &name, 500_000, |octet| *octet ^= 1);

    let error = open(disk.storage(), options(), &mut |_, _, _| {}).map(|_| ()).expect_err("damaged");
    assert!(matches!(&error, OpenError::Corrupt { file, .. } if *file == name), "{error}");
    let report = repair_storage(&disk, 32 << 10).expect("repairs").expect("had something to do");
    let mut kept = 0;
    drop(open(disk.storage(), options(), &mut |_, _, _| kept += 1).expect("opens"));
    assert_eq!(kept + report.snapshot_records_lost, 400);
    assert!(report.snapshot_records_lost > 0 && report.snapshot_records_lost < 100, "one block of five: {report:?}");
}

/// C25: not to be told from C7, therefore cut, counted and reported.
#[test]
fn c25_damage_of_the_very_last_block_is_counted_as_torn() {
    let disk = aged();
    let last = named(&disk, "log-").pop().expect("a segment");
    let content = disk.content(&last).expect("content");
    let block = content.chunks(PAGE_BYTES).rposition(|page| page.starts_with(b"RVCB")).expect("a block");
    damage(&disk, &last, block * PAGE_BYTES + 36, |octet| *octet ^= 1);
    let (journal, last) = reopen_whole(&disk);
    assert_eq!((last, journal.recovered().torn_commits), (59, 1));
    assert!(journal.recovered().torn_bytes >= PAGE_BYTES as u64);
}

/// C27: a crash before any sync of a repair, then another repair: the same records are kept, none is given twice.
#[test]
fn c27_a_repair_that_crashes_is_run_again_and_keeps_the_same() {
    let damaged = aged();
    let logs = named(&damaged, "log-");
    damage(&damaged, &logs[logs.len() - 2], PAGE_BYTES + 40, |octet| *octet ^= 1);
    let whole = damaged.crash(Loss::Nothing);
    let expected = repair_storage(&whole, 32 << 10).expect("repairs").expect("had something to do").kept_through;
    for sync in 1..=whole.syncs() {
        for loss in [Loss::Nothing, Loss::Everything, Loss::Random(sync), Loss::Random(sync + 99)] {
            let disk = damaged.crash(Loss::Nothing);
            disk.freeze_at_sync(sync);
            repair_storage(&disk, 32 << 10).expect_err("the disk froze");
            let found = disk.crash(loss);
            repair_storage(&found, 32 << 10).unwrap_or_else(|error| panic!("sync {sync}, {loss:?}: {error}"));
            let (journal, state) = reopen(&found).unwrap_or_else(|error| panic!("sync {sync}, {loss:?}: {error}"));
            assert_eq!(state, state_after(expected), "sync {sync}, {loss:?}");
            assert!(journal.recovered().last_sequence >= 60, "R4");
        }
    }
}
