//! The journal on real files: locking, a real full disk, a killed process.

use std::path::Path;
use std::process::Command;

use super::*;

/// Opens or repairs a directory that no daemon uses. While another test starts a program, that one holds a copy of every lock of this process until it has begun.
fn once_unlocked<T>(mut open: impl FnMut() -> Result<T, OpenError>) -> Result<T, OpenError> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match open() {
            Err(OpenError::Directory(DirectoryError::Locked(_))) if Instant::now() < deadline => {
                std::thread::yield_now()
            }
            done => return done,
        }
    }
}

fn open_at(path: &Path) -> Result<(Journal, State), OpenError> {
    once_unlocked(|| try_open_at(path))
}

fn try_open_at(path: &Path) -> Result<(Journal, State), OpenError> {
    let mut state = State::new();
    let options = JournalOptions { spare_ahead: true, ..options() };
    let journal = open_directory(path, options, &mut |_, kind, octets| apply(&mut state, kind, octets))?;
    Ok((journal, state))
}

#[test]
fn a_directory_is_made_filled_reopened_and_snapshotted() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("below/journal");
    for round in 0..3 {
        let (journal, state) = open_at(&path).expect("opens");
        let last = journal.recovered().last_sequence;
        assert_eq!((last, state), (round * 40, state_after(round * 40)));
        let mut appender = journal.appender();
        for sequence in last + 1..=last + 40 {
            commit_one(&mut appender, sequence).expect("durable");
        }
        if round == 1 {
            assert!(snapshot_of(&journal, last + 40).expect("a snapshot").segments_retired > 0);
        }
        journal.close();
    }
    assert_eq!(once_unlocked(|| repair(&path)).expect("opens as it is"), None);
}

/// C26.
#[test]
fn a_second_daemon_is_kept_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let (journal, _) = open_at(directory.path()).expect("opens");
    for error in [
        try_open_at(directory.path()).map(|_| ()).expect_err("locked"),
        repair(directory.path()).map(|_| ()).expect_err("locked"),
    ] {
        assert!(matches!(error, OpenError::Directory(DirectoryError::Locked(_))), "{error:?}");
    }
    drop(journal);
    open_at(directory.path()).expect("free again");
}

#[test]
fn a_damaged_real_file_is_refused_and_repaired() {
    let directory = tempfile::tempdir().expect("a directory");
    let (journal, _) = open_at(directory.path()).expect("opens");
    let mut appender = journal.appender();
    (1..=20).for_each(|sequence| commit_one(&mut appender, sequence).expect("durable"));
    drop((journal, appender));
    let first = directory.path().join(format::FileName::Log(2).to_string());
    let mut content = std::fs::read(&first).expect("the first segment");
    content[3 * 4_096 + 50] ^= 1;
    std::fs::write(&first, content).expect("damage");
    let error = open_at(directory.path()).map(|_| ()).expect_err("damaged");
    assert!(matches!(error, OpenError::Corrupt { offset: 12_288, .. }), "{error}");
    let report = once_unlocked(|| repair(directory.path())).expect("repairs").expect("had something to do");
    assert_eq!((report.kept_through, report.seen_through), (2, 20));
    let (journal, state) = open_at(directory.path()).expect("opens");
    assert_eq!(state, state_after(2));
    assert_eq!(journal.recovered().last_sequence + 1, report.next_sequence);
}

const CHILD: &str = "REVEILLE_JOURNAL_TEST_DIRECTORY";

/// Runs this very test again in a child, with `CHILD` set, below `wrapper`.
fn run_again(test: &str, wrapper: &[&str], directory: &Path) -> std::process::Output {
    let program = std::env::current_exe().expect("the test program");
    let mut words: Vec<_> = wrapper.iter().map(std::ffi::OsString::from).collect();
    words.push(program.into());
    let name = format!("{}::{test}", module_path!().split_once("::").expect("inside the crate").1);
    words.extend(["--exact", &name, "--nocapture", "--test-threads=1"].map(std::ffi::OsString::from));
    Command::new(&words[0]).args(&words[1..]).env(CHILD, directory).output().expect("the child starts")
}

