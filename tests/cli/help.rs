//! `--help` of everything, and the completion scripts.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::site::reveille;

/// The subcommands that a help text lists.
fn subcommands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let named = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    named.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_command_helps() {
    let mut to_do = vec![Vec::<String>::new()];
    let mut seen = Vec::new();
    while let Some(path) = to_do.pop() {
        let args: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let help = reveille(&args).out();
        let usage = format!(
            "Usage: {}",
            ["reveille"].into_iter().chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
        );
        assert!(help.contains(&usage), "{help}");
        let about = help.lines().next().unwrap();
        assert!(!about.is_empty() && !about.starts_with("Usage"), "{path:?} says what it does: {help}");
        to_do.extend(subcommands(&help).into_iter().map(|name| [path.clone(), vec![name]].concat()));
        seen.push(path.join(" "));
    }
    for path in [
        "dhcpd",
        "bootd",
        "provisioner",
        "all",
        "check",
        "completion",
        "lease list",
        "lease get",
        "lease history",
        "lease release",
        "lease export",
        "lease sightings",
        "lease approve",
        "lease scopes",
        "lease events",
        "lease repair",
        "links",
        "reservation list",
        "reservation get",
        "reservation put",
        "reservation import",
        "reservation export",
        "reservation watch",
        "reservation delete",
        "token create",
        "token list",
        "token revoke",
        "webhook test",
        "bmc status",
        "bmc power",
        "bmc boot-device",
        "bmc sensors",
        "bmc sel",
        "bmc fru",
        "node add",
        "node list",
        "node show",
        "node deploy",
        "node undeploy",
        "node power",
        "node history",
        "node delete",
    ] {
        assert!(seen.iter().any(|seen| seen == path), "`{path}` is in no help: {seen:?}");
    }
    assert!(reveille(&["--help"]).out().contains("reveille lease approve"), "a first round is in the help");
    assert!(reveille(&["all", "--help"]).out().contains("SIGHUP"));
    assert_eq!(reveille(&["--version"]).out(), format!("reveille {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn no_arguments_are_answered_with_help() {
    for args in [&[][..], &["lease"], &["node"], &["reservation"], &["bmc"]] {
        let ran = reveille(args);
        assert_eq!((ran.code, &*ran.out), (Some(2), ""), "{ran:?}");
        assert!(ran.err.contains("Commands:"), "{}", ran.err);
    }
}

#[test]
fn completion_knows_the_commands_and_bash_can_read_it() {
    for shell in ["bash", "zsh", "fish"] {
        let script = reveille(&["completion", shell]).out();
        for word in ["reveille", "provisioner", "sightings", "approve", "undeploy"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        if shell == "bash" {
            let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().expect("bash is there");
            bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
            assert!(bash.wait().unwrap().success());
        }
    }
    assert_eq!(reveille(&["completion", "tcl"]).code, Some(2));
}
