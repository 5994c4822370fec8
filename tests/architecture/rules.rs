//! The rules themselves: what each folder may not say.

use std::fmt;
use std::path::Path;

use crate::source::Source;

/// A line that breaks a rule.
pub struct Violation {
    place: String,
    why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

const DAEMONS: [&str; 3] = ["dhcpd", "bootd", "provisioner"];

/// Lines at which a file must be split.
const FILE_LINES_MAX: usize = 800;

/// What pure code may not say, and why.
const IMPURE: [(&str, &str); 18] = [
    ("tokio", "does no I/O and waits for nothing"),
    ("async ", "waits for nothing"),
    (".await", "waits for nothing"),
    ("std::fs", "opens no files"),
    ("File::open", "opens no files"),
    ("UdpSocket", "opens no sockets"),
    ("TcpStream", "opens no sockets"),
    ("TcpListener", "opens no sockets"),
    ("socket2", "opens no sockets"),
    ("rustix", "makes no system calls"),
    ("Instant::now", "reads no clock: `now` is a parameter"),
    ("SystemTime::now", "reads no clock: `now` is a parameter"),
    ("Timestamp::now", "reads no clock: `now` is a parameter"),
    ("getrandom", "draws no random numbers: they are a parameter"),
    ("new_v4", "draws no random numbers: they are a parameter"),
    ("tracing::", "does not log: reasons are data"),
    ("metrics::", "counts nothing: reasons are data"),
    ("std::thread", "starts no threads"),
];

/// Which folders a folder of a daemon may not import.
fn forbidden_folders(folder: &str) -> &'static [&'static str] {
    match folder {
        "proto" => &["store", "io", "api"],
        "store" => &["io", "api"],
        "io" => &["api"],
        "api" => &["io"],
        _ => &[],
    }
}

/// The file, or the folder, of a daemon's system calls.
fn may_be_unsafe(path: &Path) -> bool {
    path.ends_with("io/sys.rs") || path.parent().is_some_and(|folder| folder.ends_with("io/sys"))
}

/// Holds one source against every rule; what is `for_tests` only is held to those about files and `unsafe`.
pub fn check_source(source: &Source, for_tests: bool) -> Vec<Violation> {
    let mut found = Vec::new();
    let (package, folder) = source.place();
    let mut broken = |line: usize, why: String| {
        found.push(Violation { place: format!("{}:{line}", source.path.display()), why });
    };
    if source.length > FILE_LINES_MAX {
        broken(1, format!("{} lines; split it before {FILE_LINES_MAX}", source.length));
    }
    let name = source.path.file_stem().and_then(|name| name.to_str()).unwrap_or("");
    if ["util", "utils", "common", "helper", "helpers", "manager", "misc"].contains(&name) {
        broken(1, format!("`{name}` says nothing: name the file after its one idea"));
    }
    let own_daemon = DAEMONS.contains(&package) && !for_tests;
    for (number, line) in &source.code {
        let number = *number;
        if own_daemon {
            for other in DAEMONS.iter().filter(|&&other| other != package) {
                if line.contains(&format!("reveille_{other}")) {
                    broken(number, format!("{package} may not import {other}: daemons meet over their HTTP APIs"));
                }
            }
            for other in forbidden_folders(folder) {
                let grouped = line.contains("crate::{") && line.contains(&format!("{other}::"));
                let upwards = line.contains(&format!("super::{other}::"));
                if line.contains(&format!("crate::{other}::"))
                    || line.contains(&format!("use crate::{other};"))
                    || grouped
                    || upwards
                {
                    broken(number, format!("{folder}/ may not import {other}/ (io, api → store → proto → config)"));
                }
            }
        }
        if own_daemon && folder == "proto" {
            for (word, why) in IMPURE {
                if line.contains(word) {
                    broken(number, format!("`{}`: proto/ {why}", word.trim()));
                }
            }
        }
        let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        if words.contains(&"unsafe") && !may_be_unsafe(&source.path) {
            broken(number, "`unsafe` belongs in io/sys.rs or io/sys/".to_owned());
        }
        for (word, why) in [
            ("todo!(", "finish it"),
            ("unimplemented!(", "finish it"),
            ("#[ignore", "a test that does not run proves nothing"),
            ("dbg!(", "left over from debugging"),
        ] {
            if line.contains(word) {
                broken(number, format!("`{word}`: {why}"));
            }
        }
    }
    found
}

/// Holds a manifest against the arrows between the packages.
pub fn check_manifest(package: &str, manifest: &str) -> Vec<Violation> {
    let allowed: &[&str] = match package {
        "config" | "config/stall" => &[],
        "client" => &["config"],
        "config/events" => &["config", "stall"],
        "dhcpd" | "bootd" => &["config", "events", "stall"],
        "provisioner" => &["config", "events", "client"],
        other => panic!("no rule for the package {other}"),
    };
    manifest
        .lines()
        .take_while(|line| line.trim() != "[dev-dependencies]")
        .filter_map(|line| line.strip_prefix("reveille-"))
        .filter_map(|rest| rest.split(['.', ' ', '=']).next())
        .filter(|dependency| !allowed.contains(dependency))
        .map(|dependency| Violation {
            place: format!("{package}/Cargo.toml"),
            why: format!("{package} may not depend on {dependency}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(path: &str, text: &str) -> String {
        check_source(&Source::new(Path::new(path), text), false)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn each_rule_can_be_broken() {
        for (path, text, expected) in [
            ("dhcpd/src/proto/x.rs", "use crate::store::Table;", "proto/ may not import store/"),
            ("dhcpd/src/store/x.rs", "use crate::io::Socket;", "store/ may not import io/"),
            ("dhcpd/src/store/x.rs", "use crate::{io::Socket, proto::View};", "store/ may not import io/"),
            ("dhcpd/src/store/a/x.rs", "use super::super::io::Socket;", "store/ may not import io/"),
            ("bootd/src/api/x.rs", "use crate::io::Socket;", "api/ may not import io/"),
            ("bootd/src/io/x.rs", "use crate::api::router;", "io/ may not import api/"),
            ("bootd/src/io/x.rs", "use reveille_dhcpd::start;", "bootd may not import dhcpd"),
            ("dhcpd/src/proto/x.rs", "let now = Instant::now();", "reads no clock"),
            ("dhcpd/src/proto/x.rs", "pub async fn x() {}", "waits for nothing"),
            ("dhcpd/src/io/x.rs", "unsafe { x() }", "belongs in io/sys.rs"),
            ("dhcpd/src/io/util.rs", "", "says nothing"),
            ("src/x.rs", "fn x() { todo!() }", "finish it"),
            ("tests/x.rs", "#[ignore]", "does not run"),
            ("src/long.rs", &"\n".repeat(801), "split it"),
        ] {
            assert!(why(path, text).contains(expected), "{path}: {text}: {}", why(path, text));
        }
        assert_eq!(why("dhcpd/src/io/sys.rs", "unsafe { x() }"), "");
        assert_eq!(why("dhcpd/src/io/sys/send.rs", "unsafe { x() }"), "");
        assert_eq!(
            why("dhcpd/src/proto/x.rs", "// unsafe, tokio\nlet a = 1;\n#[cfg(test)]\nmod tests { use tokio; }"),
            ""
        );
        assert_eq!(
            check_manifest("dhcpd", "reveille-config.workspace = true\nreveille-bootd.workspace = true").len(),
            1
        );
        assert_eq!(check_manifest("provisioner", "reveille-client.workspace = true").len(), 0);
    }
}
