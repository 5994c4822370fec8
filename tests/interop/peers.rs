//! The same case put to two servers: what must be seen, what was, and where Kea differs.
//!
//! What Kea does otherwise stands in `docs/interop.md` with the reason, and nowhere else: a difference that is not there fails the test, and so
//! does a row that no longer holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use reveille_lab::Product;
use serde::Deserialize;

/// What was seen, or must be, by the names that the case gives.
type Facts = BTreeMap<String, String>;

/// One case as the script reports it.
#[derive(Debug, Deserialize)]
pub struct Outcome {
    case: String,
    expected: Facts,
    seen: Facts,
}

/// A row of `docs/interop.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Difference {
    case: String,
    fact: String,
    ours: String,
    keas: String,
}

/// The project's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where cases were seen to differ from what they expect.
fn differences(outcomes: &[Outcome]) -> Vec<Difference> {
    let mut found = Vec::new();
    for Outcome { case, expected, seen } in outcomes {
        let facts: BTreeSet<_> = expected.keys().chain(seen.keys()).collect();
        for fact in facts {
            let said = |facts: &Facts| facts.get(fact).cloned().unwrap_or_else(|| "nothing".to_owned());
            let (ours, keas) = (said(expected), said(seen));
            if ours != keas {
                found.push(Difference { case: case.clone(), fact: fact.clone(), ours, keas });
            }
        }
    }
    found
}

/// The rows about Kea in `docs/interop.md`.
fn explained() -> Vec<Difference> {
    let path = root().join("docs/interop.md");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> =
            row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
        let [case, fact, ours, keas, why] = &cells[..] else { panic!("not a row of five cells: {row}") };
        assert!(!why.is_empty(), "a difference without its reason: {row}");
        Difference { case: case.clone(), fact: fact.clone(), ours: ours.clone(), keas: keas.clone() }
    })
    .collect()
}

/// Ours.
pub fn reveille() -> Product {
    Product::Reveille(env!("CARGO_BIN_EXE_reveille").into())
}

/// One case: `expected` and `seen` as pairs of a fact's name and its value.
pub fn outcome<const N: usize>(case: &str, expected: [(&str, &str); N], seen: [(&str, String); N]) -> Outcome {
    let expected = expected.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let seen = seen.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Outcome { case: case.to_owned(), expected, seen }
}

/// Fails where a server was seen to do something other than is expected of it.
pub fn judge(product: &Product, outcomes: &[Outcome]) {
    let seen = differences(outcomes);
    let mut text = String::new();
    if *product != Product::Kea {
        for Difference { case, fact, ours, keas } in seen {
            let _ = writeln!(text, "{case}: {fact} must be {ours:?}, was {keas:?}");
        }
        assert!(text.is_empty(), "{text}");
        return;
    }
    let of_these = |row: &Difference| outcomes.iter().any(|outcome| outcome.case == row.case);
    let explained: Vec<_> = explained().into_iter().filter(of_these).collect();
    for Difference { case, fact, ours, keas } in seen.iter().filter(|at| !explained.contains(at)) {
        let _ = writeln!(text, "not explained: | `{case}` | {fact} | {ours} | {keas} |");
    }
    for Difference { case, fact, .. } in explained.iter().filter(|at| !seen.contains(at)) {
        let _ = writeln!(text, "explained, but no longer so: {case}: {fact}");
    }
    assert!(text.is_empty(), "docs/interop.md and Kea disagree:\n{text}");
}

#[test]
fn every_explained_difference_belongs_to_a_case() {
    let folders = ["tests/interop/probe", "tests/interop"].map(|folder| root().join(folder));
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("the cases"));
    let files = files.map(|entry| entry.expect("a file").path()).filter(|path| path.is_file());
    let text: String = files.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    for row in explained() {
        let named = [format!("def {}(wire)", row.case), format!("\"{}\"", row.case)];
        assert!(named.iter().any(|name| text.contains(name)), "there is no case {}", row.case);
    }
}
