//! Tests of [`super::Copies`].

use super::*;

const CHECK: Duration = Duration::from_secs(3_600);

fn version(bytes: u64) -> Version {
    Version { validator: Some(format!("\"v{bytes}\"")), bytes, began_unix: 1 }
}

fn fetch(copies: &Copies, path: &str, bytes: u64) -> Result<(), PullFailure> {
    let Found::Fetch(arriving) = copies.find(path) else { panic!("{path} is there") };
    let begun = copies.begin(path, &arriving, version(bytes));
    if let Err(why) = begun {
        copies.give_up(path, &arriving);
        return Err(why);
    }
    arriving.append(&vec![7; bytes as usize], 0).unwrap();
    copies.finish(path, &arriving).unwrap();
    Ok(())
}

fn is_there(copies: &Copies, path: &str) -> bool {
    copies.copy(path).is_some()
}

#[test]
fn what_was_not_asked_for_longest_makes_room_and_what_is_too_large_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let copies = Copies::open(dir.path(), 100, CHECK).unwrap();
    for path in ["a", "b", "c"] {
        fetch(&copies, path, 30).unwrap();
    }
    let held = copies.copy("b").unwrap();
    assert!(is_there(&copies, "a") && is_there(&copies, "c"));
    fetch(&copies, "d", 40).unwrap();
    assert_eq!(["a", "b", "c", "d"].map(|path| is_there(&copies, path)), [true, false, true, true]);
    let mut octets = [0; 30];
    held.read_blocking(&mut octets, 0).unwrap();
    assert_eq!(octets, [7; 30], "who has it open is served to its end");
    assert_eq!(fetch(&copies, "huge", 101), Err(PullFailure::NoRoom));
    // What is arriving counts.
    let Found::Fetch(arriving) = copies.find("e") else { panic!() };
    copies.begin("e", &arriving, version(90)).unwrap();
    assert_eq!(fetch(&copies, "f", 11), Err(PullFailure::NoRoom));
    copies.give_up("e", &arriving);
    fetch(&copies, "f", 11).unwrap();
    let bytes: u64 = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension().is_none_or(|extension| extension != "json"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    assert!(bytes <= 100, "{bytes}");
}

#[test]
fn copies_survive_a_restart_and_what_was_unfinished_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let copies = Copies::open(dir.path(), 100, CHECK).unwrap();
    fetch(&copies, "a", 30).unwrap();
    fetch(&copies, "b", 30).unwrap();
    let tag = copies.copy("a").unwrap().validators.etag;
    let Found::Fetch(half) = copies.find("half") else { panic!() };
    copies.begin("half", &half, version(20)).unwrap();
    half.append(&[1; 10], 0).unwrap();
    drop(copies);
    std::fs::write(dir.path().join("torn.json"), "{").unwrap();
    let again = Copies::open(dir.path(), 100, CHECK).unwrap();
    assert_eq!(["a", "b", "half"].map(|path| is_there(&again, path)), [true, true, false]);
    assert_eq!(again.copy("a").unwrap().validators.etag, tag);
    assert_eq!(again.unfinished("half"), Some((version(20), 10)));
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        6,
        "two copies and what is unfinished, with a record each"
    );
    again.discard("half");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 4);
    // One whose octets are not all there is none.
    drop(again);
    let data = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    for path in data.filter(|path| path.extension().is_some_and(|extension| extension == "data")) {
        File::options().write(true).open(path).unwrap().set_len(29).unwrap();
    }
    let again = Copies::open(dir.path(), 100, CHECK).unwrap();
    assert!(!is_there(&again, "a") && !is_there(&again, "b"));
    // A smaller budget is kept to from the start.
    fetch(&again, "a", 30).unwrap();
    drop(again);
    assert!(!is_there(&Copies::open(dir.path(), 29, CHECK).unwrap(), "a"));
}

#[test]
fn one_fetches_and_the_others_wait_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let copies = Copies::open(dir.path(), 100, CHECK).unwrap();
    let Found::Fetch(first) = copies.find("a") else { panic!() };
    let Found::Arriving(second) = copies.find("a") else { panic!() };
    assert!(Arc::ptr_eq(&first, &second));
    for n in 1..UPSTREAM_FETCHES_MAX {
        assert!(matches!(copies.find(&n.to_string()), Found::Fetch(_)));
    }
    assert!(matches!(copies.find("one too many"), Found::Busy));
    copies.begin("a", &first, version(3)).unwrap();
    first.append(b"abc", 0).unwrap();
    copies.finish("a", &first).unwrap();
    // It was compared just now; a copy of an earlier run was not, and one is told to do it.
    assert!(matches!(copies.find("a"), Found::Copy(_, false)));
    drop(copies);
    let again = Copies::open(dir.path(), 100, CHECK).unwrap();
    assert!(matches!(again.find("a"), Found::Copy(_, true)));
    assert!(matches!(again.find("a"), Found::Copy(_, false)));
    again.forget("a");
    assert!(matches!(again.find("a"), Found::Fetch(_)));
}

/// Killed between the last octet and the record of the copy, at each step of it.
#[test]
fn a_kill_while_a_copy_is_made_leaves_a_copy_or_nothing_false() {
    for (step, unfinished) in [("all octets", true), ("the data's name", false), ("the record", false)] {
        let dir = tempfile::tempdir().unwrap();
        let copies = Copies::open(dir.path(), 100, CHECK).unwrap();
        let Found::Fetch(arriving) = copies.find("a") else { panic!() };
        copies.begin("a", &arriving, version(20)).unwrap();
        arriving.append(&[7; 20], 0).unwrap();
        let id = arriving.id();
        if step != "all octets" {
            std::fs::rename(copies.new_data(id), copies.data(id)).unwrap();
        }
        if step == "the record" {
            let record = Record { path: "a".into(), version: version(20) };
            std::fs::write(copies.record(id), serde_json::to_vec(&record).unwrap()).unwrap();
        }
        let again = Copies::open(dir.path(), 100, CHECK).unwrap();
        assert_eq!(is_there(&again, "a"), step == "the record", "{step}");
        // So that there is something to ask for.
        assert_eq!(again.unfinished("a"), unfinished.then(|| (version(20), 19)), "{step}");
        assert!(!again.part(id).exists() || unfinished, "{step}");
    }
}

#[test]
fn what_is_unfinished_counts_and_makes_room_first() {
    let dir = tempfile::tempdir().unwrap();
    let copies = Copies::open(dir.path(), 100, CHECK).unwrap();
    fetch(&copies, "a", 30).unwrap();
    for path in ["b", "c"] {
        let Found::Fetch(arriving) = copies.find(path) else { panic!() };
        copies.begin(path, &arriving, version(30)).unwrap();
        arriving.append(&[7; 20], 0).unwrap();
    }
    drop(copies);
    let again = Copies::open(dir.path(), 100, CHECK).unwrap();
    // One of them is asked for: it stays, whoever else wants room.
    let Found::Fetch(arriving) = again.find("b") else { panic!() };
    fetch(&again, "d", 50).unwrap();
    assert_eq!(again.unfinished("c"), None);
    again.resume("b", &arriving, version(30), 20).unwrap();
    assert_eq!((is_there(&again, "a"), is_there(&again, "d")), (false, true), "all of it counts from now on");
    arriving.append(&[7; 10], 20).unwrap();
    again.finish("b", &arriving).unwrap();
    assert!(is_there(&again, "b"));
    drop(again);
    assert!(is_there(&Copies::open(dir.path(), 100, CHECK).unwrap(), "b"));
}