/// A real full disk: a tmpfs of 256 KiB in a mount namespace of its own, which goes with the child.
#[test]
fn a_full_file_system_refuses_and_recovers() {
    let Some(path) = std::env::var_os(CHILD) else {
        assert!(rustix::process::geteuid().is_root(), "this test mounts a tmpfs in a mount namespace: run it as root");
        let directory = tempfile::tempdir().expect("a directory");
        let mount = "mount -t tmpfs -o size=256k,mode=700 reveille-journal \"$REVEILLE_JOURNAL_TEST_DIRECTORY\" && exec \"$0\" \"$@\"";
        let wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount];
        let output = run_again("a_full_file_system_refuses_and_recovers", &wrapper, directory.path());
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    };
    let path = Path::new(&path);
    let (journal, _) = open_at(&path.join("journal")).expect("opens");
    let ballast = path.join("ballast");
    let mut appender = journal.appender();
    commit_one(&mut appender, 1).expect("durable");
    eventually("the spare is made", || {
        std::fs::read_dir(path.join("journal")).expect("lists").any(|entry| {
            let entry = entry.expect("an entry");
            entry.file_name().to_string_lossy().starts_with("spare-")
                && entry.metadata().is_ok_and(|m| m.len() == 32 << 10)
        })
    });
    let full = std::fs::write(&ballast, vec![1; 1 << 20]).expect_err("the disk is full now");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);

    let mut last = 1;
    let reason = loop {
        match commit_one(&mut appender, last + 1) {
            Ok(()) => last += 1,
            Err(reason) => break reason,
        }
        assert!(last < 100, "it never filled");
    };
    assert!(matches!(&reason, Refusal::Disk(text) if text.contains("No space left")), "{reason}");
    assert!(last >= 7, "what was made ahead is used up first: {last}");
    assert_eq!(journal.durable(), last);

    std::fs::remove_file(&ballast).expect("room again");
    eventually("the journal recovers", || journal.state() == JournalState::Healthy);
    assert_eq!(journal.durable(), last + 1);
    commit_one(&mut appender, last + 2).expect("durable");
    drop((journal, appender));
    assert_eq!(open_at(&path.join("journal")).expect("opens").1, state_after(last + 2));
}

/// `kill -9` while two threads append as fast as they can: what the child said was durable is there.
#[test]
fn a_killed_process_loses_nothing_that_was_durable() {
    use std::io::{BufRead, BufReader, Write};
    if let Some(path) = std::env::var_os(CHILD) {
        let (journal, _) = open_at(Path::new(&path)).expect("opens");
        let mut appender = journal.appender();
        let mut out = std::io::stdout().lock();
        for sequence in 1.. {
            commit_one(&mut appender, sequence).expect("durable");
            writeln!(out, "durable {sequence}").expect("somebody listens");
        }
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let name = format!(
        "{}::a_killed_process_loses_nothing_that_was_durable",
        module_path!().split_once("::").expect("inside").1
    );
    let mut child = Command::new(std::env::current_exe().expect("the test program"))
        .args(["--exact", &name, "--nocapture", "--test-threads=1"])
        .env(CHILD, directory.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the child starts");
    let mut said = 0;
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        let line = line.expect("text");
        if let Some(sequence) = line.split("durable ").nth(1).and_then(|number| number.parse::<Sequence>().ok()) {
            said = said.max(sequence);
            if said == 100 {
                child.kill().expect("it runs");
            }
        }
    }
    child.wait().expect("it ended");
    assert!(said >= 100, "the child got as far as {said}");
    let (journal, state) = open_at(directory.path()).expect("opens");
    let last = journal.recovered().last_sequence;
    assert!(last == said || last == said + 1, "{last}, but the child said {said}");
    assert_eq!(state, state_after(last));
}
