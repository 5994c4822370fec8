//! What the command line says when it cannot reach a daemon, and when nobody reads what it says.

use std::os::unix::net::UnixListener;

use crate::site::{command, reveille};

#[test]
fn an_api_that_cannot_be_reached_is_named_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}/gone.sock", dir.path().display());
    for args in [
        &["lease", "list"][..],
        &["lease", "scopes", "--json"],
        &["reservation", "get", "52:54:00:aa:00:01"],
        &["node", "list"],
        &["node", "deploy", "n", "--image", "x.raw", "--checksum", &format!("sha256:{}", "0".repeat(64))],
    ] {
        let error = reveille(&[args, &["--api", &socket]].concat()).error();
        let expected = format!("cannot reach {socket}: No such file or directory (os error 2); does the daemon run? ");
        assert!(error.starts_with(&expected), "{args:?}: {error}");
    }
}

#[test]
fn the_endpoint_comes_from_the_configuration_whose_first_mistake_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("reveille.toml");
    let file = config.to_str().unwrap();
    let run = |text: &str| {
        std::fs::write(&config, text).unwrap();
        reveille(&["node", "list", "--config", file]).error()
    };
    let api = format!("unix:{}/x.sock", dir.path().display());
    let table = format!(
        "[provisioner]\napi = [\"{api}\"]\nagent_api = [\"10.77.2.1:6385\"]\nagent_networks = [\"10.77.2.0/24\"]\nboot_url = \"http://10.77.2.1:8080\"\n"
    );
    let reached = |error: String| assert!(error.starts_with(&format!("cannot reach {api}: ")), "{error}");
    reached(run(&table));
    // Clients need not see what the daemon sees.
    let secret = "[provisioner.ipmi]\nusername = \"admin\"\npassword = { file = \"/nowhere/password\" }\n";
    reached(run(&format!("{table}{secret}")));
    let error = run("[provisioner]\nagent_apis = 1\nx = 2\n");
    assert!(error.starts_with(&format!("{file}:")) && error.contains("more: `reveille check"), "{error}");
    let bootd = "[bootd]\nroots = [\"/\"]\ntftp = [\"10.77.2.1:69\"]\nhttp = [\"10.77.2.1:8080\"]\n";
    assert_eq!(run(bootd), format!("{file} has no table [provisioner]: say --api"));
    let mistake = run(&format!("{bootd}root = 1\n"));
    assert_eq!(mistake, format!("{file}:5:1: unknown key `root` in `bootd` (did you mean `roots`?)"));
    let gone = reveille(&["node", "list", "--config", "/nowhere/reveille.toml"]).error();
    let words = "the configuration file cannot be read: No such file or directory (os error 2)";
    assert!(gone.starts_with(&format!("/nowhere/reveille.toml: {words} (")), "{gone}");
}

#[test]
fn a_daemon_that_hangs_up_is_an_error_and_a_reader_that_goes_away_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let hang_up = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let api = format!("unix:{}", path.display());
    let error = reveille(&["lease", "scopes", "--api", &api]).error();
    assert!(error.starts_with(&format!("{api} broke off GET /v1/scopes: ")), "{error}");
    hang_up.join().unwrap();

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command(&["completion", "bash"]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
}

#[test]
fn wrong_arguments_are_told_before_anything_is_asked() {
    for (args, words) in [
        (&["lease", "approve", "52:54"][..], "MAC"),
        (&["lease", "list", "--api", "localhost"], "`unix:/absolute/path`, `address:port`"),
        (&["reservation", "put", "52:54:00:aa:00:01", "--address", "10.77.1"], "--address"),
        (&["reservation", "put", "52:54:00:aa:00:01", "--option", "routers"], "NAME=VALUE"),
        (&["node", "add", "n", "--bmc", "10.77.1.9"], "--mac"),
        (&["node", "deploy", "n", "--image", "x", "--checksum", "md5:00"], "sha256"),
        (&["node", "deploy", "n", "--image", "x", "--checksum", "sha256:00"], "64 hexadecimal digits"),
    ] {
        let ran = reveille(args);
        assert_eq!((ran.code, &*ran.out), (Some(2), ""), "{ran:?}");
        assert!(ran.err.contains(words), "{args:?}: {}", ran.err);
    }
    let error = reveille(&[
        "node",
        "add",
        "n",
        "--mac",
        "52:54:00:aa:00:01",
        "--bmc",
        "10.77.1.9",
        "--bmc-password-file",
        "/nowhere",
    ])
    .error();
    assert!(error.contains("/nowhere") && error.contains("No such file"), "{error}");
}
