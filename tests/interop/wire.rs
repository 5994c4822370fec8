//! The scapy scripts of `probe/`, put to Reveille and to Kea.
//!
//! A script is a list of cases, each with what must be seen. What Kea does otherwise stands in `docs/interop.md` with the reason, and nowhere
//! else: a difference that is not there fails the test, and so does a row that no longer holds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use reveille_config::MacAddr;
use reveille_lab::{Deadline, OptionValue, Product, Served, ServedScope};
use serde::Deserialize;
use serde_json::json;

use crate::stage::Stage;

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

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn ip(third: u8, fourth: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, third, fourth)
}

/// The hardware address number `n` of the scripts.
fn known(n: u8) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0x77, 0xcd, n])
}

/// What is served to `protocol.py` and `options.py`.
fn direct() -> Served {
    let scope = ServedScope::provisioning()
        .option("routers", OptionValue::Addresses(vec![ip(2, 1)]))
        .option("domain-name-servers", OptionValue::Addresses(vec![ip(2, 2), ip(2, 3)]))
        .option("domain-name", OptionValue::Text("rack.test".into()))
        .option("224", OptionValue::Hex("0a0b".into()))
        .reserve(known(1), 60, Some("node-1"))
        .reserve(known(2), 61, None);
    Served::of([ServedScope { kea: json!({ "authoritative": true }), ..scope }])
}

/// What is served to `relayed.py`.
fn relayed() -> Served {
    let far = |name: &str, third| ServedScope {
        name: name.into(),
        network: [10, 77, third],
        kea: json!({ "authoritative": true }),
        ..ServedScope::provisioning()
    };
    Served::of([ServedScope::provisioning(), far("far", 3).reserve(known(3), 60, None), far("farther", 4)])
}

/// Runs a script against a server.
fn outcomes(product: Product, served: &Served, script: &str) -> Vec<Outcome> {
    let stage = Stage::of(product, served);
    let client = stage.client("probe", 0xff);
    let routes = [3, 4].map(|third| format!("route add 10.77.{third}.0/24 via 10.77.2.5"));
    stage.networks.host().ip(&routes.each_ref().map(String::as_str)).expect("routes to the relay's networks");
    let path = root().join("tests/interop/probe").join(script);
    let python = client.program("/usr/bin/python3").arg(path).env("PYTHONDONTWRITEBYTECODE", "1");
    let printed = python.succeed(Deadline::secs(300)).expect("scapy (package python3-scapy) runs");
    let lines =
        printed.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    let outcomes: Vec<Outcome> = lines.collect();
    assert!(!outcomes.is_empty(), "{script} has no cases");
    outcomes
}

/// Where cases were seen to differ from what they expect.
fn differences(outcomes: &[Outcome]) -> Vec<Difference> {
    let mut found = Vec::new();
    for Outcome { case, expected, seen } in outcomes {
        let facts: std::collections::BTreeSet<_> = expected.keys().chain(seen.keys()).collect();
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
    let path: PathBuf = root().join("docs/interop.md");
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

fn ours(served: &Served, script: &str) {
    let outcomes = outcomes(Product::Reveille(env!("CARGO_BIN_EXE_reveille").into()), served, script);
    let wrong = differences(&outcomes);
    assert!(
        wrong.is_empty(),
        "{}",
        wrong.iter().fold(String::new(), |mut text, at| {
            let _ = writeln!(text, "{}: {} must be {:?}, was {:?}", at.case, at.fact, at.ours, at.keas);
            text
        })
    );
}

fn keas(served: &Served, script: &str) {
    let outcomes = outcomes(Product::Kea, served, script);
    let seen = differences(&outcomes);
    let of_script = |row: &Difference| outcomes.iter().any(|outcome| outcome.case == row.case);
    let explained: Vec<_> = explained().into_iter().filter(of_script).collect();
    let mut text = String::new();
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
    let folder = root().join("tests/interop/probe");
    let scripts = std::fs::read_dir(&folder).expect("the scripts").map(|entry| entry.expect("a script").path());
    let scripts: String = scripts.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    for row in explained() {
        assert!(scripts.contains(&format!("def {}(wire)", row.case)), "no script has the case {}", row.case);
    }
}

#[test]
fn the_states_of_a_client() {
    ours(&direct(), "protocol.py");
}

#[test]
fn the_states_of_a_client_with_kea() {
    keas(&direct(), "protocol.py");
}

#[test]
fn odd_options() {
    ours(&direct(), "options.py");
}

#[test]
fn odd_options_with_kea() {
    keas(&direct(), "options.py");
}

#[test]
fn relay_agents_with_kea() {
    keas(&relayed(), "relayed.py");
}
