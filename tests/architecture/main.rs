//! Keeps the arrows of ARCHITECTURE.md by reading the sources: `io, api → store → proto → config`, no daemon imports another,
//! `proto/` stays pure, `unsafe` stays in `io/sys`, and files stay small enough to hold one idea.
//!
//! The rules look at code without comments, strings and test modules; each rule is itself tried on a source that breaks it.

mod citation;
mod rules;
mod source;

use std::path::{Path, PathBuf};

use citation::{Citation, Requirement, check, citations, requirements};
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

fn all_requirements() -> Vec<Requirement> {
    let folder = std::fs::read_dir(root().join("docs/rfc")).expect("docs/rfc");
    let mut paths: Vec<_> = folder.map(|entry| entry.expect("a list").path()).collect();
    paths.sort();
    let name = |path: &PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
    let lists = paths.iter().filter(|path| name(path).starts_with("rfc"));
    lists.flat_map(|path| requirements(&name(path), &std::fs::read_to_string(path).expect("a readable list"))).collect()
}

#[test]
fn what_an_rfc_asks_of_a_server_is_cited_at_code_and_at_a_test() {
    let (requirements, citations) = (all_requirements(), all_citations());
    assert!(citations.len() > 20, "only {} citations were found: the search is broken", citations.len());
    assert!(requirements.len() > 50, "only {} requirements were found: the search is broken", requirements.len());
    let wrong = check(&requirements, &citations);
    let apply = requirements.iter().filter(|own| own.why_not.is_none()).count();
    println!(
        "{apply} requirements apply, {} do not or are not kept, {} citations",
        requirements.len() - apply,
        citations.len()
    );
    assert!(
        wrong.is_empty(),
        "{} requirement(s) or citation(s) without their counterpart:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn manifests_keep_the_arrows() {
    let mut violations = Vec::new();
    for package in ["config", "config/events", "config/stall", "client", "dhcpd", "bootd", "provisioner"] {
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
