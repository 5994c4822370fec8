//! Power cuts: at every sync, at every octet of a commit, with every set of sectors of a page.

use super::format::{FileName, PAGE_BYTES};
use super::*;

/// What a run had been promised when it ended.
#[derive(Clone, Copy, Debug)]
struct Ended {
    durable: Sequence,
    appended: Sequence,
}

/// A life of a journal: commits over several segments with snapshots between, until an error or the end.
fn live(disk: &CrashDisk, commits: Sequence) -> Ended {
    let mut ended = Ended { durable: 0, appended: 0 };
    let Ok((journal, state)) = reopen(disk) else { return ended };
    let last = journal.recovered().last_sequence;
    assert_eq!(state, state_after(last));
    ended = Ended { durable: last, appended: last };
    let mut appender = journal.appender();
    for sequence in last + 1..=last + commits {
        ended.appended = sequence;
        if commit_one(&mut appender, sequence).is_err() {
            break;
        }
        ended.durable = sequence;
        if sequence % 20 == 0 && snapshot_of(&journal, sequence).is_err() {
            break;
        }
    }
    ended
}

/// C1–C9, C17–C19 and the recycling of segments: the crash comes before sync N, for every N, and the disk keeps all, nothing or a random part.
#[test]
fn after_a_crash_at_any_sync_what_was_durable_is_there() {
    let whole = CrashDisk::new();
    assert_eq!(live(&whole, 50).durable, 50);
    let syncs = whole.syncs();
    assert!(syncs > 60, "50 commits, segments and snapshots: {syncs}");
    for sync in 1..=syncs {
        let disk = CrashDisk::new();
        disk.freeze_at_sync(sync);
        let ended = live(&disk, 50);
        let losses =
            [Loss::Nothing, Loss::Everything].into_iter().chain((0..6).map(|seed| Loss::Random(seed * 1_000 + sync)));
        for loss in losses {
            let found = disk.crash(loss);
            let (journal, state) = reopen(&found).unwrap_or_else(|error| panic!("sync {sync}, {loss:?}: {error}"));
            let last = journal.recovered().last_sequence;
            assert!((ended.durable..=ended.appended).contains(&last), "sync {sync}, {loss:?}: {last}, but {ended:?}");
            assert_eq!(state, state_after(last), "sync {sync}, {loss:?}");
            drop(journal);
            // Life goes on, over the remains of the crash (C11), through another crash.
            let again = live(&found, 8);
            assert_eq!(again.durable, last + 8, "sync {sync}, {loss:?}");
            let (_, last_again) = reopen_whole(&found.crash(Loss::Everything));
            assert_eq!(last_again, last + 8, "sync {sync}, {loss:?}");
        }
    }
}

/// A disk whose open segment holds three commits, the last of them a batch over several pages; with the content before that one.
fn three_commits() -> (CrashDisk, String, Vec<u8>, Vec<u8>) {
    let disk = CrashDisk::new();
    let (journal, _) = reopen_whole(&disk);
    let mut appender = journal.appender();
    commit_one(&mut appender, 1).expect("durable");
    commit_one(&mut appender, 2).expect("durable");
    let name = FileName::Log(2).to_string();
    let before = disk.content(&name).expect("the first segment");
    let payloads: Vec<_> = (3..=22).map(payload).collect();
    let records: Vec<_> = (3..=22).map(kind).zip(payloads.iter().map(Vec::as_slice)).collect();
    settle(appender.append_batch(&records, ()).expect("queued"), &appender).expect("durable");
    let after = disk.content(&name).expect("the first segment");
    (disk, name, before, after)
}

fn recovered(disk: &CrashDisk) -> (Sequence, Recovered) {
    let mut state = State::new();
    let found = recovery::recover(disk, &mut |_| {}, &mut |_, kind, octets| apply(&mut state, kind, octets))
        .expect("a torn tail is no error");
    assert_eq!(state, state_after(found.next - 1));
    (found.next - 1, found.report)
}

