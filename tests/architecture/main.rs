//! Keeps the arrows of ARCHITECTURE.md by reading the sources: `io, api → store → proto → config`, no daemon imports another,
//! `proto/` stays pure, `unsafe` stays in `io/sys`, and files stay small enough to hold one idea.
//!
//! The rules look at code without comments, strings and test modules; each rule is itself tried on a source that breaks it.

mod citation;
mod rules;
mod source;

use std::path::{Path, PathBuf};

use citation::{Citation, citations, requirements, unpaired};
use rules::{Violation, check_manifest, check_source};
use source::Source;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust source of the project, relative to its root.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["src", "config", "client", "dhcpd", "bootd", "provisioner", "bench", "tests"].map(PathBuf::from).into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let entry = entry.expect("a readable folder");
            let path = folder.join(entry.file_name());
            let kind = entry.file_type().expect("a file type");
            if kind.is_dir() && entry.file_name() != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn report(violations: &[Violation]) {
    let list: Vec<_> = violations.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "{} rule(s) broken:\n{}", list.len(), list.join("\n"));
}

#[test]
fn sources_keep_the_rules() {
    let sources = sources();
    assert!(sources.len() > 50, "only {} sources were found: the search is broken", sources.len());
    let read = |path: &PathBuf| std::fs::read_to_string(root().join(path)).expect("a readable source");
    let sources: Vec<_> = sources.iter().map(|path| Source::new(path, &read(path))).collect();
    let test_files: Vec<_> = sources.iter().flat_map(Source::test_files).collect();
    let mut violations = Vec::new();
    for source in &sources {
        // What is compiled for tests only may read clocks and open sockets, wherever it stands.
        let for_tests = test_files.iter().any(|file| source.path.starts_with(file));
        violations.extend(check_source(source, for_tests));
    }
    report(&violations);
}

/// Requirements of `docs/rfc/` that apply and are cited nowhere yet. This number may only become less.
const UNCITED_MAX: usize = 4;

fn all_citations() -> Vec<Citation> {
    // The citations of the check's own tests are of no RFC.
    let sources = sources().into_iter().filter(|path| !path.starts_with("tests/architecture"));
    let read = sources.map(|path| {
        let text = std::fs::read_to_string(root().join(&path)).expect("a readable source");
        citations(&path, &text)
    });
    let (found, broken): (Vec<_>, Vec<_>) = read.unzip();
    assert!(broken.iter().flatten().next().is_none(), "{:#?}", broken.concat());
    found.concat()
}

#[test]
fn what_is_cited_at_code_is_cited_at_a_test() {
    let all = all_citations();
    assert!(all.len() > 20, "only {} citations were found: the search is broken", all.len());
    let alone = unpaired(&all).into_iter().map(|own| {
        let where_to = if own.at_test { "code" } else { "a test" };
        format!("{}: {} {} is not cited at {where_to}: {}", own.place, own.rfc, own.section, own.quote)
    });
    let alone: Vec<_> = alone.collect();
    assert!(alone.is_empty(), "{} citation(s) without their counterpart:\n{}", alone.len(), alone.join("\n"));
}

#[test]
fn what_applies_to_a_server_is_cited() {
    let all = all_citations();
    let folder = std::fs::read_dir(root().join("docs/rfc")).expect("docs/rfc");
    let paths = folder.map(|entry| entry.expect("a list").path());
    let lists = paths.filter(|path| path.file_stem().is_some_and(|name| name.to_string_lossy().starts_with("rfc")));
    let mut requirements: Vec<_> = lists
        .flat_map(|path| {
            let rfc = path.file_stem().expect("a name").to_string_lossy().into_owned();
            requirements(&rfc, &std::fs::read_to_string(&path).expect("a readable list"))
        })
        .collect();
    requirements.sort_by_key(|own| (own.rfc.clone(), own.section.clone()));
    let is_cited = |own: &citation::Requirement| all.iter().any(|citation| own.is_cited_by(citation));
    let (apply, others): (Vec<_>, Vec<_>) = requirements.iter().partition(|own| own.why_not.is_none());
    let wrong: Vec<_> = others.into_iter().filter(|own| is_cited(own)).collect();
    assert!(wrong.is_empty(), "said not to apply, and cited all the same: {wrong:#?}");
    let uncited: Vec<_> = apply.iter().filter(|own| !is_cited(own)).collect();
    for own in &uncited {
        println!("applies, and is cited nowhere: {} {}: {}", own.rfc, own.section, own.quote);
    }
    println!("{} of {} requirements are cited", apply.len() - uncited.len(), apply.len());
    assert!(uncited.len() <= UNCITED_MAX, "{} requirements are cited nowhere; {UNCITED_MAX} were", uncited.len());
}

#[test]
fn manifests_keep_the_arrows() {
    let mut violations = Vec::new();
    for package in ["config", "client", "dhcpd", "bootd", "provisioner"] {
        let manifest = std::fs::read_to_string(root().join(package).join("Cargo.toml")).expect("a manifest");
        violations.extend(check_manifest(package, &manifest));
    }
    report(&violations);
}

#[test]
fn every_daemon_has_the_same_folders() {
    for daemon in ["dhcpd", "bootd", "provisioner"] {
        for folder in ["proto", "store", "io", "api"] {
            assert!(root().join(daemon).join("src").join(folder).is_dir(), "{daemon}/src/{folder} is missing");
        }
    }
}
