//! `reveille check`.

use std::path::Path;

use crate::site::{command, reveille};

fn good(dir: &Path) -> String {
    let password = dir.join("bmc-password");
    std::fs::write(&password, "hunter2\n").unwrap();
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    format!(
        r#"[dhcpd]

[[dhcpd.scope]]
name = "prov"
kind = "dynamic"
interface = "eth2"
subnet = "10.77.2.0/24"
server_address = "10.77.2.1"
pools = ["10.77.2.100-10.77.2.199"]

[bootd]
tftp = ["10.77.2.1:69"]
http = ["10.77.2.1:8080"]
roots = ["{dir}"]

[provisioner]
agent_api = ["10.77.2.1:6385"]

[provisioner.ipmi]
username = "admin"
password = {{ file = "{dir}/bmc-password" }}
"#,
        dir = dir.display()
    )
}

#[test]
fn a_right_file_is_said_to_be_right() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reveille.toml");
    std::fs::write(&path, good(dir.path())).unwrap();
    let file = path.to_str().unwrap();
    assert_eq!(reveille(&["check", file]).out(), format!("{file}: no mistakes\n"));
    assert_eq!(reveille(&["check", file, "--json"]).json(), serde_json::json!([]));
    let by_environment = command(&["check"]).env("REVEILLE_CONFIG", file).output().unwrap();
    assert!(by_environment.status.success(), "{by_environment:?}");
}

#[test]
fn every_mistake_is_reported_with_its_place_and_what_would_be_right() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reveille.toml");
    let text = good(dir.path())
        .replace("[dhcpd]", "[dhcpd]\nworker = 2")
        .replace("10.77.2.100-10.77.2.199", "10.77.3.100-10.77.3.199")
        .replace("10.77.2.1:69", "10.77.2.1:99999")
        .replace("bmc-password", "no-password");
    std::fs::write(&path, text).unwrap();
    let file = path.to_str().unwrap();

    let ran = reveille(&["check", file]);
    assert_eq!((ran.code, &*ran.out), (Some(1), ""), "{ran:?}");
    let json = reveille(&["check", file, "--json"]);
    assert_eq!((json.code, &*json.err), (Some(1), ""), "{json:?}");
    let mistakes: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    let lines: Vec<_> = mistakes.as_array().unwrap().iter().map(|mistake| mistake["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [2, 10, 13, 22], "{}", ran.err);
    for mistake in mistakes.as_array().unwrap() {
        let place = format!("--> {file}:{}:{}", mistake["line"], mistake["column"]);
        assert!(ran.err.contains(&place), "{place}: {}", ran.err);
        assert!(ran.err.contains(mistake["what"].as_str().unwrap()), "{mistake}: {}", ran.err);
        assert!(ran.err.contains(mistake["instead"].as_str().unwrap()), "{mistake}: {}", ran.err);
    }
    assert!(ran.err.contains("did you mean `workers`?"), "{}", ran.err);
    assert!(ran.err.ends_with(&format!("{file}: 4 mistakes\n")), "{}", ran.err);
    assert!(!ran.err.contains('\x1b'), "colours are for terminals: {}", ran.err);
}

#[test]
fn what_is_printed_is_a_file_of_the_same_meaning_without_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reveille.toml");
    std::fs::write(&path, good(dir.path())).unwrap();
    let printed = reveille(&["check", path.to_str().unwrap(), "--print"]).out();
    assert!(printed.contains("lease_secs = ") && printed.contains("# default"), "{printed}");
    assert!(!printed.contains("hunter2"), "{printed}");
    let again = dir.path().join("again.toml");
    std::fs::write(&again, &printed).unwrap();
    let reprinted = reveille(&["check", again.to_str().unwrap(), "--print"]).out();
    assert_eq!(reprinted, printed.replace(" # default", ""));
}

#[test]
fn a_file_that_is_not_there_and_wrong_arguments_have_their_own_codes() {
    let ran = reveille(&["check", "/nowhere/reveille.toml"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("/nowhere/reveille.toml") && ran.err.contains("No such file"), "{}", ran.err);
    for args in [&["check", "x", "--print", "--json"][..], &["check", "--colour"], &["chekc"]] {
        let ran = reveille(args);
        assert_eq!((ran.code, &*ran.out), (Some(2), ""), "{ran:?}");
        assert!(ran.err.contains("--help") || ran.err.contains("similar"), "{}", ran.err);
    }
}