/// C6 and C7: the batch is there or not, whole, wherever the write was cut.
#[test]
fn a_commit_cut_at_any_octet_is_there_whole_or_not_at_all() {
    let (disk, name, before, after) = three_commits();
    let begin = before.iter().zip(&after).position(|(a, b)| a != b).expect("they differ");
    let end = after.iter().rposition(|octet| *octet != 0).expect("not empty") + 1;
    assert!(begin % PAGE_BYTES == 0 && end - begin > PAGE_BYTES, "a batch over several pages: {begin}..{end}");
    for cut in begin..=end {
        let mut content = after[..cut].to_vec();
        content.extend_from_slice(&before[cut..]);
        let crashed = disk.crash(Loss::Nothing);
        crashed.replace(&name, Some(content));
        let (last, report) = recovered(&crashed);
        assert_eq!(last, if cut == end { 22 } else { 2 }, "cut at {cut}");
        let seen = cut < end && cut >= begin + 32;
        assert!(!seen || report.torn_commits == 1, "cut at {cut}: {report:?}");
        // What was cut is gone for good: the next start does not see it again.
        if cut % 97 == 0 {
            assert_eq!(recovered(&crashed).1.torn_commits, 0, "C11, cut at {cut}");
        }
    }
}

/// C7: a page torn in its eight sectors, every set of them, and the same over the pages of a longer block.
#[test]
fn a_commit_with_any_set_of_its_sectors_is_there_whole_or_not_at_all() {
    let (disk, name, before, after) = three_commits();
    let begin = before.iter().zip(&after).position(|(a, b)| a != b).expect("they differ");
    for bits in 0..512_u32 {
        let mut content = before.clone();
        for (index, sector) in after[begin..].chunks(512).enumerate() {
            // The first seven sectors and the rest of the first two pages by a bit each, the others by the bits folded.
            let kept = if index < 7 { bits >> index & 1 } else { (bits >> (index % 9)) & 1 };
            if kept == 1 {
                content[begin + index * 512..][..512].copy_from_slice(sector);
            }
        }
        let whole = content == after;
        let crashed = disk.crash(Loss::Nothing);
        crashed.replace(&name, Some(content));
        assert_eq!(recovered(&crashed).0, if whole { 22 } else { 2 }, "sectors {bits:b}");
    }
}

/// C10: the open segment was another one before, and its old blocks, valid then, lie behind the tail at the very offset where the next block goes.
#[test]
fn stale_blocks_of_a_recycled_segment_are_neither_replayed_nor_damage() {
    let disk = CrashDisk::new();
    let ended = live(&disk, 50);
    let (journal, last) = reopen_whole(&disk);
    assert_eq!(last, ended.durable);
    drop(journal);
    let logs: Vec<_> = disk.names().into_iter().filter(|name| name.starts_with("log-")).collect();
    let open = disk.content(logs.last().expect("an open segment")).expect("its content");
    let stale = open.chunks(PAGE_BYTES).skip(1).filter_map(format::BlockHeader::decode);
    let number = format::FileHeader::decode(&open).expect("a header").number;
    assert!(stale.into_iter().any(|block| block.number != number), "the open segment holds stale blocks");
}

/// C8: what a killed process left in the page cache becomes durable before it is shown.
#[test]
fn what_replay_shows_survives_a_power_cut_right_after() {
    let (disk, _, _, _) = three_commits();
    let (journal, last) = reopen_whole(&disk);
    let mut appender = journal.appender();
    disk.fail_sync(disk.syncs() + 1);
    assert!(commit_one(&mut appender, last + 1).is_err(), "its sync fails");
    drop(journal);
    // The process is gone, the machine goes on: the block is there, written and not synced.
    let (journal, shown) = reopen_whole(&disk);
    assert_eq!(shown, last + 1);
    let (_, after_power_cut) = reopen_whole(&disk.crash(Loss::Everything));
    assert_eq!(after_power_cut, shown, "R7");
    drop(journal);
}
